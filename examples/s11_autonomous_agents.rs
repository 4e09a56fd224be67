//! # s11: tasks that find their worker
//!
//! Whoever hands out every task is the bottleneck, and when a worker dies, its task stays in
//! progress for ever. Here nobody hands anything out: an idle teammate claims the next task of the
//! board for itself, for a limited time, and the task becomes its next prompt, the first of a new
//! conversation. A worker that lives renews its claim; one that died loses it.
//!
//! ```text
//!               claim (atomic, lease 30 s, token 1)           renew, renew, ...
//! idle teammate ────────────────────────────────> task in progress ──────────> finish (token 1)
//!                                                     │ no renewal: the lease ends
//!                                                     v
//! another teammate ── claim (token 2) ──> task in progress; finish (token 1) is refused
//! ```
//!
//! New here: agents that find their own work, and three rules that make their claims safe among
//! threads and processes that may die at any moment.
//!
//! - A claim is **atomic**: it is decided and written while the board's lock is held.
//! - A claim is a **lease**: it ends by itself unless it is renewed, and then the task is taken
//!   over.
//! - Finishing and failing carry a **fencing token**: each claim of a task has a greater one, and
//!   only the newest may complete the task. The holder of an older one may not know that it is
//!   late, since nothing stops a process from sleeping past its lease.
//!
//! The token, not the clock, keeps a task from being completed twice. Clocks differ and jump; then
//! a lease ends too early or too late, which costs time or an attempt, and nothing else.
//!
//! The three rules are kept by the crate `rungs-tasks`: read `FencingToken` in its `lease.rs`, and
//! `Tasks::claimed` and `Tasks::fenced` in its `tasks.rs`. The token is the number of the attempt.
//! This file is how an agent uses it: one task is one turn of a teammate, and the claim is a value
//! of that turn. When the turn is dropped in any way, the task is given back at once, and that
//! counts as no failure. A process that was killed leaves its task until the lease ends, and the
//! takeover counts as a failed attempt; three failures set a task aside.
//!
//! Terms: **competing consumers** (idle workers take work from one shared list), **lease**,
//! **renewal** (heartbeat), **fencing token**, **takeover**, **at-most-once completion**.
//!
//! Run it: `cargo run --example s11_autonomous_agents`
//!
//! You will see two teammates do the tasks of a board that nobody assigns, each claim with its
//! token and lease: a task that waits for others begins when they are done, and one that failed is
//! tried again by a worker that is told why. Then a task is taken from a slow worker, whose answer
//! comes too late and is refused.
//!
//! Try, and predict first:
//! 1. `cargo test -p rungs-tasks --test claims -- --nocapture`: processes claim tasks while many of
//!    them are killed. How many takeovers and late answers are there, and why is the second number
//!    smaller?
//! 2. Take `() = claim.hold()` out of the `select!`, and let a task take a minute: write `delay_ms:
//!    60000` for one in `config/rehearsals/s11_autonomous_agents.yaml`. Who finishes it, with two
//!    teammates, and with one?
//! 3. Type `:tasks` while they work. Which number grows when a task is claimed again?
//!
//! Pitfalls: a lock that is held while the model thinks stops everybody; a lease without a token
//! lets a late worker overwrite the work of its successor.
//!
//! A product also limits how many tasks of one kind run at once, and shows who works on what.
//!
//! Builds on s07, s09. Motto: *Teammates scan the board and claim tasks themselves.*

use lessons::{
    s01_loop::agent_loop,
    s07_task_system::{self, Board, Task, Tasks, list},
    s09_agent_teams::{self, InFlight, LEAD, Mailboxes, Team, escape_tags},
};
use rungs_core::{
    Agent, Chat, Context, Effect, Error, Layer, Message, NextAct, NextTurn, Reply, Result,
    ToolCall, ToolError, ToolResult,
};
use rungs_tasks::{Claim, Claims, LEASE};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::timeout;

/// How long a teammate may wait for an answer by mail while it holds a task.
const REPLY_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the lead waits for an idle teammate to claim a task. One that failed three times in a
/// row claims nothing until it has mail.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an exit waits until the claims of dropped turns are given back.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// With which tools a teammate writes to others (`request` is of s10). With its task still open it
/// then waits for an answer.
const WRITING_TOOLS: [&str; 3] = ["send_message", "broadcast", "request"];
/// Tools of s07 that would begin or end a task without a claim.
const BYPASSING_TOOLS: [&str; 2] = ["task_next", "task_update"];
const REMINDER: &str = "<reminder>\nYou still hold your task. Call finish_task or fail_task now. \
    If you need an answer first, ask for it with send_message and end your turn.\n</reminder>";

