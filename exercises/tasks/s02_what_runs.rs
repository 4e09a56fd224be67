// # What runs, and what is refused
//
// predict, level 2, 15 minutes. Read: core/src/tools/mod.rs, crates/json/src/arguments.rs
//
// A model writes the arguments of its calls as JSON, and gets them wrong. Dispatch looks up the
// tool, checks the arguments against its schema, and only then runs it. A slip is corrected where
// its meaning is certain; all else is refused with a text that says what would be right.
//
// The tool `reserve` has the arguments below. For each call of `CALLS` say in `ENDS` what becomes
// of it: `Runs` or `Refused`. And say in `REQUESTS` how many requests the server gets, if the model
// makes all of these calls in one reply and then answers.
//
// The tests run it, and say how many are right, but not which.
//
// Run: cargo run -p rungs-exercises -- run s02_what_runs

use schemars::JsonSchema;
use serde::Deserialize;

/// Reserves seats.
#[derive(Deserialize, JsonSchema)]
struct Reserve {
    /// How many.
    seats: u32,
    /// For whom.
    name: String,
    /// Whether at a window.
    window: Option<bool>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Runs,
    Refused,
    /// Fill in one of the others.
    Unknown,
}
use End::{Refused, Runs, Unknown};

/// Tool and arguments.
const CALLS: [(&str, &str); 8] = [
    ("reserve", r#"{"seats": 2, "name": "Ann"}"#),
    ("reserve", r#"{"seats": "2", "name": "Ann"}"#),
    ("reserve", r#"{"seats": "two", "name": "Ann"}"#),
    ("reserve", r#"{"seats": 2, "name": "Ann", "window": null}"#),
    ("reserve", r#"{"seats": 2, "name": "Ann", "windows": true}"#),
    ("reserve", r#"{"seats": 2}"#),
    ("reserve", r#"{"seats": 2.5, "name": "Ann"}"#),
    ("reserves", r#"{"seats": 2, "name": "Ann"}"#),
];

const ENDS: [End; 8] = [Unknown, Unknown, Unknown, Unknown, Unknown, Unknown, Unknown, Unknown];

const REQUESTS: usize = 0;

mod tests {
    use super::*;
    use rehearsal::{calls, say, scene};
    use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec};
    use rungs_exercises::support::{Play, play, results};
    use serde_json::Value;

    struct Tables;

    impl Tool for Tables {
        type Input = Reserve;

        fn spec(&self) -> ToolSpec {
            ToolSpec::of::<Reserve>("reserve")
        }

        fn effect(&self, _: &Reserve) -> Effect {
            Effect::Internal
        }

        async fn call(&self, _: Reserve, _: &Context) -> Result<ToolOutput, ToolError> {
            Ok("reserved".into())
        }
    }

    /// What became of the calls, and the play.
    async fn made() -> (Vec<End>, Play) {
        let made = CALLS.map(|(tool, input)| {
            let input: Value = serde_json::from_str(input).unwrap();
            (tool, input)
        });
        let scene = scene("^go$", [calls(made), say("done")]);
        let play = play([scene], |agent, _| agent.tool(Tables)).await;
        let (_, chat) = play.ask("go").await;
        let results = results(&chat.messages()[2]);
        let end = |text: &String| if text.starts_with("reserved") { Runs } else { Refused };
        (results.iter().map(end).collect(), play)
    }

    #[tokio::test]
    async fn what_becomes_of_each_call() {
        let (ends, _play) = made().await;
        let right = ends.iter().zip(ENDS).filter(|(end, yours)| **end == *yours).count();
        assert!(
            right == CALLS.len(),
            "{right} of {} are right. `2` in quotes can mean one thing only; can the others? \
             `correct` and `check_fields` in crates/json/src/arguments.rs decide it",
            CALLS.len()
        );
    }

    #[tokio::test]
    async fn the_number_of_requests() {
        let (_, play) = made().await;
        assert!(
            play.server.request_count() == REQUESTS,
            "not {REQUESTS}: what is refused is answered in the same message as what runs"
        );
    }
}
