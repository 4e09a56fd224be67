//! # s16: events for observers, and hooks that may object
//!
//! An agent that works for hours is watched by programs: a log, a chart, a pager. And everybody has
//! rules of their own: no forced push, a linter after each edit, tests before it says "done". None
//! of that belongs in the loop, and most of it is not written in Rust.
//!
//! ```text
//! emit: event --> screen
//!          \----> observers: log, statistics, slow-tool timer, webhooks    (they only look)
//!
//! turn: SessionStart, UserPromptSubmit --> the turn --> Stop -- blocked? --> once more
//! act:  PreToolUse --deny--> refused
//!          | allow, ask: a ruling that travels with the call; changed arguments
//!          v
//!       permissions further in judge the changed call --> the tool --> PostToolUse: context
//! ```
//!
//! New here: two ways to take part. An *observer* is a listener: it gets every event, must not wait
//! and can change nothing, so what is slow (a file, a network) stands behind a bounded queue that
//! drops the oldest and says so. A *hook* is a layer: a shell command that is fed JSON about what
//! is about to happen and may block it, change it, add to it, or send the model on. The protocol is
//! that of Claude Code, so its scripts work unchanged.
//! - All hooks of an event run at the same time; deny is over ask is over allow.
//! - A hook's "allow" is a value of that one call ([`HookRuling`]): it never beats a rule that
//!   denies, and never reaches what the call leads to.
//! - A guard that crashes, hangs or babbles is named, and what it guards is blocked: it **fails
//!   closed**.
//! - Hooks that came with a repository run only once you have agreed, and only while they are what
//!   you agreed to.
//!
//! Terms: **event bus**, **observer**, **hook**, **backpressure** (here: none, events are dropped
//! instead), **HMAC** (who has the key can tell that a request is ours), **fail closed**,
//! **time of check to time of use**.
//!
//! Run it: `cargo run --example s16_event_bus`
//!
//! You will see a hook block a forced push, another one find a mistake in a script that was just
//! written, the log of all that, and the statistics.
//!
//! Try, and predict first:
//! 1. Add `exit 1` as the last line of the Bash hook in `config/hooks.yaml`. What happens to the
//!    next command, and would it in a `settings.json`?
//! 2. Write `{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "echo no >&2; exit
//!    2"}]}]}}` into a file and run with `--settings FILE`. How often does the model go on?
//! 3. Put the same into `.claude/settings.json` of a folder of yours and run it there with a live
//!    model. What are you asked, and what when you change the command?
//!
//! Pitfalls: an observer that waits stops the agent; a hook that allows is not a rule; two hooks
//! that change one call do not see each other's change; what a trusted script runs in turn, such as
//! a makefile, is not covered by that trust.
//!
//! A product also has hooks that are HTTP requests or prompts to a model, hooks of plugins, and
//! settings that an administrator locks.
//!
//! Builds on s01. Motto: *Every action fires an event.*

use durable::Folder;
use lessons::{Flag, Stage, s01_loop::agent_loop};
use rungs_core::{
    Agent, Answer, Block, Chat, Context, Error, Event, Layer, Message, NextAct, NextAsk, NextSend,
    NextTurn, Question, Reply, Request, Result, ToolCall, ToolResult,
};
use rungs_hooks::{
    Form, HookEvent, HookRuling, HookSet, Hooks, Trust, Verdict, after_call, call_fields,
    hook_input,
};
use rungs_process::Environment;
use rungs_telemetry::{Destinations, EventsConfig, Statistics};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::{path::Path, process::ExitCode, time::Duration, time::Instant};

/// How often Stop hooks may send the model on in a row.
const MAX_STOP_BLOCKS: usize = 8;
/// How long the way out waits for SessionEnd hooks and for the last events.
const EXIT_TIMEOUT: Duration = Duration::from_secs(4);

/// Everything that only looks, behind [`Agent::listen`].
pub struct Observers {
    /// Where events go, and from when on a call is pointed out as slow.
    pub config: EventsConfig,
    /// The queues before the places that they go to.
    pub destinations: Destinations,
    /// What is counted.
    pub statistics: Statistics,
}

