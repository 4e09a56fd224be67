// # Cleaned up, and lost
//
// repair, level 2, 25 minutes. Read: examples/s12_worktree_task_isolation.rs
//
// When a task is over, its worktree can go. `remove` looks whether there is anything in it that
// would be lost, and removes the tree, and the branch with it, since "it is no longer needed".
// Users report:
//
//   "My subagent wrote `notes.txt` and did not commit it. The tree was removed all the same."
//
//   "Three commits were on the branch, and nowhere else. The branch is gone."
//
//   "A subagent had checked out an older commit to compare, and had committed there, on no branch.
//   The tool said that the tree was clean."
//
// Repair `losses` and `remove`, such that nothing is removed that no branch holds. `losses` returns
// a line for each thing that would be lost, for a person to read; the tests look only at whether
// there is any. If there is, `remove` refuses. A branch is never deleted. What git ignores may go:
// it can be built again.
//
// `git(folder, args)` runs git and returns what it prints, or what it says when it fails.
//
// Run: cargo run -p rungs-exercises -- run s12_remove

use std::{path::Path, process::Command};

/// Runs git in a folder, without any person's settings.
fn git(folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
    }
}

/// What would be lost with this worktree, a line each.
fn losses(tree: &Path) -> Result<Vec<String>, String> {
    let status = git(tree, &["status", "--porcelain", "-uno"])?;
    Ok(status.lines().map(|line| format!("not committed: {}", line.trim())).collect())
}

/// Removes a worktree of this repository, and says why not when it would lose something.
fn remove(repository: &Path, tree: &Path) -> Result<(), String> {
    let lost = losses(tree)?;
    if !lost.is_empty() {
        return Err(lost.join("\n"));
    }
    let branch = git(tree, &["rev-parse", "--abbrev-ref", "HEAD"])?;
    let path = tree.to_string_lossy();
    git(repository, &["worktree", "remove", "--force", &path])?;
    if branch != "HEAD" {
        git(repository, &["branch", "-D", &branch])?;
    }
    Ok(())
}

mod tests {
    use super::*;
    use std::{fs, path::PathBuf};

    /// A repository with one commit, and a worktree on a branch of its own.
    struct Place {
        repository: PathBuf,
        tree: PathBuf,
        _folder: tempfile::TempDir,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (repository, tree) = (root.join("main"), root.join("tree"));
        fs::create_dir(&repository).unwrap();
        run(&repository, "init -q -b main");
        run(&repository, "config user.name Tester");
        run(&repository, "config user.email t@localhost");
        fs::write(repository.join("a.txt"), "one\n").unwrap();
        fs::write(repository.join(".gitignore"), "target/\n").unwrap();
        run(&repository, "add -A");
        run(&repository, "commit -qm Start");
        run(&repository, &format!("worktree add -q -b work {}", tree.display()));
        Place { repository, tree, _folder: folder }
    }

    fn run(folder: &Path, args: &str) -> String {
        let args: Vec<&str> = args.split(' ').collect();
        git(folder, &args).unwrap_or_else(|why| panic!("git {args:?}: {why}"))
    }

    impl Place {
        fn write(&self, file: &str) {
            let file = self.tree.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "two\n").unwrap();
        }

        fn commit(&self) -> String {
            run(&self.tree, "add -A");
            run(&self.tree, "commit -qm Work");
            run(&self.tree, "rev-parse HEAD")
        }

        #[track_caller]
        fn assert_is_kept(&self, why: &str) {
            let end = remove(&self.repository, &self.tree);
            let kept = end.is_err() && self.tree.join("a.txt").exists();
            assert!(kept, "the tree was removed: {why}");
            assert!(end.is_err_and(|lost| !lost.is_empty()), "it must say what would be lost");
        }
    }

    #[test]
    fn a_clean_tree_is_removed() {
        let place = place();
        assert_eq!(remove(&place.repository, &place.tree), Ok(()), "nothing is in it");
        assert!(!place.tree.exists(), "it is gone");
        assert_eq!(run(&place.repository, "worktree list").lines().count(), 1, "for git as well");
    }

    #[test]
    fn the_branch_and_its_commits_stay() {
        let place = place();
        place.write("b.txt");
        let commit = place.commit();
        assert_eq!(remove(&place.repository, &place.tree), Ok(()), "the branch holds the work");
        let found = git(&place.repository, &["rev-parse", "work"]);
        assert_eq!(found, Ok(commit), "the commit is on this branch alone: it must stay");
    }

    #[test]
    fn a_changed_file_is_a_loss() {
        let place = place();
        place.write("a.txt");
        place.assert_is_kept("a.txt has changed");
        run(&place.tree, "add a.txt");
        place.assert_is_kept("a.txt is staged, which is no commit");
    }

    #[test]
    fn a_file_that_git_does_not_track_is_a_loss() {
        let place = place();
        place.write("docs/notes.txt");
        place.assert_is_kept("notes.txt exists nowhere else. What does `-uno` leave out?");
    }

    #[test]
    fn a_commit_on_no_branch_is_a_loss() {
        let place = place();
        run(&place.tree, "checkout -q --detach");
        place.write("b.txt");
        place.commit();
        let why = "HEAD is on no branch, and only this tree knows the commit. `git status` is \
                   clean. Which question to git finds commits that no branch has?";
        place.assert_is_kept(why);
    }

    #[test]
    fn a_detached_head_at_a_commit_of_a_branch_is_no_loss() {
        let place = place();
        run(&place.tree, "checkout -q --detach");
        assert_eq!(remove(&place.repository, &place.tree), Ok(()), "main has this commit");
    }

    #[test]
    fn what_git_ignores_is_no_loss() {
        let place = place();
        place.write("target/debug/program");
        assert_eq!(remove(&place.repository, &place.tree), Ok(()), "it can be built again");
    }

    #[test]
    fn what_cannot_be_asked_is_no_proof() {
        let place = place();
        fs::remove_file(place.tree.join(".git")).unwrap();
        let end = remove(&place.repository, &place.tree);
        let why = "git knows nothing of this folder now; that does not prove that nothing is lost";
        assert!(end.is_err() && place.tree.join("a.txt").exists(), "{why}");
    }
}
