//! JSON in an event stream.
use crate::well_formed;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use std::io;

/// How the lines of an event stream begin; a comment has no name.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"retry:", b"id:", b":"];
/// The byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes tell an event stream from anything else.
const ENOUGH: usize = 6;

/// Bytes as they arrive, and what cuts them short.
pub type Body = BoxStream<'static, io::Result<Bytes>>;

/// Why an event stream goes on no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// The bytes were cut.
    Cut(String),
    /// This event is no JSON.
    Malformed(String),
}

/// Without the byte order mark and the blanks that bytes may begin with.
fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_start()
}

/// Whether these bytes begin an event stream, whatever they are announced as.
pub fn is_events(bytes: &[u8]) -> bool {
    FIELDS.iter().any(|field| trimmed(bytes).starts_with(field))
}

/// The same bytes, and whether they are an event stream: what is cut before that can be told counts
/// as one.
pub async fn sniffed(mut body: Body) -> (Body, bool) {
    let (mut start, mut end) = (BytesMut::new(), None);
    while trimmed(&start).len() < ENOUGH && end.is_none() {
        match body.next().await {
            Some(Ok(part)) => start.extend_from_slice(&part),
            Some(error) => end = Some(error),
            None => break,
        }
    }
    let is_events = is_events(&start) || trimmed(&start).is_empty();
    let parts = stream::iter([Ok(start.freeze())]).chain(stream::iter(end));
    (parts.chain(body).boxed(), is_events)
}

/// Events, until one cannot be read.
pub type Events = BoxStream<'static, Result<Value, EventError>>;

/// The events with data, as JSON; a text that is named by `word`, which some streams end with, as a
/// string. A last event is one even if no blank line ends it.
pub fn events(bytes: Body, word: &'static str) -> Events {
    let events = SseByteStream::new(text(bytes));
    events.filter_map(move |event| std::future::ready(data(event, word))).boxed()
}

fn data(event: Result<Sse, sse_stream::Error>, word: &str) -> Option<Result<Value, EventError>> {
    let event = match event {
        Ok(event) => event,
        Err(sse_stream::Error::Body(why)) => return Some(Err(EventError::Cut(why.to_string()))),
        Err(error) => return Some(Err(EventError::Malformed(error.to_string()))),
    };
    match event.data.as_deref().unwrap_or("").trim() {
        "" => None,
        data if data == word => Some(Ok(word.into())),
        data => {
            let read = serde_json::from_str(&well_formed(data.as_bytes()));
            Some(read.map_err(|error| EventError::Malformed(error.to_string())))
        }
    }
}

/// The same bytes as whole characters, U+FFFD for what is none, and a blank line at the end.
fn text(bytes: Body) -> Body {
    // The lines may begin after blanks.
    let mut begun = false;
    let bytes = bytes.map_ok(move |mut part| {
        if !begun {
            part = part.slice_ref(trimmed(&part));
            begun = !part.is_empty();
        }
        part
    });
    let end = stream::iter([Ok(Bytes::from_static(b"\n\n"))]);
    let text = bytes.chain(end).scan(vec![], |kept: &mut Vec<u8>, part| {
        let text = part.map(|part| {
            kept.extend_from_slice(&part);
            // The last character may not have arrived in whole.
            let rest = kept.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
            let rest = kept.split_off(kept.len() - rest);
            let whole = std::mem::replace(kept, rest);
            Bytes::from(String::from_utf8_lossy(&whole).into_owned())
        });
        std::future::ready(Some(text))
    });
    text.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The events of these bytes, which arrive in parts of this size.
    async fn read(bytes: &[u8], size: usize) -> Vec<Result<Value, EventError>> {
        let parts: Vec<io::Result<Bytes>> =
            bytes.chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        events(stream::iter(parts).boxed(), "END").collect().await
    }

    #[tokio::test]
    async fn events_are_read_wherever_their_bytes_are_parted() {
        let bytes = ": hello\r\n\r\nevent: a\r\ndata: {\"a\":\r\ndata: \"\u{e4}\u{20ac}\u{1f600}\"}\
                     \r\n\r\nid: 1\n\ndata:\n\ndata:{\"b\":\"\\ud83d\"}\n\ndata: END";
        for size in 1..=bytes.len() {
            let expected = [json!({"a": "ä€😀"}), json!({"b": "\u{fffd}"}), json!("END")];
            assert_eq!(read(bytes.as_bytes(), size).await, expected.map(Ok), "{size}");
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_characters_are_replaced() {
        for size in 1..20 {
            let events = read(b"data: \"a\xff\xe2\x82b\"\n\ndata: \"c\xe2", size).await;
            assert_eq!(events[0], Ok(json!("a\u{fffd}\u{fffd}b")), "{size}");
            assert!(matches!(events[1..], [Err(EventError::Malformed(_))]), "{events:?}");
        }
    }

    #[test]
    fn a_stream_is_known_by_its_first_line() {
        for stream in ["data: 1", "\u{feff}\r\n event:x", ": ping", "\n\nid: 1", "retry: 1"] {
            assert!(is_events(stream.as_bytes()), "{stream:?}");
        }
        for other in ["", "{\"data:\": 1}", "<html>", "database: down", "[]"] {
            assert!(!is_events(other.as_bytes()), "{other:?}");
        }
    }
}
