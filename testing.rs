//! What the tests of several lessons share, and those of exercises: an agent before a scripted
//! model, over real HTTP, in a fresh folder.
use crate::{
    full,
    models::Models,
    rule_files::StoredRules,
    s01_loop::agent_loop,
    s05_skill_loading::Skills,
    s15_permissions::Permissions,
    s16_event_bus::{EventHooks, Observers},
    s17_session_management::SessionLog,
    s20_cache_optimization::{Lifetimes, PromptCache},
    s22_production_mailbox::Membership,
};
use durable::Folder;
use rehearsal::{Scene, Server, script};
use rungs_core::{
    Agent, Block, Chat, Context, Error, Layer, Message, NextAsk, Recorder, Reply, Result,
    client::Lifetime,
};
use rungs_hooks::{Form, Hooks};
use rungs_mcp::{Approvals, Config, Endpoint, ServerConfig, Servers};
use rungs_process::Environment;
use rungs_snapshots::{Limits, Store};
use rungs_telemetry::{Destinations, EventsConfig, Statistics};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};
use tempfile::TempDir;

/// How long an agent may stay idle before a test fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// An agent, and all that a test looks at. The folder and the server go with it.
pub struct Play {
    /// What is tested.
    pub agent: Agent,
    /// What would be shown to the person.
    pub ui: Arc<Recorder>,
    /// The model, which records what it was sent.
    pub server: Server,
    /// Where the agent's tools work.
    pub dir: TempDir,
}

/// An agent before a model that plays these scenes; `install` adds tools and lessons, and is given
/// the agent's folder.
pub async fn play(
    scenes: impl IntoIterator<Item = Scene>,
    install: impl FnOnce(Agent, &Path) -> Agent,
) -> Play {
    let (client, server) = crate::rehearse(script(scenes)).await.unwrap();
    let (dir, ui) = (tempfile::tempdir().unwrap(), Arc::new(Recorder::default()));
    let agent = install(Agent::new(client, dir.path()).ui(ui.clone()), dir.path());
    Play { agent, ui, server, dir }
}

/// Runs git without any person's settings; what it prints, trimmed.
pub fn git(at: &Path, args: &str) -> String {
    let mut git = Command::new("git");
    git.current_dir(at)
        .args(args.split(' '))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let done = git.output().unwrap();
    assert!(done.status.success(), "git {args}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().into()
}

/// Prices that make the sums easy: a tenth for reading, a quarter more for writing.
pub fn models() -> Models {
    let prices = "{input: 10, output: 0, cache_read: 1, cache_write: {5m: 12.5, 1h: 20}}";
    let of = |minimum| {
        format!("{{context: 1, output: 1, cache_minimum: {minimum}, prices: [{prices}]}}")
    };
    let yaml = format!("{{updated: '', source: '', models: {{a: {}, b: {}}}}}", of(512), of(9999));
    serde_yaml::from_str(&yaml).unwrap()
}

/// A server of the older era with a tool for each of these names, and a fault that its call
/// may name.
pub fn mcp_script(names: &[&str]) -> String {
    let tools = names.iter().map(|name| {
        let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
        json!({"name": name, "description": format!("{name} it"), "inputSchema": schema,
               "annotations": {"readOnlyHint": true}})
    });
    let tools = json!({"tools": tools.collect::<Vec<_>>()});
    let info = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "s", "version": "1"}});
    let image = json!({"type": "image", "mimeType": "image/png", "data": "iVBORw=="});
    let image = json!({"content": [image, {"type": "text", "text": "a picture"}]});
    format!(
        r#"while IFS= read -r line; do
        id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
        case $line in
          *server/discover*)
          printf '{{"jsonrpc":"2.0","id":%s,"error":{{"code":-32601,"message":""}}}}\n' $id ;;
          *'"initialize"'*) printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' $id '{info}' ;;
          *tools/list*) printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' $id '{tools}' ;;
          *'"x":"hang"'*) ;;
          *tools/call*) printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' $id '{image}' ;;
        esac; done"#
    )
}

/// A server that runs this, as `s`.
pub async fn mcp_servers(
    dir: &Path,
    script: String,
    trusted: bool,
    max_schema_tokens: usize,
) -> Servers {
    let servers = starting_mcp_servers(dir, script, trusted, max_schema_tokens);
    servers.settle(Duration::from_secs(60)).await;
    servers
}

/// The same, which nobody has waited for.
pub fn starting_mcp_servers(
    dir: &Path,
    script: String,
    trusted: bool,
    max_schema_tokens: usize,
) -> Servers {
    let endpoint =
        Endpoint::Stdio { command: "bash".into(), args: vec!["-c".into(), script], env: [].into() };
    let timeout = Duration::from_millis(300);
    let server = ServerConfig { endpoint, timeout, trusted, is_projects: false };
    let config =
        Config { servers: [("s".to_string(), server)].into(), max_schema_tokens, left_out: vec![] };
    let approvals = Approvals::open(Folder::open(dir, "approved").unwrap()).unwrap();
    let tokens = Folder::open(dir, "tokens").unwrap();
    Servers::start(config, approvals, tokens, dir, &Environment::default())
}

