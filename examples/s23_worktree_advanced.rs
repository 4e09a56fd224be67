//! # s23: branches come back together, and nothing is lost
//!
//! Lesson 12 leaves a branch for each task. Bringing them together is where work is lost: two tasks
//! changed the same line, a merge overwrites what somebody has not committed, a clean-up deletes
//! the only copy.
//!
//! ```text
//! a | b | c ──> board #1 #2 #3 ──> work_on (s12) ──> rungs/1-.. rungs/2-.. rungs/3-..
//!                                                         |
//!               trial merges in memory: who collides? <───┤
//!               worktree_merge: one branch into yours <───┤
//!               worktree_prune: what is merged and clean <┘   all else stays, with its reason
//! ```
//!
//! New here: what happens after the work. Each pair of branches, and each branch with the one that
//! is checked out, is merged **in memory**; a collision is reported as soon as the tasks end, while
//! every tree still stands. A merge changes the folder only if no conflict is in it and no file
//! would be overwritten that is not committed. Cleaning up removes what is provably merged and
//! committed, and says of everything else why it stays; only `worktree_discard` deletes more, for
//! one tree, named by somebody.
//!
//! Terms: **trial merge** (three-way merge of two commits without a working tree),
//! **fast-forward**, **merge base**, **detached HEAD**, **stale worktree metadata**, **idempotent**
//! repair: a merge that a kill interrupted is finished by the next use, however far it had come.
//!
//! Run it: `cargo run --example s23_worktree_advanced`
//!
//! You will see three tasks from one line done at once, a conflict between two of them found before
//! anything is merged, two branches merged back, the third refused, and a clean-up that keeps just
//! the tree whose work is not merged.
//!
//! Try, and predict first:
//! 1. Say "leave a change in prices.txt", then type `:merge 3`. Is the change lost, and is the
//!    branch merged?
//! 2. Type `:prune` before and after `:merge 1`. Which trees go, and which branches?
//! 3. Take the check out of `merge` in `crates/worktree/src/merge.rs` (`step.check(..)`). What
//!    becomes of the change of experiment 1?
//!
//! Pitfalls: conflicts looked for after the branches were deleted; a check by file names alone
//! reports two changes that merge as a conflict, and misses a file that one side renamed; `git
//! worktree prune` forgets trees on a disk that is not mounted.
//!
//! A product also rebases, runs the tests on the trial merge, and opens a pull request per branch.
//!
//! Builds on s12, s13. Motto: *Git state is sacred; every edge case handled.*

use lessons::{
    s01_loop::agent_loop,
    s04_subagent::{self, Budget},
    s07_task_system::{self, Board, Task},
    s12_worktree_task_isolation::{self, Worktrees},
    s13_streaming,
};
use rungs_core::{
    Agent, Block, Chat, Context, Effect, Error, Layer, Message, NextAct, NextTurn, Reply, Result,
    ToolCall, ToolError, ToolResult,
};
use rungs_worktree::Trees;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeSet, path::Path, process::ExitCode, sync::Arc};

/// What becomes of the branches of tasks.
struct Integration(Worktrees);

