//! What a snapshot costs: `cargo bench -p rungs-snapshots`. The disk's flushes are most of it; with
//! `TMPDIR` on a file system in memory one sees the rest.
use durable::Folder;
use rungs_files::{Root, Stamp};
use rungs_snapshots::{Author, Limits, Store};
use std::time::{Duration, Instant};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let folder = Folder::open(dir.path(), ".rungs").unwrap();
    let store = Store::open(&folder, Limits::default()).unwrap();
    let mut stamp: Option<Stamp> = None;
    let mut total = 0;
    for (count, size) in [(50, 1_000), (50, 1_000_000), (50, 1_000), (800, 10), (50, 1_000)] {
        let (mut begins, mut writes, mut ends) = (vec![], vec![], vec![]);
        for _ in 0..count {
            let author = Author { tool: "write".into(), ..Author::default() };
            let start = Instant::now();
            let begun = store.begin(&root, None, &author, &["f".into()]).unwrap();
            begins.push(start.elapsed());
            let content = format!("{total}{}", "x".repeat(size));
            let start = Instant::now();
            stamp = Some(root.write("f", content.as_bytes(), stamp.as_ref()).unwrap());
            writes.push(start.elapsed());
            let start = Instant::now();
            store.end(&root, begun).unwrap();
            ends.push(start.elapsed());
            total += 1;
        }
        println!(
            "{total:>5} steps, {size:>7} bytes: before {:>9.1?}, the write itself {:>9.1?}, after \
             {:>9.1?}",
            median(begins),
            median(writes),
            median(ends)
        );
    }
    let start = Instant::now();
    Store::open(&folder, Limits::default()).unwrap();
    println!("opened with {total} steps in {:.1?}", start.elapsed());
}
