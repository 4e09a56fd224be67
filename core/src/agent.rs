//! The agent: a model, tools and layers, in a directory.
use crate::{
    AnyModel, AnyTool, Block, Chat, Context, Effect, Event, Layer, Loop, Message, Model, Quiet,
    Reply, Result, Tool, ToolCall, ToolResult, ToolSource, ToolSpec, Ui,
    dispatch::{DynLayer, NextAsk, NextBatch, NextTurn},
    event::{AgentEvent, Events},
    state::States,
    tools::{Run, Variant, schema},
    ui::DynUi,
};
use futures_util::{
    StreamExt,
    future::{BoxFuture, LocalBoxFuture, join_all},
    stream::FuturesUnordered,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::{
    any::{Any, TypeId},
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long all functions of [`Agent::on_exit`] may take, which run concurrently.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A model, tools and layers, in a directory, before a person. One value is one conversation's
/// agent. Cloning is cheap: the parts are shared, and copied only when changed.
#[derive(Clone)]
pub struct Agent {
    pub(crate) parts: Arc<Parts>,
    pub(crate) name: Arc<str>,
    pub(crate) cwd: Arc<Path>,
    pub(crate) ui: Arc<dyn DynUi>,
    /// Fires when the agent ends, and what lives as long ends with it: jobs, teammates.
    pub(crate) shutdown: CancellationToken,
    pub(crate) scope: Scope,
    pub(crate) resources: Arc<Resources>,
    /// The tools that this agent must not have, whichever source they come from.
    without: Arc<BTreeSet<String>>,
    family: Arc<Family>,
}

/// What an agent is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub model: AnyModel,
    pub tools: Vec<AnyTool>,
    pub layers: Vec<Arc<dyn DynLayer>>,
    pub system: Vec<Arc<str>>,
    pub listeners: Vec<Arc<Listener>>,
    sources: Vec<Arc<dyn ToolSource>>,
    commands: Vec<Arc<Command>>,
    wakes: Vec<Arc<Wake>>,
}

/// What holds for one turn. An agent outside of a turn has one too, so that tools can be tried on
/// it.
#[derive(Clone)]
pub(crate) struct Scope {
    pub cancel: CancellationToken,
    /// The tools of the sources, as they were when the turn began.
    listed: Arc<[AnyTool]>,
    /// Those of the conversation that the turn is about.
    pub states: Arc<Mutex<States>>,
    pub values: Arc<TypeMap>,
    /// Whether deltas of a reply were shown that is not whole yet.
    pub deltas_shown: Arc<AtomicBool>,
    pub progress: Arc<Mutex<Progress>>,
}

/// How far a turn has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// The conversation that the server accepted last in this turn, and its reply to it.
    accepted: Option<(Chat, Arc<Message>)>,
    /// Whether the refusal that ends the turn was dealt with.
    pub withdrawn: bool,
}

pub(crate) type TypeMap = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;
type Wake = dyn Fn(Context) -> BoxFuture<'static, bool> + Send + Sync;
type Listener = dyn Fn(&Event, &Context) + Send + Sync;
type ExitFn = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// What an agent has beside its conversation. It is dropped with the last clone of the agent, which
/// also ends whatever lives as long.
pub(crate) struct Resources {
    pub map: Mutex<TypeMap>,
    _shutdown: DropGuard,
}

/// What an agent shares with all its children.
#[derive(Default)]
struct Family {
    names: Mutex<HashSet<String>>,
    exits: Mutex<Vec<(String, Duration, ExitFn)>>,
}

/// A `:command` of the prompt.
struct Command {
    name: String,
    help: String,
    run: Box<dyn RunCommand>,
}

trait RunCommand: Send + Sync {
    fn run<'a>(
        &'a self,
        chat: &'a mut Chat,
        args: &'a str,
        cx: &'a Context,
    ) -> LocalBoxFuture<'a, Result<()>>;
}

