use std::time::Duration;
use tokio::sync::watch;

/// How long to wait after the connection was lost.
const RETRY: Duration = Duration::from_millis(20);

/// The mail of one name, on a server.
trait Mail {
    /// Takes the oldest letter, if there is one. The server is asked, so this takes a while.
    async fn take(&self) -> Option<String>;

    /// Hears the messages that are published from now on: `changed` returns after each of them.
    fn subscribe(&self) -> watch::Receiver<u64>;
}

/// Waits for the next letter.
async fn next_letter(mail: &impl Mail) -> String {
    loop {
        // Before the question, or a message that comes in between is missed.
        let mut wake = mail.subscribe();
        loop {
            if let Some(letter) = mail.take().await {
                return letter;
            }
            if wake.changed().await.is_err() {
                break;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
