use serde_json::Value;
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
    let error = &refusal.body["error"];
    let names = [&error["type"], &error["details"]["error_code"]];
    let is_spent = names.iter().any(|name| SPENT.iter().any(|spent| *name == spent));
    let passes = matches!(refusal.status, 408 | 409 | 429 | 500..);
    if !passes || is_spent || attempts >= MAX_ATTEMPTS {
        return None;
    }
    let asked = refusal.retry_after.as_ref().and_then(|header| header.parse::<f64>().ok());
    let wait = match asked {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        None => Duration::from_secs_f64((0.5 * f64::from(1 << (attempts - 1))).min(8.0)),
    };
    (wait <= MAX_WAIT).then_some(wait)
}
