use crate::MAX_FILE_BYTES;
use rungs_files::PathErrorKind;
use std::path::PathBuf;

/// Why something was not kept, or not put back. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {kind}", path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: PathErrorKind,
    },
    /// A file is too large for a snapshot.
    #[error(
        "{}: it has {bytes} bytes, and snapshots are kept of files of at most {MAX_FILE_BYTES}; \
         rename it or use a command, which no snapshot covers",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A content that was kept is gone, or is not what it was.
    #[error("{}: the content that was kept here is damaged or gone", file.display())]
    Damaged {
        /// Where it was kept.
        file: PathBuf,
    },
    /// There is no such step.
    #[error("there is no step {0}, or its snapshots were removed")]
    NoStep(u64),
    /// A step or a turn was named without its number.
    #[error(
        "`{0}` names no step and no turn: they are counted from 1, as in `3` or `turn 3`; a file \
         of this name is `./{0}`"
    )]
    NoNumber(String),
    /// Two ranges were named.
    #[error("name a step or a turn, not both")]
    StepAndTurn,
    /// There is nothing to undo.
    #[error("there is nothing to undo: {0}; what commands change is not covered")]
    Nothing(String),
    /// Older snapshots of the file were removed.
    #[error(
        "{}: its snapshots from turn {turn} were removed, since they were old or took too much \
         room; the oldest that is left is that of step {step}",
        path.display()
    )]
    Pruned {
        /// The file.
        path: PathBuf,
        /// The turn of the newest one that was removed.
        turn: u64,
        /// The oldest step that has a snapshot.
        step: u64,
    },
    /// The file is in a state that no step holds.
    #[error("{}: it has just been changed by something else; try again", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
    },
    /// The snapshots cannot be read or written.
    #[error(transparent)]
    Disk(#[from] durable::Error),
}
