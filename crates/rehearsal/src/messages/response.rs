//! Replies of the Messages API, whole and as a stream.
use crate::{
    reply::{Part, Reply, StopReason, Usage},
    response_body::Event,
};
use serde_json::{Value, json};

/// How many characters of a text are in one delta.
const PIECE_CHARACTERS: usize = 8;

/// The whole reply.
pub(crate) fn whole(reply: &Reply) -> Value {
    let content: Vec<Value> = reply.parts.iter().map(Part::block).collect();
    json!({
        "id": format!("msg_{}", reply.id),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": reply.stop.name(),
        "stop_sequence": reply.stop_sequence,
        "stop_details": stop_details(reply.stop),
        "usage": usage(&reply.usage),
    })
}

/// The events that add up to the whole reply.
pub(crate) fn events(reply: &Reply) -> Vec<Event> {
    let mut start = whole(reply);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["stop_sequence"] = Value::Null;
    start["stop_details"] = Value::Null;
    // The output is not known yet when the reply begins.
    start["usage"] = usage(&Usage { output: 1, thinking: 0, ..reply.usage });
    let mut events = vec![event(&json!({"type": "message_start", "message": start}))];
    for (index, part) in reply.parts.iter().enumerate() {
        let (start, deltas) = block_events(part);
        events.push(event(
            &json!({"type": "content_block_start", "index": index, "content_block": start}),
        ));
        if index == 0 {
            events.push(event(&json!({"type": "ping"})));
        }
        for delta in deltas {
            events.push(event(
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            ));
        }
        events.push(event(&json!({"type": "content_block_stop", "index": index})));
    }
    let mut delta = json!({"stop_reason": reply.stop.name(), "stop_sequence": reply.stop_sequence});
    delta["stop_details"] = stop_details(reply.stop);
    events.push(event(
        &json!({"type": "message_delta", "delta": delta, "usage": usage(&reply.usage)}),
    ));
    events.push(event(&json!({"type": "message_stop"})));
    events
}

/// An event whose name is its type.
pub(crate) fn event(data: &Value) -> Event {
    Event::named(data["type"].as_str().unwrap_or_default(), data.to_string())
}

/// The block as a stream begins it, and the deltas that complete it.
fn block_events(part: &Part) -> (Value, Vec<Value>) {
    let mut start = part.block();
    match part {
        Part::Think { text, signature } => {
            start["thinking"] = json!("");
            start["signature"] = json!("");
            let mut deltas = deltas(text, "thinking_delta", "thinking");
            deltas.push(json!({"type": "signature_delta", "signature": signature}));
            (start, deltas)
        }
        Part::Say(text) => {
            start["text"] = json!("");
            (start, deltas(text, "text_delta", "text"))
        }
        Part::Call { arguments, .. } => {
            start["input"] = json!({});
            (start, deltas(arguments, "input_json_delta", "partial_json"))
        }
        Part::Raw(block) => match (block["type"].as_str(), &block["input"]) {
            // The input of a server tool's call comes in deltas too.
            (Some(kind), Value::Object(_)) if kind.ends_with("tool_use") => {
                start["input"] = json!({});
                (start, deltas(&block["input"].to_string(), "input_json_delta", "partial_json"))
            }
            _ => (start, vec![]),
        },
    }
}

fn deltas(text: &str, kind: &str, key: &str) -> Vec<Value> {
    pieces(text).map(|piece| json!({"type": kind, key: piece})).collect()
}

/// A text in pieces about as long as those that models produce.
pub(crate) fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = text.char_indices().nth(PIECE_CHARACTERS).map_or(text.len(), |(end, _)| end);
        let (piece, rest) = text.split_at(end);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn stop_details(stop: StopReason) -> Value {
    match stop {
        StopReason::Refusal => {
            json!({"type": "refusal", "category": null, "explanation": "The script of this \
                                                                        rehearsal refuses here."})
        }
        _ => Value::Null,
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.written_5m + usage.written_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.written_5m,
            "ephemeral_1h_input_tokens": usage.written_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.thinking},
        "server_tool_use": null,
        "service_tier": "standard",
        "inference_geo": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_between_characters() {
        let found: Vec<&str> = pieces("äöüäöüäöüäöü").collect();
        assert_eq!(found, ["äöüäöüäö", "üäöü"]);
        assert_eq!(pieces("").count(), 0);
    }
}
