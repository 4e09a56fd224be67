//! What both searches share: walking the tree as ripgrep does, in parallel, without what
//! `.gitignore` names. Links are followed where they lead to something inside.
//!
//! What the walk finds is opened again below the directory handle. So a folder that is swapped for
//! a link in the meantime shows nothing of what is outside.
use crate::{
    IsCancelled, PathError, PathErrorKind, Root, SearchError,
    left_out::{LeftOut, MAX_IGNORED, Reason},
    name_filter::NameFilter,
    write::is_temporary,
};
use ignore::{DirEntry, WalkBuilder, WalkState};
use std::{
    collections::HashSet,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long a search may take. Then it returns what it has found.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(30);
/// How many links to folders may follow each other on a path, and how many files and folders are
/// visited behind links: a few links to each other lead to more paths than could ever be visited.
const MAX_NESTED_LINKS: usize = 2;
const MAX_BEHIND_LINKS: usize = 100_000;
/// How large a file may be that says what git ignores, in bytes.
const MAX_IGNORE_FILE_BYTES: u64 = 1_000_000;

/// The file or folder to search.
pub(crate) struct SearchScope<'a> {
    pub(crate) root: &'a Root,
    /// Relative to the root and free of links.
    pub(crate) relative: PathBuf,
    pub(crate) left_out: Arc<LeftOut>,
    is_cancelled: IsCancelled<'a>,
    max_time: Duration,
    deadline: Instant,
    is_late: AtomicBool,
    /// The highest rank of a file name so far.
    best_rank: AtomicUsize,
}

/// A file that a walk has met.
pub(crate) struct Met<'a> {
    /// Its path from the root, as it was met.
    pub(crate) path: &'a Path,
    /// The same free of links.
    pub(crate) real: PathBuf,
    /// How well its name matches.
    pub(crate) rank: usize,
}