impl<F: AsyncFn(&mut Chat, &str, &Context) -> Result<()> + Send + Sync> RunCommand for F {
    fn run<'a>(
        &'a self,
        chat: &'a mut Chat,
        args: &'a str,
        cx: &'a Context,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(self(chat, args, cx))
    }
}

impl Resources {
    fn new(shutdown: &CancellationToken) -> Arc<Self> {
        Arc::new(Resources { map: Mutex::default(), _shutdown: shutdown.clone().drop_guard() })
    }
}

impl Scope {
    fn new(cancel: CancellationToken) -> Self {
        Scope {
            cancel,
            listed: Arc::new([]),
            states: Arc::default(),
            values: Arc::default(),
            deltas_shown: Arc::default(),
            progress: Arc::default(),
        }
    }
}

impl Progress {
    /// Takes back what the server refused, once for each refusal: the chat returns to the last step
    /// that the server accepted, so that completed work is not forgotten, or to `before`. The
    /// results that followed that step are what was refused, so a note takes their place.
    pub(crate) fn withdraw(&mut self, chat: &mut Chat, before: &Chat) {
        if std::mem::replace(&mut self.withdrawn, true) {
            return;
        }
        let Some((accepted, reply)) = &self.accepted else {
            *chat = before.clone();
            return;
        };
        *chat = accepted.clone();
        chat.push(reply.clone());
        chat.close_open_calls(
            "This result was withdrawn, since the server refused the request that carried it. What \
             the call did to files and processes stays done.",
        );
    }
}

impl Agent {
    /// An agent without tools, layers or screen, whose files are those below `cwd`.
    pub fn new(model: impl Model, cwd: impl Into<PathBuf>) -> Self {
        let parts = Parts {
            model: AnyModel::new(model),
            tools: vec![],
            layers: vec![],
            system: vec![],
            listeners: vec![],
            sources: vec![],
            commands: vec![],
            wakes: vec![],
        };
        let shutdown = CancellationToken::new();
        Agent {
            parts: Arc::new(parts),
            name: "main".into(),
            cwd: Arc::from(cwd.into()),
            ui: Arc::new(Quiet),
            scope: Scope::new(shutdown.clone()),
            resources: Resources::new(&shutdown),
            shutdown,
            without: Arc::default(),
            family: Arc::default(),
        }
    }

    pub(crate) fn parts_mut(&mut self) -> &mut Parts {
        Arc::make_mut(&mut self.parts)
    }

    /// Puts another model in place of the current one, which it may use:
    /// `agent.model(|inner| Wrapped(inner))`.
    pub fn model<M: Model>(mut self, wrap: impl FnOnce(AnyModel) -> M) -> Self {
        let inner = self.parts.model.clone();
        self.parts_mut().model = AnyModel::new(wrap(inner));
        self
    }

