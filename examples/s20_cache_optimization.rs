//! # s20: what was sent before is read from the prompt cache
//!
//! Every request sends the whole conversation again. Fifty steps of an agent send its system text
//! fifty times, and its first tool result forty-nine times: without a cache the tokens grow with
//! the square of the steps, and so does the bill. The server can keep what it has processed, and
//! read it at a tenth of the price or less, but only up to a place that the request marks, and only
//! if not one byte before that place has changed.
//!
//! ```text
//! request 1   tools [mark] system [mark] user [mark]                     all of it is written
//! request 2   tools [mark] system [mark] user [mark] reply results [mark]
//!             '--------- read from the cache ------' '-- written ----'
//! request 3   tools [mark] system [mark] user        reply results [mark] reply results [mark]
//!             '--------- read from the cache --------------------------' '-- written ----'
//! ```
//!
//! New here: the seam `send`, whose edits are for one request: the marks stand in the request and
//! never in the conversation. Four are allowed. Those after the tools and after the system text
//! serve subagents and new conversations, which begin alike. The one after the newest message
//! writes; the one after the user message before reads what the last request wrote. From the newest
//! mark alone the server looks back 20 blocks, and a reply with eleven calls adds more than that.
//!
//! The layer also remembers, as a [`State`] of the conversation, what was sent last. If a request
//! does not begin with it, the person is told which part has changed before the bill says so.
//!
//! Terms: **prompt caching**, **cache breakpoint** (the mark), **prefix match**, **time to live**
//! (five minutes, renewed for free by each read; or an hour, written at twice the price), **cache
//! invalidation**, **fingerprint** (a hash that stands for what was sent).
//!
//! Run it: `cargo run --example s20_cache_optimization`
//!
//! You will see a first request written to the cache, a turn of 50 requests read from it, and what
//! that saved; then a clock in the system text, which breaks the prefix with every request, and the
//! warning that names it.
//!
//! Try, and predict first:
//! 1. `cargo run --example s20_cache_optimization -- --cache off`. What do the same turns cost?
//! 2. `-- --cache 1h`: cheaper or dearer here? From which pause between two prompts on does it pay?
//! 3. In `marks`, leave out the mark of the user message before. Which tests fail, and when would
//!    you have noticed?
//!
//! Pitfalls: a date, a random id or a changing order of tools in the prefix costs the whole
//! conversation with each request; a prefix below the model's minimum is silently not cached;
//! subagents started cold at the same moment all write the same prefix; a conversation that rests
//! for longer than the time to live pays for all of it again.
//!
//! A product also warms the cache before the first prompt (`max_tokens: 0`), asks the server why it
//! missed (cache diagnostics), and leaves tools out of the prefix that are rarely used.
//!
//! Builds on s13. Motto: *Never rebuild what you have already sent.*

use lessons::{
    Flag, Stage,
    models::Models,
    s01_loop::agent_loop,
    s13_streaming,
    spending::{Spending, grouped},
};
use rungs_core::{
    Agent, Block, Chat, Context, Error, Layer, Message, NextSend, NextTurn, Reply, Request, Result,
    Role, State,
    client::{Format, Lifetime, Mark, Place},
};
use serde::{Deserialize, Serialize};
use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// At whose prices a rehearsal counts, since its own model is free.
const REHEARSAL_PRICES: &str = "claude-sonnet-5-5";
/// How many requests are remembered beside the newest, which may be a side request (a summary).
const MAX_OLDER_REQUESTS: usize = 3;
/// The fields of a request that the key of the cached messages depends on.
const SETTINGS: [&str; 4] = ["thinking", "output_config", "tool_choice", "speed"];

/// How long the server keeps what it has written, if nothing reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of tools and system text.
    pub prefix: Lifetime,
    /// Of the conversation; never longer than that of the prefix, or the API refuses the request.
    pub conversation: Lifetime,
}

