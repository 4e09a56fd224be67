// # Two edits of one file
//
// repair, level 2, 25 minutes. Read: examples/s18_parallel_tools.rs, core/src/dispatch.rs
//
// This layer runs the calls of a reply at the same time. Eight slow look-ups take as long as one.
// Users report:
//
//   "The model added three lines to a file with three calls, and each call said `added`. One line
//   is in the file."
//
//   "It wrote a file and ran the tests in the same reply. The tests used the old file. Sometimes."
//
// Repair `Together::batch`. Calls that cannot disturb each other still run at the same time; all
// others run one after the other, in the order in which the model wrote them. What a call does to
// the world is `cx.effect(&call)`: reads disturb no read. More than that you need not find out, but
// what you do not know to be harmless must run alone. Each call has one result, in the order of the
// calls.
//
// Run: cargo run -p rungs-exercises -- run s18_two_edits

use futures_util::future::join_all;
use rungs_core::{Context, Layer, NextBatch, ToolCall, ToolResult};

/// Runs the calls of one reply at the same time.
struct Together;

impl Layer for Together {
    async fn batch(
        &self,
        calls: Vec<ToolCall>,
        cx: &Context,
        next: NextBatch<'_>,
    ) -> Vec<ToolResult> {
        let running = calls.into_iter().map(|call| next.run(vec![call], cx));
        join_all(running).await.concat()
    }
}

mod tests {
    use super::*;
    use rehearsal::{calls, say, scene};
    use rungs_core::{Effect, ToolError, tools};
    use rungs_exercises::support::{play, results};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::{fs, sync::Arc, time::Duration};
    use tokio::sync::Barrier;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Do {
        /// Waits until as many calls of this tool are there as the meeting has.
        Meet {},
        /// Adds a line to a file: reads all of it, thinks, and writes all of it.
        Add {
            /// The file.
            file: String,
            /// The line.
            line: String,
        },
        /// Says what a file holds.
        Show {
            /// The file.
            file: String,
        },
    }

    fn effect(call: &Do) -> Effect {
        match call {
            Do::Meet {} | Do::Show { .. } => Effect::Reads,
            Do::Add { file, .. } => Effect::Writes(vec![file.into()]),
        }
    }

    async fn run(meeting: &Arc<Barrier>, call: Do, cx: &Context) -> Result<String, ToolError> {
        match call {
            Do::Meet {} => {
                meeting.wait().await;
                Ok("met".into())
            }
            Do::Show { file } => Ok(fs::read_to_string(cx.cwd().join(file))?),
            Do::Add { file, line } => {
                let path = cx.cwd().join(file);
                let text = fs::read_to_string(&path).unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(10)).await;
                fs::write(path, format!("{text}{line}\n"))?;
                Ok("added".into())
            }
        }
    }

    /// The results of these calls of one reply; `meeting` calls can meet.
    async fn batch(meeting: usize, inputs: &[(&'static str, Value)]) -> Vec<String> {
        let meeting = Arc::new(Barrier::new(meeting));
        let turns = [calls(inputs.iter().cloned()), say("done")];
        let play = play([scene("^go$", turns)], |agent, _| {
            tools::all(agent).tools(meeting, effect, run).wrap(Together)
        })
        .await;
        let asked = tokio::time::timeout(Duration::from_secs(5), play.ask("go"));
        let Ok((_, chat)) = asked.await else {
            panic!("the calls wait for each other: reads should run at the same time")
        };
        results(&chat.messages()[2])
    }

    fn meet() -> (&'static str, Value) {
        ("meet", json!({}))
    }

    fn add(file: &str, line: &str) -> (&'static str, Value) {
        ("add", json!({"file": file, "line": line}))
    }

    fn show(file: &str) -> (&'static str, Value) {
        ("show", json!({ "file": file }))
    }

    #[tokio::test]
    async fn reads_run_at_the_same_time() {
        assert_eq!(batch(4, &[meet(), meet(), meet(), meet()]).await, ["met"; 4], "all four");
        let inputs = [add("a", "x"), meet(), meet(), add("a", "y")];
        let said = batch(2, &inputs).await;
        assert_eq!(said, ["added", "met", "met", "added"], "reads between writes, too");
    }

    #[tokio::test]
    async fn every_line_of_one_file_is_there() {
        let inputs = [add("a", "one"), add("a", "two"), add("a", "three"), show("a")];
        let said = batch(1, &inputs).await;
        let why = "each call reads the file, changes it and writes it back; who reads before the \
                   other one has written takes the other one's line away";
        assert_eq!(said[3], "one\ntwo\nthree\n", "{why}");
    }

    #[tokio::test]
    async fn a_read_finds_what_was_written_before_it() {
        let inputs = [add("a", "one"), show("a"), add("a", "two"), show("a")];
        let said = batch(1, &inputs).await;
        let why = "the model wrote the calls in this order, and expects what it leads to";
        assert_eq!(said, ["added", "one\n", "added", "one\ntwo\n"], "{why}");
    }

    #[tokio::test]
    async fn a_command_runs_alone() {
        let bash = |command: &str| ("bash", json!({ "command": command }));
        let inputs = [
            add("a", "one"),
            bash("sleep 0.05; cat a; echo two >> a"),
            add("a", "three"),
            bash("cat a"),
        ];
        let said = batch(1, &inputs).await;
        assert_eq!(said[1], "one\n", "nobody can tell what a command reads");
        assert_eq!(said[3], "one\ntwo\nthree\n", "nor what it changes");
    }

    #[tokio::test]
    async fn every_call_has_its_own_result() {
        let inputs = [show("nothing"), add("a", "one"), ("nobody", json!({})), show("a")];
        let said = batch(1, &inputs).await;
        assert_eq!(said.len(), 4, "also a call that fails, and one of a tool that does not exist");
        assert_eq!((said[1].as_str(), said[3].as_str()), ("added", "one\n"), "in their order");
    }
}
