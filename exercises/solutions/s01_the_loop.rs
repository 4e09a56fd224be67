use rungs_core::{Agent, Chat, Error, Reply, Result};

/// How many requests one prompt may take.
const STEP_LIMIT: usize = 20;

/// Asks the model, runs the tools that it calls, and asks again, until it calls none.
async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    for _ in 0..STEP_LIMIT {
        let reply = agent.ask(chat).await?;
        chat.push(reply.message.clone());
        let calls = reply.calls();
        if calls.is_empty() {
            return Ok(reply);
        }
        chat.push(agent.act(calls).await);
    }
    Err(Error::Limit("steps", STEP_LIMIT))
}
