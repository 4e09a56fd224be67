use crate::{
    Error,
    files::entries,
    repository::{current_branch, history, short_id},
};
use git2::{
    BranchType, FileMode, Index, IndexEntry, IndexEntryExtendedFlag, Oid, Repository, Revwalk,
    Status, StatusOptions,
};
use std::{
    collections::HashSet,
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
    /// A nested repository: commits of the worktree do not hold its files.
    Repository,
    /// A commit of a submodule that was made here and that no branch of its remote holds.
    Unpublished,
    /// A stash of a submodule.
    Stash,
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
            LossKind::Unpublished => "a commit on no branch of the remote (`git push` keeps it)",
            LossKind::Stash => "a stash of a submodule",
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
        let mut seen = vec![];
        losses.add_files(repository, path, Path::new(""), &mut seen)?;
        losses.add_removed_submodules(repository, &seen)?;
        let git_error = Error::git(format!("read the commits of {}", path.display()));
        for commit in unreachable_commits(repository).map_err(git_error)? {
            losses.work.push((LossKind::Commit, commit));
        }
        Ok(losses)
    }

    /// Adds what is not committed in a folder of files, and in its submodules. `prefix` is the
    /// folder's path in the worktree; `seen` receives where git keeps each of the submodules.
    fn add_files(
        &mut self,
        repository: &Repository,
        folder: &Path,
        prefix: &Path,
        seen: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let nested = nested_repositories(folder)?;
        let git_error = || Error::git(format!("read the status of {}", folder.display()));
        let index = repository.index().map_err(git_error())?;
        let sparse = sparse_files(&index);
        let mut options = StatusOptions::new();
        options
            .include_untracked(true)
            .recurse_untracked_dirs(true)
            .include_ignored(true)
            .exclude_submodules(true);
        for entry in repository.statuses(Some(&mut options)).map_err(git_error())?.iter() {
            let (status, path) = (entry.status(), file(entry.path_bytes()));
            if nested.contains(&path) || (status == Status::WT_DELETED && sparse.contains(&path)) {
                continue;
            }
            let path = prefix.join(path);
            match loss_kind(status) {
                Some(kind) => self.work.push((kind, file_name(&path))),
                None if status.is_ignored() => self.ignored.push(path),
                None => {}
            }
        }
        let committed = repository.head().and_then(|head| head.peel_to_tree());
        let committed = committed.map_err(git_error())?;
        for entry in index.iter().filter(is_submodule) {
            let path = file(&entry.path);
            let in_commit = committed.get_path(&path).map(|entry| entry.id()).ok();
            if in_commit != Some(entry.id) {
                self.work.push((LossKind::Staged, file_name(&prefix.join(&path))));
            }
        }
        for path in nested {
            let (at, shown) = (folder.join(&path), prefix.join(&path));
            match index.get_path(&path, 0).filter(is_submodule) {
                Some(entry) => self.add_submodule(&at, &shown, entry.id, seen)?,
                None => self.work.push((LossKind::Repository, file_name(&shown))),
            }
        }
        Ok(())
    }

    /// Adds what would be lost with a submodule that should be at the commit `expected`.
    fn add_submodule(
        &mut self,
        at: &Path,
        shown: &Path,
        expected: Oid,
        seen: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let name = file_name(shown);
        let head = |repository: &Repository| repository.head()?.peel_to_commit().map(|c| c.id());
        let opened = Repository::open(at).and_then(|own| Ok((head(&own)?, own)));
        let (head, own) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let why = format!("{name} (it can't be read: {})", error.message());
                self.work.push((LossKind::Repository, why));
                return Ok(());
            }
        };
        if head != expected {
            self.work.push((LossKind::Modified, format!("{name} (it is at another commit)")));
        }
        seen.push(own.path().to_path_buf());
        self.add_unpublished(&own, &name)?;
        self.add_files(&own, at, shown, seen)
    }

    /// Adds the commits and stashes of submodules whose files are gone: git keeps their
    /// repositories beside that of the worktree, and they are removed with it.
    fn add_removed_submodules(
        &mut self,
        repository: &Repository,
        seen: &[PathBuf],
    ) -> Result<(), Error> {
        let mut folders = vec![repository.path().join("modules")];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder)? {
                let path = entry.path();
                let is_repository = path.join("HEAD").is_file() && path.join("objects").is_dir();
                if is_repository && !seen.contains(&path) {
                    let git_error = Error::git(format!("open {}", path.display()));
                    let own = Repository::open_bare(&path).map_err(git_error)?;
                    self.add_unpublished(&own, &file_name(&path))?;
                }
                let inner = if is_repository { path.join("modules") } else { path };
                if inner.is_dir() {
                    folders.push(inner);
                }
            }
        }
        Ok(())
    }

    /// Adds the stashes of a submodule, and the commits that were made in it and that no branch of
    /// a remote holds: nothing of it stays.
    fn add_unpublished(&mut self, own: &Repository, name: &str) -> Result<(), Error> {
        let git_error = || Error::git(format!("read the commits of {name}"));
        for commit in unpublished_commits(own).map_err(git_error())? {
            self.work.push((LossKind::Unpublished, format!("{name}: {commit}")));
        }
        if let Ok(stashes) = own.reflog("refs/stash") {
            for stash in stashes.iter() {
                let message = stash.message_bytes().map(String::from_utf8_lossy);
                let message = message.unwrap_or_default();
                self.work.push((LossKind::Stash, format!("{name}: {message}")));
            }
        }
        Ok(())
    }
}

