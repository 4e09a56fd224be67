//! Fault injection: every step fails once, in every way, until a run ends without a fault. SQLite
//! is tested in the same way.

use super::{folder, journal_of, names, open, salvage, strings, try_open, write};
use crate::{
    Error, Folder, Journal,
    step::fault::{Fault, trace, with_fault},
};
use std::{fs, path::Path};

const FAULTS: [Fault; 3] = [Fault::WithoutEffect, Fault::AfterEffect, Fault::Crash];

/// Runs `test` with a fault in step 0, 1, 2, ..., each in a new folder, until it returns false: no
/// step was left to fail.
fn each_step(at_least: u32, mut test: impl FnMut(&Path, u32, Fault) -> bool) {
    for fault in FAULTS {
        let mut nth = 0;
        while test(folder().path(), nth, fault) {
            nth += 1;
        }
        assert!(nth >= at_least, "{fault:?}: only {nth} steps could fail");
    }
}

#[test]
fn a_written_file_has_the_old_or_the_new_content() {
    each_step(6, |folder, nth, fault| {
        let path = folder.join("file");
        for old in [None, Some(b"old and longer".to_vec())] {
            let _ = fs::remove_file(&path);
            if let Some(old) = &old {
                fs::write(&path, old).unwrap();
            }
            let (result, fired) = with_fault(nth, fault, || write(&path, b"new"));
            assert_eq!(result.is_err(), fired, "step {nth}, {fault:?}");
            let found = fs::read(&path).ok();
            let expected = found.as_deref() == Some(b"new") || (fired && found == old);
            assert!(expected, "step {nth}, {fault:?}: {found:?}");
            assert!(names(folder).len() <= 1, "step {nth}, {fault:?}: {:?}", names(folder));
            if !fired {
                return false;
            }
        }
        true
    });
}

#[test]
fn creating_a_folder_can_be_repeated_after_a_failure() {
    each_step(4, |folder, nth, fault| {
        let path = folder.join("a/b");
        let (result, fired) = with_fault(nth, fault, || Folder::open(folder, "a/b"));
        assert_eq!(result.is_err(), fired);
        Folder::open(folder, "a/b").unwrap();
        assert!(path.is_dir());
        fired
    });
}

/// One user of a journal, from opening to the end of `HISTORY`. After a fault it tries again, after
/// a crash it stops.
struct User<'a> {
    path: &'a Path,
    fault: Fault,
    journal: Option<Journal<String>>,
    /// The records that the user knows to be in the journal.
    state: Vec<String>,
    /// What may be in it instead, because the last write failed.
    alternative: Option<Vec<String>>,
}

struct Crashed;

