//! A directory handle, and how files below it are found and opened.
use crate::{
    PathError, PathErrorKind, absolute, look_alike,
    search::{display_path, is_shown_as},
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// The longest path that most systems accept, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// A directory, held open, and the files below it.
///
/// A link can be swapped after its path was checked and before it is opened (a time-of-check to
/// time-of-use race). So a path is first resolved and judged by where it really leads, then opened
/// below the directory handle without following any link: what was swapped in between is refused.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let root = rungs_files::Root::open(dir.path())?;
/// root.write("notes/today.txt", b"milk", None)?;
/// assert_eq!(std::io::read_to_string(root.open_file("notes/today.txt")?)?, "milk");
/// assert!(root.open_file("../secret").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Root {
    handle: Arc<OwnedFd>,
    pub(crate) bounds: Bounds,
}

/// Where paths may lead.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// Absolute and free of links.
    pub(crate) path: PathBuf,
    denied: &'static [&'static str],
}

impl Root {
    /// Opens the directory at `path`. Links in `path` itself are followed: it comes from the
    /// program, not from a model.
    ///
    /// # Errors
    /// When there is no such directory, or it cannot be read.
    pub fn open(path: &Path) -> io::Result<Root> {
        let path = path.canonicalize()?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let handle = openat(CWD, &path, flags, Mode::empty())?;
        Ok(Root { handle: Arc::new(handle), bounds: Bounds { path, denied: &[] } })
    }

