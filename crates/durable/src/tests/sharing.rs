//! Several journals and locks on the same file in one process; `tests/processes.rs` does the same
//! with several processes.

use super::{folder, journal_of, open, strings, try_open};
use crate::{Error, Folder, Lock, Update};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_reader_gets_each_record_once_and_in_order() {
    let folder = folder();
    let path = folder.path().join("journal");
    let update =
        |records: &[&str], reset| Update { records: strings(records), reset, ..Update::none() };
    let (mut mine, first) = open(&path);
    assert_eq!(first, update(&[], true));
    let (mut theirs, _) = open(&path);
    mine.append_all(&strings(&["one", "two"])).unwrap();
    assert_eq!(mine.read_new().unwrap(), update(&[], false));
    assert!(matches!(theirs.append(&"three".into()), Err(Error::Stale { .. })));
    assert_eq!(theirs.read_new().unwrap(), update(&["one", "two"], false));
    theirs.append(&"three".into()).unwrap();
    let (mut locked, read) = mine.lock().unwrap();
    assert_eq!(read, update(&["three"], false));
    locked.append(&"four".into()).unwrap();
    locked.compact(&strings(&["one to four"])).unwrap();
    locked.append(&"five".into()).unwrap();
    drop(locked);
    assert_eq!(mine.read_new().unwrap(), update(&[], false));
    assert_eq!(theirs.read_new().unwrap(), update(&["one to four", "five"], true));
    assert_eq!(theirs.read_new().unwrap(), update(&[], false));
    theirs.append_all(&[]).unwrap();
    assert_eq!(open(&path).1, update(&["one to four", "five"], true));
}

#[test]
fn other_readers_notice_a_compaction_to_no_records() {
    let folder = folder();
    let path = folder.path().join("journal");
    let mut mine = journal_of(&path, &["one"]);
    let (mut theirs, _) = open(&path);
    mine.lock().unwrap().0.compact([]).unwrap();
    let update = theirs.read_new().unwrap();
    assert_eq!((update.records, update.reset), (vec![], true));
}

#[test]
fn new_files_and_folders_are_private() {
    let folder = folder();
    let path = folder.path().join("state/tasks/journal");
    let mut journal = journal_of(&path, &["one"]);
    journal.lock().unwrap().0.compact(&strings(&["two"])).unwrap();
    let lock = path.with_extension("lock");
    for (path, expected) in [(&*path, 0o600), (&lock, 0o600), (path.parent().unwrap(), 0o700)] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    assert_eq!(mode(&folder.path().join("state")), 0o700);
}

#[test]
fn a_lock_has_one_holder_and_acquire_has_a_timeout() {
    let folder = folder();
    let path = folder.path().join("lock");
    let folder = Folder::open(folder.path(), "").unwrap();
    let lock = Lock::acquire(&folder, "lock", Duration::ZERO).unwrap();
    assert!(Lock::try_acquire(&folder, "lock").unwrap().is_none());
    let error = Lock::acquire(&folder, "lock", Duration::from_millis(5)).unwrap_err();
    let expected = format!("{}: still locked by another after 5ms", path.display());
    assert_eq!(error.to_string(), expected);
    drop(lock);
    assert!(Lock::try_acquire(&folder, "lock").unwrap().is_some());
    assert!(path.exists());
}

#[test]
fn threads_exclude_each_other() {
    let folder = folder();
    let path = folder.path().join("journal");
    let inside = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut journal, update) = try_open::<u32>(&path).unwrap();
                let mut last = update.records.last().copied().unwrap_or(0);
                for _ in 0..25 {
                    let (mut locked, update) = journal.lock().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    last = update.records.last().copied().unwrap_or(last) + 1;
                    locked.append(&last).unwrap();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(try_open::<u32>(&path).unwrap().1.records, (1..=100).collect::<Vec<_>>());
}

#[test]
fn an_append_without_reading_first_is_refused_and_damages_nothing() {
    let folder = folder();
    let path = folder.path().join("journal");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut journal, _) = try_open::<u32>(&path).unwrap();
                for n in 0..50 {
                    while let Err(e) = journal.append(&n) {
                        assert!(matches!(e, Error::Stale { .. }), "{e}");
                        let _ = journal.read_new().unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(try_open::<u32>(&path).unwrap().1.records.len(), 200);
}

/// For `lock`. Until then there is no second file.
fn until_somebody_waits(folder: &Folder) {
    let next = folder.path().join("lock.next");
    while !next.exists() || Lock::try_acquire(folder, "lock.next").unwrap().is_some() {
        thread::yield_now();
    }
}

#[test]
fn a_waiter_gets_the_lock_before_a_holder_that_asks_again() {
    let folder = folder();
    let folder = Folder::open(folder.path(), "").unwrap();
    let acquired = AtomicU32::new(0);
    let timeout = Duration::from_secs(10);
    let lock = Lock::acquire(&folder, "lock", timeout).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _lock = Lock::acquire(&folder, "lock", timeout).unwrap();
            acquired.fetch_add(1, Ordering::SeqCst);
        });
        until_somebody_waits(&folder);
        drop(lock);
        let _lock = Lock::acquire(&folder, "lock", timeout).unwrap();
        assert_eq!(acquired.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_lock_whose_file_was_removed_has_one_holder_again() {
    let folder = folder();
    let state = Folder::open(folder.path(), "").unwrap();
    let old = Lock::acquire(&state, "lock", Duration::ZERO).unwrap();
    let waits = thread::spawn({
        let state = state.clone();
        move || Lock::acquire(&state, "lock", Duration::from_secs(10)).unwrap()
    });
    until_somebody_waits(&state);
    fs::remove_file(folder.path().join("lock")).unwrap();
    let _new = waits.join().unwrap();
    assert!(Lock::try_acquire(&state, "lock").unwrap().is_none());
    drop(old);
    assert!(Lock::try_acquire(&state, "lock").unwrap().is_none());
}
