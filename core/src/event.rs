//! All that is ever shown or told.
use crate::{Outcome, Reply, ToolCall};
use futures_util::Stream;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};
use tokio::sync::mpsc;

/// Something that happened. `Context::emit` sends it to the person's [`Ui`](crate::Ui) and to every listener; there is
/// no other way to show or tell anything.
///
/// A reply that streams comes as [`Piece`](Event::Piece)s, which are provisional, and then exactly one
/// [`Reply`](Event::Reply) with all of it, or [`Lost`](Event::Lost). A reply that does not stream is only the `Reply`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The next characters of a reply that is on its way.
    Piece(String),
    /// A whole reply, once.
    Reply(Reply),
    /// The pieces so far belong to no reply: it failed, and may be asked for again.
    Lost,
    /// A tool is about to be called.
    Call(Arc<ToolCall>),
    /// A call has its result.
    Outcome(Arc<ToolCall>, Arc<Outcome>),
    /// A request failed in a way that passes, and is sent again after a wait.
    Wait {
        /// How long.
        seconds: f32,
        /// How often it has been sent.
        tried: u32,
        /// How often it will be sent at most.
        of: u32,
        /// What the server said.
        why: String,
    },
    /// A line for the person.
    Notice(String),
    /// A line for the person about something that went wrong.
    Failure(String),
}

/// An [`Event`] and who it happened to: `main`, or a child such as `main/explorer-2`.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The name of the agent.
    pub agent: Arc<str>,
    /// What happened.
    pub event: Event,
}

/// The events of an agent and all its children, in order, as they happen. It ends when the agent is gone; what is not
/// taken is kept, so read it or drop it.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::UnboundedReceiver<Told>);

impl Stream for Events {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Told>> {
        self.0.poll_recv(task)
    }
}
