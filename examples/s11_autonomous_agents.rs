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
//! Try: `cargo test --test claims -- --nocapture`, sixteen processes on 10,000 tasks, of which 200 are killed.
//!
//! Builds on s07, s09. Motto: *Teammates scan the board and claim tasks themselves.*

use lessons::{
    s01_loop::agent_loop,
    s07_task_system::{self, Board, Refused, Status, Task, Tasks, Trouble, list},
    s09_agent_teams::{self, LEAD, Mailboxes, Team, escape_tags},
};
use rungs_core::{
    Agent, Chat, Context, Error, Layer, Message, NextAct, NextAsk, Outcome, Reply, Result,
    ToolCall, ToolError, ToolSpec, prompt,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};
use tokio::task::JoinSet;

/// How long a claim lasts unless it is renewed, which happens three times as often.
const LEASE: Duration = Duration::from_secs(30);
/// How often an idle teammate looks at the board, since other processes change it too.
const LOOK: Duration = Duration::from_millis(500);
/// How long a teammate may wait for an answer by mail with a task in its hands.
const PATIENCE: Duration = Duration::from_secs(600);
/// What it hears when it ends its turn with its task open.
const REMINDER: &str = "<task>\nYou still hold your task. Call finish_task or fail_task now. If you wait for an answer to a \
    letter of yours, say so.\n</task>";

/// A board whose tasks are held for a while only. Everything here blocks: call it from a blocking thread.
#[derive(Clone)]
pub struct Claims {
    board: Board,
    lease: Duration,
}

/// The right to answer for a task, as long as nobody has a newer one.
#[derive(Debug, PartialEq)]
pub struct Claim(Task);

impl Claim {
    /// The task as it was when it was claimed, with the reasons why earlier attempts failed.
    pub fn task(&self) -> &Task {
        &self.0
    }
}

impl Claims {
    /// Claims on this board that end after `lease`, unless they are renewed. It should be a few times as long as it takes
    /// to notice that one is due, and the board's lock may be busy meanwhile.
    pub fn new(board: Board, lease: Duration) -> Claims {
        Claims { board, lease }
    }

    /// Whether there is something to claim. Costs next to nothing, so that an idle worker may ask often.
    pub fn claimable(&self) -> Result<bool, Trouble> {
        self.board.look(|tasks| tasks.next().is_some() || tasks.expired(now()).next().is_some())
    }

    /// Claims a task for `owner`: one whose holder let its lease run out, else the most urgent one that can begin.
    pub fn claim(&self, owner: &str) -> Result<Option<Claim>, Trouble> {
        // The clock is asked under the lock, which may have been long in coming.
        self.board.change(|tasks| {
            let (changed, claimed) = tasks.claimed(owner, now(), self.until());
            Ok((changed, claimed.map(Claim)))
        })
    }

    /// Holds the task for another lease from now on.
    pub fn renew(&self, claim: &Claim) -> Result<(), Trouble> {
        self.answer(claim, |_, task| Ok((Task { until: Some(self.until()), ..task.clone() }, ())))
    }

    /// The task is done; gives those that can begin because of it.
    pub fn finish(&self, claim: &Claim, result: &str) -> Result<Vec<u64>, Trouble> {
        self.answer(claim, |tasks, task| {
            tasks.updated(task.id, |task| {
                (task.status, task.result) = (Status::Done, Some(result.into()))
            })
        })
    }

    /// The attempt failed: the task can be claimed again, and whoever does is told why, or it is set aside.
    pub fn fail(&self, claim: &Claim, why: &str) -> Result<(), Trouble> {
        self.answer(claim, |_, task| Ok((task.failed(why), ())))
    }

    /// Gives the task back as if it had not been begun: no attempt has failed, the worker has to go.
    pub fn release(&self, claim: &Claim) -> Result<(), Trouble> {
        self.answer(claim, |tasks, task| {
            Ok((tasks.updated(task.id, |task| task.status = Status::Pending)?.0, ()))
        })
    }

    /// When a lease that begins now ends.
    fn until(&self) -> u64 {
        now() + self.lease.as_millis() as u64
    }

