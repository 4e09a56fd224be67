//! Streams: the bytes of a response into events, these into [`Delta`]s, and these into a reply.
use super::http::{Http, MAX_REPLY_BYTES};
use super::{Delta, Deltas, Limits, Reply, StopReason, Usage};
use crate::{Block, Error, Message, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Response, header::HeaderMap};
use rungs_http::{cause, reported, status_of};
use rungs_json::{Body, EventError, Events};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, io, sync::Arc};
use tokio::time::timeout;

/// The end of a chat completion: the only event that is no JSON.
pub(super) const DONE: &str = "[DONE]";

/// What turns the events of a stream into [`Delta`]s.
pub(super) trait Decode: Send {
    /// One event; [`DONE`] as a string. What makes no sense is skipped.
    fn event(&mut self, event: &Value) -> Vec<Delta>;
    /// Whether the last event has come.
    fn ended(&self) -> bool;
    /// What completes the reply, if the bytes end without a last event.
    fn end(&mut self) -> Option<Vec<Delta>>;
}

/// The deltas of an event stream, to its end: bytes that stop before the last event are an error.
pub(super) fn deltas(body: Body, decoder: Box<dyn Decode>, http: Arc<Http>) -> Deltas {
    let events = rungs_json::events(body, DONE);
    let decoding = Decoding { events, decoder, http, seen: 0 };
    let steps = stream::try_unfold(decoding, |mut decoding| async {
        Ok(decoding.next().await?.map(|deltas| (deltas, decoding)))
    });
    steps.map_ok(|deltas| stream::iter(deltas.into_iter().map(Ok))).try_flatten().boxed()
}

/// How much of a stream is read: around each piece of a reply there may be a few hundred bytes.
const MAX_STREAM_BYTES: usize = 1 << 30;

/// The bytes of a response; one that falls silent for too long ends with an error. What must be
/// held to read it is a line, which is no longer than a whole reply.
pub(super) fn bytes(response: Response, limits: &Limits) -> Body {
    let (body, idle) = (response.bytes_stream().boxed(), limits.idle);
    let begin = (body, 0, 0, limits.first_byte);
    let parts = stream::try_unfold(begin, move |(mut body, mut all, mut line, limit)| async move {
        match timeout(limit, body.next()).await {
            Ok(Some(Ok(part))) => {
                all += part.len();
                line = match part.iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => part.len() - end,
                    None => line + part.len(),
                };
                if line > MAX_REPLY_BYTES || all > MAX_STREAM_BYTES {
                    return Err(io::Error::other("it is larger than any reply can be"));
                }
                Ok(Some((part, (body, all, line, idle))))
            }
            Ok(Some(Err(error))) => Err(io::Error::other(cause(&error))),
            Ok(None) => Ok(None),
            Err(_) => Err(io::Error::other(format!("nothing came for {} s", limit.as_secs_f32()))),
        }
    });
    parts.boxed()
}

/// A stream as far as it has been read.
struct Decoding {
    events: Events,
    decoder: Box<dyn Decode>,
    http: Arc<Http>,
    /// How many events were read.
    seen: usize,
}

impl Decoding {
    /// The deltas of the next event; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Vec<Delta>>> {
        if self.decoder.ended() {
            return Ok(None);
        }
        let event = match self.events.next().await {
            Some(Ok(event)) => event,
            end => {
                // What breaks after the whole reply takes nothing away.
                if let Some(deltas) = self.decoder.end() {
                    return self.whole(deltas);
                }
                let seen = self.seen;
                return Err(self.http.net(match end {
                    Some(Err(EventError::Cut(why))) => {
                        format!("the stream was cut after {seen} events: {why}")
                    }
                    Some(Err(EventError::Malformed(why))) => {
                        format!("event {} of the stream is malformed: {why}", seen + 1)
                    }
                    _ => format!("the stream ended after {seen} events, without its last one"),
                }));
            }
        };
        self.seen += 1;
        let Some(error) = reported(&event) else {
            let deltas = self.decoder.event(&event);
            return self.whole(deltas);
        };
        let status = status_of(error).unwrap_or(500);
        let mut error = self.http.api(status, &event, &HeaderMap::new());
        if let Error::Api { message, .. } = &mut error {
            message.push_str(" (in the middle of its reply)");
        }
        Err(error)
    }

    /// These deltas, unless they end a reply that is not whole.
    fn whole(&self, deltas: Vec<Delta>) -> Result<Option<Vec<Delta>>> {
        match deltas.last() {
            Some(Delta::Stop(StopReason::Cut(why))) => {
                Err(self.http.net(format!("the reply broke off: {why}")))
            }
            _ => Ok(Some(deltas)),
        }
    }
}

impl Reply {
    /// A reply put together from its deltas.
    ///
    /// # Errors
    /// The one that cut them short.
    pub async fn from_deltas(mut deltas: Deltas) -> Result<Reply> {
        let mut reply = PartialReply::default();
        while let Some(delta) = deltas.try_next().await? {
            reply.add(delta);
        }
        Ok(reply.complete())
    }
}

/// A reply that is put together from its deltas.
#[derive(Default)]
pub struct PartialReply {
    blocks: BTreeMap<usize, (Block, Pieces)>,
    usage: Usage,
    stop: StopReason,
}

impl PartialReply {
    /// Adds the next one.
    pub fn add(&mut self, delta: Delta) {
        match delta {
            Delta::Open { index, block } => {
                self.blocks.insert(index, (block, Pieces::default()));
            }
            Delta::Text { index, text: piece }
            | Delta::Thinking { index, text: piece }
            | Delta::Arguments { index, json: piece } => {
                self.blocks.entry(index).and_modify(|(_, pieces)| pieces.text.push_str(&piece));
            }
            Delta::Signature { index, signature } => {
                self.blocks.entry(index).and_modify(|(_, p)| p.signature.push_str(&signature));
            }
            Delta::Citation { index, citation } => {
                self.blocks.entry(index).and_modify(|(_, p)| p.citations.push(citation));
            }
            Delta::Close { .. } => {}
            Delta::Usage(usage) => self.usage = usage,
            Delta::Stop(stop) => self.stop = stop,
        }
    }

    /// The reply as far as it has come.
    pub fn complete(self) -> Reply {
        let blocks = self.blocks.into_values();
        let content = blocks.map(|(block, pieces)| pieces.complete(block)).collect();
        let message = Message::assistant(content).into();
        Reply { message, usage: self.usage, stop: self.stop }
    }
}

/// What the deltas add to a block.
#[derive(Default)]
struct Pieces {
    text: String,
    signature: String,
    citations: Vec<Value>,
}

impl Pieces {
    fn complete(self, block: Block) -> Block {
        match block {
            Block::Text { text, origin, mut more } => {
                if !self.citations.is_empty() {
                    more.insert("citations".into(), self.citations.into());
                }
                Block::Text { text: text + &self.text, origin, more }
            }
            Block::ToolUse { id, name, more, .. } if !self.text.is_empty() => {
                Block::ToolUse { id, name, input: rungs_json::arguments(&self.text), more }
            }
            Block::Other(raw) if !(self.text.is_empty() && self.signature.is_empty()) => {
                let mut fields: Map<String, Value> =
                    serde_json::from_str(raw.get()).unwrap_or_default();
                if fields.contains_key("input") {
                    // A call of one of the server's own tools.
                    fields.insert("input".into(), rungs_json::arguments(&self.text));
                } else {
                    fields.insert("thinking".into(), self.text.into());
                    fields.insert("signature".into(), self.signature.into());
                }
                Block::from_value(&fields.into())
            }
            block => block,
        }
    }
}
