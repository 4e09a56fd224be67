//! Real repositories, looked at with the program `git`.
use super::*;
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};
use tempfile::TempDir;

/// Runs git without any person's settings; what it prints, trimmed.
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
    // In the repository's own settings, which win over those of whoever runs the tests.
    for setting in [
        "user.name Tester",
        "user.email t@localhost",
        "core.autocrlf false",
        "core.excludesFile /dev/null",
    ] {
        git(at, &format!("config {setting}"));
    }
}

/// A repository with one commit, and its trees.
fn repository() -> (TempDir, PathBuf, Trees) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("repo");
    init(&path);
    for (file, text) in [
        ("a.txt", "a\n"),
        ("b.txt", "b\n"),
        ("sub/c.txt", "c\n"),
        (".gitignore", "*.log\nout/\n.trees\n"),
    ] {
        write(&path, file, text);
    }
    git(&path, "add -A");
    git(&path, "commit -qm Start");
    let trees = Trees::new(&path, path.join(".trees"));
    (dir, path, trees)
}

/// Nothing that git finds wrong, and nothing has changed in the main folder.
fn assert_sound(path: &Path) {
    assert_eq!(git(path, "fsck --strict --no-dangling"), "");
    assert_eq!(git(path, "status --porcelain"), "");
}

fn said<T>(result: Result<T, Error>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn a_tree_is_made_left_and_taken_up_again() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1-x").unwrap();
    assert_eq!(
        (tree.path(), tree.branch(), tree.resumed().is_some()),
        (&*path.join(".trees/1-x"), "rungs/1-x", false)
    );
    assert_eq!(said(trees.take("1-x")), format!("somebody works in {}/.trees/1-x", path.display()));
    write(tree.path(), "a.txt", "changed\n");
    drop(tree);
    let tree = trees.take("1-x").unwrap();
    assert!(tree.resumed().is_some());
    assert_eq!(git(tree.path(), "status --porcelain"), "M a.txt");
    assert_eq!(fs::read_to_string(path.join("a.txt")).unwrap(), "a\n");
    let listed = git(&path, "worktree list");
    assert!(listed.lines().count() == 2 && listed.ends_with("[rungs/1-x]"), "{listed}");
    assert_sound(&path);
}

#[test]
fn everything_but_what_is_ignored_is_committed_to_the_branch_alone() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    let at = tree.path();
    fs::remove_file(at.join("a.txt")).unwrap();
    fs::rename(at.join("b.txt"), at.join("moved.txt")).unwrap();
    for file in
        ["sub/c.txt", "new/deep/d.txt", ".hidden", "x.log", "out/product", "sub/[odd] name\t.txt"]
    {
        write(at, file, "new\n");
    }
    fs::set_permissions(at.join(".hidden"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc", at.join("link")).unwrap();
    let commit = tree.commit("Do it\n\n# Not a comment to git2\nTask #1.").unwrap().unwrap();
    assert_eq!((commit.id.as_str(), commit.files), (&*git(at, "rev-parse --short HEAD"), 8));
    let mut names: Vec<String> = git(at, "ls-tree -r --format=%(objectmode)_%(path) HEAD")
        .lines()
        .map(String::from)
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "100644_\"sub/[odd] name\\t.txt\"",
            "100644_.gitignore",
            "100644_moved.txt",
            "100644_new/deep/d.txt",
            "100644_sub/c.txt",
            "100755_.hidden",
            "120000_link",
        ]
    );
    assert_eq!(
        git(at, "log -1 --format=%an|%ae|%s|%b"),
        "Tester|t@localhost|Do it|# Not a comment to git2\nTask #1."
    );
    assert_eq!(git(at, "status --porcelain"), "");
    assert_eq!(tree.commit("again").unwrap(), None);
    let state = tree.state().unwrap();
    assert_eq!((state.ahead, state.losses.work), (1, vec![]));
    assert_eq!(state.losses.ignored, [Path::new("out/"), Path::new("x.log")]);
    assert_eq!(git(&path, "rev-list --count main"), "1");
    assert_sound(&path);
}

