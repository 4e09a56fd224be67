//! How a tree comes to be, and what becomes of one whose making was cut off.
use crate::{
    Error, PATIENCE, Tree, Trees, ahead, delete, entries, known, losses::stray, none, on, opened,
    short, tree::free, unused,
};
use durable::Lock;
use git2::{BranchType, Commit, ErrorCode, Repository, WorktreeAddOptions};
use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The right to a tree, which need not be there yet. It frees itself when its holder dies.
#[derive(Debug)]
pub struct Hold {
    pub(crate) trees: Trees,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) branch: String,
    _lock: Lock,
}

impl Hold {
    pub(crate) fn new(trees: Trees, name: &str, path: PathBuf, lock: Lock) -> Hold {
        Hold { trees, name: name.into(), path, branch: crate::branch(name), _lock: lock }
    }

    /// The branch that its tree is on, or will be.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Whether there is a tree or a branch of this name already, which somebody may have worked on.
    ///
    /// # Errors
    /// When git can't be asked.
    pub fn used(&self) -> Result<bool, Error> {
        let repository = self.trees.repository()?;
        let doing = || Error::git(format!("look at {}", self.branch));
        let Some(commit) = tip(&repository, &self.branch).map_err(doing())? else {
            return Ok(!self.marker().exists() && self.path.symlink_metadata().is_ok());
        };
        // A making that was cut off leaves a branch that has nothing of its own.
        Ok(!self.marker().exists()
            || ahead(&repository, &commit, &self.branch).map_err(doing())? > 0)
    }

    /// The tree: as it was left, or new.
    ///
    /// # Errors
    /// As for [`Trees::take`].
    pub fn take(self) -> Result<Tree, Error> {
        let repository = self.trees.repository()?;
        let worktree = if self.marker().exists() { None } else { known(&repository, &self.name)? };
        let (resumed, aside) = match worktree {
            Some(worktree) => {
                free(&opened(&worktree, &self.path, &self.branch)?, &self.branch)?;
                (true, None)
            }
            None => self.make(&repository)?,
        };
        let tip = || tip(&repository, &self.branch)?.as_ref().map(short).transpose();
        let tip = tip().map_err(Error::git(format!("look at {}", self.branch)))?;
        let resumed = tip.filter(|_| resumed);
        let folder =
            self.trees.within(&repository, &self.path).unwrap_or_else(|| self.path.clone());
        Ok(Tree { hold: self, folder, resumed, aside })
    }

    fn marker(&self) -> PathBuf {
        self.trees.marker(&self.name)
    }

