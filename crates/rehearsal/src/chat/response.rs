//! Replies of Chat Completions, whole and as a stream.
use crate::{
    messages::response::pieces,
    reply::{Part, Reply, Usage},
    response_body::Event,
};
use serde_json::{Value, json};

/// The whole reply.
pub(crate) fn whole(reply: &Reply, created: u64) -> Value {
    let mut message = json!({"role": "assistant", "content": null, "refusal": null});
    let (text, thinking) = texts(reply);
    if !text.is_empty() {
        message["content"] = json!(text);
    }
    if !thinking.is_empty() {
        message["reasoning_content"] = json!(thinking);
    }
    let calls: Vec<Value> = calls(reply)
        .map(|(id, name, arguments)| {
            let function = json!({"name": name, "arguments": arguments});
            json!({"id": id, "type": "function", "function": function})
        })
        .collect();
    if calls.is_empty() {
        // An empty reply has an empty text; null means that there are only calls.
        message["content"] = json!(text);
    } else {
        message["tool_calls"] = json!(calls);
    }
    let reason = reply.stop.finish_reason();
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason});
    let mut whole = envelope(reply, created, "chat.completion");
    whole["choices"] = json!([choice]);
    whole["usage"] = usage(&reply.usage);
    whole
}

/// The chunks that add up to the whole reply.
pub(crate) fn events(reply: &Reply, created: u64, include_usage: bool) -> Vec<Event> {
    let mut envelope = envelope(reply, created, "chat.completion.chunk");
    if include_usage {
        // Only the last chunk has the usage.
        envelope["usage"] = Value::Null;
    }
    let chunk = |choices: Value| {
        let mut chunk = envelope.clone();
        chunk["choices"] = choices;
        chunk
    };
    let delta = |delta: Value, reason: Value| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]))
    };
    let mut chunks =
        vec![delta(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null)];
    let mut index = 0;
    for part in &reply.parts {
        match part {
            Part::Think { text, .. } => {
                for piece in pieces(text) {
                    chunks.push(delta(json!({"reasoning_content": piece}), Value::Null));
                }
            }
            Part::Say(text) => {
                for piece in pieces(text) {
                    chunks.push(delta(json!({"content": piece}), Value::Null));
                }
            }
            Part::Call { id, name, arguments } => {
                let call = |call: Value| delta(json!({"tool_calls": [call]}), Value::Null);
                let function = json!({"name": name, "arguments": ""});
                let id = external_id(id);
                chunks.push(call(
                    json!({"index": index, "id": id, "type": "function", "function": function}),
                ));
                for piece in pieces(arguments) {
                    chunks.push(call(json!({"index": index, "function": {"arguments": piece}})));
                }
                index += 1;
            }
            // The format has no other blocks.
            Part::Raw(_) => {}
        }
    }
    chunks.push(delta(json!({}), json!(reply.stop.finish_reason())));
    if include_usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(&reply.usage);
        chunks.push(last);
    }
    let mut events: Vec<Event> =
        chunks.iter().map(|chunk| Event::unnamed(chunk.to_string())).collect();
    events.push(Event::unnamed("[DONE]".into()));
    events
}

fn envelope(reply: &Reply, created: u64, object: &str) -> Value {
    json!({
        "id": format!("chatcmpl-{}", reply.id),
        "object": object,
        "created": created,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": null,
    })
}

/// The text and the thinking.
fn texts(reply: &Reply) -> (String, String) {
    let (mut text, mut thinking) = (String::new(), String::new());
    for part in &reply.parts {
        match part {
            Part::Say(said) => text += said,
            Part::Think { text: thought, .. } => thinking += thought,
            Part::Call { .. } | Part::Raw(_) => {}
        }
    }
    (text, thinking)
}

fn calls(reply: &Reply) -> impl Iterator<Item = (String, &str, &str)> {
    reply.parts.iter().filter_map(|part| match part {
        Part::Call { id, name, arguments } => {
            Some((external_id(id), name.as_str(), arguments.as_str()))
        }
        _ => None,
    })
}

/// The id of a call as this format has it.
fn external_id(id: &str) -> String {
    match id.strip_prefix("toolu_") {
        Some(rest) => format!("call_{rest}"),
        None => id.to_string(),
    }
}

fn usage(usage: &Usage) -> Value {
    // In this format the prompt's tokens include those of the cache.
    let prompt = usage.input + usage.cache_read + usage.written_5m + usage.written_1h;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.thinking,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
