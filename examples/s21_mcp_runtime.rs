//! # s21: any server, any tool
//!
//! An agent is worth what it can reach: issues, databases, browsers. Nobody can write a tool for
//! each of them into the agent. The Model Context Protocol turns that around: whoever owns the
//! system writes a server, and every agent can call it. But then somebody else's program describes
//! tools to the model, is given its arguments, and answers in its context.
//!
//! ```text
//!  config/mcp.yaml ─┐                      ┌─ stdio ──> server (a process of ours, one tree)
//!                   ├─> start, 4 at a time ┤
//!  .mcp.json ─ ask ─┘   in the background  └─ HTTP ───> server (somebody's machine)
//!                               │
//!        tools/list ─> seen before? ─ the same ──> mcp__server__tool ─> ToolSource ─> the model
//!                               └─ changed ─> withheld, until you agree
//! ```
//!
//! New here: a [`ToolSource`]: tools that come and go, listed once at the begin of each turn. The
//! servers start in parallel and never hold up the prompt; one that hangs, ends, floods or lies
//! costs its own tools. Names are qualified (`mcp__market__price`), so that no server shadows a
//! built-in tool or another server's. The hash of what a server says of a tool is **pinned**: after
//! a change the tool is withheld until you agree. A server's claim that a tool only reads counts if
//! your configuration trusts it. When all schemas together cost too much, they are **deferred**: a
//! layer leaves them out of the request, and `mcp_search` brings back what is needed. A server can
//! ask the person something in the middle of a call (**elicitation**), its prompts are commands,
//! its resources two tools.
//!
//! Terms: **MCP**, **JSON-RPC**, **stdio** and **streamable HTTP** transport, **rug pull** (a tool
//! that changes after approval), **tool poisoning** (orders in a description), **deferred
//! loading**.
//!
//! Run it: `cargo run --example s21_mcp_runtime`
//!
//! You will see tools of a server, which is this program, started once more with `--serve`: a
//! price, a price list, and an order that the server asks you about.
//!
//! Try, and predict first:
//! 1. Type `:mcp`, then `:prompt market shopping cents=100`. Who wrote that prompt?
//! 2. Kill the server (`pkill -f -- --serve`) and ask for a price at once, and again a moment
//!    later.
//! 3. Set `max_schema_tokens: 100` in `config/mcp.yaml`. What does a price cost now, in requests?
//!
//! Pitfalls: what a server returns is text of a stranger, in the model's context: with private data
//! and a way out, that is a leak, and no hash prevents it. Approval is of words, not of what the
//! server does. A stdio server runs with your rights: only a sandbox changes that.
//!
//! A product also signs in by OAuth, keeps tokens in the system's keyring, offers servers its model
//! (sampling), and lets whole organisations allow or forbid servers.
//!
//! Builds on s13. Motto: *The protocol is open; the trust is not.*

use durable::Folder;
use lessons::{Stage, s01_loop::agent_loop, s13_streaming};
use rungs_core::{
    Agent, Answer, AnyTool, Block, Chat, Context, Effect, Error, Layer, Message, NextSend,
    NextTurn, Question, Reply, Request, Result, State, Tool, ToolError, ToolOutput, ToolSpec,
};
use rungs_mcp::{
    Approvals, Chosen, Config, Output, Part, Person, RemoteTool, Servers, Trust, market,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, path::Path, process::ExitCode, time::Duration};

/// How long the start waits for servers where a person is, who can begin to type meanwhile, and
/// where the first prompt comes at once.
const ATTENDED_WAIT: Duration = Duration::from_millis(300);
const UNATTENDED_WAIT: Duration = Duration::from_secs(35);
/// How long servers may take to end when the program does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// How many tools one search finds.
const MAX_FOUND: usize = 5;
/// How the names of servers' tools begin.
const PREFIX: &str = "mcp__";

/// The deferred tools that this conversation has asked for.
#[derive(Clone, Default, Serialize, Deserialize)]
struct LoadedTools(BTreeSet<String>);

impl State for LoadedTools {
    const NAME: &'static str = "mcp_loaded_tools";
}

/// A tool of a server, as the agent sees it.
struct Remote(RemoteTool);

impl Tool for Remote {
    type Input = Map<String, Value>;

    fn spec(&self) -> ToolSpec {
        let RemoteTool { name, description, schema, .. } = self.0.clone();
        ToolSpec { name, description, input_schema: schema }
    }

    fn effect(&self, _: &Self::Input) -> Effect {
        // What a server says of its own tool is a claim, which counts if somebody vouches for it.
        if self.0.reads { Effect::Reads } else { Effect::Anything }
    }

