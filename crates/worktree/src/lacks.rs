//! What a new worktree does not have.

use crate::{
    Reservation,
    losses::{file, file_list, is_submodule},
    tree::filter_program,
};
use git2::{Repository, StatusOptions};
use std::path::{Path, PathBuf};

/// What the main folder has and a new worktree has not, in one line: what is not committed, files
/// that git ignores, submodules, and files for which only a filter's placeholder is there, as Git
/// LFS has them.
pub(crate) fn lacks(repository: &Repository, reservation: &Reservation) -> Option<String> {
    let in_folder = in_folder(repository, &reservation.trees.canonical_place());
    let kinds = match (in_folder, in_index(&reservation.path)) {
        (Ok((uncommitted, ignored)), Ok((submodules, filtered))) => [
            (uncommitted, "new or changed in the main folder, and not committed"),
            (ignored, "ignored by git"),
            (submodules, "submodules; `git submodule update --init` there"),
            (filtered, "filtered by a program, such as Git LFS; `git lfs pull` there"),
        ],
        (Err(error), _) | (_, Err(error)) => {
            return Some(format!("What is not in it could not be read: {}", error.message()));
        }
    };
    let kinds = kinds.iter().filter(|(files, _)| !files.is_empty());
    let kinds: Vec<String> =
        kinds.map(|(files, why)| format!("{} ({why})", file_list(files))).collect();
    (!kinds.is_empty()).then(|| format!("Not in it: {}", kinds.join("; ")))
}

/// The files and folders of the main folder that are not committed as they are, and those that git
/// ignores, without those that hold `place`.
fn in_folder(
    repository: &Repository,
    place: &Path,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), git2::Error> {
    let (mut uncommitted, mut ignored) = (vec![], vec![]);
    let Some(root) = repository.workdir().and_then(|root| root.canonicalize().ok()) else {
        return Ok((uncommitted, ignored));
    };
    let own = place.strip_prefix(&root).ok().and_then(|place| place.components().next());
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(true);
    options.exclude_submodules(true);
    for entry in repository.statuses(Some(&mut options))?.iter() {
        let path = file(entry.path_bytes());
        if path.components().next() == own {
            continue;
        }
        match entry.status().is_ignored() {
            true => ignored.push(path),
            false => uncommitted.push(path),
        }
    }
    for files in [&mut uncommitted, &mut ignored] {
        files.sort_by_key(|path| (path.components().count(), path.clone()));
    }
    Ok((uncommitted, ignored))
}

/// The submodules of a worktree, and the files that a program filters.
fn in_index(tree: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), git2::Error> {
    let repository = Repository::open(tree)?;
    let index = repository.index()?;
    let paths = || index.iter().map(|entry| (file(&entry.path), entry));
    let attributes = repository.commondir().join("info/attributes").exists()
        || paths().any(|(path, _)| path.ends_with(".gitattributes"));
    let (mut submodules, mut filtered) = (vec![], vec![]);
    for (path, entry) in paths() {
        if is_submodule(&entry) {
            submodules.push(path);
        } else if attributes && filter_program(&repository, &path, "smudge")?.is_some() {
            filtered.push(path);
        }
    }
    Ok((submodules, filtered))
}
