//! All that is ever shown or reported.
use crate::{Reply, ToolCall, ToolResult};
use futures_util::stream::BoxStream;
use std::sync::Arc;

/// Something that happened. `Context::emit` sends it to the person's [`Ui`](crate::Ui) and to every
/// listener; there is no other way to show or report anything.
///
/// A reply that streams comes as [`TextDelta`](Event::TextDelta)s, which are provisional, and then
/// exactly one [`Reply`](Event::Reply) with all of it, or
/// [`ReplyDiscarded`](Event::ReplyDiscarded). Core emits the last two, whatever the layers do:
/// `Reply` when the whole `ask` chain has ended, `ReplyDiscarded` when deltas were shown and an
/// error or another request follows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The next characters of a reply in progress.
    TextDelta(String),
    /// The next characters of the thinking before it, which no [`Reply`](Event::Reply) repeats.
    ThinkingDelta(String),
    /// A whole reply, once, as it enters the conversation.
    Reply(Reply),
    /// The deltas so far belong to no reply.
    ReplyDiscarded,
    /// A tool is about to be called; what the call does, in words for a person.
    Call(Arc<ToolCall>, String),
    /// A call has its result, and what a person reads of it: its text, unless the tool gave
    /// another one with [`Context::show_result`](crate::Context::show_result).
    Result(Arc<ToolCall>, Arc<ToolResult>, String),
    /// A request failed in a way that passes, and is sent again after a wait.
    Retry {
        /// The wait.
        seconds: f32,
        /// How often the request has been sent.
        attempts: u32,
        /// How often it will be sent at most.
        max_attempts: u32,
        /// What the server said.
        why: String,
    },
    /// A line for the person.
    Notice(String),
    /// A line for the person about something that went wrong.
    Failure(String),
}

/// An [`Event`] and the agent to which it happened: `main`, or a child such as `main/explorer-2`.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentEvent {
    /// The name of the agent.
    pub agent: Arc<str>,
    /// What happened.
    pub event: Event,
}

/// The events of an agent and all its children, in order, as they happen. It ends when the agent is
/// dropped; events that are not taken are kept, so read it or drop it.
pub type Events = BoxStream<'static, AgentEvent>;
