//! Chat Completions: what is refused, and conversations in its format.
#![allow(clippy::needless_pass_by_value, reason = "json!(..) is an argument everywhere")]
mod common;
use common::*;
use serde_json::{Value, json};

const PLAY: &str = r#"
scenes:
  - when: '^look (\w+)'
    turns:
      - think: Where?
        say: I look.
        call:
          - bash: {command: "ls {{ m[1] }}"}
          - read: {path: a.txt}
      - say: "{% for r in results %}{{ r.tool }}={{ r.text }}{{ '!' if r.is_error }};{% endfor %}"
"#;

fn assistant(calls: Value) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}

fn call(id: &str, arguments: Value) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "bash", "arguments": arguments}})
}

fn tool(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "ok"})
}

#[tokio::test]
async fn requests_are_checked() {
    let server = serve(PLAY).await;
    let go = user("look here");
    let one = || assistant(json!([call("a", json!("{}"))]));
    let unanswered = "An assistant message with 'tool_calls' must be followed by tool messages \
                      responding to each \
                      'tool_call_id'. The following tool_call_ids did not have response messages: ";
    let orphan = "Invalid parameter: messages with role 'tool' must be a response to a preceding \
                  message with 'tool_calls'.";
    let missing = |ids: &str| format!("{unanswered}{ids}");
    let cases: Vec<(Value, Value, String)> = vec![
        (json!([go, one()]), json!("messages.[2].role"), missing("a")),
        (json!([go, one(), go]), json!("messages.[2].role"), missing("a")),
        (
            json!([
                go,
                assistant(json!([call("a", json!("{}")), call("b", json!("{}"))])),
                tool("b"),
                go
            ]),
            json!("messages.[3].role"),
            missing("a"),
        ),
        (json!([go, tool("a")]), json!("messages.[1].role"), orphan.into()),
        (
            json!([go, one(), tool("a"), go, tool("a")]),
            json!("messages.[4].role"),
            "Invalid parameter: the 'tool_call_id' a is answered twice.".into(),
        ),
        (
            json!([go, one(), tool("a"), one(), tool("a")]),
            json!("messages.[3].tool_calls"),
            "Duplicate value for 'tool_call_id': a".into(),
        ),
        (
            json!([go, assistant(json!([call("a", json!({}))])), tool("a")]),
            json!("messages[1].tool_calls[0].function.arguments"),
            "Invalid type for 'messages[1].tool_calls[0].function.arguments': expected a string \
             that holds a JSON object."
                .into(),
        ),
        (
            json!([go, assistant(json!([call("a", json!("{\"x"))])), tool("a")]),
            json!("messages[1].tool_calls[0].function.arguments"),
            "Invalid 'messages[1].tool_calls[0].function.arguments': expected a string that holds \
             a JSON object."
                .into(),
        ),
        (
            json!([{"role": "user", "content": null}]),
            json!("messages.[0].content"),
            "Invalid value for 'content': expected a string, got null.".into(),
        ),
        (
            json!([{"role": "robot", "content": "x"}]),
            json!("messages[0].role"),
            "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', 'tool', \
             and 'developer'."
                .into(),
        ),
        (
            json!([]),
            json!("messages"),
            "Invalid 'messages': empty array. Expected at least one \
                                        message."
                .into(),
        ),
    ];
    for (messages, param, expected) in cases {
        let answer = post(&server, CHAT, &json!({"model": "m", "messages": messages})).await;
        let error = json!({"message": expected, "type": "invalid_request_error", "param": param,
            "code": null});
        assert_eq!((answer.status, answer.json()), (400, json!({"error": error})), "{messages}");
    }
    let function = |name: &str| {
        json!({"type": "function", "function": {"name": name,
        "parameters": {"type": "object"}}})
    };
    let fields = [
        (json!({"messages": [go]}), "you must provide a model parameter"),
        (
            json!({"model": "m", "messages": [go], "modle": 1}),
            "Unrecognized request argument supplied: modle",
        ),
        (
            json!({"model": "m", "messages": [go], "tools": [function("a"), function("a")]}),
            "Duplicate function name: 'a'.",
        ),
        (
            json!({"model": "m", "messages": [go], "stream_options": {}}),
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ),
        (
            json!({"model": "m", "messages": [go], "max_completion_tokens": 0}),
            "Invalid 'max_completion_tokens': integer below minimum value 1.",
        ),
        (json!({"model": "m"}), "Missing required parameter: 'messages'."),
    ];
    for (body, expected) in fields {
        assert_eq!(post(&server, CHAT, &body).await.error(), (400, expected.to_string()), "{body}");
    }
}

