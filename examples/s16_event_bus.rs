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
//! - SessionStart hooks run while the program starts; the first turn waits for what they say.
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
//! Builds on s13. Motto: *Every action fires an event.*

use durable::Folder;
use lessons::{Stage, hook_files, s01_loop::agent_loop, s13_streaming};
use rungs_core::{
    Agent, Block, Chat, Context, Error, Event, Layer, Message, NextAct, NextAsk, NextSend,
    NextTurn, Reply, Request, Result, ToolCall, ToolResult,
};
use rungs_hooks::{
    HookEvent, HookRuling, HookSet, Hooks, PromptHooks, Verdict, after_call, call_fields,
    hook_input,
};
use rungs_process::Environment;
use rungs_telemetry::{Destinations, EventsConfig, Statistics};
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode, sync::Arc, sync::Mutex, time::Duration, time::Instant};

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
                send("reply", "info", &format!("{} tokens", reply.usage.output_tokens));
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
        let ask = |text| -> _ { Box::pin(hook_files::ask_trust(text, &cx)) as _ };
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
        let ask = |text| -> _ { Box::pin(hook_files::ask_trust(text, cx)) as _ };
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

    /// UserPromptSubmit, about what the person typed.
    async fn submit(self, prompt: String, cx: Context) -> Verdict {
        self.fire(HookEvent::UserPromptSubmit, "", json!({"prompt": prompt}), &cx).await
    }

    /// Lets the hooks of the first SessionStart run while the rest of the program starts. The first
    /// turn waits for them.
    fn start(&self, chat: &Chat, environment: &Environment, cx: &Context) {
        *self.session.lock().unwrap() = (chat.id().into(), environment.clone());
        let why = if chat.messages().len() < 2 { "startup" } else { "resume" };
        let input = self.input(HookEvent::SessionStart, json!({"source": why}), cx);
        self.hooks.begin(input, environment);
    }

    /// SessionStart, when another conversation has begun or this one was compacted. What its hooks
    /// say stays before the model as long as the conversation lasts.
    async fn begin(&self, chat: &mut Chat, cx: &Context) {
        let session = cx.resource::<Mutex<Session>>();
        let (mut known, summary) = (session.lock().unwrap().clone(), newest(chat, "summary"));
        let is_new = known.chat != chat.id();
        if is_new || summary != known.summary {
            let started = self.session.lock().unwrap().0.clone();
            let before = if cx.is_child() { &known.chat } else { &started };
            // It is this one itself that has been started with the program.
            let before = if before == chat.id() { "" } else { before };
            let source = match (is_new, before, chat.messages().len()) {
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
                self.hooks.end(before, source, cx.command_environment()).await;
                *self.session.lock().unwrap() =
                    (chat.id().into(), cx.command_environment().clone());
            }
            let said = self.fire(event, "", json!({"source": source}), cx).await.context;
            known = Session { chat: chat.id().into(), context: said.join("\n"), summary };
            *session.lock().unwrap() = known.clone();
        }
        if newest(chat, "session_hook") != known.context {
            chat.push(Message::inserted("session_hook", known.context));
        }
    }
}

impl Layer for EventHooks {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let cx = cx.with(TurnEnd::default());
        let (hooks, about) = (self.clone(), cx.clone());
        let submit = move |prompt| hooks.clone().submit(prompt, about.clone());
        let cx = &cx.with(PromptHooks::new(submit));
        self.begin(chat, cx).await;
        // What a subagent reads nobody typed, and its end is not the end.
        let stop = if cx.is_child() { HookEvent::SubagentStop } else { HookEvent::Stop };
        let prompt: Vec<&str> = next.prompt().typed().filter(|_| !cx.is_child()).collect();
        if !prompt.is_empty() {
            let verdict = self.clone().submit(prompt.join("\n"), cx.clone()).await;
            chat.push(Message::inserted("hook", verdict.added().map_err(Error::Blocked)?));
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
        if let Some(why) = cx.value::<TurnEnd>().and_then(|end| end.0.lock().unwrap().take()) {
            return Err(Error::other(format!("a hook ends the turn: {why}")));
        }
        self.begin(chat, cx).await;
        next.run(chat, cx).await
    }

