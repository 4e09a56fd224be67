use schemars::JsonSchema;
use serde::Deserialize;

/// Reserves seats.
#[derive(Deserialize, JsonSchema)]
#[allow(dead_code)]
struct Reserve {
    /// How many.
    seats: u32,
    /// For whom.
    name: String,
    /// Whether at a window.
    window: Option<bool>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code)]
enum End {
    Runs,
    Refused,
    /// Fill in one of the others.
    Unknown,
}
#[allow(unused_imports)]
use End::{Refused, Runs, Unknown};

/// Tool and arguments.
const CALLS: [(&str, &str); 8] = [
    ("reserve", r#"{"seats": 2, "name": "Ann"}"#),
    ("reserve", r#"{"seats": "2", "name": "Ann"}"#),
    ("reserve", r#"{"seats": "two", "name": "Ann"}"#),
    ("reserve", r#"{"seats": 2, "name": "Ann", "window": null}"#),
    ("reserve", r#"{"seats": 2, "name": "Ann", "windows": true}"#),
    ("reserve", r#"{"seats": 2}"#),
    ("reserve", r#"{"seats": 2.5, "name": "Ann"}"#),
    ("reserves", r#"{"seats": 2, "name": "Ann"}"#),
];

const ENDS: [End; 8] = [Runs, Runs, Refused, Runs, Refused, Refused, Refused, Refused];

const REQUESTS: usize = 2;