impl Integration {
    /// Git waits for the disk, so this runs on a blocking thread. Once begun, it comes to its end.
    async fn git<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl FnOnce(&Worktrees, &Trees) -> Result<T, ToolError> + Send + 'static,
    ) -> Result<T, ToolError> {
        let (all, trees) = (self.0.clone(), self.0.trees(cx));
        self.0.board().blocking(move |_| work(&all, &trees)).await
    }

    /// Which branches collide, a line each; empty when none does.
    async fn collisions(&self, cx: &Context) -> Result<String, ToolError> {
        self.git(cx, |_, trees| {
            let lines = trees.overlaps()?.into_iter().map(|overlap| overlap.to_string());
            Ok(lines.collect::<Vec<_>>().join("\n"))
        })
        .await
    }

    /// The trees, what is dirty in them, and the collisions.
    async fn list(&self, cx: &Context) -> Result<String, ToolError> {
        let trees = self.git(cx, |_, trees| s12_worktree_task_isolation::list(trees)).await?;
        let collisions = self.collisions(cx).await?;
        Ok([trees, collisions].join("\n").trim_end().to_string())
    }

    async fn merge(&self, task: u64, cx: &Context) -> Result<String, ToolError> {
        self.git(cx, move |all, trees| Ok(trees.merge(&all.tree_name(trees, task)?)?.to_string()))
            .await
    }

    async fn prune(&self, ignored: bool, cx: &Context) -> Result<String, ToolError> {
        self.git(cx, move |_, trees| {
            let mut lines = vec![];
            let pruned = trees.prune()?;
            if pruned != Default::default() {
                lines.push(pruned.to_string());
            }
            lines.extend(trees.clean_up(ignored)?.iter().map(|tree| tree.to_string()));
            Ok(if lines.is_empty() { "There are no trees.".into() } else { lines.join("\n") })
        })
        .await
    }

    async fn discard(&self, task: u64, cx: &Context) -> Result<String, ToolError> {
        self.git(cx, move |all, trees| {
            let removed = trees.discard(&all.tree_name(trees, task)?)?;
            Ok(match removed.state.losses.to_string() {
                lost if lost.is_empty() => removed.to_string(),
                lost => format!("{removed}\nLost with it:\n{lost}"),
            })
        })
        .await
    }

    /// Puts these tasks on the board and has them done concurrently.
    async fn parallel(&self, tasks: Vec<String>, cx: &Context) -> Result<String, ToolError> {
        let count = tasks.len();
        let create = move |board: &Board| {
            let create = |subject| board.create(Task { subject, ..Task::default() });
            let ids = tasks.into_iter().map(|subject| Ok(create(subject)?.id));
            ids.collect::<Result<BTreeSet<u64>, ToolError>>()
        };
        let ids = self.0.board().blocking(create).await?;
        cx.notice(format!("{count} tasks, each in a tree of its own"));
        let report = match self.0.work_on(&ids, cx).await {
            Ok(report) | Err(ToolError(report)) => report,
        };
        Ok(with_collisions(report, self.collisions(cx).await))
    }

    async fn run(&self, call: Call, cx: &Context) -> Result<String, ToolError> {
        match call {
            Call::WorktreeConflicts {} => Ok(match self.collisions(cx).await? {
                none if none.is_empty() => "No branches collide.".into(),
                collisions => collisions,
            }),
            Call::WorktreeMerge { task } => self.merge(task, cx).await,
            Call::WorktreePrune { ignored } => self.prune(ignored.unwrap_or(false), cx).await,
            Call::WorktreeDiscard { task } => self.discard(task, cx).await,
        }
    }
}

/// A report of tasks, and what must be known before anything is merged or removed.
fn with_collisions(report: String, collisions: Result<String, ToolError>) -> String {
    match collisions {
        Ok(none) if none.is_empty() => report,
        Ok(collisions) => format!("{report}\n\nCollisions:\n{collisions}"),
        Err(ToolError(why)) => format!("{report}\n\nCollisions could not be looked for: {why}"),
    }
}

/// The tasks of a prompt such as `add a test | write the docs`. A bar in quotes, in code or in a
/// text of several lines separates no tasks.
fn tasks(prompt: &str) -> Option<Vec<String>> {
    let prompt = prompt.trim();
    if prompt.contains(['`', '"', '\'', '\n']) {
        return None;
    }
    let tasks: Vec<String> = prompt.split(" | ").map(|task| task.trim().to_string()).collect();
    (tasks.len() > 1 && tasks.iter().all(|task| !task.is_empty())).then_some(tasks)
}

