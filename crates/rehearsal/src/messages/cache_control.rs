//! Cache marks (`cache_control`): how many there are, where, and in which order.
use crate::{
    api_error::ApiError,
    conversation::{Conversation, kind},
};
use serde_json::Value;

const MAX_MARKS: usize = 4;

pub(super) fn check(body: &Value, conversation: &Conversation) -> Result<(), ApiError> {
    // In the order in which the cache reads them.
    let mut marks: Vec<(String, &Value)> = vec![];
    for (place, tool) in conversation.tools.iter().enumerate() {
        marks.push((format!("tools.{place}"), &tool["cache_control"]));
    }
    for (place, block) in conversation.system.iter().enumerate() {
        marks.push((format!("system.{place}"), &block["cache_control"]));
    }
    for message in &conversation.messages {
        for (place, block) in message.blocks.iter().enumerate() {
            let path = message.path(place);
            can_be_marked(&path, block)?;
            for (inner, block) in block["content"].as_array().into_iter().flatten().enumerate() {
                marks.push((format!("{path}.content.{inner}"), &block["cache_control"]));
            }
            marks.push((path, &block["cache_control"]));
        }
    }
    let automatic = &body["cache_control"];
    marks.push(("cache_control".into(), automatic));
    marks.retain(|(_, mark)| !mark.is_null());
    let mut short_before = false;
    for (path, mark) in &marks {
        let path =
            if path == "cache_control" { path.clone() } else { format!("{path}.cache_control") };
        if mark["type"] != "ephemeral" {
            return Err(ApiError::invalid(format!("{path}.type: Input should be 'ephemeral'")));
        }
        match mark["ttl"].as_str() {
            None if mark["ttl"].is_null() => short_before = true,
            Some("5m") => short_before = true,
            Some("1h") if short_before => {
                return Err(ApiError::invalid(format!(
                    "{path}.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' \
                     cache_control block. Note that blocks are processed in the following order: \
                     `tools`, `system`, `messages`."
                )));
            }
            Some("1h") => {}
            _ => {
                return Err(ApiError::invalid(format!("{path}.ttl: Input should be '5m' or '1h'")));
            }
        }
    }
    if marks.len() > MAX_MARKS {
        let found = marks.len();
        return Err(ApiError::invalid(format!(
            "A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {found}."
        )));
    }
    Ok(())
}

fn can_be_marked(path: &str, block: &Value) -> Result<(), ApiError> {
    match kind(block) {
        _ if block["cache_control"].is_null() => Ok(()),
        kind @ ("thinking" | "redacted_thinking") => Err(ApiError::invalid(format!(
            "{path}.{kind}.cache_control: Extra inputs are not permitted"
        ))),
        _ => Ok(()),
    }
}
