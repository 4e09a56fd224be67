//! Creates worktrees, and cleans up after a creation or removal that was interrupted.

use crate::{
    Error, Tree, Trees,
    files::{delete, entries, unused_path},
    lacks::lacks,
    losses::unreachable_commits,
    repository::{
        commits_ahead, current_branch, find_registered, lock_changes, not_a_worktree,
        open_registered, short_id, tip,
    },
    tree::wait_for_git_locks,
    trees::{hidden_file, lock_file},
};
use durable::Lock;
use git2::{BranchType, Commit, ErrorCode, Repository, WorktreeAddOptions};
use std::{
    fs,
    io::ErrorKind::{NotADirectory, NotFound},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The exclusive right to a worktree, which need not exist yet. It ends when this is dropped, and
/// when its process dies.
#[derive(Debug)]
pub struct Reservation {
    pub(crate) trees: Trees,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) branch: String,
    _lock: Lock,
}

/// What the creation of a worktree found.
struct Created {
    /// The branch has commits that the folder's commit does not have.
    resumed: bool,
    /// Where files of a person were moved that lay in the way.
    quarantined: Option<PathBuf>,
    lacks: Option<String>,
}

impl Reservation {
    pub(crate) fn new(
        trees: Trees,
        name: &str,
        path: PathBuf,
        branch: String,
        lock: Lock,
    ) -> Reservation {
        Reservation { trees, name: name.into(), path, branch, _lock: lock }
    }

    /// The branch of the worktree.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Whether a worktree or a branch of this name exists on which somebody may have worked.
    /// Blocks.
    ///
    /// # Errors
    /// Those of git.
    pub fn used(&self) -> Result<bool, Error> {
        let repository = self.trees.repository()?;
        let git_error = || Error::git(format!("read {}", self.branch));
        let incomplete = self.is_incomplete();
        let Some(tip) = tip(&repository, &self.branch).map_err(git_error())? else {
            return Ok(!incomplete && self.path.symlink_metadata().is_ok());
        };
        // An interrupted creation leaves a branch without commits of its own.
        Ok(!incomplete || commits_ahead(&repository, &tip, &self.branch).map_err(git_error())? > 0)
    }

    /// The worktree: as it was left, or a new one. Blocks.
    ///
    /// # Errors
    /// As for [`Trees::take`].
    pub fn take(self) -> Result<Tree, Error> {
        let repository = self.trees.repository()?;
        let registered =
            if self.is_incomplete() { None } else { find_registered(&repository, &self.name)? };
        let Created { resumed, quarantined, lacks } = match registered {
            Some(worktree) => {
                let own = open_registered(&worktree, &self.path, &self.branch)?;
                wait_for_git_locks(&own, &self.branch)?;
                Created { resumed: true, quarantined: None, lacks: None }
            }
            None => self.create(&repository)?,
        };
        let git_error = || Error::git(format!("read {}", self.branch));
        let resumed = match tip(&repository, &self.branch).map_err(git_error())? {
            Some(tip) if resumed => Some(short_id(&tip).map_err(git_error())?),
            _ => None,
        };
        let folder =
            self.trees.folder_in(&repository, &self.path).unwrap_or_else(|| self.path.clone());
        Ok(Tree { reservation: self, folder, resumed, quarantined, lacks })
    }

    fn create(&self, repository: &Repository) -> Result<Created, Error> {
        let _lock = lock_changes(repository)?;
        self.clean_up_others(repository)?;
        let quarantined = if self.is_incomplete() { self.clean_up(repository)? } else { None };
        if self.path.symlink_metadata().is_ok() {
            return Err(not_a_worktree(&self.path));
        }
        let reading = || Error::git(format!("read {}", self.branch));
        let old = tip(repository, &self.branch).map_err(reading())?;
        let added = self.add(repository, old.as_ref());
        // What cannot be undone now stays marked, and is cleaned up by the next use.
        let settled = added.is_ok() || self.undo(repository, old.is_none()).is_ok();
        if settled && self.is_incomplete() {
            self.trees.mark_complete(&self.name)?;
        }
        let resumed = added?;
        Ok(Created { resumed, quarantined, lacks: lacks(repository, self) })
    }

