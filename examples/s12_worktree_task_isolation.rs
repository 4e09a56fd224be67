//! # s12: a working tree for each task
//!
//! Subagents that work side by side in one folder overwrite each other's files, and read each other's half-done work.
//! Changing the directory is no way out: a process has one, and whoever changes it moves all the others too.
//!
//! New here: each task of the board gets a git worktree, a second folder of the same repository, on a branch of its own.
//! The subagent that does it is bound to that folder by `agent.at`, and with it every tool, since they all ask the agent
//! where they are. What it leaves is committed to the branch, also when it failed, and kept: tree and branch stay until
//! somebody removes the tree, and a tree with work that no commit holds is not removed. The crate `rungs-worktree` deals
//! with git; this file decides who works where, and what becomes of it. It runs no hooks and signs nothing; where the
//! files pass a program on their way into git, such as git-crypt or Git LFS, it commits none.
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
    s07_task_system::{self, Board, Status, Task, TaskError, Tasks},
};
use rungs_core::{Agent, Context, Error, Output, Result, Tool, ToolError, ToolSpec, tools::args};
use rungs_worktree::{Tree, Trees};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::sync::RwLock;

/// What a subagent is not given: it would have its own task done by another, or take the trees of others away.
const WITHOUT: [&str; 2] = ["work_on", "worktree_remove"];

/// How long an exit waits for git. What takes longer is cut off, and done anew the next time.
const CLOSING: Duration = Duration::from_secs(4);

/// The tasks of a board, and the trees in which they are done.
#[derive(Clone)]
struct Worktrees {
    board: Board,
    /// Where the trees lie.
    place: PathBuf,
    /// Read by whatever works with git or the board, so that an exit can wait for all of it.
    running: Arc<RwLock<()>>,
}

/// A task that has begun, in its tree.
struct Begun {
    task: Task,
    tree: Tree,
    /// The branches of tasks that it waited for, as far as it has not got their commits.
    lacks: Vec<String>,
}

/// Whether a task is done, and what is told of it.
type Ending = (bool, String);

/// The name of a task's tree. The number alone would not do: another board counts from 1 again.
fn name(trees: &Trees, task: &Task) -> String {
    trees.name(&format!("{} {}", task.id, task.subject))
}

/// The task as it is once it has begun on this branch; if it may: it was not begun, or here, and was cut off or failed.
fn begun(tasks: &Tasks, id: u64, branch: &str) -> Result<Task, ToolError> {
    let task = tasks.get(id)?;
    let again = matches!(task.status, Status::InProgress | Status::Failed)
        && task.owner.as_deref() == Some(branch);
    if task.status != Status::Pending && !again {
        return Err(ToolError(format!(
            "the board says: {task}. Set it to pending if it is to be worked on"
        )));
    }
    match tasks.blockers(task) {
        blockers if blockers.is_empty() => {
            Ok(Task { status: Status::InProgress, owner: Some(branch.into()), ..task.clone() })
        }
        blockers => Err(TaskError::Blocked { id, blockers }.into()),
    }
}

