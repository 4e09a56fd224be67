//! # s11: tasks that find their worker
//!
//! Whoever hands out every task is the bottleneck, and when a worker dies, its task stays in progress for
//! ever. Here nobody hands anything out: an idle teammate claims the next task of the board for itself,
//! for a limited time, and the task becomes its next prompt, the first of a new conversation. A worker
//! that lives renews its claim; one that died loses it.
//!
//! ```text
//!                 claim (atomic, lease 30 s, token 1)            renew, renew, ...
//! idle teammate ───────────────────────────────────> task in progress ───────────> finish (token 1)
//!                                                        │ no renewal: the lease ends
//!                                                        v
//! another teammate ── claim (token 2) ──> task in progress; finish (token 1) is refused from now on
//! ```
//!
//! New here: an agent that continues by itself, and three rules that make its claims safe among threads
//! and processes that may die at any moment.
//!
//! - A claim is **atomic**: it is decided and written while the board's lock is held.
//! - A claim is a **lease**: it ends by itself unless it is renewed, and then the task is taken over.
//! - An answer carries a **fencing token**: each claim of a task has a greater one, and only the newest
//!   may answer. The holder of an older one may not know that it is late, since nothing stops a process
//!   from sleeping past its lease.
//!
//! The token, not the clock, keeps a task from being answered twice. Clocks differ and jump; then a lease
//! ends too early or too late, which costs time or an attempt, and nothing else. One task is one turn of
//! a teammate, so the claim is a value of that turn: given back when the turn goes without an answer,
//! however it goes. The crate `rungs-tasks` holds board and claims.
//!
//! Terms: **work stealing** (idle workers take work themselves), **lease**, **renewal** (heartbeat),
//! **fencing token**, **takeover**, **at-most-once completion**.
//!
//! Run it: `cargo run --example s11_autonomous_agents`
//!
//! You will see two teammates do the tasks of a board that nobody assigns: a task that waits for others
//! begins when they are done, and one that failed is tried again by a worker that is told why.
//!
//! Try, and predict first:
//! 1. `cargo test -p rungs-tasks --test claims -- --nocapture`: processes claim tasks while many of them
//!    are killed. How often is a task finished twice?
//! 2. Take `() = claim.hold()` out of the `select!` and let a task take a minute. Who finishes it?
//! 3. Type `:tasks` while they work. Which number grows when a task is claimed again?
//!
//! Pitfalls: a lock that is held while the model thinks stops everybody; a lease without a token lets a
//! late worker overwrite the work of its successor.
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
/// How long the lead waits for an idle teammate to claim a task, before it stops expecting that.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an exit waits until the claims of dropped turns are given back.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// With which tools a teammate writes to others, and may have to wait for an answer.
const WRITING_TOOLS: [&str; 2] = ["send_message", "request"];
/// Tools that would take a task past its claim.
const BYPASSING_TOOLS: [&str; 2] = ["task_next", "task_update"];
const REMINDER: &str = "<reminder>\nYou still hold your task. Call finish_task or fail_task now. If you \
    need an answer first, ask for it with send_message and end your turn.\n</reminder>";

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
    /// Gives up the task that you hold. It is tried again, three times in all.
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

    /// Claims a task for a teammate that has nothing else to do: no prompt, no mail, nothing unanswered.
    async fn claim(&self, chat: &Chat, cx: &Context) -> Result<Option<Claim>> {
        let Some(me) = self.team.address(cx).filter(|me| me != LEAD) else { return Ok(None) };
        let in_flight = chat.state::<InFlight>();
        let mail = self.team.transport().has_mail(&me, &in_flight.0).await;
        if chat.awaits_reply() || mail.map_err(Error::other)? {
            return Ok(None);
        }
        self.claims.claim(&me).await.map_err(Error::other)
    }

    /// Works on a task until it is ended.
    async fn work(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let mut reply = next.run(chat, cx).await?;
        while self.is_unfinished(chat, cx).await {
            reply = next.run(chat, cx).await?;
        }
        Ok(reply)
    }

    /// The teammate's turn is over. Whether there is something that it must still answer: mail that it
    /// waited for with its task open, or a reminder of its task.
    async fn is_unfinished(&self, chat: &mut Chat, cx: &Context) -> bool {
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

    /// Waits until an idle teammate can claim something. The lead waits as long as somebody may still
    /// claim something and write to it.
    async fn wait(self, cx: Context) -> bool {
        let Some(me) = self.team.address(&cx) else { return false };
        if me != LEAD {
            return self.claims.wait().await.is_ok();
        }
        loop {
            if self.team.wait(&cx).await {
                return true;
            }
            // All teammates are idle; one of them may be about to claim a task.
            let taken = self.claims.board().wait_for(|tasks| !can_begin(tasks));
            let nothing_left = self.claims.board().blocking(|board| board.look(can_begin)).await;
            if self.team.is_empty() || !nothing_left.unwrap_or(false) {
                return false;
            }
            if timeout(CLAIM_TIMEOUT, taken).await.is_err() {
                return false;
            }
        }
    }
}

