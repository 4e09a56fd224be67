// # Which of them run?
//
// predict, level 1, 10 minutes. Read: examples/s08_background_tasks.rs
//
// Lesson 8 keeps a model from starting a server in the foreground: such a call of `bash` is not
// run, and the model is told to use `bash_background`. It goes by how a command is written.
//
// Say for each of the eight calls below whether it runs. They are made by a real agent, one after
// the other. `tail -f FILE` prints what is added to a file, and never ends.
//
// Run: cargo run -p rungs-exercises -- run s08_which_run

/// For each call: `Some(true)` if it runs, `Some(false)` if it is refused.
const RUNS: [Option<bool>; 8] = [
    None, // 1. tail -f /dev/null
    None, // 2. tail -f /dev/null          with `timeout: 50`
    None, // 3. tail -f /dev/null &
    None, // 4. timeout 0.05 tail -f /dev/null
    None, // 5. echo tail -f /dev/null
    None, // 6. true && tail -f /dev/null
    None, // 7. echo 'first; tail -f is a server'
    None, // 8. tail -fn1 /dev/null & true
];

mod tests {
    use super::*;
    use lessons::s08_background_tasks;
    use rehearsal::{calls, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{play, results};
    use serde_json::{Value, json};

    fn inputs() -> [Value; 8] {
        [
            json!({"command": "tail -f /dev/null"}),
            json!({"command": "tail -f /dev/null", "timeout": 50}),
            json!({"command": "tail -f /dev/null &"}),
            json!({"command": "timeout 0.05 tail -f /dev/null"}),
            json!({"command": "echo tail -f /dev/null"}),
            json!({"command": "true && tail -f /dev/null"}),
            json!({"command": "echo 'first; tail -f is a server'"}),
            json!({"command": "tail -fn1 /dev/null & true"}),
        ]
    }

    /// Which of the calls an agent ran.
    async fn run() -> [bool; 8] {
        let turns = [calls(inputs().map(|input| ("bash", input))), say("done")];
        let play = play([scene("^go$", turns)], |agent, dir| {
            let folder = durable::Folder::open(dir, "state").unwrap();
            s08_background_tasks::install(agent.tool(tools::Bash), folder)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let results = results(&chat.messages()[2]);
        std::array::from_fn(|i| !results[i].starts_with("not run: "))
    }

    #[tokio::test]
    async fn each_call_is_judged_by_how_it_is_written() {
        let ran = run().await;
        let wrong: Vec<usize> = (1..=8).filter(|n| RUNS[n - 1] != Some(ran[n - 1])).collect();
        assert!(
            wrong.is_empty(),
            "not so for the calls {wrong:?}. Read `server` and `act` in \
             examples/s08_background_tasks.rs: at which characters is a command parted, what must \
             a part begin with, what may follow, and what else is looked at?"
        );
    }
}
