// # A tool of your own
//
// build, level 1, 20 minutes. Read: examples/s02_tool_use.rs, core/src/paths.rs
//
// Models miscount. Write the tool `line_count`, which counts the lines of a file, or only those
// that contain a text. Its arguments are there; what it does to the world, and the call, are yours:
//
// 1. The answer is `4 lines`, or `2 of 4 lines contain "pear"`.
// 2. The path comes from the model, so it passes the guard, `rungs_core::paths`: a file outside of
//    the agent's folder is refused.
// 3. An empty `containing` would match every line, which nobody wants to know. Refuse it with
//    `containing must not be empty; leave it out to count all lines`.
// 4. A file that is not UTF-8 is refused, and the text begins with the path as the model wrote it.
//
// What goes wrong is a `ToolError`: the model reads it and tries again. Nothing may panic.
//
// Run: cargo run -p rungs-exercises -- run s02_line_count

use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
use schemars::JsonSchema;
use serde::Deserialize;

struct LineCount;

/// Counts the lines of a text file, or those that contain a text.
#[derive(Deserialize, JsonSchema)]
struct Input {
    /// A text file, relative to the working directory.
    file_path: String,
    /// Count only lines that contain this text.
    containing: Option<String>,
}

impl Tool for LineCount {
    type Input = Input;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Input>("line_count")
    }

    fn effect(&self, _: &Input) -> Effect {
        Effect::Anything
    }

    async fn call(&self, input: Input, cx: &Context) -> Result<ToolOutput, ToolError> {
        todo!("open the file through the guard, count, and say the number")
    }
}

mod tests {
    use super::*;
    use rehearsal::{calls, say, scene};
    use rungs_core::ToolCall;
    use rungs_exercises::support::{play, results};
    use serde_json::{Value, json};

    const FRUIT: &str = "apple 3\npear 5\nquince 2\npear 1\n";

    /// Lets the model call the tool with this input, in a folder with some files: the result.
    async fn count(input: Value) -> String {
        let turns = [calls([("line_count", input)]), say("done")];
        let play = play([scene("^go$", turns)], |agent, dir| {
            std::fs::write(dir.join("fruit.txt"), FRUIT).unwrap();
            std::fs::write(dir.join("empty.txt"), "").unwrap();
            std::fs::write(dir.join("picture.png"), [0x89, b'P', 0xff, b'\n', 0xfe]).unwrap();
            agent.tool(LineCount)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        results(&chat.messages()[2]).remove(0)
    }

    #[tokio::test]
    async fn it_counts_all_lines() {
        assert_eq!(count(json!({"file_path": "fruit.txt"})).await, "4 lines", "of {FRUIT:?}");
        let empty = count(json!({"file_path": "empty.txt"})).await;
        assert_eq!(empty, "0 lines", "an empty file has none");
    }

    #[tokio::test]
    async fn it_counts_the_lines_that_contain_a_text() {
        let pears = count(json!({"file_path": "fruit.txt", "containing": "pear"})).await;
        assert_eq!(pears, "2 of 4 lines contain \"pear\"", "the model sees both numbers");
        let plums = count(json!({"file_path": "fruit.txt", "containing": "plum"})).await;
        assert_eq!(plums, "0 of 4 lines contain \"plum\"", "none is an answer, not a failure");
    }

    #[tokio::test]
    async fn a_path_out_of_the_folder_is_refused() {
        for path in ["../secret.txt", "/etc/passwd"] {
            let said = count(json!({"file_path": path})).await;
            let expected = format!("{path}: it is outside the working directory");
            assert_eq!(said, expected, "a model that is tricked must not read your keys");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let said = count(json!({"file_path": "fruits.txt"})).await;
        assert_eq!(said, "fruits.txt: no such file", "the guard says that already: hand it on");
    }

    #[tokio::test]
    async fn an_empty_text_is_refused_with_what_would_be_right() {
        let said = count(json!({"file_path": "fruit.txt", "containing": ""})).await;
        let expected = "containing must not be empty; leave it out to count all lines";
        assert_eq!(
            said, expected,
            "an error message is part of the prompt: say what to do instead"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_no_text_is_refused() {
        let said = count(json!({"file_path": "picture.png"})).await;
        assert!(
            said.starts_with("picture.png: "),
            "the model called several tools and must know which file is meant: {said}"
        );
        assert!(!said.contains("panicked"), "bytes from a disk may be anything: {said}");
    }

    #[tokio::test]
    async fn it_only_reads() {
        let play = play([], |agent, _| agent.tool(LineCount)).await;
        let input = json!({"file_path": "fruit.txt"});
        let call = ToolCall { id: "1".into(), name: "line_count".into(), input };
        let right = play.agent.context().effect(&call) == Effect::Reads;
        assert!(right, "lesson 15 asks before a call that may change something; this one does not");
    }
}
