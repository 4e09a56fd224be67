//! The wire, once for all lessons: both formats, every stop reason and every fault, before a server
//! that is as strict as the real ones.
use futures_util::StreamExt;
use lessons::s01_loop::agent_loop;
use rehearsal::{Server, Turn, call, calls, say, say_results, scene, script};
use rungs_core::{
    Agent, Block, Chat, Client, Context, Delta, Effect, Error, Message, Model, Recorder, Reply,
    Request, Result, StopReason, Tool, ToolError, ToolOutput, ToolResult, ToolSpec, Usage,
    client::{Auth, Endpoint, Format, Lifetime, Limits, Mark, Place, Secret},
    tools,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

const FORMATS: [Format; 2] = [Format::Anthropic, Format::OpenAi];

/// A server whose only scene begins with the prompt `go`.
async fn serve(turns: impl IntoIterator<Item = Turn>) -> Server {
    script([scene("^go$", turns)]).record(true).serve().await.unwrap()
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

/// A conversation that begins with the prompt `go` alone, without the text that tells where the
/// agent is.
fn chat() -> Chat {
    let mut chat = Chat::default();
    chat.push(Message::user("go"));
    chat
}

fn request(chat: &Chat) -> Request {
    let bash = Arc::new(Tool::spec(&tools::Bash));
    Request { system: vec!["Be brief.".into()], tools: vec![bash], ..Request::of(chat) }
}

/// A reply put together from its deltas, as a lesson does it with more care.
async fn streamed(client: &Client, request: &Request) -> Result<Reply> {
    let cx = Agent::new(client.clone(), ".").context();
    let mut deltas = client.stream(request, &cx).await?;
    let (mut blocks, mut usage, mut stop) =
        (BTreeMap::<usize, (Block, String, String)>::new(), Usage::default(), None);
    let mut closed = vec![];
    while let Some(delta) = deltas.next().await {
        match delta? {
            Delta::Open { index, block } => {
                assert!(blocks.insert(index, (block, String::new(), String::new())).is_none());
            }
            Delta::Text { index, text }
            | Delta::Thinking { index, text }
            | Delta::Arguments { index, json: text } => {
                assert!(!closed.contains(&index));
                blocks.get_mut(&index).unwrap().1.push_str(&text);
            }
            Delta::Signature { index, signature } => {
                blocks.get_mut(&index).unwrap().2.push_str(&signature);
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

/// Thinking, text and two calls; then an answer.
fn rich() -> [Turn; 2] {
    let two = [
        ("bash", json!({"command": "echo \"ä\\\\n\""})),
        ("bash", json!({"command": "ls", "timeout": 5})),
    ];
    [
        calls(two).think("Two at once, ä€😀.").say("Let me look, ä€😀."),
        say("Both ran: {{ results[0].text }}, {{ results[1].text }}."),
    ]
}

#[tokio::test]
async fn a_streamed_reply_equals_the_plain_reply() {
    for format in FORMATS {
        let server = serve(rich()).await;
        let client = client(&server, format);
        let mut chat = chat();
        for turn in 0..2 {
            let request = request(&chat);
            let plain = plain(&client, &request).await.unwrap();
            let streamed = streamed(&client, &request).await.unwrap();
            assert_eq!(plain.message, streamed.message, "{format:?}");
            assert_eq!(
                (&plain.stop, plain.usage.output_tokens),
                (&streamed.stop, streamed.usage.output_tokens)
            );
            assert_eq!(plain.usage.prompt_tokens(), streamed.usage.prompt_tokens());
            assert!(plain.usage.prompt_tokens() > 50, "{:?}", plain.usage);
            if turn == 0 {
                assert_eq!(plain.stop, StopReason::ToolUse);
                let thinking = plain.message.content[0].as_thinking();
                assert_eq!(thinking.as_deref(), Some("Two at once, ä€😀."));
                let inputs: Vec<Value> = plain.calls().into_iter().map(|c| c.input).collect();
                assert_eq!(
                    inputs,
                    [json!({"command": "echo \"ä\\\\n\""}), json!({"command": "ls", "timeout": 5})]
                );
                chat.push(plain.message.clone());
                let results = plain.calls().into_iter().map(|call| call.finish(Ok("ok".into())));
                chat.push(Message::results(results));
            } else {
                let answer = (plain.text(), plain.stop);
                assert_eq!(answer, ("Both ran: ok, ok.".into(), StopReason::EndTurn));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_may_be_split_anywhere() {
    for format in FORMATS {
        let server = serve(rich()).await;
        let whole = streamed(&client(&server, format), &request(&chat())).await.unwrap();
        for bytes in [1, 2, 3, 7, 64] {
            let [first, second] = rich();
            let server = serve([first.fault(json!({ "split": bytes })), second]).await;
            let got = streamed(&client(&server, format), &request(&chat())).await.unwrap();
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
            let fault = json!({"cut_after": events, "times": "always"});
            let turn = call("bash", json!({"command": "ls"})).say("hello").fault(fault);
            let server = serve([turn]).await;
            match streamed(&client(&server, format), &request(&chat())).await {
                Err(error @ Error::Net { .. }) => {
                    let expected = format!("the stream was cut after {events} events: ");
                    assert!(error.to_string().contains(&expected), "{format:?}: {error}");
                    cuts += 1;
                }
                Err(other) => panic!("{format:?}, cut after {events}: {other:?}"),
                Ok(reply) => {
                    // Past its end a stream cannot be cut.
                    assert_eq!((reply.calls().len(), reply.text()), (1, "hello".into()));
                    break;
                }
            }
        }
        assert!(cuts > 5, "{format:?}: {cuts}");
    }
}

/// What the stream of one turn ends with that has this fault.
async fn streamed_with(format: Format, fault: Value) -> Result<Reply> {
    let server = serve([say("hello there").fault(fault)]).await;
    streamed(&client(&server, format), &request(&chat())).await
}

#[tokio::test]
async fn an_error_inside_a_stream_is_reported() {
    for format in FORMATS {
        let fault = json!({"error_event": "overloaded_error", "after": 2});
        let error = streamed_with(format, fault).await.unwrap_err().to_string();
        assert!(error.contains("overloaded_error"), "{format:?}: {error}");
        assert!(error.contains("(in the middle of its reply)"), "{format:?}: {error}");
    }
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_an_error() {
    for format in FORMATS {
        let fault = json!({"end_after": 3, "times": "always"});
        let error = streamed_with(format, fault).await.unwrap_err();
        assert!(matches!(error, Error::Net { .. }), "{error:?}");
        let expected = "the stream ended after 3 events, without its last one";
        assert!(error.to_string().ends_with(expected), "{format:?}: {error}");
    }
}

/// What the events of a stream add up to, written by `write`.
async fn written(format: Format, events: &[Value], write: impl Fn(&Value) -> String) -> Reply {
    let body: String = events.iter().map(&write).collect();
    let end = if format == Format::OpenAi { write(&json!("[DONE]")) } else { String::new() };
    let (url, _) = fixed(http("200 OK", "content-type: text/plain\r\n", &(body + &end)));
    let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
    streamed(&client, &Request::of(&chat())).await.unwrap()
}

/// The data of an event.
fn data(event: &Value) -> String {
    if event == "[DONE]" { "[DONE]".into() } else { event.to_string() }
}

fn choice(index: u32, delta: &Value, reason: &Value) -> Value {
    json!({"index": index, "delta": delta, "finish_reason": reason})
}

/// The events of a reply with text, one call in pieces, and all that may stand between them.
fn events_of(format: Format) -> Vec<Value> {
    match format {
        Format::Anthropic => {
            let of = |kind: &str, index: u32, key: &str, value: Value| {
                let kind = format!("content_block_{kind}");
                json!({"type": kind, "index": index, key: value})
            };
            let delta = |index: u32, value: Value| of("delta", index, "delta", value);
            let start = |index: u32, value: Value| of("start", index, "content_block", value);
            let stop = |index: u32| of("stop", index, "is_new", Value::Null);
            vec![
                json!({"type": "message_start", "message": {"stop_reason": null,
                    "usage": {"input_tokens": 9, "output_tokens": 1}}}),
                start(0, json!({"type": "fallback", "from": "a"})),
                stop(0),
                start(1, json!({"type": "text", "text": ""})),
                json!({"type": "ping"}),
                delta(1, json!({"type": "text_delta", "text": "Hel"})),
                delta(1, json!({"type": "text_delta", "text": "lo"})),
                stop(1),
                start(2, json!({"type": "tool_use", "id": "1", "name": "t", "input": {}})),
                delta(2, json!({"type": "input_json_delta", "partial_json": ""})),
                delta(2, json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
                json!({"type": "next_year", "index": 2}),
                delta(2, json!({"type": "input_json_delta", "partial_json": " 1}"})),
                stop(2),
                json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
                    "usage": {"output_tokens": 5}}),
                json!({"type": "message_stop"}),
            ]
        }
        Format::OpenAi => {
            let chunk = |delta, reason| json!({"choices": [choice(0, &delta, &reason)]});
            let call = |call: Value| chunk(json!({"tool_calls": [call]}), Value::Null);
            vec![
                chunk(json!({"role": "assistant", "content": ""}), Value::Null),
                chunk(json!({"content": "Hel"}), Value::Null),
                json!({"choices": null}),
                chunk(json!({"content": "lo"}), json!("")),
                call(json!({"index": 0, "id": "1", "function": {"name": "t", "arguments": ""}})),
                call(json!({"index": 0, "function": {"arguments": "{\"a\":"}})),
                call(json!({"index": 0, "function": {"arguments": " 1}"}})),
                chunk(json!({}), json!("tool_calls")),
                json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}),
            ]
        }
    }
}

#[tokio::test]
async fn a_stream_is_read_however_its_lines_are_written() {
    for format in FORMATS {
        let events = events_of(format);
        let usual = written(format, &events, |event| format!("data: {}\n\n", data(event))).await;
        let usage = (usual.usage.input_tokens, usual.usage.output_tokens);
        assert_eq!((usual.text(), usage), ("Hello".into(), (9, 5)));
        assert_eq!((usual.calls().len(), &usual.calls()[0].input), (1, &json!({"a": 1})));
        let others: [fn(&Value) -> String; 7] = [
            |event| format!("data:{}\n\n", data(event)),
            |event| format!("data: {}\r\n\r\n", data(event)),
            |event| format!("data: {}\r\r", data(event)),
            |event| format!(": a comment\n\n:\ndata: {}\n: another\n\n\n\n", data(event)),
            |event| format!("id: 7\nretry: 10\nevent: x\ndata: {}\nnew: y\n\n", data(event)),
            |event| format!("event: ping\n\ndata: {}\n\ndata\n\n", data(event)),
            // JSON over several lines.
            |event| format!("data: {}\n\n", data(event).replace(",\"", ",\ndata: \"")),
        ];
        for (number, write) in others.into_iter().enumerate() {
            let reply = written(format, &events, write).await;
            assert_eq!(reply, usual, "{format:?}, number {number}");
        }
    }
}

#[tokio::test]
async fn a_million_characters_may_stand_in_one_line() {
    let long = "ä".repeat(500_000) + &"x".repeat(500_000);
    for format in FORMATS {
        let mut events = events_of(format);
        let place = events.iter().position(|event| event.to_string().contains("\"Hel\"")).unwrap();
        let longer = events[place].to_string().replace("Hel", &long);
        events[place] = serde_json::from_str(&longer).unwrap();
        let reply = written(format, &events, |event| format!("data: {}\n\n", data(event))).await;
        assert!(reply.text() == long.clone() + "lo" && reply.calls().len() == 1);
    }
}

#[tokio::test]
async fn chunks_that_repeat_the_reason_and_share_an_index_are_told_apart() {
    let chunk = |delta| json!({"choices": [choice(0, &delta, &json!("tool_calls"))]});
    let call = |id: &str, arguments: &str| {
        chunk(json!({"tool_calls": [{"index": 0, "id": id, "type": "function",
            "function": {"name": "t", "arguments": arguments}}]}))
    };
    let events = [
        chunk(json!({"role": "assistant", "content": "Both"})),
        chunk(json!({"content": " at once"})),
        call("a", "{\"n\": 1}"),
        call("b", "{\"n\": 2}"),
    ];
    let write = |event: &Value| format!("data: {}\n\n", data(event));
    let reply = written(Format::OpenAi, &events, write).await;
    let calls: Vec<(String, Value)> = reply.calls().into_iter().map(|c| (c.id, c.input)).collect();
    let expected = [("a".to_string(), json!({"n": 1})), ("b".to_string(), json!({"n": 2}))];
    assert_eq!((reply.text(), calls), ("Both at once".into(), expected.to_vec()));
    assert_eq!(reply.stop, StopReason::ToolUse);
}

#[tokio::test]
async fn citations_belong_to_their_text() {
    let citation = json!({"type": "char_location", "cited_text": "x"});
    let start = json!({"type": "text", "text": "", "citations": []});
    let events = [
        json!({"type": "content_block_start", "index": 0, "content_block": start}),
        json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "citations_delta", "citation": citation}}),
        json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": "cited"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        json!({"type": "message_stop"}),
    ];
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let (url, _) = fixed(http("200 OK", "", &body));
    let client = Client::new(Endpoint::new(Format::Anthropic, &url, "m")).unwrap();
    // A whole stream where none was asked for is put together by core itself.
    let reply = plain(&client, &Request::of(&chat())).await.unwrap();
    let Block::Text { text, more, .. } = &reply.message.content[0] else { panic!("{reply:?}") };
    assert_eq!((&**text, &more["citations"]), ("cited", &json!([citation])));
}

#[tokio::test]
async fn pings_and_comments_begin_the_time_limit_of_silence_anew() {
    let parts = |format| {
        let events = events_of(format).into_iter().map(|event| format!("data: {event}\n\n"));
        let end = (format == Format::OpenAi).then(|| "data: [DONE]\n\n".to_string());
        let mut parts: Vec<String> = events.chain(end).collect();
        let pings = ["event: ping\ndata: {\"type\": \"ping\"}\n\n", ": ping\n\n"].repeat(4);
        parts.splice(3..3, pings.into_iter().map(String::from));
        parts
    };
    for format in FORMATS {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let parts = parts(format);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 64 * 1024]).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            for part in parts {
                if part.contains("ping") {
                    std::thread::sleep(Duration::from_millis(150));
                }
                let _ = stream.write_all(part.as_bytes());
            }
        });
        let mut endpoint = Endpoint::new(format, &url, "m");
        endpoint.limits.idle = Duration::from_secs(1);
        let client = Client::new(endpoint).unwrap();
        let start = std::time::Instant::now();
        assert_eq!(streamed(&client, &Request::of(&chat())).await.unwrap().text(), "Hello");
        assert!(start.elapsed() > Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_malformed_event_is_an_error_that_names_its_place() {
    for format in FORMATS {
        let error = streamed_with(format, json!({"malformed_after": 2})).await.unwrap_err();
        let expected = "event 3 of the stream is malformed";
        assert!(error.to_string().contains(expected), "{format:?}: {error}");
    }
}

#[tokio::test]
async fn events_of_unknown_types_are_skipped() {
    for format in FORMATS {
        let reply = streamed_with(format, json!({"unknown_after": 1})).await.unwrap();
        assert_eq!(reply.text(), "hello there", "{format:?}");
    }
}

#[tokio::test]
async fn a_silent_stream_ends_by_its_time_limit() {
    for format in FORMATS {
        let server = serve([say("hello").fault(json!({"stall_after": 2}))]).await;
        let mut endpoint = endpoint(&server, format);
        endpoint.limits.idle = Duration::from_millis(100);
        let client = Client::new(endpoint).unwrap();
        let error = streamed(&client, &request(&chat())).await.unwrap_err();
        assert!(error.to_string().contains("nothing came for 0.1 s"), "{error}");
    }
}

#[tokio::test]
async fn a_late_answer_ends_by_its_time_limit() {
    let server = serve([say("hello").delay_ms(60_000)]).await;
    let mut endpoint = endpoint(&server, Format::Anthropic);
    let short = Duration::from_millis(50);
    endpoint.limits = Limits { first_byte: short, whole: short, ..endpoint.limits };
    let client = Client::new(endpoint).unwrap();
    for error in [
        plain(&client, &request(&chat())).await.unwrap_err(),
        streamed(&client, &request(&chat())).await.unwrap_err(),
    ] {
        assert!(error.to_string().ends_with("no answer within 0.05 s"), "{error}");
    }
}

/// One turn of a whole agent.
struct Asked {
    end: Result<Reply>,
    /// What the person was shown.
    shown: Vec<String>,
    server: Server,
}

async fn asked(format: Format, turns: impl IntoIterator<Item = Turn>) -> Asked {
    let server = serve(turns).await;
    let ui = Arc::new(Recorder::default());
    let agent = Agent::new(client(&server, format), ".").ui(ui.clone()).tool(tools::Bash);
    let end = agent.run(&mut Chat::default(), "go", agent_loop).await;
    Asked { end, shown: ui.take(), server }
}

#[tokio::test]
async fn an_error_that_may_pass_is_retried_and_each_retry_is_shown() {
    for format in FORMATS {
        for (fault, failures) in [
            (json!({"status": 429, "retry_after": 0, "times": 2}), 2),
            (json!({"status": 529, "times": 1}), 1),
            (json!({"status": 503, "retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1),
        ] {
            let Asked { end, shown, server } =
                asked(format, [say("hello").fault(fault.clone())]).await;
            assert_eq!(end.unwrap().text(), "hello", "{fault}");
            assert_eq!(
                (server.request_count(), shown.len()),
                (failures + 1, failures + 1),
                "{shown:?}"
            );
            for (line, attempts) in shown[..failures].iter().zip(1..) {
                let status = &fault["status"];
                let host = server.url().trim_start_matches("http://");
                let retry = format!("main: retry {attempts}/8 {host} answered {status} (");
                assert!(line.starts_with(&retry), "{line}");
            }
            assert_eq!(shown[failures], "main: reply hello");
        }
    }
}

#[tokio::test]
async fn an_error_that_stays_is_not_retried() {
    let html = "HTML where JSON was expected (status 403)";
    // A fault, what is said of it in each format, and whether the prompt is withdrawn.
    for (fault, anthropic, openai, withdrawn) in [
        (
            json!({"status": 400, "message": "too odd"}),
            "answered 400 (invalid_request_error): too odd",
            "answered 400 (invalid_request_error): too odd",
            true,
        ),
        (
            json!({"status": 401, "message": "bad key"}),
            "answered 401 (authentication_error): bad key",
            "answered 401 (invalid_request_error): bad key",
            false,
        ),
        (
            json!({"status": 404, "message": "no such model"}),
            "answered 404 (not_found_error): no such model",
            "answered 404 (invalid_request_error): no such model",
            false,
        ),
        (json!({"status": 413}), "answered 413", "answered 413", true),
        (
            json!({"status": 429, "type": "insufficient_quota", "message": "spent"}),
            "answered 429 (insufficient_quota): spent",
            "answered 429 (insufficient_quota): spent",
            false,
        ),
        (
            json!({"status": 429, "retry_after": 3600}),
            "it asks to wait 3600 s",
            "it asks to wait 3600 s",
            false,
        ),
        (json!({"status": 403, "html": true}), html, html, false),
    ] {
        for (format, expected) in FORMATS.into_iter().zip([anthropic, openai]) {
            let Asked { end, shown, server } =
                asked(format, [say("hello").fault(fault.clone())]).await;
            let error = end.unwrap_err();
            assert!(error.to_string().contains(expected), "{format:?} {fault}: {error}");
            assert_eq!((server.request_count(), error.withdraws()), (1, withdrawn), "{fault}");
            let notice =
                "main: notice the conversation goes on without that prompt and what came of it";
            assert_eq!(shown, vec![notice; usize::from(withdrawn)], "{fault}");
        }
    }
}

#[tokio::test]
async fn retries_are_limited() {
    for format in FORMATS {
        let soon = json!({"retry-after-ms": "1"});
        let fault = json!({"status": 429, "headers": soon, "times": "always"});
        let Asked { end, shown, server } = asked(format, [say("x").fault(fault)]).await;
        let error = end.unwrap_err();
        assert!(matches!(error, Error::Api { status: 429, .. }), "{error:?}");
        // The last attempt is followed by no wait.
        assert_eq!((server.request_count(), shown.len()), (8, 7), "{shown:?}");
    }
}

#[tokio::test]
async fn a_reply_that_is_no_answer_is_an_error_that_says_why() {
    let rm = || call("bash", json!({"command": "rm"})).say("half a").stop("max_tokens");
    for format in FORMATS {
        let cut = say("half a").stop("max_tokens").usage(json!({"output_tokens": 16_000}));
        for (turn, expected) in [
            (cut, "the reply was cut after 16000 tokens, so nothing of it was run or kept"),
            (rm(), "so nothing of it was run or kept"),
            (say("no").stop("refusal"), "the model declined to answer"),
            (say("as I must not").stop("refusal"), ": as I must not"),
            (Turn::default(), "the model gave an empty reply"),
        ] {
            let error = asked(format, [turn]).await.end.unwrap_err();
            assert!(matches!(error, Error::Unfinished { .. }), "{expected}: {error:?}");
            assert!(error.to_string().contains(expected), "{format:?}, {expected}: {error}");
        }
    }
    let full = say("half").stop("model_context_window_exceeded");
    let error = asked(Format::Anthropic, [full]).await.end.unwrap_err().to_string();
    assert!(error.contains("fills the model's context window"), "{error}");
}

#[tokio::test]
async fn a_full_window_is_recognised_in_each_servers_words() {
    for fault in [
        json!({"status": 400, "message": "prompt is too long: 213462 tokens > 200000 maximum"}),
        json!({"status": 400, "code": "context_length_exceeded", "message": "too much"}),
    ] {
        let end = asked(Format::OpenAi, [say("x").fault(fault.clone())]).await.end;
        let Err(Error::Unfinished { stop, .. }) = end else { panic!("{fault}: {end:?}") };
        assert_eq!(stop, StopReason::WindowFull, "{fault}");
    }
}

#[tokio::test]
async fn a_paused_reply_is_sent_back_until_it_is_whole() {
    let turns = [say("one ").stop("pause_turn"), say("two ").stop("pause_turn"), say("three")];
    let Asked { end, shown, server } = asked(Format::Anthropic, turns).await;
    let reply = end.unwrap();
    assert_eq!((reply.text(), reply.stop), ("one two three".into(), StopReason::EndTurn));
    assert_eq!(shown, ["main: reply one two three"]);
    let bodies: Vec<Value> = server.requests().into_iter().map(|seen| seen.body).collect();
    let length = |value: &Value| value.as_array().unwrap().len();
    let counts: Vec<usize> = bodies.iter().map(|body| length(&body["messages"])).collect();
    assert_eq!(counts, [1, 2, 2]);
    let sent_back = |body: &Value| length(&body["messages"][1]["content"]);
    assert!(sent_back(&bodies[2]) > sent_back(&bodies[1]), "{bodies:?}");
}

#[tokio::test]
async fn pauses_are_limited() {
    let forever = say("x").stop("pause_turn").repeat(50);
    let error = asked(Format::Anthropic, [forever]).await.end.unwrap_err();
    assert_eq!(error.to_string(), "stopped after 10 pauses of one reply");
}

#[tokio::test]
async fn broken_arguments_are_never_run_and_never_break_the_wire() {
    for format in FORMATS {
        let command = json!({"command": "echo a long enough command"});
        let broken = call("bash", command).fault(json!({"cut_arguments": 12}));
        let server = serve([broken, say("{{ results[0].text }}")]).await;
        let client = client(&server, format);
        let mut chat = chat();
        let reply = streamed(&client, &request(&chat)).await.unwrap();
        let [call] = &reply.calls()[..] else { panic!("{format:?}: {reply:?}") };
        assert_eq!(call.input, "{\"command\":\"");
        chat.push(reply.message.clone());
        chat.push(Agent::new(client.clone(), ".").tool(tools::Bash).act(reply.calls()).await);
        let told = streamed(&client, &request(&chat)).await.unwrap().text();
        assert!(told.contains("the arguments are no JSON object"), "{format:?}: {told}");
    }
}

#[tokio::test]
async fn thinking_and_unknown_blocks_return_byte_for_byte() {
    let unknown = json!({"type": "web_search_tool_result", "tool_use_id": "srv",
        "content": [{"z": 1, "a": 1.5}]});
    let think = call("bash", json!({"command": "ls"})).think("deep \"ä\" thought").raw(unknown);
    let server = serve([think, say("done")]).await;
    let client = client(&server, Format::Anthropic);
    let mut chat = chat();
    let reply = plain(&client, &request(&chat)).await.unwrap();
    chat.push(reply.message.clone());
    chat.push(Message::results([reply.calls()[0].finish(Ok("ok".into()))]));
    // The server has signed the thinking over all that stands before it: it refuses a changed byte.
    assert_eq!(plain(&client, &request(&chat)).await.unwrap().text(), "done");
    let text = serde_json::to_string(&chat).unwrap();
    let read: Chat = serde_json::from_str(&text).unwrap();
    assert_eq!((read.messages(), serde_json::to_string(&read).unwrap()), (chat.messages(), text));
    let mut changed = request(&chat);
    changed.system.push("another rule".into());
    let error = plain(&client, &changed).await.unwrap_err();
    assert!(error.to_string().contains("bound to a different conversation"), "{error}");
    assert!(error.withdraws(), "{error}");
}

#[tokio::test]
async fn inserted_text_never_leaves_with_its_origin() {
    for format in FORMATS {
        let server = serve([call("bash", json!({"command": "ls"})), say("done")]).await;
        let client = client(&server, format);
        let mut chat = Chat::default();
        chat.push(Message::kept("skill", "kept text"));
        chat.push(Message::user("go"));
        let reply = plain(&client, &request(&chat)).await.unwrap();
        let id = reply.calls()[0].id.clone();
        chat.push(reply.message.clone());
        let output = ToolOutput(vec![Block::kept("file", "kept result, "), Block::text("result")]);
        chat.push(Message::results([ToolResult { id: id.clone(), output, is_error: false }]));
        chat.push(Message::inserted("reminder", "inserted text"));
        let origins = |chat: &Chat| -> Vec<String> {
            chat.blocks().filter_map(Block::origin).map(|origin| origin.name.to_string()).collect()
        };
        assert_eq!(origins(&chat), ["skill", "file", "reminder"]);
        // A session file keeps the origins; a conversation from a file is sent without them too.
        let file = serde_json::to_string(&chat).unwrap();
        let read: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!(origins(&read), origins(&chat));
        for chat in [&chat, &read] {
            let mut request = request(chat);
            // A cache mark must not bring an origin along.
            let place = Place::Block { message: 2, block: 1 };
            request.marks = vec![Mark { place, lifetime: Lifetime::FiveMinutes }];
            plain(&client, &request).await.unwrap();
            streamed(&client, &request).await.unwrap();
        }
        let text = |text: &str| json!({"type": "text", "text": text});
        let (first, last) = match format {
            Format::Anthropic => {
                let mut marked = text("inserted text");
                marked["cache_control"] = json!({"type": "ephemeral"});
                let result = json!({"type": "tool_result", "tool_use_id": id,
                    "content": [text("kept result, "), text("result")]});
                (
                    vec![json!({"role": "user", "content": [text("kept text"), text("go")]})],
                    vec![json!({"role": "user", "content": [result, marked]})],
                )
            }
            Format::OpenAi => (
                vec![
                    json!({"role": "system", "content": "Be brief."}),
                    json!({"role": "user", "content": "kept text\n\ngo"}),
                ],
                vec![
                    json!({"role": "tool", "tool_call_id": id, "content": "kept result, result"}),
                    json!({"role": "user", "content": "inserted text"}),
                ],
            ),
        };
        let seen = server.requests();
        assert_eq!(seen.len(), 5);
        for seen in &seen[1..] {
            let messages = seen.body["messages"].as_array().unwrap();
            assert_eq!(seen.status, 200);
            assert_eq!(messages[..first.len()], first, "{format:?}");
            assert_eq!(messages[messages.len() - last.len()..], last, "{format:?}");
        }
        for seen in &seen {
            assert!(!seen.body.to_string().contains("origin"), "{format:?}: {}", seen.body);
        }
    }
}

/// Arguments of every shape that a type can give a schema.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Shapes {
    /// The words.
    words: Vec<String>,
    /// A word of a list.
    kind: Kind,
    other_kind: Option<Kind>,
    small: u8,
    signed: Option<i32>,
    large: u64,
    share: f64,
    flag: Option<bool>,
    nested: Vec<Nested>,
    counts: BTreeMap<String, u16>,
    one_or_many: OneOrMany,
    any: Value,
    anything: Vec<Value>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// The first.
    First,
    SecondOne,
}

/// A step.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Nested {
    #[serde(default)]
    depth: u32,
    children: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Tools as variants of an enum, which return their arguments.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Variants {
    /// Takes every shape.
    AllShapes(Box<Shapes>),
    /// Takes one field.
    OneField { field: Option<String> },
    /// Takes nothing.
    Nothing {},
}

/// Takes every shape one level down, and returns its arguments.
#[derive(Serialize, Deserialize, JsonSchema)]
struct OwnInput {
    shapes: Shapes,
}

/// A tool with a type of its own.
struct Own;

impl Tool for Own {
    type Input = OwnInput;
    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<OwnInput>("own")
    }
    fn effect(&self, _: &OwnInput) -> Effect {
        Effect::Reads
    }
    async fn call(&self, input: OwnInput, _: &Context) -> Result<ToolOutput, ToolError> {
        Ok(json!(input).to_string().into())
    }
}

#[tokio::test]
async fn schemas_from_types_are_accepted_in_both_formats() {
    async fn run(_: &(), call: Variants, _: &Context) -> Result<String, ToolError> {
        Ok(json!(call).to_string())
    }
    let nested = json!([{"depth": 1, "children": ["c"]}]);
    let shapes = json!({"words": ["a"], "kind": "second_one", "other_kind": "first", "small": 255,
        "signed": -1, "large": u64::MAX, "share": 0.5, "flag": true, "nested": nested,
        "counts": {"a": 1}, "one_or_many": ["a", "b"], "any": {"x": null}, "anything": [1, "2"]});
    for format in FORMATS {
        let all = calls([
            ("all_shapes", shapes.clone()),
            ("one_field", json!({"field": "f"})),
            ("nothing", json!({})),
            ("own", json!({ "shapes": shapes })),
        ]);
        let server = serve([all, say_results()]).await;
        let agent = tools::all(Agent::new(client(&server, format), "."));
        let agent = agent.tools((), |_: &Variants| Effect::Internal, run).tool(Own);
        let reply = agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
        let results: Vec<Value> =
            reply.text().split(" | ").map(|text| serde_json::from_str(text).unwrap()).collect();
        assert_eq!(
            results,
            [
                json!({ "all_shapes": shapes }),
                json!({"one_field": {"field": "f"}}),
                json!({"nothing": {}}),
                json!({ "shapes": shapes }),
            ],
            "{format:?}"
        );
        let expected: Vec<Value> = agent
            .specs()
            .iter()
            .map(|spec| match format {
                Format::Anthropic => json!(spec),
                Format::OpenAi => json!({"type": "function", "function": {"name": spec.name,
                    "description": spec.description, "parameters": spec.input_schema}}),
            })
            .collect();
        assert_eq!(expected.len(), 10);
        for seen in server.requests() {
            assert_eq!((seen.status, &seen.body["tools"]), (200, &json!(expected)), "{format:?}");
        }
    }
}

#[tokio::test]
async fn cache_marks_are_written_and_billed() {
    let server = serve([say("hello")]).await;
    let client = client(&server, Format::Anthropic);
    let mut request = request(&chat());
    request.system = vec!["word ".repeat(2000).into()];
    let five = |place| Mark { place, lifetime: Lifetime::FiveMinutes };
    request.marks = vec![
        Mark { place: Place::Tools, lifetime: Lifetime::Hour },
        five(Place::System(0)),
        five(Place::Block { message: 0, block: 0 }),
    ];
    let first = plain(&client, &request).await.unwrap().usage;
    let second = plain(&client, &request).await.unwrap().usage;
    assert!(first.cache_creation_input_tokens > 2000, "{first:?}");
    assert_eq!(first.cache_read_input_tokens, 0);
    assert_eq!(second.cache_read_input_tokens, first.cache_creation_input_tokens);
    assert_eq!(second.prompt_tokens(), first.prompt_tokens());
    let body = server.requests()[0].body.clone();
    assert_eq!(body["tools"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
}

#[tokio::test]
async fn nothing_is_sent_unasked() {
    for format in FORMATS {
        let server = serve([say("hello")]).await;
        let client = client(&server, format);
        plain(&client, &Request::of(&chat())).await.unwrap();
        streamed(&client, &Request::of(&chat())).await.unwrap();
        let mut asked =
            Request { max_tokens: Some(7), model: Some("other".into()), ..Request::of(&chat()) };
        asked.extra.insert("metadata".into(), json!({"user_id": "x"}));
        plain(&client, &asked).await.unwrap();
        let bodies: Vec<Value> = server.requests().into_iter().map(|seen| seen.body).collect();
        let message = match format {
            Format::Anthropic => {
                json!({"role": "user", "content": [{"type": "text", "text": "go"}]})
            }
            Format::OpenAi => json!({"role": "user", "content": "go"}),
        };
        let smallest = json!({"model": "rehearsal", "max_tokens": 16_000, "messages": [message]});
        assert_eq!(bodies[0], smallest);
        assert_eq!(bodies[1]["max_tokens"], 32_000);
        assert_eq!((&bodies[2]["max_tokens"], &bodies[2]["model"]), (&json!(7), &json!("other")));
        assert_eq!(bodies[2]["metadata"], json!({"user_id": "x"}));
    }
}

#[tokio::test]
async fn a_stopped_turn_ends_its_request_at_once() {
    let server = serve([say("hello").delay_ms(600_000)]).await;
    let agent = Agent::new(client(&server, Format::Anthropic), ".");
    let stop = async {
        assert!(rungs_process::testing::until(|| server.request_count() == 1).await);
        agent.context().cancel().cancel();
    };
    let mut chat = Chat::default();
    let (end, ()) = tokio::join!(agent.run(&mut chat, "go", agent_loop), stop);
    assert!(matches!(end, Err(Error::Cancelled)), "{end:?}");
}

/// A server that gives every request the same bytes, and passes on what it was sent.
fn fixed(answer: String) -> (String, mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![0; 64 * 1024];
            let n = stream.read(&mut request).unwrap_or(0);
            // A test that has ended reads no more.
            let _ = sender.send(String::from_utf8_lossy(&request[..n]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, requests)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// A client whose key must appear nowhere.
fn with_key(format: Format, url: &str) -> Client {
    let mut endpoint = Endpoint::new(format, url, "m");
    endpoint.auth = Auth::ApiKey(Secret::new("sk-very-secret"));
    Client::new(endpoint).unwrap()
}

async fn error_from(format: Format, url: &str) -> Error {
    plain(&with_key(format, url), &Request::of(&chat())).await.unwrap_err()
}

/// As the person sees it and as a log would.
fn both_texts(error: &Error) -> String {
    format!("{error} {error:?}")
}

#[tokio::test]
async fn the_key_does_not_follow_a_redirect() {
    let (other, other_requests) = fixed(http("200 OK", "", "{}"));
    let location = format!("location: {other}/v1/messages\r\n");
    let (url, requests) = fixed(http("307 Temporary Redirect", &location, ""));
    let error = error_from(Format::Anthropic, &url).await.to_string();
    assert!(error.contains("it redirects to 127.0.0.1 (307)"), "{error}");
    assert!(requests.recv().unwrap().contains("x-api-key: sk-very-secret"));
    assert_eq!(other_requests.try_recv(), Err(mpsc::TryRecvError::Empty));
}

#[tokio::test]
async fn an_error_that_repeats_the_key_is_shown_without_it() {
    let error = json!({"type": "auth sk-very-secret", "message": "invalid key sk-very-secret"});
    let body = json!({ "error": error }).to_string();
    let (url, _requests) = fixed(http("401 Unauthorized", "request-id: sk-very-secret\r\n", &body));
    let error = error_from(Format::Anthropic, &url).await;
    assert!(!both_texts(&error).contains("sk-very"), "{error}");
    let expected = "answered 401 (auth ***): invalid key *** [request ***]";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[tokio::test]
async fn an_unreadable_reply_that_repeats_the_key_is_shown_without_it() {
    for format in FORMATS {
        let body = json!({"content": "sk-very-secret", "choices": "sk-very-secret"}).to_string();
        let (url, _requests) = fixed(http("200 OK", "", &body));
        let error = error_from(format, &url).await;
        assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
        assert!(!both_texts(&error).contains("sk-very"), "{error}");
    }
}

#[tokio::test]
async fn a_stream_that_repeats_the_key_is_shown_without_it() {
    for format in FORMATS {
        let event =
            json!({"type": "error", "error": {"code": 400, "message": "bad sk-very-secret"}});
        let body = format!("data: {event}\n\n");
        let (url, _requests) = fixed(http("200 OK", "content-type: text/event-stream\r\n", &body));
        let error = streamed(&with_key(format, &url), &Request::of(&chat())).await.unwrap_err();
        assert!(error.to_string().contains("bad ***"), "{error}");
        assert!(!both_texts(&error).contains("sk-very"), "{error}");
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
            let (url, _requests) = fixed(http("200 OK", "", body));
            let error = error_from(format, &url).await.to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn a_refused_connection_names_host_and_reason() {
    let error = error_from(Format::OpenAi, "http://127.0.0.1:1/v1").await.to_string();
    assert!(error.starts_with("127.0.0.1:1: no connection: "), "{error}");
    assert!(error.contains("refused"), "{error}");
}

/// What a client makes of this body.
async fn reply_from(format: Format, body: &Value) -> Result<Reply> {
    let (url, _requests) = fixed(http("200 OK", "", &body.to_string()));
    let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
    plain(&client, &Request::of(&chat())).await
}

#[tokio::test]
async fn chat_completions_with_deviations_are_understood() {
    let call = json!({"id": "", "function": {"name": "t", "arguments": {"a": 1}}});
    let message = json!({"reasoning": "r", "reasoning_content": "r",
        "content": [{"type": "text", "text": "t"}], "tool_calls": [call]});
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let reply = reply_from(Format::OpenAi, &body).await.unwrap();
    assert_eq!((reply.text(), &reply.stop), ("t".into(), &StopReason::ToolUse));
    assert_eq!(reply.message.content[0].as_thinking().as_deref(), Some("r"));
    let [call] = &reply.calls()[..] else { panic!("{reply:?}") };
    assert_eq!(call.input, json!({"a": 1}));
    assert!(call.id.starts_with("call_") && call.id.len() > 10, "{}", call.id);
}

#[tokio::test]
async fn a_message_with_deviations_is_understood() {
    let usage = json!({"input_tokens": 7.0, "output_tokens": null, "cache_creation": []});
    let content =
        json!([{"type": "text", "text": "t"}, {"type": "tool_use", "id": "1", "name": "t"}]);
    let body = json!({"content": content, "usage": usage});
    let reply = reply_from(Format::Anthropic, &body).await.unwrap();
    assert_eq!((reply.usage.input_tokens, reply.calls()[0].input.clone()), (7, json!({})));
}

#[tokio::test]
async fn an_error_under_a_status_of_success_is_an_error() {
    let body = json!({"error": {"message": "no credits", "code": "402"}});
    for format in FORMATS {
        let error = reply_from(format, &body).await.unwrap_err().to_string();
        assert!(error.contains("answered 402 (402): no credits"), "{error}");
    }
}

#[tokio::test]
async fn an_error_under_a_status_of_success_that_may_pass_is_retried() {
    for error in [
        json!({"code": 502, "message": "no provider"}),
        json!({"code": "429", "message": "slow down"}),
        json!({"type": "overloaded_error", "message": "Overloaded"}),
    ] {
        let choice =
            json!({"choices": [{"error": error, "message": {}, "finish_reason": "error"}]});
        let whole = json!({ "error": error });
        let tries =
            [(Format::Anthropic, &whole), (Format::OpenAi, &whole), (Format::OpenAi, &choice)];
        let tries = tries.map(async |(format, body)| {
            let (url, seen) = answering(vec![http("200 OK", "", &body.to_string()), hello(format)]);
            let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
            let reply = plain(&client, &Request::of(&chat())).await.unwrap();
            // As the first event of a stream too.
            let (url, streams) =
                answering(vec![http("200 OK", "", &format!("data: {body}\n\n")), hello(format)]);
            let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
            streamed(&client, &Request::of(&chat())).await.unwrap();
            assert_eq!(reply.text(), "hello", "{body}");
            assert_eq!([seen.lock().unwrap().len(), streams.lock().unwrap().len()], [2, 2]);
        });
        futures_util::future::join_all(tries).await;
    }
}

#[tokio::test]
async fn an_error_under_a_status_of_success_says_what_it_is_about() {
    for (error, expected) in [
        (
            json!({"code": 401, "message": "no user"}),
            "answered 401 (unknown): no user; KEY was refused",
        ),
        (
            json!({"code": 404, "message": "no model"}),
            "no model; PATH was asked for `m`, which MODEL_ID names",
        ),
        (json!({"code": 400, "message": "bad message"}), "answered 400 (unknown): bad message"),
    ] {
        for (format, path) in
            [(Format::Anthropic, "/v1/messages"), (Format::OpenAi, "/chat/completions")]
        {
            let body = json!({ "error": error }).to_string();
            let (url, seen) = answering(vec![http("200 OK", "", &body)]);
            let mut endpoint = Endpoint::new(format, &url, "m");
            endpoint.auth = Auth::Bearer(Secret::new("sk-1"));
            endpoint.key_variable = Some("KEY");
            let client = Client::new(endpoint).unwrap();
            let error = plain(&client, &Request::of(&chat())).await.unwrap_err();
            assert_eq!(seen.lock().unwrap().len(), 1, "{body}");
            let shown = error.to_string();
            assert!(shown.ends_with(&expected.replace("PATH", path)), "{shown}");
            // What is refused is taken out of the conversation, as after any other refusal.
            assert_eq!(error.withdraws(), shown.contains("answered 400"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_refused_with_400_is_named() {
    for format in FORMATS {
        let body = json!([{"error": {"code": 400, "message": "API key not valid."}}]);
        let (url, _seen) = answering(vec![http("400 Bad Request", "", &body.to_string())]);
        let mut endpoint = Endpoint::new(format, &url, "m");
        endpoint.key_variable = Some("KEY");
        let error = plain(&Client::new(endpoint).unwrap(), &Request::of(&chat())).await;
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("(unknown): API key not valid.; KEY is not set"), "{error}");
    }
}

#[tokio::test]
async fn an_unfinished_reply_is_not_run_whatever_the_reason_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = json!({"command": "touch ran"}).to_string();
    let call = json!({"id": "1", "function": {"name": "bash", "arguments": arguments}});
    let body = json!({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "error"}]});
    let (url, _requests) = fixed(http("200 OK", "", &body.to_string()));
    let client = Client::new(Endpoint::new(Format::OpenAi, &url, "m")).unwrap();
    let agent = Agent::new(client, folder.path()).tool(tools::Bash);
    let error = agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap_err();
    assert_eq!(error.to_string(), "the model stopped for a reason unknown here: error");
    assert!(!folder.path().join("ran").exists());
}

#[tokio::test]
async fn an_empty_block_of_text_is_not_sent_back() {
    let empty = json!({"type": "text", "text": ""});
    let turns = [call("bash", json!({"command": "echo"})).raw(empty), say("done")];
    let Asked { end, server, .. } = asked(Format::Anthropic, turns).await;
    assert_eq!(end.unwrap().text(), "done");
    let sent = &server.requests()[1].body["messages"][1]["content"];
    let kinds: Vec<&Value> = sent.as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["tool_use"]);
}

/// A server that gives one answer after another, the last one again and again; and all that it was
/// sent, body by body.
fn answering(answers: Vec<String>) -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(vec![]));
    let bodies = seen.clone();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![];
            let body = loop {
                let mut part = [0; 4096];
                match stream.read(&mut part) {
                    Ok(n) if n > 0 => request.extend_from_slice(&part[..n]),
                    _ => break None,
                }
                let head = request.windows(4).position(|end| end == b"\r\n\r\n");
                let body = head.map(|end| &request[end + 4..]);
                if let Some(Ok(body)) = body.map(serde_json::from_slice::<Value>) {
                    break Some(body);
                }
            };
            let Some(body) = body else { continue };
            let mut bodies = bodies.lock().unwrap();
            let answer = &answers[bodies.len().min(answers.len() - 1)];
            bodies.push(body);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, seen)
}

/// A reply that says `hello`, in this format.
fn hello(format: Format) -> String {
    let body = match format {
        Format::Anthropic => json!({"content": [{"type": "text", "text": "hello"}]}),
        Format::OpenAi => json!({"choices": [{"message": {"content": "hello"}}]}),
    };
    http("200 OK", "", &body.to_string())
}

#[tokio::test]
async fn a_bound_on_the_reply_that_is_refused_is_lowered_once_by_the_numbers_given() {
    let words = "'max_tokens' is too large: 16000. This model's maximum context length is 8192 \
        tokens and your request has 500 input tokens (16000 > 8192 - 500).";
    let refusal = http("400 Bad Request", "", &json!({"error": {"message": words}}).to_string());
    for format in FORMATS {
        let (url, seen) = answering(vec![refusal.clone(), hello(format)]);
        let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
        assert_eq!(plain(&client, &Request::of(&chat())).await.unwrap().text(), "hello");
        let bounds = |seen: &Mutex<Vec<Value>>| -> Vec<Value> {
            seen.lock().unwrap().iter().map(|body| body["max_tokens"].clone()).collect()
        };
        assert_eq!(bounds(&seen), [16_000, 7692]);
        // A server that says the same again is quoted, and the setting is named.
        let (url, seen) = answering(vec![refusal.clone()]);
        let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
        let error = plain(&client, &Request::of(&chat())).await.unwrap_err();
        assert_eq!(bounds(&seen), [16_000, 7692]);
        assert!(error.withdraws(), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(words), "{error}");
        assert!(error.ends_with("; MAX_TOKENS sets the bound, which was 7692"), "{error}");
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_told_from_its_words_whatever_the_status() {
    for (status, body) in [
        (
            "400 Bad Request",
            json!({"error": "the initial prompt is greater than the context length"}),
        ),
        (
            "500 Internal",
            json!({"error": {"message": "input length exceeds maximum context length"}}),
        ),
        ("422 Unprocessable", json!([{"error": {"message": "The input token count exceeds it"}}])),
    ] {
        let (url, seen) = answering(vec![http(status, "", &body.to_string())]);
        let client = Client::new(Endpoint::new(Format::OpenAi, &url, "m")).unwrap();
        let error = plain(&client, &Request::of(&chat())).await.unwrap_err();
        let full = matches!(error, Error::Unfinished { stop: StopReason::WindowFull, .. });
        assert_eq!((full, seen.lock().unwrap().len()), (true, 1), "{error:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_is_no_json_keeps_its_status_and_its_words() {
    for (status, body, expected, withdrawn) in [
        (
            "413 Too Large",
            "<h1>413 Request Entity Too Large</h1><hr>nginx",
            "Entity Too Large nginx",
            true,
        ),
        ("400 Bad Request", "upstream says no", "of this API (status 400): upstream says no", true),
        ("422 Unprocessable", "", "the answer is empty (status 422)", true),
        ("403 Forbidden", "denied by policy", "denied by policy", false),
    ] {
        let (url, _) = answering(vec![http(status, "", body)]);
        let client = Client::new(Endpoint::new(Format::Anthropic, &url, "m")).unwrap();
        let error = plain(&client, &Request::of(&chat())).await.unwrap_err();
        assert_eq!(error.withdraws(), withdrawn, "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let (url, _) = answering(vec![http("400 Bad Request", "", &"x".repeat(1_000_000))]);
    let client = Client::new(Endpoint::new(Format::Anthropic, &url, "m")).unwrap();
    let error = plain(&client, &Request::of(&chat())).await.unwrap_err().to_string();
    assert!(error.len() < 3000, "{}", error.len());
}

#[tokio::test]
async fn a_refused_key_and_an_unknown_model_are_named() {
    for (status, auth, expected) in [
        ("401 Unauthorized", Auth::ApiKey(Secret::new("k")), "no; LLM_API_KEY was refused"),
        ("403 Forbidden", Auth::Bearer(Secret::new("k")), "no; LLM_API_KEY was refused"),
        ("401 Unauthorized", Auth::None, "no; LLM_API_KEY is not set"),
        (
            "404 Not Found",
            Auth::None,
            "no; /chat/completions was asked for `m`, which MODEL_ID names",
        ),
    ] {
        let (url, _) = answering(vec![http(status, "", r#"{"error": {"message": "no"}}"#)]);
        let mut endpoint = Endpoint::new(Format::OpenAi, &url, "m");
        endpoint.auth = auth;
        endpoint.key_variable = Some("LLM_API_KEY");
        let client = Client::new(endpoint).unwrap();
        let error = plain(&client, &Request::of(&chat())).await.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_reply_that_never_comes_or_is_cut_is_asked_for_once_more() {
    for format in FORMATS {
        let whole = hello(format);
        // The body ends before its length.
        let cut = whole[..whole.len() - 5].to_string();
        let (url, seen) = answering(vec![cut.clone(), whole]);
        let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
        assert_eq!(plain(&client, &Request::of(&chat())).await.unwrap().text(), "hello");
        assert_eq!(seen.lock().unwrap().len(), 2);
        let (url, seen) = answering(vec![cut]);
        let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
        let error = plain(&client, &Request::of(&chat())).await.unwrap_err().to_string();
        assert!(error.contains("the reply was cut: "), "{error}");
        assert_eq!(seen.lock().unwrap().len(), 2);

        let server = serve([say("hello").fault(json!({"stall_after": 0}))]).await;
        let mut endpoint = endpoint(&server, format);
        let limit = Duration::from_millis(200);
        endpoint.limits = Limits { first_byte: limit, idle: limit, ..endpoint.limits };
        let client = Client::new(endpoint).unwrap();
        assert_eq!(streamed(&client, &Request::of(&chat())).await.unwrap().text(), "hello");
        assert_eq!(server.request_count(), 2);
    }
}

#[tokio::test]
async fn a_picture_that_the_server_cannot_read_gives_way_alone() {
    let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01"[..], &[0; 40]].concat();
    let words = "messages.2.content.0: Could not process image";
    let refusal = json!({"error": {"message": words}}).to_string();
    for (format, status) in FORMATS.into_iter().flat_map(|f| [400, 404, 500].map(|s| (f, s))) {
        let refusal = http(&format!("{status} X"), "x-should-retry: false\r\n", &refusal);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), &png).unwrap();
        let input = json!({"file_path": "a.png"});
        let call = match format {
            Format::Anthropic => {
                let call = json!({"type": "tool_use", "id": "1", "name": "read", "input": input});
                json!({ "content": [call] })
            }
            Format::OpenAi => json!({"choices": [{"message": {"tool_calls": [
                {"id": "1", "function": {"name": "read", "arguments": input.to_string()}}]}}]}),
        };
        let call = http("200 OK", "", &call.to_string());
        let mut answers = vec![call, refusal.clone(), hello(format)];
        if format == Format::OpenAi && status != 404 {
            // The other form of the same request is tried first.
            answers.insert(2, refusal.clone());
        }
        let (url, seen) = answering(answers);
        let client = Client::new(Endpoint::new(format, &url, "m")).unwrap();
        let ui = Arc::new(Recorder::default());
        let agent = Agent::new(client, folder.path()).tool(tools::Read).ui(ui.clone());
        let mut chat = Chat::default();
        let reply = agent.run(&mut chat, "look", agent_loop).await.unwrap();
        assert_eq!(reply.text(), "hello");
        let shown = ui.take().join("\n");
        assert!(shown.contains("pictures left out: 1, since "), "{shown}");
        let bodies = seen.lock().unwrap().clone();
        let has_picture: Vec<bool> =
            bodies.iter().map(|body| body.to_string().contains("base64")).collect();
        let with_picture = bodies.len() - 2;
        assert_eq!(has_picture, [vec![false], vec![true; with_picture], vec![false]].concat());
        let note = "[a picture stood here, which the server refused: 127.0.0.1:";
        assert!(bodies.last().unwrap().to_string().contains(note), "{bodies:?}");
        assert_eq!(agent.run(&mut chat, "and?", agent_loop).await.unwrap().text(), "hello");
    }
}

#[tokio::test]
async fn what_a_server_refuses_for_what_it_holds_is_taken_out_whatever_the_status() {
    for status in [400, 406, 413, 415, 422, 451] {
        let body = json!({"error": {"message": "no"}}).to_string();
        let refusal = http(&format!("{status} X"), "", &body);
        let (url, seen) = answering(vec![refusal, hello(Format::Anthropic)]);
        let client = Client::new(Endpoint::new(Format::Anthropic, &url, "m")).unwrap();
        let (agent, mut chat) = (Agent::new(client, "."), Chat::default());
        agent.run(&mut chat, "bad words", agent_loop).await.unwrap_err();
        agent.run(&mut chat, "good words", agent_loop).await.unwrap();
        let last = seen.lock().unwrap().last().unwrap().to_string();
        assert!(last.contains("good words") && !last.contains("bad words"), "{status}: {last}");
    }
}

#[tokio::test]
async fn results_that_a_server_fails_at_again_and_again_are_taken_out_with_the_next_prompt() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "poison").unwrap();
    let input = json!({"file_path": "a.txt"});
    let call = json!({"type": "tool_use", "id": "1", "name": "read", "input": input});
    let call = http("200 OK", "", &json!({ "content": [call] }).to_string());
    for status in [403, 404, 500] {
        let body = json!({"error": {"message": "no template fits"}}).to_string();
        let refusal = http(&format!("{status} X"), "x-should-retry: false\r\n", &body);
        let answers = vec![call.clone(), refusal.clone(), refusal, hello(Format::Anthropic)];
        let (url, seen) = answering(answers);
        let client = Client::new(Endpoint::new(Format::Anthropic, &url, "m")).unwrap();
        let agent = Agent::new(client, folder.path()).tool(tools::Read);
        let mut chat = Chat::default();
        agent.run(&mut chat, "read it", agent_loop).await.unwrap_err();
        // The first time this may pass, so nothing is taken out; then the server is asked without.
        assert_eq!(agent.run(&mut chat, "go on", agent_loop).await.unwrap().text(), "hello");
        let bodies: Vec<String> = seen.lock().unwrap().iter().map(Value::to_string).collect();
        let poisoned: Vec<bool> = bodies.iter().map(|body| body.contains("poison")).collect();
        assert_eq!(poisoned, [false, true, true, false], "{status}");
        assert!(bodies[3].contains("go on") && bodies[3].contains("was taken out"), "{bodies:?}");
    }
}
