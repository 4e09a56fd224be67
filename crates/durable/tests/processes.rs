//! Several processes share a journal, and are killed with SIGKILL at random moments.
//!
//! The processes run this test program again, only its test `child`. The environment tells it what
//! to do.

use durable::{Folder, Journal, Lock, Update};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

const TASK: &str = "DURABLE_TEST_TASK";
const PATH: &str = "DURABLE_TEST_PATH";

/// The folder of the state, and the name of a file in it.
fn place(path: &Path) -> (Folder, &OsStr) {
    let above = path.parent().unwrap();
    let name = above.file_name().unwrap();
    (Folder::open(above.parent().unwrap(), name).unwrap(), path.file_name().unwrap())
}

fn open<T: Serialize + DeserializeOwned>(path: &Path) -> (Journal<T>, Update<T>) {
    let (folder, name) = place(path);
    Journal::open(&folder, name).unwrap()
}

/// A child process. It prints a line after each write that was acknowledged to it.
struct Worker {
    process: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(task: &str, path: &Path) -> Worker {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(TASK, task)
            .env(PATH, path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped()) // Standard output is the test harness's.
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Worker { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("the child printed nothing")
    }

    /// Kills it with SIGKILL; returns the last line that it printed and that was not read yet.
    fn kill(mut self) -> Option<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines.iter().last()
    }

    fn join(mut self) {
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{:?}", self.lines.iter().collect::<Vec<_>>());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill(); // It may have exited already.
        let _ = self.process.wait();
    }
}

/// Prints a line with one `write`, so that a kill cannot tear it.
fn report(number: u64) {
    std::io::stderr().write_all(format!("{number}\n").as_bytes()).unwrap();
}

#[test]
#[ignore = "the other tests start it as a child process"]
fn child() {
    let (Ok(task), Some(path)) = (env::var(TASK), env::var_os(PATH)) else { return };
    let path = Path::new(&path);
    match task.as_str() {
        "write" => write_forever(path),
        "count" => count(path, 100),
        "lock" => lock_and_spawn(path),
        writer => append_forever(path, writer),
    }
}

/// A record of the kill test: the record with number `n` of a writer, and part `part` of an append
/// of `of` records.
#[derive(Serialize, Deserialize)]
struct Entry {
    writer: String,
    n: u64,
    part: u64,
    of: u64,
    padding: String,
}

/// Updates the number of the last record of each writer. Panics when an append is incomplete, and
/// when a record is missing or repeated.
fn read_last(last: &mut BTreeMap<String, u64>, entries: Vec<Entry>, reset: bool) {
    if reset {
        last.clear();
    }
    let mut expected_part = 1;
    for entry in entries {
        assert_eq!(entry.part, expected_part, "an incomplete append");
        expected_part = if entry.part == entry.of { 1 } else { entry.part + 1 };
        // The first record of a writer can have any number: a compaction keeps only the last.
        let before = last.insert(entry.writer, entry.n);
        assert!(before.is_none_or(|n| n + 1 == entry.n), "{before:?}, then {}", entry.n);
    }
    assert_eq!(expected_part, 1, "an incomplete append");
}

fn append_forever(path: &Path, writer: &str) {
    let (mut journal, update) = open::<Entry>(path);
    let mut last = BTreeMap::new();
    read_last(&mut last, update.records, true);
    loop {
        let (mut locked, update) = journal.lock().unwrap();
        read_last(&mut last, update.records, update.reset);
        let n = last.get(writer).copied().unwrap_or(0);
        let entry = |writer: &str, n, part, of, size| {
            let padding = "x".repeat(fastrand::usize(..size));
            Entry { writer: writer.into(), n, part, of, padding }
        };
        if fastrand::u8(..10) == 0 {
            let kept: Vec<_> =
                last.iter().map(|(writer, n)| entry(writer, *n, 1, 1, 100_000)).collect();
            locked.compact(&kept).unwrap();
        }
        let of = fastrand::u64(1..=3);
        let entries: Vec<_> =
            (1..=of).map(|part| entry(writer, n + part, part, of, 50_000)).collect();
        locked.append_all(&entries).unwrap();
        last.insert(writer.into(), n + of);
        drop(locked);
        report(n + of);
    }
}

#[test]
fn no_acknowledged_append_is_lost_when_processes_are_killed() {
    // On a disk, a kill mostly hits a flush; in memory, it mostly hits the other steps.
    kill_writers(&env::temp_dir(), 20);
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { kill_writers(memory, 80) } else { kill_writers(&env::temp_dir(), 80) }
}

