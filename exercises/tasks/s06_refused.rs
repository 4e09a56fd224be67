// # Too long, again and again
//
// drill, level 3, 40 minutes. Read: examples/s06_context_compact.rs, core/src/error.rs
//
// The server of this drill refuses every conversation that is larger than it can take, with status
// 413, and it does not say how much it takes. `MakeRoom` clears the oldest result that is still
// whole and asks again. It works when a result can be cleared. When none is left, it asks the same
// for ever: one report tells of 217 compactions in a row.
//
// Change `ask`:
//
// 1. When the server refuses the conversation as too large, make room and ask again, as often as
//    that makes the conversation smaller.
// 2. When nothing can be cleared any more, return the error of the server. Core then takes the
//    prompt back, so that a smaller one works.
// 3. Each attempt clears at least a quarter of what the chat has (`chat.size()`), if there is that
//    much to clear: a request with a large conversation is not cheap, and ten attempts for ten
//    results cost more than the results.
// 4. The newest message keeps its results: the model has not seen them yet. They go last of all,
//    only if nothing else is left.
// 5. Any other error is returned at once.
//
// `cleared` is given: the chat with one more result as a stub.
//
// Run: cargo run -p rungs-exercises -- run s06_refused

use rungs_core::{Block, Chat, Context, Layer, Message, NextAsk, Reply, Result};

/// Results smaller than this are not worth a stub.
const MIN_BYTES: usize = 100;

/// The chat with a stub in place of the oldest whole result, if there is one.
fn cleared(chat: &Chat) -> Option<Chat> {
    let mut messages: Vec<Message> = chat.messages().iter().map(|m| (**m).clone()).collect();
    let mut blocks = messages.iter_mut().flat_map(|message| &mut message.content);
    let content = blocks.find_map(|block| match block {
        Block::ToolResult { content, .. } => {
            let size: usize = content.iter().map(Block::size).sum();
            (size >= MIN_BYTES).then_some(content)
        }
        _ => None,
    })?;
    *content = vec![Block::inserted("cleared", "[cleared]")];
    Some(chat.compacted(messages))
}

/// Makes room when the server says that the conversation is too large.
struct MakeRoom;

impl Layer for MakeRoom {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        loop {
            match next.run(chat, cx).await {
                Err(error) if error.is_too_large(false) => {
                    if let Some(smaller) = cleared(chat) {
                        *chat = smaller;
                    }
                }
                other => return other,
            }
        }
    }
}

