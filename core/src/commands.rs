//! The `:commands` of the prompt.
use crate::{Agent, Chat, Context, Result};
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;

/// A `:command` of the prompt.
pub(crate) struct Command {
    name: String,
    help: String,
    run: Box<dyn RunCommand>,
}

type Running<'a> = LocalBoxFuture<'a, Result<()>>;

/// The object-safe form of an `AsyncFn`, whose future may borrow from it.
trait RunCommand: Send + Sync {
    fn run<'a>(&'a self, chat: &'a mut Chat, args: &'a str, cx: &'a Context) -> Running<'a>;
}

impl<F: AsyncFn(&mut Chat, &str, &Context) -> Result<()> + Send + Sync> RunCommand for F {
    fn run<'a>(&'a self, chat: &'a mut Chat, args: &'a str, cx: &'a Context) -> Running<'a> {
        Box::pin(self(chat, args, cx))
    }
}

impl Agent {
    /// Adds `:name` to the prompt.
    pub fn command<F>(mut self, name: &str, help: &str, run: F) -> Self
    where
        F: AsyncFn(&mut Chat, &str, &Context) -> Result<()> + Send + Sync + 'static,
    {
        let command = Command { name: name.into(), help: help.into(), run: Box::new(run) };
        self.parts_mut().commands.push(Arc::new(command));
        self
    }

    /// The names of the commands, each with a line of help.
    pub fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.commands.iter().map(|command| (command.name.as_str(), command.help.as_str()))
    }

    /// Runs the command of this name; `None` when there is none.
    pub async fn run_command(&self, name: &str, args: &str, chat: &mut Chat) -> Option<Result<()>> {
        let command = self.parts.commands.iter().find(|command| command.name == name)?;
        let cx = self.context();
        cx.follow(chat);
        // A command may speak first, and only the first message says where the agent is.
        chat.open_with(|| self.environment());
        Some(command.run.run(chat, args, &cx).await)
    }
}
