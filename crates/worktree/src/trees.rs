use crate::{
    Error, Losses, Removed, Reservation, State, Tree,
    files::{delete, entries, unused_path},
    repository::{
        branch_in_the_way, check_no_operation, commits_ahead, find_registered, lock_changes,
        not_a_worktree, open_registered, short_id, tip, worktree_names,
    },
};
use durable::{Folder, Lock};
use git2::{ErrorCode, Repository, WorktreeLockStatus};
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait for a worktree that is held only to clean up after an interrupted process.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest name of a worktree, in bytes.
const MAX_NAME_BYTES: usize = 60;

/// How many beginnings of a branch's name are tried.
const MAX_PREFIXES: usize = 20;

/// How many names are tried where words have been used before.
const MAX_NAMES: usize = 20;

/// The longest part of a derived name that is readable, in bytes; a hash follows it.
const MAX_WORDS_BYTES: usize = 40;

/// The worktrees of a repository that lie in one folder.
#[derive(Debug, Clone)]
pub struct Trees {
    folder: PathBuf,
    pub(crate) place: PathBuf,
}

impl Trees {
    /// The worktrees in `place` of the repository that contains `folder`. Reads and writes nothing.
    pub fn new(folder: impl Into<PathBuf>, place: impl Into<PathBuf>) -> Trees {
        Trees { folder: folder.into(), place: place.into() }
    }

    /// A valid name for a worktree, derived from `words`. A hash makes names for other words and
    /// for another place differ. Reads and writes nothing.
    pub fn name(&self, words: &str) -> String {
        let letters = words
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
        let name = letters.collect::<String>().split_whitespace().collect::<Vec<_>>().join("-");
        let name: String = name.chars().take(MAX_WORDS_BYTES).collect();
        // FNV-1a: the names must stay the same, and the hash function of std can change.
        let all = format!("{}\n{words}", self.place.display());
        let hash = all.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        format!("{}-{:06x}", name.trim_end_matches('-'), hash >> 8).trim_start_matches('-').into()
    }

    /// The names for `words`: the one of [`name`](Trees::name), and others for when it is taken.
    fn names(&self, words: &str) -> Vec<String> {
        let others = (2..=MAX_NAMES).map(|n| self.name(&format!("{words} {n}")));
        std::iter::once(self.name(words)).chain(others).collect()
    }

    /// The name for `words` whose branch is `own`, if there is one, else the first name. Blocks.
    ///
    /// # Errors
    /// As for [`branch`](Trees::branch).
    pub fn name_for(&self, words: &str, own: Option<&str>) -> Result<String, Error> {
        if let Some(own) = own {
            for name in self.names(words) {
                if self.branch(&name)? == own {
                    return Ok(name);
                }
            }
        }
        Ok(self.name(words))
    }

    /// The exclusive right to the worktree for `words` whose branch is `own`. If there is none, to
    /// one of a name that nobody has used: a worktree or a branch that was there before belongs to
    /// somebody else. Blocks.
    ///
    /// # Errors
    /// As for [`reserve`](Trees::reserve), and [`Error::NamesTaken`].
    pub fn reserve_for(&self, words: &str, own: Option<&str>) -> Result<Reservation, Error> {
        let (first, mut names) = (self.name_for(words, own)?, self.names(words));
        names.sort_by_key(|name| *name != first);
        for name in names {
            let reservation = self.reserve(&name)?;
            if own == Some(reservation.branch()) || !reservation.used()? {
                return Ok(reservation);
            }
        }
        Err(Error::NamesTaken(self.branch(&self.name(words))?))
    }

    /// The worktree of this name: as it was left, or a new one. A new one is on its old branch if
    /// there is one, else it starts at the commit that is checked out in the folder. Blocks.
    ///
    /// # Errors
    /// [`Error::InUse`] when somebody has it, [`Error::NoCommit`] when there is nothing to start
    /// from, [`Error::BranchInTheWay`], [`Error::Mismatch`] when something else is there,
    /// [`Error::OperationInProgress`], and those of git and the disk. What was made until then is
    /// taken back.
    pub fn take(&self, name: &str) -> Result<Tree, Error> {
        self.reserve(name)?.take()
    }

