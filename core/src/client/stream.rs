//! Streams: the bytes of a response into events, the events into [`Delta`]s.
use super::http::Http;
use super::{Delta, Deltas};
use crate::{Error, Result};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use reqwest::{Response, header::HeaderMap};
use rungs_http::{cause, header};
use serde_json::Value;
use sse_stream::SseByteStream;
use std::{io, sync::Arc, time::Duration};
use tokio::time::timeout;

/// The end of a chat completion: the only event that is no JSON.
pub(super) const DONE: &str = "[DONE]";

/// What turns the events of a stream into [`Delta`]s.
pub(super) trait Decode: Send {
    /// One event; [`DONE`] as a string. `Err` is what the server, or the event itself, says went
    /// wrong.
    fn event(&mut self, event: Value) -> Result<Vec<Delta>, Broken>;
    /// Whether the last event has come.
    fn ended(&self) -> bool;
    /// Whether the reply is complete, should the server close without a last event.
    fn complete(&self) -> bool {
        self.ended()
    }
}

/// How a stream can go wrong from within.
pub(super) enum Broken {
    /// The server sent an error event.
    Api { status: u16, body: Value },
    /// The event makes no sense.
    Event(String),
}

/// The deltas of a response, to its end: bytes that stop before the last event are an error.
pub(super) fn deltas(
    response: Response,
    decoder: Box<dyn Decode>,
    http: Arc<Http>,
) -> Result<Deltas> {
    let kind = header(response.headers(), "content-type").unwrap_or("nothing");
    if !kind.to_ascii_lowercase().starts_with("text/event-stream") {
        // Mostly a proxy's error page.
        return Err(http.unreadable(format!(
            "it answered with {kind} where a stream was asked for; is the base URL that of the API?"
        )));
    }
    let limits = &http.endpoint.limits;
    let events = SseByteStream::new(bytes(response, limits.first_byte, limits.idle));
    let decoding = Decoding { events, decoder, http, seen: 0 };
    let steps = stream::try_unfold(decoding, |mut decoding| async {
        Ok(decoding.next().await?.map(|deltas| (deltas, decoding)))
    });
    Ok(steps.map_ok(|deltas| stream::iter(deltas.into_iter().map(Ok))).try_flatten().boxed())
}

type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// The bytes of a response; one that falls silent for longer than `idle`, or than `first` at its
/// beginning, ends with an error.
fn bytes(response: Response, first: Duration, idle: Duration) -> ByteStream {
    let body = response.bytes_stream().boxed();
    stream::try_unfold((body, first), move |(mut body, limit)| async move {
        match timeout(limit, body.next()).await {
            Ok(Some(Ok(part))) => Ok(Some((part, (body, idle)))),
            Ok(Some(Err(error))) => Err(io::Error::other(cause(&error))),
            Ok(None) => Ok(None),
            Err(_) => Err(io::Error::other(format!("nothing came for {} s", limit.as_secs_f32()))),
        }
    })
    .boxed()
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
            // A connection that breaks after the whole reply takes nothing away.
            _ if self.decoder.complete() => return Ok(None),
            Some(Err(sse_stream::Error::Body(why))) => {
                return Err(http.net(format!("the stream was cut after {seen} events: {why}")));
            }
            Some(Err(error)) => return Err(malformed(&error)),
            None => {
                let why = format!("the stream was cut after {seen} events, before its end");
                return Err(http.unreadable(why));
            }
        };
        self.seen += 1;
        let event = match event.data.as_deref().unwrap_or("").trim() {
            "" => return Ok(Some(vec![])),
            DONE => Value::from(DONE),
            data => serde_json::from_str(data).map_err(|error| malformed(&error))?,
        };
        match self.decoder.event(event) {
            Ok(deltas) => Ok(Some(deltas)),
            Err(Broken::Event(why)) => Err(malformed(&why)),
            Err(Broken::Api { status, body }) => {
                let mut error = http.api(status, &body, &HeaderMap::new());
                if let Error::Api { message, .. } = &mut error {
                    message.push_str(" (in the middle of its reply)");
                }
                Err(error)
            }
        }
    }
}
