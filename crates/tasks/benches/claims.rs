//! How fast claims are on a board of 10,000 tasks. `cargo bench --bench claims` prints figures.
use rungs_tasks::{Board, Status, Task};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

const TASKS: u64 = 10_000;
const LEASE: Duration = Duration::from_secs(600);

fn main() {
    for threads in [1, 16] {
        let folder = tempfile::tempdir().unwrap();
        // Each with a board of its own, as if it were a process.
        let workers: Vec<Board> = (0..threads).map(|_| open(folder.path())).collect();
        fill(folder.path());
        let start = Instant::now();
        thread::scope(|scope| {
            for worker in &workers {
                scope.spawn(|| {
                    while let Some(claimed) = worker.claim("bench", LEASE).unwrap() {
                        worker.finish(claimed.token(), "fine").unwrap();
                    }
                });
            }
        });
        let rate = TASKS as f64 / start.elapsed().as_secs_f64();
        println!(
            "{threads} at once: {rate:.0} tasks a second, each claimed and finished, and so \
             flushed twice"
        );
    }

    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    fill(folder.path());
    let claim = || drop(board.claim("bench", LEASE).unwrap().unwrap());
    timed("a claim among 10,000 that can begin", claim);
    timed("a look whether there is one", || assert!(board.claimable().unwrap()));
    // All leases end together: the worst case.
    let all = board.look(|tasks| tasks.all().cloned().collect::<Vec<_>>()).unwrap();
    let left = |task| Task { status: Status::InProgress, lease_end: Some(1), ..task };
    board.change(|_| Ok((all.iter().cloned().map(left).collect(), ()))).unwrap();
    assert!(board.claimable().unwrap());
    timed("a claim among 10,000 whose lease has ended", claim);
}

fn open(folder: &Path) -> Board {
    Board::open(&durable::Folder::open(folder, "").unwrap(), "tasks.jsonl").unwrap()
}

fn fill(folder: &Path) {
    let new = |id: u64| Task {
        id,
        subject: format!("task {id}"),
        priority: (id % 7) as i64,
        ..Task::default()
    };
    open(folder).change(|_| Ok(((1..=TASKS).map(new).collect(), ()))).unwrap();
}

/// The mean of many.
fn timed(what: &str, work: impl Fn()) {
    const TIMES: u32 = 500;
    let start = Instant::now();
    (0..TIMES).for_each(|_| work());
    println!("{what}: {:.3} ms", start.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES));
}
