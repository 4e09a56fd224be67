//! What a server was sent.
use serde_json::Value;
use std::{collections::VecDeque, time::Instant};

/// How many requests are remembered.
const MOST: usize = 1000;
/// Headers whose values are nobody's business.
const SECRET: [&str; 4] = ["authorization", "x-api-key", "cookie", "proxy-authorization"];

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path that was asked for.
    pub path: String,
    /// When its body had arrived.
    pub arrived: Instant,
    /// When the answer was ready to be sent; what lies between is the rehearsal's own work.
    pub answered: Option<Instant>,
    /// The length of the body.
    pub bytes: usize,
    /// The body as sent, if the script records and it is JSON; else null.
    pub body: Value,
    /// The headers; keys are hidden.
    pub headers: Vec<(String, String)>,
    /// What was answered; 0 as long as nothing was.
    pub status: u16,
}

/// The newest requests.
#[derive(Debug, Default)]
pub(crate) struct Log {
    newest: VecDeque<Seen>,
    /// How many fell out in front.
    gone: usize,
}

impl Log {
    /// Adds a request and returns its number.
    pub(crate) fn add(&mut self, seen: Seen) -> usize {
        if self.newest.len() == MOST {
            self.newest.pop_front();
            self.gone += 1;
        }
        self.newest.push_back(seen);
        self.gone + self.newest.len() - 1
    }

    pub(crate) fn answered(&mut self, number: usize, status: u16) {
        if let Some(seen) =
            number.checked_sub(self.gone).and_then(|place| self.newest.get_mut(place))
        {
            seen.status = status;
            seen.answered = Some(Instant::now());
        }
    }

    /// How many there have been.
    pub(crate) fn count(&self) -> usize {
        self.gone + self.newest.len()
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.newest.iter().cloned().collect()
    }
}

pub(crate) fn headers(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text = |name: &str, value: &[u8]| match SECRET.contains(&name) {
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
    fn only_the_newest_stay() {
        let mut log = Log::default();
        for number in 0..MOST + 5 {
            let seen = Seen {
                path: number.to_string(),
                arrived: Instant::now(),
                answered: None,
                bytes: 0,
                body: Value::Null,
                headers: vec![],
                status: 0,
            };
            assert_eq!(log.add(seen), number);
        }
        log.answered(3, 200);
        log.answered(7, 400);
        let all = log.all();
        assert_eq!(
            (all.len(), all[0].path.as_str(), all[0].status, all[2].status),
            (MOST, "5", 0, 400)
        );
    }
}
