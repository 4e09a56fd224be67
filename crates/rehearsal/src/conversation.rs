//! A request in the terms of the Messages API, from whichever wire format it came.
use crate::fingerprint::Fingerprint;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Assistant,
    System,
}

/// A message; neighbours of the same role are merged into one, as the API does it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) blocks: Vec<Value>,
    /// Where each block was in the request: the index of its message, and its index there.
    places: Vec<(usize, usize)>,
}

/// What the client wants to see of the thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Thinking {
    #[default]
    Shown,
    /// The block comes with its signature but without its text.
    Omitted,
    Off,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) model: String,
    pub(crate) system: Vec<Value>,
    pub(crate) tools: Vec<Value>,
    pub(crate) messages: Vec<Message>,
    pub(crate) thinking: Thinking,
    pub(crate) stop_sequences: Vec<String>,
    pub(crate) stream: bool,
}

impl Message {
    /// The path to a block, as the API writes it.
    pub(crate) fn path(&self, block: usize) -> String {
        let (message, block) = self.places.get(block).copied().unwrap_or_default();
        format!("messages.{message}.content.{block}")
    }

    /// The index in the request of the first message that was merged into this one.
    pub(crate) fn index(&self) -> usize {
        self.places.first().map_or(0, |(message, _)| *message)
    }

    pub(crate) fn of_type<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.blocks.iter().filter(move |block| is(block, kind))
    }
}

impl Conversation {
    /// Adds the message with this index; if the last one has the same role, it is merged into that.
    pub(crate) fn push(&mut self, index: usize, role: Role, blocks: Vec<Value>) {
        let places = (0..blocks.len()).map(|block| (index, block));
        match self.messages.last_mut() {
            Some(last) if last.role == role => {
                last.places.extend(places);
                last.blocks.extend(blocks);
            }
            _ => self.messages.push(Message { role, places: places.collect(), blocks }),
        }
    }

    /// What distinguishes this request from others: all that a model would see. The model's name
    /// and the limits are left out, so that a request to another model or with a larger limit is
    /// another attempt at the same.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("request");
        for block in self.system.iter().chain(&self.tools) {
            fingerprint.block(block);
        }
        for message in &self.messages {
            fingerprint.number(message.role as u64);
            for block in &message.blocks {
                fingerprint.block(block);
            }
        }
        fingerprint
    }
}

/// The type of a block; empty if it has none.
pub(crate) fn kind(block: &Value) -> &str {
    block["type"].as_str().unwrap_or_default()
}

/// Whether a block has this type.
pub(crate) fn is(block: &Value, wanted: &str) -> bool {
    kind(block) == wanted
}

/// Content as a list of blocks; a text is short for one text block.
pub(crate) fn blocks(content: &Value) -> Option<Vec<Value>> {
    match content {
        Value::String(text) => Some(vec![json!({"type": "text", "text": text})]),
        Value::Array(blocks) => Some(blocks.clone()),
        _ => None,
    }
}

/// The texts of some content, joined.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => String::new(),
    }
}
