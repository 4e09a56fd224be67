use super::*;

/// Each round does one more step of a creation, and stops as if the process was killed. Then this
/// worktree and others can be taken.
#[test]
fn an_interrupted_creation_is_repeated() {
    let (_dir, path, trees) = repository();
    let steps: [fn(&Path, &Path); 8] = [
        |_, _| {},
        |path, _| drop(git(path, "branch rungs/1")),
        |path, _| write(path, ".git/refs/heads/rungs/1.lock", ""),
        |path, _| fs::create_dir_all(path.join(".git/worktrees/1")).unwrap(),
        |_, at| fs::create_dir_all(at).unwrap(),
        |path, _| {
            for file in ["HEAD", "commondir", "gitdir"] {
                write(path, &format!(".git/worktrees/1/{file}"), "");
            }
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
            for step in &steps[..done] {
                step(&path, &at);
            }
            assert_eq!(error(trees.state("1")), Error::Incomplete(at.clone()).to_string());
            let list = trees.list().unwrap();
            assert!(list.iter().any(|tree| matches!(tree, Err(Error::Incomplete(p)) if *p == at)));
            assert!(!trees.reserve("1").unwrap().used().unwrap());
            if others_first {
                drop(trees.take("2").unwrap());
            }
            let tree = trees.take("1").unwrap();
            assert_eq!(
                (
                    git(&at, "status --porcelain").as_str(),
                    tree.resumed().is_some(),
                    tree.quarantined()
                ),
                ("", false, None)
            );
            drop(tree);
            assert_intact(&path);
            trees.remove("1", false).unwrap();
            if others_first {
                trees.remove("2", false).unwrap();
            }
            git(&path, "branch -D rungs/1");
        }
    }
    // In a worktree that was complete, the same state is the work of somebody.
    let at = trees.take("1").unwrap().path().to_path_buf();
    fs::remove_file(path.join(".git/worktrees/1/index")).unwrap();
    fs::remove_file(at.join("a.txt")).unwrap();
    write(&at, "b.txt", "half");
    assert_eq!(trees.take("1").unwrap().commit("x").unwrap().unwrap().files, 2);
    assert_eq!(git(&at, "show HEAD:b.txt"), "half");
    assert_intact(&path);
}

#[test]
fn work_by_hand_in_an_incomplete_worktree_is_kept() {
    let (_dir, path, trees) = repository();
    let incomplete = |file: &str, text: &str| {
        let at = trees.take("1").unwrap().path().to_path_buf();
        write(&path, ".trees/.1.making", "");
        write(&at, file, text);
        at
    };
    for (n, (file, text)) in
        [("a.txt", "by hand"), ("new", ""), ("x.log", "")].into_iter().enumerate()
    {
        let at = incomplete(file, text);
        let tree = trees.take("1").unwrap();
        let aside = path.join(format!(".trees/.1.cut-off-{}", n + 1));
        assert_eq!(
            (tree.quarantined(), fs::read_to_string(aside.join(file)).unwrap().as_str()),
            (Some(&*aside), text)
        );
        assert_eq!(git(&at, "status --porcelain --ignored"), "");
        assert!(!aside.join(".git").exists());
        let list = trees.list().unwrap();
        assert!(list.iter().any(|tree| matches!(tree, Err(Error::Quarantined(p)) if *p == aside)));
    }
    let at = incomplete("a.txt", "by hand");
    git(&at, "switch -q -c own");
    assert!(
        error(trees.take("1"))
            .contains("its creation was interrupted, and then somebody worked in it")
    );
    assert!(error(trees.remove("1", true)).contains("somebody worked in it"));
    assert_eq!(fs::read_to_string(at.join("a.txt")).unwrap(), "by hand");
    assert_intact(&path);
}

#[test]
fn stale_locks_of_git_are_removed_and_fresh_ones_are_waited_for() {
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
    assert_intact(&path);
}
