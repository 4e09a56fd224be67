// # Hold on to a claim
//
// build, level 3, 25 minutes. Read: examples/s11_autonomous_agents.rs, crates/tasks/src/lease.rs
//
// A claim is a lease: it ends unless it is renewed in time. While the model thinks, somebody must
// renew it; and when the claim is lost, the work must stop, for it will be refused anyway.
//
// Write `hold`, without looking at `crates/tasks/src/claims.rs`. It renews the lease three times
// per lease, and returns only when the claim is lost: when `renew` says `TaskError::Stale`. Any
// other error is no reason to give up, for a disk that fails now may work the next time.
//
// Then write `work_on`: it runs the work beside `hold`, and returns what the work returned, or
// `None` when the claim was lost first; then the work is dropped. If the work ends first, it
// finishes the task with its result.
//
// `Board` blocks. `board.blocking(move |board| ..).await` runs a closure where that is allowed.
//
// Run: cargo run -p rungs-exercises -- run s11_renew

#[allow(unused_imports)]
use rungs_tasks::{Board, BoardError, FencingToken, TaskError};
use std::{future::Future, time::Duration};

/// Renews a lease; returns when the claim is lost.
#[allow(dead_code)]
async fn hold(board: &Board, token: FencingToken, lease: Duration) {
    let _ = (board, token, lease);
    todo!("in a loop: sleep for a third of the lease, renew, return when it is stale")
}

/// Works on a claimed task: the result, or `None` when the claim was lost.
async fn work_on(
    board: &Board,
    token: FencingToken,
    lease: Duration,
    work: impl Future<Output = String>,
) -> Option<String> {
    let _ = (board, token, lease, work);
    todo!("select! between the work and `hold`; finish the task when the work ends first")
}

mod tests {
    use super::*;
    use rungs_tasks::{Status, Task};
    use std::{
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
    };
    use tokio::time::{sleep, timeout};

    const LEASE: Duration = Duration::from_millis(600);

    fn open(folder: &Path) -> Board {
        Board::open(&durable::Folder::open(folder, "state").unwrap(), "tasks.jsonl").unwrap()
    }

    fn status(board: &Board) -> Status {
        board.look(|tasks| tasks.get(1).unwrap().status).unwrap()
    }

    /// A board with one task that ann has claimed.
    fn claimed(folder: &Path) -> (Board, FencingToken) {
        let board = open(folder);
        board.create(Task { subject: "build".into(), ..Task::default() }).unwrap();
        let task = board.claim("ann", LEASE).unwrap().unwrap();
        (board, task.token())
    }

    #[tokio::test]
    async fn work_that_is_shorter_than_the_lease_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let (board, token) = claimed(folder.path());
        let end = work_on(&board, token, LEASE, async { "fine".to_string() }).await;
        assert_eq!(end.as_deref(), Some("fine"), "the work has ended first");
        assert_eq!(status(&board), Status::Done, "and the task is finished with its result");
    }

    #[tokio::test]
    async fn work_that_is_longer_than_the_lease_keeps_its_task() {
        let folder = tempfile::tempdir().unwrap();
        let (board, token) = claimed(folder.path());
        let other = open(folder.path());
        let work = async {
            for _ in 0..12 {
                sleep(LEASE / 6).await;
                let stolen = other.blocking(|board| board.claim("bob", LEASE)).await.unwrap();
                let why = "ann is at work on it, and her lease has ended. Is it renewed in time?";
                assert_eq!(stolen, None, "{why}");
            }
            "fine".to_string()
        };
        let end = timeout(LEASE * 20, work_on(&board, token, LEASE, work)).await;
        assert_eq!(end.unwrap().as_deref(), Some("fine"), "two leases long, and kept");
        assert_eq!(status(&board), Status::Done, "the work was finished in time");
    }

    #[tokio::test]
    async fn the_work_is_dropped_when_the_claim_is_lost() {
        struct Dropped(Arc<AtomicBool>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (board, token) = claimed(folder.path());
        let dropped = Arc::new(AtomicBool::new(false));
        let inside = Dropped(dropped.clone());
        let work = async move {
            let _inside = inside;
            sleep(Duration::from_secs(60)).await;
            "late".to_string()
        };
        // Somebody takes the task away by hand.
        let by_hand = board.clone();
        let thief = async move {
            sleep(LEASE / 3).await;
            by_hand.update(1, |task| task.status = Status::Pending).unwrap();
            std::future::pending::<()>().await;
        };
        let end = tokio::select! {
            end = timeout(LEASE * 10, work_on(&board, token, LEASE, work)) => end,
            () = thief => unreachable!(),
        };
        let why = "the next renewal is refused as stale, so the claim is lost";
        assert_eq!(end, Ok(None), "{why}");
        assert!(dropped.load(Relaxed), "the work is dropped, with the tools that it runs");
        assert_eq!(status(&board), Status::Pending, "nothing of it reaches the board");
    }

    #[tokio::test]
    async fn hold_does_not_return_while_the_claim_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let (board, token) = claimed(folder.path());
        let end = timeout(LEASE * 2, hold(&board, token, LEASE)).await;
        assert!(end.is_err(), "it returned, and so the work would have been dropped for nothing");
    }
}
