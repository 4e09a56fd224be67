// # Capstone: one mechanism of your own
//
// build, level 3, 240 minutes. Read: examples/full.rs, exercises/capstone/README.md
//
// Add one mechanism to `full`: one that a real agent has, or that you have missed. README.md beside
// this file is the task sheet, with ideas and the rubric. Your copy of this file holds all of it:
// the mechanism, `install`, `PLACE` (if it is a layer), and your own tests in a module of its own.
//
// The tests below measure. They let a scripted model repair a small shop, once with `full` as it is
// and once with your mechanism, and compare.
//
// Run: cargo run -p rungs-exercises -- capstone

use rungs_core::Agent;
use rungs_exercises::sum::Place;

/// Adds the mechanism.
fn install(agent: Agent) -> Agent {
    agent
}

/// Where the layer of the mechanism stands among those of `full`, if it has one.
const PLACE: Option<Place> = None;

mod tests {
    use super::*;
    use lessons::s01_loop::agent_loop;
    use rehearsal::{Scene, call, calls, say, scene, script};
    use rungs_core::{Chat, Error, Message, tools};
    use rungs_exercises::sum::with_mechanism;
    use serde_json::{Value, json};
    use std::{fs, path::Path, process::Command, sync::OnceLock, time::Duration};

    /// How long one run of the play may take.
    const LIMIT: Duration = Duration::from_secs(20);
    /// What a mechanism may cost in requests, as for questions of its own to a model.
    const MORE_REQUESTS: usize = 4;
    /// What it may cost in tokens, in percent of those without it.
    const MORE_TOKENS_PERCENT: usize = 10;

    const RULES: &str = "allow: [\"Bash(bash check.sh)\"]\n";
    const TILL: &str = r#"# The price of a fruit, in cents.
price() {
  grep "^$1" prices.csv | cut -d, -f2
}
"#;
    const CHECK: &str = r#". ./till.sh
fail() { echo "FAIL: $1"; exit 1; }
[ "$(price pear)" = 55 ] || fail "a pear costs 55: $(price pear)"
[ -z "$(price plum)" ] || fail "a plum has no price"
echo ok
"#;

    /// What came of a play.
    struct Run {
        bodies: Vec<Value>,
        /// The conversation, without what differs from run to run.
        text: String,
        layers: Vec<&'static str>,
        tools: usize,
        /// What `check.sh` prints at the end, and whether it passes.
        check: (String, bool),
        /// What was changed that no rule allows.
        escaped: Vec<&'static str>,
    }

    fn model() -> [Scene; 4] {
        let read = |file: &str| ("read", json!({"file_path": file}));
        let check = ("bash", json!({"command": "bash check.sh"}));
        let write = json!({"file_path": "../escaped.txt", "content": "x"});
        let edit = json!({
            "file_path": "till.sh",
            "old_string": "\"^$1\"",
            "new_string": "\"^$1,\"",
        });
        let repair = [
            calls([check.clone(), read("till.sh"), read("prices.csv"), read("orders.log")]),
            // What a model does that lost track, or was told to by a text.
            calls([("write", write), ("bash", json!({"command": "echo x > ../escaped.txt"}))]),
            call("bash", json!({"command": "cp -r ../beside ."})),
            calls([read("orders.log"), read("prices.csv")]).say("Once more, to be sure."),
            calls([("edit", edit), check]),
            say("{{ results[1].text | trim }}"),
        ];
        let helper = json!({"tasks": [{"description": "look", "prompt": "how many orders?"}]});
        [
            scene("(?i)repair", repair),
            scene("(?i)and the orders", [call("task", helper), say("{{ results[0].text }}")]),
            scene(
                "(?i)how many orders",
                [
                    calls([read("orders.log")]),
                    say("{{ 'the last order is there' if 'order 399' in results[0].text }}"),
                ],
            ),
            scene("(?i)thanks", [say("You are welcome.")]),
        ]
    }

    fn project(dir: &Path) {
        fs::create_dir_all(dir.join("beside")).unwrap();
        fs::write(dir.join("beside/private.txt"), "private").unwrap();
        fs::create_dir_all(dir.join("shop")).unwrap();
        let orders = |n: i32| format!("order {n}: {} pears, paid in cash at the counter\n", n % 7);
        for (file, text) in [
            ("till.sh", TILL.to_string()),
            ("check.sh", CHECK.to_string()),
            ("prices.csv", "apple,40\npear,55\npearl onion,12\n".to_string()),
            ("orders.log", (0..400).map(orders).collect()),
        ] {
            fs::write(dir.join("shop").join(file), text).unwrap();
        }
    }

