use crate::{
    FencingToken, Status, Task,
    graph::{Graph, Phase},
    task::{join, list},
};
use std::collections::{BTreeMap, BTreeSet};

/// Why a task cannot be changed like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// There is no task of this number.
    #[error("there is no task #{0}")]
    Unknown(u64),
    /// The task would wait for itself, along this path.
    #[error(
        "that would be a cycle, and nothing in it could ever begin: {}",
        join(.0, " waits for ")
    )]
    Cycle(Vec<u64>),
    /// The task can neither begin nor end before its blockers are done.
    #[error("#{id} waits for {}", list(.blockers))]
    Blocked {
        /// The task.
        id: u64,
        /// What it waits for.
        blockers: Vec<u64>,
    },
    /// Somebody else has changed the status or the owner of the task, which is now as shown.
    #[error("the board was changed meanwhile, and says: {0}")]
    Changed(Box<Task>),
    /// A list shows a task in one line, so its subject is one.
    #[error("a subject is one line, and not empty")]
    InvalidSubject,
    /// The fencing token is stale: the task was answered, changed by hand, or taken over.
    #[error("too late: the fencing token of attempt {attempt} is stale; now {task}")]
    Stale {
        /// The attempt of the token.
        attempt: u32,
        /// The task as it is now.
        task: Box<Task>,
    },
}

/// All tasks, and what can be decided about them without a disk or a clock.
///
/// A decision ([`created`](Tasks::created), [`claimed`](Tasks::claimed),
/// [`updated`](Tasks::updated) and so on) changes nothing. It returns the task as it would be then;
/// once that is written, [`set`](Tasks::set) makes it so.
///
/// ```
/// use rungs_tasks::{Status, Task, Tasks};
///
/// let mut tasks = Tasks::default();
/// let task = |subject: &str, after: &[u64]| Task {
///     subject: subject.into(),
///     after: after.iter().copied().collect(),
///     ..Task::default()
/// };
/// for new in [task("build", &[]), task("ship", &[1])] {
///     let new = tasks.created(new)?;
///     tasks.set(new);
/// }
/// assert_eq!(tasks.updated(1, |task| task.after = [2].into()).unwrap_err().to_string(),
///     "that would be a cycle, and nothing in it could ever begin: #1 waits for #2 waits for #1");
/// let (done, freed) = tasks.updated(1, |task| task.status = Status::Done)?;
/// assert_eq!((done.to_string().as_str(), freed), ("#1 [done] build", vec![2]));
/// # Ok::<(), rungs_tasks::TaskError>(())
/// ```
#[derive(Debug, Default)]
pub struct Tasks {
    tasks: BTreeMap<u64, Task>,
    graph: Graph,
    /// The end of each lease and its task: the first to end comes first.
    leases: BTreeSet<(u64, u64)>,
}

impl Tasks {
    /// The task of this number.
    ///
    /// # Errors
    /// [`TaskError::Unknown`], as every method here that is given a number.
    pub fn get(&self, id: u64) -> Result<&Task, TaskError> {
        self.tasks.get(&id).ok_or(TaskError::Unknown(id))
    }

