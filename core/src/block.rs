//! Content blocks: what messages are made of.
use crate::ToolCall;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json, value::RawValue};
use std::{borrow::Cow, sync::Arc};

/// Under which key a session file keeps the origin of a text. No server sends a key like this.
const ORIGIN: &str = "$origin";

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

    fn of(value: &Value) -> Self {
        Raw(Arc::from(serde_json::value::to_raw_value(value).expect("a JSON value is JSON")))
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
        let raw: Box<RawValue> = Deserialize::deserialize(d)?;
        Ok(Block::known(raw.get()).unwrap_or_else(|| Block::Other(Raw(raw.into()))))
    }
}

impl Block {
    /// Text of whoever has the message's role.
    pub fn text(text: impl Into<String>) -> Self {
        Block::Text { text: text.into(), origin: None, more: Map::new() }
    }

    /// Text that the part `name` of the harness inserts.
    pub fn inserted(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        let origin = Some(Origin { name: name.into(), keep: false });
        Block::Text { text: text.into(), origin, more: Map::new() }
    }

    /// Inserted text that survives compaction word for word.
    pub fn kept(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        let origin = Some(Origin { name: name.into(), keep: true });
        Block::Text { text: text.into(), origin, more: Map::new() }
    }

    /// An image from base64 data.
    pub fn image(media_type: &str, base64: &str) -> Self {
        let source = json!({ "type": "base64", "media_type": media_type, "data": base64 });
        Block::Image { source, more: Map::new() }
    }

    /// A thinking block; the signature is empty where the server has none.
    pub fn thinking(thinking: &str, signature: &str) -> Self {
        let value = json!({ "type": "thinking", "thinking": thinking, "signature": signature });
        Block::Other(Raw::of(&value))
    }

    /// A block as a server sends it, whatever its type. A server cannot claim an origin.
    pub fn from_wire(raw: Box<RawValue>) -> Self {
        let mut block = Block::known(raw.get()).unwrap_or_else(|| Block::Other(Raw(raw.into())));
        if let Block::Text { origin, .. } = &mut block {
            *origin = None;
        }
        block
    }

    /// The same, from a JSON value.
    pub fn from_value(value: &Value) -> Self {
        match serde_json::value::to_raw_value(value) {
            Ok(raw) => Block::from_wire(raw),
            Err(_) => Block::Other(Raw::of(value)),
        }
    }

    fn known(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct ToolResult {
            tool_use_id: String,
            #[serde(default)]
            content: Content,
            #[serde(default)]
            is_error: bool,
        }
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        let kind = serde_json::from_str::<Kind>(json).ok()?.kind;
        if kind == "tool_result" {
            let ToolResult { tool_use_id, content, is_error } = serde_json::from_str(json).ok()?;
            return Some(Block::ToolResult { tool_use_id, content: content.0, is_error });
        }
        if !matches!(&*kind, "text" | "tool_use" | "image" | "document") {
            return None;
        }
        let mut more: Map<String, Value> = serde_json::from_str(json).ok()?;
        // `shift_remove` keeps the order of the rest, and with it the bytes of the prompt prefix.
        more.shift_remove("type");
        fn word(more: &mut Map<String, Value>, key: &str) -> Option<String> {
            match more.shift_remove(key)? {
                Value::String(s) => Some(s),
                _ => None,
            }
        }
        Some(match &*kind {
            "text" => {
                let origin = more.shift_remove(ORIGIN);
                let origin = origin.and_then(|origin| serde_json::from_value(origin).ok());
                Block::Text { text: word(&mut more, "text")?, origin, more }
            }
            "tool_use" => {
                let (id, name) = (word(&mut more, "id")?, word(&mut more, "name")?);
                let input = more.shift_remove("input").unwrap_or_else(|| Map::new().into());
                Block::ToolUse { id, name, input, more }
            }
            "image" => Block::Image { source: more.shift_remove("source")?, more },
            _ => Block::Document { source: more.shift_remove("source")?, more },
        })
    }

    /// The words of a text block.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Block::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Which part of the harness inserted this text, if one did.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Block::Text { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    /// The call, if this is one.
    pub fn as_call(&self) -> Option<ToolCall> {
        match self {
            Block::ToolUse { id, name, input, .. } => {
                Some(ToolCall { id: id.clone(), name: name.clone(), input: input.clone() })
            }
            _ => None,
        }
    }

    /// The words of a thinking block; empty for one whose words are withheld.
    pub fn as_thinking(&self) -> Option<String> {
        self.thinks().map(|block| block.thinking)
    }

    /// Whether this is thinking with a signature, which is bound to all that stands before it.
    pub(crate) fn is_signed_thinking(&self) -> bool {
        self.thinks().is_some_and(|block| block.signature != "")
    }

    fn thinks(&self) -> Option<Thinking> {
        let Block::Other(raw) = self else { return None };
        let block: Thinking = serde_json::from_str(raw.get()).ok()?;
        matches!(&*block.r#type, "thinking" | "redacted_thinking").then_some(block)
    }

    pub(crate) fn is_blank(&self) -> bool {
        matches!(self, Block::Text { text, more, .. } if text.trim().is_empty() && more.is_empty())
    }

    /// The id of the call that this result answers.
    pub(crate) fn answers(&self) -> Option<&str> {
        match self {
            Block::ToolResult { tool_use_id, .. } => Some(tool_use_id),
            _ => None,
        }
    }

    /// Size in bytes of text, roughly what it takes of a model's window.
    pub fn size(&self) -> usize {
        match self {
            Block::Text { text, .. } => text.len(),
            Block::ToolUse { input, .. } => input.to_string().len(),
            Block::ToolResult { content, .. } => content.iter().map(Block::size).sum(),
            Block::Image { .. } => IMAGE_SIZE,
            Block::Document { source, .. } => source.to_string().len(),
            Block::Other(raw) => raw.get().len(),
        }
    }
}

/// What this code reads of a thinking block.
#[derive(Deserialize)]
struct Thinking {
    r#type: String,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    signature: Value,
}

/// The content of a message or a result: blocks, or a string that stands for one block of text.
#[derive(Default)]
pub(crate) struct Content(pub(crate) Vec<Block>);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(d)?;
        if let Ok(text) = serde_json::from_str::<String>(raw.get()) {
            return Ok(Content(vec![Block::text(text)]));
        }
        serde_json::from_str(raw.get()).map(Content).map_err(D::Error::custom)
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
