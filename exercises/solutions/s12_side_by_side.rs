use futures_util::future::join_all;
use lessons::s01_loop::agent_loop;
use rungs_core::Agent;
use rungs_core::Chat;
use rungs_worktree::Trees;

/// What a subagent is to do; the name is also that of its worktree.
#[derive(Debug, Clone)]
struct Job {
    name: String,
    prompt: String,
}

/// Has jobs done at the same time, each in a worktree of its own.
async fn side_by_side(agent: &Agent, trees: &Trees, jobs: &[Job]) -> Vec<String> {
    join_all(jobs.iter().map(|job| one(agent, trees, job))).await
}

/// One job, from its beginning to its end.
async fn one(agent: &Agent, trees: &Trees, job: &Job) -> String {
    let (trees, name) = (trees.clone(), job.name.clone());
    let tree = match blocking(move || trees.take(&name)).await {
        Ok(tree) => tree,
        Err(why) => return why,
    };
    let child = agent.child(&job.name, &[]).in_dir(tree.folder());
    let end = child.run(&mut Chat::default(), job.prompt.as_str(), agent_loop).await;
    let (report, mark) = match end {
        Ok(reply) => (reply.text(), ""),
        Err(error) => (error.to_string(), "Unfinished: "),
    };
    let message = format!("{mark}{}", job.name);
    match blocking(move || tree.commit(&message)).await {
        Ok(_) => report,
        Err(why) => format!("{report}\nnot committed: {why}"),
    }
}

/// Runs work that waits for git and the disk where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, rungs_worktree::Error> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
