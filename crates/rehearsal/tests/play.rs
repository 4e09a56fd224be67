//! Which turn answers, what it says, and its form in both formats.
#![allow(clippy::needless_pass_by_value, reason = "json!(..) is an argument everywhere")]
mod common;
use common::*;
use rehearsal::{Turn, call, say, scene, script};
use serde_json::{Value, json};

const SHOP: &str = r#"
suggest: [Buy 3 pears, Look around]
scenes:
  - when: '(?i)buy (\d+) (\w+)'
    turns:
      - say: "{{ m[1] }} {{ m[2] }} it is."
        call:
          - take: {what: "{{ m[2] }}", count: 3, note: ["for {{ text }}"]}
          - pay: {}
      - call: [pay: {again: true, n: "{{ n }}"}]
        repeat: 2
      - say: >-
          {{ m[2] }}: {{ results[0].tool }} said {{ results[0].text | trim
          }}{% if results[0].is_error %} (failed){% endif %},
          asked {{ calls[0].n }}.
  - when: (?i)look
    turns:
      - {call: [look: {}]}
      - say: "{{ results[0].text | lines | length }} things"
  - when: silence
    turns: [{}]
  - when: broken
    turns: [{say: '{{ m[7] }}'}]
  - when: ^mail
    yields: true
    turns: [{say: "{{ text }} is read."}]
"#;

/// Results with this text for all calls of a reply.
fn results(reply: &Value, text: &str) -> Value {
    let calls =
        reply["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use");
    calls
        .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": text}))
        .collect()
}

#[tokio::test]
async fn a_scene_plays_to_its_end() {
    let server = serve(SHOP).await;
    let messages =
        converse(&server, "Please buy 3 pears.", |name, input| format!(" {name} {input}\n")).await;
    let calls: Vec<Value> = messages
        .iter()
        .filter(|message| message["role"] == "assistant")
        .flat_map(|message| message["content"].as_array().unwrap().clone())
        .filter(|block| block["type"] == "tool_use")
        .map(|call| json!([call["name"], call["input"]]))
        .collect();
    let expected = [
        json!(["take", {"what": "pears", "count": 3, "note": ["for Please buy 3 pears."]}]),
        json!(["pay", {}]),
        json!(["pay", {"again": true, "n": "0"}]),
        json!(["pay", {"again": true, "n": "1"}]),
    ];
    assert_eq!(calls, expected);
    assert_eq!(messages[1]["content"][0]["text"], "3 pears it is.");
    assert_eq!(last_text(&messages), "pears: pay said pay {\"again\":true,\"n\":\"1\"}, asked 1.");
    let mut ids: Vec<String> = messages.iter().map(|message| message.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), messages.len(), "no two messages are equal, so no two ids are");
}

#[tokio::test]
async fn a_turn_is_played_only_if_its_condition_holds() {
    let script = script([scene(
        "^go$",
        [
            call("look", json!({})),
            say("Nothing is there yet.").only_if("'none' in results[0].text"),
            call("look", json!({"again": "{{ n }}"})).only_if("not texts").repeat(3),
            say("{{ texts[0] }} It said {{ results[0].text }}."),
        ],
    )]);
    let server = serve(script).await;
    let said = |world: &'static str, reminder: bool| {
        let server = &server;
        async move {
            let mut messages = vec![user("go")];
            loop {
                let reply = post(server, MESSAGES, &ask(json!(messages))).await.json();
                if reply["stop_reason"] == "end_turn" {
                    return (messages.len() / 2, reply["content"][0]["text"].clone());
                }
                let mut answer = results(&reply, world);
                if reminder && messages.len() == 3 {
                    let text = json!({"type": "text", "text": "Look up."});
                    answer.as_array_mut().unwrap().push(text);
                }
                messages.push(json!({"role": "assistant", "content": reply["content"]}));
                messages.push(json!({"role": "user", "content": answer}));
            }
        }
    };
    assert_eq!(said("none", false).await, (1, json!("Nothing is there yet.")));
    assert_eq!(said("two", true).await, (2, json!("Look up. It said two.")));
}

