use crate::{Error, Letter, LetterId, Mailbox, Presence, Received, check_name};
use durable::{Folder, Lock};
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, task::spawn_blocking, time};

/// How often a waiting reader looks into its mailbox, for the letters that other processes put in.
/// What this process sends wakes it at once.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Delivers letters to names, at least once. Use it as `Arc<dyn Transport>`.
///
/// Each name has one reader at a time, and any number of senders. `in_flight` are the letters that
/// the reader has received, not acknowledged, and still has before it. Every future may be dropped:
/// what it had begun is then done or not done, whole. A dropped [`receive`](Transport::receive) can
/// count as a delivery.
pub trait Transport: Send + Sync + 'static {
    /// Delivers a letter; `Ok` means that it is stored, whole, and survives a crash.
    ///
    /// # Errors
    /// When `to` is not a valid name, when [`Letter::check`] refuses the letter, and when the
    /// transport fails: then it may be delivered all the same.
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>>;

    /// Delivers to `who` all letters that are neither acknowledged nor in flight, those of one
    /// sender in the order in which they were sent. Letters that were delivered
    /// [`MAX_DELIVERIES`](crate::MAX_DELIVERIES) times become dead letters instead.
    ///
    /// # Errors
    /// When the transport fails: then nothing is delivered.
    fn receive<'a>(
        &'a self,
        who: &'a str,
        in_flight: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<Received, Error>>;

    /// Acknowledges letters of `who`: they are not delivered again. Other ids are ignored.
    ///
    /// # Errors
    /// When the transport fails: then they are delivered again.
    fn ack<'a>(
        &'a self,
        who: &'a str,
        ids: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether [`receive`](Transport::receive) would deliver something. With an empty set: whether
    /// `who` has letters that are not acknowledged, and so work before it.
    ///
    /// # Errors
    /// When the transport fails.
    fn has_mail<'a>(
        &'a self,
        who: &'a str,
        in_flight: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Waits until [`receive`](Transport::receive) has something to say: letters, or an error. It
    /// receives nothing itself, so dropping it loses nothing. While the transport fails it returns
    /// late, so that whoever waits again does not spin.
    fn wait<'a>(&'a self, who: &'a str, in_flight: &'a BTreeSet<LetterId>) -> BoxFuture<'a, ()>;

    /// The newest letters that `who` ever got, at most `count`, oldest first, whether acknowledged
    /// or not. Old ones may be gone.
    ///
    /// # Errors
    /// When the transport fails.
    fn newest<'a>(
        &'a self,
        who: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Result<Vec<Letter>, Error>>;

    /// Who is in the team, when several processes share it; none when it is this process alone.
    fn presence(&self) -> Option<&dyn Presence> {
        None
    }
}

/// The transport in files: a [`Mailbox`] for each name, in a folder of this process.
#[derive(Debug, Clone)]
pub struct Mailboxes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    _lock: Lock,
}

/// The place of one mailbox.
#[derive(Debug, Default)]
struct Slot {
    /// None before the first use, and when its file is full: the next use opens it anew.
    mailbox: Mutex<Option<Mailbox>>,
    /// A letter was put in by this process.
    arrived: Notify,
}

impl Mailboxes {
    /// The mailboxes of the first team in this folder (`team-1`, `team-2`, ..) that no other
    /// process uses. A mailbox has one reader, so two processes in one folder are two teams; the
    /// next one finds what an earlier one left.
    ///
    /// # Errors
    /// [`Error::Disk`] when the folder cannot be written.
    pub async fn open(folder: &Folder) -> Result<Mailboxes, Error> {
        let folder = folder.clone();
        run_blocking(move || {
            let mut n = 1;
            loop {
                let name = format!("team-{n}");
                if let Some(_lock) = Lock::try_acquire(&folder, format!("{name}.lock"))? {
                    let folder = folder.folder(name)?;
                    return Ok(Mailboxes(Arc::new(Inner {
                        folder,
                        slots: Mutex::default(),
                        _lock,
                    })));
                }
                n += 1;
            }
        })
        .await
    }

