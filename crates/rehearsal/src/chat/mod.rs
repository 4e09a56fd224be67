//! Chat Completions: what it refuses, a request in the terms of the Messages API, and its
//! responses.
pub(crate) mod response;
mod tools;

use crate::{
    api_error::ApiError,
    conversation::{Conversation, Role, text_of},
};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// What the API allows at the top of a request, and what the servers that imitate it allow.
const FIELDS: [&str; 40] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "n",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "store",
    "metadata",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "functions",
    "function_call",
    "thinking",
    "reasoning",
    "enable_thinking",
    "chat_template_kwargs",
    "top_k",
];

/// The longest id of a call.
const MAX_ID_BYTES: usize = 64;

/// Checks a request and reads it.
pub(crate) fn read(body: &Value) -> Result<Conversation, ApiError> {
    let Some(fields) = body.as_object() else {
        return Err(ApiError::invalid(
            "We could not parse the JSON body of your request: an object was expected.",
        ));
    };
    if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(ApiError::invalid(format!(
            "Unrecognized request argument supplied: {unknown}"
        )));
    }
    let Some(model) = body["model"].as_str().filter(|model| !model.is_empty()) else {
        return Err(ApiError::invalid("you must provide a model parameter"));
    };
    let Some(messages) = body["messages"].as_array() else {
        return Err(ApiError::invalid_param("messages", "Missing required parameter: 'messages'."));
    };
    if messages.is_empty() {
        return Err(ApiError::invalid_param(
            "messages",
            "Invalid 'messages': empty array. Expected at least one message.",
        ));
    }
    limits(body)?;
    let mut conversation = Conversation {
        model: model.to_string(),
        tools: tools::read(body)?,
        stream: body["stream"] == true,
        stop_sequences: match &body["stop"] {
            Value::String(one) => vec![one.clone()],
            stops => stops
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(String::from)
                .collect(),
        },
        ..Conversation::default()
    };
    calls_and_results(messages)?;
    for (index, message) in messages.iter().enumerate() {
        if is_bridge(messages, index) {
            continue;
        }
        add(&mut conversation, index, message)?;
    }
    Ok(conversation)
}

/// Whether this message only parts results from the pictures in them, for servers that accept no
/// `user` message right after results. Whatever was said then, the pictures belong to the results.
fn is_bridge(messages: &[Value], index: usize) -> bool {
    let [Some(before), Some(after)] = [index.checked_sub(1), Some(index + 1)]
        .map(|index| index.and_then(|index| messages.get(index)))
    else {
        return false;
    };
    let is_picture = |part: &Value| part["type"] == "image_url" || part["type"] == "file";
    messages[index]["role"] == "assistant"
        && messages[index]["tool_calls"].is_null()
        && before["role"] == "tool"
        && after["role"] == "user"
        && after["content"].as_array().is_some_and(|parts| parts.iter().all(is_picture))
}

/// What some servers require beside the rules of the API: their templates have no place for a
/// person who speaks right after a tool.
pub(crate) fn no_user_after_results(body: &Value) -> Result<(), ApiError> {
    let roles = body["messages"].as_array().into_iter().flatten().map(|message| &message["role"]);
    let mut before = &Value::Null;
    for role in roles {
        if role == "user" && before == "tool" {
            let message = "Unexpected role 'user' after role 'tool'";
            return Err(ApiError::invalid(message).with_code("3230"));
        }
        before = role;
    }
    Ok(())
}

fn limits(body: &Value) -> Result<(), ApiError> {
    for field in ["max_tokens", "max_completion_tokens"] {
        if !body[field].is_null() && body[field].as_u64().is_none_or(|most| most == 0) {
            return Err(ApiError::invalid_param(
                field,
                format!("Invalid '{field}': integer below minimum value 1."),
            ));
        }
    }
    if !body["stream_options"].is_null() && body["stream"] != true {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(ApiError::invalid_param("stream_options", message));
    }
    if !body["n"].is_null() && body["n"] != 1 {
        return Err(ApiError::invalid_param("n", "Invalid 'n': a rehearsal has one choice."));
    }
    Ok(())
}

/// Every call has exactly one `tool` message right after it, and every `tool` message has a call.
fn calls_and_results(messages: &[Value]) -> Result<(), ApiError> {
    let mut open: Vec<&str> = vec![];
    let mut answered: HashSet<&str> = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().ok_or_else(|| {
                let param = format!("messages.[{index}].tool_call_id");
                let message = format!(
                    "Missing parameter 'tool_call_id': messages[{index}] has the role 'tool'."
                );
                ApiError::invalid_param(param, message)
            })?;
            let Some(place) = open.iter().position(|call| *call == id) else {
                let mut message = format!("the 'tool_call_id' {id} is answered twice.");
                if !answered.contains(id) {
                    message =
                        "messages with role 'tool' must be a response to a preceding message \
                               with 'tool_calls'."
                            .into();
                }
                let message = format!("Invalid parameter: {message}");
                return Err(ApiError::invalid_param(format!("messages.[{index}].role"), message));
            };
            answered.insert(open.remove(place));
            continue;
        }
        none_open(index, &open)?;
        if message["tool_calls"].as_array().is_some_and(Vec::is_empty) {
            let param = format!("messages[{index}].tool_calls");
            let message = format!(
                "Invalid '{param}': empty array. Expected an array with minimum length 1, but got \
                 an empty array instead."
            );
            return Err(ApiError::invalid_param(param, message));
        }
        for (place, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let id = check_call(&format!("messages[{index}].tool_calls[{place}]"), call)?;
            if answered.contains(id) || open.contains(&id) {
                let param = format!("messages.[{index}].tool_calls");
                return Err(ApiError::invalid_param(
                    param,
                    format!("Duplicate value for 'tool_call_id': {id}"),
                ));
            }
            open.push(id);
        }
    }
    none_open(messages.len(), &open)
}