impl Worktrees {
    /// Git and the board wait for the disk. Begun, this comes to its end, also when nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Worktrees) -> Result<T, ToolError> + Send + 'static,
    ) -> Result<T, ToolError> {
        let (all, running) = (self.clone(), self.running.clone().read_owned().await);
        let ended = tokio::task::spawn_blocking(move || {
            let _running = running;
            work(&all)
        });
        ended.await?
    }

    /// The trees of the repository in which this agent is.
    fn trees(&self, cx: &Context) -> Trees {
        Trees::new(cx.cwd(), &self.place)
    }

    /// Whoever holds the tree knows that nobody else works on the task. The board is told before the tree is made: if
    /// that is cut off, it says whose the branch is.
    fn begin(&self, trees: &Trees, id: u64) -> Result<Begun, ToolError> {
        let name = self.board.look(|tasks| tasks.get(id).map(|task| name(trees, task)))??;
        self.board.look(|tasks| begun(tasks, id, &rungs_worktree::branch(&name)))??;
        let hold = trees.reserve(&name)?;
        let (branch, used) = (hold.branch().to_string(), hold.used()?);
        let task = self.board.change(|tasks| {
            let owns = tasks.get(id).is_ok_and(|task| task.owner.as_ref() == Some(&branch));
            Ok(match begun(tasks, id, &branch) {
                Ok(_) if used && !owns => (vec![], Err(not_its_own(id, &branch))),
                Ok(task) => (vec![task.clone()], Ok(task)),
                Err(error) => (vec![], Err(error)),
            })
        })??;
        let tree = hold.take().or_else(|error| self.give_back(&task).and(Err(error.into())))?;
        let owner = |id: &u64| self.board.look(|tasks| tasks.get(*id).ok()?.owner.clone()).ok()?;
        let lacks = tree.unmerged(task.after.iter().filter_map(owner).collect())?;
        Ok(Begun { task, tree, lacks })
    }

    /// Changes a task that was begun here, unless somebody has changed it meanwhile: the fence.
    fn answer(&self, begun: &Task, answer: Task) -> Result<(), ToolError> {
        self.board.change(|tasks| {
            let now = tasks.get(begun.id)?;
            Ok(match (now.status, &now.owner) == (begun.status, &begun.owner) {
                true => (
                    vec![Task { status: answer.status, result: answer.result, ..now.clone() }],
                    Ok(()),
                ),
                false => (
                    vec![],
                    Err(ToolError(format!("the board was changed meanwhile, and says: {now}"))),
                ),
            })
        })?
    }

    /// It could not be worked on. Its branch stays its own.
    fn give_back(&self, begun: &Task) -> Result<(), ToolError> {
        self.answer(begun, Task { status: Status::Pending, ..begun.clone() })
    }

    /// Commits what is there, whatever came of the task, and writes that on the board.
    fn end(&self, Begun { task, tree, .. }: &Begun, report: &Report) -> Result<Ending, ToolError> {
        let mark = if report.failed { "Unfinished: " } else { "" };
        let committed = tree
            .commit(&format!("{mark}{}\n\nTask #{}.", task.subject, task.id))
            .and_then(|commit| {
                let commit =
                    commit.map_or("nothing new to commit".into(), |commit| commit.to_string());
                Ok(format!("{commit}\n{}", tree.state()?))
            });
        let status =
            if report.failed || committed.is_err() { Status::Failed } else { Status::Done };
        let work =
            committed.unwrap_or_else(|error| format!("not committed, and left as it is: {error}"));
        let text = format!("{}\n{work}", report.text.trim());
        Ok(match self.answer(task, Task { status, result: Some(text.clone()), ..task.clone() }) {
            Ok(()) => (status == Status::Done, text),
            Err(error) => (false, format!("{text}\nNot written on the board: {}", error.0)),
        })
    }

    /// One task, from its beginning to its end. Dropped at any point, it leaves a tree that can be taken up again.
    async fn work(&self, id: u64, cx: &Context) -> Result<Ending, ToolError> {
        let trees = self.trees(cx);
        let begun = self.blocking(move |all| all.begin(&trees, id)).await?;
        let child = match s04_subagent::subagents(cx, &[format!("task-{id}")], &WITHOUT) {
            Ok(mut one) => one.remove(0).at(begun.tree.folder()),
            Err(error) => {
                return self.blocking(move |all| all.give_back(&begun.task)).await.and(Err(error));
            }
        };
        // What the subagent has started ends with it; then its work is committed.
        let report = s04_subagent::run(child, &job(&begun)).await;
        let ending = self.blocking(move |all| all.end(&begun, &report)).await?;
        cx.notice(format!("#{id}: {}", if ending.0 { "done" } else { "failed" }));
        Ok(ending)
    }
}

