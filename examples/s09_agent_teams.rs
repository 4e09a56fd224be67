//! # s09: teammates with mailboxes
//!
//! A subagent answers once and is gone, and whoever asked waits for it. Larger work needs agents
//! that last: each has a name, a role and a conversation of its own, all work at the same time, and
//! they write to each other when there is something to say. The *lead* is the agent that you talk
//! to. A *letter* is one message between agents; *mail* is what letters have come and are not yet
//! answered.
//!
//! ```text
//! lead ── spawn_teammate ──> idle ── mail ──> turn: agent_loop ──> idle ── mail ──> turn ...
//!                                              │
//! one letter:                                  │
//! send ──> mailbox ──> received, in flight ────┴─ the turn ended well ──> acknowledged: over
//!             ^                │
//!             └─ redelivery ───┘ the turn was withdrawn, the program crashed;
//!                                after three deliveries, at the end alone: dead letter
//! ```
//!
//! New here: agents that outlive a call, and **at-least-once delivery** between them.
//!
//! - A teammate is a [`lasting_child`](Agent::lasting_child) that runs the same loop whenever it
//!   has mail. The last words of a turn in which it wrote to nobody go to the lead. Mail begins a
//!   turn of the lead too, even while its prompt waits for you to type.
//! - A letter is on the disk before its sender reads "sent". The layer `Inbox` puts it into the
//!   next request, and acknowledges it as the last thing of the turn.
//! - Which letters are in flight is a [`State`] of the conversation. When the server
//!   refuses a request for good, `agent.run` withdraws what was not accepted from the conversation,
//!   its states with it: the letters are not in flight any more, and are delivered again. Any other
//!   failed turn keeps its letters, and is tried again on the same conversation.
//! - An address is a value of the agent. Values do not reach children, so a subagent has none.
//!
//! After a restart there are no teammates. Mail that was not acknowledged stays in its file until
//! the lead spawns somebody of that name; the lead's own comes with your next prompt.
//!
//! The crate `rungs-mailbox` has the mailboxes, behind the trait [`Transport`] (here files, in s22
//! Redis), and the [`Workers`], which know whether anybody still has something to do.
//!
//! Terms: **mailbox**, **at-least-once delivery**, **acknowledgement**, **in flight**,
//! **redelivery**, **dead letter**, **exponential backoff** (a failed turn is tried again, later
//! each time), **quiescence** (all are idle and no letter is under way).
//!
//! Run it: `cargo run --example s09_agent_teams`
//!
//! You will see a lead spawn a writer and a reviewer, who agree on a text by mail, while the lead
//! answers other questions and speaks up by itself when the text is done.
//!
//! Try, and predict first:
//! 1. Type `:team` while they work. It calls a teammate `at work` that has mail and has not begun
//!    its turn yet. What would the lead conclude if it did not?
//! 2. Run it with `-- --keep` and look at `.rungs/s09_agent_teams/team-1/writer.jsonl` in the
//!    folder that stays. How many records mention letter 1 (`Letter`, `Joined` and `Settled` in
//!    `crates/mailbox/src/mailbox.rs`), and what would a crash before each of them mean?
//! 3. Take the line with `.ack(` out of `turn`. How often is each letter answered, what ends that,
//!    and where is the letter then?
//!
//! Pitfalls: a letter can come twice, so a teammate must look at what is done already; two agents
//! can thank each other for ever, so what they write is counted; whoever looks at one mailbox after
//! the other can miss a letter that is under way between two of them.
//!
//! A product also shows each teammate in a pane of its own, lets the user write to it, and brings
//! teammates back with their conversations after a restart.
//!
//! Builds on s04. Motto: *Too big for one: delegate to teammates.*

use lessons::{s01_loop::agent_loop, s04_subagent};
use rungs_core::{
    Agent, Chat, Context, Effect, Error, Layer, Message, NextAsk, NextTurn, Reply, Result, State,
    StopReason, ToolError,
};
use rungs_http::Backoff;
use rungs_mailbox::{MAX_LETTER_BYTES, Received, Workers, lines, list};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::sleep;

pub use rungs_mailbox::{Letter, LetterId, Mailboxes, Member, Transport, escape_tags};

/// The address of the agent that the person talks to.
pub const LEAD: &str = "lead";
/// How many teammates there may be at once.
const MAX_TEAMMATES: usize = 8;
/// How many letters may be written with tools for each prompt that is typed. The reports at the end
/// of turns are not counted.
const MAX_LETTERS: usize = 100;
/// How many earlier letters a new conversation begins with, and how many bytes of them at most.
const MAX_EARLIER_LETTERS: usize = 20;
const MAX_EARLIER_BYTES: usize = 20_000;
/// After how many failed turns in a row a teammate stays idle until it has new mail.
const MAX_FAILURES: u32 = 3;
/// How long teammates may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// The letters that this conversation has received and not acknowledged yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InFlight(pub BTreeSet<LetterId>);

