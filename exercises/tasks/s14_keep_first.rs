// # Keep it before it is gone
//
// repair, level 2, 25 minutes. Read: core/src/dispatch.rs, core/src/tools/mod.rs
//
// This layer lets a person undo what the agent wrote. It keeps the content of files in memory, and
// knows from `Effect::Writes` which files a call changes. Its users report:
//
//   "undo says nothing and does nothing. The file is as the agent left it."
//
//   "The agent made a file that I did not want. Undo leaves it where it is."
//
//   "One call changed two files. After undo one of them is old and the other one is new."
//
//   "The agent replaced a file of 20 MB. Undo took away an older change of another file instead."
//
// Repair `Undo`: one `undo` takes back one call, all of its files. What is there is kept before the
// call runs. A call whose files cannot be kept, since one of them is larger than `MAX_KEPT_BYTES`
// or cannot be read, must not run; `call.refuse(why)` makes its result. You may change the types
// of the fields, but not the names `Undo` and `undo`.
//
// Run: cargo run -p rungs-exercises -- run s14_keep_first

use rungs_core::{Context, Effect, Layer, NextAct, ToolCall, ToolResult};
use std::{fs, path::PathBuf, sync::Mutex};

/// The largest file that is kept.
const MAX_KEPT_BYTES: usize = 1_000_000;

/// What files were before they were changed, the newest last.
#[derive(Default)]
struct Undo {
    kept: Mutex<Vec<(PathBuf, Vec<u8>)>>,
}

impl Layer for Undo {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let effect = cx.effect(&call);
        let result = next.run(call, cx).await;
        if let Effect::Writes(paths) = effect {
            for path in paths {
                let path = cx.cwd().join(path);
                if let Ok(content) = fs::read(&path)
                    && content.len() <= MAX_KEPT_BYTES
                {
                    self.kept.lock().unwrap().push((path, content));
                }
            }
        }
        result
    }
}

impl Undo {
    /// Takes the newest call back; what went wrong, if something did.
    fn undo(&self) -> std::io::Result<()> {
        if let Some((path, content)) = self.kept.lock().unwrap().pop() {
            fs::write(path, content)?;
        }
        Ok(())
    }
}

mod tests {
    use super::*;
    use rehearsal::{call, calls, say, scene};
    use rungs_core::{Agent, ToolError, tools};
    use rungs_exercises::support::{Play, play, results};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Call {
        /// Writes this content into two files.
        WriteBoth {
            /// One of them.
            first: String,
            /// The other one.
            second: String,
            /// What they are to hold.
            content: String,
        },
    }

    fn effect(call: &Call) -> Effect {
        let Call::WriteBoth { first, second, .. } = call;
        Effect::Writes(vec![first.into(), second.into()])
    }

    async fn run(_: &(), call: Call, cx: &Context) -> Result<String, ToolError> {
        let Call::WriteBoth { first, second, content } = call;
        fs::write(cx.cwd().join(first), &content)?;
        fs::write(cx.cwd().join(second), &content)?;
        Ok("written".into())
    }

    /// An agent that makes these calls, one after the other, and can be undone.
    async fn wrote(inputs: impl IntoIterator<Item = (&'static str, Value)>) -> (Play, Arc<Undo>) {
        let undo = Arc::new(Undo::default());
        let steps = inputs.into_iter().map(|(tool, input)| call(tool, input));
        let turns: Vec<_> = steps.chain([say("done")]).collect();
        let layer = undo.clone();
        let play = play([scene("^go$", turns)], |agent: Agent, dir| {
            fs::write(dir.join("a"), "one").unwrap();
            fs::write(dir.join("b"), "one").unwrap();
            tools::all(agent).tools((), effect, run).wrap_shared(layer)
        })
        .await;
        play.ask("go").await;
        (play, undo)
    }

    fn edit(file: &str, old: &str, new: &str) -> (&'static str, Value) {
        ("edit", json!({"file_path": file, "old_string": old, "new_string": new}))
    }

    fn both(first: &str, second: &str) -> (&'static str, Value) {
        ("write_both", json!({"first": first, "second": second, "content": "both"}))
    }

    fn content(play: &Play, file: &str) -> Option<String> {
        fs::read_to_string(play.dir.path().join(file)).ok()
    }

    #[tokio::test]
    async fn an_edit_is_undone_and_the_one_before_it() {
        let (play, undo) = wrote([edit("a", "one", "two"), edit("a", "two", "three")]).await;
        assert_eq!(content(&play, "a").unwrap(), "three", "the calls themselves must still run");
        undo.undo().unwrap();
        let why = "what must be kept is what the file held before the call, and not what the call \
                   has made of it";
        assert_eq!(content(&play, "a").unwrap(), "two", "{why}");
        undo.undo().unwrap();
        assert_eq!(content(&play, "a").unwrap(), "one", "{why}");
    }

    #[tokio::test]
    async fn a_file_that_was_made_is_removed_again() {
        let new = ("write", json!({"file_path": "new", "content": "x"}));
        let (play, undo) = wrote([edit("a", "one", "two"), new]).await;
        undo.undo().unwrap();
        let why = "there was no file: that is a state to return to as well";
        assert_eq!(content(&play, "new"), None, "{why}");
        let why = "one undo takes back one call, and the edit of `a` was another one";
        assert_eq!(content(&play, "a").unwrap(), "two", "{why}");
    }

    #[tokio::test]
    async fn all_files_of_a_call_are_undone_together() {
        let (play, undo) = wrote([edit("a", "one", "two"), both("b", "new")]).await;
        undo.undo().unwrap();
        let found = ["a", "b", "new"].map(|file| content(&play, file));
        let expected = [Some("two".to_string()), Some("one".into()), None];
        assert_eq!(found, expected, "a, b and new after one undo of the call that wrote b and new");
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_not_changed() {
        let large = "x".repeat(MAX_KEPT_BYTES + 1);
        let undo = Arc::new(Undo::default());
        let layer = undo.clone();
        let turns = [calls([edit("a", "one", "two"), both("b", "large")]), say("done")];
        let play = play([scene("^go$", turns)], |agent: Agent, dir| {
            fs::write(dir.join("a"), "one").unwrap();
            fs::write(dir.join("b"), "one").unwrap();
            fs::write(dir.join("large"), &large).unwrap();
            tools::all(agent).tools((), effect, run).wrap_shared(layer)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let why = "a change that nobody could take back must not be made, in none of its files";
        assert_eq!(content(&play, "large").map(|text| text.len()), Some(large.len()), "{why}");
        assert_eq!(content(&play, "b").unwrap(), "one", "{why}");
        let said = &results(&chat.messages()[2])[1];
        assert_ne!(said, "written", "the model must read that the call did not run, and why");
        undo.undo().unwrap();
        let why = "the call that did not run is nothing to undo";
        assert_eq!(content(&play, "a").unwrap(), "one", "{why}");
    }

    #[tokio::test]
    async fn calls_that_write_nothing_are_left_alone() {
        let read = ("read", json!({"file_path": "a"}));
        let (play, undo) = wrote([edit("a", "one", "two"), read]).await;
        undo.undo().unwrap();
        assert_eq!(content(&play, "a").unwrap(), "one", "a read is no step to undo");
        undo.undo().unwrap();
        assert_eq!(content(&play, "a").unwrap(), "one", "with nothing left, undo does nothing");
    }
}