impl Observers {
    /// Hears an event. It neither waits nor changes anything.
    fn hear(&self, event: &Event, cx: &Context) {
        let send = |name, severity, summary: &str| {
            self.destinations.send(name, severity, cx.name(), summary);
        };
        let key = |call: &ToolCall| format!("{} {}", cx.name(), call.id);
        match event {
            // No word of the conversation, and no text of a file, leaves the program.
            Event::Reply(reply) => {
                let (calls, tokens) = (reply.calls().len(), reply.usage.output_tokens);
                send("reply", "info", &format!("{tokens} tokens, {calls} calls"));
            }
            Event::Call(call, summary) => {
                self.statistics.begin(key(call));
                send("call", "info", summary);
            }
            Event::Result(call, result, _) => {
                let took = self.statistics.end(&key(call), &call.name, result.is_error);
                let (summary, seconds) = (cx.summary(call), took.as_secs_f64());
                let severity = if result.is_error { "warning" } else { "info" };
                send("result", severity, &format!("{summary} ({seconds:.3} s)"));
                if seconds > self.config.slow_tool_seconds {
                    send("slow", "warning", &format!("{summary} ({seconds:.3} s)"));
                    cx.notice(format!("slow: {summary} took {seconds:.1} s"));
                }
            }
            Event::Retry { why, .. } => send("retry", "warning", why),
            Event::Notice(line) => send("notice", "info", line),
            Event::Failure(line) => send("failure", "error", line),
            _ => {}
        }
    }
}

/// The layer: hooks, and what they need to know. Clones share it.
#[derive(Clone)]
pub struct EventHooks {
    hooks: Arc<HookSet>,
    observers: Arc<Observers>,
    /// The id of the person's conversation, and the environment of its commands.
    session: Arc<Mutex<(String, Environment)>>,
}

/// For which conversation of this agent SessionStart hooks ran last, and what came of it.
#[derive(Default, Clone)]
struct Session {
    chat: String,
    /// What the hooks have added.
    context: String,
    /// The summary that the conversation begins with, once it was compacted.
    summary: String,
}

/// Why hooks want the turn to end, if they do: a value of the turn.
#[derive(Default)]
struct TurnEnd(Mutex<Option<String>>);

/// Asks the person whether hooks of a repository may run.
async fn ask_trust(text: String, cx: &Context) -> Trust {
    let question = Question::new(text).choice("in this session");
    match cx.choose(question.choice("always, while they are exactly these")).await {
        Answer::Choice(0) => Trust::Session,
        Answer::Choice(1) => Trust::Always,
        _ => Trust::No,
    }
}

/// The newest text in a conversation that the part `origin` of the harness has inserted.
fn newest(chat: &Chat, origin: &str) -> String {
    let of = |block: &&Block| block.origin().is_some_and(|known| known.name == origin);
    chat.blocks().filter(of).filter_map(Block::as_text).last().unwrap_or_default().into()
}

impl EventHooks {
    /// These hooks, and those of the folder in which the agent works if the person trusts them:
    /// what is trusted for good stands in `trust`.
    pub async fn new(own: Hooks, agent: &Agent, trust: &Folder, observers: Arc<Observers>) -> Self {
        let cx = agent.context();
        let ask = |text| -> _ { Box::pin(ask_trust(text, &cx)) as _ };
        let hooks = Arc::new(HookSet::open(own, cx.cwd(), trust, &ask).await);
        hooks.left_out.iter().for_each(|line| cx.notice(line));
        EventHooks { hooks, observers, session: Arc::default() }
    }

    /// What hooks of an event read.
    fn input(&self, event: HookEvent, fields: Value, cx: &Context) -> Value {
        let agent = cx.is_child().then(|| cx.name());
        hook_input(event, &self.session.lock().unwrap().0, cx.cwd(), agent, fields)
    }

    /// Runs the hooks of an event; `tool` is the name of the tool, as it is here.
    async fn fire(&self, event: HookEvent, tool: &str, fields: Value, cx: &Context) -> Verdict {
        let (input, begun) = (self.input(event, fields, cx), Instant::now());
        let ask = |text| -> _ { Box::pin(ask_trust(text, cx)) as _ };
        let ran = self.hooks.run(&input, tool, cx.command_environment(), &ask).await;
        let Some(verdict) = ran else { return Verdict::default() };
        let (name, denied) = (format!("{event} hooks"), verdict.denied().is_some());
        self.observers.statistics.count(&name, denied, begun.elapsed());
        let severity = if denied { "warning" } else { "info" };
        self.observers.destinations.send("hook", severity, cx.name(), &name);
        verdict.messages.iter().for_each(|line| cx.notice(line));
        if let (Some(why), Some(end)) = (&verdict.stop, cx.value::<TurnEnd>()) {
            *end.0.lock().unwrap() = Some(why.clone());
        }
        verdict
    }

