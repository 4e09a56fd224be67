//! Peers that are not ours: the official SDKs talk to the rehearsal, our client talks to LiteLLM's proxy in front of
//! it. `tests/peers/install` installs them; without them these tests say so and pass, but fail where CI is true.
use lessons::s01_loop::agent_loop;
use rehearsal::{Script, Server};
use rungs_core::{
    Agent, Chat, Client,
    client::{Auth, Endpoint, Format, Secret},
    tools,
};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A program of an installed peer.
fn peer(program: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers").join(program);
    if path.exists() {
        return Some(path);
    }
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{program} is missing: run tests/peers/install"
    );
    // Not by `println!`, which the test runner swallows.
    let _ =
        writeln!(std::io::stderr(), "skipped: {program} is missing; tests/peers/install gets it");
    None
}

async fn serve() -> Server {
    let script = "
scenes:
  - when: count
    turns:
      - {think: 'How many?', say: 'I count, ä€😀.', call: [{bash: {command: seq 3}}]}
      - {say: '{{ results[0].text | lines | length }} lines'}
  - when: busy
    turns: [{say: at last, faults: [{status: 429, retry_after: 0}]}]
";
    Script::parse("peers", script).unwrap().serve().await.unwrap()
}

#[tokio::test]
async fn the_official_sdks_take_the_rehearsal_for_the_api() {
    let Some(python) = peer("sdk/bin/python") else { return };
    let server = serve().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/sdk.py");
    let mut command = tokio::process::Command::new(python);
    let done = command.arg(script).arg(server.url()).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.ends_with("ok\n"), "{out}\n{err}");
}

#[test]
fn our_skills_pass_the_validator_of_the_standard() {
    let Some(validator) = peer("sdk/bin/agentskills") else { return };
    let skills = Path::new(env!("CARGO_MANIFEST_DIR")).join("skills");
    let mut checked = 0;
    for skill in std::fs::read_dir(skills).unwrap() {
        let done =
            Command::new(&validator).arg("validate").arg(skill.unwrap().path()).output().unwrap();
        assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        checked += 1;
    }
    assert_eq!(checked, 3);
}

/// The proxy does not start without one.
const KEY: &str = "sk-0123456789abcdef0123456789abcdef";

/// The proxy while it runs.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn our_client_works_through_litellm_in_both_formats() {
    let Some(litellm) = peer("proxy/bin/litellm") else { return };
    let server = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let model = |name: &str, vendor: &str, url: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: {vendor}/rehearsal, api_base: '{url}', api_key: any}}\n"
        )
    };
    let models = model("by-messages", "anthropic", server.url())
        + &model("by-completions", "openai", &format!("{}/v1", server.url()));
    std::fs::write(&config, format!("model_list:\n{models}litellm_settings: {{drop_params: true, use_chat_completions_url_for_anthropic_messages: true}}\n")).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(litellm);
    command.arg("--config").arg(&config).args([
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--telemetry",
        "False",
    ]);
    // It would fetch its price list from the network otherwise.
    command
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_MASTER_KEY", KEY)
        .current_dir(folder.path());
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut proxy = Proxy(command.spawn().unwrap());
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(
            proxy.0.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(120),
            "{}",
            log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for format in [Format::Anthropic, Format::OpenAi] {
        for model in ["by-messages", "by-completions"] {
            let mut endpoint = Endpoint::new(format, &format!("http://127.0.0.1:{port}"), model);
            endpoint.auth = Auth::Bearer(Secret::new(KEY));
            let agent = Agent::new(Client::new(endpoint).unwrap(), folder.path()).tool(tools::Bash);
            let reply = agent_loop(&agent, &mut Chat::new("count")).await;
            let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            let reply = reply.unwrap_or_else(|e| panic!("{format:?} {model}: {e}\n{}", log()));
            assert_eq!(reply.text(), "3 lines", "{format:?} {model}");
            assert!(
                reply.usage.prompt_tokens() > 0 && reply.usage.output_tokens > 0,
                "{format:?} {model}: {:?}",
                reply.usage
            );
        }
    }
}
