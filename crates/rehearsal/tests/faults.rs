//! Every fault, in both formats where it applies.
#![allow(clippy::needless_pass_by_value, reason = "json!(..) is an argument everywhere")]
mod common;
use common::*;
use rehearsal::{Script, say, scene, script};
use serde_json::{Value, json};

/// A script whose only reply has this fault at every attempt.
fn always(mut fault: Value) -> Script {
    fault["times"] = json!("always");
    with_faults([fault])
}

/// A script whose only reply has these faults, one after the other.
fn with_faults(faults: impl IntoIterator<Item = Value>) -> Script {
    let mut turn = say("Grüße, world").and_call("bash", json!({"command": "ls -la"}));
    for fault in faults {
        turn = turn.fault(fault);
    }
    script([scene("hello", [turn])])
}

const FORMATS: [&str; 2] = [MESSAGES, CHAT];

fn hello() -> Value {
    ask(json!([user("hello")]))
}

/// The text and the arguments that a stream adds up to, in either format.
fn joined(answer: &Answer) -> (String, String) {
    let (mut text, mut arguments) = (String::new(), String::new());
    for event in answer.events() {
        let delta = &event["delta"];
        let chunk = &event["choices"][0]["delta"];
        for piece in [&delta["text"], &chunk["content"]] {
            text += piece.as_str().unwrap_or_default();
        }
        for piece in [&delta["partial_json"], &chunk["tool_calls"][0]["function"]["arguments"]] {
            arguments += piece.as_str().unwrap_or_default();
        }
    }
    (text, arguments)
}

fn whole() -> (String, String) {
    ("Grüße, world".into(), "{\"command\":\"ls -la\"}".into())
}

#[tokio::test]
async fn error_statuses_happen_in_order_and_then_the_turn_is_played() {
    let server = serve(with_faults([
        json!({"status": 429, "retry_after": 1, "times": 2}),
        json!({"status": 529, "headers": {"x-should-retry": "true"}}),
    ]))
    .await;
    let mut answers = vec![];
    for _ in 0..4 {
        let answer = post(&server, MESSAGES, &hello()).await;
        let kind = answer.json()["error"]["type"].as_str().unwrap_or("-").to_string();
        let headers = ["retry-after", "x-should-retry"].map(|name| answer.header(name).to_string());
        answers.push((answer.status, kind, headers.join(" ")));
    }
    let expected = [
        (429, "rate_limit_error", "1 "),
        (429, "rate_limit_error", "1 "),
        (529, "overloaded_error", " true"),
        (200, "-", " "),
    ];
    assert_eq!(
        answers,
        expected.map(|(status, kind, headers)| (status, kind.to_string(), headers.to_string()))
    );
    // The attempts of another prompt are counted on their own; a larger limit makes no other
    // request.
    assert_eq!(post(&server, MESSAGES, &ask(json!([user("hello you")]))).await.status, 429);
    let mut more = hello();
    more["max_tokens"] = json!(5000);
    assert_eq!(post(&server, MESSAGES, &more).await.status, 200);
}

#[tokio::test]
async fn errors_have_the_shape_of_the_api() {
    let fault = json!({"status": 429, "type": "insufficient_quota", "message": "no money",
        "code": "credit_balance_exhausted"});
    let server = serve(always(fault)).await;
    let answer = post(&server, MESSAGES, &hello()).await;
    let error = json!({"type": "insufficient_quota", "message": "no money",
        "details": {"error_code": "credit_balance_exhausted"}});
    assert_eq!(answer.json()["error"], error);
    let answer = post(&server, CHAT, &hello()).await;
    let error = json!({"message": "no money", "type": "insufficient_quota", "param": null,
        "code": "credit_balance_exhausted"});
    assert_eq!(answer.json(), json!({"error": error}));
    assert!(answer.header("x-request-id").starts_with("req_"));
}

#[tokio::test]
async fn an_error_may_be_a_page_instead_of_json() {
    let server = serve(always(json!({"html": true, "status": 502}))).await;
    for path in FORMATS {
        let answer = post(&server, path, &hello()).await;
        assert_eq!((answer.status, answer.header("content-type")), (502, "text/html"));
        assert!(answer.text.starts_with("<html>"), "{}", answer.text);
    }
}

#[tokio::test]
async fn connections_are_cut() {
    for after in [0, 5] {
        let server = serve(always(json!({"cut_after": after}))).await;
        for path in FORMATS {
            let answer = post(&server, path, &stream(hello())).await;
            assert_eq!(
                (answer.status, answer.events().len(), answer.cut),
                (200, after, true),
                "{path}"
            );
            let answer = post(&server, path, &hello()).await;
            assert_eq!((answer.status, answer.cut), (200, true));
            assert!(
                serde_json::from_str::<Value>(&answer.text).is_err() && !answer.text.is_empty()
            );
        }
    }
}

