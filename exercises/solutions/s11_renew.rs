use rungs_tasks::{Board, BoardError, FencingToken, TaskError};
use std::{future::Future, time::Duration};

/// Renews a lease; returns when the claim is lost.
async fn hold(board: &Board, token: FencingToken, lease: Duration) {
    loop {
        tokio::time::sleep(lease / 3).await;
        let renewed = board.blocking(move |board| board.renew(token, lease)).await;
        if let Err(BoardError::Task(TaskError::Stale { .. })) = renewed {
            return;
        }
    }
}

/// Works on a claimed task: the result, or `None` when the claim was lost.
async fn work_on(
    board: &Board,
    token: FencingToken,
    lease: Duration,
    work: impl Future<Output = String>,
) -> Option<String> {
    tokio::select! {
        result = work => {
            let text = result.clone();
            // Fenced as well: the claim may be lost between the last renewal and now.
            let finished = board.blocking(move |board| board.finish(token, &text)).await;
            finished.is_ok().then_some(result)
        }
        () = hold(board, token, lease) => None,
    }
}
