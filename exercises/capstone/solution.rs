use rungs_core::{Agent, Context, Layer, NextAct, State, ToolCall, ToolResult};
use rungs_exercises::sum::Place;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Shorter results are sent again: the note would hardly be shorter, and a repetition does no harm.
const MIN_BYTES: usize = 500;

/// What each `read` call of the conversation has brought: arguments, and a hash of the result. Once
/// text leaves the conversation, nothing is known to be in it any more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Shown(BTreeMap<String, u64>);

impl State for Shown {
    const NAME: &'static str = "shown_reads";
    const OF_TEXT: bool = true;
}

/// Answers a `read` whose result already stands in the conversation with a note: what is sent twice
/// is paid for in every later request.
struct Unchanged;

impl Layer for Unchanged {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let is_read = call.name == "read";
        let arguments = call.input.to_string();
        // It is read all the same, so nothing is ever said of a file that has changed meanwhile.
        let result = next.run(call.clone(), cx).await;
        let text = result.output.text();
        if !is_read || result.is_error || text.len() < MIN_BYTES {
            return result;
        }
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        let before = cx.update(|shown: &mut Shown| shown.0.insert(arguments, hash));
        if before != Some(hash) {
            return result;
        }
        let note = "unchanged since you read it: the result of that call is above, and still holds";
        call.finish(Ok(note.into()))
    }
}

/// Adds the mechanism.
fn install(agent: Agent) -> Agent {
    agent.wrap(Unchanged)
}

/// Where the layer of the mechanism stands among those of `full`, if it has one.
const PLACE: Option<Place> = Some(Place {
    layer: "Unchanged",
    outside_of: "SessionSteps",
    why: "what is saved is what the tool brought, and hooks and permissions have judged the call",
});

mod own_tests {
    use super::*;
    use rehearsal::{Turn, call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{play, results};
    use serde_json::json;

    fn read() -> Turn {
        call("read", json!({"file_path": "log"}))
    }

    /// The results of two reads, with this command between them.
    async fn read_twice(command: &str) -> [String; 2] {
        let between = call("bash", json!({ "command": command }));
        let play = play([scene("^go$", [read(), between, read(), say("end")])], |agent, dir| {
            std::fs::write(dir.join("log"), "a line of a log\n".repeat(100)).unwrap();
            install(tools::all(agent))
        })
        .await;
        let (_, chat) = play.ask("go").await;
        [2, 6].map(|place| results(&chat.messages()[place]).remove(0))
    }

    #[tokio::test]
    async fn a_file_that_has_not_changed_is_not_sent_again() {
        let [first, second] = read_twice("true").await;
        assert!(first.contains("a line of a log"), "the first read brings all: {first}");
        assert!(second.starts_with("unchanged since you read it"), "the second: {second}");
    }

    #[tokio::test]
    async fn a_file_that_has_changed_is_sent_again() {
        let [_, second] = read_twice("echo more >> log").await;
        assert!(second.contains("more"), "what is new must be seen: {second}");
    }

    #[test]
    fn what_left_the_conversation_is_forgotten() {
        let mut chat = rungs_core::Chat::default();
        chat.update(|shown: &mut Shown| shown.0.insert("log".into(), 1));
        chat.compact(Vec::<rungs_core::Message>::new());
        assert!(chat.state::<Shown>().0.is_empty(), "after a compaction it must be sent again");
    }
}
