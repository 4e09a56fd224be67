//! # s10: rules that teammates cannot break
//!
//! Mail alone is talk. "May I?" needs an answer that belongs to the question, from whoever was asked, once, and in time;
//! and until it comes, nothing may be done. A prompt that says so is a wish. A state machine that every letter passes is a
//! rule.
//!
//! New here: a protocol. Between two agents there are two lines, one for what each has asked, and each end of a line is in
//! one of four states. One function, [`State::after`], says which event leads where; everything else is illegal, and the
//! model reads why. Two kinds of question use it: a teammate's **plan**, before whose approval it can change nothing, and
//! a **shutdown**, which a teammate agrees to or declines. The rules stand between the team and its post, and so hold over
//! any post. An answer that does not come in time leaves everyone free again. An approval lasts until its holder asks anew.
//!
//! Run it: `cargo run --example s10_team_protocols`
//!
//! You will see a teammate refused when it acts before its plan is approved, a plan rejected and then approved, an answer
//! that nobody asked for, and a farewell that both sides agreed to.
//!
//! Try: `:protocol` at any time; and in [`State::after`], allow `(State::Idle, Event::Respond)`. Which tests fail?
//!
//! Builds on s09. Motto: *Teammates need shared rules.*

use futures_util::future::BoxFuture;
use lessons::{
    s01_loop::agent_loop,
    s09_agent_teams::{self, LEAD, Letter, Mailboxes, Received, Team, Transport},
};
use rungs_core::{
    Agent, Context, Error, Layer, NextAct, Outcome, Result, ToolCall, ToolError, ToolSpec,
};
use rungs_mailbox::{Error as PostError, LetterId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a teammate may do without a plan, beside reading.
const TALK: [&str; 7] = [
    "send_message",
    "broadcast",
    "read_inbox",
    "list_teammates",
    "request",
    "respond",
    "list_requests",
];

/// Where one end of a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing is open.
    #[default]
    Idle,
    /// A question is being sent.
    Requesting,
    /// It was sent, and the answer is awaited.
    Waiting,
    /// The other end waits for an answer.
    Responding,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// This end wants to ask.
    Ask,
    /// Its question is on its way.
    Sent,
    /// The answer came.
    Answered,
    /// The other end has asked.
    Asked,
    /// This end answers.
    Respond,
    /// It took too long.
    TimedOut,
}

/// An event that must not happen in this state.
#[derive(Debug, PartialEq, Eq)]
pub struct Illegal(State, Event);

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal: {:?} in state {}", self.1, self.0.name())
    }
}

impl std::error::Error for Illegal {}

impl State {
    fn name(self) -> String {
        format!("{self:?}").to_uppercase()
    }

    /// The protocol: where this event leads from this state, if it may happen at all.
    ///
    /// # Errors
    /// When it may not.
    pub fn after(self, event: Event) -> Result<State, Illegal> {
        Ok(match (self, event) {
            (State::Idle, Event::Ask) => State::Requesting,
            (State::Requesting, Event::Sent) => State::Waiting,
            (State::Waiting, Event::Answered) => State::Idle,
            (State::Idle, Event::Asked) => State::Responding,
            (State::Responding, Event::Respond) => State::Idle,
            (State::Requesting | State::Waiting | State::Responding, Event::TimedOut) => {
                State::Idle
            }
            (state, event) => return Err(Illegal(state, event)),
        })
    }
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A teammate's, to the lead: may I do this?
    Plan,
    /// The lead's, to a teammate: may I end you?
    Shutdown,
}

/// A question that one member asks another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    id: String,
    kind: Kind,
}

/// What a letter carries beside its text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note {
    Request(Question),
    Response { id: String, approve: bool },
}

/// One end of a line: whose, with whom, and whether it is the one that asks.
type End = (String, String, bool);

/// What is going on there.
struct Exchange {
    state: State,
    question: Question,
    since: Instant,
    /// The letter that brought it here; it may come again.
    letter: LetterId,
}

#[derive(Default)]
struct Table {
    ends: BTreeMap<End, Exchange>,
    /// What a member is to be told, though nobody wrote it.
    told: BTreeMap<String, Vec<Letter>>,
    /// Whose plan is approved.
    approved: BTreeSet<String>,
}

