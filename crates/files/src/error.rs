//! The errors of this crate. Their texts are for the model that named the path or the pattern.
use crate::{NearestMatch, edit, image, notebook, text};
use rustix::io::Errno;
use std::{io, time::Duration};

/// A path that was not opened or written, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}{kind}", prefix(path))]
pub struct PathError {
    /// The path as the caller gave it.
    pub path: String,
    /// The reason.
    pub kind: PathErrorKind,
}

/// Why a path was not opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathErrorKind {
    /// The path is empty or contains a NUL character.
    #[error("the path is empty or holds a NUL character")]
    InvalidPath,
    /// The path leads out of the root.
    #[error("it is outside the working directory")]
    Outside,
    /// A link on the way leads out of the root, or its target does not exist.
    #[error("a link leads it outside the working directory, or nowhere")]
    LinkOutside,
    /// The path contains a name that [`Root::deny`](crate::Root::deny) excludes.
    #[error("this folder is closed to tools")]
    Denied,
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// There is no such file, and these are several whose names look the same.
    #[error("there is no such file, but several look the same: {0}")]
    Ambiguous(String),
    /// Of several changes at once, this one needs a folder where the other makes a file, or the
    /// other way around.
    #[error("together with {0} it cannot be: one name would be a file and a folder")]
    FileAndFolder(String),
    /// It is a folder.
    #[error("this is a folder")]
    IsFolder,
    /// It is a pipe, a device or a socket.
    #[error("this is no regular file")]
    NotRegularFile,
    /// A name on the way was replaced between the check and the opening.
    #[error("it changed while it was being opened")]
    Race,
    /// A write expected another state: the file was created, changed or removed in the meantime.
    #[error("it was made, changed or removed meanwhile")]
    Conflict,
    /// The mode of the file forbids writing.
    #[error("it is write-protected")]
    ReadOnly,
    /// Any other error of the system.
    #[error(transparent)]
    Io(io::Error),
}

impl PathError {
    pub(crate) fn new(path: &str, kind: impl Into<PathErrorKind>) -> Self {
        PathError { path: path.into(), kind: kind.into() }
    }
}

/// An invalid path is not repeated: there is nothing in it to recognise, or a NUL character.
fn prefix(path: &str) -> String {
    if path.is_empty() || path.contains('\0') { String::new() } else { format!("{path}: ") }
}

impl From<Errno> for PathErrorKind {
    /// What an error means when a file is opened below a directory handle without following links.
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => PathErrorKind::NotFound,
            Errno::ISDIR => PathErrorKind::IsFolder,
            Errno::OPNOTSUPP | Errno::NXIO => PathErrorKind::NotRegularFile,
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => PathErrorKind::Race,
            errno => PathErrorKind::Io(errno.into()),
        }
    }
}

impl From<io::Error> for PathErrorKind {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => PathErrorKind::Io(error),
        }
    }
}

