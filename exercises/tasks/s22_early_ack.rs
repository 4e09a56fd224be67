// # Acknowledged too early
//
// repair, level 2, 20 minutes. Read: crates/mailbox/src/lib.rs, examples/s22_production_mailbox.rs
//
// `round` is what a teammate does whenever it is woken: it takes its mail from the transport, and
// works on it in a turn. The lead reports:
//
//   "The model's server was overloaded for a minute, and ann's turn failed. I waited, since it is
//   written that mail is delivered at least once. It never came again. The same when I stop the
//   program in the middle of her turn and start it anew: the task that I had written is gone."
//
// Change `round` so that a letter is over when the turn that worked on it has ended well, and not
// before. It does not matter here which transport it is: files on this machine, or a server.
//
// Run: cargo run -p rungs-exercises -- run s22_early_ack

use rungs_mailbox::{Error, Letter, LetterId, Transport};
use std::collections::BTreeSet;

/// Takes the mail of `name`, and works on it. Says what became of it in one line.
async fn round(
    transport: &impl Transport,
    name: &str,
    turn: impl AsyncFnOnce(&[Letter]) -> Result<(), String>,
) -> Result<String, Error> {
    // Between two rounds no letter is in flight.
    let received = transport.receive(name, &BTreeSet::new()).await?;
    let ids: BTreeSet<LetterId> = received.letters.iter().map(|letter| letter.id).collect();
    transport.ack(name, &ids).await?;
    match turn(&received.letters).await {
        Ok(()) => Ok(format!("{} letters are done", ids.len())),
        Err(why) => Ok(format!("{} letters are not done: {why}", ids.len())),
    }
}

mod tests {
    use super::*;
    use durable::Folder;
    use rungs_mailbox::Mailboxes;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn open(dir: &tempfile::TempDir) -> Mailboxes {
        let folder = Folder::open(dir.path(), "mail").unwrap();
        Mailboxes::open(&folder).await.unwrap()
    }

    async fn send(transport: &impl Transport, text: &str) {
        transport.send("ann", Letter::new("lead", text)).await.unwrap();
    }

    /// The letters that the next round of ann has before it.
    async fn next_round(transport: &impl Transport) -> Vec<String> {
        let mut texts = vec![];
        let turn = async |letters: &[Letter]| {
            texts.extend(letters.iter().map(|letter| letter.text.clone()));
            Ok(())
        };
        round(transport, "ann", turn).await.unwrap();
        texts
    }

    #[tokio::test]
    async fn a_letter_is_delivered_and_then_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let transport = open(&dir).await;
        send(&transport, "count ch1.txt").await;
        assert_eq!(next_round(&transport).await, ["count ch1.txt"]);
        let why = "the turn ended well, so the letter must not come again";
        assert_eq!(next_round(&transport).await, [""; 0], "{why}");
    }

    #[tokio::test]
    async fn the_letter_of_a_turn_that_failed_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let transport = open(&dir).await;
        send(&transport, "count ch1.txt").await;
        let end = round(&transport, "ann", async |_| Err("overloaded".into())).await.unwrap();
        assert!(end.contains("overloaded"), "say why: {end}");
        assert_eq!(
            next_round(&transport).await,
            ["count ch1.txt"],
            "nothing came of the letter, and it was acknowledged all the same: nobody will ever \
             count ch1.txt"
        );
    }

    #[tokio::test]
    async fn the_letter_of_a_process_that_died_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let transport = open(&dir).await;
        send(&transport, "count ch1.txt").await;
        let dies = round(&transport, "ann", async |_| std::future::pending().await);
        let end = timeout(Duration::from_millis(100), dies).await;
        assert!(end.is_err(), "the process died in the middle of the turn");
        drop(transport);
        let transport = open(&dir).await;
        assert_eq!(
            next_round(&transport).await,
            ["count ch1.txt"],
            "the process died in the middle of the work. Whoever starts next must find the letter"
        );
    }

    #[tokio::test]
    async fn while_a_turn_runs_its_letters_are_not_over() {
        let dir = tempfile::tempdir().unwrap();
        let transport = open(&dir).await;
        send(&transport, "count ch1.txt").await;
        let turn = async |_: &[Letter]| {
            let is_open = transport.has_mail("ann", &BTreeSet::new()).await.unwrap();
            assert!(is_open, "the letter counts as done, and the work on it has just begun");
            Ok(())
        };
        round(&transport, "ann", turn).await.unwrap();
    }

    #[tokio::test]
    async fn a_letter_that_comes_during_a_turn_is_for_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let transport = open(&dir).await;
        send(&transport, "one").await;
        let turn = async |_: &[Letter]| {
            send(&transport, "two").await;
            Ok(())
        };
        round(&transport, "ann", turn).await.unwrap();
        let why = "only what the turn had before it may be acknowledged after it";
        assert_eq!(next_round(&transport).await, ["two"], "{why}");
    }
}