impl Layer for Integration {
    /// Does the tasks of such a prompt before the model answers it: what came of them joins the
    /// prompt.
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        // One budget for all that this prompt leads to, as the layer of lesson 4 gives it, wherever
        // that stands.
        let cx = match cx.value::<Budget>() {
            Some(_) => cx,
            None => &cx.with(Budget::default()),
        };
        let prompt: Vec<&str> = next.prompt().typed().collect();
        if let Some(tasks) = tasks(&prompt.join("\n")) {
            let report = match self.parallel(tasks, cx).await {
                Ok(report) => report,
                Err(ToolError(why)) => format!("The tasks were not done: {why}"),
            };
            let report = format!("<tasks-done>\n{report}\n</tasks-done>");
            chat.push(Message::inserted("parallel tasks", report));
        }
        next.run(chat, cx).await
    }

    /// What collides is told with the result of the work, while every tree still stands.
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let works = call.name == "work_on";
        let mut result = next.run(call, cx).await;
        if works {
            let collisions = with_collisions(String::new(), self.collisions(cx).await);
            result.output.0.push(Block::text(collisions));
        }
        result
    }

    fn follows(&self, _child: &Context) -> bool {
        false
    }
}

/// The tools, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Says which branches of tasks collide with each other or with what is checked out: the files
    /// that both have changed, and whether git can join the changes. Nothing is changed.
    WorktreeConflicts {},
    /// Merges the branch of a task into the branch that is checked out here. With a conflict, or
    /// where a file would be overwritten that is not committed, nothing is changed, and you are
    /// told which files it is about.
    WorktreeMerge {
        /// Its number on the board.
        task: u64,
    },
    /// Cleans up: removes the worktrees whose work is committed and merged, with their branches,
    /// and forgets those whose folders are gone. All others stay, and you are told why.
    WorktreePrune {
        /// Whether files that git ignores may go with them.
        ignored: Option<bool>,
    },
    /// Removes the worktree of a task with all that is in no commit. The branch stays. Only for
    /// when the person has asked for just that.
    WorktreeDiscard {
        /// Its number on the board.
        task: u64,
    },
}

fn effect(call: &Call) -> Effect {
    match call {
        Call::WorktreeConflicts {} => Effect::Reads,
        _ => Effect::Anything,
    }
}

/// Shows a command's result.
fn show(cx: &Context, result: Result<String, ToolError>) -> Result<()> {
    match result {
        Ok(lines) | Err(ToolError(lines)) => cx.notice(lines),
    }
    Ok(())
}

/// The task of a command such as `:merge 2`.
fn task(args: &str) -> Result<u64> {
    let number = args.trim().trim_start_matches('#').parse();
    number.map_err(|_| Error::other(format!("`{args}` is no number of a task, such as 2")))
}

/// Adds the mechanism to an agent that has lesson 12 with the same board and folder.
pub fn install(agent: Agent, board: &Board, state: &Path) -> Agent {
    let all = Arc::new(Integration(Worktrees::new(board, state)));
    let [listed, merging, pruning, discarding] = std::array::from_fn(|_| all.clone());
    agent
        .tools(Integration(all.0.clone()), effect, Integration::run)
        .wrap_shared(all)
        .command(
            "list",
            "the trees of tasks, what is dirty, and what collides",
            async move |_, _, cx| show(cx, listed.list(cx).await),
        )
        .command("merge", "merges the branch of a task: `:merge 2`", async move |_, args, cx| {
            show(cx, merging.merge(task(args)?, cx).await)
        })
        .command("prune", "removes trees that are merged and clean", async move |_, _, cx| {
            show(cx, pruning.prune(false, cx).await)
        })
        .command(
            "discard",
            "removes a tree with all that is in no commit: `:discard 2`",
            async move |_, args, cx| show(cx, discarding.discard(task(args)?, cx).await),
        )
}

