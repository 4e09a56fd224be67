// # What becomes of each call
//
// predict, level 2, 15 minutes. Read: examples/s02_tool_use.rs, crates/json/src/arguments.rs
//
// The tool of lesson 2, `sum_column`, has two arguments: `file_path` and `column`, both texts, both
// required. The file `f.csv` has the columns `day` and `amount`, and two rows of numbers. The model
// makes eight calls. Say of each what becomes of it:
//
// - `Runs`: the handler runs and returns a sum.
// - `Fails`: the handler runs and returns an error.
// - `Refused`: the handler never sees the call.
//
// Fill in `OUTCOMES`, and then run it. The test says how many are right, not which.
//
// Run: cargo run -p rungs-exercises -- run s02_outcomes

/// What becomes of a call.
#[allow(dead_code)]
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Runs,
    Fails,
    Refused,
    /// You have not said it yet.
    Unknown,
}

#[allow(unused_imports)]
use Outcome::{Fails, Refused, Runs, Unknown};

#[rustfmt::skip]
const OUTCOMES: [Outcome; 8] = [
    Unknown, // 1. sum_column {"file_path": "f.csv", "column": "amount"}
    Unknown, // 2. sum_column {"file_path": "f.csv", "column": "price"}
    Unknown, // 3. sum_column {"file_path": "f.csv"}
    Unknown, // 4. sum_column {"file_path": "f.csv", "column": "amount", "limit": 10}
    Unknown, // 5. sum_column {"file_path": "../f.csv", "column": "amount"}
    Unknown, // 6. sum_column {"file_path": "f.csv", "column": 2}
    Unknown, // 7. sum        {"file_path": "f.csv", "column": "amount"}
    Unknown, // 8. sum_column {"file_path": "./f.csv", "column": "amount"}
];

mod tests {
    use super::*;
    use lessons::s02_tool_use;
    use rehearsal::{calls, say, scene};
    use rungs_core::{Context, Layer, NextAct, ToolCall, ToolResult};
    use rungs_exercises::support::play;
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    /// Sees the results as dispatch returns them.
    #[derive(Clone, Default)]
    struct Watch(Arc<Mutex<Vec<Outcome>>>);

    impl Layer for Watch {
        async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
            let result = next.run(call, cx).await;
            let text = result.output.text();
            // Errors of the handler begin with the file that it was given.
            let of_handler = text.starts_with("f.csv: ") || text.starts_with("../f.csv: ");
            self.0.lock().unwrap().push(match (result.is_error, of_handler) {
                (false, _) => Runs,
                (true, true) => Fails,
                (true, false) => Refused,
            });
            result
        }
    }

    async fn real() -> Vec<Outcome> {
        let sum = |input: Value| ("sum_column", input);
        let all = [
            sum(json!({"file_path": "f.csv", "column": "amount"})),
            sum(json!({"file_path": "f.csv", "column": "price"})),
            sum(json!({"file_path": "f.csv"})),
            sum(json!({"file_path": "f.csv", "column": "amount", "limit": 10})),
            sum(json!({"file_path": "../f.csv", "column": "amount"})),
            sum(json!({"file_path": "f.csv", "column": 2})),
            ("sum", json!({"file_path": "f.csv", "column": "amount"})),
            sum(json!({"file_path": "./f.csv", "column": "amount"})),
        ];
        let watch = Watch::default();
        let play = play([scene("^go$", [calls(all), say("done")])], |agent, dir| {
            std::fs::write(dir.join("f.csv"), "day,amount\n1,10\n2,20\n").unwrap();
            s02_tool_use::install(agent).wrap(watch.clone())
        })
        .await;
        play.ask("go").await;
        let outcomes = watch.0.lock().unwrap().clone();
        outcomes
    }

    #[tokio::test]
    async fn every_outcome_is_as_predicted() {
        let real = real().await;
        let right = real.iter().zip(&OUTCOMES).filter(|(real, said)| real == said).count();
        let help = "Dispatch looks at the name, then compares the arguments with the schema; only \
                    then does the handler open the file. What does the schema know, and what does \
                    only the handler know?";
        assert_eq!(right, OUTCOMES.len(), "{right} of 8 are right.\n\n{help}");
    }
}
