//! Git worktrees, each on a branch of its own, that are never removed with work in them.
//!
//! A worktree is a second folder of files of one repository, with a branch, an index and a `HEAD` of its own: whoever
//! works in it is in nobody's way. Here a tree has a name, lies in a folder of that name and is on the branch
//! `rungs/NAME`. It can be left at any time, by a crash too, and be taken up again.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let repository = git2::Repository::init(dir.path())?;
//! # let tree = repository.find_tree(repository.index()?.write_tree()?)?;
//! # let who = git2::Signature::now("Who", "who@localhost")?;
//! # repository.commit(Some("HEAD"), &who, &who, "Start", &tree, &[])?;
//! # let folder = dir.path();
//! use rungs_worktree::Trees;
//!
//! let trees = Trees::new(folder, folder.join(".trees"));
//! let tree = trees.take("1-greeting")?;
//! std::fs::write(tree.path().join("hello.txt"), "hello\n")?;
//! drop(tree);
//! assert!(trees.remove("1-greeting").unwrap_err().to_string().ends_with("would be lost:\nuntracked: hello.txt"));
//!
//! let tree = trees.take("1-greeting")?;
//! assert_eq!(tree.commit("Say hello")?.map(|commit| commit.files), Some(1));
//! drop(tree);
//! let left = trees.remove("1-greeting")?;
//! assert_eq!((left.branch.as_str(), left.ahead), ("rungs/1-greeting", 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds, and what does not
//!
//! - A [`Tree`] is its holder's alone, among threads and processes, until it is dropped.
//! - No branch is ever deleted, and nothing is overwritten in a tree that somebody has had.
//! - Everything blocks: call it from a blocking thread.
//! - Libgit2 does the work, not the program `git`: no hook runs, nothing is signed, and filters that are programs (such
//!   as Git LFS) are passed over. What `git update-index --assume-unchanged` hides is hidden here too.
//! - Unix only.
mod error;
mod losses;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use losses::{Kind, Losses};

