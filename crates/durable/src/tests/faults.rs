//! Every single step fails once, in every way, until a run has no failure: as SQLite is tested.

use super::{folder, journal_of, names, open, strings};
use crate::{
    Error, Journal, create_folder,
    step::fault::{Fault, at, trace},
    write,
};
use std::{fs, path::Path};

const WAYS: [Fault; 3] = [Fault::Refused, Fault::Late, Fault::Crash];

/// Runs `test` with step 0, 1, 2, ... failing, each in a new folder, until it says that no step was left to fail.
fn each_step(at_least: u32, mut test: impl FnMut(&Path, u32, Fault) -> bool) {
    for way in WAYS {
        let mut nth = 0;
        while test(folder().path(), nth, way) {
            nth += 1;
        }
        assert!(nth >= at_least, "{way:?}: only {nth} steps could fail");
    }
}

#[test]
fn a_written_file_is_the_old_one_or_the_new_one_whole() {
    each_step(6, |folder, nth, way| {
        let path = folder.join("file");
        for old in [None, Some(b"old and longer".to_vec())] {
            let _ = fs::remove_file(&path);
            if let Some(old) = &old {
                fs::write(&path, old).unwrap();
            }
            let (result, fired) = at(nth, way, || write(&path, b"new"));
            assert_eq!(result.is_err(), fired, "step {nth}, {way:?}");
            let found = fs::read(&path).ok();
            let whole = found.as_deref() == Some(b"new") || (fired && found == old);
            assert!(whole, "step {nth}, {way:?}: {found:?}");
            assert!(names(folder).len() <= 1, "step {nth}, {way:?}: {:?}", names(folder));
            if !fired {
                return false;
            }
        }
        true
    });
}

#[test]
fn a_folder_that_could_not_be_created_is_created_the_next_time() {
    each_step(4, |folder, nth, way| {
        let path = folder.join("a/b");
        let (result, fired) = at(nth, way, || create_folder(&path));
        assert_eq!(result.is_err(), fired);
        create_folder(&path).unwrap();
        assert!(path.is_dir());
        fired
    });
}

/// A life of a journal; each step is tried until it is done, or the crash comes.
struct Life<'a> {
    path: &'a Path,
    way: Fault,
    journal: Option<Journal<String>>,
    /// What the user of the journal believes is in it.
    state: Vec<String>,
    /// What may be in it instead, since the last attempt to write failed.
    other: Option<Vec<String>>,
}

struct Crashed;

impl Life<'_> {
    /// Reads what is there, and compares.
    fn catch_up(&mut self) -> Result<(), Error> {
        let news = match &mut self.journal {
            Some(journal) => journal.read_new()?,
            None => {
                let (journal, news) = Journal::open(self.path)?;
                self.journal = Some(journal);
                news
            }
        };
        let mut found = if news.afresh { Vec::new() } else { self.state.clone() };
        found.extend(news.records);
        let expected = found == self.state || Some(&found) == self.other.as_ref();
        assert!(expected, "found {found:?} instead of {:?} or {:?}", self.state, self.other);
        (self.state, self.other) = (found, None);
        Ok(())
    }

    fn change(&mut self, write: &Write) -> Result<(), Error> {
        let mut next = self.state.clone();
        match write {
            Write::Append(records) => next.extend(strings(records)),
            Write::Compact(records) => next = strings(records),
        }
        self.other = Some(next.clone());
        let journal = self.journal.as_mut().unwrap();
        match write {
            Write::Append([record]) => journal.append(&record.to_string())?,
            Write::Append(records) => journal.lock()?.0.append_all(&strings(records))?,
            Write::Compact(_) => journal.lock()?.0.compact(&next)?,
        }
        (self.state, self.other) = (next, None);
        Ok(())
    }

    fn until_done(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Crashed> {
        for attempt in 0.. {
            match work(self) {
                Ok(()) => break,
                Err(_) if self.way == Fault::Crash => return Err(Crashed),
                Err(e) => assert_eq!(attempt, 0, "a single fault fails twice: {e}"),
            }
        }
        Ok(())
    }

    fn live(&mut self) -> Result<(), Crashed> {
        self.until_done(Self::catch_up)?;
        for write in HISTORY {
            let before = self.state.clone();
            match self.change(write) {
                Ok(()) => {}
                Err(_) if self.way == Fault::Crash => return Err(Crashed),
                Err(e) => {
                    self.until_done(Self::catch_up)?;
                    if let (Write::Append(_), Error::Io { .. }) = (write, e) {
                        assert_eq!(self.state, before, "a failed append was not taken back");
                    }
                    self.until_done(|life| {
                        if life.state == before { life.change(write) } else { Ok(()) }
                    })?;
                }
            }
        }
        Ok(())
    }
}

