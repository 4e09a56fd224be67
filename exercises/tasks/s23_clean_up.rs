// # A clean-up that loses nothing
//
// repair, level 2, 25 minutes. Read: examples/s23_worktree_advanced.rs
//
// `clean_up` removes the worktree of a task with its branch, once the task is over. It looks for
// changes first. Users report:
//
//   "I had committed everything, and the next morning tree and branch were gone. I found the two
//   commits with `git fsck --unreachable`."
//
//   "A new file that I had not added yet is gone."
//
//   "I was on a detached HEAD in the tree and had made a commit there. It is gone."
//
// Change it so that it removes a tree and its branch only if nothing can be lost, and says
// otherwise why it stays: then nothing is changed. What git ignores, such as the results of a
// build, may go.
//
// Run: cargo run -p rungs-exercises -- run s23_clean_up

use std::{path::Path, process::Command};

/// Removes the worktree and its branch, if `repository` has all that was done in it.
fn clean_up(repository: &Path, tree: &Path, branch: &str) -> Result<(), String> {
    if !git(tree, &["diff", "HEAD"])?.is_empty() {
        return Err("it has changes that are not committed".into());
    }
    let path = tree.display().to_string();
    git(repository, &["worktree", "remove", "--force", &path])?;
    git(repository, &["branch", "-D", branch])?;
    Ok(())
}

/// Runs git without any person's settings: what it prints, or what it says when it fails.
fn git(at: &Path, args: &[&str]) -> Result<String, String> {
    let mut git = Command::new("git");
    git.current_dir(at).args(args);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let done = git.output().map_err(|error| error.to_string())?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).trim().into());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().into())
}

mod tests {
    use super::*;
    use std::{fs, path::PathBuf};
    use tempfile::TempDir;

    /// A repository with a worktree on the branch `task`, in which one commit was made.
    struct Work {
        _dir: TempDir,
        repository: PathBuf,
        tree: PathBuf,
    }

    fn work() -> Work {
        let dir = tempfile::tempdir().unwrap();
        let (repository, tree) = (dir.path().join("main"), dir.path().join("task"));
        fs::create_dir(&repository).unwrap();
        run(&repository, &["init", "-q", "-b", "main"]);
        run(&repository, &["config", "user.name", "Tester"]);
        run(&repository, &["config", "user.email", "t@localhost"]);
        fs::write(repository.join("a.txt"), "start\n").unwrap();
        fs::write(repository.join(".gitignore"), "target\n").unwrap();
        run(&repository, &["add", "-A"]);
        run(&repository, &["commit", "-qm", "Start"]);
        run(&repository, &["worktree", "add", "-q", "-b", "task", &tree.display().to_string()]);
        let work = Work { _dir: dir, repository, tree };
        work.write("a.txt", "changed\n");
        work.commit();
        work
    }

    fn run(at: &Path, args: &[&str]) -> String {
        git(at, args).unwrap_or_else(|why| panic!("git {}: {why}", args.join(" ")))
    }

    impl Work {
        fn write(&self, file: &str, text: &str) {
            fs::write(self.tree.join(file), text).unwrap();
        }

        fn commit(&self) {
            run(&self.tree, &["add", "-A"]);
            run(&self.tree, &["commit", "-qm", "Work"]);
        }

        fn merge(&self) {
            run(&self.repository, &["merge", "-q", "task"]);
        }

        fn clean_up(&self) -> Result<(), String> {
            clean_up(&self.repository, &self.tree, "task")
        }

        fn branch(&self) -> String {
            run(&self.repository, &["branch", "--list", "task"])
        }

        /// The clean-up must refuse, and change nothing.
        fn stays(&self, what: &str) {
            let head = run(&self.tree, &["rev-parse", "HEAD"]);
            let status = run(&self.tree, &["status", "--porcelain"]);
            let end = self.clean_up();
            assert!(self.tree.exists(), "{what}: the tree was removed, and that is lost now");
            assert!(!self.branch().is_empty(), "{what}: the branch was deleted");
            assert!(end.is_err(), "{what}: nothing was removed, and nobody was told why");
            assert_eq!(run(&self.tree, &["rev-parse", "HEAD"]), head, "{what}: HEAD has moved");
            assert_eq!(run(&self.tree, &["status", "--porcelain"]), status, "{what}: changed");
        }
    }

    #[test]
    fn what_is_merged_and_clean_goes_with_its_branch() {
        let work = work();
        work.merge();
        work.clean_up().expect("all of it is in `main`: nothing can be lost");
        assert!(!work.tree.exists(), "the tree should be gone");
        assert_eq!(work.branch(), "", "and its branch too");
    }

    #[test]
    fn what_git_ignores_may_go() {
        let work = work();
        work.merge();
        work.write("target", "built\n");
        work.clean_up().expect("a file that git ignores can be built again");
        assert!(!work.tree.exists(), "the tree should be gone");
    }

    #[test]
    fn a_change_that_is_not_committed_stays() {
        let work = work();
        work.merge();
        work.write("a.txt", "changed again\n");
        work.stays("a.txt has a change in no commit");
    }

    #[test]
    fn a_file_that_git_does_not_know_yet_stays() {
        let work = work();
        work.merge();
        work.write("new.txt", "an idea\n");
        work.stays("new.txt is in no commit, and `git diff` does not name it");
    }

    #[test]
    fn a_commit_that_is_not_merged_stays() {
        let work = work();
        work.stays("the branch has a commit that `main` does not have");
    }

    #[test]
    fn a_commit_after_the_merge_stays() {
        let work = work();
        work.merge();
        work.write("a.txt", "one more\n");
        work.commit();
        work.stays("the branch was merged once, and has gone on since then");
    }

    #[test]
    fn a_commit_on_no_branch_stays() {
        let work = work();
        work.merge();
        run(&work.tree, &["checkout", "-q", "--detach"]);
        work.write("a.txt", "tried\n");
        work.commit();
        work.stays("the tree's HEAD is a commit that no branch has");
    }
}
