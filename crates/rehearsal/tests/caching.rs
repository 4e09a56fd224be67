//! The usage in responses; the rules of the cache are tested in its module.
mod common;
use common::*;
use rehearsal::{Script, call, say, scene, script};
use serde_json::{Value, json};

fn hello() -> Script {
    script([scene("hello", [call("bash", json!({})), say("bye")])])
}

fn token_counts(reply: &Value) -> [u64; 3] {
    let usage = &reply["usage"];
    ["cache_read_input_tokens", "cache_creation_input_tokens", "input_tokens"]
        .map(|key| usage[key].as_u64().unwrap())
}

#[tokio::test]
async fn a_growing_conversation_reads_what_it_wrote() {
    let server = serve(hello()).await;
    let request = |messages: &Value| {
        let mut request = ask(messages.clone());
        request["system"] = json!("s".repeat(4000));
        request["cache_control"] = json!({"type": "ephemeral"});
        request
    };
    let mut messages = json!([user("hello")]);
    let first = post(&server, MESSAGES, &request(&messages)).await.json();
    let [read, written, rest] = token_counts(&first);
    assert_eq!((read, rest), (0, 0));
    let id = &first["content"][0]["id"];
    let results = json!([{"type": "tool_result", "tool_use_id": id, "content": "ok"}]);
    let more = [
        json!({"role": "assistant", "content": first["content"]}),
        json!({"role": "user", "content": results}),
    ];
    messages.as_array_mut().unwrap().extend(more);
    let next = token_counts(&post(&server, MESSAGES, &request(&messages)).await.json());
    assert_eq!((next[0], next[2]), (written, 0));
    // The same request again is read from the cache whole, streamed or not; after a change nothing
    // is.
    let total = next[0] + next[1];
    let streamed = post(&server, MESSAGES, &stream(request(&messages))).await.events();
    assert_eq!(token_counts(&streamed[0]["message"]), [total, 0, 0]);
    assert_eq!(token_counts(&streamed[streamed.len() - 2]), [total, 0, 0]);
    let changes = [
        ("system", json!("t".repeat(4000))),
        ("tools", json!([{"name": "a", "input_schema": {"type": "object"}}])),
        ("tool_choice", json!({"type": "none"})),
        ("model", json!("claude-opus-5-5")),
    ];
    for (key, value) in changes {
        let mut changed = request(&messages);
        changed[key] = value;
        assert_eq!(token_counts(&post(&server, MESSAGES, &changed).await.json())[0], 0, "{key}");
    }
}

#[tokio::test]
async fn lifetimes_are_counted_separately() {
    let server = serve(hello()).await;
    let mut request = ask(json!([user(&format!("hello {}", "x".repeat(3000)))]));
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    request["system"] = json!([{"type": "text", "text": "s".repeat(4000), "cache_control": mark}]);
    request["cache_control"] = json!({"type": "ephemeral"});
    let usage = post(&server, MESSAGES, &request).await.json()["usage"].clone();
    let creation = json!({"ephemeral_5m_input_tokens": 757, "ephemeral_1h_input_tokens": 1007});
    assert_eq!(
        (&usage["cache_creation"], &usage["cache_creation_input_tokens"]),
        (&creation, &json!(757 + 1007))
    );
}

#[tokio::test]
async fn count_tokens_agrees_and_writes_nothing() {
    let server = serve(hello()).await;
    let mut request = ask(json!([user("hello")]));
    request["system"] = json!("s".repeat(4000));
    let billed = token_counts(&post(&server, MESSAGES, &request).await.json());
    request.as_object_mut().unwrap().remove("max_tokens");
    let counted = post(&server, "/v1/messages/count_tokens", &request).await.json();
    assert_eq!((billed, counted), ([0, 0, billed[2]], json!({"input_tokens": billed[2]})));
    request["max_tokens"] = json!(5);
    let refused = post(&server, "/v1/messages/count_tokens", &request).await;
    assert_eq!(refused.error(), (400, "max_tokens: Extra inputs are not permitted".into()));
}
