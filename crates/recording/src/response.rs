//! Responses, as they came over the wire.
use crate::{Recording, pieces::without_keys};
use serde_json::{Value, json};
use std::collections::HashMap;

/// How much of one response is kept, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// The bytes of a response, collected until its end or until it breaks off.
#[derive(Debug, Default)]
pub struct Response {
    /// Its status; 0 until there is one.
    pub status: u16,
    bytes: Vec<u8>,
    /// How many there were.
    length: usize,
}

impl Response {
    /// Adds the next bytes.
    pub fn add(&mut self, part: &[u8]) {
        self.length += part.len();
        let room = MAX_BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// The fields of its record: `status`, `bytes`, and what came as `events`, `body` (JSON) or
    /// `text`.
    pub fn fields(&self, recording: &Recording) -> Value {
        let mut fields = json!({"status": self.status, "bytes": self.length});
        if rungs_json::is_events(&self.bytes) {
            let mut events = events(&String::from_utf8_lossy(&self.bytes));
            redact(recording, &mut events);
            fields["events"] = events.into();
        } else if let Ok(body) = serde_json::from_slice::<Value>(&self.bytes) {
            fields["body"] = body;
        } else {
            fields["text"] = String::from_utf8_lossy(&self.bytes).into();
        }
        if self.length > self.bytes.len() {
            fields["left_out"] = json!(self.length - self.bytes.len());
        }
        fields
    }
}

/// The data of server-sent events: JSON, or the text of what is none. Their names are left out,
/// since the data repeat them.
fn events(text: &str) -> Vec<Value> {
    let text = text.replace("\r\n", "\n");
    let blocks = text.split("\n\n").map(|block| {
        let data = block.lines().filter_map(|line| line.strip_prefix("data:"));
        let data: Vec<&str> = data.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        data.join("\n")
    });
    let data = blocks.filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(&data).unwrap_or_else(|_| data.into())).collect()
}

/// Takes out keys that are spread over the pieces of a stream: texts that stand at the same place
/// of several events, under the same indices, are one text.
fn redact(recording: &Recording, events: &mut [Value]) {
    let mut texts: HashMap<String, String> = HashMap::new();
    for event in events.iter_mut() {
        each_text(event, "", &mut |place, text| {
            texts.entry(place.into()).or_default().push_str(text);
        });
    }
    let redactor = recording.redactor();
    let mut redacted: HashMap<String, String> = texts
        .into_iter()
        .filter_map(|(place, text)| Some((place, without_keys(redactor, &text)?)))
        .collect();
    if redacted.is_empty() {
        return;
    }
    for event in events {
        each_text(event, "", &mut |place, text| {
            if let Some(whole) = redacted.get_mut(place) {
                *text = std::mem::take(whole);
            }
        });
    }
}

/// Shows every text in this value to `see`, with its place.
fn each_text(value: &mut Value, place: &str, see: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => see(place, text),
        Value::Array(values) => {
            for value in values {
                each_text(value, &format!("{place}[]"), see);
            }
        }
        Value::Object(fields) => {
            let index = fields.get("index").map(Value::to_string).unwrap_or_default();
            for (name, value) in fields {
                each_text(value, &format!("{place}{index}/{name}"), see);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_sessions::Redactor;

    fn fields(status: u16, parts: &[&str]) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.jsonl");
        let recording = Recording::create(&file, Redactor::new(["own-key-1".into()])).unwrap();
        let mut response = Response { status, ..Response::default() };
        parts.iter().for_each(|part| response.add(part.as_bytes()));
        response.fields(&recording)
    }

    #[test]
    fn a_response_is_events_json_or_text() {
        let stream =
            ["event: a\r\ndata: {\"n\"", ": 1}\r\n\r\n: ping\n\ndata: [DONE]\n\ndata: {\"cu"];
        assert_eq!(
            fields(200, &stream),
            json!({"status": 200, "bytes": 60, "events": [{"n": 1}, "[DONE]", "{\"cu"]})
        );
        let body = json!({"status": 429, "bytes": 8, "body": {"a": []}});
        assert_eq!(fields(429, &["{\"a\":[]}"]), body);
        let text = json!({"status": 502, "bytes": 6, "text": "<html>"});
        assert_eq!(fields(502, &["<html>"]), text);
        assert_eq!(fields(0, &[]), json!({"status": 0, "bytes": 0, "text": ""}));
    }

    #[test]
    fn a_key_in_pieces_of_a_stream_is_taken_out() {
        let event = |index: u64, text: &str| {
            format!("data: {}\n\n", json!({"index": index, "delta": {"text": text}}))
        };
        let stream = [event(0, "it is own-"), event(1, "own-"), event(0, "key-1!"), event(1, "x")];
        let stream: Vec<&str> = stream.iter().map(String::as_str).collect();
        let texts: Vec<String> = fields(200, &stream)["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["delta"]["text"].as_str().unwrap().to_string())
            .collect();
        assert_eq!(texts, ["it is [redacted key]!", "own-", "", "x"]);
    }
}
