use rungs_core::{Agent, Chat, Context, Layer, Message, NextAsk, Reply, Result, State};
use rungs_process::jobs::Jobs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The numbers of the jobs whose ends this conversation was told of. It is withdrawn and forked
/// with the conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Reported(BTreeSet<u64>);

impl State for Reported {
    const NAME: &'static str = "reported_ends";
}

/// Tells the model of the ends of jobs.
#[derive(Clone)]
struct Ends {
    jobs: Jobs,
}

impl Ends {
    fn new(jobs: Jobs) -> Ends {
        Ends { jobs }
    }
}

impl Layer for Ends {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        for job in self.jobs.ended(cx.name(), &chat.state::<Reported>().0) {
            let end = job.end.as_deref().unwrap_or_default();
            chat.push(Message::inserted("job", format!("job {} ended: {end}", job.id)));
            chat.update(|reported: &mut Reported| reported.0.insert(job.id));
        }
        next.run(chat, cx).await
    }
}

/// Waits until there is an end to report: true; false when no job runs that could end.
async fn wake(ends: Ends, cx: Context) -> bool {
    ends.jobs.wait(cx.name(), &cx.state::<Reported>().0).await
}

/// Adds the mechanism.
fn install(agent: Agent, jobs: Jobs) -> Agent {
    let ends = Ends::new(jobs);
    let woken = ends.clone();
    agent.wrap(ends).wake(move |cx| wake(woken.clone(), cx))
}
