//! # s12: a working tree for each task
//!
//! Subagents that work concurrently in one folder overwrite each other's files and read each
//! other's unfinished work. Changing the directory is no solution: a process has one, and whoever
//! changes it moves all the others too.
//!
//! ```text
//! board: #1 #2 #3 ── work_on ──┬─> subagent 1, in_dir(trees/1) ── commit ─> branch rungs/1-...
//!                              ├─> subagent 2, in_dir(trees/2) ── commit ─> branch rungs/2-...
//!                              └─> subagent 3, in_dir(trees/3) ── commit ─> branch rungs/3-...
//! ```
//!
//! New here: each task of the board gets a **git worktree**, a second folder of the same
//! repository, on a branch of its own. The subagent that does it is bound to that folder by
//! `agent.in_dir`, and with it every tool, since they all ask the agent where they are. What it
//! leaves is committed to the branch, also when it failed, and kept: tree and branch stay until
//! somebody removes the tree, and a tree with work that no commit holds is not removed. The crate
//! `rungs-worktree` deals with git; this file decides who works where, and what becomes of it. It
//! runs no hooks and signs nothing; where files pass a program on their way into git, such as
//! git-crypt or Git LFS, it commits none.
//!
//! Terms: **git worktree**, **branch**, **working directory** of an agent against that of the
//! process, **isolation**, **optimistic concurrency** (the board's entry is changed only if nobody
//! else has changed it meanwhile).
//!
//! Run it: `cargo run --example s12_worktree_task_isolation`
//!
//! You will see four tasks done at once, three of them on the same file; what each left, as git
//! itself reports it; and a tree that is not removed, because work would be lost.
//!
//! Try, and predict first:
//! 1. Run it with `-- --keep`, then type `git worktree list` and `git log --all --graph --oneline`
//!    in the folder that stays. How many worktrees does git know?
//! 2. Take `.in_dir(begun.tree.folder())` out. What do the four tasks report now?
//! 3. Type `:trees` between two of the suggested prompts. When does a tree disappear, and its
//!    branch?
//!
//! Pitfalls: a worktree shares `.git`, so two tasks can still meet in the same branch, tag or
//! stash; what is not committed in the main folder is not in the trees.
//!
//! A product also merges the branches back, finds conflicts before anything is torn down (s23), and
//! isolates ports and databases too.
//!
//! Builds on s04, s07. Motto: *Each works in its own directory.*

use futures_util::future::join_all;
use lessons::{
    s01_loop::agent_loop,
    s04_subagent::{self, Report},
    s07_task_system::{self, Board, Status, Task, TaskError, Tasks},
};
use rungs_core::{Agent, Context, Effect, Error, Result, ToolError};
use rungs_worktree::{Tree, Trees};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// What a subagent is not given: it would have its own task done by another, or remove the trees of
/// others.
const WITHOUT: [&str; 2] = ["work_on", "worktree_remove"];

/// How long an exit waits for git. What takes longer is cut off, and repeated the next time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// The tasks of a board, and the trees in which they are done.
#[derive(Clone)]
pub struct Worktrees {
    board: Board,
    /// Where the trees are.
    place: PathBuf,
}

/// A task that has begun, in its tree.
struct Begun {
    task: Task,
    tree: Tree,
    /// The branches of tasks that it waited for, as far as it does not have their commits.
    unmerged: Vec<String>,
}

/// How a task ended: whether it is done, and what is reported of it.
type Ending = (bool, String);

/// What a task's tree is named after, and the branch that the board says is the task's. The number
/// alone would not do: another board counts from 1 again.
fn naming(board: &Board, id: u64) -> Result<(String, Option<String>), ToolError> {
    Ok(board.look(|tasks| {
        let task = tasks.get(id)?;
        Ok::<_, TaskError>((format!("{id} {}", task.subject), task.owner.clone()))
    })??)
}

/// The task as it is once it has begun on this branch; if it may. It may when nobody began it, or
/// when it was begun on this branch and was cut off or failed.
fn begun(tasks: &Tasks, id: u64, branch: &str) -> Result<Task, ToolError> {
    let task = tasks.get(id)?;
    let again = matches!(task.status, Status::InProgress | Status::Failed)
        && task.owner.as_deref() == Some(branch);
    if task.status != Status::Pending && !again {
        return Err(ToolError(format!(
            "the board says: {task}. Set it to pending if it is to be worked on"
        )));
    }
    let blockers = tasks.blockers(task);
    if !blockers.is_empty() {
        return Err(TaskError::Blocked { id, blockers }.into());
    }
    Ok(Task { status: Status::InProgress, owner: Some(branch.into()), ..task.clone() })
}

