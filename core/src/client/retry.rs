//! Whether a failed request is sent again, and when.
use super::http::header;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// What vendors call a quota that is spent; no waiting refills it.
const SPENT: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
];
/// How servers say that a prompt is larger than the window.
const OVERFLOW: [&str; 3] = ["prompt is too long", "maximum context length", "exceeds the context"];

#[derive(Debug, PartialEq)]
pub(super) enum Advice {
    /// Send it again, after this time if the server asks for one.
    Retry(Option<Duration>),
    GiveUp,
}

/// Which refusals pass by themselves. The official SDKs go by the status alone; a spent quota also
/// says 429, though.
pub(super) fn advice(status: u16, error: &Value, headers: &HeaderMap) -> Advice {
    let names = [&error["type"], &error["code"], &error["details"]["error_code"]];
    let passing = match header(headers, "x-should-retry") {
        _ if names.iter().any(|name| SPENT.iter().any(|spent| *name == spent)) => false,
        // Asking again cannot help here, whatever the server says.
        _ if matches!(status, 400 | 401 | 403 | 404 | 413) => false,
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status, 408 | 409 | 429 | 500..),
    };
    if passing { Advice::Retry(retry_after(headers)) } else { Advice::GiveUp }
}

/// Whether a refusal means that the prompt is larger than the window.
pub(super) fn is_overflow(code: &Value, message: &str) -> bool {
    let message = message.to_lowercase();
    code == "context_length_exceeded" || OVERFLOW.iter().any(|words| message.contains(words))
}

/// `retry-after` in seconds or as a date, and the milliseconds that the official SDKs prefer.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(ms) = header(headers, "retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let value = header(headers, "retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that has passed means now.
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Half a second, doubled each time up to eight, less up to a quarter at random, so that many
/// clients do not retry at the same moment.
pub(super) fn backoff(attempts: u32) -> Duration {
    let full = (0.5 * f64::from(1u32 << (attempts - 1).min(10))).min(8.0);
    Duration::from_secs_f64(full * (1.0 - 0.25 * fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn what_passes_and_what_does_not() {
        let go = |status: u16, error: Value| advice(status, &error, &HeaderMap::new());
        for status in [408, 409, 429, 500, 503, 504, 529] {
            assert_eq!(go(status, json!({"type": "x"})), Advice::Retry(None), "{status}");
        }
        for status in [400, 401, 402, 403, 404, 413, 422] {
            assert_eq!(go(status, json!({})), Advice::GiveUp, "{status}");
        }
        assert_eq!(go(429, json!({"type": "insufficient_quota"})), Advice::GiveUp);
        assert_eq!(go(429, json!({"code": "credit_balance_exhausted"})), Advice::GiveUp);
        assert_eq!(
            go(429, json!({"details": {"error_code": "enforced_spend_limit_reached"}})),
            Advice::GiveUp
        );
        let told = |status, word| advice(status, &Value::Null, &headers("x-should-retry", word));
        assert_eq!([told(529, "false"), told(400, "true")], [Advice::GiveUp, Advice::GiveUp]);
        assert_eq!(told(422, "true"), Advice::Retry(None));
        let asked = advice(429, &Value::Null, &headers("retry-after", "7"));
        assert_eq!(asked, Advice::Retry(Some(Duration::from_secs(7))));
    }

    #[test]
    fn waiting_is_told_in_three_ways() {
        let told = |name, value: &str| retry_after(&headers(name, value));
        assert_eq!(told("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(told("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(told("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(told("retry-after", &soon).is_some_and(|d| (50..=60).contains(&d.as_secs())));
        assert_eq!([told("retry-after", "-1"), told("retry-after", "soon")], [None, None]);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        for (tried, full) in [(1, 0.5), (2, 1.0), (5, 8.0), (60, 8.0)] {
            let wait = backoff(tried).as_secs_f64();
            assert!(wait <= full && wait >= full * 0.75, "{tried}: {wait}");
        }
    }
}