#[test]
fn who_commits_where_git_knows_nobody() {
    let (_dir, path, trees) = repository();
    // No name of a person's settings can stand in for one that is empty here.
    git(&path, "config --unset user.email");
    Command::new("git").current_dir(&path).args(["config", "user.name", ""]).status().unwrap();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    tree.commit("x").unwrap().unwrap();
    assert_eq!(git(tree.path(), "log -1 --format=%an|%ae|%cn"), "Rungs|rungs@localhost|Rungs");
}

#[test]
fn a_clean_tree_goes_and_its_branch_stays() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    write(tree.path(), "out/product", "");
    tree.commit("first").unwrap().unwrap();
    assert_eq!(
        said(trees.remove("1", true)),
        format!("somebody works in {}/.trees/1", path.display())
    );
    drop(tree);
    let state = trees.remove("1", true).unwrap().state;
    assert_eq!((state.ahead, state.losses.ignored.len(), state.path.exists()), (1, 1, false));
    assert_eq!(git(&path, "worktree list").lines().count(), 1);
    assert_eq!(git(&path, "log -1 --format=%s rungs/1"), "first");
    assert_eq!(
        said(trees.remove("1", true)),
        format!("there is no tree in {}/.trees/1", path.display())
    );
    // From the branch, there is a tree again.
    let tree = trees.take("1").unwrap();
    assert!(tree.resumed().is_some() && tree.path().join("new").exists());
    git(&path, "merge -q rungs/1");
    assert_eq!(tree.state().unwrap().ahead, 0);
    assert_sound(&path);
}

#[test]
fn a_tree_with_work_in_it_is_not_removed() {
    type Work = fn(&Path);
    let kinds: [(Work, &str); 9] = [
        (|at| write(at, "a.txt", "changed"), "modified: a.txt"),
        (|at| write(at, "new/n.txt", ""), "untracked: new/n.txt"),
        (|at| fs::remove_file(at.join("a.txt")).unwrap(), "deleted: a.txt"),
        (|at| drop((write(at, "a.txt", "changed"), git(at, "add a.txt"))), "staged: a.txt"),
        (|at| drop(git(at, "mv a.txt z.txt")), "staged: a.txt\nstaged: z.txt"),
        (|at| drop(git(at, "rm -q --cached a.txt")), "untracked: a.txt"),
        (
            |at| drop((fs::remove_file(at.join("a.txt")), symlink("b.txt", at.join("a.txt")))),
            "modified: a.txt",
        ),
        (|at| (0..17).for_each(|n| write(at, &format!("n{n:02}"), "")), {
            "untracked: n00\nuntracked: n01\nuntracked: n02\nuntracked: n03\nuntracked: n04\nuntracked: n05\n\
             untracked: n06\nuntracked: n07\nuntracked: n08\nuntracked: n09\n... 7 more"
        }),
        (
            |at| [("x.log", ""), ("y", "")].iter().for_each(|(f, t)| write(at, f, t)),
            "untracked: y\nignored by git: x.log",
        ),
    ];
    let (_dir, path, trees) = repository();
    for (n, (work, lost)) in kinds.into_iter().enumerate() {
        let name = n.to_string();
        let tree = trees.take(&name).unwrap().path().to_path_buf();
        work(&tree);
        let before = git(&tree, "status --porcelain --ignored");
        let refused = format!(
            "{} was not removed. What is not on rungs/{n} would be lost:\n{lost}",
            tree.display()
        );
        assert_eq!(said(trees.remove(&name, true)), refused);
        assert_eq!(git(&tree, "status --porcelain --ignored"), before);
    }
    assert_sound(&path);
}

