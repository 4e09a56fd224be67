//! Programs by others as peers: the official SDKs talk to the rehearsal and check the tools of all
//! lessons, our client talks to LiteLLM's proxy in front of the rehearsal, and the validator of the
//! Agent Skills standard reads our skills. `tests/peers/install` installs them; without them these
//! tests say so and pass, but fail where CI is true.
mod common;

use lessons::s01_loop::agent_loop;
use rehearsal::{Server, call, say, scene, script};
use rungs_core::{
    Agent, Chat, Client,
    client::{Auth, Endpoint, Format, Secret},
    tools,
};
use rungs_redis::testing::free_port;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// How long the proxy may take to start.
const PROXY_START: Duration = Duration::from_secs(120);

/// A program of an installed peer.
fn peer(program: &str) -> Option<PathBuf> {
    let path = Path::new(ROOT).join("target/peers").join(program);
    if path.exists() {
        return Some(path);
    }
    let ci = std::env::var("CI");
    assert_ne!(ci.as_deref(), Ok("true"), "{program} is missing: run tests/peers/install");
    // Not by `println!`, which the test runner swallows.
    let _ =
        writeln!(std::io::stderr(), "skipped: {program} is missing; tests/peers/install gets it");
    None
}

async fn serve() -> Server {
    let count = [
        call("bash", json!({"command": "seq 3"})).think("How many?").say("I count, ä€😀."),
        say("{{ results[0].text | lines | length }} lines"),
    ];
    let busy = say("at last").fault(json!({"status": 429, "retry_after": 0}));
    script([scene("count", count), scene("busy", [busy])]).serve().await.unwrap()
}

/// Standard output and standard error, for assertions.
fn printed(done: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    format!("{out}\n{err}")
}

/// A script of `tests/peers` that must end well: its last line.
async fn python(python: &Path, name: &str, args: &[&str]) -> String {
    let mut command = tokio::process::Command::new(python);
    command.arg(Path::new(ROOT).join("tests/peers").join(name)).args(args);
    let done = command.output().await.unwrap();
    assert!(done.status.success(), "{}", printed(&done));
    String::from_utf8_lossy(&done.stdout).lines().last().unwrap_or_default().to_string()
}

#[tokio::test]
async fn the_official_sdks_take_the_rehearsal_for_the_api() {
    let Some(sdk) = peer("sdk/bin/python") else { return };
    let server = serve().await;
    assert_eq!(python(&sdk, "sdk.py", &[server.url()]).await, "ok");
}

/// The tools of a lesson, as its program sends them with its first request.
async fn tools_of(lesson: &str, format: Format) -> Value {
    let server = script([scene("^go$", [say("done")])]).record(true).serve().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = common::lesson(lesson);
    command.arg("go").current_dir(folder.path()).env("MODEL_ID", "rehearsal");
    match format {
        Format::Anthropic => {
            command.env("RUNGS_PROVIDER", "anthropic").env("ANTHROPIC_BASE_URL", server.url())
        }
        Format::OpenAi => command
            .env("RUNGS_PROVIDER", "openai")
            .env("OPENAI_BASE_URL", format!("{}/v1", server.url())),
    };
    let done = tokio::process::Command::from(command).output().await.unwrap();
    assert_eq!(
        (done.status.code(), &*done.stdout),
        (Some(0), &b"done\n"[..]),
        "{lesson}: {}",
        printed(&done)
    );
    let first = server.requests().remove(0);
    assert_eq!(first.status, 200, "{lesson}");
    first.body["tools"].clone()
}

