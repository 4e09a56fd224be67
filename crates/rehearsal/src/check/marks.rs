//! Cache marks: how many, where and in which order.
use crate::{
    conversation::{Conversation, kind},
    refusal::Refusal,
};
use serde_json::Value;

const MOST: usize = 4;

pub(super) fn check(body: &Value, conversation: &Conversation) -> Result<(), Refusal> {
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
            let path = message.place(place);
            marked_block(&path, block)?;
            for (inner, block) in block["content"].as_array().into_iter().flatten().enumerate() {
                marks.push((format!("{path}.content.{inner}"), &block["cache_control"]));
            }
            marks.push((path, &block["cache_control"]));
        }
    }
    let automatic = &body["cache_control"];
    marks.push(("cache_control".into(), automatic));
    marks.retain(|(_, mark)| !mark.is_null());
    let mut short = false;
    for (path, mark) in &marks {
        let path =
            if path == "cache_control" { path.clone() } else { format!("{path}.cache_control") };
        if mark["type"] != "ephemeral" {
            return Err(Refusal::bad(format!("{path}.type: Input should be 'ephemeral'")));
        }
        match mark["ttl"].as_str() {
            None if mark["ttl"].is_null() => short = true,
            Some("5m") => short = true,
            Some("1h") if short => {
                return Err(Refusal::bad(format!(
                    "{path}.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. \
                     Note that blocks are processed in the following order: `tools`, `system`, `messages`."
                )));
            }
            Some("1h") => {}
            _ => return Err(Refusal::bad(format!("{path}.ttl: Input should be '5m' or '1h'"))),
        }
    }
    if marks.len() > MOST {
        let found = marks.len();
        return Err(Refusal::bad(format!(
            "A maximum of {MOST} blocks with cache_control may be provided. Found {found}."
        )));
    }
    Ok(())
}

fn marked_block(path: &str, block: &Value) -> Result<(), Refusal> {
    match kind(block) {
        _ if block["cache_control"].is_null() => Ok(()),
        kind @ ("thinking" | "redacted_thinking") => Err(Refusal::bad(format!(
            "{path}.{kind}.cache_control: Extra inputs are not permitted"
        ))),
        _ => Ok(()),
    }
}
