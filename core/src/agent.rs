//! The agent: a model, tools and layers, in a directory.
use crate::{
    AnyModel, BoxFuture, Chat, Event, LocalFuture, Message, Model, Outcome, Quiet, Reply, Request,
    Result, Tool, ToolCall, ToolError, ToolSpec, Ui,
    dispatch::{DynLayer, Layer, NextAsk, NextBatch, NextSend},
    event::{Events, Told},
    tools::{DynTool, Verb},
    ui::{Answer, DynUi, Question},
};
use serde::de::DeserializeOwned;
use std::{
    any::{Any, TypeId},
    collections::{HashMap, HashSet},
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long the functions of [`Agent::on_exit`] may take, all together.
const EXIT: Duration = Duration::from_secs(5);

/// A model, tools and layers, in a directory, before a person. One value is one conversation's agent; cloning is
/// cheap, since the parts are shared and copied only when changed.
#[derive(Clone)]
pub struct Agent {
    pub(crate) parts: Arc<Parts>,
    name: Arc<str>,
    cwd: Arc<Path>,
    ui: Arc<dyn DynUi>,
    cancel: CancellationToken,
    local: Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>,
    family: Arc<Family>,
}

/// What an agent is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub model: AnyModel,
    pub tools: Vec<(Arc<ToolSpec>, Arc<dyn DynTool>)>,
    pub layers: Vec<Arc<dyn DynLayer>>,
    pub system: Vec<Arc<str>>,
    pub commands: Vec<Arc<Command>>,
    pub wakes: Vec<Arc<Wake>>,
    listeners: Vec<Arc<Listener>>,
}

/// Waits for something to tell the model.
pub(crate) type Wake = dyn Fn(Context) -> BoxFuture<'static, bool> + Send + Sync;

type Listener = dyn Fn(&Event, &Context) + Send + Sync;
type OnExit = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// What an agent shares with all its children.
#[derive(Default)]
struct Family {
    names: Mutex<HashSet<String>>,
    exits: Mutex<Vec<OnExit>>,
}

/// A `:command` of the prompt.
pub(crate) struct Command {
    pub name: String,
    pub help: String,
    pub run: Box<dyn RunCommand>,
}

pub(crate) trait RunCommand: Send + Sync {
    fn run<'a>(
        &'a self,
        chat: &'a mut Chat,
        args: &'a str,
        cx: &'a Context,
    ) -> LocalFuture<'a, Result<()>>;
}

