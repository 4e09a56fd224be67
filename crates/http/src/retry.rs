//! Whether a failed request is sent again, and when.
use crate::header;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// How often one request is sent at most.
const MAX_ATTEMPTS: u32 = 8;
/// The same where nobody answers on this machine: a server that is not running does not start by
/// being asked.
const MAX_LOCAL_ATTEMPTS: u32 = 3;
/// How soon it is sent again at the earliest, whatever the server says.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// How long one request waits between its attempts, all in all.
const MAX_TOTAL_WAIT: Duration = Duration::from_secs(120);
/// What vendors call a quota that is spent; no waiting refills it.
const SPENT: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
];
/// What may help after a failure.
#[derive(Debug, PartialEq)]
pub enum Advice {
    /// Send it again, after this time if the server asks for one.
    Retry(Option<Duration>),
    /// Send it once more: the failure itself took long.
    RetryOnce,
    /// Send it again: nobody answers on this machine.
    RetryLocal,
    /// Ask for a reply of at most so many tokens.
    Fewer(u32),
    /// Sending it again cannot help.
    GiveUp,
}

/// Which refusals pass by themselves. The official SDKs go by the status alone; a spent quota also
/// says 429, though.
pub fn advice(status: u16, error: &Value, headers: &HeaderMap) -> Advice {
    let names = [&error["type"], &error["code"], &error["details"]["error_code"]];
    let passing = match header(headers, "x-should-retry") {
        _ if names.iter().any(|name| SPENT.iter().any(|spent| *name == spent)) => false,
        // Asking again cannot help here, whatever the server says.
        _ if matches!(status, 400 | 401 | 403 | 404 | 413) => false,
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status, 408 | 409 | 429 | 500..),
    };
    let message = error["message"].as_str().unwrap_or("").to_lowercase();
    match passing {
        false => Advice::GiveUp,
        // A local server that reads no pictures says so with 500.
        true if status >= 500 && message.contains("image") => Advice::RetryOnce,
        true => Advice::Retry(retry_after(headers)),
    }
}

/// The attempts at one request.
#[derive(Debug, Default)]
pub struct Retries {
    /// How many failed.
    pub attempts: u32,
    /// How many there are at most, by the newest failure.
    pub max_attempts: u32,
    waited: Duration,
    was_silent: bool,
}

impl Retries {
    /// Counts a failed attempt: how long to wait before the next one, if there is to be one. The
    /// waits grow, and none is left out, whatever the server asks for.
    pub fn next(&mut self, advice: &Advice) -> Option<Duration> {
        self.attempts += 1;
        self.max_attempts = MAX_ATTEMPTS;
        let mut asked = None;
        match advice {
            Advice::Retry(wait) => asked = *wait,
            Advice::RetryLocal => self.max_attempts = MAX_LOCAL_ATTEMPTS,
            Advice::RetryOnce if !self.was_silent => {
                self.was_silent = true;
                self.max_attempts = MAX_ATTEMPTS.min(self.attempts + 1);
            }
            Advice::RetryOnce | Advice::Fewer(_) | Advice::GiveUp => return None,
        }
        let wait = asked.unwrap_or_else(|| backoff(self.attempts)).max(MIN_WAIT);
        if self.attempts >= self.max_attempts || self.waited.saturating_add(wait) > MAX_TOTAL_WAIT {
            return None;
        }
        self.waited += wait;
        Some(wait)
    }
}

/// `retry-after` in seconds or as a date, and the milliseconds that the official SDKs prefer. No
/// time at all, or one that has passed, counts as not said.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| header(headers, name)?.parse::<f64>().ok();
    let wait = match (seconds("retry-after-ms"), seconds("retry-after")) {
        (Some(ms), _) => ms / 1000.0,
        (None, Some(seconds)) => seconds,
        (None, None) => {
            let date = httpdate::parse_http_date(header(headers, "retry-after")?).ok()?;
            date.duration_since(SystemTime::now()).ok()?.as_secs_f64()
        }
    };
    // A time that is too long to be counted is no reason to come back soon.
    (wait > 0.0).then(|| Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
}

/// Half a second, doubled each time up to eight, less up to a quarter at random, so that many
/// clients do not retry at the same moment.
fn backoff(attempts: u32) -> Duration {
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
        let no_pictures = json!({"message": "image input is not supported"});
        assert_eq!(go(500, no_pictures.clone()), Advice::RetryOnce);
        assert_eq!(go(429, no_pictures), Advice::Retry(None));
        let asked = advice(429, &Value::Null, &headers("retry-after", "7"));
        assert_eq!(asked, Advice::Retry(Some(Duration::from_secs(7))));
    }

    #[test]
    fn waiting_is_told_in_three_ways() {
        let told = |name, value: &str| retry_after(&headers(name, value));
        assert_eq!(told("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(told("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(told("retry-after", &soon).is_some_and(|d| (50..=60).contains(&d.as_secs())));
        assert_eq!(told("retry-after", "1e300"), Some(Duration::MAX));
        for nothing in ["0", "0.0", "-1", "soon", "", "NaN", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(told("retry-after", nothing), None, "{nothing}");
        }
        assert_eq!(told("retry-after-ms", "0"), None);
    }

    /// The waits of a request that fails like this again and again.
    fn waits(advice: &Advice) -> Vec<Duration> {
        let mut retries = Retries::default();
        std::iter::from_fn(|| retries.next(advice)).collect()
    }

    #[test]
    fn attempts_are_few_and_none_follows_at_once() {
        assert_eq!(waits(&Advice::Retry(None)).len(), 7);
        assert_eq!(waits(&Advice::RetryLocal).len(), 2);
        assert_eq!(waits(&Advice::RetryOnce).len(), 1);
        assert_eq!(waits(&Advice::GiveUp).len() + waits(&Advice::Fewer(1)).len(), 0);
        for wait in waits(&Advice::Retry(Some(Duration::from_nanos(1)))) {
            assert_eq!(wait, Duration::from_millis(100));
        }
        // What the server asks for is kept to, as far as it is bounded.
        assert_eq!(waits(&Advice::Retry(Some(Duration::from_secs(50)))).len(), 2);
        assert_eq!(waits(&Advice::Retry(Some(Duration::MAX))).len(), 0);
    }

    #[test]
    fn silence_is_borne_once_among_other_failures() {
        let mut retries = Retries::default();
        let once = retries.next(&Advice::RetryOnce).is_some();
        assert_eq!((retries.attempts, retries.max_attempts), (1, 2));
        assert!(once && retries.next(&Advice::Retry(None)).is_some());
        assert_eq!(retries.next(&Advice::RetryOnce), None);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        for (tried, full) in [(1, 0.5), (2, 1.0), (5, 8.0), (60, 8.0)] {
            let wait = backoff(tried).as_secs_f64();
            assert!(wait <= full && wait >= full * 0.75, "{tried}: {wait}");
        }
    }
}