    /// Changes a task in the name of a claim, if that is the newest one and still stands: the fence.
    ///
    /// Whether its lease has run out is not asked. While nobody has taken the task over, a late answer harms nobody, and
    /// to refuse it would throw work away. And a clock could not fence: between a look at it and the write, time goes on.
    fn answer<T>(
        &self,
        claim: &Claim,
        decide: impl FnOnce(&Tasks, &Task) -> Result<(Task, T), Refused>,
    ) -> Result<T, Trouble> {
        self.board.change(|tasks| {
            let (task, told) = decide(tasks, tasks.fenced(claim.0.id, claim.0.attempt)?)?;
            Ok((vec![task], told))
        })
    }
}

/// In milliseconds since 1970: a clock that other processes, and the next start, share.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64
}

/// What a teammate works on.
#[derive(Default)]
struct Work(Option<Held>);

struct Held {
    claims: Claims,
    claim: Arc<Claim>,
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

impl Drop for Work {
    fn drop(&mut self) {
        // The teammate goes; somebody else may go on with its task at once.
        if let Some(held) = self.0.take() {
            let _ = held.claims.release(&held.claim);
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

    /// Works with the claims where waiting for the disk holds up nobody.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Claims) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let claims = self.claims.clone();
        tokio::task::spawn_blocking(move || work(&claims)).await.expect("a board does not panic")
    }

    /// Renews a claim as long as it is the newest. A disk that fails now may work the next time; only the fence is final.
    async fn renew(self, claim: Arc<Claim>) {
        loop {
            tokio::time::sleep(self.claims.lease / 3).await;
            let claim = claim.clone();
            if let Err(Trouble::Refused(_)) = self.with(move |claims| claims.renew(&claim)).await {
                return;
            }
        }
    }

    /// Claims the next task, if there is one.
    async fn claim(&self, me: String, turn: usize) -> Result<Option<Held>, Trouble> {
        let claimed =
            self.with(move |claims| if claims.claimable()? { claims.claim(&me) } else { Ok(None) });
        Ok(claimed.await?.map(|claim| {
            let (claim, mut renewal) = (Arc::new(claim), JoinSet::new());
            renewal.spawn(self.clone().renew(claim.clone()));
            Held {
                claims: self.claims.clone(),
                claim,
                at: At::Turn(turn),
                reminded: false,
                _renewal: renewal,
            }
        }))
    }

    /// Ends the claim that this agent holds, if it does. What can't be noted now stays with it.
    async fn end<T: Send + 'static>(
        &self,
        work: &Mutex<Work>,
        how: impl FnOnce(&Claims, &Claim) -> Result<T, Trouble> + Send + 'static,
    ) -> Option<Result<T, Trouble>> {
        let held = work.lock().unwrap().0.take()?;
        let claim = held.claim.clone();
        let ended = self.with(move |claims| how(claims, &claim)).await;
        match ended {
            // What waited for it can begin, or somebody else can try.
            Ok(_) | Err(Trouble::Refused(Refused::Late(..))) => self.team.nudge(),
            Err(_) => work.lock().unwrap().0 = Some(held),
        }
        Some(ended)
    }

