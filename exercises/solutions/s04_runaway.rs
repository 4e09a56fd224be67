use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Chat, Context, Effect, Layer, NextTurn, Reply, Result, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many subagents one prompt may lead to.
const MAX_SUBAGENTS: usize = 5;

/// How many subagents a prompt may still start.
#[derive(Clone)]
struct Budget(Arc<AtomicUsize>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Gives jobs to subagents, one after the other, and returns their reports.
    Task {
        /// What each subagent has to do.
        jobs: Vec<String>,
    },
}

async fn run(_: &(), call: Call, cx: &Context) -> Result<String, ToolError> {
    let Call::Task { jobs } = call;
    let budget = cx.value::<Budget>().ok_or(ToolError("there is no budget".into()))?;
    let take = |left: usize| left.checked_sub(jobs.len());
    if let Err(left) = budget.0.fetch_update(Relaxed, Relaxed, take) {
        return Err(ToolError(format!("{} are too many: {left} are left", jobs.len())));
    }
    let mut reports = vec![];
    for job in &jobs {
        // Values do not reach children, so the budget is handed on.
        let child = cx.agent.child("worker", &[]).with(Budget::clone(&budget));
        let mut chat = child.new_chat();
        let report = child.run(&mut chat, job.as_str(), agent_loop).await;
        reports.push(report.map_or_else(|error| error.to_string(), |reply| reply.text()));
    }
    Ok(reports.join("\n"))
}

/// Gives each prompt its budget.
struct Bounds;

impl Layer for Bounds {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        if cx.value::<Budget>().is_some() {
            // A subagent, which takes from the budget of its parent.
            return next.run(chat, cx).await;
        }
        let budget = Budget(Arc::new(MAX_SUBAGENTS.into()));
        next.run(chat, &cx.with(budget)).await
    }
}

fn install(agent: Agent) -> Agent {
    agent.tools((), |_: &Call| Effect::Delegates, run).wrap(Bounds)
}
