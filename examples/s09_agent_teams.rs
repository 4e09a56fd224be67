//! # s09: teammates with mailboxes
//!
//! A subagent answers once and is gone, and whoever asked waits for it. Larger work wants colleagues: each with a name, a
//! role and a conversation that lasts, working at the same time, writing to each other when there is something to say.
//!
//! New here: agents that outlive a call. A teammate is the same loop on a chat of its own; between two turns it rests until
//! it has mail. Mail goes through the trait [`Transport`]: here a file of JSON lines for each name ([`Mailboxes`]), in lesson 22
//! Redis. A letter is on the disk before its sender hears "sent", joins the next request of whoever gets it, and is over
//! only when that turn has ended: after a crash it comes again, and one that nobody can handle is set aside. The last words
//! of a turn in which a teammate wrote to nobody go to the lead, and that wakes the lead's prompt.
//!
//! Run it: `cargo run --example s09_agent_teams`
//!
//! You will see a lead hire a writer and a reviewer, who settle a text between them by mail, while the lead is free for
//! other questions and speaks up by itself when the text is done.
//!
//! Try: `:team` while they work; or `--keep`, and look at the boxes below `.rungs/s09_agent_teams` in the folder that stays.
//!
//! Builds on s04. Motto: *Too big for one: delegate to teammates.*

use lessons::{s01_loop::agent_loop, s04_subagent};
use rungs_core::{
    Agent, Block, Chat, Context, Error, Layer, Message, NextAsk, Reply, Result, Stop, ToolError,
    ToolSpec, prompt,
};
use rungs_crew::{Crew, Owner};
use rungs_mailbox::{LetterId, MAX_LETTER_BYTES, list};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use rungs_mailbox::{Letter, Mailboxes, Received, Transport, escape_tags};

/// The address of the agent that the person talks to.
pub const LEAD: &str = "lead";
/// How many teammates there are at most.
const MOST: usize = 8;
/// How many letters one prompt of the person may lead to: two agents can thank each other for ever.
const LETTERS: usize = 100;
/// How many earlier letters a teammate is given whose name had mail before.
const EARLIER: usize = 20;
/// How many bytes of them at most.
const ROOM: usize = 20_000;
/// After how many failed turns a teammate rests.
const FAILURES: u32 = 3;
/// How long teammates may take to end.
const CLOSING: Duration = Duration::from_secs(4);
/// How often a box is looked at, since another process may have put something in.
const LOOK: Duration = Duration::from_millis(200);

/// A lead and its teammates.
#[derive(Clone)]
pub struct Team {
    post: Arc<dyn Transport>,
    mates: Crew,
    /// The address of each agent that has one.
    addresses: Arc<Mutex<BTreeMap<String, String>>>,
    /// How many letters may still be written.
    left: Arc<AtomicUsize>,
}

/// What a subagent hears that wants to join in.
const OUTSIDER: &str = "you are no member of the team; report to whoever gave you this job";

/// What is remembered of a teammate from one turn to the next.
#[derive(Default)]
struct Seat {
    /// How many turns it has begun.
    turns: AtomicUsize,
    /// Whether it has written to anybody in this turn.
    wrote: AtomicBool,
    /// Whether this turn is its last.
    leaves: AtomicBool,
    /// The letters in its conversation that it has not handled yet.
    held: Mutex<BTreeSet<LetterId>>,
}

/// The number of the letter that a text shows, if it shows one.
fn number_of(text: &str) -> Option<u64> {
    text.strip_prefix("<mail id=\"")?.split('"').next()?.parse().ok()
}

impl Seat {
    /// What is no longer in the conversation, since a turn was withdrawn or dropped, is not held any more: it comes again.
    fn keep(&self, chat: &Chat) -> BTreeSet<LetterId> {
        let texts =
            chat.messages().iter().flat_map(|message| &message.content).filter_map(Block::as_text);
        let there: BTreeSet<u64> = texts.filter_map(number_of).collect();
        let mut held = self.held.lock().unwrap();
        held.retain(|id| there.contains(&id.number));
        held.clone()
    }
}

