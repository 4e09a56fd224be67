/// How long a claim lasts unless it is renewed, in seconds.
const LEASE: u64 = 30;

/// A task, and who has it.
#[derive(Debug, Default)]
struct Task {
    owner: Option<String>,
    /// How often it was claimed: the fencing token of the newest claim.
    token: u64,
    lease_end: u64,
    result: Option<String>,
}

/// The right to answer for a task.
#[derive(Debug, Clone, PartialEq)]
struct Claim {
    task: usize,
    token: u64,
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
        task.token += 1;
        task.lease_end = now + LEASE;
        Some(Claim { task: number, token: task.token })
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

    /// The task of this claim, if it is the newest one and was not answered. The clock is not
    /// asked: what ends a claim is the next claim.
    fn held(&mut self, claim: &Claim) -> Result<&mut Task, TooLate> {
        let task = &mut self.0[claim.task];
        if task.token == claim.token && task.result.is_none() { Ok(task) } else { Err(TooLate) }
    }
}