    /// Puts the task that this agent holds, or claims now, before the model; false when it has nothing to do at all.
    async fn prepare(&self, me: String, chat: &mut Chat, cx: &Context) -> Result<bool, Trouble> {
        let (work, turn) = (cx.local::<Mutex<Work>>(), self.team.turn(cx));
        let left = work.lock().unwrap().0.as_ref().and_then(|held| held.left(turn));
        if let Some(why) = left {
            let _ = self.end(&work, move |claims, claim| claims.fail(claim, why)).await;
            chat.rewrite(Vec::<Message>::new());
        }
        if !chat.awaits_reply() && !self.team.has_mail(&me, cx).await {
            let holds = work.lock().unwrap().0.is_some();
            let Some(held) = (if holds { None } else { self.claim(me, turn).await? }) else {
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
            if held.unwrap_or(false)
                || (held.is_none() && self.with(Claims::claimable).await.unwrap_or(false))
            {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does what a teammate wants with the task that it holds.
    async fn run(&self, verb: Verb, cx: &Context) -> Result<String, ToolError> {
        let work = cx.local::<Mutex<Work>>();
        let ended = self.end(&work, |claims, claim| match verb {
            Verb::FinishTask { result } => claims.finish(claim, &result),
            Verb::FailTask { why } => claims.fail(claim, &why).map(|()| vec![]),
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
        let end = move |claims: &Claims, claim: &Claim| match blame {
            true => claims.fail(claim, &why),
            false => claims.release(claim),
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
        escape_tags(subject),
        escape_tags(description),
    ];
    lines.extend(failures.iter().map(|failure| format!("failed before: {}", escape_tags(failure))));
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
                    .end(&work, |claims, claim| claims.fail(claim, "it was left without a word"))
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
        let (board, word) = Board::open(&folder.join("tasks.jsonl")).map_err(Error::other)?;
        word.into_iter().for_each(|word| agent.context().notice(word));
        let team = Team::new(Mailboxes::open(&folder).await.map_err(Error::other)?);
        let agent = s09_agent_teams::install(s07_task_system::install(agent, &board), &team);
        Ok(install(agent, &team, &Claims::new(board, LEASE)))
    };
    lessons::run("s11_autonomous_agents", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::s06_context_compact::Compact;
    use rungs_core::tools;
    use serde_json::Value;
    use std::sync::Barrier;

    /// Claims of two kinds on one new board: with a lease that lasts, and with one that has run out at once.
    fn board(subjects: &[(&str, i64, &[u64])]) -> (tempfile::TempDir, Board, Claims, Claims) {
        let dir = tempfile::tempdir().unwrap();
        let (board, _) = Board::open(&dir.path().join("tasks.jsonl")).unwrap();
        for (subject, priority, after) in subjects {
            let after = after.iter().copied().collect();
            board
                .create(Task {
                    subject: subject.to_string(),
                    priority: *priority,
                    after,
                    ..Task::default()
                })
                .unwrap();
        }
        let [lasting, over] = [Duration::from_secs(600), Duration::ZERO]
            .map(|lease| Claims::new(board.clone(), lease));
        (dir, board, lasting, over)
    }

    fn task(board: &Board, id: u64) -> Task {
        board.look(|tasks| tasks.get(id).cloned()).unwrap().unwrap()
    }

    fn all(board: &Board) -> Vec<String> {
        board.look(|tasks| tasks.all().map(|task| task.to_string()).collect()).unwrap()
    }

    /// What each answer to this claim is refused with.
    fn refused(claims: &Claims, claim: &Claim) -> [String; 4] {
        let answers = [
            claims.renew(claim),
            claims.finish(claim, "late").map(drop),
            claims.fail(claim, "late"),
            claims.release(claim),
        ];
        answers.map(|answer| answer.unwrap_err().to_string())
    }

    #[test]
    fn the_most_urgent_that_can_begin_is_claimed_and_what_waits_for_it_comes_after() {
        let (_dir, board, claims, _) = board(&[("a", 0, &[]), ("b", 9, &[1]), ("c", 5, &[])]);
        let mut order = vec![];
        while let Some(claim) = claims.claim("alice").unwrap() {
            assert_eq!(task(&board, claim.task().id), *claim.task());
            order.push((claim.task().subject.clone(), claims.finish(&claim, "fine").unwrap()));
        }
        assert_eq!(
            order,
            [("c", vec![]), ("a", vec![2]), ("b", vec![])]
                .map(|(name, freed)| (name.to_string(), freed))
        );
        let done = Task {
            id: 2,
            subject: "b".into(),
            priority: 9,
            after: [1].into(),
            status: Status::Done,
            owner: Some("alice".into()),
            result: Some("fine".into()),
            attempt: 1,
            ..Task::default()
        };
        assert_eq!(task(&board, 2), done);
    }

    #[test]
    fn a_task_is_taken_over_when_its_lease_has_run_out_and_not_when_it_was_renewed() {
        let (_dir, board, claims, over) = board(&[("a", 0, &[]), ("b", 9, &[])]);
        let [b, a] = ["alice", "carol"].map(|owner| claims.claim(owner).unwrap().unwrap());
        assert_eq!([a.task().id, b.task().id], [1, 2]);
        assert_eq!((claims.claimable().unwrap(), claims.claim("bob").unwrap()), (false, None));
        over.renew(&b).unwrap();
        assert!(claims.claimable().unwrap());
        claims.renew(&b).unwrap();
        assert_eq!((claims.claimable().unwrap(), claims.claim("bob").unwrap()), (false, None));
        over.renew(&b).unwrap();
        let taken = claims.claim("bob").unwrap().unwrap();
        assert_eq!(taken.task().failures, ["attempt 1 by alice: its lease ran out"]);
        let expected = [
            "#1 [in_progress] a, owner carol",
            "#2 [in_progress] b, priority 9, owner bob, attempt 2",
        ];
        assert_eq!(all(&board), expected);
    }

    #[test]
    fn every_answer_that_comes_too_late_is_refused_and_changes_nothing() {
        let (_dir, board, claims, over) = board(&[("a", 0, &[])]);
        let late = over.claim("alice").unwrap().unwrap();
        let newer = claims.claim("bob").unwrap().unwrap();
        let too_late = |now: &str| {
            [(); 4].map(|()| format!("attempt 1 is over, and this comes too late: {now}"))
        };
        let before = task(&board, 1);
        assert_eq!(refused(&claims, &late), too_late("#1 [in_progress] a, owner bob, attempt 2"));
        assert_eq!(task(&board, 1), before);
        claims.finish(&newer, "fine").unwrap();
        assert_eq!(refused(&claims, &late), too_late("#1 [done] a, owner bob, attempt 2"));
        // Also the answer that was accepted is accepted once.
        assert_eq!(
            refused(&claims, &newer)[1],
            "attempt 2 is over, and this comes too late: #1 [done] a, owner bob, attempt 2"
        );
    }

    #[test]
    fn an_answer_after_the_lease_counts_while_nobody_has_taken_over() {
        let (_dir, board, _, over) = board(&[("a", 0, &[])]);
        let late = over.claim("alice").unwrap().unwrap();
        over.finish(&late, "fine").unwrap();
        assert_eq!(all(&board), ["#1 [done] a, owner alice"]);
    }

    #[test]
    fn what_fails_three_times_is_set_aside_with_the_reasons_until_somebody_wants_it_again() {
        let (_dir, board, claims, over) = board(&[("a", 0, &[]), ("b", 0, &[1])]);
        let first = claims.claim("alice").unwrap().unwrap();
        claims.fail(&first, "no disk").unwrap();
        over.claim("bob").unwrap().unwrap();
        let third = over.claim("carol").unwrap().unwrap();
        let reasons = ["attempt 1 by alice: no disk", "attempt 2 by bob: its lease ran out"];
        assert_eq!(third.task().failures, reasons);
        // The third one ends by its lease: nobody answers for it, so the next who looks sets it aside.
        assert!(claims.claimable().unwrap());
        assert_eq!(claims.claim("dave").unwrap(), None);
        let aside = task(&board, 1);
        let why = format!(
            "set aside, as it failed 3 times: {}; attempt 3 by carol: its lease ran out",
            reasons.join("; ")
        );
        assert_eq!((aside.status, aside.result.as_deref()), (Status::Failed, Some(why.as_str())));
        assert!(!claims.claimable().unwrap());
        assert_eq!(all(&board)[1], "#2 [pending] b, after #1");

        board.update(1, |task| task.status = Status::Pending).unwrap();
        assert!(refused(&claims, &third)[1].starts_with("attempt 3 is over"));
        for attempt in 4..=6 {
            let again = claims.claim("erin").unwrap().unwrap();
            assert_eq!(
                (again.task().attempt, again.task().failures.len()),
                (attempt, attempt as usize - 4)
            );
            claims.fail(&again, "no disk").unwrap();
        }
        assert_eq!(task(&board, 1).status, Status::Failed);
    }

    #[test]
    fn what_is_given_back_has_not_failed_and_is_claimed_again_by_a_new_number() {
        let (_dir, board, claims, _) = board(&[("a", 0, &[])]);
        for attempt in 1..=5 {
            let claim = claims.claim("alice").unwrap().unwrap();
            claims.release(&claim).unwrap();
            let expected = Task { id: 1, subject: "a".into(), attempt, ..Task::default() };
            assert_eq!(task(&board, 1), expected);
            assert!(refused(&claims, &claim)[1].contains("is over"));
        }
    }

    #[test]
    fn a_change_by_hand_ends_the_claim_and_a_task_taken_without_a_lease_stays_with_its_owner() {
        let edits: [fn(&mut Task); 3] = [
            |task| task.status = Status::Done,
            |task| task.status = Status::Pending,
            |task| task.owner = Some("lead".into()),
        ];
        for edit in edits {
            let (_dir, board, claims, _) = board(&[("a", 0, &[])]);
            let claim = claims.claim("alice").unwrap().unwrap();
            // Other fields are nothing to it.
            board.update(1, |task| task.priority = 7).unwrap();
            claims.renew(&claim).unwrap();
            board.update(1, edit).unwrap();
            let before = task(&board, 1);
            assert!(
                refused(&claims, &claim).iter().all(|word| word.starts_with("attempt 1 is over"))
            );
            assert_eq!(task(&board, 1), before);
        }
        let (_dir, board, _, over) = board(&[("a", 0, &[])]);
        board.take_next("alice").unwrap();
        assert_eq!((over.claimable().unwrap(), over.claim("bob").unwrap()), (false, None));
    }

    #[test]
    fn what_waits_for_something_that_is_done_anew_is_not_taken_over_before() {
        let (_dir, board, claims, over) = board(&[("a", 0, &[]), ("b", 9, &[1])]);
        let a = claims.claim("alice").unwrap().unwrap();
        claims.finish(&a, "fine").unwrap();
        let b = over.claim("alice").unwrap().unwrap();
        board.update(1, |task| task.status = Status::Pending).unwrap();
        assert_eq!(claims.finish(&b, "fine").unwrap_err().to_string(), "#2 waits for #1");
        assert_eq!(claims.claim("bob").unwrap().unwrap().task().id, 1);
        assert_eq!(all(&board)[1], "#2 [pending] b, priority 9, after #1");
        assert_eq!(task(&board, 2).failures, ["attempt 1 by alice: its lease ran out"]);
    }

    #[test]
    fn sixteen_threads_do_each_task_once() {
        const TASKS: u64 = 500;
        let dir = tempfile::tempdir().unwrap();
        let open = || Board::open(&dir.path().join("tasks.jsonl")).unwrap().0;
        let board = open();
        let new = |id: u64| {
            let after = id.checked_sub(20).filter(|before| *before > 0).into_iter().collect();
            Task { id, subject: format!("task {id}"), after, ..Task::default() }
        };
        board.change(|_| Ok(((1..=TASKS).map(new).collect(), ()))).unwrap();
        let (done, start) = (Mutex::new(vec![]), Barrier::new(16));
        let left =
            || board.look(|tasks| tasks.all().any(|task| task.status != Status::Done)).unwrap();
        std::thread::scope(|scope| {
            for n in 0..16 {
                let (done, start, left, open) = (&done, &start, &left, &open);
                scope.spawn(move || {
                    let (claims, owner) =
                        (Claims::new(open(), Duration::from_secs(600)), format!("worker-{n}"));
                    start.wait();
                    while left() {
                        let Some(claim) = claims.claim(&owner).unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        claims.finish(&claim, "fine").unwrap();
                        done.lock().unwrap().push((claim.task().id, owner.clone()));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap();
        done.sort();
        let on_board = board.look(|tasks| {
            tasks.all().map(|t| (t.id, t.owner.clone().unwrap())).collect::<Vec<_>>()
        });
        assert_eq!(done, on_board.unwrap());
        assert!(done.iter().map(|(id, _)| *id).eq(1..=TASKS));
    }

    struct Stage {
        agent: Agent,
        board: Board,
        server: rehearsal::Server,
        _dir: tempfile::TempDir,
    }

    async fn stage(tasks: &[(&str, i64, &[u64])], scenes: &str) -> Stage {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let (dir, board, claims, _) = board(tasks);
        let team = Team::new(Mailboxes::open(&dir.path().join("mail")).await.unwrap());
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
                |task: &Task| task.attempt > 0 && task.status == status && task.until.is_none();
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
