use rungs_core::{Chat, Context, Error, Layer, Message, NextAsk, NextTurn, Reply, Result, State};
use rungs_mailbox::{LetterId, Mailboxes, Transport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whose mailbox this is.
const ME: &str = "ann";

/// The letters that this conversation has received and not answered yet.
#[derive(Clone, Default, Serialize, Deserialize)]
struct InFlight(BTreeSet<LetterId>);

impl State for InFlight {
    const NAME: &'static str = "in_flight";
}

/// Brings ann's mail into her conversation.
struct Inbox(Mailboxes);

impl Layer for Inbox {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let reply = next.run(chat, cx).await?;
        // Last: whatever happens before this, the letters come again.
        self.0.ack(ME, &chat.state::<InFlight>().0).await.map_err(Error::other)?;
        chat.update(|in_flight: &mut InFlight| in_flight.0.clear());
        Ok(reply)
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let received =
            self.0.receive(ME, &chat.state::<InFlight>().0).await.map_err(Error::other)?;
        for letter in received.letters {
            chat.update(|in_flight: &mut InFlight| in_flight.0.insert(letter.id));
            chat.push(Message::inserted("mail", letter.to_string()));
        }
        next.run(chat, cx).await
    }
}
