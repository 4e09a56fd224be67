//! Fingerprints of requests: hashes that are equal for equal content in every process. They do not
//! withstand an attacker, who would gain nothing.
use serde_json::Value;
use std::hash::{DefaultHasher, Hasher};

/// A running hash; it can be cloned at any place of a request and continued from there.
#[derive(Clone)]
pub(crate) struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// A new hash for one purpose; equal content has different hashes for different purposes.
    pub(crate) fn new(purpose: &str) -> Self {
        let mut fingerprint = Fingerprint(DefaultHasher::new());
        fingerprint.text(purpose);
        fingerprint
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Adds bytes. Their number goes first, so that "ab", "c" and "a", "bc" differ.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.write(bytes);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    /// Adds a value in canonical form: the order of keys, `null` fields, and `1` instead of `1.0`
    /// make no difference. Client libraries change them when they read and write a message.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.text("null"),
            Value::Bool(yes) => self.text(if *yes { "true" } else { "false" }),
            Value::Number(number) => {
                self.text("number");
                self.number(number.as_f64().unwrap_or_default().to_bits());
            }
            Value::String(text) => {
                self.text("text");
                self.text(text);
            }
            Value::Array(items) => {
                self.text("list");
                self.number(items.len() as u64);
                for item in items {
                    self.value(item);
                }
            }
            Value::Object(fields) => {
                self.fields(fields.iter().map(|(key, value)| (key.as_str(), value)));
            }
        }
    }

    /// Adds a content block or a tool definition without its cache marks, which a model does not
    /// see.
    pub(crate) fn block(&mut self, block: &Value) {
        let Some(fields) = block.as_object() else { return self.value(block) };
        let included = |key: &str| key != "cache_control" && key != "content";
        self.fields(
            fields
                .iter()
                .map(|(key, value)| (key.as_str(), value))
                .filter(|(key, _)| included(key)),
        );
        match fields.get("content") {
            // A text as content is short for one text block.
            Some(Value::String(text)) => {
                self.block(&serde_json::json!({"type": "text", "text": text}));
            }
            Some(Value::Array(items)) => {
                for item in items {
                    self.block(item);
                }
            }
            Some(other) => self.value(other),
            None => {}
        }
    }

    fn fields<'a>(&mut self, fields: impl Iterator<Item = (&'a str, &'a Value)>) {
        let mut fields: Vec<_> = fields.filter(|(_, value)| !value.is_null()).collect();
        fields.sort_unstable_by_key(|(key, _)| *key);
        self.text("map");
        self.number(fields.len() as u64);
        for (key, value) in fields {
            self.text(key);
            self.value(value);
        }
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn block(value: &Value) -> u64 {
        let mut fingerprint = Fingerprint::new("test");
        fingerprint.block(value);
        fingerprint.finish()
    }

    #[test]
    fn only_what_a_model_sees_makes_a_difference() {
        let plain = block(&json!({"type": "tool_result", "tool_use_id": "a", "content": "x"}));
        let text = json!({"type": "text", "text": "x"});
        let mut marked = text.clone();
        marked["cache_control"] = json!({"type": "ephemeral"});
        let same = [
            json!({"tool_use_id": "a", "type": "tool_result", "content": "x", "is_error": null}),
            json!({"type": "tool_result", "tool_use_id": "a", "content": [text]}),
            json!({"type": "tool_result", "tool_use_id": "a", "content": [marked],
                   "cache_control": {"type": "ephemeral"}}),
        ];
        for other in same {
            assert_eq!(block(&other), plain, "{other}");
        }
        assert_ne!(
            block(&json!({"type": "tool_result", "tool_use_id": "a", "content": "y"})),
            plain
        );
        assert_eq!(block(&json!({"input": {"n": 1}})), block(&json!({"input": {"n": 1.0}})));
        // In a tool's input `cache_control` is a key of the tool.
        let input = |mark: &str| json!({"type": "tool_use", "input": {"cache_control": mark}});
        assert_ne!(block(&input("a")), block(&input("b")));
    }
}