impl State for InFlight {
    const NAME: &'static str = "letters_in_flight";
}

/// The address of an agent: a value, so its subagents have none.
struct Address(String);

/// Whether an agent has written to somebody in this turn: a value of the turn.
#[derive(Default)]
struct Wrote(AtomicBool);

/// What another layer makes of each letter before its reader sees it: a value of the turn.
pub struct LetterFilter(pub Box<Filter>);
type Filter = dyn Fn(Letter, &Context) -> Letter + Send + Sync;

/// A lead and its teammates, and whether the lead is in another process. A clone is the same team.
#[derive(Clone)]
pub struct Team(Workers<Teammate>, bool);

#[derive(Clone)]
struct Teammate {
    role: String,
    /// The name of its agent. No other agent ever has it, while the teammate's name may come again.
    agent: String,
}

/// The six tools, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Starts a teammate that works beside you, with your tools and a conversation of its own that
    /// lasts. It knows nothing but `prompt`: say what is wanted, and where to look. Don't wait for
    /// it: its answer wakes you. Names are of lower-case letters, digits, `-` and `_`.
    SpawnTeammate { name: String, role: String, prompt: String },
    /// Writes to a teammate, or to `lead`. An answer comes by itself, as mail.
    SendMessage { to: String, text: String },
    /// Writes to all others of the team.
    Broadcast { text: String },
    /// Shows the last letters that you got. New mail comes by itself; this is for what you no
    /// longer have before you.
    ReadInbox { last: usize },
    /// Lists the team: names, roles, who is at work.
    ListTeammates {},
    /// Ends a teammate at once.
    Dismiss { name: String },
}

fn effect(call: &Call) -> Effect {
    match call {
        Call::SpawnTeammate { .. } => Effect::Delegates,
        Call::ReadInbox { .. } | Call::ListTeammates {} => Effect::Reads,
        _ => Effect::Internal,
    }
}

/// What a tool answers.
type Answer = Result<String, ToolError>;

async fn run(team: &Team, call: Call, cx: &Context) -> Answer {
    let Some(me) = team.address(cx) else {
        return Err(ToolError("you are no member of the team; report to whoever asked you".into()));
    };
    match call {
        Call::SpawnTeammate { name, role, prompt } => team.spawn(&name, role, prompt, cx).await,
        Call::SendMessage { to, text } => team.write(&[to], &Letter::new(&me, text), cx).await,
        Call::Broadcast { text } => {
            team.write(&team.0.others(&me).await, &Letter::new(&me, text), cx).await
        }
        Call::ReadInbox { last } => {
            let letters = team.transport().newest(&me, last).await?;
            cx.show_result(lines(&letters, &me));
            Ok(list(&letters, 2 * MAX_LETTER_BYTES))
        }
        Call::ListTeammates {} => Ok(team.list().await),
        Call::Dismiss { name } if team.0.dismiss(&name, CLOSE_TIMEOUT).await? => {
            Ok(format!("{name} is gone; its mail waits for the next of that name"))
        }
        Call::Dismiss { name } => Err(ToolError(format!("there is no teammate {name:?}"))),
    }
}

impl Team {
    /// A lead without teammates yet, and the mailboxes between them.
    pub fn new(transport: impl Transport) -> Team {
        Team(Workers::new(transport, LEAD, MAX_TEAMMATES), false)
    }

    /// Teammates whose lead is in another process, and so is whoever types: what counts for the
    /// letters that they may write is that the lead has written.
    pub fn led_elsewhere(transport: impl Transport) -> Team {
        Team(Workers::new(transport, LEAD, MAX_TEAMMATES), true)
    }

    /// The mailboxes.
    pub fn transport(&self) -> &dyn Transport {
        self.0.transport()
    }

    /// The address of an agent: the lead's, a teammate's, and none for a subagent of either.
    pub fn address(&self, cx: &Context) -> Option<String> {
        cx.value::<Address>().map(|address| address.0.clone())
    }

    /// Who has this name now. A later teammate of the same name is another member.
    pub fn member(&self, name: &str) -> Member {
        self.0.member(name)
    }

    /// Whether there are teammates in other processes.
    pub async fn has_elsewhere(&self) -> bool {
        !self.0.elsewhere().await.is_empty()
    }

    /// Whether there are no teammates in this process.
    pub fn is_empty(&self) -> bool {
        self.0.names().is_empty()
    }

    /// The teammate on whose behalf this agent runs: itself, or the one whose subagent it is. None
    /// for the lead and its subagents.
    pub fn works_for(&self, cx: &Context) -> Option<Member> {
        // With the slash: `main/ann` is not the parent of `main/ann-2`.
        let me = format!("{}/", cx.name());
        self.0.find(|mate| me.starts_with(&format!("{}/", mate.agent)))
    }

    /// True when there is new mail. For the lead, false as soon as no teammate is at work.
    pub async fn wait(&self, cx: &Context) -> bool {
        let Some(me) = self.address(cx) else { return false };
        self.0.wait(&me, &cx.state::<InFlight>().0).await
    }