impl Team {
    /// A lead without teammates yet, and the post between them.
    pub fn new(post: impl Transport) -> Team {
        let left = Arc::new(AtomicUsize::new(LETTERS));
        Team { post: Arc::new(post), mates: Crew::default(), addresses: Arc::default(), left }
    }

    /// The address of an agent: the lead's, a teammate's, and none for a subagent of either.
    pub fn address(&self, cx: &Context) -> Option<String> {
        if cx.is_child() {
            self.addresses.lock().unwrap().get(cx.name()).cloned()
        } else {
            Some(LEAD.into())
        }
    }

    /// For whom an agent works: itself, or the member whose subagent it is.
    pub fn member(&self, cx: &Context) -> String {
        let addresses = self.addresses.lock().unwrap();
        let of = |(name, _): &(&String, &String)| {
            cx.name().strip_prefix(*name).is_some_and(|rest| rest.starts_with('/'))
        };
        let member = addresses
            .get(cx.name())
            .or_else(|| addresses.iter().find(of).map(|(_, address)| address));
        member.map_or(LEAD.into(), String::clone)
    }

    /// Whether there is a teammate of this name.
    pub fn has(&self, name: &str) -> bool {
        self.mates.list().iter().any(|mate| mate.name == name)
    }

    /// Which of a teammate's turns this is.
    pub fn turn(&self, cx: &Context) -> usize {
        cx.local::<Seat>().turns.load(Relaxed)
    }

    /// Whether it has written to anybody in this turn.
    pub fn wrote(&self, cx: &Context) -> bool {
        cx.local::<Seat>().wrote.load(Relaxed)
    }

    /// Ends a teammate when its turn does.
    pub fn leave(&self, cx: &Context) {
        cx.local::<Seat>().leaves.store(true, Relaxed);
    }

    /// Has all teammates look, now, whether there is something to do: none of them counts as idle before it has.
    pub fn nudge(&self) {
        self.mates.nudge(|_| true);
    }

    async fn hire(
        &self,
        name: &str,
        role: &str,
        prompt: String,
        cx: &Context,
    ) -> Result<String, ToolError> {
        if self.mates.list().len() >= MOST {
            return Err(ToolError(format!(
                "there are {MOST} teammates already; dismiss one first"
            )));
        }
        if name == LEAD || self.has(name) {
            return Err(ToolError(format!("there is a {name} already; send_message reaches it")));
        }
        self.post.send(name, Letter::new(LEAD, prompt)).await?;
        // The team ends when the lead's conversation does.
        cx.local::<OnceLock<Owner>>().get_or_init(|| self.mates.owner());
        let mate =
            cx.agent.child(name, &["spawn_teammate", "dismiss"]).system(identity(name, role));
        self.addresses.lock().unwrap().insert(mate.name().into(), name.into());
        let (team, me) = (self.clone(), name.to_string());
        // It outlives the turn, so what stops the turn must not stop it.
        self.mates
            .hire(name, role, |stop| async move { team.serve(&me, mate.cancelled_by(stop)).await });
        Ok(format!("{name} is at work; its answer comes as mail"))
    }

