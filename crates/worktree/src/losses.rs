use crate::{Error, on, short};
use git2::{Oid, Repository, Status, StatusOptions};
use std::{
    ffi::OsStr,
    fmt,
    fs::read_dir,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// How many names one message tells.
const NAMED: usize = 10;

/// What would be gone with a tree, since no commit holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Work, a file or a commit each: a tree that has any is not removed.
    pub work: Vec<(Kind, String)>,
    /// What git ignores, such as the products of a build; a folder counts once.
    pub ignored: Vec<PathBuf>,
}

/// In what way a file is in no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Two versions of it wait for a decision.
    Conflicted,
    /// A file that is new to git.
    Untracked,
    /// A file that was removed.
    Deleted,
    /// A changed file.
    Modified,
    /// A change that the next commit would have held.
    Staged,
    /// A repository of its own, a submodule or a clone: whatever is in it, no commit of the tree holds that.
    Repository,
    /// A commit that was made here and is on no branch: it would be found by nobody without the tree's own log.
    Commit,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Conflicted => "conflicted",
            Kind::Untracked => "untracked",
            Kind::Deleted => "deleted",
            Kind::Modified => "modified",
            Kind::Staged => "staged",
            Kind::Repository => "a repository of its own",
            Kind::Commit => "a commit on no branch (`git branch NAME COMMIT` keeps it)",
        })
    }
}

/// A line for each, and not too many.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> =
            self.work.iter().take(NAMED).map(|(kind, what)| format!("{kind}: {what}")).collect();
        if self.work.len() > NAMED {
            lines.push(format!("... {} more", self.work.len() - NAMED));
        }
        if !self.ignored.is_empty() {
            lines.push(format!("ignored by git: {}", files(&self.ignored)));
        }
        f.write_str(&lines.join("\n"))
    }
}

pub(crate) fn files(paths: &[PathBuf]) -> String {
    let named: Vec<String> = paths.iter().take(NAMED).map(|path| shown(path)).collect();
    match paths.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{}, ... {more} more", named.join(", ")),
    }
}

/// A file's name as it can stand in a line.
fn shown(path: &Path) -> String {
    let name = path.display().to_string();
    if name.contains(char::is_control) { format!("{name:?}") } else { name }
}

impl Losses {
    pub(crate) fn of(repository: &Repository, path: &Path) -> Result<Losses, Error> {
        let mut losses = Losses::default();
        let own = nested(path)?;
        let mut options = StatusOptions::new();
        options
            .include_untracked(true)
            .recurse_untracked_dirs(true)
            .include_ignored(true)
            .exclude_submodules(true);
        let doing = || format!("look at the state of {}", path.display());
        for entry in repository.statuses(Some(&mut options)).map_err(Error::git(doing()))?.iter() {
            let (status, path) = (entry.status(), file(entry.path_bytes()));
            match kind(status) {
                _ if own.contains(&path) => {}
                None if status.is_ignored() => losses.ignored.push(path),
                None => {}
                Some(kind) => losses.work.push((kind, shown(&path))),
            }
        }
        losses.work.extend(own.iter().map(|path| (Kind::Repository, shown(path))));
        let commits = stray(repository).map_err(Error::git(doing()))?;
        losses.work.extend(commits.into_iter().map(|commit| (Kind::Commit, commit)));
        Ok(losses)
    }
}

/// The commits that were made in this tree, and that neither a branch nor a tag reaches: those that were made on no branch.
/// Not the former versions of amended ones, which the branch's own log keeps.
pub(crate) fn stray(repository: &Repository) -> Result<Vec<String>, git2::Error> {
    let mut walk = repository.revwalk()?;
    let commits = |log: &str| -> Vec<Oid> {
        let log = repository.reflog(log);
        let ids = log
            .iter()
            .flat_map(|log| log.iter().flat_map(|entry| [entry.id_new(), entry.id_old()]));
        ids.filter(|id| repository.find_commit(*id).is_ok()).collect()
    };
    for id in
        commits("HEAD").into_iter().chain(repository.head().ok().and_then(|head| head.target()))
    {
        walk.push(id)?;
    }
    for all in ["heads", "tags", "remotes", "stash"] {
        walk.hide_glob(&format!("refs/{all}*"))?;
    }
    if let Some(branch) = on(repository)? {
        for id in commits(&format!("refs/heads/{branch}")) {
            walk.hide(id)?;
        }
    }
    walk.map(|id| {
        let commit = repository.find_commit(id?)?;
        let subject = commit.summary_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        Ok(format!("{} {subject}", short(&commit)?))
    })
    .collect()
}

pub(crate) fn file(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

fn kind(status: Status) -> Option<Kind> {
    let kinds = [
        (Status::CONFLICTED, Kind::Conflicted),
        (Status::WT_NEW, Kind::Untracked),
        (Status::WT_DELETED, Kind::Deleted),
        (Status::WT_MODIFIED | Status::WT_TYPECHANGE | Status::WT_RENAMED, Kind::Modified),
        (
            Status::INDEX_NEW
                | Status::INDEX_MODIFIED
                | Status::INDEX_DELETED
                | Status::INDEX_TYPECHANGE
                | Status::INDEX_RENAMED,
            Kind::Staged,
        ),
    ];
    kinds.into_iter().find(|(bits, _)| status.intersects(*bits)).map(|(_, kind)| kind)
}

/// The repositories that lie in a tree, submodules too. Git's status passes over what is in them, and over them where
/// they are ignored.
fn nested(tree: &Path) -> Result<Vec<PathBuf>, Error> {
    let (mut found, mut folders) = (vec![], vec![tree.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in read_dir(&folder).map_err(Error::io(&folder))? {
            let entry = entry.map_err(Error::io(&folder))?;
            // Of the entry itself: a link is no folder.
            if !entry.file_type().map_err(Error::io(entry.path()))?.is_dir() {
                continue;
            }
            match entry.path().join(".git").symlink_metadata() {
                Ok(_) => found.extend(entry.path().strip_prefix(tree).map(Path::to_path_buf)),
                Err(_) => folders.push(entry.path()),
            }
        }
    }
    found.sort();
    Ok(found)
}
