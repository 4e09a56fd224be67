// # Write the dispatch map
//
// build, level 1, 25 minutes. Read: examples/s02_tool_use.rs, core/src/tools/mod.rs
//
// Write `act`: it runs the calls of one reply on these tools and returns the results. Whatever a
// call looks like, it has exactly one result, with its id, in the order of the calls.
//
// Mark as an error, and do not run, a call
// - of a name that no tool has; say which tools there are;
// - whose input is no JSON object (a reply may have been cut, and then it is a text);
// - that lacks an argument, or has one that the tool does not know. Name all of them at once, so
//   that one correction is enough, and say which arguments there are.
//
// What a tool returns is the result. If it fails, its words are the result, marked as an error.
// `call.finish(..)` and `call.refuse(..)` make results.
//
// Run: cargo run -p rungs-exercises -- run s02_dispatch

use rungs_core::{ToolCall, ToolError, ToolOutput, ToolResult};
use serde_json::Value;

/// A tool whose arguments are all required.
struct SimpleTool {
    name: &'static str,
    arguments: &'static [&'static str],
    run: fn(&Value) -> Result<ToolOutput, ToolError>,
}

/// Runs the calls of one reply.
fn act(tools: &[SimpleTool], calls: &[ToolCall]) -> Vec<ToolResult> {
    let _ = (tools, calls);
    todo!("one result for each call, in the order of the calls")
}

mod tests {
    use super::*;
    use serde_json::json;

    fn tools() -> [SimpleTool; 2] {
        let add = |input: &Value| match (input["first"].as_i64(), input["second"].as_i64()) {
            (Some(a), Some(b)) => Ok(ToolOutput::from((a + b).to_string())),
            _ => Err(ToolError("`first` and `second` must be whole numbers".into())),
        };
        let now = |_: &Value| Ok("12:00".into());
        [
            SimpleTool { name: "add", arguments: &["first", "second"], run: add },
            SimpleTool { name: "now", arguments: &[], run: now },
        ]
    }

    fn acted(calls: &[(&str, Value)]) -> Vec<ToolResult> {
        let call = |(i, (name, input)): (usize, &(&str, Value))| ToolCall {
            id: format!("call-{i}"),
            name: name.to_string(),
            input: input.clone(),
        };
        let calls: Vec<ToolCall> = calls.iter().enumerate().map(call).collect();
        let results = act(&tools(), &calls);
        let ids: Vec<&str> = results.iter().map(|result| result.id.as_str()).collect();
        let expected: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        let why = "the API wants one result for each call; a missing one spoils the conversation";
        assert_eq!(ids, expected, "{why}");
        results
    }

    /// Text of the only result, which must be an error.
    #[track_caller]
    fn refused(name: &str, input: Value) -> String {
        let results = acted(&[(name, input)]);
        let text = results[0].output.text();
        assert!(results[0].is_error, "the model must see that this did not work: {text}");
        text
    }

    #[track_caller]
    fn assert_says(text: &str, words: &[&str], why: &str) {
        for word in words {
            assert!(text.contains(word), "{why}\n\nThe result says: {text}\nIt lacks: {word}");
        }
    }

    #[test]
    fn a_call_that_fits_runs() {
        let results = acted(&[("add", json!({"first": 2, "second": 3})), ("now", json!({}))]);
        let texts: Vec<String> = results.iter().map(|result| result.output.text()).collect();
        assert_eq!(texts, ["5", "12:00"], "the result is what the tool returned");
        assert!(results.iter().all(|result| !result.is_error), "nothing failed here: {results:?}");
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_exist() {
        let text = refused("sum", json!({"first": 2, "second": 3}));
        let why = "whoever reads this must be able to choose another tool in the next step";
        assert_says(&text, &["add", "now"], why);
    }

    #[test]
    fn all_faults_of_the_arguments_are_named_at_once() {
        let text = refused("add", json!({"second": 3, "third": 4}));
        let why = "one fault at a time costs one request each";
        assert_says(&text, &["third"], why);
        let times = |word: &str| text.matches(word).count();
        let missing = times("first") > times("second") && times("second") > 0;
        let why = "`first` is missing: name it, and beside that list the arguments that there are";
        assert!(missing, "{why}\n\nThe result says: {text}");
        let text = refused("now", json!({"zone": "UTC"}));
        let why = "a model that believes in a time zone must learn that it was not used";
        assert_says(&text, &["zone"], why);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let cut = refused("add", json!("{\"first\": 2, \"sec"));
        assert!(!cut.is_empty(), "say what was wrong");
        assert!(!refused("now", json!(null)).is_empty(), "`now` needs no arguments, but an object");
    }

    #[test]
    fn what_a_tool_says_of_its_failure_comes_back() {
        let text = refused("add", json!({"first": "two", "second": 3}));
        assert_eq!(
            text, "`first` and `second` must be whole numbers",
            "the words of the tool, unchanged"
        );
    }

    #[test]
    fn a_bad_call_does_not_take_the_others_with_it() {
        let results = acted(&[
            ("sum", json!({})),
            ("add", json!({"first": 1, "second": 1})),
            ("add", json!({})),
            ("now", json!({})),
        ]);
        let errors: Vec<bool> = results.iter().map(|result| result.is_error).collect();
        assert_eq!(errors, [true, false, true, false], "each call is judged by itself");
    }
}
