use crate::{
    Error, Reservation, State,
    losses::{file, is_absent, sparse_files},
    repository::{check_no_operation, history, open_on_branch, short_id},
};
use git2::{
    AttrCheckFlags, BranchType, ErrorCode, IndexAddOption, Repository, Signature, Status,
    StatusOptions,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// The author where neither the environment nor git's configuration names one.
const DEFAULT_AUTHOR: (&str, &str) = ("Rungs", "rungs@localhost");

/// The age from which a lock file of git counts as stale.
const STALE_LOCK_AGE: Duration = Duration::from_secs(10);

/// How long to wait until the lock files of git are removed or stale.
const GIT_LOCKS_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause between two looks at a lock file of git.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A worktree, and the exclusive right to work in it.
#[derive(Debug)]
pub struct Tree {
    pub(crate) reservation: Reservation,
    pub(crate) folder: PathBuf,
    pub(crate) resumed: Option<String>,
    pub(crate) quarantined: Option<PathBuf>,
    pub(crate) lacks: Option<String>,
}

impl Tree {
    /// The folder of the worktree.
    pub fn path(&self) -> &Path {
        &self.reservation.path
    }

    /// The folder to work in: where the folder of the [`Trees`](crate::Trees) is in this worktree,
    /// or else its root.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The branch that it is on.
    pub fn branch(&self) -> &str {
        &self.reservation.branch
    }

    /// The abbreviated id of the commit from which it is resumed: somebody had it before, or its
    /// branch has commits that the folder's commit does not have.
    pub fn resumed(&self) -> Option<&str> {
        self.resumed.as_deref()
    }

    /// Where files were moved that somebody had put into this worktree while it was incomplete.
    pub fn quarantined(&self) -> Option<&Path> {
        self.quarantined.as_deref()
    }

    /// What the main folder has and this worktree, which is new, has not, in one line: files that
    /// git ignores, submodules, files that a filter fetches.
    pub fn lacks(&self) -> Option<&str> {
        self.lacks.as_deref()
    }

    /// Its state. Blocks.
    ///
    /// # Errors
    /// As for [`Trees::state`](crate::Trees::state).
    pub fn state(&self) -> Result<State, Error> {
        self.reservation.trees.state(&self.reservation.name)
    }

    /// Those of these branches that exist and have commits that are not merged into the branch of
    /// the worktree. Blocks.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the worktree is on another branch, and those of git.
    pub fn unmerged(&self, mut branches: Vec<String>) -> Result<Vec<String>, Error> {
        let repository = open_on_branch(self.path(), self.branch())?;
        branches.retain(|branch| is_unmerged(&repository, branch).unwrap_or(false));
        Ok(branches)
    }

    /// Commits all changes, deletions too, to the branch of the worktree, except ignored files;
    /// `None` when nothing has changed. Nested repositories are not committed: a commit cannot hold
    /// their files. Blocks.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the worktree is on another branch, [`Error::OperationInProgress`],
    /// [`Error::NeedsFilter`], [`Error::GitLocked`], and those of git. Nothing is committed then.
    pub fn commit(&self, message: &str) -> Result<Option<Commit>, Error> {
        let repository = open_on_branch(self.path(), self.branch())?;
        check_no_operation(&repository, self.path())?;
        wait_for_git_locks(&repository, self.branch())?;
        let filtered = filtered_file(&repository)
            .map_err(Error::git(format!("read the status of {}", self.path().display())))?;
        if let Some((file, filter)) = filtered {
            return Err(Error::NeedsFilter { path: self.path().into(), file, filter });
        }
        match self.commit_all(&repository, message) {
            Err(error) if error.code() == ErrorCode::Locked => {
                Err(Error::GitLocked(repository.path().join("index.lock")))
            }
            committed => committed.map_err(Error::git(format!("commit to {}", self.branch()))),
        }
    }

    fn commit_all(
        &self,
        repository: &Repository,
        message: &str,
    ) -> Result<Option<Commit>, git2::Error> {
        let mut index = repository.index()?;
        let sparse = sparse_files(&index);
        let mut skip = |path: &Path, _: &[u8]| {
            let at = self.path().join(path);
            i32::from(at.join(".git").exists() || (sparse.contains(path) && is_absent(&at)))
        };
        index.add_all(["*"], IndexAddOption::DEFAULT, Some(&mut skip))?;
        index.write()?;
        let tree = repository.find_tree(index.write_tree()?)?;
        let parent = repository.head()?.peel_to_commit()?;
        if tree.id() == parent.tree_id() {
            return Ok(None);
        }
        let (author, committer) = signatures(repository)?;
        let message = git2::message_prettify(message, None)?;
        let id =
            repository.commit(Some("HEAD"), &author, &committer, &message, &tree, &[&parent])?;
        let files =
            repository.diff_tree_to_tree(Some(&parent.tree()?), Some(&tree), None)?.deltas().len();
        Ok(Some(Commit { id: short_id(&repository.find_commit(id)?)?, files }))
    }
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its abbreviated id.
    pub id: String,
    /// The number of files that it changes.
    pub files: usize,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "committed as {}, files changed: {}", self.id, self.files)
    }
}

