use crate::{Error, Letter, LetterId, MAX_DELIVERIES, Received, check_name};
use durable::{Journal, Update};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::{Path, PathBuf},
};

/// How many letters a compaction keeps at least, acknowledged or not. Not zero: the newest letter's
/// number is the one from which a mailbox counts on.
const MIN_KEPT_LETTERS: usize = 200;
/// A mailbox is compacted when it has so many records for each letter that it would keep.
const RECORDS_PER_KEPT_LETTER: usize = 4;

/// A record of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// It arrived.
    Letter(Letter),
    /// These were delivered once more.
    Delivered(Vec<LetterId>),
    /// These are not delivered again: acknowledged, or dead letters.
    Settled(Vec<LetterId>),
}

/// The mailbox of one name. Every call blocks: it waits for the disk, and for the lock that the
/// mailbox's processes share. After an error from the disk, open it anew.
#[derive(Debug)]
pub struct Mailbox {
    journal: Journal<Entry>,
    state: State,
    dead_letters: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    letters: BTreeMap<LetterId, Letter>,
    /// The letters that are not settled, with the number of their deliveries.
    unsettled: BTreeMap<LetterId, u32>,
    /// Not reported yet.
    damage: Vec<String>,
}

impl State {
    fn apply_news(&mut self, news: Update<Entry>) {
        if news.reset {
            self.letters.clear();
            self.unsettled.clear();
        }
        self.damage.extend(news.quarantined.map(|set_aside| set_aside.to_string()));
        for entry in news.records {
            self.apply(entry);
        }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Letter(letter) => {
                self.unsettled.insert(letter.id, 0);
                self.letters.insert(letter.id, letter);
            }
            Entry::Delivered(ids) => {
                for id in ids {
                    if let Some(deliveries) = self.unsettled.get_mut(&id) {
                        *deliveries += 1;
                    }
                }
            }
            Entry::Settled(ids) => {
                for id in ids {
                    self.unsettled.remove(&id);
                }
            }
        }
    }
}

/// Opens a journal. A damaged file is kept under another name, and what stands before the damage is
/// used.
fn open_journal<T>(file: &Path) -> Result<(Journal<T>, Update<T>), durable::Error>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    match Journal::open(file) {
        Err(durable::Error::Damaged { .. }) => Journal::salvage(file),
        opened => opened,
    }
}

fn ids(letters: &[Letter]) -> Vec<LetterId> {
    letters.iter().map(|letter| letter.id).collect()
}

impl Mailbox {
    /// Opens the mailbox of this name in this folder, and creates it when there is none.
    ///
    /// # Errors
    /// [`Error::Name`] when the name is not valid, [`Error::Disk`] when the file cannot be read or
    /// written.
    pub fn open(folder: &Path, name: &str) -> Result<Mailbox, Error> {
        check_name(name)?;
        let (journal, news) = open_journal(&folder.join(format!("{name}.jsonl")))?;
        let records = news.records.len();
        let dead_letters = folder.join(format!("{name}.dead.jsonl"));
        let mut mailbox = Mailbox { journal, state: State::default(), dead_letters };
        mailbox.state.apply_news(news);
        let kept_letters = MIN_KEPT_LETTERS + mailbox.state.unsettled.len();
        if records > RECORDS_PER_KEPT_LETTER * kept_letters {
            mailbox.compact()?;
        }
        Ok(mailbox)
    }

    /// Puts a letter in; `Ok` means that it is on the disk, whole.
    ///
    /// # Errors
    /// Those of [`Letter::check`], and [`Error::Disk`] when the file cannot be written: then the
    /// letter is not in it.
    pub fn put(&mut self, letter: Letter) -> Result<LetterId, Error> {
        letter.check()?;
        let (mut locked, news) = self.journal.lock()?;
        self.state.apply_news(news);
        let last = self.state.letters.last_key_value().map_or(0, |(id, _)| id.number);
        // After damage a number can come again; the nonce then makes it another id.
        let id = LetterId { number: last + 1, nonce: fastrand::u32(..).into() };
        let entry = Entry::Letter(Letter { id, ..letter });
        locked.append(&entry)?;
        self.state.apply(entry);
        Ok(id)
    }

