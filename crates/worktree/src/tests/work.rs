use super::*;

#[test]
fn a_worktree_is_created_left_and_resumed() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1-x").unwrap();
    assert_eq!(
        (tree.path(), tree.branch(), tree.resumed().is_some()),
        (&*path.join(".trees/1-x"), "rungs/1-x", false)
    );
    assert_eq!(
        error(trees.take("1-x")),
        format!("somebody works in {}/.trees/1-x", path.display())
    );
    write(tree.path(), "a.txt", "changed\n");
    drop(tree);
    let tree = trees.take("1-x").unwrap();
    assert!(tree.resumed().is_some());
    assert_eq!(git(tree.path(), "status --porcelain"), "M a.txt");
    assert_eq!(fs::read_to_string(path.join("a.txt")).unwrap(), "a\n");
    let listed = git(&path, "worktree list");
    assert!(listed.lines().count() == 2 && listed.ends_with("[rungs/1-x]"), "{listed}");
    assert_intact(&path);
}

#[test]
fn a_commit_holds_all_but_ignored_files_and_changes_only_its_branch() {
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
    assert_intact(&path);
}

#[test]
fn a_default_author_commits_where_git_has_none() {
    let (_dir, path, trees) = repository();
    // An empty name in the repository overrides one in the settings of a person.
    git(&path, "config --unset user.email");
    let mut command = Command::new("git");
    let status = command.current_dir(&path).args(["config", "user.name", ""]).status().unwrap();
    assert!(status.success());
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    tree.commit("x").unwrap().unwrap();
    assert_eq!(git(tree.path(), "log -1 --format=%an|%ae|%cn"), "Rungs|rungs@localhost|Rungs");
}

#[test]
fn submodules_are_not_changed() {
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
    let lost = "a commit on no branch of the remote (`git push` keeps it): lib: ";
    assert!(error(trees.remove("1", true)).contains(lost));
    drop(trees.take("2").unwrap());
    trees.remove("2", true).unwrap();
    assert_intact(&path);
}

#[test]
fn files_with_a_filter_that_runs_a_program_are_not_committed() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), ".gitattributes", "*.secret filter=crypt\n*.other filter=unknown\n");
    write(tree.path(), "new/x.secret", "plain");
    write(tree.path(), "y.other", "plain");
    let mut command = Command::new("git");
    command.current_dir(&path).args(["config", "filter.crypt.clean", "tr a-z A-Z"]);
    assert!(command.status().unwrap().success());
    let refused = format!(
        "new/x.secret has the filter `crypt`, a program that is not run here; nothing was \
         committed, `git add -A` and `git commit` in {} do it",
        tree.path().display()
    );
    assert_eq!(error(tree.commit("x")), refused);
    assert_eq!(
        (git(tree.path(), "diff --cached --name-only").as_str(), tree.state().unwrap().ahead),
        ("", 0)
    );
    git(tree.path(), "add -A");
    assert_eq!(tree.commit("x").unwrap().unwrap().files, 3);
    assert_eq!(git(tree.path(), "show HEAD:new/x.secret"), "PLAIN");
    assert_eq!(tree.commit("x").unwrap(), None);
    assert_intact(&path);
}

#[test]
fn a_subfolder_is_the_same_subfolder_in_the_worktree() {
    let (_dir, path, _) = repository();
    let trees = |folder: &str| Trees::new(path.join(folder), path.join(".trees"));
    let tree = trees("sub").take("1").unwrap();
    assert_eq!(tree.folder(), path.join(".trees/1/sub"));
    write(&path, "out/x", "");
    let tree = trees("out").take("2").unwrap();
    assert_eq!(tree.folder(), tree.path());
    // A symbolic link in place of the folder is not followed.
    let tree = trees("sub").take("3").unwrap();
    fs::remove_dir_all(tree.path().join("sub")).unwrap();
    symlink("/", tree.path().join("sub")).unwrap();
    drop(tree);
    let tree = trees("sub").take("3").unwrap();
    assert_eq!(tree.folder(), tree.path());
    // Worktrees of a worktree belong to the same repository, and start at its own commit.
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
    assert_intact(&path);
}

#[test]
fn a_merged_branch_starts_again_from_the_current_commit() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    tree.commit("x").unwrap();
    drop(tree);
    trees.remove("1", false).unwrap();
    assert!(trees.reserve("1").unwrap().used().unwrap());
    let other = trees.take("2").unwrap();
    let branches = || vec!["rungs/1".to_string(), "rungs/9".to_string()];
    assert_eq!(other.unmerged(branches()).unwrap(), ["rungs/1"]);
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
    assert!(other.unmerged(branches()).unwrap().is_empty());
    assert_intact(&path);
}

