//! How fast a board of 10,000 tasks is. `cargo bench --bench tasks` prints figures.
use durable::Folder;
use rungs_tasks::{Board, Status, Task};
use std::time::Instant;

const TASKS: u64 = 10_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let state = Folder::open(folder.path(), "state").unwrap();
    let board = Board::open(&state, "tasks.jsonl").unwrap();
    let task = |id: u64| Task {
        id,
        subject: format!("task {id}"),
        priority: (id % 7) as i64,
        after: (1..=3).filter_map(|back| id.checked_sub(back * 100).filter(|id| *id > 0)).collect(),
        ..Task::default()
    };
    timed(&format!("{TASKS} tasks written at once"), || {
        board.change(|_| Ok(((1..=TASKS).map(task).collect(), ()))).unwrap();
    });
    timed("the board is opened", || drop(Board::open(&state, "tasks.jsonl").unwrap()));
    timed("the board is compacted", || board.compact().unwrap());
    timed("a look with nothing new", || board.look(|_| ()).unwrap());
    let start = Instant::now();
    let mut done = 0;
    while let Some(task) = board.take_next("bench").unwrap() {
        board.update(task.id, |task| task.status = Status::Done).unwrap();
        done += 1;
    }
    let all = start.elapsed().as_secs_f64();
    println!(
        "{done} tasks taken and done, each flushed twice: {:.2} ms a task",
        all * 1000.0 / done as f64
    );
}

fn timed(what: &str, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what}: {:.2} ms", start.elapsed().as_secs_f64() * 1000.0);
}
