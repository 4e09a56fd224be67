//! Tools: what the model can do, and the ones that every lesson shares.
mod bash;
mod edit;
mod glob;
mod grep;
mod read;
mod write;

pub use bash::Bash;
pub use edit::Edit;
pub use glob::Glob;
pub use grep::Grep;
pub use read::Read;
pub use rungs_process::{Clip, Log, Outputs, Process, Sink};
pub use write::Write;

use crate::{Agent, Block, BoxFuture, Context};
use rungs_files::{Doubt, ReadTracker, Stamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    future::Future,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// What the model is told about a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`, at most 128.
    pub name: String,
    /// What it does, when to use it, what comes back: the model knows nothing else of it.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Value,
}

impl ToolSpec {
    /// A tool of this name.
    pub fn new(name: &str, description: &str, input_schema: Value) -> Self {
        ToolSpec { name: name.into(), description: description.into(), input_schema }
    }

    /// A tool of this name that needs all of these fields, given as the schema's `properties`.
    pub fn with_fields(name: &str, description: &str, fields: &Value) -> Self {
        let required: Vec<&String> =
            fields.as_object().into_iter().flatten().map(|(field, _)| field).collect();
        Self::new(
            name,
            description,
            serde_json::json!({"type": "object", "properties": fields, "required": required}),
        )
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// What its result must name.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// The arguments.
    pub input: Value,
}

/// What a tool gives back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// For the model to read.
    pub text: String,
    /// Images and documents.
    pub attached: Vec<Block>,
}

impl<S: Into<String>> From<S> for Output {
    fn from(text: S) -> Self {
        Output { text: text.into(), attached: vec![] }
    }
}

/// How one call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The call's id.
    pub id: String,
    /// What the model reads.
    pub output: Output,
    /// Whether the tool failed or did not run.
    pub is_error: bool,
}

impl Outcome {
    /// The block that goes into the next message.
    pub fn into_block(self) -> Block {
        let mut content = self.output.attached;
        let text = self.output.text;
        if !text.trim().is_empty() {
            content.insert(0, Block::text(text));
        } else if content.is_empty() {
            // The API refuses empty text, and a model wonders about nothing at all.
            content.push(Block::text("(no output)"));
        }
        Block::ToolResult { tool_use_id: self.id, content, is_error: self.is_error }
    }
}

impl ToolCall {
    /// Answers without running.
    pub fn refuse(&self, why: impl Into<String>) -> Outcome {
        Outcome { id: self.id.clone(), output: Output::from(why), is_error: true }
    }

    /// Answers with what the tool gave.
    pub fn finish(&self, result: Result<Output, ToolError>) -> Outcome {
        match result {
            Ok(output) => Outcome { id: self.id.clone(), output, is_error: false },
            Err(error) => self.refuse(error.0),
        }
    }
}

/// A failure that the model is told about, so that it can try something else: say what went wrong and what would be
/// right. The turn goes on; what ends it is an [`Error`](crate::Error).
#[derive(Debug, PartialEq)]
pub struct ToolError(pub String);

impl<E: std::error::Error> From<E> for ToolError {
    fn from(error: E) -> Self {
        ToolError(error.to_string())
    }
}

/// Reads the arguments of a call.
///
/// # Errors
/// Names the field, what was expected and what came, and fields that there are not.
#[expect(
    clippy::needless_pass_by_value,
    reason = "what was checked is not used unchecked any more"
)]
pub fn args<T: DeserializeOwned>(input: Value) -> Result<T, ToolError> {
    Ok(rungs_args::read(&input)?)
}

/// Which files an agent has read.
#[derive(Default)]
struct Seen(Mutex<ReadTracker>);

impl Seen {
    fn note(&self, path: PathBuf, stamp: Stamp) {
        self.0.lock().unwrap().note(path, stamp);
    }

    fn doubt(&self, path: &Path, now: &Stamp) -> Option<Doubt> {
        self.0.lock().unwrap().doubt(path, now)
    }
}

/// Adds the six tools, in the order in which the model is told of them.
pub fn all(agent: Agent) -> Agent {
    agent.tool(Bash).tool(Read).tool(Write).tool(Edit).tool(Glob).tool(Grep)
}

/// One of several tools that one function runs, see [`Agent::verbs`].
pub(crate) struct Verb<V, F> {
    pub(crate) spec: ToolSpec,
    pub(crate) run: Arc<F>,
    pub(crate) of: PhantomData<fn() -> V>,
}

impl<V, F, Fut> Tool for Verb<V, F>
where
    V: DeserializeOwned + Send + 'static,
    F: Fn(V, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let verb = args(serde_json::json!({ &self.spec.name: input }))?;
        Ok((self.run)(verb, cx.clone()).await?.into())
    }
}

/// Runs what waits for the disk where that holds up nobody. It is told when to stop: when the agent is cancelled, and
/// also when the call is dropped, which can't reach it otherwise.
async fn blocking<T: Send + 'static>(
    cx: &Context,
    work: impl FnOnce(&Context, &(dyn Fn() -> bool + Sync)) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let token = cx.cancel().child_token();
    let _dropped = token.clone().drop_guard();
    let cx = cx.clone();
    tokio::task::spawn_blocking(move || work(&cx, &|| token.is_cancelled())).await?
}

/// Something that the model can do.
pub trait Tool: Send + Sync + 'static {
    /// Read once, when the tool is added.
    fn spec(&self) -> ToolSpec;

    /// Runs one call. It may be dropped at any await, and what it has started must end then.
    ///
    /// # Errors
    /// What the model should read; a panic becomes such an error too.
    fn call(
        &self,
        input: Value,
        cx: &Context,
    ) -> impl Future<Output = Result<Output, ToolError>> + Send;

    /// Whether it leaves the world as it is, so that it may run beside others and needs no gate.
    fn read_only(&self) -> bool {
        false
    }
}

/// The twin of [`Tool`] that can stand behind a pointer.
pub(crate) trait DynTool: Send + Sync {
    fn read_only(&self) -> bool;
    fn call<'a>(
        &'a self,
        input: Value,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<Output, ToolError>>;
}

impl<T: Tool> DynTool for T {
    fn read_only(&self) -> bool {
        Tool::read_only(self)
    }
    fn call<'a>(
        &'a self,
        input: Value,
        cx: &'a Context,
    ) -> BoxFuture<'a, Result<Output, ToolError>> {
        Box::pin(Tool::call(self, input, cx))
    }
}