/// No call may lack its result before the message with this index.
fn none_open(index: usize, open: &[&str]) -> Result<(), ApiError> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(ApiError::invalid_param(format!("messages.[{index}].role"), message))
}

fn check_call<'a>(path: &str, call: &'a Value) -> Result<&'a str, ApiError> {
    let missing = |key: &str| {
        ApiError::invalid_param(path, format!("Missing required parameter: '{path}.{key}'."))
    };
    let id = call["id"].as_str().ok_or_else(|| missing("id"))?;
    if !(1..=MAX_ID_BYTES).contains(&id.len()) {
        let (param, length) = (format!("{path}.id"), id.len());
        let message = format!(
            "Invalid '{param}': expected a string with 1 to {MAX_ID_BYTES} characters, but got a \
             string with length {length} instead."
        );
        return Err(ApiError::invalid_param(param, message));
    }
    if call["type"] != "function" {
        return Err(missing("type"));
    }
    let name = call["function"]["name"].as_str().ok_or_else(|| missing("function.name"))?;
    tools::check_name(&format!("{path}.function"), name)?;
    let param = format!("{path}.function.arguments");
    let Some(arguments) = call["function"]["arguments"].as_str() else {
        let message =
            format!("Invalid type for '{param}': expected a string that holds a JSON object.");
        return Err(ApiError::invalid_param(param, message));
    };
    if serde_json::from_str::<Map<String, Value>>(arguments).is_err() {
        let message = format!("Invalid '{param}': expected a string that holds a JSON object.");
        return Err(ApiError::invalid_param(param, message));
    }
    Ok(id)
}

/// Adds the message with this index to the conversation.
fn add(conversation: &mut Conversation, index: usize, message: &Value) -> Result<(), ApiError> {
    let content = &message["content"];
    let text = text_of(content);
    let refuse = |why: &str| {
        ApiError::invalid_param(
            format!("messages.[{index}].content"),
            format!("Invalid value for 'content': {why}"),
        )
    };
    match message["role"].as_str() {
        Some("system" | "developer") => {
            let block = json!({"type": "text", "text": text});
            match conversation.messages.is_empty() {
                true => conversation.system.push(block),
                false => conversation.push(index, Role::System, vec![block]),
            }
        }
        Some("user") => {
            let blocks = match content {
                // Clients that send only strings join their texts with blank lines. They are parted
                // again, because one text chooses the scene.
                Value::String(text) => text
                    .split("\n\n")
                    .filter(|text| !text.trim().is_empty())
                    .map(|text| json!({"type": "text", "text": text}))
                    .collect(),
                Value::Array(parts) if !parts.is_empty() => {
                    let kinds = ["text", "image_url", "input_audio", "file"];
                    let is_part = |part: &Value| {
                        part["type"].as_str().is_some_and(|kind| kinds.contains(&kind))
                    };
                    if !parts.iter().all(is_part) {
                        return Err(refuse("expected parts of type text, image_url or file."));
                    }
                    parts.clone()
                }
                Value::Null => return Err(refuse("expected a string, got null.")),
                _ => return Err(refuse("expected a string or a list of parts.")),
            };
            conversation.push(index, Role::User, blocks);
        }
        Some("assistant") => {
            let is_part = |part: &Value| part["type"].is_string();
            match content {
                Value::Null | Value::String(_) => {}
                Value::Array(parts) if parts.iter().all(is_part) => {}
                _ => return Err(refuse("expected a string or a list of parts.")),
            }
            let mut blocks = vec![];
            if !text.is_empty() {
                blocks.push(json!({"type": "text", "text": text}));
            }
            let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
            if content.is_null() && calls.is_empty() && message["refusal"].is_null() {
                return Err(refuse("expected a string, got null."));
            }
            for call in calls {
                let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
                let input = serde_json::from_str(arguments).unwrap_or(Value::Null);
                let id = internal_id(call["id"].as_str().unwrap_or_default());
                let name = &call["function"]["name"];
                blocks.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
            }
            conversation.push(index, Role::Assistant, blocks);
        }
        Some("tool") => {
            let is_text = |part: &Value| part["type"] == "text" && part["text"].is_string();
            let is_taken = content.is_string()
                || content.as_array().is_some_and(|parts| parts.iter().all(is_text));
            if !is_taken {
                return Err(refuse("expected a string or a list of texts."));
            }
            let id = internal_id(message["tool_call_id"].as_str().unwrap_or_default());
            let mut block = json!({"type": "tool_result", "tool_use_id": id, "content": text});
            // There is no field for it, so clients say it in the text.
            if let Some(text) = text.strip_prefix("Error: ") {
                block["content"] = text.into();
                block["is_error"] = true.into();
            }
            conversation.push(index, Role::User, vec![block]);
        }
        role => {
            let role = role.unwrap_or("null");
            return Err(ApiError::invalid_param(
                format!("messages[{index}].role"),
                format!(
                    "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', \
                     'tool', and 'developer'."
                ),
            ));
        }
    }
    Ok(())
}

/// The id of a call as the Messages API has it.
fn internal_id(id: &str) -> String {
    match id.strip_prefix("call_") {
        Some(rest) => format!("toolu_{rest}"),
        None => id.to_string(),
    }
}
