use crate::{Error, State, Trees, losses::file, making::Hold, open, settled, short};
use git2::{
    AttrCheckFlags, BranchType, ErrorCode, IndexAddOption, Repository, Signature, Status,
    StatusOptions,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Who commits where git knows nobody.
const NAME: (&str, &str) = ("Rungs", "rungs@localhost");

/// From which age on a lock file of git counts as left behind.
const STALE: Duration = Duration::from_secs(10);

/// A tree, and the right to work in it.
#[derive(Debug)]
pub struct Tree {
    pub(crate) hold: Hold,
    pub(crate) folder: PathBuf,
    pub(crate) resumed: Option<String>,
    pub(crate) aside: Option<PathBuf>,
}

impl Tree {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.hold.path
    }

    /// Where to work: in the folder that these are the trees of, as it is in this tree.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The branch that it is on.
    pub fn branch(&self) -> &str {
        &self.hold.branch
    }

    /// The commit from which it goes on, if somebody had it before, or its branch has commits that the folder lacks.
    pub fn resumed(&self) -> Option<&str> {
        self.resumed.as_deref()
    }

    /// Where the files are that somebody put into this tree while it was half made.
    pub fn set_aside(&self) -> Option<&Path> {
        self.aside.as_deref()
    }

    fn trees(&self) -> &Trees {
        &self.hold.trees
    }

    /// How it stands.
    ///
    /// # Errors
    /// As for [`Trees::state`].
    pub fn state(&self) -> Result<State, Error> {
        self.trees().state(&self.hold.name)
    }

    /// Those of these branches that are there, and have commits that the tree's branch lacks.
    ///
    /// # Errors
    /// When the tree is not on its branch any more.
    pub fn lacks(&self, branches: Vec<String>) -> Result<Vec<String>, Error> {
        let repository = open(self.path(), self.branch())?;
        let lacks = |branch: &String| -> Result<bool, git2::Error> {
            let Ok(other) = repository.find_branch(branch, BranchType::Local) else {
                return Ok(false);
            };
            let (other, own) =
                (other.get().peel_to_commit()?.id(), repository.head()?.peel_to_commit()?.id());
            Ok(other != own && !repository.graph_descendant_of(own, other)?)
        };
        Ok(branches.into_iter().filter(|branch| lacks(branch).unwrap_or(false)).collect())
    }

    /// Commits all that is not ignored, deletions too, to the tree's branch; `None` when nothing has changed. Repositories
    /// that lie in the tree are left alone: a commit could not hold them.
    ///
    /// # Errors
    /// When the tree is on another branch by now, in the middle of a merge or the like, or when a changed file would have to
    /// pass a program. It stays as it is then.
    pub fn commit(&self, message: &str) -> Result<Option<Commit>, Error> {
        let repository = open(self.path(), self.branch())?;
        settled(&repository, self.path())?;
        free(&repository, self.branch())?;
        let filtered = filtered(&repository)
            .map_err(Error::git(format!("look at {}", self.path().display())))?;
        if let Some((file, filter)) = filtered {
            return Err(Error::Filtered { path: self.path().into(), file, filter });
        }
        self.commit_all(&repository, message).map_err(|error| match error.code() {
            ErrorCode::Locked => Error::Locked(repository.path().join("index.lock")),
            _ => Error::git(format!("commit to {}", self.branch()))(error),
        })
    }

    fn commit_all(
        &self,
        repository: &Repository,
        message: &str,
    ) -> Result<Option<Commit>, git2::Error> {
        let mut index = repository.index()?;
        let mut passes =
            |path: &Path, _: &[u8]| i32::from(self.path().join(path).join(".git").exists());
        index.add_all(["*"], IndexAddOption::DEFAULT, Some(&mut passes))?;
        index.write()?;
        let tree = repository.find_tree(index.write_tree()?)?;
        let parent = repository.head()?.peel_to_commit()?;
        if tree.id() == parent.tree_id() {
            return Ok(None);
        }
        // As git does, the environment first.
        let author = repository.author_from_env().or_else(|_| Signature::now(NAME.0, NAME.1))?;
        let committer =
            repository.committer_from_env().or_else(|_| Signature::now(NAME.0, NAME.1))?;
        let message = git2::message_prettify(message, None)?;
        let id =
            repository.commit(Some("HEAD"), &author, &committer, &message, &tree, &[&parent])?;
        let files =
            repository.diff_tree_to_tree(Some(&parent.tree()?), Some(&tree), None)?.deltas().len();
        Ok(Some(Commit { id: short(&repository.find_commit(id)?)?, files }))
    }
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its short id.
    pub id: String,
    /// How many files it changes.
    pub files: usize,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "committed as {}, files changed: {}", self.id, self.files)
    }
}

/// A changed file that a program must change on its way into git, and that program's filter. Libgit2 does not run it, and
/// would commit what git-crypt keeps secret, or what Git LFS keeps elsewhere, as it is.
fn filtered(repository: &Repository) -> Result<Option<(PathBuf, String)>, git2::Error> {
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).exclude_submodules(true);
    let config = repository.config()?;
    let program = |filter: &str| {
        ["clean", "process"]
            .iter()
            .any(|kind| config.get_entry(&format!("filter.{filter}.{kind}")).is_ok())
    };
    for entry in repository.statuses(Some(&mut options))?.iter() {
        let path = file(entry.path_bytes());
        let there =
            Status::WT_NEW | Status::WT_MODIFIED | Status::WT_TYPECHANGE | Status::WT_RENAMED;
        if entry.status().intersects(there)
            && let Some(filter) =
                repository.get_attr(&path, "filter", AttrCheckFlags::FILE_THEN_INDEX)?
            && program(filter)
        {
            return Ok(Some((path, filter.into())));
        }
    }
    Ok(None)
}

/// Removes lock files that were left behind, by this program or by a git that was killed, and waits for fresh ones. The
/// tree is held, so nothing here is at work in it. A person may be: their git keeps a lock for an instant, or while an
/// editor is open; in that case it fails later, and says so, and nothing is lost, since the files are what counts.
pub(crate) fn free(repository: &Repository, branch: &str) -> Result<(), Error> {
    let own = ["index.lock", "HEAD.lock"].map(|lock| repository.path().join(lock));
    let start = Instant::now();
    for lock in
        own.into_iter().chain([repository.commondir().join(format!("refs/heads/{branch}.lock"))])
    {
        while let Ok(there) = fs::metadata(&lock) {
            let age =
                there.modified().ok().and_then(|made| made.elapsed().ok()).unwrap_or_default();
            if age >= STALE {
                // Whoever else removes it at this moment is welcome.
                let _ = fs::remove_file(&lock);
            }
            if start.elapsed() > 2 * STALE {
                return Err(Error::Locked(lock));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
