//! Tools: what the model can do, and what a call does to the world.
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
pub use rungs_process::Outputs;
pub use write::Write;

use crate::{Agent, Block, Context, State};
use futures_util::future::BoxFuture;
use rungs_files::{IsCancelled, ReadTracker};
use rungs_json::{Described, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{future::Future, path::PathBuf, sync::Arc};

/// What the model is told about a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`, at most 64 bytes.
    pub name: String,
    /// What it does, when to use it, what comes back: the model knows nothing else of it.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Written,
}

impl ToolSpec {
    /// A tool whose arguments are the struct `T`: its doc comment is the description, the doc
    /// comments of its fields describe the arguments.
    ///
    /// # Panics
    /// When the type makes no tool; the message says why.
    pub fn of<T: JsonSchema>(name: &str) -> Self {
        ToolSpec::described(name.into(), rungs_json::of::<T>())
    }

    /// Finds mistakes of whoever wrote the tool, when it is added.
    pub(crate) fn described(name: String, described: Described) -> Self {
        let Described { description, schema } = described;
        assert!(rungs_json::is_name(&name), "{name:?} cannot name a tool");
        assert!(
            !description.is_empty(),
            "the tool `{name}` has no doc comment, so no model would know what it does"
        );
        assert!(schema["type"] == "object", "the arguments of `{name}` must be a struct");
        ToolSpec { name, description, input_schema: schema }
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
    /// It changes something within the harness alone: a plan, a task board, a mailbox. Such calls
    /// keep their order, but nobody need be asked.
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

/// A failure that the model is told about, so that it can try something else: say what went wrong
/// and what would be right. The turn continues; what ends it is an [`Error`](crate::Error).
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

    /// What this call does to the world. There is no default: whoever writes a tool knows, and a
    /// wrong guess would be a security hole.
    fn effect(&self, input: &Self::Input) -> Effect;

    /// What this call does, in few words for the person who watches: `read notes.txt`. The model
    /// never sees it. Without it, the name and the arguments are shown as they are.
    fn summary(&self, _input: &Self::Input) -> Option<String> {
        None
    }

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
        let Ok(fitted) = rungs_json::fit(&self.spec.input_schema, input) else {
            return Effect::Reads;
        };
        self.tool.effect(fitted.value).unwrap_or(Effect::Reads)
    }

    pub(crate) fn summary(&self, input: &Value) -> Option<String> {
        let fitted = rungs_json::fit(&self.spec.input_schema, input).ok()?;
        self.tool.summary(fitted.value)
    }

    pub(crate) async fn call(&self, input: &Value, cx: &Context) -> Result<ToolOutput, ToolError> {
        let fitted = rungs_json::fit(&self.spec.input_schema, input).map_err(ToolError)?;
        let mut output = self.tool.call(fitted.value, cx).await?;
        let hints = fitted.hints.iter().map(|hint| format!("\n(not read: {hint})"));
        output.0.extend(hints.map(Block::text));
        Ok(output)
    }
}

/// The object-safe form of [`Tool`]. Arguments were checked against the tool's schema.
trait DynTool: Send + Sync {
    fn effect(&self, input: Value) -> Result<Effect, ToolError>;
    fn summary(&self, input: Value) -> Option<String>;
    fn call<'a>(&'a self, input: Value, cx: &'a Context) -> BoxFuture<'a, Returned>;
}

/// What a call of a tool returns.
type Returned = Result<ToolOutput, ToolError>;

impl<T: Tool> DynTool for T {
    fn effect(&self, input: Value) -> Result<Effect, ToolError> {
        Ok(Tool::effect(self, &serde_json::from_value(input)?))
    }
    fn summary(&self, input: Value) -> Option<String> {
        Tool::summary(self, &serde_json::from_value(input).ok()?)
    }
    fn call<'a>(&'a self, input: Value, cx: &'a Context) -> BoxFuture<'a, Returned> {
        Box::pin(async move { Tool::call(self, serde_json::from_value(input)?, cx).await })
    }
}