    /// A teammate's life: turns as long as there is something to tell it, then rest.
    async fn serve(&self, me: &str, mate: Agent) {
        let (cx, mut chat, mut failures) = (mate.context(), Chat::default(), 0);
        let seat = cx.local::<Seat>();
        while !seat.leaves.load(Relaxed) {
            let (before, began) = (chat.clone(), self.mates.begin(me));
            seat.turns.fetch_add(1, Relaxed);
            seat.wrote.store(false, Relaxed);
            let turn = agent_loop(&mate, &mut chat).await;
            chat.close_open_calls("not run: the turn failed");
            let mut report = match turn {
                Ok(reply) => {
                    failures = 0;
                    reply.text()
                }
                Err(Error::NothingToAnswer) => {
                    if self.mates.rest(me, began) {
                        prompt::woken(&cx, false).await;
                    }
                    continue;
                }
                Err(error) => {
                    if matches!(error, Error::Unfinished { stop: Stop::WindowFull, .. }) {
                        // It begins anew, with what its mail tells it.
                        chat = Chat::default();
                    } else if error.refuses_request() {
                        chat = before;
                    }
                    seat.keep(&chat);
                    failures += 1;
                    format!("My turn failed: {error}")
                }
            };
            report.truncate(report.floor_char_boundary(MAX_LETTER_BYTES));
            // Of failures in a row the first one tells enough.
            let unsaid = !report.trim().is_empty() && !seat.wrote.load(Relaxed) && failures < 2;
            if unsaid && let Err(error) = self.send(LEAD, Letter::new(me, report)).await {
                cx.notice(format!("its report did not reach the lead: {error}"));
            }
            if failures > 0 {
                // It tries again, later each time; after some times it rests until there is something new.
                tokio::time::sleep(prompt::pause(failures)).await;
                if failures >= FAILURES
                    && !self.has_mail(me, &cx).await
                    && self.mates.rest(me, began)
                {
                    prompt::woken(&cx, false).await;
                }
            }
        }
    }

    /// Waits until there is something for this agent: true; for the lead also until nothing can come any more: false.
    async fn wait(self, cx: Context) -> bool {
        let Some(me) = self.address(&cx) else { return false };
        loop {
            let changed = self.mates.changed();
            let (nudged, over) = (self.mates.is_nudged(&me), self.mates.all_rest());
            // Mail of an earlier run waits for the person's first wish to work as a team.
            let is_team = !self.addresses.lock().unwrap().is_empty();
            if nudged || (is_team && self.has_mail(&me, &cx).await) {
                return true;
            }
            // Whoever rested before we looked into the box had sent its report before that.
            if me == LEAD && over {
                return false;
            }
            let _ = tokio::time::timeout(LOOK, changed).await;
        }
    }

    /// Whether mail waits for this member.
    pub async fn has_mail(&self, me: &str, cx: &Context) -> bool {
        let held = cx.local::<Seat>().held.lock().unwrap().clone();
        // What a disk that fails has to say, the next turn hears.
        self.post.has_mail(me, &held).await.unwrap_or(false)
    }

    /// Delivers a letter, and has its reader look.
    async fn send(&self, to: &str, letter: Letter) -> Result<(), rungs_mailbox::Error> {
        self.post.send(to, letter).await?;
        self.mates.nudge(|name| name == to);
        Ok(())
    }

    /// Sends a letter of this agent to others, as far as letters are left.
    ///
    /// # Errors
    /// When one of them is no member, and when the post fails.
    pub async fn write(
        &self,
        to: &[String],
        letter: Letter,
        cx: &Context,
    ) -> Result<String, ToolError> {
        if let Some(name) = to.iter().find(|to| *to != LEAD && !self.has(to)) {
            return Err(self.unknown(name));
        }
        if to.is_empty() || to.contains(&letter.from) {
            return Err(ToolError("a letter to yourself helps nobody".into()));
        }
        if self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(to.len())).is_err() {
            return Err(ToolError(format!(
                "{LETTERS} letters were written since the person last spoke; come to an end"
            )));
        }
        for name in to {
            self.send(name, letter.clone()).await?;
        }
        cx.local::<Seat>().wrote.store(true, Relaxed);
        Ok(format!("sent to {}", to.join(", ")))
    }

    fn unknown(&self, name: &str) -> ToolError {
        ToolError(format!("there is no teammate {name:?}\n{}", self.list()))
    }

    fn list(&self) -> String {
        let lines: Vec<String> = self.mates.list().iter().map(ToString::to_string).collect();
        if lines.is_empty() { "There are no teammates.".into() } else { lines.join("\n") }
    }
}

