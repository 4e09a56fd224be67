//! Merges the branch of a worktree into the branch that is checked out in the folder.
//!
//! The merge happens in memory first, so a conflict changes nothing. Then files, index and branch
//! of the folder move to the result. What a kill interrupts there is finished by the next use: a
//! file beside the worktrees says from which commit to which one the folder is moving.
use crate::{
    Error, Trees,
    losses::{file, file_name},
    overlap::changed_files,
    repository::{
        check_no_operation, find_registered, history, in_conflict, is_ancestor, lock_changes,
        short_id, tip,
    },
    tree::{filter_program, signatures, wait_for_git_locks},
    trees::hidden_file,
};
use git2::{Commit, DiffOptions, Oid, Repository, build::CheckoutBuilder};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
};

/// The longest file that says which merge is in progress, in bytes.
const MAX_INTENT_BYTES: u64 = 10_000;

/// A branch that was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// What was merged.
    pub branch: String,
    /// Into which branch.
    pub into: String,
    /// The abbreviated id of the commit at which that branch is now.
    pub commit: String,
    /// The number of files that changed in the folder.
    pub files: usize,
}

impl fmt::Display for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Merged { branch, into, commit, files } = self;
        match files {
            0 => write!(f, "{into} at {commit} has all of {branch}"),
            1 => write!(f, "merged {branch} into {into}, now at {commit}: 1 file changed"),
            _ => write!(f, "merged {branch} into {into}, now at {commit}: {files} files changed"),
        }
    }
}

/// The move of a folder's branch from one commit to another.
struct Move<'a> {
    branch: String,
    into: String,
    from: Commit<'a>,
    to: Commit<'a>,
}

impl Trees {
    /// Merges the branch of this worktree into the branch that is checked out in the folder: by a
    /// fast-forward where that is possible, else by a commit. The worktree need not exist any more.
    /// Blocks.
    ///
    /// # Errors
    /// Nothing is changed with any of them: [`Error::Conflicts`], [`Error::Uncommitted`] when the
    /// worktree has work in no commit, [`Error::InTheWay`] when a file of the folder would be
    /// overwritten, [`Error::Detached`], [`Error::NoCommit`], [`Error::NoBranch`],
    /// [`Error::InUse`], [`Error::OperationInProgress`], and those of git and the disk.
    pub fn merge(&self, name: &str) -> Result<Merged, Error> {
        let repository = self.repository()?;
        let reservation = self.reserve(name)?;
        let branch = reservation.branch().to_string();
        if find_registered(&repository, name)?.is_some() && !self.is_incomplete(name) {
            let state = self.state(name)?;
            if !state.losses.work.is_empty() {
                return Err(Error::Uncommitted(Box::new(state)));
            }
        }
        let _lock = lock_changes(&repository)?;
        self.finish_merges(&repository)?;
        let folder = repository.workdir().unwrap_or(repository.path()).to_path_buf();
        let head = self.head(&repository)?;
        let Some(into) = head.branch else { return Err(Error::Detached(folder)) };
        check_no_operation(&repository, &folder)?;
        wait_for_git_locks(&repository, &into)?;
        let git_error = || Error::git(format!("merge {branch} into {into}"));
        let Some(theirs) = tip(&repository, &branch).map_err(git_error())? else {
            return Err(Error::NoBranch(branch));
        };
        let past = history(&repository).map_err(git_error())?;
        if is_ancestor(&past, &theirs, &head.commit).map_err(git_error())? {
            let commit = short_id(&head.commit).map_err(git_error())?;
            return Ok(Merged { branch, into, commit, files: 0 });
        }
        let to = if is_ancestor(&past, &head.commit, &theirs).map_err(git_error())? {
            theirs
        } else {
            let mut index = past.merge_commits(&head.commit, &theirs, None).map_err(git_error())?;
            let files = in_conflict(&index).map_err(git_error())?;
            if !files.is_empty() {
                return Err(Error::Conflicts { branch, into, files });
            }
            let tree = index.write_tree_to(&repository).map_err(git_error())?;
            merge_commit(&repository, tree, [&head.commit, &theirs], &branch, &into)
                .map_err(git_error())?
        };
        let step = Move { branch: branch.clone(), into: into.clone(), from: head.commit, to };
        let paths = changed_files(&repository, &step.from, &step.to).map_err(git_error())?;
        step.check(&repository, &folder, &paths)?;
        let intent = format!(".{name}.merging");
        let lines = [&folder.display().to_string(), &branch, &into];
        let lines = lines.map(String::as_str).join("\n");
        let lines = format!("{lines}\n{}\n{}\n", step.from.id(), step.to.id());
        let place = self.open_place()?;
        place.write(&intent, lines.as_bytes())?;
        let made = step.make(&repository, &paths);
        // What cannot be put back is left to the next use.
        if made.is_ok() || step.put_back(&repository, &paths).is_ok() {
            place.remove(&intent)?;
        }
        made.map_err(git_error())?;
        let commit = short_id(&step.to).map_err(git_error())?;
        Ok(Merged { branch, into, commit, files: paths.len() })
    }

    /// Finishes the merges into this folder that were interrupted. The lock on changes is held.
    pub(crate) fn finish_merges(&self, repository: &Repository) -> Result<Vec<Merged>, Error> {
        let place = self.open_place()?;
        let mut finished = vec![];
        for entry in place.list()? {
            let name = entry.to_string_lossy();
            if !matches!(hidden_file(&name), Some((_, "merging"))) {
                continue;
            }
            let text = place.read_text(OsStr::new(&entry), MAX_INTENT_BYTES)?;
            let Some(merged) = self.finish_merge(repository, &text)? else { continue };
            place.remove(OsStr::new(&entry))?;
            finished.extend(merged);
        }
        Ok(finished)
    }

