//! The wire, once and for all lessons: both formats, every stop reason and every fault, against a server that is as
//! strict as the real ones.
use futures_util::StreamExt;
use rehearsal::{Script, Server};
use rungs_core::{
    Agent, Block, CancellationToken, Chat, Client, Delta, Error, Message, Model, Recorder, Reply,
    Request, Result, Stop, ToolSpec, Usage,
    client::{Auth, Endpoint, Format, Lifetime, Limits, Mark, Place, Secret},
    tools,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

const FORMATS: [Format; 2] = [Format::Anthropic, Format::OpenAi];

async fn serve(yaml: &str) -> Server {
    Script::parse("script", yaml).unwrap().record(true).serve().await.unwrap()
}

fn endpoint(server: &Server, format: Format) -> Endpoint {
    match format {
        Format::Anthropic => Endpoint::new(format, server.url(), "rehearsal"),
        Format::OpenAi => Endpoint::new(format, &format!("{}/v1", server.url()), "rehearsal"),
    }
}

fn client(server: &Server, format: Format) -> Client {
    Client::new(endpoint(server, format)).unwrap()
}

fn bash() -> Arc<ToolSpec> {
    Arc::new(rungs_core::Tool::spec(&tools::Bash))
}

fn request(chat: &Chat) -> Request {
    Request { system: vec!["Be brief.".into()], tools: vec![bash()], ..Request::of(chat) }
}

/// A reply put together from its deltas, as a lesson will do it with more care.
async fn streamed(client: &Client, request: &Request) -> Result<Reply> {
    let cx = Agent::new(client.clone(), ".").context();
    let mut deltas = client.stream(request, &cx).await?;
    let (mut blocks, mut usage, mut stop) =
        (BTreeMap::<usize, (Block, String, String)>::new(), Usage::default(), None);
    let mut closed = vec![];
    while let Some(delta) = deltas.next().await {
        match delta? {
            Delta::Open { index, block } => {
                assert!(blocks.insert(index, (block, String::new(), String::new())).is_none())
            }
            Delta::Text { index, text }
            | Delta::Thinking { index, text }
            | Delta::Arguments { index, json: text } => {
                assert!(!closed.contains(&index));
                blocks.get_mut(&index).unwrap().1.push_str(&text);
            }
            Delta::Signature { index, signature } => {
                blocks.get_mut(&index).unwrap().2.push_str(&signature)
            }
            Delta::Citation { .. } => {}
            Delta::Close { index } => closed.push(index),
            Delta::Usage(now) => usage = now,
            Delta::Stop(now) => stop = Some(now),
        }
    }
    assert_eq!(closed, blocks.keys().copied().collect::<Vec<_>>());
    let content = blocks.into_values().map(|(block, text, signature)| match block {
        Block::Text { .. } => Block::text(text),
        Block::ToolUse { id, name, more, .. } => {
            let input = serde_json::from_str(&text).unwrap_or(Value::String(text));
            Block::ToolUse { id, name, input, more }
        }
        block if block.as_thinking().is_some() => Block::thinking(&text, &signature),
        block => block,
    });
    Ok(Reply {
        message: Arc::new(Message::assistant(content.collect())),
        usage,
        stop: stop.expect("a stop reason"),
    })
}

async fn plain(client: &Client, request: &Request) -> Result<Reply> {
    client.reply(request, &Agent::new(client.clone(), ".").context()).await
}

const RICH: &str = "
scenes:
  - when: go
    turns:
      - {think: 'Two at once, ä€😀.', say: 'Let me look, ä€😀.', call: [{bash: {command: 'echo \"ä\\\\n\"'}}, {bash: {command: ls, timeout: 5}}]}
      - {say: 'Both ran: {{ results[0].text }}, {{ results[1].text }}.'}
";

#[tokio::test]
async fn a_streamed_reply_is_the_plain_reply() {
    for format in FORMATS {
        let server = serve(RICH).await;
        let client = client(&server, format);
        let mut chat = Chat::new("go");
        for turn in 0..2 {
            let request = request(&chat);
            let plain = plain(&client, &request).await.unwrap();
            let streamed = streamed(&client, &request).await.unwrap();
            assert_eq!(plain.message, streamed.message, "{format:?}");
            assert_eq!(
                (&plain.stop, plain.usage.output_tokens),
                (&streamed.stop, streamed.usage.output_tokens)
            );
            assert!(
                plain.usage.prompt_tokens() > 50
                    && plain.usage.prompt_tokens() == streamed.usage.prompt_tokens()
            );
            if turn == 0 {
                assert_eq!(plain.stop, Stop::ToolUse);
                assert_eq!(
                    plain.message.content[0].as_thinking().as_deref(),
                    Some("Two at once, ä€😀.")
                );
                let inputs: Vec<Value> = plain.calls().into_iter().map(|c| c.input).collect();
                assert_eq!(
                    inputs,
                    [json!({"command": "echo \"ä\\\\n\""}), json!({"command": "ls", "timeout": 5})]
                );
                chat.push(plain.message.clone());
                chat.push(Message::results(
                    plain.calls().iter().map(|c| c.finish(Ok("ok".into()))),
                ));
            } else {
                assert_eq!((plain.text(), plain.stop), ("Both ran: ok, ok.".into(), Stop::EndTurn));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_may_be_split_anywhere() {
    for format in FORMATS {
        let server = serve(RICH).await;
        let whole = streamed(&client(&server, format), &request(&Chat::new("go"))).await.unwrap();
        for bytes in [1, 2, 3, 7, 64] {
            let split =
                RICH.replacen("- {think", &format!("- {{faults: [{{split: {bytes}}}], think"), 1);
            let server = serve(&split).await;
            let got = streamed(&client(&server, format), &request(&Chat::new("go"))).await.unwrap();
            assert_eq!(
                (got.message, got.usage),
                (whole.message.clone(), whole.usage),
                "{format:?} by {bytes}"
            );
        }
    }
}

#[tokio::test]
async fn a_cut_stream_is_an_error_wherever_it_is_cut() {
    for format in FORMATS {
        let mut cuts = 0;
        for events in 0..200 {
            let script = format!(
                "scenes: [{{when: go, turns: [{{say: hello, call: [{{bash: {{command: ls}}}}], faults: [{{cut_after: {events}, times: always}}]}}]}}]"
            );
            let server = serve(&script).await;
            match streamed(&client(&server, format), &request(&Chat::new("go"))).await {
                Err(error @ (Error::Net { .. } | Error::Unreadable { .. })) => {
                    assert!(error.to_string().contains("cut after"), "{error}");
                    cuts += 1;
                }
                Err(other) => panic!("{other}"),
                Ok(reply) => {
                    // Past its end a stream can't be cut.
                    assert_eq!(reply.calls().len(), 1);
                    break;
                }
            }
        }
        assert!(cuts > 5, "{format:?}: {cuts}");
    }
}

#[tokio::test]
async fn what_goes_wrong_inside_a_stream_is_said() {
    for format in FORMATS {
        for (fault, expected) in [
            ("{error_event: overloaded_error, after: 2}", "overloaded_error"),
            ("{malformed_after: 2}", "of the stream is malformed"),
        ] {
            let server = serve(&format!(
                "scenes: [{{when: go, turns: [{{say: hello there, faults: [{fault}]}}]}}]"
            ))
            .await;
            let error =
                streamed(&client(&server, format), &request(&Chat::new("go"))).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{format:?} {fault}: {error}");
        }
        let server = serve(
            "scenes: [{when: go, turns: [{say: hello there, faults: [{unknown_after: 1}]}]}]",
        )
        .await;
        let reply = streamed(&client(&server, format), &request(&Chat::new("go"))).await.unwrap();
        assert_eq!(reply.text(), "hello there");
    }
}

#[tokio::test]
async fn a_silent_stream_ends_by_its_time_limit() {
    for format in FORMATS {
        let server =
            serve("scenes: [{when: go, turns: [{say: hello, faults: [{stall_after: 2}]}]}]").await;
        let mut endpoint = endpoint(&server, format);
        endpoint.limits.idle = Duration::from_millis(100);
        let error = streamed(&Client::new(endpoint).unwrap(), &request(&Chat::new("go")))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("nothing came for 0.1 s"), "{error}");
    }
}

#[tokio::test]
async fn a_late_answer_ends_by_its_time_limit() {
    let server = serve("scenes: [{when: go, turns: [{say: hello, delay_ms: 5000}]}]").await;
    let mut endpoint = endpoint(&server, Format::Anthropic);
    let short = Duration::from_millis(50);
    endpoint.limits = Limits { first_byte: short, whole: short, ..endpoint.limits };
    let client = Client::new(endpoint).unwrap();
    for error in [
        plain(&client, &request(&Chat::new("go"))).await.unwrap_err(),
        streamed(&client, &request(&Chat::new("go"))).await.unwrap_err(),
    ] {
        assert!(error.to_string().ends_with("no answer within 0.05 s"), "{error}");
    }
}

/// Plays `script` through the whole agent: what `ask` returns, and what was shown.
async fn asked(format: Format, script: &str) -> (Result<Reply>, Vec<String>, Server) {
    let server = serve(script).await;
    let ui = Arc::new(Recorder::default());
    let agent = Agent::new(client(&server, format), ".").ui(ui.clone()).tool(tools::Bash);
    let end = agent.ask(&mut Chat::new("go")).await;
    (end, ui.take(), server)
}

#[tokio::test]
async fn what_passes_is_waited_for_and_told() {
    for format in FORMATS {
        for fault in [
            "{status: 429, retry_after: 0, times: 2}",
            "{status: 529, times: 1}",
            "{status: 503, retry_after: 'Wed, 21 Oct 2015 07:28:00 GMT'}",
        ] {
            let (end, shown, server) = asked(
                format,
                &format!("scenes: [{{when: go, turns: [{{say: hello, faults: [{fault}]}}]}}]"),
            )
            .await;
            assert_eq!(end.unwrap().text(), "hello", "{fault}");
            let waits = shown.iter().filter(|line| line.starts_with("main: wait")).count();
            assert_eq!(waits, server.seen().len() - 1, "{shown:?}");
            assert!(waits > 0 && shown.last().unwrap() == "main: reply hello", "{shown:?}");
        }
    }
}

#[tokio::test]
async fn what_does_not_pass_is_asked_once() {
    for format in FORMATS {
        for (fault, expected) in [
            ("{status: 400, message: too odd}", "answered 400 (invalid_request_error): too odd"),
            ("{status: 401, message: bad key}", "answered 401 (authentication_error): bad key"),
            (
                "{status: 404, message: no such model}",
                "answered 404 (not_found_error): no such model",
            ),
            ("{status: 413}", "answered 413"),
            (
                "{status: 429, type: insufficient_quota, message: spent}",
                "answered 429 (insufficient_quota): spent",
            ),
            ("{status: 429, retry_after: 3600}", "it asks to wait 3600 s"),
            ("{status: 403, html: true}", "HTML where JSON was expected (status 403)"),
        ] {
            let (end, shown, server) = asked(
                format,
                &format!("scenes: [{{when: go, turns: [{{say: hello, faults: [{fault}]}}]}}]"),
            )
            .await;
            let error = end.unwrap_err().to_string();
            assert!(
                error.contains(expected)
                    || format == Format::OpenAi && error.contains(&expected[..12]),
                "{format:?} {fault}: {error}"
            );
            assert_eq!(
                (server.seen().len(), shown),
                (1, vec!["main: lost".to_string()]),
                "{fault}"
            );
        }
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    let (end, shown, server) = asked(
        Format::Anthropic,
        "scenes: [{when: go, turns: [{say: x, faults: [{status: 429, retry_after: 0, times: always}]}]}]",
    )
    .await;
    assert!(end.unwrap_err().to_string().contains("answered 429 (rate_limit_error)"));
    assert_eq!((server.seen().len(), shown.len()), (5, 5));
}

#[tokio::test]
async fn a_reply_that_is_no_answer_is_one_honest_line() {
    for format in FORMATS {
        for (turn, expected) in [
            (
                "{say: half a, stop: max_tokens, usage: {output_tokens: 16000}}",
                "cut after 16000 tokens",
            ),
            (
                "{say: half a, call: [{bash: {command: rm}}], stop: max_tokens}",
                "nothing of it was run",
            ),
            ("{say: no, stop: refusal}", "declined to answer"),
            ("{}", "an empty reply"),
        ] {
            let (end, _, _server) =
                asked(format, &format!("scenes: [{{when: go, turns: [{turn}]}}]")).await;
            let error = end.unwrap_err();
            assert!(matches!(error, Error::Unfinished { .. }), "{turn}: {error:?}");
            assert!(error.to_string().contains(expected), "{turn}: {error}");
        }
    }
    let full = "scenes: [{when: go, turns: [{say: half, stop: model_context_window_exceeded}]}]";
    assert!(
        asked(Format::Anthropic, full).await.0.unwrap_err().to_string().contains("context window")
    );
}

#[tokio::test]
async fn an_overflow_is_known_in_each_servers_words() {
    for fault in [
        "{status: 400, message: 'prompt is too long: 213462 tokens > 200000 maximum'}",
        "{status: 400, code: context_length_exceeded, message: too much}",
    ] {
        let script = format!("scenes: [{{when: go, turns: [{{say: x, faults: [{fault}]}}]}}]");
        let (end, _, _server) = asked(Format::OpenAi, &script).await;
        assert!(
            matches!(end, Err(Error::Unfinished { stop: Stop::WindowFull, .. })),
            "{fault}: {end:?}"
        );
    }
}

#[tokio::test]
async fn a_paused_turn_is_sent_back_until_it_is_whole() {
    let script = "scenes: [{when: go, turns: [{say: 'one ', stop: pause_turn}, {say: 'two ', stop: pause_turn}, {say: three}]}]";
    let (end, shown, server) = asked(Format::Anthropic, script).await;
    let reply = end.unwrap();
    assert_eq!((reply.text(), reply.stop), ("one two three".into(), Stop::EndTurn));
    assert_eq!(shown, ["main: reply one two three"]);
    let bodies: Vec<Value> = server.seen().into_iter().map(|seen| seen.body).collect();
    let counts: Vec<usize> =
        bodies.iter().map(|b| b["messages"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [1, 2, 2]);
    assert!(
        bodies[2]["messages"][1]["content"].as_array().unwrap().len()
            > bodies[1]["messages"][1]["content"].as_array().unwrap().len()
    );
    let forever = "scenes: [{when: go, turns: [{repeat: 50, say: 'x', stop: pause_turn}]}]";
    let error = asked(Format::Anthropic, forever).await.0.unwrap_err();
    assert_eq!(error.to_string(), "stopped after 10 pauses of one reply");
}

#[tokio::test]
async fn broken_arguments_are_never_run_and_never_break_the_wire() {
    let script = "scenes: [{when: go, turns: [{call: [{bash: {command: 'echo a long enough command'}}], faults: [{cut_arguments: 12}]}, {say: '{{ results[0].text }}'}]}]";
    for format in FORMATS {
        let server = serve(script).await;
        let client = client(&server, format);
        let mut chat = Chat::new("go");
        let reply = streamed(&client, &request(&chat)).await.unwrap();
        assert!(reply.calls()[0].input.is_string());
        chat.push(reply.message.clone());
        chat.push(Agent::new(client.clone(), ".").tool(tools::Bash).act(reply.calls()).await);
        let reply = streamed(&client, &request(&chat)).await.unwrap();
        assert!(
            reply.text().contains("the arguments are no JSON object"),
            "{format:?}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn thinking_and_unknown_blocks_come_back_byte_for_byte() {
    let script = r#"
scenes:
  - when: go
    turns:
      - {think: "deep \"ä\" thought", raw: [{type: web_search_tool_result, tool_use_id: srv, content: [{z: 1, a: 1.50}]}], call: [{bash: {command: ls}}]}
      - {say: done}
"#;
    let server = serve(script).await;
    let client = client(&server, Format::Anthropic);
    let mut chat = Chat::new("go");
    let reply = plain(&client, &request(&chat)).await.unwrap();
    chat.push(reply.message.clone());
    chat.push(Message::results([reply.calls()[0].finish(Ok("ok".into()))]));
    // The server has signed the thinking over all that stands before it: it would refuse a changed byte.
    assert_eq!(plain(&client, &request(&chat)).await.unwrap().text(), "done");
    let text = serde_json::to_string(&chat).unwrap();
    let back: Chat = serde_json::from_str(&text).unwrap();
    assert_eq!((back.messages(), serde_json::to_string(&back).unwrap()), (chat.messages(), text));
    let mut changed = request(&chat);
    changed.system.push("another rule".into());
    let error = plain(&client, &changed).await.unwrap_err();
    assert!(
        error.refuses_request() && error.to_string().contains("bound to a different conversation"),
        "{error}"
    );
}

#[tokio::test]
async fn cache_marks_are_written_and_billed() {
    let server = serve("scenes: [{when: go, turns: [{say: hello}]}]").await;
    let client = client(&server, Format::Anthropic);
    let mut request = request(&Chat::new("go"));
    request.system = vec!["word ".repeat(2000).into()];
    let five = |place| Mark { place, lifetime: Lifetime::FiveMinutes };
    request.marks = vec![
        Mark { place: Place::Tools, lifetime: Lifetime::Hour },
        five(Place::System(0)),
        five(Place::Block { message: 0, block: 0 }),
    ];
    let first = plain(&client, &request).await.unwrap().usage;
    let second = plain(&client, &request).await.unwrap().usage;
    assert!(
        first.cache_creation_input_tokens > 2000 && first.cache_read_input_tokens == 0,
        "{first:?}"
    );
    assert_eq!(second.cache_read_input_tokens, first.cache_creation_input_tokens);
    assert_eq!(second.prompt_tokens(), first.prompt_tokens());
    let body = server.seen()[0].body.clone();
    assert_eq!(body["tools"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
}

#[tokio::test]
async fn nothing_is_sent_unasked() {
    for format in FORMATS {
        let server = serve("scenes: [{when: go, turns: [{say: hello}]}]").await;
        let client = client(&server, format);
        plain(&client, &Request::of(&Chat::new("go"))).await.unwrap();
        streamed(&client, &Request::of(&Chat::new("go"))).await.unwrap();
        let mut asked = Request {
            max_tokens: Some(7),
            model: Some("other".into()),
            ..Request::of(&Chat::new("go"))
        };
        asked.extra.insert("metadata".into(), json!({"user_id": "x"}));
        plain(&client, &asked).await.unwrap();
        let bodies: Vec<Value> = server.seen().into_iter().map(|seen| seen.body).collect();
        let message = match format {
            Format::Anthropic => {
                json!({"role": "user", "content": [{"type": "text", "text": "go"}]})
            }
            Format::OpenAi => json!({"role": "user", "content": "go"}),
        };
        assert_eq!(
            bodies[0],
            json!({"model": "rehearsal", "max_tokens": 16_000, "messages": [message]})
        );
        assert_eq!(bodies[1]["max_tokens"], 32_000);
        assert_eq!((&bodies[2]["max_tokens"], &bodies[2]["model"]), (&json!(7), &json!("other")));
        assert_eq!(bodies[2]["metadata"], json!({"user_id": "x"}));
    }
}

#[tokio::test]
async fn stopping_ends_a_request_at_once() {
    let server = serve("scenes: [{when: go, turns: [{say: hello, delay_ms: 60000}]}]").await;
    let token = CancellationToken::new();
    let agent = Agent::new(client(&server, Format::Anthropic), ".").cancelled_by(token.clone());
    let mut chat = Chat::new("go");
    let (end, ()) = tokio::join!(agent.ask(&mut chat), async { token.cancel() });
    assert!(matches!(end, Err(Error::Cancelled)));
}

/// A server that gives every request the same bytes, and tells what it was asked.
fn canned(answer: String) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![0; 64 * 1024];
            let n = stream.read(&mut request).unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&request[..n]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, told)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

async fn answer_to(format: Format, url: &str) -> Error {
    let mut endpoint = Endpoint::new(format, url, "m");
    endpoint.auth = Auth::ApiKey(Secret::new("sk-very-secret"));
    plain(&Client::new(endpoint).unwrap(), &Request::of(&Chat::new("go"))).await.unwrap_err()
}

#[tokio::test]
async fn the_key_goes_nowhere_else() {
    let (other, other_asked) = canned(http("200 OK", "", "{}"));
    let (url, asked) =
        canned(http("307 Temporary Redirect", &format!("location: {other}/v1/messages\r\n"), ""));
    let error = answer_to(Format::Anthropic, &url).await.to_string();
    assert!(error.contains("it redirects to 127.0.0.1 (307)"), "{error}");
    assert!(asked.recv().unwrap().contains("x-api-key: sk-very-secret"));
    assert!(other_asked.try_recv().is_err());
    let echo =
        json!({"error": {"type": "auth sk-very-secret", "message": "invalid key sk-very-secret"}})
            .to_string();
    let (url, _asked) = canned(http("401 Unauthorized", "request-id: sk-very-secret\r\n", &echo));
    let error = answer_to(Format::Anthropic, &url).await;
    assert!(!format!("{error} {error:?}").contains("sk-very"), "{error}");
    assert!(
        error.to_string().ends_with("answered 401 (auth ***): invalid key *** [request ***]"),
        "{error}"
    );
    for format in FORMATS {
        let (url, _asked) = canned(http(
            "200 OK",
            "",
            r#"{"content": "sk-very-secret", "choices": "sk-very-secret"}"#,
        ));
        let error = answer_to(format, &url).await;
        assert!(!format!("{error} {error:?}").contains("sk-very"), "{error}");
        let event =
            json!({"type": "error", "error": {"type": "x", "message": "bad sk-very-secret"}});
        let stream =
            http("200 OK", "content-type: text/event-stream\r\n", &format!("data: {event}\n\n"));
        let (url, _asked) = canned(stream);
        let mut endpoint = Endpoint::new(format, &url, "m");
        endpoint.auth = Auth::Bearer(Secret::new("sk-very-secret"));
        let error = streamed(&Client::new(endpoint).unwrap(), &Request::of(&Chat::new("go")))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("bad ***") && !format!("{error:?}").contains("sk-very"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn answers_of_other_kinds_are_named() {
    for (body, expected) in [
        ("<html>welcome</html>", "HTML where JSON was expected"),
        ("", "the answer is empty"),
        ("{\"a\":1}", "no reply of this API"),
        ("{\"content\": [", "no reply of this API"),
    ] {
        for format in FORMATS {
            let (url, _asked) = canned(http("200 OK", "", body));
            let error = answer_to(format, &url).await.to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn a_refused_connection_names_host_and_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = answer_to(Format::OpenAi, &format!("http://127.0.0.1:{port}/v1")).await.to_string();
    assert!(
        error.starts_with(&format!("127.0.0.1:{port}: no connection")) && error.contains("refused"),
        "{error}"
    );
}

#[tokio::test]
async fn what_other_servers_say_otherwise_is_understood() {
    let ask = async |format, body: Value| {
        let (url, _asked) = canned(http("200 OK", "", &body.to_string()));
        plain(
            &Client::new(Endpoint::new(format, &url, "m")).unwrap(),
            &Request::of(&Chat::new("go")),
        )
        .await
    };
    let message =
        |message: Value| json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let call = json!({"id": "", "function": {"name": "t", "arguments": {"a": 1}}});
    let odd = json!({"reasoning": "r", "reasoning_content": "r", "content": [{"type": "text", "text": "t"}], "tool_calls": [call]});
    let reply = ask(Format::OpenAi, message(odd)).await.unwrap();
    assert_eq!((reply.text(), &reply.stop), ("t".into(), &Stop::ToolUse));
    assert_eq!(reply.message.content[0].as_thinking().as_deref(), Some("r"));
    assert_eq!(reply.calls()[0].input, json!({"a": 1}));
    assert!(reply.calls()[0].id.starts_with("call_") && reply.calls()[0].id.len() > 10);
    let usage = json!({"input_tokens": 7.0, "output_tokens": null, "cache_creation": []});
    let text = json!([{"type": "text", "text": "t"}, {"type": "tool_use", "id": "1", "name": "t"}]);
    let reply = ask(Format::Anthropic, json!({"content": text, "usage": usage})).await.unwrap();
    assert_eq!((reply.usage.input_tokens, reply.calls()[0].input.clone()), (7, json!({})));
    // Some proxies put an error under a status of success.
    for format in FORMATS {
        let error = ask(format, json!({"error": {"message": "no credits", "code": "402"}}))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("answered 200 (402): no credits"), "{error}");
    }
}

#[tokio::test]
async fn an_unfinished_reply_is_not_run_whatever_the_reason_is_called() {
    let call = json!({"id": "1", "function": {"name": "bash", "arguments": "{\"command\": \"touch ran\"}"}});
    let body = json!({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "error"}]});
    let (url, _asked) = canned(http("200 OK", "", &body.to_string()));
    let agent = Agent::new(Client::new(Endpoint::new(Format::OpenAi, &url, "m")).unwrap(), ".")
        .tool(tools::Bash);
    let error = agent.ask(&mut Chat::new("go")).await.unwrap_err();
    assert_eq!(error.to_string(), "the model stopped for a reason unknown here: error");
}

#[tokio::test]
async fn an_empty_block_of_text_does_not_come_back() {
    let script = "scenes: [{when: go, turns: [{raw: [{type: text, text: ''}], call: [{bash: {command: echo}}]}, {say: done}]}]";
    let server = serve(script).await;
    let agent = Agent::new(client(&server, Format::Anthropic), ".").tool(tools::Bash);
    let reply = lessons::s01_loop::agent_loop(&agent, &mut Chat::new("go")).await.unwrap();
    assert_eq!(reply.text(), "done");
}
