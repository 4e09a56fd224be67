//! A board of tasks that wait for each other. Threads and processes share it, and a crash loses
//! nothing.
//!
//! ```
//! use durable::Folder;
//! use rungs_tasks::{Board, Task};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let here = tempfile::tempdir()?;
//! let state = Folder::open(here.path(), ".rungs")?;
//! let board = Board::open(&state, "tasks.jsonl")?;
//! board.create(Task { subject: "build".into(), ..Task::default() })?;
//! board.create(Task { subject: "ship".into(), after: [1].into(), ..Task::default() })?;
//!
//! let claimed = board.claim("ann", rungs_tasks::LEASE)?.expect("#1 can begin");
//! assert_eq!(claimed.to_string(), "#1 [in_progress] build, owner ann");
//! assert_eq!(board.claim("bob", rungs_tasks::LEASE)?, None); // #2 waits for #1.
//! assert_eq!(board.finish(claimed.token(), "fine")?, [2]); // Now #2 can begin.
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! - [`Task`], [`Status`]: what is stored.
//! - [`Tasks`]: all tasks in memory, and the pure decisions about them. No disk, no clock.
//! - [`Board`]: the tasks in an append-only log that processes share: a file, or another
//!   [`Storage`]. Its methods block;
//!   [`Board::blocking`] runs them on a blocking thread, and [`Board::wait_for`] waits for a
//!   change.
//! - [`FencingToken`]: claims of a limited time, which a worker that died does not keep.
//! - [`Claims`], [`Claim`]: the same for async code. A claim is renewed while [`Claim::hold`] runs,
//!   and given back when it is dropped without an answer.
mod board;
mod claims;
mod graph;
mod lease;
mod storage;
mod task;
mod tasks;

pub use board::{Board, BoardError, POLL_INTERVAL};
pub use claims::{Claim, Claims};
pub use lease::{FencingToken, LEASE};
pub use storage::{Log, Storage, Work};
pub use task::{MAX_ATTEMPTS, Status, Task, list};
pub use tasks::{TaskError, Tasks};