use durable::Lock;
use git2::{
    BranchType, Commit as GitCommit, ErrorCode, IndexAddOption, Repository, RepositoryState, Signature, Worktree,
    WorktreeAddOptions, WorktreeLockStatus, build::CheckoutBuilder,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Who commits where git knows nobody.
const NAME: (&str, &str) = ("Rungs", "rungs@localhost");

/// How long to wait for others, who may each fill a tree with many files.
const PATIENCE: Duration = Duration::from_secs(600);

/// The trees of a repository.
#[derive(Debug, Clone)]
pub struct Trees {
    folder: PathBuf,
    place: PathBuf,
}

impl Trees {
    /// The trees of the repository that `folder` is in, which lie below `place`. Neither is touched yet.
    pub fn new(folder: impl Into<PathBuf>, place: impl Into<PathBuf>) -> Trees {
        Trees { folder: folder.into(), place: place.into() }
    }

    /// The tree of this name: as it was left, or new, from the commit that is checked out in the folder. Where only the
    /// branch is there, the tree is made from that.
    ///
    /// # Errors
    /// When somebody has it, when there is nothing to make it from, and when what is there is something else.
    pub fn take(&self, name: &str) -> Result<Tree, Error> {
        let repository = self.repository()?;
        let lock = self.lock(name)?;
        let (path, branch) = (self.path(name)?, branch(name));
        // It is there while the tree is made. If it is there before, whoever made the tree was killed, and nobody has had
        // it: what is in it is no work, and what is missing was not deleted.
        let making = self.place.join(format!(".{name}.making"));
        let resumed = match known(&repository, name)? {
            Some(worktree) => {
                let tree = opened(&worktree, &path, &branch)?;
                if making.exists() {
                    let whole = tree.checkout_head(Some(CheckoutBuilder::new().force()));
                    whole.map_err(Error::git(format!("fill {}", path.display())))?;
                }
                true
            }
            None => make(&repository, name, &path, &making)?,
        };
        if making.exists() {
            fs::remove_file(&making).map_err(Error::io(&making))?;
        }
        let folder = self.within(&repository, &path).unwrap_or_else(|| path.clone());
        Ok(Tree { trees: self.clone(), name: name.into(), path, folder, branch, resumed, _lock: lock })
    }

    /// How the tree of this name stands. It may be at work.
    ///
    /// # Errors
    /// When there is none, or what is there is something else.
    pub fn state(&self, name: &str) -> Result<State, Error> {
        let (path, branch) = (self.path(name)?, branch(name));
        let worktree = known(&self.repository()?, name)?.ok_or_else(|| Error::NoTree(path.clone()))?;
        let repository = opened(&worktree, &path, &branch)?;
        let doing = || Error::git(format!("look at {branch}"));
        let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(doing())?;
        let (commit, ahead) =
            (short(&commit).map_err(doing())?, ahead(&repository, &commit, &branch).map_err(doing())?);
        let losses = Losses::of(&repository, &path)?;
        Ok(State { path, branch, commit, ahead, losses })
    }

    /// How each tree stands, or why that can't be told.
    ///
    /// # Errors
    /// When there is no repository.
    pub fn list(&self) -> Result<Vec<Result<State, Error>>, Error> {
        let repository = self.repository()?;
        let place = self.place.canonicalize().unwrap_or_else(|_| self.place.clone());
        let here = |name: &String| {
            repository.find_worktree(name).is_ok_and(|worktree| worktree.path().parent() == Some(&place))
        };
        Ok(names(&repository)?.iter().filter(|name| here(name)).map(|name| self.state(name)).collect())
    }

    /// Removes a tree in which nothing is left that its branch does not hold. The branch stays; what git ignores goes.
    ///
    /// # Errors
    /// [`Error::Dirty`] says what would be lost, and nothing is removed then.
    pub fn remove(&self, name: &str) -> Result<State, Error> {
        let repository = self.repository()?;
        let path = self.path(name)?;
        let Some(worktree) = known(&repository, name)? else { return Err(Error::NoTree(path)) };
        let _lock = self.lock(name)?;
        let locked = worktree.is_locked().map_err(Error::git(format!("look at {}", path.display())))?;
        if let WorktreeLockStatus::Locked(why) = locked {
            let why = format!("it is locked ({}), `git worktree unlock` frees it", why.unwrap_or_default().trim());
            return Err(Error::Unfit { path, why });
        }
        let state = self.state(name)?;
        settled(&opened(&worktree, &path, &state.branch)?, &path)?;
        if !state.losses.work.is_empty() {
            return Err(Error::Dirty(Box::new(state)));
        }
        // First out of the way, in one step: a tree that is half gone would look like one with deleted files.
        let gone = self.place.join(format!(".{name}.gone"));
        let delete = |gone: &Path| if gone.exists() { fs::remove_dir_all(gone) } else { Ok(()) };
        delete(&gone).map_err(Error::io(&gone))?;
        fs::rename(&path, &gone).map_err(Error::io(&path))?;
        let one_at_a_time = turn(&repository)?;
        worktree.prune(None).map_err(Error::git(format!("let git forget {}", path.display())))?;
        drop(one_at_a_time);
        delete(&gone).map_err(Error::io(&gone))?;
        Ok(state)
    }

    fn repository(&self) -> Result<Repository, Error> {
        let folder = || self.folder.clone();
        let repository = Repository::discover(&self.folder).map_err(|error| match error.code() {
            ErrorCode::NotFound => Error::NoRepository(folder()),
            _ => Error::git(format!("open the repository of {}", folder().display()))(error),
        })?;
        if repository.workdir().is_none() { Err(Error::Bare(folder())) } else { Ok(repository) }
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let sound = name.len() <= 60 && name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-');
        if !sound {
            return Err(Error::Name(name.into()));
        }
        // Git tells paths without links.
        Ok(self.place.canonicalize().unwrap_or_else(|_| self.place.clone()).join(name))
    }

    /// The right to a tree. It frees itself when its holder dies.
    fn lock(&self, name: &str) -> Result<Lock, Error> {
        let path = self.path(name)?;
        durable::create_folder(&self.place)?;
        Lock::try_acquire(self.place.join(format!(".{name}.lock")))?.ok_or(Error::Busy(path))
    }

    /// Where the folder is within a tree, if it is there too.
    fn within(&self, repository: &Repository, tree: &Path) -> Option<PathBuf> {
        let (folder, root) = (self.folder.canonicalize().ok()?, repository.workdir()?.canonicalize().ok()?);
        let within = tree.join(folder.strip_prefix(root).ok()?).canonicalize().ok()?;
        (within.starts_with(tree) && within.is_dir()).then_some(within)
    }
}

/// A tree, and the right to work in it.
#[derive(Debug)]
pub struct Tree {
    trees: Trees,
    name: String,
    path: PathBuf,
    folder: PathBuf,
    branch: String,
    resumed: bool,
    _lock: Lock,
}

impl Tree {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where to work: in the folder that these are the trees of, as it is in this tree.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The branch that it is on.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Whether it, or its branch, was there before.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// How it stands.
    ///
    /// # Errors
    /// As for [`Trees::state`].
    pub fn state(&self) -> Result<State, Error> {
        self.trees.state(&self.name)
    }

    /// Commits all that is not ignored, deletions too, to the tree's branch; `None` when nothing has changed. Repositories
    /// that lie in the tree are left alone: a commit could not hold them.
    ///
    /// # Errors
    /// When the tree is on another branch by now, or in the middle of a merge or the like. It stays as it is then.
    pub fn commit(&self, message: &str) -> Result<Option<Commit>, Error> {
        let repository = open(&self.path, &self.branch)?;
        settled(&repository, &self.path)?;
        self.commit_all(&repository, message).map_err(Error::git(format!("commit to {}", self.branch)))
    }

    fn commit_all(&self, repository: &Repository, message: &str) -> Result<Option<Commit>, git2::Error> {
        let mut index = repository.index()?;
        let mut passes = |path: &Path, _: &[u8]| i32::from(self.path.join(path).join(".git").exists());
        index.add_all(["*"], IndexAddOption::DEFAULT, Some(&mut passes))?;
        index.write()?;
        let tree = repository.find_tree(index.write_tree()?)?;
        let parent = repository.head()?.peel_to_commit()?;
        if tree.id() == parent.tree_id() {
            return Ok(None);
        }
        let who = repository.signature().or_else(|_| Signature::now(NAME.0, NAME.1))?;
        let message = git2::message_prettify(message, None)?;
        let id = repository.commit(Some("HEAD"), &who, &who, &message, &tree, &[&parent])?;
        let files = repository.diff_tree_to_tree(Some(&parent.tree()?), Some(&tree), None)?.deltas().len();
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

/// How a tree stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it lies.
    pub path: PathBuf,
    /// Its branch.
    pub branch: String,
    /// The short id of the branch's newest commit.
    pub commit: String,
    /// How many of the branch's commits are on no other branch.
    pub ahead: usize,
    /// What no commit holds.
    pub losses: Losses,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { path, branch, commit, ahead, losses } = self;
        write!(f, "{branch} at {commit}, commits that are on no other branch: {ahead}; in {}", path.display())?;
        match losses.work.is_empty() {
            true => Ok(()),
            false => write!(f, "\nnot committed:\n{losses}"),
        }
    }
}

/// The branch of the tree of this name.
pub fn branch(name: &str) -> String {
    format!("rungs/{name}")
}

fn names(repository: &Repository) -> Result<Vec<String>, Error> {
    let names = repository.worktrees().map_err(Error::git("list the worktrees"))?;
    let mut names: Vec<String> = names.iter().flatten().flatten().map(String::from).collect();
    names.sort();
    Ok(names)
}

/// The worktree of this name, if git knows one.
fn known(repository: &Repository, name: &str) -> Result<Option<Worktree>, Error> {
    match names(repository)?.iter().any(|known| known == name) {
        true => repository.find_worktree(name).map(Some).map_err(Error::git(format!("open the worktree {name}"))),
        false => Ok(None),
    }
}

/// Makes a tree; tells whether its branch was there before. If only a part of it could be made, `making` stays.
fn make(repository: &Repository, name: &str, path: &Path, making: &Path) -> Result<bool, Error> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::Unfit { path: path.into(), why: "it is there, but git knows no such worktree".into() });
    }
    let branch = &branch(name);
    let doing = || Error::git(format!("make the branch {branch}"));
    let (made, resumed) = match repository.find_branch(branch, BranchType::Local) {
        Ok(there) => (there, true),
        Err(error) if error.code() == ErrorCode::NotFound => {
            let head =
                repository.head().and_then(|head| head.peel_to_commit()).map_err(|error| match error.code() {
                    ErrorCode::UnbornBranch => {
                        Error::NoCommit(repository.workdir().unwrap_or(repository.path()).into())
                    }
                    _ => doing()(error),
                })?;
            (repository.branch(branch, &head, false).map_err(doing())?, false)
        }
        Err(error) => return Err(doing()(error)),
    };
    let _one_at_a_time = turn(repository)?;
    fs::write(making, "").map_err(Error::io(making))?;
    let mut options = WorktreeAddOptions::new();
    let added = repository.worktree(name, path, Some(options.reference(Some(made.get()))));
    if added.is_err() && !path.exists() {
        fs::remove_file(making).map_err(Error::io(making))?;
    }
    added.map_err(Error::git(format!("make the worktree {} on {branch}", path.display())))?;
    Ok(resumed)
}

