use rungs_core::{CancellationToken, Message, ToolCall, ToolOutput};

/// For the call that was running.
const INTERRUPTED: &str = "interrupted: it may have run, wholly or in part";
/// For the calls that had not begun.
const NOT_RUN: &str = "not run: the person stopped the turn";

/// Runs the calls of one reply until the person stops it: the message that answers them.
async fn results(
    calls: &[ToolCall],
    stop: &CancellationToken,
    deploy: impl AsyncFn(&ToolCall) -> ToolOutput,
) -> Message {
    let mut results = vec![];
    for call in calls {
        if stop.is_cancelled() {
            results.push(call.refuse(NOT_RUN));
            continue;
        }
        tokio::select! {
            output = deploy(call) => results.push(call.finish(Ok(output))),
            () = stop.cancelled() => results.push(call.refuse(INTERRUPTED)),
        }
    }
    Message::results(results)
}
