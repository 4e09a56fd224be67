//! The Messages API: a request as its bytes, a reply from its bytes, and the events of a stream.
use super::stream::Decode;
use super::{Delta, Endpoint, Lifetime, Place, Reply, Request, StopReason, Usage, stop};
use crate::{Block, Message, Role, ToolSpec, block::CHAT};
use rungs_json::{as_id, as_name, as_object, is_plain};
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
        let blocks = message.content.iter().enumerate().filter(|(_, block)| is_sent(block));
        let blocks = blocks.map(|(j, block)| WireBlock {
            block,
            cache_control: mark(Place::Block { message: i, block: j }),
        });
        WireMessage { role: message.role, content: blocks.collect() }
    });
    let messages = messages.filter(|message| !message.content.is_empty());
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

/// What Chat Completions alone knows stays here, and thinking without a signature, which comes from
/// there or from a server that does not sign: one that does refuses it.
fn is_sent(block: &Block) -> bool {
    let is_unsigned = block.as_thinking().is_some() && !block.is_signed_thinking();
    block.as_beside().is_none() && !is_unsigned
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
                map.serialize_entry("id", &as_id(id, is_plain))?;
                map.serialize_entry("name", &as_name(name))?;
                map.serialize_entry("input", &as_object(input))?;
                Some(more)
            }
            Block::ToolResult { tool_use_id, content, is_error } => {
                let content = content.iter().map(|block| WireBlock { block, cache_control: None });
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", &as_id(tool_use_id, is_plain))?;
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
        for (key, value) in more.into_iter().flatten().filter(|(key, _)| *key != CHAT) {
            map.serialize_entry(key, value)?;
        }
        if let Some(mark) = &self.cache_control {
            map.serialize_entry("cache_control", mark)?;
        }
        map.end()
    }
}

/// A plain reply, and its text, since some blocks are kept byte for byte.
pub(super) fn reply(answer: &Value, text: &str) -> Result<Reply, String> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let is_message = answer["type"] == "message" || answer["role"] == "assistant";
    if !answer["content"].is_array() && !is_message {
        return Err("no `content`".into());
    }
    let content = serde_json::from_str(text).map_or("null", |Answer { content }| content.get());
    let blocks: Vec<Box<RawValue>> = match serde_json::from_str(content) {
        Ok(blocks) => blocks,
        // A text that stands for one block, or nothing.
        Err(_) => serde_json::from_str(content).into_iter().collect(),
    };
    let message = Message::assistant(blocks.into_iter().map(Block::from_wire).collect());
    let mut usage = Usage::default();
    usage.update(&answer["usage"]);
    let calls = !message.calls().is_empty();
    let stop = stop(&answer["stop_reason"], &answer["stop_details"], calls, false);
    Ok(Reply { message: message.into(), usage, stop })
}

/// Events into deltas. Events and deltas of unknown types are skipped, as the API asks its clients
/// to.
#[derive(Default)]
pub(super) struct Decoder {
    usage: Usage,
    /// The blocks that are open: the server's index, ours, and whether it is a call.
    open: Vec<(u64, usize, bool)>,
    /// How many blocks were opened, and whether calls are among them.
    opened: usize,
    calls: bool,
    /// The newest `message_delta` that gave a reason.
    end: Value,
    ended: bool,
}

impl Decode for Decoder {
    fn event(&mut self, event: &Value) -> Vec<Delta> {
        let newest = self.open.last().map_or(self.opened as u64, |(theirs, ..)| *theirs);
        let index = event["index"].as_u64();
        match event["type"].as_str().unwrap_or("") {
            "message_start" => self.count(&event["message"]["usage"]),
            // What is no block here is opened by its first delta.
            "content_block_start" if event["content_block"]["type"].is_string() => {
                self.start(index.unwrap_or(self.opened as u64), &event["content_block"])
            }
            "content_block_delta" => self.delta(index.unwrap_or(newest), &event["delta"]),
            "content_block_stop" => self.close(index.unwrap_or(newest)),
            "message_delta" => {
                let reason = event["delta"]["stop_reason"].as_str();
                if reason.is_some_and(|reason| !reason.is_empty()) {
                    self.end = event["delta"].clone();
                }
                self.count(&event["usage"])
            }
            "message_stop" => self.finish(),
            _ => vec![],
        }
    }

    fn ended(&self) -> bool {
        self.ended
    }

    /// Some servers leave `message_stop` out.
    fn end(&mut self) -> Option<Vec<Delta>> {
        (!self.end.is_null()).then(|| self.finish())
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

    fn start(&mut self, theirs: u64, block: &Value) -> Vec<Delta> {
        let mut deltas = self.close(theirs);
        let (index, block) = (self.opened, Block::from_value(block));
        let is_call = matches!(block, Block::ToolUse { .. });
        self.opened += 1;
        self.calls |= is_call;
        self.open.push((theirs, index, is_call));
        deltas.push(Delta::Open { index, block });
        deltas
    }

    fn delta(&mut self, theirs: u64, delta: &Value) -> Vec<Delta> {
        let kind = delta["type"].as_str().unwrap_or("");
        let block = match kind {
            "text_delta" | "citations_delta" => json!({"type": "text", "text": ""}),
            "thinking_delta" | "signature_delta" => {
                json!({"type": "thinking", "thinking": "", "signature": ""})
            }
            "input_json_delta" => json!({"type": "tool_use"}),
            _ => return vec![],
        };
        let is_open = self.open.iter().any(|(index, ..)| *index == theirs);
        let mut deltas = if is_open { vec![] } else { self.start(theirs, &block) };
        let Some((_, index, _)) = self.open.iter().find(|(index, ..)| *index == theirs) else {
            return deltas;
        };
        let (index, word) = (*index, |key: &str| delta[key].as_str().unwrap_or("").to_string());
        deltas.push(match kind {
            "text_delta" => Delta::Text { index, text: word("text") },
            "thinking_delta" => Delta::Thinking { index, text: word("thinking") },
            "signature_delta" => Delta::Signature { index, signature: word("signature") },
            "input_json_delta" => Delta::Arguments { index, json: word("partial_json") },
            _ => Delta::Citation { index, citation: delta["citation"].clone() },
        });
        deltas
    }

    fn close(&mut self, theirs: u64) -> Vec<Delta> {
        let closed = self.open.extract_if(.., |(index, ..)| *index == theirs);
        closed.map(|(_, index, _)| Delta::Close { index }).collect()
    }

    /// A call that was never closed may be incomplete.
    fn finish(&mut self) -> Vec<Delta> {
        self.ended = true;
        let is_open = self.open.iter().any(|(.., is_call)| *is_call);
        let closed = self.open.drain(..).map(|(_, index, _)| Delta::Close { index });
        let mut deltas: Vec<Delta> = closed.collect();
        let end = &self.end;
        deltas.push(Delta::Stop(
            match stop(&end["stop_reason"], &end["stop_details"], self.calls, false) {
                StopReason::ToolUse | StopReason::StopSequence | StopReason::PauseTurn
                    if is_open =>
                {
                    StopReason::Cut("a call in it has no end".into())
                }
                stop => stop,
            },
        ));
        deltas
    }
}
