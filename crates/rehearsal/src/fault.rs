//! What can go wrong on purpose.
use crate::template::text;
use serde::de::{Deserialize, Deserializer, Visitor};
use std::{collections::BTreeMap, fmt};

/// A fault and how many attempts meet it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// `None`: every attempt from here on.
    pub(crate) times: Option<u32>,
    pub(crate) kind: Kind,
}

/// The ways to misbehave. Counts are of the events of a stream.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// An error instead of a reply.
    Status(Status),
    /// The connection is cut.
    Cut { after: usize },
    /// An error inside a stream whose status was 200.
    ErrorEvent { kind: String, message: Option<String>, after: usize },
    /// The bytes arrive in pieces of this size.
    Split { size: usize },
    /// The arguments of the calls end after this many characters.
    CutArguments { after: usize },
    /// Nothing more comes, but the connection stays.
    Stall { after: usize },
    /// An event that is not JSON.
    Malformed { after: usize },
    /// An event and a delta of types that no client knows.
    Unknown { after: usize },
}

/// An error response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) html: bool,
}

/// The fault that attempt number `attempt` (from 1) meets.
pub(crate) fn met(faults: &[Fault], attempt: u32) -> Option<&Kind> {
    let mut before: u32 = 0;
    for fault in faults {
        match fault.times {
            None => return Some(&fault.kind),
            Some(times) => before = before.saturating_add(times),
        }
        if attempt <= before {
            return Some(&fault.kind);
        }
    }
    None
}

/// The fault as it is written: every kind is a key of its own.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
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
    error_event: Option<String>,
    after: Option<usize>,
    split: Option<std::num::NonZeroUsize>,
    cut_arguments: Option<usize>,
    stall_after: Option<usize>,
    malformed_after: Option<usize>,
    unknown_after: Option<usize>,
}

/// Why a fault makes no sense.
enum Odd {
    NotOne,
    OnlyWithStatus(&'static str),
    OnlyWithErrorEvent,
    BadStatus(u16),
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Odd::NotOne => f.write_str(
                "a fault has exactly one of status, cut_after, error_event, split, cut_arguments, stall_after, \
                 malformed_after, unknown_after",
            ),
            Odd::OnlyWithStatus(key) => write!(f, "`{key}` stands only beside `status`"),
            Odd::OnlyWithErrorEvent => f.write_str("`after` stands only beside `error_event`"),
            Odd::BadStatus(status) => write!(f, "status {status} is no error: 400 to 599 are"),
        }
    }
}

impl Written {
    fn understand(self) -> Result<Fault, Odd> {
        let status = self.status.is_some();
        let stray = [
            ("retry_after", self.retry_after.is_some()),
            ("type", self.r#type.is_some()),
            ("code", self.code.is_some()),
            ("headers", !self.headers.is_empty()),
            ("html", self.html),
            ("message", self.message.is_some() && self.error_event.is_none()),
        ];
        if let Some((key, _)) = stray.iter().find(|(_, present)| *present && !status) {
            return Err(Odd::OnlyWithStatus(key));
        }
        if self.after.is_some() && self.error_event.is_none() {
            return Err(Odd::OnlyWithErrorEvent);
        }
        if let Some(status) = self.status.filter(|status| !(400..600).contains(status)) {
            return Err(Odd::BadStatus(status));
        }
        let answer = self.status.map(|status| {
            Kind::Status(Status {
                status,
                retry_after: self.retry_after.map(|RetryAfter(text)| text),
                kind: self.r#type,
                message: self.message.clone(),
                code: self.code,
                headers: self.headers.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
                html: self.html,
            })
        });
        let (message, place) = (self.message, self.after.unwrap_or(0));
        let kinds = [
            answer,
            self.cut_after.map(|after| Kind::Cut { after }),
            self.error_event.map(|kind| Kind::ErrorEvent { kind, message, after: place }),
            self.split.map(|size| Kind::Split { size: size.get() }),
            self.cut_arguments.map(|after| Kind::CutArguments { after }),
            self.stall_after.map(|after| Kind::Stall { after }),
            self.malformed_after.map(|after| Kind::Malformed { after }),
            self.unknown_after.map(|after| Kind::Unknown { after }),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(kind), None) = (kinds.next(), kinds.next()) else { return Err(Odd::NotOne) };
        let times = self.times.map_or(Some(1), |Times(times)| times);
        Ok(Fault { times, kind })
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.understand().map_err(serde::de::Error::custom)
    }
}

struct Times(Option<u32>);
struct RetryAfter(String);

/// A number, or a text that `parse` knows.
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
        (self.number)(number)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOr {
            expecting: "a number from 1 up, or `always`",
            number: |number| {
                Some(Times(Some(u32::try_from(number).ok().filter(|times| *times > 0)?)))
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

fn header_text(text: &str) -> Result<String, hyper::header::InvalidHeaderValue> {
    hyper::header::HeaderValue::from_str(text).map(|_| text.to_string())
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, |name| {
            hyper::header::HeaderName::from_bytes(name.as_bytes())
                .map(|name| HeaderName(name.to_string()))
        })
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, |text| header_text(text).map(HeaderText))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_meet_the_faults_in_order() {
        let faults: Vec<Fault> = serde_yaml::from_str(
            "[{split: 1, times: 2}, {cut_after: 3}, {stall_after: 4, times: always}]",
        )
        .unwrap();
        let met: Vec<String> =
            (1..6).map(|attempt| format!("{:?}", met(&faults, attempt).unwrap())).collect();
        let expected = [
            "Split { size: 1 }",
            "Split { size: 1 }",
            "Cut { after: 3 }",
            "Stall { after: 4 }",
            "Stall { after: 4 }",
        ];
        assert_eq!(met, expected);
        assert!(super::met(&faults[..2], 4).is_none());
    }

    #[test]
    fn a_date_may_stand_as_retry_after() {
        let fault: Fault = serde_yaml::from_str(
            "{status: 503, retry_after: 'Wed, 21 Oct 2026 07:28:00 GMT', headers: {X-A: b}}",
        )
        .unwrap();
        let Kind::Status(status) = fault.kind else { panic!("{:?}", fault.kind) };
        let expected = Status {
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
