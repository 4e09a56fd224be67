//! What files were before they were changed, kept on disk so that every change can be undone.
//!
//! - A [`Step`] is one call that writes. [`Store::begin`] keeps what its files are **before** it
//!   runs (write-ahead): their content and mode, or that they do not exist. When it returns, all of
//!   that is on the disk. [`Store::end`] records what they are afterwards.
//! - Contents are **content-addressed**: each is kept once, in a file named by its SHA-256.
//! - [`Store::plan`] finds what would undo a file, a step or all since a turn; [`Store::revert`]
//!   does it, for all files or none. It replaces no content that no step holds, so whoever begins a
//!   step for the files first can undo the undoing too.
//! - Steps are a resource, not a state: they are not withdrawn with what was asked for.
//! - [`uncommitted`] says what git knows of changes that passed no step.
//!
//! Everything here blocks.
//!
//! ```
//! use rungs_files::Root;
//! use rungs_snapshots::{Author, Limits, Range, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let here = tempfile::tempdir()?;
//! let root = Root::open(here.path())?.deny(&[".rungs"]);
//! let store = Store::open(&durable::Folder::open(here.path(), ".rungs")?, Limits::default())?;
//!
//! let step = store.begin(&root, None, &Author::default(), &["notes.txt".into()])?;
//! root.write("notes.txt", b"milk", None)?;
//! store.end(&root, step)?;
//!
//! let plan = store.plan(Range::Newest, None, None)?;
//! store.begin(&root, None, &Author::default(), &plan.paths())?;
//! store.revert(&root, &plan)?;
//! assert!(!here.path().join("notes.txt").exists());
//! # Ok(())
//! # }
//! ```
mod error;
mod git;
mod listing;
mod objects;
mod prune;
mod revert;
mod step;
mod store;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use git::uncommitted;
pub use objects::MAX_FILE_BYTES;
pub use prune::Limits;
pub use revert::{Outcome, Plan, Range, Reverted, Selection, Undo};
pub use step::{Author, Change, End, State, Step};
pub use store::{Begun, Contents, Store};
