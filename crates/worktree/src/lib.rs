//! Git worktrees, each on a branch of its own, that are never removed with uncommitted work in
//! them.
//!
//! A linked worktree is a second folder of files of one repository, with its own branch, index and
//! `HEAD`, so that several agents can change files of the same repository without seeing each
//! other's changes. Here each worktree has a name, lies in a folder of that name, and is on the
//! branch `rungs/NAME`. Work in it can stop at any time, also by a crash, and be resumed.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let repository = git2::Repository::init(dir.path())?;
//! # let tree = repository.find_tree(repository.index()?.write_tree()?)?;
//! # let who = git2::Signature::now("Who", "who@localhost")?;
//! # repository.commit(Some("HEAD"), &who, &who, "Start", &tree, &[])?;
//! # let folder = dir.path();
//! use rungs_worktree::Trees;
//!
//! let trees = Trees::new(folder, folder.join(".trees"));
//! let tree = trees.take("1-greeting")?;
//! std::fs::write(tree.path().join("hello.txt"), "hello\n")?;
//! drop(tree);
//! let refused = trees.remove("1-greeting", false).unwrap_err().to_string();
//! assert!(refused.ends_with("would be lost:\nuntracked: hello.txt"));
//!
//! let tree = trees.take("1-greeting")?;
//! assert_eq!(tree.commit("Say hello")?.map(|commit| commit.files), Some(1));
//! drop(tree);
//! let state = trees.remove("1-greeting", false)?.state;
//! assert_eq!((state.branch.as_str(), state.ahead), ("rungs/1-greeting", 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees and limits
//!
//! - A [`Tree`] is exclusive among threads and processes until it is dropped: a lock file in the
//!   folder of the worktrees enforces that.
//! - No branch is ever deleted, except one that a creation made and that failed right then, and one
//!   that [`Trees::clean_up`] has found merged. No file of a person is ever overwritten.
//! - A submodule in a worktree counts as part of it: what git says of it must be clean, and each
//!   commit that was made in it must be on a branch of its remote.
//! - SIGKILL at any moment leaves nothing behind that prevents a worktree from being created,
//!   taken, committed or removed later.
//! - A lock file of git, such as `index.lock`, that is older than ten seconds counts as stale and
//!   is removed, if nobody has taken the worktree. If it did belong to a running git, for example a
//!   `git commit` with its editor open, that command fails with a message; no file is lost.
//! - The work is done by libgit2, not by the program `git`: no hook runs, and no commit is signed.
//!   A change with a filter that runs a program, such as git-crypt or Git LFS, is not committed.
//!   Changes that `git update-index --assume-unchanged` hides are not seen here either.
//! - Unix only.
//!
//! # Blocking
//!
//! Every function that returns a [`Result`] reads or writes files and waits for locks: up to one
//! second for that of one worktree, up to ten minutes while other processes fill new worktrees with
//! files. In async code call them on a blocking thread. Dropping a [`Tree`] or a [`Reservation`]
//! only releases its lock and never waits.

mod create;
mod error;
mod files;
mod lacks;
mod losses;
mod merge;
mod overlap;
mod prune;
mod repository;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod trees;

pub use create::Reservation;
pub use error::Error;
pub use losses::{LossKind, Losses};
pub use merge::Merged;
pub use overlap::Overlap;
pub use prune::{CleanedUp, Pruned};
pub use state::{Removed, State};
pub use tree::{Commit, Tree};
pub use trees::Trees;
