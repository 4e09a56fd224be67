use futures_util::future::join_all;
use lessons::s01_loop::agent_loop;
use rungs_core::Agent;
use std::time::Duration;

/// Lets each of these agents do its job. One report for each, in their order.
async fn reports(agents: Vec<(Agent, &str)>, limit: Duration) -> Vec<String> {
    let running = agents.into_iter().map(|(agent, job)| async move {
        let mut chat = agent.new_chat();
        // The future is dropped at the limit, and with it whatever the subagent has started.
        match tokio::time::timeout(limit, agent.run(&mut chat, job, agent_loop)).await {
            Ok(Ok(reply)) => reply.text(),
            Ok(Err(error)) => format!("This subagent failed: {error}"),
            Err(_) => format!("This subagent was stopped after {} ms", limit.as_millis()),
        }
    });
    join_all(running).await
}
