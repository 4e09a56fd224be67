use crate::{Board, BoardError, FencingToken, Task, TaskError, lease::now};
use std::{
    fmt,
    future::pending,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Claims for async code. Everything that blocks runs on blocking threads of the runtime.
///
/// ```
/// use rungs_tasks::{Board, Claims, LEASE, Task};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let here = tempfile::tempdir()?;
/// # let state = durable::Folder::open(here.path(), ".rungs")?;
/// # let board = Board::open_async(&state, "tasks.jsonl").await?;
/// # let task = Task { subject: "build".into(), ..Task::default() };
/// # board.blocking(move |board| board.create(task)).await?;
/// # let work = async || "fine";
/// let claims = Claims::new(board.clone(), LEASE);
/// claims.wait().await?; // Until there is something to claim.
/// if let Some(claim) = claims.claim("ann").await? {
///     tokio::select! {
///         result = work() => println!("now {:?} can begin", claim.finish(result).await?),
///         () = claim.hold() => println!("#{} was taken over", claim.task().id),
///     }
/// }
/// board.drain().await; // At the end of the program.
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Claims {
    board: Board,
    lease: Duration,
}

impl Claims {
    /// Claims on this board that end after `lease` unless they are renewed; [`LEASE`](crate::LEASE)
    /// is a good choice.
    pub fn new(board: Board, lease: Duration) -> Claims {
        Claims { board, lease }
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Waits until there is something to claim, which somebody else may claim first. May be dropped
    /// at any time.
    ///
    /// # Errors
    /// Those of [`Board::look`].
    pub async fn wait(&self) -> Result<(), BoardError> {
        self.board.wait_for(|tasks| tasks.is_claimable(now())).await
    }

    /// Claims a task for `owner`, as [`Board::claim`] does. When this future is dropped, the task
    /// is given back.
    ///
    /// # Errors
    /// Those of [`Board::claim`].
    pub async fn claim(&self, owner: &str) -> Result<Option<Claim>, BoardError> {
        let (owner, lease) = (owner.to_string(), self.lease);
        let claim = move |board: &Board| {
            let Some(task) = board.claim(&owner, lease)? else { return Ok(None) };
            let holding = Holding {
                board: board.clone(),
                lease,
                task,
                answering: Mutex::default(),
                ended: OnceLock::new(),
                _in_flight: board.in_flight(),
            };
            Ok(Some(Claim(Arc::new(holding))))
        };
        self.board.blocking(claim).await
    }
}

/// A claimed task, and the right to answer for it. Clones are the same claim.
///
/// **Dropped without an answer, it gives its task back**, as if it had not been begun. `Drop`
/// itself does no disk work, as it may run on a thread of the runtime: it makes a note, and a
/// blocking thread writes it. Whoever looks at the board later in this process sees the task as
/// pending. Other processes see it once it is written, and [`Board::drain`] waits for that. Without
/// a runtime, or when the process is killed, the lease ends by itself.
#[derive(Debug, Clone)]
pub struct Claim(Arc<Holding>);

#[derive(Debug)]
struct Holding {
    board: Board,
    lease: Duration,
    task: Task,
    /// Held during an answer or a renewal, on blocking threads only: or a renewal that comes just
    /// after an answer would take the claim for lost.
    answering: Mutex<()>,
    ended: OnceLock<Ended>,
    _in_flight: TaskTrackerToken,
}

/// How a claim has ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    /// Its holder has answered, or tried to and was refused as too late.
    Answered,
    /// A renewal was refused: the task was taken over, or changed by hand.
    Lost,
}

impl Claim {
    /// The task as it was when it was claimed, with the reasons why earlier attempts failed.
    pub fn task(&self) -> &Task {
        &self.0.task
    }

    /// Whether an answer is still expected: false after an answer that was accepted or came too
    /// late, and after a renewal that was refused.
    pub fn is_open(&self) -> bool {
        self.0.ended.get().is_none()
    }

    /// Renews the lease three times per lease, and returns when the claim is lost: when somebody
    /// has taken the task over, or changed it by hand. After an answer it never returns. It belongs
    /// into a `select!` beside the work, and may be dropped at any time.
    pub async fn hold(&self) {
        loop {
            match self.0.ended.get() {
                None => tokio::time::sleep(self.0.lease / 3).await,
                Some(Ended::Lost) => return,
                Some(Ended::Answered) => pending().await,
            }
            self.renew().await;
        }
    }

    /// The task is done. Returns the tasks that can begin because of it. See [`Board::finish`].
    ///
    /// Once begun, an answer is written also when its future is dropped.
    ///
    /// # Errors
    /// Those of [`Board::finish`]. After [`TaskError::Stale`] the claim has ended, after any other
    /// error it stands.
    pub async fn finish(&self, result: impl Into<String>) -> Result<Vec<u64>, BoardError> {
        let result = result.into();
        self.answer(move |board, token| board.finish(token, &result)).await
    }

    /// The attempt has failed. See [`Board::fail`].
    ///
    /// # Errors
    /// Those of [`finish`](Claim::finish).
    pub async fn fail(&self, why: impl Into<String>) -> Result<(), BoardError> {
        let why = why.into();
        self.answer(move |board, token| board.fail(token, &why)).await
    }

    /// Gives the task back. See [`Board::release`].
    ///
    /// # Errors
    /// Those of [`finish`](Claim::finish).
    pub async fn release(&self) -> Result<(), BoardError> {
        self.answer(|board, token| board.release(token)).await
    }

    /// Answers, one at a time.
    async fn answer<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&Board, FencingToken) -> Result<T, BoardError> + Send + 'static,
    ) -> Result<T, BoardError> {
        let Claim(holding) = self.clone();
        let answer = move |board: &Board| {
            let _answering = holding.answering.lock().unwrap();
            let answered = answer(board, holding.task.token());
            if answered.is_ok() || is_stale(&answered) {
                let _ = holding.ended.set(Ended::Answered);
            }
            answered
        };
        self.0.board.blocking(answer).await
    }

    /// Renews the lease, unless the claim has ended meanwhile. A disk that fails now may work the
    /// next time; only the fence is final.
    async fn renew(&self) {
        let Claim(holding) = self.clone();
        let renew = move |board: &Board| {
            let _answering = holding.answering.lock().unwrap();
            if holding.ended.get().is_none()
                && is_stale(&board.renew(holding.task.token(), holding.lease))
            {
                let _ = holding.ended.set(Ended::Lost);
            }
        };
        self.0.board.blocking(renew).await;
    }
}

/// What was claimed, which attempt it is, and when the claim ends unless it is renewed.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holding { task, lease, .. } = &*self.0;
        write!(f, "#{} {}: attempt {} (fencing token)", task.id, task.subject, task.attempt)?;
        write!(f, ", lease {} s", lease.as_secs_f32())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if self.ended.get().is_none() {
            self.board.note_dropped(self.task.token());
        }
    }
}

fn is_stale<T>(answered: &Result<T, BoardError>) -> bool {
    matches!(answered, Err(BoardError::Task(TaskError::Stale { .. })))
}

#[cfg(test)]
mod tests;
