use crate::{Error, Losses};
use std::{fmt, path::PathBuf};

/// The state of a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its folder.
    pub path: PathBuf,
    /// The same as seen from the folder of the [`Trees`](crate::Trees), if it is below that.
    pub relative: PathBuf,
    /// Its branch.
    pub branch: String,
    /// The abbreviated id of the newest commit of the branch.
    pub commit: String,
    /// The number of commits of the branch that are on no other branch.
    pub ahead: usize,
    /// What no commit holds.
    pub losses: Losses,
}

/// In one row, without the folder.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { branch, commit, losses, .. } = self;
        write!(f, "{branch} at {commit}, {}", self.own_commits())?;
        if !losses.work.is_empty() || !losses.ignored.is_empty() {
            write!(f, "; in no commit: {}", losses.to_string().replace('\n', ", "))?;
        }
        Ok(())
    }
}

impl State {
    fn own_commits(&self) -> String {
        let commits = if self.ahead == 1 { "commit" } else { "commits" };
        format!("{} {commits} on no other branch", self.ahead)
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
        let State { relative, branch, commit, losses, .. } = &self.state;
        write!(f, "removed {}; the branch {branch} stays at {commit}, ", relative.display())?;
        f.write_str(&self.state.own_commits())?;
        if !losses.ignored.is_empty() {
            write!(f, "\nDeleted with it, {losses}")?;
        }
        if let Some(error) = &self.leftover {
            write!(f, "\nNot all of its files could be deleted: {error}")?;
        }
        Ok(())
    }
}
