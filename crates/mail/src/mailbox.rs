use crate::{Error, LONGEST, Letter, TRIES, Taken, check_name};
use durable::{Journal, Quarantined, Update};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::{Path, PathBuf},
};

/// How many handled letters stay in a box when its file is written anew.
const KEPT: usize = 200;

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// It came.
    Letter(Letter),
    /// These were handed out once more.
    Taken(Vec<u64>),
    /// These are over: handled, or set aside.
    Over(Vec<u64>),
}

/// One box. Everything here blocks: it waits for the disk, and for the box's lock.
#[derive(Debug)]
pub struct Mailbox {
    journal: Journal<Entry>,
    state: State,
    poison: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    letters: BTreeMap<u64, Letter>,
    /// Those not over, and how often each was taken.
    open: BTreeMap<u64, u32>,
    /// Not told yet.
    damage: Vec<Quarantined>,
}

impl State {
    fn take_in(&mut self, news: Update<Entry>) {
        if news.reset {
            self.letters.clear();
            self.open.clear();
        }
        self.damage.extend(news.quarantined);
        news.records.into_iter().for_each(|entry| self.set(entry));
    }

    fn set(&mut self, entry: Entry) {
        match entry {
            Entry::Letter(letter) => {
                self.open.insert(letter.id, 0);
                self.letters.insert(letter.id, letter);
            }
            Entry::Taken(ids) => ids.iter().for_each(|id| {
                self.open.entry(*id).and_modify(|tries| *tries += 1);
            }),
            Entry::Over(ids) => ids.iter().for_each(|id| {
                self.open.remove(id);
            }),
        }
    }
}

impl Mailbox {
    /// Opens the box of this name in this folder, or begins it.
    ///
    /// # Errors
    /// When the name could be a path, and when the file can't be read or written.
    pub fn open(folder: &Path, name: &str) -> Result<Mailbox, Error> {
        check_name(name)?;
        let file = folder.join(format!("{name}.jsonl"));
        let opened = match Journal::open(&file) {
            // What stands before the damage goes on; the damaged file itself is kept.
            Err(durable::Error::Damaged { .. }) => Journal::salvage(&file),
            other => other,
        };
        let (journal, news) = opened?;
        let lines = news.records.len();
        let poison = folder.join(format!("{name}.poison.jsonl"));
        let mut inbox = Mailbox { journal, state: State::default(), poison };
        inbox.state.take_in(news);
        if lines > 4 * (KEPT + inbox.state.open.len()) {
            inbox.compact()?;
        }
        Ok(inbox)
    }

    /// Puts a letter in; `Ok` means that it is on the disk, whole. Gives its number.
    ///
    /// # Errors
    /// When it is longer than [`LONGEST`], and when the file can't be written: then it is not there.
    pub fn put(&mut self, letter: Letter) -> Result<u64, Error> {
        if letter.text.len() > LONGEST {
            return Err(Error::TooLong(letter.text.len()));
        }
        let (mut held, news) = self.journal.lock()?;
        self.state.take_in(news);
        let id = self.state.letters.last_key_value().map_or(1, |(id, _)| id + 1);
        let entry = Entry::Letter(Letter { id, ..letter });
        held.append(&entry)?;
        self.state.set(entry);
        Ok(id)
    }