/// Four marks at most: tools, system text, and the ends of the two newest user messages.
fn marks(request: &Request, lifetimes: Lifetimes) -> Vec<Mark> {
    let Lifetimes { prefix, conversation } = lifetimes;
    let mut marks = vec![];
    if !request.tools.is_empty() {
        marks.push(Mark { place: Place::Tools, lifetime: prefix });
    }
    if let Some(last) = request.system.len().checked_sub(1) {
        marks.push(Mark { place: Place::System(last), lifetime: prefix });
    }
    // The newest message is the user's, except when a reply pauses and is sent back.
    let newest = request.messages.len().saturating_sub(1);
    let mut ends = vec![];
    for (i, message) in request.messages.iter().enumerate() {
        // Thinking and blocks of unknown types cannot carry a mark.
        let end = message.content.iter().rposition(|block| !matches!(block, Block::Other(_)));
        if let Some(block) = end.filter(|_| i == newest || message.role == Role::User) {
            ends.push(Place::Block { message: i, block });
        }
    }
    let two = &ends[ends.len().saturating_sub(2)..];
    marks.extend(two.iter().map(|place| Mark { place: *place, lifetime: conversation }));
    marks
}

/// What is remembered of a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sent {
    /// What stands before the messages: the name of each part, and its hash.
    head: Vec<(String, u32)>,
    /// Not saved, since they would be saved with every step again: after a restart, what has
    /// changed in them is not noticed.
    #[serde(skip)]
    messages: Vec<Arc<Message>>,
    /// How many tokens of it the server has in its cache.
    tokens: u64,
    /// Seconds since 1970.
    at: u64,
}

fn hash(part: &(impl Serialize + ?Sized)) -> u32 {
    let json = serde_json::to_string(part).unwrap_or_default();
    BuildHasherDefault::<DefaultHasher>::default().hash_one(json) as u32
}

impl Sent {
    fn of(request: &Request, model: &str) -> Self {
        let mut head = vec![("the model".to_string(), hash(model))];
        head.extend(request.tools.iter().map(|t| (format!("the tool `{}`", t.name), hash(t))));
        let sections = request.system.iter().zip(1..);
        head.extend(sections.map(|(s, n)| (format!("section {n} of the system text"), hash(s))));
        for key in SETTINGS {
            head.extend(request.extra.get(key).map(|value| (format!("`{key}`"), hash(value))));
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Sent { head, messages: request.messages.clone(), tokens: 0, at }
    }

    /// The blocks of the conversation, each with the number of its message.
    fn blocks(&self) -> impl Iterator<Item = (usize, Role, &Block)> {
        let numbered = self.messages.iter().enumerate();
        numbered.flat_map(|(n, m)| m.content.iter().map(move |block| (n, m.role, block)))
    }

    /// How many blocks both conversations begin with.
    fn common(&self, other: &Sent) -> usize {
        let pairs = self.blocks().zip(other.blocks());
        pairs.take_while(|(a, b)| std::ptr::eq(a.2, b.2) || a == b).count()
    }

    /// Which part keeps `next` from beginning with this one, if it should.
    fn change(&self, next: &Sent) -> Option<String> {
        let hash_in = |sent: &Sent, name: &str| {
            sent.head.iter().find(|(other, _)| other == name).map(|(_, hash)| *hash)
        };
        for (name, hash) in &next.head {
            match hash_in(self, name) {
                None => return Some(format!("{name} is new")),
                Some(old) if old != *hash => return Some(format!("{name} changed")),
                Some(_) => {}
            }
        }
        if let Some((gone, _)) = self.head.iter().find(|(name, _)| hash_in(next, name).is_none()) {
            return Some(format!("{gone} is gone"));
        }
        if self.head != next.head {
            return Some("the order of the tools changed".into());
        }
        let common = self.common(next);
        let (number, ..) = next.blocks().nth(common)?;
        // What differs in the newest message alone was not sent yet, or was taken back.
        if common == self.blocks().count() || number + 1 == next.messages.len() {
            return None;
        }
        Some(if next.messages.len() < self.messages.len() {
            format!("the conversation was rewritten from message {number} on, as compaction does")
        } else {
            format!("message {number} changed")
        })
    }
}

/// The newest requests of a conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
struct SentRequests {
    newest: Option<Sent>,
    /// Those before it, the newest first.
    #[serde(skip)]
    older: Vec<Sent>,
}

impl State for SentRequests {
    const NAME: &'static str = "sent_requests";
}

impl SentRequests {
    /// Why the server cannot read this request from its cache, and how many tokens it has of the
    /// one that is most like it.
    fn break_of(&self, next: &Sent, lifetimes: Option<Lifetimes>) -> Option<(String, u64)> {
        let likeness = |last: &&Sent| (last.common(next), last.head == next.head);
        let all = self.older.iter().rev().chain(&self.newest);
        let last = all.max_by_key(likeness).filter(|last| last.tokens > 0)?;
        if let Some(change) = last.change(next) {
            return Some((change, last.tokens));
        }
        let lifetime = if lifetimes?.conversation == Lifetime::Hour { 60 } else { 5 };
        let rest = next.at.saturating_sub(self.newest.as_ref()?.at) / 60;
        let why = format!("the last request was {rest} min ago, and entries live for {lifetime}");
        (rest >= lifetime).then_some((why, last.tokens))
    }

