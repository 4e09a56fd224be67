// # What is cleared
//
// predict, level 2, 20 minutes. Read: examples/s06_context_compact.rs
//
// An agent has the compaction of lesson 6, for a window of 10,000 tokens. It reads six files, one
// in each step, and then answers. All else in the conversation is small: together it is less than
// 1,000 tokens. The sizes of the results, in bytes:
//
//   1. 8,000   2. 300   3. 8,000   4. 7,000   5. 7,500   6. 2,000
//
// The server counts a token for every four bytes, and everything in a request counts.
//
// Say before which request room is made: the request that carries result 2 is number 3, for
// example. And say which of the six results are whole at the end, and which are stubs.
//
// Run: cargo run -p rungs-exercises -- run s06_stubs

/// The number of the request before which room is made for the first time.
const ROOM_BEFORE_REQUEST: usize = 0;

/// Whether each of the six results is whole at the end: `Some(true)` or `Some(false)`.
const WHOLE: [Option<bool>; 6] = [None; 6];

mod tests {
    use super::*;
    use durable::Folder;
    use lessons::s06_context_compact;
    use rehearsal::{call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{play, results};
    use serde_json::{Value, json};

    const SIZES: [usize; 6] = [8_000, 300, 8_000, 7_000, 7_500, 2_000];

    /// The first request that holds a stub, and which results are whole at the end.
    async fn real() -> (usize, Vec<bool>) {
        let read = |size: &usize| {
            let command = format!("head -c {size} /dev/zero | tr '\\0' x");
            call("bash", json!({ "command": command }))
        };
        let turns = SIZES.iter().map(read).chain([say("done")]);
        let play = play([scene("^go$", turns)], |agent, dir| {
            let folder = Folder::open(dir, "state").unwrap();
            s06_context_compact::install(agent.tool(tools::Bash), 10_000, folder)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let has_stub = |body: &Value| body["messages"].to_string().contains("[cleared: ");
        let first = play.bodies().iter().position(has_stub).map_or(0, |place| place + 1);
        let texts: Vec<String> = chat.messages().iter().flat_map(|m| results(m)).collect();
        assert_eq!(texts.len(), SIZES.len(), "the play has changed; the task must be too");
        let whole = texts.iter().map(|text| !text.starts_with("[cleared: ")).collect();
        (first, whole)
    }

    #[tokio::test]
    async fn room_is_made_when_predicted() {
        let (first, _) = real().await;
        let help = "room is made before a request when more than 70 % of the window is used. Add \
                    up what each request carries";
        assert!(first == ROOM_BEFORE_REQUEST, "not before request {ROOM_BEFORE_REQUEST}: {help}");
    }

    #[tokio::test]
    async fn the_right_results_are_whole() {
        let (_, whole) = real().await;
        let right = whole.iter().zip(&WHOLE).filter(|(real, said)| Some(**real) == **said).count();
        let help = "the newest steps keep their results as long as they fit into a fifth of the \
                    window, and at least one step does. Small results are not worth a stub. Is \
                    room made a second time?";
        assert_eq!(right, 6, "{right} of 6 are right: {help}");
    }
}