/// Libgit2 looks at all worktrees before it adds one, and fails when another is half made or half gone.
fn turn(repository: &Repository) -> Result<Lock, Error> {
    Ok(Lock::acquire(repository.commondir().join("rungs-worktrees.lock"), PATIENCE)?)
}

/// The repository as this worktree sees it, if the worktree is what it should be.
fn opened(worktree: &Worktree, path: &Path, branch: &str) -> Result<Repository, Error> {
    let unfit = |why| Err(Error::Unfit { path: path.into(), why });
    if worktree.path() != path {
        return unfit(format!("git knows the worktree of that name in {}", worktree.path().display()));
    }
    if worktree.validate().is_err() {
        return unfit(
            "the folder is gone, but git still knows the worktree; `git worktree prune` lets it forget".into(),
        );
    }
    open(path, branch)
}

fn open(path: &Path, branch: &str) -> Result<Repository, Error> {
    let doing = || Error::git(format!("open {}", path.display()));
    let repository = Repository::open(path).map_err(doing())?;
    let head = repository.find_reference("HEAD").map_err(doing())?.symbolic_target().ok().flatten().map(String::from);
    let on = head.as_deref().and_then(|head| head.strip_prefix("refs/heads/"));
    if on == Some(branch) {
        return Ok(repository);
    }
    let on = on.unwrap_or("no branch");
    let why = format!("it is on {on}, not on {branch}; `git switch {branch}` there brings it back");
    Err(Error::Unfit { path: path.into(), why })
}