enum Write {
    Append(&'static [&'static str]),
    Compact(&'static [&'static str]),
}

const HISTORY: &[Write] = &[
    Write::Append(&["one"]),
    Write::Append(&["two", "three", "four"]),
    Write::Append(&["five"]),
    Write::Compact(&["one to five"]),
    Write::Append(&["six", "seven"]),
    Write::Append(&["eight"]),
    Write::Compact(&[]),
    Write::Append(&["nine"]),
];

#[test]
fn whatever_step_fails_a_journal_has_all_that_was_acknowledged_and_nothing_by_half() {
    each_step(60, |folder, nth, way| {
        let path = folder.join("new/journal");
        let mut life = Life { path: &path, way, journal: None, state: Vec::new(), other: None };
        let (lived, fired) = at(nth, way, || life.live());
        assert!(lived.is_ok() || fired);
        // First who was there, if the disk came back; then who comes later.
        life.catch_up().unwrap();
        if lived.is_ok() {
            assert_eq!(life.state, ["nine"], "step {nth}, {way:?}");
        }
        life.journal = None;
        life.catch_up().unwrap();
        let (mut journal, news) = open(&path);
        assert_eq!(
            (news.records, news.set_aside),
            (life.state.clone(), None),
            "step {nth}, {way:?}"
        );
        journal.append(&"more".into()).unwrap();
        assert!(!names(path.parent().unwrap()).iter().any(|name| name.ends_with(".tmp")));
        fired
    });
}

#[test]
fn whatever_step_fails_a_follower_sees_the_same() {
    for kept in [&["three", "four"][..], &[]] {
        each_step(5, |folder, nth, way| {
            let path = folder.join("journal");
            let mut leader = journal_of(&path, &["one", "two"]);
            let (mut follower, news) = open(&path);
            let mut state = news.records;
            leader.lock().unwrap().0.compact(&strings(kept)).unwrap();
            let (news, fired) = at(nth, way, || follower.read_new());
            let news =
                if fired { news.or_else(|_| follower.read_new()).unwrap() } else { news.unwrap() };
            if news.afresh {
                state.clear();
            }
            state.extend(news.records);
            assert_eq!(state, kept, "step {nth}, {way:?}");
            fired
        });
    }
}

#[test]
fn whatever_step_fails_setting_aside_loses_nothing() {
    for damaged in [false, true] {
        each_step(15, |folder, nth, way| {
            let path = folder.join("journal");
            drop(journal_of(&path, &["one", "two", "three"]));
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - if damaged { 0 } else { 5 };
            bytes.truncate(last);
            if damaged {
                let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 30;
                bytes[second] ^= 1;
            }
            fs::write(&path, &bytes).unwrap();
            let enter =
                || if damaged { Journal::<String>::salvage(&path) } else { Journal::open(&path) };
            let kept = if damaged { strings(&["one"]) } else { strings(&["one", "two"]) };
            let (result, fired) = at(nth, way, enter);
            assert_eq!(result.is_err(), fired, "step {nth}, {way:?}");
            assert_eq!(enter().unwrap().1.records, kept, "step {nth}, {way:?}");
            assert_eq!(open(&path).1.set_aside, None);
            let good = fs::read(&path).unwrap();
            assert!(bytes.starts_with(&good));
            let bad = if damaged { &bytes[..] } else { &bytes[good.len()..] };
            let saved = names(folder).into_iter().filter(|name| name != "journal");
            let saved: Vec<_> = saved.map(|name| fs::read(folder.join(name)).unwrap()).collect();
            assert!(saved.iter().any(|file| file == bad), "step {nth}, {way:?}: {saved:?}");
            fired
        });
    }
}

