//! Repositories and folders that make harmless commands run something.
use super::{decide_in, policy};
use crate::{Mode, Ruling};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

/// A repository with one changed file; `core.fsmonitor` and others would run `canary`.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let canary = dir.join("canary");
    fs::write(&canary, "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\nexec cat \"$@\"\n").unwrap();
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o755)).unwrap();
    git(dir, &["init", "-q", "-b", "main"]);
    fs::write(dir.join("f"), "a\n").unwrap();
    fs::write(dir.join(".gitattributes"), "f diff=x filter=x merge=x\n").unwrap();
    git(dir, &["add", "f", ".gitattributes"]);
    git(dir, &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "m"]);
    fs::write(dir.join("f"), "b\n").unwrap();
    folder
}

fn git(dir: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    let git = git.args(args).current_dir(dir).env("HOME", dir).env("PAGER", "cat");
    assert!(git.env_remove("GIT_DIR").output().is_ok());
}

const READING: [&str; 6] =
    ["git status", "git diff", "git log -p", "git show", "git branch", "git log --oneline -1"];

#[test]
fn git_runs_nothing_where_it_is_allowed() {
    let policy = policy();
    let settings: [(&str, &str); 14] = [
        ("core.fsmonitor", "./canary"),
        ("diff.external", "./canary"),
        ("diff.x.textconv", "./canary"),
        ("diff.x.command", "./canary"),
        ("filter.x.clean", "./canary"),
        ("filter.x.process", "./canary"),
        ("core.pager", "./canary"),
        ("pager.log", "./canary"),
        ("gpg.program", "./canary"),
        ("log.showSignature", "true"),
        ("core.sshCommand", "./canary"),
        ("include.path", "../more"),
        ("core.hooksPath", "."),
        ("extensions.partialClone", "origin"),
    ];
    for (name, value) in settings {
        let folder = repository();
        let dir = folder.path();
        git(dir, &["config", name, value]);
        fs::write(dir.join("more"), "[core]\n\tfsmonitor = ./canary\n").unwrap();
        for command in READING {
            let ruling = decide_in(&policy, command, dir, Mode::Default).ruling;
            assert!(!dir.join("ran").exists(), "the check itself ran something");
            assert_eq!(ruling, Ruling::Ask, "{name}: {command}");
        }
    }
    // Without them it is allowed, and runs nothing.
    let folder = repository();
    git(folder.path(), &["config", "remote.origin.url", "https://example.com/x"]);
    for command in READING {
        assert_eq!(decide_in(&policy, command, folder.path(), Mode::Default).ruling, Ruling::Allow);
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        git(folder.path(), &words);
    }
    assert!(!folder.path().join("ran").exists());
}

#[test]
fn a_hook_that_reading_runs_is_asked() {
    let folder = repository();
    let hook = folder.path().join(".git/hooks/post-index-change");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    let decision = decide_in(&policy(), "git status", folder.path(), Mode::Default);
    assert_eq!(decision.why, "the repository has the hook post-index-change");
}

#[test]
fn files_are_judged_by_where_they_lead() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    fs::create_dir(dir.join("d")).unwrap();
    for file in [".env", "d/.env.local", "plain"] {
        fs::write(dir.join(file), "A=b\n").unwrap();
    }
    symlink(".env", dir.join("link")).unwrap();
    symlink("d", dir.join("folder")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    symlink("../nothing/.env", dir.join("dangling")).unwrap();
    let policy = policy();
    let ruling = |command: &str| decide_in(&policy, command, dir, Mode::Default).ruling;
    for command in [
        "cat link",
        "cat < link",
        "head folder/.env.local",
        "cat dangling",
        "cat l*",
        "cat ./l?nk",
        "cat .??v",
        "grep -r A .",
        "grep -r A",
        "grep -rn A d",
        "rg --hidden A",
        "rg -uu A",
        "cat */.e*",
        "grep A folder/../.env",
        "cat d/../link",
        "grep -R A plain ./",
    ] {
        assert_eq!(ruling(command), Ruling::Ask, "{command}");
    }
    for command in
        ["cat plain", "rg A", "cat p*", "grep -r A plain", "ls -la", "ls .env", "cat pl*"]
    {
        assert_eq!(ruling(command), Ruling::Allow, "{command}");
    }
}

#[test]
fn names_of_files_that_are_options_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("-delete"), "").unwrap();
    for command in ["cat *", "head -1 *", "wc *", "cat -*", "find *"] {
        let ruling = decide_in(&policy(), command, folder.path(), Mode::Default).ruling;
        assert_eq!(ruling, Ruling::Ask, "{command}");
    }
}

#[test]
fn a_toolchain_file_that_names_a_program_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let ruling = || decide_in(&policy(), "cargo --version", folder.path(), Mode::Default).ruling;
    assert_eq!(ruling(), Ruling::Allow);
    for (name, text) in
        [("rust-toolchain.toml", "[toolchain]\npath = \"evil\"\n"), ("rust-toolchain", "")]
    {
        fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(ruling(), Ruling::Ask, "{name}");
        fs::remove_file(folder.path().join(name)).unwrap();
    }
}

