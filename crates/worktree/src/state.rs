use crate::{Error, Losses};
use std::{fmt, path::PathBuf};

/// The state of a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its folder.
    pub path: PathBuf,
    /// Its branch.
    pub branch: String,
    /// The abbreviated id of the newest commit of the branch.
    pub commit: String,
    /// The number of commits of the branch that are on no other branch.
    pub ahead: usize,
    /// What no commit holds.
    pub losses: Losses,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { path, branch, commit, ahead, losses } = self;
        write!(f, "{branch} at {commit}, commits that are on no other branch: {ahead}")?;
        write!(f, "; in {}", path.display())?;
        if !losses.work.is_empty() || !losses.ignored.is_empty() {
            write!(f, "\nin no commit of it:\n{losses}")?;
        }
        Ok(())
    }
}

/// A worktree that was removed.
#[derive(Debug)]
pub struct Removed {
    /// Its state before.
    pub state: State,
    /// Why some of its files could not be deleted, if so. The next creation of a worktree tries it
    /// again.
    pub leftover: Option<Error>,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { path, branch, commit, ahead, losses } = &self.state;
        write!(f, "removed {}; the branch {branch} stays at {commit}, ", path.display())?;
        write!(f, "commits that are on no other branch: {ahead}")?;
        if !losses.ignored.is_empty() {
            write!(f, "\nDeleted with it, {losses}")?;
        }
        if let Some(error) = &self.leftover {
            write!(f, "\nNot all of its files could be deleted: {error}")?;
        }
        Ok(())
    }
}
