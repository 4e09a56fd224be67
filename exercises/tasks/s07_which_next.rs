// # Which task is next?
//
// predict, level 1, 10 minutes. Read: examples/s07_task_system.rs
//
// A board has these five tasks. The greater a priority, the sooner; it is 0 where none is given.
//
//   #1 build
//   #2 lint, priority 5
//   #3 test, after #1
//   #4 ship, priority 9, after #2 and #3
//   #5 announce, priority 9, after #1
//
// The following happens, in this order. Say what the board answers, in the place of the zeros.
// `None` means that it has nothing that can begin.
//
//   a. `task_next`
//   b. `task_next`
//   c. `task_next`
//   d. the task of step a is set to `failed`; then `task_next`
//   e. the task of step b is set to `done`: which tasks can begin because of that?
//   f. `task_next`
//   g. is `task_update` of #1 with `after: [4]` refused?
//   h. is `task_update` of #4 with `after: [2]` refused?
//
// Run: cargo run -p rungs-exercises -- run s07_which_next

/// What `task_next` takes in the steps a, b and c.
const FIRST: [Option<u64>; 3] = [Some(0), Some(0), Some(0)];
/// What it takes in step d.
const AFTER_A_FAILURE: Option<u64> = Some(0);
/// What can begin because of step e, in the order of the numbers.
const FREED: &[u64] = &[0];
/// What it takes in step f.
const LAST: Option<u64> = Some(0);
/// Whether the updates of the steps g and h are refused: `Some(true)` or `Some(false)`.
const REFUSED: [Option<bool>; 2] = [None, None];

mod tests {
    use super::*;
    use rungs_tasks::{Board, Status, Task};

    /// What the board answered in the steps.
    struct Answers {
        first: [Option<u64>; 3],
        after_a_failure: Option<u64>,
        freed: Vec<u64>,
        last: Option<u64>,
        refused: [bool; 2],
    }

    /// Does all of it on a real board.
    fn answers() -> Answers {
        let folder = tempfile::tempdir().unwrap();
        let state = durable::Folder::open(folder.path(), "state").unwrap();
        let board = Board::open(&state, "tasks.jsonl").unwrap();
        let tasks: [(&str, i64, &[u64]); 5] = [
            ("build", 0, &[]),
            ("lint", 5, &[]),
            ("test", 0, &[1]),
            ("ship", 9, &[2, 3]),
            ("announce", 9, &[1]),
        ];
        for (subject, priority, after) in tasks {
            let after = after.iter().copied().collect();
            let task = Task { subject: subject.into(), priority, after, ..Task::default() };
            board.create(task).unwrap();
        }
        let next = || board.take_next("main").unwrap().map(|task| task.id);
        let set = |id: Option<u64>, status: Status| {
            let changed = board.update(id.unwrap(), |task| task.status = status);
            changed.unwrap().1
        };
        let first = [next(), next(), next()];
        set(first[0], Status::Failed);
        let after_a_failure = next();
        let freed = set(first[1], Status::Done);
        let last = next();
        let cycle = board.update(1, |task| task.after = [4].into());
        let none = board.update(4, |task| task.after = [2].into());
        let refused = [cycle.is_err(), none.is_err()];
        Answers { first, after_a_failure, freed, last, refused }
    }

    #[test]
    fn steps_a_to_c() {
        assert!(
            answers().first == FIRST,
            "not so. Of the tasks that wait for nothing, the one of the greatest priority comes \
             first, then the one of the smallest number; what is in progress is not offered again"
        );
    }

    #[test]
    fn step_d() {
        assert!(
            answers().after_a_failure == AFTER_A_FAILURE,
            "not so. Ask what a task that waits for the failed one would work with"
        );
    }

    #[test]
    fn step_e() {
        assert!(
            answers().freed == FREED,
            "not so. A task becomes free when the last one that it waits for is done"
        );
    }

    #[test]
    fn step_f() {
        assert!(
            answers().last == LAST,
            "not so. Go through all five tasks: which are pending, and what does each wait for?"
        );
    }

    #[test]
    fn steps_g_and_h() {
        assert!(
            answers().refused.map(Some) == REFUSED,
            "not so. A change is refused when a task would wait for itself, along a path"
        );
    }
}