/// The commits that were made in a submodule, or on which a branch of it is, and that no branch of
/// a remote holds.
fn unpublished_commits(repository: &Repository) -> Result<Vec<String>, git2::Error> {
    // What was only fetched and checked out is elsewhere, also if no branch there is on it.
    const FETCHED: [&[u8]; 3] = [b"clone:", b"checkout:", b"branch: Created from"];
    let mut walk = repository.revwalk()?;
    let mut references = vec!["HEAD".to_string()];
    for branch in repository.branches(Some(BranchType::Local))? {
        references.push(String::from_utf8_lossy(branch?.0.get().name_bytes()).into_owned());
    }
    for name in &references {
        let log = repository.reflog(name)?;
        for entry in log.iter() {
            let message = entry.message_bytes().unwrap_or_default();
            let fetched = FETCHED.iter().any(|start| message.starts_with(start));
            if !fetched && repository.find_commit(entry.id_new()).is_ok() {
                walk.push(entry.id_new())?;
            }
        }
        if log.is_empty()
            && let Ok(commit) = repository.find_reference(name)?.peel_to_commit()
        {
            walk.push(commit.id())?;
        }
    }
    walk.hide_glob("refs/remotes/*")?;
    described(repository, walk)
}

/// The abbreviated ids and subjects of commits.
fn described(repository: &Repository, walk: Revwalk<'_>) -> Result<Vec<String>, git2::Error> {
    let mut commits = vec![];
    for id in walk {
        let commit = repository.find_commit(id?)?;
        let subject = commit.summary_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        commits.push(format!("{} {subject}", short_id(&commit)?));
    }
    Ok(commits)
}

/// The commits that were made in this worktree and that no branch, tag or stash reaches: those that
/// were made with a detached `HEAD`. Earlier versions of amended commits do not count; the reflog
/// of the branch has them.
pub(crate) fn unreachable_commits(repository: &Repository) -> Result<Vec<String>, git2::Error> {
    let history = history(repository)?;
    let mut walk = history.revwalk()?;
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
    described(repository, walk)
}

/// The commits in a reflog that still exist.
fn commits_in_reflog(repository: &Repository, reference: &str) -> Vec<Oid> {
    let Ok(reflog) = repository.reflog(reference) else { return vec![] };
    let ids = reflog.iter().flat_map(|entry| [entry.id_new(), entry.id_old()]);
    ids.filter(|id| repository.find_commit(*id).is_ok()).collect()
}

/// Whether an entry of an index is a submodule.
pub(crate) fn is_submodule(entry: &IndexEntry) -> bool {
    entry.mode == u32::from(FileMode::Commit)
}

/// The files of an index that a sparse checkout leaves out of the folder.
pub(crate) fn sparse_files(index: &Index) -> HashSet<PathBuf> {
    let sparse = IndexEntryExtendedFlag::SKIP_WORKTREE.bits();
    let entries = index.iter().filter(|entry| entry.flags_extended & sparse != 0);
    entries.map(|entry| file(&entry.path)).collect()
}

pub(crate) fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err()
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
