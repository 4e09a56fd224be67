// # Acknowledged too early
//
// repair, level 2, 25 minutes. Read: examples/s09_agent_teams.rs, crates/mailbox/src/lib.rs
//
// Ann is an agent with a mailbox. Her layer puts each new letter into the next request, and
// acknowledges it, so that it does not come twice. A user reports:
//
//   "While the API was refusing our requests, I wrote ann two letters. When it worked again she
//   knew of neither. Her mailbox file has both of them, as acknowledged. And when I killed the
//   program while she was at work on a letter, nobody went on with it after the restart."
//
// Find the moment at which a letter is over, and repair the layer. A letter must not come again
// while it is being worked on, and not after it was answered. One whose turn was withdrawn, or was
// never finished, must come again. After a failure that withdraws nothing, such as a lost
// connection, the letter stays in the conversation and must not come a second time.
//
// Run: cargo run -p rungs-exercises -- run s09_early_ack

use rungs_core::{Chat, Context, Error, Layer, Message, NextAsk, Reply, Result};
#[allow(unused_imports)]
use rungs_core::{NextTurn, State};
use rungs_mailbox::{LetterId, Mailboxes, Transport};
#[allow(unused_imports)]
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whose mailbox this is.
const ME: &str = "ann";

/// Brings ann's mail into her conversation.
struct Inbox(Mailboxes);

impl Layer for Inbox {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        // The letters that are not delivered now, since she has them before her.
        let in_flight: BTreeSet<LetterId> = BTreeSet::new();
        let received = self.0.receive(ME, &in_flight).await.map_err(Error::other)?;
        let ids = received.letters.iter().map(|letter| letter.id).collect();
        for letter in received.letters {
            chat.push(Message::inserted("mail", letter.to_string()));
        }
        self.0.ack(ME, &ids).await.map_err(Error::other)?;
        next.run(chat, cx).await
    }
}

mod tests {
    use super::*;
    use rehearsal::{Scene, call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{BlocksBad, Play, inserted, play};
    use rungs_mailbox::Letter;
    use serde_json::json;
    use std::{future::poll_fn, pin::pin, task::Poll};

    async fn open(folder: &std::path::Path) -> Mailboxes {
        Mailboxes::open(&durable::Folder::open(folder, "mail").unwrap()).await.unwrap()
    }

    /// Ann, with one letter in her mailbox.
    async fn ann(
        folder: &std::path::Path,
        scenes: impl IntoIterator<Item = Scene>,
    ) -> (Play, Mailboxes) {
        let mail = open(folder).await;
        let letter = Letter::new("lead", "run the tests");
        mail.send(ME, letter).await.unwrap();
        let inbox = Inbox(mail.clone());
        // Further in than the inbox: a prompt is refused when the mail is in it.
        let play = play(scenes, |agent, _| agent.tool(tools::Bash).wrap(BlocksBad).wrap(inbox));
        (play.await, mail)
    }

    /// Whether a letter is there that was not acknowledged.
    async fn has_unanswered(mail: &Mailboxes) -> bool {
        mail.has_mail(ME, &BTreeSet::new()).await.unwrap()
    }

    /// How many letters stand in this conversation.
    fn letters(chat: &Chat) -> usize {
        inserted(chat, "mail").len()
    }

    #[tokio::test]
    async fn a_letter_comes_once_and_is_over_when_its_turn_has_ended_well() {
        let folder = tempfile::tempdir().unwrap();
        let work = [call("bash", json!({"command": "true"})), say("They pass.")];
        let scenes = [scene("run the tests", work), scene("hello", [say("Hello.")])];
        let (play, mail) = ann(folder.path(), scenes).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "go").await.unwrap();
        let why = "the turn had two requests; the letter joins the first, and is in flight then";
        assert_eq!(letters(&chat), 1, "{why}");
        assert!(!has_unanswered(&mail).await, "the turn has ended well, so the letter is over");
        play.run(&mut chat, "hello").await.unwrap();
        assert_eq!(letters(&chat), 1, "an answered letter does not come again");
    }

    #[tokio::test]
    async fn a_letter_whose_turn_was_withdrawn_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let (play, mail) = ann(folder.path(), [scene("run the tests", [say("They pass.")])]).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "bad").await.unwrap_err();
        assert_eq!(letters(&chat), 0, "the turn was withdrawn, and the letter with it");
        let why = "the letter was acknowledged, and the model has never answered it: it is lost. \
                   Who could know that it is not in flight any more?";
        assert!(has_unanswered(&mail).await, "{why}");
        play.run(&mut chat, "go").await.unwrap();
        assert_eq!(letters(&chat), 1, "{why}");
        assert!(!has_unanswered(&mail).await, "now it is answered");
    }

    #[tokio::test]
    async fn a_letter_is_not_over_while_it_is_worked_on() {
        let folder = tempfile::tempdir().unwrap();
        let slow = call("bash", json!({"command": "sleep 5"}));
        let (play, mail) = ann(folder.path(), [scene("run the tests", [slow])]).await;
        let mut chat = Chat::default();
        {
            let mut turn = pin!(play.run(&mut chat, "go"));
            // Until the command runs; then the turn is dropped, as by a kill.
            let at_work = async {
                while play.server.request_count() == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            };
            let mut at_work = pin!(at_work);
            poll_fn(|task| match at_work.as_mut().poll(task) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => turn.as_mut().poll(task).map(|end| panic!("it ended: {end:?}")),
            })
            .await;
        }
        let why = "she was in the middle of it when the program died; after the restart somebody \
                   must go on. When is a letter over?";
        assert!(has_unanswered(&mail).await, "{why}");
        drop((play, mail));
        let mail = open(folder.path()).await;
        let again = mail.receive(ME, &BTreeSet::new()).await.unwrap().letters;
        assert_eq!(again.len(), 1, "{why}");
    }

    #[tokio::test]
    async fn after_a_lost_connection_the_letter_stays_and_comes_no_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let down = say("They pass.").fault(json!({"status": 401}));
        let scenes = [scene("run the tests", [down]), scene("go on", [say("They pass.")])];
        let (play, mail) = ann(folder.path(), scenes).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "go").await.unwrap_err();
        assert_eq!(letters(&chat), 1, "a refused key withdraws nothing: the letter stays");
        assert!(has_unanswered(&mail).await, "and it was not answered");
        play.run(&mut chat, "go on").await.unwrap();
        let why = "it stood in the conversation already, and was in flight all the time";
        assert_eq!(letters(&chat), 1, "{why}");
        assert!(!has_unanswered(&mail).await, "the second turn has answered it");
    }
}
