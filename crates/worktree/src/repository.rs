//! What the other modules ask git.

use crate::{Error, losses::file};
use durable::{Folder, Lock};
use git2::{BranchType, Commit, ErrorCode, Index, Repository, RepositoryState, Worktree};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait while others create or remove worktrees. Each may have many files to write.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(600);

/// The length of an abbreviated commit id in a message, in characters.
const SHORT_ID_CHARS: usize = 12;

/// The lock under which worktrees are created and removed. Libgit2 reads all registered worktrees
/// before it adds one, and fails when another one is incomplete.
pub(crate) fn lock_changes(repository: &Repository) -> Result<Lock, Error> {
    let folder = Folder::open(repository.commondir(), "")?;
    Ok(Lock::acquire(&folder, "rungs-worktrees.lock", CHANGES_TIMEOUT)?)
}

pub(crate) fn worktree_names(repository: &Repository) -> Result<Vec<String>, Error> {
    let names = repository.worktrees().map_err(Error::git("list the worktrees"))?;
    Ok(names.iter().flatten().flatten().map(String::from).collect())
}

/// The worktree of this name, if git has a complete registration of one.
pub(crate) fn find_registered(
    repository: &Repository,
    name: &str,
) -> Result<Option<Worktree>, Error> {
    // This looks at the files, since libgit2 lists incomplete ones and then cannot open them.
    let registration = repository.commondir().join("worktrees").join(name);
    if !["HEAD", "commondir", "gitdir"].iter().all(|file| registration.join(file).exists()) {
        return Ok(None);
    }
    let worktree =
        repository.find_worktree(name).map_err(Error::git(format!("open the worktree {name}")))?;
    Ok(Some(worktree))
}

/// The error for a path at which git has no worktree.
pub(crate) fn not_a_worktree(path: &Path) -> Error {
    if path.symlink_metadata().is_err() {
        return Error::NoTree(path.into());
    }
    let why = "it exists, but git has no such worktree; `git worktree repair PATH` may restore it";
    Error::Mismatch { path: path.into(), why: why.into() }
}

/// Opens a registered worktree as a repository, if it is at this path and on this branch.
pub(crate) fn open_registered(
    worktree: &Worktree,
    path: &Path,
    branch: &str,
) -> Result<Repository, Error> {
    let mismatch = |why| Err(Error::Mismatch { path: path.into(), why });
    if worktree.path() != path {
        return mismatch(format!(
            "git has the worktree of that name in {}",
            worktree.path().display()
        ));
    }
    if worktree.validate().is_err() {
        return mismatch(
            "the folder is gone, but git still has the worktree; `git worktree prune` removes it"
                .into(),
        );
    }
    if path.join(".git").symlink_metadata().is_err() {
        return mismatch("its file `.git` is gone; `git worktree repair` restores it".into());
    }
    open_on_branch(path, branch)
}

/// The repository to read the history from. In a linked worktree libgit2 does not find the file
/// that says where the history of a shallow clone ends.
pub(crate) fn history(repository: &Repository) -> Result<Repository, git2::Error> {
    Repository::open(repository.commondir())
}

/// Opens the repository at this path, if it is on this branch.
pub(crate) fn open_on_branch(path: &Path, branch: &str) -> Result<Repository, Error> {
    let git_error = || Error::git(format!("open {}", path.display()));
    let repository = Repository::open(path).map_err(git_error())?;
    let mismatch = |why| Err(Error::Mismatch { path: path.into(), why });
    match current_branch(&repository).map_err(git_error())? {
        Some(current) if current == branch => {}
        Some(current) => {
            return mismatch(format!(
                "it is on {current}, not on {branch}; `git switch {branch}` there changes that"
            ));
        }
        None => {
            // A rebase leaves the branch for its time.
            check_no_operation(&repository, path)?;
            return mismatch(format!(
                "it is on no branch, not on {branch}; `git branch NAME` there keeps the commits \
                 that were made so, and `git switch {branch}` then changes that"
            ));
        }
    }
    if repository.find_reference(&format!("refs/heads/{branch}")).is_ok() {
        return Ok(repository);
    }
    let commit = match newest_in_reflog(&repository) {
        Some(id) => id.chars().take(SHORT_ID_CHARS).collect(),
        None => "COMMIT".to_string(),
    };
    mismatch(format!("its branch {branch} is gone; `git branch {branch} {commit}` restores it"))
}

