use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// What can go wrong with state on disk. Every message names the file, and the line where there is one.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Error {
    /// The disk refused; nothing of what was asked for has become visible (but see [`write`](crate::write) and [`compact`](crate::Held::compact)).
    Io { file: PathBuf, doing: &'static str, source: io::Error },
    /// An append failed and could not be taken back: the next read tells whether it is there.
    Unsure { file: PathBuf, source: io::Error },
    /// Somebody else has held the lock for all the time one was ready to wait.
    Busy { file: PathBuf, waited: Duration },
    /// Others have written since this journal was last read; read, decide again, then append.
    Behind { file: PathBuf },
    /// A bad line before good ones. The file is left as it is; [`Journal::salvage`](crate::Journal::salvage) sets it aside.
    Damaged { file: PathBuf, line: u64, flaw: Flaw },
    /// A sound line that is no record of this type, as another version of the program may have written.
    Foreign { file: PathBuf, line: u64, source: serde_json::Error },
    /// A record that has no JSON form which reads back as the same type. Nothing was written.
    Refused { file: PathBuf, source: serde_json::Error },
    /// A record above [`MOST_BYTES`](crate::MOST_BYTES). Nothing was written.
    TooLarge { file: PathBuf, bytes: usize },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It has no newline at its end, as a write that was cut off leaves it.
    Cut,
    /// Its check sum is not that of its content.
    Sum,
    /// It is sound but not the next one: lines before it are missing, or there twice.
    Order,
    /// It is sound, but the rest of what was appended with it is missing.
    Part,
    /// What was already read from the file is no longer in it.
    Shrunk,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Flaw::Cut => "cut off",
            Flaw::Sum => "wrong check sum",
            Flaw::Order => "out of order",
            Flaw::Part => "part of what was appended together",
            Flaw::Shrunk => "no longer there",
        })
    }
}

impl Error {
    pub(crate) fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { file: file.into(), doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Io { file, doing, source } => {
                write!(f, "cannot {doing} {}: {source}", file.display())
            }
            Error::Unsure { file, source } => {
                write!(
                    f,
                    "{}: {source}; whether the last append is in it shows when it is read again",
                    file.display()
                )
            }
            Error::Busy { file, waited } => {
                write!(f, "{}: locked by another for {waited:?}", file.display())
            }
            Error::Behind { file } => {
                write!(f, "{}: others have written since it was last read", file.display())
            }
            Error::Damaged { file, line, flaw } => {
                write!(f, "{}:{line}: damaged ({flaw}); the file was left as it is", file.display())
            }
            Error::Foreign { file, line, source } => {
                write!(f, "{}:{line}: not a record this program knows: {source}", file.display())
            }
            Error::Refused { file, source } => {
                write!(f, "{}: a record that cannot be kept: {source}", file.display())
            }
            Error::TooLarge { file, bytes } => {
                write!(
                    f,
                    "{}: a record of {bytes} bytes, above {}",
                    file.display(),
                    crate::MOST_BYTES
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Unsure { source, .. } => Some(source),
            Error::Foreign { source, .. } | Error::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}
