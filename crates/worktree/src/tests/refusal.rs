use super::*;

#[test]
fn unsuitable_repositories_and_names_are_refused() {
    let (dir, path, _) = repository();
    let new = |folder: &Path| Trees::new(folder, dir.path().join("trees"));
    let refusal = |folder: &Path| error(new(folder).take("1"));
    let none = tempfile::tempdir().unwrap();
    assert_eq!(
        refusal(none.path()),
        format!("{} is in no git repository; `git init` makes one", none.path().display())
    );
    let bare = dir.path().join("bare");
    git(dir.path(), "init -q --bare bare");
    assert_eq!(
        refusal(&bare),
        format!("{} is a bare repository, without files to work on", bare.display())
    );
    let unborn = path.with_file_name("unborn");
    init(&unborn);
    let expected =
        ": no commit is checked out yet, so there is nothing to start from; make a commit";
    assert!(refusal(&unborn).ends_with(expected), "{}", refusal(&unborn));
    assert_eq!(git(&unborn, "worktree list").lines().count(), 1);
    let rejected = ["", "-a", "A", "a/b", "..", "a.b", "ä", &"a".repeat(61)];
    for name in rejected {
        assert!(matches!(new(&path).take(name), Err(Error::InvalidName(bad)) if bad == name));
        assert!(matches!(new(&path).remove(name, true), Err(Error::InvalidName(_))));
    }
    assert!(new(&path).take(&"a".repeat(60)).is_ok());
}

#[test]
fn what_is_not_the_expected_worktree_is_not_changed() {
    let (_dir, path, trees) = repository();
    let at = |name: &str| path.join(".trees").join(name);
    let mismatch =
        |name: &str, why: &str| format!("{}: {why}; nothing was changed", at(name).display());
    // A folder that is not a worktree.
    write(&at("1"), "kept", "");
    let forgotten =
        "it exists, but git has no such worktree; `git worktree repair PATH` may restore it";
    assert_eq!(error(trees.remove("1", true)), mismatch("1", forgotten));
    assert_eq!(error(trees.take("1")), mismatch("1", forgotten));
    assert!(at("1").join("kept").exists() && git(&path, "branch --list rungs/*").is_empty());
    // A branch that is checked out elsewhere.
    git(&path, "switch -q -c rungs/2");
    assert!(
        error(trees.take("2")).ends_with("reference refs/heads/rungs/2 is already checked out")
    );
    assert!(!at(".1.making").exists() && !at(".2.making").exists());
    git(&path, "switch -q main");
    assert!(trees.take("2").unwrap().resumed().is_none());
    // A worktree on another branch, or on none.
    git(&at("2"), "switch -q -c own");
    let elsewhere = "it is on own, not on rungs/2; `git switch rungs/2` there changes that";
    assert_eq!(error(trees.take("2")), mismatch("2", elsewhere));
    assert_eq!(error(trees.remove("2", true)), mismatch("2", elsewhere));
    git(&at("2"), "switch -q --detach");
    assert!(error(trees.take("2")).contains("it is on no branch, not on rungs/2"));
    let tree = (git(&at("2"), "switch -q rungs/2"), trees.take("2").unwrap()).1;
    write(tree.path(), "new", "");
    git(tree.path(), "switch -q own");
    assert_eq!(error(tree.commit("x")), mismatch("2", elsewhere));
    assert!(tree.path().join("new").exists());
    // Locked, moved, gone.
    drop(trees.take("3").unwrap());
    git(&path, "worktree lock --reason mine .trees/3");
    assert_eq!(
        error(trees.remove("3", true)),
        mismatch("3", "it is locked (mine), `git worktree unlock` unlocks it")
    );
    git(&path, "worktree unlock .trees/3");
    git(&path, "worktree move .trees/3 .trees/moved");
    let moved = format!("git has the worktree of that name in {}", at("moved").display());
    assert_eq!(error(trees.take("3")), mismatch("3", &moved));
    fs::remove_dir_all(at("moved")).unwrap();
    git(&path, "worktree prune");
    drop(trees.take("3").unwrap());
    fs::remove_dir_all(at("3")).unwrap();
    let gone =
        "the folder is gone, but git still has the worktree; `git worktree prune` removes it";
    assert_eq!(
        (error(trees.take("3")), error(trees.remove("3", true))),
        (mismatch("3", gone), mismatch("3", gone))
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
            Err(mismatch("1", forgotten)),
            Err(mismatch("2", elsewhere)),
            Ok("rungs/3".into()),
            Ok("rungs/4".into())
        ]
    );
    assert_intact(&path);
}

