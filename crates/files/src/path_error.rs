use rustix::io::Errno;
use std::{fmt, io};

/// A path that was not opened or written, as it was given, and why.
#[derive(Debug)]
pub struct Refused {
    /// The path.
    pub path: String,
    /// The reason.
    pub why: Why,
}

/// Why a path was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
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

impl Refused {
    pub(crate) fn new(path: &str, why: Why) -> Self {
        Refused { path: path.into(), why }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Why::of(error)
    }
}

impl Why {
    /// What the system's error means when a file is opened beneath a folder, following no link.
    pub(crate) fn of(error: impl Into<io::Error>) -> Self {
        let error = error.into();
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Why::Missing,
            Some(Errno::ISDIR) => Why::Folder,
            Some(Errno::OPNOTSUPP | Errno::NXIO) => Why::NoFile,
            Some(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Why::Swapped,
            _ => Why::System(error),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NoPath => "the path is empty or holds a NUL character",
            Why::Outside => "it is outside the working directory",
            Why::Link => "a link leads it outside the working directory, or nowhere",
            Why::Closed => "this folder is closed to tools",
            Why::Missing => "no such file",
            Why::Folder => "this is a folder",
            Why::NoFile => "this is no regular file",
            Why::Swapped => "it changed while it was being opened",
            Why::Changed => "it was made, changed or removed meanwhile",
            Why::ReadOnly => "it is write-protected",
            Why::System(error) => return write!(f, "{error}"),
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::NoPath => write!(f, "{}", self.why),
            _ => write!(f, "{}: {}", self.path, self.why),
        }
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::System(error) => Some(error),
            _ => None,
        }
    }
}
