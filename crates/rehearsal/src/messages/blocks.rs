//! The messages of a request: roles, blocks, and which result answers which call.
use super::Version;
use crate::{
    api_error::ApiError,
    conversation::{self, Conversation, Message, Role, is, kind},
    models,
    tool_schema::is_tool_name,
};
use serde_json::Value;
use std::collections::HashSet;

/// Reads the messages into the conversation and checks them.
pub(super) fn read(
    body: &Value,
    version: Version,
    conversation: &mut Conversation,
) -> Result<(), ApiError> {
    for (index, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
        let fields = message.as_object().into_iter().flatten().map(|(field, _)| field);
        if let Some(field) =
            fields.into_iter().find(|field| !["role", "content"].contains(&field.as_str()))
        {
            return Err(ApiError::invalid(format!(
                "messages.{index}.{field}: Extra inputs are not permitted"
            )));
        }
        let role = match message["role"].as_str() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            None => {
                return Err(ApiError::invalid(format!("messages.{index}.role: Field required")));
            }
            Some(_) => {
                return Err(ApiError::invalid(format!(
                    "messages: Unexpected role \"{}\". Allowed roles are \"user\" or \"assistant\"",
                    message["role"].as_str().unwrap_or_default()
                )));
            }
        };
        let blocks = match &message["content"] {
            Value::Null => {
                return Err(ApiError::invalid(format!("messages.{index}.content: Field required")));
            }
            content => conversation::blocks(content).ok_or_else(|| {
                ApiError::invalid(format!(
                    "messages.{index}.content: Input should be a valid string or a list of blocks"
                ))
            })?,
        };
        if blocks.is_empty() {
            return Err(ApiError::invalid(format!(
                "messages.{index}: all messages must have non-empty content"
            )));
        }
        conversation.push(index, role, blocks);
    }
    let Some(first) = conversation.messages.first() else {
        return Err(ApiError::invalid("messages: at least one message is required"));
    };
    if first.role != Role::User {
        return Err(ApiError::invalid("messages: first message must use the \"user\" role"));
    }
    for message in &conversation.messages {
        for (place, block) in message.blocks.iter().enumerate() {
            check_block(&message.path(place), message.role, block, version)?;
        }
    }
    system_messages(conversation)?;
    calls_and_results(&conversation.messages)?;
    match conversation.messages.last() {
        Some(last) if last.role == Role::Assistant && !ends_with_server_tool(last) => {
            Err(ApiError::invalid(
                "This model does not support assistant message prefill. The conversation must end \
                 with a user message.",
            ))
        }
        _ => Ok(()),
    }
}

fn check_block(path: &str, role: Role, block: &Value, version: Version) -> Result<(), ApiError> {
    if !block.is_object() {
        return Err(ApiError::invalid(format!("{path}: Input should be a valid dictionary")));
    }
    let only = |owner: Role, name: &str| match role == owner {
        true => Ok(()),
        false => Err(ApiError::invalid(format!(
            "{path}: `{}` blocks can only be in `{name}` messages",
            kind(block)
        ))),
    };
    match block["type"].as_str() {
        None => return Err(ApiError::invalid(format!("{path}.type: Field required"))),
        Some("text") => check_text(path, role, block, version)?,
        Some("tool_use") => {
            only(Role::Assistant, "assistant")?;
            check_call(path, block)?;
        }
        // Its other fields are checked with its signature.
        Some("thinking") => only(Role::Assistant, "assistant")?,
        Some("redacted_thinking") => {
            only(Role::Assistant, "assistant")?;
            if !block["data"].is_string() {
                return Err(ApiError::invalid(format!(
                    "{path}.redacted_thinking.data: Field required"
                )));
            }
        }
        Some("image") => {
            only(Role::User, "user")?;
            check_source(path, block)?;
        }
        Some("tool_result") => {
            only(Role::User, "user")?;
            check_result(path, block)?;
        }
        Some("document") if role == Role::Assistant && version == Version::V2026 => {
            return Err(ApiError::invalid(format!(
                "{path}: `document` blocks are not allowed in `assistant` messages"
            )));
        }
        Some("document") => check_source(path, block)?,
        // The API sends types that are unknown here, and accepts them when they are sent
        // back.
        Some(_) => {}
    }
    Ok(())
}