    /// True when a teammate gets mail beyond these letters, false when none came within the limit.
    /// The teammate counts as idle meanwhile.
    pub async fn await_mail(&self, me: &str, known: &BTreeSet<LetterId>, limit: Duration) -> bool {
        self.0.await_mail(me, known, limit).await
    }

    async fn list(&self) -> String {
        let lines = self.0.lines(|mate| &mate.role).await;
        if lines.is_empty() { "There are no teammates.".into() } else { lines.join("\n") }
    }

    /// Writes a letter of this agent to others.
    ///
    /// # Errors
    /// When one of them is no member, when too many letters were written, when the transport fails.
    pub async fn write(&self, to: &[String], letter: &Letter, cx: &Context) -> Answer {
        self.0.write(to, letter).await?;
        if let Some(wrote) = cx.value::<Wrote>() {
            wrote.0.store(true, Relaxed);
        }
        Ok(format!("sent to {}", to.join(", ")))
    }

    /// Starts a teammate in this process, which begins with this as a letter from the lead.
    ///
    /// # Errors
    /// When the name is not valid or taken, when there are too many, when the transport fails.
    pub async fn spawn(&self, name: &str, role: String, prompt: String, cx: &Context) -> Answer {
        let mate = cx.agent.lasting_child(name, &["spawn_teammate", "dismiss"]);
        let mate = mate.with(Address(name.into())).system(identity(name, &role));
        let info = Teammate { role: role.clone(), agent: mate.name().into() };
        let shutdown = mate.context().shutdown().clone();
        let life = shutdown.run_until_cancelled_owned(self.clone().serve(name.into(), mate));
        self.0.join(name, &role, info, Letter::new(LEAD, prompt), life).await?;
        Ok(format!("{name} is at work; its answer comes as mail"))
    }

    /// A teammate's life: a turn whenever there is something to tell it. It must not hold the
    /// lead's agent: when that is dropped, `shutdown` ends this.
    async fn serve(self, me: String, mate: Agent) {
        let (mut chat, mut backoff) = (Chat::default(), Backoff::default());
        // The letter with its prompt comes first, whatever else would wake it.
        self.transport().wait(&me, &BTreeSet::new()).await;
        loop {
            let failures = backoff.consecutive_failures();
            let in_flight = chat.state::<InFlight>().0.clone();
            if failures >= MAX_FAILURES {
                // Not `woken`: a task on the board wakes it too (s11), and would do so again at
                // once.
                self.await_mail(&me, &in_flight, Duration::MAX).await;
            } else if failures == 0 {
                // Letters that it holds and has not answered are no work, or the lead would wait
                // for ever.
                self.0.idle(&me, in_flight);
                if !mate.woken(&chat).await {
                    return;
                }
                self.0.busy(&me);
            }
            sleep(backoff.delay()).await;
            let end = mate.run(&mut chat, Message::empty(), agent_loop).await;
            backoff.count(end.as_ref().is_err_and(Error::is_failure));
            if let Err(Error::Unfinished { stop: StopReason::WindowFull, .. }) = end {
                // In a new conversation nothing is in flight, so its mail comes again.
                chat = Chat::default();
            }
            // The further failures in a row would tell the lead nothing new.
            if let (Err(error), 1) = (end, backoff.consecutive_failures()) {
                let text = format!("My turn failed: {error}");
                mate.context().notice(&text);
                // If that fails too, the user has seen the notice.
                let _ = self.transport().send(LEAD, Letter::truncated(&me, text)).await;
            }
        }
    }
}

/// Who a teammate is: in the system text, where no compaction reaches it.
fn identity(name: &str, role: &str) -> String {
    format!(
        "You are {name}, a teammate. Your role: {role}. Your lead is `{LEAD}`. Mail comes by \
         itself, in <mail> blocks; others see nothing of what you do but the mail that you send. \
         The last words of a turn in which you wrote to nobody go to the lead. When nothing is \
         left to do, end your turn: mail wakes you."
    )
}

/// Brings mail in, and acknowledges it when the turn has ended well.
struct Inbox(Team);