/// The task that a teammate works on: a value of its turn, so that its subagents do not have it.
struct Held {
    claim: Claim,
    /// Whether it has written to somebody since it last waited for an answer.
    wrote: AtomicBool,
    /// Whether it was reminded of its task.
    reminded: AtomicBool,
}

/// The two ways to end a task, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Ends the task that you hold: it is done.
    FinishTask {
        /// What came of it.
        result: String,
    },
    /// Gives up the task that you hold. It may fail three times in all.
    FailTask {
        /// What the next attempt should know.
        why: String,
    },
}

/// Has idle teammates claim tasks.
#[derive(Clone)]
struct Autonomy {
    claims: Claims,
    team: Team,
}

impl Autonomy {
    async fn run(&self, call: Call, cx: &Context) -> Result<String, ToolError> {
        let Some(held) = cx.value::<Held>() else {
            return Err(ToolError("you hold no task".into()));
        };
        let freed = match call {
            // Both are refused when somebody has a newer token.
            Call::FinishTask { result } => held.claim.finish(result).await?,
            Call::FailTask { why } => {
                held.claim.fail(why).await?;
                vec![]
            }
        };
        if freed.is_empty() {
            return Ok("noted".into());
        }
        Ok(format!("noted; now {} can begin", list(&freed)))
    }

    /// Claims a task for a teammate that has nothing else to do: no prompt, no mail, nothing
    /// unanswered.
    async fn claim(&self, chat: &Chat, cx: &Context) -> Result<Option<Claim>> {
        let Some(me) = self.team.address(cx).filter(|me| me != LEAD) else { return Ok(None) };
        let in_flight = chat.state::<InFlight>();
        let mail = self.team.transport().has_mail(&me, &in_flight.0).await;
        if chat.awaits_reply() || mail.map_err(Error::other)? {
            return Ok(None);
        }
        self.claims.claim(&me).await.map_err(Error::other)
    }

    /// Works on a task until it is ended. The inbox of s09 is further in, so each run acknowledges
    /// its own mail and reports to the lead, while the claim spans them all.
    async fn work(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let mut reply = next.run(chat, cx).await?;
        while self.must_continue(chat, cx).await {
            reply = next.run(chat, cx).await?;
        }
        Ok(reply)
    }

    /// After each run of the loop: whether it must run again, because mail came that it waited for
    /// with its task open, or because it is reminded of its task. After one reminder the task has
    /// failed.
    async fn must_continue(&self, chat: &mut Chat, cx: &Context) -> bool {
        let (Some(held), Some(me)) = (cx.value::<Held>(), self.team.address(cx)) else {
            return false;
        };
        if !held.claim.is_open() {
            return false;
        }
        if held.wrote.swap(false, Relaxed) {
            let in_flight = chat.state::<InFlight>();
            if self.team.await_mail(&me, &in_flight.0, REPLY_TIMEOUT).await {
                return true;
            }
        }
        if held.reminded.swap(true, Relaxed) {
            if let Err(error) = held.claim.fail("it was left without a word").await {
                cx.notice(format!("the task was not given up: {error}"));
            }
            return false;
        }
        chat.push(Message::inserted("reminder", REMINDER));
        true
    }

    /// Waits until an idle teammate can claim something. The lead waits as long as somebody may
    /// still claim something and write to it.
    async fn wait(self, cx: Context) -> bool {
        let Some(me) = self.team.address(&cx) else { return false };
        if me != LEAD {
            return self.claims.wait().await.is_ok();
        }
        let in_flight = cx.state::<InFlight>();
        loop {
            if self.team.wait(&cx).await {
                return true;
            }
            // The wake of s09 gives up as soon as all are idle; but one of them may be about to
            // claim a task.
            let elsewhere = self.team.has_elsewhere().await;
            let is_expected = move |tasks: &Tasks| can_begin(tasks, elsewhere);
            let taken = self.claims.board().wait_for(move |tasks| !is_expected(tasks));
            let expected = self.claims.board().blocking(move |board| board.look(is_expected)).await;
            if (self.team.is_empty() && !elsewhere) || !expected.unwrap_or(false) {
                return false;
            }
            let limit = if elsewhere { LEASE + CLAIM_TIMEOUT } else { CLAIM_TIMEOUT };
            tokio::select! {
                taken = timeout(limit, taken) => if taken.is_err() { return false },
                // A question about the task, from another process.
                () = self.team.transport().wait(&me, &in_flight.0) => {
                    return self.team.wait(&cx).await;
                }
            }
        }
    }
}