mod tests {
    use super::*;
    use rehearsal::{Scene, calls, say, scene};
    use rungs_core::{Error, NextSend, Request, tools};
    use rungs_exercises::support::{Play, inserted, play, results};
    use serde_json::{Value, json};
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        time::Duration,
    };

    /// A server that takes only so many bytes, and counts what it is asked.
    #[derive(Clone)]
    struct SmallServer {
        max_bytes: usize,
        asked: Arc<AtomicUsize>,
    }

    impl Layer for SmallServer {
        async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
            let asked = self.asked.fetch_add(1, Relaxed);
            assert!(asked < 100, "100 requests for one prompt: there must be an end to it");
            let size: usize = request.messages.iter().map(|message| message.size()).sum();
            if size <= self.max_bytes {
                return next.run(request, cx).await;
            }
            let (host, kind) = ("small".into(), "request_too_large".into());
            let message = format!("{size} bytes are too many");
            let (status, request_id, retry_after) = (413, None, None);
            Err(Error::Api { host, status, kind, message, request_id, retry_after })
        }
    }

    /// An agent before a server that takes so many bytes.
    async fn small(max_bytes: usize, scenes: Vec<Scene>) -> (Play, SmallServer) {
        let server = SmallServer { max_bytes, asked: Arc::default() };
        let play =
            play(scenes, |agent, _| agent.tool(tools::Bash).wrap(server.clone()).wrap(MakeRoom));
        (play.await, server)
    }

    fn print(bytes: usize) -> (&'static str, Value) {
        ("bash", json!({"command": format!("head -c {bytes} /dev/zero | tr '\\0' x")}))
    }

    async fn ask(play: &Play, chat: &mut Chat, prompt: &str) -> Result<Reply> {
        let running = play.run(chat, prompt);
        let ended = tokio::time::timeout(Duration::from_secs(10), running).await;
        ended.expect("after ten seconds there is neither an answer nor an error")
    }

    #[tokio::test]
    async fn room_is_made_and_the_turn_goes_on() {
        let steps = calls([print(2000)]).repeat(6);
        let scenes = vec![scene("^go$", [steps, say("done")])];
        let (play, _) = small(6_000, scenes).await;
        let mut chat = Chat::default();
        let reply = ask(&play, &mut chat, "go").await.unwrap();
        assert_eq!(reply.text(), "done", "old results were spared, and the job was done");
        let newest = results(&chat.messages()[chat.messages().len() - 2]);
        assert_eq!(newest[0].len(), 2000, "the newest result is what the model works with");
    }

    #[tokio::test]
    async fn when_nothing_can_be_cleared_the_error_comes_back() {
        let scenes = vec![scene("^small$", [say("fine")]), scene("^large", [say("fine")])];
        let (play, server) = small(3_000, scenes).await;
        let mut chat = Chat::default();
        let large = format!("large {}", "x".repeat(5_000));
        let error = ask(&play, &mut chat, &large).await.expect_err("5,000 bytes do not fit");
        let why = "the words of the server say what is wrong";
        assert!(error.to_string().contains("too many"), "{why}: {error}");
        assert!(server.asked.load(Relaxed) <= 2, "asking the same again cannot help");
        let reply = ask(&play, &mut chat, "small").await.expect("a small prompt fits");
        assert_eq!(reply.text(), "fine", "the session goes on");
    }

    #[tokio::test]
    async fn few_attempts_make_much_room() {
        let steps = calls([print(1000)]).repeat(20);
        let scenes = vec![scene("^go$", [steps, say("done")])];
        let (play, server) = small(12_000, scenes).await;
        ask(&play, &mut Chat::default(), "go").await.unwrap();
        let asked = server.asked.load(Relaxed);
        let why = "21 requests are needed. Each refused one was sent in full, so make much room at \
                   once: a quarter of the chat or more";
        assert!(asked <= 27, "{why}. There were {asked} requests");
    }

    #[tokio::test]
    async fn the_newest_results_go_last_of_all() {
        let all = [print(2500), print(2500)];
        let scenes = vec![scene("^go$", [calls([print(900)]), calls(all), say("done")])];
        let (play, _) = small(4_000, scenes).await;
        let mut chat = Chat::default();
        let reply = ask(&play, &mut chat, "go").await.expect("one of the two results fits");
        assert_eq!(reply.text(), "done", "nothing else was left, so a new result went");
        let stubs = inserted(&chat, "cleared").len();
        let whole = results(&chat.messages()[4]).iter().filter(|text| text.len() == 2500).count();
        assert_eq!((stubs, whole), (2, 1), "the old result, and as few of the new ones as do");
    }

    #[tokio::test]
    async fn another_error_is_no_reason_to_clear() {
        let refused = json!({"status": 401, "times": "always"});
        let scenes = vec![
            scene("^go$", [calls([print(2000)]), say("done")]),
            scene("^again$", [say("never").fault(refused)]),
        ];
        let (play, _) = small(50_000, scenes).await;
        let mut chat = Chat::default();
        ask(&play, &mut chat, "go").await.unwrap();
        ask(&play, &mut chat, "again").await.expect_err("the key is refused");
        let cleared = inserted(&chat, "cleared").len();
        assert_eq!(cleared, 0, "a refused key has nothing to do with the size");
    }
}