    async fn call(&self, input: Self::Input, cx: &Context) -> Result<ToolOutput, ToolError> {
        returned(within(cx, self.0.call(input, &Watcher(cx))).await?)
    }
}

/// Waits for a server no longer than the turn lasts. Dropped, the call tells it to stop.
async fn within<T>(
    cx: &Context,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, ToolError> {
    match cx.cancel().run_until_cancelled(answer).await {
        Some(answer) => answer.map_err(ToolError),
        None => Err(ToolError("[stopped: the person interrupted it]".into())),
    }
}

fn returned(output: Output) -> Result<ToolOutput, ToolError> {
    if output.is_error {
        return Err(ToolError(output.text()));
    }
    let blocks = output.parts.into_iter().map(|part| match part {
        Part::Text(text) => Block::text(text),
        Part::Image { media_type, data } => Block::image(&media_type, &data),
    });
    Ok(ToolOutput(blocks.collect()))
}

/// The person before the agent's screen.
struct Watcher<'a>(&'a Context);

impl Person for Watcher<'_> {
    fn is_there(&self) -> bool {
        self.0.attended()
    }

    fn notice(&self, line: &str) {
        self.0.notice(line);
    }

    async fn choose(&self, question: String, choices: Vec<String>) -> Chosen {
        match self.0.choose(Question { text: question, choices }).await {
            Answer::Choice(choice) => Chosen::Choice(choice),
            Answer::No(typed) => Chosen::No(typed),
        }
    }
}

/// The tools that are always there.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Finds tools of MCP servers that are not among those you see, since there are too many. What
    /// is found can be called in your next step.
    McpSearch {
        /// Words of what the tool should do, or of its name.
        query: String,
    },
    /// Lists the resources of MCP servers: texts and files that can be read.
    McpResources {},
    /// Reads a resource of an MCP server.
    McpReadResource {
        /// The server.
        server: String,
        /// The resource's address, or one that follows a template.
        uri: String,
    },
}

fn effect(call: &Call) -> Effect {
    match call {
        Call::McpSearch { .. } => Effect::Internal,
        Call::McpResources {} => Effect::Reads,
        // The address can carry anything to the server.
        Call::McpReadResource { .. } => Effect::Anything,
    }
}

async fn run(servers: &Servers, call: Call, cx: &Context) -> Result<ToolOutput, ToolError> {
    match call {
        Call::McpSearch { query } => Ok(search(servers, &query, cx).into()),
        Call::McpResources {} => Ok(servers.resources().into()),
        Call::McpReadResource { server, uri } => {
            let Some(server) = servers.get(&server) else {
                return Err(ToolError(format!("there is no MCP server {server:?}")));
            };
            returned(within(cx, server.resource(&uri, &Watcher(cx))).await?)
        }
    }
}

/// Loads the tools that fit best, for this conversation.
fn search(servers: &Servers, query: &str, cx: &Context) -> String {
    let (found, more) = servers.search(query, MAX_FOUND);
    let names = found.iter().map(|tool| tool.name.clone());
    cx.update(|loaded: &mut LoadedTools| loaded.0.extend(names));
    if found.is_empty() {
        return format!("No tool of a server has any of the words {query:?}.");
    }
    let lines = found.iter().map(|tool| format!("{}: {}\n", tool.name, tool.description));
    format!("{}({more} more have some of these words)", lines.collect::<String>())
}

/// Tells what became of the servers, asks about changed tools, and defers schemas.
struct Runtime(Servers);

impl Layer for Runtime {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        if !cx.is_child() {
            self.0.news().iter().for_each(|line| cx.notice(line));
            self.review(cx).await;
        }
        next.run(chat, cx).await
    }

    async fn send(&self, mut request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        let remote = request.tools.iter().filter(|spec| spec.name.starts_with(PREFIX));
        let tokens: usize = remote.map(|spec| json!(spec).to_string().len() / 4).sum();
        if tokens > self.0.max_schema_tokens() {
            // They are still known to dispatch, where rules see their names.
            let loaded = cx.state::<LoadedTools>();
            request
                .tools
                .retain(|spec| !spec.name.starts_with(PREFIX) || loaded.0.contains(&spec.name));
        }
        next.run(request, cx).await
    }
}