fn newest_in_reflog(repository: &Repository) -> Option<String> {
    Some(repository.reflog("HEAD").ok()?.get(0)?.id_new().to_string())
}

/// The branch that is checked out, also if it has no commit yet.
pub(crate) fn current_branch(repository: &Repository) -> Result<Option<String>, git2::Error> {
    let head = repository.find_reference("HEAD")?;
    let Some(target) = head.symbolic_target()? else { return Ok(None) };
    Ok(target.strip_prefix("refs/heads/").map(String::from))
}

/// Checks that no merge or the like is in progress and that there are no conflicts. A commit would
/// mark conflicts as resolved, and would lose the second parent of a merge.
pub(crate) fn check_no_operation(repository: &Repository, path: &Path) -> Result<(), Error> {
    let conflicts = repository
        .index()
        .and_then(|index| in_conflict(&index))
        .map_err(Error::git(format!("read the index of {}", path.display())))?;
    let operation = match repository.state() {
        RepositoryState::Clean if conflicts.is_empty() => return Ok(()),
        RepositoryState::Clean => "resolving conflicts",
        RepositoryState::Merge => "merge",
        RepositoryState::Revert | RepositoryState::RevertSequence => "revert",
        RepositoryState::CherryPick | RepositoryState::CherryPickSequence => "cherry-pick",
        RepositoryState::Bisect => "bisect",
        RepositoryState::Rebase
        | RepositoryState::RebaseInteractive
        | RepositoryState::RebaseMerge => "rebase",
        RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase => "am",
    };
    Err(Error::OperationInProgress { path: path.into(), operation: operation.into(), conflicts })
}

/// The files of an index that are in conflict.
pub(crate) fn in_conflict(index: &Index) -> Result<Vec<PathBuf>, git2::Error> {
    let mut files = BTreeSet::new();
    for conflict in index.conflicts()? {
        let conflict = conflict?;
        for side in [conflict.our, conflict.their, conflict.ancestor].into_iter().flatten() {
            files.insert(file(&side.path));
        }
    }
    Ok(files.into_iter().collect())
}

/// The abbreviated id of a commit.
pub(crate) fn short_id(commit: &Commit<'_>) -> Result<String, git2::Error> {
    Ok(String::from_utf8_lossy(&commit.as_object().short_id()?).into_owned())
}

/// The branch because of which git cannot create one of this name.
pub(crate) fn branch_in_the_way(
    repository: &Repository,
    branch: &str,
) -> Result<Option<String>, git2::Error> {
    let ignores_case = repository.config()?.get_bool("core.ignorecase").unwrap_or(false);
    let fold = |name: &str| if ignores_case { name.to_lowercase() } else { name.to_string() };
    let wanted = fold(branch);
    for other in repository.branches(Some(BranchType::Local))? {
        let name = String::from_utf8_lossy(other?.0.name_bytes()?).into_owned();
        let other = fold(&name);
        if wanted == other
            || wanted.starts_with(&format!("{other}/"))
            || other.starts_with(&format!("{wanted}/"))
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The newest commit of a branch, if the branch exists.
pub(crate) fn tip<'a>(
    repository: &'a Repository,
    branch: &str,
) -> Result<Option<Commit<'a>>, git2::Error> {
    match repository.find_branch(branch, BranchType::Local) {
        Ok(branch) => Ok(Some(branch.get().peel_to_commit()?)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of commits up to `commit` that are on no branch but this one.
pub(crate) fn commits_ahead(
    repository: &Repository,
    commit: &Commit<'_>,
    branch: &str,
) -> Result<usize, git2::Error> {
    let repository = history(repository)?;
    let mut walk = repository.revwalk()?;
    walk.push(commit.id())?;
    let own = format!("refs/heads/{branch}");
    for other in repository.branches(None)? {
        let (other, _) = other?;
        let other = other.into_reference();
        // A symbolic reference, such as origin/HEAD, has no target of its own.
        if let Some(tip) = other.target()
            && other.name_bytes() != own.as_bytes()
        {
            walk.hide(tip)?;
        }
    }
    Ok(walk.count())
}

/// Whether one commit is the other, or one of its ancestors.
pub(crate) fn is_ancestor(
    repository: &Repository,
    ancestor: &Commit<'_>,
    of: &Commit<'_>,
) -> Result<bool, git2::Error> {
    Ok(ancestor.id() == of.id() || repository.graph_descendant_of(of.id(), ancestor.id())?)
}
