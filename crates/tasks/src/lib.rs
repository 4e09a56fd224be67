//! Tasks that wait for each other: what can begin, what becomes free, what makes no sense.
//!
//! Nothing here touches a disk or a clock. A decision ([`created`](Tasks::created), [`taken`](Tasks::taken),
//! [`updated`](Tasks::updated)) changes nothing: it says how a task would be then, and [`set`](Tasks::set) makes it so, once
//! whoever keeps the tasks has written it down.
//!
//! ```
//! use rungs_tasks::{Status, Task, Tasks};
//!
//! let mut tasks = Tasks::default();
//! let task = |subject: &str, after: &[u64]| Task {
//!     subject: subject.into(),
//!     after: after.iter().copied().collect(),
//!     ..Task::default()
//! };
//! for new in [task("build", &[]), task("ship", &[1])] {
//!     let new = tasks.created(new)?;
//!     tasks.set(new);
//! }
//! assert_eq!(tasks.updated(1, |task| task.after = [2].into()).unwrap_err().to_string(),
//!     "that would be a circle, and nothing in it could ever begin: #1 waits for #2 waits for #1");
//! let (done, freed) = tasks.updated(1, |task| task.status = Status::Done)?;
//! assert_eq!((done.to_string().as_str(), freed), ("#1 [done] build", vec![2]));
//! # Ok::<(), rungs_tasks::Refused>(())
//! ```
mod graph;

pub use graph::{Graph, Phase};

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A task that fails so often is set aside, until somebody sets it to pending again.
pub const ATTEMPTS: usize = 3;

/// One task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Counted from 1.
    pub id: u64,
    /// What is to be done, in a line.
    pub subject: String,
    /// All that whoever does it must know.
    #[serde(default)]
    pub description: String,
    /// The greater, the sooner.
    #[serde(default)]
    pub priority: i64,
    /// The tasks that must be done before.
    #[serde(default)]
    pub after: BTreeSet<u64>,
    /// How far it is.
    #[serde(default)]
    pub status: Status,
    /// Who works on it, or did.
    #[serde(default)]
    pub owner: Option<String>,
    /// What came of it.
    #[serde(default)]
    pub result: Option<String>,
    /// How often it was claimed. It only ever grows, so of two claims the later one has the greater number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: u32,
    /// Until when its owner holds it, in milliseconds since 1970: a lease. Without one, a task in progress is held until
    /// somebody changes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: Option<u64>,
    /// Why the attempts failed that have failed so far.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: Vec<String>,
}

impl Task {
    /// The task after an attempt that failed: to be claimed again or, after [`ATTEMPTS`], set aside. What waits for it goes
    /// on waiting.
    pub fn failed(&self, why: &str) -> Task {
        let mut task = Task { status: Status::Pending, until: None, ..self.clone() };
        let owner = task.owner.take().unwrap_or_default();
        task.failures.push(format!("attempt {} by {owner}: {why}", task.attempt));
        if task.failures.len() >= ATTEMPTS {
            task.status = Status::Failed;
            task.result = Some(format!(
                "set aside, as it failed {ATTEMPTS} times: {}",
                task.failures.join("; ")
            ));
        }
        task
    }
}

/// What every task begins with is not written down.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody works on it.
    #[default]
    Pending,
    /// Somebody does.
    InProgress,
    /// It is done: what waited for it need wait no longer.
    Done,
    /// It failed: what waits for it goes on waiting.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Pending => "pending",
            Status::InProgress => "in_progress",
            Status::Done => "done",
            Status::Failed => "failed",
        })
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} [{}] {}", self.id, self.status, self.subject)?;
        if self.priority != 0 {
            write!(f, ", priority {}", self.priority)?;
        }
        if !self.after.is_empty() {
            write!(f, ", after {}", list(&self.after))?;
        }
        self.owner.iter().try_for_each(|owner| write!(f, ", owner {owner}"))?;
        if self.attempt > 1 {
            write!(f, ", attempt {}", self.attempt)?;
        }
        Ok(())
    }
}

/// Tasks by their numbers: `#1 #2`.
pub fn list<'a>(ids: impl IntoIterator<Item = &'a u64>) -> String {
    ids.into_iter().map(|id| format!("#{id}")).collect::<Vec<_>>().join(" ")
}