    /// The branch of the worktree of this name: the one that it is on, or one that was left, or a
    /// new one. That is `rungs/NAME`; where a branch of the repository makes that impossible, such
    /// as one named `rungs`, it is `rungs-2/NAME`, and so on. Blocks.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::BrokenRepository`], [`Error::Bare`],
    /// [`Error::BranchInTheWay`] when all these names are taken, and those of git.
    pub fn branch(&self, name: &str) -> Result<String, Error> {
        let repository = self.repository()?;
        let candidates: Vec<String> = (1..=MAX_PREFIXES)
            .map(|n| if n == 1 { format!("rungs/{name}") } else { format!("rungs-{n}/{name}") })
            .collect();
        let registration = repository.commondir().join("worktrees").join(name);
        let head = fs::read_to_string(registration.join("HEAD")).unwrap_or_default();
        let own = head.trim_end().strip_prefix("ref: refs/heads/").unwrap_or_default();
        if let Some(own) = candidates.iter().find(|branch| *branch == own) {
            return Ok(own.clone());
        }
        let git_error = |branch: &str| Error::git(format!("read {branch}"));
        for branch in &candidates {
            if tip(&repository, branch).map_err(git_error(branch))?.is_some() {
                return Ok(branch.clone());
            }
        }
        let mut in_the_way = String::new();
        for branch in &candidates {
            match branch_in_the_way(&repository, branch).map_err(git_error(branch))? {
                None => return Ok(branch.clone()),
                Some(other) => in_the_way = other,
            }
        }
        Err(Error::BranchInTheWay { branch: candidates[0].clone(), other: in_the_way })
    }

    /// The exclusive right to the worktree of this name, which need not exist yet. Blocks.
    ///
    /// # Errors
    /// [`Error::InUse`] when somebody has it, [`Error::InvalidName`], [`Error::NoRepository`],
    /// [`Error::BrokenRepository`], [`Error::Bare`], and those of git and the disk.
    pub fn reserve(&self, name: &str) -> Result<Reservation, Error> {
        self.repository()?;
        let path = self.path(name)?;
        let lock = match Lock::acquire(&self.open_place()?, lock_file(name), RESERVE_TIMEOUT) {
            Err(durable::Error::LockTimeout { .. }) => return Err(Error::InUse(path)),
            lock => lock?,
        };
        Ok(Reservation::new(self.clone(), name, path, self.branch(name)?, lock))
    }

    /// The state of the worktree of this name. Somebody may be working in it. Blocks.
    ///
    /// # Errors [`Error::NoTree`], [`Error::Incomplete`], [`Error::Mismatch`], and those of git and
    /// the disk.
    pub fn state(&self, name: &str) -> Result<State, Error> {
        let (path, branch) = (self.path(name)?, self.branch(name)?);
        if self.is_incomplete(name) {
            return Err(Error::Incomplete(path));
        }
        let Some(worktree) = find_registered(&self.repository()?, name)? else {
            return Err(not_a_worktree(&path));
        };
        let repository = open_registered(&worktree, &path, &branch)?;
        let git_error = || Error::git(format!("read {branch}"));
        let tip = repository.head().and_then(|head| head.peel_to_commit()).map_err(git_error())?;
        let commit = short_id(&tip).map_err(git_error())?;
        let ahead = commits_ahead(&repository, &tip, &branch).map_err(git_error())?;
        let losses = Losses::of(&repository, &path)?;
        let relative = self.relative(&path);
        Ok(State { path, relative, branch, commit, ahead, losses })
    }

    /// The folder of all the worktrees, as seen from the folder of which this was made.
    pub fn place(&self) -> PathBuf {
        self.relative(&self.canonical_place())
    }

    /// As seen from the folder of which this was made, if it is below that.
    fn relative(&self, path: &Path) -> PathBuf {
        let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        path.strip_prefix(folder).unwrap_or(path).into()
    }