#[tokio::test]
async fn only_the_newest_message_chooses_the_turn() {
    let server = serve(SHOP).await;
    let first = post(&server, MESSAGES, &ask(json!([user("look")]))).await.json();
    let turn = json!({"role": "assistant", "content": first["content"]});
    let answer = |messages: Value| {
        let server = &server;
        async move {
            let reply = post(server, MESSAGES, &ask(messages)).await;
            reply.json()["content"][0].clone()
        }
    };
    let with = |text: &str| {
        let mut blocks = results(&first, "a\nb\n");
        blocks.as_array_mut().unwrap().push(json!({"type": "text", "text": text}));
        json!({"role": "user", "content": blocks})
    };
    let two = json!({"type": "text", "text": "2 things"});
    // Compaction leaves only a summary, the newest call and its result.
    assert_eq!(
        answer(json!([user("(a summary)"), turn, {"role": "user",
            "content": results(&first, "a\nb\n")}]))
        .await,
        two
    );
    // A reminder matches no scene and changes nothing; a prompt that matches one begins it.
    assert_eq!(
        answer(json!([user("look"), turn, with("<reminder>be quick</reminder>")])).await,
        two
    );
    assert_eq!(
        answer(json!([user("look"), turn, with("buy 1 plum")])).await["text"],
        "1 plum it is."
    );
    // Of several texts, the last one that matches a scene begins it.
    let texts = |texts: &[&str]| {
        let blocks: Vec<Value> =
            texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        json!([{"role": "user", "content": blocks}])
    };
    assert_eq!(
        answer(texts(&["look", "buy 2 figs", "<environment>linux</environment>"])).await["text"],
        "2 figs it is."
    );
    // A scene that yields begins when nothing else does.
    assert_eq!(answer(json!([user("look"), turn, with("mail 1")])).await, two);
    assert_eq!(answer(texts(&["buy 2 figs", "mail 1"])).await["text"], "2 figs it is.");
    assert_eq!(answer(texts(&["hello", "mail 1"])).await["text"], "mail 1 is read.");
}

#[tokio::test]
async fn without_a_scene_the_rehearsal_says_that_it_is_one() {
    let server = serve(SHOP).await;
    let expected = "This is a rehearsal: a script stands in for the model here, and no model has \
                    read your prompt. The \
                  script has no scene for it. It can play:\n- Buy 3 pears\n- Look around";
    let reply = post(&server, MESSAGES, &ask(json!([user("Who are you?")]))).await.json();
    assert_eq!(
        (&reply["content"][0]["text"], &reply["stop_reason"]),
        (&json!(expected), &json!("end_turn"))
    );
    // Calls of another model belong to no scene.
    let foreign = json!([user("x"),
        {"role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_01A", "name": "b", "input": {}}]},
        {"role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_01A", "content": "ok"}]}]);
    assert_eq!(post(&server, MESSAGES, &ask(foreign)).await.json()["content"][0]["text"], expected);
    let without_suggestions = serve(script([scene("^a$", [call("b", json!({}))])])).await;
    let text =
        post(&without_suggestions, MESSAGES,
            &ask(json!([user("x")]))).await.json()["content"][0]["text"]
            .clone();
    assert!(
        text.as_str().unwrap().ends_with("It can play:\n- a prompt that matches `^a$`"),
        "{text}"
    );
    let messages = converse(&without_suggestions, "a", |_, _| "ok".into()).await;
    assert_eq!(
        last_text(&messages),
        "(The rehearsal ends here: this scene of the script has no further turn.)"
    );
}

