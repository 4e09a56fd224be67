//! What the Messages API refuses. A request that passes here would not be refused there for its form.
mod fields;
mod marks;
mod messages;
mod tools;

use crate::{
    conversation::{Conversation, Thinking},
    refusal::Refusal,
    sign::{self, Seal},
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
    pub(crate) fn read(header: Option<&str>) -> Result<Self, Refusal> {
        match header {
            Some("2023-06-01") => Ok(Version::V2023),
            Some("2026-10-21") => Ok(Version::V2026),
            Some(other) => {
                Err(Refusal::bad(format!("anthropic-version: \"{other}\" is not a valid version")))
            }
            None => Err(Refusal::bad("anthropic-version: header is required")),
        }
    }
}

/// Which endpoint was asked; they take different fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reply,
    Count,
}

/// Checks a request whole. The seal signs the thinking of the reply.
pub(crate) fn check(
    body: &Value,
    version: Version,
    purpose: Purpose,
) -> Result<(Conversation, Seal), Refusal> {
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
    messages::read(body, version, &mut conversation)?;
    marks::check(body, &conversation)?;
    let seal = sign::verify(&conversation)?;
    Ok((conversation, seal))
}

fn thinking(body: &Value) -> Thinking {
    let wish = &body["thinking"];
    match (wish["type"].as_str(), wish["display"].as_str()) {
        (Some("disabled"), _) => Thinking::Off,
        (_, Some("omitted")) => Thinking::Omitted,
        _ => Thinking::Shown,
    }
}
