//! Where a model lives and how it is asked.
pub use rungs_http::{Auth, Limits, Secret};

/// The most tokens of a reply that does not stream: what the slowest model gives within ten
/// minutes, by the rule of the official SDKs (an hour for 128,000), which refuse to ask for more.
const MAX_PLAIN_TOKENS: u32 = 21_333;

/// The language spoken on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Anthropic Messages: base URL + `/v1/messages`.
    Anthropic,
    /// OpenAI Chat Completions: base URL + `/chat/completions`.
    OpenAi,
}

/// Where a model lives and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The language.
    pub format: Format,
    /// Such as `https://api.anthropic.com`, or `http://localhost:11434/v1`.
    pub base_url: String,
    /// The key, if any.
    pub auth: Auth,
    /// The environment variable that the key is from, or would be, for errors.
    pub key_variable: Option<&'static str>,
    /// The name of the model.
    pub model: String,
    /// The header `anthropic-version`.
    pub version: String,
    /// The bound on the tokens of a reply: by default 16,000 plain and 32,000 streamed, and never
    /// above 21,333 plain.
    pub max_tokens: Option<u32>,
    /// The most that this model can put out, which caps the above.
    pub greatest_output: Option<u32>,
    /// Time limits.
    pub limits: Limits,
}

impl Endpoint {
    /// An endpoint without a key.
    pub fn new(format: Format, base_url: &str, model: &str) -> Self {
        Endpoint {
            format,
            base_url: base_url.into(),
            auth: Auth::None,
            key_variable: None,
            model: model.into(),
            // Newer values exist, but every server, local ones too, knows this one.
            version: "2023-06-01".into(),
            max_tokens: None,
            greatest_output: None,
            limits: Limits::default(),
        }
    }

    pub(crate) fn max_tokens(&self, asked: Option<u32>, stream: bool) -> u32 {
        let (default, most) = if stream { (32_000, u32::MAX) } else { (16_000, MAX_PLAIN_TOKENS) };
        let wanted = asked.or(self.max_tokens).unwrap_or(default);
        wanted.min(most).min(self.greatest_output.unwrap_or(u32::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let mut endpoint = Endpoint::new(Format::Anthropic, "http://x", "m");
        for auth in [Auth::ApiKey(Secret::new("sk-1")), Auth::Bearer(Secret::new("sk-1"))] {
            endpoint.auth = auth;
            assert!(!format!("{endpoint:?}").contains("sk-1"));
        }
    }
}