    /// Makes the worktree; whether its branch has commits that the folder's commit does not have.
    fn add(&self, repository: &Repository, old: Option<&Commit<'_>>) -> Result<bool, Error> {
        let branch = &self.branch;
        let git_error = || Error::git(format!("create the branch {branch}"));
        let head = repository.head().and_then(|head| head.peel_to_commit());
        // The marker comes first: what is created from here on is incomplete until it is removed.
        let mark = || self.trees.mark_incomplete(&self.name);
        let start_at = |head: &Commit<'_>| -> Result<(), Error> {
            mark()?;
            repository.branch(branch, head, true).map_err(git_error())?;
            Ok(())
        };
        let resumed = match (old, head) {
            (None, Ok(head)) => {
                start_at(&head)?;
                false
            }
            (None, Err(error)) => {
                let folder = repository.workdir().unwrap_or(repository.path());
                if error.code() == ErrorCode::UnbornBranch {
                    return Err(Error::NoCommit(folder.into()));
                }
                let doing = format!("read the commit that is checked out in {}", folder.display());
                return Err(Error::git(doing)(error));
            }
            // The old branch was merged: start again from the current commit.
            (Some(old), Ok(head))
                if repository.graph_descendant_of(head.id(), old.id()).map_err(git_error())?
                    && !self.is_checked_out(repository)? =>
            {
                start_at(&head)?;
                false
            }
            (Some(old), Ok(head)) => {
                mark()?;
                head.id() != old.id()
            }
            (Some(_), Err(_)) => {
                mark()?;
                true
            }
        };
        let reference = repository.find_branch(branch, BranchType::Local).map_err(git_error())?;
        let mut options = WorktreeAddOptions::new();
        options.reference(Some(reference.get()));
        let path = self.path.display();
        repository
            .worktree(&self.name, &self.path, Some(&options))
            .map_err(Error::git(format!("create the worktree {path} on {branch}")))?;
        Ok(resumed)
    }

    /// Takes back what a creation that failed has made, its branch too if that is new.
    fn undo(&self, repository: &Repository, new_branch: bool) -> Result<(), Error> {
        if !self.is_incomplete() {
            return Ok(());
        }
        self.clean_up(repository)?;
        if new_branch
            && let Ok(mut branch) = repository.find_branch(&self.branch, BranchType::Local)
        {
            branch.delete().map_err(Error::git(format!("delete {}", self.branch)))?;
        }
        Ok(())
    }

    fn is_incomplete(&self) -> bool {
        self.trees.is_incomplete(&self.name)
    }

    /// Whether the branch is checked out somewhere, so that it must not be moved.
    fn is_checked_out(&self, repository: &Repository) -> Result<bool, Error> {
        let main = repository.commondir();
        let head = format!("ref: refs/heads/{}", self.branch);
        let mut folders = vec![main.to_path_buf()];
        for entry in entries(&main.join("worktrees"))? {
            folders.push(entry.path());
        }
        Ok(folders.iter().any(|folder| {
            fs::read_to_string(folder.join("HEAD")).is_ok_and(|text| text.trim_end() == head)
        }))
    }

    /// Cleans up after interrupted creations and removals of other worktrees: libgit2 adds no
    /// worktree while another one is incomplete.
    fn clean_up_others(&self, repository: &Repository) -> Result<(), Error> {
        for entry in entries(&self.trees.place)? {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some((name, what)) = hidden_file(&file) else { continue };
            let (incomplete, removed) = (what == "making", what.starts_with("gone-"));
            let Ok(path) = self.trees.path(name) else { continue };
            if *name == self.name || !(incomplete || removed) {
                continue;
            }
            // Whoever has reserved it cleans up itself. An error is reported to those who want that
            // worktree.
            let Some(lock) = Lock::try_acquire(&self.trees.open_place()?, lock_file(name))? else {
                continue;
            };
            if incomplete {
                let branch = self.trees.branch(name)?;
                let other = Reservation::new(self.trees.clone(), name, path, branch, lock);
                let _ = other.clean_up(repository);
            } else {
                let _ = delete(&entry.path());
            }
        }
        Ok(())
    }

    /// Removes what an interrupted creation or removal of this worktree left behind. Nobody was
    /// ever given it, so its files are worthless, except those that a person may have put there:
    /// they are moved to quarantine; their path is returned. The marker stays.
    pub(crate) fn clean_up(&self, repository: &Repository) -> Result<Option<PathBuf>, Error> {
        let registration = repository.commondir().join("worktrees").join(&self.name);
        self.check_registration(&registration)?;
        let quarantined = if self.path.symlink_metadata().is_ok() {
            self.check_no_work_by_hand()?;
            if self.is_unmodified(repository).unwrap_or(false) {
                delete(&self.path).map_err(Error::io(&self.path))?;
                None
            } else {
                Some(self.quarantine()?)
            }
        } else {
            None
        };
        delete(&registration).map_err(Error::io(&registration))?;
        // Only worktrees of this crate have branches of this kind, so the lock is stale.
        let lock = repository.commondir().join(format!("refs/heads/{}.lock", self.branch));
        match fs::remove_file(&lock) {
            Err(error) if !matches!(error.kind(), NotFound | NotADirectory) => {
                Err(Error::io(&lock)(error))
            }
            _ => Ok(quarantined),
        }
    }

    fn check_registration(&self, registration: &Path) -> Result<(), Error> {
        let link = fs::read_to_string(registration.join("gitdir")).unwrap_or_default();
        let link = link.trim_end();
        // The link may be incomplete.
        if self.path.join(".git").as_os_str().as_bytes().starts_with(link.as_bytes()) {
            return Ok(());
        }
        let why = format!("git has the worktree of that name in {link}");
        Err(Error::Mismatch { path: self.path.clone(), why })
    }

    /// Checks that nobody has switched branches or committed in an incomplete worktree.
    fn check_no_work_by_hand(&self) -> Result<(), Error> {
        let Ok(own) = Repository::open(&self.path) else { return Ok(()) };
        let other_branch =
            current_branch(&own).is_ok_and(|current| current.as_ref() != Some(&self.branch));
        // Git keeps the repositories of submodules there.
        let submodules = own.path().join("modules").exists();
        if !other_branch && !submodules && unreachable_commits(&own).unwrap_or_default().is_empty()
        {
            return Ok(());
        }
        let why = format!(
            "its creation was interrupted, and then somebody worked in it: `git branch NAME` there \
             keeps commits that no branch has, and `git switch {}` restores it",
            self.branch
        );
        Err(Error::Mismatch { path: self.path.clone(), why })
    }

    fn quarantine(&self) -> Result<PathBuf, Error> {
        let to = unused_path(&self.trees.place, &self.name, "cut-off");
        fs::rename(&self.path, &to).map_err(Error::io(&self.path))?;
        // The link would make it a second folder of the worktree that is created next.
        let link = to.join(".git");
        if link.is_file() {
            fs::remove_file(&link).map_err(Error::io(&link))?;
        }
        Ok(to)
    }

    /// Whether every file has the content of the branch, or the beginning of it.
    fn is_unmodified(&self, repository: &Repository) -> Result<bool, Box<dyn std::error::Error>> {
        let tree = repository.find_branch(&self.branch, BranchType::Local)?.get().peel_to_tree()?;
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let kind = path.symlink_metadata()?.file_type();
                let relative = path.strip_prefix(&self.path)?;
                if kind.is_dir() {
                    folders.push(path);
                    continue;
                }
                if relative == Path::new(".git") {
                    continue;
                }
                let blob = tree.get_path(relative)?.to_object(repository)?.peel_to_blob()?;
                let same = if kind.is_symlink() {
                    fs::read_link(&path)?.as_os_str().as_bytes() == blob.content()
                } else {
                    blob.content().starts_with(&fs::read(&path)?)
                };
                if !same {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
