//! Keys and time limits.
use crate::redact;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::time::Duration;

/// A key. It is never shown: not by `Debug`, not in an error, not in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(secret: impl Into<String>) -> Self {
        Secret(secret.into())
    }

    /// The key itself, for the header of a request.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// How the server knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Local servers ask for nothing.
    None,
    /// The header `x-api-key`.
    ApiKey(Secret),
    /// The header `authorization: Bearer`.
    Bearer(Secret),
}

impl Auth {
    /// The header that carries the key, if there is one; nothing shows its value.
    ///
    /// # Errors
    /// When the key holds characters that no header can carry.
    pub fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, &'static str> {
        let (name, mut key) = match self {
            Auth::None => return Ok(None),
            Auth::ApiKey(key) => (HeaderName::from_static("x-api-key"), header_value(&key.0)?),
            Auth::Bearer(key) => (AUTHORIZATION, header_value(&format!("Bearer {}", key.0))?),
        };
        key.set_sensitive(true);
        Ok(Some((name, key)))
    }

    /// A text of bounded length without the key.
    pub fn redact(&self, text: String) -> String {
        match self {
            Auth::ApiKey(key) | Auth::Bearer(key) => redact(text, &key.0),
            Auth::None => redact(text, ""),
        }
    }
}

/// The value of a header.
///
/// # Errors
/// When the text holds characters that no header can carry.
pub fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    match HeaderValue::from_str(text) {
        Ok(value) if text.is_ascii() => Ok(value),
        _ => Err("it holds characters that no header can carry"),
    }
}

/// Time limits of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the headers of a stream arrive; long, since a local model may have to be loaded first.
    pub first_byte: Duration,
    /// Between two pieces of a stream; the servers send pings in between.
    pub idle: Duration,
    /// For a reply that does not stream: until its headers arrive, and again until its end.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            whole: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("sk-1")), "Secret(***)");
    }
}
