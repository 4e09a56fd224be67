//! Chat Completions requests: what that API refuses, and what they mean.
use crate::{
    chat_tools,
    conversation::{Conversation, Role, text_of},
    refusal::Refusal,
};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// What the API takes at the top of a request, and what the servers that imitate it take.
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

/// Checks a request and says what it means in the terms of the other format.
pub(crate) fn read(body: &Value) -> Result<Conversation, Refusal> {
    let Some(fields) = body.as_object() else {
        return Err(Refusal::bad(
            "We could not parse the JSON body of your request: an object was expected.",
        ));
    };
    if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(Refusal::bad(format!("Unrecognized request argument supplied: {unknown}")));
    }
    let Some(model) = body["model"].as_str().filter(|model| !model.is_empty()) else {
        return Err(Refusal::bad("you must provide a model parameter"));
    };
    let Some(messages) = body["messages"].as_array() else {
        return Err(Refusal::field("messages", "Missing required parameter: 'messages'."));
    };
    if messages.is_empty() {
        return Err(Refusal::field(
            "messages",
            "Invalid 'messages': empty array. Expected at least one message.",
        ));
    }
    limits(body)?;
    let mut conversation = Conversation {
        model: model.to_string(),
        tools: chat_tools::read(body)?,
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
    pairs(messages)?;
    for (index, message) in messages.iter().enumerate() {
        add(&mut conversation, index, message)?;
    }
    Ok(conversation)
}

fn limits(body: &Value) -> Result<(), Refusal> {
    for field in ["max_tokens", "max_completion_tokens"] {
        if !body[field].is_null() && body[field].as_u64().is_none_or(|most| most == 0) {
            return Err(Refusal::field(
                field,
                format!("Invalid '{field}': integer below minimum value 1."),
            ));
        }
    }
    if !body["stream_options"].is_null() && body["stream"] != true {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::field("stream_options", message));
    }
    if !body["n"].is_null() && body["n"] != 1 {
        return Err(Refusal::field("n", "Invalid 'n': a rehearsal has one choice."));
    }
    Ok(())
}

/// Every call is answered by a tool message right after, and every tool message answers one.
fn pairs(messages: &[Value]) -> Result<(), Refusal> {
    let mut open: Vec<&str> = vec![];
    let mut answered: HashSet<&str> = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().ok_or_else(|| {
                let param = format!("messages.[{index}].tool_call_id");
                let message = format!(
                    "Missing parameter 'tool_call_id': messages[{index}] has the role 'tool'."
                );
                Refusal::field(param, message)
            })?;
            let Some(place) = open.iter().position(|call| *call == id) else {
                let message = match answered.contains(id) {
                    true => format!("Invalid parameter: the 'tool_call_id' {id} is answered twice."),
                    false => "Invalid parameter: messages with role 'tool' must be a response to a preceding message \
                              with 'tool_calls'."
                        .into(),
                };
                return Err(Refusal::field(format!("messages.[{index}].role"), message));
            };
            answered.insert(open.remove(place));
            continue;
        }
        closed(index, &open)?;
        for (place, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let id = check_call(&format!("messages[{index}].tool_calls[{place}]"), call)?;
            if answered.contains(id) || open.contains(&id) {
                let param = format!("messages.[{index}].tool_calls");
                return Err(Refusal::field(
                    param,
                    format!("Duplicate value for 'tool_call_id': {id}"),
                ));
            }
            open.push(id);
        }
    }
    closed(messages.len(), &open)
}

fn closed(index: usize, open: &[&str]) -> Result<(), Refusal> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
         The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(Refusal::field(format!("messages.[{index}].role"), message))
}

fn check_call<'a>(path: &str, call: &'a Value) -> Result<&'a str, Refusal> {
    let missing =
        |key: &str| Refusal::field(path, format!("Missing required parameter: '{path}.{key}'."));
    let id = call["id"].as_str().ok_or_else(|| missing("id"))?;
    call["function"]["name"].as_str().ok_or_else(|| missing("function.name"))?;
    let param = format!("{path}.function.arguments");
    let Some(arguments) = call["function"]["arguments"].as_str() else {
        let message =
            format!("Invalid type for '{param}': expected a string that holds a JSON object.");
        return Err(Refusal::field(param, message));
    };
    if serde_json::from_str::<Map<String, Value>>(arguments).is_err() {
        let message = format!("Invalid '{param}': expected a string that holds a JSON object.");
        return Err(Refusal::field(param, message));
    }
    Ok(id)
}

/// Adds a message to the conversation.
fn add(conversation: &mut Conversation, index: usize, message: &Value) -> Result<(), Refusal> {
    let content = &message["content"];
    let text = text_of(content);
    let refuse = |why: &str| {
        Refusal::field(
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
                // Clients that send only strings join their texts with blank lines; a scene is chosen by one of them.
                Value::String(text) => text
                    .split("\n\n")
                    .filter(|text| !text.trim().is_empty())
                    .map(|text| json!({"type": "text", "text": text}))
                    .collect(),
                Value::Array(parts) if !parts.is_empty() => parts.clone(),
                Value::Null => return Err(refuse("expected a string, got null.")),
                _ => return Err(refuse("expected a string or a list of parts.")),
            };
            conversation.push(index, Role::User, blocks);
        }
        Some("assistant") => {
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
                blocks.push(json!({"type": "tool_use", "id": id, "name": call["function"]["name"], "input": input}));
            }
            conversation.push(index, Role::Assistant, blocks);
        }
        Some("tool") => {
            if content.is_null() {
                return Err(refuse("expected a string, got null."));
            }
            let id = internal_id(message["tool_call_id"].as_str().unwrap_or_default());
            let block = json!({"type": "tool_result", "tool_use_id": id, "content": text});
            conversation.push(index, Role::User, vec![block]);
        }
        role => {
            let role = role.unwrap_or("null");
            return Err(Refusal::field(
                format!("messages[{index}].role"),
                format!(
                    "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'."
                ),
            ));
        }
    }
    Ok(())
}

/// The id of a call as the other format would have it.
fn internal_id(id: &str) -> String {
    id.strip_prefix("call_").map_or_else(|| id.to_string(), |rest| format!("toolu_{rest}"))
}