    /// Denies access to files and folders of these names, at any depth, and to all that is in them.
    pub fn deny(mut self, names: &'static [&'static str]) -> Self {
        self.bounds.denied = names;
        self
    }

    /// The path of the directory: absolute and free of links.
    pub fn path(&self) -> &Path {
        &self.bounds.path
    }

    /// Whether a name is denied.
    pub(crate) fn deny_filter(&self) -> impl Fn(&OsStr) -> bool + Send + Sync + use<> {
        self.bounds.deny_filter()
    }

    /// Where a path really leads: relative to the root and free of links. The file need not exist;
    /// links in the part of the path that does exist are resolved all the same. A name that does
    /// not exist stands for the only one that looks the same, with another kind of blank, say, or
    /// that a search shows so, since it holds a newline or bytes that are no UTF-8.
    ///
    /// # Errors
    /// When that is outside, denied or unreachable, or when several names look the same.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, PathError> {
        self.resolve_similar(path).map_err(|kind| PathError::new(path, kind))
    }

    /// What to say of a path for which [`Root::resolve`] has taken another, which looks the same.
    pub fn look_alike_note(&self, path: &str, similar: &Path) -> Option<String> {
        let exact = self.bounds.resolve(Path::new(path)).ok()?;
        if exact == similar || display_path(similar) == exact.to_string_lossy() {
            return None;
        }
        let similar = similar.to_string_lossy();
        let difference = look_alike::describe_path(&similar, &exact.to_string_lossy());
        Some(format!("this is `{similar}`: {difference}"))
    }

    fn resolve_similar(&self, path: &str) -> Result<PathBuf, PathErrorKind> {
        let exact = self.bounds.resolve(Path::new(path))?;
        if self.path().join(&exact).symlink_metadata().is_ok() {
            return Ok(exact);
        }
        let mut similar = PathBuf::new();
        for name in &exact {
            if self.path().join(&similar).join(name).symlink_metadata().is_err()
                && let Some(other) = self.similar_name(&similar, name)?
            {
                similar.push(other);
            } else {
                similar.push(name);
            }
        }
        // What it is may be a link, or denied.
        if similar == exact { Ok(exact) } else { self.bounds.resolve(&similar) }
    }

    /// The only name in a folder that looks like one that is not there.
    fn similar_name(&self, folder: &Path, name: &OsStr) -> Result<Option<OsString>, PathErrorKind> {
        let (Some(name), Ok(folder)) = (name.to_str(), self.open_folder(folder, false)) else {
            return Ok(None);
        };
        let Ok(entries) = rustix::fs::Dir::read_from(folder) else { return Ok(None) };
        let mut similar = vec![];
        for entry in entries.flatten() {
            let other = OsStr::from_bytes(entry.file_name().to_bytes());
            if is_shown_as(other, name)
                || other.to_str().is_some_and(|other| look_alike::looks_like(other, name))
            {
                similar.push(other.to_owned());
            }
        }
        similar.sort();
        match similar.len() {
            0 | 1 => Ok(similar.pop()),
            _ => {
                let described = similar.iter().map(|other| {
                    let other = other.to_string_lossy();
                    format!("`{other}` ({})", look_alike::describe_path(&other, name))
                });
                Err(PathErrorKind::Ambiguous(described.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it is outside, denied, not a regular file, or cannot be read.
    pub fn open_file(&self, path: &str) -> Result<File, PathError> {
        let relative = self.resolve(path)?;
        self.open_resolved(&relative).map_err(|error| PathError::new(path, error))
    }

    /// Opens a regular file by a relative path that is free of links: one from [`Root::resolve`] or
    /// from walking the tree. One system call where there is `openat2`. Never waits for a pipe or a
    /// device.
    ///
    /// # Errors
    /// When it is not a regular file, or a name on the way has become a link.
    pub fn open_resolved(&self, relative: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.open_without_links(relative, flags)?);
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(Errno::ISDIR.into());
        }
        if !metadata.is_file() {
            return Err(Errno::OPNOTSUPP.into());
        }
        Ok(file)
    }

    /// When a file or folder was last written, by a relative path that is free of links. It need
    /// not be readable.
    ///
    /// # Errors
    /// When a name on the way has become a link.
    pub(crate) fn modified(&self, relative: &Path) -> io::Result<SystemTime> {
        #[cfg(target_os = "linux")]
        let flags = OFlags::PATH;
        #[cfg(not(target_os = "linux"))]
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        File::from(self.open_without_links(relative, flags)?).metadata()?.modified()
    }

    /// Whether there is anything of this name below the root, on a way that is free of links.
    pub(crate) fn is_there(&self, relative: &Path) -> bool {
        let (Some(folder), Some(name)) = (relative.parent(), relative.file_name()) else {
            return relative.as_os_str().is_empty();
        };
        self.open_folder(folder, false)
            .is_ok_and(|folder| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    fn open_without_links(&self, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{ResolveFlags, openat2};
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match openat2(&*self.handle, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            {
                // A kernel older than 5.6, or a seccomp filter that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return opened,
            }
        }
        match (relative.parent(), relative.file_name()) {
            (Some(parent), Some(name)) => {
                open_name(self.open_folder(parent, false)?, name.as_ref(), flags)
            }
            _ => self.open_folder(relative, false),
        }
    }

    /// The folder at a relative path that is free of links, opened name by name. With `create`,
    /// what is missing is created.
    pub(crate) fn open_folder(&self, relative: &Path, create: bool) -> Result<OwnedFd, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let mut folder = open_name(&*self.handle, Path::new("."), flags)?;
        for name in relative.components().filter(|name| *name != Component::CurDir) {
            let name = Path::new(name.as_os_str());
            folder = match open_name(&folder, name, flags) {
                Err(Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => open_name(&folder, name, flags)?,
                        Err(errno) => return Err(errno),
                    }
                }
                opened => opened?,
            };
        }
        Ok(folder)
    }
}

impl Bounds {
    /// Whether a name is denied.
    pub(crate) fn deny_filter(&self) -> impl Fn(&OsStr) -> bool + Send + Sync + use<> {
        let denied = self.denied;
        // Some file systems do not tell `.GIT` from `.git`.
        move |name: &OsStr| denied.iter().any(|denied| name.eq_ignore_ascii_case(denied))
    }

    /// As [`Root::resolve`], but a name stands for nothing else than itself.
    pub(crate) fn resolve(&self, path: &Path) -> Result<PathBuf, PathErrorKind> {
        if path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
            return Err(PathErrorKind::InvalidPath);
        }
        // By its text alone, as whoever judges a call before it runs takes it: `link/..` is where
        // the link is, not above the place where it leads.
        let absolute = absolute(&self.path, path);
        // A longer one could be made, folder by folder, but no other program could open it.
        if absolute.as_os_str().len() >= MAX_PATH_BYTES {
            return Err(PathErrorKind::Io(Errno::NAMETOOLONG.into()));
        }
        // The longest part that exists, then the names that do not, the last one first.
        let (mut existing, mut missing, mut first_error) = (absolute.as_path(), vec![], None);
        let real = loop {
            match existing.canonicalize() {
                Ok(real) => break real,
                Err(error) => first_error.get_or_insert(error),
            };
            let (Some(parent), Some(name)) = (existing.parent(), existing.components().next_back())
            else {
                return Err(PathErrorKind::Outside);
            };
            missing.push(name);
            existing = parent;
        };
        let inside_by_text = self.is_inside_by_text(path);
        // An error must not say whether something outside exists.
        let Ok(relative) = real.strip_prefix(&self.path) else {
            return Err(match inside_by_text {
                true => PathErrorKind::LinkOutside,
                false => PathErrorKind::Outside,
            });
        };
        if ["/proc", "/sys", "/dev"].iter().any(|system| real.starts_with(system)) {
            return Err(PathErrorKind::NotRegularFile);
        }
        if let Some(name) = missing.last()
            && real.join(name).is_symlink()
        {
            return Err(PathErrorKind::LinkOutside);
        }
        if !missing.iter().all(|name| matches!(name, Component::Normal(_))) {
            return Err(match inside_by_text {
                true => PathErrorKind::NotFound,
                false => PathErrorKind::Outside,
            });
        }
        let mut relative = relative.to_path_buf();
        relative.extend(missing.into_iter().rev());
        let is_denied = self.deny_filter();
        if relative.components().any(|name| is_denied(name.as_os_str())) {
            return Err(PathErrorKind::Denied);
        }
        match first_error {
            Some(error) if error.kind() != io::ErrorKind::NotFound => Err(PathErrorKind::Io(error)),
            _ => Ok(relative),
        }
    }

    /// Whether a path would stay inside if there were no links.
    fn is_inside_by_text(&self, path: &Path) -> bool {
        let mut depth = 0;
        for name in path.strip_prefix(&self.path).unwrap_or(path).components() {
            match name {
                Component::ParentDir => depth -= 1,
                Component::Normal(_) => depth += 1,
                Component::RootDir | Component::Prefix(_) => return false,
                Component::CurDir => {}
            }
            if depth < 0 {
                return false;
            }
        }
        true
    }
}

/// Opens one name in a folder; fails if it is a link.
fn open_name(folder: impl AsFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let folder: BorrowedFd<'_> = folder.as_fd();
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    openat(folder, name, flags, Mode::empty())
}