    /// The state of each worktree, or why it cannot be told; also files that were quarantined.
    /// Blocks.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Bare`], and those of git and the disk.
    pub fn list(&self) -> Result<Vec<Result<State, Error>>, Error> {
        let repository = self.repository()?;
        let place = self.canonical_place();
        let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for name in worktree_names(&repository)? {
            if let Ok(worktree) = repository.find_worktree(&name)
                && worktree.path().parent() == Some(&place)
            {
                paths.insert(worktree.path().to_path_buf());
                names.insert(name);
            }
        }
        // Git may have forgotten a worktree whose files still exist, and may not know an incomplete
        // one yet.
        let mut quarantined = vec![];
        for entry in entries(&self.place)? {
            let file = entry.file_name().to_string_lossy().into_owned();
            match hidden_file(&file) {
                Some((name, "making")) => {
                    names.insert(name.into());
                }
                Some((_, what)) if what.starts_with("cut-off-") => {
                    quarantined.push(Err(Error::Quarantined(entry.path())));
                }
                Some(_) => {}
                None => {
                    if let Ok(path) = self.path(&file)
                        && path.is_dir()
                        && !paths.contains(&path)
                    {
                        names.insert(file);
                    }
                }
            }
        }
        Ok(names.iter().map(|name| self.state(name)).chain(quarantined).collect())
    }

    /// Removes a worktree if everything in it is committed to its branch. The branch stays. Files
    /// that git ignores are deleted as well if `ignored` is true. Blocks.
    ///
    /// # Errors
    /// [`Error::Dirty`] says what would be lost; nothing is removed then. [`Error::InUse`],
    /// [`Error::NoTree`], [`Error::Mismatch`], [`Error::OperationInProgress`], and those of git and
    /// the disk.
    pub fn remove(&self, name: &str, ignored: bool) -> Result<Removed, Error> {
        self.remove_losing(name, |losses| {
            losses.work.is_empty() && (ignored || losses.ignored.is_empty())
        })
    }

    /// Removes a worktree with all that is in it, committed or not: for a person who has said so.
    /// The branch stays. Blocks.
    ///
    /// # Errors
    /// As for [`remove`](Trees::remove), except [`Error::Dirty`].
    pub fn discard(&self, name: &str) -> Result<Removed, Error> {
        self.remove_losing(name, |_| true)
    }

    fn remove_losing(
        &self,
        name: &str,
        may_lose: impl FnOnce(&Losses) -> bool,
    ) -> Result<Removed, Error> {
        let repository = self.repository()?;
        let path = self.path(name)?;
        if find_registered(&repository, name)?.is_none() && !self.is_incomplete(name) {
            return Err(not_a_worktree(&path));
        }
        let reservation = self.reserve(name)?;
        if self.is_incomplete(name) {
            let _lock = lock_changes(&repository)?;
            reservation.clean_up(&repository)?;
            self.mark_complete(name)?;
            return Err(not_a_worktree(&path));
        }
        let Some(worktree) = find_registered(&repository, name)? else {
            return Err(not_a_worktree(&path));
        };
        let locked =
            worktree.is_locked().map_err(Error::git(format!("read {}", path.display())))?;
        if let WorktreeLockStatus::Locked(reason) = locked {
            let reason = reason.unwrap_or_default();
            let why = format!("it is locked ({}), `git worktree unlock` unlocks it", reason.trim());
            return Err(Error::Mismatch { path, why });
        }
        let state = self.state(name)?;
        check_no_operation(&open_registered(&worktree, &path, &state.branch)?, &path)?;
        if !may_lose(&state.losses) {
            return Err(Error::Dirty(Box::new(state)));
        }
        let lock = lock_changes(&repository)?;
        // From here on the worktree is incomplete: after a crash it is created anew.
        self.mark_incomplete(name)?;
        // An atomic rename takes the files away. They are deleted when git has forgotten them.
        let gone = unused_path(&self.place, name, "gone");
        if let Err(error) = fs::rename(&path, &gone) {
            self.mark_complete(name)?;
            return Err(Error::io(&path)(error));
        }
        let registration = repository.commondir().join("worktrees").join(name);
        delete(&registration).map_err(Error::io(&registration))?;
        self.mark_complete(name)?;
        drop(lock);
        let leftover = delete(&gone).map_err(Error::io(&gone)).err();
        Ok(Removed { state, leftover })
    }