#[tokio::test]
async fn empty_turns_and_failing_templates_are_answered() {
    let server = serve(SHOP).await;
    let reply = post(&server, MESSAGES, &ask(json!([user("silence")]))).await.json();
    assert_eq!((&reply["content"], &reply["stop_reason"]), (&json!([]), &json!("end_turn")));
    let events = post(&server, MESSAGES, &stream(ask(json!([user("silence")])))).await.events();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["message_start", "message_delta", "message_stop"]);
    let answer = post(&server, MESSAGES, &ask(json!([user("broken")]))).await;
    let (status, message) = answer.error();
    assert_eq!((status, &answer.json()["error"]["type"]), (500, &json!("api_error")));
    assert!(
        message.starts_with(
            "the script fails in scene 3 (`broken`), turn 0: template: undefined value"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn stop_reasons_and_token_counts_can_be_set() {
    let counts = json!({"output_tokens": 7, "cache_read_input_tokens": 9});
    let server = serve(script([
        scene("^(?:stop)$", [say("a").stop("stop_sequence").usage(counts)]),
        scene("refuse", [Turn::default().stop("refusal")]),
        scene("long", [say("a").stop("max_tokens")]),
        scene("full", [Turn::default().stop("model_context_window_exceeded")]),
        scene("pause", [say("a").stop("pause_turn"), say("b")]),
    ]))
    .await;
    let mut request = ask(json!([user("stop")]));
    request["stop_sequences"] = json!(["END"]);
    let reply = post(&server, MESSAGES, &request).await.json();
    assert_eq!(
        (&reply["stop_reason"], &reply["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    let usage = json!({"input_tokens": 8, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 0}, "server_tool_use": null,
        "service_tier": "standard",
        "inference_geo": null});
    assert_eq!(reply["usage"], usage);
    let reply = post(&server, MESSAGES, &ask(json!([user("refuse")]))).await.json();
    assert_eq!(
        (&reply["stop_reason"], &reply["stop_details"]["type"]),
        (&json!("refusal"), &json!("refusal"))
    );
    for (prompt, reason) in
        [("stop", "stop"), ("refuse", "content_filter"), ("long", "length"), ("full", "length")]
    {
        let reply = post(&server, CHAT, &ask(json!([user(prompt)]))).await.json();
        assert_eq!(reply["choices"][0]["finish_reason"], reason);
    }
    let paused = post(&server, MESSAGES, &ask(json!([user("pause")]))).await.json();
    assert_eq!(
        (&paused["stop_reason"], &paused["content"][1]["type"]),
        (&json!("pause_turn"), &json!("server_tool_use"))
    );
    let messages = json!([user("pause"), {"role": "assistant", "content": paused["content"]}]);
    assert_eq!(post(&server, MESSAGES, &ask(messages)).await.json()["content"][0]["text"], "b");
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_reply() {
    let input = json!({"command": "ls -la", "deep": {"list": [1, 2.5, null, "{{ text }}"]}});
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_x", "name": "web_search",
        "input": {"query": "pears"}});
    let turn = call("bash", input)
        .think("I think, therefore — so they say — I am.")
        .say("A text of some length, with ümläuts.")
        .raw(json!({"type": "from_the_future", "data": [1, {"a": "b"}]}))
        .raw(search);
    let server = serve(script([scene("hello", [turn])])).await;
    let request = ask(json!([user("hello")]));
    let plain = post(&server, MESSAGES, &request).await.json();
    let answer = post(&server, MESSAGES, &stream(request.clone())).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let events = answer.events();
    let mut message = events[0]["message"].clone();
    assert_eq!(
        (&message["content"], &message["stop_reason"], &message["usage"]["output_tokens"]),
        (&json!([]), &Value::Null, &json!(1))
    );
    let mut json = String::new();
    for event in &events[1..] {
        let index = event["index"].as_u64().unwrap_or_default() as usize;
        let delta = &event["delta"];
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(message["content"].as_array().unwrap().len(), index);
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                json.clear();
            }
            "content_block_delta" => {
                let block = &mut message["content"][index];
                for key in ["text", "thinking", "signature"] {
                    if let Some(piece) = delta[key].as_str() {
                        assert!(key == "signature" || piece.chars().count() <= 8);
                        block[key] = json!(format!("{}{piece}", block[key].as_str().unwrap()));
                    }
                }
                json += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if !json.is_empty() => {
                assert_eq!(message["content"][index]["input"], json!({}));
                message["content"][index]["input"] = serde_json::from_str(&json).unwrap();
            }
            "message_delta" => {
                for key in ["stop_reason", "stop_sequence", "stop_details"] {
                    message[key] = delta[key].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            "content_block_stop" | "ping" | "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(message, plain);
    let kinds: Vec<&str> = plain["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["thinking", "text", "from_the_future", "server_tool_use", "tool_use"]);
}

#[tokio::test]
async fn thinking_is_shown_as_the_request_says() {
    let server = serve(script([scene("hello", [say("hi").think("Hm.")])])).await;
    let thinking = |field: Value| {
        let mut request = ask(json!([user("hello")]));
        request["thinking"] = field;
        let server = &server;
        async move { post(server, MESSAGES, &request).await.json()["content"].clone() }
    };
    assert_eq!(
        thinking(json!({"type": "disabled"})).await,
        json!([{"type": "text", "text": "hi"}])
    );
    let omitted = thinking(json!({"type": "adaptive", "display": "omitted"})).await;
    assert_eq!((&omitted[0]["type"], &omitted[0]["thinking"]), (&json!("thinking"), &json!("")));
    assert_eq!(thinking(json!({"type": "adaptive"})).await[0]["thinking"], "Hm.");
}

#[tokio::test]
async fn bodies_are_kept_only_when_recorded() {
    let server = serve(SHOP).await;
    let request = ask(json!([user("silence")]));
    post(&server, MESSAGES, &request).await;
    post(&server, CHAT, &json!({})).await;
    let url = format!("{}/v1/messages", server.url());
    client().post(url).header("x-api-key", "secret").body("{}").send().await.unwrap();
    let requests = server.requests();
    let brief: Vec<_> =
        requests.iter().map(|r| (r.path.as_str(), r.status, r.bytes, &r.body)).collect();
    let (length, nothing) = (request.to_string().len(), json!({}));
    assert_eq!(
        brief,
        [(MESSAGES, 200, length, &request), (CHAT, 400, 2, &nothing), (MESSAGES, 400, 2, &nothing)]
    );
    assert!(requests[2].headers.contains(&("x-api-key".into(), "(hidden)".into())));
    let script = rehearsal::Script::parse("s", SHOP).unwrap();
    let quiet = script.serve().await.unwrap();
    post(&quiet, MESSAGES, &request).await;
    assert_eq!(quiet.requests()[0].body, Value::Null);
}

#[tokio::test]
async fn a_dropped_server_stops() {
    let server = serve(SHOP).await;
    let url = server.url().to_string();
    drop(server);
    while client().get(&url).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
}
