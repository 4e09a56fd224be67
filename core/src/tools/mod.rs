//! Tools: what the model can do, and what a call does to the world.
mod args;
mod bash;
mod edit;
mod glob;
mod grep;
mod read;
mod schema;
mod write;

pub use bash::Bash;
pub use edit::Edit;
pub use glob::Glob;
pub use grep::Grep;
pub use read::Read;
pub use rungs_process::Outputs;
pub use write::Write;

use crate::{Agent, Block, BoxFuture, Context, State};
use futures_util::{TryFutureExt, future::MapOk};
use rungs_files::ReadTracker;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{future::Future, marker::PhantomData, path::PathBuf, sync::Arc};

/// What the model is told about a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`, at most 64 bytes.
    pub name: String,
    /// What it does, when to use it, what comes back: the model knows nothing else of it.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Value,
}

impl ToolSpec {
    /// A tool whose arguments are the struct `T`: its doc comment is the description, the doc comments
    /// of its fields describe the arguments.
    ///
    /// # Panics
    /// When the type makes no tool; the message says why.
    pub fn of<T: JsonSchema>(name: &str) -> Self {
        schema::spec::<T>(name)
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The id that its result must name.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments.
    pub input: Value,
}

/// What a call does to the world. Permissions, snapshots and parallel execution go by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It changes something within the harness alone: a plan, a task board, a mailbox. Such calls keep
    /// their order, but nobody need be asked.
    Internal,
    /// It makes other calls, each of which is judged by itself.
    Delegates,
    /// It changes these files and nothing else.
    Writes(Vec<PathBuf>),
    /// It may do anything.
    Anything,
}

impl Effect {
    /// Whether this call itself leaves the world as it is.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Effect::Reads | Effect::Internal | Effect::Delegates)
    }
}

/// What a tool returns: text, images and documents, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ToolOutput(pub Vec<Block>);

impl ToolOutput {
    /// Its text blocks, joined.
    pub fn text(&self) -> String {
        self.0.iter().filter_map(Block::as_text).collect()
    }
}

impl<S: Into<String>> From<S> for ToolOutput {
    fn from(text: S) -> Self {
        ToolOutput(vec![Block::text(text)])
    }
}

impl FromIterator<Block> for ToolOutput {
    fn from_iter<I: IntoIterator<Item = Block>>(blocks: I) -> Self {
        ToolOutput(blocks.into_iter().collect())
    }
}

/// How one call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// What the model reads.
    pub output: ToolOutput,
    /// Whether the tool failed or did not run.
    pub is_error: bool,
}

impl ToolResult {
    /// The block for the next message.
    pub fn into_block(self) -> Block {
        let mut content = self.output.0;
        content.retain(|block| !block.is_blank());
        if content.is_empty() {
            // The API refuses empty text, and an empty result tells a model nothing.
            content.push(Block::text("(no output)"));
        }
        Block::ToolResult { tool_use_id: self.id, content, is_error: self.is_error }
    }
}

impl ToolCall {
    /// Answers without running.
    pub fn refuse(&self, why: impl Into<String>) -> ToolResult {
        ToolResult { id: self.id.clone(), output: ToolOutput::from(why), is_error: true }
    }

    /// Answers with what the tool returned.
    pub fn finish(&self, result: Result<ToolOutput, ToolError>) -> ToolResult {
        match result {
            Ok(output) => ToolResult { id: self.id.clone(), output, is_error: false },
            Err(error) => self.refuse(error.0),
        }
    }
}

/// A failure that the model is told about, so that it can try something else: say what went wrong and
/// what would be right. The turn continues; what ends it is an [`Error`](crate::Error).
#[derive(Debug, Clone, PartialEq)]
pub struct ToolError(pub String);

impl<E: std::error::Error> From<E> for ToolError {
    fn from(error: E) -> Self {
        ToolError(error.to_string())
    }
}

/// Something that the model can do.
pub trait Tool: Send + Sync + 'static {
    /// Its arguments. A tool that learns them only at run time (MCP) has [`Value`] here.
    type Input: DeserializeOwned + Send + 'static;

    /// Read once, when the tool is added: `ToolSpec::of::<Self::Input>("name")`.
    fn spec(&self) -> ToolSpec;

    /// What this call does to the world. There is no default: whoever writes a tool knows, and a wrong
    /// guess would be a security hole.
    fn effect(&self, input: &Self::Input) -> Effect;

    /// Runs one call. It may be dropped at any await, and what it has started must end then.
    ///
    /// # Errors
    /// What the model should read; a panic becomes such an error too.
    fn call(
        &self,
        input: Self::Input,
        cx: &Context,
    ) -> impl Future<Output = Result<ToolOutput, ToolError>> + Send;
}

/// Tools that come and go, such as those of a server. Asked once at the beginning of each turn, so
/// that a turn has one list from its first request to its last call.
pub trait ToolSource: Send + Sync + 'static {
    /// The tools there are now, without waiting. One whose name an earlier tool has is left out.
    fn tools(&self) -> Vec<AnyTool>;
}

impl<F: Fn() -> Vec<AnyTool> + Send + Sync + 'static> ToolSource for F {
    fn tools(&self) -> Vec<AnyTool> {
        self()
    }
}

/// Any tool behind one pointer, with what the model is told of it.
#[derive(Clone)]
pub struct AnyTool {
    spec: Arc<ToolSpec>,
    tool: Arc<dyn DynTool>,
}

