use rungs_core::{Chat, Context, Layer, Message, NextAsk, Reply, Result};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// After how many requests the model is reminded.
const INTERVAL: usize = 4;

const GOAL: &str = "<system-reminder>Your goal: say whether the page is fine.</system-reminder>";

/// Reminds the model of its goal.
#[derive(Default)]
struct Reminder {
    requests: AtomicUsize,
}

impl Layer for Reminder {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let requests = self.requests.fetch_add(1, Relaxed) + 1;
        if requests.is_multiple_of(INTERVAL) {
            // It joins the message that is about to be sent. An old one stays where it was sent.
            let text = format!("{GOAL} (request {requests})");
            chat.push(Message::inserted("reminder", text));
        }
        next.run(chat, cx).await
    }
}
