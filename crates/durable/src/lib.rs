//! State on disk that survives a crash: atomic file replacement, an advisory lock and an
//! append-only journal.
//!
//! ```
//! use durable::Journal;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tasks.jsonl");
//! let (mut journal, update) = Journal::<String>::open(&path)?;
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
//! let (_, update) = Journal::<String>::open(&path)?;
//! assert_eq!(update.records, ["write the docs"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! - [`write()`] replaces a file atomically: a reader finds the old content or the new content,
//!   never a mixture.
//! - [`Lock`] is an advisory lock between threads and processes. The kernel releases it when its
//!   holder dies, also after SIGKILL.
//! - [`Journal`] is an append-only file of numbered records with checksums. Several processes can
//!   share it.
//!
//! # Guarantees and limits
//!
//! - `Ok` means flushed with fsync. What was acknowledged survives SIGKILL, and a power cut as far
//!   as the disk reports its flushes truthfully.
//! - Damaged data is never overwritten and never deleted. A torn tail is moved to a quarantine file
//!   and reported. Damage before the tail is an error until a person decides
//!   ([`Journal::salvage`]).
//! - Two kinds of damage are not detected: a file that was truncated exactly between two appends,
//!   and one that was restored from a backup into the same inode with the same length. The
//!   checksums detect accidents, not attackers.
//! - Locks are advisory and work on local file systems. New files have mode 0600, new folders 0700.
//!   Unix only.
//!
//! # Blocking
//!
//! Every function here that returns a [`Result`] waits for the disk, and those of [`Journal`] wait
//! up to ten seconds for its lock. In async code call them on a blocking thread. Dropping a value
//! never waits: it only releases a lock and closes files.

mod error;
mod folder;
mod journal;
mod lock;
mod record;
mod scratch;
mod step;
#[cfg(test)]
mod tests;
mod write;

pub use error::{Damage, Error, Foreign};
pub use folder::Folder;
pub use journal::{Journal, LockedJournal, Quarantined, Update};
pub use lock::Lock;
pub use record::MAX_RECORD_BYTES;
pub use scratch::Scratch;
pub use write::{create_folder, write};