/// Why the content of a file cannot be shown or edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not text.
    #[error("this is a binary file")]
    Binary,
    /// It is text in UTF-16.
    #[error("this is text in UTF-16; only UTF-8 can be read or edited here")]
    Utf16,
    /// This line, counted from 1, is the first that is not UTF-8.
    #[error("line {0} is not UTF-8 (Latin-1, perhaps); use a command that knows its encoding")]
    NotUtf8(usize),
    /// It is too large to be read whole, as for an edit.
    #[error(
        "it has more than {max} bytes, the most that is read whole; use a command",
        max = text::MAX_EDIT_BYTES
    )]
    TooLargeToEdit,
    /// It has only this many lines, fewer than the first line that was asked for.
    #[error("it has only {}", text::line_count(*.0))]
    PastEnd(usize),
    /// This line is too far from the beginning of the file to be reached in the time there is.
    #[error(
        "after {} s of reading, only line {reached} of the file is reached, and {line} is wanted; \
         use a command, such as `tail -n +{line} FILE | head -n 20`",
        after.as_secs()
    )]
    TooFar {
        /// The first line that was asked for.
        line: usize,
        /// The line that was reached.
        reached: usize,
        /// After how long.
        after: Duration,
    },
    /// It is an image of this many bytes, more than a request may hold.
    #[error(
        "this image has {0} bytes, of which at most {max} can be shown",
        max = image::MAX_BYTES
    )]
    TooManyBytes(u64),
    /// It is an image of this width and height in pixels, larger than a model accepts.
    #[error(
        "this image is {0} x {1} pixels, and at most {max} x {max} can be shown",
        max = image::MAX_SIDE_PIXELS
    )]
    TooManyPixels(usize, usize),
    /// It is a notebook of this many bytes.
    #[error(
        "this notebook has {0} bytes, of which at most {max} can be shown; use a command",
        max = notebook::MAX_BYTES
    )]
    TooLargeNotebook(u64),
    /// Its name ends in `.ipynb`, but it is not a notebook.
    #[error("this is no notebook: {0}")]
    InvalidNotebook(serde_json::Error),
    /// The caller has cancelled.
    #[error("stopped")]
    Cancelled,
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an edit was not made.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The text to replace is empty.
    #[error("`old_string` is empty, which only makes a new file")]
    EmptyOld,
    /// The edit would change nothing.
    #[error("`old_string` and `new_string` are the same, so there is nothing to change")]
    NoChange,
    /// The text to replace is not there, and nothing like it.
    #[error("`old_string` is not in the file, nor anything like it")]
    NotFound,
    /// The text to replace is not there; this is most like it.
    #[error("`old_string` is not in the file; {0}")]
    OnlySimilar(NearestMatch),
    /// The text would become too large.
    #[error("the file would have more than {} bytes then; use a command", text::MAX_EDIT_BYTES)]
    TooLarge,
    /// It is a notebook, and the text to replace is in it, but in no cell's source.
    #[error(
        "`old_string` is not in the source of one cell as `read` shows it; only sources can be \
         edited here, not outputs nor the lines `[cell ..]`; to add or remove cells, use a command \
         that loads the JSON"
    )]
    NotInSource,
    /// It should be a notebook, and is none.
    #[error("this is no notebook: {0}")]
    InvalidNotebook(String),
    /// The text to replace is there more than once, beginning on these lines.
    #[error(
        "`old_string` is there {}{} times, on lines {}: add lines around it until it is unique, or \
         set `replace_all`",
        if .0.len() == edit::MAX_AMBIGUOUS { "at least " } else { "" },
        .0.len(),
        first_lines(.0)
    )]
    Ambiguous(Vec<usize>),
}

fn first_lines(lines: &[usize]) -> String {
    const MAX_SHOWN: usize = 10;
    let mut shown: Vec<String> = lines.iter().take(MAX_SHOWN).map(usize::to_string).collect();
    if lines.len() > MAX_SHOWN {
        shown.push("...".into());
    }
    shown.join(", ")
}

/// Why a search was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The file or folder to search cannot be opened.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The regular expression is empty.
    #[error("`pattern` is empty")]
    EmptyPattern,
    /// The regular expression is invalid.
    #[error("`pattern`: {error}\n({hint})")]
    Pattern {
        /// What is wrong with it.
        error: grep_regex::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The glob is invalid.
    #[error(transparent)]
    Glob(#[from] globset::Error),
    /// This glob contains `..`.
    #[error("{0}: it may not hold `..`; `path` says where to search")]
    ParentInGlob(String),
    /// The glob is too long or too deep.
    #[error("the glob {0}")]
    GlobTooComplex(&'static str),
    /// ripgrep has no file type of this name.
    #[error("`type`: ripgrep knows no type of file `{0}`")]
    UnknownType(String),
    /// The caller has cancelled.
    #[error("stopped")]
    Cancelled,
}