    /// Whether there is a letter to take, beside those that the reader has.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn has_mail(&mut self, held: &BTreeSet<u64>) -> Result<bool, Error> {
        self.state.take_in(self.journal.read_new()?);
        Ok(self.state.open.keys().any(|id| !held.contains(id)))
    }

    /// Takes all that is not [done](Mailbox::done), but for what the reader has: so what it lost comes again.
    ///
    /// # Errors
    /// When the file can't be read or written: then nothing is taken.
    pub fn take(&mut self, held: &BTreeSet<u64>) -> Result<Taken, Error> {
        if !self.has_mail(held)? {
            return Ok(Taken { damage: mem::take(&mut self.state.damage), ..Taken::default() });
        }
        let (mut locked, news) = self.journal.lock()?;
        self.state.take_in(news);
        let waiting = self.state.open.iter().filter(|(id, _)| !held.contains(id));
        let (tired, fresh): (Vec<_>, Vec<_>) = waiting.partition(|(_, tries)| **tries >= TRIES);
        let ids = |some: &[(&u64, &u32)]| some.iter().map(|(id, _)| **id).collect::<Vec<u64>>();
        let (tired, fresh) = (ids(&tired), ids(&fresh));
        let letters =
            |ids: &[u64]| ids.iter().map(|id| self.state.letters[id].clone()).collect::<Vec<_>>();
        let mut taken = Taken { letters: letters(&fresh), poison: letters(&tired), damage: vec![] };
        if !tired.is_empty() {
            // First it lies there, then it is gone here: a crash in between leaves it twice, never nowhere.
            let (mut aside, _) = Journal::open(&self.poison)?;
            aside.append_all(&taken.poison)?;
        }
        let entries = [(tired, Entry::Over as fn(Vec<u64>) -> Entry), (fresh, Entry::Taken)];
        let entries: Vec<Entry> = entries
            .into_iter()
            .filter(|(ids, _)| !ids.is_empty())
            .map(|(ids, of)| of(ids))
            .collect();
        locked.append_all(&entries)?;
        entries.into_iter().for_each(|entry| self.state.set(entry));
        taken.damage = mem::take(&mut self.state.damage);
        Ok(taken)
    }

    /// These letters were handled, and don't come again.
    ///
    /// # Errors
    /// When the file can't be written: then they come again.
    pub fn done(&mut self, ids: &BTreeSet<u64>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let (mut locked, news) = self.journal.lock()?;
        self.state.take_in(news);
        let over = Entry::Over(ids.iter().copied().collect());
        locked.append(&over)?;
        self.state.set(over);
        Ok(())
    }

    /// The newest letters that ever came, at most `most`, oldest first.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn newest(&mut self, most: usize) -> Result<Vec<Letter>, Error> {
        self.state.take_in(self.journal.read_new()?);
        let mut newest: Vec<Letter> =
            self.state.letters.values().rev().take(most).cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    /// Writes the file anew without what nobody needs any more.
    fn compact(&mut self) -> Result<(), Error> {
        let (mut held, news) = self.journal.lock()?;
        self.state.take_in(news);
        let oldest = self.state.letters.keys().rev().nth(KEPT).copied().unwrap_or(0);
        self.state.letters.retain(|id, _| *id > oldest || self.state.open.contains_key(id));
        let mut entries: Vec<Entry> =
            self.state.letters.values().cloned().map(Entry::Letter).collect();
        let over = self.state.letters.keys().filter(|id| !self.state.open.contains_key(id));
        entries.push(Entry::Over(over.copied().collect()));
        let most = self.state.open.values().max().copied().unwrap_or(0);
        entries.extend((0..most).map(|n| {
            let tried = self.state.open.iter().filter(|(_, tries)| **tries > n);
            Entry::Taken(tried.map(|(id, _)| *id).collect())
        }));
        Ok(held.compact(&entries)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn open(folder: &Path) -> Mailbox {
        Mailbox::open(folder, "ann").unwrap()
    }

    const NONE: BTreeSet<u64> = BTreeSet::new();

    fn ids(letters: &[Letter]) -> BTreeSet<u64> {
        letters.iter().map(|letter| letter.id).collect()
    }

    fn texts(letters: &[Letter]) -> Vec<&str> {
        letters.iter().map(|letter| letter.text.as_str()).collect()
    }

    #[test]
    fn names_are_no_paths() {
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
            assert!(Mailbox::open(folder.path(), name).is_err());
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{name:?}");
        }
    }

    #[test]
    fn mail_that_comes_while_one_reads_is_not_lost_and_keeps_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let (senders, each) = (8, 50);
        let sending = AtomicUsize::new(senders);
        let mut got = vec![];
        std::thread::scope(|scope| {
            for sender in 0..senders {
                let (folder, sending) = (folder.path(), &sending);
                scope.spawn(move || {
                    // An opener of its own, as another process would have.
                    let mut inbox = open(folder);
                    for n in 0..each {
                        inbox.put(Letter::new(&sender.to_string(), n.to_string())).unwrap();
                    }
                    sending.fetch_sub(1, Relaxed);
                });
            }
            let mut inbox = open(folder.path());
            loop {
                let last = sending.load(Relaxed) == 0;
                let taken = inbox.take(&NONE).unwrap().letters;
                inbox.done(&ids(&taken)).unwrap();
                got.extend(taken);
                if last {
                    break;
                }
            }
        });
        assert_eq!(
            got.iter().map(|letter| letter.id).collect::<Vec<_>>(),
            (1..=400).collect::<Vec<_>>()
        );
        for sender in 0..senders {
            let of_one = got.iter().filter(|letter| letter.from == sender.to_string());
            let expected: Vec<String> = (0..each).map(|n| n.to_string()).collect();
            assert_eq!(of_one.map(|letter| letter.text.clone()).collect::<Vec<_>>(), expected);
        }
        assert_eq!(open(folder.path()).take(&NONE).unwrap(), Taken::default());
    }

    #[test]
    fn what_a_reader_took_and_did_not_settle_comes_again_and_at_last_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut sender = open(folder.path());
        sender.put(Letter::new("bob", "poison")).unwrap();
        for tried in 0..TRIES {
            // A reader that dies.
            assert_eq!(
                texts(&open(folder.path()).take(&NONE).unwrap().letters),
                ["poison"],
                "{tried}"
            );
        }
        sender.put(Letter::new("bob", "fine")).unwrap();
        let mut inbox = open(folder.path());
        let taken = inbox.take(&NONE).unwrap();
        assert_eq!((texts(&taken.letters), texts(&taken.poison)), (vec!["fine"], vec!["poison"]));
        let held = ids(&taken.letters);
        assert!(!inbox.has_mail(&held).unwrap() && inbox.has_mail(&NONE).unwrap());
        let aside = std::fs::read_to_string(folder.path().join("ann.poison.jsonl")).unwrap();
        assert!(aside.contains("poison") && aside.lines().count() == 1);
        // What the reader no longer has comes again from the same box too, and is counted; what it has does not.
        for _ in 1..TRIES {
            assert_eq!(inbox.take(&held).unwrap(), Taken::default());
            assert_eq!(texts(&inbox.take(&NONE).unwrap().letters), ["fine"]);
        }
        assert_eq!(texts(&inbox.take(&NONE).unwrap().poison), ["fine"]);
        assert_eq!(texts(&inbox.newest(1).unwrap()), ["fine"]);
    }

    #[test]
    fn a_torn_or_damaged_line_is_set_aside_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ann.jsonl");
        let mut inbox = open(folder.path());
        for text in ["one", "two"] {
            inbox.put(Letter::new("bob", text)).unwrap();
        }
        let sound = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{sound}{{\"from\": \"mallory\", \"te")).unwrap();
        let taken = open(folder.path()).take(&NONE).unwrap();
        assert!(taken.damage[0].to_string().contains("ann.jsonl:3: "));
        assert_eq!(texts(&taken.letters), ["one", "two"]);
        std::fs::write(&file, sound.replace("one", "eno")).unwrap();
        let mut inbox = open(folder.path());
        assert!(
            inbox.take(&NONE).unwrap().damage[0]
                .to_string()
                .contains("ann.jsonl:1: wrong checksum")
        );
        inbox.put(Letter::new("bob", "three")).unwrap();
        assert_eq!(texts(&inbox.take(&NONE).unwrap().letters), ["three"]);
    }

    #[test]
    fn a_long_history_is_cut_when_the_box_is_opened_and_what_waits_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut inbox = open(folder.path());
        inbox.put(Letter::new("bob", "waits")).unwrap();
        inbox.put(Letter::new("bob", "tried")).unwrap();
        inbox.take(&NONE).unwrap();
        let records: Vec<Entry> = (3..1000)
            .flat_map(|id| {
                [Entry::Letter(Letter { id, ..Letter::new("bob", "old") }), Entry::Over(vec![id])]
            })
            .collect();
        inbox.journal.append_all(&records).unwrap();
        let mut inbox = open(folder.path());
        let lines =
            std::fs::read_to_string(folder.path().join("ann.jsonl")).unwrap().lines().count();
        assert_eq!(lines, 2 + KEPT + 2);
        assert_eq!(texts(&inbox.take(&NONE).unwrap().letters), ["waits", "tried"]);
        assert_eq!(inbox.put(Letter::new("bob", "new")).unwrap(), 1000);
        assert_eq!(open(folder.path()).newest(5000).unwrap().len(), KEPT + 3);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut inbox = open(folder.path());
        assert!(matches!(
            inbox.put(Letter::new("bob", "x".repeat(LONGEST + 1))),
            Err(Error::TooLong(_))
        ));
        assert!(!inbox.has_mail(&NONE).unwrap());
        inbox.put(Letter::new("bob", "x".repeat(LONGEST))).unwrap();
        assert!(inbox.has_mail(&NONE).unwrap());
    }
}
