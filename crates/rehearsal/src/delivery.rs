//! How the bytes of a reply go out: at once, in small pieces, or not to the end.
use crate::{
    fault::Kind,
    messages_out,
    refusal::{Format, Refusal},
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
        let name = self.name.as_ref().map_or(String::new(), |name| format!("event: {name}\n"));
        format!("{name}data: {}\n\n", self.data)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    Send(Bytes),
    /// What was sent leaves before anything else happens.
    Flush,
    Wait(Duration),
    Cut,
    Stall,
}

/// The body of a response. It needs no task of its own: when the client leaves, it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    steps: VecDeque<Step>,
    wait: Option<Pin<Box<Sleep>>>,
    /// Whether the length is told in front.
    sized: bool,
}

impl Delivery {
    /// A body that is there at once.
    pub(crate) fn whole(text: impl Into<Bytes>) -> Self {
        Delivery { steps: [Step::Send(text.into())].into(), wait: None, sized: true }
    }

    /// A body that is there at once, but for the fault.
    pub(crate) fn faulty(text: String, fault: &Kind) -> Self {
        let mut bytes = Bytes::from(text);
        let half = bytes.len() / 2;
        let steps = match fault {
            Kind::Cut { .. } => vec![Step::Send(bytes.split_to(half)), Step::Flush, Step::Cut],
            Kind::Stall { .. } => vec![Step::Send(bytes.split_to(half)), Step::Flush, Step::Stall],
            Kind::Malformed { .. } => vec![Step::Send(bytes.split_to(half))],
            Kind::Split { size } => split(&bytes, *size),
            Kind::Status(_)
            | Kind::ErrorEvent { .. }
            | Kind::CutArguments { .. }
            | Kind::Unknown { .. } => {
                return Delivery::whole(bytes);
            }
        };
        Delivery { steps: steps.into(), ..Delivery::default() }
    }

    /// A stream of events.
    pub(crate) fn stream(
        events: Vec<Event>,
        fault: Option<&Kind>,
        format: Format,
        request_id: &str,
        pace_ms: u64,
    ) -> Self {
        let (events, end) = spoiled(events, fault, format, request_id);
        let mut steps = VecDeque::new();
        for event in events {
            if pace_ms > 0 && !steps.is_empty() {
                steps.push_back(Step::Wait(Duration::from_millis(pace_ms)));
            }
            let bytes = Bytes::from(event.text());
            match fault {
                Some(Kind::Split { size }) => steps.extend(split(&bytes, *size)),
                _ => steps.push_back(Step::Send(bytes)),
            }
        }
        steps.extend(end);
        Delivery { steps, ..Delivery::default() }
    }
}

fn split(bytes: &Bytes, size: usize) -> Vec<Step> {
    bytes
        .chunks(size)
        .flat_map(|piece| [Step::Send(Bytes::copy_from_slice(piece)), Step::Flush])
        .collect()
}

/// The events with the fault in them, and how the stream ends.
fn spoiled(
    mut events: Vec<Event>,
    fault: Option<&Kind>,
    format: Format,
    request_id: &str,
) -> (Vec<Event>, Vec<Step>) {
    let place = |after: usize| after.min(events.len());
    match fault {
        Some(Kind::Cut { after }) => {
            events.truncate(*after);
            return (events, vec![Step::Flush, Step::Cut]);
        }
        Some(Kind::Stall { after }) => {
            events.truncate(*after);
            return (events, vec![Step::Flush, Step::Stall]);
        }
        Some(Kind::ErrorEvent { kind, message, after }) => {
            events.truncate(*after);
            let error =
                Refusal::in_stream(kind, message.as_deref()).body(format, request_id).to_string();
            events.push(match format {
                Format::Messages => Event::named("error", error),
                Format::Chat => Event::unnamed(error),
            });
        }
        Some(Kind::Malformed { after }) => {
            let broken = Event {
                name: events.get(*after).and_then(|event| event.name.clone()),
                data: "{\"type\": ".into(),
            };
            events.insert(place(*after), broken);
        }
        Some(Kind::Unknown { after }) => {
            let place = place(*after);
            slip_in(&mut events, place, format);
        }
        Some(Kind::Split { .. } | Kind::CutArguments { .. } | Kind::Status(_)) | None => {}
    }
    (events, vec![])
}

/// Things that no client knows and every client must skip.
fn slip_in(events: &mut Vec<Event>, place: usize, format: Format) {
    match format {
        Format::Messages => {
            let starts = |event: &Event| event.name.as_deref() == Some("content_block_start");
            // A delta belongs into a block: the next one, or else the last.
            let next = events.iter().skip(place).position(starts).map(|next| next + place);
            if let Some(start) = next.or_else(|| events.iter().rposition(starts)) {
                let delta = json!({"type": "rehearsal_delta", "note": "skip me"});
                let index = &events[start].json()["index"];
                let unknown = messages_out::event(
                    &json!({"type": "content_block_delta", "index": index, "delta": delta}),
                );
                events.insert(start + 1, unknown);
            }
            let unknown =
                messages_out::event(&json!({"type": "rehearsal_event", "note": "skip me"}));
            events.insert(place, unknown);
        }
        Format::Chat => {
            // As servers do that tell more than the format has: no choice, or a delta with an unknown key.
            let place = place.max(1).min(events.len());
            let mut chunk = events.first().map_or(Value::Null, Event::json);
            chunk["choices"] = json!([{"index": 0, "delta": {"rehearsal_delta": "skip me"}, "finish_reason": null}]);
            events.insert(place, Event::unnamed(chunk.to_string()));
            chunk["choices"] = json!([]);
            chunk["rehearsal_event"] = json!("skip me");
            events.insert(place, Event::unnamed(chunk.to_string()));
        }
    }
}

impl Body for Delivery {
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
                    // hyper flushes when a body has nothing ready.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Cut) => {
                    return Poll::Ready(Some(Err(io::Error::other(
                        "the script cuts the connection here",
                    ))));
                }
                Some(Step::Stall) => {
                    // Nothing will wake this: it ends when the client leaves.
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