#[test]
fn a_merge_in_its_middle_is_neither_committed_nor_removed() {
    let (_dir, path, trees) = repository();
    write(&path, "a.txt", "theirs\n");
    git(&path, "commit -qam theirs");
    git(&path, "branch -q other");
    git(&path, "reset -q --hard HEAD~1");
    let tree = trees.take("1").unwrap();
    let at = tree.path().to_path_buf();
    write(&at, "a.txt", "ours\n");
    tree.commit("ours").unwrap().unwrap();
    let merge = |args: &[&str]| {
        Command::new("git").current_dir(&at).args(args).output().unwrap().status.success()
    };
    assert!(!merge(&["merge", "-q", "other"]));
    let middle =
        format!("{} is in the middle of merge; finish that first, or give it up", at.display());
    assert_eq!(said(tree.commit("x")), format!("{middle}. In conflict: a.txt"));
    assert_eq!(tree.state().unwrap().losses.work, [(Kind::Conflicted, "a.txt".into())]);
    write(&at, "a.txt", "both\n");
    git(&at, "add a.txt");
    assert_eq!(said(tree.commit("x")), middle);
    drop(tree);
    assert_eq!(said(trees.remove("1", true)), middle);
    git(&at, "commit -qm merged");
    assert_eq!(trees.remove("1", true).unwrap().state.ahead, 2);
    // Conflicts can be there without a merge.
    let tree = trees.take("2").unwrap();
    write(tree.path(), "a.txt", "stashed\n");
    git(tree.path(), "stash -q");
    write(tree.path(), "a.txt", "ours\n");
    tree.commit("ours").unwrap().unwrap();
    assert!(
        !Command::new("git")
            .current_dir(tree.path())
            .args(["stash", "pop", "-q"])
            .output()
            .unwrap()
            .status
            .success()
    );
    let solving = "is in the middle of solving conflicts; finish that first, or give it up. In conflict: a.txt";
    assert!(said(tree.commit("x")).ends_with(solving));
    assert_sound(&path);
}

#[test]
fn repositories_within_a_tree_are_neither_committed_nor_removed() {
    let (_dir, path, trees) = repository();
    for (n, inner) in ["clone", "out/clone"].into_iter().enumerate() {
        let tree = trees.take(&n.to_string()).unwrap();
        init(&tree.path().join(inner));
        write(tree.path(), &format!("{inner}/f"), "");
        assert_eq!(tree.commit("x").unwrap(), None);
        git(&tree.path().join(inner), "add f");
        git(&tree.path().join(inner), "commit -qm inner");
        assert_eq!(tree.commit("x").unwrap(), None);
        assert_eq!(tree.state().unwrap().losses.work, [(Kind::Repository, inner.into())]);
        drop(tree);
        assert!(
            said(trees.remove(&n.to_string(), true))
                .contains(&format!("lost:\na repository of its own: {inner}"))
        );
    }
    assert_sound(&path);
}

#[test]
fn submodules_stay_as_they_are() {
    let (dir, path, trees) = repository();
    let module = dir.path().canonicalize().unwrap().join("module");
    init(&module);
    git(&module, "commit -q --allow-empty -m module");
    let local = "-c protocol.file.allow=always submodule";
    git(&path, &format!("{local} --quiet add {} lib", module.display()));
    git(&path, "commit -qm submodule");
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    assert_eq!(tree.commit("x").unwrap().unwrap().files, 1);
    assert!(git(tree.path(), "ls-tree HEAD lib").starts_with("160000 commit"));
    git(tree.path(), &format!("{local} --quiet update --init"));
    git(
        &tree.path().join("lib"),
        "-c user.name=x -c user.email=x commit -q --allow-empty -m inner",
    );
    assert_eq!(tree.commit("x").unwrap(), None);
    drop(tree);
    assert!(said(trees.remove("1", true)).ends_with("a repository of its own: lib"));
    drop(trees.take("2").unwrap());
    trees.remove("2", true).unwrap();
    assert_sound(&path);
}

#[test]
fn removing_follows_no_links() {
    let (dir, path, trees) = repository();
    let outside = dir.path().join("outside");
    write(&outside, "kept", "");
    let tree = trees.take("1").unwrap();
    symlink(&outside, tree.path().join("link")).unwrap();
    symlink(&outside, tree.path().join("link.log")).unwrap();
    tree.commit("links").unwrap().unwrap();
    drop(tree);
    assert_eq!(trees.remove("1", true).unwrap().state.losses.ignored, [Path::new("link.log")]);
    assert!(outside.join("kept").exists());
    assert_sound(&path);
}

