//! What is played, before it takes the form of a wire format.
use crate::conversation::Thinking;
use serde::Deserialize;
use serde_json::{Value, json};

/// Why a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the names are the API's")]
pub(crate) enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    PauseTurn,
    Refusal,
    ModelContextWindowExceeded,
}

impl Stop {
    /// Its name in the Messages API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stop::EndTurn => "end_turn",
            Stop::ToolUse => "tool_use",
            Stop::MaxTokens => "max_tokens",
            Stop::StopSequence => "stop_sequence",
            Stop::PauseTurn => "pause_turn",
            Stop::Refusal => "refusal",
            Stop::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }

    /// The nearest of Chat Completions.
    pub(crate) fn finish_reason(self) -> &'static str {
        match self {
            Stop::EndTurn | Stop::StopSequence | Stop::PauseTurn => "stop",
            Stop::ToolUse => "tool_calls",
            Stop::MaxTokens | Stop::ModelContextWindowExceeded => "length",
            Stop::Refusal => "content_filter",
        }
    }
}

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Think {
        text: String,
        signature: String,
    },
    Say(String),
    /// The arguments are text, because a fault may have cut them.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    Raw(Value),
}

/// The tokens of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What neither came from the cache nor went into it.
    pub(crate) input: u64,
    pub(crate) cache_read: u64,
    pub(crate) written_5m: u64,
    pub(crate) written_1h: u64,
    pub(crate) output: u64,
    /// Of the output.
    pub(crate) thinking: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) stop: Stop,
    pub(crate) stop_sequence: Option<String>,
    pub(crate) usage: Usage,
}

impl Part {
    /// The finished content block of the Messages API.
    pub(crate) fn block(&self) -> Value {
        match self {
            Part::Think { text, signature } => {
                json!({"type": "thinking", "thinking": text, "signature": signature})
            }
            Part::Say(text) => json!({"type": "text", "text": text}),
            Part::Call { id, name, arguments } => {
                // The format has no way to say arguments that are no JSON.
                let input = serde_json::from_str::<Value>(arguments).unwrap_or_else(|_| json!({}));
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
            Part::Raw(block) => block.clone(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Part::Think { text, .. } | Part::Say(text) => text.len(),
            Part::Call { name, arguments, .. } => name.len() + arguments.len(),
            Part::Raw(block) => block.to_string().len(),
        }
    }
}

/// Output tokens and those of them spent on thinking, estimated.
pub(crate) fn count(parts: &[Part]) -> (u64, u64) {
    let thinking = |part: &&Part| matches!(part, Part::Think { .. });
    let (think, rest): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(thinking);
    let tokens = |parts: &[&Part]| tokens(parts.iter().map(|part| part.bytes()).sum());
    (tokens(&think) + tokens(&rest), tokens(&think))
}

/// The estimate used throughout: a token is four bytes, and a rest counts as one.
pub(crate) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// Ends the arguments of all calls after `characters`.
pub(crate) fn cut_arguments(parts: &mut [Part], characters: usize) {
    for part in parts {
        if let Part::Call { arguments, .. } = part {
            *arguments = arguments.chars().take(characters).collect();
        }
    }
}

/// The thinking as the client wants to see it.
pub(crate) fn shown(text: String, thinking: Thinking) -> Option<String> {
    match thinking {
        Thinking::Shown => Some(text),
        Thinking::Omitted => Some(String::new()),
        Thinking::Off => None,
    }
}
