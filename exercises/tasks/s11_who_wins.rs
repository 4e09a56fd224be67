// # Whose answer counts?
//
// predict, level 2, 15 minutes. Read: crates/tasks/src/tasks.rs, crates/tasks/src/task.rs
//
// A board has two tasks: #1, and #2 after #1. A claim lasts for 30 seconds. The times are in
// seconds, and every clock is right. Say for each step what happens.
//
//    1.   0 s  ann claims. Which task does she get?
//    2.   0 s  bob claims. Which task?
//    3.  20 s  ann renews
//    4.  40 s  bob claims. Which task?
//    5.  60 s  bob claims. Which task?
//    6.  61 s  ann fails her task ("no disk"). Is that accepted?
//    7.  65 s  bob finishes #1. Is that accepted?
//    8.  66 s  ann claims. Which task?
//    9. 120 s  ann finishes #2, without having renewed. Is that accepted?
//   10. 121 s  how many failures are noted at #1?
//
// Run: cargo run -p rungs-exercises -- run s11_who_wins

/// The tasks that are claimed in the steps 1, 2, 4, 5 and 8, or `None` if there is nothing to
/// claim.
const CLAIMED: [Option<u64>; 5] = [Some(0), Some(0), Some(0), Some(0), Some(0)];
/// Whether the answers of the steps 6, 7 and 9 are accepted: `Some(true)` or `Some(false)`.
const ACCEPTED: [Option<bool>; 3] = [None, None, None];
/// How many failures #1 has in step 10.
const FAILURES: usize = 99;

mod tests {
    use super::*;
    use rungs_tasks::{FencingToken, Task, TaskError, Tasks};

    /// A board without a disk, whose clock is given.
    #[derive(Default)]
    struct Board(Tasks);

    impl Board {
        fn create(&mut self, after: &[u64]) {
            let after = after.iter().copied().collect();
            let task = Task { subject: "x".into(), after, ..Task::default() };
            let task = self.0.created(task).unwrap();
            self.0.set(task);
        }

        fn claim(&mut self, who: &str, now: u64) -> Option<Task> {
            let (changed, claimed) = self.0.claimed(who, now * 1000, (now + 30) * 1000);
            changed.into_iter().for_each(|task| self.0.set(task));
            claimed
        }

        fn answer(&mut self, task: Result<Task, TaskError>) -> bool {
            let accepted = task.is_ok();
            task.into_iter().for_each(|task| self.0.set(task));
            accepted
        }

        fn renew(&mut self, token: FencingToken, now: u64) -> bool {
            self.answer(self.0.renewed(token, (now + 30) * 1000))
        }

        fn finish(&mut self, token: FencingToken) -> bool {
            self.answer(self.0.finished(token, "fine").map(|(task, _)| task))
        }

        fn fail(&mut self, token: FencingToken) -> bool {
            self.answer(self.0.failed(token, "no disk"))
        }
    }

    /// What really happens.
    fn happens() -> ([Option<u64>; 5], [bool; 3], usize) {
        let mut board = Board::default();
        board.create(&[]);
        board.create(&[1]);
        let ann = board.claim("ann", 0);
        let second = board.claim("bob", 0);
        let token = ann.clone().unwrap().token();
        assert!(board.renew(token, 20), "ann renews in time");
        let fourth = board.claim("bob", 40);
        let bob = board.claim("bob", 60);
        let failed = board.fail(token);
        let finished = board.finish(bob.clone().unwrap().token());
        let last = board.claim("ann", 66);
        let late = board.finish(last.clone().unwrap().token());
        let failures = board.0.get(1).unwrap().failures.len();
        let claimed = [ann, second, fourth, bob, last].map(|task| task.map(|task| task.id));
        (claimed, [failed, finished, late], failures)
    }

    #[test]
    fn the_claims() {
        let claimed = happens().0;
        let wrong: Vec<usize> = (0..5).filter(|i| claimed[*i] != CLAIMED[*i]).collect();
        let steps: Vec<u64> = wrong.iter().map(|i| [1, 2, 4, 5, 8][*i]).collect();
        assert!(
            wrong.is_empty(),
            "not so in the steps {steps:?}. When does a lease end that was renewed? What does a \
             task that waits for another one need before it can be claimed?"
        );
    }

    #[test]
    fn the_answers() {
        let accepted = happens().1;
        let wrong: Vec<usize> = (0..3).filter(|i| Some(accepted[*i]) != ACCEPTED[*i]).collect();
        let steps: Vec<u64> = wrong.iter().map(|i| [6, 7, 9][*i]).collect();
        assert!(
            wrong.is_empty(),
            "not so in the steps {steps:?}. Read `fenced`: what does it ask, and what not?"
        );
    }

    #[test]
    fn the_failures() {
        assert!(
            FAILURES == happens().2,
            "not so. A takeover counts as one, and an answer that was refused changes nothing"
        );
    }
}
