use crate::FencingToken;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// How many attempts at a task may fail. After that it is [`Status::Failed`], until somebody sets
/// it to pending again.
pub const MAX_ATTEMPTS: usize = 3;

/// One task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number, counted from 1. The board assigns it.
    pub id: u64,
    /// What is to be done, in one line.
    pub subject: String,
    /// Everything that its worker must know.
    #[serde(default)]
    pub description: String,
    /// Tasks of a greater priority are begun first.
    #[serde(default)]
    pub priority: i64,
    /// The tasks that must be done before this one can begin.
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
    /// How often it was claimed. It only ever grows, so that of two claims the later one has the
    /// greater number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: u32,
    /// When the lease of its owner ends, in milliseconds since 1970. Without a lease, a task in
    /// progress stays with its owner until somebody changes it.
    #[serde(default, rename = "until", skip_serializing_if = "is_default")]
    pub lease_end: Option<u64>,
    /// Why earlier attempts failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: Vec<String>,
}

impl Task {
    /// The fencing token of the newest claim of this task.
    pub fn token(&self) -> FencingToken {
        FencingToken { task: self.id, attempt: self.attempt }
    }

    /// The task after an attempt that failed: pending again or, after [`MAX_ATTEMPTS`], failed. The
    /// tasks that wait for it keep waiting.
    pub(crate) fn after_failure(&self, why: &str) -> Task {
        let mut task = Task { status: Status::Pending, lease_end: None, ..self.clone() };
        let owner = task.owner.take().unwrap_or_default();
        task.failures.push(format!("attempt {} by {owner}: {why}", task.attempt));
        if task.failures.len() >= MAX_ATTEMPTS {
            task.status = Status::Failed;
            task.result = Some(format!(
                "set aside, as it failed {MAX_ATTEMPTS} times: {}",
                task.failures.join("; ")
            ));
        }
        task
    }
}

/// Values that every task begins with are not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        if let Some(owner) = &self.owner {
            write!(f, ", owner {owner}")?;
        }
        if self.attempt > 1 {
            write!(f, ", attempt {}", self.attempt)?;
        }
        Ok(())
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody works on it.
    #[default]
    Pending,
    /// Its owner works on it.
    InProgress,
    /// It is done. The tasks that waited for it can begin.
    Done,
    /// It failed. The tasks that wait for it keep waiting.
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

/// Tasks by their numbers: `#1 #2`.
pub fn list<'a>(ids: impl IntoIterator<Item = &'a u64>) -> String {
    join(ids, " ")
}

/// Numbers of tasks with a text between them.
pub(crate) fn join<'a>(ids: impl IntoIterator<Item = &'a u64>, separator: &str) -> String {
    ids.into_iter().map(|id| format!("#{id}")).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_only_claims_need_are_not_written_before_the_first_claim() {
        let task = Task { id: 1, subject: "x".into(), ..Task::default() };
        let text = concat!(
            r#"{"id":1,"subject":"x","description":"","priority":0,"after":[],"#,
            r#""status":"pending","owner":null,"result":null}"#
        );
        assert_eq!(serde_json::to_string(&task).unwrap(), text);
        assert_eq!(serde_json::from_str::<Task>(text).unwrap(), task);
        let claimed = Task {
            status: Status::InProgress,
            owner: Some("alice".into()),
            attempt: 1,
            lease_end: Some(9),
            failures: vec!["why".into()],
            ..task
        };
        let text = serde_json::to_string(&claimed).unwrap();
        assert!(text.ends_with(r#""attempt":1,"until":9,"failures":["why"]}"#), "{text}");
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), claimed);
    }
}
