//! What git knows of changes that no snapshot covers.
use git2::{Delta, DiffOptions, Repository};
use std::path::Path;

/// How many files are named.
const MAX_FILES: usize = 10;

/// The files below this folder that differ from the last commit, in a few lines, with the commands
/// that show and undo that; none where git keeps no history. Runs no program: hooks and filters of
/// the repository stay unused.
pub fn uncommitted(folder: &Path) -> Option<String> {
    let repository = Repository::discover(folder).ok()?;
    let head = repository.head().ok()?.peel_to_tree().ok()?;
    let root = repository.workdir()?.canonicalize().ok()?;
    let below = folder.canonicalize().ok()?;
    let mut options = DiffOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).disable_pathspec_match(true);
    if let Ok(below) = below.strip_prefix(&root)
        && below != Path::new("")
    {
        options.pathspec(below);
    }
    let diff = repository.diff_tree_to_workdir_with_index(Some(&head), Some(&mut options)).ok()?;
    let files: Vec<String> = diff
        .deltas()
        .filter_map(|delta| {
            let kind = match delta.status() {
                Delta::Added => "added",
                Delta::Untracked => "not in git",
                Delta::Deleted => "deleted",
                _ => "modified",
            };
            let path = delta.new_file().path().or(delta.old_file().path())?;
            Some(format!("{} ({kind})", path.display()))
        })
        .collect();
    if files.is_empty() {
        return Some("git: nothing differs from the last commit".into());
    }
    let mut named = files[..files.len().min(MAX_FILES)].join(", ");
    if files.len() > MAX_FILES {
        named.push_str(&format!(" and {} more", files.len() - MAX_FILES));
    }
    Some(format!(
        "git: {named}. `git diff HEAD` shows what differs from the last commit; \
         `git restore FILE` puts a file of it back, and what differs in that file is lost"
    ))
}
