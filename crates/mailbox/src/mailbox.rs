use crate::{Deliveries, Error, Letter, LetterId, Received, Unsettled, check_name};
use durable::{Folder, Journal, LockedJournal, Update};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
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
    /// These were delivered once more, together.
    Delivered(Vec<LetterId>),
    /// The first were delivered once more, while the reader still had the others before it.
    Joined(Vec<LetterId>, Vec<LetterId>),
    /// What is known of deliveries so far.
    Deliveries(Vec<(LetterId, Deliveries)>),
    /// These are not delivered again: acknowledged, or dead letters.
    Settled(Vec<LetterId>),
}

/// The mailbox of one name. Every call blocks: it waits for the disk, and all but
/// [`is_quiet`](Mailbox::is_quiet) for the lock that the mailbox's processes share.
///
/// A file that somebody removes, cuts off or replaces by an older one is written again with what is
/// known here; the next [`receive`](Mailbox::receive) says so.
#[derive(Debug)]
pub struct Mailbox {
    journal: Journal<Entry>,
    state: State,
    folder: Folder,
    dead_letters: String,
}

#[derive(Debug, Default)]
struct State {
    letters: BTreeMap<LetterId, Letter>,
    /// The letters that are not settled.
    unsettled: Unsettled,
    /// Not reported yet.
    damage: Vec<String>,
}

impl State {
    /// Reads in what others have written, and puts back what is missing in the file.
    fn read_in(
        &mut self,
        held: &mut LockedJournal<'_, Entry>,
        news: Update<Entry>,
    ) -> Result<(), Error> {
        let is_rewound = news.rewound;
        self.apply_news(news);
        if is_rewound {
            held.compact(&self.entries())?;
        }
        Ok(())
    }

    fn apply_news(&mut self, news: Update<Entry>) {
        if news.reset {
            self.letters.clear();
            self.unsettled.0.clear();
        }
        self.damage.extend(news.quarantined.map(|set_aside| set_aside.to_string()));
        for entry in news.records {
            self.apply(entry);
        }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Letter(letter) => {
                self.unsettled.0.insert(letter.id, Deliveries::default());
                self.letters.insert(letter.id, letter);
            }
            Entry::Delivered(ids) => self.unsettled.deliver(&ids, &[]),
            Entry::Joined(ids, others) => self.unsettled.deliver(&ids, &others),
            Entry::Deliveries(known) => {
                for (id, deliveries) in known {
                    if let Some(of_letter) = self.unsettled.0.get_mut(&id) {
                        *of_letter = deliveries;
                    }
                }
            }
            Entry::Settled(ids) => {
                for id in ids {
                    self.unsettled.0.remove(&id);
                }
            }
        }
    }

    /// Whether there is a letter to deliver, or a dead one.
    fn has_due(&self, in_flight: &BTreeSet<LetterId>) -> bool {
        let (letters, dead) = self.unsettled.due(in_flight);
        !letters.is_empty() || !dead.is_empty()
    }

    /// Everything, in as few entries as possible.
    fn entries(&self) -> Vec<Entry> {
        let State { letters, unsettled, .. } = self;
        let mut entries: Vec<Entry> = letters.values().cloned().map(Entry::Letter).collect();
        let settled = letters.keys().filter(|id| !unsettled.0.contains_key(id));
        entries.push(Entry::Settled(settled.copied().collect()));
        entries.push(Entry::Deliveries(unsettled.0.iter().map(|(id, d)| (*id, *d)).collect()));
        entries
    }
}

/// Opens a journal. A damaged file is kept under another name, and what is intact is used.
fn open_journal<T>(folder: &Folder, name: &str) -> Result<(Journal<T>, Update<T>), durable::Error>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    match Journal::open(folder, name) {
        Err(durable::Error::Damaged { .. }) => Journal::salvage(folder, name),
        opened => opened,
    }
}

impl Mailbox {
    /// Opens the mailbox of this name in this folder, and creates it when there is none.
    ///
    /// # Errors
    /// [`Error::Name`] when the name is not valid, [`Error::Disk`] when the file cannot be read or
    /// written.
    pub fn open(folder: &Folder, name: &str) -> Result<Mailbox, Error> {
        check_name(name)?;
        let (journal, news) = open_journal(folder, &format!("{name}.jsonl"))?;
        let records = news.records.len();
        let (folder, dead_letters) = (folder.clone(), format!("{name}.dead.jsonl"));
        let mut mailbox = Mailbox { journal, state: State::default(), folder, dead_letters };
        mailbox.state.apply_news(news);
        let kept_letters = MIN_KEPT_LETTERS + mailbox.state.unsettled.0.len();
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
        self.state.read_in(&mut locked, news)?;
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
        self.read_new()?;
        Ok(self.state.has_due(in_flight))
    }

