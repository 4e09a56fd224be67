//! Client, tools and dispatch: what all lessons share, and no mechanism.
//!
//! # Layout
//!
//! - [`chat`]: [`Message`], [`Block`], [`Chat`]: the lasting conversation.
//! - [`client`]: [`Request`], [`Reply`], [`Model`], and [`Client`], which speaks two wire formats.
//! - [`tools`]: [`Tool`], and the tools that every lesson has.
//! - [`paths`]: which files a tool may touch.
//! - [`dispatch`]: [`Layer`] and the four chains through which everything passes.
//! - [`agent`]: [`Agent`], which holds it all together, and [`Context`], as its tools and layers see it.
//! - [`event`]: [`Event`], all that is ever shown or told; [`ui`]: [`Ui`], to whom.
//! - [`terminal`]: the coloured terminal; [`prompt`]: the prompt and command line that all lessons share.
//!
//! The loop that turns this into an agent is the first lesson's, not core's.

pub mod agent;
pub mod chat;
pub mod client;
pub mod dispatch;
mod error;
pub mod event;
pub mod paths;
pub mod prompt;
pub mod terminal;
pub mod tools;
pub mod ui;

pub use agent::{Agent, Context};
pub use chat::{Block, Chat, Message, Role};
pub use client::{AnyModel, Client, Delta, Deltas, Model, Reply, Request, Stop, Usage};
pub use dispatch::{Layer, NextAct, NextAsk, NextBatch, NextSend};
pub use error::{Error, Result};
pub use event::{Event, Events, Told};
pub use tokio_util::sync::CancellationToken;
pub use tools::{Outcome, Output, Tool, ToolCall, ToolError, ToolSpec};
pub use ui::{Answer, Question, Quiet, Recorder, Ui};

use std::{future::Future, pin::Pin};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub(crate) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

#[cfg(test)]
pub(crate) mod test {
    use super::*;

    /// Stands where a test needs an agent but no model.
    pub struct Mute;

    impl Model for Mute {
        async fn reply(&self, _: &Request, _: &Context) -> Result<Reply> {
            Ok(Reply::new(vec![]))
        }
    }
}