/// What runs the calls of several tools: `async fn(&S, V, &Context) -> Result<impl
/// Into<ToolOutput>, ToolError>`. It is a trait of its own because a bound on the future of an
/// async function cannot be written otherwise.
pub trait Run<'a, S: 'a, V>: Send + Sync {
    /// Runs it.
    fn run(&self, state: &'a S, call: V, cx: &'a Context) -> BoxFuture<'a, Returned>;
}

impl<'a, S: 'a, V, F, Fut, O> Run<'a, S, V> for F
where
    F: Fn(&'a S, V, &'a Context) -> Fut + Send + Sync,
    Fut: Future<Output = Result<O, ToolError>> + Send + 'a,
    O: Into<ToolOutput>,
{
    fn run(&self, state: &'a S, call: V, cx: &'a Context) -> BoxFuture<'a, Returned> {
        let running = self(state, call, cx);
        Box::pin(async { Ok(running.await?.into()) })
    }
}

/// One variant of the enum `V`, as a tool.
pub(crate) struct Variant<S, V> {
    pub spec: ToolSpec,
    pub state: Arc<S>,
    pub effect: fn(&V) -> Effect,
    pub run: Runner<S, V>,
}

pub(crate) type Runner<S, V> = Arc<dyn for<'a> Run<'a, S, V>>;

/// The value of the variant `name` that has these fields.
fn variant<V: DeserializeOwned>(name: &str, fields: &Value) -> Result<V, ToolError> {
    Ok(serde_json::from_value(json!({ name: fields }))?)
}

impl<S: Send + Sync + 'static, V: DeserializeOwned + Send + 'static> Tool for Variant<S, V> {
    type Input = Value;

    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn effect(&self, input: &Value) -> Effect {
        match variant(&self.spec.name, input) {
            Ok(call) => (self.effect)(&call),
            // The call will be refused.
            Err(_) => Effect::Reads,
        }
    }

