//! A file that others change while it is open: the records that were read stay in use, and the
//! program that knows them puts them back.

use super::{folder, journal_of, names, open, strings, try_open};
use crate::{Damage, Error, Foreign, Journal, Update};
use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A program that keeps the records in memory, as a board does.
struct Program {
    journal: Journal<String>,
    state: Vec<String>,
    news: Vec<Update<String>>,
}

impl Program {
    fn open(path: &Path) -> Program {
        let (journal, update) = open(path);
        Program { journal, state: update.records, news: vec![] }
    }

    /// Reads what is new, and puts back what is missing in the file.
    fn catch_up(&mut self) -> Result<(), Error> {
        let Some((mut locked, mut update)) = self.journal.lock_if_new()? else { return Ok(()) };
        if update.reset {
            self.state.clear();
        }
        self.state.append(&mut update.records);
        if update.rewound {
            locked.compact(&self.state)?;
        }
        self.news.push(update);
        Ok(())
    }

    fn append(&mut self, record: &str) {
        self.catch_up().unwrap();
        self.journal.append(&record.to_string()).unwrap();
        self.state.push(record.into());
    }

    fn damage(&self) -> Option<Damage> {
        Some(self.news.last()?.quarantined.as_ref()?.damage)
    }
}

struct Files {
    _folder: tempfile::TempDir,
    path: PathBuf,
    older: Vec<u8>,
    newer: Vec<u8>,
}

/// A journal of four records, and a copy of it with two.
fn files() -> Files {
    let folder = folder();
    let path = folder.path().join("journal");
    let mut journal = journal_of(&path, &["one", "two"]);
    let older = fs::read(&path).unwrap();
    journal.append_all(&strings(&["three", "four"])).unwrap();
    let newer = fs::read(&path).unwrap();
    Files { _folder: folder, path, older, newer }
}

const ALL: [&str; 4] = ["one", "two", "three", "four"];

fn another_journal(files: &Files) {
    let other = files.path.with_extension("other");
    drop(journal_of(&other, &["other"]));
    fs::rename(other, &files.path).unwrap();
}

