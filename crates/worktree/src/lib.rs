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
//! let refused = trees.remove("1-greeting", false).unwrap_err().to_string();
//! assert!(refused.ends_with("would be lost:\nuntracked: hello.txt"));
//!
//! let tree = trees.take("1-greeting")?;
//! assert_eq!(tree.commit("Say hello")?.map(|commit| commit.files), Some(1));
//! drop(tree);
//! let left = trees.remove("1-greeting", false)?.state;
//! assert_eq!((left.branch.as_str(), left.ahead), ("rungs/1-greeting", 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds, and what does not
//!
//! - A [`Tree`] is its holder's alone, among threads and processes, until it is dropped.
//! - No branch is ever deleted, and nothing that somebody put into a tree is ever overwritten.
//! - Kill -9 at any moment leaves nothing that keeps a tree from being made, taken, committed or removed later.
//! - A lock file of git that is older than ten seconds, in a tree that is free, counts as left behind, and is removed. If
//!   it was somebody's after all, such as that of a `git commit` with its editor open, that commit fails and says so:
//!   what such a lock protects is made anew from the files.
//! - Everything blocks: call it from a blocking thread.
//! - Libgit2 does the work, not the program `git`: no hook runs, nothing is signed, and a change that would have to
//!   pass a program on its way into git (such as git-crypt or Git LFS) is not committed. What `git update-index --assume-unchanged` hides is hidden here too.
//! - Unix only.

mod error;
mod losses;
mod making;
#[cfg(test)]
mod tests;
mod tree;

pub use error::Error;
pub use losses::{Kind, Losses};
pub use making::Hold;
use making::turn;
pub use tree::{Commit, Tree};