impl Runtime {
    async fn review(&self, cx: &Context) {
        for server in self.0.all() {
            let changes = server.withheld();
            if changes.is_empty() {
                continue;
            }
            let text = server.describe(&changes);
            if !cx.attended() {
                cx.notice(format!("{text}\n  withheld, since nobody is there to agree"));
                continue;
            }
            let question = Question::new(text).choice("offer these tools to the model");
            if cx.choose(question).await == Answer::Choice(0) {
                cx.notice(match self.0.approve(server, &changes) {
                    Ok(()) => "they are there from the next prompt on".into(),
                    Err(why) => format!("not approved: {why}"),
                });
            }
        }
    }
}

/// Runs `:prompt SERVER NAME key=value ..`: a turn that begins with what the server wrote.
async fn prompt(servers: &Servers, args: &str, chat: &mut Chat, cx: &Context) -> Result<()> {
    let mut words = args.split_whitespace();
    let (server, name) = (words.next().and_then(|name| servers.get(name)), words.next());
    let (Some(server), Some(name)) = (server, name) else {
        cx.notice(":prompt SERVER NAME key=value ..; :mcp lists them");
        return Ok(());
    };
    let pairs = words.filter_map(|word| word.split_once('='));
    let arguments = pairs.map(|(key, value)| (key.to_string(), json!(value))).collect();
    match server.prompt(name, arguments, &Watcher(cx)).await {
        Ok(output) => {
            cx.notice(output.text());
            let prompt = Message::kept("mcp_prompt", output.text());
            cx.agent.run(chat, prompt, agent_loop).await.map(|_| ())
        }
        Err(why) => {
            cx.notice(why);
            Ok(())
        }
    }
}

/// Reads the configuration, asks about servers of the project, and starts all that may start.
///
/// # Errors
/// Names the file when the configuration or what was agreed to cannot be read.
pub async fn connect(stage: &Stage) -> Result<Servers> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mcp.yaml");
    let project = stage.folder.join(".mcp.json");
    let mut config = Config::load(&own, &project).map_err(Error::config)?;
    let Some(environment) = &stage.environment else {
        // Nothing is to be started.
        config.servers.clear();
        let approvals = Approvals::open(stage.state_folder()?).map_err(Error::other)?;
        return Ok(Servers::start(config, approvals, &stage.folder, &Default::default()));
    };
    config.left_out.iter().for_each(|line| stage.screen.say(line));
    let cx = stage.agent().context();
    if config.servers.values().any(|server| server.is_projects) {
        // Not in the project, which could bring the answer along.
        let home = std::env::home_dir().ok_or_else(|| Error::setting("HOME", "it is not set"))?;
        let folder = Folder::open(home, ".rungs").map_err(Error::other)?;
        let mut trust = Trust::open(folder).map_err(Error::other)?;
        trust.ask(&mut config, &stage.folder, &Watcher(&cx)).await.map_err(Error::other)?;
    }
    let approvals = Approvals::open(stage.state().await?).map_err(Error::other)?;
    let servers = Servers::start(config, approvals, &stage.folder, environment);
    servers.settle(if cx.attended() { ATTENDED_WAIT } else { UNATTENDED_WAIT }).await;
    Ok(servers)
}

/// Adds the tools of these servers, and all around them.
pub fn install(agent: Agent, servers: Servers) -> Agent {
    let (listed, shown, asked, closed) =
        (servers.clone(), servers.clone(), servers.clone(), servers.clone());
    agent
        .tools(servers.clone(), effect, run)
        .source(move || -> Vec<AnyTool> {
            listed.tools().into_iter().map(|tool| AnyTool::new(Remote(tool))).collect()
        })
        .wrap(Runtime(servers))
        .command(
            "mcp",
            "shows the MCP servers, and what their tools cost",
            async move |_, _, cx| {
                cx.notice(shown.overview());
                Ok::<(), Error>(())
            },
        )
        .command(
            "prompt",
            "SERVER NAME key=value ..: begins with a prompt of a server",
            async move |chat, args, cx| prompt(&asked, args, chat, cx).await,
        )
        .on_exit("ending the MCP servers", CLOSE_TIMEOUT, async move || closed.close().await)
}

/// The agent of lesson thirteen, with servers; or, with `--serve`, one of these servers.
pub fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--serve") {
        return serve();
    }
    let build = async |stage: &Stage| {
        Ok(install(s13_streaming::install(stage.agent()), connect(stage).await?))
    };
    lessons::run("s21_mcp_runtime", build, agent_loop)
}

/// Serves the market on standard input and output.
pub fn serve() -> ExitCode {
    let served = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(market::serve()),
        Err(error) => Err(error.to_string()),
    };
    let Err(why) = served else { return ExitCode::SUCCESS };
    eprintln!("error: {why}");
    ExitCode::FAILURE
}
