//! Finds files by their names and by what they hold, beneath a root.
//!
//! Both walk as ripgrep does, with its own libraries: in parallel, past what `.gitignore` names, links never followed.
//! What a walk has found is opened again below the root's handle, so that a folder swapped for a link shows nothing
//! of what lies outside.
use crate::{PathError, Root, name_filter::Names};
use ignore::{DirEntry, WalkBuilder, WalkState};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Tells whether whoever asked still wants it.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// PathErrorKind nothing was found, other than that there is nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Where to search is outside, closed, or not there.
    PathError(PathError),
    /// A pattern, a glob or a type of file is wrong.
    Pattern(String),
    /// Whoever asked no longer wants it.
    Stopped,
}

impl From<PathError> for Fault {
    fn from(refused: PathError) -> Self {
        Fault::PathError(refused)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::PathError(refused) => write!(f, "{refused}"),
            Fault::Pattern(why) => write!(f, "{why}"),
            Fault::Stopped => write!(f, "stopped"),
        }
    }
}

impl std::error::Error for Fault {}

/// Where to search, free of links.
pub(crate) struct Place<'a> {
    root: &'a Root,
    pub(crate) inside: PathBuf,
}

impl<'a> Place<'a> {
    pub(crate) fn of(root: &'a Root, path: Option<&str>) -> Result<Place<'a>, Fault> {
        let inside = root.locate(path.unwrap_or("."))?;
        if let Err(error) = root.modified(&inside) {
            return Err(PathError { path: path.unwrap_or(".").into(), kind: error.into() }.into());
        }
        Ok(Place { root, inside })
    }

    pub(crate) fn walk(&self) -> WalkBuilder {
        let mut walk = WalkBuilder::new(self.root.path().join(&self.inside));
        let is_closed = self.root.is_closed();
        // A repository is not bound by what lies above it, such as a worktree in a folder that git ignores. Where there
        // is none, a `.gitignore` counts all the same.
        let in_git = self.root.path().ancestors().any(|folder| folder.join(".git").exists());
        // What is hidden is searched too: `.github`, `.env.example`.
        walk.hidden(false)
            .require_git(in_git)
            .filter_entry(move |entry| !is_closed(entry.file_name()));
        walk
    }

    /// Calls what `visitor` makes, once for each thread, with every file that has a name in question: its path from
    /// the root. It goes on until one of them says `false`.
    pub(crate) fn visit<'s, V>(
        &self,
        walk: &WalkBuilder,
        names: &Names,
        stop: Stop<'_>,
        visitor: impl Fn() -> V,
    ) -> Result<(), Fault>
    where
        V: FnMut(&Path) -> bool + Send + 's,
    {
        let stopped = AtomicBool::new(false);
        let top = self.root.path().join(&self.inside);
        walk.build_parallel().run(|| {
            let (mut visit, stopped, top) = (visitor(), &stopped, &top);
            Box::new(move |entry| {
                if stop() {
                    stopped.store(true, Relaxed);
                    return WalkState::Quit;
                }
                // What can't be listed is as if it were not there.
                let Ok(entry) = entry else { return WalkState::Continue };
                let is_file =
                    |entry: &DirEntry| entry.file_type().is_some_and(|kind| kind.is_file());
                let wanted = is_file(&entry)
                    && names.hold(entry.path().strip_prefix(top).unwrap_or(entry.path()));
                match entry.path().strip_prefix(self.root.path()) {
                    Ok(inside) if wanted && !visit(inside) => WalkState::Quit,
                    _ => WalkState::Continue,
                }
            })
        });
        if stopped.into_inner() { Err(Fault::Stopped) } else { Ok(()) }
    }
}

/// A path as one line, whatever is in it.
pub(crate) fn shown(path: &Path) -> String {
    let path = path.to_string_lossy();
    if path.contains(char::is_control) {
        path.escape_debug().to_string()
    } else {
        path.into_owned()
    }
}
