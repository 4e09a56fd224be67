//! State on disk that survives a crash: an atomic write, a lock file that frees itself, an append-only journal.
//!
//! ```
//! use durable::Journal;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tasks.jsonl");
//! let (mut journal, news) = Journal::<String>::open(&path)?;
//! let mut tasks = news.records;
//!
//! // Between these two lines no other process reads or writes, so no update is lost.
//! let (mut held, news) = journal.lock()?;
//! if news.afresh {
//!     tasks.clear();
//! }
//! tasks.extend(news.records);
//! if !tasks.contains(&"write the docs".into()) {
//!     held.append(&"write the docs".into())?; // On the disk when it returns.
//!     tasks.push("write the docs".into());
//! }
//! drop(held);
//!
//! let (_, news) = Journal::<String>::open(&path)?;
//! assert_eq!(news.records, ["write the docs"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! - [`write()`] replaces a file: whoever reads it finds the old content or the new, whole.
//! - [`Lock`] keeps other threads and processes out, and ends with its holder, even by kill -9.
//! - [`Journal`] is an append-only file with numbered and summed lines that several processes share.
//!
//! # What holds, and what does not
//!
//! - `Ok` means flushed. What was acknowledged is found again after kill -9, and after a power cut as far as the disk
//!   tells the truth about its flushes.
//! - A damaged file is never overwritten and never deleted: its torn end is set aside and reported, damage before its
//!   end is an error until a person decides ([`Journal::salvage`]).
//! - Not seen is a file that was cut exactly between two appends, or put back from a backup in the same inode with the
//!   same length. The sums are against accidents, not against an attacker.
//! - Locks are advisory and for local disks; the files are their owner's alone (0600, folders 0700). Unix only.

mod error;
mod journal;
mod lock;
mod record;
mod step;
#[cfg(test)]
mod tests;
mod write;

pub use error::{Error, Flaw};
pub use journal::{Held, Journal, News, SetAside};
pub use lock::Lock;
pub use record::MOST_BYTES;
pub use write::{create_folder, write};
