//! Worktrees under processes that are killed, and the environment variables of git.

use git2::{Repository, Signature};
use rungs_worktree::Trees;
use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

const FOLDER: &str = "RUNGS_TEST_FOLDER";
const KILLS: usize = 30;
const WORKTREES: usize = 16;
/// How long the child may take until its first worktree is registered.
const START_TIMEOUT: Duration = Duration::from_secs(20);

fn name(n: usize) -> String {
    format!("{n}-task")
}

fn trees(folder: &Path) -> Trees {
    Trees::new(folder, folder.join(".trees"))
}

fn repository(folder: &Path) -> Repository {
    let repository = Repository::init(folder).unwrap();
    fs::write(folder.join(".gitignore"), ".trees\n").unwrap();
    for n in 0..8 {
        fs::write(folder.join(format!("file-{n}")), "some text\n".repeat(100)).unwrap();
    }
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let who = Signature::now("Who", "who@localhost").unwrap();
    let tree = index.write_tree().unwrap();
    repository
        .commit(Some("HEAD"), &who, &who, "Start", &repository.find_tree(tree).unwrap(), &[])
        .unwrap();
    drop(index);
    repository
}

fn start(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--test-threads=1"]).env(FOLDER, folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
#[ignore = "another test starts it as a child process"]
fn worker() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let trees = trees(Path::new(&folder));
    thread::scope(|scope| {
        for n in 0..WORKTREES {
            let trees = &trees;
            scope.spawn(move || {
                let tree = trees.take(&name(n)).unwrap();
                fs::write(tree.path().join("work"), n.to_string()).unwrap();
                tree.commit("work").unwrap();
                drop(tree);
                trees.remove(&name(n), false).unwrap();
            });
        }
    });
}

#[test]
#[ignore = "another test starts it as a child process"]
fn committer() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let tree = trees(Path::new(&folder)).take("1").unwrap();
    fs::write(tree.path().join("new"), "").unwrap();
    tree.commit("x").unwrap();
}

#[test]
fn the_environment_names_author_and_committer() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let main = repository(&folder);
    let mut child = start("committer", &folder);
    child.env("GIT_AUTHOR_NAME", "Ann").env("GIT_AUTHOR_EMAIL", "ann@localhost");
    child.env("GIT_COMMITTER_NAME", "Bob").env("GIT_COMMITTER_EMAIL", "bob@localhost");
    assert!(child.status().unwrap().success());
    let commit = main
        .find_branch("rungs/1", git2::BranchType::Local)
        .unwrap()
        .get()
        .peel_to_commit()
        .unwrap();
    assert_eq!((commit.author().name(), commit.author().email()), (Ok("Ann"), Ok("ann@localhost")));
    assert_eq!(
        (commit.committer().name(), commit.committer().email()),
        (Ok("Bob"), Ok("bob@localhost"))
    );
}

/// Starts a worker, and waits until git has registered its first worktree.
fn start_worker(folder: &Path) -> Child {
    let child = start("worker", folder).spawn().unwrap();
    let start = Instant::now();
    while !folder.join(".git/worktrees").exists() {
        assert!(start.elapsed() < START_TIMEOUT, "the worker creates no worktree");
        thread::sleep(Duration::from_micros(100));
    }
    child
}

/// How long a worker takes after that on this machine when it is not killed.
fn whole_run() -> Duration {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path());
    let mut child = start_worker(dir.path());
    let start = Instant::now();
    assert!(child.wait().unwrap().success());
    start.elapsed()
}

/// Sets back the time of all lock files, as if somebody came back later; returns how many of them
/// are those of git.
fn age_locks(folder: &Path) -> usize {
    let mut git_locks = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            git_locks += age_locks(&path);
        } else if path.extension().is_some_and(|ending| ending == "lock") {
            let then = SystemTime::now() - Duration::from_secs(60);
            fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
            git_locks += usize::from(path.file_name().unwrap() != "rungs-worktrees.lock");
        }
    }
    git_locks
}

#[test]
fn after_a_kill_every_worktree_can_be_taken_committed_and_removed() {
    let whole_run = whole_run();
    let (mut incomplete, mut git_locks) = (0, 0);
    for kill in 0..KILLS {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let main = repository(&folder);
        let mut child = start_worker(&folder);
        thread::sleep(whole_run.mul_f64(fastrand::f64()));
        child.kill().unwrap();
        child.wait().unwrap();
        git_locks += age_locks(&folder.join(".git"));
        let trees = trees(&folder);
        incomplete += trees.list().unwrap().iter().filter(|tree| tree.is_err()).count();
        // In reverse order, so that some are taken while others are still incomplete.
        for n in (0..WORKTREES).rev() {
            let tree = trees.take(&name(n)).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
            for file in 0..8 {
                let text = fs::read_to_string(tree.path().join(format!("file-{file}"))).unwrap();
                assert_eq!(text.len(), 1000, "kill {kill}: {}", tree.path().display());
            }
            fs::write(tree.path().join("later"), n.to_string()).unwrap();
            tree.commit("later").unwrap_or_else(|error| panic!("kill {kill}: {error}")).unwrap();
            drop(tree);
            trees.remove(&name(n), false).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
            let branch =
                main.find_branch(&format!("rungs/{}", name(n)), git2::BranchType::Local).unwrap();
            assert_eq!(branch.get().peel_to_commit().unwrap().message(), Ok("later\n"));
        }
        assert_eq!(trees.list().unwrap().len(), 0, "kill {kill}");
        drop(trees.take("last").unwrap());
        let names = fs::read_dir(folder.join(".trees")).unwrap().map(|entry| entry.unwrap().path());
        let folders: Vec<_> =
            names.filter(|path| path.is_dir() && !path.ends_with("last")).collect();
        assert!(folders.is_empty(), "kill {kill}: {folders:?}");
    }
    assert!(incomplete > 0, "no kill hit a creation or a removal");
    println!(
        "{KILLS} kills within {whole_run:.1?}: {incomplete} incomplete worktrees, {git_locks} \
         stale locks of git"
    );
}
