//! The agent: a model, tools and layers, in a directory.
use crate::children::{Family, Resources};
use crate::tools::{Run, Runner, Variant};
use crate::{
    AgentEvent, AnyModel, AnyTool, Chat, Context, Effect, Event, Events, Layer, Model, Quiet, Tool,
    ToolSource, ToolSpec, Ui, commands::Command, dispatch::DynLayer, turn::Scope, ui::DynUi,
};
use futures_util::{StreamExt, future::BoxFuture, stream, stream::FuturesUnordered};
use rungs_process::Environment;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::{any::TypeId, collections::BTreeSet, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A model, tools and layers, in a directory, before a person. One value is one conversation's
/// agent. Cloning is cheap: the parts are shared, and copied only when changed.
#[derive(Clone)]
pub struct Agent {
    pub(crate) model: AnyModel,
    pub(crate) parts: Arc<Parts>,
    pub(crate) name: Arc<str>,
    pub(crate) cwd: Arc<Path>,
    pub(crate) command_environment: Arc<Environment>,
    pub(crate) ui: Arc<dyn DynUi>,
    /// Fires when the agent ends, and what lives as long ends with it: jobs, teammates.
    pub(crate) shutdown: CancellationToken,
    pub(crate) scope: Scope,
    pub(crate) resources: Arc<Resources>,
    /// The tools that this agent must not have, whichever source they come from.
    pub(crate) without: Arc<BTreeSet<String>>,
    pub(crate) family: Arc<Family>,
}

/// What an agent is made of.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub tools: Vec<AnyTool>,
    pub sources: Vec<Arc<dyn ToolSource>>,
    pub layers: Vec<Arc<dyn DynLayer>>,
    pub system: Vec<Arc<str>>,
    pub commands: Vec<Arc<Command>>,
    pub listeners: Vec<Arc<Listener>>,
    wakes: Vec<Arc<Wake>>,
}

type Wake = dyn Fn(Context) -> BoxFuture<'static, bool> + Send + Sync;
type Listener = dyn Fn(&Event, &Context) + Send + Sync;

impl Agent {
    /// An agent without tools, layers or screen, whose files are those below `cwd`.
    pub fn new(model: impl Model, cwd: impl Into<PathBuf>) -> Self {
        let shutdown = CancellationToken::new();
        Agent {
            model: AnyModel(Arc::new(model)),
            parts: Arc::default(),
            name: "main".into(),
            cwd: Arc::from(cwd.into()),
            command_environment: Arc::default(),
            ui: Arc::new(Quiet),
            scope: Scope { cancel: shutdown.clone(), ..Scope::default() },
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
        self.model = AnyModel(Arc::new(wrap(self.model)));
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
        let (state, run): (_, Runner<S, V>) = (Arc::new(state), Arc::new(run));
        rungs_json::variants::<V>().into_iter().fold(self, |agent, (name, described)| {
            let spec = ToolSpec::described(name, described);
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
        let missing = self.layers().into_iter().filter(|name| !order.contains(name));
        let missing: Vec<&str> = missing.collect();
        if !missing.is_empty() {
            return Err(format!("the order of layers leaves out {}", missing.join(", ")));
        }
        let place = |layer: &Arc<dyn DynLayer>| order.iter().position(|name| *name == layer.name());
        self.parts_mut().layers.sort_by_key(place);
        Ok(self)
    }

    /// The names of the layers, the outermost first.
    pub fn layers(&self) -> Vec<&'static str> {
        self.parts.layers.iter().map(|layer| layer.name()).collect()
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
        let wakes = self.parts.wakes.iter().map(|wake| wake(cx.clone()));
        wakes.collect::<FuturesUnordered<_>>().any(std::future::ready).await
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
        let events =
            stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        (agent, events.boxed())
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

    /// Gives this environment to its commands and to those of its children; by default that of the
    /// program, as far as commands may have it.
    pub fn command_environment(mut self, environment: Environment) -> Self {
        self.command_environment = Arc::new(environment);
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
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, cwd) = (&self.name, &self.cwd);
        f.debug_struct("Agent").field("name", name).field("cwd", cwd).finish_non_exhaustive()
    }
}