    fn remember(&mut self, sent: Sent) {
        self.older.splice(..0, self.newest.replace(sent));
        self.older.truncate(MAX_OLDER_REQUESTS);
    }
}

/// What the requests of one turn took: a value of the turn, so that a subagent has its own.
#[derive(Default)]
struct TurnSpending(Mutex<Spending>);

/// The mechanism, and what was spent so far, in all agents of a family.
pub struct PromptCache {
    /// Without them no marks are set: the server caches by itself, or not at all.
    lifetimes: Option<Lifetimes>,
    models: Models,
    /// At whose prices requests count that name no model.
    model: String,
    spent: Mutex<Spending>,
}

impl PromptCache {
    /// A cache for requests to `model`, with prices from `models`.
    pub fn new(lifetimes: Option<Lifetimes>, models: Models, model: &str) -> Arc<Self> {
        let (model, spent) = (model.into(), Mutex::default());
        Arc::new(PromptCache { lifetimes, models, model, spent })
    }

    /// What all requests so far took, and what they would have cost without a cache.
    pub fn summary(&self) -> String {
        self.spent.lock().unwrap().summary(&self.model)
    }
}

impl Layer for PromptCache {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let cx = cx.with(TurnSpending::default());
        let end = next.run(chat, &cx).await;
        // Not in `send`: a reply that streams is still being shown there.
        if let Some(spent) = cx.value::<TurnSpending>()
            && let Some(line) = spent.0.lock().unwrap().line()
        {
            cx.notice(line);
        }
        end
    }

    async fn send(&self, mut request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        if let Some(lifetimes) = self.lifetimes {
            request.marks = marks(&request, lifetimes);
        }
        let model = request.model.clone().unwrap_or_else(|| self.model.clone());
        let mut sent = Sent::of(&request, &model);
        if let Some((why, tokens)) = cx.state::<SentRequests>().break_of(&sent, self.lifetimes) {
            let again = format!("up to {} tokens are processed again", grouped(tokens));
            cx.notice(format!("[cache] the prefix broke: {why}; {again}"));
        }
        let reply = next.run(request, cx).await?;
        let (usage, info) = (&reply.usage, self.models.get(&model));
        self.spent.lock().unwrap().add(usage, info);
        if let Some(turn) = cx.value::<TurnSpending>() {
            turn.0.lock().unwrap().add(usage, info);
        }
        sent.tokens = usage.cache_read_input_tokens + usage.cache_creation_input_tokens;
        cx.update(|requests: &mut SentRequests| requests.remember(sent));
        Ok(reply)
    }
}

/// Adds the mechanism.
pub fn install(agent: Agent, cache: Arc<PromptCache>) -> Agent {
    let asked = cache.clone();
    let help = "what the prompt cache has saved so far";
    agent.wrap_shared(cache).command("cache", help, async move |_, _, cx| {
        cx.notice(asked.summary());
        Ok(())
    })
}

