// # Two workers, one task
//
// repair, level 2, 15 minutes. Read: examples/s07_task_system.rs, crates/tasks/src/board.rs
//
// Workers in several processes take tasks from one board. Each worker has its own idea of what it
// can do, so it does not call `take_next`: `take` looks for the first task that can begin and that
// the worker wants, and puts the worker's name on it. A user reports:
//
//   "Four of my workers ran the same test suite at the same time, and the other tasks waited. The
//   board said that only one of them had it. It happens when `wanted` is slow, but I have also seen
//   it with a fast one."
//
// Repair `take`. What a task waits for must still count, and a board on which nothing is wanted
// must not change.
//
// Run: cargo run -p rungs-exercises -- run s07_two_workers

use rungs_tasks::{Board, BoardError, Status, Task};

/// Takes the first task that can begin and that is wanted, for `who`.
fn take(
    board: &Board,
    who: &str,
    wanted: impl Fn(&Task) -> bool,
) -> Result<Option<Task>, BoardError> {
    let found = board.look(|tasks| {
        let can_begin = |task: &&Task| {
            task.status == Status::Pending && tasks.blockers(task).is_empty() && wanted(task)
        };
        tasks.all().find(can_begin).map(|task| task.id)
    })?;
    let Some(id) = found else { return Ok(None) };
    let (task, _) = board.update(id, |task| {
        task.status = Status::InProgress;
        task.owner = Some(who.into());
    })?;
    Ok(Some(task))
}

mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path, sync::Barrier, thread, time::Duration};

    /// The board as another process opens it.
    fn open(folder: &Path) -> Board {
        let folder = durable::Folder::open(folder, "state").unwrap();
        Board::open(&folder, "tasks.jsonl").unwrap()
    }

    fn task(subject: &str, after: &[u64]) -> Task {
        let after = after.iter().copied().collect();
        Task { subject: subject.into(), after, ..Task::default() }
    }

    #[test]
    fn one_worker_gets_what_it_wants_and_what_can_begin() {
        let folder = tempfile::tempdir().unwrap();
        let board = open(folder.path());
        for new in [task("paint", &[]), task("test", &[]), task("test again", &[2])] {
            board.create(new).unwrap();
        }
        let test = |task: &Task| task.subject.starts_with("test");
        let taken = take(&board, "ann", test).unwrap().expect("#2 can begin and is wanted");
        let expected = "#2 [in_progress] test, owner ann";
        assert_eq!(taken.to_string(), expected, "the task as it is once it is taken");
        let none = take(&board, "bob", test).unwrap();
        assert_eq!(none, None, "#3 waits for #2, which is not done yet");
    }

    #[test]
    fn four_workers_at_once_get_four_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let board = open(folder.path());
        for n in 1..=4 {
            board.create(task(&format!("part {n}"), &[])).unwrap();
        }
        let start = Barrier::new(4);
        let work = |who: &str| {
            let board = open(folder.path());
            start.wait();
            let slow = |_: &Task| {
                thread::sleep(Duration::from_millis(15));
                true
            };
            take(&board, who, slow).unwrap().map(|task| task.id)
        };
        let taken: Vec<Option<u64>> = thread::scope(|scope| {
            let workers = ["ann", "bob", "eve", "dan"].map(|who| scope.spawn(move || work(who)));
            workers.map(|worker| worker.join().unwrap()).to_vec()
        });
        let different: BTreeSet<u64> = taken.iter().flatten().copied().collect();
        assert_eq!(
            different,
            BTreeSet::from([1, 2, 3, 4]),
            "the workers took {taken:?}. Between the look at the board and the change of it, \
             somebody else may change it. Which method of the board lets you decide while nobody \
             else can write?"
        );
    }

    #[test]
    fn what_nobody_wants_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let board = open(folder.path());
        board.create(task("paint", &[])).unwrap();
        let file = folder.path().join("state/tasks.jsonl");
        let before = std::fs::read(&file).unwrap();
        assert_eq!(take(&board, "ann", |_| false).unwrap(), None, "nothing is wanted");
        let after = std::fs::read(&file).unwrap();
        assert!(before == after, "a look that takes nothing must append nothing to the journal");
    }
}