/// Whoever holds the tree knows that nobody else works on the task. The board is changed before the
/// tree is made: if that is cut off, the board says whose the branch is.
fn begin(board: &Board, trees: &Trees, id: u64) -> Result<Begun, ToolError> {
    let (words, owner) = naming(board, id)?;
    // A branch of that name that the board does not give to the task, such as that of another
    // board's task of the same number, is left alone: the task gets another name.
    let reservation = trees.reserve_for(&words, owner.as_deref())?;
    let branch = reservation.branch().to_string();
    let task = board.change(|tasks| {
        Ok(match begun(tasks, id, &branch) {
            Ok(task) => (vec![task.clone()], Ok(task)),
            Err(error) => (vec![], Err(error)),
        })
    })?;
    let task = task?;
    let tree = match reservation.take() {
        Ok(tree) => tree,
        Err(error) => {
            give_back(board, &task)?;
            return Err(error.into());
        }
    };
    let owner = |tasks: &Tasks, id: &u64| tasks.get(*id).ok()?.owner.clone();
    let branches =
        board.look(|tasks| task.after.iter().filter_map(|id| owner(tasks, id)).collect())?;
    let unmerged = tree.unmerged(branches)?;
    Ok(Begun { task, tree, unmerged })
}

/// It could not be worked on. Its branch stays its own.
fn give_back(board: &Board, begun: &Task) -> Result<(), ToolError> {
    Ok(board.update_begun(begun, |task| task.status = Status::Pending)?)
}

/// Commits what is there, whatever came of the task, and writes that on the board.
fn end(board: &Board, begun: &Begun, report: &Report) -> Ending {
    let Begun { task, tree, .. } = begun;
    let mark = if report.failed { "Unfinished: " } else { "" };
    let message = format!("{mark}{}\n\nTask #{}.", task.subject, task.id);
    let (status, work) = match commit(tree, &message) {
        Ok(work) if report.failed => (Status::Failed, work),
        Ok(work) => (Status::Done, work),
        Err(why) => (Status::Failed, format!("not committed, and left as it is: {why}")),
    };
    let text = format!("{}\n{work}", report.text.trim());
    let written = board.update_begun(task, |task| {
        task.status = status;
        task.result = Some(text.clone());
    });
    match written {
        Ok(()) => (status == Status::Done, text),
        Err(why) => (false, format!("{text}\nNot written on the board: {why}")),
    }
}

