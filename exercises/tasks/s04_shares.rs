// # Shares of a budget
//
// build, level 2, 30 minutes. Read: examples/s04_subagent.rs
//
// In lesson 4 all subagents of a prompt take their steps from one budget. If it runs out, all of
// them stop, and none may have finished. Build a budget that is divided beforehand: each subagent
// gets a share, and what it does not use comes back when it ends.
//
// 1. `Budget::share(steps)` takes that many steps out of the budget, all or nothing: `None` if
//    fewer are left.
// 2. `Share::take()` takes one step out of the share; false if there is none.
// 3. `Share::share(steps)` makes a share of a share, for a subagent of a subagent, in the same way.
// 4. When a share is dropped, what is left of it returns to where it came from.
//
// Subagents run at the same time, on several threads. There may never be more steps in all shares
// together than the budget had.
//
// Run: cargo run -p rungs-exercises -- run s04_shares

#[allow(unused_imports)]
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many steps are left, in a budget or in a share.
#[derive(Clone)]
struct Left(Arc<AtomicUsize>);

impl Left {
    /// Takes so many, or nothing and says false. Several threads may ask at the same moment.
    fn take(&self, wanted: usize) -> bool {
        let _ = (&self.0, wanted);
        todo!("look and take in one operation")
    }
}

/// The steps of a prompt.
struct Budget {
    left: Left,
}

/// The steps of one subagent.
struct Share {
    left: Left,
    /// Where the rest goes when this share is dropped.
    from: Left,
}

impl Budget {
    fn new(steps: usize) -> Self {
        Budget { left: Left(Arc::new(steps.into())) }
    }

    fn share(&self, steps: usize) -> Option<Share> {
        let _ = (&self.left, steps);
        todo!("a share, if there are so many steps left")
    }
}

impl Share {
    fn take(&self) -> bool {
        let _ = &self.left;
        todo!("one step of this share")
    }

    fn share(&self, steps: usize) -> Option<Share> {
        let _ = (&self.left, &self.from, steps);
        todo!("a share of this share")
    }
}

mod tests {
    use super::*;
    use std::thread;

    /// How many steps the budget can still give.
    fn rest(budget: &Budget) -> usize {
        let most = (0..=1000).rev().find(|steps| budget.share(*steps).is_some());
        most.expect("a share of no steps is always there")
    }

    #[test]
    fn a_share_holds_its_steps_and_no_more() {
        let budget = Budget::new(10);
        let share = budget.share(3).expect("10 steps are there, 3 were asked for");
        let taken = (0..5).filter(|_| share.take()).count();
        assert_eq!(taken, 3, "a share of 3 gives 3 steps, and then says no");
        assert_eq!(rest(&budget), 7, "the steps of a share are no longer the budget's");
    }

    #[test]
    fn all_or_nothing() {
        let budget = Budget::new(10);
        let first = budget.share(8);
        assert!(first.is_some(), "10 steps are there, 8 were asked for");
        let why = "two steps would not do for a job that needs three; say so at once";
        assert!(budget.share(3).is_none(), "{why}");
        assert_eq!(rest(&budget), 2, "a request that is refused takes nothing");
    }

    #[test]
    fn what_is_not_used_comes_back() {
        let budget = Budget::new(10);
        let share = budget.share(6).expect("10 steps are there");
        assert!(share.take() && share.take(), "6 steps are there, 2 were taken");
        drop(share);
        assert_eq!(rest(&budget), 8, "2 of 6 steps were used, so 4 return to the budget");
    }

    #[test]
    fn a_share_of_a_share_returns_to_that_share() {
        let budget = Budget::new(10);
        let outer = budget.share(6).expect("10 steps are there");
        let inner = outer.share(4).expect("6 steps are there");
        assert!(outer.share(3).is_none(), "2 steps are left in the outer share");
        assert!(inner.take(), "the inner share has 4 steps");
        drop(inner);
        let taken = (0..10).filter(|_| outer.take()).count();
        assert_eq!(taken, 5, "2 of its own, and 3 that came back from the inner share");
        drop(outer);
        assert_eq!(rest(&budget), 4, "6 steps were used in all");
    }

    #[test]
    fn threads_at_the_same_time_get_no_step_twice() {
        for _ in 0..20 {
            let budget = Budget::new(1000);
            let used: usize = thread::scope(|scope| {
                let agent = || {
                    let mut used = 0;
                    while let Some(share) = budget.share(3) {
                        used += usize::from(share.take()) + usize::from(share.take());
                    }
                    used
                };
                let agents: Vec<_> = (0..4).map(|_| scope.spawn(agent)).collect();
                agents.into_iter().map(|agent| agent.join().unwrap()).sum()
            });
            let rest = rest(&budget);
            let why = "steps that were used and steps that are left are all the steps there were. \
                       If two threads look and then take, one step is given twice";
            assert_eq!(used + rest, 1000, "{why}");
        }
    }
}
