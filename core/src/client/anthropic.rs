//! The Messages API: a request as its bytes, a reply from its bytes, and the events of a stream.
use super::stream::{Broken, Decode};
use super::{Delta, Endpoint, Lifetime, Place, Reply, Request, StopReason, Usage, as_object};
use crate::{Block, Message, Role, ToolSpec};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json, value::RawValue};

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
    system: Vec<Marked<Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Marked<&'a ToolSpec>>,
    messages: Vec<WireMessage<'a>>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// Something that can carry a cache mark.
#[derive(Serialize)]
struct Marked<T> {
    #[serde(flatten)]
    part: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Value>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: Role,
    content: Vec<WireBlock<'a>>,
}

/// A block as the API takes it: without its origin, perhaps with a cache mark.
struct WireBlock<'a> {
    block: &'a Block,
    cache_control: Option<Value>,
}

pub(super) fn body(endpoint: &Endpoint, request: &Request, stream: bool) -> Vec<u8> {
    let mark = |place: Place| {
        let mark = request.marks.iter().find(|mark| mark.place == place)?;
        Some(match mark.lifetime {
            Lifetime::FiveMinutes => json!({"type": "ephemeral"}),
            Lifetime::Hour => json!({"type": "ephemeral", "ttl": "1h"}),
        })
    };
    let system = request.system.iter().enumerate().map(|(i, text)| Marked {
        part: json!({"type": "text", "text": text}),
        cache_control: mark(Place::System(i)),
    });
    let tools = request.tools.iter().map(|tool| Marked { part: &**tool, cache_control: None });
    let mut tools: Vec<_> = tools.collect();
    if let Some(last) = tools.last_mut() {
        last.cache_control = mark(Place::Tools);
    }
    let messages = request.messages.iter().enumerate().map(|(i, message)| {
        let blocks = message.content.iter().enumerate().map(|(j, block)| WireBlock {
            block,
            cache_control: mark(Place::Block { message: i, block: j }),
        });
        WireMessage { role: message.role, content: blocks.collect() }
    });
    let mut extra = request.extra.clone();
    extra.retain(|key, _| !OWN.contains(&key.as_str()));
    let body = Body {
        model: request.model.as_deref().unwrap_or(&endpoint.model),
        max_tokens: endpoint.max_tokens(request.max_tokens, stream),
        stream,
        system: system.collect(),
        tools,
        messages: messages.collect(),
        extra,
    };
    serde_json::to_vec(&body).expect("strings, numbers and maps with string keys")
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
                map.serialize_entry("input", &as_object(input))?;
                Some(more)
            }
            Block::ToolResult { tool_use_id, content, is_error } => {
                let content = content.iter().map(|block| WireBlock { block, cache_control: None });
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", tool_use_id)?;
                map.serialize_entry("content", &content.collect::<Vec<_>>())?;
                if *is_error {
                    map.serialize_entry("is_error", is_error)?;
                }
                None
            }
            Block::Image { source, more } | Block::Document { source, more } => {
                let is_image = matches!(self.block, Block::Image { .. });
                map.serialize_entry("type", if is_image { "image" } else { "document" })?;
                map.serialize_entry("source", source)?;
                Some(more)
            }
        };
        for (key, value) in more.into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        if let Some(mark) = &self.cache_control {
            map.serialize_entry("cache_control", mark)?;
        }
        map.end()
    }
}

/// A plain reply.
pub(super) fn reply(bytes: &[u8]) -> Result<Reply, String> {
    #[derive(Deserialize)]
    struct Answer {
        content: Vec<Box<RawValue>>,
        #[serde(flatten)]
        more: Value,
    }
    let Answer { content, more } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut usage = Usage::default();
    usage.update(&more["usage"]);
    let message = Message::assistant(content.into_iter().map(Block::from_wire).collect());
    let stop = stop(more["stop_reason"].as_str().unwrap_or("end_turn"), &more["stop_details"]);
    Ok(Reply { message: message.into(), usage, stop })
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
    fn event(&mut self, event: Value) -> Result<Vec<Delta>, Broken> {
        let index = || match event["index"].as_u64() {
            Some(index) => Ok(index as usize),
            None => Err(Broken::Event("a block event without an index".into())),
        };
        Ok(match event["type"].as_str().unwrap_or("") {
            "message_start" => self.count(&event["message"]["usage"]),
            "content_block_start" => {
                let block = Block::from_value(&event["content_block"]);
                vec![Delta::Open { index: index()?, block }]
            }
            "content_block_delta" => delta(index()?, &event["delta"]).into_iter().collect(),
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
            "error" => {
                let status = status_of(&event["error"]["type"]);
                return Err(Broken::Api { status, body: event });
            }
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

fn delta(index: usize, delta: &Value) -> Option<Delta> {
    let word = |key: &str| delta[key].as_str().unwrap_or("").to_string();
    Some(match delta["type"].as_str()? {
        "text_delta" => Delta::Text { index, text: word("text") },
        "thinking_delta" => Delta::Thinking { index, text: word("thinking") },
        "signature_delta" => Delta::Signature { index, signature: word("signature") },
        "input_json_delta" => Delta::Arguments { index, json: word("partial_json") },
        "citations_delta" => Delta::Citation { index, citation: delta["citation"].clone() },
        _ => return None,
    })
}

/// An error inside a stream has no status of its own: its kind stands for one (api/errors).
fn status_of(kind: &Value) -> u16 {
    match kind.as_str() {
        Some("invalid_request_error") => 400,
        Some("authentication_error") => 401,
        Some("billing_error") => 402,
        Some("permission_error") => 403,
        Some("not_found_error") => 404,
        Some("request_too_large") => 413,
        Some("rate_limit_error") => 429,
        Some("timeout_error") => 504,
        Some("overloaded_error") => 529,
        _ => 500,
    }
}
