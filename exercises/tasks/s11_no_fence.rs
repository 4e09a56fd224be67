// # A lease without a fence
//
// repair, level 2, 15 minutes. Read: examples/s11_autonomous_agents.rs, crates/tasks/src/lease.rs
//
// A board in memory gives tasks to workers, for 30 seconds. A worker that lives renews its claim;
// one that is gone loses it, and the task is given to the next one that asks. A user reports:
//
//   "My laptop slept for a minute in the middle of a task. Meanwhile a colleague's worker had taken
//   the task over and finished it. When my laptop woke up, its old answer replaced the new one. I
//   have also seen a worker that had lost its task and claimed it a second time. Then an answer of
//   its own first attempt came in late, and was taken for that of the second."
//
// Repair the board, such that only the newest claim of a task can answer for it or be renewed. The
// clock must not decide: as long as nobody has claimed the task again, a late answer is welcome.
// You may add fields. Tests use `Task::default()`, `claim`, `renew` and `finish`, and read a task's
// `result` and a claim's `task`.
//
// Run: cargo run -p rungs-exercises -- run s11_no_fence

/// How long a claim lasts unless it is renewed, in seconds.
const LEASE: u64 = 30;

/// A task, and who has it.
#[derive(Debug, Default)]
struct Task {
    owner: Option<String>,
    lease_end: u64,
    result: Option<String>,
}

/// The right to answer for a task.
#[derive(Debug, Clone, PartialEq)]
struct Claim {
    task: usize,
    owner: String,
}

/// The claim is over: somebody else has the task, or it is done.
#[derive(Debug, PartialEq)]
struct TooLate;

/// Tasks by their numbers.
#[derive(Debug, Default)]
struct Board(Vec<Task>);

impl Board {
    /// The first task that is not done and that nobody has at this time, for `who`.
    fn claim(&mut self, who: &str, now: u64) -> Option<Claim> {
        let free =
            |task: &Task| task.result.is_none() && (task.owner.is_none() || task.lease_end <= now);
        let number = self.0.iter().position(free)?;
        let task = &mut self.0[number];
        task.owner = Some(who.into());
        task.lease_end = now + LEASE;
        Some(Claim { task: number, owner: who.into() })
    }

    /// Starts the lease anew.
    fn renew(&mut self, claim: &Claim, now: u64) -> Result<(), TooLate> {
        self.held(claim)?.lease_end = now + LEASE;
        Ok(())
    }

    /// The task is done.
    fn finish(&mut self, claim: &Claim, result: &str) -> Result<(), TooLate> {
        self.held(claim)?.result = Some(result.into());
        Ok(())
    }

    /// The task of this claim.
    fn held(&mut self, claim: &Claim) -> Result<&mut Task, TooLate> {
        Ok(&mut self.0[claim.task])
    }
}

mod tests {
    use super::*;

    fn board(tasks: usize) -> Board {
        Board((0..tasks).map(|_| Task::default()).collect())
    }

    fn result(board: &Board) -> Option<&str> {
        board.0[0].result.as_deref()
    }

    #[test]
    fn a_task_is_given_to_one_worker_until_its_lease_ends() {
        let mut board = board(2);
        let first = board.claim("ann", 0).unwrap();
        let second = board.claim("bob", 0).unwrap();
        assert_ne!(first.task, second.task, "two workers, two tasks");
        assert_eq!(board.claim("eve", LEASE - 1), None, "both are held");
        assert_eq!(board.claim("eve", LEASE).map(|claim| claim.task), Some(0), "the lease is over");
        assert_eq!(board.finish(&second, "fine"), Ok(()), "bob's task is still his");
    }

    #[test]
    fn a_claim_that_is_renewed_stays() {
        let mut board = board(1);
        let claim = board.claim("ann", 0).unwrap();
        assert_eq!(board.renew(&claim, LEASE - 1), Ok(()), "the lease has not ended yet");
        assert_eq!(board.claim("bob", LEASE), None, "it was renewed a second before");
        assert_eq!(board.finish(&claim, "fine"), Ok(()));
        assert_eq!(board.claim("bob", 1000), None, "it is done");
    }

    #[test]
    fn a_late_answer_does_not_replace_a_newer_one() {
        let mut board = board(1);
        let slow = board.claim("ann", 0).unwrap();
        let quick = board.claim("bob", LEASE).unwrap();
        assert_eq!(board.finish(&quick, "new"), Ok(()));
        let why = "ann slept past her lease, and bob has finished the task. Her answer is refused, \
                   and she is told";
        assert_eq!(board.finish(&slow, "old"), Err(TooLate), "{why}");
        assert_eq!(result(&board), Some("new"), "{why}");
    }

    #[test]
    fn a_late_answer_does_not_come_before_a_newer_one() {
        let mut board = board(1);
        let slow = board.claim("ann", 0).unwrap();
        let quick = board.claim("bob", LEASE).unwrap();
        let why = "bob works on it now; an answer of somebody else would waste his work";
        assert_eq!(board.finish(&slow, "old"), Err(TooLate), "{why}");
        assert_eq!(board.renew(&slow, LEASE), Err(TooLate), "nor may the old claim be renewed");
        assert_eq!(board.finish(&quick, "new"), Ok(()));
    }

    #[test]
    fn the_same_worker_may_hold_an_old_claim_and_a_new_one() {
        let mut board = board(1);
        let old = board.claim("ann", 0).unwrap();
        let new = board.claim("ann", LEASE).unwrap();
        let why = "both claims are ann's; her name does not tell them apart. What does?";
        assert_eq!(board.finish(&old, "old"), Err(TooLate), "{why}");
        assert_eq!(board.finish(&new, "new"), Ok(()), "{why}");
        assert_eq!(result(&board), Some("new"));
    }

    #[test]
    fn a_late_answer_is_welcome_while_nobody_has_claimed_the_task_again() {
        let mut board = board(1);
        let claim = board.claim("ann", 0).unwrap();
        let why = "her lease ended long ago, but nobody wanted the task; to refuse her answer \
                   would throw work away";
        assert_eq!(board.finish(&claim, "fine"), Ok(()), "{why}");
    }

    #[test]
    fn an_answer_is_given_once() {
        let mut board = board(1);
        let claim = board.claim("ann", 0).unwrap();
        assert_eq!(board.finish(&claim, "first"), Ok(()));
        let why = "the task is done, so the claim is over";
        assert_eq!(board.finish(&claim, "second"), Err(TooLate), "{why}");
        assert_eq!(result(&board), Some("first"), "{why}");
    }
}