fn kill_writers(parent: &Path, rounds: usize) {
    let folder = tempfile::tempdir_in(parent).unwrap();
    let path = folder.path().join("journal");
    let mut last = BTreeMap::new();
    for round in 0..rounds {
        let workers = ["a", "b"].map(|writer| (writer, Worker::start(writer, &path)));
        let first = workers[round % 2].1.line();
        thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
        let printed = workers.map(|(writer, worker)| (writer, worker.kill()));
        let (_, update) = open(&path);
        let before = std::mem::take(&mut last);
        read_last(&mut last, update.records, update.reset);
        for (i, (writer, line)) in printed.into_iter().enumerate() {
            let found = last.get(writer).copied().unwrap_or(0);
            let line = line.or_else(|| (i == round % 2).then(|| first.clone()));
            let acknowledged = match line {
                Some(line) => line.parse().unwrap(),
                None => before.get(writer).copied().unwrap_or(0),
            };
            // One more append may have been flushed without being printed.
            assert!(
                (acknowledged..=acknowledged + 3).contains(&found),
                "round {round}: {writer} has {found} of {acknowledged}"
            );
        }
    }
    // What the killed left, the next one that writes removes.
    place(&path).0.write("next", b"").unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".tmp"), "{name} was left");
    }
}

fn write_forever(path: &Path) {
    let (folder, name) = place(path);
    let before = fs::read_to_string(path).unwrap_or_default();
    let mut n: u64 = before.lines().next().map_or(0, |line| line.parse().unwrap());
    loop {
        n += 1;
        let text = format!("{n}\n").repeat(fastrand::usize(1..=50_000));
        folder.write(name, text.as_bytes()).unwrap();
        report(n);
    }
}

#[test]
fn a_replaced_file_is_complete_when_its_writer_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for round in 0..30 {
        let worker = Worker::start("write", &path);
        let first = worker.line();
        thread::sleep(Duration::from_micros(fastrand::u64(..10_000)));
        let acknowledged: u64 = worker.kill().unwrap_or(first).parse().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let found = text.lines().next().unwrap();
        assert!(
            text.ends_with('\n') && text.lines().all(|line| line == found),
            "round {round}: not complete"
        );
        let n: u64 = found.parse().unwrap();
        assert!(
            (acknowledged..=acknowledged + 1).contains(&n),
            "round {round}: {n} instead of {acknowledged}"
        );
    }
}

/// Appends the next number after the last one, whichever process wrote that, and sometimes
/// compacts.
fn count(path: &Path, times: u32) {
    let (mut journal, update) = open::<u32>(path);
    let mut last = update.records.last().copied().unwrap_or(0);
    for _ in 0..times {
        let (mut locked, update) = journal.lock().unwrap();
        last = update.records.last().copied().unwrap_or(last) + 1;
        locked.append(&last).unwrap();
        if fastrand::u8(..10) == 0 {
            locked.compact(&[last]).unwrap();
        }
    }
}

#[test]
fn processes_that_append_and_compact_lose_no_update() {
    for processes in [2, 4] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut reader, _) = open::<u32>(&path);
        let workers: Vec<_> = (0..processes).map(|_| Worker::start("count", &path)).collect();
        let (mut seen, deadline) = (0, Instant::now() + Duration::from_secs(60));
        while seen < processes * 100 && Instant::now() < deadline {
            for n in reader.read_new().unwrap().records {
                assert!(n >= seen, "{n} after {seen}"); // Equal after a compaction.
                seen = n;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for worker in workers {
            worker.join();
        }
        assert_eq!(seen, processes * 100);
    }
}

/// Takes a lock, and starts a program that lives longer than this process.
fn lock_and_spawn(path: &Path) {
    let (folder, name) = place(path);
    let _lock = Lock::acquire(&folder, name, Duration::ZERO).unwrap();
    let mut command = Command::new("sleep");
    let mut child = command
        .arg("60")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    report(child.id().into());
    child.wait().unwrap();
}

#[test]
fn a_lock_is_released_when_its_holder_is_killed_even_if_its_child_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let (state, _) = place(&path);
    let holder = Worker::start("lock", &path);
    let sleeper = holder.line();
    assert!(Lock::try_acquire(&state, "lock").unwrap().is_none());
    holder.kill();
    // Not immediately: `spawn` can return before the kernel has closed the descriptors at exec.
    let lock = Lock::acquire(&state, "lock", Duration::from_secs(20));
    let ended = Command::new("kill").arg(&sleeper).status().unwrap();
    assert!(lock.is_ok() && ended.success());
}