impl User<'_> {
    /// Reads what is new, and compares.
    fn catch_up(&mut self) -> Result<(), Error> {
        let update = match &mut self.journal {
            Some(journal) => journal.read_new()?,
            None => {
                let (journal, update) = try_open(self.path)?;
                self.journal = Some(journal);
                update
            }
        };
        let mut found = if update.reset { Vec::new() } else { self.state.clone() };
        found.extend(update.records);
        let expected = found == self.state || Some(&found) == self.alternative.as_ref();
        assert!(expected, "found {found:?} instead of {:?} or {:?}", self.state, self.alternative);
        (self.state, self.alternative) = (found, None);
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<(), Error> {
        let mut next = self.state.clone();
        match write {
            Write::Append(records) => next.extend(strings(records)),
            Write::Compact(records) => next = strings(records),
        }
        self.alternative = Some(next.clone());
        let journal = self.journal.as_mut().unwrap();
        match write {
            Write::Append([record]) => journal.append(&record.to_string())?,
            Write::Append(records) => journal.lock()?.0.append_all(&strings(records))?,
            Write::Compact(_) => journal.lock()?.0.compact(&next)?,
        }
        (self.state, self.alternative) = (next, None);
        Ok(())
    }

    fn until_ok(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Crashed> {
        for attempt in 0.. {
            match work(self) {
                Ok(()) => break,
                Err(_) if self.fault == Fault::Crash => return Err(Crashed),
                Err(e) => assert_eq!(attempt, 0, "a single fault fails twice: {e}"),
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Crashed> {
        self.until_ok(Self::catch_up)?;
        for write in HISTORY {
            let before = self.state.clone();
            match self.write(write) {
                Ok(()) => {}
                Err(_) if self.fault == Fault::Crash => return Err(Crashed),
                Err(e) => {
                    self.until_ok(Self::catch_up)?;
                    if let (Write::Append(_), Error::Io { .. }) = (write, e) {
                        assert_eq!(self.state, before, "a failed append was not rolled back");
                    }
                    self.until_ok(
                        |user| {
                            if user.state == before { user.write(write) } else { Ok(()) }
                        },
                    )?;
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
fn after_any_fault_a_journal_has_every_acknowledged_append_and_no_partial_one() {
    each_step(60, |folder, nth, fault| {
        let path = folder.join("new/journal");
        let mut user =
            User { path: &path, fault, journal: None, state: Vec::new(), alternative: None };
        let (ran, fired) = with_fault(nth, fault, || user.run());
        assert!(ran.is_ok() || fired);
        // First the same user, as if the disk worked again; then one that opens the journal anew.
        user.catch_up().unwrap();
        if ran.is_ok() {
            assert_eq!(user.state, ["nine"], "step {nth}, {fault:?}");
        }
        user.journal = None;
        user.catch_up().unwrap();
        let (mut journal, update) = open(&path);
        assert_eq!(
            (update.records, update.quarantined),
            (user.state.clone(), None),
            "step {nth}, {fault:?}"
        );
        journal.append(&"more".into()).unwrap();
        assert!(!names(path.parent().unwrap()).iter().any(|name| name.ends_with(".tmp")));
        fired
    });
}

#[test]
fn after_any_fault_another_reader_gets_the_same_records() {
    for kept in [&["three", "four"][..], &[]] {
        each_step(5, |folder, nth, fault| {
            let path = folder.join("journal");
            let mut writer = journal_of(&path, &["one", "two"]);
            let (mut reader, update) = open(&path);
            let mut state = update.records;
            writer.lock().unwrap().0.compact(&strings(kept)).unwrap();
            let (update, fired) = with_fault(nth, fault, || reader.read_new());
            let update = match update {
                Err(_) if fired => reader.read_new(),
                update => update,
            };
            let update = update.unwrap();
            if update.reset {
                state.clear();
            }
            state.extend(update.records);
            assert_eq!(state, kept, "step {nth}, {fault:?}");
            fired
        });
    }
}

#[test]
fn after_any_fault_in_a_quarantine_no_byte_is_lost() {
    for damaged in [false, true] {
        each_step(15, |folder, nth, fault| {
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
            let enter = || if damaged { salvage::<String>(&path) } else { try_open(&path) };
            let kept = strings(if damaged { &["two", "three"] } else { &["one", "two"] });
            let (result, fired) = with_fault(nth, fault, enter);
            assert_eq!(result.is_err(), fired, "step {nth}, {fault:?}");
            assert_eq!(enter().unwrap().1.records, kept, "step {nth}, {fault:?}");
            assert_eq!(open(&path).1.quarantined, None);
            let good = fs::read(&path).unwrap();
            let bad = if damaged { &bytes[..] } else { bytes.strip_prefix(&*good).unwrap() };
            let saved = names(folder).into_iter().filter(|name| name != "journal");
            let saved: Vec<_> = saved.map(|name| fs::read(folder.join(name)).unwrap()).collect();
            assert!(saved.iter().any(|file| file == bad), "step {nth}, {fault:?}: {saved:?}");
            fired
        });
    }
}

#[test]
fn an_append_that_cannot_be_rolled_back_reports_an_unknown_outcome() {
    let folder = folder();
    let path = folder.path().join("journal");
    let mut journal = journal_of(&path, &["one"]);
    let (mut locked, _) = journal.lock().unwrap();
    let unknown = (0..10).any(|nth| {
        let (result, _) = with_fault(nth, Fault::Crash, || locked.append(&"two".into()));
        matches!(result, Err(Error::OutcomeUnknown { .. }))
    });
    assert!(unknown);
    assert!(matches!(locked.append(&"three".into()), Err(Error::Stale { .. })));
    assert!(matches!(locked.compact(&strings(&["three"])), Err(Error::Stale { .. })));
    drop(locked);
    assert!(matches!(journal.append(&"three".into()), Err(Error::Stale { .. })));
    let update = journal.read_new().unwrap();
    assert_eq!((update.records, update.reset), (vec![], false));
    assert_eq!(update.quarantined.unwrap().to, Some(path.with_extension("torn-1")));
    journal.append(&"three".into()).unwrap();
    assert_eq!(open(&path).1.records, ["one", "three"]);
}

/// No other test notices a missing flush: only a power cut would show it.
#[test]
fn everything_is_flushed_before_something_depends_on_it() {
    let here = folder();
    let mut state = None;
    let created = trace(|| state = Some(Folder::open(here.path(), "a/b").unwrap()));
    assert_eq!(created, ["create folder"; 2]);
    let state = state.unwrap();
    let replace = ["create", "chmod", "write", "flush", "rename", "flush folder"];
    // The first time the folders above are flushed too.
    let write = || state.write("file", b"new").unwrap();
    assert_eq!(trace(write), [&replace[..], &["flush folder"; 2]].concat());
    assert_eq!(trace(write), replace);

    let open = || Journal::<String>::open(&state, "journal").unwrap().0;
    assert_eq!(trace(|| drop(open())), ["create", "chmod"].repeat(2));
    let (mut journal, mut reader) = (open(), open());
    let both = strings(&["one", "two"]);
    assert_eq!(trace(|| journal.append_all(&both).unwrap()), ["flush folder", "write", "flush"]);
    assert_eq!(trace(|| journal.append_unflushed(&strings(&["three"])).unwrap()), ["write"]);
    assert_eq!(trace(|| journal.flush().unwrap()), ["flush"]);
    assert_eq!(trace(|| journal.flush().unwrap()), [""; 0]);
    assert_eq!(trace(|| journal.append(&"four".into()).unwrap()), ["write", "flush"]);
    assert_eq!(trace(|| drop(reader.read_new().unwrap())), [""; 0]);
    let (mut locked, _) = journal.lock().unwrap();
    let last = strings(&["four"]);
    assert_eq!(trace(|| locked.compact(&last).unwrap()), replace);
    let first = trace(|| locked.append(&"five".into()).unwrap());
    assert_eq!(first, ["flush folder", "write", "flush"]);
    drop(locked);
    assert_eq!(trace(|| drop(reader.read_new().unwrap())), ["flush folder", "flush"]);

    // Nobody knows how whoever wrote these ended.
    assert_eq!(trace(|| drop(open())), ["flush folder", "flush"]);
    let again = Folder::open(here.path(), "a/b").unwrap();
    let open_again = || drop(Journal::<String>::open(&again, "journal").unwrap());
    assert_eq!(trace(open_again), ["flush folder", "flush folder", "flush folder", "flush"]);

    let path = state.path().join("journal");
    fs::write(&path, [&fs::read(&path).unwrap()[..], b"torn"].concat()).unwrap();
    let save = ["flush folder", "flush", "create", "chmod", "write", "flush", "flush folder"];
    assert_eq!(trace(|| drop(open())), [&save[..], &replace].concat());

    fs::remove_dir_all(here.path().join("a")).unwrap();
    let again = [&["create folder"; 2], &replace[..], &["flush folder"; 2]].concat();
    assert_eq!(trace(write), again);
}

#[test]
fn the_error_of_a_full_disk_names_the_file() {
    let folder = folder();
    let path = folder.path().join("state.json");
    let write = |nth| with_fault(nth, Fault::AfterEffect, || write(&path, b"{}")).0;
    let errors = (0..30).filter_map(|nth| write(nth).err());
    let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
    let expected = format!("cannot write {}: no storage space", path.display());
    assert!(errors.contains(&expected), "{errors:?}");
}

#[test]
fn the_error_of_a_read_only_folder_names_the_file() {
    // Not even root can create files in /proc. Where there is no /proc, it cannot be created.
    let path = Path::new("/proc/durable/state.json");
    for error in [write(path, b"{}").unwrap_err(), try_open::<String>(path).unwrap_err()] {
        assert!(matches!(&error, Error::Io { file, .. } if path.starts_with(file)), "{error}");
    }
}
