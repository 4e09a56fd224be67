//! Tokens, as servers count them.
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tokens of one request. All zero means that the server did not say (some never do), not that it
/// cost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Of the prompt, after the last cache breakpoint.
    pub input_tokens: u64,
    /// Of the reply, thinking included.
    pub output_tokens: u64,
    /// Of the prompt, written to the cache.
    pub cache_creation_input_tokens: u64,
    /// Of the prompt, read from the cache.
    pub cache_read_input_tokens: u64,
    /// The written ones by lifetime, where the server tells them apart.
    pub cache_creation: CacheCreation,
}

/// Tokens written to the prompt cache, by lifetime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheCreation {
    /// Kept for five minutes.
    pub ephemeral_5m_input_tokens: u64,
    /// Kept for an hour.
    pub ephemeral_1h_input_tokens: u64,
}

impl Usage {
    /// The whole prompt, cached or not.
    pub fn prompt_tokens(&self) -> u64 {
        self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens
    }

    /// Takes over what the `usage` of a message says, field by field: a count that is missing, null
    /// or in a form of next year is no reason to lose a reply.
    pub fn update(&mut self, said: &Value) {
        let lifetimes = &mut self.cache_creation;
        for (count, path) in [
            (&mut self.input_tokens, "/input_tokens"),
            (&mut self.output_tokens, "/output_tokens"),
            (&mut self.cache_creation_input_tokens, "/cache_creation_input_tokens"),
            (&mut self.cache_read_input_tokens, "/cache_read_input_tokens"),
            (&mut lifetimes.ephemeral_5m_input_tokens, "/cache_creation/ephemeral_5m_input_tokens"),
            (&mut lifetimes.ephemeral_1h_input_tokens, "/cache_creation/ephemeral_1h_input_tokens"),
        ] {
            if let Some(said) = said.pointer(path).and_then(Value::as_f64) {
                *count = said as u64;
            }
        }
    }

    /// What the `usage` of a chat completion says. Its `prompt_tokens` include the cached ones,
    /// which are counted apart here.
    pub fn of_completion(usage: &Value) -> Self {
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        let details = &usage["prompt_tokens_details"];
        let read = count(&details["cached_tokens"]).max(count(&usage["prompt_cache_hit_tokens"]));
        let written = count(&details["cache_write_tokens"]);
        Usage {
            input_tokens: count(&usage["prompt_tokens"]).saturating_sub(read + written),
            output_tokens: count(&usage["completion_tokens"]),
            cache_creation_input_tokens: written,
            cache_read_input_tokens: read,
            ..Usage::default()
        }
    }
}