    /// The file that marks a worktree as incomplete: it exists while one is created or removed. If
    /// the worktree is not reserved meanwhile, a process was killed doing that.
    fn marker(&self, name: &str) -> PathBuf {
        self.place.join(format!(".{name}.making"))
    }

    pub(crate) fn is_incomplete(&self, name: &str) -> bool {
        self.marker(name).symlink_metadata().is_ok()
    }

    /// Marks it as incomplete. Whatever has the marker's name already is neither opened nor
    /// followed: a repository may bring a symbolic link of that name.
    pub(crate) fn mark_incomplete(&self, name: &str) -> Result<(), Error> {
        let marker = self.marker(name);
        match fs::File::create_new(&marker) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(Error::io(&marker)(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn mark_complete(&self, name: &str) -> Result<(), Error> {
        let marker = self.marker(name);
        fs::remove_file(&marker).map_err(Error::io(&marker))
    }

    /// The place as a handle, created where it is missing, and hidden from the repository around
    /// it. A link in its place is refused.
    pub(crate) fn open_place(&self) -> Result<Folder, Error> {
        let mut above = self.place.ancestors().skip(1);
        let base = above.find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        let place = Folder::open(base, self.place.strip_prefix(base).unwrap_or(&self.place))?;
        place.hide_from_git();
        Ok(place)
    }

    pub(crate) fn repository(&self) -> Result<Repository, Error> {
        let folder = self.folder.clone();
        let repository = match Repository::discover(&folder) {
            Ok(repository) => repository,
            Err(error) if error.code() == ErrorCode::NotFound => {
                return Err(no_repository(folder));
            }
            Err(error) => {
                let doing = format!("open the repository of {}", folder.display());
                return Err(Error::git(doing)(error));
            }
        };
        if repository.workdir().is_none() { Err(Error::Bare(folder)) } else { Ok(repository) }
    }

    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = name.len() <= MAX_NAME_BYTES
            && name.starts_with(plain)
            && name.chars().all(|c| plain(c) || c == '-');
        if valid {
            Ok(self.canonical_place().join(name))
        } else {
            Err(Error::InvalidName(name.into()))
        }
    }

    /// The place as git reports it: without symbolic links.
    pub(crate) fn canonical_place(&self) -> PathBuf {
        self.place.canonicalize().unwrap_or_else(|_| self.place.clone())
    }

    /// The folder that corresponds to this one in the worktree at `tree`, if it exists there.
    pub(crate) fn folder_in(&self, repository: &Repository, tree: &Path) -> Option<PathBuf> {
        let folder = self.folder.canonicalize().ok()?;
        let root = repository.workdir()?.canonicalize().ok()?;
        let folder = tree.join(folder.strip_prefix(root).ok()?).canonicalize().ok()?;
        // A symbolic link in the worktree may lead out of it.
        (folder.starts_with(tree) && folder.is_dir()).then_some(folder)
    }
}

/// The lock file that makes a worktree exclusive.
pub(crate) fn lock_file(name: &str) -> String {
    format!(".{name}.lock")
}

/// The error for a folder of which git finds no repository.
fn no_repository(folder: PathBuf) -> Error {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let git = absolute.ancestors().map(|folder| folder.join(".git"));
    let Some(git) = git.into_iter().find(|git| git.symlink_metadata().is_ok()) else {
        return Error::NoRepository(folder);
    };
    let why = match fs::read_to_string(&git) {
        Ok(text) => format!(
            "it leads to no repository ({}); if the main folder was moved, `git worktree repair` \
             there restores it",
            text.trim()
        ),
        Err(_) => "it is not a whole repository; `git init` there completes it".into(),
    };
    Error::BrokenRepository { git, why }
}

/// The parts of the name `.NAME.WHAT` of a file beside the worktrees.
pub(crate) fn hidden_file(file: &str) -> Option<(&str, &str)> {
    file.strip_prefix('.')?.split_once('.')
}