    /// All of them, by number.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Task> {
        self.tasks.values()
    }

    /// The tasks that this one still waits for.
    pub fn blockers(&self, task: &Task) -> Vec<u64> {
        self.graph.not_done(&task.after)
    }

    /// The pending task that comes next: of all that wait for nothing the one of the greatest
    /// priority, then of the smallest number.
    pub fn next(&self) -> Option<&Task> {
        self.graph.next().map(|id| &self.tasks[&id])
    }

    /// The tasks whose lease has ended at this time (milliseconds since 1970), the first to end
    /// first.
    pub fn expired(&self, now: u64) -> impl Iterator<Item = &Task> {
        self.leases.range(..=(now, u64::MAX)).map(|(_, id)| &self.tasks[id])
    }

    /// Whether a claim at this time (milliseconds since 1970) would find something to do. It costs
    /// next to nothing.
    pub fn is_claimable(&self, now: u64) -> bool {
        self.next().is_some() || self.expired(now).next().is_some()
    }

    /// Stores a task in the place of the one of its number.
    pub fn set(&mut self, task: Task) {
        let phase = match task.status {
            Status::Pending => Phase::Waiting,
            Status::InProgress | Status::Failed => Phase::Busy,
            Status::Done => Phase::Done,
        };
        self.graph.set(task.id, task.priority, task.after.clone(), phase);
        let (id, lease_end) = (task.id, task.lease_end);
        if let Some(Task { lease_end: Some(old_end), .. }) = self.tasks.insert(id, task) {
            self.leases.remove(&(old_end, id));
        }
        if let Some(lease_end) = lease_end {
            self.leases.insert((lease_end, id));
        }
    }

    /// A new task. Its number and status are decided here.
    ///
    /// # Errors
    /// [`TaskError::InvalidSubject`], or [`TaskError::Unknown`] for a task that it is to wait for.
    pub fn created(&self, task: Task) -> Result<Task, TaskError> {
        if task.subject.trim().is_empty() || task.subject.contains(['\n', '\r']) {
            return Err(TaskError::InvalidSubject);
        }
        self.check_exist(&task.after)?;
        let id = self.tasks.last_key_value().map_or(1, |(id, _)| id + 1);
        Ok(Task { id, status: Status::Pending, lease_end: None, ..task })
    }

    fn check_exist(&self, ids: &BTreeSet<u64>) -> Result<(), TaskError> {
        for id in ids {
            self.get(*id)?;
        }
        Ok(())
    }

    /// The next task, in progress for `owner`, without a lease.
    pub fn taken(&self, owner: &str) -> Option<Task> {
        Some(Task { status: Status::InProgress, owner: Some(owner.into()), ..self.next()?.clone() })
    }

    /// A task after an edit, and the tasks that could begin because of it.
    ///
    /// An edit of the status or the owner ends a lease. A failed task that becomes pending again
    /// starts with no failures.
    ///
    /// # Errors
    /// [`TaskError::Cycle`], [`TaskError::Blocked`], or [`TaskError::Unknown`] for a task that it
    /// is to wait for.
    pub fn updated(
        &self,
        id: u64,
        edit: impl FnOnce(&mut Task),
    ) -> Result<(Task, Vec<u64>), TaskError> {
        let old = self.get(id)?;
        let mut task = old.clone();
        edit(&mut task);
        if task.status == Status::Pending {
            task.owner = None;
        }
        if (task.status, &task.owner) != (old.status, &old.owner) {
            task.lease_end = None;
        }
        // Its attempts are not counted anew: a token from before must stay stale.
        if (old.status, task.status) == (Status::Failed, Status::Pending) {
            task.failures.clear();
        }
        let reordered = task.after != old.after;
        if reordered {
            self.check_exist(&task.after)?;
            if let Some(path) = self.graph.cycle(id, &task.after) {
                return Err(TaskError::Cycle(path));
            }
        }
        // Only what this edit changes is judged: a task in progress whose dependency was opened
        // again stays editable.
        let blockers = self.blockers(&task);
        if (reordered || task.status != old.status)
            && matches!(task.status, Status::InProgress | Status::Done)
            && !blockers.is_empty()
        {
            return Err(TaskError::Blocked { id, blockers });
        }
        let freed = if task.status == Status::Done { self.graph.freed_by(id) } else { vec![] };
        Ok((task, freed))
    }

    /// A claim by `owner`: the tasks that it changes, and the one that it claims, if there is one.
    /// Times are in milliseconds since 1970.
    ///
    /// A task whose lease has ended is taken over first; its last attempt counts as failed.
    /// Otherwise it is the [`next`](Tasks::next) one.
    pub fn claimed(&self, owner: &str, now: u64, lease_end: u64) -> (Vec<Task>, Option<Task>) {
        let (mut changed, mut next) = (vec![], self.next().cloned());
        for expired in self.expired(now) {
            let expired = expired.after_failure("its lease ran out");
            if expired.status == Status::Pending && self.blockers(&expired).is_empty() {
                next = Some(expired);
                break;
            }
            // It failed too often, or waits again for a task that was opened again.
            changed.push(expired);
        }
        let claimed = next.map(|task| Task {
            status: Status::InProgress,
            owner: Some(owner.into()),
            attempt: task.attempt + 1,
            lease_end: Some(lease_end),
            ..task
        });
        changed.extend(claimed.clone());
        (changed, claimed)
    }

    /// The fence: the task of this token, if that is the newest one, and nobody has answered for
    /// the task or changed it by hand since.
    ///
    /// Whether its lease has ended is not asked. While nobody has taken the task over, a late
    /// answer harms nobody, and to refuse it would throw work away. A clock could not fence anyway:
    /// between a look at it and the write, time passes.
    ///
    /// # Errors
    /// [`TaskError::Stale`].
    pub fn fenced(&self, token: FencingToken) -> Result<&Task, TaskError> {
        let task = self.get(token.task)?;
        if task.token() == token && task.lease_end.is_some() {
            Ok(task)
        } else {
            Err(TaskError::Stale { attempt: token.attempt, task: Box::new(task.clone()) })
        }
    }

    /// The task with a lease that ends then (milliseconds since 1970).
    ///
    /// # Errors
    /// [`TaskError::Stale`], as the three below.
    pub fn renewed(&self, token: FencingToken, lease_end: u64) -> Result<Task, TaskError> {
        Ok(Task { lease_end: Some(lease_end), ..self.fenced(token)?.clone() })
    }

    /// The task when it is done, and the tasks that could begin because of it.
    ///
    /// # Errors
    /// Also [`TaskError::Blocked`], when a task that it waited for was opened again.
    pub fn finished(
        &self,
        token: FencingToken,
        result: &str,
    ) -> Result<(Task, Vec<u64>), TaskError> {
        self.fenced(token)?;
        self.updated(token.task, |task| {
            task.status = Status::Done;
            task.result = Some(result.into());
        })
    }

    /// The task when this attempt has failed: pending again, with the reason for whoever claims it
    /// next, or failed after [`MAX_ATTEMPTS`](crate::MAX_ATTEMPTS).
    ///
    /// # Errors
    /// See [`renewed`](Tasks::renewed).
    pub fn failed(&self, token: FencingToken, why: &str) -> Result<Task, TaskError> {
        Ok(self.fenced(token)?.after_failure(why))
    }

    /// The task when its worker gives it back: pending, and no attempt has failed.
    ///
    /// # Errors
    /// See [`renewed`](Tasks::renewed).
    pub fn released(&self, token: FencingToken) -> Result<Task, TaskError> {
        self.fenced(token)?;
        Ok(self.updated(token.task, |task| task.status = Status::Pending)?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: u64, lease_end: Option<u64>) -> Task {
        let status = Status::InProgress;
        Task {
            id,
            subject: "x".into(),
            status,
            owner: Some("alice".into()),
            attempt: 1,
            lease_end,
            ..Task::default()
        }
    }

    #[test]
    fn leases_end_in_their_order_also_when_they_were_renewed_or_answered() {
        let mut tasks = Tasks::default();
        for (id, end) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20)), (5, Some(5))] {
            tasks.set(held(id, end));
        }
        tasks.set(tasks.renewed(held(2, None).token(), 40).unwrap());
        tasks.set(tasks.updated(5, |task| task.status = Status::Done).unwrap().0);
        let expired = |now| tasks.expired(now).map(|task| task.id).collect::<Vec<_>>();
        assert_eq!([19, 20, 30, 99].map(expired), [vec![], vec![4], vec![4, 1], vec![4, 1, 2]]);
    }

    #[test]
    fn a_change_by_hand_ends_the_lease_when_it_is_of_the_status_or_the_owner() {
        let mut tasks = Tasks::default();
        tasks.set(Task { failures: vec!["why".into()], ..held(1, Some(9)) });
        let changed = |edit: fn(&mut Task)| {
            let task = tasks.updated(1, edit).unwrap().0;
            (task.lease_end, task.attempt, task.failures.len())
        };
        assert_eq!(changed(|task| task.priority = 3), (Some(9), 1, 1));
        assert_eq!(changed(|task| task.owner = Some("bob".into())), (None, 1, 1));
        assert_eq!(changed(|task| task.status = Status::Pending), (None, 1, 1));
        assert_eq!(changed(|task| task.status = Status::Done), (None, 1, 1));
        tasks.set(tasks.updated(1, |task| task.status = Status::Failed).unwrap().0);
        let task = tasks.updated(1, |task| task.status = Status::Pending).unwrap().0;
        assert_eq!((task.lease_end, task.attempt, task.failures), (None, 1, vec![]));
    }
}