/// Another board had a task like this one, or this one was set to pending, and so belongs to nobody.
fn not_its_own(id: u64, branch: &str) -> ToolError {
    ToolError(format!(
        "the branch {branch} is there already, and the board does not say that it is this task's. If its work is to go \
         on, call task_update with id {id}, status in_progress and owner {branch}; else rename it: git branch -m"
    ))
}

/// What the subagent is told.
fn job(Begun { task, tree, lacks }: &Begun) -> String {
    let mut text = format!(
        "Task #{}: {}\n{}\n\nYou are in a git worktree of your own, on the branch {}. Others work on other tasks, in theirs: \
         stay in this one, and on its branch. What you leave is committed for you.",
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
    if !lacks.is_empty() {
        text += &format!(
            " What this task waited for is on {}: `git merge` what you need of it.",
            lacks.join(", ")
        );
    }
    if let Some(path) = tree.quarantined() {
        text += &format!(" Files that somebody had put here too early are in {}.", path.display());
    }
    text
}

/// Lets subagents do tasks.
struct WorkOn(Worktrees);

impl Tool for WorkOn {
    fn spec(&self) -> ToolSpec {
        let ids = json!({"type": "array", "items": {"type": "integer"}, "description": "Their numbers on the board."});
        ToolSpec::with_fields(
            "work_on",
            "Has tasks of the board done by subagents, side by side: each in a git worktree and on a branch of its own, \
             which begins at the current commit, or goes on where the task was stopped. What is not committed here, they \
             don't see. Their work is committed to the branches and stays there; merging it is up to you. Whoever does a \
             task is told the branches of those that it waited for. What failed can be worked on again.",
            &json!({"tasks": ids}),
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
        let work = async |id: &u64| {
            let (done, text) = self.0.work(*id, cx).await.unwrap_or_else(|error| (false, error.0));
            (done, format!("# Task #{id}: {}\n{text}", if done { "done" } else { "not done" }))
        };
        let endings = futures_util::future::join_all(tasks.iter().map(work)).await;
        let (done, told): (Vec<bool>, Vec<String>) = endings.into_iter().unzip();
        let text = told.join("\n\n");
        if done.contains(&true) { Ok(text.into()) } else { Err(ToolError(text)) }
    }
}

/// What can be done with trees that are there.
struct Verb {
    spec: ToolSpec,
    run: fn(&Worktrees, &Trees, Value) -> Result<String, ToolError>,
    all: Worktrees,
}

impl Tool for Verb {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let (run, trees) = (self.run, self.all.trees(cx));
        Ok(self.all.blocking(move |all| run(all, &trees, input)).await?.into())
    }
}

fn list(_: &Worktrees, trees: &Trees, input: Value) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct List {}
    let List {} = args(input)?;
    let lines: Vec<String> = trees
        .list()?
        .into_iter()
        .map(|tree| tree.map_or_else(|error| error.to_string(), |state| state.to_string()))
        .collect();
    Ok(if lines.is_empty() { "There are no trees.".into() } else { lines.join("\n") })
}

fn remove(all: &Worktrees, trees: &Trees, input: Value) -> Result<String, ToolError> {
    #[derive(Deserialize)]
    struct Remove {
        task: u64,
        #[serde(default)]
        ignored: bool,
    }
    let Remove { task, ignored } = args(input)?;
    let name = all.board.look(|tasks| tasks.get(task).map(|task| name(trees, task)))??;
    Ok(trees.remove(&name, ignored)?.to_string())
}