    /// Finishes one interrupted merge: `None` when it belongs to another folder, and nothing in it
    /// when there is nothing left to do.
    fn finish_merge(
        &self,
        repository: &Repository,
        intent: &str,
    ) -> Result<Option<Option<Merged>>, Error> {
        let lines: Vec<&str> = intent.lines().collect();
        let folder = repository.workdir().unwrap_or(repository.path());
        let [at, branch, into, from, to] = lines[..] else { return Ok(Some(None)) };
        if Path::new(at) != folder {
            return Ok(None);
        }
        let git_error = || Error::git(format!("finish the merge of {branch} into {into}"));
        let commit = |id: &str| Oid::from_str(id).and_then(|id| repository.find_commit(id));
        let (Ok(from), Ok(to)) = (commit(from), commit(to)) else { return Ok(Some(None)) };
        let head = self.head(repository)?;
        if head.branch.as_deref() != Some(into) || head.commit.id() != from.id() {
            // It is done, or somebody went on from there.
            return Ok(Some(None));
        }
        let step = Move { branch: branch.into(), into: into.into(), from, to };
        let paths = changed_files(repository, &step.from, &step.to).map_err(git_error())?;
        step.check(repository, folder, &paths)?;
        step.make(repository, &paths).map_err(git_error())?;
        let commit = short_id(&step.to).map_err(git_error())?;
        let Move { branch, into, .. } = step;
        Ok(Some(Some(Merged { branch, into, commit, files: paths.len() })))
    }
}

impl Move<'_> {
    /// Checks that no work in the folder would be overwritten. Each file must be as it is before
    /// the move, or as it is after it: an interrupted move has done a part.
    fn check(
        &self,
        repository: &Repository,
        folder: &Path,
        paths: &BTreeSet<PathBuf>,
    ) -> Result<(), Error> {
        let git_error = || Error::git(format!("read the status of {}", folder.display()));
        for path in paths {
            let filter = filter_program(repository, path, "smudge").map_err(git_error())?;
            if let Some(filter) = filter {
                let why = format!(
                    "{} has the filter `{filter}`, a program that is not run here; `git merge {}` \
                     there does it",
                    file_name(path),
                    self.branch
                );
                return Err(Error::Mismatch { path: folder.into(), why });
            }
        }
        let before = differing(repository, &self.from, paths).map_err(git_error())?;
        let after = differing(repository, &self.to, paths).map_err(git_error())?;
        let files: Vec<PathBuf> = before.intersection(&after).cloned().collect();
        if files.is_empty() {
            return Ok(());
        }
        let (branch, into) = (self.branch.clone(), self.into.clone());
        Err(Error::InTheWay { folder: folder.into(), branch, into, files })
    }

    /// Writes the files and the index, then moves the branch. Another program may have moved it
    /// since the merge began: that is an error.
    fn make(&self, repository: &Repository, paths: &BTreeSet<PathBuf>) -> Result<(), git2::Error> {
        check_out(repository, &self.to, paths)?;
        let name = format!("refs/heads/{}", self.into);
        let message = format!("merge {}", self.branch);
        repository.reference_matching(&name, self.to.id(), true, self.from.id(), &message)?;
        Ok(())
    }

    /// Gives files and index the content of the commit that is checked out, after the branch could
    /// not be moved, but for files that somebody has changed since.
    fn put_back(
        &self,
        repository: &Repository,
        paths: &BTreeSet<PathBuf>,
    ) -> Result<(), git2::Error> {
        let changed = differing(repository, &self.to, paths)?;
        let head = repository.head()?.peel_to_commit()?;
        check_out(repository, &head, paths.difference(&changed))
    }
}

/// Gives these files, and their entries in the index, the content of a commit.
fn check_out<'a>(
    repository: &Repository,
    commit: &Commit<'_>,
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), git2::Error> {
    let mut checkout = CheckoutBuilder::new();
    checkout.force().disable_pathspec_match(true);
    let mut paths = paths.into_iter().peekable();
    // Without any path it would be all files.
    if paths.peek().is_none() {
        return Ok(());
    }
    for path in paths {
        checkout.path(path);
    }
    repository.checkout_tree(commit.as_object(), Some(&mut checkout))
}

/// Those of the paths at which the folder is not as in this commit: changed, deleted, or with a
/// file that git does not track, ignored or not.
fn differing(
    repository: &Repository,
    commit: &Commit<'_>,
    paths: &BTreeSet<PathBuf>,
) -> Result<BTreeSet<PathBuf>, git2::Error> {
    let mut options = DiffOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .include_ignored(true)
        .recurse_ignored_dirs(true)
        .include_typechange(true)
        .disable_pathspec_match(true)
        .ignore_submodules(true);
    for path in paths {
        options.pathspec(path);
    }
    if paths.is_empty() {
        return Ok(BTreeSet::new());
    }
    let diff =
        repository.diff_tree_to_workdir_with_index(Some(&commit.tree()?), Some(&mut options))?;
    let sides = diff.deltas().flat_map(|delta| [delta.old_file(), delta.new_file()]);
    let found = sides.filter_map(|side| side.path_bytes().map(file));
    Ok(found.collect())
}

fn merge_commit<'a>(
    repository: &'a Repository,
    tree: Oid,
    parents: [&Commit<'_>; 2],
    branch: &str,
    into: &str,
) -> Result<Commit<'a>, git2::Error> {
    let (author, committer) = signatures(repository)?;
    let message = format!("Merge branch '{branch}' into {into}\n");
    let tree = repository.find_tree(tree)?;
    let id = repository.commit(None, &author, &committer, &message, &tree, &parents)?;
    repository.find_commit(id)
}
