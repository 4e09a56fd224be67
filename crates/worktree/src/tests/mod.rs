//! These tests use real repositories, and check the results with the program `git`.

mod cleaning;
mod concurrency;
mod interruption;
mod merging;
mod refusal;
mod removal;
mod submodules;
mod work;

use crate::{Error, LossKind, Losses, State, Tree, Trees};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// Runs git without the settings of any person; returns what it prints, trimmed.
fn git(at: &Path, args: &str) -> String {
    let mut git = Command::new("git");
    git.current_dir(at)
        .args(args.split(' '))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let done = git.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    assert!(done.status.success(), "git {args}: {}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

fn write(at: &Path, file: &str, text: &str) {
    let file = at.join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn init(at: &Path) {
    fs::create_dir_all(at).unwrap();
    git(at, "init -q -b main");
    // In the settings of the repository, which override those of whoever runs the tests.
    for setting in [
        "user.name Tester",
        "user.email t@localhost",
        "core.autocrlf false",
        "core.excludesFile /dev/null",
    ] {
        git(at, &format!("config {setting}"));
    }
}

/// A repository with one commit, and its worktrees.
fn repository() -> (TempDir, PathBuf, Trees) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("repo");
    init(&path);
    for (file, text) in
        [("a.txt", "a\n"), ("b.txt", "b\n"), ("sub/c.txt", "c\n"), (".gitignore", "*.log\nout/\n")]
    {
        write(&path, file, text);
    }
    git(&path, "add -A");
    git(&path, "commit -qm Start");
    let trees = Trees::new(&path, path.join(".trees"));
    (dir, path, trees)
}

/// Checks that git finds no fault, and that nothing has changed in the main folder.
fn assert_intact(path: &Path) {
    assert_eq!(git(path, "fsck --strict --no-dangling"), "");
    assert_eq!(git(path, "status --porcelain"), "");
}

/// The message of the error that is expected.
fn error<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}
