use std::{path::Path, process::Command};

/// Removes the worktree and its branch, if `repository` has all that was done in it.
fn clean_up(repository: &Path, tree: &Path, branch: &str) -> Result<(), String> {
    // What the branch has, and what is checked out in the tree, which may be a commit of its own.
    let head = git(tree, &["rev-parse", "HEAD"])?;
    for commit in [branch, &head] {
        git(repository, &["merge-base", "--is-ancestor", commit, "HEAD"])
            .map_err(|_| format!("{commit} has commits that are not merged"))?;
    }
    // Without `--force` git refuses when a file is changed or not tracked.
    let path = tree.display().to_string();
    git(repository, &["worktree", "remove", &path])?;
    // Small d: git looks once more whether it is merged.
    git(repository, &["branch", "-d", branch])?;
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