fn check_text(path: &str, role: Role, block: &Value, version: Version) -> Result<(), ApiError> {
    let Some(text) = block["text"].as_str() else {
        return Err(ApiError::invalid(format!("{path}.text.text: Field required")));
    };
    if text.is_empty() && !block["cache_control"].is_null() {
        return Err(ApiError::invalid(format!(
            "{path}.text: cache_control cannot be set for empty text blocks"
        )));
    }
    if text.is_empty() {
        return Err(ApiError::invalid("messages: text content blocks must be non-empty"));
    }
    if text.trim().is_empty() {
        return Err(ApiError::invalid(
            "messages: text content blocks must contain non-whitespace text",
        ));
    }
    if !block["citations"].is_null() && !block["citations"].is_array() {
        return Err(ApiError::invalid(format!(
            "{path}.text.citations: Input should be a valid list"
        )));
    }
    let cited = block["citations"].as_array().is_some_and(|citations| !citations.is_empty());
    if cited && role == Role::User && version == Version::V2026 {
        return Err(ApiError::invalid(format!(
            "{path}.text.citations: citations are not allowed in `user` messages"
        )));
    }
    Ok(())
}

fn check_source(path: &str, block: &Value) -> Result<(), ApiError> {
    if block["source"]["type"].is_string() {
        return Ok(());
    }
    Err(ApiError::invalid(format!("{path}.{}.source: Field required", kind(block))))
}

