//! How the bytes of a response are sent: at once, in small pieces, or not to the end.
use crate::{
    api_error::{ApiError, WireFormat},
    messages,
    script::fault::FaultKind,
};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    name: Option<String>,
    data: String,
}

impl Event {
    pub(crate) fn named(name: &str, data: String) -> Self {
        Event { name: Some(name.to_string()), data }
    }

    pub(crate) fn unnamed(data: String) -> Self {
        Event { name: None, data }
    }

    fn text(&self) -> String {
        match &self.name {
            Some(name) => format!("event: {name}\ndata: {}\n\n", self.data),
            None => format!("data: {}\n\n", self.data),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    Send(Bytes),
    /// What was sent before reaches the client before the next step.
    Flush,
    Wait(Duration),
    /// The connection is cut.
    Cut,
    /// Nothing more happens until the client leaves.
    Stall,
}

/// The body of a response. It needs no task of its own, so it ends with its connection.
#[derive(Debug, Default)]
pub(crate) struct ResponseBody {
    steps: VecDeque<Step>,
    wait: Option<Pin<Box<Sleep>>>,
    /// Whether the response has a `content-length`.
    sized: bool,
}

impl ResponseBody {
    /// A body that is sent at once.
    pub(crate) fn whole(text: impl Into<Bytes>) -> Self {
        ResponseBody { steps: [Step::Send(text.into())].into(), wait: None, sized: true }
    }

    /// A body that is no stream, with a fault.
    pub(crate) fn with_fault(text: String, fault: &FaultKind) -> Self {
        let mut bytes = Bytes::from(text);
        let half = bytes.len() / 2;
        let steps = match fault {
            FaultKind::Cut { .. } => {
                vec![Step::Send(bytes.split_to(half)), Step::Flush, Step::Cut]
            }
            FaultKind::CutBytes { after } => {
                let part = bytes.split_to(bytes.len().min(*after));
                vec![Step::Send(part), Step::Flush, Step::Cut]
            }
            FaultKind::Stall { .. } => {
                vec![Step::Send(bytes.split_to(half)), Step::Flush, Step::Stall]
            }
            FaultKind::End { .. } | FaultKind::Malformed { .. } => {
                vec![Step::Send(bytes.split_to(half))]
            }
            FaultKind::Split { bytes: size } => split(&bytes, *size),
            FaultKind::Status(_)
            | FaultKind::ErrorEvent { .. }
            | FaultKind::CutArguments { .. }
            | FaultKind::Body { .. }
            | FaultKind::Unknown { .. } => return ResponseBody::whole(bytes),
        };
        ResponseBody { steps: steps.into(), ..ResponseBody::default() }
    }

    /// A stream of events, so far apart.
    pub(crate) fn stream(
        events: Vec<Event>,
        fault: Option<&FaultKind>,
        format: WireFormat,
        request_id: &str,
        pace: Duration,
    ) -> Self {
        let (events, end) = events_with_fault(events, fault, format, request_id);
        let (mut steps, mut sent) = (VecDeque::new(), 0);
        for event in events {
            if !pace.is_zero() && !steps.is_empty() {
                steps.push_back(Step::Wait(pace));
            }
            let mut bytes = Bytes::from(event.text());
            sent += bytes.len();
            match fault {
                Some(FaultKind::CutBytes { after }) if sent >= *after => {
                    bytes.truncate(bytes.len() + after - sent);
                    steps.extend([Step::Send(bytes), Step::Flush, Step::Cut]);
                    break;
                }
                Some(FaultKind::Split { bytes: size }) => steps.extend(split(&bytes, *size)),
                _ => steps.push_back(Step::Send(bytes)),
            }
        }
        steps.extend(end);
        ResponseBody { steps, ..ResponseBody::default() }
    }
}

fn split(bytes: &Bytes, size: usize) -> Vec<Step> {
    bytes
        .chunks(size)
        .flat_map(|piece| [Step::Send(Bytes::copy_from_slice(piece)), Step::Flush])
        .collect()
}

/// The events with the fault among them, and the steps that end the stream.
fn events_with_fault(
    mut events: Vec<Event>,
    fault: Option<&FaultKind>,
    format: WireFormat,
    request_id: &str,
) -> (Vec<Event>, Vec<Step>) {
    match fault {
        Some(FaultKind::Cut { after }) => {
            events.truncate(*after);
            return (events, vec![Step::Flush, Step::Cut]);
        }
        Some(FaultKind::End { after }) => events.truncate(*after),
        Some(FaultKind::Stall { after }) => {
            events.truncate(*after);
            return (events, vec![Step::Flush, Step::Stall]);
        }
        Some(FaultKind::ErrorEvent { kind, message, after }) => {
            events.truncate(*after);
            let error =
                ApiError::in_stream(kind, message.as_deref()).body(format, request_id).to_string();
            events.push(match format {
                WireFormat::Messages => Event::named("error", error),
                WireFormat::Chat => Event::unnamed(error),
            });
        }
        Some(FaultKind::Malformed { after }) => {
            let name = events.get(*after).and_then(|event| event.name.clone());
            let place = (*after).min(events.len());
            events.insert(place, Event { name, data: "{\"type\": ".into() });
        }
        Some(FaultKind::Unknown { after }) => {
            let place = (*after).min(events.len());
            match format {
                WireFormat::Messages => insert_unknown_events(&mut events, place),
                WireFormat::Chat => insert_unknown_chunks(&mut events, place),
            }
        }
        Some(
            FaultKind::Split { .. }
            | FaultKind::CutBytes { .. }
            | FaultKind::CutArguments { .. }
            | FaultKind::Status(_)
            | FaultKind::Body { .. },
        )
        | None => {}
    }
    (events, vec![])
}

/// Inserts an event and a delta of unknown types, which every client must skip.
fn insert_unknown_events(events: &mut Vec<Event>, place: usize) {
    let starts = |event: &Event| event.name.as_deref() == Some("content_block_start");
    // A delta belongs to a block: to the next one, or else to the last.
    let next = events.iter().skip(place).position(starts).map(|next| next + place);
    if let Some(start) = next.or_else(|| events.iter().rposition(starts)) {
        let index = &events[start].json()["index"];
        let delta = json!({"type": "rehearsal_delta", "note": "skip me"});
        let unknown = json!({"type": "content_block_delta", "index": index, "delta": delta});
        events.insert(start + 1, messages::response::event(&unknown));
    }
    let unknown = json!({"type": "rehearsal_event", "note": "skip me"});
    events.insert(place, messages::response::event(&unknown));
}

/// Inserts a chunk without a choice and a delta with an unknown key, as some servers send them.
fn insert_unknown_chunks(events: &mut Vec<Event>, place: usize) {
    // The first chunk names the role.
    let place = place.max(1).min(events.len());
    let mut chunk = events.first().map_or(Value::Null, Event::json);
    chunk["choices"] =
        json!([{"index": 0, "delta": {"rehearsal_delta": "skip me"}, "finish_reason": null}]);
    events.insert(place, Event::unnamed(chunk.to_string()));
    chunk["choices"] = json!([]);
    chunk["rehearsal_event"] = json!("skip me");
    events.insert(place, Event::unnamed(chunk.to_string()));
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        loop {
            if let Some(wait) = &mut body.wait {
                match wait.as_mut().poll(cx) {
                    Poll::Ready(()) => body.wait = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match body.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Wait(time)) => body.wait = Some(Box::pin(sleep(time))),
                Some(Step::Flush) => {
                    // hyper flushes when a body is pending; the waker calls it back at once.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Cut) => {
                    let error = io::Error::other("the script cuts the connection here");
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Step::Stall) => {
                    // Nothing wakes this task again; it is dropped when the client leaves.
                    body.steps.push_front(Step::Stall);
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.wait.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let sent = |step: &Step| if let Step::Send(bytes) = step { bytes.len() as u64 } else { 0 };
        match self.sized {
            true => SizeHint::with_exact(self.steps.iter().map(sent).sum()),
            false => SizeHint::default(),
        }
    }
}