#[test]
fn derived_names_are_valid_and_differ() {
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
fn a_shallow_clone_and_a_detached_head_are_worked_on_as_others() {
    let (dir, path, _) = repository();
    for n in ["1", "2", "3"] {
        write(&path, "a.txt", n);
        git(&path, "commit -qam more");
    }
    let url = format!("file://{}", path.display());
    git(dir.path(), &format!("clone -q --depth 2 {url} shallow"));
    let shallow = path.with_file_name("shallow");
    git(&shallow, "switch -q --detach");
    git(&shallow, "worktree add -q -b second ../second");
    for folder in [shallow.clone(), path.with_file_name("second")] {
        let trees = Trees::new(&folder, folder.join(".trees"));
        let tree = trees.take("1").unwrap();
        write(tree.path(), "work", "");
        assert_eq!(tree.commit("work").unwrap().unwrap().files, 1);
        assert_eq!(tree.unmerged(vec!["main".into()]).unwrap().len(), 0);
        assert_eq!((tree.state().unwrap().ahead, tree.state().unwrap().losses.work.len()), (1, 0));
        drop(tree);
        trees.remove("1", false).unwrap();
        git(&shallow, "branch -D rungs/1");
    }
}

#[test]
fn files_outside_of_a_sparse_checkout_are_kept() {
    let (_dir, path, trees) = repository();
    write(&path, "other/d.txt", "d\n");
    git(&path, "add -A");
    git(&path, "commit -qm other");
    let tree = trees.take("1").unwrap();
    git(tree.path(), "sparse-checkout set sub");
    assert!(!tree.path().join("other").exists());
    write(tree.path(), "sub/new", "");
    fs::remove_file(tree.path().join("b.txt")).unwrap();
    assert_eq!(tree.state().unwrap().losses.work.len(), 2);
    tree.commit("x").unwrap().unwrap();
    assert_eq!(git(tree.path(), "show --format= --name-status"), "D\tb.txt\nA\tsub/new");
    assert_eq!(tree.state().unwrap().losses, Losses::default());
    drop(tree);
    trees.remove("1", false).unwrap();
    assert_intact(&path);
}

#[test]
fn what_a_new_worktree_lacks_is_told_once() {
    let (_dir, path, trees) = repository();
    let module = path.with_file_name("module");
    init(&module);
    git(&module, "commit -q --allow-empty -m module");
    git(&path, "config filter.lfs.smudge cat");
    git(&path, &format!("-c protocol.file.allow=always submodule -q add {} lib", module.display()));
    write(&path, ".gitattributes", "*.bin filter=lfs\n");
    write(&path, "x.bin", "pointer");
    git(&path, "add -A");
    git(&path, "commit -qm more");
    assert_eq!(
        trees.take("1").unwrap().lacks().unwrap(),
        "Not in it: lib (submodules; `git submodule update --init` there); x.bin (filtered by a \
         program, such as Git LFS; `git lfs pull` there)"
    );
    write(&path, "out/product", "");
    write(&path, "sub/deep/y.log", "");
    write(&path, "z.log", "");
    assert_eq!(
        trees.take("2").unwrap().lacks().unwrap().split("; ").next().unwrap(),
        "Not in it: out/, z.log, sub/deep/y.log (ignored by git)"
    );
    // It is as it was left.
    assert_eq!(trees.take("1").unwrap().lacks(), None);
    let (_dir, path, trees) = repository();
    assert_eq!(trees.take("1").unwrap().lacks(), None);
    write(&path, "new", "");
    write(&path, "a.txt", "changed");
    fs::remove_file(path.join("b.txt")).unwrap();
    write(&path, "staged/file", "");
    git(&path, "add staged");
    assert_eq!(
        trees.take("2").unwrap().lacks().unwrap(),
        "Not in it: a.txt, b.txt, new, staged/file (new or changed in the main folder, and not \
         committed)"
    );
}

#[test]
fn no_hook_of_the_repository_runs() {
    let (_dir, path, trees) = repository();
    for hook in
        ["pre-commit", "commit-msg", "post-commit", "post-checkout", "reference-transaction"]
    {
        write(&path, &format!(".git/hooks/{hook}"), "#!/bin/sh\ntouch ran\nexit 1\n");
        let hook = path.join(".git/hooks").join(hook);
        fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    assert_eq!(tree.commit("x").unwrap().unwrap().files, 1);
    let at = tree.path().to_path_buf();
    drop(tree);
    assert!(!at.join("ran").exists() && !path.join("ran").exists());
    trees.remove("1", false).unwrap();
    assert!(!path.join("ran").exists());
}
