//! Cleans up: what killed processes have left, worktrees whose folder is gone, and worktrees whose
//! work is merged.
use crate::{
    Error, Trees,
    files::{delete, entries},
    losses::unreachable_commits,
    repository::{history, is_ancestor, lock_changes, tip},
    trees::lock_file,
};
use durable::Lock;
use git2::{BranchType, Repository, RepositoryOpenFlags};
use std::{
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
};

/// What [`Trees::prune`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The merges that a killed process had begun, finished now; a line each.
    pub finished: Vec<String>,
    /// The worktrees that git no longer lists: their folders were gone.
    pub removed: Vec<String>,
    /// The worktrees without a folder that git still lists, each with the reason.
    pub kept: Vec<(String, String)>,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = self.removed.iter().map(|name| format!("pruned {name}: its folder is gone"));
        let kept = self.kept.iter().map(|(name, why)| format!("kept {name}: {why}"));
        let lines: Vec<String> = self.finished.iter().cloned().chain(removed).chain(kept).collect();
        f.write_str(if lines.is_empty() { "nothing to prune" } else { "" })?;
        f.write_str(&lines.join("\n"))
    }
}

/// A worktree that [`Trees::clean_up`] has looked at.
#[derive(Debug)]
pub struct CleanedUp {
    /// Its name; empty for one that cannot be read.
    pub name: String,
    /// Why it stays; `None` when it was removed, with its branch.
    pub kept: Option<String>,
}

impl fmt::Display for CleanedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kept {
            None => write!(f, "removed {}, whose work is merged", self.name),
            Some(why) if self.name.is_empty() => write!(f, "kept: {why}"),
            Some(why) => write!(f, "kept {}: {why}", self.name),
        }
    }
}

impl Trees {
    /// Finishes what killed processes have begun, and has git forget the worktrees in this place
    /// whose folders are gone. Never one that is locked (`git worktree lock`: its folder may be on
    /// a disk that is not mounted), and never one with commits that only it knows. Blocks.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Bare`], [`Error::InTheWay`] when an interrupted merge
    /// cannot be finished, and those of git and the disk.
    pub fn prune(&self) -> Result<Pruned, Error> {
        let repository = self.repository()?;
        let _lock = lock_changes(&repository)?;
        let mut pruned = Pruned::default();
        for merged in self.finish_merges(&repository)? {
            pruned.finished.push(format!("finished: {merged}"));
        }
        let place = self.canonical_place();
        for entry in entries(&repository.commondir().join("worktrees"))? {
            let (registration, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy().into_owned();
            let link = fs::read_to_string(registration.join("gitdir")).unwrap_or_default();
            let folder = Path::new(link.trim_end()).parent().map(PathBuf::from).unwrap_or_default();
            if folder.parent() != Some(&place) || folder.symlink_metadata().is_ok() {
                continue;
            }
            match self.stale(&registration, &name)? {
                None => pruned.removed.push(name),
                Some(why) => pruned.kept.push((name, why)),
            }
        }
        Ok(pruned)
    }

    /// Has git forget a worktree without a folder; else says why not.
    fn stale(&self, registration: &Path, name: &str) -> Result<Option<String>, Error> {
        if let Ok(reason) = fs::read_to_string(registration.join("locked")) {
            let why = format!("it is locked ({}), `git worktree unlock` unlocks it", reason.trim());
            return Ok(Some(why));
        }
        let Some(_lock) = Lock::try_acquire(&self.open_place()?, lock_file(name))? else {
            return Ok(Some("somebody works on it".into()));
        };
        // What is registered is a repository of its own for git, with a HEAD and a reflog.
        let none: [&OsStr; 0] = [];
        let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
        let own = Repository::open_ext(registration, flags, none);
        match own.and_then(|own| unreachable_commits(&own)) {
            Err(error) => return Ok(Some(format!("git cannot read it: {}", error.message()))),
            Ok(commits) if !commits.is_empty() => {
                let commits = commits.join("; ");
                let why = format!(
                    "commits on no branch (`git branch NAME COMMIT` keeps them): {commits}"
                );
                return Ok(Some(why));
            }
            Ok(_) => {}
        }
        delete(registration).map_err(Error::io(registration))?;
        Ok(None)
    }

    /// Removes each worktree whose work is committed and merged into what is checked out in the
    /// folder, and its branch with it; files that git ignores too if `ignored`. All others stay,
    /// each with the reason. Blocks.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Bare`], [`Error::NoCommit`], and those of git.
    pub fn clean_up(&self, ignored: bool) -> Result<Vec<CleanedUp>, Error> {
        let repository = self.repository()?;
        let mut seen = vec![];
        for state in self.list()? {
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    seen.push(CleanedUp { name: String::new(), kept: Some(error.to_string()) });
                    continue;
                }
            };
            let name = state.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kept = match self.is_merged(&repository, &state.branch)? {
                false => Some(format!("{} is not merged", state.branch)),
                true => match self.remove(&name, ignored) {
                    Ok(_) => self.delete_merged(&repository, &state.branch)?,
                    Err(error) => Some(error.to_string()),
                },
            };
            seen.push(CleanedUp { name, kept });
        }
        Ok(seen)
    }

    /// Whether what is checked out in the folder has all commits of this branch.
    fn is_merged(&self, repository: &Repository, branch: &str) -> Result<bool, Error> {
        let head = self.head(repository)?;
        let git_error = || Error::git(format!("compare {branch} with {}", head.name));
        let past = history(repository).map_err(git_error())?;
        match tip(repository, branch).map_err(git_error())? {
            Some(tip) => is_ancestor(&past, &tip, &head.commit).map_err(git_error()),
            None => Ok(true),
        }
    }

    /// Deletes a branch that is merged; why not, if it may not be deleted. Somebody may have
    /// committed to it since it was looked at.
    fn delete_merged(
        &self,
        repository: &Repository,
        branch: &str,
    ) -> Result<Option<String>, Error> {
        let _lock = lock_changes(repository)?;
        if !self.is_merged(repository, branch)? {
            return Ok(Some(format!("its folder was removed, but {branch} is not merged")));
        }
        let deleted = repository
            .find_branch(branch, BranchType::Local)
            .and_then(|mut branch| branch.delete());
        let why = |error: git2::Error| {
            format!("its folder was removed, but {branch} stays: {}", error.message())
        };
        Ok(deleted.err().map(why))
    }
}
