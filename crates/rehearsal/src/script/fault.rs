//! Faults: how the server misbehaves when a script asks for it.
use super::template::deserialize_text;
use hyper::header::InvalidHeaderValue;
use serde::de::{Deserialize, Deserializer, Visitor};
use std::{collections::BTreeMap, fmt, num::NonZeroUsize};

/// A fault and for how many attempts it lasts.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// `None`: every attempt from here on.
    pub(crate) times: Option<u32>,
    pub(crate) kind: FaultKind,
}

/// What goes wrong. `after` counts the events of a stream.
#[derive(Clone, Debug)]
pub(crate) enum FaultKind {
    /// An error instead of a reply.
    Status(ErrorStatus),
    /// The connection is cut.
    Cut { after: usize },
    /// The same, after this many bytes of the body.
    CutBytes { after: usize },
    /// The stream ends as if it were whole.
    End { after: usize },
    /// An error event inside a stream that began with status 200.
    ErrorEvent { kind: String, message: Option<String>, after: usize },
    /// The bytes arrive in pieces of this size.
    Split { bytes: usize },
    /// The arguments of the calls end after this many characters.
    CutArguments { characters: usize },
    /// Nothing more is sent, and the connection stays open.
    Stall { after: usize },
    /// An event that is not JSON.
    Malformed { after: usize },
    /// An event and a delta of unknown types.
    Unknown { after: usize },
    /// These bytes are the response, with status 200.
    Body { text: String, content_type: Option<String> },
}

/// An error response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ErrorStatus {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) html: bool,
}

/// The fault of attempt number `attempt`, counted from 1.
pub(crate) fn of_attempt(faults: &[Fault], attempt: u32) -> Option<&FaultKind> {
    let mut attempts: u32 = 0;
    for fault in faults {
        match fault.times {
            None => return Some(&fault.kind),
            Some(times) => attempts = attempts.saturating_add(times),
        }
        if attempt <= attempts {
            return Some(&fault.kind);
        }
    }
    None
}

/// A fault as it is written: every kind has a key of its own.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    times: Option<Times>,
    status: Option<u16>,
    retry_after: Option<RetryAfter>,
    r#type: Option<String>,
    message: Option<String>,
    code: Option<String>,
    #[serde(default)]
    headers: BTreeMap<HeaderName, HeaderText>,
    #[serde(default)]
    html: bool,
    cut_after: Option<usize>,
    cut_after_bytes: Option<usize>,
    end_after: Option<usize>,
    error_event: Option<String>,
    after: Option<usize>,
    split: Option<NonZeroUsize>,
    cut_arguments: Option<usize>,
    stall_after: Option<usize>,
    malformed_after: Option<usize>,
    unknown_after: Option<usize>,
    body: Option<String>,
    content_type: Option<HeaderText>,
}

/// What is wrong with a fault whose keys and types are right.
#[derive(Debug, thiserror::Error)]
enum FaultMistake {
    #[error(
        "a fault has exactly one of status, cut_after, cut_after_bytes, end_after, error_event, \
         split, cut_arguments, stall_after, malformed_after, unknown_after, body"
    )]
    NotOneKind,
    #[error("`{0}` is allowed only beside `status`")]
    NeedsStatus(&'static str),
    #[error("`after` is allowed only beside `error_event`")]
    NeedsErrorEvent,
    #[error("`content_type` is allowed only beside `body`")]
    NeedsBody,
    #[error("status {0} is not an error: 400 to 599 are")]
    NoErrorStatus(u16),
}