impl<F: AsyncFn(&mut Chat, &str, &Context) -> Result<()> + Send + Sync> RunCommand for F {
    fn run<'a>(
        &'a self,
        chat: &'a mut Chat,
        args: &'a str,
        cx: &'a Context,
    ) -> LocalFuture<'a, Result<()>> {
        Box::pin(self(chat, args, cx))
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
            commands: vec![],
            wakes: vec![],
            listeners: vec![],
        };
        Agent {
            parts: Arc::new(parts),
            name: "main".into(),
            cwd: Arc::from(cwd.into()),
            ui: Arc::new(Quiet),
            cancel: CancellationToken::new(),
            local: Arc::default(),
            family: Arc::default(),
        }
    }

    fn parts(&mut self) -> &mut Parts {
        Arc::make_mut(&mut self.parts)
    }

    /// Puts another model in place of the one there is, which it may use: `agent.model(|inner| Wrapped(inner))`.
    pub fn model<M: Model>(mut self, wrap: impl FnOnce(AnyModel) -> M) -> Self {
        let inner = self.parts.model.clone();
        self.parts().model = AnyModel::new(wrap(inner));
        self
    }

    /// Adds a tool; one of the same name takes the older one's place.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        let spec = Arc::new(tool.spec());
        let tools = &mut self.parts().tools;
        let entry = (spec.clone(), Arc::new(tool) as Arc<dyn DynTool>);
        match tools.iter().position(|(s, _)| s.name == spec.name) {
            Some(i) => tools[i] = entry,
            None => tools.push(entry),
        }
        self
    }

    /// Adds several tools that one function runs. It gets each call as one value, an enum: the call of `send_mail` as its
    /// variant `SendMail` with the arguments as fields.
    pub fn verbs<V, F, Fut>(self, specs: impl IntoIterator<Item = ToolSpec>, run: F) -> Self
    where
        V: DeserializeOwned + Send + 'static,
        F: Fn(V, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, ToolError>> + Send + 'static,
    {
        let run = Arc::new(run);
        let verb = |spec| Verb { spec, run: run.clone(), of: PhantomData };
        specs.into_iter().fold(self, |agent, spec| agent.tool(verb(spec)))
    }

    /// Adds a section to the system text; a blank one, which the API would refuse, is left out.
    pub fn system(mut self, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        if !text.trim().is_empty() {
            self.parts().system.push(text);
        }
        self
    }

    /// Wraps all that is there: the newest layer is the outermost.
    pub fn wrap(mut self, layer: impl Layer) -> Self {
        self.parts().layers.insert(0, Arc::new(layer));
        self
    }

    /// Adds `:name` to the prompt.
    pub fn command<F>(mut self, name: &str, help: &str, run: F) -> Self
    where
        F: AsyncFn(&mut Chat, &str, &Context) -> Result<()> + Send + Sync + 'static,
    {
        let command = Command { name: name.into(), help: help.into(), run: Box::new(run) };
        self.parts().commands.push(Arc::new(command));
        self
    }

    /// Waits while the agent idles: `true` when an `ask` layer now has something to tell the model, `false` when
    /// nothing is expected any more. It must drain nothing, since it is dropped when the person types first. A child
    /// that idles is woken by it too, so it looks whose context it is given.
    pub fn wake<F, Fut>(mut self, wait: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.parts().wakes.push(Arc::new(move |cx| Box::pin(wait(cx))));
        self
    }

    /// Runs on every way out of the program, newest first, five seconds in all.
    pub fn on_exit<F, Fut>(self, run: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.family.exits.lock().unwrap().push(Box::new(move || Box::pin(run())));
        self
    }

    /// Runs what [`on_exit`](Agent::on_exit) has gathered, once.
    pub async fn exit(&self) {
        let all = async {
            loop {
                let newest = self.family.exits.lock().unwrap().pop();
                let Some(run) = newest else { break };
                run().await;
            }
        };
        let _ = tokio::time::timeout(EXIT, all).await;
    }

    /// Shows events on this screen and asks this person.
    pub fn ui(mut self, ui: impl Ui) -> Self {
        self.ui = Arc::new(ui);
        self
    }

    /// Calls `hear` for every event of this agent and its children; it must not block.
    pub fn listen(mut self, hear: impl Fn(&Event, &Context) + Send + Sync + 'static) -> Self {
        self.parts().listeners.push(Arc::new(hear));
        self
    }

    /// The events of this agent and its children as a stream, for a program that embeds it.
    pub fn events(self) -> (Self, Events) {
        let (tell, told) = mpsc::unbounded_channel();
        let agent = self.listen(move |event, cx| {
            // A stream that was dropped wants to hear no more.
            let _ = tell.send(Told { agent: cx.agent.name.clone(), event: event.clone() });
        });
        (agent, Events(told))
    }

    /// Stops when this token is cancelled.
    pub fn cancelled_by(mut self, token: CancellationToken) -> Self {
        self.cancel = token;
        self
    }

    /// An agent of the same model and tools for a conversation of its own, bound by the layers that
    /// [`follow`](Layer::follows), under a name of its own (`main/explorer-2`), without the tools named in `without`.
    /// It stops when its parent does.
    pub fn child(&self, name: &str, without: &[&str]) -> Self {
        let mut child = self.clone();
        child.name = self.family.unique(format!("{}/{name}", self.name));
        child.local = Arc::default();
        child.cancel = self.cancel.child_token();
        let cx = child.context();
        let parts = child.parts();
        parts.tools.retain(|(spec, _)| !without.contains(&spec.name.as_str()));
        parts.layers.retain(|layer| layer.follows(&cx));
        parts.commands.clear();
        child
    }

    /// The same agent in another directory.
    pub fn at(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Arc::from(cwd.into());
        self
    }

    /// `main`, or a child's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the tool of this name leaves the world as it is.
    pub fn is_read_only(&self, name: &str) -> bool {
        self.parts.tools.iter().any(|(spec, tool)| spec.name == name && tool.read_only())
    }

    /// What the model is told of the tools.
    pub fn specs(&self) -> Vec<Arc<ToolSpec>> {
        self.parts.tools.iter().map(|(spec, _)| spec.clone()).collect()
    }

    /// The agent as its tools and layers see it.
    pub fn context(&self) -> Context {
        Context { agent: self.clone() }
    }

    /// Asks the model, through every layer.
    ///
    /// # Errors
    /// Whatever ends the turn; the chat is as sound as before.
    pub async fn ask(&self, chat: &mut Chat) -> Result<Reply> {
        NextAsk(&self.parts.layers).run(chat, &self.context()).await
    }

    /// Runs the calls, through every layer: one message with one result per call, in their order, whatever the
    /// layers and the tools do.
    pub async fn act(&self, calls: Vec<ToolCall>) -> Message {
        let asked = calls.clone();
        let mut outcomes = NextBatch(&self.parts.layers).run(calls, &self.context()).await;
        let in_order =
            asked.iter().map(|call| match outcomes.iter().position(|o| o.id == call.id) {
                Some(i) => outcomes.remove(i),
                None => call.refuse("not run"),
            });
        Message::results(in_order.collect::<Vec<Outcome>>())
    }
}

