//! A request as both wire formats mean it.
use crate::hash::Print;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Assistant,
    System,
}

/// A message after merging: neighbours of the same role are one.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) blocks: Vec<Value>,
    /// Where each block stood in the request: message and block.
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
    /// The way to a block, as the API names it.
    pub(crate) fn place(&self, block: usize) -> String {
        let (message, block) = self.places.get(block).copied().unwrap_or_default();
        format!("messages.{message}.content.{block}")
    }

    /// The number of the first message that went into this one.
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
    /// Adds message number `index`, to the last one if the role is the same.
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

    /// What tells this request from others: all that a model would see. Not the model's name and the limits, so that
    /// asking again elsewhere or for more is another attempt at the same.
    pub(crate) fn print(&self) -> Print {
        let mut print = Print::new("request");
        self.system.iter().chain(&self.tools).for_each(|block| print.block(block));
        for message in &self.messages {
            print.number(message.role as u64);
            message.blocks.iter().for_each(|block| print.block(block));
        }
        print
    }
}

/// The type of a block.
pub(crate) fn kind(block: &Value) -> &str {
    block["type"].as_str().unwrap_or_default()
}

pub(crate) fn is(block: &Value, wanted: &str) -> bool {
    kind(block) == wanted
}

/// Content that may be given as a text or as a list of blocks, as a list.
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