use durable::Lock;
use git2::{
    Commit as GitCommit, ErrorCode, Repository, RepositoryState, Worktree, WorktreeLockStatus,
};
use std::{
    collections::BTreeSet,
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait for others, who may each fill a tree with many files.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a tree may be held by somebody who only clears up.
const MOMENT: Duration = Duration::from_secs(1);

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

    /// A name for a tree that is made of these words, and that trees with other words, or in another place, hardly have.
    pub fn name(&self, words: &str) -> String {
        let letters = words
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
        let name = letters.collect::<String>().split_whitespace().collect::<Vec<_>>().join("-");
        let name: String = name.chars().take(40).collect();
        // FNV-1a, since that of std may change with its version.
        let all = format!("{}\n{words}", self.place.display());
        let hash = all.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        format!("{}-{:06x}", name.trim_end_matches('-'), hash >> 8).trim_start_matches('-').into()
    }

    /// The tree of this name: as it was left, or new, from the commit that is checked out in the folder. Where only the
    /// branch is there, the tree is made from that.
    ///
    /// # Errors
    /// When somebody has it, when there is nothing to make it from, and when what is there is something else.
    pub fn take(&self, name: &str) -> Result<Tree, Error> {
        self.hold(name)?.take()
    }

    /// The right to the tree of this name, which need not be there yet.
    ///
    /// # Errors
    /// When somebody has it, and when there is no repository.
    pub fn hold(&self, name: &str) -> Result<Hold, Error> {
        self.repository()?;
        let path = self.path(name)?;
        durable::create_folder(&self.place)?;
        let lock = match Lock::acquire(self.place.join(format!(".{name}.lock")), MOMENT) {
            Err(durable::Error::LockTimeout { .. }) => return Err(Error::Busy(path)),
            lock => lock?,
        };
        Ok(Hold::new(self.clone(), name, path, lock))
    }

    /// How the tree of this name stands. It may be at work.
    ///
    /// # Errors
    /// When there is none, or what is there is something else.
    pub fn state(&self, name: &str) -> Result<State, Error> {
        let (path, branch) = (self.path(name)?, branch(name));
        if self.marker(name).exists() {
            return Err(Error::HalfMade(path));
        }
        let worktree = known(&self.repository()?, name)?.ok_or_else(|| none(&path))?;
        let repository = opened(&worktree, &path, &branch)?;
        let doing = || Error::git(format!("look at {branch}"));
        let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(doing())?;
        let (commit, ahead) = (
            short(&commit).map_err(doing())?,
            ahead(&repository, &commit, &branch).map_err(doing())?,
        );
        let losses = Losses::of(&repository, &path)?;
        Ok(State { path, branch, commit, ahead, losses })
    }

    /// How each tree stands, or why that can't be told.
    ///
    /// # Errors
    /// When there is no repository, and when the folder of the trees can't be read.
    pub fn list(&self) -> Result<Vec<Result<State, Error>>, Error> {
        let repository = self.repository()?;
        let place = self.place.canonicalize().unwrap_or_else(|_| self.place.clone());
        let (mut trees, mut elsewhere, mut aside) = (BTreeSet::new(), BTreeSet::new(), vec![]);
        for name in names(&repository)? {
            if let Ok(worktree) = repository.find_worktree(&name)
                && worktree.path().parent() == Some(&place)
            {
                elsewhere.insert(worktree.path().to_path_buf());
                trees.insert(name);
            }
        }
        // Git may have forgotten a tree whose files are still there, and of a half-made one it may not know yet.
        for entry in entries(&self.place)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.strip_prefix('.').and_then(|name| name.split_once('.'));
            match hidden {
                Some((name, "making")) => drop(trees.insert(name.into())),
                Some((_, what)) if what.starts_with("cut-off") => {
                    aside.push(Err(Error::SetAside(entry.path())))
                }
                None if self
                    .path(&name)
                    .is_ok_and(|path| path.is_dir() && !elsewhere.contains(&path)) =>
                {
                    trees.insert(name);
                }
                _ => {}
            }
        }
        Ok(trees.iter().map(|name| self.state(name)).chain(aside).collect())
    }

    /// Removes a tree in which nothing is left that its branch does not hold. The branch stays. What git ignores goes
    /// too, if `ignored` says so.
    ///
    /// # Errors
    /// [`Error::Dirty`] says what would be lost, and nothing is removed then.
    pub fn remove(&self, name: &str, ignored: bool) -> Result<Removed, Error> {
        let repository = self.repository()?;
        let (path, marker) = (self.path(name)?, self.marker(name));
        if known(&repository, name)?.is_none() && !marker.exists() {
            return Err(none(&path));
        }
        let hold = self.hold(name)?;
        if marker.exists() {
            let _one_at_a_time = turn(&repository)?;
            hold.clear(&repository)?;
            fs::remove_file(&marker).map_err(Error::io(&marker))?;
            return Err(none(&path));
        }
        let worktree = known(&repository, name)?.ok_or_else(|| none(&path))?;
        let locked =
            worktree.is_locked().map_err(Error::git(format!("look at {}", path.display())))?;
        if let WorktreeLockStatus::Locked(why) = locked {
            let why = format!(
                "it is locked ({}), `git worktree unlock` frees it",
                why.unwrap_or_default().trim()
            );
            return Err(Error::Unfit { path, why });
        }
        let state = self.state(name)?;
        settled(&opened(&worktree, &path, &state.branch)?, &path)?;
        if !state.losses.work.is_empty() || !(ignored || state.losses.ignored.is_empty()) {
            return Err(Error::Dirty(Box::new(state)));
        }
        let one_at_a_time = turn(&repository)?;
        // From here on it is a tree that nobody has: whoever is cut off leaves one to be made anew.
        fs::write(&marker, "").map_err(Error::io(&marker))?;
        // First out of the way, in one step, and deleted when git knows no more of it.
        let gone = unused(&self.place, name, "gone");
        if let Err(error) = fs::rename(&path, &gone) {
            fs::remove_file(&marker).map_err(Error::io(&marker))?;
            return Err(Error::io(&path)(error));
        }
        let git = repository.commondir().join("worktrees").join(name);
        delete(&git).map_err(Error::io(&git))?;
        fs::remove_file(&marker).map_err(Error::io(&marker))?;
        drop(one_at_a_time);
        let rest = delete(&gone).map_err(Error::io(&gone)).err();
        Ok(Removed { state, rest })
    }

    /// It is there while a tree is made or removed. If it is there before, somebody was killed doing that, and nobody has
    /// the tree.
    fn marker(&self, name: &str) -> PathBuf {
        self.place.join(format!(".{name}.making"))
    }

    fn repository(&self) -> Result<Repository, Error> {
        let folder = || self.folder.clone();
        let repository =
            Repository::discover(&self.folder).map_err(|error| match error.code() {
                ErrorCode::NotFound => Error::NoRepository(folder()),
                _ => Error::git(format!("open the repository of {}", folder().display()))(error),
            })?;
        if repository.workdir().is_none() { Err(Error::Bare(folder())) } else { Ok(repository) }
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let sound = name.len() <= 60
            && name.starts_with(plain)
            && name.chars().all(|c| plain(c) || c == '-');
        if !sound {
            return Err(Error::Name(name.into()));
        }
        // Git tells paths without links.
        Ok(self.place.canonicalize().unwrap_or_else(|_| self.place.clone()).join(name))
    }

    /// Where the folder is within a tree, if it is there too.
    fn within(&self, repository: &Repository, tree: &Path) -> Option<PathBuf> {
        let (folder, root) =
            (self.folder.canonicalize().ok()?, repository.workdir()?.canonicalize().ok()?);
        let within = tree.join(folder.strip_prefix(root).ok()?).canonicalize().ok()?;
        (within.starts_with(tree) && within.is_dir()).then_some(within)
    }
}