impl Table {
    /// Moves one end, if it may move. Every change of state passes here.
    fn step(
        &mut self,
        end: &End,
        event: Event,
        question: &Question,
        letter: LetterId,
    ) -> Result<(), Illegal> {
        let old = self.ends.get(end).map(|exchange| exchange.state).unwrap_or_default();
        let (state, question) = (old.after(event)?, question.clone());
        self.ends.insert(end.clone(), Exchange { state, question, since: Instant::now(), letter });
        Ok(())
    }

    /// Lets all ends go that took too long.
    fn expire(&mut self, patience: Duration) {
        let late = |exchange: &Exchange| {
            exchange.state != State::Idle && exchange.since.elapsed() >= patience
        };
        let late = self.ends.iter().filter(|(_, exchange)| late(exchange));
        for (end, question) in
            late.map(|(end, exchange)| (end.clone(), exchange.question.clone())).collect::<Vec<_>>()
        {
            let freed = self.step(&end, Event::TimedOut, &question, LetterId::default()).is_ok();
            if let (who, other, true) = end
                && freed
            {
                let id = question.id;
                let text = format!(
                    "{other} has not answered {id} in time: it is withdrawn, and you are IDLE again"
                );
                self.told.entry(who).or_default().push(Letter::new("post", text));
            }
        }
    }

    /// What a letter does to the one who gets it: the letter as it is to be read.
    fn receive(&mut self, who: &str, letter: Letter) -> Letter {
        let Ok(note) = serde_json::from_value::<Note>(letter.data.clone()) else { return letter };
        let head = match note {
            Note::Request(question) => {
                let end = (who.to_string(), letter.from.clone(), false);
                // It may come again. Whoever asks anew no longer waits for the answer to its last question.
                if self.ends.get(&end).is_none_or(|known| known.question != question) {
                    let _ = self.step(&end, Event::TimedOut, &question, letter.id);
                    let _ = self.step(&end, Event::Asked, &question, letter.id);
                }
                format!("request {}, {:?}; answer it with `respond`", question.id, question.kind)
            }
            Note::Response { id, approve } => {
                self.answered(who, &letter, &id, approve).unwrap_or_else(|| {
                    format!(
                        "ignored: nothing waits for an answer to {id}, it was answered or withdrawn"
                    )
                })
            }
        };
        Letter { text: format!("[{head}]\n{}", letter.text), ..letter }
    }

    /// Whoever gets this name next has asked nothing, and may do nothing.
    fn forget(&mut self, name: &str) {
        self.ends.retain(|end, _| end.0 != name && end.1 != name);
        self.approved.remove(name);
    }

    /// An answer counts once, in time, and from whoever was asked.
    fn answered(&mut self, who: &str, letter: &Letter, id: &str, approve: bool) -> Option<String> {
        let end = (who.to_string(), letter.from.clone(), true);
        let known = self.ends.get(&end).filter(|exchange| exchange.question.id == id)?;
        let (question, again) = (known.question.clone(), known.letter == letter.id);
        if !again {
            self.step(&end, Event::Answered, &question, letter.id).ok()?;
        }
        if approve && question.kind == Kind::Plan {
            self.approved.insert(who.into());
        }
        Some(format!("{id} {}", if approve { "approved" } else { "rejected" }))
    }
}

/// The rules, between the team and its post.
#[derive(Clone)]
pub struct Rules {
    post: Arc<dyn Transport>,
    patience: Duration,
    table: Arc<Mutex<Table>>,
}

impl Rules {
    /// Rules over this post; an answer may take so long.
    pub fn over(post: impl Transport, patience: Duration) -> Rules {
        Rules { post: Arc::new(post), patience, table: Arc::default() }
    }

