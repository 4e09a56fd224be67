//! Fingerprints of requests. They need to be the same for the same content in every process, not to withstand an
//! attacker: nobody gains anything by fooling a rehearsal.
use serde_json::Value;
use std::hash::{DefaultHasher, Hasher};

/// A running hash whose state can be copied at any place.
#[derive(Clone)]
pub(crate) struct Print(DefaultHasher);

impl Print {
    /// A fresh hash for one purpose, so that equal content under two purposes differs.
    pub(crate) fn new(purpose: &str) -> Self {
        let mut print = Print(DefaultHasher::new());
        print.text(purpose);
        print
    }

    /// Takes in a text. The length goes first, so that "ab","c" and "a","bc" differ.
    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    /// Takes in a value in canonical form: the order of keys, `null` fields and `1` against `1.0` make no difference,
    /// because client libraries change them on a round trip without meaning anything by it.
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
                items.iter().for_each(|item| self.value(item));
            }
            Value::Object(fields) => {
                self.fields(fields.iter().map(|(key, value)| (key.as_str(), value)))
            }
        }
    }

    /// Takes in a content block or tool definition without its cache marks, which change nothing a model sees.
    pub(crate) fn block(&mut self, block: &Value) {
        let Some(fields) = block.as_object() else { return self.value(block) };
        let plain = |key: &str| key != "cache_control" && key != "content";
        self.fields(
            fields.iter().map(|(key, value)| (key.as_str(), value)).filter(|(key, _)| plain(key)),
        );
        match fields.get("content") {
            // A plain text as content is short for one text block.
            Some(Value::String(text)) => {
                self.block(&serde_json::json!([{"type": "text", "text": text}])[0])
            }
            Some(Value::Array(items)) => items.iter().for_each(|item| self.block(item)),
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
        let mut print = Print::new("test");
        print.block(value);
        print.finish()
    }

    #[test]
    fn only_what_a_model_sees_counts() {
        let plain = block(&json!({"type": "tool_result", "tool_use_id": "a", "content": "x"}));
        let same = [
            json!({"tool_use_id": "a", "type": "tool_result", "content": "x", "is_error": null}),
            json!({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}]}),
            json!({"type": "tool_result", "tool_use_id": "a", "cache_control": {"type": "ephemeral"},
                   "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}),
        ];
        for other in same {
            assert_eq!(block(&other), plain, "{other}");
        }
        assert_ne!(
            block(&json!({"type": "tool_result", "tool_use_id": "a", "content": "y"})),
            plain
        );
        assert_eq!(block(&json!({"input": {"n": 1}})), block(&json!({"input": {"n": 1.0}})));
        // In a tool's input the key is the tool's own.
        let input = |mark: &str| json!({"type": "tool_use", "input": {"cache_control": mark}});
        assert_ne!(block(&input("a")), block(&input("b")));
    }
}
