use super::*;

#[test]
fn a_clean_worktree_is_removed_and_its_branch_stays() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    write(tree.path(), "out/product", "");
    tree.commit("first").unwrap().unwrap();
    assert_eq!(
        error(trees.remove("1", true)),
        format!("somebody works in {}/.trees/1", path.display())
    );
    drop(tree);
    let state = trees.remove("1", true).unwrap().state;
    assert_eq!((state.ahead, state.losses.ignored.len(), state.path.exists()), (1, 1, false));
    assert_eq!(git(&path, "worktree list").lines().count(), 1);
    assert_eq!(git(&path, "log -1 --format=%s rungs/1"), "first");
    assert_eq!(
        error(trees.remove("1", true)),
        format!("there is no tree in {}/.trees/1", path.display())
    );
    // A new worktree is created from the branch.
    let tree = trees.take("1").unwrap();
    assert!(tree.resumed().is_some() && tree.path().join("new").exists());
    git(&path, "merge -q rungs/1");
    assert_eq!(tree.state().unwrap().ahead, 0);
    assert_intact(&path);
}

#[test]
fn a_worktree_with_uncommitted_work_is_not_removed() {
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
            "untracked: n00\nuntracked: n01\nuntracked: n02\nuntracked: n03\nuntracked: n04\n\
             untracked: n05\nuntracked: n06\nuntracked: n07\nuntracked: n08\nuntracked: n09\n\
             ... 7 more"
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
            ".trees/{name} was not removed. What is not on rungs/{n} would be lost:\n{lost}"
        );
        assert_eq!(error(trees.remove(&name, true)), refused);
        assert_eq!(git(&tree, "status --porcelain --ignored"), before);
    }
    assert_intact(&path);
}

#[test]
fn ignored_files_are_deleted_only_on_request() {
    let (_dir, path, trees) = repository();
    let at = trees.take("1").unwrap().path().to_path_buf();
    write(&at, "out/product", "");
    write(&at, "x\n.log", "");
    let ignored = "ignored by git: out/, \"x\\n.log\"";
    assert!(trees.state("1").unwrap().to_string().ends_with(&format!("; in no commit: {ignored}")));
    let asks = format!("would be lost:\n{ignored}\nWith `ignored: true` they are deleted");
    assert!(error(trees.remove("1", false)).ends_with(&asks));
    // Also in a read-only folder, as build tools make them.
    fs::set_permissions(at.join("out"), fs::Permissions::from_mode(0o500)).unwrap();
    // The next creation deletes what an interrupted removal left behind.
    write(&path, ".trees/.2.gone-1/out/rest", "");
    drop(trees.take("3").unwrap());
    trees.remove("3", false).unwrap();
    let removed = trees.remove("1", true).unwrap();
    assert!(removed.leftover.is_none() && removed.state.losses.ignored.len() == 2);
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
fn a_worktree_with_commits_on_no_branch_is_not_removed() {
    let (_dir, path, trees) = repository();
    let at = trees.take("1").unwrap().path().to_path_buf();
    git(&at, "commit -q --allow-empty -m first");
    git(&at, "commit -q --amend --allow-empty -m amended");
    assert_eq!(trees.state("1").unwrap().losses, Losses::default());
    git(&at, "switch -q --detach");
    git(&at, "commit -q --allow-empty -m stray");
    let stray = git(&at, "log -1 --format=%h");
    assert!(error(trees.remove("1", true)).contains("`git branch NAME` there keeps the commits"));
    git(&at, "switch -q rungs/1");
    let lost = format!(
        "would be lost:\na commit on no branch (`git branch NAME COMMIT` keeps it): {stray} stray"
    );
    assert!(error(trees.remove("1", true)).ends_with(&lost), "{}", error(trees.remove("1", true)));
    git(&path, &format!("tag kept {stray}"));
    trees.remove("1", false).unwrap();
    assert_intact(&path);
}

#[test]
fn nested_repositories_are_neither_committed_nor_removed() {
    let (_dir, path, trees) = repository();
    for (n, inner) in ["clone", "out/clone"].into_iter().enumerate() {
        let tree = trees.take(&n.to_string()).unwrap();
        init(&tree.path().join(inner));
        write(tree.path(), &format!("{inner}/f"), "");
        assert_eq!(tree.commit("x").unwrap(), None);
        git(&tree.path().join(inner), "add f");
        git(&tree.path().join(inner), "commit -qm inner");
        assert_eq!(tree.commit("x").unwrap(), None);
        assert_eq!(tree.state().unwrap().losses.work, [(LossKind::Repository, inner.into())]);
        drop(tree);
        assert!(
            error(trees.remove(&n.to_string(), true))
                .contains(&format!("lost:\nnested repository: {inner}"))
        );
    }
    assert_intact(&path);
}

#[test]
fn a_removal_does_not_follow_symbolic_links() {
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
    assert_intact(&path);
}
