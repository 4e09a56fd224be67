//! What other processes do to trees, and what the environment does.
use git2::{Repository, Signature};
use rungs_worktree::Trees;
use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

const FOLDER: &str = "RUNGS_TEST_FOLDER";
const KILLS: usize = 30;
const TREES: usize = 16;

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
#[ignore = "a part of the other test, which starts it as a process"]
fn worker() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let trees = trees(Path::new(&folder));
    thread::scope(|scope| {
        for n in 0..TREES {
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
#[ignore = "a part of the other test, which starts it as a process"]
fn committer() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let tree = trees(Path::new(&folder)).take("1").unwrap();
    fs::write(tree.path().join("new"), "").unwrap();
    tree.commit("x").unwrap();
}

#[test]
fn the_environment_says_who_commits() {
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

/// Makes the locks that git left behind as old as they would be if somebody came back later.
fn age(folder: &Path) -> usize {
    let mut aged = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            aged += age(&path);
        } else if path.extension().is_some_and(|ending| ending == "lock") {
            let then = SystemTime::now() - Duration::from_secs(60);
            fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
            aged += usize::from(path.file_name().unwrap() != "rungs-worktrees.lock");
        }
    }
    aged
}

#[test]
fn kill_at_any_moment_leaves_nothing_that_is_stuck() {
    let (mut cut_off, mut locks) = (0, 0);
    for kill in 0..KILLS {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let main = repository(&folder);
        let mut child = start("worker", &folder).spawn().unwrap();
        let begun = Instant::now();
        while !folder.join(".git/worktrees").exists() && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_micros(100));
        }
        // The making takes about 30 ms, all together, and the rest as long.
        thread::sleep(Duration::from_micros(RandomState::new().hash_one(kill) % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        locks += age(&folder.join(".git"));
        let trees = trees(&folder);
        cut_off += trees.list().unwrap().iter().filter(|tree| tree.is_err()).count();
        // In another order, so that some are taken while others are still half made.
        for n in (0..TREES).rev() {
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
    println!("kills: {KILLS}, trees cut off: {cut_off}, locks left behind: {locks}");
}
