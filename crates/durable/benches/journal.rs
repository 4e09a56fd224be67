//! The cost of a flush for each record, and of a journal of 10,000 records:
//! `cargo bench -p durable -- [FOLDER]`.

use durable::{Folder, Journal};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A record of about 250 bytes, the size of a task.
fn task(id: u32) -> Value {
    json!({
        "id": id,
        "subject": format!("task {id}"),
        "description": "x".repeat(180),
        "status": "pending",
        "needs": [id / 2],
    })
}

fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn main() -> Result<(), durable::Error> {
    // By default beside the sources, which are on a disk; temporary folders are often in memory.
    let parent = match std::env::args_os().nth(1) {
        Some(arg) if arg != "--bench" => PathBuf::from(arg),
        _ => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    };
    let folder = tempfile::tempdir_in(parent).expect("a temporary folder");
    let (time, done) = timed(|| bare(&folder.path().join("bare"), 2_000));
    done.expect("a bare file can be written");
    println!("write and flush, bare:           {:>8.0} a second", 2_000.0 / time.as_secs_f64());

    let state = Folder::open(folder.path(), ".rungs/bench")?;
    let path = state.path().join("tasks.jsonl");
    let (mut journal, _) = Journal::open(&state, "tasks.jsonl")?;
    let (time, done) = timed(|| (0..2_000).try_for_each(|id| journal.append(&task(id))));
    done?;
    println!("append, flushed one by one:      {:>8.0} a second", 2_000.0 / time.as_secs_f64());

    let (time, done) = timed(|| (0..2_000).try_for_each(|id| journal.lock()?.0.append(&task(id))));
    done?;
    println!("lock, read, append:              {:>8.0} a second", 2_000.0 / time.as_secs_f64());

    let tasks: Vec<_> = (0..10_000).map(task).collect();
    let (time, done) = timed(|| journal.lock()?.0.compact(&tasks));
    done?;
    println!("compact to 10,000 records:       {:>8.1} ms", time.as_secs_f64() * 1e3);

    let (time, opened) = timed(|| Journal::<Value>::open(&state, "tasks.jsonl"));
    let (mut other, update) = opened?;
    assert_eq!(update.records.len(), 10_000);
    println!(
        "open 10,000 records ({:.1} MB):    {:>8.1} ms",
        size(&path),
        time.as_secs_f64() * 1e3
    );

    let (time, done) = timed(|| (0..10_000).try_for_each(|_| other.read_new().map(drop)));
    done?;
    println!("read_new with nothing new:       {:>8.1} µs", time.as_secs_f64() * 1e6 / 10_000.0);

    journal = Journal::open(&state, "tasks.jsonl")?.0;
    journal.append(&task(0))?;
    let (time, update) = timed(|| other.read_new());
    assert_eq!(update?.records.len(), 1);
    println!("read_new with one behind 10,000: {:>8.1} µs", time.as_secs_f64() * 1e6);

    let write = || state.write("state.json", &[b'x'; 4096]);
    let (time, done) = timed(|| (0..500).try_for_each(|_| write()));
    done?;
    println!("write, 4 KB:                     {:>8.0} a second", 500.0 / time.as_secs_f64());
    Ok(())
}

/// The limit that the disk sets: only the bytes of each record and a flush.
fn bare(path: &Path, times: u32) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for id in 0..times {
        file.write_all(task(id).to_string().as_bytes())?;
        file.sync_data()?;
    }
    Ok(())
}

fn size(path: &Path) -> f64 {
    path.metadata().map_or(0.0, |file| file.len() as f64 / 1e6)
}
