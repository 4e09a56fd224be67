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
use rungs_core::{Agent, Context, Error, Output, Result, Tool, ToolError, ToolSpec, tools::args};
use rungs_worktree::{Removed, State, Tree, Trees};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::sync::RwLock;

/// What a subagent is not given: it would have its own task done by another, or take the trees of others away.
const WITHOUT: [&str; 2] = ["work_on", "worktree_remove"];

/// The tasks of a board, and the trees in which they are done.
#[derive(Clone)]
struct Worktrees {
    board: Board,
    rungs: PathBuf,
    /// Read by whatever works with git or the board, so that an exit can wait for all of it.
    running: Arc<RwLock<()>>,
}

/// How long an exit waits for git. What takes longer is cut off, and done anew the next time.
const CLOSING: Duration = Duration::from_secs(4);

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
        let trees = self.trees(cx);
        let (task, tree) = self.blocking(move |all| all.begin(&trees, id)).await?;
        let child = child.at(tree.folder());
        let report = s04_subagent::run(&child, &job(&task, &tree)).await;
        // What it has started ends with it; then its work is committed.
        drop(child);
        let told = self.blocking(move |all| all.end(&task, &tree, &report)).await;
        cx.notice(format!("#{id}: {}", if told.is_ok() { "done" } else { "failed" }));
        told
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
struct WorkOn(Worktrees);

