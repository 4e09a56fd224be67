//! Claims of a limited time, for workers that may die at any moment. Three rules make them safe
//! among threads and processes; see [`FencingToken`].
use crate::{Board, BoardError, Task};
use std::time::{Duration, SystemTime};

/// How long a claim lasts unless it is renewed. It is several times as long as a renewal may take:
/// the file's lock may be busy, and the disk slow.
pub const LEASE: Duration = Duration::from_secs(30);

/// The right to answer for a task: the number of its attempt. Three rules make claims safe:
///
/// - A claim is **atomic**. It is decided and written while the lock of the board's file is held.
/// - A claim is a **lease**. It ends by itself unless it is renewed. Then another worker may claim
///   the task: a **takeover**, which counts as a failed attempt.
/// - An answer is **fenced**. Every claim of a task gets a greater number, and only the newest one
///   may answer. The worker of an older one cannot know that it is late: nothing stops a process
///   from sleeping past its lease.
///
/// The fence, not the clock, keeps a task from being finished twice. Clocks of machines differ and
/// jump. Then a lease ends too early or too late, which costs an attempt or some time, and nothing
/// else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FencingToken {
    /// The number of the task.
    pub task: u64,
    /// The number of the attempt. Of two tokens for one task, the one with the greater number is
    /// the newer.
    pub attempt: u32,
}

/// Claims. Async code uses [`Claims`](crate::Claims) instead, which renews a lease and gives back
/// what was dropped.
impl Board {
    /// Whether a claim would find something to do. It takes no lock while nobody writes.
    ///
    /// # Errors
    /// See [`look`](Board::look).
    pub fn claimable(&self) -> Result<bool, BoardError> {
        self.look(|tasks| tasks.is_claimable(now()))
    }

    /// Claims a task for `owner`, for the time of `lease`: one whose lease has ended, else the next
    /// one that can begin. Its [`token`](Task::token) is the right to answer for it.
    ///
    /// # Errors
    /// See [`change`](Board::change).
    pub fn claim(&self, owner: &str, lease: Duration) -> Result<Option<Task>, BoardError> {
        // Idle workers ask often; without this look they would all queue for the lock.
        if !self.claimable()? {
            return Ok(None);
        }
        // The clock is read under the lock, for which this may have waited.
        self.change(|tasks| Ok(tasks.claimed(owner, now(), end_of(lease))))
    }

    /// Starts the lease anew.
    ///
    /// # Errors
    /// [`TaskError::Stale`](crate::TaskError::Stale) when the claim is over; see also
    /// [`change`](Board::change).
    pub fn renew(&self, token: FencingToken, lease: Duration) -> Result<(), BoardError> {
        self.change(|tasks| Ok((vec![tasks.renewed(token, end_of(lease))?], ())))
    }

    /// The task is done. Returns the tasks that can begin because of it.
    ///
    /// # Errors
    /// Those of [`renew`](Board::renew), and [`TaskError::Blocked`](crate::TaskError::Blocked) when
    /// a task that this one waited for was opened again; then the claim stands.
    pub fn finish(&self, token: FencingToken, result: &str) -> Result<Vec<u64>, BoardError> {
        self.change(|tasks| {
            let (task, freed) = tasks.finished(token, result)?;
            Ok((vec![task], freed))
        })
    }

    /// The attempt has failed. The task can be claimed again, and the next worker reads why; after
    /// [`MAX_ATTEMPTS`](crate::MAX_ATTEMPTS) it is set aside.
    ///
    /// # Errors
    /// Those of [`renew`](Board::renew).
    pub fn fail(&self, token: FencingToken, why: &str) -> Result<(), BoardError> {
        self.change(|tasks| Ok((vec![tasks.failed(token, why)?], ())))
    }

    /// Gives the task back: no attempt has failed, its worker has to go.
    ///
    /// # Errors
    /// Those of [`renew`](Board::renew).
    pub fn release(&self, token: FencingToken) -> Result<(), BoardError> {
        self.change(|tasks| Ok((vec![tasks.released(token)?], ())))
    }
}

/// When a lease ends that begins now, in milliseconds since 1970.
fn end_of(lease: Duration) -> u64 {
    now().saturating_add(lease.as_millis().try_into().unwrap_or(u64::MAX))
}

/// In milliseconds since 1970: a clock that other processes share, also those that start later.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests;
