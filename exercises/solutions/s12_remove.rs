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
    let status = git(tree, &["status", "--porcelain", "--untracked-files=all"])?;
    let mut lost: Vec<String> =
        status.lines().map(|line| format!("not committed: {}", line.trim())).collect();
    // What this tree has checked out and no branch has, not even one of the main folder.
    let commits = git(tree, &["log", "--format=%h %s", "HEAD", "--not", "--branches"])?;
    lost.extend(commits.lines().map(|commit| format!("on no branch: {commit}")));
    Ok(lost)
}

/// Removes a worktree of this repository, and says why not when it would lose something. Its branch
/// stays.
fn remove(repository: &Path, tree: &Path) -> Result<(), String> {
    let lost = losses(tree)?;
    if !lost.is_empty() {
        return Err(lost.join("\n"));
    }
    // Without `--force` git itself looks once more.
    git(repository, &["worktree", "remove", &tree.to_string_lossy()])?;
    Ok(())
}
