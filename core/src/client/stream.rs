//! Streams: the bytes of a response into events, the events into [`Delta`]s, and these into a reply.
use super::http::{Http, MAX_REPLY_BYTES, chain};
use super::{Delta, Deltas, Reply};
use crate::{Block, Error, Message, Result};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use reqwest::{Response, header::HeaderMap};
use serde_json::{Map, Value};
use sse_stream::SseByteStream;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::time::timeout;

/// The end of a chat completion: the only event that is no JSON.
pub(super) const DONE: &str = "[DONE]";
/// How the lines of an event stream begin; a comment has no name.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"retry:", b"id:", b":"];
/// How many bytes tell an event stream from anything else.
pub(super) const ENOUGH: usize = 6;

/// What turns the events of a stream into [`Delta`]s.
pub(super) trait Decode: Send {
    /// One event; [`DONE`] as a string. What makes no sense is skipped.
    fn event(&mut self, event: &Value) -> Vec<Delta>;
    /// Whether the last event has come.
    fn ended(&self) -> bool;
    /// What completes the reply, if the bytes end without a last event.
    fn end(&mut self) -> Option<Vec<Delta>>;
}

/// Without the byte order mark and the blanks that it may begin with.
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

/// Whether these bytes begin an event stream, whatever they are announced as.
pub(super) fn is_events(bytes: &[u8]) -> bool {
    FIELDS.iter().any(|field| trimmed(bytes).starts_with(field))
}

/// The deltas of an event stream, to its end: bytes that stop before the last event are an error.
pub(super) fn deltas(text: ByteStream, decoder: Box<dyn Decode>, http: Arc<Http>) -> Deltas {
    let decoding = Decoding { events: SseByteStream::new(text), decoder, http, seen: 0 };
    let steps = stream::try_unfold(decoding, |mut decoding| async {
        Ok(decoding.next().await?.map(|deltas| (deltas, decoding)))
    });
    steps.map_ok(|deltas| stream::iter(deltas.into_iter().map(Ok))).try_flatten().boxed()
}

pub(super) type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// The bytes of a response; one that falls silent for longer than `idle` ends with an error.
pub(super) fn bytes(response: Response, idle: Duration) -> ByteStream {
    let body = response.bytes_stream().boxed();
    let parts = stream::try_unfold((body, 0), move |(mut body, mut length)| async move {
        match timeout(idle, body.next()).await {
            Ok(Some(Ok(part))) => {
                length += part.len();
                if length > MAX_REPLY_BYTES {
                    return Err(io::Error::other("it is larger than any reply can be"));
                }
                Ok(Some((part, (body, length))))
            }
            Ok(Some(Err(error))) => Err(io::Error::other(chain(&error))),
            Ok(None) => Ok(None),
            Err(_) => Err(io::Error::other(format!("nothing came for {} s", idle.as_secs_f32()))),
        }
    });
    parts.boxed()
}

/// The same bytes as whole characters, U+FFFD in place of what is none. A last event that no blank
/// line ends gets one.
pub(super) fn text(bytes: ByteStream) -> ByteStream {
    let end = stream::iter([Ok(Bytes::from_static(b"\n\n"))]);
    let whole = bytes.chain(end).scan(vec![], |cut: &mut Vec<u8>, part| {
        let text = part.map(|part| {
            cut.extend_from_slice(&part);
            // The bytes of the last character, if more of it may come.
            let rest = cut.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
            let rest = cut.split_off(cut.len() - rest);
            let text = String::from_utf8_lossy(cut).into_owned();
            *cut = rest;
            Bytes::from(text)
        });
        std::future::ready(Some(text))
    });
    whole.boxed()
}

/// A stream as far as it has been read.
struct Decoding {
    events: SseByteStream<ByteStream>,
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
        let (http, seen) = (&self.http, self.seen);
        let malformed = |why: &dyn std::fmt::Display| {
            http.unreadable(format!("event {} of the stream is malformed: {why}", seen + 1))
        };
        let event = match self.events.next().await {
            Some(Ok(event)) => event,
            end => {
                // A connection that breaks after the whole reply takes nothing away.
                if let Some(deltas) = self.decoder.end() {
                    return Ok(Some(deltas));
                }
                return Err(match end {
                    Some(Err(sse_stream::Error::Body(why))) => {
                        http.net(format!("the stream was cut after {seen} events: {why}"))
                    }
                    Some(Err(error)) => malformed(&error),
                    _ => http.unreadable(format!(
                        "the stream was cut after {seen} events, before its end"
                    )),
                });
            }
        };
        self.seen += 1;
        let event = match event.data.as_deref().unwrap_or("").trim() {
            "" => return Ok(Some(vec![])),
            DONE => Value::from(DONE),
            data => serde_json::from_str(&rungs_json::well_formed(data.as_bytes()))
                .map_err(|error| malformed(&error))?,
        };
        if event["error"].is_null() {
            return Ok(Some(self.decoder.event(&event)));
        }
        let mut error = http.api(status_of(&event["error"]), &event, &HeaderMap::new());
        if let Error::Api { message, .. } = &mut error {
            message.push_str(" (in the middle of its reply)");
        }
        Err(error)
    }
}

/// An error inside a stream has no status of its own: one that it names, or its kind, stands for
/// one (api/errors).
fn status_of(error: &Value) -> u16 {
    let said = error["code"].as_u64().or(error["status"].as_u64());
    if let Some(status) = said.and_then(|status| status.try_into().ok()) {
        return status;
    }
    match error["type"].as_str() {
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

impl Reply {
    /// A reply put together from its deltas.
    ///
    /// # Errors
    /// The one that cut them short.
    pub async fn from_deltas(mut deltas: Deltas) -> Result<Reply> {
        let mut reply = Reply::new(vec![]);
        let mut blocks: BTreeMap<usize, (Block, Pieces)> = BTreeMap::new();
        while let Some(delta) = deltas.try_next().await? {
            match delta {
                Delta::Open { index, block } => {
                    blocks.insert(index, (block, Pieces::default()));
                }
                Delta::Text { index, text: piece }
                | Delta::Thinking { index, text: piece }
                | Delta::Arguments { index, json: piece } => {
                    blocks.entry(index).and_modify(|(_, pieces)| pieces.text.push_str(&piece));
                }
                Delta::Signature { index, signature } => {
                    blocks.entry(index).and_modify(|(_, p)| p.signature.push_str(&signature));
                }
                Delta::Citation { index, citation } => {
                    blocks.entry(index).and_modify(|(_, p)| p.citations.push(citation));
                }
                Delta::Close { .. } => {}
                Delta::Usage(usage) => reply.usage = usage,
                Delta::Stop(stop) => reply.stop = stop,
            }
        }
        let content = blocks.into_values().map(|(block, pieces)| pieces.complete(block)).collect();
        reply.message = Message::assistant(content).into();
        Ok(reply)
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
            Block::ToolUse { id, name, more, .. } => {
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
