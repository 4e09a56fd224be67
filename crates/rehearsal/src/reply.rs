//! A reply, before it takes the form of a wire format.
use crate::conversation::Thinking;
use serde::Deserialize;
use serde_json::{Value, json};

/// How many bytes count as one token.
const BYTES_PER_TOKEN: usize = 4;

/// Why a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopReason {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    PauseTurn,
    Refusal,
    ModelContextWindowExceeded,
}

impl StopReason {
    /// Its name in the Messages API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            StopReason::EndTurn => "end_turn",
            StopReason::ToolUse => "tool_use",
            StopReason::MaxTokens => "max_tokens",
            StopReason::StopSequence => "stop_sequence",
            StopReason::PauseTurn => "pause_turn",
            StopReason::Refusal => "refusal",
            StopReason::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }

    /// The nearest one of Chat Completions.
    pub(crate) fn finish_reason(self) -> &'static str {
        match self {
            StopReason::EndTurn | StopReason::StopSequence | StopReason::PauseTurn => "stop",
            StopReason::ToolUse => "tool_calls",
            StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => "length",
            StopReason::Refusal => "content_filter",
        }
    }
}

/// A content block of a reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Think {
        text: String,
        signature: String,
    },
    Say(String),
    /// The arguments are text and not JSON, because a fault may cut them.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    Raw(Value),
}

/// The tokens of a request and its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Input that was neither read from the cache nor written to it.
    pub(crate) input: u64,
    pub(crate) cache_read: u64,
    /// Written to the cache for five minutes.
    pub(crate) written_5m: u64,
    /// Written to the cache for an hour.
    pub(crate) written_1h: u64,
    pub(crate) output: u64,
    /// The part of the output that is thinking.
    pub(crate) thinking: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) stop: StopReason,
    pub(crate) stop_sequence: Option<String>,
    pub(crate) usage: Usage,
}

impl Part {
    /// The content block of the Messages API.
    pub(crate) fn block(&self) -> Value {
        match self {
            Part::Think { text, signature } => {
                json!({"type": "thinking", "thinking": text, "signature": signature})
            }
            Part::Say(text) => json!({"type": "text", "text": text}),
            Part::Call { id, name, arguments } => {
                // A whole reply has no way to express arguments that are not JSON.
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

/// Estimates the tokens of a reply: all of them, and those of its thinking.
pub(crate) fn output_tokens(parts: &[Part]) -> (u64, u64) {
    let (mut thinking, mut rest) = (0, 0);
    for part in parts {
        match part {
            Part::Think { .. } => thinking += part.bytes(),
            _ => rest += part.bytes(),
        }
    }
    (tokens(thinking) + tokens(rest), tokens(thinking))
}

/// Estimates the tokens of so many bytes; a remainder counts as one.
pub(crate) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// Ends the arguments of all calls after so many characters.
pub(crate) fn cut_arguments(parts: &mut [Part], characters: usize) {
    for part in parts {
        if let Part::Call { arguments, .. } = part {
            *arguments = arguments.chars().take(characters).collect();
        }
    }
}

/// The text of the thinking block that the client gets; `None` if it gets none.
pub(crate) fn visible_thinking(text: String, thinking: Thinking) -> Option<String> {
    match thinking {
        Thinking::Shown => Some(text),
        Thinking::Omitted => Some(String::new()),
        Thinking::Off => None,
    }
}
