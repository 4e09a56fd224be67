//! What both searches share: walking the tree as ripgrep does, in parallel, without what
//! `.gitignore` names and without following links.
//!
//! What the walk finds is opened again below the directory handle. So a folder that is swapped for
//! a link in the meantime shows nothing of what is outside.
use crate::{
    IsCancelled, PathError, Root, SearchError, left_out::LeftOut, name_filter::NameFilter,
};
use ignore::{WalkBuilder, WalkState};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// The file or folder to search.
pub(crate) struct SearchScope<'a> {
    pub(crate) root: &'a Root,
    /// Relative to the root and free of links.
    pub(crate) relative: PathBuf,
    pub(crate) left_out: Arc<LeftOut>,
}

impl<'a> SearchScope<'a> {
    /// `path` is as a model gives it; `None` for the whole root.
    pub(crate) fn new(root: &'a Root, path: Option<&str>) -> Result<SearchScope<'a>, SearchError> {
        let path = path.unwrap_or(".");
        let relative = root.resolve(path)?;
        match root.modified(&relative) {
            Ok(_) => Ok(SearchScope { root, relative, left_out: Arc::default() }),
            Err(error) => Err(PathError::new(path, error).into()),
        }
    }

    fn walk(&self) -> WalkBuilder {
        let mut walk = WalkBuilder::new(self.root.path().join(&self.relative));
        let (is_denied, left_out) = (self.root.deny_filter(), Arc::clone(&self.left_out));
        // Inside a repository, only its own ignore files count: a worktree may lie in a folder that
        // the repository around it ignores. Outside of any, a `.gitignore` counts all the same.
        let in_git = self.root.path().ancestors().any(|folder| folder.join(".git").exists());
        // Hidden files are searched too: `.github`, `.env.example`.
        walk.hidden(false).require_git(in_git).filter_entry(move |entry| {
            let denied = is_denied(entry.file_name());
            if denied {
                left_out.denied(entry.file_name());
            }
            !denied
        });
        walk
    }

    /// Calls a visitor with every regular file whose name matches: its path relative to the root.
    /// There is one visitor for each thread. The walk ends when one of them returns `false`.
    /// Returns how many files and folders the walk met.
    pub(crate) fn visit<'v, V>(
        &self,
        names: &NameFilter,
        is_cancelled: IsCancelled<'_>,
        new_visitor: impl Fn() -> V,
    ) -> Result<usize, SearchError>
    where
        V: FnMut(&Path) -> bool + Send + 'v,
    {
        let (cancelled, met) = (AtomicBool::new(false), AtomicUsize::new(0));
        let start = self.root.path().join(&self.relative);
        self.walk().build_parallel().run(|| {
            let (mut visit, cancelled, met, start) = (new_visitor(), &cancelled, &met, &start);
            Box::new(move |entry| {
                if is_cancelled() {
                    cancelled.store(true, Relaxed);
                    return WalkState::Quit;
                }
                let Ok(entry) = entry else {
                    self.left_out.unreadable();
                    return WalkState::Continue;
                };
                met.fetch_add(1, Relaxed);
                let (path, Some(kind)) = (entry.path(), entry.file_type()) else {
                    return WalkState::Continue;
                };
                // Whatever its name is: it may lead to a folder in which names would match.
                if kind.is_symlink() {
                    self.left_out.link();
                }
                let is_leaf = !kind.is_dir() && !kind.is_symlink();
                if !is_leaf || !names.matches(path.strip_prefix(start).unwrap_or(path)) {
                    return WalkState::Continue;
                }
                if !kind.is_file() {
                    self.left_out.special();
                    return WalkState::Continue;
                }
                match path.strip_prefix(self.root.path()) {
                    Ok(relative) if !visit(relative) => WalkState::Quit,
                    _ => WalkState::Continue,
                }
            })
        });
        if cancelled.into_inner() { Err(SearchError::Cancelled) } else { Ok(met.into_inner()) }
    }

    /// Finds out whether git ignores anything, by looking for more files and folders than the walk
    /// has met. To be called when nothing was found; otherwise it is not worth a second walk.
    pub(crate) fn look_for_ignored(
        &self,
        met: usize,
        is_cancelled: IsCancelled<'_>,
    ) -> Result<(), SearchError> {
        let walk = self.walk().standard_filters(false).build();
        for (index, _) in walk.filter_map(Result::ok).enumerate() {
            if is_cancelled() {
                return Err(SearchError::Cancelled);
            }
            if index >= met {
                self.left_out.ignored();
                break;
            }
        }
        Ok(())
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