    /// Makes the tree; tells whether its branch has commits that the folder lacks, and what was set aside.
    fn make(&self, repository: &Repository) -> Result<(bool, Option<PathBuf>), Error> {
        let (marker, branch) = (self.marker(), &self.branch);
        let doing = || Error::git(format!("make the branch {branch}"));
        let _one_at_a_time = turn(repository)?;
        self.sweep(repository)?;
        let aside = if marker.exists() { self.clear(repository)? } else { None };
        if self.path.symlink_metadata().is_ok() {
            return Err(none(&self.path));
        }
        let head = repository.head().and_then(|head| head.peel_to_commit());
        let old = tip(repository, branch).map_err(doing())?;
        // Before all else: what comes to be from here on is nobody's until this is gone again.
        let mark = || fs::write(&marker, "").map_err(Error::io(&marker));
        let begin = |head: &Commit<'_>| {
            mark()?;
            repository.branch(branch, head, true).map(drop).map_err(doing())
        };
        let resumed = match (&old, &head) {
            (None, Ok(head)) => begin(head).map(|()| false)?,
            (None, Err(error)) if error.code() == ErrorCode::UnbornBranch => {
                return Err(Error::NoCommit(
                    repository.workdir().unwrap_or(repository.path()).into(),
                ));
            }
            // All that is on it has come into the folder's branch: it begins again from there.
            (Some(old), Ok(head))
                if repository.graph_descendant_of(head.id(), old.id()).map_err(doing())?
                    && !self.elsewhere(repository)? =>
            {
                begin(head).map(|()| false)?
            }
            (Some(old), head) => {
                mark()?;
                head.as_ref().map_or(true, |head| head.id() != old.id())
            }
            (None, Err(_)) => return Err(head.map_err(doing()).map(drop).unwrap_err()),
        };
        let made = repository.find_branch(branch, BranchType::Local).map_err(doing())?;
        let mut options = WorktreeAddOptions::new();
        let added =
            repository.worktree(&self.name, &self.path, Some(options.reference(Some(made.get()))));
        if added.is_ok() || (old.is_some() && self.path.symlink_metadata().is_err()) {
            fs::remove_file(&marker).map_err(Error::io(&marker))?;
        }
        added.map_err(Error::git(format!(
            "make the worktree {} on {branch}",
            self.path.display()
        )))?;
        Ok((resumed, aside))
    }

    /// Whether the branch is checked out somewhere, so that it must not move.
    fn elsewhere(&self, repository: &Repository) -> Result<bool, Error> {
        let (main, on) = (repository.commondir(), format!("ref: refs/heads/{}", self.branch));
        let trees = entries(&main.join("worktrees"))?.into_iter().map(|entry| entry.path());
        let mut all = trees.chain([main.to_path_buf()]);
        Ok(all.any(|folder| {
            fs::read_to_string(folder.join("HEAD")).is_ok_and(|head| head.trim_end() == on)
        }))
    }

    /// Clears what others that were cut off have left: with a half-made tree around, libgit2 adds no worktree.
    fn sweep(&self, repository: &Repository) -> Result<(), Error> {
        for entry in entries(&self.trees.place)? {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some((name, what)) = file.strip_prefix('.').and_then(|file| file.split_once('.'))
            else {
                continue;
            };
            let (making, gone) = (what == "making", what.starts_with("gone-"));
            let Ok(path) = self.trees.path(name) else { continue };
            if *name == self.name || !(making || gone) {
                continue;
            }
            // Where somebody holds it, somebody is about to clear it. What can't be cleared is told to whoever wants it.
            if let Some(lock) = Lock::try_acquire(self.trees.place.join(format!(".{name}.lock")))? {
                let hold = Hold::new(self.trees.clone(), name, path, lock);
                let _ = if making {
                    hold.clear(repository).map(drop)
                } else {
                    delete(&entry.path()).map_err(Error::io(entry.path()))
                };
            }
        }
        Ok(())
    }

    /// Clears what a making of this tree that was cut off has left. Nobody was ever given it, and this is its holder; so
    /// all is rubbish but what a person may have put there, which is set aside. The marker stays.
    pub(crate) fn clear(&self, repository: &Repository) -> Result<Option<PathBuf>, Error> {
        let unfit = |why| Err(Error::Unfit { path: self.path.clone(), why });
        let git = repository.commondir().join("worktrees").join(&self.name);
        let link = fs::read_to_string(git.join("gitdir")).unwrap_or_default();
        if !self.path.join(".git").as_os_str().as_bytes().starts_with(link.trim_end().as_bytes()) {
            return unfit(format!("git knows the worktree of that name in {}", link.trim_end()));
        }
        let mut aside = None;
        if self.path.symlink_metadata().is_ok() {
            let half = Repository::open(&self.path);
            if let Ok(half) = &half
                && (on(half).is_ok_and(|on| on.as_ref() != Some(&self.branch))
                    || !stray(half).unwrap_or_default().is_empty())
            {
                return unfit(format!(
                    "its making was cut off, and then somebody worked in it: `git branch NAME` there keeps commits that \
                     no branch has, and `git switch {}` brings it back",
                    self.branch
                ));
            }
            if self.untouched(repository).unwrap_or(false) {
                delete(&self.path).map_err(Error::io(&self.path))?;
            } else {
                let to = unused(&self.trees.place, &self.name, "cut-off");
                fs::rename(&self.path, &to).map_err(Error::io(&self.path))?;
                // It would lead to the tree that is made next.
                let link = to.join(".git");
                if link.is_file() {
                    fs::remove_file(&link).map_err(Error::io(&link))?;
                }
                aside = Some(to);
            }
        }
        delete(&git).map_err(Error::io(&git))?;
        // Only trees have branches of this kind, so its lock is nobody's either.
        let lock = repository.commondir().join(format!("refs/heads/{}.lock", self.branch));
        match fs::remove_file(&lock) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&lock)(error)),
            _ => Ok(aside),
        }
    }

    /// Whether all files are as the branch has them, or the beginning of that.
    fn untouched(&self, repository: &Repository) -> Result<bool, Box<dyn std::error::Error>> {
        let tree = repository.find_branch(&self.branch, BranchType::Local)?.get().peel_to_tree()?;
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let (kind, within) =
                    (path.symlink_metadata()?.file_type(), path.strip_prefix(&self.path)?);
                if kind.is_dir() {
                    folders.push(path);
                    continue;
                }
                if within == Path::new(".git") {
                    continue;
                }
                let blob = tree.get_path(within)?.to_object(repository)?.peel_to_blob()?;
                let same = match kind.is_symlink() {
                    true => fs::read_link(&path)?.as_os_str().as_bytes() == blob.content(),
                    false => blob.content().starts_with(&fs::read(&path)?),
                };
                if !same {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// The newest commit of a branch, if it is there.
fn tip<'a>(repository: &'a Repository, branch: &str) -> Result<Option<Commit<'a>>, git2::Error> {
    match repository.find_branch(branch, BranchType::Local) {
        Ok(there) => there.get().peel_to_commit().map(Some),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Libgit2 looks at all worktrees before it adds one, and fails when another is half made or half gone.
pub(crate) fn turn(repository: &Repository) -> Result<Lock, Error> {
    Ok(Lock::acquire(repository.commondir().join("rungs-worktrees.lock"), PATIENCE)?)
}