/// Adds the mechanism; the trees go below `state`, the folder of this lesson's own state.
pub fn install(agent: Agent, board: &Board, state: &Path) -> Agent {
    let all =
        Worktrees { board: board.clone(), place: state.join("trees"), running: Arc::default() };
    let running = all.running.clone();
    let verb = |spec, run| Verb { spec, run, all: all.clone() };
    let number = json!({"type": "integer", "description": "Its number on the board."});
    let ignored =
        json!({"type": "boolean", "description": "Whether files that git ignores may go with it."});
    let shows = "lists the worktrees of tasks, and what in them is not committed";
    let shown = all.clone();
    agent
        .on_exit(move || async move { drop(tokio::time::timeout(CLOSING, running.write()).await) })
        .tool(WorkOn(all.clone()))
        .tool(verb(ToolSpec::with_fields("worktree_list", "Lists the worktrees of tasks, and what in them is not committed.", &json!({})), list))
        .tool(verb(
            ToolSpec::new(
                "worktree_remove",
                "Removes the worktree of a task. Its branch stays. While there is something that the branch does not \
                 hold, the tree is not removed, and you are told what would be lost. Files that git ignores go with it, \
                 if you ask for that.",
                json!({"type": "object", "properties": {"task": number, "ignored": ignored}, "required": ["task"]}),
            ),
            remove,
        ))
        .command("trees", shows, async move |_, _, cx| {
            let trees = shown.trees(cx);
            let listed = shown.blocking(move |all| list(all, &trees, json!({}))).await;
            cx.notice(listed.unwrap_or_else(|error| error.0));
            Ok::<(), Error>(())
        })
}

