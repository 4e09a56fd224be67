//! Files beneath a folder, opened so that no link, whenever it is swapped, leads out of it.
//!
//! Checking a path's text and then opening it would leave a gap in which a link can be swapped. So a path is resolved
//! first, judged by where it really leads, and then opened name by name below a handle on the folder, following no
//! link at all: what was swapped meanwhile is refused, not followed.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! let root = rungs_files::Root::open(dir.path())?;
//! root.write("notes/today.txt", b"milk", None)?;
//! assert_eq!(std::io::read_to_string(root.read("notes/today.txt")?)?, "milk");
//! assert!(root.read("../secret").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use crate::{PathError, PathErrorKind};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

/// As long as a path may be on most systems, in bytes.
const PATH_MAX: usize = 4096;

/// A folder, held open, and the right to reach what is beneath it.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    path: PathBuf,
    closed: &'static [&'static str],
}

impl Root {
    /// The folder at this path, whose links are followed: it is the caller's own.
    ///
    /// # Errors
    /// When there is no such folder, or it can't be read.
    pub fn open(path: &Path) -> io::Result<Root> {
        let path = path.canonicalize()?;
        let folder = openat(
            CWD,
            &path,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Root { folder, path, closed: &[] })
    }

    /// Refuses files and folders of these names, at any depth, and all that is in them.
    pub fn closed(mut self, names: &'static [&'static str]) -> Self {
        self.closed = names;
        self
    }

    /// Where it is, free of links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether files and folders of a name are refused.
    pub fn is_closed(&self) -> impl Fn(&OsStr) -> bool + Send + Sync + use<> {
        let closed = self.closed;
        // Some file systems don't tell `.GIT` from `.git`.
        move |name: &OsStr| closed.iter().any(|closed| name.eq_ignore_ascii_case(closed))
    }

    /// Where a path really leads, relative to the root and free of links. It need not exist; then its links, and
    /// those of the folders that do, are resolved all the same.
    ///
    /// # Errors
    /// When that is outside, closed or unreachable.
    pub fn locate(&self, path: &str) -> Result<PathBuf, PathError> {
        let refused = |why| Err(PathError::new(path, why));
        if path.is_empty() || path.contains('\0') {
            return refused(PathErrorKind::NoPath);
        }
        let link_or = |why| if self.seems_inside(path) { PathErrorKind::Link } else { why };
        let whole = self.path.join(path);
        // Name by name a longer one could be made, which no other program could reach.
        if whole.as_os_str().len() >= PATH_MAX {
            return refused(PathErrorKind::System(Errno::NAMETOOLONG.into()));
        }
        // The longest part that exists, then the names that do not.
        let (mut there, mut missing, mut fault) = (whole.as_path(), vec![], None);
        let real = loop {
            match there.canonicalize() {
                Ok(real) => break real,
                Err(error) => fault = fault.or(Some(error)),
            }
            let (Some(parent), Some(name)) = (there.parent(), there.components().next_back())
            else {
                return refused(PathErrorKind::Outside);
            };
            missing.push(name);
            there = parent;
        };
        // Nothing may be learnt about what exists outside, not even that it does not.
        let Ok(inside) = real.strip_prefix(&self.path) else {
            return refused(link_or(PathErrorKind::Outside));
        };
        if ["/proc", "/sys", "/dev"].iter().any(|system| real.starts_with(system)) {
            return refused(PathErrorKind::NoFile);
        }
        let mut inside = inside.to_path_buf();
        if let Some(name) = missing.last()
            && self.path.join(&inside).join(name).is_symlink()
        {
            return refused(PathErrorKind::Link);
        }
        if !missing.iter().all(|name| matches!(name, Component::Normal(_))) {
            return refused(if self.seems_inside(path) {
                PathErrorKind::Missing
            } else {
                PathErrorKind::Outside
            });
        }
        inside.extend(missing.into_iter().rev());
        let is_closed = self.is_closed();
        if inside.components().any(|name| is_closed(name.as_os_str())) {
            return refused(PathErrorKind::Closed);
        }
        match fault {
            Some(error) if error.kind() != io::ErrorKind::NotFound => {
                refused(PathErrorKind::System(error))
            }
            _ => Ok(inside),
        }
    }

    /// Whether its text alone, were there no links, stays inside.
    fn seems_inside(&self, path: &str) -> bool {
        let mut depth = 0i32;
        let path = Path::new(path);
        path.strip_prefix(&self.path).unwrap_or(path).components().all(|name| {
            match name {
                Component::ParentDir => depth -= 1,
                Component::Normal(_) => depth += 1,
                Component::RootDir | Component::Prefix(_) => depth = i32::MIN / 2,
                Component::CurDir => {}
            }
            depth >= 0
        })
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it is outside, closed, no regular file, or can't be read.
    pub fn read(&self, path: &str) -> Result<File, PathError> {
        let inside = self.locate(path)?;
        self.open_found(&inside).map_err(|error| PathError::new(path, PathErrorKind::of(error)))
    }

    /// Opens a regular file by a relative path that is free of links, such as one found by walking. Cheap: one call of
    /// the system where it has `openat2`. Neither pipes nor devices are waited for.
    ///
    /// # Errors
    /// When it is no regular file, or a name on its way is a link by now.
    pub fn open_found(&self, inside: &Path) -> io::Result<File> {
        let file = File::from(
            self.open_exactly(inside, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?,
        );
        match file.metadata()? {
            found if found.is_dir() => Err(Errno::ISDIR.into()),
            found if !found.is_file() => Err(Errno::OPNOTSUPP.into()),
            _ => Ok(file),
        }
    }

    /// When a file or folder was last written, by a relative path that is free of links. It need not be readable.
    ///
    /// # Errors
    /// When a name on its way is a link by now.
    pub fn modified(&self, inside: &Path) -> io::Result<SystemTime> {
        #[cfg(target_os = "linux")]
        let flags = OFlags::PATH;
        #[cfg(not(target_os = "linux"))]
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        File::from(self.open_exactly(inside, flags)?).metadata()?.modified()
    }

    fn open_exactly(&self, inside: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{ResolveFlags, openat2};
            let how =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match openat2(&self.folder, inside, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                // Older than 5.6, or a filter that doesn't know it.
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return opened,
            }
        }
        match (inside.parent(), inside.file_name()) {
            (Some(parent), Some(name)) => {
                self.step(&self.walk(parent, false)?, name.as_ref(), flags)
            }
            _ => self.walk(inside, false),
        }
    }

    /// The folder at a relative path that is free of links, opened name by name; made where it is missing.
    pub(crate) fn walk(&self, inside: &Path, make: bool) -> Result<OwnedFd, Errno> {
        let folder = OFlags::DIRECTORY | OFlags::RDONLY;
        let mut at = self.step(&self.folder, Path::new("."), folder)?;
        for name in inside.components().filter(|name| *name != Component::CurDir) {
            let name = Path::new(name.as_os_str());
            at = match self.step(&at, name, folder) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => self.step(&at, name, folder)?,
                        Err(errno) => return Err(errno),
                    }
                }
                stepped => stepped?,
            };
        }
        Ok(at)
    }

    fn step(&self, at: impl AsFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let at: BorrowedFd<'_> = at.as_fd();
        openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
    }
}
