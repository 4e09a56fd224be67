//! What both searches share: walking the tree as ripgrep does, in parallel, without what
//! `.gitignore` names and without following links.
//!
//! What the walk finds is opened again below the directory handle. So a folder that is swapped for
//! a link in the meantime shows nothing of what is outside.
use crate::{IsCancelled, PathError, Root, SearchError, name_filter::NameFilter};
use ignore::{WalkBuilder, WalkState};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// The file or folder to search.
pub(crate) struct SearchScope<'a> {
    pub(crate) root: &'a Root,
    /// Relative to the root and free of links.
    pub(crate) relative: PathBuf,
}

impl<'a> SearchScope<'a> {
    /// `path` is as a model gives it; `None` for the whole root.
    pub(crate) fn new(root: &'a Root, path: Option<&str>) -> Result<SearchScope<'a>, SearchError> {
        let path = path.unwrap_or(".");
        let relative = root.resolve(path)?;
        match root.modified(&relative) {
            Ok(_) => Ok(SearchScope { root, relative }),
            Err(error) => Err(PathError::new(path, error).into()),
        }
    }

    pub(crate) fn walk(&self) -> WalkBuilder {
        let mut walk = WalkBuilder::new(self.root.path().join(&self.relative));
        let is_denied = self.root.deny_filter();
        // Inside a repository, only its own ignore files count: a worktree may lie in a folder that
        // the repository around it ignores. Outside of any, a `.gitignore` counts all the same.
        let in_git = self.root.path().ancestors().any(|folder| folder.join(".git").exists());
        // Hidden files are searched too: `.github`, `.env.example`.
        walk.hidden(false)
            .require_git(in_git)
            .filter_entry(move |entry| !is_denied(entry.file_name()));
        walk
    }

    /// Calls a visitor with every regular file whose name matches: its path relative to the root.
    /// There is one visitor for each thread. The walk ends when one of them returns `false`.
    pub(crate) fn visit<'v, V>(
        &self,
        walk: &WalkBuilder,
        names: &NameFilter,
        is_cancelled: IsCancelled<'_>,
        new_visitor: impl Fn() -> V,
    ) -> Result<(), SearchError>
    where
        V: FnMut(&Path) -> bool + Send + 'v,
    {
        let cancelled = AtomicBool::new(false);
        let start = self.root.path().join(&self.relative);
        walk.build_parallel().run(|| {
            let (mut visit, cancelled, start) = (new_visitor(), &cancelled, &start);
            Box::new(move |entry| {
                if is_cancelled() {
                    cancelled.store(true, Relaxed);
                    return WalkState::Quit;
                }
                // What cannot be listed is as if it were not there.
                let Ok(entry) = entry else { return WalkState::Continue };
                let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                let path = entry.path();
                if !is_file || !names.matches(path.strip_prefix(start).unwrap_or(path)) {
                    return WalkState::Continue;
                }
                match path.strip_prefix(self.root.path()) {
                    Ok(relative) if !visit(relative) => WalkState::Quit,
                    _ => WalkState::Continue,
                }
            })
        });
        if cancelled.into_inner() { Err(SearchError::Cancelled) } else { Ok(()) }
    }
}

/// A path on one line, whatever characters it contains.
pub(crate) fn display_path(path: &Path) -> String {
    let path = path.to_string_lossy();
    if path.contains(char::is_control) {
        path.escape_debug().to_string()
    } else {
        path.into_owned()
    }
}