/// Whether a task could be claimed, or is by somebody in another process, who may have died: then
/// its lease ends, and it can be claimed again.
fn can_begin(tasks: &Tasks, elsewhere: bool) -> bool {
    tasks.next().is_some() || (elsewhere && tasks.next_lease_end().is_some())
}

/// The prompt for a claimed task.
fn text(claim: &Claim) -> String {
    let Task { id, subject, description, attempt, failures, .. } = claim.task();
    let mut lines = vec![format!("<task id=\"{id}\" attempt=\"{attempt}\">")];
    lines.extend([escape_tags(subject), escape_tags(description)]);
    lines.extend(failures.iter().map(|why| format!("failed before: {}", escape_tags(why))));
    lines.push("This task is yours now. End it with finish_task or fail_task.\n</task>".into());
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// Whether the task caused the error, so that another attempt would end the same way. After a lost
/// connection the task is given back without a failure.
fn is_tasks_fault(error: &Error) -> bool {
    error.withdraws() || matches!(error, Error::Unfinished { .. } | Error::Limit(..))
}

impl Layer for Autonomy {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let Some(claim) = self.claim(chat, cx).await? else { return next.run(chat, cx).await };
        cx.notice(format!("claimed {claim}"));
        // Each task begins a new conversation: what was said about others would only fill the
        // window.
        *chat = cx.agent.new_chat();
        chat.push(Message::kept("task", text(&claim)));
        let (wrote, reminded) = (AtomicBool::new(false), AtomicBool::new(false));
        let cx = cx.with(Held { claim: claim.clone(), wrote, reminded });
        let end = tokio::select! {
            end = self.work(chat, &cx, next) => end,
            // Renews the lease, and returns only when the claim is lost: then the work is dropped,
            // and its running tools with it.
            () = claim.hold() => Err(Error::other("the task was taken over by somebody else")),
        };
        if let Err(error) = &end {
            if is_tasks_fault(error)
                && let Err(refused) = claim.fail(error.to_string()).await
            {
                cx.notice(format!("the task was not given up: {refused}"));
            }
            // What it leaves open would keep this teammate from claiming another task.
            *chat = cx.agent.new_chat();
        }
        end
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if self.team.works_for(cx).is_some() && BYPASSING_TOOLS.contains(&&*call.name) {
            return call.refuse(
                "not run: tasks come to you by themselves; finish_task or fail_task ends the one \
                 you hold",
            );
        }
        let writes = WRITING_TOOLS.contains(&&*call.name);
        let result = next.run(call, cx).await;
        if let Some(held) = cx.value::<Held>()
            && writes
            && !result.is_error
        {
            held.wrote.store(true, Relaxed);
        }
        result
    }
}

/// Adds the mechanism to a team with a board.
pub fn install(agent: Agent, team: &Team, claims: &Claims) -> Agent {
    let autonomy = Autonomy { claims: claims.clone(), team: team.clone() };
    let (woken, board) = (autonomy.clone(), claims.board().clone());
    agent
        .tools(autonomy.clone(), |_: &Call| Effect::Internal, Autonomy::run)
        .wrap(autonomy)
        .wake(move |cx| woken.clone().wait(cx))
        .on_exit("giving back claimed tasks", CLOSE_TIMEOUT, async move || board.drain().await)
}

