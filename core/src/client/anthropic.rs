//! The Messages API: a request as its bytes, a reply from its bytes, and the events of a stream.
use super::{
    Broken, Decode, Delta, Endpoint, Lifetime, Mark, Place, Reply, Request, StopReason, Usage,
};
use crate::{Block, Message, Role, ToolSpec};
use serde::{
    Deserialize, Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::{Map, Value, json, value::RawValue};
use std::sync::Arc;

/// The fields that [`Body`] has of its own: named twice, they would break the JSON.
const OWN: [&str; 6] = ["model", "max_tokens", "stream", "system", "tools", "messages"];

/// Serialises in place: the history is never copied.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    #[serde(serialize_with = "tools", skip_serializing_if = "no_tools")]
    tools: (&'a [Arc<ToolSpec>], Option<Lifetime>),
    #[serde(serialize_with = "messages")]
    messages: (&'a [Arc<Message>], &'a [Mark]),
    #[serde(flatten)]
    extra: Map<String, Value>,
}

pub(super) fn body(endpoint: &Endpoint, request: &Request, stream: bool) -> Vec<u8> {
    let mark_at = |place| request.marks.iter().find(|m| m.place == place).map(|m| m.lifetime);
    let section = |(i, text): (usize, &Arc<str>)| {
        marked(json!({"type": "text", "text": text}), mark_at(Place::System(i)))
    };
    let body = Body {
        model: request.model.as_deref().unwrap_or(&endpoint.model),
        max_tokens: endpoint.max_tokens(request.max_tokens, stream),
        stream,
        system: request.system.iter().enumerate().map(section).collect(),
        tools: (&request.tools, mark_at(Place::Tools)),
        messages: (&request.messages, &request.marks),
        extra: request
            .extra
            .clone()
            .into_iter()
            .filter(|(key, _)| !OWN.contains(&key.as_str()))
            .collect(),
    };
    serde_json::to_vec(&body).expect("strings, numbers and maps with string keys")
}

fn no_tools((tools, _): &(&[Arc<ToolSpec>], Option<Lifetime>)) -> bool {
    tools.is_empty()
}

fn marked(mut block: Value, mark: Option<Lifetime>) -> Value {
    if let Some(lifetime) = mark {
        block["cache_control"] = cache_control(lifetime);
    }
    block
}

fn cache_control(lifetime: Lifetime) -> Value {
    match lifetime {
        Lifetime::FiveMinutes => json!({"type": "ephemeral"}),
        Lifetime::Hour => json!({"type": "ephemeral", "ttl": "1h"}),
    }
}

fn tools<S: Serializer>(
    (tools, mark): &(&[Arc<ToolSpec>], Option<Lifetime>),
    s: S,
) -> Result<S::Ok, S::Error> {
    let mut seq = s.serialize_seq(Some(tools.len()))?;
    for (i, tool) in tools.iter().enumerate() {
        match mark {
            Some(_) if i + 1 == tools.len() => {
                seq.serialize_element(&marked(json!(tool), *mark))?
            }
            _ => seq.serialize_element(tool)?,
        }
    }
    seq.end()
}

fn messages<S: Serializer>(
    (messages, marks): &(&[Arc<Message>], &[Mark]),
    s: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Wire<'a> {
        role: Role,
        content: Vec<WireBlock<'a>>,
    }
    let mut seq = s.serialize_seq(Some(messages.len()))?;
    for (i, message) in messages.iter().enumerate() {
        let mut content: Vec<WireBlock<'_>> = unmarked(&message.content);
        for mark in *marks {
            if let Place::Block { message, block } = mark.place
                && message == i
                && let Some(block) = content.get_mut(block)
            {
                block.mark = Some(mark.lifetime);
            }
        }
        seq.serialize_element(&Wire { role: message.role, content })?;
    }
    seq.end()
}

/// A block as the API takes it: without its origin, perhaps with a cache mark.
struct WireBlock<'a> {
    block: &'a Block,
    mark: Option<Lifetime>,
}

fn unmarked(blocks: &[Block]) -> Vec<WireBlock<'_>> {
    blocks.iter().map(|block| WireBlock { block, mark: None }).collect()
}