fn write_new(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn what_is_missing_in_a_changed_file_is_put_back() {
    type Change = fn(&Files);
    let changes: [(&str, Change, Option<Damage>); 11] = [
        (
            "folder removed",
            |f| fs::remove_dir_all(f.path.parent().unwrap()).unwrap(),
            Some(Damage::Removed),
        ),
        ("removed", |f| fs::remove_file(&f.path).unwrap(), Some(Damage::Removed)),
        (
            "renamed",
            |f| fs::rename(&f.path, f.path.with_extension("x")).unwrap(),
            Some(Damage::Removed),
        ),
        ("emptied", |f| fs::write(&f.path, "").unwrap(), Some(Damage::Truncated)),
        (
            "cut off",
            |f| fs::write(&f.path, &f.newer[..f.newer.len() - 9]).unwrap(),
            Some(Damage::Truncated),
        ),
        ("older copy", |f| fs::write(&f.path, &f.older).unwrap(), Some(Damage::Truncated)),
        ("older copy, renamed", |f| write_new(&f.path, &f.older), Some(Damage::Replaced)),
        ("emptied, renamed", |f| write_new(&f.path, b""), Some(Damage::Replaced)),
        ("another journal", another_journal, Some(Damage::Replaced)),
        (
            "zeros",
            |f| fs::write(&f.path, vec![0; f.newer.len()]).unwrap(),
            Some(Damage::Overwritten),
        ),
        ("a copy of itself", |f| write_new(&f.path, &f.newer), None),
    ];
    for (name, change, damage) in changes {
        let files = files();
        let mut program = Program::open(&files.path);
        change(&files);
        program.catch_up().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(program.damage(), damage, "{name}");
        program.append("five");
        let expected: Vec<&str> = if name == "another journal" {
            [&ALL[..], &["other", "five"]].concat()
        } else {
            [&ALL[..], &["five"]].concat()
        };
        assert_eq!(program.state, expected, "{name}");
        let (_, update) = open(&files.path);
        assert_eq!((update.records, update.quarantined), (strings(&expected), None), "{name}");
    }
}

#[test]
fn what_stood_in_its_place_is_kept_and_said() {
    let files = files();
    let mut program = Program::open(&files.path);
    fs::write(&files.path, &files.older).unwrap();
    program.catch_up().unwrap();
    let report = program.news[0].quarantined.as_ref().unwrap();
    let aside = files.path.with_extension("replaced-1");
    assert_eq!(
        report.to_string(),
        format!(
            "{}:1: the file was cut off while this program ran; 4 records kept, 0 lost; what was \
             found is in {}",
            files.path.display(),
            aside.display()
        )
    );
    assert_eq!(fs::read(aside).unwrap(), files.older);
}

#[test]
fn what_others_have_written_into_an_older_copy_is_kept_too() {
    let files = files();
    let (mut one, mut other) = (Program::open(&files.path), Program::open(&files.path));
    write_new(&files.path, &files.older);
    Program::open(&files.path).append("new");
    one.catch_up().unwrap();
    assert_eq!(one.state, [&ALL[..], &["new"]].concat());
    other.catch_up().unwrap();
    assert_eq!(other.state, one.state);
    assert!(other.news[0].reset && !other.news[0].rewound);
    assert_eq!(open(&files.path).1.records, one.state);
}

#[test]
fn whoever_knows_more_puts_back_more() {
    let files = files();
    let mut behind = Program::open(&files.path);
    let mut ahead = Program::open(&files.path);
    ahead.append("five");
    ahead.append("six");
    write_new(&files.path, &files.older);
    behind.catch_up().unwrap();
    assert_eq!(open(&files.path).1.records, ALL);
    ahead.catch_up().unwrap();
    behind.catch_up().unwrap();
    for program in [&ahead, &behind] {
        for record in [&ALL[..], &["five", "six"]].concat() {
            assert!(program.state.iter().any(|known| known == record), "{:?}", program.state);
        }
    }
    assert_eq!(open(&files.path).1.records, ahead.state);
}

#[test]
fn a_compaction_by_another_process_is_no_older_copy() {
    let files = files();
    let mut program = Program::open(&files.path);
    for n in 0..30 {
        let (mut other, _) = open(&files.path);
        let (mut locked, _) = other.lock().unwrap();
        locked.compact(&strings(&["all", &n.to_string()])).unwrap();
        if n % 3 == 0 {
            locked.append(&"more".into()).unwrap();
        }
    }
    program.catch_up().unwrap();
    assert_eq!(program.state, ["all", "29"]);
    let update = &program.news[0];
    assert!(update.reset && !update.rewound && update.quarantined.is_none());
}

#[test]
fn a_record_that_another_process_had_to_give_up_is_put_back_by_whoever_knows_it() {
    let files = files();
    let mut program = Program::open(&files.path);
    let damaged = String::from_utf8(files.newer.clone()).unwrap().replace("two", "owt");
    fs::write(&files.path, damaged).unwrap();
    let (mut other, update) = super::salvage::<String>(&files.path).unwrap();
    assert_eq!(update.records, ["one", "three", "four"]);
    other.append(&"five".into()).unwrap();
    program.catch_up().unwrap();
    assert_eq!(program.state, [&ALL[..], &["five"]].concat());
    assert_eq!(open(&files.path).1.records, program.state);
    let update = other.read_new().unwrap();
    assert_eq!((update.records, update.reset), (program.state.clone(), true));
}

#[test]
fn foreign_bytes_at_the_end_are_set_aside_and_nothing_else_changes() {
    for foreign in ["half a li", "a line\n", "{\"crc\":\"00000000\",\"seq\":5,\"da", "\n\n", "\0\0"]
    {
        let files = files();
        let mut program = Program::open(&files.path);
        let append = |text: &str| {
            let mut file = fs::File::options().append(true).open(&files.path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(foreign);
        program.append("five");
        append(foreign);
        program.catch_up().unwrap();
        let (_, update) = open(&files.path);
        assert_eq!(update.records, [&ALL[..], &["five"]].concat(), "{foreign:?}");
        assert_eq!((update.quarantined, program.state), (None, update.records), "{foreign:?}");
        let saved = names(files.path.parent().unwrap());
        let saved: Vec<_> = saved.iter().filter(|name| name.contains("torn")).collect();
        assert_eq!(saved, ["journal.torn-1", "journal.torn-2"], "{foreign:?}");
        assert_eq!(fs::read_to_string(files.path.with_extension("torn-1")).unwrap(), foreign);
    }
}

#[test]
fn a_link_or_a_folder_in_its_place_is_an_error_and_the_records_come_back_when_it_is_gone() {
    let files = files();
    let mut program = Program::open(&files.path);
    let secret = files.path.with_extension("secret");
    fs::write(&secret, "theirs").unwrap();
    fs::remove_file(&files.path).unwrap();
    symlink(&secret, &files.path).unwrap();
    let found = |program: &mut Program| match program.catch_up() {
        Err(Error::NotOurs { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(&mut program), Foreign::Link);
    assert!(matches!(try_open::<String>(&files.path), Err(Error::NotOurs { .. })));
    fs::remove_file(&files.path).unwrap();
    fs::create_dir(&files.path).unwrap();
    assert_eq!(found(&mut program), Foreign::Folder);
    fs::remove_dir(&files.path).unwrap();
    program.append("five");
    assert_eq!(open(&files.path).1.records, [&ALL[..], &["five"]].concat());
    assert_eq!(fs::read_to_string(secret).unwrap(), "theirs");
}

#[test]
fn nothing_is_appended_to_a_file_that_lacks_records() {
    let files = files();
    let mut program = Program::open(&files.path);
    write_new(&files.path, &files.older);
    let update = program.journal.read_new().unwrap();
    assert!(update.rewound && update.records.is_empty() && update.quarantined.is_some());
    assert!(matches!(program.journal.append(&"five".into()), Err(Error::Stale { .. })));
    // It is said once, and set aside once.
    let update = program.journal.read_new().unwrap();
    assert!(update.rewound && update.records.is_empty() && update.quarantined.is_none());
    program.append("five");
    assert_eq!(open(&files.path).1.records, [&ALL[..], &["five"]].concat());
}

#[test]
fn a_file_that_was_only_touched_is_read_again_and_has_no_news() {
    let files = files();
    let mut program = Program::open(&files.path);
    fs::File::options()
        .append(true)
        .open(&files.path)
        .unwrap()
        .set_len(files.newer.len() as u64)
        .unwrap();
    fs::File::open(&files.path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    program.catch_up().unwrap();
    assert_eq!(program.news, [Update::none()]);
}

#[test]
fn a_file_that_has_become_too_large_is_not_read() {
    let files = files();
    let mut program = Program::open(&files.path);
    let file = fs::File::options().write(true).open(&files.path).unwrap();
    file.set_len(3 << 30).unwrap();
    for result in [program.catch_up(), try_open::<String>(&files.path).map(drop)] {
        let Err(Error::NotOurs { found: Foreign::TooLarge { bytes, .. }, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(bytes, 3 << 30);
    }
    file.set_len(files.newer.len() as u64).unwrap();
    program.append("five");
    assert_eq!(open(&files.path).1.records, [&ALL[..], &["five"]].concat());
}

/// Programs that write in turn, and somebody who puts older copies in the place of the file, cuts
/// it off, damages it or removes it: every acknowledged record is in use at the end.
#[test]
fn no_acknowledged_record_vanishes_whatever_happens_to_the_file() {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let rounds = if std::env::var_os("LONG").is_some() { 3000 } else { 40 };
    let mut changes = 0;
    for round in 0..rounds {
        let context = format!("SEED={seed}, round {round}");
        let folder = folder();
        let path = folder.path().join("journal");
        let mut programs: Vec<Program> = (0..3).map(|_| Program::open(&path)).collect();
        let (mut copies, mut acknowledged) = (vec![], vec![]);
        for n in 0..30 {
            let bytes = fs::read(&path).unwrap_or_default();
            match random.u8(..12) {
                0 => copies.push(bytes),
                1 if !copies.is_empty() => {
                    let copy = &copies[random.usize(..copies.len())];
                    if random.bool() {
                        write_new(&path, copy);
                    } else {
                        fs::write(&path, copy).unwrap();
                    }
                    changes += 1;
                }
                2 if !bytes.is_empty() => {
                    fs::write(&path, &bytes[..random.usize(..bytes.len())]).unwrap();
                    changes += 1;
                }
                3 => {
                    let _ = fs::remove_file(&path);
                    changes += 1;
                }
                4 if !bytes.is_empty() => {
                    let mut bytes = bytes;
                    let at = random.usize(..bytes.len());
                    bytes[at] ^= 1 << random.u8(..8);
                    fs::write(&path, bytes).unwrap();
                    changes += 1;
                }
                5 => {
                    let program = &mut programs[random.usize(..3)];
                    program.catch_up().unwrap_or_else(|e| panic!("{context}: {e}"));
                    let (mut locked, _) = program.journal.lock().unwrap();
                    locked.compact(&program.state).unwrap();
                }
                _ => {
                    let record = n.to_string();
                    programs[random.usize(..3)].append(&record);
                    acknowledged.push(record);
                }
            }
            // A program that looks again only after several such changes cannot tell a compaction
            // of an older copy from one of its own records.
            for program in &mut programs {
                program.catch_up().unwrap_or_else(|e| panic!("{context}: {e}"));
            }
        }
        for _ in 0..2 {
            for program in &mut programs {
                program.catch_up().unwrap_or_else(|e| panic!("{context}: {e}"));
            }
        }
        let file = open(&path).1.records;
        for record in acknowledged {
            for state in programs.iter().map(|program| &program.state).chain([&file]) {
                assert!(state.contains(&record), "{context}: {record} is not in {state:?}");
            }
        }
    }
    println!("{changes} changes of the file by somebody else");
}
