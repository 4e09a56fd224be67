//! The lasting conversation: blocks in messages in a chat.
use crate::{Outcome, ToolCall};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};
use std::{hash::BuildHasher, sync::Arc};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person, and the results of tools.
    User,
    /// The model.
    Assistant,
}

/// JSON kept byte for byte. A parsed value would not do: it rounds numbers and rewrites escapes, and a thinking block
/// is signed over its bytes.
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

/// One content block, as on the wire of the Messages API, which is also the form in which chats are saved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Words.
    Text {
        /// The words; the API refuses empty ones.
        text: String,
        /// Citations and whatever else came along.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// The model asks for a tool.
    ToolUse {
        /// What the result must name.
        id: String,
        /// Which tool.
        name: String,
        /// An object; a string when the arguments were no JSON (a cut stream), which dispatch refuses to run.
        #[serde(serialize_with = "as_object")]
        input: Value,
        /// Such as `caller`.
        #[serde(flatten)]
        more: Map<String, Value>,
    },
    /// What came of it.
    ToolResult {
        /// The call that it answers.
        tool_use_id: String,
        /// Text, images, documents.
        content: Vec<Block>,
        /// Whether the tool failed or did not run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// A picture.
    Image {
        /// `{"type": "base64", "media_type": .., "data": ..}`, or a `url`, or a `file`.
        source: Value,
        /// Whatever else came along.
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
    /// The model's thinking with its signature, `redacted_thinking`, and any block that this code does not know (new
    /// ones appear monthly): kept byte for byte.
    #[serde(untagged)]
    Other(Raw),
}

/// Broken arguments must not leave as a string: the API wants an object.
fn as_object<S: Serializer>(input: &Value, s: S) -> Result<S::Ok, S::Error> {
    match input {
        Value::Object(object) => object.serialize(s),
        broken => serde_json::json!({ "malformed": broken }).serialize(s),
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(d)?;
        Ok(Block::known(raw.get()).unwrap_or_else(|| Block::Other(Raw(raw.into()))))
    }
}

impl Block {
    /// A block of text.
    pub fn text(text: impl Into<String>) -> Self {
        Block::Text { text: text.into(), more: Map::new() }
    }

    /// A picture from base64 data.
    pub fn image(media_type: &str, base64: &str) -> Self {
        let source =
            serde_json::json!({ "type": "base64", "media_type": media_type, "data": base64 });
        Block::Image { source, more: Map::new() }
    }

    /// A thinking block; the signature is empty where the server has none.
    pub fn thinking(thinking: &str, signature: &str) -> Self {
        let value =
            serde_json::json!({ "type": "thinking", "thinking": thinking, "signature": signature });
        Block::Other(Raw::of(&value))
    }

    /// A block from its JSON, whatever its type.
    pub fn from_value(value: &Value) -> Self {
        let raw = Raw::of(value);
        Block::known(raw.get()).unwrap_or(Block::Other(raw))
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
            kind: std::borrow::Cow<'a, str>,
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
            "text" => Block::Text { text: word(&mut more, "text")?, more },
            "tool_use" => {
                let (id, name) = (word(&mut more, "id")?, word(&mut more, "name")?);
                Block::ToolUse {
                    id,
                    name,
                    input: more.shift_remove("input").unwrap_or_else(|| Map::new().into()),
                    more,
                }
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

    fn thinks(&self) -> Option<Thinking> {
        let Block::Other(raw) = self else { return None };
        let block: Thinking = serde_json::from_str(raw.get()).ok()?;
        matches!(&*block.r#type, "thinking" | "redacted_thinking").then_some(block)
    }

    fn is_blank(&self) -> bool {
        matches!(self, Block::Text { text, more } if text.trim().is_empty() && more.is_empty())
    }

    fn answers(&self) -> Option<&str> {
        match self {
            Block::ToolResult { tool_use_id, .. } => Some(tool_use_id),
            _ => None,
        }
    }

    /// Size in bytes, roughly what it takes on the wire.
    pub fn size(&self) -> usize {
        match self {
            Block::Text { text, .. } => text.len(),
            Block::ToolUse { input, .. } => input.to_string().len(),
            Block::ToolResult { content, .. } => content.iter().map(Block::size).sum(),
            Block::Image { source, .. } | Block::Document { source, .. } => {
                source.to_string().len()
            }
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
        serde_json::from_str(raw.get()).map(Content).map_err(serde::de::Error::custom)
    }
}

fn content<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Block>, D::Error> {
    Content::deserialize(d).map(|content| content.0)
}

/// A message. It is shared by the chat, the requests made of it and the session log, and edited by copying.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(deserialize_with = "content")]
    pub content: Vec<Block>,
}

impl Message {
    /// Text of the person.
    pub fn user(text: impl Into<String>) -> Self {
        Message { role: Role::User, content: vec![Block::text(text)] }
    }

    /// Blocks of the model.
    pub fn assistant(content: Vec<Block>) -> Self {
        Message { role: Role::Assistant, content }
    }

    /// Results for the calls of the message before.
    pub fn results(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        Message {
            role: Role::User,
            content: outcomes.into_iter().map(Outcome::into_block).collect(),
        }
    }

    /// All its text blocks, joined.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Block::as_text).collect()
    }

    /// All its tool calls, in order.
    pub fn calls(&self) -> Vec<ToolCall> {
        self.content.iter().filter_map(Block::as_call).collect()
    }

    /// The message as it must be when what stands before it has changed: a signature is bound to all of that, so signed
    /// thinking goes, which the API allows. Thinking that is not signed comes from servers that want it back.
    pub fn without_thinking(&self) -> Message {
        let signed = |block: &Block| block.thinks().is_some_and(|block| block.signature != "");
        let content = self.content.iter().filter(|block| !signed(block)).cloned();
        Message { role: self.role, content: content.collect() }
    }

    /// Whether it answers calls.
    pub fn has_results(&self) -> bool {
        self.content.iter().any(|block| block.answers().is_some())
    }

    /// Size in bytes, roughly what it takes on the wire.
    pub fn size(&self) -> usize {
        self.content.iter().map(Block::size).sum()
    }
}

/// The lasting conversation: append-only, and sound at every moment. [`push`](Chat::push) is the only way in, and it
/// keeps the one rule that the API never forgives: every call is answered by the very next message, once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chat {
    id: String,
    messages: Vec<Arc<Message>>,
}

impl Default for Chat {
    fn default() -> Self {
        Chat { id: fresh_id(), messages: vec![] }
    }
}

impl<'de> Deserialize<'de> for Chat {
    /// Through [`Chat::push`], so that a damaged file can't bring orphans back.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Saved {
            id: String,
            messages: Vec<Message>,
        }
        let saved = Saved::deserialize(d)?;
        let mut chat = Chat { id: saved.id, messages: vec![] };
        chat.rewrite(saved.messages);
        Ok(chat)
    }
}

impl Chat {
    /// A conversation that opens with this text.
    pub fn new(user: impl Into<String>) -> Self {
        let mut chat = Chat::default();
        chat.push(Message::user(user));
        chat
    }

    /// Names this conversation: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The messages so far; roles alternate.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// Appends. An empty message is dropped, a repeated role is merged into the message before. Open calls get their
    /// results first, in the order of the calls: one that the message does not answer counts as not run, and a result
    /// that answers no open call is dropped.
    pub fn push(&mut self, message: impl Into<Arc<Message>>) {
        let message: Arc<Message> = message.into();
        let open = self.open_calls();
        if open.is_empty() && !message.has_results() {
            return self.append(message);
        }
        let Message { role, content } = Arc::unwrap_or_clone(message);
        let (mut answers, rest): (Vec<Block>, _) =
            content.into_iter().partition(|b| b.answers().is_some());
        let results = open.iter().map(|call| {
            match answers.iter().position(|b| b.answers() == Some(&call.id)) {
                Some(i) => answers.remove(i),
                None => call.refuse("not run: the turn was interrupted").into_block(),
            }
        });
        let results = Message { role: Role::User, content: results.collect() };
        self.append(results.into());
        self.append(Message { role, content: rest }.into());
    }

    fn append(&mut self, mut message: Arc<Message>) {
        // A model may give an empty block of text, and then the API refuses it for ever.
        if message.content.iter().any(Block::is_blank) {
            Arc::make_mut(&mut message).content.retain(|block| !block.is_blank());
        }
        match self.messages.last_mut() {
            _ if message.content.is_empty() => {}
            Some(last) if last.role == message.role => {
                Arc::make_mut(last).content.extend(message.content.iter().cloned());
            }
            _ => self.messages.push(message),
        }
    }

    /// The calls of the newest message: those that nothing has answered yet.
    pub fn open_calls(&self) -> Vec<ToolCall> {
        self.messages.last().map_or(vec![], |last| last.calls())
    }

    /// Answers every open call with `why`: the safety net after an interrupted or failed turn.
    pub fn close_open_calls(&mut self, why: &str) {
        let open = self.open_calls();
        if !open.is_empty() {
            self.messages
                .push(Arc::new(Message::results(open.into_iter().map(|call| call.refuse(why)))));
        }
    }

    /// Puts other messages in place of all there are, through the same care as [`push`](Chat::push). Only compaction,
    /// rewinding and loading do this: what was once sent never changes otherwise. A message before which something else
    /// stands now goes in [without its thinking](Message::without_thinking).
    pub fn rewrite<M: Into<Arc<Message>>>(&mut self, messages: impl IntoIterator<Item = M>) {
        self.messages.clear();
        for message in messages {
            self.push(message);
        }
    }

    /// Whether the model has something to answer.
    pub fn awaits_reply(&self) -> bool {
        self.messages.last().is_some_and(|m| m.role == Role::User)
    }

    /// Size in bytes, roughly what it takes on the wire.
    pub fn size(&self) -> usize {
        self.messages.iter().map(|m| m.size()).sum()
    }
}

/// 64 random bits of the standard library's hash seeds: enough to tell conversations apart, and no crate for it.
fn fresh_id() -> String {
    let seed = std::hash::RandomState::new();
    format!("{:016x}", seed.hash_one(std::time::SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_thinking_that_is_bound_to_what_stood_before_goes() {
        let redacted =
            Block::from_value(&serde_json::json!({"type": "redacted_thinking", "data": "x"}));
        let unknown = Block::from_value(&serde_json::json!({"type": "new", "signature": "x"}));
        let unsigned: Block =
            serde_json::from_str(r#"{"type": "thinking", "thinking": "b", "signature": ""}"#)
                .unwrap();
        let all =
            [Block::thinking("a", "signed"), redacted, unsigned, Block::thinking("c", ""), unknown];
        let message = Message::assistant(all.to_vec());
        assert_eq!(message.without_thinking(), Message::assistant(all[2..].to_vec()));
    }
}
