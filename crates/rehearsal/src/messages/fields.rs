//! The fields at the top of a request.
use super::{Purpose, Version};
use crate::{api_error::ApiError, conversation};
use serde_json::Value;

/// What both endpoints allow.
const SHARED: [&str; 12] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "cache_control",
    "output_config",
    "context_management",
    "mcp_servers",
    "fallbacks",
    "speed",
];
/// What only a request for a reply allows.
const REPLY: [&str; 12] = [
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "service_tier",
    "inference_geo",
    "container",
    "diagnostics",
    "compaction",
];
/// What the version of 2026 no longer allows.
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

pub(super) fn check(body: &Value, version: Version, purpose: Purpose) -> Result<(), ApiError> {
    let Some(fields) = body.as_object() else {
        return Err(ApiError::invalid("Input should be a valid dictionary"));
    };
    for field in fields.keys().map(String::as_str) {
        let known = SHARED.contains(&field) || purpose == Purpose::Reply && REPLY.contains(&field);
        let removed = version == Version::V2026 && SAMPLING.contains(&field);
        if !known || removed {
            return Err(ApiError::invalid(format!("{field}: Extra inputs are not permitted")));
        }
    }
    match body["model"].as_str() {
        None => return Err(missing(body, "model", "a valid string")),
        Some("") => {
            return Err(ApiError::invalid("model: String should have at least 1 character"));
        }
        Some(_) => {}
    }
    if purpose == Purpose::Reply {
        let Some(max_tokens) = body["max_tokens"].as_i64() else {
            return Err(missing(body, "max_tokens", "a valid integer"));
        };
        if max_tokens < 1 {
            return Err(ApiError::invalid(
                "max_tokens: Input should be greater than or equal to 1",
            ));
        }
    }
    if !body["messages"].is_array() {
        return Err(missing(body, "messages", "a valid list"));
    }
    if body.get("stream").is_some_and(|stream| !stream.is_boolean() && !stream.is_null()) {
        return Err(ApiError::invalid("stream: Input should be a valid boolean"));
    }
    thinking(&body["thinking"])
}

/// A field that is missing or has another type.
fn missing(body: &Value, field: &str, wanted: &str) -> ApiError {
    match body.get(field) {
        None => ApiError::invalid(format!("{field}: Field required")),
        Some(_) => ApiError::invalid(format!("{field}: Input should be {wanted}")),
    }
}

fn thinking(thinking: &Value) -> Result<(), ApiError> {
    match thinking["type"].as_str() {
        _ if thinking.is_null() => Ok(()),
        Some("adaptive" | "disabled" | "between_tools") => Ok(()),
        Some("enabled") => match thinking["budget_tokens"].as_u64() {
            Some(1024..) => Ok(()),
            Some(_) => Err(ApiError::invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            )),
            None => Err(ApiError::invalid("thinking.enabled.budget_tokens: Field required")),
        },
        _ => Err(ApiError::invalid(
            "thinking.type: Input should be 'adaptive', 'enabled', 'disabled' or 'between_tools'",
        )),
    }
}

/// The system prompt as text blocks.
pub(super) fn system(body: &Value) -> Result<Vec<Value>, ApiError> {
    let blocks = match &body["system"] {
        Value::Null => return Ok(vec![]),
        Value::String(text) if text.is_empty() => return Ok(vec![]),
        system => conversation::blocks(system),
    };
    let blocks = blocks.ok_or_else(|| {
        ApiError::invalid("system: Input should be a valid string or a list of blocks")
    })?;
    for (place, block) in blocks.iter().enumerate() {
        if !conversation::is(block, "text") {
            return Err(ApiError::invalid(format!("system.{place}.type: Input should be 'text'")));
        }
        match block["text"].as_str() {
            None => return Err(ApiError::invalid(format!("system.{place}.text: Field required"))),
            Some("") => {
                return Err(ApiError::invalid("system: text content blocks must be non-empty"));
            }
            Some(text) if text.trim().is_empty() => {
                return Err(ApiError::invalid(
                    "system: text content blocks must contain non-whitespace text",
                ));
            }
            Some(_) => {}
        }
    }
    Ok(blocks)
}