/// A mistake to watch: the time in the system text of every request.
#[derive(Default)]
struct Clock(AtomicBool);

impl Layer for Clock {
    async fn send(&self, mut request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        if self.0.load(Relaxed) {
            request.system.push(format!("The time is {:?}.", SystemTime::now()).into());
        }
        next.run(request, cx).await
    }
}

fn install_clock(agent: Agent) -> Agent {
    let clock = Arc::new(Clock::default());
    let help = "puts the time into the system text, or takes it out, to see what that costs";
    agent.wrap_shared(clock.clone()).command("clock", help, async move |_, _, cx| {
        let now = if clock.0.fetch_xor(true, Relaxed) { "not in" } else { "in" };
        cx.notice(format!("the time is {now} the system text"));
        Ok(())
    })
}

/// The option of the command line.
pub const FLAGS: &[Flag] = &[Flag {
    name: "cache",
    value: Some("LIFETIME"),
    help: "5m (the default), 1h, 1h-prefix (tools and system text for an hour), or off",
}];

fn lifetimes(stage: &Stage) -> Result<Option<Lifetimes>> {
    let (prefix, conversation) = match stage.flags.get("cache").map_or("5m", String::as_str) {
        "5m" => (Lifetime::FiveMinutes, Lifetime::FiveMinutes),
        "1h-prefix" => (Lifetime::Hour, Lifetime::FiveMinutes),
        "1h" => (Lifetime::Hour, Lifetime::Hour),
        "off" => return Ok(None),
        other => {
            let why = format!("there is no `{other}`; it is one of 5m, 1h, 1h-prefix, off");
            return Err(Error::setting("--cache", why));
        }
    };
    // In the other format there are no marks.
    let is_marked = stage.client.endpoint().format == Format::Anthropic;
    Ok(is_marked.then_some(Lifetimes { prefix, conversation }))
}

/// The cache that the command line asks for, with the prices of the model that answers.
///
/// # Errors
/// When the option has another value.
pub fn prompt_cache(stage: &Stage) -> Result<Arc<PromptCache>> {
    let model = &*stage.client.endpoint().model;
    let model = if model == "rehearsal" { REHEARSAL_PRICES } else { model };
    Ok(PromptCache::new(lifetimes(stage)?, stage.models.clone(), model))
}