    async fn call(&self, input: Value, cx: &Context) -> Returned {
        self.run.run(&self.state, variant(&self.spec.name, &input)?, cx).await
    }
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
    work: impl FnOnce(&Context, IsCancelled<'_>) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let token = cx.cancel().child_token();
    let _dropped = token.clone().drop_guard();
    let cx = cx.clone();
    tokio::task::spawn_blocking(move || work(&cx, &|| token.is_cancelled())).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::Mute;
    use std::collections::BTreeMap;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Todo {
        /// Writes the plan,
        /// in place of the old one.
        ///
        /// A second paragraph.
        TodoWrite {
            /// The steps.
            todos: Vec<Item>,
            first: Option<Status>,
        },
        /// Sets a status.
        TodoUpdate {
            item: u32,
            status: Status,
            note: Option<String>,
            urgent: Option<bool>,
        },
        /// Reads the plan.
        TodoRead {},
        Around(Wrapped),
    }

    /// One step.
    #[derive(Deserialize, JsonSchema)]
    struct Item {
        /// As an order.
        content: String,
        #[serde(default)]
        status: Status,
    }

    #[derive(Default, Deserialize, JsonSchema, PartialEq, Debug)]
    #[serde(rename_all = "snake_case")]
    enum Status {
        /// Not begun.
        #[default]
        Pending,
        /// At most one.
        InProgress,
    }

    /// Says what it wraps.
    #[derive(Deserialize, JsonSchema)]
    struct Wrapped {
        any: Value,
        #[serde(default)]
        map: BTreeMap<String, u8>,
    }

    async fn run(_: &(), call: Todo, _: &Context) -> Result<String, ToolError> {
        Ok(match call {
            Todo::TodoWrite { todos, first } => {
                let pending = todos.iter().filter(|item| item.status == Status::Pending).count();
                format!(
                    "{pending} of {} pending, first {first:?}: {}",
                    todos.len(),
                    todos[0].content
                )
            }
            Todo::TodoUpdate { item, status, note, urgent } => {
                format!("{item} {status:?} {note:?} {urgent:?}")
            }
            Todo::TodoRead {} => "read".into(),
            Todo::Around(wrapped) => format!("{} {:?}", wrapped.any, wrapped.map),
        })
    }

    fn agent() -> Agent {
        Agent::new(Mute, ".").tools((), |_: &Todo| Effect::Internal, run)
    }

    #[test]
    fn schemas_are_plain() {
        let specs: Vec<Value> = agent().specs().iter().map(|spec| json!(spec)).collect();
        let status = json!({"type": "string", "enum": ["pending", "in_progress"],
            "description": "`pending`: Not begun.\n`in_progress`: At most one."});
        let closed = |properties: Value, required: Value| {
            json!({"type": "object", "properties": properties, "required": required,
                "additionalProperties": false})
        };
        let content = json!({"description": "As an order.", "type": "string"});
        let mut item = closed(json!({"content": content, "status": status}), json!(["content"]));
        item["description"] = json!("One step.");
        let todos = json!({"description": "The steps.", "type": "array", "items": item});
        let number = json!({"type": "integer", "minimum": 0});
        let update = json!({"item": number, "status": status, "note": {"type": "string"},
            "urgent": {"type": "boolean"}});
        let map = json!({"type": "object", "default": {},
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 255}});
        let expected = [
            (
                "todo_write",
                "Writes the plan, in place of the old one.\nA second paragraph.",
                closed(json!({"todos": todos, "first": status}), json!(["todos"])),
            ),
            ("todo_update", "Sets a status.", closed(update, json!(["item", "status"]))),
            ("todo_read", "Reads the plan.", closed(json!({}), json!([]))),
            (
                "around",
                "Says what it wraps.",
                closed(json!({"any": {}, "map": map}), json!(["any"])),
            ),
        ];
        for (spec, (name, description, schema)) in specs.iter().zip(expected) {
            let whole = json!({"name": name, "description": description, "input_schema": schema});
            assert_eq!(spec, &whole);
        }
        let text = json!(specs).to_string();
        for noise in ["$schema", "$defs", "$ref", "title", "format", "oneOf", "anyOf", "const"] {
            assert!(!text.contains(&format!("\"{noise}\"")), "{noise}");
        }
        assert!(!text.contains("null"), "{text}");
    }

    async fn call(name: &str, input: Value) -> Result<String, String> {
        let call = ToolCall { id: "1".into(), name: name.into(), input };
        let message = agent().act(vec![call]).await;
        let Some(Block::ToolResult { content, is_error, .. }) = message.content.first() else {
            panic!("{message:?}")
        };
        let text = content[0].as_text().unwrap().to_string();
        if *is_error { Err(text) } else { Ok(text) }
    }

