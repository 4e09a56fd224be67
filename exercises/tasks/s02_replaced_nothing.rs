// # Replaced nothing
//
// repair, level 2, 25 minutes. Read: examples/s02_tool_use.rs, core/src/paths.rs
//
// `rename` replaces a word in a file. Three people complain:
//
//   "The agent told me that it had renamed `total` to `sum` everywhere. Nothing was changed: the
//   file says `totals`, and the tool found no such word. Still it reported success."
//
//   "I let it loose in my project's folder, and a README there told it to rename something in
//   ../.bashrc. It did."
//
//   "My permission rules allow everything that only reads. It never asked before it renamed."
//
// And the model itself takes errors for results, since they are not marked. Repair `rename`; the
// texts of results stay as they are, but for a word that is not there: then say how many words
// there are that contain it, as the test shows.
//
// Run: cargo run -p rungs-exercises -- run s02_replaced_nothing

use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
use schemars::JsonSchema;
use serde::Deserialize;

struct Rename;

/// Replaces a whole word by another one, everywhere in a file.
#[derive(Deserialize, JsonSchema)]
struct Input {
    /// The file, relative to the working directory.
    file_path: String,
    /// The word.
    from: String,
    /// The word to put in its place.
    to: String,
}

impl Tool for Rename {
    type Input = Input;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Input>("rename")
    }

    fn effect(&self, _: &Input) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: Input, cx: &Context) -> Result<ToolOutput, ToolError> {
        let Input { file_path, from, to } = input;
        let path = cx.cwd().join(&file_path);
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(format!("{file_path}: it cannot be read").into());
        };
        let mut count = 0;
        let renamed = map_words(&text, |word| {
            if word == from {
                count += 1;
                return to.clone();
            }
            word.to_string()
        });
        if let Err(error) = std::fs::write(&path, renamed) {
            return Ok(format!("{file_path}: {error}").into());
        }
        Ok(format!("{file_path}: renamed {from} to {to}, {count} times").into())
    }
}

/// Puts another word in place of each word, that is, of letters, digits and `_` in a row.
fn map_words(text: &str, mut map: impl FnMut(&str) -> String) -> String {
    let mut mapped = String::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(begin) = rest.find(is_word) {
        let (between, from_word) = rest.split_at(begin);
        let end = from_word.find(|c| !is_word(c)).unwrap_or(from_word.len());
        mapped += between;
        mapped += &map(&from_word[..end]);
        rest = &from_word[end..];
    }
    mapped + rest
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::{Block, ToolCall};
    use rungs_exercises::support::{Play, play, results};
    use serde_json::json;
    use std::fs;

    const CODE: &str = "let totals = subtotal + total_of(x);\n";

    /// Lets the model rename `from` to `sum` in this file: its result, whether that is marked as an
    /// error, and where it happened.
    async fn rename(file: &str, from: &str) -> (String, bool, Play) {
        let input = json!({"file_path": file, "from": from, "to": "sum"});
        let play = play([scene("^go$", [call("rename", input), say("done")])], |agent, dir| {
            // The agent works in a folder below, so that there is something outside of it.
            fs::create_dir(dir.join("project")).unwrap();
            fs::write(dir.join(".bashrc"), "total").unwrap();
            fs::write(dir.join("project/code.rs"), CODE).unwrap();
            fs::write(dir.join("project/other.rs"), "total + total").unwrap();
            agent.in_dir(dir.join("project")).tool(Rename)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let message = &chat.messages()[2];
        let Block::ToolResult { is_error, .. } = message.content[0] else {
            panic!("the call was not answered: {message:?}")
        };
        (results(message).remove(0), is_error, play)
    }

    #[tokio::test]
    async fn whole_words_are_renamed() {
        let (said, is_error, play) = rename("other.rs", "total").await;
        assert_eq!(said, "other.rs: renamed total to sum, 2 times", "this worked before");
        assert!(!is_error, "what succeeds is no error");
        let file = fs::read_to_string(play.dir.path().join("project/other.rs")).unwrap();
        assert_eq!(file, "sum + sum", "the file itself");
    }

    #[tokio::test]
    async fn a_word_that_is_not_there_is_an_error_that_helps() {
        let (said, is_error, play) = rename("code.rs", "total").await;
        assert_eq!(
            said, "code.rs: there is no word `total`; 3 words contain it",
            "the model believes what it reads; a number of those that are near lets it look again"
        );
        assert!(is_error, "a result that reports a failure is marked, so that no one overlooks it");
        let file = fs::read_to_string(play.dir.path().join("project/code.rs")).unwrap();
        assert_eq!(file, CODE, "nothing is renamed, so nothing is written");
    }

    #[tokio::test]
    async fn a_file_outside_of_the_folder_stays_as_it_is() {
        let (said, is_error, play) = rename("../.bashrc", "total").await;
        let file = fs::read_to_string(play.dir.path().join(".bashrc")).unwrap();
        assert_eq!(file, "total", "a text in the project must not reach files outside of it");
        assert_eq!(said, "../.bashrc: it is outside the working directory", "the guard says so");
        assert!(is_error, "a refusal is an error");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_an_error() {
        let (said, is_error, _play) = rename("none.rs", "total").await;
        assert!(said.starts_with("none.rs: "), "which file it was: {said}");
        assert!(is_error, "the model must not take `{said}` for a success");
    }

    #[tokio::test]
    async fn it_says_what_it_does_to_the_world() {
        let play = play([], |agent, _| agent.tool(Rename)).await;
        let input = json!({"file_path": "code.rs", "from": "a", "to": "b"});
        let call = ToolCall { id: "1".into(), name: "rename".into(), input };
        assert_eq!(
            play.agent.context().effect(&call),
            Effect::Writes(vec![play.dir.path().join("code.rs")]),
            "permissions and snapshots go by the effect, and know the tool by nothing else"
        );
    }
}