/// Nothing is in the middle of being done. A commit now would mark conflicts as solved, or forget a merge's other parent.
fn settled(repository: &Repository, path: &Path) -> Result<(), Error> {
    let looking = || Error::git(format!("look at the index of {}", path.display()));
    let index = repository.index().map_err(looking())?;
    let conflicts: Result<Vec<_>, _> = index.conflicts().map_err(looking())?.collect();
    let of_one = |conflict: git2::IndexConflict| conflict.our.or(conflict.their).or(conflict.ancestor);
    let conflicts: Vec<PathBuf> =
        conflicts.map_err(looking())?.into_iter().filter_map(of_one).map(|entry| losses::file(&entry.path)).collect();
    let doing = match repository.state() {
        RepositoryState::Clean if conflicts.is_empty() => return Ok(()),
        RepositoryState::Clean => "solving conflicts".into(),
        state => format!("{state:?}").to_lowercase(),
    };
    Err(Error::Unfinished { path: path.into(), doing, conflicts })
}

fn short(commit: &GitCommit<'_>) -> Result<String, git2::Error> {
    Ok(String::from_utf8_lossy(&commit.as_object().short_id()?).into_owned())
}

/// How many commits would be on no branch at all without this one.
fn ahead(repository: &Repository, commit: &GitCommit<'_>, branch: &str) -> Result<usize, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.push(commit.id())?;
    let own = format!("refs/heads/{branch}");
    for other in repository.branches(None)? {
        let other = other?.0.into_reference();
        // Those that only stand for another, such as origin/HEAD, have none.
        if let Some(newest) = other.target().filter(|_| other.name_bytes() != own.as_bytes()) {
            walk.hide(newest)?;
        }
    }
    Ok(walk.count())
}