/// In the system text, where no compaction reaches it.
fn identity(name: &str, role: &str) -> String {
    format!(
        "You are {name}, a teammate. Your role: {role}. Your lead is `{LEAD}`. Mail comes by itself, in <mail> blocks; \
         others see nothing of what you do but the mail that you send. The last words of a turn in which you wrote to \
         nobody go to the lead. When nothing is left to do, end your turn: mail wakes you."
    )
}

/// Puts mail into the next request of whoever has some.
struct Inbox(Team);

impl Layer for Inbox {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let Some(me) = self.0.address(cx) else { return next.run(chat, cx).await };
        if me == LEAD
            && chat.awaits_reply()
            && !chat.messages().last().is_some_and(|newest| newest.has_results())
        {
            self.0.left.store(LETTERS, Relaxed);
        }
        let seat = cx.local::<Seat>();
        let held = seat.keep(chat);
        let taken = self.0.post.receive(&me, &held).await;
        let Received { letters, dead, damage } = taken.unwrap_or_else(|error| {
            cx.notice(format!("no mail: {error}"));
            Received::default()
        });
        damage.iter().for_each(|word| cx.notice(word));
        if chat.messages().is_empty() && !letters.is_empty() {
            let mut earlier = self.0.post.newest(&me, EARLIER).await.map_err(Error::other)?;
            earlier.retain(|letter| letter.id < letters[0].id);
            chat.push(prompt::first_message(
                cx,
                format!("Your mail so far: {}", list(&earlier, ROOM)),
            ));
        }
        for letter in &letters {
            if me == LEAD {
                cx.notice(letter.to_string().lines().take(4).collect::<Vec<_>>().join("\n"));
            }
            chat.push(Message::user(letter.to_string()));
            seat.held.lock().unwrap().insert(letter.id);
        }
        for letter in dead {
            let lost = format!(
                "Letter from {} set aside: no turn with it could be finished.",
                letter.from
            );
            cx.notice(&lost);
            chat.push(Message::user(lost));
        }
        let reply = next.run(chat, cx).await?;
        if reply.message.calls().is_empty() {
            // The turn is over, and with it all mail that it was about.
            let held = std::mem::take(&mut *seat.held.lock().unwrap());
            self.0.post.ack(&me, &held).await.map_err(Error::other)?;
        }
        Ok(reply)
    }
}

/// The six tools, as the model calls them.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    SpawnTeammate { name: String, role: String, prompt: String },
    SendMessage { to: String, text: String },
    Broadcast { text: String },
    ReadInbox { last: usize },
    ListTeammates {},
    Dismiss { name: String },
}

impl Team {
    /// Does what a member of the team wants.
    async fn run(&self, verb: Verb, cx: &Context) -> Result<String, ToolError> {
        let me = self.address(cx).ok_or_else(|| ToolError(OUTSIDER.into()))?;
        Ok(match verb {
            Verb::SpawnTeammate { name, role, prompt } => {
                self.hire(&name, &role, prompt, cx).await?
            }
            Verb::SendMessage { to, text } => self.write(&[to], Letter::new(&me, text), cx).await?,
            Verb::Broadcast { text } => {
                let mates = self.mates.list().into_iter().map(|mate| mate.name);
                let others: Vec<String> =
                    mates.chain([LEAD.into()]).filter(|name| *name != me).collect();
                self.write(&others, Letter::new(&me, text), cx).await?
            }
            Verb::ReadInbox { last } => {
                list(&self.post.newest(&me, last).await?, 2 * MAX_LETTER_BYTES)
            }
            Verb::ListTeammates {} => self.list(),
            Verb::Dismiss { name } if self.mates.end(&name, CLOSING).await => {
                format!(
                    "{name} is gone; its mail is kept, and a teammate of that name would find it"
                )
            }
            Verb::Dismiss { name } => return Err(self.unknown(&name)),
        })
    }
}

