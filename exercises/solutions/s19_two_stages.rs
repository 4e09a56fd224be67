use rungs_core::{
    CancellationToken, Chat, Context, Error, Layer, Message, NextTurn, Reply, Result, StopReason,
};
use std::{pin::pin, time::Duration};

/// What the model reads of a stop: `Message::inserted("interrupt", NOTE)`.
const NOTE: &str = "The person stopped the turn here. What they say next decides.";

/// Stops a turn when the person asks for it.
struct Stoppable {
    /// Fires when the person presses Ctrl+C.
    person: CancellationToken,
    /// How long the turn may take to end by itself then.
    grace: Duration,
}

impl Layer for Stoppable {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let end = {
            let mut turn = pin!(next.run(chat, cx));
            tokio::select! {
                end = &mut turn => return end,
                () = self.person.cancelled() => cx.cancel().cancel(),
            }
            tokio::time::timeout(self.grace, turn).await
        };
        match end {
            Ok(Ok(reply)) if reply.stop != StopReason::Cancelled => Ok(reply),
            Ok(Err(error)) if !matches!(error, Error::Cancelled) => Err(error),
            _ => {
                chat.close_open_calls(Chat::INTERRUPTED);
                chat.push(Message::inserted("interrupt", NOTE));
                Err(Error::Cancelled)
            }
        }
    }
}