    fn slot(&self, name: &str) -> Result<Arc<Slot>, Error> {
        check_name(name)?;
        Ok(self.0.slots.lock().unwrap().entry(name.into()).or_default().clone())
    }

    /// Whether this mailbox is open and has nothing: the usual case, and to find that out costs
    /// less than a change of threads. False while another thread works with it.
    fn is_quiet(&self, who: &str, in_flight: &BTreeSet<LetterId>) -> bool {
        let Ok(slot) = self.slot(who) else { return false };
        let Ok(open) = slot.mailbox.try_lock() else { return false };
        open.as_ref().is_some_and(|mailbox| mailbox.is_quiet(in_flight))
    }

    /// Works with a mailbox on a thread that may block.
    fn with<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&mut Mailbox) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let (inner, slot, name) = (self.0.clone(), self.slot(name), name.to_string());
        Box::pin(async move {
            let slot = slot?;
            run_blocking(move || {
                let mut open = slot.mailbox.lock().unwrap();
                let mut mailbox = match open.take() {
                    Some(mailbox) => mailbox,
                    None => Mailbox::open(&inner.folder, &name)?,
                };
                let worked = work(&mut mailbox);
                // To open a file is to compact it. After any other error the mailbox is kept: it
                // knows what the file may have lost.
                if !matches!(worked, Err(Error::Disk(durable::Error::Full { .. }))) {
                    *open = Some(mailbox);
                }
                worked
            })
            .await
        })
    }
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(worked) => worked,
        Err(error) => Err(Error::Other(error.into())),
    }
}