impl Keys {
    fn fault(self) -> Result<Fault, FaultMistake> {
        let only_with_status = [
            ("retry_after", self.retry_after.is_some()),
            ("type", self.r#type.is_some()),
            ("code", self.code.is_some()),
            ("headers", !self.headers.is_empty()),
            ("html", self.html),
            ("message", self.message.is_some() && self.error_event.is_none()),
        ];
        for (key, present) in only_with_status {
            if present && self.status.is_none() {
                return Err(FaultMistake::NeedsStatus(key));
            }
        }
        if self.after.is_some() && self.error_event.is_none() {
            return Err(FaultMistake::NeedsErrorEvent);
        }
        if self.content_type.is_some() && self.body.is_none() {
            return Err(FaultMistake::NeedsBody);
        }
        if let Some(status) = self.status
            && !(400..600).contains(&status)
        {
            return Err(FaultMistake::NoErrorStatus(status));
        }
        let status = self.status.map(|status| {
            FaultKind::Status(ErrorStatus {
                status,
                retry_after: self.retry_after.map(|RetryAfter(text)| text),
                kind: self.r#type,
                message: self.message.clone(),
                code: self.code,
                headers: self.headers.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
                html: self.html,
            })
        });
        let (message, after) = (self.message, self.after.unwrap_or(0));
        let content_type = self.content_type.map(|HeaderText(text)| text);
        let kinds = [
            status,
            self.body.map(|text| FaultKind::Body { text, content_type }),
            self.cut_after.map(|after| FaultKind::Cut { after }),
            self.cut_after_bytes.map(|after| FaultKind::CutBytes { after }),
            self.end_after.map(|after| FaultKind::End { after }),
            self.error_event.map(|kind| FaultKind::ErrorEvent { kind, message, after }),
            self.split.map(|bytes| FaultKind::Split { bytes: bytes.get() }),
            self.cut_arguments.map(|characters| FaultKind::CutArguments { characters }),
            self.stall_after.map(|after| FaultKind::Stall { after }),
            self.malformed_after.map(|after| FaultKind::Malformed { after }),
            self.unknown_after.map(|after| FaultKind::Unknown { after }),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            return Err(FaultMistake::NotOneKind);
        };
        let times = match self.times {
            None => Some(1),
            Some(Times(times)) => times,
        };
        Ok(Fault { times, kind })
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keys::deserialize(deserializer)?.fault().map_err(serde::de::Error::custom)
    }
}

/// How many attempts; `None` is `always`.
struct Times(Option<u32>);
/// The value of the header.
struct RetryAfter(String);

/// Reads a number, or a text that `text` accepts.
struct NumberOr<T> {
    expecting: &'static str,
    number: fn(u64) -> Option<T>,
    text: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for NumberOr<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        match (self.number)(number) {
            Some(value) => Ok(value),
            None => Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        match (self.text)(text) {
            Some(value) => Ok(value),
            None => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOr {
            expecting: "a number from 1 up, or `always`",
            number: |number| match u32::try_from(number) {
                Ok(times @ 1..) => Some(Times(Some(times))),
                _ => None,
            },
            text: |text| (text == "always").then_some(Times(None)),
        })
    }
}

impl<'de> Deserialize<'de> for RetryAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOr {
            expecting: "seconds, or the text of the header",
            number: |seconds| Some(RetryAfter(seconds.to_string())),
            text: |text| header_text(text).ok().map(RetryAfter),
        })
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HeaderName(String);
struct HeaderText(String);

fn header_text(text: &str) -> Result<String, InvalidHeaderValue> {
    hyper::header::HeaderValue::from_str(text).map(|_| text.to_string())
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |name| {
            hyper::header::HeaderName::from_bytes(name.as_bytes())
                .map(|name| HeaderName(name.to_string()))
        })
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |text| header_text(text).map(HeaderText))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_the_next_fault() {
        let faults: Vec<Fault> = serde_yaml::from_str(
            "[{split: 1, times: 2}, {cut_after: 3}, {stall_after: 4, times: always}]",
        )
        .unwrap();
        let met: Vec<String> =
            (1..6).map(|attempt| format!("{:?}", of_attempt(&faults, attempt).unwrap())).collect();
        let expected = [
            "Split { bytes: 1 }",
            "Split { bytes: 1 }",
            "Cut { after: 3 }",
            "Stall { after: 4 }",
            "Stall { after: 4 }",
        ];
        assert_eq!(met, expected);
        assert!(of_attempt(&faults[..2], 4).is_none());
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let fault: Fault = serde_yaml::from_str(
            "{status: 503, retry_after: 'Wed, 21 Oct 2026 07:28:00 GMT', headers: {X-A: b}}",
        )
        .unwrap();
        let FaultKind::Status(status) = fault.kind else { panic!("{:?}", fault.kind) };
        let expected = ErrorStatus {
            status: 503,
            retry_after: Some("Wed, 21 Oct 2026 07:28:00 GMT".into()),
            kind: None,
            message: None,
            code: None,
            headers: [("x-a".to_string(), "b".to_string())].into(),
            html: false,
        };
        assert_eq!(status, expected);
    }
}