    /// SessionStart, when another conversation has begun or this one was compacted. What its hooks
    /// say stays before the model as long as the conversation lasts.
    async fn begin(&self, chat: &mut Chat, cx: &Context) {
        let session = cx.resource::<Mutex<Session>>();
        let (mut known, summary) = (session.lock().unwrap().clone(), newest(chat, "summary"));
        let is_new = known.chat != chat.id();
        if is_new || summary != known.summary {
            let source = match (is_new, known.chat.as_str(), chat.messages().len()) {
                (false, ..) => "compact",
                (_, _, 2..) => "resume",
                (_, "", _) => "startup",
                _ => "clear",
            };
            let mut event = HookEvent::SessionStart;
            if !is_new {
                let fields = json!({"trigger": "auto", "compact_summary": summary});
                self.fire(HookEvent::PostCompact, "", fields, cx).await;
            } else if cx.is_child() {
                event = HookEvent::SubagentStart;
            } else {
                let environment = cx.command_environment();
                if !known.chat.is_empty() {
                    self.hooks.end(&known.chat, source, environment).await;
                }
                *self.session.lock().unwrap() = (chat.id().into(), environment.clone());
            }
            let verdict = self.fire(event, "", json!({"source": source}), cx).await;
            known.context = verdict.context.join("\n");
            (known.chat, known.summary) = (chat.id().into(), summary);
            *session.lock().unwrap() = known.clone();
        }
        if newest(chat, "session_hook") != known.context {
            chat.push(Message::inserted("session_hook", known.context));
        }
    }
}

impl Layer for EventHooks {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let cx = &cx.with(TurnEnd::default());
        self.begin(chat, cx).await;
        // What a subagent reads nobody typed, and its end is not the end.
        let stop = if cx.is_child() { HookEvent::SubagentStop } else { HookEvent::Stop };
        let prompt: Vec<&str> = next.prompt().typed().filter(|_| !cx.is_child()).collect();
        if !prompt.is_empty() {
            let fields = json!({"prompt": prompt.join("\n")});
            let verdict = self.fire(HookEvent::UserPromptSubmit, "", fields, cx).await;
            if let Some(why) = verdict.denied().or(verdict.stop.as_deref()) {
                return Err(Error::Blocked(why.into()));
            }
            chat.push(Message::inserted("hook", verdict.context.join("\n")));
        }
        let mut reply = next.run(chat, cx).await?;
        for round in 0..MAX_STOP_BLOCKS {
            let last = reply.text();
            let fields = json!({"stop_hook_active": round > 0, "last_assistant_message": last});
            let verdict = self.fire(stop, "", fields, cx).await;
            let (Some(why), None) = (verdict.denied(), &verdict.stop) else { return Ok(reply) };
            chat.push(Message::inserted("hook", format!("A hook wants you to go on: {why}")));
            reply = next.run(chat, cx).await?;
        }
        cx.notice(format!("{stop} hooks have blocked {MAX_STOP_BLOCKS} times; the turn ends"));
        Ok(reply)
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let end = cx.value::<TurnEnd>().and_then(|end| end.0.lock().unwrap().take());
        if let Some(why) = end {
            return Err(Error::other(format!("a hook ends the turn: {why}")));
        }
        self.begin(chat, cx).await;
        next.run(chat, cx).await
    }

    /// A summary is a request beside the conversation: without it nothing is compacted.
    async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        let last = request.messages.last().and_then(|message| message.content.last());
        if last.and_then(Block::origin).is_some_and(|o| o.name == "summary_request") {
            // Commands such as `:compact` run outside of turns.
            let trigger = if cx.value::<TurnEnd>().is_some() { "auto" } else { "manual" };
            let fields = json!({"trigger": trigger, "custom_instructions": ""});
            if let Some(why) = self.fire(HookEvent::PreCompact, "", fields, cx).await.denied() {
                return Err(Error::other(format!("a hook blocks it: {why}")));
            }
        }
        next.run(request, cx).await
    }

    async fn act(&self, mut call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let tool = call.name.clone();
        let about = |call: &ToolCall| call_fields(&tool, &call.id, &call.input, cx.cwd());
        let before = self.fire(HookEvent::PreToolUse, &tool, about(&call), cx).await;
        if let Some(why) = before.denied().or(before.stop.as_deref()) {
            return call.refuse(format!("not run: a hook blocks it: {why}"));
        }
        call.input = before.updated_input.unwrap_or(call.input);
        let (mut fields, exact) = (about(&call), (&*call.id, &*tool, &call.input));
        let asked = self.input(HookEvent::PermissionRequest, fields.clone(), cx);
        let (hooks, environment) = (self.hooks.clone(), cx.command_environment());
        let ruling = HookRuling::new(exact, before.decision, hooks, asked, environment);
        let begun = Instant::now();
        let mut result = next.run(call, &cx.with(ruling)).await;
        fields["duration_ms"] = json!(begun.elapsed().as_millis() as u64);
        fields["is_interrupt"] = cx.cancel().is_cancelled().into();
        let (event, fields) = after_call(fields, &result.output.text(), result.is_error);
        let after = self.fire(event, &tool, fields, cx).await;
        result.output = after.updated_output.clone().map_or(result.output, Into::into);
        let said = before.context.iter().chain(&after.context).map(String::as_str);
        let said: Vec<&str> = said.chain(after.denied()).collect();
        if !said.is_empty() {
            result.output.0.push(Block::inserted("hook", format!("\n{}", said.join("\n"))));
        }
        result
    }
}

