// # Find the end of a stream
//
// repair, level 2, 20 minutes. Read: examples/s13_streaming.rs, core/src/client/stream.rs
//
// This client reads a stream of the Messages API and puts the reply together. It works as long as
// the network does. Users report:
//
//   "Now and then the agent stops in the middle of a sentence and says that it is done."
//
//   "The log says that the model wanted to remove /srv/app/old/build. What was removed is /srv/a."
//
// In each case the status was 200, and the connection was closed in the ordinary way. Change
// `reply` so that it returns a reply only when all of it is there, and otherwise an error that
// says why not. A server may report an error inside of a stream. It may also send events of types
// that this client does not know, and these must not matter.
//
// Run: cargo run -p rungs-exercises -- run s13_last_event

use serde_json::Value;

/// What the model said, and the calls that it makes: the name of a tool, and its arguments.
#[derive(Debug, Default, PartialEq)]
struct Reply {
    text: String,
    calls: Vec<(String, Value)>,
}

/// Puts the reply together from the body of an event stream.
fn reply(body: &str) -> Result<Reply, String> {
    let mut text = String::new();
    let mut calls: Vec<(String, String)> = vec![];
    for event in events(body) {
        match event["type"].as_str() {
            Some("content_block_start") => {
                if let Some(name) = event["content_block"]["name"].as_str() {
                    calls.push((name.into(), String::new()));
                }
            }
            Some("content_block_delta") => {
                let delta = &event["delta"];
                text += delta["text"].as_str().unwrap_or_default();
                if let (Some(piece), Some((_, json))) =
                    (delta["partial_json"].as_str(), calls.last_mut())
                {
                    *json += piece;
                }
            }
            _ => {}
        }
    }
    let calls = calls.into_iter().map(|(name, json)| (name, as_far_as_it_came(&json))).collect();
    Ok(Reply { text, calls })
}

/// The events of a body that make sense.
fn events(body: &str) -> impl Iterator<Item = Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|json| serde_json::from_str(json).ok())
}

/// The arguments of a call as far as they have come: the screen shows them while they arrive.
fn as_far_as_it_came(json: &str) -> Value {
    for end in ["", "}", "\"}", "\"\"}", "\": \"\"}"] {
        if let Ok(value) = serde_json::from_str(&format!("{json}{end}")) {
            return value;
        }
    }
    Value::Null
}

mod tests {
    use super::*;
    use rehearsal::{Turn, call, calls, say, scene, script};
    use serde_json::json;
    use std::time::Duration;

    /// The body of the stream in which the model plays this turn, over real HTTP.
    async fn stream(turn: Turn) -> String {
        let server = script([scene("^go$", [turn])]).serve().await.unwrap();
        let url = rungs_http::base_url(server.url()).unwrap();
        let client = rungs_http::client(&url, Default::default(), Duration::from_secs(5)).unwrap();
        let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}});
        let body = json!({
            "model": "rehearsal", "max_tokens": 1000, "stream": true,
            "messages": [{"role": "user", "content": "go"}],
            "tools": [{"name": "bash", "description": "Runs.", "input_schema": schema}],
        });
        let request = client.post(format!("{}/v1/messages", server.url()));
        let request = request.header("anthropic-version", "2023-06-01").body(body.to_string());
        request.send().await.unwrap().text().await.unwrap()
    }

    fn remove() -> (&'static str, Value) {
        ("bash", json!({"command": "rm -r /srv/app/old/build"}))
    }

    #[tokio::test]
    async fn a_whole_stream_is_a_reply() {
        let body = stream(calls([remove(), remove()]).say("I clean up.")).await;
        let call = |(name, input): (&str, Value)| (name.to_string(), input);
        let expected =
            Reply { text: "I clean up.".into(), calls: vec![call(remove()), call(remove())] };
        assert_eq!(reply(&body), Ok(expected), "nothing is missing in this stream");
        let body = stream(say("Done.")).await;
        let expected = Reply { text: "Done.".into(), calls: vec![] };
        assert_eq!(reply(&body), Ok(expected), "a reply without calls is one, too");
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_no_reply() {
        let turn = || calls([remove()]).say("I clean up.");
        let count = stream(turn()).await.matches("event: ").count();
        for after in 0..count {
            let body = stream(turn().fault(json!({"end_after": after}))).await;
            let read = reply(&body);
            assert!(
                read.is_err(),
                "after {after} of {count} events the stream ended, and this was taken for a whole \
                 reply: {read:?}\nWhich event comes last in a stream that is whole?"
            );
        }
    }

    #[tokio::test]
    async fn an_error_inside_of_a_stream_is_an_error() {
        let fault = json!({"error_event": "overloaded_error", "message": "try later", "after": 6});
        let read = reply(&stream(say("one two three four").fault(fault)).await);
        let Err(why) = read else { panic!("the server gave up, and this was returned: {read:?}") };
        assert!(
            why.contains("overloaded_error") || why.contains("try later"),
            "the error should say what the server said, for whoever decides on a retry: {why}"
        );
    }

    #[tokio::test]
    async fn arguments_that_are_cut_are_no_call() {
        let body = stream(calls([remove()]).fault(json!({"cut_arguments": 26}))).await;
        let read = reply(&body);
        assert!(
            read.is_err(),
            "this stream has its last event, and the JSON of its call is cut all the same, as with \
             fine-grained tool streaming: {read:?}\nWhat may a client show that it must not run?"
        );
    }

    #[tokio::test]
    async fn what_the_client_does_not_know_does_not_matter() {
        let turn = call("bash", remove().1).say("I clean up.");
        let body = stream(turn.fault(json!({"unknown_after": 2}))).await;
        let read = reply(&body);
        let why = "new types of events come every month; a client skips them";
        assert_eq!(read.map(|reply| reply.calls.len()), Ok(1), "{why}");
    }
}