#[test]
fn what_is_no_place_for_trees_is_said() {
    let (dir, path, _) = repository();
    let new = |folder: &Path| Trees::new(folder, dir.path().join("trees"));
    let said = |folder: &Path| said(new(folder).take("1"));
    let none = tempfile::tempdir().unwrap();
    assert_eq!(
        said(none.path()),
        format!("{} is in no git repository; `git init` makes one", none.path().display())
    );
    let bare = dir.path().join("bare");
    git(dir.path(), "init -q --bare bare");
    assert_eq!(
        said(&bare),
        format!("{} is a bare repository, without files to work on", bare.display())
    );
    let unborn = path.with_file_name("unborn");
    init(&unborn);
    let expected =
        ": no commit is checked out yet, so there is nothing to begin from; commit something";
    assert!(said(&unborn).ends_with(expected), "{}", said(&unborn));
    assert_eq!(git(&unborn, "worktree list").lines().count(), 1);
    let rejected = ["", "-a", "A", "a/b", "..", "a.b", "ä", &"a".repeat(61)];
    for name in rejected {
        assert!(matches!(new(&path).take(name), Err(Error::Name(bad)) if bad == name));
        assert!(matches!(new(&path).remove(name, true), Err(Error::Name(_))));
    }
    assert!(new(&path).take(&"a".repeat(60)).is_ok());
}

#[test]
fn what_is_something_else_is_left_alone() {
    let (_dir, path, trees) = repository();
    let at = |name: &str| path.join(".trees").join(name);
    let unfit =
        |name: &str, why: &str| format!("{}: {why}; it was left as it is", at(name).display());
    // A folder that is no tree.
    write(&at("1"), "kept", "");
    let forgotten =
        "it is there, but git knows no such worktree; `git worktree repair PATH` may bring it back";
    assert_eq!(said(trees.remove("1", true)), unfit("1", forgotten));
    assert_eq!(said(trees.take("1")), unfit("1", forgotten));
    assert!(at("1").join("kept").exists() && git(&path, "branch --list rungs/*").is_empty());
    // A branch that is checked out elsewhere.
    git(&path, "switch -q -c rungs/2");
    assert!(said(trees.take("2")).ends_with("reference refs/heads/rungs/2 is already checked out"));
    assert!(!at(".1.making").exists() && !at(".2.making").exists());
    git(&path, "switch -q main");
    assert!(trees.take("2").unwrap().resumed().is_none());
    // Another branch in the tree, or none.
    git(&at("2"), "switch -q -c own");
    let elsewhere = "it is on own, not on rungs/2; `git switch rungs/2` there brings it back";
    assert_eq!(said(trees.take("2")), unfit("2", elsewhere));
    assert_eq!(said(trees.remove("2", true)), unfit("2", elsewhere));
    git(&at("2"), "switch -q --detach");
    assert!(said(trees.take("2")).contains("it is on no branch, not on rungs/2"));
    let tree = (git(&at("2"), "switch -q rungs/2"), trees.take("2").unwrap()).1;
    write(tree.path(), "new", "");
    git(tree.path(), "switch -q own");
    assert_eq!(said(tree.commit("x")), unfit("2", elsewhere));
    assert!(tree.path().join("new").exists());
    // Locked, moved, gone.
    drop(trees.take("3").unwrap());
    git(&path, "worktree lock --reason mine .trees/3");
    assert_eq!(
        said(trees.remove("3", true)),
        unfit("3", "it is locked (mine), `git worktree unlock` frees it")
    );
    git(&path, "worktree unlock .trees/3");
    git(&path, "worktree move .trees/3 .trees/moved");
    let moved = format!("git knows the worktree of that name in {}", at("moved").display());
    assert_eq!(said(trees.take("3")), unfit("3", &moved));
    fs::remove_dir_all(at("moved")).unwrap();
    git(&path, "worktree prune");
    drop(trees.take("3").unwrap());
    fs::remove_dir_all(at("3")).unwrap();
    let gone =
        "the folder is gone, but git still knows the worktree; `git worktree prune` lets it forget";
    assert_eq!(
        (said(trees.take("3")), said(trees.remove("3", true))),
        (unfit("3", gone), unfit("3", gone))
    );
    assert!(trees.take("4").unwrap().resumed().is_none());
    git(&path, "worktree prune");
    assert!(trees.take("3").unwrap().path().join("a.txt").exists());
    let listed: Vec<Result<String, String>> = trees
        .list()
        .unwrap()
        .into_iter()
        .map(|tree| tree.map(|t| t.branch).map_err(|e| e.to_string()))
        .collect();
    assert_eq!(
        listed,
        [
            Err(unfit("1", forgotten)),
            Err(unfit("2", elsewhere)),
            Ok("rungs/3".into()),
            Ok("rungs/4".into())
        ]
    );
    assert_sound(&path);
}

