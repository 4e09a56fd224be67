use rungs_core::{Agent, Chat, Error, Reply, Result};
use std::time::Duration;
use tokio::time::timeout;

const STEP_LIMIT: usize = 20;
/// How long one reply may take. (Here it is short, so that the tests are.)
const REPLY_TIMEOUT: Duration = Duration::from_millis(400);
/// How often the same request is sent, all in all.
const MAX_ATTEMPTS: usize = 3;

/// Asks the model, again if it says nothing in time.
async fn ask(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    for _ in 0..MAX_ATTEMPTS {
        // Dropping the request closes its connection. Nothing of it is in the chat.
        if let Ok(end) = timeout(REPLY_TIMEOUT, agent.ask(chat)).await {
            return end;
        }
    }
    Err(Error::Limit("attempts at one request", MAX_ATTEMPTS))
}

async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    for _ in 0..STEP_LIMIT {
        let reply = ask(agent, chat).await?;
        chat.push(reply.message.clone());
        let calls = reply.calls();
        if calls.is_empty() {
            return Ok(reply);
        }
        chat.push(agent.act(calls).await);
    }
    Err(Error::Limit("steps", STEP_LIMIT))
}