    /// Asks another member; the answer comes as mail.
    async fn request(
        &self,
        to: String,
        kind: Kind,
        letter: Letter,
        team: &Team,
        cx: &Context,
    ) -> Result<String, ToolError> {
        let me = letter.from.clone();
        match kind {
            Kind::Plan if me == LEAD || to != LEAD => {
                return Err(ToolError("a plan goes from a teammate to lead".into()));
            }
            Kind::Shutdown if me != LEAD || !team.has(&to) => {
                return Err(ToolError("a shutdown goes from lead to a teammate".into()));
            }
            _ => {}
        }
        let end = (me.clone(), to.clone(), true);
        // Numbered on from what lies in the box, so that no answer fits a question of an earlier run.
        let number = |letter: &Letter| match serde_json::from_value(letter.data.clone()) {
            Ok(Note::Request(question)) => {
                question.id.strip_prefix(&format!("{me}-"))?.parse::<u64>().ok()
            }
            _ => None,
        };
        let last =
            self.post.newest(&to, usize::MAX).await?.iter().filter_map(number).max().unwrap_or(0);
        let question = Question { id: format!("{me}-{}", last + 1), kind };
        {
            let mut table = self.table.lock().unwrap();
            table.expire(self.patience);
            table.step(&end, Event::Ask, &question, LetterId::default())?;
            if kind == Kind::Plan {
                table.approved.remove(&me);
            }
        }
        let sent = team
            .write(&[to], Letter { data: json!(Note::Request(question.clone())), ..letter }, cx)
            .await;
        let event = if sent.is_ok() { Event::Sent } else { Event::TimedOut };
        self.table.lock().unwrap().step(&end, event, &question, LetterId::default())?;
        sent.map(|_| format!("{} is sent; end your turn, the answer wakes you", question.id))
    }

    /// Answers a question of another member.
    async fn respond(
        &self,
        id: String,
        approve: bool,
        letter: Letter,
        team: &Team,
        cx: &Context,
    ) -> Result<String, ToolError> {
        let me = letter.from.clone();
        let (end, question) = {
            let mut table = self.table.lock().unwrap();
            table.expire(self.patience);
            let of = |(end, exchange): &(&End, &Exchange)| {
                end.0 == me && !end.2 && exchange.question.id == id
            };
            let found = table
                .ends
                .iter()
                .find(of)
                .map(|(end, exchange)| (end.clone(), exchange.question.clone()));
            let (end, question) =
                found.ok_or_else(|| ToolError(format!("nobody has asked you {id}")))?;
            let late = |illegal| ToolError(format!("{illegal}: {id} was answered, or withdrawn"));
            table.step(&end, Event::Respond, &question, LetterId::default()).map_err(late)?;
            (end, question)
        };
        let data = json!(Note::Response { id, approve });
        if let Err(error) =
            team.write(std::slice::from_ref(&end.1), Letter { data, ..letter }, cx).await
        {
            self.table.lock().unwrap().step(&end, Event::Asked, &question, LetterId::default())?;
            return Err(error);
        }
        if question.kind == Kind::Shutdown && approve {
            self.table.lock().unwrap().approved.remove(&me);
            team.leave(cx);
            return Ok("agreed; this turn is your last".into());
        }
        Ok(format!("{} knows", end.1))
    }

    /// Does what a member of the team wants.
    async fn run(&self, verb: Verb, team: &Team, cx: &Context) -> Result<String, ToolError> {
        let me =
            team.address(cx).ok_or_else(|| ToolError("you are no member of the team".into()))?;
        match verb {
            Verb::Request { to, kind, text } => {
                self.request(to, kind, Letter::new(&me, text), team, cx).await
            }
            Verb::Respond { id, approve, text } => {
                self.respond(id, approve, Letter::new(&me, text), team, cx).await
            }
            Verb::ListRequests {} => Ok(self.list()),
        }
    }

    /// A line for every end of a line where something is open.
    fn list(&self) -> String {
        let mut table = self.table.lock().unwrap();
        table.expire(self.patience);
        let open = table.ends.iter().filter(|(_, exchange)| exchange.state != State::Idle);
        let lines: Vec<String> = open
            .map(|(end, exchange)| {
                format!("{}, {}: {} {}", end.0, end.1, exchange.question.id, exchange.state.name())
            })
            .collect();
        if lines.is_empty() { "All are IDLE.".into() } else { lines.join("\n") }
    }
}

