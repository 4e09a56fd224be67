use rungs_mailbox::{Error, Letter, LetterId, Transport};
use std::collections::BTreeSet;

/// Takes the mail of `name`, and works on it. Says what became of it in one line.
async fn round(
    transport: &impl Transport,
    name: &str,
    turn: impl AsyncFnOnce(&[Letter]) -> Result<(), String>,
) -> Result<String, Error> {
    // Between two rounds no letter is in flight.
    let received = transport.receive(name, &BTreeSet::new()).await?;
    let ids: BTreeSet<LetterId> = received.letters.iter().map(|letter| letter.id).collect();
    match turn(&received.letters).await {
        Ok(()) => {
            // Last: a crash before this delivers the letters again, and loses none.
            transport.ack(name, &ids).await?;
            Ok(format!("{} letters are done", ids.len()))
        }
        Err(why) => Ok(format!("{} letters are not done: {why}", ids.len())),
    }
}
