// # One of them hangs
//
// drill, level 3, 35 minutes. Read: examples/s04_subagent.rs, crates/rehearsal/README.md
//
// `reports` lets subagents do jobs at the same time and waits for all of them. In this drill the
// model server misbehaves: one subagent gets no answer, another is refused, and the next ones are
// answered in time. As it is, the whole call hangs with the first of them.
//
// Make it survive:
//
// 1. There is one report for each job, in the order of the jobs.
// 2. A subagent that has not ended after `limit` is stopped. Its report says so, and names the
//    limit in milliseconds.
// 3. A subagent that fails is reported with its error. The others are not affected.
// 4. The whole takes about as long as the slowest, and never much longer than `limit`.
// 5. Nothing of a stopped subagent goes on working.
//
// Run: cargo run -p rungs-exercises -- run s04_hung

#[allow(unused_imports)]
use futures_util::future::join_all;
use lessons::s01_loop::agent_loop;
use rungs_core::Agent;
use std::time::Duration;

/// Lets each of these agents do its job. One report for each, in their order.
async fn reports(agents: Vec<(Agent, &str)>, limit: Duration) -> Vec<String> {
    let _ = limit;
    let mut reports = vec![];
    for (agent, job) in agents {
        let mut chat = agent.new_chat();
        let reply = agent.run(&mut chat, job, agent_loop).await.unwrap();
        reports.push(reply.text());
    }
    reports
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{Play, play};
    use serde_json::json;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_millis(700);

    async fn server() -> Play {
        let refused = json!({"status": 400, "message": "no such model", "times": "always"});
        let slow = call("bash", json!({"command": "sleep 1; echo late > late.txt"}));
        let scenes = [
            scene("^quick", [say("quick: done").delay_ms(50)]),
            scene("^hang", [say("never").delay_ms(20_000)]),
            scene("^refused", [say("never").fault(refused)]),
            scene("^slow", [slow, say("slow: done")]),
        ];
        play(scenes, |agent, _| agent.tool(tools::Bash)).await
    }

    /// The reports on these jobs, and how long it took.
    async fn of(play: &Play, jobs: &[&'static str]) -> (Vec<String>, Duration) {
        let child = |job: &&'static str| (play.agent.child("worker", &[]), *job);
        let begun = Instant::now();
        let running = reports(jobs.iter().map(child).collect(), LIMIT);
        let ended = tokio::time::timeout(Duration::from_secs(6), running).await;
        let why = "after six seconds nothing has come back: the call hangs with its slowest job";
        (ended.expect(why), begun.elapsed())
    }

    #[tokio::test]
    async fn what_works_is_reported_in_order() {
        let (reports, _) = of(&server().await, &["quick 1", "quick 2"]).await;
        assert_eq!(reports, ["quick: done", "quick: done"], "one report for each job");
    }

    #[tokio::test]
    async fn one_that_hangs_is_stopped_and_named() {
        let (reports, took) = of(&server().await, &["quick", "hang", "quick"]).await;
        let why = "what was done must not be lost with the one that hangs";
        assert_eq!([&reports[0], &reports[2]], ["quick: done"; 2], "{why}");
        let why = "the model must read that this job was stopped, and after how long";
        assert!(reports[1].contains("700"), "{why}: {}", reports[1]);
        assert!(took < Duration::from_secs(4), "the limit is 700 ms, and it took {took:?}");
    }

    #[tokio::test]
    async fn one_that_is_refused_is_a_report() {
        let (reports, _) = of(&server().await, &["refused", "quick"]).await;
        let why = "a panic or an early return would take the other reports with it";
        assert!(reports[0].contains("no such model"), "{why}: {reports:?}");
        assert_eq!(reports[1], "quick: done", "{why}");
    }

    #[tokio::test]
    async fn they_run_at_the_same_time() {
        let (reports, took) = of(&server().await, &["hang"; 8]).await;
        assert_eq!(reports.len(), 8, "one report for each job");
        let why = "eight limits one after the other are 5.6 s; all at once they are 0.7 s";
        assert!(took < Duration::from_secs(4), "{why}: it took {took:?}");
    }

    #[tokio::test]
    async fn nothing_goes_on_after_it_was_stopped() {
        let play = server().await;
        let (reports, _) = of(&play, &["slow"]).await;
        assert!(reports[0].contains("700"), "it was stopped while a command ran: {reports:?}");
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let why = "the command of a stopped subagent wrote a file a second later. Drop the future \
                   of a turn, and its commands end with it; a task that was spawned goes on";
        assert!(!play.dir.path().join("late.txt").exists(), "{why}");
    }
}