#[tokio::test]
async fn the_official_sdks_accept_the_tools_of_all_lessons() {
    let Some(sdk) = peer("sdk/bin/python") else { return };
    let (mut all, mut names) = (Map::new(), BTreeSet::new());
    for lesson in common::lessons() {
        let anthropic = tools_of(&lesson, Format::Anthropic).await;
        let openai = tools_of(&lesson, Format::OpenAi).await;
        for tool in anthropic.as_array().unwrap() {
            names.insert(tool["name"].as_str().unwrap().to_string());
        }
        all.insert(lesson, json!({ "anthropic": anthropic, "openai": openai }));
    }
    // Those of core are among them.
    let core = tools::all(Agent::new(client(Format::Anthropic, "http://127.0.0.1:0", "m"), "."));
    for tool in core.specs() {
        assert!(names.contains(&tool.name), "no lesson has {}", tool.name);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.json");
    std::fs::write(&file, Value::from(all).to_string()).unwrap();
    let server = script([scene("^go$", [say("done")])]).serve().await.unwrap();
    let checked = python(&sdk, "tools.py", &[server.url(), file.to_str().unwrap()]).await;
    assert_eq!(checked, format!("{} tools", names.len()));
}

#[test]
fn our_skills_pass_the_validator_of_the_standard() {
    let Some(validator) = peer("sdk/bin/agentskills") else { return };
    let mut checked = 0;
    for skill in std::fs::read_dir(Path::new(ROOT).join("skills")).unwrap() {
        let skill = skill.unwrap().path();
        let done = Command::new(&validator).arg("validate").arg(&skill).output().unwrap();
        assert!(done.status.success(), "{}: {}", skill.display(), printed(&done));
        checked += 1;
    }
    assert_eq!(checked, 3);
}

/// The proxy does not start without one.
const KEY: &str = "sk-0123456789abcdef0123456789abcdef";

fn client(format: Format, url: &str, model: &str) -> Client {
    let mut endpoint = Endpoint::new(format, url, model);
    endpoint.auth = Auth::Bearer(Secret::new(KEY));
    Client::new(endpoint).unwrap()
}

/// LiteLLM's proxy while it runs.
struct Proxy {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Proxy {
    /// Starts it before this server, which it asks by both formats.
    async fn start(litellm: &Path, server: &Server) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let model = |name: &str, vendor: &str, url: &str| {
            let params =
                json!({"model": format!("{vendor}/rehearsal"), "api_base": url, "api_key": "any"});
            json!({"model_name": name, "litellm_params": params})
        };
        // JSON is YAML too.
        let config = json!({
            "model_list": [
                model("by-messages", "anthropic", server.url()),
                model("by-completions", "openai", &format!("{}/v1", server.url())),
            ],
            "litellm_settings": {
                "drop_params": true,
                "use_chat_completions_url_for_anthropic_messages": true,
            },
        });
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(litellm);
        command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--telemetry", "False"]);
        command.args(["--port", &address.port().to_string()]);
        // Otherwise it would fetch its price list from the network.
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_MASTER_KEY", KEY);
        command.current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut proxy = Proxy { child, url: format!("http://{address}"), folder };
        let start = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert_eq!(proxy.child.try_wait().unwrap(), None, "{}", proxy.log());
            assert!(start.elapsed() < PROXY_START, "{}", proxy.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        proxy
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn our_client_talks_to_litellm_in_both_formats() {
    let Some(litellm) = peer("proxy/bin/litellm") else { return };
    let server = serve().await;
    let proxy = Proxy::start(&litellm, &server).await;
    for format in [Format::Anthropic, Format::OpenAi] {
        for model in ["by-messages", "by-completions"] {
            let client = client(format, &proxy.url, model);
            let agent = Agent::new(client, proxy.folder.path()).tool(tools::Bash);
            let reply = match agent.run(&mut Chat::default(), "count", agent_loop).await {
                Ok(reply) => reply,
                Err(error) => panic!("{format:?} {model}: {error}\n{}", proxy.log()),
            };
            assert_eq!(reply.text(), "3 lines", "{format:?} {model}");
            assert!(reply.usage.prompt_tokens() > 0, "{format:?} {model}: {:?}", reply.usage);
            assert!(reply.usage.output_tokens > 0, "{format:?} {model}: {:?}", reply.usage);
        }
    }
}

/// The original's own walk: a base URL, a key and MODEL_ID, and nothing else. The last words of a
/// lesson that is run like this.
async fn walk(lesson: &str, args: &[&str], model: &str, proxy: &Proxy, folder: &Path) -> String {
    let mut command = common::lesson(lesson);
    command.args(args).current_dir(folder).env("MODEL_ID", model);
    command.env("ANTHROPIC_BASE_URL", &proxy.url).env("ANTHROPIC_API_KEY", KEY);
    let done = tokio::process::Command::from(command).output().await.unwrap();
    let printed = format!("{lesson} {args:?}, {model}: {}\n{}", printed(&done), proxy.log());
    assert_eq!(done.status.code(), Some(0), "{printed}");
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn lessons_run_through_litellm_with_url_key_and_model_alone() {
    let Some(litellm) = peer("proxy/bin/litellm") else { return };
    let todos = json!([{"content": "count", "status": "pending"}]);
    let plan = [
        call("todo_write", json!({ "todos": todos })),
        call("todo_update", json!({"item": 1, "status": "completed"})),
        say("{{ results[0].text | trim }}"),
    ];
    let count = [
        call("bash", json!({"command": "echo one; echo two; echo three"})),
        say("{{ results[0].text | lines | length }} lines"),
    ];
    let scenes = [scene("^plan$", plan), scene("^count$", count), scene("^again$", [say("well")])];
    let server = script(scenes).record(true).serve().await.unwrap();
    let proxy = Proxy::start(&litellm, &server).await;
    for model in ["by-messages", "by-completions"] {
        let folder = tempfile::tempdir().unwrap();
        let run = async |lesson: &str, args: &[&str]| {
            walk(lesson, args, model, &proxy, folder.path()).await
        };
        assert_eq!(run("s03_todo_write", &["plan"]).await, "[x] 1. count\n");
        assert_eq!(run("s17_session_management", &["count"]).await, "3 lines\n");
        // The conversation, with the call and its result, goes through the proxy once more.
        assert_eq!(run("s17_session_management", &["--continue", "again"]).await, "well\n");
        let sent = server.requests().pop().unwrap().body.to_string();
        assert!(sent.contains("echo three") && sent.contains("3 lines"), "{sent}");
        assert_eq!(run("full", &["count"]).await, "3 lines\n");
    }
}