/// A tree that was removed.
#[derive(Debug)]
pub struct Removed {
    /// How it stood before.
    pub state: State,
    /// Why files of it are still there, if they are; they are in nobody's way.
    pub rest: Option<Error>,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { path, branch, commit, ahead, losses } = &self.state;
        write!(f, "removed {}; the branch {branch} stays at {commit}, ", path.display())?;
        write!(f, "commits that are on no other branch: {ahead}")?;
        if !losses.ignored.is_empty() {
            write!(f, "\nGone with it, {losses}")?;
        }
        self.rest
            .iter()
            .try_for_each(|error| write!(f, "\nNot all of its files could be deleted: {error}"))
    }
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
        write!(
            f,
            "{branch} at {commit}, commits that are on no other branch: {ahead}; in {}",
            path.display()
        )?;
        match losses.work.is_empty() && losses.ignored.is_empty() {
            true => Ok(()),
            false => write!(f, "\nin no commit of it:\n{losses}"),
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
    // Asked of the files, since libgit2 lists half-made ones that it then can't open.
    let git = repository.commondir().join("worktrees").join(name);
    match ["HEAD", "commondir", "gitdir"].iter().all(|file| git.join(file).exists()) {
        true => repository
            .find_worktree(name)
            .map(Some)
            .map_err(Error::git(format!("open the worktree {name}"))),
        false => Ok(None),
    }
}

/// Why there is no tree.
fn none(path: &Path) -> Error {
    if path.symlink_metadata().is_err() {
        return Error::NoTree(path.into());
    }
    let why =
        "it is there, but git knows no such worktree; `git worktree repair PATH` may bring it back";
    Error::Unfit { path: path.into(), why: why.into() }
}

/// What lies in a folder, if it is there.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    let all = fs::read_dir(folder).and_then(|all| all.collect::<io::Result<Vec<_>>>());
    match all {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        all => all.map_err(Error::io(folder)),
    }
}