/// Author and committer: the environment comes first, as with the program `git`.
pub(crate) fn signatures(
    repository: &Repository,
) -> Result<(Signature<'static>, Signature<'static>), git2::Error> {
    let default = || Signature::now(DEFAULT_AUTHOR.0, DEFAULT_AUTHOR.1);
    let author = repository.author_from_env().or_else(|_| default())?;
    let committer = repository.committer_from_env().or_else(|_| default())?;
    Ok((author, committer))
}

/// Whether a branch exists and has commits that `HEAD` does not have.
fn is_unmerged(repository: &Repository, branch: &str) -> Result<bool, git2::Error> {
    let own = repository.head()?.peel_to_commit()?.id();
    let repository = history(repository)?;
    let Ok(other) = repository.find_branch(branch, BranchType::Local) else { return Ok(false) };
    let other = other.get().peel_to_commit()?.id();
    Ok(other != own && !repository.graph_descendant_of(own, other)?)
}

/// A changed file with a filter that runs a program, and the name of the filter. Libgit2 does not
/// run it: it would commit a file unencrypted that git-crypt encrypts, and a large one that Git LFS
/// keeps elsewhere.
fn filtered_file(repository: &Repository) -> Result<Option<(PathBuf, String)>, git2::Error> {
    const CHANGED: Status = Status::WT_NEW
        .union(Status::WT_MODIFIED)
        .union(Status::WT_TYPECHANGE)
        .union(Status::WT_RENAMED);
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).exclude_submodules(true);
    for entry in repository.statuses(Some(&mut options))?.iter() {
        let path = file(entry.path_bytes());
        if entry.status().intersects(CHANGED)
            && let Some(filter) = filter_program(repository, &path, "clean")?
        {
            return Ok(Some((path, filter)));
        }
    }
    Ok(None)
}

/// The name of a file's filter that runs a program to `clean` it, or to `smudge` it.
pub(crate) fn filter_program(
    repository: &Repository,
    path: &Path,
    kind: &str,
) -> Result<Option<String>, git2::Error> {
    let config = repository.config()?;
    let Some(filter) = repository.get_attr(path, "filter", AttrCheckFlags::FILE_THEN_INDEX)? else {
        return Ok(None);
    };
    let is_set = |kind: &str| config.get_entry(&format!("filter.{filter}.{kind}")).is_ok();
    Ok((is_set(kind) || is_set("process")).then(|| filter.into()))
}

/// Removes stale lock files of git, which this program or a git that was killed left behind, and
/// waits for fresh ones. The worktree is reserved, so no other process of this crate uses it. A
/// person may run git in it, which locks for an instant, or while its editor is open; in that case
/// that git fails later with a message, and no file is lost.
pub(crate) fn wait_for_git_locks(repository: &Repository, branch: &str) -> Result<(), Error> {
    let locks = [
        repository.path().join("index.lock"),
        repository.path().join("HEAD.lock"),
        repository.commondir().join(format!("refs/heads/{branch}.lock")),
    ];
    let start = Instant::now();
    for lock in locks {
        while let Some(age) = age(&lock) {
            if age >= STALE_LOCK_AGE {
                // Another process may remove it at the same time.
                let _ = fs::remove_file(&lock);
            }
            if start.elapsed() > GIT_LOCKS_TIMEOUT {
                return Err(Error::GitLocked(lock));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
    Ok(())
}

/// The time since a file was written, if it exists; zero if its time is unknown or in the future.
fn age(file: &Path) -> Option<Duration> {
    let metadata = fs::metadata(file).ok()?;
    let modified = metadata.modified().unwrap_or_else(|_| SystemTime::now());
    Some(modified.elapsed().unwrap_or_default())
}
