// # Find the cycle
//
// build, level 2, 20 minutes. Read: examples/s07_task_system.rs, crates/tasks/src/tasks.rs
//
// Tasks wait for each other. A model may write `after: [3]` for task 1 although task 3 waits, over
// others, for task 1: then none of them can ever begin. The board refuses such a change, and says
// which cycle it would close, so that the model can correct itself.
//
// Write `cycle`, without looking at `crates/tasks/src/graph.rs`. It is given what each task waits
// for, and a change: task `id` is to wait for `after`, in the place of what it waits for now. It
// returns `None` when that closes no cycle. Otherwise it returns the tasks along one, from `id`
// back to `id`, such that each waits for the next: `[1, 3, 2, 1]`.
//
// A board may hold 100,000 tasks in one chain, and tasks that many paths lead to. A number that is
// not on the board waits for nothing.
//
// Run: cargo run -p rungs-exercises -- run s07_cycle

use std::collections::{BTreeMap, BTreeSet};

/// What each task waits for.
type Waits = BTreeMap<u64, BTreeSet<u64>>;

/// The tasks along a cycle that this change would close.
fn cycle(waits: &Waits, id: u64, after: &BTreeSet<u64>) -> Option<Vec<u64>> {
    let _ = (waits, id, after);
    todo!("walk from the tasks in `after`; remember from where you came to each; stop at `id`")
}

mod tests {
    use super::*;

    fn waits(edges: &[(u64, &[u64])]) -> Waits {
        edges.iter().map(|(id, after)| (*id, after.iter().copied().collect())).collect()
    }

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    /// Checks each step of a path, since more than one cycle can be the answer.
    #[track_caller]
    fn assert_is_cycle(waits: &Waits, id: u64, after: &BTreeSet<u64>) {
        let Some(path) = cycle(waits, id, after) else {
            panic!("#{id} after {after:?} closes a cycle: this board would wait for ever")
        };
        assert_eq!(path.first(), Some(&id), "the path begins with the task itself: {path:?}");
        assert_eq!(path.last(), Some(&id), "and comes back to it: {path:?}");
        assert!(path.len() >= 2, "a path has at least one step: {path:?}");
        for step in path.windows(2) {
            let next = if step[0] == id { after } else { &waits[&step[0]] };
            let why = "each task of the path must wait for the next one";
            assert!(next.contains(&step[1]), "{why}; #{} does not: {path:?}", step[0]);
        }
    }

    #[test]
    fn a_change_that_closes_no_cycle_is_none() {
        let waits = waits(&[(1, &[]), (2, &[1]), (3, &[1, 2])]);
        assert_eq!(cycle(&waits, 3, &set(&[2])), None, "3, 2, 1: nothing leads back");
        assert_eq!(cycle(&waits, 2, &set(&[])), None, "it waits for nothing any more");
        assert_eq!(cycle(&waits, 1, &set(&[99])), None, "a task that does not exist is no cycle");
    }

    #[test]
    fn what_the_task_waits_for_now_is_replaced() {
        let waits = waits(&[(1, &[2]), (2, &[])]);
        let why = "#1 waits for #2 now, but not any more after the change to #3";
        assert_eq!(cycle(&waits, 1, &set(&[3])), None, "{why}");
    }

    #[test]
    fn a_task_cannot_wait_for_itself() {
        let waits = waits(&[(1, &[])]);
        assert_eq!(cycle(&waits, 1, &set(&[1])), Some(vec![1, 1]), "the shortest cycle there is");
    }

    #[test]
    fn a_cycle_over_others_is_found_and_named() {
        let waits = waits(&[(1, &[]), (2, &[1]), (3, &[2]), (4, &[2])]);
        let found = cycle(&waits, 1, &set(&[3]));
        let why = "#1 would wait for #3, which waits for #2, which waits for #1";
        assert_eq!(found, Some(vec![1, 3, 2, 1]), "{why}");
    }

    #[test]
    fn only_one_of_several_dependencies_may_close_it() {
        let waits = waits(&[(1, &[]), (2, &[]), (3, &[2]), (4, &[3, 1]), (5, &[])]);
        assert_is_cycle(&waits, 1, &set(&[2, 4, 5]));
    }

    #[test]
    fn many_paths_to_the_same_task_are_walked_once() {
        // Sixty storeys with two tasks each, and each waits for both of the storey below: there are
        // 2 to the power of 60 paths.
        let mut waits = Waits::new();
        for storey in 0..60 {
            for side in 0..2 {
                let below = storey * 2;
                let after = if storey == 0 { set(&[]) } else { set(&[below - 2, below - 1]) };
                waits.insert(below + side, after);
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let top = set(&[118, 119]);
            let _ = sender.send((cycle(&waits, 500, &top), cycle(&waits, 0, &top)));
        });
        let found = receiver.recv_timeout(std::time::Duration::from_secs(5));
        let why = "this takes milliseconds when each task is visited once";
        let (none, some) = found.unwrap_or_else(|_| panic!("still walking after 5 s: {why}"));
        assert_eq!(none, None, "nothing waits for #500");
        assert!(some.is_some(), "all of it waits for #0");
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let end: u64 = 100_000;
        let mut waits: Waits = (2..=end).map(|id| (id, set(&[id - 1]))).collect();
        waits.insert(1, set(&[]));
        assert_is_cycle(&waits, 1, &set(&[end]));
    }
}
