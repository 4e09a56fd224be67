//! # s12: a working tree for each task
//!
//! Subagents that work side by side in one folder overwrite each other's files, and read each other's half-done work.
//! Changing the directory is no way out: a process has one, and whoever changes it moves all the others too.
//!
//! New here: each task of the board gets a git worktree, a second folder of the same repository, on a branch of its own.
//! The subagent that does it is bound to that folder by `agent.at`, and with it every tool, since they all ask the agent
//! where they are. What it leaves is committed to the branch, also when it failed, and kept: tree and branch stay until
//! somebody removes the tree, and a tree with work that no commit holds is not removed. The crate `rungs-worktree` deals
//! with git; this file decides who works where, and what becomes of it.
//!
//! Run it: `cargo run --example s12_worktree_task_isolation`
//!
//! You will see four tasks done at once, three of them on the same file; what each left, as git itself tells it; and a
//! tree that is not removed, because work would be lost.
//!
//! Try: run it with `--keep`, and type `git worktree list` and `git log --all --graph --oneline` in the folder that stays.
//!
//! Builds on s04, s07. Motto: *Each works in its own directory.*

use lessons::{
    s01_loop::agent_loop,
    s04_subagent::{self, Report},
    s07_task_system::{self, Board, Refused, Status, Task, Tasks},
};
use rungs_core::{Agent, Chat, Context, Error, Output, Result, Tool, ToolError, ToolSpec, tools::args};
use rungs_worktree::{State, Tree, Trees};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What a subagent is not given: it would work in its own tree's trees, or take those of others away.
const WITHOUT: [&str; 2] = ["work_on", "worktree_remove"];

/// The tasks of a board, and the trees in which they are done.
#[derive(Clone)]
struct Bench {
    board: Board,
    rungs: PathBuf,
}

/// The name of a task's tree. The number alone would not do: another board counts from 1 again.
fn name(task: &Task) -> String {
    let letters = task.subject.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let words: String = letters.collect();
    let name = format!("{} {words}", task.id).split_whitespace().collect::<Vec<_>>().join("-");
    name.chars().take(40).collect::<String>().trim_end_matches('-').into()
}

/// The task, if it can begin, or if it was begun here and cut off.
fn ready(tasks: &Tasks, id: u64) -> Result<Task, ToolError> {
    let task = tasks.get(id)?;
    let owner = rungs_worktree::branch(&name(task));
    let cut_off = task.status == Status::InProgress && task.owner.as_ref() == Some(&owner);
    if task.status != Status::Pending && !cut_off {
        return Err(ToolError(format!("the board says: {task}. Set it to pending if it is to be worked on")));
    }
    match tasks.open(task) {
        open if open.is_empty() => Ok(Task { status: Status::InProgress, owner: Some(owner), ..task.clone() }),
        open => Err(Refused::Waits(id, open).into()),
    }
}

/// Git and the board wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    tokio::task::spawn_blocking(work).await?
}

impl Bench {
    /// The trees of the repository in which this agent is.
    fn trees(&self, cx: &Context) -> Trees {
        Trees::new(cx.cwd(), self.rungs.join("s12_worktree_task_isolation/trees"))
    }

    /// Nobody but this program's own repository ignores `.rungs`; without this, `git add` would take it in.
    fn hide(&self) -> Result<(), ToolError> {
        durable::create_folder(&self.rungs)?;
        match fs::File::create_new(self.rungs.join(".gitignore")) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => Ok(made?.write_all(b"*\n")?),
        }
    }

    /// Takes the tree first and the task after: whoever has the tree knows that nobody else works on the task.
    fn begin(&self, trees: &Trees, id: u64) -> Result<(Task, Tree), ToolError> {
        let task = self.board.look(|tasks| ready(tasks, id))??;
        self.hide()?;
        let tree = trees.take(&name(&task))?;
        let begun = self.board.change(|tasks| match ready(tasks, id) {
            Ok(task) => Ok((vec![task.clone()], Ok(task))),
            Err(error) => Ok((vec![], Err(error))),
        })?;
        Ok((begun?, tree))
    }

    /// Commits what is there, whatever came of the task, and writes that on the board.
    fn end(&self, task: &Task, tree: &Tree, report: &Report) -> Result<String, ToolError> {
        let mark = if report.failed { "Unfinished: " } else { "" };
        let committed = tree.commit(&format!("{mark}{}\n\nTask #{}.", task.subject, task.id)).and_then(|commit| {
            let commit = commit.map_or_else(
                || "nothing new to commit".into(),
                |commit| format!("committed as {}, files changed: {}", commit.id, commit.files),
            );
            Ok(format!("{commit}\n{}", tree.state()?))
        });
        let failed = report.failed || committed.is_err();
        let left = committed.unwrap_or_else(|error| format!("not committed, and left as it is: {error}"));
        let result = format!("{}\n{left}", report.text.trim());
        let written = self.board.update(task.id, |task| {
            task.status = if failed { Status::Failed } else { Status::Done };
            task.result = Some(result.clone());
        });
        match written {
            Err(error) => Err(ToolError(format!("{result}\nThe board does not know yet: {error}"))),
            Ok(_) if failed => Err(ToolError(result)),
            Ok(_) => Ok(result),
        }
    }

    /// One task, from its beginning to its end. Dropped at any point, it leaves a tree that can be taken up again.
    async fn work(&self, id: u64, child: Agent, cx: &Context) -> Result<String, ToolError> {
        let (bench, trees) = (self.clone(), self.trees(cx));
        let (task, tree) = blocking(move || bench.begin(&trees, id)).await?;
        let child = child.at(tree.folder());
        let report = s04_subagent::run(&child, &job(&task, &tree)).await;
        // First nothing of it writes any more, then its work is committed.
        drop(child);
        let bench = self.clone();
        let told = blocking(move || bench.end(&task, &tree, &report)).await;
        cx.notice(format!("#{id}: {}", if told.is_ok() { "done" } else { "failed" }));
        told
    }

    fn list(&self, trees: &Trees) -> Result<String, ToolError> {
        let told = |tree: Result<State, _>| {
            tree.map_or_else(|error: rungs_worktree::Error| error.to_string(), |s| s.to_string())
        };
        let lines: Vec<String> = trees.list()?.into_iter().map(told).collect();
        Ok(if lines.is_empty() { "There are no trees.".into() } else { lines.join("\n") })
    }
}

