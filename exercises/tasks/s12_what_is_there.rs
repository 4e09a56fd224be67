// # What a new tree holds
//
// predict, level 1, 10 minutes. Read: examples/s12_worktree_task_isolation.rs
//
// A repository is on the branch `main`. In its folder are:
//
//   a.txt      committed on main
//   b.txt      committed on main, and changed since, not committed
//   c.txt      new, staged with `git add`, not committed
//   d.txt      new, not known to git
//   .env       ignored by git
//   e.txt      not here: committed on another branch, `other`
//
// A task begins, and gets a worktree. Then f.txt is committed on main, and g.txt is committed in
// the task's worktree. Say which files the worktree has now, and what else holds.
//
// Run: cargo run -p rungs-exercises -- run s12_what_is_there

/// Whether the file is in the task's worktree: `Some(true)` or `Some(false)`.
const A: Option<bool> = None;
const B: Option<bool> = None;
const C: Option<bool> = None;
const D: Option<bool> = None;
const ENV: Option<bool> = None;
const E: Option<bool> = None;
const F: Option<bool> = None;
const G: Option<bool> = None;
/// Whether b.txt, if it is there, holds the change that is not committed.
const B_IS_CHANGED: Option<bool> = None;
/// Whether `git log --all` in the main folder shows the commit with g.txt.
const MAIN_SEES_THE_COMMIT: Option<bool> = None;
/// Whether `git stash list` in the task's worktree shows what was stashed in the main folder.
const STASH_IS_SHARED: Option<bool> = None;

mod tests {
    use super::*;
    use rungs_exercises::support::git;
    use rungs_worktree::Trees;
    use std::fs;

    /// What is really there.
    struct Seen {
        files: [bool; 8],
        b_is_changed: bool,
        main_sees_the_commit: bool,
        stash_is_shared: bool,
    }

    fn seen() -> Seen {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let write = |file: &str, text: &str| fs::write(root.join(file), text).unwrap();
        git(&root, "init -q -b main");
        git(&root, "config user.name Tester");
        git(&root, "config user.email t@localhost");
        git(&root, "config core.excludesFile /dev/null");
        write(".gitignore", ".env\n.trees/\n");
        write("a.txt", "a\n");
        write("b.txt", "b\n");
        git(&root, "add -A");
        git(&root, "commit -qm Start");
        git(&root, "checkout -q -b other");
        write("e.txt", "e\n");
        git(&root, "add -A");
        git(&root, "commit -qm Other");
        git(&root, "checkout -q main");
        write("b.txt", "changed\n");
        write("c.txt", "c\n");
        git(&root, "add c.txt");
        write("d.txt", "d\n");
        write(".env", "KEY=1\n");
        let tree = Trees::new(&root, root.join(".trees")).take("1-task").unwrap();
        write("f.txt", "f\n");
        git(&root, "add f.txt");
        git(&root, "commit -qm More -- f.txt");
        fs::write(tree.path().join("g.txt"), "g\n").unwrap();
        let commit = tree.commit("Work").unwrap().unwrap().id;
        let names = ["a.txt", "b.txt", "c.txt", "d.txt", ".env", "e.txt", "f.txt", "g.txt"];
        let files = names.map(|file| tree.path().join(file).exists());
        let b_is_changed = fs::read_to_string(tree.path().join("b.txt")).unwrap() == "changed\n";
        let main_sees_the_commit = git(&root, "log --all --format=%h").contains(&commit);
        git(&root, "stash -q");
        let stash_is_shared = !git(tree.path(), "stash list").is_empty();
        Seen { files, b_is_changed, main_sees_the_commit, stash_is_shared }
    }

    #[test]
    fn the_files() {
        let said = [A, B, C, D, ENV, E, F, G];
        let names = ["a.txt", "b.txt", "c.txt", "d.txt", ".env", "e.txt", "f.txt", "g.txt"];
        let seen = seen().files;
        let wrong: Vec<&str> =
            (0..8).filter(|i| said[*i] != Some(seen[*i])).map(|i| names[i]).collect();
        assert!(
            wrong.is_empty(),
            "not so for {wrong:?}. A worktree begins as the commit that is checked out in the main \
             folder, and then goes its own way"
        );
    }

    #[test]
    fn the_change_of_b() {
        assert!(
            B_IS_CHANGED == Some(seen().b_is_changed),
            "not so. From where does the tree have b.txt: from the folder, or from a commit?"
        );
    }

    #[test]
    fn the_commit() {
        assert!(
            MAIN_SEES_THE_COMMIT == Some(seen().main_sees_the_commit),
            "not so. What do two worktrees of one repository share?"
        );
    }

    #[test]
    fn the_stash() {
        assert!(
            STASH_IS_SHARED == Some(seen().stash_is_shared),
            "not so. Where does git keep `refs/stash`?"
        );
    }
}