/// Adds the mechanism.
pub fn install(agent: Agent, team: &Team) -> Agent {
    let word = |what: &str| json!({"type": "string", "description": what});
    let tool = |name, description, fields| ToolSpec::with_fields(name, description, &fields);
    let specs = [
        tool(
            "spawn_teammate",
            "Starts a teammate that works beside you, with your tools and a conversation of its own that lasts. Don't \
             wait for it: its answer wakes you.",
            json!({"name": word("Of lower-case letters, digits, `-` and `_`."), "role": word("What it is for, in a line."),
                "prompt": word("Its first job. It knows nothing else: say what is wanted, and where to look.")}),
        ),
        tool(
            "send_message",
            "Writes to a member of the team. An answer comes by itself, as mail.",
            json!({"to": word("A teammate's name, or `lead`."), "text": word("What it needs to know.")}),
        ),
        tool(
            "broadcast",
            "Writes to all others of the team.",
            json!({"text": word("What all need to know.")}),
        ),
        tool(
            "read_inbox",
            "Shows your mail again. New mail comes by itself; this is for what you no longer have before you.",
            json!({"last": {"type": "integer", "description": "How many letters."}}),
        ),
        tool("list_teammates", "Lists the team: names, roles, who is at work.", json!({})),
        tool("dismiss", "Ends a teammate at once.", json!({"name": word("Whom.")})),
    ];
    let (worked, listed, woken, closed) =
        (team.clone(), team.clone(), team.clone(), team.mates.clone());
    agent
        .verbs(specs, move |verb, cx| {
            let team = worked.clone();
            async move { team.run(verb, &cx).await }
        })
        .wrap(Inbox(team.clone()))
        .command("team", "lists the teammates", async move |_, _, cx| {
            cx.notice(listed.list());
            Ok::<(), Error>(())
        })
        .wake(move |cx| woken.clone().wait(cx))
        .on_exit(move || async move { closed.close(CLOSING).await })
}

