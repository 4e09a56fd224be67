//! # s07: tasks that wait for each other
//!
//! The plan of s03 lives in one conversation and ends with it. Work that takes days needs a board
//! that outlives it: tasks on disk, which wait for each other, which several agents (and, from s11
//! on, several processes) take from, and which no crash may lose.
//!
//! ```text
//! task_create ──┐                       ┌───────────────────────────────┐
//! task_update ──┤  lock, read what is   │ tasks.jsonl: one change a line│
//! task_next   ──┼─ new, decide, append, ┤ #1 done                       │
//! task_list   ──┤  flush, unlock        │ #2 pending, after #1          │
//! task_get    ──┘                       └───────────────────────────────┘
//! ```
//!
//! New here: state on disk. The board is a **write-ahead journal**: each change is appended and
//! flushed before anybody hears that it was made. Whoever changes something holds the file's lock
//! and first reads what others have written, so two processes never decide on old data. Tasks and
//! what they wait for are a **directed acyclic graph**: a change that would close a cycle is
//! refused. The crate `rungs-tasks` holds journal and graph; this file gives them to a model.
//!
//! Terms: **write-ahead journal**, **advisory lock**, **dependency graph** and **cycle**,
//! **fsync**, **torn write** (a line that a crash left half written; it is set aside when the board
//! is opened).
//!
//! Run it: `cargo run --example s07_task_system`
//!
//! You will see a goal broken into four tasks, one change refused because the task would wait for
//! itself, the board saying at each step what can begin next, and a second process that reads the
//! same board from the disk.
//!
//! Try, and predict first:
//! 1. Run it with `-- --keep` and look at `.rungs/s07_task_system/tasks.jsonl` in the folder that
//!    stays. How many lines has a task that was created, begun and finished? Start the lesson there
//!    again, with `-- --folder` and the folder's name, and type `:tasks`.
//! 2. Delete the last three characters of that file and start the lesson in that folder with a live
//!    model, or read the test `damage_is_set_aside_and_reported` in `crates/tasks`. What is lost?
//! 3. Give two tasks the same priority. Which one does `task_next` take?
//!
//! Pitfalls: a board that is rewritten whole on each change loses all of it when the program dies
//! in the middle; a task that failed must not free those that wait for it.
//!
//! A product also keeps the history of each task, and lets people edit the board beside the agents.
//!
//! Builds on s01. Motto: *Break big goals into small tasks, order them, persist them.*

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Context, Effect, Error, Result, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeSet, process::ExitCode};

pub use rungs_tasks::{Board, Status, Task, TaskError, Tasks, list};

/// How many tasks one listing shows.
const MAX_LISTED_TASKS: usize = 200;

/// The five tools, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Adds a task to the board.
    TaskCreate {
        /// What is to be done, in a line.
        subject: String,
        /// All that whoever does it must know.
        description: Option<String>,
        /// The greater, the sooner; 0 unless given.
        priority: Option<i64>,
        /// The tasks that must be done before.
        after: Option<BTreeSet<u64>>,
    },
    /// Lists the tasks, or those of one status.
    TaskList { status: Option<Status> },
    /// Shows one task with everything.
    TaskGet {
        /// Its number.
        id: u64,
    },
    /// Changes a task. Set it to done or failed, with a result, when it is over.
    TaskUpdate(Update),
    /// Takes the most urgent task that can begin, and begins it.
    TaskNext {},
}

#[derive(Deserialize, JsonSchema)]
struct Update {
    /// Its number.
    id: u64,
    status: Option<Status>,
    /// What came of it.
    result: Option<String>,
    /// Who works on it.
    owner: Option<String>,
    /// The greater, the sooner.
    priority: Option<i64>,
    /// The tasks that must be done before.
    after: Option<BTreeSet<u64>>,
}

impl Update {
    fn apply(self, task: &mut Task) {
        if let Some(status) = self.status {
            task.status = status;
        }
        if let Some(priority) = self.priority {
            task.priority = priority;
        }
        if let Some(after) = self.after {
            task.after = after;
        }
        if self.result.is_some() {
            task.result = self.result;
        }
        if self.owner.is_some() {
            task.owner = self.owner;
        }
    }
}

/// The board waits for the disk and for its lock, so its work is done on a blocking thread.
async fn run(board: &Board, call: Call, cx: &Context) -> Result<String, ToolError> {
    let who = cx.name().to_string();
    let answer = board.blocking(move |board| work(board, call, &who)).await;
    for notice in board.take_notices() {
        cx.notice(notice);
    }
    answer
}

fn work(board: &Board, call: Call, who: &str) -> Result<String, ToolError> {
    match call {
        Call::TaskCreate { subject, description, priority, after } => {
            let task = Task {
                subject,
                description: description.unwrap_or_default(),
                priority: priority.unwrap_or_default(),
                after: after.unwrap_or_default(),
                ..Task::default()
            };
            Ok(format!("created {}", board.create(task)?))
        }
        Call::TaskList { status } => Ok(listing(board, status)),
        Call::TaskGet { id } => details(board, id),
        Call::TaskUpdate(update) => {
            let (task, freed) = board.update(update.id, |task| update.apply(task))?;
            if freed.is_empty() {
                return Ok(task.to_string());
            }
            Ok(format!("{task}\nnow {} can begin", list(&freed)))
        }
        Call::TaskNext {} => next(board, who),
    }
}

