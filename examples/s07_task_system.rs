//! # s07: tasks that wait for each other
//!
//! The plan of s03 lives in one conversation and is gone with it. Work that takes days needs a board that outlives it:
//! tasks on disk, which wait for each other, which several agents (and, from s11 on, several processes) take from, and
//! which no crash may lose.
//!
//! New here: state on disk. The board is a journal, a file to which each change is appended, flushed and only then
//! believed. Whoever changes something holds the lock, first reads what others have written, decides, and appends; so two
//! processes never decide on old news. The crate `rungs-tasks` holds the
//! board; this file gives it to a model.
//!
//! Run it: `cargo run --example s07_task_system`
//!
//! You will see a goal broken into four tasks, one of them refused because it would wait for itself, and the board
//! saying at each step what can be done next.
//!
//! Try: run it with `--keep`, and look at `.rungs/s07_task_system/tasks.jsonl` in the folder that stays.
//!
//! Builds on s01. Motto: *Break big goals into small tasks, order them, persist them.*

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Context, Error, Output, Result, Tool, ToolError, ToolSpec, tools::args};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, process::ExitCode};

pub use rungs_tasks::{Board, Status, Task, TaskError, Tasks, list};

/// A verb of the board, as a tool: what the model is told, and what is done.
struct Verb {
    spec: ToolSpec,
    run: fn(&Board, Value, &str) -> Result<String, ToolError>,
    board: Board,
}

impl Tool for Verb {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let (run, board, who) = (self.run, self.board.clone(), cx.name().to_string());
        Ok(board.blocking(move |board| run(board, input, &who)).await?.into())
    }
}

/// Adds the mechanism: the five verbs of this board.
pub fn install(agent: Agent, board: &Board) -> Agent {
    let word = |what: &str| json!({"type": "string", "description": what});
    let number = |what: &str| json!({"type": "integer", "description": what});
    let ids = json!({"type": "array", "items": {"type": "integer"}, "description": "Tasks that must be done before."});
    let status = json!({"type": "string", "enum": ["pending", "in_progress", "done", "failed"]});
    let listed = board.clone();
    let verb = |name, description, fields: Value, required: &[&str], run| {
        let schema = json!({"type": "object", "properties": fields, "required": required});
        Verb { spec: ToolSpec::new(name, description, schema), run, board: board.clone() }
    };
    agent
        .tool(verb(
            "task_create",
            "Adds a task to the board.",
            json!({"subject": word("What is to be done, in a line."), "description": word("All that whoever does it must know."),
                "priority": number("The greater, the sooner; 0 unless given."), "after": ids}),
            &["subject"],
            create,
        ))
        .tool(verb("task_list", "Lists the tasks, or those of one status.", json!({"status": status}), &[], show))
        .tool(verb("task_get", "Shows one task with everything.", json!({"id": number("Its number.")}), &["id"], get))
        .tool(verb(
            "task_update",
            "Changes a task. Set it to done or failed, with a result, when it is over.",
            json!({"id": number("Its number."), "status": status, "result": word("What came of it."), "owner": word("Who works on it."),
                "priority": number("The greater, the sooner."), "after": ids}),
            &["id"],
            update,
        ))
        .tool(verb("task_next", "Takes the most urgent task that can be begun, and begins it.", json!({}), &[], next))
        .command("tasks", "lists the board", async move |_, _, cx| {
            let board = listed.clone();
            let shown = board.blocking(|board| show(board, json!({}), "")).await;
            cx.notice(shown.unwrap_or_else(|error| error.0));
            Ok::<(), Error>(())
        })
}

#[derive(Deserialize)]
struct Create {
    subject: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    after: BTreeSet<u64>,
}

fn create(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    let Create { subject, description, priority, after } = args(input)?;
    let task = Task { subject, description, priority, after, ..Task::default() };
    Ok(format!("created {}", board.create(task)?))
}

