// # Only neighbours, only errors
//
// repair, level 2, 25 minutes. Read: examples/s24_loop_detection.rs, core/src/state.rs
//
// This detector refuses a call that was made three times in a row and failed each time. Users
// report:
//
//   "It wrote the same file with the same content two hundred times. Each time it worked."
//
//   "It read a.txt, then b.txt, then a.txt, then b.txt, all night."
//
//   "I let it watch a build: it looks every minute, and each time there is a new line. After the
//   third failing look it was not allowed to look any more."
//
// Make it measure progress: a result is new if this call has not had it yet in this conversation.
// Once `LIMIT` calls in a row have brought nothing new, refuse a call that was made before; a call
// that was never made may always run. A refused call brings nothing new either. As soon as a call
// has a new result, the count begins at zero.
//
// Run: cargo run -p rungs-exercises -- run s24_only_neighbours

use rungs_core::{Context, Layer, NextAct, State, ToolCall, ToolResult};
use serde::{Deserialize, Serialize};

/// How many calls in a row may bring nothing new.
const LIMIT: usize = 3;

/// What the detector remembers of a conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen {
    /// The last call.
    last: String,
    /// How often it has failed in a row.
    failures: usize,
}

impl State for Seen {
    const NAME: &'static str = "seen";
}

impl Seen {
    /// Whether this call is refused.
    fn refuses(&self, call: &str) -> bool {
        self.last == call && self.failures >= LIMIT
    }

    /// Takes note of a call that has run.
    fn note(&mut self, call: String, _result: String, is_error: bool) {
        let again = self.last == call;
        self.failures = if !is_error {
            0
        } else if again {
            self.failures + 1
        } else {
            1
        };
        self.last = call;
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

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::{Chat, tools};
    use rungs_exercises::support::{play, results};
    use serde_json::json;

    /// Runs these commands, one in each reply: which of them were run (`R`) or refused (`x`).
    async fn run(commands: &[&str]) -> String {
        let step = |command: &&str| call("bash", json!({ "command": command }));
        let turns = commands.iter().map(step).chain([say("end")]);
        let play = play([scene("^go$", turns)], |agent, _| agent.tool(tools::Bash).wrap(Detector));
        let (play, mut chat) = (play.await, Chat::default());
        play.run(&mut chat, "go").await.unwrap();
        let all = chat.messages().iter().flat_map(|message| results(message));
        all.map(|text| if text.starts_with("not run") { 'x' } else { 'R' }).collect()
    }

    #[tokio::test]
    async fn a_call_that_fails_again_and_again_is_refused() {
        let why = "the first failure was new, three more brought nothing: that is enough";
        assert_eq!(run(&["exit 1"; 6]).await, "RRRRxx", "{why}");
    }

    #[tokio::test]
    async fn success_without_anything_new_is_no_progress() {
        let why = "the same file is written with the same content: it works, and brings nothing";
        assert_eq!(run(&["echo same > f"; 7]).await, "RRRRxxx", "{why}");
    }

    #[tokio::test]
    async fn going_back_and_forth_is_a_loop() {
        let why = "no call is like the one before it, and still nothing new has come since the \
                   second one";
        assert_eq!(run(&["echo a", "echo b"].repeat(4)).await, "RRRRRxxx", "{why}");
    }

    #[tokio::test]
    async fn a_result_that_changes_is_progress() {
        let look = "echo line >> log; cat log; exit 1";
        let why = "each look fails, and each brings a line that was not there before";
        assert_eq!(run(&[look; 8]).await, "RRRRRRRR", "{why}");
    }

    #[tokio::test]
    async fn another_call_may_always_run() {
        let commands = [&["exit 1"; 5][..], &["cat x || true", "exit 2"]].concat();
        let why = "the model was put right and tries something else: whoever refuses that as well \
                   leaves it no way out";
        assert_eq!(run(&commands).await, "RRRRxRR", "{why}");
    }

    #[tokio::test]
    async fn something_new_begins_the_count_anew() {
        let same = ["exit 1"; 5];
        let commands = [&same[..], &["echo new"], &same[..]].concat();
        let why = "after something new the check may have another result: let it run, three times";
        assert_eq!(run(&commands).await, "RRRRxRRRRxx", "{why}");
    }

    #[tokio::test]
    async fn a_failure_and_a_success_with_the_same_words_are_two_results() {
        let flip = "if [ -e f ]; then echo x; else touch f; echo x; exit 1; fi";
        let commands = [flip; 6];
        let why = "the second result has no `[exit code 1]`: it is new; then three bring nothing";
        assert_eq!(run(&commands).await, "RRRRRx", "{why}");
    }

    #[tokio::test]
    async fn two_calls_with_the_same_result_are_two() {
        let commands = ["true", "true", "true", "true", ": other", "true", "true"];
        let why = "the second command was never made: its result is new for it, whatever it says";
        assert_eq!(run(&commands).await, "RRRRRRR", "{why}");
    }
}