/// The agent of lesson one, with a board and teammates that claim its tasks.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let (agent, state) = (stage.agent(), stage.state().await?);
        let board = Board::open_async(&state, "tasks.jsonl").await.map_err(Error::other)?;
        let team = Team::new(Mailboxes::open(&state).await.map_err(Error::other)?);
        let agent = s09_agent_teams::install(s07_task_system::install(agent, &board), &team);
        Ok(install(agent, &team, &Claims::new(board, LEASE)))
    };
    lessons::run("s11_autonomous_agents", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::Folder;
    use lessons::{
        s04_subagent, s06_context_compact,
        s07_task_system::Status,
        testing::{Play, play},
    };
    use rehearsal::{Scene, Turn, call, calls, say, say_results, scene};
    use rungs_core::tools;
    use serde_json::{Value, json};
    use std::{collections::BTreeSet, path::Path};

    /// Three teammates at most, before a board with these tasks: subject, priority, what it waits
    /// for.
    struct Workers {
        play: Play,
        board: Board,
        _mail: tempfile::TempDir,
    }

    async fn workers(
        tasks: &[(&str, i64, &[u64])],
        scenes: impl IntoIterator<Item = Scene>,
        wrap: impl FnOnce(Agent, &Path) -> Agent,
    ) -> Workers {
        let mail = tempfile::tempdir().unwrap();
        let mailboxes = Mailboxes::open(&Folder::open(mail.path(), "").unwrap()).await.unwrap();
        let (team, mut opened) = (Team::new(mailboxes), None);
        let play = play(scenes, |agent, dir| {
            let board = Board::open(&Folder::open(dir, "state").unwrap(), "tasks.jsonl").unwrap();
            for (subject, priority, after) in tasks {
                let (subject, after) = (subject.to_string(), after.iter().copied().collect());
                let task = Task { subject, priority: *priority, after, ..Task::default() };
                board.create(task).unwrap();
            }
            let agent = s04_subagent::install(tools::all(agent));
            let agent = s09_agent_teams::install(s07_task_system::install(agent, &board), &team);
            let agent = install(agent, &team, &Claims::new(board.clone(), LEASE));
            opened = Some(board);
            wrap(agent, dir)
        })
        .await;
        Workers { play, board: opened.unwrap(), _mail: mail }
    }

    impl Workers {
        async fn run(&self) {
            self.play.run_until_idle(&mut Chat::default(), "go").await;
        }

        fn task(&self, id: u64) -> Task {
            self.board.look(|tasks| tasks.get(id).cloned()).unwrap().unwrap()
        }

        /// The newest messages that teammates were sent, in the order of their requests.
        fn sent_to_teammates(&self) -> String {
            let bodies = self.play.bodies().into_iter();
            let own = bodies.filter(|body| body["system"].to_string().contains("You are "));
            own.map(|body| body["messages"].as_array().unwrap().last().unwrap().to_string())
                .collect()
        }

        /// Changes a task by hand as soon as a teammate works on it.
        async fn when_in_progress(&self, id: u64, change: impl FnOnce(&Board)) {
            while self.task(id).status != Status::InProgress {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            change(&self.board);
        }
    }

    fn unwrapped(agent: Agent, _: &Path) -> Agent {
        agent
    }

    fn spawn(name: &str) -> (&'static str, Value) {
        ("spawn_teammate", json!({"name": name, "role": "works", "prompt": "begin"}))
    }

    /// The lead spawns these teammates and is content with whatever they write.
    fn team(names: &[&str], scenes: impl IntoIterator<Item = Scene>) -> Vec<Scene> {
        let spawns = calls(names.iter().map(|name| spawn(name)));
        let mut all = vec![
            scene("^go$", [spawns, say("free")]),
            scene("from=.(ann|bob|eve)", [say("noted")]),
            scene("lead.>\\s*begin", [say("ready")]),
        ];
        all.extend(scenes);
        all
    }

    fn bash(command: &str) -> (&str, Value) {
        ("bash", json!({ "command": command }))
    }

    fn finish(result: &str) -> Turn {
        call("finish_task", json!({ "result": result }))
    }

    #[tokio::test]
    async fn idle_teammates_do_the_tasks_of_a_board_that_nobody_assigns() {
        let mut tasks: Vec<(&str, i64, &[u64])> = vec![("x", 0, &[]); 24];
        tasks.push(("last", 9, &[1, 12, 24]));
        let work = [
            calls([bash("sleep 0.05; echo {{ m[1] }}")]),
            finish("{{ results[0].text | trim }}"),
            say("x"),
        ];
        let scenes = team(&["ann", "bob", "eve"], [scene("<task id=.(\\d+)", work)]);
        let workers = workers(&tasks, scenes, unwrapped).await;
        workers.run().await;
        let mut owners = BTreeSet::new();
        for id in 1..=25 {
            let task = workers.task(id);
            assert_eq!((task.status, task.attempt), (Status::Done, 1), "{task}");
            assert_eq!(task.result, Some(id.to_string()));
            owners.extend(task.owner);
        }
        assert_eq!(owners, ["ann", "bob", "eve"].map(String::from).into());
    }

    #[tokio::test]
    async fn a_forgotten_task_is_reminded_of_once_an_attempt_and_set_aside_after_three() {
        let scenes = [scene("<task id", [say("nice")]), scene("You still hold", [say("so what")])];
        let tasks: [(&str, i64, &[u64]); 2] = [("a", 0, &[]), ("b", 0, &[1])];
        let workers = workers(&tasks, team(&["ann"], scenes), unwrapped).await;
        workers.run().await;
        assert_eq!(workers.task(2).to_string(), "#2 [pending] b, after #1");
        let task = workers.task(1);
        assert_eq!((task.status, task.attempt), (Status::Failed, 3));
        let why = "by ann: it was left without a word";
        let failures = [1, 2, 3].map(|attempt| format!("attempt {attempt} {why}"));
        assert_eq!(task.failures, failures);
        let sent = workers.sent_to_teammates();
        assert_eq!(sent.matches("You still hold").count(), 3);
        assert!(sent.contains(&format!("failed before: attempt 2 {why}")), "{sent}");
    }

    #[tokio::test]
    async fn a_teammate_that_waits_for_an_answer_keeps_its_task() {
        let ask = call("send_message", json!({"to": "lead", "text": "which one?"}));
        let answer = calls([
            ("task_get", json!({"id": 1})),
            ("send_message", json!({"to": "ann", "text": "this one"})),
        ]);
        let scenes = [
            scene("^go$", [calls([spawn("ann")]), say("free")]),
            scene("lead.>\\s*begin", [say("ready")]),
            scene("<task id=.1. attempt=.1", [ask, say("waiting")]),
            scene("ann.>\\s*which", [answer, say("told")]),
            scene("lead.>\\s*this one", [finish("fine"), say("done")]),
            scene("ann.>", [say("noted")]),
        ];
        let workers = workers(&[("a", 0, &[])], scenes, unwrapped).await;
        workers.run().await;
        let task = workers.task(1);
        assert_eq!((task.result.as_deref(), task.attempt), (Some("fine"), 1));
        assert_eq!(workers.sent_to_teammates().matches("You still hold").count(), 0);
    }

    #[tokio::test]
    async fn a_dismissed_teammate_gives_its_task_back_without_a_failure() {
        let stuck = call("send_message", json!({"to": "lead", "text": "stuck"}));
        let dismiss = calls([
            ("dismiss", json!({"name": "ann"})),
            ("task_get", json!({"id": 1})),
            spawn("bob"),
        ]);
        let twice = [finish("fine"), finish("again"), say("x")];
        let scenes = [
            scene("^go$", [calls([spawn("ann")]), say("free")]),
            scene("lead.>\\s*begin", [say("ready")]),
            scene("<task id=.1. attempt=.1", [stuck, say("waiting")]),
            scene("ann.>\\s*stuck", [dismiss, say("{{ results[1].text | trim }}")]),
            scene("<task id=.1. attempt=.2", twice),
            scene("from=.(ann|bob)", [say("noted")]),
        ];
        let workers = workers(&[("a", 0, &[])], scenes, unwrapped).await;
        let mut chat = Chat::default();
        workers.play.run_until_idle(&mut chat, "go").await;
        let said: Vec<String> = chat.messages().iter().map(|message| message.text()).collect();
        assert!(said.contains(&"#1 [pending] a".to_string()), "{said:?}");
        let task = workers.task(1);
        assert_eq!((task.result.as_deref(), task.attempt), (Some("fine"), 2));
        assert_eq!(task.failures, [""; 0]);
        assert!(workers.sent_to_teammates().contains("too late: the fencing token of attempt "));
    }

    #[tokio::test]
    async fn a_late_answer_is_refused_and_nobody_bypasses_the_claim() {
        let update = ("task_update", json!({"id": 1, "status": "done"}));
        let sub = json!({"tasks": [{"description": "sub", "prompt": "sub"}]});
        let late = calls([
            ("task_next", json!({})),
            ("task", sub),
            bash("sleep 1"),
            ("finish_task", json!({"result": "late"})),
        ]);
        let scenes = [
            scene(
                "^sub$",
                [calls([("finish_task", json!({"result": "x"})), update]), say_results()],
            ),
            scene("<task id=.1. attempt=.1", [late, say("x")]),
            scene("<task id=.1. attempt=.2", [finish("fine"), say("x")]),
        ];
        let workers = workers(&[("a", 0, &[])], team(&["ann"], scenes), unwrapped).await;
        let by_hand = |board: &Board| {
            board.update(1, |task| task.status = Status::Pending).unwrap();
        };
        tokio::join!(workers.run(), workers.when_in_progress(1, by_hand));
        let sent = workers.sent_to_teammates();
        for said in [
            "not run: tasks come to you by themselves",
            "# sub\\nyou hold no task | not run: tasks come to you",
            "too late: the fencing token of attempt 1 is stale; now #1 [pending] a",
        ] {
            assert!(sent.contains(said), "{said}: {sent}");
        }
        assert_eq!(workers.task(1).result.as_deref(), Some("fine"));
    }

    #[tokio::test]
    async fn a_task_is_to_blame_for_what_the_model_declines() {
        let scenes = team(&["ann"], [scene("<task id", [say("no").stop("refusal")])]);
        let workers = workers(&[("a", 0, &[])], scenes, unwrapped).await;
        workers.play.run(&mut Chat::default(), "go").await.unwrap();
        let failed = || workers.task(1).status == Status::Failed;
        assert!(rungs_process::testing::until(failed).await);
        assert_eq!(workers.task(1).failures.len(), 3);
    }

    #[tokio::test]
    async fn a_task_is_not_to_blame_for_a_lost_connection() {
        let lost = json!({"status": 500, "headers": {"retry-after-ms": "1"}, "times": "always"});
        let scenes = team(&["ann"], [scene("<task id", [say("x").fault(lost)])]);
        let workers = workers(&[("a", 0, &[])], scenes, unwrapped).await;
        workers.play.run(&mut Chat::default(), "go").await.unwrap();
        let given_back = || {
            let task = workers.task(1);
            task.attempt > 0 && task.status == Status::Pending
        };
        assert!(rungs_process::testing::until(given_back).await);
        assert_eq!(workers.task(1).failures, [""; 0]);
    }

    #[tokio::test]
    async fn after_a_compaction_a_teammate_still_knows_who_it_is_and_what_it_works_on() {
        let read = call("bash", json!({"command": "echo {{ n }}"}));
        let read = read.say("{% for i in range(1500) %}word {% endfor %}").repeat(8);
        let scenes = [
            scene("Summarise", [say("I read numbers.")]),
            scene("<task id", [read, finish("fine"), say("x")]),
        ];
        let wrap = |agent: Agent, dir: &Path| {
            s06_context_compact::install(agent, 20_000, Folder::open(dir, "compact").unwrap())
        };
        let workers = workers(&[("read it all", 0, &[])], team(&["ann"], scenes), wrap).await;
        workers.run().await;
        assert_eq!(workers.task(1).result.as_deref(), Some("fine"));
        let bodies = workers.play.bodies();
        let after: Vec<&Value> =
            bodies.iter().filter(|body| body.to_string().contains("<summary>")).collect();
        assert!(!after.is_empty());
        for body in after {
            assert!(body["system"].to_string().contains("You are ann, a teammate"), "{body}");
            let task = "<task id=\\\"1\\\" attempt=\\\"1\\\">\\nread it all";
            assert!(body["messages"].to_string().contains(task), "{body}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_refused_leaves_the_task_with_its_holder() {
        let early = || ("finish_task", json!({"result": "early"}));
        let fail = call("fail_task", json!({"why": "must wait"}));
        let scenes = [
            scene("<task id=.1", [finish("fine"), say("x")]),
            scene("<task id=.2", [calls([bash("sleep 1"), early(), early()]), fail, say("x")]),
        ];
        let tasks: [(&str, i64, &[u64]); 2] = [("a", 0, &[]), ("b", 0, &[1])];
        let workers = workers(&tasks, team(&["ann"], scenes), unwrapped).await;
        let by_hand = |board: &Board| {
            board.update(1, |task| task.status = Status::Failed).unwrap();
        };
        tokio::join!(workers.run(), workers.when_in_progress(2, by_hand));
        let sent = workers.sent_to_teammates();
        assert_eq!(sent.matches("#2 waits for #1").count(), 2, "{sent}");
        assert_eq!(workers.task(2).failures, ["attempt 1 by ann: must wait"]);
    }
}
