use rustix::io::Errno;
use std::{fmt, io};

/// A path that was not opened or written, as it was given, and why.
#[derive(Debug)]
pub struct PathError {
    /// The path.
    pub path: String,
    /// The reason.
    pub kind: PathErrorKind,
}

/// PathErrorKind a path was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum PathErrorKind {
    /// It is empty or holds a NUL character.
    NoPath,
    /// It leads out of the root.
    Outside,
    /// A link on its way leads out of the root, or nowhere.
    Link,
    /// It is, or is in, a folder that is closed.
    Closed,
    /// There is no such file.
    Missing,
    /// It is a folder.
    Folder,
    /// It is a pipe, a device, a socket.
    NoFile,
    /// It was swapped between being looked at and being opened.
    Swapped,
    /// It is not what it was said to be: made, changed or removed meanwhile.
    Changed,
    /// Its mode forbids writing.
    ReadOnly,
    /// Whatever the system said.
    System(io::Error),
}

impl PathError {
    pub(crate) fn new(path: &str, kind: PathErrorKind) -> Self {
        PathError { path: path.into(), kind }
    }
}

impl From<io::Error> for PathErrorKind {
    fn from(error: io::Error) -> Self {
        PathErrorKind::of(error)
    }
}

impl PathErrorKind {
    /// What the system's error means when a file is opened beneath a folder, following no link.
    pub(crate) fn of(error: impl Into<io::Error>) -> Self {
        let error = error.into();
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => PathErrorKind::Missing,
            Some(Errno::ISDIR) => PathErrorKind::Folder,
            Some(Errno::OPNOTSUPP | Errno::NXIO) => PathErrorKind::NoFile,
            Some(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => PathErrorKind::Swapped,
            _ => PathErrorKind::System(error),
        }
    }
}

impl fmt::Display for PathErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathErrorKind::NoPath => "the path is empty or holds a NUL character",
            PathErrorKind::Outside => "it is outside the working directory",
            PathErrorKind::Link => "a link leads it outside the working directory, or nowhere",
            PathErrorKind::Closed => "this folder is closed to tools",
            PathErrorKind::Missing => "no such file",
            PathErrorKind::Folder => "this is a folder",
            PathErrorKind::NoFile => "this is no regular file",
            PathErrorKind::Swapped => "it changed while it was being opened",
            PathErrorKind::Changed => "it was made, changed or removed meanwhile",
            PathErrorKind::ReadOnly => "it is write-protected",
            PathErrorKind::System(error) => return write!(f, "{error}"),
        })
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PathErrorKind::NoPath => write!(f, "{}", self.kind),
            _ => write!(f, "{}: {}", self.path, self.kind),
        }
    }
}

impl std::error::Error for PathError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            PathErrorKind::System(error) => Some(error),
            _ => None,
        }
    }
}
