// # The costly reminder
//
// repair, level 2, 30 minutes. Read: examples/s03_todo_write.rs, core/src/chat.rs
//
// This layer reminds the model of its goal before every fourth request. Its author did not want old
// reminders to pile up, so each new one takes the place of the one before, and it stands in the
// first message, "where everybody sees it". A user reports:
//
//   "Since we have the reminder, a session costs eight times as much. The bill shows that cache
//   reads drop to nothing again and again. Without the layer they grow with every request."
//
// The server caches a conversation by its prefix: a request re-reads what the one before it has
// sent, up to the first difference. Compare two requests, and mend the layer. The model is still to
// be reminded before every fourth request, the text must still be marked as the harness's own, and
// it must stand where the model reads it last.
//
// Run: cargo run -p rungs-exercises -- run s03_costly_reminder

use rungs_core::{Block, Chat, Context, Layer, Message, NextAsk, Reply, Result};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// After how many requests the model is reminded.
const INTERVAL: usize = 4;

const GOAL: &str = "<system-reminder>Your goal: say whether the page is fine.</system-reminder>";

/// Reminds the model of its goal.
#[derive(Default)]
struct Reminder {
    requests: AtomicUsize,
}

impl Layer for Reminder {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let requests = self.requests.fetch_add(1, Relaxed) + 1;
        if requests.is_multiple_of(INTERVAL) {
            let messages = chat.messages().iter();
            let mut messages: Vec<Message> = messages.map(|message| (**message).clone()).collect();
            for message in &mut messages {
                let is_old = |block: &Block| block.origin().is_some_and(|o| o.name == "reminder");
                message.content.retain(|block| !is_old(block));
            }
            let text = format!("{GOAL} (request {requests})");
            messages[0].content.push(Block::inserted("reminder", text));
            chat.compact(messages);
        }
        next.run(chat, cx).await
    }
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{Play, inserted, play};
    use serde_json::{Value, json};

    /// Ten requests in one turn: nine calls, and the answer.
    async fn ten_requests() -> (Play, Chat) {
        let steps = call("bash", json!({"command": "echo {{ n }}"})).repeat(9);
        let play = play([scene("^go$", [steps, say("It is fine.")])], |agent, _| {
            agent.tool(tools::Bash).wrap(Reminder::default())
        })
        .await;
        let (_, chat) = play.ask("go").await;
        (play, chat)
    }

    /// The blocks of a request, in the order in which the cache sees them.
    fn blocks(body: &Value) -> Vec<&Value> {
        let messages = body["messages"].as_array().unwrap().iter();
        messages.flat_map(|message| message["content"].as_array().unwrap()).collect()
    }

    #[tokio::test]
    async fn every_request_begins_as_the_one_before_it() {
        let (play, _) = ten_requests().await;
        let bodies = play.bodies();
        for (i, pair) in bodies.windows(2).enumerate() {
            let (before, after) = (blocks(&pair[0]), blocks(&pair[1]));
            let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
            assert_eq!(
                same,
                before.len(),
                "request {} sent {} blocks; request {} begins with only {same} of them. All that \
                 stands after the first difference is paid for again, in this request and in the \
                 cache entry that it writes",
                i + 1,
                before.len(),
                i + 2
            );
        }
    }

    #[tokio::test]
    async fn the_model_is_reminded_before_every_fourth_request() {
        let (play, chat) = ten_requests().await;
        let reminded: Vec<usize> = (1..)
            .zip(&play.bodies())
            .filter(|(_, body)| {
                let last = blocks(body).last().unwrap().to_string();
                last.contains("system-reminder")
            })
            .map(|(number, _)| number)
            .collect();
        let why = "a reminder works where the model reads it last: as the last block of the \
                   message that is about to be sent";
        assert_eq!(reminded, [4, 8], "{why}");
        let marked = inserted(&chat, "reminder");
        let why = "without its origin it counts as the person's words when room is made (s06)";
        assert!(!marked.is_empty() && marked[0].contains("Your goal"), "{why}: {marked:?}");
    }

    #[tokio::test]
    async fn what_was_sent_stays_in_the_conversation() {
        let (play, chat) = ten_requests().await;
        let sent = blocks(play.bodies().last().unwrap()).len();
        let kept: usize = chat.messages().iter().map(|message| message.content.len()).sum();
        let why = "the chat is what the next request is made of, so it must hold all that was \
                   sent, and the answer";
        assert_eq!(kept, sent + 1, "{why}");
    }
}
