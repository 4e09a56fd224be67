// # A gate with holes
//
// repair, level 2, 15 minutes. Read: examples/s10_team_protocols.rs, core/src/tools/mod.rs
//
// Until its plan is approved, an agent may look at everything and change nothing. The layer `Gate`
// enforces that: it refuses calls of the tools that change files. A user reports:
//
//   "I gave my agents a tool `rename`, and one of them renamed a file before its plan was approved.
//   Another had its plan refused, gave the job to a subagent, and the subagent did it with `bash`.
//   And you should let them write their plan down: the to-do list is refused too."
//
// Repair the gate, such that it also holds for the next tool that somebody adds.
//
// Run: cargo run -p rungs-exercises -- run s10_gate

use rungs_core::{Context, Layer, NextAct, ToolCall, ToolResult};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// The tools that change something.
const CHANGING: [&str; 5] = ["bash", "write", "edit", "todo_write", "todo_update"];

/// Refuses calls until a plan is approved.
struct Gate {
    approved: Arc<AtomicBool>,
}

impl Layer for Gate {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if !self.approved.load(Relaxed) && CHANGING.contains(&&*call.name) {
            return call.refuse("not run: your plan is not approved yet");
        }
        next.run(call, cx).await
    }

    fn follows(&self, _child: &Context) -> bool {
        // A subagent has no plan of its own.
        false
    }
}

mod tests {
    use super::*;
    use lessons::{s03_todo_write, s04_subagent};
    use rehearsal::{Scene, calls, say, say_results, scene};
    use rungs_core::{Effect, Result, Tool, ToolError, ToolOutput, ToolSpec, tools};
    use rungs_exercises::support::{Play, play, results};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};

    /// Renames a file.
    #[derive(Deserialize, JsonSchema)]
    struct Input {
        from: String,
        to: String,
    }

    /// A tool that somebody has added.
    struct Rename;

    impl Tool for Rename {
        type Input = Input;

        fn spec(&self) -> ToolSpec {
            ToolSpec::of::<Input>("rename")
        }

        fn effect(&self, input: &Input) -> Effect {
            Effect::Writes(vec![input.from.clone().into(), input.to.clone().into()])
        }

        async fn call(&self, input: Input, cx: &Context) -> Result<ToolOutput, ToolError> {
            std::fs::rename(cx.cwd().join(&input.from), cx.cwd().join(&input.to))?;
            Ok("renamed".into())
        }
    }

    async fn gated(approved: bool, scenes: impl IntoIterator<Item = Scene>) -> Play {
        let approved = Arc::new(AtomicBool::new(approved));
        let play = play(scenes, |agent, _| {
            let agent = s04_subagent::install(tools::all(agent).tool(Rename));
            s03_todo_write::install(agent).wrap(Gate { approved })
        })
        .await;
        std::fs::write(play.dir.path().join("a.txt"), "a\n").unwrap();
        play
    }

    /// The results of these calls.
    async fn answers(approved: bool, first: Vec<(&'static str, Value)>) -> (Play, Vec<String>) {
        let touch = ("bash", json!({"command": "touch by-subagent"}));
        let scenes = [
            scene("^go$", [calls(first), say("done")]),
            scene("^make it$", [calls([touch]), say_results()]),
        ];
        let play = gated(approved, scenes).await;
        let (_, chat) = play.ask("go").await;
        let results = results(&chat.messages()[2]);
        (play, results)
    }

    fn bash(command: &str) -> (&'static str, Value) {
        ("bash", json!({ "command": command }))
    }

    const REFUSED: &str = "not run: your plan is not approved yet";

    #[tokio::test]
    async fn without_a_plan_it_may_look() {
        let look = vec![
            ("read", json!({"file_path": "a.txt"})),
            ("glob", json!({"pattern": "*.txt"})),
            bash("touch b.txt"),
        ];
        let (play, results) = answers(false, look).await;
        assert!(results[0].contains("a"), "reading changes nothing: {results:?}");
        assert!(results[1].contains("a.txt"), "nor does a search: {results:?}");
        assert_eq!(results[2], REFUSED, "a command may do anything");
        assert!(!play.dir.path().join("b.txt").exists(), "it must not have run");
    }

    #[tokio::test]
    async fn a_tool_that_somebody_adds_is_behind_the_gate_too() {
        let rename = ("rename", json!({"from": "a.txt", "to": "b.txt"}));
        let (play, results) = answers(false, vec![rename]).await;
        let why = "nobody has entered `rename` into the list. Every tool says what a call does to \
                   the world, without being asked for its name";
        assert_eq!(results[0], REFUSED, "{why}");
        assert!(play.dir.path().join("a.txt").exists(), "{why}");
    }

    #[tokio::test]
    async fn a_subagent_is_no_way_around_it() {
        let task = json!({"tasks": [{"description": "make", "prompt": "make it"}]});
        let (play, results) = answers(false, vec![("task", task)]).await;
        let why = "delegating is harmless, as long as the gate stands before the subagent's calls \
                   as well. Which method says whether a layer wraps children?";
        assert!(!play.dir.path().join("by-subagent").exists(), "{why}");
        assert!(results[0].ends_with(REFUSED), "the subagent was told why: {results:?}");
    }

    #[tokio::test]
    async fn a_plan_may_be_written_down_before_it_is_approved() {
        let todos = json!({"todos": [{"content": "look", "status": "pending"}]});
        let (_, results) = answers(false, vec![("todo_write", todos)]).await;
        let why = "the list is within the harness; nothing outside changes";
        assert_ne!(results[0], REFUSED, "{why}");
    }

    #[tokio::test]
    async fn with_a_plan_everything_runs() {
        let task = json!({"tasks": [{"description": "make", "prompt": "make it"}]});
        let rename = ("rename", json!({"from": "a.txt", "to": "b.txt"}));
        let (play, results) = answers(true, vec![bash("true"), rename, ("task", task)]).await;
        assert!(!results.concat().contains("not run"), "the plan is approved: {results:?}");
        let made = ["b.txt", "by-subagent"].map(|file| play.dir.path().join(file).exists());
        assert_eq!(made, [true, true], "an approved plan covers the subagent as well");
    }
}