#[test]
fn a_branch_named_rungs_is_in_the_way_and_that_is_said() {
    let (_dir, path, trees) = repository();
    git(&path, "branch rungs");
    assert!(said(trees.take("1")).starts_with("cannot make the branch rungs/1: "));
    assert_eq!(git(&path, "worktree list").lines().count(), 1);
    git(&path, "branch -m rungs other");
    trees.take("1").unwrap();
}

/// What a making that was cut off leaves, each time a little more; then the tree can be taken, and others too.
#[test]
fn a_tree_whose_making_was_cut_off_is_made_anew() {
    let (_dir, path, trees) = repository();
    let steps: [fn(&Path, &Path); 8] = [
        |_, _| {},
        |path, _| drop(git(path, "branch rungs/1")),
        |path, _| write(path, ".git/refs/heads/rungs/1.lock", ""),
        |path, _| fs::create_dir_all(path.join(".git/worktrees/1")).unwrap(),
        |_, at| fs::create_dir_all(at).unwrap(),
        |path, _| {
            ["HEAD", "commondir", "gitdir"]
                .iter()
                .for_each(|file| write(path, &format!(".git/worktrees/1/{file}"), ""))
        },
        |_, at| write(at, ".git", "gitdir: "),
        |path, at| {
            write(at, "b.txt", "");
            write(at, "sub/c.txt", "c");
            write(path, ".git/worktrees/1/index.lock", "");
        },
    ];
    for done in 1..=steps.len() {
        for others_first in [true, false] {
            write(&path, ".trees/.1.making", "");
            let at = path.join(".trees/1");
            steps[..done].iter().for_each(|step| step(&path, &at));
            assert_eq!(said(trees.state("1")), Error::HalfMade(at.clone()).to_string());
            assert!(
                trees
                    .list()
                    .unwrap()
                    .iter()
                    .any(|tree| matches!(tree, Err(Error::HalfMade(half)) if *half == at))
            );
            assert!(!trees.hold("1").unwrap().used().unwrap());
            if others_first {
                drop(trees.take("2").unwrap());
            }
            let tree = trees.take("1").unwrap();
            assert_eq!(
                (
                    git(&at, "status --porcelain").as_str(),
                    tree.resumed().is_some(),
                    tree.set_aside()
                ),
                ("", false, None)
            );
            drop(tree);
            assert_sound(&path);
            ["1", "2"].iter().for_each(|name| drop(trees.remove(name, false)));
            git(&path, "branch -D rungs/1");
        }
    }
    // What looks like it in a tree that somebody has had is work.
    let at = trees.take("1").unwrap().path().to_path_buf();
    fs::remove_file(path.join(".git/worktrees/1/index")).unwrap();
    fs::remove_file(at.join("a.txt")).unwrap();
    write(&at, "b.txt", "half");
    assert_eq!(trees.take("1").unwrap().commit("x").unwrap().unwrap().files, 2);
    assert_eq!(git(&at, "show HEAD:b.txt"), "half");
    assert_sound(&path);
}

