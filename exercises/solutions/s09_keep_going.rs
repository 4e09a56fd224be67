use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Chat, Message};
use std::{future::Future, time::Duration};

/// After how many failed turns in a row it waits for new mail.
const MAX_FAILURES: u32 = 3;

/// How long to wait after so many failures in a row. In a product these are seconds.
fn pause(failures: u32) -> Duration {
    Duration::from_millis(10 << failures.min(6))
}

/// The life of a teammate. `new_mail` waits until there is a letter beyond those that this
/// conversation has.
async fn serve<F: Future<Output = ()>>(mate: Agent, new_mail: impl Fn(&Chat) -> F) {
    let (mut chat, mut failures) = (Chat::default(), 0);
    loop {
        if failures == 0 {
            if !mate.woken(&chat).await {
                return;
            }
        } else if failures < MAX_FAILURES {
            // Its letters are in the conversation already, so nothing would wake it.
            tokio::time::sleep(pause(failures)).await;
        } else {
            new_mail(&chat).await;
        }
        match mate.run(&mut chat, Message::empty(), agent_loop).await {
            Ok(_) => failures = 0,
            Err(_) => failures += 1,
        }
    }
}
