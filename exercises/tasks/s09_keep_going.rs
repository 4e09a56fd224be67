// # A teammate before a bad server
//
// drill, level 3, 30 minutes. Read: examples/s09_agent_teams.rs
//
// `serve` is the life of a teammate: it waits until there is mail, and runs a turn that answers it.
// The first error ends it, and nobody notices. Its letter is lost from sight, in flight for ever.
//
// The model server of this drill refuses requests, for a while or for good. Make `serve` survive
// it:
//
// 1. A turn that failed is tried again, on the same conversation, after a pause. The letter is in
//    it already, so there is nothing to wait for.
// 2. The pauses grow with the number of failures in a row: `pause` says how long.
// 3. After `MAX_FAILURES` failures in a row it does not ask any more until there is *new* mail.
//    Then it tries again, and the first turn that ends well clears the count.
// 4. It ends when `mate.woken(..)` is false: nothing is expected any more.
//
// Run: cargo run -p rungs-exercises -- run s09_keep_going

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Chat, Message};
use std::{future::Future, time::Duration};

/// After how many failed turns in a row it waits for new mail.
#[allow(dead_code)]
const MAX_FAILURES: u32 = 3;

/// How long to wait after so many failures in a row. In a product these are seconds.
#[allow(dead_code)]
fn pause(failures: u32) -> Duration {
    Duration::from_millis(10 << failures.min(6))
}

/// The life of a teammate. `new_mail` waits until there is a letter beyond those that this
/// conversation has.
async fn serve<F: Future<Output = ()>>(mate: Agent, new_mail: impl Fn(&Chat) -> F) {
    let _ = new_mail;
    let mut chat = Chat::default();
    while mate.woken(&chat).await {
        if mate.run(&mut chat, Message::empty(), agent_loop).await.is_err() {
            return;
        }
    }
}

mod tests {
    use super::*;
    use rehearsal::{Scene, say, scene};
    use rungs_core::{Context, Error, Layer, NextAsk, NextTurn, Reply, Result, State};
    use rungs_exercises::support::{Play, play};
    use rungs_mailbox::{Letter, LetterId, Mailboxes, Transport};
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct InFlight(BTreeSet<LetterId>);

    impl State for InFlight {
        const NAME: &'static str = "in_flight";
    }

    /// The inbox of lesson 9, in short.
    struct Inbox(Mailboxes);

    impl Layer for Inbox {
        async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
            let reply = next.run(chat, cx).await?;
            self.0.ack("ann", &chat.state::<InFlight>().0).await.map_err(Error::other)?;
            chat.update(|in_flight: &mut InFlight| in_flight.0.clear());
            Ok(reply)
        }

        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            let in_flight = chat.state::<InFlight>();
            let received = self.0.receive("ann", &in_flight.0).await.map_err(Error::other)?;
            for letter in received.letters {
                chat.update(|in_flight: &mut InFlight| in_flight.0.insert(letter.id));
                chat.push(Message::inserted("mail", letter.to_string()));
            }
            next.run(chat, cx).await
        }
    }

    /// A teammate at work, before a server that plays these scenes.
    struct Drill {
        play: Play,
        mail: Mailboxes,
        life: tokio::task::JoinHandle<()>,
        _folder: tempfile::TempDir,
    }

    async fn drill(scenes: impl IntoIterator<Item = Scene>) -> Drill {
        let folder = tempfile::tempdir().unwrap();
        let state = durable::Folder::open(folder.path(), "mail").unwrap();
        let mail = Mailboxes::open(&state).await.unwrap();
        let woken = mail.clone();
        let play = play(scenes, |agent, _| {
            agent.wrap(Inbox(mail.clone())).wake(move |cx| {
                let mail = woken.clone();
                async move {
                    mail.wait("ann", &cx.state::<InFlight>().0).await;
                    true
                }
            })
        })
        .await;
        let waited = mail.clone();
        let new_mail = move |chat: &Chat| {
            let (mail, in_flight) = (waited.clone(), chat.state::<InFlight>());
            async move { mail.wait("ann", &in_flight.0).await }
        };
        let life = tokio::spawn(serve(play.agent.clone(), new_mail));
        Drill { play, mail, life, _folder: folder }
    }

    impl Drill {
        async fn write(&self, text: &str) {
            self.mail.send("ann", Letter::new("lead", text)).await.unwrap();
        }

        async fn all_answered(&self) -> bool {
            for _ in 0..100 {
                if !self.mail.has_mail("ann", &BTreeSet::new()).await.unwrap() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            false
        }
    }

    /// Waits a few seconds until it is so.
    async fn until(is_so: impl Fn() -> bool) -> bool {
        for _ in 0..100 {
            if is_so() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    impl Drop for Drill {
        fn drop(&mut self) {
            self.life.abort();
        }
    }

    /// A refusal that the client does not repeat by itself.
    fn refused(times: impl Into<Value>) -> Value {
        json!({"status": 401, "times": times.into()})
    }

    #[tokio::test]
    async fn without_a_fault_a_letter_is_answered() {
        let drill = drill([scene("one", [say("done")]), scene("two", [say("done")])]).await;
        drill.write("one").await;
        assert!(drill.all_answered().await, "what worked before must still work");
        drill.write("two").await;
        assert!(drill.all_answered().await, "and then it waits for the next letter");
    }

    #[tokio::test]
    async fn a_turn_that_failed_is_tried_again_with_the_same_letter() {
        let drill = drill([scene("one", [say("done").fault(refused(2))])]).await;
        drill.write("one").await;
        let why = "the server refuses two requests and answers the third: was it asked again?";
        assert!(drill.all_answered().await, "{why}");
        assert_eq!(drill.play.server.request_count(), 3, "one request for each attempt");
        let last = drill.play.bodies().pop().unwrap().to_string();
        let why = "the letter stands in the conversation; once, and not once for each attempt";
        assert_eq!(last.matches("from=\\\"lead\\\"").count(), 1, "{why}: {last}");
    }

    #[tokio::test]
    async fn a_server_that_is_down_is_not_asked_for_ever() {
        let drill = drill([scene("one", [say("done").fault(refused("always"))])]).await;
        drill.write("one").await;
        let three = || drill.play.server.request_count() >= 3;
        assert!(until(three).await, "it must try three times; it has given up before");
        tokio::time::sleep(Duration::from_millis(400)).await;
        let count = drill.play.server.request_count();
        assert_eq!(count, 3, "a wrong key stays wrong, and each attempt may cost money");
        assert!(!drill.life.is_finished(), "it waits for new mail; it does not end");
    }

    #[tokio::test]
    async fn new_mail_is_a_reason_to_try_again() {
        let scenes =
            [scene("two", [say("done")]), scene("one", [say("never").fault(refused("always"))])];
        let drill = drill(scenes).await;
        drill.write("one").await;
        assert!(until(|| drill.play.server.request_count() >= 3).await, "three attempts");
        drill.write("two").await;
        let why = "both letters stand in the conversation now, and the server answers again";
        assert!(drill.all_answered().await, "{why}");
    }
}
