//! The models whose rules the rehearsal knows.
use crate::api_error::WireFormat;
use serde_json::{Value, json};

/// What depends on the model.
pub(crate) struct Model {
    pub(crate) id: &'static str,
    /// The shortest prefix that is cached.
    min_cached_tokens: u64,
    /// Whether `system` messages are allowed within the conversation.
    pub(crate) system_messages: bool,
    max_input_tokens: u64,
    max_tokens: u64,
}

const fn model(id: &'static str, min_cached_tokens: u64, system_messages: bool) -> Model {
    Model {
        id,
        min_cached_tokens,
        system_messages,
        max_input_tokens: 1_000_000,
        max_tokens: 128_000,
    }
}

const fn older(id: &'static str, min_cached_tokens: u64) -> Model {
    Model {
        id,
        min_cached_tokens,
        system_messages: false,
        max_input_tokens: 200_000,
        max_tokens: 64_000,
    }
}

/// `rehearsal` is the name to use when nothing depends on the model.
const MODELS: [Model; 16] = [
    model("rehearsal", 512, true),
    model("claude-fable-5-2", 512, true),
    model("claude-fable-5-1", 512, true),
    model("claude-fable-5", 512, true),
    model("claude-opus-5-5", 512, true),
    model("claude-sonnet-5-5", 512, true),
    model("claude-haiku-5-5", 512, false),
    model("claude-opus-5", 512, true),
    model("claude-opus-4-8", 1024, true),
    model("claude-opus-4-7", 2048, false),
    model("claude-opus-4-6", 4096, false),
    older("claude-opus-4-5", 4096),
    model("claude-sonnet-5", 1024, false),
    model("claude-sonnet-4-6", 1024, false),
    older("claude-sonnet-4-5", 1024),
    older("claude-haiku-4-5", 4096),
];

/// The shortest prefix that is cached for a model that is not known.
const DEFAULT_MIN_CACHED_TOKENS: u64 = 1024;

/// A model by its name, or by its name and a date.
pub(crate) fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| match name.strip_prefix(model.id) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(is_date),
        None => false,
    })
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The shortest prefix that is cached for this model.
pub(crate) fn min_cached_tokens(name: &str) -> u64 {
    find(name).map_or(DEFAULT_MIN_CACHED_TOKENS, |model| model.min_cached_tokens)
}

/// The response to a request for all models.
pub(crate) fn list(format: WireFormat) -> Value {
    let data: Vec<Value> = MODELS.iter().map(|model| model.describe(format)).collect();
    match format {
        WireFormat::Messages => {
            let (first, last) = (MODELS.first(), MODELS.last());
            json!({
                "data": data,
                "has_more": false,
                "first_id": first.map(|model| model.id),
                "last_id": last.map(|model| model.id),
            })
        }
        WireFormat::Chat => json!({"object": "list", "data": data}),
    }
}

impl Model {
    /// The response to a request for this model.
    pub(crate) fn describe(&self, format: WireFormat) -> Value {
        match format {
            WireFormat::Messages => json!({
                "type": "model",
                "id": self.id,
                "display_name": format!("{} (rehearsed)", self.id),
                "created_at": "2026-01-01T00:00:00Z",
                "max_input_tokens": self.max_input_tokens,
                "max_tokens": self.max_tokens,
            }),
            WireFormat::Chat => json!({
                "id": self.id,
                "object": "model",
                "created": 1_767_225_600,
                "owned_by": "rehearsal",
            }),
        }
    }
}
