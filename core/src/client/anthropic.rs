//! The Messages API: a request as its bytes, a reply from its bytes, and the events of a stream.
use super::{Broken, Decode, Delta, Endpoint, Lifetime, Mark, Place, Reply, Request, Stop, Usage};
use crate::{Block, Message, Role, ToolSpec};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};
use serde_json::{Map, Value, json};
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

fn marked(mut block: Value, lifetime: Option<Lifetime>) -> Value {
    match lifetime {
        Some(Lifetime::FiveMinutes) => block["cache_control"] = json!({"type": "ephemeral"}),
        Some(Lifetime::Hour) => block["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"}),
        None => {}
    }
    block
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
    let mut seq = s.serialize_seq(Some(messages.len()))?;
    for (i, message) in messages.iter().enumerate() {
        let marks: Vec<(usize, Lifetime)> = marks.iter().filter_map(|m| block_of(m, i)).collect();
        if marks.is_empty() {
            seq.serialize_element(message)?;
        } else {
            seq.serialize_element(&Marked {
                role: message.role,
                content: (&message.content, marks),
            })?;
        }
    }
    seq.end()
}

fn block_of(mark: &Mark, in_message: usize) -> Option<(usize, Lifetime)> {
    match mark.place {
        Place::Block { message, block } if message == in_message => Some((block, mark.lifetime)),
        _ => None,
    }
}

/// A message of which some blocks carry a cache mark.
#[derive(Serialize)]
struct Marked<'a> {
    role: Role,
    #[serde(serialize_with = "marked_blocks")]
    content: (&'a [Block], Vec<(usize, Lifetime)>),
}

fn marked_blocks<S: Serializer>(
    (blocks, marks): &(&[Block], Vec<(usize, Lifetime)>),
    s: S,
) -> Result<S::Ok, S::Error> {
    let mut seq = s.serialize_seq(Some(blocks.len()))?;
    for (i, block) in blocks.iter().enumerate() {
        let mark = marks.iter().find(|(at, _)| *at == i).map(|(_, lifetime)| *lifetime);
        // Thinking can't carry a mark, and must keep its bytes.
        match (mark, block) {
            (None, _) | (_, Block::Other(_)) => seq.serialize_element(block)?,
            _ => seq.serialize_element(&marked(json!(block), mark))?,
        }
    }
    seq.end()
}

/// A plain reply.
pub(super) fn reply(bytes: &[u8]) -> Result<Reply, String> {
    #[derive(Deserialize)]
    struct Answer {
        content: Vec<Block>,
        #[serde(default)]
        usage: Value,
        stop_reason: Option<String>,
        #[serde(default)]
        stop_details: Value,
    }
    let answer: Answer = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut usage = Usage::default();
    usage.update(&answer.usage);
    Ok(Reply {
        message: Arc::new(Message::assistant(answer.content)),
        usage,
        stop: stop(answer.stop_reason.as_deref().unwrap_or("end_turn"), &answer.stop_details),
    })
}

fn stop(reason: &str, details: &Value) -> Stop {
    match reason {
        "end_turn" => Stop::EndTurn,
        "tool_use" => Stop::ToolUse,
        "max_tokens" => Stop::MaxTokens,
        "stop_sequence" => Stop::StopSequence,
        "pause_turn" => Stop::PauseTurn,
        "refusal" => Stop::Refusal { category: details["category"].as_str().unwrap_or("").into() },
        "model_context_window_exceeded" => Stop::WindowFull,
        other => Stop::Other(other.into()),
    }
}

/// Events into deltas. Events and deltas of unknown types are skipped, as the API asks its clients to.
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
    /// `message_delta` counts from the start of the message, not from the event before: the figures replace. What it
    /// leaves out stays as `message_start` said.
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