/// What the subagent is told.
fn job(task: &Task, tree: &Tree) -> String {
    let before = match tree.resumed() {
        true => " Somebody worked here before and was stopped: look at `git status` and `git log` first.",
        false => "",
    };
    format!(
        "Task #{}: {}\n{}\n\nYou are in a git worktree of your own, on the branch {}. Others work on other tasks, in theirs: \
         stay in this one, and on its branch. What you leave is committed for you.{before}",
        task.id,
        task.subject,
        task.description,
        tree.branch()
    )
}

/// Lets subagents do tasks.
struct WorkOn(Bench);

impl Tool for WorkOn {
    fn spec(&self) -> ToolSpec {
        let ids = json!({"type": "array", "items": {"type": "integer"}, "description": "Their numbers on the board."});
        ToolSpec::new(
            "work_on",
            "Has tasks of the board done by subagents, side by side: each in a git worktree and on a branch of its own, \
             which begin at the current commit. What is not committed here, they don't see. Their work is committed to \
             the branches and stays there; merging it is up to you.",
            json!({"type": "object", "properties": {"tasks": ids}, "required": ["tasks"]}),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            tasks: BTreeSet<u64>,
        }
        let Args { tasks } = args(input)?;
        if tasks.is_empty() {
            return Err(ToolError("`tasks` is empty; give at least one".into()));
        }
        let names: Vec<String> = tasks.iter().map(|id| format!("task-{id}")).collect();
        let children = s04_subagent::subagents(cx, &names, &WITHOUT)?;
        let working = children.into_iter().zip(&tasks).map(|(child, id)| self.0.work(*id, child, cx));
        let ends = futures_util::future::join_all(working).await;
        let all_failed = ends.iter().all(|end| end.is_err());
        let told = tasks.iter().zip(ends).map(|(id, end)| match end {
            Ok(text) => format!("# Task #{id}: done\n{text}"),
            Err(error) => format!("# Task #{id}: not done\n{}", error.0),
        });
        let text = told.collect::<Vec<_>>().join("\n\n");
        if all_failed { Err(ToolError(text)) } else { Ok(text.into()) }
    }
}

/// Lists the trees.
struct List(Bench);

impl Tool for List {
    fn spec(&self) -> ToolSpec {
        let schema = json!({"type": "object", "properties": {}});
        ToolSpec::new("worktree_list", "Lists the worktrees of tasks, and what in them is not committed.", schema)
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {}
        let Args {} = args(input)?;
        let (bench, trees) = (self.0.clone(), self.0.trees(cx));
        Ok(blocking(move || bench.list(&trees)).await?.into())
    }

    fn read_only(&self) -> bool {
        true
    }
}

/// Removes a tree.
struct Remove(Bench);

impl Tool for Remove {
    fn spec(&self) -> ToolSpec {
        let id = json!({"type": "integer", "description": "Its number on the board."});
        ToolSpec::new(
            "worktree_remove",
            "Removes the worktree of a task. Its branch stays. While there is something that the branch does not hold, \
             the tree is not removed, and you are told what would be lost.",
            json!({"type": "object", "properties": {"task": id}, "required": ["task"]}),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            task: u64,
        }
        let Args { task } = args(input)?;
        let (bench, trees) = (self.0.clone(), self.0.trees(cx));
        let removed = blocking(move || {
            let name = bench.board.look(|tasks| tasks.get(task).map(name))??;
            Ok(trees.remove(&name)?)
        });
        let State { path, branch, commit, ahead, losses } = removed.await?;
        let ignored = if losses.ignored.is_empty() { String::new() } else { format!("\nGone with it, {losses}") };
        Ok(format!(
            "removed {}; the branch {branch} stays at {commit}, commits that are on no other branch: {ahead}{ignored}",
            path.display()
        )
        .into())
    }
}

/// Adds the mechanism; the trees go below `rungs`, the folder of this program's own state.
pub fn install(agent: Agent, board: &Board, rungs: &Path) -> Agent {
    let bench = Bench { board: board.clone(), rungs: rungs.into() };
    let listed = bench.clone();
    let list = async move |_: &mut Chat, _: &str, cx: &Context| -> Result<()> {
        let (bench, trees) = (listed.clone(), listed.trees(cx));
        let told = blocking(move || bench.list(&trees)).await;
        cx.notice(told.unwrap_or_else(|error| error.0));
        Ok(())
    };
    agent.tool(WorkOn(bench.clone())).tool(List(bench.clone())).tool(Remove(bench)).command(
        "trees",
        "lists the worktrees of tasks, and what in them is not committed",
        list,
    )
}

/// The agent of lesson one, with subagents, a board, and a tree for each of its tasks.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = s04_subagent::install(stage.agent());
        let rungs = stage.folder.join(".rungs");
        let (board, word) =
            Board::open(&rungs.join("s12_worktree_task_isolation/tasks.jsonl")).map_err(Error::other)?;
        word.into_iter().for_each(|word| agent.context().notice(word));
        Ok(install(s07_task_system::install(agent, &board), &board, &rungs))
    };
    lessons::run("s12_worktree_task_isolation", build, agent_loop)
}
