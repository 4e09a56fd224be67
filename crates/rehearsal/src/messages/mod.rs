//! The Messages API: what it refuses, and its responses. What is accepted here, the API does not
//! refuse for its form.
mod blocks;
mod cache_control;
mod fields;
pub(crate) mod response;
mod tools;

use crate::{
    api_error::ApiError,
    conversation::{Conversation, Thinking},
    signature::{self, Signer},
};
use serde_json::Value;

/// The dated versions of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V2023,
    V2026,
}

impl Version {
    /// Reads the `anthropic-version` header.
    pub(crate) fn read(header: Option<&str>) -> Result<Self, ApiError> {
        match header {
            Some("2023-06-01") => Ok(Version::V2023),
            Some("2026-10-21") => Ok(Version::V2026),
            Some(other) => Err(ApiError::invalid(format!(
                "anthropic-version: \"{other}\" is not a valid version"
            ))),
            None => Err(ApiError::invalid("anthropic-version: header is required")),
        }
    }
}

/// The endpoint; they allow different fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reply,
    CountTokens,
}

/// Checks a request and reads it. The signer signs the thinking of the reply.
pub(crate) fn read(
    body: &Value,
    version: Version,
    purpose: Purpose,
) -> Result<(Conversation, Signer), ApiError> {
    fields::check(body, version, purpose)?;
    tools::check(body)?;
    let mut conversation = Conversation {
        model: body["model"].as_str().unwrap_or_default().to_string(),
        system: fields::system(body)?,
        tools: body["tools"].as_array().cloned().unwrap_or_default(),
        thinking: thinking(body),
        stream: body["stream"] == true,
        ..Conversation::default()
    };
    let stops = body["stop_sequences"].as_array().into_iter().flatten();
    conversation.stop_sequences = stops.filter_map(Value::as_str).map(String::from).collect();
    blocks::read(body, version, &mut conversation)?;
    cache_control::check(body, &conversation)?;
    let signer = signature::verify(&conversation)?;
    Ok((conversation, signer))
}

fn thinking(body: &Value) -> Thinking {
    let thinking = &body["thinking"];
    match (thinking["type"].as_str(), thinking["display"].as_str()) {
        (Some("disabled"), _) => Thinking::Off,
        (_, Some("omitted")) => Thinking::Omitted,
        _ => Thinking::Shown,
    }
}
