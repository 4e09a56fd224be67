use super::*;

#[test]
fn a_worktree_without_a_folder_is_pruned() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap().path().to_path_buf();
    fs::remove_dir_all(&tree).unwrap();
    assert_eq!(trees.prune().unwrap().to_string(), "pruned 1: its folder is gone");
    assert_eq!(git(&path, "worktree list").lines().count(), 1);
    assert_eq!(trees.prune().unwrap().to_string(), "nothing to prune");
    assert_intact(&path);
}

#[test]
fn a_locked_worktree_is_never_pruned() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap().path().to_path_buf();
    git(&path, "worktree lock --reason disk .trees/1");
    fs::remove_dir_all(&tree).unwrap();
    assert_eq!(
        trees.prune().unwrap().to_string(),
        "kept 1: it is locked (disk), `git worktree unlock` unlocks it"
    );
    assert_eq!(git(&path, "worktree list").lines().count(), 2);
}

#[test]
fn a_worktree_whose_commits_only_it_knows_is_not_pruned() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap().path().to_path_buf();
    git(&tree, "checkout -q --detach");
    git(&tree, "commit -q --allow-empty -m lost");
    let id = git(&tree, "rev-parse HEAD");
    fs::remove_dir_all(&tree).unwrap();
    let kept = trees.prune().unwrap().to_string();
    assert!(kept.starts_with("kept 1: commits on no branch"), "{kept}");
    assert!(kept.contains("lost"), "{kept}");
    git(&path, &format!("branch saved {id}"));
    assert_eq!(trees.prune().unwrap().to_string(), "pruned 1: its folder is gone");
}

#[test]
fn worktrees_elsewhere_are_left_alone() {
    let (_dir, path, trees) = repository();
    git(&path, "worktree add -q ../other");
    fs::remove_dir_all(path.with_file_name("other")).unwrap();
    assert_eq!(trees.prune().unwrap().to_string(), "nothing to prune");
    assert_eq!(git(&path, "worktree list").lines().count(), 2);
}

#[test]
fn only_merged_and_clean_worktrees_are_cleaned_up() {
    let (_dir, path, trees) = repository();
    for name in ["1-merged", "2-ahead", "3-dirty", "4-taken"] {
        let tree = trees.take(name).unwrap();
        write(tree.path(), name, "");
        tree.commit(name).unwrap().unwrap();
    }
    for name in ["1-merged", "3-dirty", "4-taken"] {
        trees.merge(name).unwrap();
    }
    write(&path, ".trees/3-dirty/more", "");
    let _taken = trees.take("4-taken").unwrap();
    let seen: Vec<String> = trees.clean_up(false).unwrap().iter().map(|s| s.to_string()).collect();
    let place = path.join(".trees");
    assert_eq!(
        seen,
        [
            "removed 1-merged, whose work is merged".to_string(),
            "kept 2-ahead: rungs/2-ahead is not merged".into(),
            "kept 3-dirty: .trees/3-dirty was not removed. What is not on rungs/3-dirty would be \
             lost:\nuntracked: more"
                .into(),
            format!("kept 4-taken: somebody works in {}/4-taken", place.display()),
        ]
    );
    let branches = git(&path, "branch --format %(refname:short) --list rungs/*");
    assert_eq!(branches, "rungs/2-ahead\nrungs/3-dirty\nrungs/4-taken");
    assert_intact(&path);
}

#[test]
fn a_worktree_is_discarded_only_by_name() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "kept", "");
    tree.commit("kept").unwrap().unwrap();
    write(tree.path(), "lost", "");
    drop(tree);
    let removed = trees.discard("1").unwrap();
    assert_eq!(removed.state.losses.work.len(), 1);
    assert_eq!(git(&path, "log -1 --format=%s rungs/1"), "kept");
    assert!(!path.join(".trees/1").exists());
    assert_intact(&path);
}
