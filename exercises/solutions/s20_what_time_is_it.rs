use rungs_core::{Chat, Context, Layer, Message, NextTurn, Reply, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the model the time.
struct Clock;

fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("The time is {} ns since 1970.", time.as_nanos())
}

impl Layer for Clock {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        // Behind the prompt, in the message that was not sent yet: nothing stands after it.
        chat.push(Message::inserted("clock", now()));
        next.run(chat, cx).await
    }
}
