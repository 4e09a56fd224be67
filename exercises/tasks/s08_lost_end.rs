// # The end that nobody heard of
//
// repair, level 2, 20 minutes. Read: examples/s08_background_tasks.rs, core/src/state.rs
//
// This harness runs jobs in the background, and tells the model of each end once: the notice joins
// the next request, or wakes an idle agent. A user reports:
//
//   "I started the build in the background and pasted a long log. The server refused my prompt, as
//   it was too much. I typed a shorter one, and it was answered. But the model never told me that
//   the build had failed. `:jobs` knows that it has. The same happens to a fork of a conversation:
//   what one of the two was told, the other never hears."
//
// Find out what becomes of the notice when a prompt is withdrawn, and repair the layer. Each end
// must be in a conversation exactly once.
//
// Run: cargo run -p rungs-exercises -- run s08_lost_end

use rungs_core::{Agent, Chat, Context, Layer, Message, NextAsk, Reply, Result};
use rungs_process::jobs::Jobs;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// Tells the model of the ends of jobs.
#[derive(Clone)]
struct Ends {
    jobs: Jobs,
    /// The numbers of the jobs whose ends were reported.
    reported: Arc<Mutex<BTreeSet<u64>>>,
}

impl Ends {
    fn new(jobs: Jobs) -> Ends {
        Ends { jobs, reported: Arc::default() }
    }
}

impl Layer for Ends {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let reported = self.reported.lock().unwrap().clone();
        for job in self.jobs.ended(cx.name(), &reported) {
            let end = job.end.as_deref().unwrap_or_default();
            chat.push(Message::inserted("job", format!("job {} ended: {end}", job.id)));
            self.reported.lock().unwrap().insert(job.id);
        }
        next.run(chat, cx).await
    }
}

/// Waits until there is an end to report: true; false when no job runs that could end.
async fn wake(ends: Ends, cx: Context) -> bool {
    let reported = ends.reported.lock().unwrap().clone();
    ends.jobs.wait(cx.name(), &reported).await
}

/// Adds the mechanism.
fn install(agent: Agent, jobs: Jobs) -> Agent {
    let ends = Ends::new(jobs);
    let woken = ends.clone();
    agent.wrap(ends).wake(move |cx| wake(woken.clone(), cx))
}

mod tests {
    use super::*;
    use lessons::s01_loop::agent_loop;
    use rehearsal::{say, scene};
    use rungs_exercises::support::{BlocksBad, Play, inserted, play};

    /// An agent that was given one job, which has failed.
    async fn after_a_job() -> Play {
        let scenes = [scene("ended", [say("It failed.")]), scene("hello", [say("Hello.")])];
        let mut made = None;
        let play = play(scenes, |agent, dir| {
            let jobs = Jobs::new(durable::Folder::open(dir, "logs").unwrap(), 10);
            made = Some(jobs.clone());
            // Further in than the notices, so the prompt is refused when they are in it.
            install(agent.wrap(BlocksBad), jobs)
        })
        .await;
        let (jobs, cx) = (made.unwrap(), play.agent.context());
        let (here, environment) = (cx.cwd(), cx.command_environment());
        jobs.start(cx.name(), "exit 3", here, environment, cx.shutdown()).await.unwrap();
        let ended = jobs.wait(cx.name(), &BTreeSet::new()).await;
        assert!(ended, "the job ends at once, so waiting for it must succeed");
        play
    }

    const END: [&str; 1] = ["job 1 ended: exit status: 3"];

    #[tokio::test]
    async fn an_end_is_reported_once_in_a_conversation() {
        let play = after_a_job().await;
        let mut chat = Chat::default();
        play.run(&mut chat, "hello").await.unwrap();
        play.run(&mut chat, "hello again").await.unwrap();
        assert_eq!(inserted(&chat, "job"), END, "the end joins one request, and no other");
        assert!(!play.agent.woken(&chat).await, "it was reported, so nothing wakes the agent");
    }

    #[tokio::test]
    async fn an_idle_agent_is_woken_by_an_end() {
        let play = after_a_job().await;
        let mut chat = Chat::default();
        assert!(play.agent.woken(&chat).await, "there is an end that was not reported");
        play.agent.run(&mut chat, Message::empty(), agent_loop).await.unwrap();
        assert_eq!(inserted(&chat, "job"), END, "the notice is the content of that turn");
    }

    #[tokio::test]
    async fn an_end_whose_prompt_was_withdrawn_is_reported_again() {
        let play = after_a_job().await;
        let mut chat = Chat::default();
        play.run(&mut chat, "bad").await.unwrap_err();
        assert_eq!(inserted(&chat, "job"), [""; 0], "the prompt was withdrawn, and the notice too");
        let why = "the model has read nothing of the end. Who remembers that it was reported, and \
                   who forgets what is withdrawn?";
        assert!(play.agent.woken(&chat).await, "{why}");
        play.run(&mut chat, "hello").await.unwrap();
        assert_eq!(inserted(&chat, "job"), END, "{why}");
    }

    #[tokio::test]
    async fn each_of_two_conversations_hears_of_it() {
        let play = after_a_job().await;
        let mut first = Chat::default();
        let mut fork = first.fork();
        play.run(&mut first, "hello").await.unwrap();
        play.run(&mut fork, "hello").await.unwrap();
        assert_eq!(inserted(&first, "job"), END, "the first one was told");
        let why = "what one conversation was told, the other does not know";
        assert_eq!(inserted(&fork, "job"), END, "{why}");
    }
}