    /// A summary is a request beside the conversation: without it nothing is compacted.
    async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        let last = request.messages.last().and_then(|message| message.content.last());
        if last.and_then(Block::origin).is_some_and(|o| o.name == "summarise") {
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
    let agent =
        agent.command("events", "which hooks there are, what ran", async move |_, _, cx| {
            cx.notice(format!("{}{}", shown.hooks, shown.observers.statistics));
            Ok(())
        });
    agent.on_exit("sending the last events", EXIT_TIMEOUT, async move || {
        let (session, environment) = last.session.lock().unwrap().clone();
        last.hooks.end(&session, "other", &environment).await.iter().for_each(|line| say(line));
        let Observers { destinations, statistics, .. } = &*last.observers;
        destinations.send("statistics", "info", "main", &statistics.to_string());
        destinations.close().await;
    })
}

/// The hooks and observers that `config` and the command line name, for this agent.
///
/// # Errors
/// Names the file that is wrong, and the line where it is known.
pub async fn event_hooks(stage: &Stage, agent: &Agent) -> Result<EventHooks> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = EventsConfig::read(&root.join("config/events.yaml")).map_err(Error::config)?;
    let (state, screen) = (stage.state_folder()?, stage.screen.clone());
    let log = || state.open_file("events.jsonl", u64::MAX);
    let say = move |line: &str| screen.say(line);
    let opened = Destinations::open(&config, log, |name| stage.setting(name), say);
    let (destinations, statistics) = (opened.map_err(Error::config)?, Statistics::default());
    let observers = Arc::new(Observers { config, destinations, statistics });
    // Not in the folder of the agent: a repository could bring its own trust along.
    let trust = Folder::open(root, ".rungs/trust").map_err(Error::other)?;
    let hooks = EventHooks::new(hook_files::read(stage)?, agent, &trust, observers).await;
    if let Some(environment) = &stage.environment {
        hooks.start(&stage.chat.lock().unwrap(), environment, &agent.context());
    }
    Ok(hooks)
}

async fn build(stage: &Stage) -> Result<Agent> {
    let (agent, screen) = (s13_streaming::install(stage.agent()), stage.screen.clone());
    let hooks = event_hooks(stage, &agent).await?;
    Ok(install(agent, hooks, move |line| screen.say(line)))
}