impl Family {
    fn unique(&self, name: String) -> Arc<str> {
        let mut names = self.names.lock().unwrap();
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        // One of the numbered ones may be the plain name of another.
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !names.contains(name))
            .unwrap_or(name);
        names.insert(free.clone());
        free.into()
    }
}

/// Who is calling, where, before whom: the agent as its tools and layers see it. A layer that wants the rest to see
/// it otherwise passes another one down.
#[derive(Clone)]
pub struct Context {
    /// The agent that runs.
    pub agent: Agent,
}

impl Context {
    /// Its directory; never the process's.
    pub fn cwd(&self) -> &Path {
        &self.agent.cwd
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.agent.name
    }

    /// Whether it works for another agent.
    pub fn is_child(&self) -> bool {
        self.agent.name.contains('/')
    }

    /// Fires when it must stop.
    pub fn cancel(&self) -> &CancellationToken {
        &self.agent.cancel
    }

    /// Shows the person, and tells every listener: the only way to do either.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an event is made to be told, and then it is over"
    )]
    pub fn emit(&self, event: Event) {
        for hear in &self.agent.parts.listeners {
            hear(&event, self);
        }
        self.agent.ui.show(&event, self);
    }

    /// A line for the person.
    pub fn notice(&self, line: impl Into<String>) {
        self.emit(Event::Notice(line.into()));
    }

    /// Asks the person.
    pub async fn confirm(&self, question: Question) -> Answer {
        self.agent.ui.confirm(question, self).await
    }

    /// A line that the person typed while a turn runs, if any.
    pub fn typed(&self) -> Option<String> {
        self.agent.ui.typed()
    }

    /// Whether a person is there to be asked.
    pub fn attended(&self) -> bool {
        self.agent.ui.attended()
    }

    /// The request that this chat makes: with the agent's system text and tools, and so with the prefix that the
    /// prompt cache knows.
    pub fn request(&self, chat: &Chat) -> Request {
        Request {
            system: self.agent.parts.system.clone(),
            tools: self.agent.specs(),
            ..Request::of(chat)
        }
    }

    /// A request beside the conversation (a summary, a title): through every `send`, past every `ask`, unseen.
    ///
    /// # Errors
    /// As for [`Agent::ask`].
    pub async fn side(&self, request: Request) -> Result<Reply> {
        let mut unseen = self.clone();
        unseen.agent.ui = Arc::new(Quiet);
        unseen.agent.parts().listeners.clear();
        NextSend(&self.agent.parts.layers).run(request, &unseen).await
    }

    /// The state of type `T` of this agent's current conversation: made when first asked for, a child's its own.
    pub fn local<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut local = self.agent.local.lock().unwrap();
        let any = local.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone();
        drop(local);
        any.downcast().expect("kept under its own type")
    }

    /// Forgets all such state: another conversation begins (clear, resume, fork).
    pub fn forget(&self) {
        self.agent.local.lock().unwrap().clear();
    }
}
