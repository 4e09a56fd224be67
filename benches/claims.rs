//! How fast the eleventh lesson's claims are on a board of 10,000. `cargo bench --bench claims` prints figures.
use lessons::{
    s07_task_system::{Board, Status, Task},
    s11_autonomous_agents::Claims,
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

const TASKS: u64 = 10_000;

fn main() {
    for threads in [1, 16] {
        let folder = tempfile::tempdir().unwrap();
        // Each with a board of its own, as if it were a process.
        let workers: Vec<Claims> =
            (0..threads).map(|_| claims(&folder.path().join("tasks.jsonl"))).collect();
        fill(folder.path());
        let start = Instant::now();
        thread::scope(|scope| {
            for worker in &workers {
                scope.spawn(|| {
                    while let Some(claim) = worker.claim("bench").unwrap() {
                        worker.finish(&claim, "fine").unwrap();
                    }
                });
            }
        });
        let rate = TASKS as f64 / start.elapsed().as_secs_f64();
        println!(
            "{threads} at once: {rate:.0} tasks a second, each claimed and finished, and so flushed twice"
        );
    }

    let folder = tempfile::tempdir().unwrap();
    let alive = claims(&folder.path().join("tasks.jsonl"));
    fill(folder.path());
    timed("a claim among 10,000 that can begin", || drop(alive.claim("bench").unwrap().unwrap()));
    timed("a look whether there is one", || assert!(alive.claimable().unwrap()));
    // All of them run out together: the worst that can be found.
    let board = Board::open(&folder.path().join("tasks.jsonl")).unwrap().0;
    let all = board.look(|tasks| tasks.all().cloned().collect::<Vec<_>>()).unwrap();
    let left = |task| Task { status: Status::InProgress, until: Some(1), ..task };
    board.change(|_| Ok((all.into_iter().map(left).collect(), ()))).unwrap();
    assert!(alive.claimable().unwrap());
    timed("a claim among 10,000 whose lease has run out", || {
        drop(alive.claim("bench").unwrap().unwrap())
    });
}

fn claims(file: &Path) -> Claims {
    Claims::new(Board::open(file).unwrap().0, Duration::from_secs(600))
}

fn fill(folder: &Path) {
    let new = |id: u64| Task {
        id,
        subject: format!("task {id}"),
        priority: (id % 7) as i64,
        ..Task::default()
    };
    let (board, _) = Board::open(&folder.join("tasks.jsonl")).unwrap();
    board.change(|_| Ok(((1..=TASKS).map(new).collect(), ()))).unwrap();
}

/// The mean of many.
fn timed(what: &str, work: impl Fn()) {
    const TIMES: u32 = 500;
    let start = Instant::now();
    (0..TIMES).for_each(|_| work());
    println!("{what}: {:.3} ms", start.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES));
}