impl Serialize for WireBlock<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // Thinking keeps its bytes, and cannot carry a mark.
        if let Block::Other(raw) = self.block {
            return raw.serialize(s);
        }
        let mut map = s.serialize_map(None)?;
        let more = match self.block {
            Block::Other(_) => None,
            Block::Text { text, more, .. } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
                Some(more)
            }
            Block::ToolUse { id, name, input, more } => {
                map.serialize_entry("type", "tool_use")?;
                map.serialize_entry("id", id)?;
                map.serialize_entry("name", name)?;
                match input {
                    Value::Object(object) => map.serialize_entry("input", object)?,
                    // Arguments that were no JSON; the API wants an object.
                    broken => map.serialize_entry("input", &json!({"malformed": broken}))?,
                }
                Some(more)
            }
            Block::ToolResult { tool_use_id, content, is_error } => {
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", tool_use_id)?;
                map.serialize_entry("content", &unmarked(content))?;
                if *is_error {
                    map.serialize_entry("is_error", is_error)?;
                }
                None
            }
            Block::Image { source, more } => {
                map.serialize_entry("type", "image")?;
                map.serialize_entry("source", source)?;
                Some(more)
            }
            Block::Document { source, more } => {
                map.serialize_entry("type", "document")?;
                map.serialize_entry("source", source)?;
                Some(more)
            }
        };
        for (key, value) in more.into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        if let Some(lifetime) = self.mark {
            map.serialize_entry("cache_control", &cache_control(lifetime))?;
        }
        map.end()
    }
}

/// A plain reply.
pub(super) fn reply(bytes: &[u8]) -> Result<Reply, String> {
    #[derive(Deserialize)]
    struct Answer {
        content: Vec<Box<RawValue>>,
        #[serde(default)]
        usage: Value,
        stop_reason: Option<String>,
        #[serde(default)]
        stop_details: Value,
    }
    let answer: Answer = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut usage = Usage::default();
    usage.update(&answer.usage);
    let content = answer.content.into_iter().map(Block::from_wire).collect();
    Ok(Reply {
        message: Arc::new(Message::assistant(content)),
        usage,
        stop: stop(answer.stop_reason.as_deref().unwrap_or("end_turn"), &answer.stop_details),
    })
}

fn stop(reason: &str, details: &Value) -> StopReason {
    match reason {
        "end_turn" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "pause_turn" => StopReason::PauseTurn,
        "refusal" => {
            StopReason::Refusal { category: details["category"].as_str().unwrap_or("").into() }
        }
        "model_context_window_exceeded" => StopReason::WindowFull,
        other => StopReason::Other(other.into()),
    }
}

/// Events into deltas. Events and deltas of unknown types are skipped, as the API asks its clients
/// to.
#[derive(Default)]
pub(super) struct Decoder {
    usage: Usage,
    ended: bool,
}

impl Decode for Decoder {
    fn event(&mut self, data: &str) -> Result<Vec<Delta>, Broken> {
        if data.is_empty() {
            return Ok(vec![]);
        }
        let event: Value = serde_json::from_str(data)?;
        let index = || {
            let index = event["index"]
                .as_u64()
                .ok_or_else(|| Broken::Event("a block event without an index".into()))?;
            Ok::<usize, Broken>(index as usize)
        };
        let word = |value: &Value| value.as_str().unwrap_or("").to_string();
        Ok(match event["type"].as_str().unwrap_or("") {
            "message_start" => self.count(&event["message"]["usage"]),
            "content_block_start" => {
                vec![Delta::Open {
                    index: index()?,
                    block: Block::from_value(&event["content_block"]),
                }]
            }
            "content_block_delta" => {
                let (index, delta) = (index()?, &event["delta"]);
                match delta["type"].as_str().unwrap_or("") {
                    "text_delta" => vec![Delta::Text { index, text: word(&delta["text"]) }],
                    "thinking_delta" => {
                        vec![Delta::Thinking { index, text: word(&delta["thinking"]) }]
                    }
                    "signature_delta" => {
                        vec![Delta::Signature { index, signature: word(&delta["signature"]) }]
                    }
                    "input_json_delta" => {
                        vec![Delta::Arguments { index, json: word(&delta["partial_json"]) }]
                    }
                    "citations_delta" => {
                        vec![Delta::Citation { index, citation: delta["citation"].clone() }]
                    }
                    _ => vec![],
                }
            }
            "content_block_stop" => vec![Delta::Close { index: index()? }],
            "message_delta" => {
                let mut deltas = self.count(&event["usage"]);
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    deltas.push(Delta::Stop(stop(reason, &event["delta"]["stop_details"])));
                }
                deltas
            }
            "message_stop" => {
                self.ended = true;
                vec![]
            }
            "error" => return Err(in_stream(&event["error"])),
            _ => vec![],
        })
    }

    fn ended(&self) -> bool {
        self.ended
    }
}

impl Decoder {
    /// `message_delta` counts from the start of the message, not from the event before: the figures
    /// replace. What it leaves out stays as `message_start` said.
    fn count(&mut self, usage: &Value) -> Vec<Delta> {
        if !usage.is_object() {
            return vec![];
        }
        self.usage.update(usage);
        vec![Delta::Usage(self.usage)]
    }
}

/// An error inside a stream has no status of its own: its kind stands for one (api/errors).
fn in_stream(error: &Value) -> Broken {
    let kind = error["type"].as_str().unwrap_or("unknown");
    let status = match kind {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    };
    let message = format!(
        "{} (in the middle of its reply)",
        error["message"].as_str().unwrap_or("no reason given")
    );
    Broken::Api { status, kind: kind.into(), message }
}