/// The agent of lesson thirteen, with a prompt cache.
pub fn main() -> ExitCode {
    let build = async |stage: &Stage| {
        let (cache, screen) = (prompt_cache(stage)?, stage.screen.clone());
        let agent = install(s13_streaming::install(stage.agent()), cache.clone());
        let sum_up = async move || screen.say(&cache.summary());
        Ok(install_clock(agent).on_exit("the summary", Duration::from_secs(1), sum_up))
    };
    lessons::run_with(FLAGS, "s20_cache_optimization", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent,
        testing::{BlocksBad, Play, models, play},
    };
    use rehearsal::{Scene, Turn, call, calls, say, say_results, scene, script};
    use rungs_core::{
        Client, NextAsk, Recorder, ToolSpec,
        client::{Endpoint, Usage},
        tools,
    };
    use schemars::JsonSchema;
    use serde_json::{Value, json};

    const FIVE_MINUTES: Option<Lifetimes> =
        Some(Lifetimes { prefix: Lifetime::FiveMinutes, conversation: Lifetime::FiveMinutes });
    const HOUR_PREFIX: Option<Lifetimes> =
        Some(Lifetimes { prefix: Lifetime::Hour, conversation: Lifetime::FiveMinutes });
    const HOUR: Option<Lifetimes> =
        Some(Lifetimes { prefix: Lifetime::Hour, conversation: Lifetime::Hour });

    fn cache(lifetimes: Option<Lifetimes>) -> Arc<PromptCache> {
        PromptCache::new(lifetimes, models(), "a")
    }

    /// Records what each request took, and may change it before the cache sees it.
    #[derive(Clone)]
    struct Outside {
        usages: Arc<Mutex<Vec<Usage>>>,
        change: Arc<Mutex<Change>>,
    }

    type Change = Box<dyn FnMut(&mut Request) + Send>;

    impl Default for Outside {
        fn default() -> Self {
            let change: Change = Box::new(|_| {});
            Outside { usages: Arc::default(), change: Arc::new(change.into()) }
        }
    }

    impl Outside {
        fn change(&self, change: impl FnMut(&mut Request) + Send + 'static) {
            *self.change.lock().unwrap() = Box::new(change);
        }
    }

    impl Layer for Outside {
        async fn send(
            &self,
            mut request: Request,
            cx: &Context,
            next: NextSend<'_>,
        ) -> Result<Reply> {
            (self.change.lock().unwrap())(&mut request);
            let reply = next.run(request, cx).await?;
            self.usages.lock().unwrap().push(reply.usage);
            Ok(reply)
        }
    }

    /// An agent whose tools and system text are long enough to be cached.
    async fn cached(
        scenes: impl IntoIterator<Item = Scene>,
        cache: &Arc<PromptCache>,
    ) -> (Play, Outside) {
        let outside = Outside::default();
        let play = play(scenes, |agent, _| {
            let agent = tools::all(agent).system(include_str!("../config/system.md"));
            install(s04_subagent::install(agent), cache.clone()).wrap(outside.clone())
        });
        (play.await, outside)
    }

    /// A small step.
    fn step() -> (&'static str, Value) {
        ("glob", json!({"pattern": "*"}))
    }

    fn steps(count: u32) -> Turn {
        call(step().0, step().1).repeat(count)
    }

    /// The lines of the cache that were shown since the last time.
    fn shown(play: &Play) -> Vec<String> {
        let lines = play.ui.take().into_iter();
        let lines = lines.filter_map(|line| Some(line.split_once("notice ")?.1.to_string()));
        lines.filter(|line| line.starts_with("[cache]")).collect()
    }

    /// What broke the prefix, without the tokens.
    fn breaks(play: &Play) -> Vec<String> {
        let lines = shown(play).into_iter();
        let broke = |line: String| {
            let why = line.strip_prefix("[cache] the prefix broke: ")?;
            Some(why.split(';').next()?.to_string())
        };
        lines.filter_map(broke).collect()
    }

    #[tokio::test]
    async fn fifty_steps_read_nearly_all_of_their_input_from_the_cache() {
        let scenes = || [scene("^hello$", [say("hi")]), scene("^go$", [steps(49), say("end")])];
        let mut totals = vec![];
        for lifetimes in [FIVE_MINUTES, None] {
            let cache = cache(lifetimes);
            let (play, _) = cached(scenes(), &cache).await;
            let mut chat = Chat::default();
            play.run(&mut chat, "hello").await.unwrap();
            play.run(&mut chat, "go").await.unwrap();
            totals.push(*cache.spent.lock().unwrap());
        }
        let [with, without] = totals[..] else { panic!() };
        println!("{:.1} %, ${:.4} instead of ${:.4}", with.percent_read(), with.cost, without.cost);
        assert!(with.percent_read() >= 97.0, "{}", with.percent_read());
        assert_eq!((without.percent_read(), without.usage.cache_creation_input_tokens), (0.0, 0));
        assert_eq!([with.requests, without.requests], [51; 2]);
        // Both have sent the same, and the one knows what the other has paid.
        assert_eq!(with.usage.prompt_tokens(), without.usage.prompt_tokens());
        assert!((with.uncached_cost - without.cost).abs() < 1e-9);
        assert!(with.cost < 0.14 * without.cost, "{} {}", with.cost, without.cost);
    }

    /// Whatever the replies are, each request reads all that the one before has sent.
    #[tokio::test]
    async fn each_request_reads_the_whole_request_before_it() {
        for lifetimes in [FIVE_MINUTES, HOUR_PREFIX, HOUR] {
            let many = calls((0..30).map(|_| step())).think("hm").say("thirty");
            let think = call(step().0, step().1).think("more").repeat(3);
            let go = [many, think, say("end").think("ok")];
            let scenes = [scene("^go$", go), scene("^on$", [steps(2), say("end")])];
            let (play, outside) = cached(scenes, &cache(lifetimes)).await;
            let mut chat = Chat::default();
            play.run(&mut chat, "go").await.unwrap();
            play.run(&mut chat, "on").await.unwrap();
            let usages = outside.usages.lock().unwrap().clone();
            assert_eq!((usages.len(), usages[0].cache_read_input_tokens), (8, 0));
            for (last, next) in usages.iter().zip(&usages[1..]) {
                assert_eq!(next.cache_read_input_tokens, last.prompt_tokens());
                assert_eq!(next.input_tokens, 0);
            }
            let hour = |usage: &Usage| usage.cache_creation.ephemeral_1h_input_tokens > 0;
            assert_eq!(hour(&usages[0]), lifetimes != FIVE_MINUTES);
            assert_eq!(hour(&usages[1]), lifetimes == HOUR);
            assert_eq!(breaks(&play), [""; 0]);
        }
    }

    #[test]
    fn marks_stand_where_the_server_takes_them() {
        let tool = || Arc::new(ToolSpec::of::<Nothing>("nothing"));
        let user = |text: &str| Arc::new(Message::user(text));
        let thinking = Block::thinking("hm", "signed");
        let paused = || Arc::new(Message::assistant(vec![Block::text("a"), thinking.clone()]));
        let places = |request: &Request| {
            let marks = marks(request, HOUR_PREFIX.unwrap());
            let of = |mark: &Mark| (mark.place, mark.lifetime == Lifetime::Hour);
            marks.iter().map(of).collect::<Vec<_>>()
        };
        let at = |message, block| (Place::Block { message, block }, false);
        let mut request = Request::default();
        assert_eq!(places(&request), []);
        request.messages = vec![user("a"), paused(), user("b"), paused(), user("c")];
        assert_eq!(places(&request), [at(2, 0), at(4, 0)]);
        (request.tools, request.system) = (vec![tool(), tool()], vec!["a".into(), "b".into()]);
        let prefix = [(Place::Tools, true), (Place::System(1), true)];
        assert_eq!(places(&request), [&prefix[..], &[at(2, 0), at(4, 0)]].concat());
        // A reply that pauses is sent back: its thinking cannot carry a mark.
        request.messages.pop();
        assert_eq!(places(&request), [&prefix[..], &[at(2, 0), at(3, 0)]].concat());
        request.messages.truncate(1);
        assert_eq!(places(&request), [&prefix[..], &[at(0, 0)]].concat());
    }

    #[tokio::test]
    async fn what_broke_the_prefix_is_named() {
        type Case = (fn(&mut Request), &'static str);
        let cases: [Case; 9] = [
            (|_| {}, ""),
            (|r| r.system[0] = "other".into(), "section 1 of the system text changed"),
            (|r| r.system.push("more".into()), "section 2 of the system text is new"),
            (|r| r.tools.swap(1, 2), "the order of the tools changed"),
            (|r| r.tools.truncate(2), "the tool `write` is gone"),
            (|r| r.model = Some("b".into()), "the model changed"),
            (
                |r| {
                    r.extra.insert("thinking".into(), json!({"type": "adaptive"}));
                },
                "`thinking` is new",
            ),
            (|r| r.messages[2] = Message::user("other").into(), "message 2 changed"),
            (
                |r| r.messages = r.messages[4..].to_vec(),
                "the conversation was rewritten from message 0 on, as compaction does",
            ),
        ];
        for (change, expected) in cases {
            let (play, outside) = cached([scene("^go", [say("ok")])], &cache(HOUR)).await;
            let mut chat = Chat::default();
            for prompt in ["go 1", "go 2", "go 3"] {
                play.run(&mut chat, prompt).await.unwrap();
            }
            assert_eq!(breaks(&play), [""; 0]);
            outside.change(change);
            play.run(&mut chat, "go 4").await.unwrap();
            let expected = [expected].into_iter().filter(|e| !e.is_empty());
            assert_eq!(breaks(&play), expected.collect::<Vec<_>>());
            // It stays changed, so the next request reads it again.
            play.run(&mut chat, "go 5").await.unwrap();
            assert_eq!(breaks(&play), [""; 0]);
            let last = *outside.usages.lock().unwrap().last().unwrap();
            assert!(last.cache_read_input_tokens > 0);
        }
    }

    /// Compacts at this many messages, after a summary that is asked for on the side.
    struct Compaction(usize);

    impl Layer for Compaction {
        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            if chat.messages().len() == self.0 {
                let mut asked = Chat::restore("", chat.messages().to_vec(), Default::default());
                asked.push(Message::inserted("summary", "summarise"));
                let summary = cx.side_request(cx.request(&asked)).await?.text();
                let newest = chat.messages().last().cloned();
                let begin = Arc::new(Message::inserted("summary", summary));
                let reply = Arc::new(Message::assistant(vec![Block::text("yes")]));
                chat.compact([begin, reply].into_iter().chain(newest));
            }
            next.run(chat, cx).await
        }
    }

    #[tokio::test]
    async fn compaction_is_named_once_and_its_side_request_reads_the_prefix() {
        let scenes = [scene("^go", [say("ok")]), scene("^summarise$", [say("short")])];
        let cache = cache(FIVE_MINUTES);
        let (mut play, outside) = cached(scenes, &cache).await;
        play.agent = play.agent.clone().wrap(Compaction(7));
        let mut chat = Chat::default();
        for prompt in ["go 1", "go 2", "go 3", "go 4", "go 5"] {
            play.run(&mut chat, prompt).await.unwrap();
        }
        let rewritten = "the conversation was rewritten from message 0 on, as compaction does";
        assert_eq!(breaks(&play), [rewritten]);
        let usages = outside.usages.lock().unwrap().clone();
        let [.., third, side, compacted, next] = usages[..] else { panic!() };
        assert_eq!(side.cache_read_input_tokens, third.prompt_tokens());
        // Tools and system text stay in the cache.
        assert!(compacted.cache_read_input_tokens > 1_000);
        assert_eq!(next.cache_read_input_tokens, compacted.prompt_tokens());
        // The side request is part of the bill.
        assert_eq!((cache.spent.lock().unwrap().requests, usages.len()), (6, 6));
    }

    #[tokio::test]
    async fn what_only_looks_like_a_break_is_none() {
        let scenes = [
            scene("^go", [say("ok")]),
            scene("^title$", [say("title")]),
            scene("^bad$", [say("never")]),
            scene(
                "^task$",
                [
                    call("task", json!({"tasks": [{"description": "x", "prompt": "go x"}]})),
                    say_results(),
                ],
            ),
        ];
        let (mut play, outside) = cached(scenes, &cache(FIVE_MINUTES)).await;
        play.agent = play.agent.clone().wrap(BlocksBad);
        let mut chat = Chat::default();
        play.run(&mut chat, "go 1").await.unwrap();
        let begin = chat.clone();
        play.run(&mut chat, "go 2").await.unwrap();
        // Beside the conversation: other tools, another system text.
        let cx = play.agent.context();
        let mut aside = chat.clone();
        aside.push(Message::inserted("title", "title"));
        cx.side_request(Request::of(&aside)).await.unwrap();
        play.run(&mut chat, "go 3").await.unwrap();
        // A prompt that is withdrawn, one that joins a message that nothing has answered.
        play.run(&mut chat, "bad").await.unwrap_err();
        chat.push(Message::inserted("note", "a note"));
        play.run(&mut chat, "go 4").await.unwrap();
        // A fork, a rewind, a new conversation, a file.
        play.run(&mut chat.fork(), "go fork").await.unwrap();
        let mut rewound = begin;
        play.run(&mut rewound, "go rewound").await.unwrap();
        play.run(&mut Chat::default(), "go new").await.unwrap();
        let mut read: Chat = serde_json::from_str(&serde_json::to_string(&chat).unwrap()).unwrap();
        play.run(&mut read, "go file").await.unwrap();
        // A subagent shares tools and system text, and reads them.
        play.run(&mut read, "task").await.unwrap();
        assert_eq!(breaks(&play), [""; 0]);
        let usages = outside.usages.lock().unwrap().clone();
        let child = usages[usages.len() - 2];
        assert!(child.cache_read_input_tokens > 1_000);
        // After a file was read, a change since then is found.
        outside.change(|request| request.system[0] = "new release".into());
        play.run(&mut read, "go on").await.unwrap();
        assert_eq!(breaks(&play), ["section 1 of the system text changed"]);
    }

    #[tokio::test]
    async fn a_subagent_has_a_line_of_its_own() {
        let task = call("task", json!({"tasks": [{"description": "x", "prompt": "look"}]}));
        let scenes = [scene("^go$", [task, say("end")]), scene("^look$", [say("seen")])];
        let (play, _) = cached(scenes, &cache(FIVE_MINUTES)).await;
        play.ask("go").await;
        let lines: Vec<String> =
            play.ui.take().into_iter().filter(|line| line.contains("[cache]")).collect();
        let [child, main] = &lines[..] else { panic!("{lines:?}") };
        assert!(child.starts_with("main/x: notice [cache] HIT → "), "{child}");
        assert!(main.starts_with("main: notice [cache] HIT → "), "{main}");
        assert!(main.ends_with(", in 2 requests"), "{main}");
    }

    #[tokio::test]
    async fn a_rest_longer_than_the_lifetime_is_named() {
        for (lifetimes, rest, expected) in [
            (FIVE_MINUTES, 4, None),
            (FIVE_MINUTES, 7, Some("7 min ago, and entries live for 5")),
            (HOUR_PREFIX, 7, Some("7 min ago, and entries live for 5")),
            (HOUR, 59, None),
            (HOUR, 61, Some("61 min ago, and entries live for 60")),
            // How long these keep something, they do not say.
            (None, 61, None),
        ] {
            let (play, _) = cached([scene("^go", [say("ok")])], &cache(lifetimes)).await;
            let mut chat = Chat::default();
            play.run(&mut chat, "go 1").await.unwrap();
            chat.update(|sent: &mut SentRequests| sent.newest.as_mut().unwrap().at -= rest * 60);
            play.run(&mut chat, "go 2").await.unwrap();
            let expected = expected.map(|rest| format!("the last request was {rest}"));
            assert_eq!(breaks(&play), Vec::from_iter(expected));
        }
    }

    #[tokio::test]
    async fn a_server_that_caches_by_itself_says_what_it_read() {
        let scenes = [scene("^go", [steps(2), say("ok")])];
        let server = script(scenes).record(true).serve().await.unwrap();
        let url = format!("{}/v1", server.url());
        let client = Client::new(Endpoint::new(Format::OpenAi, &url, "rehearsal")).unwrap();
        let (dir, ui) = (tempfile::tempdir().unwrap(), Arc::new(Recorder::default()));
        let cache = cache(None);
        let agent = tools::all(Agent::new(client, dir.path()).ui(ui.clone()));
        let agent = install(agent.system(include_str!("../config/system.md")), cache.clone());
        agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
        let shown = ui.take();
        let line = shown.last().unwrap();
        assert!(line.starts_with("main: notice [cache] HIT → "), "{line}");
        assert!(line.ends_with(" in full, in 3 requests"), "{line}");
        let usage = cache.spent.lock().unwrap().usage;
        assert_eq!(usage.cache_creation_input_tokens, 0);
        // In steps of 128 tokens.
        assert_eq!(usage.cache_read_input_tokens % 128, 0);
        let bodies: String = server.requests().iter().map(|seen| seen.body.to_string()).collect();
        assert!(!bodies.contains("cache_control"));
    }

    /// Nothing.
    #[derive(Deserialize, JsonSchema)]
    struct Nothing {}
}
