//! # s11: tasks that find their worker
//!
//! Whoever hands out every task is the bottleneck, and when a worker dies, its task stays in progress for ever. Here
//! nothing is handed out: a teammate with nothing to do claims the next task of the board for itself, for a while, and
//! that becomes its next prompt, the first of a new conversation. Who lives renews its claim; who died loses it.
//!
//! New here: an agent that goes on by itself, and three rules that make its claims safe among threads and processes that
//! may die at any moment.
//!
//! - A claim is **atomic**: it is decided and written while the board's lock is held, so nobody else decides meanwhile.
//! - A claim is a **lease**: it ends by itself unless it is renewed, and then the task is taken over.
//! - An answer is **fenced**: each claim of a task has a greater number, its attempt, and only the newest may answer. The
//!   holder of an older one may not know that it is late, since nothing stops a process from sleeping past its lease.
//!
//! The fence, not the clock, keeps a task from being handled twice. Clocks differ and jump; then a lease ends too early
//! or too late, which costs time or an attempt, and nothing else.
//!
//! Run it: `cargo run --example s11_autonomous_agents`
//!
//! You will see two teammates work off a board that nobody assigns: a task that waits for others is begun when they are
//! done, and one that failed is tried again by somebody who knows why.
//!
//! Try: `cargo test --test claims -- --nocapture`, eight processes on 1,500 tasks, 40 of which are killed.
//!
//! Builds on s07, s09. Motto: *Teammates scan the board and claim tasks themselves.*

use lessons::{
    s01_loop::agent_loop,
    s07_task_system::{self, Board, Task, list},
    s09_agent_teams::{self, LEAD, Mailboxes, Team, blunt},
};
use rungs_core::{
    Agent, Chat, Context, Error, Layer, Message, NextAct, NextAsk, Outcome, Reply, Result,
    ToolCall, ToolError, ToolSpec, prompt,
};
pub use rungs_tasks::{BoardError, Claim, Claims, LEASE, POLL_INTERVAL};
use serde::Deserialize;
use serde_json::json;
use std::{
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How long a teammate may wait for an answer by mail with a task in its hands.
const PATIENCE: Duration = Duration::from_secs(600);
/// What it hears when it ends its turn with its task open.
const REMINDER: &str = "<task>\nYou still hold your task. Call finish_task or fail_task now. If you wait for an answer to a \
    letter of yours, say so.\n</task>";

/// What a teammate works on.
#[derive(Default)]
struct Work(Option<Held>);

struct Held {
    claim: Claim,
    at: At,
    reminded: bool,
    /// Holds the lease, and ends with this.
    _renewal: JoinSet<()>,
}

/// Where the work on a task stands.
enum At {
    /// In this turn of the teammate's, somebody works on it.
    Turn(usize),
    /// Since then its holder waits for an answer by mail.
    Waiting(Instant),
}

impl Held {
    /// Why the task can't stay with its holder, who is in this turn now.
    fn left(&self, turn: usize) -> Option<&'static str> {
        match self.at {
            At::Turn(then) if then != turn => Some("its turn was broken off"),
            At::Waiting(since) if since.elapsed() > PATIENCE => {
                Some("it waited too long for an answer")
            }
            _ => None,
        }
    }
}

/// Has idle teammates claim tasks.
#[derive(Clone)]
struct Autonomy {
    claims: Claims,
    team: Team,
}

impl Autonomy {
    /// The name of a teammate; the lead and all subagents claim nothing.
    fn mate(&self, cx: &Context) -> Option<String> {
        self.team.address(cx).filter(|me| me != LEAD)
    }

    /// Claims the next task, if there is one.
    async fn claim(&self, me: &str, turn: usize) -> Result<Option<Held>, BoardError> {
        let Some(claim) = self.claims.claim(me).await? else { return Ok(None) };
        let (held, mut renewal) = (claim.clone(), JoinSet::new());
        renewal.spawn(async move { held.hold().await });
        Ok(Some(Held { claim, at: At::Turn(turn), reminded: false, _renewal: renewal }))
    }

    /// Ends the claim that this agent holds, if it does. What can't be noted now stays with it.
    async fn end<T>(
        &self,
        work: &Mutex<Work>,
        how: impl AsyncFnOnce(&Claim) -> Result<T, BoardError>,
    ) -> Option<Result<T, BoardError>> {
        let held = work.lock().unwrap().0.take()?;
        let ended = how(&held.claim).await;
        if held.claim.is_open() {
            work.lock().unwrap().0 = Some(held);
        } else {
            // What waited for it can begin, or somebody else can try.
            self.team.nudge();
        }
        Some(ended)
    }

    /// Puts the task that this agent holds, or claims now, before the model; false when it has nothing to do at all.
    async fn prepare(&self, me: String, chat: &mut Chat, cx: &Context) -> Result<bool, BoardError> {
        let (work, turn) = (cx.local::<Mutex<Work>>(), self.team.turn(cx));
        let left = work.lock().unwrap().0.as_ref().and_then(|held| held.left(turn));
        if let Some(why) = left {
            let _ = self.end(&work, async |claim| claim.fail(why).await).await;
            chat.rewrite(Vec::<Message>::new());
        }
        if !chat.awaits_reply() && !self.team.has_mail(&me, cx).await {
            let holds = work.lock().unwrap().0.is_some();
            let Some(held) = (if holds { None } else { self.claim(&me, turn).await? }) else {
                return Ok(false);
            };
            // Each task begins a new conversation: what was said about others would only fill the window.
            chat.rewrite([prompt::first_message(cx, text(&held.claim))]);
            work.lock().unwrap().0 = Some(held);
        }
        if let Some(held) = &mut work.lock().unwrap().0 {
            held.at = At::Turn(turn);
            // A compaction may have taken it away.
            let text = text(&held.claim);
            let told = |message: &Message| {
                message.content.iter().any(|block| block.as_text() == Some(&text))
            };
            if !chat.messages().iter().any(|message| told(message)) {
                chat.push(Message::user(text));
            }
        }
        Ok(true)
    }