/// The agent of lesson 13, with an event bus.
pub fn main() -> ExitCode {
    lessons::run_with(&[hook_files::SETTINGS], "s16_event_bus", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent, s06_context_compact,
        testing::{Play, inserted, play, results},
    };
    use rehearsal::{Scene, call, calls, say, say_results, scene};
    use rungs_core::{Answer, Recorder, tools};
    use rungs_hooks::{Decision, Form, Trust};
    use rungs_process::testing::{alive, gone, marker, until};
    use rungs_telemetry::WebhookConfig;
    use std::{fs, io::Write, path::PathBuf};

    const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/hooks/tests/scripts");

    /// One command on one event, in the form of `settings.json`.
    fn hook(event: &str, matcher: &str, command: &str) -> (String, Value) {
        let hook = json!({"type": "command", "command": command});
        (event.into(), json!({"matcher": matcher, "hooks": [hook]}))
    }

    fn settings(hooks: impl IntoIterator<Item = (String, Value)>) -> Value {
        let mut settings = json!({"hooks": {}});
        for (event, group) in hooks {
            let groups = &mut settings["hooks"][event];
            *groups = groups.take();
            match groups.as_array_mut() {
                Some(groups) => groups.push(group),
                None => *groups = json!([group]),
            }
        }
        settings
    }

    fn observers(log: Option<&Path>) -> Arc<Observers> {
        let webhooks: Vec<WebhookConfig> = vec![];
        let (log_is_on, file) = (log.is_some(), PathBuf::new());
        let config = EventsConfig { log: log_is_on, slow_tool_seconds: 1.0, webhooks, file };
        let log = || fs::File::create_new(log.unwrap());
        let destinations = Destinations::open(&config, log, |_| None, |_| {}).unwrap();
        Arc::new(Observers { config, destinations, statistics: Statistics::default() })
    }

    fn store(dir: &Path) -> Folder {
        Folder::open(dir, "store").unwrap()
    }

    /// The person's own hooks, given as `settings.json`.
    async fn own(play: &Play, settings: Value) -> EventHooks {
        let hooks = Hooks::parse(Path::new("f"), &settings.to_string(), Form::Settings).unwrap();
        assert_eq!(hooks.left_out, Vec::<String>::new());
        EventHooks::new(hooks, &play.agent, &store(play.dir.path()), observers(None)).await
    }

    async fn hook_up(mut play: Play, settings: Value) -> Play {
        let hooks = own(&play, settings).await;
        play.agent = install(play.agent.clone(), hooks, |_| {});
        play
    }

    async fn hooked(
        scenes: impl IntoIterator<Item = Scene>,
        hooks: impl IntoIterator<Item = (String, Value)>,
    ) -> Play {
        hook_up(play(scenes, |agent, _| tools::all(agent)).await, settings(hooks)).await
    }

    fn bash(command: &str) -> (&'static str, Value) {
        ("bash", json!({ "command": command }))
    }

    fn lines(file: PathBuf) -> Vec<String> {
        fs::read_to_string(file).unwrap_or_default().lines().map(String::from).collect()
    }

    /// All results of a conversation.
    fn all_results(chat: &Chat) -> Vec<String> {
        chat.messages().iter().flat_map(|message| results(message)).collect()
    }

    /// Whether the interpreters are there that the scripts want, which are no part of Rust.
    fn has_interpreters() -> bool {
        let has = |name: &str| {
            let type_of = format!("type {name} >/dev/null 2>&1");
            let found = std::process::Command::new("bash").args(["-c", &type_of]).status();
            found.unwrap().success()
        };
        let missing: Vec<&str> = ["jq", "python3"].into_iter().filter(|name| !has(name)).collect();
        assert!(missing.is_empty() || std::env::var("CI").as_deref() != Ok("true"), "{missing:?}");
        if !missing.is_empty() {
            let line = format!("skipped: scripts for Claude Code, since {missing:?} is missing");
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        missing.is_empty()
    }

    #[tokio::test]
    async fn scripts_written_for_claude_code_work_unchanged() {
        if !has_interpreters() {
            return;
        }
        let script = |event: &str, matcher: &str, name: &str| {
            hook(event, matcher, &format!("\"$CLAUDE_PROJECT_DIR\"/.claude/hooks/{name}"))
        };
        let hooks = [
            script("PreToolUse", "Bash", "block-rm.sh"),
            script("PreToolUse", "Bash", "validate_command.py"),
            script("PreToolUse", "Edit|Write", "protect-files.sh"),
            script("PreToolUse", "Read", "allow_docs.py"),
            script("PreToolUse", "Bash", "old_form.py"),
            script("PreToolUse", "Bash", "rewrite_command.py"),
            script("UserPromptSubmit", "", "prompt_guard.py"),
            script("SessionStart", "startup|resume", "session_context.sh"),
            script("PostToolUse", "Write|Edit", "lint.sh"),
            script("PostToolUse", "Bash", "redact_output.py"),
            script("PostToolUseFailure", "*", "failure_hint.sh"),
            script("Stop", "", "run_tests_first.py"),
            script("SessionStart", "", "log_event.sh"),
            script("SubagentStart", "", "log_event.sh"),
            script("SubagentStop", "", "log_event.sh"),
        ];
        let many = calls([
            bash("rm -rf /tmp/x"),
            bash("find . -name x"),
            bash("sudo ls"),
            bash("echo npm install"),
            bash("echo key-0123abcd"),
            ("write", json!({"file_path": ".env.local", "content": "A=1\n"})),
            ("write", json!({"file_path": "tabs.txt", "content": "a\tb\n"})),
            ("read", json!({"file_path": "missing.txt"})),
            ("read", json!({"file_path": "tabs.txt"})),
        ]);
        let job = json!({"tasks": [{"description": "look", "prompt": "look around"}]});
        let scenes = [
            scene("^go$", [many, call("task", job), say("done")]),
            scene("^look around$", [say("nothing")]),
            scene("^A hook wants you to go on", [say("tests pass")]),
        ];
        let play = play(scenes, |agent, dir| {
            fs::create_dir_all(dir.join(".claude")).unwrap();
            std::os::unix::fs::symlink(SCRIPTS, dir.join(".claude/hooks")).unwrap();
            s04_subagent::install(tools::all(agent))
        })
        .await;
        let play = hook_up(play, settings(hooks)).await;
        let mut chat = Chat::default();
        let blocked = play.run(&mut chat, "my password: x").await.unwrap_err().to_string();
        assert_eq!(blocked, "the prompt was blocked: the prompt holds a secret; say it without");
        assert_eq!(play.run(&mut chat, "go").await.unwrap().text(), "tests pass");
        let blocked = |why: &str| format!("not run: a hook blocks it: {why}");
        let results = all_results(&chat);
        let expected = [
            blocked("recursive deletion is not allowed here"),
            blocked("- use glob instead of find -name"),
            blocked("no sudo"),
            "pnpm install\n\nthis project uses pnpm".into(),
            "key-[redacted]\n".into(),
            blocked("Blocked: .env.local is protected"),
            "created tabs.txt: 1 line\ntabs.txt has tabs; use spaces".into(),
            "missing.txt: no such file\nlist the folder first".into(),
        ];
        assert_eq!(results[..8], expected);
        assert!(results[8].contains("a\tb"), "{}", results[8]);
        let folder = play.dir.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(inserted(&chat, "session_hook"), [format!("session startup in {folder}")]);
        let expected = [
            "the release is frozen until Friday",
            "A hook wants you to go on: run the tests before you stop",
        ];
        assert_eq!(inserted(&chat, "hook")[..1], expected[..1]);
        assert_eq!(inserted(&chat, "hook").last().unwrap(), expected[1]);
        let log = lines(play.dir.path().join("events.log"));
        let expected = [
            "SessionStart startup -",
            "SubagentStart startup main/look",
            "SubagentStop look main/look",
        ];
        assert_eq!(log, expected);
    }

    /// Every event there is.
    const EVENTS: [&str; 13] = [
        "SessionStart",
        "SessionEnd",
        "UserPromptSubmit",
        "PreToolUse",
        "PostToolUse",
        "PostToolUseFailure",
        "PermissionRequest",
        "Stop",
        "SubagentStart",
        "SubagentStop",
        "PreCompact",
        "PostCompact",
        "Notification",
    ];

    /// A folder whose settings run `echo EVENT >> ran` on every event.
    fn hostile(dir: &Path) {
        fs::create_dir_all(dir.join(".claude/hooks")).unwrap();
        let hooks = EVENTS.map(|event| hook(event, "", &format!("bash x.sh {event}")));
        let local = EVENTS.map(|event| hook(event, "", &format!("echo local {event} >> ran")));
        fs::write(dir.join("x.sh"), "echo $1 >> ran\n").unwrap();
        fs::write(dir.join(".claude/settings.json"), settings(hooks).to_string()).unwrap();
        fs::write(dir.join(".claude/settings.local.json"), settings(local).to_string()).unwrap();
    }

    async fn with_repository(scenes: Vec<Scene>, answers: Vec<Answer>, dir: &Path) -> Play {
        let mut play = play(scenes, |agent, _| tools::all(agent)).await;
        play.ui = Recorder::answering(answers);
        play.agent = play.agent.clone().ui(play.ui.clone()).in_dir(dir);
        let trust = store(play.dir.path());
        let none = Hooks::default();
        let hooks = EventHooks::new(none, &play.agent, &trust, observers(None)).await;
        play.agent = install(play.agent.clone(), hooks, |_| {});
        play
    }

    #[tokio::test]
    async fn a_hostile_repository_starts_nothing_without_a_question() {
        let dir = tempfile::tempdir().unwrap();
        hostile(dir.path());
        // It brings its own trust along, too.
        let repository = rungs_hooks::Repository::find(dir.path()).unwrap();
        let hash = rungs_hooks::Fingerprint::of(&repository.hooks, dir.path()).unwrap().hash;
        for place in ["store", ".rungs/trust", ".rungs/s16_event_bus"] {
            fs::create_dir_all(dir.path().join(place)).unwrap();
            fs::write(dir.path().join(place).join("trusted_hooks"), &hash).unwrap();
        }
        let go = vec![scene("^go$", [calls([bash("true"), bash("false")]), say("done")])];
        let play = with_repository(go, vec![], dir.path()).await;
        assert_eq!(play.ask("go").await.0, "done");
        play.agent.exit().await;
        assert!(!dir.path().join("ran").exists());
        let shown = play.ui.take();
        let asked: Vec<&String> = shown.iter().filter(|line| line.contains(": asks ")).collect();
        assert_eq!(asked.len(), 1, "{shown:?}");
        for event in EVENTS {
            for command in ["bash x.sh", "echo local"] {
                assert!(asked[0].contains(&format!("\n  {event}: {command} {event}")), "{asked:?}");
            }
        }
        let said = "main: notice the repository's hooks do not run: you have not agreed to them";
        assert!(shown.iter().any(|line| line == said), "{shown:?}");
    }

    #[tokio::test]
    async fn what_was_trusted_for_good_runs_until_it_changes() {
        let (dir, trust) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        hostile(dir.path());
        let trust = store(trust.path());
        let asked = Mutex::new(vec![]);
        let open = async |answer: Trust| {
            let ask = |text: String| -> _ {
                asked.lock().unwrap().push(text);
                Box::pin(std::future::ready(answer)) as _
            };
            HookSet::open(Hooks::default(), dir.path(), &trust, &ask).await.hooks().count()
        };
        assert_eq!([open(Trust::No).await, open(Trust::Session).await], [0, 26]);
        assert_eq!([open(Trust::Always).await, open(Trust::No).await], [26, 26]);
        assert_eq!(asked.lock().unwrap().len(), 3);
        fs::write(dir.path().join("x.sh"), "echo other >> ran\n").unwrap();
        assert_eq!(open(Trust::No).await, 0);
    }

    #[tokio::test]
    async fn a_guard_that_the_model_edits_blocks_until_it_is_trusted_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".claude")).unwrap();
        let guard = settings([hook("PreToolUse", "Bash", "bash guard.sh")]).to_string();
        fs::write(dir.path().join(".claude/settings.json"), guard).unwrap();
        fs::write(dir.path().join("guard.sh"), "grep -q secret && exit 2; exit 0\n").unwrap();
        let read = ("read", json!({"file_path": "guard.sh"}));
        let weaken = ("write", json!({"file_path": "guard.sh", "content": "touch weak\n"}));
        let run = || calls([bash("echo secret")]);
        let go = [run(), calls([read]), calls([weaken]), run(), run(), say("done")];
        let yes = Answer::Choice(0);
        let answers = vec![yes.clone(), Answer::No(String::new()), yes];
        let play = with_repository(vec![scene("^go$", go)], answers, dir.path()).await;
        let (_, chat) = play.ask("go").await;
        let results = all_results(&chat);
        let blocked = "not run: a hook blocks it: ";
        assert_eq!(results[0], format!("{blocked}no reason given"));
        let changed = "the repository's hooks have changed since they were trusted";
        assert_eq!(results[3..], [format!("{blocked}{changed}"), "secret\n".into()]);
        assert!(dir.path().join("weak").exists());
    }

    /// Stands for permissions: they deny `forbidden`, go by the hooks' ruling, and else ask, which
    /// nobody answers.
    struct Rules;

    impl Layer for Rules {
        async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
            if call.input.to_string().contains("forbidden") {
                return call.refuse("a rule denies it");
            }
            let (ruling, free) = (cx.value::<HookRuling>(), call.name != "bash");
            let decided = ruling.as_ref().and_then(|r| r.on(&call.id, &call.name, &call.input));
            if free || matches!(decided, Some((Decision::Allow, _))) {
                return next.run(call, cx).await;
            }
            if let Some(ruling) = ruling {
                let asked = ruling.ask(&call.id, &call.name, &call.input, "may it?").await;
                match asked.decision {
                    Some((Decision::Allow, _)) => return next.run(call, cx).await,
                    Some((_, why)) => return call.refuse(format!("refused: {why}")),
                    None => {}
                }
            }
            call.refuse("asked, and nobody was there")
        }
    }

    /// A hook that prints this decision about a call.
    fn decides(decision: &str, more: &Value) -> String {
        let mut specific = json!({"hookEventName": "PreToolUse", "permissionDecision": decision});
        for (key, value) in more.as_object().into_iter().flatten() {
            specific[key] = value.clone();
        }
        format!("echo '{}'", json!({"hookSpecificOutput": specific}))
    }

    async fn judged(hooks: Vec<(String, Value)>, command: &str) -> String {
        let scenes = [scene("^go$", [calls([bash(command)]), say_results()])];
        let play = play(scenes, |agent, _| tools::all(agent).wrap(Rules)).await;
        hook_up(play, settings(hooks)).await.ask("go").await.0
    }

    #[tokio::test]
    async fn an_allow_saves_the_question_and_never_beats_a_deny() {
        let pre = |decision: &str| hook("PreToolUse", "Bash", &decides(decision, &json!({})));
        let changed = json!({"updatedInput": {"command": "echo forbidden"}});
        let change = hook("PreToolUse", "", &decides("allow", &changed));
        for (hooks, command, expected) in [
            (vec![], "echo 1", "asked, and nobody was there"),
            (vec![pre("allow")], "echo 1", "1"),
            (vec![pre("allow")], "echo forbidden", "a rule denies it"),
            (vec![pre("allow"), pre("ask")], "echo 1", "asked, and nobody was there"),
            (
                vec![pre("allow"), pre("deny")],
                "echo 1",
                "not run: a hook blocks it: no reason given",
            ),
            // What a hook has changed is judged again.
            (vec![change], "echo 1", "a rule denies it"),
        ] {
            assert_eq!(judged(hooks, command).await, expected, "{command}");
        }
    }

    #[tokio::test]
    async fn hooks_answer_the_question_about_a_call() {
        if !has_interpreters() {
            return;
        }
        let hooks = || {
            let notify = format!("{SCRIPTS}/log_event.sh; cp events.log /dev/stderr; exit 1");
            let ask = hook("PermissionRequest", "Bash", &format!("{SCRIPTS}/permission.py"));
            vec![ask, hook("Notification", "permission_prompt", &notify)]
        };
        for (command, expected) in [
            ("cargo test --help >/dev/null; echo ran", "ran"),
            ("echo deploy", "refused: deployments are made by people"),
            ("echo other", "asked, and nobody was there"),
        ] {
            assert_eq!(judged(hooks(), command).await, expected);
        }
    }

    #[tokio::test]
    async fn an_allow_does_not_reach_what_the_call_leads_to_and_hooks_run_there_too() {
        let job = json!({"tasks": [{"description": "x", "prompt": "look"}]});
        let go = [call("task", job), say_results()];
        let look = [calls([bash("echo 1"), bash("echo 2")]), say_results()];
        let scenes = [scene("^go$", go), scene("^look$", look)];
        let play = play(scenes, |agent, _| s04_subagent::install(tools::all(agent)).wrap(Rules));
        let second = "grep -q '\"echo 2\"' && exit 2; exit 0";
        let hooks = [
            hook("PreToolUse", "Agent", &decides("allow", &json!({}))),
            hook("PreToolUse", "Bash", second),
        ];
        let play = hook_up(play.await, settings(hooks)).await;
        let said = "# x\nasked, and nobody was there | not run: a hook blocks it: no reason given";
        assert_eq!(play.ask("go").await.0, said);
    }

    #[tokio::test]
    async fn a_guard_that_crashes_is_named_and_blocks() {
        let hooks = [hook("PreToolUse", "", "kill -9 $$")];
        let play =
            hooked([scene("^go$", [calls([bash("touch made")]), say_results()])], hooks).await;
        let why = "PreToolUse hook `kill -9 $$` was killed by signal 9";
        assert_eq!(play.ask("go").await.0, format!("not run: a hook blocks it: {why}"));
        assert!(!play.dir.path().join("made").exists());
        assert!(play.ui.take().contains(&format!("main: notice {why}")));
    }

    #[tokio::test]
    async fn stop_hooks_send_the_model_on_but_not_for_ever() {
        let hooks = [hook("Stop", "", "echo more >&2; exit 2")];
        let on = scene("^A hook wants you to go on: more$", [say("more done")]);
        let play = hooked([scene("^go$", [say("done")]), on], hooks).await;
        assert_eq!(play.ask("go").await.0, "more done");
        assert_eq!(play.bodies().len(), 9);
        let notice = "main: notice Stop hooks have blocked 8 times; the turn ends";
        assert!(play.ui.take().iter().any(|line| line == notice));
    }

    #[tokio::test]
    async fn a_hook_can_end_the_turn() {
        let ends = "echo '{\"continue\": false, \"stopReason\": \"it is enough\"}'";
        let hooks = [hook("PostToolUse", "Bash", ends)];
        let go = scene("^go$", [calls([bash("echo 1"), bash("echo 2")]), say("never")]);
        let play = hooked([go, scene("^again$", [say("fine")])], hooks).await;
        let mut chat = Chat::default();
        let error = play.run(&mut chat, "go").await.unwrap_err().to_string();
        assert_eq!(error, "a hook ends the turn: it is enough");
        assert_eq!(all_results(&chat), ["1\n", "2\n"]);
        assert_eq!(play.run(&mut chat, "again").await.unwrap().text(), "fine");
    }

    #[tokio::test]
    async fn compaction_asks_hooks_first_and_the_session_context_comes_back() {
        let log = "cat >> log";
        let keep = "test -e keep && { echo 'it is kept' >&2; exit 2; }; exit 0";
        let hooks = [
            hook("SessionStart", "", "echo remember"),
            hook("PreCompact", "manual", keep),
            hook("PreCompact", "", log),
            hook("PostCompact", "", log),
            hook("SessionStart", "compact", log),
        ];
        let words = "word ".repeat(1300);
        let scenes = [
            scene("^Summarise", [say("short")]),
            scene("^first", [say(words)]),
            scene("^(second|third)", [say("ok")]),
        ];
        let play = play(scenes, |agent, dir| {
            s06_context_compact::install(tools::all(agent), 100_000, store(dir))
        });
        let play = hook_up(play.await, settings(hooks)).await;
        let mut chat = Chat::default();
        play.run(&mut chat, "first").await.unwrap();
        play.run(&mut chat, "second").await.unwrap();
        fs::write(play.dir.path().join("keep"), "").unwrap();
        let compact =
            async |chat: &mut Chat| play.agent.run_command("compact", "", chat).await.unwrap();
        let kept = compact(&mut chat).await.unwrap_err().to_string();
        let why = "no room was made: there is no summary: a hook blocks it: it is kept";
        assert_eq!(kept, why);
        fs::remove_file(play.dir.path().join("keep")).unwrap();
        compact(&mut chat).await.unwrap();
        assert_eq!(inserted(&chat, "session_hook"), Vec::<String>::new());
        play.run(&mut chat, "third").await.unwrap();
        assert_eq!(inserted(&chat, "session_hook"), ["remember"]);
        let log = lines(play.dir.path().join("log"));
        let events: Vec<(Value, Value)> = log
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|json| (json["hook_event_name"].clone(), json["trigger"].clone()))
            .collect();
        let expected = [
            (json!("PreCompact"), json!("manual")),
            (json!("PreCompact"), json!("manual")),
            (json!("PostCompact"), json!("auto")),
            (json!("SessionStart"), Value::Null),
        ];
        assert_eq!(events, expected);
    }

    /// Hooks that tell of sessions, and what they have told: ids, and why.
    fn tellers() -> Value {
        let tell = |event| hook(event, "", "cat >> log; echo begun");
        settings([tell("SessionStart"), tell("SessionEnd")])
    }

    fn told(play: &Play) -> Vec<[String; 2]> {
        let read = |line: String| {
            let json: Value = serde_json::from_str(&line).unwrap();
            let why = json["source"].as_str().or(json["reason"].as_str()).unwrap();
            [json["session_id"].as_str().unwrap(), why].map(String::from)
        };
        lines(play.dir.path().join("log")).into_iter().map(read).collect()
    }

    #[tokio::test]
    async fn another_conversation_is_another_session_and_the_end_is_told() {
        let play = play([scene("^go$", [say("done")])], |agent, _| agent).await;
        let play = hook_up(play, tellers()).await;
        let (_, first) = play.ask("go").await;
        let (_, second) = play.ask("go").await;
        play.agent.exit().await;
        let (first, second) = (first.id(), second.id());
        let expected = [[first, "startup"], [first, "clear"], [second, "clear"], [second, "other"]];
        assert_eq!(told(&play), expected);
    }

    /// An agent whose first session, with this conversation, has been started.
    async fn started(chat: &Chat, hooks: Value) -> Play {
        let mut play = play([scene("^go$", [say("done")])], |agent, _| agent).await;
        let hooks = own(&play, hooks).await;
        hooks.start(chat, &Environment::default(), &play.agent.context());
        play.agent = install(play.agent.clone(), hooks, |_| {});
        play
    }

    /// A conversation that was saved.
    fn saved(messages: usize) -> Chat {
        let messages = [Message::user("go"), Message::assistant(vec![Block::text("done")])]
            .into_iter()
            .take(messages);
        Chat::restore("saved", messages, Default::default())
    }

    #[tokio::test]
    async fn the_first_session_starts_before_its_first_turn() {
        let mut chat = Chat::default();
        let play = started(&chat, tellers()).await;
        assert!(until(|| !told(&play).is_empty()).await);
        play.run(&mut chat, "go").await.unwrap();
        assert_eq!(inserted(&chat, "session_hook"), ["begun"]);
        assert_eq!(told(&play), [[chat.id(), "startup"]]);
    }

    #[tokio::test]
    async fn a_session_without_a_turn_ends_too() {
        let chat = Chat::default();
        let play = started(&chat, tellers()).await;
        play.agent.exit().await;
        assert_eq!(told(&play), [[chat.id(), "startup"], [chat.id(), "other"]]);
    }

    #[tokio::test]
    async fn a_session_does_not_wait_for_long_for_the_hooks_of_its_start_when_it_ends() {
        let (chat, marker) = (Chat::default(), marker());
        let sleep = hook("SessionStart", "", &format!("sleep {marker}"));
        let end = hook("SessionEnd", "", "cat >> log");
        let play = started(&chat, settings([sleep, end])).await;
        assert!(until(|| alive(&marker)).await);
        play.agent.exit().await;
        assert_eq!(told(&play), [[chat.id(), "other"]]);
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn a_first_session_without_a_turn_ends_when_there_is_another() {
        for (mut next, why) in [(saved(2), "resume"), (Chat::default(), "clear")] {
            let first = Chat::default();
            let play = started(&first, tellers()).await;
            play.run(&mut next, "go").await.unwrap();
            let expected = [[first.id(), "startup"], [first.id(), why], [next.id(), why]];
            assert_eq!(told(&play), expected);
        }
    }

    #[tokio::test]
    async fn a_session_that_is_rewound_before_its_first_turn_starts_once() {
        let play = started(&saved(2), tellers()).await;
        play.run(&mut saved(0), "go").await.unwrap();
        assert_eq!(told(&play), [["saved", "resume"]]);
    }

    #[tokio::test]
    async fn a_turn_that_is_dropped_while_it_waits_ends_the_hooks_of_the_start() {
        let (mut chat, marker) = (Chat::default(), marker());
        let sleep = hook("SessionStart", "", &format!("sleep {marker}"));
        let play = started(&chat, settings([sleep])).await;
        assert!(until(|| alive(&marker)).await);
        let turn = play.run(&mut chat, "go");
        assert!(tokio::time::timeout(Duration::from_millis(50), turn).await.is_err());
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn observers_log_count_and_point_out_what_is_slow() {
        let mut play = play(
            [scene("^go$", [calls([bash("sleep 1.1"), bash("exit 3")]), say("done")])],
            |agent, _| tools::all(agent),
        )
        .await;
        let log = play.dir.path().join("events.jsonl");
        let (observers, trust) = (observers(Some(&log)), store(play.dir.path()));
        let hooks = EventHooks::new(Hooks::default(), &play.agent, &trust, observers.clone());
        play.agent = install(play.agent.clone(), hooks.await, |_| {});
        play.ask("go").await;
        assert_eq!(play.agent.exit().await, Vec::<String>::new());
        let events: Vec<Value> =
            lines(log).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
        let expected = ["reply", "call", "result", "slow", "notice", "call", "result", "reply"];
        assert_eq!((&names[..8], &names[8..]), (&expected[..], &["statistics"][..]));
        assert_eq!(events[6]["severity"], "warning");
        assert!(events[3]["summary"].as_str().unwrap().starts_with("$ sleep 1.1 (1."));
        let statistics = observers.statistics.to_string();
        assert!(statistics.starts_with("bash  2 times, 1 failed, 1."), "{statistics}");
        let shown = play.ui.take();
        assert!(shown.iter().any(|l| l.starts_with("main: notice slow: $ sleep 1.1 took 1.")));
    }
}
