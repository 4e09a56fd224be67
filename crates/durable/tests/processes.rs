//! Real processes: they share a journal, and they are killed at any moment.
//!
//! The processes are this test program again: `child` below, told by the environment what to do.

use durable::{Journal, Lock, write};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env, fs,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

const TASK: &str = "DURABLE_TEST_TASK";
const PATH: &str = "DURABLE_TEST_PATH";

/// A process at work; what it prints is what it was promised to be on the disk.
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
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Worker { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("the child says nothing")
    }

    /// Ends it as no handler can see; returns the last line it got out.
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
        let _ = self.process.kill(); // It may have ended by itself.
        let _ = self.process.wait();
    }
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// One line in one write, so that a kill leaves it whole or not at all.
fn say(number: u64) {
    std::io::stderr().write_all(format!("{number}\n").as_bytes()).unwrap();
}

#[test]
#[ignore = "a part of other tests, which start it as a process"]
fn child() {
    let (Ok(task), Some(path)) = (env::var(TASK), env::var_os(PATH)) else { return };
    let path = Path::new(&path);
    match task.as_str() {
        "write" => rewrite(path),
        "count" => count(path, 100),
        "hold" => hold(path),
        writer => log(path, writer),
    }
}

/// A record of the kill test: record `n` of a writer, one of `of` that were appended together.
#[derive(Serialize, Deserialize)]
struct Entry {
    writer: String,
    n: u64,
    part: u64,
    of: u64,
    padding: String,
}

/// What each writer wrote last; panics when something is there by half, or missing, or twice.
fn last_of_each(last: &mut BTreeMap<String, u64>, entries: Vec<Entry>, afresh: bool) {
    if afresh {
        last.clear();
    }
    let mut expected_part = 1;
    for entry in entries {
        assert_eq!(entry.part, expected_part, "an append by half");
        expected_part = if entry.part == entry.of { 1 } else { entry.part + 1 };
        // The first one of a writer is record 1, or what a compaction left.
        let before = last.insert(entry.writer, entry.n);
        assert!(before.is_none_or(|n| n + 1 == entry.n), "{before:?}, then {}", entry.n);
    }
    assert_eq!(expected_part, 1, "an append by half");
}

fn log(path: &Path, writer: &str) {
    let (mut journal, news) = Journal::<Entry>::open(path).unwrap();
    let mut last = BTreeMap::new();
    last_of_each(&mut last, news.records, true);
    loop {
        let (mut held, news) = journal.lock().unwrap();
        last_of_each(&mut last, news.records, news.afresh);
        let n = last.get(writer).copied().unwrap_or(0);
        let entry = |writer: &str, n, part, of, size| {
            let padding = "x".repeat(random(size) as usize);
            Entry { writer: writer.into(), n, part, of, padding }
        };
        if random(10) == 0 {
            let kept: Vec<_> =
                last.iter().map(|(writer, n)| entry(writer, *n, 1, 1, 100_000)).collect();
            held.compact(&kept).unwrap();
        }
        let of = random(3) + 1;
        let entries: Vec<_> =
            (1..=of).map(|part| entry(writer, n + part, part, of, 50_000)).collect();
        held.append_all(&entries).unwrap();
        last.insert(writer.into(), n + of);
        drop(held);
        say(n + of);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed_at_any_moment() {
    // What a kill leaves does not depend on the disk; but in memory it mostly hits the work, on a disk the flush.
    let memory =
        Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir()).map(Path::to_path_buf);
    kill_loggers(&env::temp_dir(), 20);
    kill_loggers(&memory.unwrap_or_else(env::temp_dir), 80);
}

fn kill_loggers(below: &Path, rounds: usize) {
    let folder = tempfile::tempdir_in(below).unwrap();
    let path = folder.path().join("journal");
    let mut last = BTreeMap::new();
    for round in 0..rounds {
        let workers = ["a", "b"].map(|writer| (writer, Worker::start(writer, &path)));
        let first = workers[round % 2].1.line();
        thread::sleep(Duration::from_micros(random(20_000)));
        let acknowledged = workers.map(|(writer, worker)| (writer, worker.kill()));
        let (_, news) = Journal::open(&path).unwrap();
        let before = std::mem::take(&mut last);
        last_of_each(&mut last, news.records, news.afresh);
        for (i, (writer, line)) in acknowledged.into_iter().enumerate() {
            let found = last.get(writer).copied().unwrap_or(0);
            let line = line.or_else(|| (i == round % 2).then(|| first.clone()));
            let promised =
                line.map_or(before.get(writer).copied().unwrap_or(0), |line| line.parse().unwrap());
            // It may have been killed between the flush and the word.
            assert!(
                (promised..=promised + 3).contains(&found),
                "round {round}: {writer} has {found} of {promised}"
            );
        }
    }
    for file in fs::read_dir(folder.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".tmp"), "{name} was left");
    }
}

