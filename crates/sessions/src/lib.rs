//! Conversations on disk. It knows no agent: what a record holds is JSON of its caller.
//!
//! A session is a folder with an append-only journal (`session.jsonl`, see [`durable::Journal`]).
//! Every record has a number and the number of its parent, so the records of a session are a tree,
//! and the conversation is the path from the root to the newest record, the head. Nothing is ever
//! rewritten:
//!
//! - a **rewind** is a record whose parent is an older one;
//! - a **rewritten history** (compaction) is a new branch from the root;
//! - a **fork** is a session whose first record names another session and a record of it: the path
//!   goes on there, and nothing is copied. Its numbers follow that record's, so that a number means
//!   one record only, whichever file holds it.
//!
//! Guarantees:
//!
//! - What [`Conversation::sync`] has acknowledged is flushed; what [`Conversation::write`] has,
//!   survives a killed process. A torn tail is set aside at the next
//!   opening; a damaged line is named with its number, and all others are kept.
//! - One process at a time has a session open for writing. The kernel releases its lock when it
//!   dies.
//! - Ids are checked before they become names of folders, also those that a file holds.
//! - Keys are replaced before anything is written ([`Redactor`]).
//! - A record of an unknown kind stays in the file and keeps its place in the tree. A session whose
//!   format is newer than [`VERSION`] is refused, and its file is not changed.
//!
//! Every function that returns a [`Result`] blocks.

mod conversation;
mod current;
mod error;
pub mod export;
mod patch;
mod record;
mod redact;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod tree;

pub use conversation::{Conversation, Now, Step};
pub use current::Current;
pub use error::Error;
pub use record::{Begin, Fork, Record, Turn, VERSION};
pub use redact::{REDACTED, Redactor};
pub use session::Session;
pub use store::{Sessions, Summary};
pub use tree::Tree;

/// The result of what waits for the disk.
pub type Result<T, E = Error> = std::result::Result<T, E>;