fn listing(board: &Board, status: Option<Status>) -> String {
    let (lines, failed): (Vec<String>, _) = board.view(|tasks| {
        let wanted = |task: &&Task| status.is_none_or(|status| task.status == status);
        let all = tasks.all().filter(wanted).map(ToString::to_string);
        all.take(MAX_LISTED_TASKS + 1).collect()
    });
    let listing = match lines.get(..MAX_LISTED_TASKS) {
        Some(first) if lines.len() > MAX_LISTED_TASKS => {
            format!("{}\n... more follow", first.join("\n"))
        }
        _ if lines.is_empty() => "There are none.".into(),
        _ => lines.join("\n"),
    };
    match failed {
        Some(error) => format!("{listing}\n(as last known: {error})"),
        None => listing,
    }
}

fn details(board: &Board, id: u64) -> Result<String, ToolError> {
    let found =
        board.look(|tasks| tasks.get(id).map(|task| (task.clone(), tasks.blockers(task))))?;
    let (task, blockers) = found?;
    let mut text = format!("{task}\n{}", task.description);
    if !blockers.is_empty() {
        text.push_str(&format!("\nwaits for {}", list(&blockers)));
    }
    if let Some(result) = &task.result {
        text.push_str(&format!("\nresult: {result}"));
    }
    Ok(text)
}

fn next(board: &Board, who: &str) -> Result<String, ToolError> {
    if let Some(task) = board.take_next(who)? {
        return Ok(format!("{task}\n{}", task.description));
    }
    let (all, left) = board.look(|tasks| {
        let left = tasks.all().filter(|task| task.status != Status::Done).count();
        (tasks.all().len(), left)
    })?;
    Ok(match (all, left) {
        (0, _) => "The board is empty.".into(),
        (_, 0) => "Everything is done.".into(),
        (_, left) => {
            format!("Nothing can begin; in progress, failed or waiting for others: {left}.")
        }
    })
}

/// Adds the mechanism: the tools of this board.
pub fn install(agent: Agent, board: &Board) -> Agent {
    for notice in board.take_notices() {
        agent.context().notice(notice);
    }
    let listed = board.clone();
    let effect = |call: &Call| match call {
        Call::TaskList { .. } | Call::TaskGet { .. } => Effect::Reads,
        _ => Effect::Internal,
    };
    agent.tools(board.clone(), effect, run).command(
        "tasks",
        "lists the board",
        async move |_, _, cx| {
            cx.notice(listed.blocking(|board| listing(board, None)).await);
            Ok::<(), Error>(())
        },
    )
}

/// The agent of lesson one, with a board.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let (agent, state) = (stage.agent(), stage.state().await?);
        let board = Board::open_async(&state, "tasks.jsonl").await.map_err(Error::other)?;
        Ok(install(agent, &board))
    };
    lessons::run("s07_task_system", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{play, results};
    use rehearsal::{calls, say, scene};
    use serde_json::json;

    fn open(dir: &std::path::Path) -> Board {
        let folder = durable::Folder::open(dir, "board").unwrap();
        Board::open(&folder, "tasks.jsonl").unwrap()
    }

    #[tokio::test]
    async fn the_model_works_the_board() {
        let turns = [
            calls([
                ("task_next", json!({})),
                ("task_create", json!({"subject": "a"})),
                ("task_create", json!({"subject": "b", "after": [1]})),
                ("task_next", json!({})),
                ("task_next", json!({})),
                ("task_update", json!({"id": 1, "status": "done", "result": "fine"})),
                ("task_get", json!({"id": 1})),
                ("task_get", json!({"id": 2})),
                ("task_list", json!({"status": "pending"})),
                ("task_list", json!({"status": "failed"})),
                ("task_update", json!({"id": 1, "state": "done"})),
            ]),
            say("done"),
        ];
        let play = play([scene("^go$", turns)], |agent, dir| install(agent, &open(dir))).await;
        let (_, chat) = play.ask("go").await;
        let fields = "(there are: id, status, result, owner, priority, after)";
        assert_eq!(
            results(&chat.messages()[2]),
            [
                "The board is empty.",
                "created #1 [pending] a",
                "created #2 [pending] b, after #1",
                "#1 [in_progress] a, owner main\n",
                "Nothing can begin; in progress, failed or waiting for others: 2.",
                "#1 [done] a, owner main\nnow #2 can begin",
                "#1 [done] a, owner main\n\nresult: fine",
                "#2 [pending] b, after #1\n",
                "#2 [pending] b, after #1",
                "There are none.",
                &format!("there is no field `state` {fields}"),
            ]
        );
    }

    #[tokio::test]
    async fn a_long_board_says_that_more_follows() {
        let dir = tempfile::tempdir().unwrap();
        let board = open(dir.path());
        let task = |subject: String| Task { subject, ..Task::default() };
        for n in 1..=MAX_LISTED_TASKS {
            board.create(task(format!("t{n}"))).unwrap();
        }
        assert!(listing(&board, None).ends_with("#200 [pending] t200"));
        board.create(task("one more".into())).unwrap();
        let lines = listing(&board, None);
        assert!(lines.ends_with("#200 [pending] t200\n... more follow"), "{lines}");
    }
}