/// The agent of lesson four, with teammates.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let post = Mailboxes::open(&stage.state()).await.map_err(Error::other)?;
        Ok(install(s04_subagent::install(stage.agent()), &Team::new(post)))
    };
    lessons::run("s09_agent_teams", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehearsal::Server;
    use rungs_core::{Recorder, ToolCall, tools};
    use serde_json::Value;

    struct Stage {
        agent: Agent,
        team: Team,
        server: Server,
        ui: Arc<Recorder>,
    }

    async fn stage(folder: &std::path::Path, scenes: &str) -> Stage {
        let (client, server) = lessons::rehearse(&format!("scenes: [{scenes}]")).await.unwrap();
        let (team, ui) = (
            Team::new(Mailboxes::open(&folder.join("state")).await.unwrap()),
            Arc::new(Recorder::default()),
        );
        let agent = Agent::new(client, folder).tool(tools::Bash).ui(ui.clone());
        let agent = install(s04_subagent::install(agent), &team);
        Stage { agent, team, server, ui }
    }

    impl Stage {
        /// What the prompt does: a turn, and further ones while there is something to tell. Gives the replies.
        async fn hold(&self, chat: &mut Chat) -> Vec<String> {
            let mut said = vec![];
            loop {
                match agent_loop(&self.agent, chat).await {
                    Ok(reply) => said.push(reply.text()),
                    Err(error) => said.push(error.to_string()),
                }
                let cx = self.agent.context();
                if !tokio::time::timeout(Duration::from_secs(30), prompt::woken(&cx, true))
                    .await
                    .unwrap()
                {
                    return said;
                }
            }
        }

        /// The newest messages that an agent of this name sent to the model.
        fn asked(&self, name: &str) -> Vec<String> {
            let bodies = self.server.seen().into_iter().map(|seen| seen.body);
            let own = bodies
                .filter(|body| body["system"].to_string().contains(&format!("You are {name},")));
            own.map(|body| body["messages"].as_array().unwrap().last().unwrap().to_string())
                .collect()
        }
    }

    fn spawn(name: &str, prompt: &str) -> String {
        format!("{{spawn_teammate: {{name: {name}, role: helps, prompt: '{prompt}'}}}}")
    }

    fn mail(to: &str, text: &str) -> String {
        format!("{{send_message: {{to: {to}, text: '{text}'}}}}")
    }

    fn alive(word: &str) -> bool {
        std::process::Command::new("pgrep").args(["-f", word]).output().unwrap().status.success()
    }

    async fn until(what: impl Fn() -> bool) {
        for _ in 0..500 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came to that");
    }

    #[tokio::test]
    async fn a_teammate_works_beside_the_lead_remembers_and_wakes_it() {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage(
            dir.path(),
            &format!(
                "{{when: ^go$, turns: [{{call: [{}]}}, {{say: free}}]}},
                 {{when: 'lead.>\\s*count', turns: [{{call: [{{bash: {{command: seq 3 | wc -l}}}}]}}, {{say: 'counted {{{{ results[0].text | trim }}}}'}}]}},
                 {{when: 'ann.>\\s*counted (\\d)', turns: [{{call: [{}]}}, {{say: 'so {{{{ m[1] }}}}'}}]}},
                 {{when: 'lead.>\\s*again', turns: [{{say: twice}}]}},
                 {{when: 'ann.>\\s*twice', turns: [{{say: good}}]}}",
                spawn("ann", "count"),
                mail("ann", "again")
            ),
        )
        .await;
        let mut chat = Chat::new("go");
        assert_eq!(stage.hold(&mut chat).await, ["free", "so 3", "good"]);
        let last = stage.asked("ann").pop().unwrap();
        assert!(last.contains("again"), "{last}");
        let whole = stage
            .server
            .seen()
            .into_iter()
            .rfind(|seen| seen.body["system"].to_string().contains("You are ann,"));
        let whole = whole.unwrap().body["messages"].to_string();
        assert!(
            whole.contains("count") && whole.contains("counted 3") && whole.contains("again"),
            "{whole}"
        );
        assert_eq!(stage.team.list(), "ann (helps), idle");
        stage.agent.exit().await;
        assert_eq!(stage.team.list(), "There are no teammates.");
    }

    #[tokio::test]
    async fn what_a_crash_left_is_handled_by_the_next_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let post = Mailboxes::open(&dir.path().join("state")).await.unwrap();
        for text in ["old", "half"] {
            post.send("ann", Letter::new("bob", text)).await.unwrap();
            let taken = post.receive("ann", &[].into()).await.unwrap().letters;
            assert_eq!(taken[0].text, text);
            if text == "old" {
                post.ack("ann", &[taken[0].id].into()).await.unwrap();
            }
        }
        post.send(LEAD, Letter::new("ann", "half an answer")).await.unwrap();
        drop(post);
        let stage = stage(
            dir.path(),
            &format!(
                "{{when: '^go', turns: [{{call: [{}]}}, {{say: free}}]}}, {{when: 'half an answer', turns: [{{call: [{}]}}, {{say: heard}}]}}, {{when: 'lead.>', turns: [{{say: done}}]}}, {{when: 'ann.>', turns: [{{say: fine}}]}}",
                spawn("ann", "new"),
                spawn("ann", "new"),
            ),
        )
        .await;
        assert_eq!(stage.hold(&mut Chat::new("go")).await, ["heard", "fine"]);
        let asked = stage.asked("ann").remove(0);
        let order = ["Your mail so far", "old", "<mail id=\\\"2", "half", "<mail id=\\\"3", "new"];
        order.iter().fold(asked.as_str(), |rest, word| {
            rest.split_once(word).unwrap_or_else(|| panic!("{word}: {asked}")).1
        });
    }

    #[tokio::test]
    async fn mail_that_the_model_refuses_comes_again_and_is_set_aside_at_last() {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage(
            dir.path(),
            &format!(
                "{{when: ^go$, turns: [{{call: [{}]}}, {{say: free}}]}}, {{when: 'set aside', turns: [{{say: lost}}]}},
                 {{when: 'lead.>\\s*bad', turns: [{{say: x, faults: [{{status: 400, times: always}}]}}]}},
                 {{when: 'ann.>', turns: [{{say: heard}}]}}",
                spawn("ann", "bad")
            ),
        )
        .await;
        let mut chat = Chat::new("go");
        let said = stage.hold(&mut chat).await;
        assert_eq!(said[0], "free");
        let all = chat.messages().iter().map(|message| message.text()).collect::<String>();
        assert!(all.contains("My turn failed: ") && all.contains("\nlost\n"), "{all}");
        assert_eq!(stage.asked("ann").iter().filter(|asked| asked.contains("bad")).count(), 3);
        let shown = stage.ui.take();
        assert!(
            shown.contains(
                &"main/ann: notice Letter from lead set aside: no turn with it could be finished."
                    .into()
            )
        );
        let dead = std::fs::read_to_string(dir.path().join("state/team-1/ann.dead.jsonl")).unwrap();
        assert!(dead.contains("bad"));
    }

    #[tokio::test]
    async fn who_talks_without_end_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage(
            dir.path(),
            &format!(
                "{{when: ^go$, turns: [{{call: [{}, {}]}}, {{say: free}}]}},
                 {{when: 'lead.>\\s*begin', turns: [{{call: [{}]}}, {{say: sent}}]}},
                 {{when: 'bob.>\\s*ping', turns: [{{call: [{}]}}, {{say: 'told: {{{{ results[0].text }}}}'}}]}},
                 {{when: 'ann.>\\s*ping', turns: [{{call: [{}]}}, {{say: 'told: {{{{ results[0].text }}}}'}}]}},
                 {{when: 'lead.>\\s*wait', turns: [{{say: waiting}}]}}, {{when: '<mail', turns: [{{say: heard}}]}}",
                spawn("bob", "wait"),
                spawn("ann", "begin"),
                mail("bob", "ping"),
                mail("bob", "ping"),
                mail("ann", "ping"),
            ),
        )
        .await;
        let mut chat = Chat::new("go");
        stage.hold(&mut chat).await;
        let all = chat.messages().iter().map(|message| message.text()).collect::<String>();
        assert!(
            all.contains("told: 100 letters were written since the person last spoke"),
            "{all}"
        );
    }

    #[tokio::test]
    async fn teammates_end_with_their_processes_by_dismissal_with_the_lead_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = |n: u32| {
            format!(
                "{{when: ^go$, turns: [{{call: [{}]}}, {{say: free}}]}},
                 {{when: ^stop$, turns: [{{call: [{{dismiss: {{name: ann}}}}, {{dismiss: {{name: ann}}}}]}}, {{say: '{{{{ results[0].text }}}} {{{{ results[1].text }}}}'}}]}},
                 {{when: 'lead.>', turns: [{{call: [{{bash: {{command: 'sleep 6{n}.09 & sleep 6{n}.09'}}}}]}}]}}",
                spawn("ann", "sleep")
            )
        };
        for n in 1..=3 {
            let word = format!("sleep 6{n}.09");
            let stage = stage(dir.path(), &scenes(n)).await;
            let mut chat = Chat::new("go");
            assert_eq!(agent_loop(&stage.agent, &mut chat).await.unwrap().text(), "free");
            until(|| alive(&word)).await;
            match n {
                1 => {
                    chat.push(Message::user("stop"));
                    let said = agent_loop(&stage.agent, &mut chat).await.unwrap().text();
                    assert!(
                        said.starts_with("ann is gone")
                            && said.contains("there is no teammate \"ann\""),
                        "{said}"
                    );
                }
                2 => stage.agent.exit().await,
                // Without any farewell.
                _ => drop(stage),
            }
            until(|| !alive(&word)).await;
        }
    }

    #[tokio::test]
    async fn wrong_addresses_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage(dir.path(), "{when: ., turns: [{say: x}]}").await;
        let call =
            |name: &str, input: Value| ToolCall { id: name.into(), name: name.into(), input };
        let new = |name: &str| {
            call("spawn_teammate", json!({"name": name, "role": "helps", "prompt": "go"}))
        };
        let refused = [
            (new("../ann"), "\"../ann\" is no name"),
            (new("lead"), "there is a lead already"),
            (new("Ann"), "\"Ann\" is no name"),
            (
                call("send_message", json!({"to": "../ann", "text": "x"})),
                "there is no teammate \"../ann\"",
            ),
            (
                call("send_message", json!({"to": "lead", "text": "x"})),
                "a letter to yourself helps nobody",
            ),
            (call("broadcast", json!({"text": "x"})), "a letter to yourself helps nobody"),
            (call("send_message", json!({"to": "lead"})), "missing field `text`"),
            (call("read_inbox", json!({"last": -1})), "-1"),
            (call("list_teammates", json!({"all": true})), "all"),
        ];
        for (call, why) in refused {
            let text =
                json!(stage.agent.act(vec![call]).await.content).to_string().replace("\\\"", "\"");
            assert!(text.contains(why), "{why}: {text}");
        }
        let child = stage.agent.child("helper", &[]);
        let text = json!(child.act(vec![new("ann")]).await.content).to_string();
        assert!(text.contains("you are no member of the team"), "{text}");
        assert!(
            !dir.path().join("state/team-1").exists()
                || std::fs::read_dir(dir.path()).unwrap().count() == 1
        );
    }

    #[tokio::test]
    async fn a_name_is_one_members_whoever_had_it_before_and_whatever_a_subagent_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let again = [
            spawn("ann", "one"),
            "{dismiss: {name: ann}}".into(),
            spawn("ann", "two"),
            spawn("ann-2", "other"),
        ];
        let stage = stage(
            dir.path(),
            &format!(
                "{{when: ^go$, turns: [{{call: [{}, {{task: {{tasks: [{{description: ann, prompt: pretend}}]}}}}, {}]}}, {{say: '{{{{ results[4].text }}}}'}}]}},
                 {{when: ^pretend$, turns: [{{call: [{}]}}, {{say: '{{{{ results[0].text }}}}'}}]}},
                 {{when: 'lead.>\\s*(one|two|other|hello)', turns: [{{say: 'read {{{{ m[1] }}}}'}}]}},
                 {{when: '<mail', turns: [{{say: heard}}]}}",
                again.join(", "),
                mail("ann", "hello"),
                mail("lead", "I am ann"),
            ),
        )
        .await;
        let mut chat = Chat::new("go");
        stage.hold(&mut chat).await;
        let all = json!(chat.messages()).to_string().replace("\\\"", "\"");
        for said in [
            &*format!("# ann\\n{OUTSIDER}"),
            "from=\"ann\">\\nread hello",
            "from=\"ann-2\">\\nread other",
        ] {
            assert!(all.contains(said), "{said}: {all}");
        }
    }

    #[tokio::test]
    async fn mail_of_a_turn_that_was_dropped_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage(
            dir.path(),
            "{when: '<mail', turns: [{say: heard}]}, {when: ^go$, turns: [{say: x}]}",
        )
        .await;
        for n in 0..40 {
            stage.team.post.send(LEAD, Letter::new("ann", format!("letter {n}"))).await.unwrap();
            let (mut chat, short) = (Chat::new("go"), Duration::from_micros(n * 40));
            // The conversation goes with the turn, as when a prompt is withdrawn.
            if tokio::time::timeout(short, agent_loop(&stage.agent, &mut chat)).await.is_err() {
                let mut chat = Chat::new("go");
                agent_loop(&stage.agent, &mut chat).await.unwrap();
                let read = chat.messages()[0].text();
                assert!(read.contains(&format!("letter {n}\n")), "{n}: {read}");
            }
        }
    }
}
