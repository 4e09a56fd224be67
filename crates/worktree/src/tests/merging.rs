use super::*;
use std::time::Instant;

/// Commits these files to the branch of a worktree.
fn commit(trees: &Trees, name: &str, files: &[(&str, &str)]) {
    let tree = trees.take(name).unwrap();
    for (file, text) in files {
        write(tree.path(), file, text);
    }
    tree.commit(name).unwrap().unwrap();
}

#[test]
fn a_branch_is_merged_by_a_fast_forward_or_a_commit() {
    let (_dir, path, trees) = repository();
    commit(&trees, "1", &[("a.txt", "one\n"), ("new/n.txt", "n\n")]);
    commit(&trees, "2", &[("b.txt", "two\n")]);
    let merged = trees.merge("1").unwrap();
    assert_eq!((merged.into.as_str(), merged.files), ("main", 2));
    assert_eq!(git(&path, "rev-parse main"), git(&path, "rev-parse rungs/1"));
    assert_eq!(trees.merge("2").unwrap().files, 1);
    assert_eq!(git(&path, "log -1 --format=%s"), "Merge branch 'rungs/2' into main");
    let text = |file: &str| fs::read_to_string(path.join(file)).unwrap();
    assert_eq!([text("a.txt"), text("b.txt"), text("new/n.txt")], ["one\n", "two\n", "n\n"]);
    assert_intact(&path);
    let again = trees.merge("2").unwrap().to_string();
    let main = git(&path, "rev-parse --short main");
    assert_eq!(again, format!("main at {main} has all of rungs/2"));
}