/// A path `.NAME.WHAT-N` at which nothing is.
fn unused(place: &Path, name: &str, what: &str) -> PathBuf {
    let mut all = (1..).map(|n: u64| place.join(format!(".{name}.{what}-{n}")));
    all.find(|path| path.symlink_metadata().is_err()).expect("numbers do not end")
}

/// Deletes a folder, if it is there; folders that may not be written to, too, such as caches of build tools.
fn delete(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mut folders = vec![folder.to_path_buf()];
            while let Some(folder) = folders.pop() {
                fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
                for entry in fs::read_dir(&folder)? {
                    let entry = entry?;
                    // Of the entry itself: what a link leads to is none of our business.
                    folders.extend(entry.file_type()?.is_dir().then(|| entry.path()));
                }
            }
            fs::remove_dir_all(folder)
        }
        done => done,
    }
}

/// The repository as this worktree sees it, if the worktree is what it should be.
fn opened(worktree: &Worktree, path: &Path, branch: &str) -> Result<Repository, Error> {
    let unfit = |why| Err(Error::Unfit { path: path.into(), why });
    if worktree.path() != path {
        return unfit(format!(
            "git knows the worktree of that name in {}",
            worktree.path().display()
        ));
    }
    if worktree.validate().is_err() {
        return unfit(
            "the folder is gone, but git still knows the worktree; `git worktree prune` lets it forget".into(),
        );
    }
    if path.join(".git").symlink_metadata().is_err() {
        return unfit("its file `.git` is gone; `git worktree repair` writes it again".into());
    }
    open(path, branch)
}

fn open(path: &Path, branch: &str) -> Result<Repository, Error> {
    let doing = || Error::git(format!("open {}", path.display()));
    let repository = Repository::open(path).map_err(doing())?;
    let unfit = |why| Err(Error::Unfit { path: path.into(), why });
    match on(&repository).map_err(doing())? {
        Some(on) if on == branch => {}
        Some(on) => {
            return unfit(format!(
                "it is on {on}, not on {branch}; `git switch {branch}` there brings it back"
            ));
        }
        None => {
            return unfit(format!(
                "it is on no branch, not on {branch}; `git branch NAME` there keeps the commits that were made so, and \
                 `git switch {branch}` then brings it back"
            ));
        }
    }
    if repository.find_reference(&format!("refs/heads/{branch}")).is_ok() {
        return Ok(repository);
    }
    let log = repository.reflog("HEAD").ok();
    let newest = log.and_then(|log| log.get(0).map(|entry| entry.id_new().to_string()));
    let newest =
        newest.map_or_else(|| "COMMIT".into(), |id| id.chars().take(12).collect::<String>());
    unfit(format!("its branch {branch} is gone; `git branch {branch} {newest}` brings it back"))
}

/// The branch that is checked out, whether it has a commit or not.
fn on(repository: &Repository) -> Result<Option<String>, git2::Error> {
    let head = repository.find_reference("HEAD")?;
    Ok(head.symbolic_target()?.and_then(|head| head.strip_prefix("refs/heads/")).map(String::from))
}

/// Nothing is in the middle of being done. A commit now would mark conflicts as solved, or forget a merge's other parent.
fn settled(repository: &Repository, path: &Path) -> Result<(), Error> {
    let looking = || Error::git(format!("look at the index of {}", path.display()));
    let index = repository.index().map_err(looking())?;
    let conflicts: Result<Vec<_>, _> = index.conflicts().map_err(looking())?.collect();
    let of_one =
        |conflict: git2::IndexConflict| conflict.our.or(conflict.their).or(conflict.ancestor);
    let conflicts: Vec<PathBuf> = conflicts
        .map_err(looking())?
        .into_iter()
        .filter_map(of_one)
        .map(|entry| losses::file(&entry.path))
        .collect();
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
fn ahead(
    repository: &Repository,
    commit: &GitCommit<'_>,
    branch: &str,
) -> Result<usize, git2::Error> {
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