    /// Whether [`receive`](Mailbox::receive) would deliver something. With an empty set: whether
    /// there is any letter that is not acknowledged.
    ///
    /// # Errors
    /// [`Error::Disk`] when the file cannot be read.
    pub fn has_mail(&mut self, in_flight: &BTreeSet<LetterId>) -> Result<bool, Error> {
        self.state.apply_news(self.journal.read_new()?);
        Ok(self.state.unsettled.keys().any(|id| !in_flight.contains(id)))
    }

    /// Delivers all letters that are neither acknowledged nor in flight.
    ///
    /// # Errors
    /// [`Error::Disk`] when the file cannot be read or written: then nothing is delivered.
    pub fn receive(&mut self, in_flight: &BTreeSet<LetterId>) -> Result<Received, Error> {
        let mut received = Received::default();
        if self.has_mail(in_flight)? {
            let (mut locked, news) = self.journal.lock()?;
            self.state.apply_news(news);
            for (id, deliveries) in &self.state.unsettled {
                if !in_flight.contains(id) {
                    let is_dead = *deliveries >= MAX_DELIVERIES;
                    let to = if is_dead { &mut received.dead } else { &mut received.letters };
                    to.push(self.state.letters[id].clone());
                }
            }
            let mut entries = Vec::new();
            if !received.dead.is_empty() {
                // Before they are settled here: a crash in between leaves them in both files, never
                // in none.
                let (mut dead_letters, news) = open_journal(&self.dead_letters)?;
                self.state.damage.extend(news.quarantined.map(|set_aside| set_aside.to_string()));
                dead_letters.append_all(&received.dead)?;
                entries.push(Entry::Settled(ids(&received.dead)));
            }
            if !received.letters.is_empty() {
                entries.push(Entry::Delivered(ids(&received.letters)));
            }
            locked.append_all(&entries)?;
            for entry in entries {
                self.state.apply(entry);
            }
        }
        received.damage = mem::take(&mut self.state.damage);
        Ok(received)
    }