#[test]
fn a_repository_that_is_not_understood_is_asked() {
    let policy = policy();
    let ruling = |dir: &Path| decide_in(&policy, "git status", dir, Mode::Default).ruling;
    type Change = (&'static str, fn(&Path));
    let changes: [Change; 9] = [
        ("no repository in .git", |dir| {
            fs::remove_file(dir.join(".git/HEAD")).unwrap();
        }),
        ("a link of .git that leads nowhere", |dir| {
            fs::rename(dir.join(".git"), dir.join("g")).unwrap();
            symlink("nothing", dir.join(".git")).unwrap();
        }),
        ("a gitfile with a blank at its end", |dir| link(dir, "gitdir: g \n")),
        ("a gitfile with a tab at its end", |dir| link(dir, "gitdir: g\t")),
        ("a gitfile with a form feed at its end", |dir| link(dir, "gitdir: g\u{c}\n")),
        ("a gitfile with two blanks", |dir| link(dir, "gitdir:  g\n")),
        ("a commondir with a blank at its end", |dir| {
            fs::write(dir.join(".git/commondir"), ". \n").unwrap();
        }),
        ("a line of configuration that goes on", |dir| {
            add(dir, "[user]\n\tname = a \\\n\n[core]\n\tfsmonitor = ./canary\n");
        }),
        ("a work tree elsewhere", |dir| add(dir, "[core]\n\tworktree = /etc\n")),
    ];
    for (name, change) in changes {
        let folder = repository();
        assert_eq!(ruling(folder.path()), Ruling::Allow, "{name}");
        change(folder.path());
        assert_eq!(ruling(folder.path()), Ruling::Ask, "{name}");
    }
    // A gitfile that is plain, and a folder that looks like a repository without a work tree.
    let folder = repository();
    link(folder.path(), "gitdir: g\n");
    assert_eq!(ruling(folder.path()), Ruling::Allow);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("refs")).unwrap();
    fs::write(folder.path().join("HEAD"), "x").unwrap();
    assert_eq!(ruling(folder.path()), Ruling::Ask);
}

/// Moves the repository to `g`, and writes a file in its place.
fn link(dir: &Path, text: &str) {
    fs::rename(dir.join(".git"), dir.join("g")).unwrap();
    fs::write(dir.join(".git"), text).unwrap();
}

/// Adds to the repository's configuration.
fn add(dir: &Path, text: &str) {
    let file = dir.join(".git/config");
    fs::write(&file, fs::read_to_string(&file).unwrap() + text).unwrap();
}

#[test]
fn a_submodule_is_asked_only_where_it_is_not_understood() {
    let folder = repository();
    let dir = folder.path();
    let source = repository();
    let source = source.path().display().to_string();
    git(dir, &["-c", "protocol.file.allow=always", "submodule", "add", "-q", &source, "sub"]);
    let policy = policy();
    let ruling = || decide_in(&policy, "git status", dir, Mode::Default).ruling;
    assert!(dir.join("sub/.git").is_file());
    assert_eq!(ruling(), Ruling::Allow);
    fs::write(dir.join("sub/.git"), "gitdir: ../.git/modules/sub \n").unwrap();
    assert_eq!(ruling(), Ruling::Ask);
}

#[test]
fn what_a_search_brings_back_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    fs::create_dir_all(dir.join("a/.git")).unwrap();
    fs::create_dir(dir.join("a/b")).unwrap();
    for file in ["a/.env", "a/x.rs", "a/b/.env.local", "a/b/y.py"] {
        fs::write(dir.join(file), "A=b\n").unwrap();
    }
    let policy = policy();
    let ruling = |command: &str, dir: &Path| decide_in(&policy, command, dir, Mode::Default).ruling;
    let (a, b) = (dir.join("a"), dir.join("a/b"));
    for command in [
        "rg x -g '.e*'",
        "rg x -g .env -g '*.rs'",
        "rg x '-g*'",
        "rg -ng '.e*' x",
        "rg x --glob='**/.env*'",
        "rg x --glob '.[e]nv'",
        "rg x --iglob .ENV",
        "rg x --type-add 'e:.env*' -te",
        "rg x --ignore-file i",
        "rg --no-ignore-vcs x",
        "ag x",
    ] {
        assert_eq!(ruling(command, &a), Ruling::Ask, "{command}");
    }
    for command in ["rg x", "rg x -g '*.rs'", "rg x -t rust", "rg -g '!target' x", "rg x b"] {
        assert_eq!(ruling(command, &a), Ruling::Allow, "{command}");
    }
    assert_eq!(ruling("rg x", &b), Ruling::Allow);
    for name in [".ignore", ".rgignore"] {
        fs::write(a.join(name), "!.env*\n").unwrap();
        assert_eq!(ruling("rg x", &a), Ruling::Ask, "{name}");
        assert_eq!(ruling("rg x", &b), Ruling::Ask, "{name} of the parent");
        fs::remove_file(a.join(name)).unwrap();
    }
}
