use rungs_core::{Context, Layer, NextAct, State, ToolCall, ToolResult};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// How many calls in a row may bring nothing new.
const LIMIT: usize = 3;

/// What the detector remembers of a conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen {
    /// Each call, and a result that it had. A real detector keeps hashes, and only the newest.
    pairs: HashSet<(String, String, bool)>,
    /// How many calls in a row have brought nothing new.
    without_progress: usize,
}

impl State for Seen {
    const NAME: &'static str = "seen";
}

impl Seen {
    /// Whether this call is refused.
    fn refuses(&self, call: &str) -> bool {
        self.without_progress >= LIMIT && self.pairs.iter().any(|(made, ..)| made == call)
    }

    /// Takes note of a call that has run.
    fn note(&mut self, call: String, result: String, is_error: bool) {
        let is_new = self.pairs.insert((call, result, is_error));
        self.without_progress = if is_new { 0 } else { self.without_progress + 1 };
    }
}

/// Refuses calls that lead nowhere.
struct Detector;

impl Layer for Detector {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let key = format!("{} {}", call.name, call.input);
        if cx.state::<Seen>().refuses(&key) {
            return call.refuse("not run: this brings nothing new; try something else");
        }
        let result = next.run(call, cx).await;
        let text = result.output.text();
        cx.update(|seen: &mut Seen| seen.note(key, text, result.is_error));
        result
    }
}