#[test]
fn work_by_hand_in_a_half_made_tree_is_kept() {
    let (_dir, path, trees) = repository();
    let half = |file: &str, text: &str| {
        let at = trees.take("1").unwrap().path().to_path_buf();
        write(&path, ".trees/.1.making", "");
        write(&at, file, text);
        at
    };
    for (n, (file, text)) in
        [("a.txt", "by hand"), ("new", ""), ("x.log", "")].into_iter().enumerate()
    {
        let at = half(file, text);
        let tree = trees.take("1").unwrap();
        let aside = path.join(format!(".trees/.1.cut-off-{}", n + 1));
        assert_eq!(
            (tree.set_aside(), fs::read_to_string(aside.join(file)).unwrap().as_str()),
            (Some(&*aside), text)
        );
        assert_eq!(git(&at, "status --porcelain --ignored"), "");
        assert!(!aside.join(".git").exists());
        assert!(
            trees
                .list()
                .unwrap()
                .iter()
                .any(|tree| matches!(tree, Err(Error::SetAside(path)) if *path == aside))
        );
    }
    let at = half("a.txt", "by hand");
    git(&at, "switch -q -c own");
    assert!(
        said(trees.take("1")).contains("its making was cut off, and then somebody worked in it")
    );
    assert!(said(trees.remove("1", true)).contains("somebody worked in it"));
    assert_eq!(fs::read_to_string(at.join("a.txt")).unwrap(), "by hand");
    assert_sound(&path);
}

#[test]
fn locks_that_git_left_behind_are_removed_and_fresh_ones_waited_for() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    let locks = [
        ".git/worktrees/1/index.lock",
        ".git/worktrees/1/HEAD.lock",
        ".git/refs/heads/rungs/1.lock",
    ];
    for (n, lock) in locks.iter().map(|lock| path.join(lock)).enumerate() {
        write(tree.path(), "new", &n.to_string());
        let file = fs::File::create(&lock).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(11)).unwrap();
        assert_eq!(tree.commit("x").unwrap().unwrap().files, 1);
        assert!(!lock.exists());
        write(tree.path(), "new", "again");
        fs::File::create(&lock).unwrap();
        std::thread::scope(|scope| {
            let commit = scope.spawn(|| tree.commit("x").unwrap().unwrap());
            std::thread::sleep(Duration::from_millis(50));
            assert!(lock.exists() && !commit.is_finished());
            fs::remove_file(&lock).unwrap();
            assert_eq!(commit.join().unwrap().files, 1);
        });
    }
    assert_sound(&path);
}

#[test]
fn who_works_in_a_subfolder_does_so_in_the_tree_too() {
    let (_dir, path, _) = repository();
    let trees = |folder: &str| Trees::new(path.join(folder), path.join(".trees"));
    let tree = trees("sub").take("1").unwrap();
    assert_eq!(tree.folder(), path.join(".trees/1/sub"));
    write(&path, "out/x", "");
    let tree = trees("out").take("2").unwrap();
    assert_eq!(tree.folder(), tree.path());
    // A link is not where the folder is.
    let tree = trees("sub").take("3").unwrap();
    fs::remove_dir_all(tree.path().join("sub")).unwrap();
    symlink("/", tree.path().join("sub")).unwrap();
    drop(tree);
    let tree = trees("sub").take("3").unwrap();
    assert_eq!(tree.folder(), tree.path());
    // A worktree has the repository of the main folder, and begins where it stands itself.
    git(&path, "worktree add -q -b second ../second");
    let second = path.with_file_name("second");
    write(&second, "a.txt", "second");
    git(&second, "commit -qam second");
    let tree = Trees::new(&second, second.join(".trees")).take("4").unwrap();
    assert_eq!(fs::read_to_string(tree.path().join("a.txt")).unwrap(), "second");
    git(&second, "switch -q --detach main");
    let tree = Trees::new(&second, second.join(".trees")).take("5").unwrap();
    assert_eq!(
        (
            fs::read_to_string(tree.path().join("a.txt")).unwrap().as_str(),
            tree.state().unwrap().ahead
        ),
        ("a\n", 0)
    );
    assert_sound(&path);
}