fn check_call(path: &str, block: &Value) -> Result<(), ApiError> {
    let Some(id) = block["id"].as_str() else {
        return Err(ApiError::invalid(format!("{path}.tool_use.id: Field required")));
    };
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(ApiError::invalid(format!(
            "{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        )));
    }
    if block["name"].as_str().is_some_and(|name| !is_tool_name(name)) {
        return Err(ApiError::invalid(format!(
            "{path}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        )));
    }
    match (block["name"].as_str(), &block["input"]) {
        (None, _) => Err(ApiError::invalid(format!("{path}.tool_use.name: Field required"))),
        (_, Value::Null) => {
            Err(ApiError::invalid(format!("{path}.tool_use.input: Field required")))
        }
        (_, Value::Object(_)) => Ok(()),
        _ => Err(ApiError::invalid(format!(
            "{path}.tool_use.input: Input should be a valid dictionary"
        ))),
    }
}

fn check_result(path: &str, block: &Value) -> Result<(), ApiError> {
    if block["tool_use_id"].as_str().is_none() {
        return Err(ApiError::invalid(format!("{path}.tool_result.tool_use_id: Field required")));
    }
    let empty = match &block["content"] {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(inner) => {
            for (place, block) in inner.iter().enumerate() {
                let path = format!("{path}.content.{place}");
                match kind(block) {
                    "text" => check_text(&path, Role::User, block, Version::V2023)?,
                    "image" | "document" => check_source(&path, block)?,
                    "search_result" | "tool_reference" => {}
                    other => {
                        return Err(ApiError::invalid(format!(
                            "{path}: Input tag '{other}' found using 'type' does not match any of \
                             the expected tags of a `tool_result`"
                        )));
                    }
                }
            }
            inner.is_empty()
        }
        _ => {
            return Err(ApiError::invalid(format!(
                "{path}.tool_result.content: Input should be a valid string or a list of blocks"
            )));
        }
    };
    if empty && block["is_error"] == true {
        return Err(ApiError::invalid(format!(
            "{path}.tool_result: content cannot be empty if `is_error` is true"
        )));
    }
    Ok(())
}

/// A `system` message follows what asks for a reply, and it is the last one or precedes that reply.
fn system_messages(conversation: &Conversation) -> Result<(), ApiError> {
    let messages = &conversation.messages;
    for (place, message) in
        messages.iter().enumerate().filter(|(_, message)| message.role == Role::System)
    {
        let refuse =
            |why: &str| Err(ApiError::invalid(format!("messages.{}: {why}", message.index())));
        if !models::find(&conversation.model).is_some_and(|model| model.system_messages) {
            return refuse("role 'system' is not supported on this model");
        }
        if message.blocks.iter().any(|block| !is(block, "text")) {
            return refuse("a `system` message may only contain text");
        }
        // It is never the first message: that was refused above.
        let asks = |before: &Message| before.role == Role::User || ends_with_server_tool(before);
        if place == 0 || !asks(&messages[place - 1]) {
            return refuse(
                "a `system` message must follow a `user` message or an `assistant` message that \
                 ends with a server tool",
            );
        }
        if messages.get(place + 1).is_some_and(|next| next.role != Role::Assistant) {
            return refuse(
                "a `system` message must be the last one or be followed by an `assistant` message",
            );
        }
    }
    Ok(())
}

fn ends_with_server_tool(message: &Message) -> bool {
    let last = message.blocks.last().map_or("", kind);
    message.role == Role::Assistant
        && (matches!(last, "server_tool_use" | "mcp_tool_use")
            || last.ends_with("_tool_result") && last != "tool_result")
}

/// Every call has exactly one result, at the beginning of the very next message, and every result
/// has a call.
fn calls_and_results(messages: &[Message]) -> Result<(), ApiError> {
    let mut call_ids: HashSet<&str> = HashSet::new();
    for (place, message) in messages.iter().enumerate() {
        let calls_before = match place {
            0 => vec![],
            _ => ids(&messages[place - 1], "tool_use", "id"),
        };
        results(message, &calls_before)?;
        let next = messages.get(place + 1);
        let answered = next.map_or(vec![], |next| ids(next, "tool_result", "tool_use_id"));
        let mut open: Vec<&str> = vec![];
        for (at, call) in blocks_of_type(message, "tool_use") {
            let id = call["id"].as_str().unwrap_or_default();
            if !call_ids.insert(id) {
                let path = message.path(at);
                return Err(ApiError::invalid(format!(
                    "{path}: `tool_use` ids must be unique: {id}"
                )));
            }
            if !answered.contains(&id) {
                open.push(id);
            }
        }
        if !open.is_empty() {
            return Err(ApiError::invalid(format!(
                "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately \
                 after: {}. Each `tool_use` block must have a corresponding `tool_result` block in \
                 the next message.",
                message.index(),
                open.join(", ")
            )));
        }
    }
    Ok(())
}

/// The results of a message come first, and each answers one of the calls before.
fn results(message: &Message, calls_before: &[&str]) -> Result<(), ApiError> {
    let mut answered = HashSet::new();
    let mut other_content = None;
    for (at, block) in message.blocks.iter().enumerate() {
        if !is(block, "tool_result") {
            other_content = other_content.or(Some(at));
            continue;
        }
        let path = message.path(at);
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        if !calls_before.contains(&id) {
            return Err(ApiError::invalid(format!(
                "{path}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                 `tool_result` block must have a corresponding `tool_use` block in the previous \
                 message."
            )));
        }
        if !answered.insert(id) {
            return Err(ApiError::invalid(format!(
                "{path}: each tool_use must have a single result. Found multiple `tool_result` \
                 blocks with id: {id}"
            )));
        }
        if let Some(other) = other_content {
            return Err(ApiError::invalid(format!(
                "{}: `tool_result` blocks must come before all other content of the message",
                message.path(other)
            )));
        }
    }
    Ok(())
}

fn blocks_of_type<'a>(
    message: &'a Message,
    kind: &str,
) -> impl Iterator<Item = (usize, &'a Value)> {
    message.blocks.iter().enumerate().filter(move |(_, block)| is(block, kind))
}

fn ids<'a>(message: &'a Message, kind: &'a str, key: &str) -> Vec<&'a str> {
    message.of_type(kind).filter_map(|block| block[key].as_str()).collect()
}
