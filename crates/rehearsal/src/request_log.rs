//! The requests that a server received.
use serde_json::Value;
use std::{collections::VecDeque, time::Instant};

/// How many requests are remembered.
const MAX_REQUESTS: usize = 1000;
/// Headers whose values are hidden.
const SECRET_HEADERS: [&str; 4] = ["authorization", "x-api-key", "cookie", "proxy-authorization"];

/// A request that a server received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The path of its URL.
    pub path: String,
    /// When its body had arrived.
    pub arrived: Instant,
    /// When the response was ready to be sent. The time between the two is the rehearsal's own,
    /// with `delay_ms`.
    pub answered: Option<Instant>,
    /// The length of the body in bytes.
    pub bytes: usize,
    /// The body, if the script [records](crate::Script::record) and it is JSON; else null.
    pub body: Value,
    /// Names and values of the headers; the values of keys and cookies are `(hidden)`.
    pub headers: Vec<(String, String)>,
    /// The status of the response; 0 until there is one.
    pub status: u16,
}

/// The newest requests.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    newest: VecDeque<ReceivedRequest>,
    /// How many older ones were dropped.
    dropped: usize,
}

impl RequestLog {
    /// Adds a request and returns its number.
    pub(crate) fn add(&mut self, request: ReceivedRequest) -> usize {
        if self.newest.len() == MAX_REQUESTS {
            self.newest.pop_front();
            self.dropped += 1;
        }
        self.newest.push_back(request);
        self.count() - 1
    }

    /// Notes the response to a request, if the request is still remembered.
    pub(crate) fn answered(&mut self, number: usize, status: u16) {
        let Some(place) = number.checked_sub(self.dropped) else { return };
        if let Some(request) = self.newest.get_mut(place) {
            request.status = status;
            request.answered = Some(Instant::now());
        }
    }

    /// How many there have been.
    pub(crate) fn count(&self) -> usize {
        self.dropped + self.newest.len()
    }

    pub(crate) fn all(&self) -> Vec<ReceivedRequest> {
        self.newest.iter().cloned().collect()
    }
}

/// The headers as they are logged.
pub(crate) fn headers(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text = |name: &str, value: &[u8]| match SECRET_HEADERS.contains(&name) {
        true => "(hidden)".to_string(),
        false => String::from_utf8_lossy(value).into_owned(),
    };
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(name.as_str(), value.as_bytes())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_requests_are_kept() {
        let mut log = RequestLog::default();
        for number in 0..MAX_REQUESTS + 5 {
            let request = ReceivedRequest {
                path: number.to_string(),
                arrived: Instant::now(),
                answered: None,
                bytes: 0,
                body: Value::Null,
                headers: vec![],
                status: 0,
            };
            assert_eq!(log.add(request), number);
        }
        log.answered(3, 200);
        log.answered(7, 400);
        let all = log.all();
        assert_eq!(
            (all.len(), all[0].path.as_str(), all[0].status, all[2].status),
            (MAX_REQUESTS, "5", 0, 400)
        );
        assert_eq!(log.count(), MAX_REQUESTS + 5);
    }
}