#[test]
fn sixteen_at_once_have_a_tree_each() {
    for _ in 0..5 {
        let (_dir, path, trees) = repository();
        std::thread::scope(|scope| {
            for n in 0..16 {
                let trees = &trees;
                scope.spawn(move || {
                    let tree = trees.take(&format!("t{n:02}")).unwrap();
                    write(tree.path(), "a.txt", &n.to_string());
                    assert_eq!(tree.commit(&format!("work {n}")).unwrap().unwrap().files, 1);
                });
            }
        });
        let states: Vec<State> = trees.list().unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(states.len(), 16);
        for (n, state) in states.iter().enumerate() {
            assert_eq!(
                git(&path, &format!("log -1 --format=%s rungs/t{n:02}")),
                format!("work {n}")
            );
            assert_eq!(git(&path, &format!("show rungs/t{n:02}:a.txt")), n.to_string());
            assert_eq!((state.ahead, state.losses.work.len()), (1, 0));
        }
        std::thread::scope(|scope| {
            (0..16).for_each(|n| {
                drop(scope.spawn({
                    let trees = &trees;
                    move || trees.remove(&format!("t{n:02}"), true).unwrap().state
                }))
            })
        });
        assert_eq!(git(&path, "worktree list").lines().count(), 1);
        assert_eq!(git(&path, "branch --list rungs/*").lines().count(), 16);
        assert_sound(&path);
    }
}

#[test]
fn of_sixteen_who_want_the_same_tree_one_has_it() {
    let (_dir, path, trees) = repository();
    let had: Vec<Result<Tree, Error>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16).map(|_| scope.spawn(|| trees.take("1"))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(had.iter().filter(|tree| tree.is_ok()).count(), 1);
    assert_eq!(had.iter().filter(|tree| matches!(tree, Err(Error::Busy(_)))).count(), 15);
    assert_sound(&path);
}

#[test]
fn what_git_ignores_goes_only_when_asked() {
    let (_dir, path, trees) = repository();
    let at = trees.take("1").unwrap().path().to_path_buf();
    write(&at, "out/product", "");
    write(&at, "x\n.log", "");
    let ignored = "ignored by git: out/, \"x\\n.log\"";
    assert!(
        trees
            .state("1")
            .unwrap()
            .to_string()
            .ends_with(&format!("\nin no commit of it:\n{ignored}"))
    );
    let asks = format!("would be lost:\n{ignored}\nAsk for it with `ignored: true` if that may go");
    assert!(said(trees.remove("1", false)).ends_with(&asks));
    // Also where a build tool let nobody write: as long as it can be deleted at all, it is.
    fs::set_permissions(at.join("out"), fs::Permissions::from_mode(0o500)).unwrap();
    // What a removal that was cut off has left goes with the next making.
    write(&path, ".trees/.2.gone-1/out/rest", "");
    drop(trees.take("3").unwrap());
    trees.remove("3", false).unwrap();
    let removed = trees.remove("1", true).unwrap();
    assert!(removed.rest.is_none() && removed.state.losses.ignored.len() == 2);
    assert_eq!(
        fs::read_dir(path.join(".trees"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .count(),
        0
    );
    write(&at, "new\nline", "");
    fs::remove_dir_all(&at).unwrap();
    let at = trees.take("1").unwrap().path().to_path_buf();
    write(&at, "new\nline", "");
    assert_eq!(trees.state("1").unwrap().losses.to_string(), "untracked: \"new\\nline\"");
}

#[test]
fn commits_on_no_branch_keep_the_tree() {
    let (_dir, path, trees) = repository();
    let at = trees.take("1").unwrap().path().to_path_buf();
    git(&at, "commit -q --allow-empty -m first");
    git(&at, "commit -q --amend --allow-empty -m amended");
    assert_eq!(trees.state("1").unwrap().losses, Losses::default());
    git(&at, "switch -q --detach");
    git(&at, "commit -q --allow-empty -m stray");
    let stray = git(&at, "log -1 --format=%h");
    assert!(said(trees.remove("1", true)).contains("`git branch NAME` there keeps the commits"));
    git(&at, "switch -q rungs/1");
    let lost = format!(
        "would be lost:\na commit on no branch (`git branch NAME COMMIT` keeps it): {stray} stray"
    );
    assert!(said(trees.remove("1", true)).ends_with(&lost), "{}", said(trees.remove("1", true)));
    git(&path, &format!("tag kept {stray}"));
    trees.remove("1", false).unwrap();
    assert_sound(&path);
}

#[test]
fn a_tree_that_lost_its_branch_or_its_link_can_be_helped() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    tree.commit("x").unwrap();
    git(&path, "update-ref -d refs/heads/rungs/1");
    let why = said(tree.commit("y"));
    let advice = why.split('`').nth(1).unwrap().to_string();
    assert!(why.contains("its branch rungs/1 is gone") && said(trees.state("1")) == why, "{why}");
    git(&path, advice.strip_prefix("git ").unwrap());
    assert_eq!(tree.state().unwrap().ahead, 1);
    fs::remove_file(tree.path().join(".git")).unwrap();
    assert!(
        said(trees.state("1"))
            .contains("its file `.git` is gone; `git worktree repair` writes it again")
    );
    git(&path, "worktree repair");
    assert_eq!(tree.commit("y").unwrap(), None);
    assert_sound(&path);
}

#[test]
fn a_branch_that_was_merged_begins_again_where_the_folder_is() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    tree.commit("x").unwrap();
    drop(tree);
    trees.remove("1", false).unwrap();
    assert!(trees.hold("1").unwrap().used().unwrap());
    let other = trees.take("2").unwrap();
    let branches = || vec!["rungs/1".to_string(), "rungs/9".to_string()];
    assert_eq!(other.lacks(branches()).unwrap(), ["rungs/1"]);
    git(&path, "merge -q rungs/1");
    write(&path, "later", "");
    git(&path, "add later");
    git(&path, "commit -qm later");
    let tree = trees.take("1").unwrap();
    assert_eq!(
        (tree.resumed().is_some(), git(tree.path(), "rev-parse HEAD")),
        (false, git(&path, "rev-parse main"))
    );
    git(other.path(), "merge -q main");
    assert!(other.lacks(branches()).unwrap().is_empty());
    assert_sound(&path);
}

