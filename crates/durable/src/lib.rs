//! State on disk that survives a crash: atomic file replacement, an advisory lock and an
//! append-only journal.
//!
//! ```
//! use durable::{Folder, Journal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let here = tempfile::tempdir()?;
//! let state = Folder::open(here.path(), ".rungs")?;
//! let (mut journal, update) = Journal::<String>::open(&state, "tasks.jsonl")?;
//! let mut tasks = update.records;
//!
//! // Read, decide and append under one lock: no other process's update is lost.
//! let (mut locked, update) = journal.lock()?;
//! if update.reset {
//!     tasks.clear();
//! }
//! tasks.extend(update.records);
//! if !tasks.contains(&"write the docs".into()) {
//!     locked.append(&"write the docs".into())?; // On the disk when it returns.
//!     tasks.push("write the docs".into());
//! }
//! drop(locked);
//!
//! let (_, update) = Journal::<String>::open(&state, "tasks.jsonl")?;
//! assert_eq!(update.records, ["write the docs"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! - [`Folder`] is a folder of the program's own state. Nothing in it is opened by its path: a
//!   link, a pipe, a device or another user's file in the place of state is an error that names it.
//!   [`Folder::write`] replaces a file atomically.
//! - [`Lock`] is an advisory lock between threads and processes. The kernel releases it when its
//!   holder dies, also after SIGKILL.
//! - [`Journal`] is an append-only file of numbered records with checksums. Several processes can
//!   share it.
//! - [`Scratch`] is a folder of one run.
//!
//! # Guarantees and limits
//!
//! - `Ok` means flushed with fsync. What was acknowledged survives SIGKILL, and a power cut as far
//!   as the disk reports its flushes truthfully.
//! - Damaged data is never overwritten and never deleted. A torn tail is moved to a quarantine file
//!   and reported. Any other damage is an error until a person decides ([`Journal::salvage`],
//!   [`damaged_journals`]); then every intact record is kept, and it is said how many are not.
//! - An open journal notices when its file does not hold any more what was read from it: removed,
//!   cut off, overwritten, replaced by an older copy ([`Update::rewound`]). A compaction by another
//!   process is not taken for that. Not noticed: an older copy that another process, which knows
//!   no more than the copy, has written into and compacted before this one looked again. A change
//!   within the same tick of the file system's clock that leaves the size as it was is noticed at
//!   the next change only.
//! - To a program that opens a journal anew, a file that was truncated exactly between two appends
//!   and an older copy look intact. The checksums detect accidents, not attackers.
//! - Locks are advisory and work on local file systems. New files have mode 0600, new folders 0700.
//!   Unix only.
//!
//! # Blocking
//!
//! Every function here that returns a [`Result`] waits for the disk, and those of [`Journal`] wait
//! up to ten seconds for its lock, all but [`is_current`](Journal::is_current). In async code call
//! them on a blocking thread. Dropping a value never waits: it only releases a lock and closes
//! files.

mod error;
mod folder;
mod journal;
mod lock;
mod record;
mod scratch;
mod step;
#[cfg(test)]
mod tests;

pub use error::{Damage, Error, Foreign};
pub use folder::Folder;
pub use journal::{
    Journal, Locked, LockedJournal, MAX_JOURNAL_BYTES, Quarantined, Update, damaged_journals,
};
pub use lock::Lock;
pub use record::MAX_RECORD_BYTES;
pub use scratch::Scratch;