impl Transport for Mailboxes {
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let slot = self.slot(to)?;
            // On the other thread, so that the reader wakes also when this future is dropped
            // meanwhile.
            self.with(to, move |mailbox| {
                mailbox.put(letter)?;
                slot.arrived.notify_waiters();
                Ok(())
            })
            .await
        })
    }

    fn receive<'a>(
        &'a self,
        who: &'a str,
        in_flight: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<Received, Error>> {
        Box::pin(async move {
            if self.is_quiet(who, in_flight) {
                return Ok(Received::default());
            }
            let in_flight = in_flight.clone();
            self.with(who, move |mailbox| mailbox.receive(&in_flight)).await
        })
    }

    fn ack<'a>(
        &'a self,
        who: &'a str,
        ids: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let ids = ids.clone();
        self.with(who, move |mailbox| mailbox.ack(&ids))
    }

    fn has_mail<'a>(
        &'a self,
        who: &'a str,
        in_flight: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            if self.is_quiet(who, in_flight) {
                return Ok(false);
            }
            let in_flight = in_flight.clone();
            self.with(who, move |mailbox| mailbox.has_mail(&in_flight)).await
        })
    }

    fn wait<'a>(&'a self, who: &'a str, in_flight: &'a BTreeSet<LetterId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // An invalid name never gets mail; `receive` says why.
            let Ok(slot) = self.slot(who) else { return time::sleep(POLL_INTERVAL).await };
            loop {
                // Made before the look, or it would miss what arrives in between.
                let arrived = slot.arrived.notified();
                match self.has_mail(who, in_flight).await {
                    Ok(true) => return,
                    Ok(false) => {
                        let _ = time::timeout(POLL_INTERVAL, arrived).await;
                    }
                    Err(_) => return time::sleep(POLL_INTERVAL).await,
                }
            }
        })
    }

    fn newest<'a>(
        &'a self,
        who: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Result<Vec<Letter>, Error>> {
        self.with(who, move |mailbox| mailbox.newest(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};
    use tokio::time::{Instant, timeout};

    const NONE: BTreeSet<LetterId> = BTreeSet::new();

    async fn open(folder: &Path) -> Arc<dyn Transport> {
        Arc::new(Mailboxes::open(&Folder::open(folder, "").unwrap()).await.unwrap())
    }

    fn letter(text: impl Into<String>) -> Letter {
        Letter::new("lead", text)
    }

    fn ids(letters: &[Letter]) -> BTreeSet<LetterId> {
        letters.iter().map(|letter| letter.id).collect()
    }

    #[tokio::test]
    async fn two_processes_in_one_folder_are_two_teams_and_the_next_one_finds_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (open(folder.path()).await, open(folder.path()).await);
        first.send("ann", letter("hello")).await.unwrap();
        assert_eq!(
            (
                first.has_mail("ann", &NONE).await.unwrap(),
                second.has_mail("ann", &NONE).await.unwrap()
            ),
            (true, false)
        );
        drop(first);
        let third = open(folder.path()).await;
        let letters = third.receive("ann", &NONE).await.unwrap().letters;
        assert_eq!(letters[0].text, "hello");
        third.ack("ann", &ids(&letters)).await.unwrap();
        assert!(!third.has_mail("ann", &NONE).await.unwrap());
        assert_eq!(third.newest("ann", 9).await.unwrap(), letters);
        let refused = third.send("../ann", letter("hello")).await.unwrap_err();
        assert!(refused.to_string().starts_with("\"../ann\" is no name"), "{refused}");
    }

    #[tokio::test]
    async fn a_mailbox_that_was_damaged_or_deleted_meanwhile_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let mail = open(folder.path()).await;
        mail.send("ann", letter("one")).await.unwrap();
        mail.send("ann", letter("two")).await.unwrap();
        let file = folder.path().join("team-1/ann.jsonl");
        let damaged = fs::read_to_string(&file).unwrap().replace("one", "eno");
        fs::remove_file(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        mail.send("ann", letter("three")).await.unwrap();
        fs::remove_file(&file).unwrap();
        mail.send("ann", letter("four")).await.unwrap();
        fs::remove_dir_all(folder.path().join("team-1")).unwrap();
        let received = mail.receive("ann", &NONE).await.unwrap();
        let texts: Vec<&str> = received.letters.iter().map(|letter| &*letter.text).collect();
        assert_eq!(texts, ["one", "two", "three", "four"]);
        let [replaced, removed, again] = &received.damage[..] else { panic!("{received:?}") };
        assert!(replaced.contains("the file was replaced by another version"), "{replaced}");
        assert!(removed.contains("the file was removed"), "{removed}");
        assert!(again.contains("the file was removed"), "{again}");
        let mut other =
            Mailbox::open(&Folder::open(folder.path(), "team-1").unwrap(), "ann").unwrap();
        assert_eq!(other.newest(9).unwrap(), received.letters);
    }

    // With the clock of these tests, time passes only while nothing else can happen: what takes no
    // time was not found by a poll.
    #[tokio::test(start_paused = true)]
    async fn what_this_process_sends_wakes_its_reader_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mail = open(folder.path()).await;
        let start = Instant::now();
        // Two that answer each other.
        let [one, other] = [("ann", "bob"), ("bob", "ann")].map(|(me, to)| {
            let mail = mail.clone();
            tokio::spawn(async move {
                for n in 0..100 {
                    mail.wait(me, &NONE).await;
                    let letters = mail.receive(me, &NONE).await.unwrap().letters;
                    let texts: Vec<&str> = letters.iter().map(|letter| &*letter.text).collect();
                    assert_eq!(texts, [n.to_string()]);
                    mail.ack(me, &ids(&letters)).await.unwrap();
                    let answer = if me == "bob" { n + 1 } else { n };
                    mail.send(to, letter(answer.to_string())).await.unwrap();
                }
            })
        });
        mail.send("ann", letter("0")).await.unwrap();
        one.await.unwrap();
        other.await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_puts_in_is_found_by_the_next_poll() {
        let folder = tempfile::tempdir().unwrap();
        let mail = open(folder.path()).await;
        let waiting = tokio::spawn({
            let mail = mail.clone();
            async move { mail.wait("ann", &NONE).await }
        });
        time::sleep(10 * POLL_INTERVAL).await;
        assert!(!waiting.is_finished());
        let mut other =
            Mailbox::open(&Folder::open(folder.path(), "team-1").unwrap(), "ann").unwrap();
        other.put(letter("hello")).unwrap();
        let start = Instant::now();
        timeout(100 * POLL_INTERVAL, waiting).await.unwrap().unwrap();
        assert!(start.elapsed() <= POLL_INTERVAL, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_not_woken_by_what_is_in_flight_or_for_others_and_receives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mail = open(folder.path()).await;
        mail.send("ann", letter("one")).await.unwrap();
        let in_flight = ids(&mail.receive("ann", &NONE).await.unwrap().letters);
        let long = 100 * POLL_INTERVAL;
        mail.send("bob", letter("for bob")).await.unwrap();
        assert!(timeout(long, mail.wait("ann", &in_flight)).await.is_err());
        // Given up: it waits for its redelivery.
        assert!(timeout(long, mail.wait("ann", &NONE)).await.is_ok());
        // Waiting, dropped or not, is no delivery: it would be a dead letter otherwise.
        mail.send("ann", letter("two")).await.unwrap();
        for n in 0..20 {
            let waited = timeout(Duration::from_micros(n), mail.wait("ann", &in_flight)).await;
            drop(waited);
        }
        mail.wait("ann", &in_flight).await;
        let received = mail.receive("ann", &in_flight).await.unwrap();
        assert_eq!((received.letters[0].text.as_str(), received.dead), ("two", vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_mailbox_that_fails_hears_so_and_does_not_spin() {
        let folder = tempfile::tempdir().unwrap();
        let mail = open(folder.path()).await;
        // Where the mailbox should be, there is a folder.
        fs::create_dir_all(folder.path().join("team-1/ann.jsonl")).unwrap();
        for name in ["ann", "../ann"] {
            let start = Instant::now();
            for _ in 0..10 {
                mail.wait(name, &NONE).await;
                mail.receive(name, &NONE).await.unwrap_err();
            }
            assert!(start.elapsed() >= 10 * POLL_INTERVAL, "{name}: {:?}", start.elapsed());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn letters_of_many_senders_are_received_once_each_by_readers_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let mail = open(folder.path()).await;
        let (names, each) = (["ann", "bob", "eve", "joe"], 25);
        for from in names {
            let mail = mail.clone();
            tokio::spawn(async move {
                for n in 0..each {
                    for to in names.into_iter().filter(|to| *to != from) {
                        let text = format!("{from} to {to} {n}");
                        mail.send(to, Letter::new(from, text)).await.unwrap();
                    }
                }
            });
        }
        let readers = names.map(|me| {
            let mail = mail.clone();
            tokio::spawn(async move {
                let (mut in_flight, mut texts) = (BTreeSet::new(), Vec::new());
                while texts.len() < (names.len() - 1) * each {
                    mail.wait(me, &in_flight).await;
                    let received = mail.receive(me, &in_flight).await.unwrap();
                    assert_eq!((received.dead.len(), received.damage.len()), (0, 0));
                    in_flight.extend(ids(&received.letters));
                    texts.extend(received.letters.into_iter().map(|letter| letter.text));
                }
                mail.ack(me, &in_flight).await.unwrap();
                assert!(!mail.has_mail(me, &NONE).await.unwrap());
                texts
            })
        });
        for (me, reader) in names.into_iter().zip(readers) {
            let texts = reader.await.unwrap();
            for from in names.into_iter().filter(|from| *from != me) {
                let of_one = texts.iter().filter(|text| text.starts_with(from));
                let sent = (0..each).map(|n| format!("{from} to {me} {n}"));
                assert!(of_one.cloned().eq(sent), "{from} to {me}: {texts:?}");
            }
        }
    }
}