#[tokio::test]
async fn calls_and_results_make_the_round_trip() {
    let server = serve(PLAY).await;
    let mut messages = vec![json!({"role": "developer", "content": "be brief"}), user("look here")];
    let first = post(&server, CHAT, &json!({"model": "m", "messages": messages})).await.json();
    let message = first["choices"][0]["message"].clone();
    let ids = [0, 1].map(|index| message["tool_calls"][index]["id"].as_str().unwrap().to_string());
    assert!(ids.iter().all(|id| id.starts_with("call_0_0_")), "{ids:?}");
    let calls = json!([
        {"id": ids[0], "type": "function", "function": {"name": "bash",
            "arguments": "{\"command\":\"ls here\"}"}},
        {"id": ids[1], "type": "function", "function": {"name": "read",
            "arguments": "{\"path\":\"a.txt\"}"}},
    ]);
    let expected = json!({"role": "assistant", "content": "I look.", "refusal": null,
        "reasoning_content": "Where?", "tool_calls": calls});
    assert_eq!(
        (&message, &first["choices"][0]["finish_reason"], &first["object"]),
        (&expected, &json!("tool_calls"), &json!("chat.completion"))
    );
    messages.push(message);
    messages.extend(ids.iter().map(|id| {
        json!({"role": "tool", "tool_call_id": id,
            "content": [{"type": "text", "text": if *id == ids[0] { "Error: x" } else { "x" }}]})
    }));
    let last = post(&server, CHAT, &json!({"model": "m", "messages": messages})).await.json();
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": "bash=x!;read=x;",
        "refusal": null},
        "logprobs": null, "finish_reason": "stop"});
    assert_eq!(last["choices"], json!([choice]));
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_reply() {
    let server = serve(PLAY).await;
    let mut request = stream(json!({"model": "m", "messages": [user("look here")]}));
    let plain =
        post(&server, CHAT, &json!({"model": "m", "messages": [user("look here")]})).await.json();
    request["stream_options"] = json!({"include_usage": true});
    let events = post(&server, CHAT, &request).await.events();
    let (done, chunks) = events.split_last().unwrap();
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(
        (done, &last["choices"], &last["usage"]),
        (&json!("[DONE]"), &json!([]), &plain["usage"])
    );
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["usage"].is_null() && chunk["object"] == "chat.completion.chunk")
    );
    let mut message = json!({"role": chunks[0]["choices"][0]["delta"]["role"], "content": "",
        "refusal": null, "reasoning_content": ""});
    let mut calls: Vec<Value> = vec![];
    for chunk in chunks {
        let delta = &chunk["choices"][0]["delta"];
        for key in ["content", "reasoning_content"] {
            let piece = delta[key].as_str().unwrap_or_default();
            message[key] = json!(format!("{}{piece}", message[key].as_str().unwrap()));
        }
        for fragment in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = fragment["index"].as_u64().unwrap() as usize;
            if index == calls.len() {
                let mut call = fragment.clone();
                call.as_object_mut().unwrap().shift_remove("index");
                calls.push(call);
                continue;
            }
            assert!(fragment.get("id").is_none() && fragment["function"].get("name").is_none());
            let arguments = &mut calls[index]["function"]["arguments"];
            *arguments = json!(format!(
                "{}{}",
                arguments.as_str().unwrap(),
                fragment["function"]["arguments"].as_str().unwrap()
            ));
        }
    }
    message["tool_calls"] = json!(calls);
    assert_eq!(message, plain["choices"][0]["message"]);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    // Without the option there is no usage.
    request.as_object_mut().unwrap().remove("stream_options");
    let events = post(&server, CHAT, &request).await.events();
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn the_prompt_is_cached_without_marks() {
    let server = serve(PLAY).await;
    let mut messages =
        vec![json!({"role": "system", "content": "s".repeat(5000)}), user("look here")];
    let usage = |messages: &[Value]| {
        let (server, request) = (&server, json!({"model": "m", "messages": messages}));
        async move { post(server, CHAT, &request).await.json()["usage"].clone() }
    };
    let first = usage(&messages).await;
    assert_eq!(first["prompt_tokens_details"]["cached_tokens"], 0);
    messages.push(user("more"));
    let next = usage(&messages).await;
    assert_eq!(next["prompt_tokens_details"]["cached_tokens"], 1152);
    assert!(next["prompt_tokens"].as_u64() > first["prompt_tokens"].as_u64());
    assert_eq!(
        next["total_tokens"].as_u64().unwrap(),
        next["prompt_tokens"].as_u64().unwrap() + next["completion_tokens"].as_u64().unwrap()
    );
}
