//! The context: the agent as its tools and layers see it.
use crate::{
    Agent, Answer, Chat, Effect, Event, Message, Question, Quiet, Reply, Request, Result, State,
    ToolCall, ToolResult, dispatch::NextSend, state::States, turn::Progress,
};
use rungs_files::absolute;
use rungs_process::Environment;
use std::any::TypeId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed};
use tokio_util::sync::CancellationToken;

/// The agent as its tools and layers see it: which one, where, before whom, in which turn. A layer
/// that wants the rest to see it otherwise passes another context to `next`.
///
/// What a mechanism remembers is kept in one of three places, by how long it must last:
/// [state](Context::state) of the conversation (withdrawn, forked and saved with it),
/// [resource](Context::resource) of the agent (jobs, connections: never rolled back),
/// [value](Context::with) of a turn or a call (a budget, a ruling).
#[derive(Debug, Clone)]
pub struct Context {
    /// The agent that runs.
    pub agent: Agent,
}

impl Context {
    /// Its directory; never the process's.
    pub fn cwd(&self) -> &Path {
        &self.agent.cwd
    }

    /// What its commands get of the program's environment.
    pub fn command_environment(&self) -> &Environment {
        &self.agent.command_environment
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.agent.name
    }

    /// Whether it works for another agent.
    pub fn is_child(&self) -> bool {
        self.agent.name.contains('/')
    }

    /// Fires when the turn must stop, and when it has ended.
    pub fn cancel(&self) -> &CancellationToken {
        &self.agent.scope.cancel
    }

    /// Fires when the agent must end, and when its last clone is dropped: for work that outlives a
    /// turn. Such work holds this token, never the agent, which could not be dropped then.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.agent.shutdown
    }

    /// The state of this type of the turn's conversation, as it is now. Outside of a turn, use
    /// [`Chat::state`].
    pub fn state<T: State>(&self) -> Arc<T> {
        self.states().get()
    }

    /// Changes that state. The closure must not ask for states itself: they are locked meanwhile.
    pub fn update<T: State, R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.states().update(change)
    }

    fn states(&self) -> States {
        self.agent.scope.states.lock().unwrap().handle()
    }

    /// From now on the context is about this chat.
    pub(crate) fn follow(&self, chat: &Chat) {
        *self.agent.scope.states.lock().unwrap() = chat.states();
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.agent.scope.progress.lock().unwrap()
    }

    /// This agent's resource of type `T`, whatever becomes of its conversation: made when first
    /// asked for, dropped with the agent. A child has its own.
    pub fn resource<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut resources = self.agent.resources.map.lock().unwrap();
        let resource = resources.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        resource.clone().downcast().expect("kept under its own type")
    }

    /// A context with this value, for all that is run with it; children do not have it.
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(&self, value: T) -> Context {
        Context { agent: self.agent.clone().with(value) }
    }

    /// The value of this type that a layer further out, or the agent's owner, has given.
    pub fn value<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.agent.scope.values.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }

    /// What this call will do to the world; paths are absolute and free of `..`, links in them are
    /// not resolved. A call that dispatch will refuse only reads.
    pub fn effect(&self, call: &ToolCall) -> Effect {
        let Some(tool) = self.agent.find(&call.name) else { return Effect::Reads };
        // Any layer may ask, so a panic must not spread; a tool that panics may do anything.
        match catch_unwind(AssertUnwindSafe(|| tool.effect(&call.input))) {
            Ok(Effect::Writes(paths)) => {
                Effect::Writes(paths.iter().map(|path| absolute(self.cwd(), path)).collect())
            }
            Ok(other) => other,
            Err(_) => Effect::Anything,
        }
    }

    /// What this call does, in words for a person: the tool's own, else its name and arguments.
    pub fn summary(&self, call: &ToolCall) -> String {
        let own = || self.agent.find(&call.name)?.summary(&call.input);
        match catch_unwind(AssertUnwindSafe(own)) {
            Ok(Some(summary)) => summary,
            _ => rungs_json::summary(&call.name, &call.input),
        }
    }

    /// What the person reads in place of the text that this call returns, if it succeeds: for what
    /// is written in a form for the model.
    pub fn show_result(&self, text: impl Into<String>) {
        if let Some(shown) = self.value::<Shown>() {
            *shown.0.lock().unwrap() = Some(text.into());
        }
    }

    pub(crate) fn shown(&self, result: &ToolResult) -> String {
        let own = self.value::<Shown>().and_then(|shown| shown.0.lock().unwrap().take());
        own.filter(|_| !result.is_error).unwrap_or_else(|| result.output.text())
    }

    /// Shows the person, and tells every listener: the only way to do either.
    #[expect(clippy::needless_pass_by_value, reason = "callers make an event only to emit it")]
    pub fn emit(&self, event: Event) {
        let deltas_shown = &self.agent.scope.deltas_shown;
        match event {
            Event::TextDelta(_) | Event::ThinkingDelta(_) => deltas_shown.store(true, Relaxed),
            Event::Reply(_) | Event::ReplyDiscarded => deltas_shown.store(false, Relaxed),
            _ => {}
        }
        for hear in &self.agent.parts.listeners {
            hear(&event, self);
        }
        self.agent.ui.show(&event, self);
    }

    /// Says that the deltas shown so far belong to no reply, if any were shown.
    pub(crate) fn discard_deltas(&self) {
        if self.agent.scope.deltas_shown.load(Relaxed) {
            self.emit(Event::ReplyDiscarded);
        }
    }

    /// Whether this is a [side request](Context::side_request): nobody sees its reply arrive.
    pub fn is_unseen(&self) -> bool {
        self.value::<Unseen>().is_some()
    }

    /// A line for the person.
    pub fn notice(&self, line: impl Into<String>) {
        self.emit(Event::Notice(line.into()));
    }

    /// Asks the person.
    pub async fn choose(&self, question: Question) -> Answer {
        self.agent.ui.choose(question, self).await
    }

    /// What the person typed while a turn runs, a line at a time, as a message of their own.
    pub fn typed(&self) -> Option<Message> {
        self.agent.ui.typed().map(Message::user)
    }

    /// Whether a person is there to be asked.
    pub fn attended(&self) -> bool {
        self.agent.ui.attended()
    }

    /// The request that this chat makes: with the agent's system text and tools, and so with the
    /// prefix that the prompt cache knows.
    pub fn request(&self, chat: &Chat) -> Request {
        let (system, tools) = (self.agent.parts.system.clone(), self.agent.specs());
        Request { system, tools, ..Request::of(chat) }
    }

    /// A request beside the conversation (a summary, a title): through every `send`, past every
    /// `ask`, shown to nobody.
    ///
    /// # Errors
    /// As for [`Agent::ask`].
    pub async fn side_request(&self, request: Request) -> Result<Reply> {
        let mut unseen = self.with(Unseen);
        unseen.agent.ui = Arc::new(Quiet);
        unseen.agent.parts_mut().listeners.clear();
        unseen.agent.scope.deltas_shown = Arc::default();
        NextSend(&self.agent.parts.layers).run(request, &unseen).await
    }
}

/// A value of side requests.
struct Unseen;

/// What [`Context::show_result`] was given: a value of one call.
#[derive(Default)]
pub(crate) struct Shown(pub Mutex<Option<String>>);
