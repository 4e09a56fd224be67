use crate::{
    State,
    losses::{file_list, file_name},
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why nothing was done. Each message names the folder or the branch, and says what would help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Error {
    /// Names become part of a path and of a branch, so only a few characters are valid.
    #[error(
        "{0:?} is not a valid worktree name: at most 60 of a-z, 0-9 and `-`, not starting with `-`"
    )]
    InvalidName(String),
    /// The folder is in no git repository.
    #[error("{0} is in no git repository; `git init` makes one")]
    NoRepository(PathBuf),
    /// There is a `.git`, which leads to no repository.
    #[error("{git}: {why}")]
    BrokenRepository { git: PathBuf, why: String },
    /// The repository is bare: it has no folder of files.
    #[error("{0} is a bare repository, without files to work on")]
    Bare(PathBuf),
    /// No commit is checked out yet.
    #[error("{0}: no commit is checked out yet, so there is nothing to start from; make a commit")]
    NoCommit(PathBuf),
    /// Git keeps a branch as a file and the part of a name before a `/` as a folder, so the two
    /// exclude each other.
    #[error(
        "the branch {other} is in the way of {branch}, which git therefore cannot create; nothing \
         was changed; `git branch -m {other} NAME` gives it another name"
    )]
    BranchInTheWay { branch: String, other: String },
    /// All names that are tried are in use.
    #[error("{0} and the other names that would be tried are in use; remove or rename branches")]
    NamesTaken(String),
    /// There is no worktree of this name.
    #[error("there is no tree in {0}")]
    NoTree(PathBuf),
    /// Somebody works in the worktree, in this or in another process.
    #[error("somebody works in {0}")]
    InUse(PathBuf),
    /// What is there is not the worktree that its name says.
    #[error("{path}: {why}; nothing was changed")]
    Mismatch { path: PathBuf, why: String },
    /// The worktree is being created or removed, or that was interrupted.
    #[error(
        "{0} is incomplete: it is being created or removed, or that was interrupted; the next \
         use creates it anew"
    )]
    Incomplete(PathBuf),
    /// Files that somebody had put into an incomplete worktree.
    #[error(
        "{0}: files that somebody had put into an incomplete worktree; delete what you don't need"
    )]
    Quarantined(PathBuf),
    /// A lock file of git.
    #[error("{0} exists, so a git command is running; if none is, delete that file")]
    GitLocked(PathBuf),
    /// A merge or the like is in progress, or there are conflicts.
    #[error(
        "{path} is in the middle of {operation}; finish or abort that first{}",
        in_conflict(conflicts)
    )]
    OperationInProgress { path: PathBuf, operation: String, conflicts: Vec<PathBuf> },
    /// A changed file has a filter that runs a program, which libgit2 does not do.
    #[error(
        "{} has the filter `{filter}`, a program that is not run here; nothing was committed, \
         `git add -A` and `git commit` in {path} do it",
        file_name(file)
    )]
    NeedsFilter { path: PathBuf, file: PathBuf, filter: String },
    /// Removing the worktree would lose work.
    #[error(
        "{} was not removed. What is not on {} would be lost:\n{}{}",
        .0.relative.display(), .0.branch, .0.losses, ignored_hint(.0)
    )]
    Dirty(Box<State>),
    /// The branch cannot be merged by itself.
    #[error(
        "{branch} was not merged: it and {into} conflict in {}; nothing was changed, \
         `git merge {branch}` lets you resolve it",
        file_list(files)
    )]
    Conflicts { branch: String, into: String, files: Vec<PathBuf> },
    /// The worktree has work that a merge of its branch would leave out.
    #[error(
        "{} was not merged, since its tree {} has work in no commit:\n{}",
        .0.branch, .0.path.display(), .0.losses
    )]
    Uncommitted(Box<State>),
    /// A merge would overwrite what is in the folder.
    #[error(
        "{branch} was not merged into {into}: files of {folder} would be overwritten that are not \
         committed, {}; commit or move them",
        file_list(files)
    )]
    InTheWay { folder: PathBuf, branch: String, into: String, files: Vec<PathBuf> },
    /// A merge needs a branch to merge into.
    #[error(
        "{0}: a commit is checked out, and no branch (detached HEAD), so there is nothing to merge \
         into; `git switch BRANCH` changes that"
    )]
    Detached(PathBuf),
    /// There is no such branch.
    #[error("there is no branch {0}")]
    NoBranch(String),
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// A lock file, or the folder of the worktrees.
    #[error(transparent)]
    Lock(#[from] durable::Error),
    /// Git failed.
    #[error("cannot {doing}: {}{}", source.message(), advice(source.message()))]
    Git { doing: String, source: git2::Error },
}

/// What helps against an error of libgit2, which does the work here, where the program git would
/// have none.
fn advice(message: &str) -> &'static str {
    const ADVICE: [(&str, &str); 10] = [
        (
            "extensions.refstorage",
            "; a clone made with `git clone --ref-format=files` can be used here",
        ),
        ("object format", "; only repositories with SHA-1 hashes, git's default, can be used here"),
        ("extension name", "; this library knows fewer kinds of repositories than the program git"),
        ("repository version", "; this library knows fewer kinds of repositories than git does"),
        ("not owned by", "; `git config --global --add safe.directory FOLDER` trusts it"),
        ("extension: 'link'", "; `git update-index --no-split-index` there makes it readable"),
        (
            "extension: 'sdir'",
            "; `git sparse-checkout reapply --no-sparse-index` there makes it readable",
        ),
        ("old reference value", "; another program has moved the branch meanwhile; try again"),
        ("object not found", MISSING),
        ("peeled", MISSING),
    ];
    const MISSING: &str = "; `git fsck` says what is damaged; in a partial clone, `git archive \
        HEAD >/dev/null` fetches what is missing";
    let known = ADVICE.iter().find(|(words, _)| message.contains(words));
    known.map_or("", |(_, advice)| advice)
}

fn in_conflict(conflicts: &[PathBuf]) -> String {
    if conflicts.is_empty() {
        return String::new();
    }
    format!(". In conflict: {}", file_list(conflicts))
}

fn ignored_hint(state: &State) -> &'static str {
    // Only if nothing else prevents the removal, `ignored` decides.
    if state.losses.work.is_empty() { "\nWith `ignored: true` they are deleted" } else { "" }
}

impl Error {
    pub(crate) fn git(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> Error {
        move |source| Error::Git { doing: doing.into(), source }
    }

    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { path: path.as_ref().into(), source }
    }
}