/// Git and the board wait for the disk, so all this runs on blocking threads, by
/// [`Board::blocking`]: once begun, it comes to its end, also when nobody waits for it any more.
impl Worktrees {
    /// The tasks of this board; their trees are below `state`, the folder of the lesson's own
    /// state.
    pub fn new(board: &Board, state: &Path) -> Self {
        Worktrees { board: board.clone(), place: state.join("trees") }
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The name of a task's tree.
    ///
    /// # Errors
    /// When there is no such task, and those of git.
    pub fn tree_name(&self, trees: &Trees, id: u64) -> Result<String, ToolError> {
        let (words, owner) = naming(&self.board, id)?;
        Ok(trees.name_for(&words, owner.as_deref())?)
    }

    /// The trees of the repository in which this agent is.
    pub fn trees(&self, cx: &Context) -> Trees {
        Trees::new(cx.cwd(), &self.place)
    }

    /// One task, from its beginning to its end. Dropped at any point, it leaves a tree in which the
    /// work can continue.
    async fn work(&self, id: u64, cx: &Context) -> Result<Ending, ToolError> {
        let (board, trees) = (&self.board, self.trees(cx));
        let begun = board.blocking(move |board| begin(board, &trees, id)).await?;
        if let Some(lacks) = begun.tree.lacks() {
            cx.notice(format!("#{id}: a new tree. {lacks}"));
        }
        let child = match s04_subagent::subagents(cx, &[format!("task-{id}")], &WITHOUT) {
            Ok(mut children) => children.remove(0).in_dir(begun.tree.folder()),
            Err(error) => {
                board.blocking(move |board| give_back(board, &begun.task)).await?;
                return Err(error);
            }
        };
        // What the subagent has started ends with it; then its work is committed.
        let report = s04_subagent::run(child, &job(&begun)).await;
        let ending = board.blocking(move |board| end(board, &begun, &report)).await;
        cx.notice(format!("#{id}: {}", if ending.0 { "done" } else { "failed" }));
        Ok(ending)
    }

    /// Several tasks, concurrently.
    ///
    /// # Errors
    /// What came of them, when none is done.
    pub async fn work_on(&self, tasks: &BTreeSet<u64>, cx: &Context) -> Result<String, ToolError> {
        if tasks.is_empty() {
            return Err(ToolError("`tasks` is empty; give at least one".into()));
        }
        let work = async |id: &u64| {
            let (done, text) = match self.work(*id, cx).await {
                Ok(ending) => ending,
                Err(ToolError(why)) => (false, why),
            };
            (done, format!("# Task #{id}: {}\n{text}", if done { "done" } else { "not done" }))
        };
        let endings = join_all(tasks.iter().map(work)).await;
        let (done, texts): (Vec<bool>, Vec<String>) = endings.into_iter().unzip();
        let text = texts.join("\n\n");
        if done.contains(&true) { Ok(text) } else { Err(ToolError(text)) }
    }

    async fn run(&self, call: Call, cx: &Context) -> Result<String, ToolError> {
        let trees = self.trees(cx);
        match call {
            Call::WorkOn { tasks } => self.work_on(&tasks, cx).await,
            Call::WorktreeList {} => self.board.blocking(move |_| list(&trees)).await,
            Call::WorktreeRemove { task, ignored } => {
                let all = self.clone();
                let remove = move |_: &Board| {
                    let name = all.tree_name(&trees, task)?;
                    Ok(trees.remove(&name, ignored.unwrap_or(false))?.to_string())
                };
                self.board.blocking(remove).await
            }
        }
    }
}

fn commit(tree: &Tree, message: &str) -> Result<String, rungs_worktree::Error> {
    let commit = match tree.commit(message)? {
        Some(commit) => commit.to_string(),
        None => "nothing new to commit".into(),
    };
    Ok(format!("{commit}\n{}", tree.state()?))
}

/// The trees, a line or more each.
///
/// # Errors
/// Those of git.
pub fn list(trees: &Trees) -> Result<String, ToolError> {
    let lines = trees.list()?.into_iter().map(|tree| match tree {
        Ok(state) => state.to_string(),
        Err(error) => error.to_string(),
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return Ok("There are no trees.".into());
    }
    Ok(format!("in {}, each on its own branch:\n{}", trees.place().display(), lines.join("\n")))
}

/// What the subagent is told.
fn job(begun: &Begun) -> String {
    let Begun { task, tree, unmerged } = begun;
    let mut text = format!(
        "Task #{}: {}\n{}\n\nYou are in a git worktree of your own, on the branch {}. Others work \
         on other tasks, in theirs: stay in this one, and on its branch. What you leave is \
         committed for you.",
        task.id,
        task.subject,
        task.description,
        tree.branch()
    );
    if let Some(commit) = tree.resumed() {
        text += &format!(
            " Somebody worked here before, to {commit}: see `git status` and `git log` first."
        );
    }
    if !unmerged.is_empty() {
        text += &format!(
            " What this task waited for is on {}: `git merge` what you need of it.",
            unmerged.join(", ")
        );
    }
    if let Some(lacks) = tree.lacks() {
        text += &format!(" {lacks}.");
    }
    if let Some(path) = tree.quarantined() {
        text += &format!(" Files that somebody had put here too early are in {}.", path.display());
    }
    text
}

/// The three tools, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Has tasks of the board done by subagents, concurrently: each in a git worktree and on a
    /// branch of its own, which begins at the current commit, or continues where the task was
    /// stopped. What is not committed here, they do not see. Their work is committed to the
    /// branches and stays there; merging it is up to you. Whoever does a task is told the branches
    /// of those that it waited for. What failed can be worked on again.
    WorkOn {
        /// Their numbers on the board.
        tasks: BTreeSet<u64>,
    },
    /// Lists the worktrees of tasks, and what in them is not committed.
    WorktreeList {},
    /// Removes the worktree of a task. Its branch stays. While there is something that the branch
    /// does not hold, the tree is not removed, and you are told what would be lost. Files that git
    /// ignores go with it, if you ask for that.
    WorktreeRemove {
        /// Its number on the board.
        task: u64,
        /// Whether files that git ignores may go with it.
        ignored: Option<bool>,
    },
}

fn effect(call: &Call) -> Effect {
    match call {
        Call::WorktreeList {} => Effect::Reads,
        // Both change the repository: branches, commits, folders.
        Call::WorkOn { .. } | Call::WorktreeRemove { .. } => Effect::Anything,
    }
}

/// Adds the mechanism; the trees are below `state`, the folder of this lesson's own state.
pub fn install(agent: Agent, board: &Board, state: &Path) -> Agent {
    let all = Worktrees::new(board, state);
    let (working, shown) = (board.clone(), all.clone());
    let help = "lists the worktrees of tasks, and what in them is not committed";
    agent
        .tools(all, effect, Worktrees::run)
        .on_exit("the work with git", CLOSE_TIMEOUT, async move || working.drain().await)
        .command("trees", help, async move |_, _, cx| {
            match shown.run(Call::WorktreeList {}, cx).await {
                Ok(lines) => cx.notice(lines),
                Err(ToolError(why)) => cx.notice(why),
            }
            Ok::<(), Error>(())
        })
}

/// The agent of lesson one, with subagents, a board, and a tree for each of its tasks.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = s04_subagent::install(stage.agent());
        let state = stage.state().await?;
        let board = Board::open_async(&state, "tasks.jsonl").await.map_err(Error::other)?;
        Ok(install(s07_task_system::install(agent, &board), &board, state.path()))
    };
    lessons::run("s12_worktree_task_isolation", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{Play, git, play};
    use rehearsal::{Scene, calls, say, say_results, scene};
    use rungs_core::{ToolCall, tools};
    use s04_subagent::Budget;
    use serde_json::{Value, json};
    use std::fs;

    /// Where the trees are, below the repository.
    const STATE: &str = ".rungs/s12_worktree_task_isolation";

    struct Repository {
        play: Play,
        board: Board,
        root: PathBuf,
    }

    /// A repository, and on the board a task for each subject.
    async fn repository(subjects: &[&str], scenes: impl IntoIterator<Item = Scene>) -> Repository {
        let mut opened = None;
        let play = play(scenes, |agent, dir| {
            let root = dir.canonicalize().unwrap();
            git(&root, "init -q -b main");
            for setting in
                ["user.name Tester", "user.email t@localhost", "core.excludesFile /dev/null"]
            {
                git(&root, &format!("config {setting}"));
            }
            fs::write(root.join("same.txt"), "start\n").unwrap();
            git(&root, "add -A");
            git(&root, "commit -qm Start");
            let folder = durable::Folder::open(&root, ".rungs").unwrap();
            let board = Board::open(&folder, "tasks.jsonl").unwrap();
            for subject in subjects {
                board.create(Task { subject: subject.to_string(), ..Task::default() }).unwrap();
            }
            fs::write(root.join(".rungs/.gitignore"), "*\n").unwrap();
            let agent = s04_subagent::install(tools::all(agent.in_dir(&root)));
            let agent = s07_task_system::install(agent, &board);
            let agent = install(agent, &board, &root.join(STATE));
            opened = Some((board, root));
            agent
        })
        .await;
        let (board, root) = opened.unwrap();
        Repository { play, board, root }
    }

    impl Repository {
        /// Calls a tool, as in a turn of its own.
        async fn call(&self, tool: &str, input: Value) -> Result<String, String> {
            let call = ToolCall { id: "c".into(), name: tool.into(), input };
            let agent = self.play.agent.clone().with(Budget::default());
            let results = json!(agent.act(vec![call]).await.content);
            let text = results[0]["content"][0]["text"].as_str().unwrap();
            let text = text.replace(self.root.to_str().unwrap(), "ROOT");
            if results[0]["is_error"] == true { Err(text) } else { Ok(text) }
        }

        fn trees(&self) -> Trees {
            Trees::new(&self.root, self.root.join(STATE).join("trees"))
        }

        /// The name of a task's tree, and where it is.
        fn tree(&self, id: u64) -> (String, PathBuf) {
            let (words, owner) = naming(&self.board, id).unwrap();
            let name = self.trees().name_for(&words, owner.as_deref()).unwrap();
            let path = self.root.join(STATE).join("trees").join(&name);
            (name, path)
        }

        fn statuses(&self) -> Vec<Status> {
            self.board.look(|tasks| tasks.all().map(|task| task.status).collect()).unwrap()
        }

        /// Makes a task wait for others.
        fn wait_for(&self, id: u64, after: u64) {
            self.board.update(id, |task| task.after = [after].into()).unwrap();
        }

        fn assert_sound(&self) {
            assert_eq!(git(&self.root, "fsck --strict"), "");
            assert_eq!(git(&self.root, "status --porcelain"), "");
            assert_eq!(fs::read_to_string(self.root.join("same.txt")).unwrap(), "start\n");
        }
    }

    fn bash(command: &str) -> (&str, Value) {
        ("bash", json!({ "command": command }))
    }

    /// A scene in which a subagent runs one command and reports.
    fn runs(when: &str, command: &str) -> Scene {
        scene(when, [calls([bash(command)]), say("fine")])
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn four_at_once_and_whatever_is_relative_is_in_the_own_tree() {
        let here = std::env::current_dir().unwrap();
        let turns = || {
            [
                calls([
                    bash(
                        "pwd; sleep 0.05; echo {{ m[1] }} > same.txt; \
                         mkdir sub; cd sub; pwd > where",
                    ),
                    ("write", json!({"file_path": "written.txt", "content": "by {{ m[1] }}"})),
                    ("read", json!({"file_path": "same.txt"})),
                ]),
                calls([
                    (
                        "edit",
                        json!({"file_path": "same.txt", "old_string": "{{ m[1] }}",
                            "new_string": "edited {{ m[1] }}"}),
                    ),
                    ("glob", json!({"pattern": "**/*.txt"})),
                    ("grep", json!({"pattern": "edited"})),
                    bash("cat < same.txt; git branch --show-current"),
                ]),
                say("{{ results | map(attribute='text') | join('|') }}"),
            ]
        };
        for _ in 0..if std::env::var_os("LONG").is_some() { 20 } else { 4 } {
            let repo = repository(&["a", "b", "c", "d"], [scene("^Task #(\\d)", turns())]).await;
            let told = repo.call("work_on", json!({"tasks": [1, 2, 3, 4]})).await.unwrap();
            for (n, subject) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
                let (name, tree) = repo.tree(n as u64);
                let branch = format!("rungs/{name}");
                let shown =
                    format!("show {branch}:same.txt {branch}:written.txt {branch}:sub/where");
                let files = format!("edited {n}\nby {n}{}", tree.join("sub").display());
                assert_eq!(git(&repo.root, &shown), files);
                let log = git(&repo.root, &format!("log --format=%s|%b main..{branch}"));
                assert_eq!(log, format!("{subject}|Task #{n}."));
                let commit = git(&repo.root, &format!("rev-parse --short {branch}"));
                let part = told.split("# Task").nth(n).unwrap().trim();
                let left_out = "[left out: .git (closed to tools)]";
                for said in [
                    format!("edited {n}\n{branch}"),
                    format!("|same.txt\nwritten.txt\n{left_out}\n|same.txt\n{left_out}\n|"),
                    format!(
                        "committed as {commit}, files changed: 3\n{branch} at {commit}, 1 commit \
                         on no other branch"
                    ),
                ] {
                    assert!(part.contains(&said), "{said} is not in {part}");
                }
            }
            assert_eq!(repo.statuses(), [Status::Done; 4]);
            assert_eq!(git(&repo.root, "worktree list").lines().count(), 5);
            repo.assert_sound();
        }
        assert_eq!(std::env::current_dir().unwrap(), here);
    }

    #[tokio::test]
    async fn a_task_that_fails_leaves_its_work_and_the_others() {
        let refused = say("x").fault(json!({"status": 400, "message": "no", "times": "always"}));
        let repo = repository(
            &["good", "bad"],
            [
                runs("good", "echo good > new.txt"),
                scene("bad", [calls([bash("echo half > new.txt")]), refused]),
            ],
        )
        .await;
        let told = repo.call("work_on", json!({"tasks": [2, 1]})).await.unwrap();
        assert!(told.starts_with("# Task #1: done\nfine\ncommitted as "), "{told}");
        assert!(told.contains("# Task #2: not done\nThis subagent failed: 127.0.0.1:"), "{told}");
        assert_eq!(repo.statuses(), [Status::Done, Status::Failed]);
        let bad = format!("rungs/{}", repo.tree(2).0);
        let subject = git(&repo.root, &format!("log -1 --format=%s {bad}"));
        assert_eq!(subject, "Unfinished: bad");
        assert_eq!(git(&repo.root, &format!("show {bad}:new.txt")), "half");
        repo.assert_sound();
    }

    #[tokio::test]
    async fn what_a_new_tree_lacks_is_told_to_the_person_and_to_the_subagent() {
        let repo = repository(&["a"], [scene("^Task", [say("fine")])]).await;
        fs::write(repo.root.join(".git/info/exclude"), ".env\n").unwrap();
        fs::write(repo.root.join(".env"), "").unwrap();
        repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let lacks = "Not in it: .env (ignored by git)";
        let told = format!("main: notice #1: a new tree. {lacks}");
        assert!(repo.play.ui.take().contains(&told));
        let first = repo.play.bodies()[0].to_string();
        assert!(first.contains(&format!("committed for you. {lacks}.")), "{first}");
        repo.board.update(1, |task| task.status = Status::Failed).unwrap();
        repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert!(!repo.play.bodies().last().unwrap().to_string().contains(lacks));
    }

    #[tokio::test]
    async fn a_branch_continues_for_its_own_task_only() {
        let repo = repository(&["a"], [scene("^Task", [say("fine")])]).await;
        repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let branch = format!("rungs/{}", repo.tree(1).0);
        // What failed here continues in its own tree.
        repo.board.update(1, |task| task.status = Status::Failed).unwrap();
        let again = repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert!(again.contains("nothing new to commit"), "{again}");
        // A task that belongs to nobody does not take the branch over by itself: it gets another.
        repo.board.update(1, |task| task.status = Status::Pending).unwrap();
        let before = git(&repo.root, &format!("rev-parse {branch}"));
        repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert_ne!(format!("rungs/{}", repo.tree(1).0), branch);
        assert_eq!(git(&repo.root, &format!("rev-parse {branch}")), before);
        let mine = json!({"id": 1, "status": "in_progress", "owner": branch});
        repo.call("task_update", mine).await.unwrap();
        let again = repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert!(again.contains("nothing new to commit"), "{again}");
        // Another board, in another place, has nothing to do with it.
        let elsewhere = Trees::new("/", repo.root.join(".rungs/elsewhere"));
        let here = Trees::new("/", &repo.root);
        assert_ne!(elsewhere.name("1 a"), here.name("1 a"));
    }

    #[tokio::test]
    async fn a_task_that_is_cut_off_loses_nothing_and_continues_in_its_tree() {
        let marker = rungs_process::testing::marker();
        let repo = repository(
            &["long"],
            [
                scene(
                    "worked here before",
                    [
                        calls([bash("cat half.txt; echo all > new.txt")]),
                        say("{{ results[0].text }}"),
                    ],
                ),
                runs("long", &format!("echo half > half.txt; sleep {marker}")),
            ],
        )
        .await;
        let (name, tree) = repo.tree(1);
        let half = tree.join("half.txt");
        let written = || fs::read_to_string(&half).is_ok_and(|text| !text.is_empty());
        let shown = format!("ROOT/{STATE}/trees/{name}");
        let begun = async {
            assert!(rungs_process::testing::until(written).await);
            let busy = repo.call("work_on", json!({"tasks": [1]})).await.unwrap_err();
            assert_eq!(busy, format!("# Task #1: not done\nsomebody works in {shown}"));
            let busy = repo.call("worktree_remove", json!({"task": 1})).await.unwrap_err();
            assert_eq!(busy, format!("somebody works in {shown}"));
        };
        tokio::select! {
            ended = repo.call("work_on", json!({"tasks": [1]})) => panic!("{ended:?}"),
            () = begun => {}
        }
        assert_eq!(fs::read_to_string(&half).unwrap(), "half\n");
        assert_eq!(repo.statuses(), [Status::InProgress]);
        let told = repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert!(told.starts_with("# Task #1: done\nhalf\ncommitted as "), "{told}");
        assert!(told.contains("files changed: 2"), "{told}");
        assert_eq!(repo.statuses(), [Status::Done]);
        repo.assert_sound();
    }

    #[tokio::test]
    async fn a_tree_with_work_is_not_removed_and_the_branch_never_is() {
        let repo = repository(&["a"], [runs("^Task", "echo a > a.txt")]).await;
        let list = async || repo.call("worktree_list", json!({})).await.unwrap();
        let remove = async |task: u64| repo.call("worktree_remove", json!({"task": task})).await;
        assert_eq!(list().await, "There are no trees.");
        repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let (name, tree) = repo.tree(1);
        let (note, tree) = (tree.join("note"), format!("{STATE}/trees/{name}"));
        fs::write(&note, "").unwrap();
        let commit = git(&repo.root, &format!("rev-parse --short rungs/{name}"));
        let state = format!("rungs/{name} at {commit}, 1 commit on no other branch");
        let place = format!("in {STATE}/trees, each on its own branch:");
        assert_eq!(list().await, format!("{place}\n{state}; in no commit: untracked: note"));
        let refused = format!(
            "{tree} was not removed. What is not on rungs/{name} would be lost:\nuntracked: note"
        );
        assert_eq!(remove(1).await.unwrap_err(), refused);
        fs::remove_file(&note).unwrap();
        let stays =
            format!("the branch rungs/{name} stays at {commit}, 1 commit on no other branch");
        assert_eq!(remove(1).await.unwrap(), format!("removed {tree}; {stays}"));
        assert_eq!(git(&repo.root, "worktree list").lines().count(), 1);
        assert_eq!(git(&repo.root, &format!("show rungs/{name}:a.txt")), "a");
        assert_eq!(remove(7).await.unwrap_err(), "there is no task #7");
        repo.assert_sound();
    }

    #[tokio::test]
    async fn what_cannot_begin_is_said_and_begins_nothing() {
        let repo = repository(&["a", "b", "c"], [scene(".", [say("fine")])]).await;
        repo.wait_for(2, 3);
        repo.board.take_next("alice").unwrap();
        let told = repo.call("work_on", json!({"tasks": [1, 2, 9]})).await.unwrap_err();
        let alice = "the board says: #1 [in_progress] a, owner alice. Set it to pending if it is \
                     to be worked on";
        let parts = [
            format!("# Task #1: not done\n{alice}"),
            "# Task #2: not done\n#2 waits for #3".into(),
            "# Task #9: not done\nthere is no task #9".into(),
        ];
        assert_eq!(told, parts.join("\n\n"));
        let none = repo.call("work_on", json!({"tasks": []})).await.unwrap_err();
        assert_eq!(none, "`tasks` is empty; give at least one");
        let trees = repo.call("worktree_list", json!({})).await.unwrap();
        assert_eq!(trees, "There are no trees.");
        fs::rename(repo.root.join(".git"), repo.root.join("git")).unwrap();
        let nowhere = repo.call("work_on", json!({"tasks": [3]})).await.unwrap_err();
        let why = "ROOT is in no git repository; `git init` makes one";
        assert_eq!(nowhere, format!("# Task #3: not done\n{why}"));
        assert_eq!(repo.statuses(), [Status::InProgress, Status::Pending, Status::Pending]);
    }

    #[tokio::test]
    async fn subagents_of_a_subagent_work_in_its_tree_and_cannot_give_trees() {
        let below = json!({"tasks": [{"description": "x", "prompt": "below"}]});
        let work_on = || ("work_on", json!({"tasks": [1]}));
        let remove = ("worktree_remove", json!({"task": 1}));
        let repo = repository(
            &["a"],
            [
                scene("^Task", [calls([work_on(), remove, ("task", below)]), say_results()]),
                scene("^below", [calls([bash("pwd"), work_on()]), say_results()]),
            ],
        )
        .await;
        let text = repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert_eq!(text.matches("there is no tool `work_on`").count(), 2, "{text}");
        assert_eq!(text.matches("there is no tool `worktree_remove`").count(), 1, "{text}");
        assert!(text.contains(&format!("# x\nROOT/{STATE}/trees/1-a-")), "{text}");
    }

    #[tokio::test]
    async fn a_task_is_given_back_when_no_subagent_is_left_to_do_it() {
        let subjects: Vec<String> = (0..22).map(|n| format!("t{n}")).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let repo = repository(&subjects, [scene(".", [say("fine")])]).await;
        let all: Vec<u64> = (1..=21).collect();
        let told = repo.call("work_on", json!({"tasks": all})).await.unwrap();
        let refused = "1 subagents are too many: 0 of 20 are left";
        assert_eq!(told.matches(refused).count(), 1, "{told}");
        let pending = |status: &Status| *status == Status::Pending;
        let left = repo.statuses().iter().position(pending).unwrap() as u64 + 1;
        let owner = repo.board.look(|tasks| tasks.get(left).unwrap().owner.clone()).unwrap();
        assert_eq!(owner, Some(format!("rungs/{}", repo.tree(left).0)));
    }

    #[tokio::test]
    async fn a_task_that_cannot_begin_costs_no_subagent() {
        let subjects = ["t"; 22];
        let repo = repository(&subjects, [scene(".", [say("fine")])]).await;
        repo.wait_for(21, 22);
        let all: Vec<u64> = (1..=21).collect();
        let told = repo.call("work_on", json!({"tasks": all})).await.unwrap();
        assert!(told.ends_with("# Task #21: not done\n#21 waits for #22"), "{told}");
        assert_eq!(told.matches(": done\n").count(), 20, "{told}");
    }

    #[tokio::test]
    async fn a_task_is_told_the_branches_of_those_it_waited_for_until_they_are_merged() {
        let merge = calls([bash("git merge -q {{ m[1] }} && cat new.txt")]);
        let repo = repository(
            &["first", "second", "third"],
            [
                scene("waited for is on (\\S+):", [merge, say("{{ results[0].text }}")]),
                runs("first", "echo early > new.txt"),
                scene("third", [say("nothing to merge")]),
            ],
        )
        .await;
        repo.wait_for(2, 1);
        repo.wait_for(3, 1);
        repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let told = repo.call("work_on", json!({"tasks": [2]})).await.unwrap();
        assert!(told.starts_with("# Task #2: done\nearly\n"), "{told}");
        git(&repo.root, &format!("merge -q rungs/{}", repo.tree(1).0));
        let told = repo.call("work_on", json!({"tasks": [3]})).await.unwrap();
        assert!(told.starts_with("# Task #3: done\nnothing to merge\n"), "{told}");
    }

    #[tokio::test]
    async fn what_somebody_sets_on_the_board_meanwhile_stays() {
        let done = ("task_update", json!({"id": 1, "status": "done", "result": "by hand"}));
        let turns = [calls([done, bash("echo a > a.txt")]), say("fine")];
        let repo = repository(&["a"], [scene("^Task", turns)]).await;
        let told = repo.call("work_on", json!({"tasks": [1]})).await.unwrap_err();
        assert!(told.contains("fine\ncommitted as "), "{told}");
        let changed = format!(
            "the board was changed meanwhile, and says: #1 [done] a, owner rungs/{}",
            repo.tree(1).0
        );
        assert!(told.ends_with(&format!("\nNot written on the board: {changed}")), "{told}");
        let result = repo.board.look(|tasks| tasks.get(1).unwrap().result.clone()).unwrap();
        assert_eq!(result.as_deref(), Some("by hand"));
    }

    #[tokio::test]
    async fn text_of_a_task_is_taken_as_it_is() {
        let repo = repository(&["a {{ b }}"], [scene("^Task #1: (.*)", [say("{{ m[1] }}")])]).await;
        let told = repo.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert!(told.starts_with("# Task #1: done\na {{ b }}\n"), "{told}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_exit_waits_for_the_git_work_that_has_begun() {
        for milliseconds in 0..15 {
            let repo = repository(&["a", "b", "c", "d"], [scene("^Task", [say("fine")])]).await;
            tokio::select! {
                _ = repo.call("work_on", json!({"tasks": [1, 2, 3, 4]})) => {}
                () = tokio::time::sleep(Duration::from_millis(milliseconds)) => {}
            }
            assert_eq!(repo.play.agent.exit().await, [""; 0]);
            let trees = repo.trees().list().unwrap();
            assert!(trees.iter().all(Result::is_ok), "{trees:?}");
            let locks = git(&repo.root, "status --porcelain") + &git(&repo.root, "fsck --strict");
            assert_eq!(locks, "");
            for id in 1..5 {
                repo.trees().reserve(&repo.tree(id).0).unwrap();
            }
        }
    }
}