impl Tool for WorkOn {
    fn spec(&self) -> ToolSpec {
        let ids = json!({"type": "array", "items": {"type": "integer"}, "description": "Their numbers on the board."});
        ToolSpec::with_fields(
            "work_on",
            "Has tasks of the board done by subagents, side by side: each in a git worktree and on a branch of its own, \
             which begin at the current commit. What is not committed here, they don't see. Their work is committed to \
             the branches and stays there; merging it is up to you.",
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

/// What can be done with trees that are there.
struct Verb {
    name: &'static str,
    description: &'static str,
    fields: Value,
    run: fn(&Worktrees, &Trees, Value) -> Result<String, ToolError>,
    all: Worktrees,
}

impl Tool for Verb {
    fn spec(&self) -> ToolSpec {
        ToolSpec::with_fields(self.name, self.description, &self.fields)
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
    let lines = trees.list()?.into_iter().map(|tree| match tree {
        Ok(state) => state.to_string(),
        Err(error) => error.to_string(),
    });
    let lines: Vec<String> = lines.collect();
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
    let name = all.board.look(|tasks| tasks.get(task).map(name))??;
    let Removed { state, rest } = trees.remove(&name, ignored)?;
    let State { path, branch, commit, ahead, losses } = state;
    let gone = if losses.ignored.is_empty() { String::new() } else { format!("\nGone with it, {losses}") };
    let rest = rest.map(|error| format!("\nNot all files could be deleted: {error}")).unwrap_or_default();
    Ok(format!(
        "removed {}; the branch {branch} stays at {commit}, commits that are on no other branch: {ahead}{gone}{rest}",
        path.display()
    ))
}

/// Adds the mechanism; the trees go below `rungs`, the folder of this program's own state.
pub fn install(agent: Agent, board: &Board, rungs: &Path) -> Agent {
    let all = Worktrees { board: board.clone(), rungs: rungs.into(), running: Arc::default() };
    let running = all.running.clone();
    let verb = |name, description, fields, run| Verb { name, description, fields, run, all: all.clone() };
    let told = "Lists the worktrees of tasks, and what in them is not committed.";
    let shown = verb("worktree_list", told, json!({}), list);
    agent
        .on_exit(move || async move { drop(tokio::time::timeout(CLOSING, running.write()).await) })
        .tool(WorkOn(all.clone()))
        .tool(verb("worktree_list", told, json!({}), list))
        .tool(verb(
            "worktree_remove",
            "Removes the worktree of a task. Its branch stays. While there is something that the branch does not hold, \
             the tree is not removed, and you are told what would be lost. Files that git ignores go only when asked.",
            json!({"task": {"type": "integer", "description": "Its number on the board."},
                "ignored": {"type": ["boolean", "null"], "description": "Whether files that git ignores may go, too."}}),
            remove,
        ))
        .command("trees", "lists the worktrees of tasks, and what in them is not committed", async move |_, _, cx| {
            let listed = shown.call(json!({}), cx).await;
            cx.notice(listed.map_or_else(|error| error.0, |output| output.text));
            Ok::<(), Error>(())
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{ToolCall, tools};

    /// Runs git without any person's settings; what it prints, trimmed.
    fn git(at: &Path, args: &str) -> String {
        let mut git = std::process::Command::new("git");
        git.current_dir(at).args(args.split(' ')).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
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
        for setting in ["user.name Tester", "user.email t@localhost", "core.excludesFile /dev/null"] {
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
        let agent = s04_subagent::install(tools::all(Agent::new(client, &root)));
        let agent = install(agent, &board, &rungs);
        Scene { agent, board, root, _kept: (dir, server) }
    }

    impl Scene {
        async fn call(&self, tool: &str, input: Value) -> Result<String, String> {
            let call = ToolCall { id: "c".into(), name: tool.into(), input };
            let results = json!(self.agent.act(vec![call]).await.content);
            let text = results[0]["content"][0]["text"].as_str().unwrap().replace(self.root.to_str().unwrap(), "ROOT");
            if results[0]["is_error"] == true { Err(text) } else { Ok(text) }
        }

        fn tree(&self, name: &str) -> PathBuf {
            self.root.join(".rungs/s12_worktree_task_isolation/trees").join(name)
        }

        fn statuses(&self) -> Vec<Status> {
            self.board.look(|tasks| tasks.all().map(|task| task.status).collect()).unwrap()
        }

        fn assert_sound(&self) {
            assert_eq!(
                (git(&self.root, "fsck --strict").as_str(), git(&self.root, "status --porcelain").as_str()),
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
            for (n, name) in [(1, "1-a"), (2, "2-b"), (3, "3-c"), (4, "4-d")] {
                let branch = format!("rungs/{name}");
                let files =
                    git(&scene.root, &format!("show {branch}:same.txt {branch}:written.txt {branch}:sub/where"));
                let sub = scene.tree(name).join("sub");
                assert_eq!(files, format!("edited {n}\nby {n}{}", sub.display()));
                assert_eq!(
                    git(&scene.root, &format!("log --format=%s|%b main..{branch}")),
                    format!("{}|Task #{n}.", &name[2..])
                );
                let commit = git(&scene.root, &format!("rev-parse --short {branch}"));
                let part = told.split("# Task").nth(n).unwrap().trim();
                for said in [
                    format!("edited {n}\n{branch}"),
                    "|same.txt\nwritten.txt\n|same.txt\n|".to_string(),
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
        assert_eq!(git(&scene.root, "log -1 --format=%s rungs/2-bad"), "Unfinished: bad");
        assert_eq!(git(&scene.root, "show rungs/2-bad:new.txt"), "half");
        let again = scene.call("work_on", json!({"tasks": [2]})).await.unwrap_err();
        let said = "the board says: #2 [failed] bad, owner rungs/2-bad. Set it to pending if it is to be worked on";
        assert_eq!(again, format!("# Task #2: not done\n{said}"));
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
        let half = scene.tree("1-long").join("half.txt");
        let begun = async {
            while fs::read_to_string(&half).unwrap_or_default().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let busy = scene.call("work_on", json!({"tasks": [1]})).await.unwrap_err();
            let tree = "ROOT/.rungs/s12_worktree_task_isolation/trees/1-long";
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
            told.starts_with("# Task #1: done\nhalf\ncommitted as ") && told.contains("files changed: 2"),
            "{told}"
        );
        assert_eq!(scene.statuses(), [Status::Done]);
        scene.assert_sound();
    }

    #[tokio::test]
    async fn a_tree_with_work_is_not_removed_and_the_branch_never_is() {
        let scene =
            stage(&["a"], "{when: '^Task', turns: [{call: [{bash: {command: 'echo a > a.txt'}}]}, {say: fine}]}").await;
        assert_eq!(scene.call("worktree_list", json!({})).await.unwrap(), "There are no trees.");
        scene.call("work_on", json!({"tasks": [1]})).await.unwrap();
        let (note, tree) = (scene.tree("1-a").join("note"), "ROOT/.rungs/s12_worktree_task_isolation/trees/1-a");
        fs::write(&note, "").unwrap();
        let commit = git(&scene.root, "rev-parse --short rungs/1-a");
        let state = format!("rungs/1-a at {commit}, commits that are on no other branch: 1; in {tree}");
        assert_eq!(
            scene.call("worktree_list", json!({})).await.unwrap(),
            format!("{state}\nin no commit of it:\nuntracked: note")
        );
        let refused = format!("{tree} was not removed. What is not on rungs/1-a would be lost:\nuntracked: note");
        assert_eq!(scene.call("worktree_remove", json!({"task": 1})).await.unwrap_err(), refused);
        fs::remove_file(&note).unwrap();
        let removed = scene.call("worktree_remove", json!({"task": 1})).await.unwrap();
        let stays = format!("the branch rungs/1-a stays at {commit}, commits that are on no other branch: 1");
        assert_eq!(removed, format!("removed {tree}; {stays}"));
        assert_eq!(
            (git(&scene.root, "worktree list").lines().count(), git(&scene.root, "show rungs/1-a:a.txt").as_str()),
            (1, "a")
        );
        assert_eq!(scene.call("worktree_remove", json!({"task": 7})).await.unwrap_err(), "there is no task #7");
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
        let many: Vec<u64> = (1..=21).collect();
        assert_eq!(
            scene.call("work_on", json!({"tasks": many})).await.unwrap_err(),
            "21 subagents are too many: 17 of 20 are left"
        );
        fs::rename(scene.root.join(".git"), scene.root.join("git")).unwrap();
        let nowhere = scene.call("work_on", json!({"tasks": [3]})).await.unwrap_err();
        assert_eq!(nowhere, "# Task #3: not done\nROOT is in no git repository; `git init` makes one");
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
        assert!(text.contains("# x\nROOT/.rungs/s12_worktree_task_isolation/trees/1-a\n"), "{text}");
    }

    #[test]
    fn a_name_is_one_that_git_and_the_disk_take() {
        let named = |subject: &str| name(&Task { id: 7, subject: subject.into(), ..Task::default() });
        assert_eq!(named("Fix: the ../../etc/passwd `bug`!"), "7-fix-the-etc-passwd-bug");
        assert_eq!((named("übergröße").as_str(), named("日本").as_str()), ("7-bergr-e", "7"));
        assert_eq!(named(&"word ".repeat(20)), "7-word-word-word-word-word-word-word-wor");
    }
}