    #[tokio::test]
    async fn each_variant_gets_its_own_call_and_certain_slips_are_corrected() {
        let todos = json!([{"content": "a"}, {"content": "b", "status": "in_progress"}]);
        let plan = "1 of 2 pending, first None: a";
        for (name, input, output) in [
            ("todo_write", json!({"todos": todos}), plan),
            ("todo_write", json!({"todos": todos.to_string()}), plan),
            ("todo_write", json!(json!({"todos": todos}).to_string()), plan),
            (
                "todo_write",
                json!({"todos": todos, "first": "pending"}),
                "1 of 2 pending, first Some(Pending): a",
            ),
            (
                "todo_update",
                json!({"item": 3, "status": "pending", "note": null}),
                "3 Pending None None",
            ),
            (
                "todo_update",
                json!({"item": "3", "status": "pending", "note": "4", "urgent": "true"}),
                "3 Pending Some(\"4\") Some(true)",
            ),
            ("todo_update", json!({"item": 3.0, "status": "pending"}), "3 Pending None None"),
            ("todo_read", json!({}), "read"),
            ("around", json!({"any": [1], "map": {"a": 255}}), r#"[1] {"a": 255}"#),
            ("around", json!({"any": "1", "map": {}}), r#""1" {}"#),
        ] {
            assert_eq!(call(name, input).await.as_deref(), Ok(output));
        }
    }

    #[tokio::test]
    async fn a_field_too_many_of_an_item_is_named_beside_the_result() {
        let todos = json!([{"content": "a", "activeForm": "doing a", "status": "pending"}]);
        let output = call("todo_write", json!({"todos": todos.to_string()})).await;
        let call = ToolCall {
            id: "1".into(),
            name: "todo_write".into(),
            input: json!({"todos": todos.to_string()}),
        };
        let message = agent().act(vec![call]).await;
        let texts: Vec<&str> = message.blocks().filter_map(Block::as_text).collect();
        let hint = "\n(not read: an item has no field `activeForm` (there are: content, status))";
        assert_eq!((output.as_deref(), texts[1]), (Ok("1 of 1 pending, first None: a"), hint));
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_named_at_once() {
        let todos = json!([{"content": 1}, {"status": "doing", "content": "b"}]);
        let words = "\"pending\" or \"in_progress\"";
        for (name, input, error) in [
            (
                "todo_write",
                json!({"todos": todos}),
                format!(
                    "`todos[0].content`: expected a string, got 1; \
                     `todos[1].status`: expected {words}, got \"doing\""
                ),
            ),
            (
                "todo_update",
                json!({"itme": 3, "status": "pending"}),
                "missing field `item`; there is no field `itme` \
                 (there are: item, status, note, urgent)"
                    .into(),
            ),
            (
                "todo_update",
                json!({"item": -1, "status": null}),
                format!(
                    "`item`: expected a whole number from 0 on, got -1; \
                     `status`: expected {words}, got null"
                ),
            ),
            (
                "todo_update",
                json!({"item": 1.5, "status": "pending"}),
                "`item`: expected a whole number from 0 on, got 1.5".into(),
            ),
            (
                "todo_update",
                json!({"item": "three", "status": "pending"}),
                "`item`: expected a whole number from 0 on, got \"three\"".into(),
            ),
            (
                "todo_update",
                json!({"item": 1u64 << 32, "status": "pending"}),
                "invalid value: integer `4294967296`, expected u32".into(),
            ),
            ("todo_write", json!({"todos": {}}), "`todos`: expected an array, got {}".into()),
            (
                "around",
                json!({"any": 1, "map": {"a": 256}}),
                "`map.a`: expected a whole number from 0 to 255, got 256".into(),
            ),
            (
                "todo_read",
                json!("cut {"),
                "the arguments are no JSON object (were they cut?): \"cut {\"".into(),
            ),
        ] {
            assert_eq!(call(name, input).await, Err(error));
        }
        let long = call("around", json!({"any": 1, "map": "\u{e9}".repeat(1000)})).await;
        let shown = format!("`map`: expected an object, got \"{}...", "\u{e9}".repeat(59));
        assert_eq!(long, Err(shown));
    }

    #[tokio::test]
    async fn text_and_images_keep_their_order() {
        /// Looks.
        #[derive(Deserialize, JsonSchema)]
        struct Look {}
        struct Camera;
        impl Tool for Camera {
            type Input = Look;
            fn spec(&self) -> ToolSpec {
                ToolSpec::of::<Look>("look")
            }
            fn effect(&self, _: &Look) -> Effect {
                Effect::Reads
            }
            async fn call(&self, _: Look, _: &Context) -> Result<ToolOutput, ToolError> {
                let image = || Block::image("image/png", "aGk=");
                let (left, right) = (Block::text("left"), Block::text("right"));
                Ok(ToolOutput(vec![image(), left, Block::text(" "), image(), right]))
            }
        }
        let call = ToolCall { id: "1".into(), name: "look".into(), input: json!({}) };
        let message = Agent::new(Mute, ".").tool(Camera).act(vec![call]).await;
        let results = json!(message.content);
        let blocks = results[0]["content"].as_array().unwrap();
        let kinds: Vec<&Value> = blocks.iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["image", "text", "image", "text"]);
    }

    #[test]
    fn a_tool_that_panics_when_asked_may_do_anything() {
        let agent = Agent::new(Mute, ".").tools((), |_: &Todo| panic!("on purpose"), run);
        let cx = agent.context();
        let call = |name: &str| ToolCall { id: "1".into(), name: name.into(), input: json!({}) };
        assert_eq!(cx.effect(&call("todo_read")), Effect::Anything);
        assert_eq!(cx.effect(&call("none")), Effect::Reads);
    }

    #[test]
    fn a_call_is_told_in_words() {
        /// Fails.
        #[derive(Deserialize, JsonSchema)]
        struct Fail {
            what: String,
        }
        struct Failing;
        impl Tool for Failing {
            type Input = Fail;
            fn spec(&self) -> ToolSpec {
                ToolSpec::of::<Fail>("fail")
            }
            fn effect(&self, _: &Fail) -> Effect {
                Effect::Reads
            }
            fn summary(&self, input: &Fail) -> Option<String> {
                panic!("{}", input.what)
            }
            async fn call(&self, _: Fail, _: &Context) -> Result<ToolOutput, ToolError> {
                Ok("".into())
            }
        }
        let cx = all(agent()).tool(Failing).context();
        for (name, input, summary) in [
            ("bash", json!({"command": "ls -l\n"}), "$ ls -l"),
            (
                "bash",
                json!({"command": "a\nb", "description": "Runs\n both"}),
                "$ a\nb  # Runs both",
            ),
            ("read", json!({"file_path": "f"}), "read f"),
            ("read", json!({"file_path": "f", "offset": 1}), "read f"),
            ("read", json!({"file_path": "f", "offset": "7"}), "read f from line 7"),
            ("read", json!({"file_path": "f", "offset": 10, "limit": 11}), "read f lines 10-20"),
            ("read", json!({"file_path": "f", "limit": 5}), "read f lines 1-5"),
            (
                "read",
                json!({"file_path": "f", "offset": u64::MAX, "limit": 9}),
                "read f lines 18446744073709551615-18446744073709551615",
            ),
            ("write", json!({"file_path": "f", "content": "a\n"}), "write f (1 line)"),
            ("write", json!({"file_path": "f", "content": ""}), "write f (0 lines)"),
            ("edit", json!({"file_path": "f", "old_string": "a", "new_string": "b"}), "edit f"),
            ("grep", json!({"pattern": "fn \"a\"", "path": "src"}), "grep fn \"a\", path: src"),
            ("glob", json!({"pattern": "*.rs"}), "glob *.rs"),
            // What cannot be read, is unknown or has no summary of its own.
            ("read", json!({"path": "f"}), "read f"),
            ("none", json!({"a": 1}), "none a: 1"),
            ("bash", json!("cut {"), "bash cut {"),
            ("todo_update", json!({"item": 3, "status": "x"}), "todo_update item: 3, status: x"),
            ("fail", json!({"what": "on purpose"}), "fail on purpose"),
        ] {
            let call = ToolCall { id: "1".into(), name: name.into(), input };
            assert_eq!(cx.summary(&call), summary);
        }
    }

    #[test]
    #[should_panic(expected = "write each variant as `Name { .. }`")]
    fn a_variant_without_braces_is_found_when_it_is_added() {
        #[derive(Deserialize, JsonSchema)]
        enum Bad {
            /// Lists.
            List,
        }
        async fn run(_: &(), Bad::List: Bad, _: &Context) -> Result<String, ToolError> {
            Ok(String::new())
        }
        let _ = Agent::new(Mute, ".").tools((), |_: &Bad| Effect::Reads, run);
    }

    #[test]
    #[should_panic(expected = "the tool `list` has no doc comment")]
    fn a_tool_without_a_description_is_found_when_it_is_added() {
        #[derive(JsonSchema)]
        struct List {}
        let _ = ToolSpec::of::<List>("list");
    }
}