    /// Plays three prompts with the agent of `full`, and with `install` and `place`.
    async fn run(install: impl FnOnce(Agent) -> Agent, place: Option<Place>) -> Run {
        let (client, server) = lessons::rehearse(script(model())).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |file: &str| dir.path().join(file);
        project(dir.path());
        fs::create_dir(at("kept")).unwrap();
        let agent = tools::all(Agent::new(client, at("shop")));
        let agent = with_mechanism(agent, &at("kept"), RULES, install, place).await;
        let mut chat = Chat::default();
        for prompt in ["Repair the till.", "And the orders?", "thanks"] {
            let end = tokio::time::timeout(LIMIT, turn(&agent, &mut chat, prompt)).await;
            match end {
                Ok(Ok(())) => {}
                Ok(Err(error)) => panic!("{prompt:?} ended with an error: {error}"),
                Err(_) => panic!("{prompt:?} took more than {LIMIT:?}: what does it wait for?"),
            }
        }
        agent.exit().await;
        let check = Command::new("bash").arg("check.sh").current_dir(at("shop")).output().unwrap();
        let private = fs::read_to_string(at("beside/private.txt")).ok();
        let escaped = [
            ("a file beside the project was written", at("escaped.txt").exists()),
            ("a file beside the project was changed", private.as_deref() != Some("private")),
            ("a command ran that no rule allows", at("shop/beside").exists()),
        ];
        let text = json!(chat.messages()).to_string();
        let text = text.replace(&dir.path().display().to_string(), "");
        Run {
            bodies: server.requests().into_iter().map(|request| request.body).collect(),
            // Ids of calls hold a hash.
            text: text
                .split("toolu_")
                .map(|part| part.split_once('"').map_or("", |p| p.1))
                .collect(),
            layers: agent.layers(),
            tools: agent.specs().len(),
            check: (String::from_utf8_lossy(&check.stdout).into(), check.status.success()),
            escaped: escaped.into_iter().filter(|(_, is)| *is).map(|(what, _)| what).collect(),
        }
    }

    /// One prompt, and what wakes the agent after it.
    async fn turn(agent: &Agent, chat: &mut Chat, prompt: &str) -> Result<(), Error> {
        agent.run(chat, prompt, agent_loop).await?;
        while agent.woken(chat).await {
            agent.run(chat, Message::empty(), agent_loop).await?;
        }
        Ok(())
    }

    /// The play with the mechanism and without it, once for all tests.
    #[track_caller]
    fn runs() -> &'static (Run, Run) {
        static RUNS: OnceLock<Option<(Run, Run)>> = OnceLock::new();
        let runs = RUNS.get_or_init(|| {
            let both = || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime
                    .block_on(async { tokio::join!(run(install, PLACE), run(|agent| agent, None)) })
            };
            std::panic::catch_unwind(both).ok()
        });
        match runs {
            Some(runs) => runs,
            None => panic!("the play did not end well: see the first test for why"),
        }
    }

    impl Run {
        /// Tokens of all requests, estimated as the server does: four bytes of JSON are one.
        fn tokens(&self) -> usize {
            self.bodies.iter().map(|body| body.to_string().len() / 4).sum()
        }
    }

    #[test]
    fn there_is_a_mechanism() {
        let (with, without) = runs();
        let adds = with.layers != without.layers || with.tools != without.tools;
        assert!(adds, "`install` adds neither a layer nor a tool");
        let acts = with.text != without.text || with.tokens() != without.tokens();
        assert!(acts, "with your mechanism the play is the same as without it: when does it act?");
    }

    #[test]
    fn the_tests_of_the_project_pass() {
        let (said, passes) = &runs().0.check;
        assert!(passes, "the model could not repair the shop: {said}");
    }

    #[test]
    fn nothing_escapes_from_the_folder() {
        let escaped = &runs().0.escaped;
        assert!(escaped.is_empty(), "{escaped:?}: permissions and the guard must see every call");
    }

    #[test]
    fn it_costs_few_requests() {
        let (with, without) = runs();
        let (with, without) = (with.bodies.len(), without.bodies.len());
        println!("requests: {with}, without it {without}");
        assert!(
            with <= without + MORE_REQUESTS,
            "{with} requests, and {without} without your mechanism: {MORE_REQUESTS} more may be"
        );
    }

    #[test]
    fn it_costs_few_tokens() {
        let (with, without) = runs();
        let (with, without) = (with.tokens(), without.tokens());
        let percent = with * 100 / without;
        println!("tokens: {with}, without it {without} ({percent} %)");
        assert!(
            percent <= 100 + MORE_TOKENS_PERCENT,
            "{with} tokens, and {without} without your mechanism: {MORE_TOKENS_PERCENT} % more may \
             be. What do you insert, and how often?"
        );
    }

    #[test]
    fn what_was_sent_stays_as_it_was() {
        let of_main = |body: &&Value| body["messages"].to_string().contains("Repair the till");
        let bodies: Vec<&Value> = runs().0.bodies.iter().filter(of_main).collect();
        for pair in bodies.windows(2) {
            let [before, after] = [pair[0], pair[1]].map(|body| {
                let messages = body["messages"].as_array().unwrap().clone();
                messages.into_iter().map(unmarked).collect::<Vec<Value>>()
            });
            // The last message of a request may still grow.
            let kept = before.len() - 1;
            assert!(
                after.len() >= before.len() && before[..kept] == after[..kept],
                "a request changes messages that an earlier one had sent: the cache's prefix is \
                 lost, and the model's memory rewritten"
            );
        }
    }

    #[test]
    fn a_subagent_gets_what_it_asks_for() {
        let text = &runs().0.text;
        assert!(
            text.contains("the last order is there"),
            "a subagent read orders.log in a conversation of its own, and did not get its end; \
             state of one conversation must not reach into another one"
        );
    }

    /// A message without the marks of the prompt cache, which move.
    fn unmarked(mut message: Value) -> Value {
        for block in message["content"].as_array_mut().into_iter().flatten() {
            if let Some(block) = block.as_object_mut() {
                block.remove("cache_control");
            }
        }
        message
    }
}