fn show(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct List {
        status: Option<Status>,
    }
    let List { status } = args(input)?;
    let lines: Vec<String> = board.look(|state| {
        let wanted = |task: &&Task| status.is_none_or(|status| task.status == status);
        state.all().filter(wanted).take(MOST + 1).map(|task| task.to_string()).collect()
    })?;
    Ok(match lines.len() {
        0 => "There are none.".into(),
        n if n > MOST => format!("{}\n... more follow", lines[..MOST].join("\n")),
        _ => lines.join("\n"),
    })
}

/// How many tasks one listing shows.
const MOST: usize = 200;

fn get(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Get {
        id: u64,
    }
    let Get { id } = args(input)?;
    let (task, open) =
        board.look(|state| state.get(id).map(|task| (task.clone(), state.blockers(task))))??;
    let mut text = format!("{task}\n{}", task.description);
    if !open.is_empty() {
        text.push_str(&format!("\nwaits for {}", list(&open)));
    }
    task.result.iter().for_each(|result| text.push_str(&format!("\nresult: {result}")));
    Ok(text)
}

fn update(board: &Board, input: Value, _who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Update {
        id: u64,
        status: Option<Status>,
        result: Option<String>,
        owner: Option<String>,
        priority: Option<i64>,
        after: Option<BTreeSet<u64>>,
    }
    let asked: Update = args(input)?;
    let (task, freed) = board.update(asked.id, |task| {
        task.status = asked.status.unwrap_or(task.status);
        task.priority = asked.priority.unwrap_or(task.priority);
        task.after = asked.after.unwrap_or_else(|| std::mem::take(&mut task.after));
        task.result = asked.result.or(task.result.take());
        task.owner = asked.owner.or(task.owner.take());
    })?;
    Ok(match freed.is_empty() {
        true => task.to_string(),
        false => format!("{task}\nnow {} can begin", list(&freed)),
    })
}

fn next(board: &Board, input: Value, who: &str) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Next {}
    let Next {} = args(input)?;
    Ok(match board.take_next(who)? {
        Some(task) => format!("{task}\n{}", task.description),
        None => {
            match board.look(|state| {
                (state.all().len(), state.all().filter(|t| t.status != Status::Done).count())
            })? {
                (0, _) => "The board is empty.".into(),
                (_, 0) => "Everything is done.".into(),
                (_, left) => format!(
                    "Nothing can be begun; in progress, failed or waiting for others: {left}."
                ),
            }
        }
    })
}

/// The agent of lesson one, with a board.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = stage.agent();
        let (board, word) =
            Board::open_async(stage.state().join("tasks.jsonl")).await.map_err(Error::other)?;
        word.into_iter().for_each(|word| agent.context().notice(word));
        Ok(install(agent, &board))
    };
    lessons::run("s07_task_system", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::Chat;

    fn open(dir: &tempfile::TempDir) -> Board {
        Board::open(&dir.path().join("board/tasks.jsonl")).unwrap().0
    }

    #[tokio::test]
    async fn the_model_works_the_board() {
        let dir = tempfile::tempdir().unwrap();
        let (client, _server) = lessons::rehearse(
            "scenes: [{when: ^go$, turns: [
                {call: [{task_create: {subject: a}}, {task_create: {subject: b, after: [1]}}, {task_next: {}}, {task_next: {}},
                        {task_update: {id: 1, status: done, result: fine}}, {task_get: {id: 1}}, {task_list: {status: pending}},
                        {task_update: {id: 1, state: done}}]},
                {say: \"{{ results | map(attribute='text') | join(' | ') }}\"}]}]",
        )
        .await
        .unwrap();
        let agent = install(Agent::new(client, dir.path()), &open(&dir));
        let text = agent_loop(&agent, &mut Chat::new("go")).await.unwrap().text();
        assert_eq!(
            text.split(" | ").collect::<Vec<_>>(),
            [
                "created #1 [pending] a",
                "created #2 [pending] b, after #1",
                "#1 [in_progress] a, owner main\n",
                "Nothing can be begun; in progress, failed or waiting for others: 2.",
                "#1 [done] a, owner main\nnow #2 can begin",
                "#1 [done] a, owner main\n\nresult: fine",
                "#2 [pending] b, after #1",
                "there is no field `state`",
            ]
        );
    }
}