#[test]
fn a_name_is_one_that_git_and_the_disk_take() {
    let trees = |place: &str| Trees::new("/", place);
    let (here, there) = (trees("/here"), trees("/there"));
    for (words, begins) in [
        ("7 Fix: the ../../etc/passwd `bug`!", "7-fix-the-etc-passwd-bug-"),
        ("7 übergröße", "7-bergr-e-"),
        ("7 日本", "7-"),
        ("", ""),
        (&"word ".repeat(20), "word-word-word-word-word-word-word-word-"),
    ] {
        let name = here.name(words);
        let hash = name.strip_prefix(begins).unwrap();
        assert!(hash.len() == 6 && here.path(&name).is_ok(), "{name}");
        assert!(
            name == here.name(words)
                && name != there.name(words)
                && name != here.name(&format!("{words}é"))
        );
    }
}

#[test]
fn what_passes_a_program_on_its_way_into_git_is_not_committed() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), ".gitattributes", "*.secret filter=crypt\n*.other filter=unknown\n");
    write(tree.path(), "new/x.secret", "plain");
    write(tree.path(), "y.other", "plain");
    Command::new("git")
        .current_dir(&path)
        .args(["config", "filter.crypt.clean", "tr a-z A-Z"])
        .status()
        .unwrap();
    let refused = format!(
        "new/x.secret passes the filter `crypt` on its way into git, a program that is not run here; nothing was \
         committed, `git add -A` and `git commit` in {} do it",
        tree.path().display()
    );
    assert_eq!(said(tree.commit("x")), refused);
    assert_eq!(
        (git(tree.path(), "diff --cached --name-only").as_str(), tree.state().unwrap().ahead),
        ("", 0)
    );
    git(tree.path(), "add -A");
    assert_eq!(tree.commit("x").unwrap().unwrap().files, 3);
    assert_eq!(git(tree.path(), "show HEAD:new/x.secret"), "PLAIN");
    assert_eq!(tree.commit("x").unwrap(), None);
    assert_sound(&path);
}
