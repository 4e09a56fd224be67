use super::*;

/// A repository `top` with the submodule `mid`, which has the submodule `leaf`.
fn nested() -> (TempDir, PathBuf, Trees) {
    let (dir, top, trees) = repository();
    let sibling = |name: &str| top.with_file_name(name);
    for (name, inner) in [("leaf", None), ("mid", Some("leaf")), ("repo", Some("mid"))] {
        let at = sibling(name);
        if name != "repo" {
            init(&at);
            write(&at, "a.txt", "a\n");
            write(&at, ".gitignore", "*.log\n");
            git(&at, "add -A");
            git(&at, "commit -qm Start");
        }
        if let Some(inner) = inner {
            let url = sibling(inner);
            git(&at, &format!("{LOCAL} submodule -q add {} {inner}", url.display()));
            git(&at, "commit -qm Submodule");
        }
    }
    (dir, top, trees)
}

/// Git clones no submodule from a local path unless that is allowed.
const LOCAL: &str = "-c protocol.file.allow=always";

/// A new worktree with its submodules, in which somebody can commit.
fn with_submodules(trees: &Trees, name: &str) -> PathBuf {
    let at = trees.take(name).unwrap().path().to_path_buf();
    git(&at, &format!("{LOCAL} submodule update -q --init --recursive"));
    for inner in ["mid", "mid/leaf"] {
        git(&at.join(inner), "config user.name Tester");
        git(&at.join(inner), "config user.email t@localhost");
    }
    at
}

fn commit(at: &Path, message: &str) {
    write(at, "a.txt", message);
    git(at, &format!("commit -qam {message}"));
}

#[test]
fn clean_submodules_are_no_obstacle_to_a_removal() {
    type Work = fn(&Path);
    let kinds: [Work; 7] = [
        |_| {},
        |at| write(&at.join("mid/leaf"), "x.log", ""),
        |at| {
            commit(&at.join("mid"), "pushed");
            git(&at.join("mid"), "push -q origin HEAD:refs/heads/pushed");
            git(at, "commit -qam pointer");
        },
        |at| drop(git(at, "submodule deinit -q -f mid")),
        |at| fs::remove_dir_all(at.join("mid")).unwrap(),
        |at| drop((git(at, "rm -q mid"), git(at, "commit -qm rm"))),
        |at| drop(git(&at.join("mid/leaf"), "switch -q -c branch")),
    ];
    let (_dir, path, trees) = nested();
    for (n, work) in kinds.into_iter().enumerate() {
        let at = with_submodules(&trees, &n.to_string());
        work(&at);
        let removed = trees.remove(&n.to_string(), true);
        assert!(removed.is_ok() && !at.exists(), "{n}: {}", error(removed));
        assert!(!path.join(".git/worktrees").join(n.to_string()).exists());
    }
    assert_intact(&path);
}

#[test]
fn what_would_be_lost_with_a_submodule_is_named() {
    type Work = fn(&Path);
    const COMMIT: &str = "a commit on no branch of the remote (`git push` keeps it)";
    let kinds: [(Work, &str); 13] = [
        (|at| write(at, "mid/a.txt", "x"), "modified: mid/a.txt"),
        (|at| write(at, "mid/leaf/new", ""), "untracked: mid/leaf/new"),
        (|at| drop((write(at, "mid/n", ""), git(&at.join("mid"), "add n"))), "staged: mid/n"),
        (
            |at| commit(&at.join("mid"), "own"),
            "modified: mid (it is at another commit)\n{COMMIT}: mid: {ID} own",
        ),
        (
            |at| drop((commit(&at.join("mid"), "own"), git(&at.join("mid"), "switch -q -"))),
            "{COMMIT}: mid: {ID} own",
        ),
        // Recorded by the worktree, but its commit exists nowhere else.
        (
            |at| drop((commit(&at.join("mid"), "own"), git(at, "commit -qam pointer"))),
            "{COMMIT}: mid: {ID} own",
        ),
        (
            |at| {
                let leaf = at.join("mid/leaf");
                git(&leaf, "switch -q -c other");
                commit(&leaf, "own");
                git(&leaf, "tag kept");
                git(&leaf, "switch -q --detach HEAD~1");
            },
            "{COMMIT}: mid/leaf: {ID} own",
        ),
        (
            |at| drop((write(at, "mid/a.txt", "x"), git(&at.join("mid"), "stash -q"))),
            "a stash of a submodule: mid: WIP on (no branch): {ID} Submodule",
        ),
        // Git keeps the repository of a submodule whose files are gone.
        (
            |at| {
                commit(&at.join("mid"), "own");
                git(at, "submodule deinit -q -f mid");
            },
            "{COMMIT}: {GIT}/modules/mid: {ID} own",
        ),
        (
            |at| drop(git(&at.join("mid"), "update-ref --no-deref HEAD HEAD~1")),
            "modified: mid (it is at another commit)\nstaged: mid/.gitmodules\n\
             staged: mid/leaf",
        ),
        (|at| init(&at.join("mid/plain")), "nested repository: mid/plain"),
        (
            |at| write(at, "mid/.git", "gitdir: /nowhere\n"),
            "nested repository: mid (it can't be read: failed to resolve path '/nowhere': No such \
             file or directory)",
        ),
        (
            |at| {
                let leaf = at.join("../../../leaf");
                git(at, &format!("{LOCAL} submodule -q add {} new", leaf.display()));
            },
            "staged: .gitmodules\nstaged: new",
        ),
    ];
    let (_dir, path, trees) = nested();
    for (n, (work, lost)) in kinds.into_iter().enumerate() {
        let name = n.to_string();
        let at = with_submodules(&trees, &name);
        work(&at);
        let refused = error(trees.remove(&name, true));
        let lost = lost
            .replace("{COMMIT}", COMMIT)
            .replace("{GIT}", &path.join(".git/worktrees").join(&name).display().to_string());
        let (_, said) = refused.split_once(" would be lost:\n").unwrap();
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        // The ids differ from run to run.
        let (said, lost) = (words(said), words(&lost));
        let same = |pair: (&String, &String)| pair.0 == pair.1 || pair.1 == "{ID}";
        assert!(
            said.len() == lost.len() && said.iter().zip(&lost).all(same),
            "{n}: {said:?}, expected: {lost:?}"
        );
        assert!(at.exists());
    }
}

#[test]
fn a_submodule_at_a_commit_of_no_branch_is_clean() {
    let (_dir, path, trees) = nested();
    let leaf = path.with_file_name("leaf");
    git(&leaf, "switch -q --detach");
    commit(&leaf, "release");
    git(&leaf, "tag v1");
    git(&leaf, "switch -q main");
    git(&path, &format!("{LOCAL} submodule -q add {} released", leaf.display()));
    git(&path.join("released"), "checkout -q v1");
    git(&path, "add -A");
    git(&path, "commit -qm released");
    let at = with_submodules(&trees, "1");
    assert_eq!(fs::read_to_string(at.join("released/a.txt")).unwrap(), "release");
    trees.remove("1", false).unwrap();
}