/// The agent of lesson 12, streaming, with what becomes of its branches.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = s04_subagent::install(s13_streaming::install(stage.agent()));
        let state = stage.state().await?;
        let board = Board::open_async(&state, "tasks.jsonl").await.map_err(Error::other)?;
        let agent = s07_task_system::install(agent, &board);
        let agent = s12_worktree_task_isolation::install(agent, &board, state.path());
        Ok(install(agent, &board, state.path()))
    };
    lessons::run("s23_worktree_advanced", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{Play, git, play};
    use rehearsal::{Scene, call, say, say_results, scene};
    use serde_json::json;
    use std::fs;

    /// An agent with this lesson in a repository with one commit.
    async fn repository(scenes: impl IntoIterator<Item = Scene>) -> Play {
        let change = |command: &str| call("bash", json!({"command": command}));
        let own = [scene(
            "^Task #\\d+: (\\w+) becomes (.*)",
            [change("echo {{ m[2] }} > {{ m[1] }}.txt"), say("{{ m[1] }} is {{ m[2] }}")],
        )];
        play(own.into_iter().chain(scenes), |agent, dir| {
            git(dir, "init -q -b main");
            for setting in ["user.name Tester", "user.email t@localhost"] {
                git(dir, &format!("config {setting}"));
            }
            fs::write(dir.join(".git/info/exclude"), ".rungs\n").unwrap();
            fs::write(dir.join("a.txt"), "start\n").unwrap();
            git(dir, "add -A");
            git(dir, "commit -qm Start");
            let state = dir.join(".rungs");
            let folder = durable::Folder::open(dir, ".rungs").unwrap();
            let board = Board::open(&folder, "tasks.jsonl").unwrap();
            let agent = s04_subagent::install(rungs_core::tools::all(agent));
            let agent = s07_task_system::install(agent, &board);
            let agent = s12_worktree_task_isolation::install(agent, &board, &state);
            install(agent, &board, &state)
        })
        .await
    }

    /// What the model is told with this prompt.
    async fn told(play: &Play, prompt: &str) -> String {
        let (_, chat) = play.ask(prompt).await;
        chat.messages()[0].text()
    }

    #[test]
    fn a_bar_parts_tasks_only_in_plain_words() {
        let parted = |prompt| tasks(prompt).map(|tasks| tasks.join("+"));
        assert_eq!(parted("add a test | write the docs"), Some("add a test+write the docs".into()));
        for prompt in ["one", "run `ls | wc`", "say 'a | b'", "a |b", "a | ", "a\n| b | c"] {
            assert_eq!(parted(prompt), None, "{prompt}");
        }
    }

    #[tokio::test]
    async fn tasks_of_one_line_are_done_in_trees_and_their_conflict_is_told_at_once() {
        let play = repository([scene("becomes", [say("seen")])]).await;
        let told = told(&play, "a becomes one | a becomes two | b becomes three").await;
        for part in ["a is one", "a is two", "b is three"] {
            assert!(told.contains(part), "{told}");
        }
        let collisions = told.split("Collisions:\n").nth(1).unwrap();
        let lines: Vec<&str> = collisions.lines().filter(|line| line.contains(" and ")).collect();
        assert_eq!(lines.len(), 1, "{told}");
        assert!(lines[0].ends_with(" conflict in a.txt"), "{told}");
        assert_eq!(git(play.dir.path(), "status --porcelain"), "");
    }

    #[tokio::test]
    async fn the_model_hears_of_conflicts_with_the_result_of_the_work() {
        let create = |subject: &str| call("task_create", json!({"subject": subject}));
        let turns = [
            create("a becomes one"),
            create("a becomes two"),
            call("work_on", json!({"tasks": [1, 2]})),
            say_results(),
        ];
        let play = repository([scene("go", turns)]).await;
        let (said, _) = play.ask("go").await;
        assert!(said.contains("Collisions:\nrungs/1-a-becomes-one-"), "{said}");
    }

    #[tokio::test]
    async fn merged_trees_are_cleaned_up_and_what_conflicts_is_kept() {
        let merge = |task: u64| call("worktree_merge", json!({"task": task}));
        let prune = call("worktree_prune", json!({}));
        let play = repository([
            scene("becomes", [say("seen")]),
            scene("^merge", [merge(1), merge(2), prune, say_results()]),
        ])
        .await;
        told(&play, "a becomes one | a becomes two").await;
        let (said, _) = play.ask("merge").await;
        assert!(said.contains("removed 1-a-becomes-one-"), "{said}");
        assert!(said.contains("kept 2-a-becomes-two-"), "{said}");
        let root = play.dir.path();
        assert_eq!(fs::read_to_string(root.join("a.txt")).unwrap(), "one\n");
        assert_eq!(git(root, "branch --list rungs/*").lines().count(), 1);
        assert_eq!(git(root, "status --porcelain") + &git(root, "fsck --strict"), "");
    }
}