    /// Waits until an idle teammate can claim something, or can't keep what it holds.
    async fn wait(self, cx: Context) -> bool {
        if self.mate(&cx).is_none() {
            return false;
        }
        let work = cx.local::<Mutex<Work>>();
        loop {
            // It is idle, so no turn is the one in which it works.
            let held = work.lock().unwrap().0.as_ref().map(|held| held.left(usize::MAX).is_some());
            match held {
                Some(true) => return true,
                Some(false) => tokio::time::sleep(POLL_INTERVAL).await,
                None if self.claims.wait().await.is_ok() => return true,
                None => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Does what a teammate wants with the task that it holds.
    async fn run(&self, verb: Verb, cx: &Context) -> Result<String, ToolError> {
        let work = cx.local::<Mutex<Work>>();
        let ended = self.end(&work, async |claim| match verb {
            Verb::FinishTask { result } => claim.finish(result).await,
            Verb::FailTask { why } => claim.fail(why).await.map(|()| vec![]),
        });
        let freed = ended.await.ok_or_else(|| ToolError("you hold no task".into()))??;
        Ok(if freed.is_empty() {
            "noted".into()
        } else {
            format!("noted; now {} can begin", list(&freed))
        })
    }

    /// What a failed turn means for its task: it is to blame, or a lost connection is.
    async fn failed(&self, error: &Error, work: &Mutex<Work>, chat: &mut Chat) {
        let blame =
            error.refuses_request() || matches!(error, Error::Unfinished { .. } | Error::Limit(..));
        let why = error.to_string();
        let end = async |claim: &Claim| match blame {
            true => claim.fail(why).await,
            false => claim.release().await,
        };
        if self.end(work, end).await.is_some() {
            chat.rewrite(Vec::<Message>::new());
        }
    }
}

/// What whoever claims a task is told.
fn text(claim: &Claim) -> String {
    let Task { id, subject, description, attempt, failures, .. } = claim.task();
    let mut lines = vec![
        format!("<task id=\"{id}\" attempt=\"{attempt}\">"),
        blunt(subject),
        blunt(description),
    ];
    lines.extend(failures.iter().map(|failure| format!("failed before: {}", blunt(failure))));
    lines.push("This task is yours now. End it with finish_task or fail_task.\n</task>".into());
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

impl Layer for Autonomy {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let Some(me) = self.mate(cx) else { return next.run(chat, cx).await };
        if !self.prepare(me, chat, cx).await.map_err(Error::other)? {
            return Err(Error::NothingToAnswer);
        }
        let work = cx.local::<Mutex<Work>>();
        loop {
            let reply = match next.run(chat, cx).await {
                Ok(reply) if reply.message.calls().is_empty() => reply,
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.failed(&error, &work, chat).await;
                    return Err(error);
                }
            };
            // The turn ends. No task must stay with somebody who has forgotten it.
            let remind = match &mut work.lock().unwrap().0 {
                None => return Ok(reply),
                Some(held) if held.reminded && self.team.wrote(cx) => {
                    held.at = At::Waiting(Instant::now());
                    return Ok(reply);
                }
                Some(held) => !std::mem::replace(&mut held.reminded, true),
            };
            if !remind {
                let _ = self
                    .end(&work, async |claim| claim.fail("it was left without a word").await)
                    .await;
                return Ok(reply);
            }
            chat.push(reply.message.clone());
            chat.push(Message::user(REMINDER));
        }
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> Outcome {
        let changes = ["task_create", "task_update"].contains(&&*call.name);
        if self.team.member(cx) != LEAD && ["task_next", "task_update"].contains(&&*call.name) {
            return call
                .refuse("not run: tasks come to you by themselves; finish_task or fail_task ends the one you hold");
        }
        let outcome = next.run(call, cx).await;
        if changes {
            self.team.nudge();
        }
        outcome
    }
}

/// The two ways to end a task, as the model calls them.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    FinishTask { result: String },
    FailTask { why: String },
}

/// Adds the mechanism to a team with a board. Compaction goes around it, so that a task which that removes is put back
/// before the next request.
pub fn install(agent: Agent, team: &Team, claims: &Claims) -> Agent {
    let autonomy = Autonomy { claims: claims.clone(), team: team.clone() };
    let word = |what: &str| json!({"type": "string", "description": what});
    let specs = [
        ToolSpec::with_fields(
            "finish_task",
            "Ends the task that you hold: it is done.",
            &json!({"result": word("What came of it.")}),
        ),
        ToolSpec::with_fields(
            "fail_task",
            "Gives up the task that you hold. It is tried again, three times in all.",
            &json!({"why": word("What the next attempt should know.")}),
        ),
    ];
    let (worked, woken) = (autonomy.clone(), autonomy.clone());
    agent
        .verbs(specs, move |verb, cx| {
            let autonomy = worked.clone();
            async move { autonomy.run(verb, &cx).await }
        })
        .wrap(autonomy)
        .wake(move |cx| woken.clone().wait(cx))
}

/// The agent of lesson one, with a board and teammates who work it off.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let folder = stage.state();
        let agent = stage.agent();
        let (board, word) =
            Board::open_async(folder.join("tasks.jsonl")).await.map_err(Error::other)?;
        word.into_iter().for_each(|word| agent.context().notice(word));
        let team = Team::new(Mailboxes::open(&folder).map_err(Error::other)?);
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