impl<'a> SearchScope<'a> {
    /// `path` is as a model gives it; `None` for the whole root.
    pub(crate) fn new(
        root: &'a Root,
        path: Option<&str>,
        max_time: Duration,
        is_cancelled: IsCancelled<'a>,
    ) -> Result<SearchScope<'a>, SearchError> {
        let path = path.unwrap_or(".");
        let relative = root.resolve(path)?;
        if let Err(error) = root.modified(&relative) {
            return Err(PathError::new(path, error).into());
        }
        Ok(SearchScope {
            root,
            relative,
            left_out: Arc::default(),
            is_cancelled,
            max_time,
            deadline: Instant::now() + max_time,
            is_late: AtomicBool::new(false),
            best_rank: AtomicUsize::new(0),
        })
    }

    /// Whether to end, because the caller has cancelled or the time is over.
    pub(crate) fn must_end(&self) -> bool {
        if Instant::now() > self.deadline {
            self.is_late.store(true, Relaxed);
        }
        (self.is_cancelled)() || self.is_late.load(Relaxed)
    }

    /// Whether files of this rank are meant, now that all are known.
    pub(crate) fn is_best(&self, rank: usize) -> bool {
        rank >= self.best_rank.load(Relaxed)
    }

    /// Appends what the answer does not cover.
    ///
    /// # Errors
    /// When the caller has cancelled.
    pub(crate) fn finish(&self, answer: &mut String, less_exact: usize) -> Result<(), SearchError> {
        if (self.is_cancelled)() {
            return Err(SearchError::Cancelled);
        }
        if !answer.ends_with('\n') && (less_exact > 0 || self.is_late.load(Relaxed)) {
            answer.push('\n');
        }
        if less_exact > 0 {
            let files = if less_exact == 1 { "file matches" } else { "files match" };
            answer.push_str(&format!(
                "[{less_exact} more {files} if brackets and blanks are taken less literally]\n"
            ));
        }
        if self.is_late.load(Relaxed) {
            let passed = self.max_time.as_secs();
            answer.push_str(&format!(
                "[stopped after {passed} s, before everything was looked at; narrow the search]\n"
            ));
        }
        self.left_out.append_to(answer);
        Ok(())
    }

    fn walk(&self, left_out: Arc<LeftOut>, with_ignored: bool) -> (WalkBuilder, Links) {
        let start = self.root.path().join(&self.relative);
        let mut walk = WalkBuilder::new(&start);
        // Inside a repository, only its own ignore files count: a worktree may lie in a folder that
        // the repository around it ignores. Outside of any, a `.gitignore` counts all the same.
        let in_git = self.root.path().ancestors().any(|folder| folder.join(".git").exists());
        let is_readable = !start.ancestors().any(has_bad_ignore_file);
        walk.standard_filters(is_readable && !with_ignored);
        // Hidden files are searched too: `.github`, `.env.example`.
        walk.hidden(false).require_git(in_git).follow_links(true);
        let is_denied = self.root.deny_filter();
        let links = Links {
            root: self.root.clone(),
            left_out: left_out.clone(),
            followed: Arc::default(),
            behind: Arc::default(),
        };
        let filter = links.clone();
        walk.filter_entry(move |entry| {
            if is_denied(entry.file_name()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                left_out.add(Reason::Denied, Some(name));
                return false;
            }
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            if is_readable && is_folder && entry.depth() > 0 && has_bad_ignore_file(entry.path()) {
                left_out.add(Reason::BadIgnoreFile, filter.name(entry.path()));
                return false;
            }
            !is_temporary(entry.file_name()) && filter.leads_inside(entry)
        });
        (walk, links)
    }

    /// Calls a visitor with every regular file whose name matches. There is one visitor for each
    /// thread. The walk ends when one of them returns `false`. Returns how many files matched.
    pub(crate) fn visit<'v, V>(
        &self,
        names: &NameFilter,
        new_visitor: impl Fn() -> V,
    ) -> Result<usize, SearchError>
    where
        V: FnMut(Met<'_>) -> bool + Send + 'v,
    {
        self.visit_all(names, &self.left_out, false, new_visitor)
    }

    fn visit_all<'v, V>(
        &self,
        names: &NameFilter,
        left_out: &Arc<LeftOut>,
        with_ignored: bool,
        new_visitor: impl Fn() -> V,
    ) -> Result<usize, SearchError>
    where
        V: FnMut(Met<'_>) -> bool + Send + 'v,
    {
        let matched = AtomicUsize::new(0);
        let start = self.root.path().join(&self.relative);
        let (walk, links) = self.walk(left_out.clone(), with_ignored);
        walk.build_parallel().run(|| {
            let (mut visit, matched, start) = (new_visitor(), &matched, &start);
            let links = &links;
            Box::new(move |entry| {
                if self.must_end() {
                    return WalkState::Quit;
                }
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        links.note_error(&error);
                        return WalkState::Continue;
                    }
                };
                let (path, Some(kind)) = (entry.path(), entry.file_type()) else {
                    return WalkState::Continue;
                };
                let below_start = path.strip_prefix(start).unwrap_or(path);
                let Some(rank) = names.rank(below_start).filter(|_| !kind.is_dir()) else {
                    return WalkState::Continue;
                };
                let Ok(relative) = path.strip_prefix(self.root.path()) else {
                    return WalkState::Continue;
                };
                if !kind.is_file() {
                    left_out.add(Reason::Special, links.name(path));
                    return WalkState::Continue;
                }
                let real = match links.is_behind(&entry) {
                    true => self.root.bounds.resolve(relative),
                    false => Ok(relative.to_path_buf()),
                };
                let Ok(real) = real else {
                    left_out.add(Reason::Changed, None);
                    return WalkState::Continue;
                };
                matched.fetch_add(1, Relaxed);
                self.best_rank.fetch_max(rank, Relaxed);
                match visit(Met { path: relative, real, rank }) {
                    true => WalkState::Continue,
                    false => WalkState::Quit,
                }
            })
        });
        if (self.is_cancelled)() { Err(SearchError::Cancelled) } else { Ok(matched.into_inner()) }
    }

    /// Counts the files that git ignores and whose names match. To be called when nothing was found
    /// in those that it does not ignore; otherwise it is not worth a second walk.
    pub(crate) fn count_ignored(
        &self,
        names: &NameFilter,
        matched: usize,
    ) -> Result<(), SearchError> {
        let count = AtomicUsize::new(0);
        let all = self.visit_all(names, &Arc::default(), true, || {
            |_: Met<'_>| count.fetch_add(1, Relaxed) <= matched + MAX_IGNORED
        })?;
        self.left_out.add_many(Reason::Ignored, all.saturating_sub(matched));
        Ok(())
    }

    /// Notes a file that could not be read.
    pub(crate) fn unreadable(&self, met: &Met<'_>, error: &io::Error) {
        match self.root.is_there(&met.real) {
            true => {
                let reason = Reason::Unreadable(describe(error));
                self.left_out.add(reason, Some(display_path(met.path)));
            }
            false => self.left_out.add(Reason::Changed, None),
        }
    }
}