impl Layer for Inbox {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let Some(me) = self.0.address(cx) else { return next.run(chat, cx).await };
        if me == LEAD && next.prompt().typed().next().is_some() {
            self.0.0.allow_letters(MAX_LETTERS);
        }
        let cx = cx.with(Wrote::default());
        let reply = next.run(chat, &cx).await?;
        let wrote = cx.value::<Wrote>().is_some_and(|wrote| wrote.0.load(Relaxed));
        if me != LEAD && !wrote {
            let report = Letter::truncated(&me, reply.text());
            self.0.transport().send(LEAD, report).await.map_err(Error::other)?;
        }
        // Last: after a crash before this line the letters come again, and none is lost.
        self.0.transport().ack(&me, &chat.state::<InFlight>().0).await.map_err(Error::other)?;
        chat.update(|in_flight: &mut InFlight| in_flight.0.clear());
        Ok(reply)
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let Some(me) = self.0.address(cx) else { return next.run(chat, cx).await };
        let transport = self.0.transport();
        let received = match transport.receive(&me, &chat.state::<InFlight>().0).await {
            Ok(received) => received,
            // With a prompt or results to answer, the step can do without mail.
            Err(error) if chat.awaits_reply() => {
                cx.notice(format!("no mail: {error}"));
                Received::default()
            }
            Err(error) => return Err(Error::other(error)),
        };
        // A new conversation, after a restart or a full window: what was said before is needed.
        if chat.messages().is_empty()
            && let Some(first) = received.letters.first()
        {
            let mut earlier =
                transport.newest(&me, MAX_EARLIER_LETTERS).await.map_err(Error::other)?;
            earlier.retain(|letter| letter.id < first.id);
            let text = format!("Your mail so far: {}", list(&earlier, MAX_EARLIER_BYTES));
            chat.push(Message::inserted("earlier_mail", text));
        }
        // No await until `next`: a turn that is dropped there has put in all of the mail, or none.
        for notice in received.notices() {
            cx.notice(&notice);
            chat.push(Message::inserted("mail_notice", notice));
        }
        for mut letter in received.letters {
            chat.update(|in_flight: &mut InFlight| in_flight.0.insert(letter.id));
            if self.0.1 && letter.from == LEAD {
                self.0.0.allow_letters(MAX_LETTERS);
            }
            cx.notice(letter.line(&me));
            if let Some(filter) = cx.value::<LetterFilter>() {
                letter = filter.0(letter, cx);
            }
            chat.push(Message::inserted("mail", letter.to_string()));
        }
        next.run(chat, cx).await
    }
}

/// Adds the mechanism.
pub fn install(agent: Agent, team: &Team) -> Agent {
    let agent = if team.1 { agent } else { agent.with(Address(LEAD.into())) };
    let (listed, woken, closed) = (team.clone(), team.clone(), team.clone());
    agent
        .tools(team.clone(), effect, run)
        .wrap(Inbox(team.clone()))
        .command("team", "lists the teammates", async move |_, _, cx| {
            cx.notice(listed.list().await);
            Ok::<(), Error>(())
        })
        .wake(move |cx| {
            let team = woken.clone();
            async move { team.wait(&cx).await }
        })
        .on_exit("ending the teammates", CLOSE_TIMEOUT, async move || closed.0.stop_all().await)
}

