use crate::{
    Error,
    repository::{current_branch, short_id},
};
use git2::{Oid, Repository, Status, StatusOptions};
use std::{
    ffi::OsStr,
    fmt,
    fs::read_dir,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The greatest number of names that one message lists.
const MAX_LISTED: usize = 10;

/// What would be lost with a worktree, because no commit of its branch holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Uncommitted files and unreachable commits, each with its kind. A worktree that has any is
    /// not removed.
    pub work: Vec<(LossKind, String)>,
    /// Files that git ignores, such as the results of a build. A folder counts as one.
    pub ignored: Vec<PathBuf>,
}

/// Why something would be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// A file with an unresolved conflict.
    Conflicted,
    /// A file that git does not track yet.
    Untracked,
    /// A file that was deleted.
    Deleted,
    /// A file that was modified.
    Modified,
    /// A change in the index.
    Staged,
    /// A nested repository, a submodule or a clone: commits of the worktree do not hold its files.
    Repository,
    /// A commit that was made here on no branch. Only the reflog of the worktree has it.
    Commit,
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossKind::Conflicted => "conflicted",
            LossKind::Untracked => "untracked",
            LossKind::Deleted => "deleted",
            LossKind::Modified => "modified",
            LossKind::Staged => "staged",
            LossKind::Repository => "nested repository",
            LossKind::Commit => "a commit on no branch (`git branch NAME COMMIT` keeps it)",
        })
    }
}

/// One line for each loss, at most ten for the work, and one for all that git ignores.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self
            .work
            .iter()
            .take(MAX_LISTED)
            .map(|(kind, what)| format!("{kind}: {what}"))
            .collect();
        if self.work.len() > MAX_LISTED {
            lines.push(format!("... {} more", self.work.len() - MAX_LISTED));
        }
        if !self.ignored.is_empty() {
            lines.push(format!("ignored by git: {}", file_list(&self.ignored)));
        }
        f.write_str(&lines.join("\n"))
    }
}

pub(crate) fn file_list(paths: &[PathBuf]) -> String {
    let listed: Vec<String> = paths.iter().take(MAX_LISTED).map(|path| file_name(path)).collect();
    match paths.len().saturating_sub(MAX_LISTED) {
        0 => listed.join(", "),
        more => format!("{}, ... {more} more", listed.join(", ")),
    }
}

/// A path for a message: control characters, such as a newline, are escaped.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.display().to_string();
    if name.contains(char::is_control) { format!("{name:?}") } else { name }
}

impl Losses {
    pub(crate) fn of(repository: &Repository, path: &Path) -> Result<Losses, Error> {
        let mut losses = Losses::default();
        let nested = nested_repositories(path)?;
        let mut options = StatusOptions::new();
        options
            .include_untracked(true)
            .recurse_untracked_dirs(true)
            .include_ignored(true)
            .exclude_submodules(true);
        let git_error = || Error::git(format!("read the status of {}", path.display()));
        for entry in repository.statuses(Some(&mut options)).map_err(git_error())?.iter() {
            let (status, path) = (entry.status(), file(entry.path_bytes()));
            if nested.contains(&path) {
                continue;
            }
            match loss_kind(status) {
                Some(kind) => losses.work.push((kind, file_name(&path))),
                None if status.is_ignored() => losses.ignored.push(path),
                None => {}
            }
        }
        for path in nested {
            losses.work.push((LossKind::Repository, file_name(&path)));
        }
        for commit in unreachable_commits(repository).map_err(git_error())? {
            losses.work.push((LossKind::Commit, commit));
        }
        Ok(losses)
    }
}

/// The commits that were made in this worktree and that no branch, tag or stash reaches: those that
/// were made with a detached `HEAD`. Earlier versions of amended commits do not count; the reflog
/// of the branch has them.
pub(crate) fn unreachable_commits(repository: &Repository) -> Result<Vec<String>, git2::Error> {
    let mut walk = repository.revwalk()?;
    for id in commits_in_reflog(repository, "HEAD") {
        walk.push(id)?;
    }
    if let Ok(head) = repository.head()
        && let Some(id) = head.target()
    {
        walk.push(id)?;
    }
    for kind in ["heads", "tags", "remotes", "stash"] {
        walk.hide_glob(&format!("refs/{kind}*"))?;
    }
    if let Some(branch) = current_branch(repository)? {
        for id in commits_in_reflog(repository, &format!("refs/heads/{branch}")) {
            walk.hide(id)?;
        }
    }
    let mut commits = vec![];
    for id in walk {
        let commit = repository.find_commit(id?)?;
        let subject = commit.summary_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        commits.push(format!("{} {subject}", short_id(&commit)?));
    }
    Ok(commits)
}

/// The commits in a reflog that still exist.
fn commits_in_reflog(repository: &Repository, reference: &str) -> Vec<Oid> {
    let Ok(reflog) = repository.reflog(reference) else { return vec![] };
    let ids = reflog.iter().flat_map(|entry| [entry.id_new(), entry.id_old()]);
    ids.filter(|id| repository.find_commit(*id).is_ok()).collect()
}

/// A path as git stores it.
pub(crate) fn file(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

fn loss_kind(status: Status) -> Option<LossKind> {
    let kinds = [
        (Status::CONFLICTED, LossKind::Conflicted),
        (Status::WT_NEW, LossKind::Untracked),
        (Status::WT_DELETED, LossKind::Deleted),
        (Status::WT_MODIFIED | Status::WT_TYPECHANGE | Status::WT_RENAMED, LossKind::Modified),
        (
            Status::INDEX_NEW
                | Status::INDEX_MODIFIED
                | Status::INDEX_DELETED
                | Status::INDEX_TYPECHANGE
                | Status::INDEX_RENAMED,
            LossKind::Staged,
        ),
    ];
    kinds.into_iter().find(|(bits, _)| status.intersects(*bits)).map(|(_, kind)| kind)
}

/// The repositories inside a worktree, submodules included. Git's status does not report what is in
/// them, nor them themselves if they are ignored.
fn nested_repositories(tree: &Path) -> Result<Vec<PathBuf>, Error> {
    let (mut found, mut folders) = (vec![], vec![tree.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in read_dir(&folder).map_err(Error::io(&folder))? {
            let entry = entry.map_err(Error::io(&folder))?;
            // The type of the entry itself: symbolic links are not followed.
            if !entry.file_type().map_err(Error::io(entry.path()))?.is_dir() {
                continue;
            }
            let path = entry.path();
            if path.join(".git").symlink_metadata().is_err() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(tree) {
                found.push(relative.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}