/// What makes no sense, and so is not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such task.
    Unknown(u64),
    /// The task would wait for itself, by this way.
    Cycle(Vec<u64>),
    /// It can't begin or end before these are done.
    Waits(u64, Vec<u64>),
    /// A task is told by one line, so its subject is one.
    Subject,
    /// Whoever made this attempt no longer holds the task, which is now as shown.
    Late(u32, Box<Task>),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unknown(id) => write!(f, "there is no task #{id}"),
            Refused::Cycle(way) => {
                let way: Vec<String> = way.iter().map(|id| format!("#{id}")).collect();
                write!(
                    f,
                    "that would be a circle, and nothing in it could ever begin: {}",
                    way.join(" waits for ")
                )
            }
            Refused::Waits(id, open) => write!(f, "#{id} waits for {}", list(open)),
            Refused::Subject => write!(f, "a subject is one line, and not empty"),
            Refused::Late(attempt, task) => {
                write!(f, "attempt {attempt} is over, and this comes too late: {task}")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// All tasks, and what follows from them.
#[derive(Debug, Default)]
pub struct Tasks {
    tasks: BTreeMap<u64, Task>,
    graph: Graph,
    /// When each lease ends, and whose it is: the first to end comes first.
    leases: BTreeSet<(u64, u64)>,
}

impl Tasks {
    /// The task of this number.
    pub fn get(&self, id: u64) -> Result<&Task, Refused> {
        self.tasks.get(&id).ok_or(Refused::Unknown(id))
    }

    /// All of them, by number.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Task> {
        self.tasks.values()
    }

    /// What a task still waits for.
    pub fn open(&self, task: &Task) -> Vec<u64> {
        self.graph.open(&task.after)
    }

    /// Puts a task in the place of the one of its number.
    pub fn set(&mut self, task: Task) {
        let phase = match task.status {
            Status::Pending => Phase::Waiting,
            Status::InProgress | Status::Failed => Phase::Busy,
            Status::Done => Phase::Done,
        };
        self.graph.set(task.id, task.priority, task.after.iter().copied(), phase);
        if let Some(Task { until: Some(until), .. }) = self.tasks.get(&task.id) {
            self.leases.remove(&(*until, task.id));
        }
        self.leases.extend(task.until.map(|until| (until, task.id)));
        self.tasks.insert(task.id, task);
    }

    /// The most urgent task that can begin.
    pub fn next(&self) -> Option<&Task> {
        Some(&self.tasks[&self.graph.next()?])
    }

    /// The tasks whose lease has run out, the one that has lain longest first.
    pub fn expired(&self, now: u64) -> impl Iterator<Item = &Task> {
        self.leases.range(..=(now, u64::MAX)).map(|(_, id)| &self.tasks[id])
    }

    /// A new task: its number and status are decided here.
    pub fn created(&self, task: Task) -> Result<Task, Refused> {
        if task.subject.trim().is_empty() || task.subject.contains(['\n', '\r']) {
            return Err(Refused::Subject);
        }
        task.after.iter().try_for_each(|id| self.get(*id).map(drop))?;
        let id = self.tasks.last_key_value().map_or(1, |(id, _)| id + 1);
        Ok(Task { id, status: Status::Pending, until: None, ..task })
    }

    /// What becomes of a claim by `owner` at this time, on a lease until then (both in milliseconds since 1970): the tasks
    /// that change, and the one that was claimed. It is one whose lease has run out, else the most urgent that can begin.
    pub fn claimed(&self, owner: &str, now: u64, until: u64) -> (Vec<Task>, Option<Task>) {
        let (mut changed, mut next) = (vec![], self.next().cloned());
        for lost in self.expired(now) {
            let lost = lost.failed("its lease ran out");
            if lost.status == Status::Pending && self.open(&lost).is_empty() {
                next = Some(lost);
                break;
            }
            // Set aside, or back to waiting for something that is done anew.
            changed.push(lost);
        }
        let claimed = next.map(|task| Task {
            status: Status::InProgress,
            owner: Some(owner.into()),
            attempt: task.attempt + 1,
            until: Some(until),
            ..task
        });
        changed.extend(claimed.clone());
        (changed, claimed)
    }

    /// The task, if this attempt at it is the newest, and nobody has answered for it or changed it by hand.
    pub fn fenced(&self, id: u64, attempt: u32) -> Result<&Task, Refused> {
        let task = self.get(id)?;
        if task.attempt == attempt && task.until.is_some() {
            Ok(task)
        } else {
            Err(Refused::Late(attempt, Box::new(task.clone())))
        }
    }

    /// The most urgent task that can begin, in the hands of `owner`.
    pub fn taken(&self, owner: &str) -> Option<Task> {
        Some(Task { status: Status::InProgress, owner: Some(owner.into()), ..self.next()?.clone() })
    }

    /// A task after an edit, and which tasks could begin because of it.
    pub fn updated(
        &self,
        id: u64,
        edit: impl FnOnce(&mut Task),
    ) -> Result<(Task, Vec<u64>), Refused> {
        let old = self.get(id)?;
        let mut task = old.clone();
        edit(&mut task);
        if task.status == Status::Pending {
            task.owner = None;
        }
        // Whoever says how far a task is, or whose, takes it from the one who had it on a lease.
        if (task.status, &task.owner) != (old.status, &old.owner) {
            task.until = None;
        }
        // A task that was given up and is wanted again starts anew. Its attempts are numbered on, though: an answer from
        // before must not fit.
        if (old.status, task.status) == (Status::Failed, Status::Pending) {
            task.failures.clear();
        }
        task.after.iter().try_for_each(|before| self.get(*before).map(drop))?;
        if let Some(way) = self.graph.circle(id, task.after.iter().copied()) {
            return Err(Refused::Cycle(way));
        }
        let open = self.open(&task);
        let moved = task.status != old.status || task.after != old.after;
        if moved && matches!(task.status, Status::InProgress | Status::Done) && !open.is_empty() {
            return Err(Refused::Waits(id, open));
        }
        let freed = if task.status == Status::Done { self.graph.freed_by(id) } else { vec![] };
        Ok((task, freed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: u64, until: Option<u64>) -> Task {
        let status = Status::InProgress;
        Task {
            id,
            subject: "x".into(),
            status,
            owner: Some("alice".into()),
            attempt: 1,
            until,
            ..Task::default()
        }
    }

    #[test]
    fn leases_end_in_their_order_whatever_became_of_them_meanwhile() {
        let mut tasks = Tasks::default();
        for (id, until) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20)), (5, Some(5))] {
            tasks.set(held(id, until));
        }
        // Renewed, and done.
        tasks.set(held(2, Some(40)));
        tasks.set(tasks.updated(5, |task| task.status = Status::Done).unwrap().0);
        let expired = |now| tasks.expired(now).map(|task| task.id).collect::<Vec<_>>();
        assert_eq!([19, 20, 30, 99].map(expired), [vec![], vec![4], vec![4, 1], vec![4, 1, 2]]);
    }

    #[test]
    fn a_change_by_hand_ends_the_lease_when_it_says_how_far_the_task_is_or_whose() {
        let mut tasks = Tasks::default();
        tasks.set(Task { failures: vec!["why".into()], ..held(1, Some(9)) });
        let changed = |edit: fn(&mut Task)| {
            let task = tasks.updated(1, edit).unwrap().0;
            (task.until, task.attempt, task.failures.len())
        };
        assert_eq!(changed(|task| task.priority = 3), (Some(9), 1, 1));
        assert_eq!(changed(|task| task.owner = Some("bob".into())), (None, 1, 1));
        assert_eq!(changed(|task| task.status = Status::Pending), (None, 1, 1));
        assert_eq!(changed(|task| task.status = Status::Done), (None, 1, 1));
        tasks.set(tasks.updated(1, |task| task.status = Status::Failed).unwrap().0);
        let task = tasks.updated(1, |task| task.status = Status::Pending).unwrap().0;
        assert_eq!((task.until, task.attempt, task.failures), (None, 1, vec![]));
    }

    #[test]
    fn what_was_never_claimed_is_written_as_ever() {
        let task = Task { id: 1, subject: "x".into(), ..Task::default() };
        let text = r#"{"id":1,"subject":"x","description":"","priority":0,"after":[],"status":"pending","owner":null,"result":null}"#;
        assert_eq!(serde_json::to_string(&task).unwrap(), text);
        assert_eq!(serde_json::from_str::<Task>(text).unwrap(), task);
        let claimed = Task { failures: vec!["why".into()], ..held(1, Some(9)) };
        let text = serde_json::to_string(&claimed).unwrap();
        assert!(text.ends_with(r#""attempt":1,"until":9,"failures":["why"]}"#), "{text}");
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), claimed);
    }
}