#[test]
fn a_branch_in_the_way_is_avoided_by_another_name() {
    let (_dir, path, trees) = repository();
    git(&path, "config core.ignorecase true");
    for (other, pack) in [
        ("rungs", false),
        ("rungs", true),
        ("rungs/1/x", false),
        ("rungs/1/x", true),
        ("Rungs", false),
    ] {
        git(&path, &format!("branch {other}"));
        if pack {
            git(&path, "pack-refs --all");
        }
        assert_eq!(trees.take("1").unwrap().branch(), "rungs-2/1", "{other}");
        assert_eq!(trees.state("1").unwrap().branch, "rungs-2/1", "{other}");
        // Its branch stays the same when the other one is gone.
        git(&path, &format!("branch -D {other}"));
        assert_eq!(trees.take("1").unwrap().branch(), "rungs-2/1", "{other}");
        trees.remove("1", true).unwrap();
        assert_eq!(trees.take("1").unwrap().branch(), "rungs-2/1", "{other}");
        trees.remove("1", true).unwrap();
        git(&path, "branch -D rungs-2/1");
    }
    assert_intact(&path);
}

#[test]
fn a_branch_is_refused_when_all_its_names_are_taken() {
    let (_dir, path, trees) = repository();
    git(&path, "branch rungs");
    (2..=20).for_each(|n| drop(git(&path, &format!("branch rungs-{n}"))));
    let refused = error(trees.take("1"));
    let expected = "the branch rungs-20 is in the way of rungs/1, which git therefore cannot \
                    create; nothing was changed; `git branch -m rungs-20 NAME` gives it another \
                    name";
    assert_eq!(refused, expected);
    assert_eq!(git(&path, "worktree list").lines().count(), 1);
}

#[test]
fn a_creation_that_fails_is_taken_back() {
    let (_dir, path, _) = repository();
    git(&path, "config uploadpack.allowFilter true");
    git(&path, "config uploadpack.allowAnySHA1InWant true");
    let url = format!("file://{}", path.display());
    for filter in ["blob:none", "tree:0"] {
        let name = filter.replace(':', "-");
        let args = format!("clone -q --filter={filter} --no-checkout {url} {name}");
        git(path.parent().unwrap(), &args);
        let partial = path.with_file_name(&name);
        let trees = Trees::new(&partial, partial.join(".trees"));
        let refused = error(trees.take("1"));
        let advice = "in a partial clone, `git archive HEAD >/dev/null` fetches what is missing";
        assert!(refused.ends_with(advice), "{refused}");
        assert!(matches!(trees.state("1"), Err(Error::NoTree(_))));
        assert_eq!(git(&partial, "for-each-ref refs/heads"), git(&path, "for-each-ref refs/heads"));
        assert_eq!(git(&partial, "worktree list").lines().count(), 1);
        git(&partial, "archive -o all.tar HEAD");
        assert_eq!(trees.take("1").unwrap().resumed(), None);
    }
}

