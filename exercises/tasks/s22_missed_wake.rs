// # The message that nobody heard
//
// repair, level 3, 25 minutes. Read: crates/redis/src/mail.rs, examples/s22_production_mailbox.rs
//
// `next_letter` waits for mail on a server. Letters are stored there; a message (publish/subscribe)
// only wakes who waits, so that nobody has to ask again and again. It works, nearly always:
//
//   "Once a day ann sleeps although she has mail. The next letter wakes her, and then she has two."
//
//   "When we restart the server, every waiting process takes a whole core until it is killed."
//
// Find both faults. Whatever the moment in which a letter is stored, it must be found without
// another one. When the connection is lost (`changed` returns an error), wait for `RETRY`,
// subscribe anew, and look: what was stored meanwhile sends no message any more. To ask the server
// again and again instead of waiting is no solution.
//
// Run: cargo run -p rungs-exercises -- run s22_missed_wake

use std::time::Duration;
use tokio::sync::watch;

/// How long to wait after the connection was lost.
#[allow(dead_code)]
const RETRY: Duration = Duration::from_millis(20);

/// The mail of one name, on a server.
trait Mail {
    /// Takes the oldest letter, if there is one. The server is asked, so this takes a while.
    async fn take(&self) -> Option<String>;

    /// Hears the messages that are published from now on: `changed` returns after each of them.
    fn subscribe(&self) -> watch::Receiver<u64>;
}

/// Waits for the next letter.
async fn next_letter(mail: &impl Mail) -> String {
    loop {
        if let Some(letter) = mail.take().await {
            return letter;
        }
        let mut wake = mail.subscribe();
        let _ = wake.changed().await;
    }
}

mod tests {
    use super::*;
    use std::{
        collections::VecDeque,
        sync::{
            Mutex,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
    };
    use tokio::time::{sleep, timeout};

    /// A server, with a letter that comes in the worst moment.
    struct Server {
        letters: Mutex<VecDeque<String>>,
        /// Nothing while the server is gone.
        messages: Mutex<Option<watch::Sender<u64>>>,
        /// Is stored when the next question finds nothing, before the answer is there.
        late: Mutex<Option<String>>,
        questions: AtomicU32,
    }

    fn server() -> Server {
        Server {
            letters: Mutex::default(),
            messages: Mutex::new(Some(watch::Sender::new(0))),
            late: Mutex::default(),
            questions: AtomicU32::new(0),
        }
    }

    impl Server {
        fn store(&self, letter: &str) {
            self.letters.lock().unwrap().push_back(letter.into());
            if let Some(messages) = &*self.messages.lock().unwrap() {
                messages.send_modify(|count| *count += 1);
            }
        }
    }

    impl Mail for Server {
        async fn take(&self) -> Option<String> {
            let asked = self.questions.fetch_add(1, Relaxed);
            assert!(asked < 1000, "the server was asked a thousand times for one letter");
            let letter = self.letters.lock().unwrap().pop_front();
            if letter.is_none()
                && let Some(late) = self.late.lock().unwrap().take()
            {
                self.store(&late);
            }
            // The answer is on its way.
            sleep(Duration::from_millis(1)).await;
            letter
        }

        fn subscribe(&self) -> watch::Receiver<u64> {
            match &*self.messages.lock().unwrap() {
                Some(messages) => messages.subscribe(),
                // A connection that is lost at once.
                None => watch::channel(0).1,
            }
        }
    }

    /// The next letter, which must come within two seconds.
    async fn next(server: &Server, what: &str) -> String {
        match timeout(Duration::from_secs(2), next_letter(server)).await {
            Ok(letter) => letter,
            Err(_) => panic!("{what}: the letter is on the server, and its reader sleeps"),
        }
    }

    #[tokio::test]
    async fn a_letter_that_is_there_is_taken_at_once() {
        let server = server();
        server.store("one");
        server.store("two");
        for letter in ["one", "two"] {
            let what = "both letters were there before anybody waited";
            assert_eq!(next(&server, what).await, letter, "in their order, each one once");
        }
    }

    #[tokio::test]
    async fn a_letter_that_comes_later_wakes() {
        let server = server();
        let later = async {
            sleep(Duration::from_millis(50)).await;
            server.store("later");
        };
        let (letter, ()) = tokio::join!(next(&server, "it came while the reader waited"), later);
        assert_eq!(letter, "later", "the letter that came is the one that is returned");
    }

    #[tokio::test]
    async fn a_letter_that_comes_in_between_is_not_missed() {
        let server = server();
        *server.late.lock().unwrap() = Some("in between".into());
        let what = "it was stored after the server had looked, and before the reader waited. Its \
                    message was published when nobody heard it";
        assert_eq!(next(&server, what).await, "in between", "{what}");
    }

    #[tokio::test]
    async fn who_waits_asks_nobody() {
        let server = server();
        let waits = timeout(Duration::from_millis(300), next_letter(&server)).await;
        assert!(waits.is_err(), "there was no letter");
        let questions = server.questions.load(Relaxed);
        assert!(
            questions <= 3,
            "in 300 ms without a letter and without a message the server was asked {questions} \
             times: a message says when it is worth it"
        );
    }

    #[tokio::test]
    async fn a_lost_connection_is_made_again() {
        let server = server();
        let restarts = async {
            sleep(Duration::from_millis(30)).await;
            *server.messages.lock().unwrap() = None;
            server.store("meanwhile");
            sleep(Duration::from_millis(50)).await;
            *server.messages.lock().unwrap() = Some(watch::Sender::new(0));
        };
        let what = "it was stored while the connection was gone, and sends no message any more";
        let (letter, ()) = tokio::join!(next(&server, what), restarts);
        assert_eq!(letter, "meanwhile", "{what}");
    }

    #[tokio::test]
    async fn a_server_that_is_gone_for_long_is_not_asked_without_end() {
        let server = server();
        *server.messages.lock().unwrap() = None;
        let waited = timeout(Duration::from_millis(300), next_letter(&server)).await;
        assert!(waited.is_err(), "there was no letter");
        let questions = server.questions.load(Relaxed);
        assert!(
            questions <= 40,
            "there was no connection for 300 ms, and the server was asked {questions} times: wait \
             for RETRY after each loss, or every process takes a whole core"
        );
    }
}