#[test]
fn an_append_that_can_neither_be_done_nor_undone_says_so() {
    let folder = folder();
    let path = folder.path().join("journal");
    let mut journal = journal_of(&path, &["one"]);
    let (mut held, _) = journal.lock().unwrap();
    let unsure = (0..10).any(|nth| {
        let (result, _) = at(nth, Fault::Crash, || held.append(&"two".into()));
        matches!(result, Err(Error::Unsure { .. }))
    });
    assert!(unsure);
    assert!(matches!(held.append(&"three".into()), Err(Error::Behind { .. })));
    assert!(matches!(held.compact(&strings(&["three"])), Err(Error::Behind { .. })));
    drop(held);
    assert!(matches!(journal.append(&"three".into()), Err(Error::Behind { .. })));
    let news = journal.read_new().unwrap();
    assert_eq!((news.records, news.afresh), (vec![], false));
    assert_eq!(news.set_aside.unwrap().to, path.with_extension("torn-1"));
    journal.append(&"three".into()).unwrap();
    assert_eq!(open(&path).1.records, ["one", "three"]);
}

/// A missing flush shows in no other test, since only a power cut would show it.
#[test]
fn everything_is_flushed_before_what_counts_on_it() {
    let folder = folder();
    let path = folder.path().join("journal");
    let replace = ["create", "write", "mode", "flush", "rename", "flush folder"];
    assert_eq!(trace(|| write(folder.path().join("file"), b"new").unwrap()), replace);
    assert_eq!(
        trace(|| create_folder(folder.path().join("a")).unwrap()),
        ["create folder", "flush folder"]
    );
    assert_eq!(trace(|| drop(open(&path))), ["flush folder", "flush"]);

    let (mut journal, _) = open(&path);
    let (mut follower, _) = open(&path);
    assert_eq!(
        trace(|| journal.append_all(&strings(&["one", "two"])).unwrap()),
        ["write", "flush"]
    );
    assert_eq!(trace(|| drop(follower.read_new().unwrap())), [""; 0]);
    let (mut held, _) = journal.lock().unwrap();
    let compact = trace(|| held.compact(&strings(&["three"])).unwrap());
    assert_eq!(compact, [&replace[..], &["flush folder"]].concat());
    drop(held);
    assert_eq!(trace(|| drop(follower.read_new().unwrap())), ["flush folder", "flush"]);

    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"torn"].concat()).unwrap();
    let save = ["flush folder", "flush", "create", "write", "flush", "flush folder"];
    assert_eq!(trace(|| drop(open(&path))), [&save[..], &replace, &["flush folder"]].concat());
}

#[test]
fn a_full_disk_names_the_file() {
    let folder = folder();
    let path = folder.path().join("state.json");
    let (result, _) = at(2, Fault::Late, || write(&path, b"{}"));
    assert_eq!(
        result.unwrap_err().to_string(),
        format!("cannot write {}: no storage space", path.display())
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_the_file() {
    // Not even root creates files in /proc; elsewhere there is no such folder, which is an error as well.
    let path = Path::new("/proc/durable/state.json");
    for error in [write(path, b"{}").unwrap_err(), Journal::<String>::open(path).unwrap_err()] {
        assert!(matches!(&error, Error::Io { file, .. } if path.starts_with(file)), "{error}");
    }
}