fn rewrite(path: &Path) {
    let before = fs::read_to_string(path).unwrap_or_default();
    let mut n: u64 = before.lines().next().map_or(0, |line| line.parse().unwrap());
    loop {
        n += 1;
        write(path, format!("{n}\n").repeat(1 + random(50_000) as usize).as_bytes()).unwrap();
        say(n);
    }
}

#[test]
fn a_file_is_whole_when_its_writer_is_killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for round in 0..30 {
        let worker = Worker::start("write", &path);
        let first = worker.line();
        thread::sleep(Duration::from_micros(random(10_000)));
        let promised: u64 = worker.kill().unwrap_or(first).parse().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let found = text.lines().next().unwrap();
        assert!(
            text.ends_with('\n') && text.lines().all(|line| line == found),
            "round {round}: not whole"
        );
        let n: u64 = found.parse().unwrap();
        assert!((promised..=promised + 1).contains(&n), "round {round}: {n} instead of {promised}");
    }
}

/// Counts on from the last number, whoever wrote it; now and then the numbers before it are dropped.
fn count(path: &Path, times: u32) {
    let (mut journal, news) = Journal::<u32>::open(path).unwrap();
    let mut last = news.records.last().copied().unwrap_or(0);
    for _ in 0..times {
        let (mut held, news) = journal.lock().unwrap();
        last = news.records.last().copied().unwrap_or(last) + 1;
        held.append(&last).unwrap();
        if random(10) == 0 {
            held.compact(&[last]).unwrap();
        }
    }
}

#[test]
fn processes_that_append_and_compact_lose_no_update() {
    for processes in [2, 4] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut follower, _) = Journal::<u32>::open(&path).unwrap();
        let workers: Vec<_> = (0..processes).map(|_| Worker::start("count", &path)).collect();
        let (mut seen, deadline) = (0, Instant::now() + Duration::from_secs(60));
        while seen < processes * 100 && Instant::now() < deadline {
            for n in follower.read_new().unwrap().records {
                assert!(n >= seen, "{n} after {seen}"); // The same again, after a compaction.
                seen = n;
            }
            thread::sleep(Duration::from_millis(1));
        }
        workers.into_iter().for_each(Worker::join);
        assert_eq!(seen, processes * 100);
    }
}

/// Holds a lock, and starts a program that outlives it.
fn hold(path: &Path) {
    let _lock = Lock::acquire(path, Duration::ZERO).unwrap();
    let mut command = Command::new("sleep");
    let mut child = command
        .arg("60")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    say(child.id().into());
    child.wait().unwrap();
}

#[test]
fn a_lock_is_free_when_its_holder_is_killed_although_a_child_of_it_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let holder = Worker::start("hold", &path);
    let sleeper = holder.line();
    assert!(Lock::try_acquire(&path).unwrap().is_none());
    holder.kill();
    // Not at once: the kernel lets `spawn` return a moment before it closes what is closed on exec.
    let lock = Lock::acquire(&path, Duration::from_secs(20));
    let ended = Command::new("kill").arg(&sleeper).status().unwrap();
    assert!(lock.is_ok() && ended.success());
}