#[tokio::test]
async fn connections_are_cut_between_any_two_bytes() {
    for path in FORMATS {
        let server = serve(always(json!({"cut_after_bytes": 1_000_000}))).await;
        let whole = post(&server, path, &stream(hello())).await;
        assert!(joined(&whole) == self::whole() && !whole.cut);
        for after in [0, 1, 100, 151] {
            let server = serve(always(json!({"cut_after_bytes": after}))).await;
            for body in [stream(hello()), hello()] {
                let answer = post(&server, path, &body).await;
                assert_eq!((answer.status, answer.text.len(), answer.cut), (200, after, true));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_ends_without_its_last_events() {
    let server = serve(always(json!({"end_after": 5}))).await;
    for path in FORMATS {
        let answer = post(&server, path, &stream(hello())).await;
        assert_eq!((answer.events().len(), answer.cut), (5, false), "{path}");
    }
}

#[tokio::test]
async fn errors_happen_inside_a_stream() {
    let server = serve(always(json!({"error_event": "overloaded_error", "after": 3}))).await;
    let answer = post(&server, MESSAGES, &stream(hello())).await;
    let events = answer.events();
    let id = answer.header("request-id");
    let error = json!({"type": "error", "error": {"type": "overloaded_error",
        "message": "Overloaded"}, "request_id": id});
    assert_eq!(
        (answer.status, events.len(), events.last(), answer.cut),
        (200, 4, Some(&error), false)
    );
    assert!(answer.text.contains("event: error\n"));
    let answer = post(&server, CHAT, &stream(hello())).await;
    let error = json!({"error": {"message": "Overloaded", "type": "overloaded_error", "param": null,
        "code": "server_is_overloaded"}});
    assert_eq!((answer.events().len(), answer.events().last()), (4, Some(&error)));
    // A reply that is no stream has a status for it.
    assert_eq!(post(&server, MESSAGES, &hello()).await.error(), (529, "Overloaded".into()));
}

#[tokio::test]
async fn responses_arrive_in_pieces_of_one_byte() {
    let server = serve(always(json!({"split": 1}))).await;
    for path in FORMATS {
        let answer = post(&server, path, &stream(hello())).await;
        assert!(answer.pieces.iter().all(|piece| *piece == 1), "{path} {:?}", answer.pieces);
        assert_eq!((joined(&answer), answer.cut), (whole(), false));
        let answer = post(&server, path, &hello()).await;
        assert!(answer.pieces.iter().all(|piece| *piece == 1) && answer.text.contains("Grüße"));
    }
}

#[tokio::test]
async fn arguments_of_calls_are_cut() {
    let server = serve(always(json!({"cut_arguments": 10}))).await;
    for path in FORMATS {
        let answer = post(&server, path, &stream(hello())).await;
        assert_eq!(joined(&answer), (whole().0, whole().1[..10].to_string()), "{path}");
    }
    let answer = post(&server, MESSAGES, &stream(hello())).await;
    assert_eq!(answer.events().last().unwrap()["type"], "message_stop");
    let answer = post(&server, MESSAGES, &hello()).await.json();
    assert_eq!(answer["content"][1]["input"], json!({}));
    let answer = post(&server, CHAT, &hello()).await.json();
    assert_eq!(
        answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
        "{\"command\""
    );
}

#[tokio::test]
async fn a_stalled_stream_stays_open() {
    let server = serve(always(json!({"stall_after": 2}))).await;
    for path in FORMATS {
        let url = format!("{}{path}", server.url());
        let request = client().post(url).header("anthropic-version", "2023-06-01");
        let mut response = request.body(stream(hello()).to_string()).send().await.unwrap();
        let mut text = String::new();
        while text.matches("\n\n").count() < 2 {
            text += &String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap());
        }
        let more =
            tokio::time::timeout(std::time::Duration::from_millis(30), response.chunk()).await;
        assert!(more.is_err(), "{path}: the stream should neither continue nor end: {more:?}");
    }
}

#[tokio::test]
async fn an_event_is_not_json() {
    let server = serve(always(json!({"malformed_after": 2}))).await;
    for path in FORMATS {
        let answer = post(&server, path, &stream(hello())).await;
        let events = answer.events();
        assert_eq!((&events[2], joined(&answer)), (&json!("{\"type\": "), whole()), "{path}");
        let answer = post(&server, path, &hello()).await;
        assert!(!answer.cut && serde_json::from_str::<Value>(&answer.text).is_err());
    }
}

#[tokio::test]
async fn unknown_events_and_deltas_are_sent() {
    let server = serve(always(json!({"unknown_after": 1}))).await;
    for path in FORMATS {
        let answer = post(&server, path, &stream(hello())).await;
        assert_eq!(joined(&answer), whole(), "{path}");
        assert_eq!(
            answer.text.matches("rehearsal_event").count(),
            if path == MESSAGES { 2 } else { 1 }
        );
        assert_eq!(answer.text.matches("rehearsal_delta").count(), 1);
        assert!(post(&server, path, &hello()).await.json()["rehearsal_field"].is_object());
    }
    let events = post(&server, MESSAGES, &stream(hello())).await.events();
    assert_eq!(events[1], json!({"type": "rehearsal_event", "note": "skip me"}));
    let delta = json!({"type": "rehearsal_delta", "note": "skip me"});
    assert_eq!(events[3], json!({"type": "content_block_delta", "index": 0, "delta": delta}));
}

#[tokio::test]
async fn an_error_instead_of_a_reply_writes_nothing_to_the_cache() {
    let server = serve(script([scene("hello", [say("hi").fault(json!({"status": 529}))])])).await;
    let mut request = ask(json!([user(&format!("hello {}", "x".repeat(4000)))]));
    request["cache_control"] = json!({"type": "ephemeral"});
    assert_eq!(post(&server, MESSAGES, &request).await.status, 529);
    let usage = post(&server, MESSAGES, &request).await.json()["usage"].clone();
    assert_eq!(
        (&usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"].as_u64()),
        (&json!(0), Some(1008))
    );
}
