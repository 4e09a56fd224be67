// # Ask again, but not for ever
//
// drill, level 2, 25 minutes. Read: crates/http/src/retry.rs, examples/s13_streaming.rs
//
// The server of this drill is in trouble. It answers with 429 and says when to come back, with 529
// several times in a row, with a page of HTML from a proxy, and sometimes with a refusal that no
// waiting will change. Write `wait_before_next`: after how many failed attempts, with which answer,
// does it help to send the request again, and after what time?
//
// - 408, 409, 429 and all from 500 on pass by themselves. Other statuses do not.
// - 429 also says that a budget is spent: then `error.type` or `error.details.error_code` is one of
//   `SPENT`. That does not pass.
// - `retry-after`, in seconds, is obeyed. Without it the wait begins at half a second and doubles
//   each time, up to eight seconds. It can hold anything; what is no time you may ignore or take
//   as the end, but it must not lead to a panic.
// - After `MAX_ATTEMPTS` attempts, and when the server asks for more than `MAX_WAIT`, nobody waits
//   any longer. (Real clients also add a random part, so that they do not all come back at once.)
//
// Run: cargo run -p rungs-exercises -- run s13_overloaded

#[allow(unused_imports)]
use serde_json::Value;
#[allow(unused_imports)]
use std::time::Duration;

/// How often one request is sent at most.
const MAX_ATTEMPTS: u32 = 8;
/// How long anybody waits for one attempt.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// What servers call a budget that is spent.
const SPENT: [&str; 2] = ["insufficient_quota", "enforced_spend_limit_reached"];

/// An answer that is no reply.
#[derive(Debug)]
#[allow(dead_code)]
struct Refusal {
    status: u16,
    /// The header, as it came.
    retry_after: Option<String>,
    /// The body, if it is JSON.
    body: Value,
}

/// How long to wait before the request is sent again, after so many attempts failed, the newest one
/// with this refusal; `None` when it is not sent again.
fn wait_before_next(attempts: u32, refusal: &Refusal) -> Option<Duration> {
    let _ = (attempts, refusal, MAX_ATTEMPTS, MAX_WAIT, SPENT);
    todo!("which refusals pass, and after what time?")
}

mod tests {
    use super::*;
    use rehearsal::{say, scene, script};
    use serde_json::json;

    /// Sends one request until it is answered or given up; the status at the end, and the waits,
    /// which nobody waits for here.
    async fn send(faults: impl IntoIterator<Item = Value>) -> (u16, Vec<f64>) {
        let turn = faults.into_iter().fold(say("answered"), |turn, fault| turn.fault(fault));
        let server = script([scene("^go$", [turn])]).serve().await.unwrap();
        let url = rungs_http::base_url(server.url()).unwrap();
        let client = rungs_http::client(&url, Default::default(), Duration::from_secs(5)).unwrap();
        let body = json!({"model": "rehearsal", "max_tokens": 100,
            "messages": [{"role": "user", "content": "go"}]});
        let mut waits = vec![];
        for attempts in 1..=50 {
            let request = client.post(format!("{}/v1/messages", server.url()));
            let request = request.header("anthropic-version", "2023-06-01");
            let response = request.body(body.to_string()).send().await.unwrap();
            let status = response.status().as_u16();
            if status == 200 {
                return (200, waits);
            }
            let header = response.headers().get("retry-after");
            let retry_after = header.and_then(|value| value.to_str().ok()).map(String::from);
            let text = response.text().await.unwrap();
            let body = serde_json::from_str(&text).unwrap_or_default();
            match wait_before_next(attempts, &Refusal { status, retry_after, body }) {
                Some(wait) => waits.push(wait.as_secs_f64()),
                None => return (status, waits),
            }
        }
        panic!("the request was sent 50 times: somebody pays for each of them")
    }

    #[tokio::test]
    async fn what_passes_is_waited_for() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            let (end, waits) = send([json!({"status": status})]).await;
            assert_eq!(end, 200, "{status} passes; the second attempt would have been answered");
            assert_eq!(waits, [0.5], "{status} without `retry-after`: the first wait");
        }
    }

    #[tokio::test]
    async fn the_wait_doubles_up_to_eight_seconds() {
        let (end, waits) = send([json!({"status": 529, "times": 7})]).await;
        assert_eq!(end, 200, "seven failures are fewer than eight attempts");
        let expected = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0];
        assert_eq!(waits, expected, "an overloaded server needs longer pauses, within a bound");
    }

    #[tokio::test]
    async fn the_server_knows_best_when_to_come_back() {
        let (end, waits) = send([
            json!({"status": 429, "retry_after": 3}),
            json!({"status": 529, "retry_after": 30}),
        ])
        .await;
        assert_eq!((end, waits), (200, vec![3.0, 30.0]), "`retry-after` is obeyed");
        let (end, waits) = send([json!({"status": 429, "retry_after": 3600})]).await;
        assert_eq!((end, waits.len()), (429, 0), "nobody waits for an hour: say so at once");
    }

    #[tokio::test]
    async fn what_does_not_pass_is_not_asked_again() {
        for status in [400, 401, 403, 404, 413] {
            let (end, waits) = send([json!({"status": status, "times": "always"})]).await;
            assert_eq!((end, waits.len()), (status, 0), "{status}: the answer would be the same");
        }
        let spent = json!({"status": 429, "type": "insufficient_quota", "times": "always"});
        let why = "429 says `too many` and `nothing left`; waiting refills no account";
        assert_eq!(send([spent]).await, (429, vec![]), "{why}");
        let error = json!({"type": "rate_limit_error",
            "details": {"error_code": "enforced_spend_limit_reached"}});
        let refusal = Refusal { status: 429, retry_after: None, body: json!({"error": error}) };
        assert_eq!(wait_before_next(1, &refusal), None, "{why}");
    }

    #[tokio::test]
    async fn the_attempts_end() {
        let (end, waits) = send([json!({"status": 503, "times": "always"})]).await;
        let count = waits.len() + 1;
        assert_eq!((end, count), (503, 8), "the request is sent {MAX_ATTEMPTS} times at most");
    }

    #[tokio::test]
    async fn a_page_of_html_and_a_strange_header_are_no_reason_to_panic() {
        let (end, waits) = send([json!({"html": true, "status": 502})]).await;
        assert_eq!((end, waits), (200, vec![0.5]), "a proxy answers in HTML, and passes as well");
        let odd = |retry_after: &str| Refusal {
            status: 503,
            retry_after: Some(retry_after.into()),
            body: Value::Null,
        };
        for header in ["soon", "-1", "NaN", "1e300", ""] {
            let wait = wait_before_next(1, &odd(header));
            let fine = wait.is_none_or(|wait| wait <= MAX_WAIT);
            assert!(fine, "`retry-after: {header}` led to a wait of {wait:?}");
        }
    }
}
