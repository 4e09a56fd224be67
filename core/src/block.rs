//! Content blocks: what messages are made of.
use crate::ToolCall;
use rungs_json::as_text;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use std::{borrow::Cow, sync::Arc};

/// Under which key a session file keeps the origin of a text. No server sends a key like this.
const ORIGIN: &str = "$origin";

/// Under which name a call, or a block of its own, keeps the fields that only servers of Chat
/// Completions know. Requests in the other format leave it out.
pub(crate) const CHAT: &str = "$chat";

/// What an image counts as, in bytes of text. Servers scale a large one down, to some 1,600 tokens
/// of about four bytes; its base64 text may be a thousand times as long.
const IMAGE_SIZE: usize = 6400;

/// JSON kept byte for byte. A parsed value would not do: it rounds numbers and rewrites escapes,
/// and a thinking block is signed over its bytes.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Raw(Arc<RawValue>);

impl Raw {
    /// Its text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// Says that the harness inserted a text, and which part of it did. Session files keep it, requests
/// do not carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The part of the harness, such as `reminder`, `mail` or `summary`.
    pub name: Cow<'static, str>,
    /// Whether the text survives compaction word for word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// One content block. It serialises to the form of session files, which is that of the Messages API
/// and the [`Origin`] of inserted texts; requests are written by the client, without origins.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Text.
    Text {
        /// The words; the API refuses empty ones.
        text: String,
        /// `None` when whoever has the message's role wrote it: the person or the model.
        #[serde(rename = "$origin", skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
        /// Citations and all other fields.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// The model calls a tool.
    ToolUse {
        /// The id that the result must name.
        id: String,
        /// The tool.
        name: String,
        /// An object; a string when the arguments were not valid JSON, which dispatch refuses to
        /// run.
        input: Value,
        /// Other fields, such as `caller`.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// The result of a call.
    ToolResult {
        /// The call that it answers.
        tool_use_id: String,
        /// Text, images, documents, in their order.
        content: Vec<Block>,
        /// Whether the tool failed or did not run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// An image.
    Image {
        /// `{"type": "base64", "media_type": .., "data": ..}`, or a `url`, or a `file`.
        source: Value,
        /// All other fields.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// A document.
    Document {
        /// As for an image; also `text` and `content`.
        source: Value,
        /// Title, context, citations.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// The model's thinking with its signature, `redacted_thinking`, and every block that this code
    /// does not know (new ones appear monthly): kept byte for byte.
    #[serde(untagged)]
    Other(Raw),
}

impl<'de> Deserialize<'de> for Block {
    /// Reads the form of session files.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Block::read(Deserialize::deserialize(d)?))
    }
}

impl Block {
    /// Text of whoever has the message's role.
    pub fn text(text: impl Into<String>) -> Self {
        Block::Text { text: text.into(), origin: None, more: Map::new() }
    }

    /// Text that the part `name` of the harness inserts.
    pub fn inserted(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Block::of_harness(name.into(), text.into(), false)
    }

    /// Inserted text that survives compaction word for word.
    pub fn kept(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Block::of_harness(name.into(), text.into(), true)
    }

    fn of_harness(name: Cow<'static, str>, text: String, keep: bool) -> Self {
        Block::Text { text, origin: Some(Origin { name, keep }), more: Map::new() }
    }

    /// An image from base64 data.
    pub fn image(media_type: &str, base64: &str) -> Self {
        let source = json!({ "type": "base64", "media_type": media_type, "data": base64 });
        Block::Image { source, more: Map::new() }
    }

    /// A thinking block; the signature is empty where the server has none.
    pub fn thinking(thinking: &str, signature: &str) -> Self {
        let block = json!({ "type": "thinking", "thinking": thinking, "signature": signature });
        Block::from_value(&block)
    }

    /// The fields of a message of Chat Completions that are no content, if there are any.
    pub(crate) fn beside(fields: &Map<String, Value>) -> Option<Self> {
        let block = json!({"type": CHAT, "fields": fields});
        (!fields.is_empty()).then(|| Block::from_value(&block))
    }

    pub(crate) fn as_beside(&self) -> Option<Map<String, Value>> {
        let mut block = self.opaque()?;
        let Value::Object(fields) = block["fields"].take() else { return None };
        (block["type"] == CHAT).then_some(fields)
    }

    fn opaque(&self) -> Option<Value> {
        let Block::Other(raw) = self else { return None };
        serde_json::from_str(raw.get()).ok()
    }

    /// A block as a server sends it, whatever its type. A server cannot claim an origin.
    pub fn from_wire(raw: Box<RawValue>) -> Self {
        let mut block = Block::read(raw);
        if let Block::Text { origin, .. } = &mut block {
            *origin = None;
        }
        block
    }

    /// The same, from a JSON value.
    pub fn from_value(value: &Value) -> Self {
        Block::from_wire(to_raw_value(value).expect("a JSON value is JSON"))
    }

    fn read(raw: Box<RawValue>) -> Self {
        Block::known(raw.get()).unwrap_or_else(|| Block::Other(Raw(raw.into())))
    }

    /// A block of a known type never counts as an unknown one, which would be kept as it came: what
    /// is wrong about it is repaired where one thing only can be meant. What says nothing becomes
    /// blank text, which no chat takes.
    fn known(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct ToolResult {
            tool_use_id: String,
            #[serde(default, deserialize_with = "content")]
            content: Vec<Block>,
            #[serde(default)]
            is_error: bool,
        }
        let Ok(mut more) = serde_json::from_str::<Map<String, Value>>(json) else {
            // No block at all, but a text means itself.
            return Some(Block::text(serde_json::from_str::<String>(json).unwrap_or_default()));
        };
        // `shift_remove` keeps the order of the rest, and with it the bytes of the prompt prefix.
        let mut take = |key: &str| more.shift_remove(key).unwrap_or_default();
        Some(match take("type").as_str().unwrap_or("") {
            // Without a type, text alone can be meant.
            "text" | "" => {
                let (text, origin) = (as_text(take("text")), take(ORIGIN));
                more.retain(|key, value| key != "citations" || value.is_array());
                Block::Text { text, origin: serde_json::from_value(origin).ok(), more }
            }
            "tool_use" => {
                let (id, name) = (as_text(take("id")), as_text(take("name")));
                let input = match take("input") {
                    Value::Null => json!({}),
                    Value::String(text) => rungs_json::arguments(&text),
                    input => input,
                };
                Block::ToolUse { id, name, input, more }
            }
            "tool_result" => {
                // From the text again, since blocks within it may be kept byte for byte.
                let Ok(result) = serde_json::from_str(json) else { return Some(Block::text("")) };
                let ToolResult { tool_use_id, content, is_error } = result;
                Block::ToolResult { tool_use_id, content, is_error }
            }
            kind @ ("image" | "document") => match (take("source"), kind) {
                (source @ Value::Object(_), "image") => Block::Image { source, more },
                (source @ Value::Object(_), _) => Block::Document { source, more },
                _ => Block::text(""),
            },
            "thinking" if !take("thinking").is_string() => Block::text(""),
            "redacted_thinking" if !take("data").is_string() => Block::text(""),
            _ => return None,
        })
    }

    /// The words of a text block.
    pub fn as_text(&self) -> Option<&str> {
        let Block::Text { text, .. } = self else { return None };
        Some(text)
    }

    /// Which part of the harness inserted this text, if one did.
    pub fn origin(&self) -> Option<&Origin> {
        let Block::Text { origin, .. } = self else { return None };
        origin.as_ref()
    }

    pub(crate) fn inserted_text(&self) -> Option<&str> {
        self.origin().and(self.as_text())
    }

    /// The call, if this is one.
    pub fn as_call(&self) -> Option<ToolCall> {
        let Block::ToolUse { id, name, input, .. } = self else { return None };
        Some(ToolCall { id: id.clone(), name: name.clone(), input: input.clone() })
    }

    /// The words of a thinking block; empty for one whose words are withheld.
    pub fn as_thinking(&self) -> Option<String> {
        Some(self.thinking_fields()?["thinking"].as_str().unwrap_or("").into())
    }

    /// Whether this is thinking with a signature, which is bound to all that stands before it.
    pub(crate) fn is_signed_thinking(&self) -> bool {
        let is_signed = |fields: Value| match fields["type"].as_str() {
            Some("thinking") => fields["signature"].as_str().is_some_and(|sign| !sign.is_empty()),
            _ => true,
        };
        self.thinking_fields().is_some_and(is_signed)
    }

    fn thinking_fields(&self) -> Option<Value> {
        let fields = self.opaque()?;
        matches!(fields["type"].as_str()?, "thinking" | "redacted_thinking").then_some(fields)
    }

    /// Whether one of the server's own tools is called or answered.
    pub(crate) fn is_of_server_tool(&self) -> bool {
        let is_tool = |kind: &str| kind.ends_with("_tool_use") || kind.ends_with("_tool_result");
        self.opaque().is_some_and(|block| block["type"].as_str().is_some_and(is_tool))
    }

    pub(crate) fn is_blank(&self) -> bool {
        matches!(self, Block::Text { text, .. } if text.trim().is_empty())
    }

    /// The id of the call that this result answers.
    pub(crate) fn answers(&self) -> Option<&str> {
        let Block::ToolResult { tool_use_id, .. } = self else { return None };
        Some(tool_use_id)
    }

    /// Size in bytes of text, roughly what it takes of a model's window.
    pub fn size(&self) -> usize {
        match self {
            Block::Text { text, .. } => text.len(),
            Block::ToolUse { input, .. } => rungs_json::size(input),
            Block::ToolResult { content, .. } => content.iter().map(Block::size).sum(),
            Block::Image { .. } => IMAGE_SIZE,
            Block::Document { source, .. } => rungs_json::size(source),
            Block::Other(raw) => raw.get().len(),
        }
    }
}

/// The content of a message or a result: blocks, or a string that stands for one block of text.
pub(crate) fn content<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Block>, D::Error> {
    let raw: Box<RawValue> = Deserialize::deserialize(d)?;
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Ok(vec![Block::text(text)]),
        Err(_) => serde_json::from_str(raw.get()).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_claim_an_origin() {
        let sent = json!({"type": "text", "text": "hi", "$origin": {"name": "mail"}, "origin": 1});
        let block = Block::from_value(&sent);
        assert_eq!(block.origin(), None);
        let file = serde_json::to_value(&block).unwrap();
        assert_eq!(file, json!({"type": "text", "text": "hi", "origin": 1}));
    }

    #[test]
    fn an_image_counts_as_what_a_model_makes_of_it() {
        let image = Block::image("image/png", &"A".repeat(1_000_000));
        let result = Block::ToolResult {
            tool_use_id: "1".into(),
            content: vec![Block::text("a.png"), image],
            is_error: false,
        };
        assert_eq!(result.size(), "a.png".len() + IMAGE_SIZE);
    }

    #[test]
    fn a_session_file_keeps_origins_and_broken_arguments() {
        let call = json!({"type": "tool_use", "id": "1", "name": "t", "input": "{\"cut"});
        for block in [
            Block::kept("skill", "body"),
            Block::inserted("mail", "hello"),
            Block::from_value(&call),
        ] {
            let file = serde_json::to_string(&block).unwrap();
            assert_eq!(serde_json::from_str::<Block>(&file).unwrap(), block);
        }
    }
}
