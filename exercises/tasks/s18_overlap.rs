// # Which calls overlap?
//
// predict, level 2, 15 minutes. Read: examples/s18_parallel_tools.rs
//
// A reply holds two calls, and the layer of lesson 18 decides whether they run at the same time or
// one after the other. In the folder there is a folder `sub`, and `link` is a link to the file `a`.
//
// Say for each pair whether the two may overlap. The test runs each pair with the real layer, and
// looks whether the second call began before the first one ended.
//
// Run: cargo run -p rungs-exercises -- run s18_overlap

/// Two calls, and whether they overlap.
const OVERLAP: [(&str, &str, bool); 9] = [
    ("reads", "reads", false),
    ("reads", "writes a", false),
    ("writes a", "writes b", false),
    ("writes a", "writes link", false),
    ("writes sub", "writes sub/x", false),
    ("writes a", "writes A", false),
    ("delegates", "delegates", false),
    ("runs a command", "reads", false),
    ("changes the harness", "changes the harness", false),
];

mod tests {
    use super::*;
    use lessons::s18_parallel_tools::install;
    use rehearsal::{calls, say, scene};
    use rungs_core::{Context, Effect, ToolError};
    use rungs_exercises::support::play;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::{Arc, Mutex},
        time::Duration,
    };

    const PAIRS: [(&str, &str); 9] = [
        ("reads", "reads"),
        ("reads", "writes a"),
        ("writes a", "writes b"),
        ("writes a", "writes link"),
        ("writes sub", "writes sub/x"),
        ("writes a", "writes A"),
        ("delegates", "delegates"),
        ("runs a command", "reads"),
        ("changes the harness", "changes the harness"),
    ];

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Do {
        /// Does what it is called.
        Act {
            /// What that is.
            what: String,
        },
    }

    fn effect(call: &Do) -> Effect {
        let Do::Act { what } = call;
        match what.strip_prefix("writes ") {
            Some(file) => Effect::Writes(vec![file.into()]),
            None if what == "reads" => Effect::Reads,
            None if what == "delegates" => Effect::Delegates,
            None if what == "changes the harness" => Effect::Internal,
            None => Effect::Anything,
        }
    }

    /// The begins and ends of calls: true for a begin.
    type Log = Arc<Mutex<Vec<bool>>>;

    async fn run(log: &Log, call: Do, _: &Context) -> Result<String, ToolError> {
        let Do::Act { what } = call;
        log.lock().unwrap().push(true);
        tokio::time::sleep(Duration::from_millis(20)).await;
        log.lock().unwrap().push(false);
        Ok(what)
    }

    async fn overlap(first: &str, second: &str) -> bool {
        let log = Log::default();
        let act = |what: &str| -> (&str, Value) { ("act", json!({ "what": what })) };
        let turns = [calls([act(first), act(second)]), say("done")];
        let play = play([scene("^go$", turns)], |agent, dir| {
            fs::write(dir.join("a"), "").unwrap();
            fs::create_dir(dir.join("sub")).unwrap();
            symlink("a", dir.join("link")).unwrap();
            install(agent.tools(log.clone(), effect, run), 10)
        })
        .await;
        play.ask("go").await;
        let steps = log.lock().unwrap().clone();
        assert_eq!(steps.len(), 4, "two begins and two ends");
        steps[..2] == [true, true]
    }

    #[tokio::test]
    async fn calls_overlap_as_you_say() {
        let pairs = OVERLAP.map(|(first, second, _)| (first, second));
        assert_eq!(pairs, PAIRS, "change true and false only");
        let mut wrong = vec![];
        for (first, second, said) in OVERLAP {
            if overlap(first, second).await != said {
                wrong.push((first, second));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of 9 are right. The first pair that is wrong: {:?}. Could anybody see the order in \
             which the two ran? And is it proven that nobody could?",
            9 - wrong.len(),
            wrong[0]
        );
    }
}