#[test]
fn deletions_modes_and_links_are_merged() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    fs::remove_file(tree.path().join("sub/c.txt")).unwrap();
    fs::set_permissions(tree.path().join("a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(tree.path().join("b.txt")).unwrap();
    symlink("a.txt", tree.path().join("b.txt")).unwrap();
    tree.commit("1").unwrap().unwrap();
    drop(tree);
    assert_eq!(trees.merge("1").unwrap().files, 3);
    assert!(!path.join("sub").exists());
    assert_eq!(fs::read_link(path.join("b.txt")).unwrap(), Path::new("a.txt"));
    assert_eq!(path.join("a.txt").metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_intact(&path);
}

#[test]
fn a_conflict_changes_nothing() {
    let (_dir, path, trees) = repository();
    commit(&trees, "1", &[("a.txt", "one\n")]);
    commit(&trees, "2", &[("a.txt", "two\n")]);
    trees.merge("1").unwrap();
    let before = git(&path, "rev-parse main");
    assert_eq!(
        error(trees.merge("2")),
        "rungs/2 was not merged: it and main conflict in a.txt; nothing was changed, `git merge \
         rungs/2` lets you resolve it"
    );
    assert_eq!(git(&path, "rev-parse main"), before);
    assert_intact(&path);
}

/// Moves main to a new commit with the same files, as soon as the first file of a merge is there.
fn commit_during_the_merge(path: &Path, file: &Path) {
    let commit = git(path, "commit-tree main^{tree} -p main -m meanwhile");
    let ended = Instant::now() + Duration::from_secs(10);
    while !file.exists() && Instant::now() < ended {}
    let repository = git2::Repository::open(path).unwrap();
    let id = git2::Oid::from_str(&commit).unwrap();
    let main = repository.find_reference("refs/heads/main").unwrap().target().unwrap();
    // The merge may be over already.
    if repository.find_commit(id).unwrap().parent_id(0).unwrap() == main {
        _ = repository.reference_matching("refs/heads/main", id, true, main, "meanwhile");
    }
}

#[test]
fn a_merge_that_another_commit_overtakes_leaves_nothing() {
    let (_dir, path, trees) = repository();
    for attempt in 1..=30 {
        let (name, folder) = (format!("{attempt}"), format!("new-{attempt}"));
        let files: Vec<_> = (0..500).map(|n| format!("{folder}/{n}.txt")).collect();
        let files: Vec<_> = files.iter().map(|file| (file.as_str(), "new\n")).collect();
        commit(&trees, &name, &files);
        let merged = std::thread::scope(|scope| {
            scope.spawn(|| commit_during_the_merge(&path, &path.join(&folder)));
            trees.merge(&name)
        });
        if merged.is_ok() {
            continue;
        }
        assert_eq!(
            error(merged),
            format!(
                "cannot merge rungs/{name} into main: old reference value does not match; another \
                 program has moved the branch meanwhile; try again"
            )
        );
        assert_eq!(git(&path, "log -1 --format=%s"), "meanwhile");
        assert!(
            !path.join(&folder).exists() && !path.join(format!(".trees/.{name}.merging")).exists()
        );
        assert_intact(&path);
        assert_eq!(trees.merge(&name).unwrap().files, 500);
        assert_intact(&path);
        return;
    }
    panic!("no merge was overtaken");
}

#[test]
fn what_is_not_committed_in_the_folder_is_never_overwritten() {
    type Work = fn(&Path);
    let kinds: [(Work, &str); 5] = [
        (|at| write(at, "a.txt", "mine\n"), "a.txt"),
        (|at| drop((write(at, "a.txt", "mine\n"), git(at, "add a.txt"))), "a.txt"),
        (|at| fs::remove_file(at.join("a.txt")).unwrap(), "a.txt"),
        (|at| write(at, "new.txt", "mine\n"), "new.txt"),
        (|at| write(at, "x.log", "mine\n"), "x.log"),
    ];
    for (work, file) in kinds {
        let (_dir, path, trees) = repository();
        let tree = trees.take("1").unwrap();
        for file in ["a.txt", "new.txt", "x.log"] {
            write(tree.path(), file, "theirs\n");
        }
        git(tree.path(), "add -f x.log");
        tree.commit("1").unwrap().unwrap();
        drop(tree);
        write(&path, "b.txt", "mine\n");
        work(&path);
        let before = git(&path, "status --porcelain --ignored");
        let refused = error(trees.merge("1"));
        assert!(refused.contains(&format!("not committed, {file}; commit or move")), "{refused}");
        assert_eq!(git(&path, "status --porcelain --ignored"), before);
    }
}

#[test]
fn work_elsewhere_in_the_folder_does_not_hinder_a_merge() {
    let (_dir, path, trees) = repository();
    commit(&trees, "1", &[("a.txt", "one\n")]);
    write(&path, "b.txt", "mine\n");
    write(&path, "untracked", "mine\n");
    trees.merge("1").unwrap();
    assert_eq!(git(&path, "status --porcelain"), "M b.txt\n?? untracked");
}

#[test]
fn a_tree_with_uncommitted_work_is_not_merged() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap().path().to_path_buf();
    write(&tree, "new", "");
    assert_eq!(
        error(trees.merge("1")),
        format!(
            "rungs/1 was not merged, since its tree {} has work in no commit:\nuntracked: new",
            tree.display()
        )
    );
    assert_intact(&path);
}

#[test]
fn a_merge_needs_a_branch_on_both_sides() {
    let (_dir, path, trees) = repository();
    assert_eq!(error(trees.merge("1")), "there is no branch rungs/1");
    commit(&trees, "1", &[("a.txt", "one\n")]);
    git(&path, "checkout -q --detach");
    let refused = error(trees.merge("1"));
    assert!(refused.contains("(detached HEAD), so there is nothing to merge into"), "{refused}");
    git(&path, "switch -q --orphan none");
    assert!(matches!(trees.merge("1"), Err(Error::NoCommit(_))));
}

/// What a process leaves that was killed in a merge: the intent, and some of the files written.
fn interrupt(path: &Path, trees: &Trees, written: &[&str], moved: bool) {
    let ids = ["main", "rungs/1"].map(|branch| git(path, &format!("rev-parse {branch}")));
    let place = trees.open_place().unwrap();
    let intent = format!("{}/\nrungs/1\nmain\n{}\n{}\n", path.display(), ids[0], ids[1]);
    place.write(".1.merging", intent.as_bytes()).unwrap();
    for file in written {
        git(path, &format!("checkout rungs/1 -- {file}"));
    }
    if moved {
        git(path, "update-ref refs/heads/main rungs/1");
    }
}

#[test]
fn an_interrupted_merge_is_finished_by_the_next_use() {
    for (written, moved) in [
        (&[][..], false),
        (&["a.txt"], false),
        (&["a.txt", "n.txt"], false),
        (&["a.txt", "n.txt"], true),
    ] {
        let (_dir, path, trees) = repository();
        commit(&trees, "1", &[("a.txt", "one\n"), ("n.txt", "n\n")]);
        interrupt(&path, &trees, written, moved);
        trees.prune().unwrap();
        assert_eq!(git(&path, "rev-parse main"), git(&path, "rev-parse rungs/1"));
        assert_eq!(trees.prune().unwrap(), crate::Pruned::default());
        assert_intact(&path);
    }
}

#[test]
fn an_interrupted_merge_overwrites_no_work_of_since_then() {
    let (_dir, path, trees) = repository();
    commit(&trees, "1", &[("a.txt", "one\n"), ("b.txt", "one\n")]);
    interrupt(&path, &trees, &["a.txt"], false);
    write(&path, "b.txt", "mine\n");
    let refused = error(trees.prune());
    assert!(refused.contains("not committed, b.txt"), "{refused}");
    assert_eq!(fs::read_to_string(path.join("b.txt")).unwrap(), "mine\n");
    git(&path, "commit -qam Mine");
    trees.prune().unwrap();
    assert_eq!(git(&path, "log -1 --format=%s"), "Mine");
}

#[test]
fn collisions_are_found_before_anything_is_merged() {
    let (_dir, path, trees) = repository();
    write(&path, "list.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    git(&path, "add list.txt");
    git(&path, "commit -qm List");
    commit(&trees, "1", &[("list.txt", "one\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("a.txt", "one\n")]);
    commit(&trees, "2", &[("list.txt", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n")]);
    commit(&trees, "3", &[("a.txt", "three\n")]);
    commit(&trees, "4", &[("b.txt", "four\n")]);
    write(&path, "b.txt", "mine\n");
    git(&path, "commit -qam Mine");
    let before = (git(&path, "for-each-ref"), git(&path, "status --porcelain"));
    let overlaps: Vec<String> = trees.overlaps().unwrap().iter().map(|o| o.to_string()).collect();
    assert_eq!(
        overlaps,
        [
            "rungs/1 and rungs/2 changed the same files, and merge: list.txt",
            "rungs/1 and rungs/3 conflict in a.txt",
            "rungs/4 and main conflict in b.txt",
        ]
    );
    assert_eq!((git(&path, "for-each-ref"), git(&path, "status --porcelain")), before);
}
