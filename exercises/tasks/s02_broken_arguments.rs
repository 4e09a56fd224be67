// # Arguments that arrive broken
//
// drill, level 3, 30 minutes. Read: examples/s02_tool_use.rs, crates/json/src/repair.rs
//
// This client reads the arguments of a call as text, since the servers behind it send anything:
// nothing at all for a tool without arguments, JSON within JSON text, JSON between the fences of
// Markdown, and text that ends in the middle, because the reply reached its limit or the stream was
// cut. Write `arguments`:
//
// 1. A JSON object is returned as it is; blank text and `null` are an empty object.
// 2. An object that is encoded as a JSON text is decoded, once.
// 3. Fences (three backquotes, with or without `json`) around the object are taken off.
// 4. All else is an error that the model can use. Above all, text that was cut is never completed:
//    `{"command": "rm -rf build` may have gone on `/cache"}`. Its error begins with `cut` if more
//    text could have made it valid, else with `no JSON object`.
//
// `serde_json::Error::is_eof` says whether text ended too early.
//
// Run: cargo run -p rungs-exercises -- run s02_broken_arguments

use serde_json::{Map, Value};

/// The arguments that the model meant, or what it must be told.
fn arguments(text: &str) -> Result<Map<String, Value>, String> {
    todo!("read what is certain, refuse all else")
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::{Agent, Context, Effect, Tool, ToolError, ToolOutput, ToolSpec};
    use rungs_exercises::support::play;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    #[track_caller]
    fn read(text: &str) -> Value {
        match arguments(text) {
            Ok(object) => Value::Object(object),
            Err(why) => panic!("{text:?} was refused ({why}), though its meaning is certain"),
        }
    }

    #[track_caller]
    fn refused(text: &str, begin: &str, why: &str) {
        match arguments(text) {
            Ok(object) => panic!("{text:?} was read as {object:?}: {why}"),
            Err(said) => assert!(
                said.starts_with(begin) && said.len() > begin.len(),
                "the error must begin with `{begin}` and say more: {said:?} ({why})"
            ),
        }
    }

    #[test]
    fn an_object_is_read() {
        let text = r#" {"command": "ls", "timeout": 5} "#;
        assert_eq!(read(text), json!({"command": "ls", "timeout": 5}), "the usual case");
        let nested = r#"{"a": {"b": ["}", "`"]}}"#;
        assert_eq!(read(nested), json!({"a": {"b": ["}", "`"]}}), "whatever is in its texts");
    }

    #[test]
    fn nothing_is_an_empty_object() {
        for text in ["", "  \n", "null", "{}"] {
            assert_eq!(read(text), json!({}), "{text:?}: a tool without arguments is called so");
        }
    }

    #[test]
    fn json_within_json_is_decoded_once() {
        let text = r#""{\"command\": \"echo \\\"hi\\\"\"}""#;
        assert_eq!(read(text), json!({"command": "echo \"hi\""}), "some servers encode it twice");
        let thrice = json!(json!(json!({"a": 1}).to_string()).to_string()).to_string();
        refused(&thrice, "no JSON object", "three times is no slip that anybody knows");
    }

    #[test]
    fn fences_are_taken_off() {
        for text in
            ["```json\n{\"a\": 1}\n```", "```\n{\"a\": 1}\n```\n", " ```json {\"a\": 1} ```"]
        {
            assert_eq!(read(text), json!({"a": 1}), "{text:?}: small models write for a reader");
        }
        let inside = "{\"text\": \"```json\\n{}\\n```\"}";
        let expected = json!({"text": "```json\n{}\n```"});
        assert_eq!(read(inside), expected, "fences within a text are the text's own");
    }

    #[test]
    fn cut_text_is_never_completed() {
        let whole = r#"{"command": "rm -rf build/cache", "timeout": 10}"#;
        for end in 1..whole.len() {
            refused(&whole[..end], "cut", "a command that was cut is another command");
        }
        refused("```json\n{\"a\": 1", "cut", "cut between fences");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[1, 2]", "7", "true", "\"ls\"", "ls -l", "{'a': 1}", "{\"a\": 1} {\"b\": 2}"]
        {
            refused(text, "no JSON object", "which of the tool's arguments would that be?");
        }
    }

    /// Runs a command.
    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Input {
        /// It.
        command: String,
    }

    /// A tool that is given its arguments as text, as from such a server.
    struct FromText(&'static str);

    impl Tool for FromText {
        type Input = Value;

        fn spec(&self) -> ToolSpec {
            ToolSpec::of::<Input>("run")
        }

        fn effect(&self, _: &Value) -> Effect {
            Effect::Anything
        }

        async fn call(&self, _: Value, _: &Context) -> Result<ToolOutput, ToolError> {
            let input = arguments(self.0).map_err(ToolError)?;
            Ok(format!("ran {}", input["command"]).into())
        }
    }

    #[tokio::test]
    async fn the_model_reads_why_and_nothing_runs() {
        let input = json!({"command": "as above"});
        let turns = [call("run", input), say("{{ results[0].is_error }} {{ results[0].text }}")];
        let tool = FromText(r#"{"command": "rm -rf build"#);
        let play = play([scene("^go$", turns)], |agent: Agent, _| agent.tool(tool)).await;
        let (answer, _) = play.ask("go").await;
        assert!(answer.starts_with("True cut"), "the model can call again, if it knows: {answer}");
    }
}