impl Transport for Rules {
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), PostError>> {
        self.post.send(to, letter)
    }

    fn receive<'a>(
        &'a self,
        who: &'a str,
        held: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<Received, PostError>> {
        Box::pin(async move {
            let mut received = self.post.receive(who, held).await?;
            let mut table = self.table.lock().unwrap();
            received.letters =
                received.letters.into_iter().map(|letter| table.receive(who, letter)).collect();
            // After what came at the last moment.
            table.expire(self.patience);
            received.letters.extend(table.told.remove(who).unwrap_or_default());
            Ok(received)
        })
    }

    fn ack<'a>(
        &'a self,
        who: &'a str,
        ids: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<(), PostError>> {
        self.post.ack(who, ids)
    }

    fn has_mail<'a>(
        &'a self,
        who: &'a str,
        held: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<bool, PostError>> {
        Box::pin(async move {
            let told = {
                let mut table = self.table.lock().unwrap();
                table.expire(self.patience);
                table.told.contains_key(who)
            };
            Ok(told || self.post.has_mail(who, held).await?)
        })
    }

    fn wait<'a>(&'a self, who: &'a str, in_flight: &'a BTreeSet<LetterId>) -> BoxFuture<'a, ()> {
        self.post.wait(who, in_flight)
    }

    fn newest<'a>(
        &'a self,
        who: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<Letter>, PostError>> {
        self.post.newest(who, most)
    }
}

/// Lets nobody change anything before its plan is approved; a teammate's subagents stand under its plan.
struct Gate(Team, Rules);

impl Layer for Gate {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> Outcome {
        let who = self.0.member(cx);
        let name = call.input["name"].as_str().unwrap_or_default();
        if call.name == "dismiss" || (call.name == "spawn_teammate" && !self.0.has(name)) {
            self.1.table.lock().unwrap().forget(name);
        }
        let harmless = TALK.contains(&call.name.as_str()) || cx.agent.is_read_only(&call.name);
        if who == LEAD || harmless || self.1.table.lock().unwrap().approved.contains(&who) {
            return next.run(call, cx).await;
        }
        call.refuse(
            "not run: you have no approved plan; read what you need, then `request` one from lead",
        )
    }
}

/// The three tools, as the model calls them.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Request { to: String, kind: Kind, text: String },
    Respond { id: String, approve: bool, text: String },
    ListRequests {},
}

/// Adds the mechanism to a team whose post stands under these rules.
pub fn install(agent: Agent, team: &Team, rules: &Rules) -> Agent {
    let word = |what: &str| json!({"type": "string", "description": what});
    let tool = |name, description, fields| ToolSpec::with_fields(name, description, &fields);
    let specs = [
        tool(
            "request",
            "Asks for a decision. `plan`: a teammate asks lead before it changes anything; `shutdown`: lead asks a teammate \
             to end. One question to one member at a time.",
            json!({"to": word("Whom."), "kind": {"type": "string", "enum": ["plan", "shutdown"]},
                "text": word("The plan, step by step; or why it should end.")}),
        ),
        tool(
            "respond",
            "Answers a request that came by mail.",
            json!({"id": word("The request's."), "approve": {"type": "boolean"}, "text": word("Why, or what to change.")}),
        ),
        tool("list_requests", "Lists what is open between whom.", json!({})),
    ];
    let (listed, worked) = (rules.clone(), (rules.clone(), team.clone()));
    agent
        .verbs(specs, move |verb, cx| {
            let (rules, team) = worked.clone();
            async move { rules.run(verb, &team, &cx).await }
        })
        .wrap(Gate(team.clone(), rules.clone()))
        .command("protocol", "lists the open requests", async move |_, _, cx| {
            cx.notice(listed.list());
            Ok::<(), Error>(())
        })
}