#[test]
fn repositories_that_libgit2_refuses_are_refused_with_what_helps() {
    type Break = fn(&Path);
    let kinds: [(Break, &str, &str); 12] = [
        (|at| drop(git(at, "init -q --ref-format=reftable")), "refstorage", "--ref-format=files`"),
        (|at| drop(git(at, "init -q --object-format=sha256")), "'sha256'", "SHA-1 hashes"),
        (
            |at| {
                init(at);
                git(at, "config core.repositoryformatversion 1");
                git(at, "config extensions.other true");
            },
            "extensions.other",
            "fewer kinds of repositories",
        ),
        (
            |at| drop((init(at), git(at, "config core.repositoryformatversion 9"))),
            "version 9",
            "fewer kinds of repositories",
        ),
        (
            |at| {
                init(at);
                write(at, ".git/config", "[broken");
            },
            "config file",
            "(in {AT}/.git/config:1)",
        ),
        (
            |at| write(at, ".git", "gitdir: /nowhere/x\n"),
            "{AT}/.git: it leads to no repository (gitdir: /nowhere/x)",
            "`git worktree repair`",
        ),
        (|at| write(at, ".git", ""), "{AT}/.git", "malformed"),
        (|at| write(at, ".git/x", ""), "{AT}/.git: it is not a whole repository", "`git init`"),
        (
            |at| {
                init(at);
                fs::remove_file(at.join(".git/HEAD")).unwrap();
            },
            "{AT}/.git: it is not a whole repository",
            "`git init`",
        ),
        (
            |at| {
                init(at);
                write(at, ".git/HEAD", "garbage");
            },
            "cannot read the commit that is checked out in {AT}/",
            "corrupted loose reference file: HEAD",
        ),
        (
            |at| {
                init(at);
                write(at, ".git/refs/heads/main", &"12".repeat(20));
            },
            "cannot read the commit that is checked out in {AT}/",
            "`git fsck` says what is damaged",
        ),
        (
            |at| {
                let broken = "Not a directory";
                init(at);
                fs::remove_dir_all(at.join(".git/refs")).unwrap();
                write(at, ".git/refs", broken);
            },
            "{AT}/.git: it is not a whole repository",
            "`git init`",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (n, (break_it, why, advice)) in kinds.into_iter().enumerate() {
        let at = dir.path().canonicalize().unwrap().join(n.to_string());
        fs::create_dir(&at).unwrap();
        break_it(&at);
        let trees = Trees::new(&at, at.join(".trees"));
        let place = at.display().to_string();
        let expected = |text: &str| text.replace("{AT}", &place);
        let refused = error(trees.take("1"));
        assert!(refused.contains(&expected(why)), "{n}: {refused}");
        assert!(refused.contains(&expected(advice)), "{n}: {refused}");
        assert!(!at.join(".trees/1").exists() && !at.join(".trees/.1.making").exists());
    }
}

#[test]
fn an_index_that_libgit2_cannot_read_is_refused_with_what_helps() {
    let (_dir, path, trees) = repository();
    let kinds = [
        ("update-index --split-index", "git update-index --no-split-index"),
        (
            "sparse-checkout set --cone --sparse-index sub",
            "git sparse-checkout reapply --no-sparse-index",
        ),
    ];
    write(&path, "other/d.txt", "d\n");
    git(&path, "add -A");
    git(&path, "commit -qm other");
    for (n, (makes, helps)) in kinds.into_iter().enumerate() {
        let name = n.to_string();
        let tree = trees.take(&name).unwrap();
        git(tree.path(), makes);
        write(tree.path(), "new", "");
        let refused = error(tree.commit("x"));
        assert!(refused.ends_with(&format!("; `{helps}` there makes it readable")), "{refused}");
        drop(tree);
        assert_eq!(error(trees.remove(&name, true)).split_once("; ").unwrap().1, {
            refused.split_once("; ").unwrap().1
        });
        let tree = trees.take(&name).unwrap();
        git(tree.path(), helps.strip_prefix("git ").unwrap());
        assert_eq!(tree.commit("x").unwrap().unwrap().files, 1);
    }
    assert_intact(&path);
}

#[test]
fn a_rebase_in_progress_is_told_as_what_it_is() {
    let (_dir, path, trees) = repository();
    let at = trees.take("1").unwrap().path().to_path_buf();
    let commit = |at: &Path, text: &str| {
        write(at, "a.txt", text);
        git(at, "commit -qam x");
    };
    commit(&at, "ours");
    commit(&path, "theirs");
    let rebase = Command::new("git").current_dir(&at).args(["rebase", "-q", "main"]).output();
    assert!(!rebase.unwrap().status.success());
    let middle = format!(
        "{} is in the middle of rebase; finish or abort that first. In conflict: a.txt",
        at.display()
    );
    assert_eq!(error(trees.take("1")), middle);
    assert_eq!(error(trees.state("1")), middle);
    assert_eq!(error(trees.remove("1", true)), middle);
    git(&at, "rebase --abort");
    trees.remove("1", true).unwrap();
}

#[test]
fn links_in_place_of_state_are_not_followed() {
    let (dir, path, trees) = repository();
    let outside = dir.path().join("outside");
    write(dir.path(), "outside", "kept");
    fs::create_dir(path.join(".trees")).unwrap();
    symlink(&outside, path.join(".trees/.1.making")).unwrap();
    drop(trees.take("1").unwrap());
    symlink(&outside, path.join(".trees/.1.making")).unwrap();
    assert!(matches!(trees.state("1"), Err(Error::Incomplete(_))));
    drop(trees.take("1").unwrap());
    trees.remove("1", false).unwrap();
    for file in [".trees/.2.lock", ".git/rungs-worktrees.lock"] {
        let _ = fs::remove_file(path.join(file));
        symlink(&outside, path.join(file)).unwrap();
        assert!(error(trees.take("2")).contains("is a symbolic link"));
        fs::remove_file(path.join(file)).unwrap();
        assert!(!path.join(".trees/2").exists());
    }
    drop(trees.take("2").unwrap());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
}

#[test]
fn a_lost_branch_or_link_can_be_restored_as_the_message_says() {
    let (_dir, path, trees) = repository();
    let tree = trees.take("1").unwrap();
    write(tree.path(), "new", "");
    tree.commit("x").unwrap();
    git(&path, "update-ref -d refs/heads/rungs/1");
    let why = error(tree.commit("y"));
    let advice = why.split('`').nth(1).unwrap().to_string();
    assert!(why.contains("its branch rungs/1 is gone") && error(trees.state("1")) == why, "{why}");
    git(&path, advice.strip_prefix("git ").unwrap());
    assert_eq!(tree.state().unwrap().ahead, 1);
    fs::remove_file(tree.path().join(".git")).unwrap();
    assert!(
        error(trees.state("1"))
            .contains("its file `.git` is gone; `git worktree repair` restores it")
    );
    git(&path, "worktree repair");
    assert_eq!(tree.commit("y").unwrap(), None);
    assert_intact(&path);
}

#[test]
fn an_unfinished_merge_is_neither_committed_nor_removed() {
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
    let middle = format!("{} is in the middle of merge; finish or abort that first", at.display());
    assert_eq!(error(tree.commit("x")), format!("{middle}. In conflict: a.txt"));
    assert_eq!(tree.state().unwrap().losses.work, [(LossKind::Conflicted, "a.txt".into())]);
    write(&at, "a.txt", "both\n");
    git(&at, "add a.txt");
    assert_eq!(error(tree.commit("x")), middle);
    drop(tree);
    assert_eq!(error(trees.remove("1", true)), middle);
    git(&at, "commit -qm merged");
    assert_eq!(trees.remove("1", true).unwrap().state.ahead, 2);
    // There can be conflicts without a merge.
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
    let resolving =
        "is in the middle of resolving conflicts; finish or abort that first. In conflict: a.txt";
    assert!(error(tree.commit("x")).ends_with(resolving));
    assert_intact(&path);
}