impl AnyTool {
    /// Puts a tool behind a pointer.
    pub fn new<T: Tool>(tool: T) -> Self {
        AnyTool { spec: Arc::new(tool.spec()), tool: Arc::new(tool) }
    }

    /// What the model is told.
    pub fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    /// Arguments that cannot be read do nothing, since [`call`](AnyTool::call) refuses them.
    pub(crate) fn effect(&self, input: &Value) -> Effect {
        let effect = args::fit(&self.spec.input_schema, input)
            .and_then(|input| self.tool.effect(&self.spec.name, input));
        effect.unwrap_or(Effect::Reads)
    }

    pub(crate) async fn call(&self, input: &Value, cx: &Context) -> Result<ToolOutput, ToolError> {
        let input = args::fit(&self.spec.input_schema, input)?;
        self.tool.call(&self.spec.name, input, cx).await
    }
}

impl std::fmt::Debug for AnyTool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AnyTool").field(&self.spec.name).finish()
    }
}

/// The object-safe form of [`Tool`]. Arguments were checked against the tool's schema.
trait DynTool: Send + Sync {
    fn effect(&self, name: &str, input: Value) -> Result<Effect, ToolError>;
    fn call<'a>(
        &'a self,
        name: &'a str,
        input: Value,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<ToolOutput, ToolError>>;
}

impl<T: Tool> DynTool for T {
    fn effect(&self, _name: &str, input: Value) -> Result<Effect, ToolError> {
        Ok(Tool::effect(self, &serde_json::from_value(input)?))
    }
    fn call<'a>(
        &'a self,
        _name: &'a str,
        input: Value,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<ToolOutput, ToolError>> {
        Box::pin(async move { Tool::call(self, serde_json::from_value(input)?, cx).await })
    }
}

/// What runs the calls of several tools:
/// `async fn(&S, V, &Context) -> Result<impl Into<ToolOutput>, ToolError>`. It is a trait of its own
/// because a bound on the future of an async function cannot be written otherwise.
pub trait Run<'a, S: 'a, V>: Send + Sync {
    /// The call as it runs.
    type Running: Future<Output = Result<ToolOutput, ToolError>> + Send + 'a;
    /// Runs it.
    fn run(&self, state: &'a S, call: V, cx: &'a Context) -> Self::Running;
}

impl<'a, S: 'a, V, F, Fut, O> Run<'a, S, V> for F
where
    F: Fn(&'a S, V, &'a Context) -> Fut + Send + Sync,
    Fut: Future<Output = Result<O, ToolError>> + Send + 'a,
    O: Into<ToolOutput> + 'a,
{
    type Running = MapOk<Fut, fn(O) -> ToolOutput>;
    fn run(&self, state: &'a S, call: V, cx: &'a Context) -> Self::Running {
        self(state, call, cx).map_ok(Into::into)
    }
}

/// One variant of an enum, as a tool.
struct Variant<S, V, F> {
    state: Arc<S>,
    effect: fn(&V) -> Effect,
    run: Arc<F>,
    of: PhantomData<fn() -> V>,
}

impl<S, V, F> DynTool for Variant<S, V, F>
where
    S: Send + Sync + 'static,
    V: DeserializeOwned + Send + 'static,
    F: for<'a> Run<'a, S, V>,
{
    fn effect(&self, name: &str, input: Value) -> Result<Effect, ToolError> {
        Ok((self.effect)(&serde_json::from_value(json!({ name: input }))?))
    }
    fn call<'a>(
        &'a self,
        name: &'a str,
        input: Value,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let call = serde_json::from_value(json!({ name: input }))?;
            self.run.run(&self.state, call, cx).await
        })
    }
}

/// One tool for each variant of the enum `V`.
pub(crate) fn of_enum<S, V, F>(
    state: S,
    effect: fn(&V) -> Effect,
    run: F,
) -> impl Iterator<Item = AnyTool>
where
    S: Send + Sync + 'static,
    V: DeserializeOwned + JsonSchema + Send + 'static,
    F: for<'a> Run<'a, S, V> + 'static,
{
    let (state, run) = (Arc::new(state), Arc::new(run));
    schema::variants::<V>().into_iter().map(move |spec| {
        let tool = Variant { state: state.clone(), effect, run: run.clone(), of: PhantomData };
        AnyTool { spec: Arc::new(spec), tool: Arc::new(tool) }
    })
}

/// Adds the six tools, in the order in which the model is told of them.
pub fn all(agent: Agent) -> Agent {
    agent.tool(Bash).tool(Read).tool(Write).tool(Edit).tool(Glob).tool(Grep)
}

/// Which files the model has read, and in which state they were then.
impl State for ReadTracker {
    const NAME: &'static str = "files_read";
    const OF_TEXT: bool = true;
}

/// Runs work that waits for the disk on a thread for blocking work. The work is told when to stop:
/// when the turn is cancelled, and also when the call is dropped, which cannot reach it otherwise.
async fn blocking<T: Send + 'static>(
    cx: &Context,
    work: impl FnOnce(&Context, &(dyn Fn() -> bool + Sync)) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let token = cx.cancel().child_token();
    let _dropped = token.clone().drop_guard();
    let cx = cx.clone();
    tokio::task::spawn_blocking(move || work(&cx, &|| token.is_cancelled())).await?
}