    /// Acknowledges letters: they are not delivered again. Ids that are not of this mailbox change
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Disk`] when the file cannot be written: then they are delivered again.
    pub fn ack(&mut self, ids: &BTreeSet<LetterId>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let (mut locked, news) = self.journal.lock()?;
        self.state.apply_news(news);
        let known = ids.iter().filter(|id| self.state.unsettled.contains_key(id));
        let known: Vec<LetterId> = known.copied().collect();
        if !known.is_empty() {
            let settled = Entry::Settled(known);
            locked.append(&settled)?;
            self.state.apply(settled);
        }
        Ok(())
    }

    /// The newest letters that ever arrived, at most `count`, oldest first, whether acknowledged or
    /// not.
    ///
    /// # Errors
    /// [`Error::Disk`] when the file cannot be read.
    pub fn newest(&mut self, count: usize) -> Result<Vec<Letter>, Error> {
        self.state.apply_news(self.journal.read_new()?);
        let newest = self.state.letters.values().rev().take(count);
        let mut newest: Vec<Letter> = newest.cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    /// Replaces the file by one without old letters that are settled.
    fn compact(&mut self) -> Result<(), Error> {
        let (mut locked, news) = self.journal.lock()?;
        self.state.apply_news(news);
        let State { letters, unsettled, .. } = &mut self.state;
        if let Some(dropped) = letters.keys().rev().nth(MIN_KEPT_LETTERS).copied() {
            letters.retain(|id, _| *id > dropped || unsettled.contains_key(id));
        }
        let mut entries: Vec<Entry> = letters.values().cloned().map(Entry::Letter).collect();
        let settled = letters.keys().filter(|id| !unsettled.contains_key(id));
        entries.push(Entry::Settled(settled.copied().collect()));
        for n in 0..unsettled.values().copied().max().unwrap_or(0) {
            let delivered = unsettled.iter().filter(|(_, deliveries)| **deliveries > n);
            entries.push(Entry::Delivered(delivered.map(|(id, _)| *id).collect()));
        }
        Ok(locked.compact(&entries)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAX_LETTER_BYTES;
    use std::{
        fs,
        ops::Range,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    /// A mailbox as another process, or the same one after a restart, opens it.
    fn open(folder: &Path) -> Mailbox {
        Mailbox::open(folder, "ann").unwrap()
    }

    const NONE: BTreeSet<LetterId> = BTreeSet::new();

    fn set(letters: &[Letter]) -> BTreeSet<LetterId> {
        ids(letters).into_iter().collect()
    }

    fn texts(letters: &[Letter]) -> Vec<&str> {
        letters.iter().map(|letter| letter.text.as_str()).collect()
    }

    #[test]
    fn names_are_never_paths() {
        for name in ["a", "ann", "a-1_b", "7"] {
            check_name(name).unwrap();
        }
        let long = "a".repeat(41);
        for name in [
            "", ".", "..", "a/b", "/a", "../ann", "a\\b", "Ann", "a b", "a\n", "-a", "_a", "a\0",
            "ä", "a.jsonl", &long,
        ] {
            assert!(matches!(check_name(name), Err(Error::Name(_))), "{name:?}");
            let folder = tempfile::tempdir().unwrap();
            assert!(matches!(Mailbox::open(folder.path(), name), Err(Error::Name(_))));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name:?}");
        }
    }

    #[test]
    fn letters_that_arrive_while_one_reads_are_not_lost_and_keep_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (senders, each) = (8, 50);
        let sending = AtomicUsize::new(senders);
        let mut got = vec![];
        std::thread::scope(|scope| {
            for sender in 0..senders {
                let (folder, sending) = (folder.path(), &sending);
                scope.spawn(move || {
                    let mut mailbox = open(folder);
                    for n in 0..each {
                        mailbox.put(Letter::new(&sender.to_string(), n.to_string())).unwrap();
                    }
                    sending.fetch_sub(1, Relaxed);
                });
            }
            let mut mailbox = open(folder.path());
            loop {
                let is_last = sending.load(Relaxed) == 0;
                let letters = mailbox.receive(&NONE).unwrap().letters;
                mailbox.ack(&set(&letters)).unwrap();
                got.extend(letters);
                if is_last {
                    break;
                }
            }
        });
        assert_eq!(
            got.iter().map(|letter| letter.id.number).collect::<Vec<_>>(),
            (1..=400).collect::<Vec<_>>()
        );
        for sender in 0..senders {
            let of_one = got.iter().filter(|letter| letter.from == sender.to_string());
            let expected: Vec<String> = (0..each).map(|n| n.to_string()).collect();
            assert_eq!(of_one.map(|letter| letter.text.clone()).collect::<Vec<_>>(), expected);
        }
        assert_eq!(open(folder.path()).receive(&NONE).unwrap(), Received::default());
    }

    #[test]
    fn a_letter_that_is_never_acknowledged_is_redelivered_and_then_a_dead_letter() {
        let folder = tempfile::tempdir().unwrap();
        let mut sender = open(folder.path());
        sender.put(Letter::new("bob", "crashes")).unwrap();
        for n in 0..MAX_DELIVERIES {
            // A reader that dies before it acknowledges.
            let received = open(folder.path()).receive(&NONE).unwrap();
            assert_eq!((texts(&received.letters), received.dead), (vec!["crashes"], vec![]), "{n}");
        }
        sender.put(Letter::new("bob", "harmless")).unwrap();
        let mut mailbox = open(folder.path());
        let received = mailbox.receive(&NONE).unwrap();
        assert_eq!(
            (texts(&received.letters), texts(&received.dead)),
            (vec!["harmless"], vec!["crashes"])
        );
        let in_flight = set(&received.letters);
        assert!(!mailbox.has_mail(&in_flight).unwrap() && mailbox.has_mail(&NONE).unwrap());
        let dead = fs::read_to_string(folder.path().join("ann.dead.jsonl")).unwrap();
        assert!(dead.contains("crashes") && dead.lines().count() == 1, "{dead}");
        // The same reader: what is in flight is not delivered again; what it gave up is, and that
        // counts.
        for _ in 1..MAX_DELIVERIES {
            assert_eq!(mailbox.receive(&in_flight).unwrap(), Received::default());
            assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), ["harmless"]);
        }
        let received = mailbox.receive(&NONE).unwrap();
        assert_eq!((texts(&received.letters), texts(&received.dead)), (vec![], vec!["harmless"]));
        assert!(!mailbox.has_mail(&NONE).unwrap());
        assert_eq!(texts(&mailbox.newest(1).unwrap()), ["harmless"]);
    }

    #[test]
    fn a_damaged_file_of_dead_letters_does_not_close_the_mailbox() {
        let folder = tempfile::tempdir().unwrap();
        let (file, mut mailbox) = (folder.path().join("ann.dead.jsonl"), open(folder.path()));
        let mut damage = vec![];
        for text in ["one", "two", "three"] {
            mailbox.put(Letter::new("bob", text)).unwrap();
            for _ in 0..MAX_DELIVERIES {
                assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), [text]);
            }
            let received = mailbox.receive(&NONE).unwrap();
            assert_eq!(texts(&received.dead), [text]);
            damage.extend(received.damage);
            let dead = fs::read_to_string(&file).unwrap();
            fs::write(&file, dead.replace("one", "eno")).unwrap();
        }
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert!(damage[0].contains("ann.dead.jsonl:1: wrong checksum"), "{damage:?}");
        assert!(fs::read_to_string(&file).unwrap().contains("three"));
    }

    #[test]
    fn a_torn_or_damaged_line_is_set_aside_and_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ann.jsonl");
        let mut mailbox = open(folder.path());
        for text in ["one", "two"] {
            mailbox.put(Letter::new("bob", text)).unwrap();
        }
        let intact = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{intact}{{\"from\": \"mallory\", \"te")).unwrap();
        let received = open(folder.path()).receive(&NONE).unwrap();
        assert!(received.damage[0].contains("ann.jsonl:3: "), "{:?}", received.damage);
        assert_eq!(texts(&received.letters), ["one", "two"]);
        fs::write(&file, intact.replace("one", "eno")).unwrap();
        let mut mailbox = open(folder.path());
        let received = mailbox.receive(&NONE).unwrap();
        assert!(received.damage[0].contains("ann.jsonl:1: wrong checksum"));
        mailbox.put(Letter::new("bob", "three")).unwrap();
        assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), ["three"]);
    }

    #[test]
    fn a_long_history_is_compacted_when_the_mailbox_is_opened_and_what_waits_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = open(folder.path());
        mailbox.put(Letter::new("bob", "waits")).unwrap();
        mailbox.put(Letter::new("bob", "delivered once")).unwrap();
        mailbox.receive(&NONE).unwrap();
        add_settled(&mut mailbox, 3..1000);
        let mut mailbox = open(folder.path());
        let lines = fs::read_to_string(folder.path().join("ann.jsonl")).unwrap().lines().count();
        assert_eq!(lines, 2 + MIN_KEPT_LETTERS + 2);
        assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), ["waits", "delivered once"]);
        assert_eq!(mailbox.put(Letter::new("bob", "new")).unwrap().number, 1000);
        assert_eq!(open(folder.path()).newest(5000).unwrap().len(), MIN_KEPT_LETTERS + 3);
        // Deliveries were counted across the compaction.
        let mut mailbox = open(folder.path());
        assert_eq!(mailbox.receive(&NONE).unwrap().letters.len(), 3);
        assert_eq!(texts(&mailbox.receive(&NONE).unwrap().dead), ["waits", "delivered once"]);
    }

    /// Puts letters with these numbers in, acknowledged, in one append; their ids.
    fn add_settled(mailbox: &mut Mailbox, numbers: Range<u64>) -> Vec<LetterId> {
        let (mut ids, mut entries) = (vec![], vec![]);
        for number in numbers {
            let id = LetterId { number, nonce: fastrand::u32(..).into() };
            ids.push(id);
            entries.push(Entry::Letter(Letter { id, ..Letter::new("bob", "old") }));
            entries.push(Entry::Settled(vec![id]));
        }
        mailbox.journal.append_all(&entries).unwrap();
        for entry in entries {
            mailbox.state.apply(entry);
        }
        ids
    }

    #[test]
    fn ids_never_repeat_after_compaction_restart_damage_or_loss_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ann.jsonl");
        let mut given: BTreeSet<LetterId> = BTreeSet::new();
        let mut newest = 0;
        for round in 0..4 {
            // As after a restart. From the second round on this compacts, and all letters may be
            // dropped.
            let mut mailbox = open(folder.path());
            let kept = if round == 0 { 0 } else { MIN_KEPT_LETTERS };
            assert_eq!(mailbox.newest(usize::MAX).unwrap().len(), kept, "round {round}");
            for _ in 0..2 {
                let id = mailbox.put(Letter::new("bob", "new")).unwrap();
                assert!(id.number > newest && given.insert(id), "round {round}: {id:?}");
                newest = id.number;
            }
            let letters = mailbox.receive(&NONE).unwrap().letters;
            mailbox.ack(&set(&letters)).unwrap();
            let settled = add_settled(&mut mailbox, newest + 1..newest + 1000);
            newest = settled[settled.len() - 1].number;
            assert!(settled.into_iter().all(|id| given.insert(id)), "round {round}");
        }
        assert_eq!(given.len(), 4 * (2 + 999));
        // Letters that are lost leave their numbers, but never their ids.
        let intact = fs::read_to_string(&file).unwrap();
        for lost in [0, 1, intact.lines().count() / 2] {
            fs::write(&file, &intact).unwrap();
            let mut lines: Vec<&str> = intact.lines().collect();
            lines[lost] = "{}";
            fs::write(&file, lines.join("\n") + "\n").unwrap();
            let mut mailbox = open(folder.path());
            assert!(mailbox.newest(usize::MAX).unwrap().len() <= lost);
            assert!(given.insert(mailbox.put(Letter::new("bob", "new")).unwrap()));
        }
        fs::remove_file(&file).unwrap();
        let id = open(folder.path()).put(Letter::new("bob", "new")).unwrap();
        assert!(id.number == 1 && given.insert(id), "{id:?}");
    }

    #[test]
    fn what_an_old_conversation_has_in_flight_neither_hides_nor_acknowledges_another_letter() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mut before, mut now] = folders.each_ref().map(|folder| open(folder.path()));
        before.put(Letter::new("bob", "of another team")).unwrap();
        let in_flight = set(&before.receive(&NONE).unwrap().letters);
        now.put(Letter::new("bob", "of this team")).unwrap();
        assert_eq!(texts(&now.receive(&in_flight).unwrap().letters), ["of this team"]);
        now.ack(&in_flight).unwrap();
        assert_eq!(texts(&open(folders[1].path()).receive(&NONE).unwrap().letters).len(), 1);
    }

    #[test]
    fn only_letters_of_a_named_sender_and_a_bounded_length_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = open(folder.path());
        for from in ["", "lead\" x=\"", "Bob"] {
            assert!(matches!(mailbox.put(Letter::new(from, "x")), Err(Error::Name(_))));
        }
        assert!(matches!(
            mailbox.put(Letter::new("bob", "x".repeat(MAX_LETTER_BYTES + 1))),
            Err(Error::TooLong(bytes)) if bytes == MAX_LETTER_BYTES + 1
        ));
        assert!(!mailbox.has_mail(&NONE).unwrap());
        mailbox.put(Letter::new("bob", "x".repeat(MAX_LETTER_BYTES))).unwrap();
        assert!(mailbox.has_mail(&NONE).unwrap());
    }
}
