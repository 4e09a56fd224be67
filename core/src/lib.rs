//! Client, tools and dispatch: what all lessons share, and no mechanism.
//!
//! # Layout
//!
//! - [`chat`]: [`Message`], [`Chat`], the lasting conversation; [`Block`], with its [`Origin`];
//!   [`State`], what a conversation owns beside its messages.
//! - [`client`]: [`Request`], [`Reply`], [`Model`], and [`Client`], which speaks two wire formats.
//! - [`tools`]: [`Tool`], [`ToolSource`], [`Effect`], and the tools that every lesson has.
//! - [`paths`]: which files a tool may touch.
//! - [`dispatch`]: [`Layer`] and the five chains through which everything passes.
//! - [`Agent`], which holds it all together, and [`Context`], the agent as its tools and layers see
//!   it.
//! - [`event`]: [`Event`], all that is ever shown or reported; [`ui`]: [`Ui`], to whom.
//!
//! The loop that turns this into an agent is the first lesson's: [`Agent::run`] is given it.

mod agent;
mod block;
pub mod chat;
mod children;
pub mod client;
mod commands;
mod context;
pub mod dispatch;
mod error;
pub mod event;
pub mod paths;
mod state;
pub mod tools;
mod turn;
pub mod ui;

pub use agent::Agent;
pub use block::{Block, Origin, Raw};
pub use chat::{Chat, Message, Role};
pub use client::{AnyModel, Client, Delta, Deltas, Model, Reply, Request, StopReason, Usage};
pub use context::Context;
pub use dispatch::{Layer, Loop, NextAct, NextAsk, NextBatch, NextSend, NextTurn};
pub use error::{Error, Result};
pub use event::{AgentEvent, Event, Events};
pub use state::{SavedState, SavedStates, State};
pub use tokio_util::sync::CancellationToken;
pub use tools::{
    AnyTool, Effect, Tool, ToolCall, ToolError, ToolOutput, ToolResult, ToolSource, ToolSpec,
};
pub use ui::{Answer, Question, Quiet, Recorder, Ui};

/// A reply that is awaited.
pub(crate) type Replying<'a> = futures_util::future::BoxFuture<'a, Result<Reply>>;

#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use serde_json::Value;

    /// Runs a call of this tool, as dispatch would; the text of its result.
    pub(crate) async fn call(
        tool: impl Tool,
        input: Value,
        cx: &Context,
    ) -> Result<String, String> {
        let end = AnyTool::new(tool).call(&input, cx).await;
        end.map(|output| output.text()).map_err(|error| error.0)
    }

    /// A model for tests that need an agent but no reply.
    pub(crate) struct Mute;

    impl Model for Mute {
        async fn reply(&self, _: &Request, _: &Context) -> Result<Reply> {
            Ok(Reply::new(vec![]))
        }
    }
}