/// The agent of lesson nine, under rules.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let post = Mailboxes::open(&stage.state()).await.map_err(Error::other)?;
        let rules = Rules::over(post, PATIENCE);
        let team = Team::new(rules.clone());
        Ok(install(s09_agent_teams::install(stage.agent(), &team), &team, &rules))
    };
    lessons::run("s10_team_protocols", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{Chat, prompt, tools};

    #[test]
    fn the_whole_table() {
        use {Event::*, State::*};
        let events = [Ask, Sent, Answered, Asked, Respond, TimedOut];
        let table = [
            (Idle, [Some(Requesting), None, None, Some(Responding), None, None]),
            (Requesting, [None, Some(Waiting), None, None, None, Some(Idle)]),
            (Waiting, [None, None, Some(Idle), None, None, Some(Idle)]),
            (Responding, [None, None, None, None, Some(Idle), Some(Idle)]),
        ];
        for (state, row) in table {
            for (event, to) in events.into_iter().zip(row) {
                assert_eq!(
                    state.after(event),
                    to.ok_or(Illegal(state, event)),
                    "{state:?} {event:?}"
                );
            }
        }
    }

    struct Stage {
        agent: Agent,
        server: rehearsal::Server,
        dir: tempfile::TempDir,
    }

    async fn stage(patience: Duration, scenes: &str) -> Stage {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let rules =
            Rules::over(Mailboxes::open(&dir.path().join("state")).await.unwrap(), patience);
        let team = Team::new(rules.clone());
        let agent = tools::all(Agent::new(client, dir.path()));
        let agent = lessons::s04_subagent::install(agent);
        let agent = install(s09_agent_teams::install(agent, &team), &team, &rules);
        Stage { agent, server, dir }
    }

    impl Stage {
        /// Turns as long as there is something to tell the lead; all that it read and said.
        async fn hold(&self) -> String {
            let mut chat = Chat::new("go");
            for _ in 0..50 {
                agent_loop(&self.agent, &mut chat).await.unwrap();
                let cx = self.agent.context();
                if !tokio::time::timeout(Duration::from_secs(30), prompt::woken(&cx, true))
                    .await
                    .unwrap()
                {
                    return json!(chat.messages()).to_string();
                }
            }
            panic!("it never ends: {}", json!(chat.messages()));
        }

        /// All results that an agent of this name was given.
        fn results(&self, name: &str) -> Vec<String> {
            let bodies = self.server.seen().into_iter().map(|seen| seen.body);
            let own = bodies
                .filter(|body| body["system"].to_string().contains(&format!("You are {name},")));
            let own = own.filter(|body| !body.to_string().contains("You work for another"));
            let newest =
                own.map(|body| body["messages"].as_array().unwrap().last().unwrap().clone());
            let blocks = newest
                .flat_map(|message| message["content"].as_array().cloned().unwrap_or_default());
            blocks
                .filter_map(|block| Some(block["content"][0]["text"].as_str()?.to_string()))
                .collect()
        }
    }

    const HIRE: &str =
        "{call: [{spawn_teammate: {name: ann, role: helps, prompt: work}}]}, {say: free}";
    const PLAN: &str = "{request: {to: lead, kind: plan, text: 'touch a'}}";
    const WRITE: &str = "{bash: {command: touch a}}";

    #[tokio::test]
    async fn nothing_is_changed_before_the_plan_is_approved_and_subagents_stand_under_it() {
        let task = "{task: {tasks: [{description: sub, prompt: sub}]}}";
        let stage = stage(
            PATIENCE,
            &format!(
                "{{when: ^go$, turns: [{HIRE}]}},
                 {{when: ^sub$, turns: [{{call: [{WRITE}]}}, {{say: '{{{{ results[0].text }}}}'}}]}},
                 {{when: 'lead.>\\s*work', turns: [{{call: [{WRITE}, {{glob: {{pattern: x}}}}, {task}, {PLAN}, {PLAN}]}}, {{say: waiting}}]}},
                 {{when: 'request (ann-1)', turns: [{{call: [{{respond: {{id: ann-1, approve: false, text: 'not so'}}}}, {{respond: {{id: ann-1, approve: true, text: or}}}}]}}, {{say: x}}]}},
                 {{when: 'ann-1 rejected', turns: [{{call: [{WRITE}, {PLAN}]}}, {{say: waiting}}]}},
                 {{when: 'request (ann-2)', turns: [{{call: [{{respond: {{id: ann-2, approve: true, text: 'go on'}}}}]}}, {{say: x}}]}},
                 {{when: 'ann-2 approved', turns: [{{call: [{WRITE}, {task}]}}, {{say: done}}]}}, {{when: ann, turns: [{{say: good}}]}}"
            ),
        )
        .await;
        let lead = stage.hold().await;
        let refused = "not run: you have no approved plan";
        let results = stage.results("ann");
        let said =
            |n: usize, text: &str| assert!(results[n].contains(text), "{n} {text}: {results:?}");
        said(0, refused);
        said(1, "no files match");
        said(3, "ann-1 is sent");
        said(4, "illegal: Ask in state WAITING");
        said(5, refused);
        said(6, "ann-2 is sent");
        assert!(!results[7].contains("not run") && !results[8].contains("not run"), "{results:?}");
        assert!(stage.dir.path().join("a").exists());
        assert!(
            lead.contains("illegal: Respond in state IDLE: ann-1 was answered, or withdrawn"),
            "{lead}"
        );
        let sub = stage
            .server
            .seen()
            .into_iter()
            .filter(|seen| seen.body.to_string().contains("You work for another"));
        assert!(sub.map(|seen| seen.body.to_string()).any(|body| body.contains(refused)));
    }

    #[tokio::test]
    async fn a_shutdown_is_declined_or_agreed_to() {
        let ask = "{request: {to: ann, kind: shutdown, text: enough}}";
        let stage = stage(
            PATIENCE,
            &format!(
                "{{when: ^go$, turns: [{HIRE}]}}, {{when: 'lead.>\\s*work', turns: [{{say: ready}}]}},
                 {{when: 'ann.>\\s*ready', turns: [{{call: [{ask}, {ask}]}}, {{say: asked}}]}},
                 {{when: 'request lead-1', turns: [{{call: [{{respond: {{id: lead-1, approve: false, text: busy}}}}]}}, {{say: x}}]}},
                 {{when: 'lead-1 rejected', turns: [{{call: [{{list_teammates: {{}}}}, {ask}]}}, {{say: asked}}]}},
                 {{when: 'request lead-2', turns: [{{call: [{{respond: {{id: lead-2, approve: true, text: bye}}}}]}}, {{say: farewell}}]}},
                 {{when: 'lead-2 approved', turns: [{{repeat: 20, call: [{{bash: {{command: 'sleep 0.05; echo {{{{ n }}}}'}}}}]}}, {{call: [{{list_teammates: {{}}}}, {{list_requests: {{}}}}]}}, {{say: gone}}]}}"
            ),
        )
        .await;
        let lead = stage.hold().await;
        for said in [
            "illegal: Ask in state WAITING",
            "ann (helps), ",
            "There are no teammates.",
            "All are IDLE.",
        ] {
            assert!(lead.contains(said), "{said}: {lead}");
        }
        assert!(stage.results("ann").contains(&"agreed; this turn is your last".to_string()));
    }

    #[tokio::test]
    async fn who_gets_no_answer_in_time_is_free_again_and_a_late_one_is_ignored() {
        let stage = stage(
            Duration::from_millis(300),
            &format!(
                "{{when: ^go$, turns: [{HIRE}]}},
                 {{when: 'lead.>\\s*work', turns: [{{call: [{PLAN}]}}, {{say: waiting}}]}},
                 {{when: 'request ann-1', turns: [{{repeat: 12, call: [{{bash: {{command: 'sleep 0.1; echo {{{{ n }}}}'}}}}]}},
                    {{call: [{{respond: {{id: ann-1, approve: true, text: late}}}}, {{list_requests: {{}}}}, {{respond: {{id: ann-9, approve: true, text: x}}}}]}}, {{say: x}}]}},
                 {{when: 'not answered ann-1', turns: [{{call: [{{list_requests: {{}}}}, {WRITE}]}}, {{delay_ms: 2500, say: 'no answer'}}]}},
                 {{when: 'no answer', turns: [{{say: sorry}}]}}"
            ),
        )
        .await;
        // The lead looks up only after its patience has passed too.
        let lead = stage.hold().await;
        for said in [
            "Respond in state IDLE: ann-1 was answered, or withdrawn",
            "nobody has asked you ann-9",
        ] {
            assert!(lead.contains(said), "{said}: {lead}");
        }
        let results = stage.results("ann");
        assert!(
            results.iter().any(|result| result.starts_with("not run: you have no approved plan")),
            "{results:?}"
        );
        assert!(!stage.dir.path().join("a").exists());
    }

    #[tokio::test]
    async fn an_answer_counts_once_and_only_from_whoever_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let rules = Rules::over(Mailboxes::open(dir.path()).await.unwrap(), PATIENCE);
        let end: End = ("ann".into(), LEAD.into(), true);
        {
            let mut table = rules.table.lock().unwrap();
            let question = Question { id: "ann-1".into(), kind: Kind::Plan };
            table.step(&end, Event::Ask, &question, LetterId::default()).unwrap();
            table.step(&end, Event::Sent, &question, LetterId::default()).unwrap();
        }
        let yes = |from: &str, id: &str| {
            let data = json!(Note::Response { id: id.into(), approve: true });
            Letter { data, ..Letter::new(from, "yes") }
        };
        let none = BTreeSet::new();
        for letter in
            [yes("bob", "ann-1"), yes(LEAD, "ann-7"), Letter::new(LEAD, "[ann-1 approved]")]
        {
            rules.send("ann", letter).await.unwrap();
        }
        let letters = rules.receive("ann", &none).await.unwrap().letters;
        let ids = letters.iter().map(|letter| letter.id).collect();
        let read: Vec<String> = letters.into_iter().map(|letter| letter.text).collect();
        assert!(read[0].starts_with("[ignored") && read[1].starts_with("[ignored"), "{read:?}");
        assert!(rules.table.lock().unwrap().approved.is_empty());
        rules.ack("ann", &ids).await.unwrap();
        rules.send("ann", yes(LEAD, "ann-1")).await.unwrap();
        assert_eq!(
            rules.receive("ann", &none).await.unwrap().letters[0].text,
            "[ann-1 approved]\nyes"
        );
        assert!(rules.table.lock().unwrap().approved.contains("ann"));
        // The same letter once more, because the turn was withdrawn; then another that says the same.
        rules.send("ann", yes(LEAD, "ann-1")).await.unwrap();
        let read: Vec<String> = rules
            .receive("ann", &none)
            .await
            .unwrap()
            .letters
            .into_iter()
            .map(|letter| letter.text)
            .collect();
        assert_eq!(read[0], "[ann-1 approved]\nyes");
        assert!(read[1].starts_with("[ignored"), "{read:?}");
    }

    #[tokio::test]
    async fn a_name_takes_neither_approval_nor_questions_from_whoever_had_it_before() {
        let hire = |prompt: &str| {
            format!("{{spawn_teammate: {{name: ann, role: helps, prompt: {prompt}}}}}")
        };
        let stage = stage(
            PATIENCE,
            &format!(
                "{{when: ^go$, turns: [{{call: [{}]}}, {{say: free}}]}},
                 {{when: 'lead.>\\s*first', turns: [{{call: [{PLAN}]}}, {{say: waiting}}]}},
                 {{when: 'request ann-1', turns: [{{call: [{{respond: {{id: ann-1, approve: true, text: go}}}}]}}, {{say: x}}]}},
                 {{when: 'ann-1 approved', turns: [{{call: [{PLAN}]}}, {{say: done}}]}},
                 {{when: 'request ann-2', turns: [{{call: [{{dismiss: {{name: ann}}}}, {}, {{respond: {{id: ann-2, approve: true, text: late}}}}]}}, {{say: x}}]}},
                 {{when: 'lead.>\\s*second', turns: [{{call: [{WRITE}, {PLAN}, {WRITE}]}}, {{say: waiting}}]}},
                 {{when: 'request ann-3', turns: [{{say: seen}}]}}, {{when: ann, turns: [{{say: good}}]}}",
                hire("first"),
                hire("second")
            ),
        )
        .await;
        let lead = stage.hold().await;
        assert!(
            lead.contains("nobody has asked you ann-2") && lead.contains("request ann-3"),
            "{lead}"
        );
        let results = stage.results("ann");
        assert_eq!(
            results
                .iter()
                .filter(|result| result.starts_with("not run: you have no approved plan"))
                .count(),
            2
        );
        assert!(results.iter().any(|result| result.starts_with("ann-3 is sent")), "{results:?}");
        assert!(!stage.dir.path().join("a").exists());
    }
}
