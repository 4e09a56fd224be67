use crate::{MAX_JOURNAL_BYTES, MAX_RECORD_BYTES};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// What can go wrong with state on disk. Each message names the file, and the line where one is at
/// fault.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Error {
    /// A file operation failed. The change is not visible to anybody, with the exceptions that
    /// [`Folder::write`](crate::Folder::write) and [`compact`](crate::LockedJournal::compact)
    /// document.
    #[error("cannot {doing} {file}: {source}")]
    Io { file: PathBuf, doing: &'static str, source: io::Error },
    /// Something else than a file or folder of ours is where state is kept. It was not touched.
    #[error("{file} {found}; nothing was read or written there")]
    NotOurs { file: PathBuf, found: Foreign },
    /// The path of an open folder does not lead to it any more.
    #[error("the folder {folder} was moved or replaced while this program ran")]
    Replaced { folder: PathBuf },
    /// An append failed and could not be rolled back. The next read shows whether it took effect.
    #[error("{file}: {source}; only the next read shows whether the append took effect")]
    OutcomeUnknown { file: PathBuf, source: io::Error },
    /// Others held the lock during all of the timeout.
    #[error("{file}: still locked by another after {waited:?}")]
    LockTimeout { file: PathBuf, waited: Duration },
    /// Others have written since this journal was last read. Read, decide again, then append.
    #[error("{file}: others have written since it was last read")]
    Stale { file: PathBuf },
    /// Damage that is no torn tail. The file is not changed;
    /// [`Journal::salvage`](crate::Journal::salvage) keeps the intact records, and moves the file
    /// to quarantine. Of how many are lost only so many are known of.
    #[error(
        "{file}:{line}: {damage}; {kept} records intact, {lost} lost; the file was not changed"
    )]
    Damaged { file: PathBuf, line: u64, damage: Damage, kept: u64, lost: u64 },
    /// An intact line that is not a record of this type. Another version of the program may have
    /// written it.
    #[error("{file}:{line}: not a record of the expected type: {source}")]
    UnknownRecord { file: PathBuf, line: u64, source: serde_json::Error },
    /// The record has no JSON form that can be read back as the same type. Nothing was written.
    #[error("{file}: the record cannot be stored: {source}")]
    Unserializable { file: PathBuf, source: serde_json::Error },
    /// The record is larger than [`MAX_RECORD_BYTES`]. Nothing was written.
    #[error("{file}: a record of {bytes} bytes exceeds the limit of {MAX_RECORD_BYTES} bytes")]
    TooLarge { file: PathBuf, bytes: usize },
    /// The journal would become larger than [`MAX_JOURNAL_BYTES`]. Nothing was written.
    #[error("{file}: the journal is full, {MAX_JOURNAL_BYTES} bytes are the most")]
    Full { file: PathBuf },
}

/// What is wrong with a journal or a line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not end with a newline: its write was interrupted.
    #[error("torn line")]
    Torn,
    /// Its checksum is not that of its content.
    #[error("wrong checksum")]
    Checksum,
    /// It is intact, but its number is not the next one: lines are missing or repeated.
    #[error("out of sequence")]
    OutOfSequence,
    /// It is intact, but not all records of the same append are there.
    #[error("incomplete append")]
    IncompleteAppend,
    /// The file was removed while the program ran.
    #[error("the file was removed while this program ran")]
    Removed,
    /// The file has become shorter than what was already read from it.
    #[error("the file was cut off while this program ran")]
    Truncated,
    /// What was already read from the file is not in it any more.
    #[error("the file was overwritten while this program ran")]
    Overwritten,
    /// There is another file in its place, which does not hold what was already read.
    #[error("the file was replaced by another version while this program ran")]
    Replaced,
}

/// What is where a file or folder of ours is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Foreign {
    /// A symbolic link.
    #[error("is a symbolic link, which is not followed")]
    Link,
    /// A named pipe.
    #[error("is a named pipe, neither a file nor a folder")]
    Fifo,
    /// A socket.
    #[error("is a socket, neither a file nor a folder")]
    Socket,
    /// A device.
    #[error("is a device, neither a file nor a folder")]
    Device,
    /// A folder, where a file is expected.
    #[error("is a folder, not a file")]
    Folder,
    /// A file, where a folder is expected.
    #[error("is a file, not a folder")]
    File,
    /// A file or folder of the user with this number.
    #[error("belongs to another user (number {0})")]
    OfUser(u32),
    /// A file with more than one name.
    #[error("has a second name (a hard link)")]
    HardLink,
    /// A file that is larger than what may be read.
    #[error("has {bytes} bytes, more than the {max_bytes} that may be read")]
    TooLarge { bytes: u64, max_bytes: u64 },
}

impl Error {
    pub(crate) fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { file: file.into(), doing, source }
    }
}
