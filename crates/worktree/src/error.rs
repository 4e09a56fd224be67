use crate::{State, losses::files};
use std::{fmt, io, path::PathBuf};

/// Why nothing was done. Every message names the folder or the branch, and what would help.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Error {
    /// It is made part of a path and of a branch's name, so it has only what neither could misread.
    Name(String),
    /// The folder is in no git repository.
    NoRepository(PathBuf),
    /// The repository is bare: it has no folder of files.
    Bare(PathBuf),
    /// No commit is checked out yet, so there is nothing to begin from.
    NoCommit(PathBuf),
    /// There is no tree of this name.
    NoTree(PathBuf),
    /// Somebody works in the tree, here or in another process.
    Busy(PathBuf),
    /// What is there is not the tree that its name says. It was left alone.
    Unfit { path: PathBuf, why: String },
    /// A tree that is being made, or whose making was cut off.
    HalfMade(PathBuf),
    /// What somebody put into a tree while it was half made.
    SetAside(PathBuf),
    /// A lock file of git.
    Locked(PathBuf),
    /// The tree is in the middle of something, such as a merge, or has conflicts.
    Unfinished { path: PathBuf, doing: String, conflicts: Vec<PathBuf> },
    /// A changed file passes a program on its way into git, which is not run here.
    Filtered { path: PathBuf, file: PathBuf, filter: String },
    /// Removing the tree would lose work.
    Dirty(Box<State>),
    /// The disk.
    Io { path: PathBuf, source: io::Error },
    /// The lock or the folder of the trees.
    Lock(durable::Error),
    /// Git.
    Git { doing: String, source: git2::Error },
}

impl Error {
    pub(crate) fn git(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> Error {
        move |source| Error::Git { doing: doing.into(), source }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { path: path.into(), source }
    }
}

impl From<durable::Error> for Error {
    fn from(error: durable::Error) -> Self {
        Error::Lock(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Name(name) => {
                write!(
                    f,
                    "{name:?} is no name for a tree: at most 60 of a-z, 0-9 and `-`, which is not the first"
                )
            }
            Error::NoRepository(path) => {
                write!(f, "{} is in no git repository; `git init` makes one", path.display())
            }
            Error::Bare(path) => {
                write!(f, "{} is a bare repository, without files to work on", path.display())
            }
            Error::NoCommit(path) => {
                write!(
                    f,
                    "{}: no commit is checked out yet, so there is nothing to begin from; commit something",
                    path.display()
                )
            }
            Error::NoTree(path) => write!(f, "there is no tree in {}", path.display()),
            Error::Busy(path) => write!(f, "somebody works in {}", path.display()),
            Error::Unfit { path, why } => {
                write!(f, "{}: {why}; it was left as it is", path.display())
            }
            Error::HalfMade(path) => {
                write!(
                    f,
                    "{} is half made: it is being made, or that was cut off, and is done anew",
                    path.display()
                )
            }
            Error::SetAside(path) => {
                write!(
                    f,
                    "{}: what somebody had put into a half-made tree; look at it, and delete it",
                    path.display()
                )
            }
            Error::Locked(path) => {
                write!(
                    f,
                    "{} is there, so a git is at work; if none is, delete that file",
                    path.display()
                )
            }
            Error::Unfinished { path, doing, conflicts } => {
                write!(
                    f,
                    "{} is in the middle of {doing}; finish that first, or give it up",
                    path.display()
                )?;
                if conflicts.is_empty() {
                    Ok(())
                } else {
                    write!(f, ". In conflict: {}", files(conflicts))
                }
            }
            Error::Filtered { path, file, filter } => write!(
                f,
                "{} passes the filter `{filter}` on its way into git, a program that is not run here; nothing was \
                 committed, `git add -A` and `git commit` in {} do it",
                files(std::slice::from_ref(file)),
                path.display()
            ),
            Error::Dirty(state) => {
                let State { path, branch, losses, .. } = &**state;
                write!(
                    f,
                    "{} was not removed. What is not on {branch} would be lost:\n{losses}",
                    path.display()
                )?;
                // With nothing else in the way, the word is the caller's.
                if losses.work.is_empty() {
                    f.write_str("\nAsk for it with `ignored: true` if that may go")
                } else {
                    Ok(())
                }
            }
            Error::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Lock(error) => write!(f, "{error}"),
            Error::Git { doing, source } => write!(f, "cannot {doing}: {}", source.message()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Lock(error) => Some(error),
            Error::Git { source, .. } => Some(source),
            _ => None,
        }
    }
}