/// The agent of lesson one, with subagents, a board, and a tree for each of its tasks.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = s04_subagent::install(stage.agent());
        let state = stage.state();
        let (board, word) =
            Board::open_async(state.join("tasks.jsonl")).await.map_err(Error::other)?;
        word.into_iter().for_each(|word| agent.context().notice(word));
        Ok(install(s07_task_system::install(agent, &board), &board, &state))
    };
    lessons::run("s12_worktree_task_isolation", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{ToolCall, tools};
    use std::fs;

    /// Runs git without any person's settings; what it prints, trimmed.
    fn git(at: &Path, args: &str) -> String {
        let mut git = std::process::Command::new("git");
        git.current_dir(at)
            .args(args.split(' '))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let done = git.output().unwrap();
        assert!(done.status.success(), "git {args}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().into()
    }

    struct Scene {
        agent: Agent,
        board: Board,
        root: PathBuf,
        _kept: (tempfile::TempDir, rehearsal::Server),
    }

    /// A repository, and on the board a task for each subject.
    async fn stage(subjects: &[&str], scenes: &str) -> Scene {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        git(&root, "init -q -b main");
        for setting in ["user.name Tester", "user.email t@localhost", "core.excludesFile /dev/null"]
        {
            git(&root, &format!("config {setting}"));
        }
        fs::write(root.join("same.txt"), "start\n").unwrap();
        git(&root, "add -A");
        git(&root, "commit -qm Start");
        let rungs = root.join(".rungs");
        let board = Board::open(&rungs.join("tasks.jsonl")).unwrap().0;
        for subject in subjects {
            board.create(Task { subject: subject.to_string(), ..Task::default() }).unwrap();
        }
        let agent = s07_task_system::install(
            s04_subagent::install(tools::all(Agent::new(client, &root))),
            &board,
        );
        fs::write(rungs.join(".gitignore"), "*\n").unwrap();
        let agent = install(agent, &board, &rungs.join("s12_worktree_task_isolation"));
        Scene { agent, board, root, _kept: (dir, server) }
    }

    impl Scene {
        async fn call(&self, tool: &str, input: Value) -> Result<String, String> {
            let call = ToolCall { id: "c".into(), name: tool.into(), input };
            let results = json!(self.agent.act(vec![call]).await.content);
            let text = results[0]["content"][0]["text"]
                .as_str()
                .unwrap()
                .replace(self.root.to_str().unwrap(), "ROOT");
            if results[0]["is_error"] == true { Err(text) } else { Ok(text) }
        }

        fn trees(&self) -> Trees {
            Trees::new(&self.root, self.root.join(".rungs/s12_worktree_task_isolation/trees"))
        }

        /// The name of a task's tree, and where it is.
        fn tree(&self, id: u64) -> (String, PathBuf) {
            let name =
                self.board.look(|tasks| name(&self.trees(), tasks.get(id).unwrap())).unwrap();
            let path = self.root.join(".rungs/s12_worktree_task_isolation/trees").join(&name);
            (name, path)
        }

        fn statuses(&self) -> Vec<Status> {
            self.board.look(|tasks| tasks.all().map(|task| task.status).collect()).unwrap()
        }

        fn assert_sound(&self) {
            assert_eq!(
                (
                    git(&self.root, "fsck --strict").as_str(),
                    git(&self.root, "status --porcelain").as_str()
                ),
                ("", "")
            );
            assert_eq!(fs::read_to_string(self.root.join("same.txt")).unwrap(), "start\n");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn four_at_once_and_whatever_is_relative_lands_in_the_own_tree() {
        let here = std::env::current_dir().unwrap();
        for _ in 0..20 {
            let scene = stage(
                &["a", "b", "c", "d"],
                "{when: '^Task #(\\d)', turns: [
                    {call: [{bash: {command: 'pwd; sleep 0.05; echo {{ m[1] }} > same.txt; mkdir sub; cd sub; pwd > where'}},
                            {write: {file_path: 'written.txt', content: 'by {{ m[1] }}'}}, {read: {file_path: same.txt}}]},
                    {call: [{edit: {file_path: same.txt, old_string: '{{ m[1] }}', new_string: 'edited {{ m[1] }}'}},
                            {glob: {pattern: '**/*.txt'}}, {grep: {pattern: 'edited'}}, {bash: {command: 'cat < same.txt; git branch --show-current'}}]},
                    {say: \"{{ results | map(attribute='text') | join('|') }}\"}]}",
            )
            .await;
            let told = scene.call("work_on", json!({"tasks": [1, 2, 3, 4]})).await.unwrap();
            for (n, subject) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
                let (name, tree) = scene.tree(n as u64);
                let branch = format!("rungs/{name}");
                let files = git(
                    &scene.root,
                    &format!("show {branch}:same.txt {branch}:written.txt {branch}:sub/where"),
                );
                let sub = tree.join("sub");
                assert_eq!(files, format!("edited {n}\nby {n}{}", sub.display()));
                assert_eq!(
                    git(&scene.root, &format!("log --format=%s|%b main..{branch}")),
                    format!("{subject}|Task #{n}.")
                );
                let commit = git(&scene.root, &format!("rev-parse --short {branch}"));
                let part = told.split("# Task").nth(n).unwrap().trim();
                for said in [
                    format!("edited {n}\n{branch}"),
                    "|same.txt\nwritten.txt\n[left out: .git (closed to tools)]\n\
                     |same.txt\n[left out: .git (closed to tools)]\n|"
                        .to_string(),
                    format!(
                        "committed as {commit}, files changed: 3\n{branch} at {commit}, commits that are on no other branch: 1; \
                         in ROOT/.rungs/s12_worktree_task_isolation/trees/{name}"
                    ),
                ] {
                    assert!(part.contains(&said), "{said} is not in {part}");
                }
            }
            assert_eq!(scene.statuses(), [Status::Done; 4]);
            assert_eq!(git(&scene.root, "worktree list").lines().count(), 5);
            scene.assert_sound();
        }
        assert_eq!(std::env::current_dir().unwrap(), here);
    }

    #[tokio::test]
    async fn one_that_fails_leaves_its_work_and_the_others() {
        let scene = stage(
            &["good", "bad"],
            "{when: good, turns: [{call: [{bash: {command: 'echo good > new.txt'}}]}, {say: fine}]},
             {when: bad, turns: [{call: [{bash: {command: 'echo half > new.txt'}}]}, {say: x, faults: [{status: 400, message: no}]}]}",
        )
        .await;
        let told = scene.call("work_on", json!({"tasks": [2, 1]})).await.unwrap();
        assert!(told.starts_with("# Task #1: done\nfine\ncommitted as "), "{told}");
        assert!(told.contains("# Task #2: not done\nThis subagent failed: 127.0.0.1:"), "{told}");
        assert_eq!(scene.statuses(), [Status::Done, Status::Failed]);
        let bad = format!("rungs/{}", scene.tree(2).0);
        assert_eq!(git(&scene.root, &format!("log -1 --format=%s {bad}")), "Unfinished: bad");
        assert_eq!(git(&scene.root, &format!("show {bad}:new.txt")), "half");
        // What failed here goes on in its own tree; what is nobody's by now does not without a word.
        let again =
            scene.call("work_on", json!({"tasks": [2]})).await.unwrap_or_else(|error| error);
        assert!(again.contains("nothing new to commit"), "{again}");
        scene.board.update(2, |task| task.status = Status::Pending).unwrap();
        let said = format!(
            "the branch {bad} is there already, and the board does not say that it is this task's"
        );
        let refused = scene.call("work_on", json!({"tasks": [2]})).await.unwrap_err();
        assert!(refused.starts_with(&format!("# Task #2: not done\n{said}")), "{refused}");
        scene
            .call("task_update", json!({"id": 2, "status": "in_progress", "owner": bad}))
            .await
            .unwrap();
        let again =
            scene.call("work_on", json!({"tasks": [2]})).await.unwrap_or_else(|error| error);
        assert!(again.contains("nothing new to commit"), "{again}");
        // Another board, of another place, has nothing to do with it.
        let (board, elsewhere) = (scene.board.clone(), scene.root.join(".rungs/elsewhere"));
        let name = |place: &Path| {
            board.look(|tasks| name(&Trees::new("/", place), tasks.get(1).unwrap())).unwrap()
        };
        assert_ne!(name(&elsewhere), name(&scene.root));
        scene.assert_sound();
    }

    #[tokio::test]
    async fn one_that_is_cut_off_loses_nothing_and_goes_on_in_its_tree() {
        let scene = stage(
            &["long"],
            "{when: 'worked here before', turns: [{call: [{bash: {command: 'cat half.txt; echo all > new.txt'}}]}, {say: '{{ results[0].text }}'}]},
             {when: long, turns: [{call: [{bash: {command: 'echo half > half.txt; sleep 77'}}]}, {say: x}]}",
        )
        .await;
        let (name, tree) = scene.tree(1);
        let half = tree.join("half.txt");
        let begun = async {
            while fs::read_to_string(&half).unwrap_or_default().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let busy = scene.call("work_on", json!({"tasks": [1]})).await.unwrap_err();
            let tree = format!("ROOT/.rungs/s12_worktree_task_isolation/trees/{name}");
            assert_eq!(busy, format!("# Task #1: not done\nsomebody works in {tree}"));
            assert_eq!(
                scene.call("worktree_remove", json!({"task": 1})).await.unwrap_err(),
                format!("somebody works in {tree}")
            );
        };
        tokio::select! {
            ended = scene.call("work_on", json!({"tasks": [1]})) => panic!("{ended:?}"),
            () = begun => {}
        }
        assert_eq!(
            (fs::read_to_string(&half).unwrap().as_str(), scene.statuses()),
            ("half\n", vec![Status::InProgress])
        );
        let told = scene.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert!(
            told.starts_with("# Task #1: done\nhalf\ncommitted as ")
                && told.contains("files changed: 2"),
            "{told}"
        );
        assert_eq!(scene.statuses(), [Status::Done]);
        scene.assert_sound();
    }

    #[tokio::test]
    async fn a_tree_with_work_is_not_removed_and_the_branch_never_is() {
        let scene = stage(
            &["a"],
            "{when: '^Task', turns: [{call: [{bash: {command: 'echo a > a.txt'}}]}, {say: fine}]}",
        )
        .await;
        assert_eq!(scene.call("worktree_list", json!({})).await.unwrap(), "There are no trees.");
        scene.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let (name, tree) = scene.tree(1);
        let (note, tree) =
            (tree.join("note"), format!("ROOT/.rungs/s12_worktree_task_isolation/trees/{name}"));
        fs::write(&note, "").unwrap();
        let commit = git(&scene.root, &format!("rev-parse --short rungs/{name}"));
        let state =
            format!("rungs/{name} at {commit}, commits that are on no other branch: 1; in {tree}");
        assert_eq!(
            scene.call("worktree_list", json!({})).await.unwrap(),
            format!("{state}\nin no commit of it:\nuntracked: note")
        );
        let refused = format!(
            "{tree} was not removed. What is not on rungs/{name} would be lost:\nuntracked: note"
        );
        assert_eq!(scene.call("worktree_remove", json!({"task": 1})).await.unwrap_err(), refused);
        fs::remove_file(&note).unwrap();
        let removed = scene.call("worktree_remove", json!({"task": 1})).await.unwrap();
        let stays = format!(
            "the branch rungs/{name} stays at {commit}, commits that are on no other branch: 1"
        );
        assert_eq!(removed, format!("removed {tree}; {stays}"));
        assert_eq!(
            (
                git(&scene.root, "worktree list").lines().count(),
                git(&scene.root, &format!("show rungs/{name}:a.txt")).as_str()
            ),
            (1, "a")
        );
        assert_eq!(
            scene.call("worktree_remove", json!({"task": 7})).await.unwrap_err(),
            "there is no task #7"
        );
        scene.assert_sound();
    }

    #[tokio::test]
    async fn what_cannot_begin_is_said_and_begins_nothing() {
        let scene = stage(&["a", "b", "c"], "{when: ., turns: [{say: fine}]}").await;
        scene.board.update(2, |task| task.after = [3].into()).unwrap();
        scene.board.take_next("alice").unwrap();
        let told = scene.call("work_on", json!({"tasks": [1, 2, 9]})).await.unwrap_err();
        let alice = "the board says: #1 [in_progress] a, owner alice. Set it to pending if it is to be worked on";
        assert_eq!(
            told,
            format!(
                "# Task #1: not done\n{alice}\n\n# Task #2: not done\n#2 waits for #3\n\n# Task #9: not done\nthere is no task #9"
            )
        );
        assert_eq!(
            scene.call("work_on", json!({"tasks": []})).await.unwrap_err(),
            "`tasks` is empty; give at least one"
        );
        assert_eq!(scene.call("worktree_list", json!({})).await.unwrap(), "There are no trees.");
        fs::rename(scene.root.join(".git"), scene.root.join("git")).unwrap();
        let nowhere = scene.call("work_on", json!({"tasks": [3]})).await.unwrap_err();
        assert_eq!(
            nowhere,
            "# Task #3: not done\nROOT is in no git repository; `git init` makes one"
        );
        assert_eq!(scene.statuses(), [Status::InProgress, Status::Pending, Status::Pending]);
    }

    #[tokio::test]
    async fn those_below_work_in_the_same_tree_and_have_no_trees_to_give() {
        let told = "{say: \"{{ results | map(attribute='text') | join(' | ') }}\"}";
        let scene = stage(
            &["a"],
            &format!(
                "{{when: '^Task', turns: [{{call: [{{work_on: {{tasks: [1]}}}}, {{worktree_remove: {{task: 1}}}},
                    {{task: {{tasks: [{{description: x, prompt: below}}]}}}}]}}, {told}]}},
                 {{when: ^below, turns: [{{call: [{{bash: {{command: pwd}}}}, {{work_on: {{tasks: [1]}}}}]}}, {told}]}}"
            ),
        )
        .await;
        let text = scene.call("work_on", json!({"tasks": [1]})).await.unwrap();
        assert_eq!(
            (
                text.matches("there is no tool `work_on`").count(),
                text.matches("there is no tool `worktree_remove`").count()
            ),
            (2, 1)
        );
        assert!(text.contains("# x\nROOT/.rungs/s12_worktree_task_isolation/trees/1-a-"), "{text}");
    }

    #[tokio::test]
    async fn a_task_is_given_back_when_nobody_is_left_to_do_it_and_costs_nothing_when_it_cannot_begin()
     {
        let subjects: Vec<String> = (0..22).map(|n| format!("t{n}")).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        let scene = stage(&subjects, "{when: ., turns: [{say: fine}]}").await;
        scene.board.update(22, |task| task.after = [1].into()).unwrap();
        let refused = scene.call("work_on", json!({"tasks": [22, 99]})).await.unwrap_err();
        assert!(refused.contains("#22 waits for #1"), "{refused}");
        let all: Vec<u64> = (1..=21).collect();
        let told = scene.call("work_on", json!({"tasks": all})).await.unwrap();
        assert_eq!(told.matches("1 subagents are too many: 0 of 20 are left").count(), 1, "{told}");
        let left = scene.statuses().iter().position(|status| *status == Status::Pending).unwrap()
            as u64
            + 1;
        let owner = scene.board.look(|tasks| tasks.get(left).unwrap().owner.clone()).unwrap();
        assert_eq!(owner, Some(format!("rungs/{}", scene.tree(left).0)));
    }

    #[tokio::test]
    async fn who_comes_after_others_hears_of_their_branches() {
        let scene = stage(
            &["first", "second", "third"],
            "{when: 'waited for is on (\\S+):', turns: [{call: [{bash: {command: 'git merge -q {{ m[1] }} && cat new.txt'}}]}, {say: '{{ results[0].text }}'}]},
             {when: first, turns: [{call: [{bash: {command: 'echo early > new.txt'}}]}, {say: fine}]},
             {when: third, turns: [{say: 'nothing to merge'}]}",
        )
        .await;
        scene.board.update(2, |task| task.after = [1].into()).unwrap();
        scene.board.update(3, |task| task.after = [1].into()).unwrap();
        scene.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let told = scene.call("work_on", json!({"tasks": [2]})).await.unwrap();
        assert!(told.starts_with("# Task #2: done\nearly\n"), "{told}");
        git(&scene.root, &format!("merge -q rungs/{}", scene.tree(1).0));
        let told = scene.call("work_on", json!({"tasks": [3]})).await.unwrap();
        assert!(told.starts_with("# Task #3: done\nnothing to merge\n"), "{told}");
    }

    #[tokio::test]
    async fn what_somebody_sets_on_the_board_meanwhile_stays() {
        let scene = stage(
            &["a"],
            "{when: '^Task', turns: [{call: [{task_update: {id: 1, status: done, result: 'by hand'}}, {bash: {command: 'echo a > a.txt'}}]}, {say: fine}]}",
        )
        .await;
        let told = scene.call("work_on", json!({"tasks": [1]})).await.unwrap_err();
        assert!(told.contains("fine\ncommitted as "), "{told}");
        let name = scene.tree(1).0;
        let changed =
            format!("the board was changed meanwhile, and says: #1 [done] a, owner rungs/{name}");
        assert!(told.ends_with(&format!("\nNot written on the board: {changed}")), "{told}");
        let result = scene.board.look(|tasks| tasks.get(1).unwrap().result.clone()).unwrap();
        assert_eq!(result.as_deref(), Some("by hand"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_exit_waits_for_the_git_work_that_has_begun() {
        for after in 0..15 {
            let scene = stage(&["a", "b", "c", "d"], "{when: '^Task', turns: [{say: fine}]}").await;
            tokio::select! {
                _ = scene.call("work_on", json!({"tasks": [1, 2, 3, 4]})) => {}
                () = tokio::time::sleep(Duration::from_millis(after)) => {}
            }
            scene.agent.exit().await;
            let trees = scene.trees().list().unwrap();
            assert!(trees.iter().all(Result::is_ok), "{trees:?}");
            let locks = git(&scene.root, "status --porcelain") + &git(&scene.root, "fsck --strict");
            assert_eq!(locks, "");
            assert!((1..5).all(|id| scene.trees().reserve(&scene.tree(id).0).is_ok()));
        }
    }
}