/// The links that a walk meets.
#[derive(Clone)]
struct Links {
    root: Root,
    left_out: Arc<LeftOut>,
    /// The links to folders that were followed.
    followed: Arc<RwLock<HashSet<PathBuf>>>,
    /// How many files and folders the walk has met behind them.
    behind: Arc<AtomicUsize>,
}

impl Links {
    /// A path as it is shown, if it is below the root: the folder in which a walk has met it may
    /// have been swapped for a link that leads outside.
    fn name(&self, path: &Path) -> Option<String> {
        let relative = path.strip_prefix(self.root.path()).unwrap_or(path);
        self.root.is_there(relative).then(|| display_path(relative))
    }

    /// Whether a walk may go on to an entry, which may be a link or behind one.
    fn leads_inside(&self, entry: &DirEntry) -> bool {
        if !self.is_behind(entry) {
            return true;
        }
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let is_link = entry.path_is_symlink();
        if self.behind.fetch_add(1, Relaxed) >= MAX_BEHIND_LINKS
            || (is_link && is_folder && self.links_before(entry) >= MAX_NESTED_LINKS)
        {
            self.left_out.add(Reason::BehindLinks, None);
            return false;
        }
        if !is_link {
            return true;
        }
        let relative = entry.path().strip_prefix(self.root.path()).unwrap_or(entry.path());
        match self.root.bounds.resolve(relative) {
            Ok(_) => {
                if is_folder {
                    self.followed.write().unwrap().insert(entry.path().to_path_buf());
                }
                true
            }
            Err(error) => {
                let reason = match error {
                    PathErrorKind::Denied => Reason::LinkDenied,
                    _ => Reason::LinkOutside,
                };
                self.left_out.add(reason, self.name(entry.path()));
                false
            }
        }
    }

    /// Whether an entry is a link or behind one.
    fn is_behind(&self, entry: &DirEntry) -> bool {
        entry.path_is_symlink() || self.links_before(entry) > 0
    }

    /// How many links to folders were followed on the way to an entry.
    fn links_before(&self, entry: &DirEntry) -> usize {
        let followed = self.followed.read().unwrap();
        match followed.is_empty() {
            true => 0,
            false => entry.path().ancestors().filter(|path| followed.contains(*path)).count(),
        }
    }

    fn note_error(&self, error: &ignore::Error) {
        let (mut error, mut path) = (error, None);
        let io_error = loop {
            match error {
                ignore::Error::WithPath { path: at, err } => (path, error) = (Some(at), err),
                ignore::Error::WithDepth { err, .. } => error = err,
                // A link to a folder around it, which is searched anyway.
                ignore::Error::Loop { .. } => return,
                error => break error.io_error(),
            }
        };
        let name = path.and_then(|path| self.name(path));
        let reason = match (path, io_error) {
            (Some(path), _) if path.is_symlink() => Reason::LinkOutside,
            (_, Some(error)) => Reason::Unreadable(describe(error)),
            (_, None) => Reason::Unreadable("it cannot be walked".into()),
        };
        self.left_out.add(reason, name);
    }
}

/// Whether what says in a folder what git ignores is no small regular file: a pipe would be waited
/// for, a device read for ever.
fn has_bad_ignore_file(folder: &Path) -> bool {
    [".gitignore", ".ignore", ".git", ".git/info/exclude"].iter().any(|name| {
        folder.join(name).metadata().is_ok_and(|metadata| match metadata.is_dir() {
            true => false,
            false => !metadata.is_file() || metadata.len() > MAX_IGNORE_FILE_BYTES,
        })
    })
}

/// An error without its number: `Permission denied`.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
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

/// Whether a name is part of a path that [`display_path`] shows with `shown` in its place, and is
/// not that itself.
pub(crate) fn is_shown_as(name: &OsStr, shown: &str) -> bool {
    let text = name.to_string_lossy();
    name != shown && (text == shown || text.escape_debug().to_string() == shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let visit = |max_time| {
            let scope = SearchScope::new(&root, None, max_time, &|| false).unwrap();
            let matched = scope.visit(&NameFilter::default(), || |_: Met<'_>| true).unwrap();
            let mut answer = "(no files match)".to_owned();
            scope.finish(&mut answer, 0).unwrap();
            (matched, answer)
        };
        assert_eq!(visit(MAX_TIME), (1, "(no files match)".into()));
        let stopped = "(no files match)\n[stopped after 0 s, before everything was looked at; \
                       narrow the search]\n";
        assert_eq!(visit(Duration::ZERO), (0, stopped.into()));
    }
}
