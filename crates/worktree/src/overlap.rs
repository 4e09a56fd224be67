//! What two branches would collide in: found by trial merges in memory, which touch no folder.
use crate::{
    Error, Trees,
    losses::{file, file_list},
    repository::{current_branch, history, in_conflict, is_ancestor, tip},
};
use git2::{Commit, Repository};
use std::{collections::BTreeSet, fmt, path::PathBuf};

/// Two branches that have changed the same files since their common commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The branch that would be merged.
    pub branch: String,
    /// The branch of another worktree, or the one that is checked out in the folder.
    pub other: String,
    /// The files that both have changed.
    pub same_files: Vec<PathBuf>,
    /// The files in which git could not join the changes.
    pub conflicts: Vec<PathBuf>,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overlap { branch, other, same_files, conflicts } = self;
        if conflicts.is_empty() {
            let files = file_list(same_files);
            return write!(f, "{branch} and {other} changed the same files, and merge: {files}");
        }
        write!(f, "{branch} and {other} conflict in {}", file_list(conflicts))
    }
}

impl Trees {
    /// Which branches of the worktrees collide with each other or with what is checked out in the
    /// folder. Only commits count. Nothing is changed. Blocks.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Bare`], [`Error::NoCommit`], and those of git.
    pub fn overlaps(&self) -> Result<Vec<Overlap>, Error> {
        let repository = self.repository()?;
        let head = self.head(&repository)?;
        let git_error = || Error::git("compare the branches of the worktrees");
        let repository = history(&repository).map_err(git_error())?;
        let mut tips = vec![];
        for state in self.list()?.into_iter().flatten() {
            if let Some(tip) = tip(&repository, &state.branch).map_err(git_error())?
                && !is_ancestor(&repository, &tip, &head.commit).map_err(git_error())?
            {
                tips.push((state.branch, tip));
            }
        }
        let here = repository.find_commit(head.commit.id()).map_err(git_error())?;
        tips.push((head.name, here));
        let mut overlaps = vec![];
        for (i, (branch, ours)) in tips.iter().enumerate() {
            for (other, theirs) in &tips[i + 1..] {
                let same_files = same_files(&repository, ours, theirs).map_err(git_error())?;
                let conflicts = conflicts(&repository, theirs, ours).map_err(git_error())?;
                if !same_files.is_empty() || !conflicts.is_empty() {
                    let (branch, other) = (branch.clone(), other.clone());
                    overlaps.push(Overlap { branch, other, same_files, conflicts });
                }
            }
        }
        Ok(overlaps)
    }

    /// What is checked out in the folder.
    pub(crate) fn head<'a>(&self, repository: &'a Repository) -> Result<Head<'a>, Error> {
        let folder = repository.workdir().unwrap_or(repository.path());
        let git_error = || Error::git(format!("read what is checked out in {}", folder.display()));
        let branch = current_branch(repository).map_err(git_error())?;
        let commit = match repository.head() {
            Ok(head) => head.peel_to_commit().map_err(git_error())?,
            Err(error) if error.code() == git2::ErrorCode::UnbornBranch => {
                return Err(Error::NoCommit(folder.into()));
            }
            Err(error) => return Err(git_error()(error)),
        };
        let name = branch.clone().unwrap_or_else(|| "HEAD".into());
        Ok(Head { branch, name, commit })
    }
}

/// What is checked out in a folder.
pub(crate) struct Head<'a> {
    /// The branch, unless the commit itself is checked out.
    pub(crate) branch: Option<String>,
    /// The branch, or `HEAD`.
    pub(crate) name: String,
    pub(crate) commit: Commit<'a>,
}

/// The files that both have changed since their common commit. Without one, nothing is common.
fn same_files(
    repository: &Repository,
    ours: &Commit<'_>,
    theirs: &Commit<'_>,
) -> Result<Vec<PathBuf>, git2::Error> {
    let Ok(base) = repository.merge_base(ours.id(), theirs.id()) else { return Ok(vec![]) };
    let base = repository.find_commit(base)?;
    let ours = changed_files(repository, &base, ours)?;
    let theirs = changed_files(repository, &base, theirs)?;
    Ok(ours.intersection(&theirs).cloned().collect())
}

/// The files that differ between two commits.
pub(crate) fn changed_files(
    repository: &Repository,
    from: &Commit<'_>,
    to: &Commit<'_>,
) -> Result<BTreeSet<PathBuf>, git2::Error> {
    let diff = repository.diff_tree_to_tree(Some(&from.tree()?), Some(&to.tree()?), None)?;
    let sides = diff.deltas().flat_map(|delta| [delta.old_file(), delta.new_file()]);
    Ok(sides.filter_map(|side| side.path_bytes().map(file)).collect())
}

/// The files in which the two do not merge.
fn conflicts(
    repository: &Repository,
    ours: &Commit<'_>,
    theirs: &Commit<'_>,
) -> Result<Vec<PathBuf>, git2::Error> {
    in_conflict(&repository.merge_commits(ours, theirs, None)?)
}