/// What `full` needs, for an agent in its folder, without a person and without files of `config`.
/// Everything is kept in `state`; rules have the form of `config/permissions.yaml`, hooks that of
/// `settings.json`.
pub async fn full_config(
    agent: &Agent,
    state: Folder,
    rules: &str,
    mode: &str,
    hooks: &str,
) -> full::Config {
    let folder = agent.context().cwd().to_path_buf();
    let file = state.path().join("rules.yaml");
    fs::write(&file, rules).unwrap();
    let stored = StoredRules::new(state.folder("stored").unwrap(), &folder);
    let permissions = Permissions::load(&file, &folder, stored).unwrap();
    permissions.set_mode(mode).unwrap();
    let events = state.path().join("events.yaml");
    fs::write(&events, "log: false\nslow_tool_seconds: 60\nwebhooks: []\n").unwrap();
    let events = EventsConfig::read(&events).unwrap();
    let nowhere = || Err(std::io::Error::other("no log"));
    let destinations = Destinations::open(&events, nowhere, |_| None, |_| {}).unwrap();
    let statistics = Statistics::default();
    let observers = Arc::new(Observers { config: events, destinations, statistics });
    let hooks = Hooks::parse(Path::new("hooks.json"), hooks, Form::Settings).unwrap();
    let models = serde_yaml::from_str(include_str!("config/models.yaml")).unwrap();
    let [prefix, conversation] = [Lifetime::FiveMinutes; 2];
    let lifetimes = Lifetimes { prefix, conversation };
    full::Config {
        trees: state.path().join("trees"),
        window: 200_000,
        skills: Skills::default(),
        membership: Membership::in_files(&state).await.unwrap(),
        snapshots: Store::open(&state, Limits::default()).unwrap(),
        permissions,
        hooks: EventHooks::new(hooks, agent, &state, observers).await,
        screen: Box::new(|_| {}),
        log: SessionLog::open(&state, vec![]).unwrap(),
        max_calls: 10,
        cache: PromptCache::new(Some(lifetimes), models, "rehearsal"),
        servers: Servers::start(
            Config::default(),
            Approvals::open(state.folder("mcp").unwrap()).unwrap(),
            state.clone(),
            &folder,
            &Environment::default(),
        ),
        state,
    }
}

impl Play {
    /// Runs one turn.
    pub async fn run(&self, chat: &mut Chat, prompt: &str) -> Result<Reply> {
        self.agent.run(chat, prompt, agent_loop).await
    }

    /// Runs one turn of a new conversation that must end well: the last words, and the
    /// conversation.
    pub async fn ask(&self, prompt: &str) -> (String, Chat) {
        let mut chat = Chat::default();
        let reply = self.run(&mut chat, prompt).await.unwrap();
        (reply.text(), chat)
    }

    /// Runs one turn, and then one more each time the agent is woken, until nothing more is
    /// expected. Every turn must end well.
    pub async fn run_until_idle(&self, chat: &mut Chat, prompt: &str) {
        self.run(chat, prompt).await.unwrap();
        self.answer_until_idle(chat).await;
    }

    /// Runs a turn each time the agent is woken, until nothing more is expected. Every turn must
    /// end well.
    pub async fn answer_until_idle(&self, chat: &mut Chat) {
        while tokio::time::timeout(IDLE_TIMEOUT, self.agent.woken(chat)).await.unwrap() {
            self.agent.run(chat, Message::empty(), agent_loop).await.unwrap();
        }
    }

    /// The bodies of all requests so far, of all agents.
    pub fn bodies(&self) -> Vec<Value> {
        self.server.requests().into_iter().map(|seen| seen.body).collect()
    }

    /// The bodies of the requests whose system text contains this.
    pub fn bodies_of(&self, system: &str) -> Vec<Value> {
        let mut bodies = self.bodies();
        bodies.retain(|body| body["system"].to_string().contains(system));
        bodies
    }
}

/// The texts of the results in a message, in order.
pub fn results(message: &Message) -> Vec<String> {
    let results = message.content.iter().filter_map(|block| match block {
        Block::ToolResult { content, .. } => Some(content),
        _ => None,
    });
    results.map(|content| content.iter().filter_map(Block::as_text).collect()).collect()
}

/// The texts that the part `name` of the harness has inserted, in order.
pub fn inserted(chat: &Chat, name: &str) -> Vec<String> {
    let of = |block: &&Block| block.origin().is_some_and(|origin| origin.name == name);
    chat.blocks().filter(of).filter_map(Block::as_text).map(String::from).collect()
}

/// Blocks the prompt `bad`.
pub struct BlocksBad;

impl Layer for BlocksBad {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        match chat.messages().last() {
            Some(last) if last.typed().any(|text| text == "bad") => {
                Err(Error::Blocked("on purpose".into()))
            }
            _ => next.run(chat, cx).await,
        }
    }
}