    /// Whether [`receive`](Mailbox::receive) would find nothing at all. It takes no lock, and says
    /// no where it is not sure.
    pub fn is_quiet(&self, in_flight: &BTreeSet<LetterId>) -> bool {
        let has_something = self.state.has_due(in_flight) || !self.state.damage.is_empty();
        !has_something && matches!(self.journal.is_current(), Ok(true))
    }

    fn read_new(&mut self) -> Result<(), Error> {
        if let Some((mut locked, news)) = self.journal.lock_if_new()? {
            self.state.read_in(&mut locked, news)?;
        }
        Ok(())
    }

    /// Delivers all letters that are neither acknowledged nor in flight. Of letters that were
    /// delivered together and given up twice it delivers only a part, and the others when this part
    /// is acknowledged: so the one that is to blame is found.
    ///
    /// # Errors
    /// [`Error::Disk`] when the file cannot be read or written: then nothing is delivered.
    pub fn receive(&mut self, in_flight: &BTreeSet<LetterId>) -> Result<Received, Error> {
        let mut received = Received::default();
        if self.has_mail(in_flight)? {
            let (mut locked, news) = self.journal.lock()?;
            self.state.apply_news(news);
            let (letters, dead) = self.state.unsettled.due(in_flight);
            let letter = |id: &LetterId| self.state.letters[id].clone();
            received.letters = letters.iter().map(letter).collect();
            received.dead = dead.iter().map(letter).collect();
            let mut entries = Vec::new();
            if !received.dead.is_empty() {
                // Before they are settled here: a crash in between leaves them in both files, never
                // in none.
                let (mut dead_letters, news) = open_journal(&self.folder, &self.dead_letters)?;
                self.state.damage.extend(news.quarantined.map(|set_aside| set_aside.to_string()));
                dead_letters.append_all(&received.dead)?;
                entries.push(Entry::Settled(dead));
            }
            if !letters.is_empty() {
                entries.push(Entry::Joined(letters, self.state.unsettled.held(in_flight)));
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
        self.state.read_in(&mut locked, news)?;
        let known = ids.iter().filter(|id| self.state.unsettled.0.contains_key(id));
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
        self.read_new()?;
        let newest = self.state.letters.values().rev().take(count);
        let mut newest: Vec<Letter> = newest.cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    /// Replaces the file by one without old letters that are settled.
    fn compact(&mut self) -> Result<(), Error> {
        let (mut locked, news) = self.journal.lock()?;
        self.state.read_in(&mut locked, news)?;
        let State { letters, unsettled, .. } = &mut self.state;
        if let Some(dropped) = letters.keys().rev().nth(MIN_KEPT_LETTERS).copied() {
            letters.retain(|id, _| *id > dropped || unsettled.0.contains_key(id));
        }
        Ok(locked.compact(&self.state.entries())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_DELIVERIES, MAX_LETTER_BYTES};
    use std::{
        fs,
        ops::Range,
        path::Path,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    /// A mailbox as another process, or the same one after a restart, opens it.
    fn open(folder: &Path) -> Mailbox {
        Mailbox::open(&Folder::open(folder, "").unwrap(), "ann").unwrap()
    }

    const NONE: BTreeSet<LetterId> = BTreeSet::new();

    fn set(letters: &[Letter]) -> BTreeSet<LetterId> {
        letters.iter().map(|letter| letter.id).collect()
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
            let state = Folder::open(folder.path(), "").unwrap();
            assert!(matches!(Mailbox::open(&state, name), Err(Error::Name(_))));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name:?}");
        }
    }

    #[test]
    fn a_mailbox_is_quiet_until_another_process_writes_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut reader, mut sender) = (open(folder.path()), open(folder.path()));
        reader.receive(&NONE).unwrap();
        assert!(reader.is_quiet(&NONE));
        sender.put(Letter::new("bob", "hello")).unwrap();
        assert!(!reader.is_quiet(&NONE));
        let letters = set(&reader.receive(&NONE).unwrap().letters);
        assert_eq!((reader.is_quiet(&NONE), reader.is_quiet(&letters)), (false, true));
        fs::remove_file(folder.path().join("ann.jsonl")).unwrap();
        assert!(!reader.is_quiet(&letters));
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
        assert!(dead.contains("crashes") && dead.lines().count() == 2, "{dead}");
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

    /// A reader whose turns fail when a letter is poisonous. More letters may arrive in a turn, and
    /// a turn may fail by chance. Returns what was acknowledged, what died, and the turns.
    fn read_all(
        mailbox: &mut Mailbox,
        random: &mut fastrand::Rng,
        joining: &mut Vec<Letter>,
        chance_failures: usize,
    ) -> (Vec<String>, Vec<String>, usize) {
        let (mut handled, mut dead, mut turns, mut by_chance) = (vec![], vec![], 0, 0);
        while mailbox.has_mail(&NONE).unwrap() || !joining.is_empty() {
            turns += 1;
            let (mut in_flight, mut texts) = (BTreeSet::new(), vec![]);
            let mut fails = by_chance < chance_failures && random.u8(..10) == 0;
            by_chance += usize::from(fails);
            for _step in 0..random.usize(1..4) {
                let received = mailbox.receive(&in_flight).unwrap();
                dead.extend(received.dead.into_iter().map(|letter| letter.text));
                in_flight.extend(received.letters.iter().map(|letter| letter.id));
                texts.extend(received.letters.into_iter().map(|letter| letter.text));
                assert!(in_flight.is_empty() || texts.len() == in_flight.len());
                fails |= texts.iter().any(|text| text.starts_with("poison"));
                if fails {
                    break;
                }
                if let Some(letter) = joining.pop() {
                    mailbox.put(letter).unwrap();
                }
            }
            if !fails {
                mailbox.ack(&in_flight).unwrap();
                handled.append(&mut texts);
            }
        }
        (handled, dead, turns)
    }

    #[test]
    fn one_poison_letter_among_nine_sound_ones_dies_alone() {
        for poison in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let mut mailbox = open(folder.path());
            let text = |n: u32| if n == poison { "poison".to_string() } else { n.to_string() };
            for n in 0..10 {
                mailbox.put(Letter::new("bob", text(n))).unwrap();
            }
            let mut random = fastrand::Rng::with_seed(0);
            let (handled, dead, turns) = read_all(&mut mailbox, &mut random, &mut vec![], 0);
            let sound: Vec<String> = (0..10).filter(|n| *n != poison).map(text).collect();
            assert_eq!((handled, dead), (sound, vec!["poison".to_string()]), "{poison}");
            assert!(turns <= 13, "{poison}: {turns} turns");
        }
    }

    #[test]
    fn only_poison_letters_die_whatever_comes_with_them() {
        let seed = std::env::var("SEED");
        let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        let rounds = if std::env::var_os("LONG").is_some() { 3000 } else { 60 };
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut letters, mut turns_in_all) = (0, 0);
        for n in 0..rounds {
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let mut mailbox = open(folder.path());
            let mut new = |n: usize| {
                let text = if random.u8(..6) == 0 { "poison" } else { "sound" };
                Letter::new("bob", format!("{text} {n}"))
            };
            let all: Vec<Letter> = (0..20).map(&mut new).collect();
            let now = random.usize(1..20);
            for letter in &all[..now] {
                mailbox.put(letter.clone()).unwrap();
            }
            let mut joining = all[now..].to_vec();
            let (mut handled, mut dead, turns) =
                read_all(&mut mailbox, &mut random, &mut joining, 1);
            let (mut sound, mut poison): (Vec<String>, Vec<String>) = all
                .into_iter()
                .map(|letter| letter.text)
                .partition(|text| text.starts_with("sound"));
            for texts in [&mut handled, &mut dead, &mut sound, &mut poison] {
                texts.sort();
            }
            assert_eq!((handled, dead), (sound, poison), "seed {seed}, round {n}");
            letters += 20;
            turns_in_all += turns;
        }
        println!("{letters} letters, a sixth of them poisonous: {turns_in_all} turns");
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
        assert!(damage[0].contains("ann.dead.jsonl:2: wrong checksum"), "{damage:?}");
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
        assert!(received.damage[0].contains("ann.jsonl:4: "), "{:?}", received.damage);
        assert_eq!(texts(&received.letters), ["one", "two"]);
        fs::write(&file, intact.replace("one", "eno")).unwrap();
        let mut mailbox = open(folder.path());
        let received = mailbox.receive(&NONE).unwrap();
        assert!(received.damage[0].contains("ann.jsonl:2: wrong checksum"));
        mailbox.put(Letter::new("bob", "three")).unwrap();
        assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), ["two", "three"]);
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
        assert_eq!(lines, 1 + 2 + MIN_KEPT_LETTERS + 2);
        assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), ["waits", "delivered once"]);
        assert_eq!(mailbox.put(Letter::new("bob", "new")).unwrap().number, 1000);
        assert_eq!(open(folder.path()).newest(5000).unwrap().len(), MIN_KEPT_LETTERS + 3);
        // Deliveries were counted across the compaction.
        let mut mailbox = open(folder.path());
        for expected in [["waits"], ["delivered once"]] {
            let received = mailbox.receive(&NONE).unwrap();
            assert_eq!((texts(&received.letters), received.dead.len()), (expected.to_vec(), 0));
            mailbox.ack(&set(&received.letters)).unwrap();
        }
        assert_eq!(texts(&mailbox.receive(&NONE).unwrap().letters), ["new"]);
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
            assert!(mailbox.newest(usize::MAX).unwrap().len() >= MIN_KEPT_LETTERS - 1);
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