/// Whether a task could be claimed.
fn can_begin(tasks: &Tasks) -> bool {
    tasks.next().is_some()
}

/// What whoever claims a task is told.
fn text(claim: &Claim) -> String {
    let Task { id, subject, description, attempt, failures, .. } = claim.task();
    let mut lines = vec![format!("<task id=\"{id}\" attempt=\"{attempt}\">")];
    lines.extend([escape_tags(subject), escape_tags(description)]);
    lines.extend(failures.iter().map(|why| format!("failed before: {}", escape_tags(why))));
    lines.push("This task is yours now. End it with finish_task or fail_task.\n</task>".into());
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// Whether an error is the task's own fault: asked again, it would end the same way. A lost connection is
/// not, so such a task is given back without a failure.
fn is_to_blame(error: &Error) -> bool {
    error.withdraws() || matches!(error, Error::Unfinished { .. } | Error::Limit(..))
}

impl Layer for Autonomy {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let Some(claim) = self.claim(chat, cx).await? else { return next.run(chat, cx).await };
        // Each task begins a new conversation: what was said about others would only fill the window.
        *chat = cx.agent.new_chat();
        chat.push(Message::kept("task", text(&claim)));
        let (wrote, reminded) = (AtomicBool::new(false), AtomicBool::new(false));
        let cx = cx.with(Held { claim: claim.clone(), wrote, reminded });
        let end = tokio::select! {
            end = self.work(chat, &cx, next) => end,
            () = claim.hold() => Err(Error::other("the task was taken over by somebody else")),
        };
        if let Err(error) = &end {
            if is_to_blame(error)
                && let Err(error) = claim.fail(error.to_string()).await
            {
                cx.notice(format!("the task was not given up: {error}"));
            }
            *chat = cx.agent.new_chat();
        }
        end
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if self.team.works_for(cx).is_some() && BYPASSING_TOOLS.contains(&&*call.name) {
            return call.refuse(
                "not run: tasks come to you by themselves; finish_task or fail_task ends the one you \
                 hold",
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
        let (agent, state) = (stage.agent(), stage.state());
        let file = state.join("tasks.jsonl");
        let (board, damage) = Board::open_async(file).await.map_err(Error::other)?;
        if let Some(damage) = damage {
            agent.context().notice(damage);
        }
        let team = Team::new(Mailboxes::open(&state).await.map_err(Error::other)?);
        let agent = s09_agent_teams::install(s07_task_system::install(agent, &board), &team);
        Ok(install(agent, &team, &Claims::new(board, LEASE)))
    };
    lessons::run("s11_autonomous_agents", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{s06_context_compact::Compact, s07_task_system::Status};
    use rungs_core::tools;
    use serde_json::Value;

    fn task(board: &Board, id: u64) -> Task {
        board.look(|tasks| tasks.get(id).cloned()).unwrap().unwrap()
    }

    fn all(board: &Board) -> Vec<String> {
        board.look(|tasks| tasks.all().map(|task| task.to_string()).collect()).unwrap()
    }

    struct Stage {
        agent: Agent,
        board: Board,
        server: rehearsal::Server,
        _dir: tempfile::TempDir,
    }

    async fn stage(tasks: &[(&str, i64, &[u64])], scenes: &str) -> Stage {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (board, _) = Board::open(&dir.path().join("tasks.jsonl")).unwrap();
        for (subject, priority, after) in tasks {
            let (subject, after) = (subject.to_string(), after.iter().copied().collect());
            board.create(Task { subject, priority: *priority, after, ..Task::default() }).unwrap();
        }
        let claims = Claims::new(board.clone(), LEASE);
        let team = Team::new(Mailboxes::open(&dir.path().join("mail")).unwrap());
        let agent = lessons::s04_subagent::install(tools::all(Agent::new(client, dir.path())));
        let agent = s09_agent_teams::install(s07_task_system::install(agent, &board), &team);
        Stage { agent: install(agent, &team, &claims), board, server, _dir: dir }
    }

    impl Stage {
        /// Turns as long as there is something to tell the lead.
        async fn hold(&self) {
            let mut chat = Chat::new("go");
            loop {
                agent_loop(&self.agent, &mut chat).await.unwrap();
                let cx = self.agent.context();
                if !tokio::time::timeout(Duration::from_secs(60), prompt::woken(&cx, true))
                    .await
                    .unwrap()
                {
                    return;
                }
            }
        }

        /// All results and texts that teammates were given, in the order of their requests.
        fn told(&self) -> String {
            let bodies = self.server.seen().into_iter().map(|seen| seen.body);
            let own = bodies.filter(|body| body["system"].to_string().contains("You are "));
            own.map(|body| body["messages"].as_array().unwrap().last().unwrap().to_string())
                .collect()
        }
    }

    fn hire(names: &[&str]) -> String {
        let calls: Vec<String> = names
            .iter()
            .map(|name| format!("{{spawn_teammate: {{name: {name}, role: works, prompt: begin}}}}"))
            .collect();
        format!(
            "{{when: ^go$, turns: [{{call: [{}]}}, {{say: free}}]}}, {{when: 'from=.(ann|bob|eve)', turns: [{{say: heard}}]}},
             {{when: 'lead.>\\s*begin', turns: [{{say: ready}}]}}",
            calls.join(", ")
        )
    }

    const WORKS: &str = "{when: '<task id=.(\\d+)', turns: [{call: [{bash: {command: 'echo {{ m[1] }}'}}]}, {call: [{finish_task: {result: '{{ results[0].text | trim }}'}}]}, {say: x}]}";

    #[tokio::test]
    async fn idle_teammates_work_off_a_board_that_nobody_assigns() {
        let mut tasks: Vec<(&str, i64, &[u64])> = vec![("x", 0, &[]); 24];
        tasks.extend([("last", 9, &[1, 12, 24][..])]);
        let stage = stage(&tasks, &format!("{}, {WORKS}", hire(&["ann", "bob", "eve"]))).await;
        stage.hold().await;
        let all: Vec<Task> = stage.board.look(|tasks| tasks.all().cloned().collect()).unwrap();
        for task in &all {
            assert_eq!((task.status, task.attempt), (Status::Done, 1), "{task}");
            assert_eq!(task.result, Some(task.id.to_string()));
        }
        let owners: std::collections::BTreeSet<_> =
            all.iter().filter_map(|task| task.owner.as_deref()).collect();
        assert!(owners.len() > 1, "{owners:?}");
    }

    #[tokio::test]
    async fn who_forgets_its_task_is_reminded_once_and_three_such_attempts_are_enough() {
        let scenes = "{when: '<task id', turns: [{say: nice}]}, {when: 'You still hold', turns: [{say: 'so what'}]}";
        let stage =
            stage(&[("a", 0, &[]), ("b", 0, &[1])], &format!("{}, {scenes}", hire(&["ann"]))).await;
        stage.hold().await;
        assert_eq!(all(&stage.board)[1], "#2 [pending] b, after #1");
        let task = task(&stage.board, 1);
        assert_eq!((task.status, task.attempt), (Status::Failed, 3));
        let why = "it was left without a word";
        let whys =
            format!("attempt 1 by ann: {why}; attempt 2 by ann: {why}; attempt 3 by ann: {why}");
        assert_eq!(task.result.unwrap(), format!("set aside, as it failed 3 times: {whys}"));
        assert_eq!(stage.told().matches("You still hold").count(), 3);
        assert!(
            stage.told().contains("failed before: attempt 2 by ann: it was left without a word")
        );
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_keeps_its_task_and_who_is_dismissed_gives_it_back() {
        let stage = stage(
            &[("a", 0, &[])],
            "{when: ^go$, turns: [{call: [{spawn_teammate: {name: ann, role: works, prompt: begin}}]}, {say: free}]},
             {when: 'lead.>\\s*begin', turns: [{say: ready}]}, {when: 'ann.>\\s*ready', turns: [{say: good}]},
             {when: '<task id=.1. attempt=.1', turns: [{call: [{send_message: {to: lead, text: which}}]}, {say: waiting}]},
             {when: 'ann.>\\s*which', turns: [{call: [{task_get: {id: 1}}, {send_message: {to: ann, text: this}}]}, {say: told}]},
             {when: 'lead.>\\s*this', turns: [{call: [{send_message: {to: lead, text: stuck}}]}, {say: waiting}]},
             {when: 'ann.>\\s*stuck', turns: [{call: [{dismiss: {name: ann}}, {task_get: {id: 1}}, {spawn_teammate: {name: bob, role: works, prompt: begin}}]}, {say: other}]},
             {when: '<task id=.1. attempt=.2', turns: [{call: [{finish_task: {result: fine}}, {finish_task: {result: again}}]}, {say: x}]},
             {when: 'bob.>', turns: [{say: heard}]}",
        )
        .await;
        stage.hold().await;
        let lead = stage
            .server
            .seen()
            .into_iter()
            .rfind(|seen| !seen.body["system"].to_string().contains("You are "));
        let lead = lead.unwrap().body.to_string();
        let order = ["#1 [in_progress] a, owner ann", "ann is gone", "#1 [pending] a"];
        order.iter().fold(lead.as_str(), |rest, word| {
            rest.split_once(word).unwrap_or_else(|| panic!("{word}: {lead}")).1
        });
        let task = task(&stage.board, 1);
        assert_eq!(
            (task.result.as_deref(), task.attempt, task.failures.len()),
            (Some("fine"), 2, 0)
        );
        assert!(stage.told().contains("you hold no task"));
    }

    #[tokio::test]
    async fn a_late_answer_is_refused_to_the_models_face_and_nobody_goes_round_the_claim() {
        let stage = stage(
            &[("a", 0, &[])],
            &format!(
                "{}, {{when: ^sub$, turns: [{{call: [{{finish_task: {{result: x}}}}, {{task_update: {{id: 1, status: done}}}}]}}, {{say: '{{{{ results[0].text }}}}, {{{{ results[1].text }}}}'}}]}},
                 {{when: '<task id=.1. attempt=.1', turns: [{{call: [{{task_next: {{}}}}, {{task: {{tasks: [{{description: sub, prompt: sub}}]}}}}, {{bash: {{command: sleep 1}}}}, {{finish_task: {{result: late}}}}]}}, {{say: x}}]}},
                 {{when: '<task id=.1. attempt=.2', turns: [{{call: [{{finish_task: {{result: fine}}}}]}}, {{say: x}}]}}",
                hire(&["ann"])
            ),
        )
        .await;
        let board = stage.board.clone();
        let by_hand = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if task(&board, 1).status == Status::InProgress {
                    return board.update(1, |task| task.status = Status::Pending).unwrap();
                }
            }
        });
        stage.hold().await;
        by_hand.await.unwrap();
        let told = stage.told();
        for said in [
            "not run: tasks come to you by themselves",
            "# sub\\nyou hold no task, not run: tasks come to you",
            "attempt 1 is over, and this comes too late: #1 [pending] a",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
        assert_eq!(task(&stage.board, 1).result.as_deref(), Some("fine"));
    }

    #[tokio::test]
    async fn a_task_is_blamed_for_what_the_model_declines_and_not_for_a_lost_connection() {
        for (turn, status, failures) in [
            ("{say: no, stop: refusal}", Status::Failed, 3),
            (
                "{say: x, faults: [{status: 500, retry_after: 0, times: always}]}",
                Status::Pending,
                0,
            ),
        ] {
            let scenes = format!("{}, {{when: '<task id', turns: [{turn}]}}", hire(&["ann"]));
            let stage = stage(&[("a", 0, &[])], &scenes).await;
            agent_loop(&stage.agent, &mut Chat::new("go")).await.unwrap();
            let over =
                |task: &Task| task.attempt > 0 && task.status == status && task.lease_end.is_none();
            for _ in 0..1000 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if over(&task(&stage.board, 1)) {
                    break;
                }
            }
            let task = task(&stage.board, 1);
            assert_eq!((task.status, task.failures.len()), (status, failures), "{task:?}");
            stage.agent.exit().await;
        }
    }

    /// One summary is enough, or the script would begin again and again with the task that is put back.
    struct Once(Compact);

    impl Layer for Once {
        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            match chat.messages().iter().any(|message| message.text().contains("<summary>")) {
                true => next.run(chat, cx).await,
                false => self.0.ask(chat, cx, next).await,
            }
        }
    }

    #[tokio::test]
    async fn after_a_compaction_it_still_knows_who_it_is_and_what_it_works_on() {
        let mut stage = stage(
            &[("read it all", 0, &[])],
            &format!(
                "{}, {{when: '<task id', turns: [{{repeat: 12, say: '{{% for i in range(1500) %}}word {{% endfor %}}', call: [{{bash: {{command: 'echo {{{{ n }}}}'}}}}]}},
                    {{call: [{{finish_task: {{result: fine}}}}]}}, {{say: x}}]}},
                 {{when: Summarise, turns: [{{say: 'I read numbers.'}}]}}",
                hire(&["ann"])
            ),
        )
        .await;
        let compact = Compact { window: 20_000, folder: stage._dir.path().join("compact") };
        stage.agent = stage.agent.wrap(Once(compact));
        stage.hold().await;
        assert_eq!(task(&stage.board, 1).result.as_deref(), Some("fine"));
        let bodies: Vec<Value> = stage.server.seen().into_iter().map(|seen| seen.body).collect();
        let after: Vec<&Value> =
            bodies.iter().filter(|body| body.to_string().contains("<summary>")).collect();
        assert!(!after.is_empty());
        for body in after {
            assert!(body["system"].to_string().contains("You are ann, a teammate"), "{body}");
            assert!(
                body["messages"]
                    .to_string()
                    .contains("<task id=\\\"1\\\" attempt=\\\"1\\\">\\nread it all"),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_that_makes_no_sense_now_leaves_the_task_with_its_holder() {
        let stage = stage(
            &[("a", 0, &[]), ("b", 0, &[1])],
            &format!(
                "{}, {{when: '<task id=.1', turns: [{{call: [{{finish_task: {{result: fine}}}}]}}, {{say: x}}]}},
                 {{when: '<task id=.2', turns: [{{call: [{{bash: {{command: sleep 1}}}}, {{finish_task: {{result: early}}}}, {{finish_task: {{result: early}}}}]}}, {{call: [{{fail_task: {{why: 'must wait'}}}}]}}, {{say: x}}]}}",
                hire(&["ann"])
            ),
        )
        .await;
        let board = stage.board.clone();
        let by_hand = tokio::spawn(async move {
            while task(&board, 2).status != Status::InProgress {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            board.update(1, |task| (task.status, task.priority) = (Status::Failed, 1)).unwrap();
        });
        stage.hold().await;
        by_hand.await.unwrap();
        assert_eq!(stage.told().matches("#2 waits for #1").count(), 2, "{}", stage.told());
        assert_eq!(task(&stage.board, 2).failures, ["attempt 1 by ann: must wait"]);
    }
}