/// Adds the mechanism. `say` shows a line once the agent has ended.
pub fn install(agent: Agent, hooks: EventHooks, say: impl Fn(&str) + Send + 'static) -> Agent {
    let (observers, shown, last) = (hooks.observers.clone(), hooks.clone(), hooks.clone());
    let agent = agent.listen(move |event, cx| observers.hear(event, cx)).wrap(hooks);
    let help = "which hooks there are, how often what ran, and how long";
    let agent = agent.command("events", help, async move |_, _, cx| {
        cx.notice(format!("{}{}", shown.hooks, shown.observers.statistics));
        Ok(())
    });
    agent.on_exit("sending the last events", EXIT_TIMEOUT, async move || {
        let (session, environment) = last.session.lock().unwrap().clone();
        last.hooks.end(&session, "other", &environment).await.iter().for_each(|line| say(line));
        last.observers.destinations.close().await;
        say(&last.observers.statistics.to_string());
    })
}

async fn build(stage: &Stage) -> Result<Agent> {
    let (agent, root) = (stage.agent(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let config = EventsConfig::read(&root.join("config/events.yaml")).map_err(Error::config)?;
    let own = Hooks::read(&root.join("config/hooks.yaml"), Form::Own);
    let mut hooks = own.map_err(Error::config)?;
    if let Some(file) = stage.flags.get("settings").map(Path::new) {
        hooks.extend(Hooks::read(file, Form::Settings).map_err(Error::config)?);
    }
    let (state, screen) = (stage.state_folder()?, stage.screen.clone());
    let log = || state.open_file("events.jsonl", u64::MAX);
    let say = move |line: &str| screen.say(line);
    let opened = Destinations::open(&config, log, |name| stage.setting(name), say.clone());
    let (destinations, statistics) = (opened.map_err(Error::config)?, Statistics::default());
    let observers = Arc::new(Observers { config, destinations, statistics });
    // Not in the folder of the agent: a repository could bring its own trust along.
    let trust = Folder::open(root, ".rungs/trust").map_err(Error::other)?;
    Ok(install(agent.clone(), EventHooks::new(hooks, &agent, &trust, observers).await, say))
}

/// The agent of lesson one, with an event bus.
pub fn main() -> ExitCode {
    const HELP: &str = "runs the hooks of a settings.json of Claude Code too";
    let flags = &[Flag { name: "settings", value: Some("FILE"), help: HELP }];
    lessons::run_with(flags, "s16_event_bus", build, agent_loop)
}