/// The agent of lesson four, with teammates.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let mailboxes = Mailboxes::open(&stage.state().await?).await.map_err(Error::other)?;
        Ok(install(s04_subagent::install(stage.agent()), &Team::new(mailboxes)))
    };
    lessons::run("s09_agent_teams", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{BlocksBad, Play, inserted, play, results};
    use rehearsal::{Scene, call, calls, say, say_results, scene};
    use rungs_core::{Role, tools};
    use rungs_process::testing::{alive, gone, marker, until};
    use serde_json::{Value, json};
    use std::{future::poll_fn, path::Path, pin::pin, task::Poll};
    use tempfile::TempDir;

    struct Stage {
        play: Play,
        team: Team,
        folder: TempDir,
    }

    async fn open(folder: &Path) -> Mailboxes {
        Mailboxes::open(&durable::Folder::open(folder, "").unwrap()).await.unwrap()
    }

    /// A lead with subagents and bash, and its team, whose mailboxes are in the folder.
    async fn stage_in(folder: TempDir, scenes: impl IntoIterator<Item = Scene>) -> Stage {
        let team = Team::new(open(folder.path()).await);
        let lead =
            |agent: Agent, _: &Path| install(s04_subagent::install(agent.tool(tools::Bash)), &team);
        Stage { play: play(scenes, lead).await, team, folder }
    }

    async fn stage(scenes: impl IntoIterator<Item = Scene>) -> Stage {
        stage_in(tempfile::tempdir().unwrap(), scenes).await
    }

    impl Stage {
        /// A conversation of the lead that begins with "go", until nothing more is expected.
        async fn go(&self) -> Chat {
            let mut chat = Chat::default();
            self.play.run_until_idle(&mut chat, "go").await;
            chat
        }

        /// The newest messages that a teammate sent to the model.
        fn asked(&self, name: &str) -> Vec<String> {
            let bodies = self.play.bodies_of(&format!("You are {name},"));
            let newest =
                |body: &Value| body["messages"].as_array().unwrap().last().unwrap().clone();
            bodies.iter().map(|body| texts(&newest(body))).collect()
        }
    }

    /// The texts of a message on the wire, joined.
    fn texts(message: &Value) -> String {
        let blocks = message["content"].as_array().unwrap().iter();
        blocks.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
    }

    fn spawn(name: &str, prompt: &str) -> (&'static str, Value) {
        ("spawn_teammate", json!({"name": name, "role": "helps", "prompt": prompt}))
    }

    fn mail(to: &str, text: &str) -> (&'static str, Value) {
        ("send_message", json!({"to": to, "text": text}))
    }

    /// The lead's first turn: it makes these calls and is free for other things.
    fn go(first: impl IntoIterator<Item = (&'static str, Value)>) -> Scene {
        scene("^go$", [calls(first), say("free")])
    }

    /// What the model said at the end of each turn.
    fn said(chat: &Chat) -> Vec<String> {
        let replies = chat.messages().iter().filter(|message| message.role == Role::Assistant);
        replies.filter(|reply| reply.calls().is_empty()).map(|reply| reply.text()).collect()
    }

    /// The texts of the letters that stand in this conversation, each with its sender.
    fn letters(chat: &Chat) -> Vec<String> {
        let letter = |text: &String| {
            let (head, rest) = text.split_once(">\n").unwrap();
            let from = head.split('"').nth(3).unwrap();
            format!("{from}: {}", rest.strip_suffix("\n</mail>").unwrap())
        };
        inserted(chat, "mail").iter().map(letter).collect()
    }

    #[tokio::test]
    async fn a_teammate_keeps_its_conversation_and_its_last_words_wake_the_lead() {
        let count = [
            call("bash", json!({"command": "seq 3 | wc -l"})),
            say("counted {{ results[0].text | trim }}"),
        ];
        let stage = stage([
            go([spawn("ann", "count")]),
            scene(r"lead.>\s*count", count),
            scene(r"ann.>\s*counted (\d)", [calls([mail("ann", "again")]), say("so {{ m[1] }}")]),
            scene(r"lead.>\s*again", [say("twice")]),
            scene(r"ann.>\s*twice", [say("good")]),
        ])
        .await;
        let chat = stage.go().await;
        assert_eq!(said(&chat), ["free", "so 3", "good"]);
        assert_eq!(letters(&chat), ["ann: counted 3", "ann: twice"]);
        let last = stage.play.bodies_of("You are ann,").pop().unwrap();
        let messages: Vec<String> =
            last["messages"].as_array().unwrap().iter().map(texts).collect();
        let parts = ["count", "", "", "counted 3", "again"];
        assert_eq!(messages.len(), parts.len());
        for (message, part) in messages.iter().zip(parts) {
            assert!(message.contains(part), "{part}: {messages:?}");
        }
        assert_eq!(stage.team.list().await, "ann (helps), idle");
        assert_eq!(stage.play.agent.exit().await, [""; 0]);
        assert_eq!(stage.team.list().await, "There are no teammates.");
    }

    #[tokio::test]
    async fn last_words_go_to_the_lead_only_when_the_teammate_wrote_to_nobody() {
        let stage = stage([
            go([spawn("ann", "one"), spawn("bob", "two")]),
            scene(r"lead.>\s*one", [calls([mail("bob", "hello")]), say("not for the lead")]),
            scene(r"lead.>\s*two", [say("mine")]),
            scene(r"ann.>\s*hello", [say("for the lead")]),
            scene("bob.>", [say("heard")]),
        ])
        .await;
        let mut letters = letters(&stage.go().await);
        letters.sort();
        // Bob may get both letters in one turn.
        letters.retain(|letter| letter != "bob: mine");
        assert_eq!(letters, ["bob: for the lead"]);
    }

    #[tokio::test]
    async fn what_a_crash_left_comes_again_and_what_was_answered_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mailboxes = open(folder.path()).await;
        for (text, answered) in [("old", true), ("half", false)] {
            mailboxes.send("ann", Letter::new("bob", text)).await.unwrap();
            let received = mailboxes.receive("ann", &BTreeSet::new()).await.unwrap().letters;
            assert_eq!(received[0].text, text);
            if answered {
                mailboxes.ack("ann", &[received[0].id].into()).await.unwrap();
            }
        }
        mailboxes.send(LEAD, Letter::new("ann", "half an answer")).await.unwrap();
        drop(mailboxes);
        let start = [calls([spawn("ann", "new")]), say("heard")];
        let scenes = [
            scene("half an answer", start),
            scene("lead.>", [say("fine")]),
            scene("ann.>", [say("good")]),
        ];
        let stage = stage_in(folder, scenes).await;
        // It begins nothing before the person has spoken.
        assert!(!stage.play.agent.woken(&Chat::default()).await);
        let chat = stage.go().await;
        assert_eq!(said(&chat), ["heard", "good"]);
        assert_eq!(letters(&chat), ["ann: half an answer", "ann: fine"]);
        let asked = stage.asked("ann");
        let (_, mail) = asked[0].split_once("</environment>\n").unwrap();
        let letter = |id: u32, from: &str, text: &str| {
            format!("<mail id=\"{id}\" from=\"{from}\">\n{text}\n</mail>")
        };
        let [old, half, new] =
            [letter(1, "bob", "old"), letter(2, "bob", "half"), letter(3, "lead", "new")];
        assert_eq!(mail, format!("Your mail so far: {old}\n{half}\n{new}"));
    }

    #[tokio::test]
    async fn mail_that_the_server_refuses_comes_again_and_is_a_dead_letter_at_last() {
        let refused = say("x").fault(json!({"status": 400, "times": "always"}));
        let stage = stage([
            go([spawn("ann", "bad")]),
            scene("dead letter", [say("lost")]),
            scene(r"lead.>\s*bad", [refused]),
            scene("ann.>", [say("heard")]),
        ])
        .await;
        let letters = letters(&stage.go().await);
        assert!(letters[0].starts_with("ann: My turn failed: 127.0.0.1"), "{letters:?}");
        assert_eq!(letters[1..], ["ann: lost"]);
        let asked = stage.asked("ann");
        assert_eq!(asked.iter().filter(|asked| asked.contains("\nbad\n")).count(), 3);
        let notice = "A letter from lead is set aside as a dead letter: it was delivered 3 times \
                      and never answered.";
        assert!(asked[3].ends_with(notice), "{asked:?}");
        assert!(stage.play.ui.take().contains(&format!("main/ann: notice {notice}")));
        let dead = stage.folder.path().join("team-1/ann.dead.jsonl");
        assert!(std::fs::read_to_string(dead).unwrap().contains("bad"));
    }

    #[tokio::test]
    async fn of_letters_that_come_together_only_the_one_that_is_refused_dies() {
        let folder = tempfile::tempdir().unwrap();
        let mailboxes = open(folder.path()).await;
        let sound: Vec<String> = (1..=9).map(|n| format!("sound {n}")).collect();
        for text in &sound {
            mailboxes.send("ann", Letter::new(LEAD, text)).await.unwrap();
        }
        drop(mailboxes);
        let refused = say("x").fault(json!({"status": 400, "times": "always"}));
        let stage = stage_in(
            folder,
            [
                go([spawn("ann", "poison")]),
                scene("ann.>", [say("heard")]),
                scene("poison", [refused]),
                scene("lead.>", [say("done")]),
            ],
        )
        .await;
        stage.go().await;
        let transport = stage.team.transport();
        assert!(!transport.has_mail("ann", &BTreeSet::new()).await.unwrap());
        let dead = stage.folder.path().join("team-1/ann.dead.jsonl");
        let dead = std::fs::read_to_string(dead).unwrap();
        assert!(dead.contains("poison") && !dead.contains("sound"), "{dead}");
        let answered: Vec<String> =
            stage.asked("ann").into_iter().filter(|asked| !asked.contains("poison")).collect();
        let answered = answered.join("\n");
        for text in sound {
            assert_eq!(answered.matches(&format!("\n{text}\n")).count(), 1, "{text}: {answered}");
        }
    }

    #[tokio::test]
    async fn after_three_failures_a_teammate_is_idle_until_it_has_new_mail() {
        let down = |times: u32| json!({"status": 401, "times": times});
        let stage = stage([
            go([spawn("ann", "work")]),
            scene(r"lead.>\s*work", [say("x").fault(down(99))]),
            scene(r"ann.>\s*My turn failed", [say("noted")]),
            scene("^try$", [calls([mail("ann", "now")]), say("free")]),
            scene(r"lead.>\s*now", [say("done")]),
            scene(r"ann.>\s*done", [say("good")]),
        ])
        .await;
        let mut chat = stage.go().await;
        // The lead is not told of every failure, and does not wait for somebody who has given up.
        assert_eq!(said(&chat), ["free", "noted"]);
        assert_eq!(stage.asked("ann").len(), 3);
        assert_eq!(stage.team.list().await, "ann (helps), idle");
        stage.play.run_until_idle(&mut chat, "try").await;
        assert_eq!(said(&chat)[2..], ["free", "good"]);
        // The first letter stayed in the conversation all the time, and was delivered once.
        let asked = stage.asked("ann").pop().unwrap();
        assert_eq!((asked.matches("\nwork\n").count(), asked.matches("\nnow\n").count()), (1, 1));
        assert!(!stage.team.transport().has_mail("ann", &BTreeSet::new()).await.unwrap());
    }

    #[tokio::test]
    async fn when_its_window_is_full_a_teammate_begins_a_new_conversation() {
        let full = say("x").stop("model_context_window_exceeded");
        let stage = stage([
            go([spawn("ann", "one")]),
            scene(r"lead.>\s*one", [say("first")]),
            scene(r"lead.>\s*two", [full]),
            scene("ann.>", [say("heard")]),
        ])
        .await;
        stage.go().await;
        stage.team.transport().send("ann", Letter::new(LEAD, "two")).await.unwrap();
        assert!(until(|| stage.asked("ann").len() > 2).await);
        let third = &stage.play.bodies_of("You are ann,")[2]["messages"];
        assert_eq!(third.as_array().unwrap().len(), 1);
        let asked = stage.asked("ann");
        let (_, mail) = asked[2].split_once("</environment>\n").unwrap();
        let [one, two] = [(1, "one"), (2, "two")]
            .map(|(id, text)| format!("<mail id=\"{id}\" from=\"lead\">\n{text}\n</mail>"));
        assert_eq!(mail, format!("Your mail so far: {one}\n{two}"));
    }

    #[tokio::test]
    async fn mail_of_a_withdrawn_prompt_comes_with_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let team = Team::new(open(folder.path()).await);
        // Further in than the inbox, so the mail is in the conversation before the prompt is
        // blocked.
        let lead = |agent: Agent, _: &Path| install(agent.wrap(BlocksBad), &team);
        let play = play([scene("<mail", [say("heard")])], lead).await;
        team.transport().send(LEAD, Letter::new("ann", "hello")).await.unwrap();
        let mut chat = Chat::default();
        play.run(&mut chat, "bad").await.unwrap_err();
        assert_eq!((chat.messages().len(), play.ui.take().len()), (0, 2));
        play.run(&mut chat, "go").await.unwrap();
        assert_eq!(letters(&chat), ["ann: hello"]);
        assert!(!team.transport().has_mail(LEAD, &BTreeSet::new()).await.unwrap());
    }

    #[tokio::test]
    async fn mail_of_a_turn_that_was_dropped_at_any_await_comes_again() {
        // A future is polled once for several things that have happened, so a turn may end before
        // it was dropped at each place.
        for _ in 0..100 {
            if drop_turns().await == [0, 1].into() {
                return;
            }
        }
        panic!("no turn was dropped while it waited for the server");
    }

    /// Drops a turn at each await until one ends: how many letters those that were dropped had
    /// received, none while they waited for the mailbox, and one while they waited for the server.
    async fn drop_turns() -> BTreeSet<usize> {
        let stage = stage([scene("<mail", [say("heard")])]).await;
        let mut received = BTreeSet::new();
        for max_polls in 1.. {
            let text = format!("letter {max_polls}");
            let letter = Letter::new("ann", text.as_str());
            stage.team.transport().send(LEAD, letter).await.unwrap();
            let mut chat = Chat::default();
            drop_after(max_polls, stage.play.run(&mut chat, "go")).await;
            if said(&chat) == ["heard"] {
                break;
            }
            received.insert(letters(&chat).len());
            // The conversation is gone with the turn.
            let mut chat = Chat::default();
            stage.play.run(&mut chat, "go").await.unwrap();
            assert_eq!(letters(&chat), [format!("ann: {text}")]);
        }
        received
    }

    /// Drops a future after it was polled so many times, if it has not ended.
    async fn drop_after(max_polls: u32, future: impl Future) {
        let (mut future, mut polls) = (pin!(future), 0);
        poll_fn(|task| {
            polls += 1;
            if polls > max_polls { Poll::Ready(()) } else { future.as_mut().poll(task).map(|_| ()) }
        })
        .await;
    }

    #[tokio::test]
    async fn two_who_write_to_each_other_without_end_are_stopped() {
        let ping = |to: &str| [calls([mail(to, "ping")]), say_results()];
        let stage = stage([
            go([spawn("bob", "wait"), spawn("ann", "begin")]),
            scene(r"lead.>\s*begin", ping("bob")),
            scene(r"bob.>\s*ping", ping("bob")),
            scene(r"ann.>\s*ping", ping("ann")),
            scene(r"lead.>\s*wait", [say("waiting")]),
            scene("<mail", [say("heard")]),
        ])
        .await;
        let letters = letters(&stage.go().await);
        let stopped =
            "100 letters were written since the last prompt, which is the most; come to an end";
        assert!(letters.last().unwrap().ends_with(stopped), "{letters:?}");
    }

    /// A lead whose teammate ann runs this command.
    async fn running(command: String) -> Stage {
        let dismiss = || ("dismiss", json!({"name": "ann"}));
        stage([
            go([spawn("ann", "work")]),
            scene("^dismiss$", [calls([dismiss(), dismiss()]), say_results()]),
            scene("lead.>", [call("bash", json!({"command": command}))]),
        ])
        .await
    }

    fn two_sleeps(marker: &str) -> String {
        format!("sleep {marker} & sleep {marker}")
    }

    #[tokio::test]
    async fn dismissal_ends_a_teammate_with_its_processes() {
        let marker = marker();
        let stage = running(two_sleeps(&marker)).await;
        let (_, mut chat) = stage.play.ask("go").await;
        assert!(until(|| alive(&marker)).await);
        stage.play.run(&mut chat, "dismiss").await.unwrap();
        let [gone_now, unknown] = &results(&chat.messages()[6])[..] else { panic!("{chat:?}") };
        assert_eq!(gone_now, "ann is gone; its mail waits for the next of that name");
        assert_eq!(unknown, "there is no teammate \"ann\"");
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn teammates_end_with_the_program() {
        let marker = marker();
        let stage = running(two_sleeps(&marker)).await;
        stage.play.ask("go").await;
        assert!(until(|| alive(&marker)).await);
        assert_eq!(stage.play.agent.exit().await, [""; 0]);
        assert_eq!(stage.team.list().await, "There are no teammates.");
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn teammates_end_when_the_leads_agent_is_dropped() {
        let marker = marker();
        let Stage { play, team, folder: _folder } = running(two_sleeps(&marker)).await;
        play.ask("go").await;
        assert!(until(|| alive(&marker)).await);
        drop(play);
        assert!(gone(&marker).await);
        assert!(until(|| team.0.names().is_empty()).await);
    }

    /// Panics when a child asks the model.
    struct Panics;

    impl Layer for Panics {
        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            assert!(!cx.is_child(), "on purpose");
            next.run(chat, cx).await
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_teammate_that_panicked() {
        let mut stage = stage([go([spawn("ann", "work")])]).await;
        stage.play.agent = stage.play.agent.wrap(Panics);
        assert_eq!(said(&stage.go().await), ["free"]);
        assert_eq!(stage.team.list().await, "There are no teammates.");
    }

    #[tokio::test]
    async fn an_inbox_is_shown_to_the_person_one_line_a_letter() {
        let read = calls([("read_inbox", json!({"last": 9}))]);
        let stage = stage([
            go([spawn("ann", "work")]),
            scene("from=\"ann\"", [read, say("read")]),
            scene("lead.>", [say("one\ntwo")]),
        ])
        .await;
        let chat = stage.go().await;
        let mail = "<mail id=\"1\" from=\"ann\">\none\ntwo\n</mail>";
        assert_eq!(results(&chat.messages()[6]), [mail]);
        assert!(stage.play.ui.take().contains(&"main: result ann → lead: one two".to_string()));
    }

    #[tokio::test]
    async fn wrong_names_and_addresses_are_refused() {
        let many: Vec<_> = (1..=9).map(|n| spawn(&format!("mate-{n}"), "rest")).collect();
        let wrong = [
            spawn("../ann", "work"),
            spawn("Ann", "work"),
            spawn("lead", "work"),
            mail("../ann", "x"),
            mail("lead", "x"),
            ("broadcast", json!({"text": "x"})),
            ("send_message", json!({"to": "lead"})),
            ("read_inbox", json!({"last": -1})),
            ("list_teammates", json!({"all": true})),
        ];
        let names = "lower-case letters, digits, `-` and `_`, at most 40, a letter or digit first";
        let stage = stage([
            scene("^go$", [calls(wrong), calls(many), say("x")]),
            scene("lead.>", [say("rested")]),
            scene("mate", [say("good")]),
        ])
        .await;
        let chat = stage.go().await;
        assert_eq!(
            results(&chat.messages()[2]),
            [
                &format!("\"../ann\" is no name: {names}"),
                &format!("\"Ann\" is no name: {names}"),
                "\"lead\" is there already",
                "there is no \"../ann\" to write to; there is: nobody",
                "nobody but you would get this letter",
                "nobody but you would get this letter",
                "missing field `text`",
                "`last`: expected a whole number from 0 on, got -1",
                "there is no field `all` (there are: none)",
            ]
        );
        let spawned = results(&chat.messages()[4]);
        assert_eq!(spawned[7], "mate-8 is at work; its answer comes as mail");
        assert_eq!(spawned[8], "there are 8 already, which is the most; end one first");
        let mailboxes = std::fs::read_dir(stage.folder.path()).unwrap().count();
        assert_eq!(mailboxes, 2, "the folder of the team, and its lock");
    }

    #[tokio::test]
    async fn a_name_is_one_members_whatever_a_subagent_is_called_and_whoever_had_it_before() {
        let subagent = json!({"tasks": [{"description": "ann", "prompt": "pretend"}]});
        let read = scene(r"lead.>\s*(one|two|other|hello)", [say("read {{ m[1] }}")]);
        let stage = stage([
            go([
                spawn("ann", "one"),
                ("dismiss", json!({"name": "ann"})),
                spawn("ann", "two"),
                spawn("ann-2", "other"),
                ("task", subagent),
                mail("ann", "hello"),
            ]),
            scene("^pretend$", [calls([mail("lead", "I am ann")]), say_results()]),
            read,
            scene("<mail", [say("heard")]),
        ])
        .await;
        let chat = stage.go().await;
        let outsider = "# ann\nyou are no member of the team; report to whoever asked you";
        assert_eq!(results(&chat.messages()[2])[4], outsider);
        let letters = letters(&chat);
        for letter in ["ann: read hello", "ann-2: read other"] {
            assert!(letters.contains(&letter.to_string()), "{letter}: {letters:?}");
        }
        assert!(!letters.iter().any(|letter| letter.contains("I am ann")), "{letters:?}");
    }
}