    /// Adds a tool; it replaces an earlier one of the same name.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        let tool = AnyTool::new(tool);
        let tools = &mut self.parts_mut().tools;
        match tools.iter().position(|known| known.spec().name == tool.spec().name) {
            Some(i) => tools[i] = tool,
            None => tools.push(tool),
        }
        self
    }

    /// Adds several tools that share a state: the variants of an enum, each with its doc comment as
    /// its description and its fields as its arguments. `run` gets each call as such a value;
    /// `effect` says what it will do to the world.
    ///
    /// # Panics
    /// When a variant makes no tool, such as one without a doc comment; the message says why.
    pub fn tools<S, V, F>(self, state: S, effect: fn(&V) -> Effect, run: F) -> Self
    where
        S: Send + Sync + 'static,
        V: DeserializeOwned + JsonSchema + Send + 'static,
        F: for<'a> Run<'a, S, V> + 'static,
    {
        let (state, run) = (Arc::new(state), Arc::new(run));
        schema::variants::<V>().into_iter().fold(self, |agent, spec| {
            agent.tool(Variant { spec, state: state.clone(), effect, run: run.clone() })
        })
    }

    /// Adds tools that come and go.
    pub fn source(mut self, source: impl ToolSource) -> Self {
        self.parts_mut().sources.push(Arc::new(source));
        self
    }

    /// Adds a section to the system text; a blank one, which the API would refuse, is left out.
    pub fn system(mut self, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        if !text.trim().is_empty() {
            self.parts_mut().system.push(text);
        }
        self
    }

    /// Wraps all layers there are: the newest one is the outermost.
    pub fn wrap(self, layer: impl Layer) -> Self {
        self.wrap_shared(Arc::new(layer))
    }

    /// Wraps all layers there are with one that something else holds too, such as its commands.
    pub fn wrap_shared(mut self, layer: Arc<impl Layer>) -> Self {
        self.parts_mut().layers.insert(0, layer);
        self
    }

    /// Puts the layers into this order, the outermost first, in whatever order they were added.
    /// Names that were not added are skipped.
    ///
    /// # Errors
    /// Names the layers that the order leaves out.
    pub fn arrange<'a>(mut self, order: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let order: Vec<&str> = order.into_iter().collect();
        let place = |layer: &Arc<dyn DynLayer>| order.iter().position(|name| *name == layer.name());
        let missing = self.parts.layers.iter().filter(|layer| place(layer).is_none());
        let missing: Vec<&str> = missing.map(|layer| layer.name()).collect();
        if !missing.is_empty() {
            return Err(format!("the order of layers leaves out {}", missing.join(", ")));
        }
        self.parts_mut().layers.sort_by_key(place);
        Ok(self)
    }

    /// The names of the layers, the outermost first.
    pub fn layers(&self) -> Vec<&'static str> {
        self.parts.layers.iter().map(|layer| layer.name()).collect()
    }

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
        chat.open_with(self.environment());
        Some(command.run.run(chat, args, &cx).await)
    }

    /// Waits while the agent is idle: `true` when a layer now has something for the model, `false`
    /// when nothing is expected any more. It must change nothing, since it may be dropped. A child
    /// that is idle is woken by it too, so it goes by the context that it is given.
    pub fn wake<F, Fut>(mut self, wait: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.parts_mut().wakes.push(Arc::new(move |cx| Box::pin(wait(cx))));
        self
    }

    /// Waits until there is something for the model in this conversation: true, or false once
    /// nothing is expected any more.
    pub async fn woken(&self, chat: &Chat) -> bool {
        let cx = self.context();
        cx.follow(chat);
        let mut wakes: FuturesUnordered<_> =
            self.parts.wakes.iter().map(|wake| wake(cx.clone())).collect();
        while let Some(woken) = wakes.next().await {
            if woken {
                return true;
            }
        }
        false
    }

    /// Adds a function that runs on every way out of the program, concurrently with the others, for
    /// at most `timeout`, and never longer than five seconds. Steps that must follow each other
    /// belong in one function.
    pub fn on_exit<F, Fut>(self, what: &str, timeout: Duration, run: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let exit: ExitFn = Box::new(move || Box::pin(run()));
        self.family.exits.lock().unwrap().push((what.into(), timeout.min(EXIT_TIMEOUT), exit));
        self
    }

    /// Runs the functions of [`on_exit`](Agent::on_exit), once, and ends whatever lives as long as
    /// the agent. Returns a line for each function that failed or took too long.
    pub async fn exit(&self) -> Vec<String> {
        let exits = std::mem::take(&mut *self.family.exits.lock().unwrap());
        let running = exits.into_iter().map(|(what, timeout, run)| async move {
            // A task of its own: one that panics or blocks its thread must not stop the others.
            match tokio::time::timeout(timeout, tokio::spawn(run())).await {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(format!("{what} failed")),
                Err(_) => Some(format!("{what} did not end within {} ms", timeout.as_millis())),
            }
        });
        let failures = join_all(running).await;
        self.shutdown.cancel();
        failures.into_iter().flatten().collect()
    }

    /// Shows events on this screen and asks this person.
    pub fn ui(mut self, ui: impl Ui) -> Self {
        self.ui = Arc::new(ui);
        self
    }

    /// Calls `hear` for every event of this agent and its children; it must not block.
    pub fn listen(mut self, hear: impl Fn(&Event, &Context) + Send + Sync + 'static) -> Self {
        self.parts_mut().listeners.push(Arc::new(hear));
        self
    }

    /// The events of this agent and its children as a stream, for a program that embeds it.
    pub fn events(self) -> (Self, Events) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let agent = self.listen(move |event, cx| {
            // Sending fails only when nobody reads the stream any more.
            let _ = sender.send(AgentEvent { agent: cx.agent.name.clone(), event: event.clone() });
        });
        (agent, Events(receiver))
    }

    /// An agent for a conversation of its own, within this turn: a subagent. It has the same model
    /// and tools but those named in `without`, the layers that [`follow`](Layer::follows), and a
    /// unique name (`main/explorer-2`). It stops when the turn does. No [value](Agent::with)
    /// reaches it by itself: what was allowed for one call is not allowed for all that it leads to.
    pub fn child(&self, name: &str, without: &[&str]) -> Self {
        let mut child = self.clone();
        child.name = self.family.unique(format!("{}/{name}", self.name));
        child.live_until(self.scope.cancel.child_token());
        Arc::make_mut(&mut child.without).extend(without.iter().map(|name| name.to_string()));
        let cx = child.context();
        let parts = child.parts_mut();
        parts.tools.retain(|tool| !without.contains(&tool.spec().name.as_str()));
        parts.layers.retain(|layer| layer.follows(&cx));
        parts.commands.clear();
        child
    }

    /// A [`child`](Agent::child) that lives as long as this agent, past the turn: a teammate, work
    /// in the background.
    pub fn lasting_child(&self, name: &str, without: &[&str]) -> Self {
        let mut child = self.child(name, without);
        child.live_until(self.shutdown.child_token());
        child
    }

    fn live_until(&mut self, shutdown: CancellationToken) {
        self.scope = Scope::new(shutdown.clone());
        self.resources = Resources::new(&shutdown);
        self.shutdown = shutdown;
    }

    /// The same agent with this value, for all that it runs; see [`Context::value`].
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        Arc::make_mut(&mut self.scope.values).insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// The same agent in another directory. All else is shared, so a child is
    /// `agent.child(..).in_dir(..)`.
    pub fn in_dir(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Arc::from(cwd.into());
        self
    }

    /// `main`, or a child's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn all_tools(&self) -> impl Iterator<Item = &AnyTool> {
        self.parts.tools.iter().chain(self.scope.listed.iter())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&AnyTool> {
        self.all_tools().find(|tool| tool.spec().name == name)
    }

    pub(crate) fn tool_names(&self) -> Vec<&str> {
        self.all_tools().map(|tool| tool.spec().name.as_str()).collect()
    }

    /// What the model is told of the tools.
    pub fn specs(&self) -> Vec<Arc<ToolSpec>> {
        self.all_tools().map(|tool| tool.spec().clone()).collect()
    }

    /// The agent as its tools and layers see it.
    pub fn context(&self) -> Context {
        Context { agent: self.clone() }
    }

    /// A new conversation, whose first message will tell the model where it is.
    pub fn new_chat(&self) -> Chat {
        let mut chat = Chat::default();
        chat.open_with(self.environment());
        chat
    }

    /// Where the agent is. It stands in the first message, not in the system text, whose prefix
    /// would then change from folder to folder.
    fn environment(&self) -> Block {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let git = self.cwd.ancestors().any(|dir| dir.join(".git").exists());
        let text = format!(
            "<environment>\nworking directory: {}\ngit repository: {}\nsystem: {} {}\n\
             today: {}\n</environment>",
            self.cwd.display(),
            if git { "yes" } else { "no" },
            std::env::consts::OS,
            std::env::consts::ARCH,
            date.get(..16).unwrap_or(&date),
        );
        Block::kept("environment", text)
    }

    /// One turn: puts the prompt into the chat (a new one also tells the model where it is) and
    /// lets the loop answer it, through every layer. The way in for everybody: the prompt,
    /// subagents, teammates. With [`Message::empty`] the model answers what a layer puts in.
    ///
    /// Afterwards every call is answered, whatever happened; after a drop, the next push does that.
    ///
    /// # Errors
    /// Whatever ends the turn. If that [withdraws](crate::Error::withdraws) the request, chat and
    /// states return to the last step that the server accepted, or to before the prompt.
    pub async fn run<L>(
        &self,
        chat: &mut Chat,
        prompt: impl Into<Message>,
        agent_loop: L,
    ) -> Result<Reply>
    where
        L: for<'a> Loop<'a>,
    {
        let before = chat.clone();
        let mut agent = self.clone();
        agent.scope = Scope {
            listed: self.list(),
            values: self.scope.values.clone(),
            ..Scope::new(self.scope.cancel.child_token())
        };
        // What still works for this turn when it ends, or is dropped, ends too.
        let _ended = agent.scope.cancel.clone().drop_guard();
        let cx = agent.context();
        if chat.messages().is_empty() {
            chat.open_with(self.environment());
        }
        let prompt = prompt.into();
        chat.push(prompt.clone());
        let (layers, inner) = (&agent.parts.layers, &agent_loop);
        let next = NextTurn { layers, inner, prompt: &prompt, before: &before };
        let end = next.run(chat, &cx).await;
        if let Err(error) = &end
            && error.withdraws()
        {
            cx.notice(if chat.messages().len() > before.messages().len() {
                "the conversation goes on from the last step that the server accepted"
            } else {
                "the conversation goes on without that prompt and what came of it"
            });
        }
        end
    }

    /// The tools of the sources, now.
    fn list(&self) -> Arc<[AnyTool]> {
        let mut names: HashSet<String> =
            self.parts.tools.iter().map(|tool| tool.spec().name.clone()).collect();
        names.extend(self.without.iter().cloned());
        let tools = self.parts.sources.iter().flat_map(|source| source.tools());
        tools.filter(|tool| names.insert(tool.spec().name.clone())).collect()
    }

    /// Asks the model, through every layer. For the loop; everybody else calls [`run`](Agent::run).
    ///
    /// # Errors
    /// Whatever ends the turn; the chat is as valid as before.
    pub async fn ask(&self, chat: &mut Chat) -> Result<Reply> {
        let cx = self.context();
        let end = NextAsk(&self.parts.layers).run(chat, &cx).await;
        match &end {
            Ok(reply) => {
                cx.progress().accepted = Some((chat.clone(), reply.message.clone()));
                cx.emit(Event::Reply(reply.clone()));
            }
            Err(_) => cx.discard_deltas(),
        }
        end
    }

    /// Runs the calls, through every layer: one message with one result per call, in their order,
    /// whatever the layers and the tools do. For the loop.
    pub async fn act(&self, calls: Vec<ToolCall>) -> Message {
        let asked = calls.clone();
        let mut results = NextBatch(&self.parts.layers).run(calls, &self.context()).await;
        let in_order =
            asked.iter().map(|call| match results.iter().position(|result| result.id == call.id) {
                Some(i) => results.remove(i),
                None => call.refuse("not run"),
            });
        Message::results(in_order.collect::<Vec<ToolResult>>())
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, cwd, layers) = (&self.name, &self.cwd, self.layers());
        f.debug_struct("Agent")
            .field("name", name)
            .field("cwd", cwd)
            .field("tools", &self.tool_names())
            .field("layers", &layers)
            .finish_non_exhaustive()
    }
}

impl Family {
    fn unique(&self, name: String) -> Arc<str> {
        let mut names = self.names.lock().unwrap();
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        // One of the numbered names may be the plain name of another child.
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        let free = candidates.find(|name| !names.contains(name)).unwrap_or(name);
        names.insert(free.clone());
        free.into()
    }
}
