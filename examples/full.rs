//! # full: all mechanisms in one agent
//!
//! Every lesson works alone. All of them on one agent touch the same calls and the same
//! conversation: a hook rewrites a call that the permissions have judged already, mail joins the
//! conversation after it was saved, a summary is made of what nobody has counted. Nothing fails
//! loudly; the agent is just wrong now and then.
//!
//! ```text
//!  config/ + command line ──> Config ──> install: one line per mechanism, in any order
//!                                           |
//!                                           v
//!                          arrange(ORDER): one table says where each layer stands, and why
//!                                           |
//!        turn   sessions > loop detection > budget > interrupts > hooks > .. > cut replies
//!        ask    .. > mail > jobs' ends > reminder > skills > compaction > the journal
//!        act    .. > hooks > plans > claims > parallel > permissions > snapshots > the journal
//! ```
//!
//! New here: nothing but the order. A layer stands at one place for all its seams, so the order of
//! twenty layers follows from pairs: *A stands outside of B, because*. [`ORDER`] is such an order
//! with the reason for each place. Each pair that matters has a test that plays a scenario in this
//! order, where it holds, and with the two changed, where it does not. A mechanism that [`ORDER`]
//! does not know is an error at the start, so that no layer stands anywhere by accident.
//!
//! Terms: **composition**, **middleware** (layers around a call), **partial order** (some pairs
//! have an order, the others are free), **topological order** (a line that keeps every pair).
//!
//! Run it: `cargo run --example full`
//!
//! You will see a real job: a Rust program with a failing test is planned, read, corrected with a
//! diff, tested and committed on a branch. Then two tasks of a board are done side by side in git
//! worktrees, and two teammates claim their reviews, ask for approval of their plans, and run the
//! tests on the branches before these are merged.
//!
//! Try, and predict first:
//! 1. Type `:mode default` and ask for the correction once more. What are you asked, and how often?
//! 2. Kill the program with `kill -9` in the middle of the second play, and start it in the same
//!    folder with `-- --folder FOLDER --continue`. What does the model know of the call that ran?
//! 3. Let `Snapshots` and `Permissions` change places in [`ORDER`]. Which test fails, and what has
//!    a denied call done by then?
//!
//! Pitfalls: an order that nobody wrote down changes with the next line of `install`; a layer that
//! is right alone can be wrong in the sum, where another one runs `next` twice; a mechanism for the
//! person (mail, interrupts) must not follow into subagents, one that restricts must.
//!
//! A product also switches mechanisms on and off by configuration, and lets plugins add layers at
//! places that it names.
//!
//! Builds on s01 to s24. Motto: *All of it, in the order that is right.*

use durable::Folder;
use lessons::{
    Flag, Stage, hook_files,
    s01_loop::agent_loop,
    s03_todo_write, s04_subagent,
    s05_skill_loading::{self, Skills},
    s06_context_compact, s07_task_system, s08_background_tasks, s09_agent_teams,
    s10_team_protocols::{self, REPLY_TIMEOUT},
    s11_autonomous_agents, s12_worktree_task_isolation, s13_streaming, s14_tools_extended,
    s15_permissions::{self, Permissions},
    s16_event_bus::{self, EventHooks},
    s17_session_management::{self, SessionLog},
    s18_parallel_tools, s19_interrupts,
    s20_cache_optimization::{self, PromptCache},
    s21_mcp_runtime,
    s22_production_mailbox::{self, Membership},
    s23_worktree_advanced, s24_loop_detection,
};
use rungs_core::{Agent, Error, Result};
use rungs_mcp::Servers;
use rungs_snapshots::{Limits, Store};
use rungs_tasks::{Claims, LEASE};
use std::{path::PathBuf, process::ExitCode, sync::Arc};
use tokio::task::yield_now;

/// The layers, the outermost first, and why each stands outside of those that follow. A name whose
/// mechanism is not installed does no harm.
pub const ORDER: [(&str, &str); 20] = [
    ("SessionTurns", "saves what a turn leaves once all others are done with it"),
    ("LoopDetector", "what others refuse is a result too, and repeats itself as well"),
    ("Bounds", "one budget for a prompt, however often others run the turn again"),
    ("Interrupts", "what it stops is all that is further in, hooks too"),
    (
        "EventHooks",
        "what they rewrite is judged, copied and run; what they block is not even begun",
    ),
    ("Protocol", "about what is refused for want of a plan, nobody is asked"),
    ("Autonomy", "a claim spans several rounds of mail, each acknowledged by itself"),
    ("Background", "about a server in the foreground, which is refused, nobody is asked"),
    ("Parallel", "a call is judged, and its files copied, when its turn has come"),
    ("Permissions", "what is denied is not even read"),
    ("Snapshots", "holds what the tool finds"),
    ("Inbox", "what joins is counted by compaction, and saved with what is sent"),
    ("Integration", "tasks from one line begin when all others have let the prompt pass"),
    ("Runtime", "the tools that it leaves out of a request are not in the prefix that is cached"),
    ("PromptCache", "sums up all requests of a turn, those for what was cut off too"),
    ("Continuation", "whoever is further out sees whole answers"),
    ("Reminder", "what joins is counted by compaction, and saved with what is sent"),
    ("FindLoaded", "its place is free: it looks once the reply is there"),
    ("Compaction", "the journal sees what is sent, not what was there before"),
    ("SessionSteps", "the last before the wire and the tool: what it saves is what happens"),
];

/// What the mechanisms need.
pub struct Config {
    /// Where they keep what must last.
    pub state: Folder,
    /// The folder for the trees of tasks (s12, s23), created with the first one: not among the
    /// state, which no mode lets an agent change unasked, while whoever does a task changes its
    /// tree.
    pub trees: PathBuf,
    /// The model's window, in tokens (s06).
    pub window: u64,
    /// What can be loaded (s05).
    pub skills: Skills,
    /// The one team (s09, s10, s11) and the one board of tasks (s07, s11, s12, s23), in files or on
    /// a server (s22).
    pub membership: Membership,
    /// What files were before they were changed (s14).
    pub snapshots: Store,
    /// By what calls are judged (s15).
    pub permissions: Permissions,
    /// What looks on, and what may object (s16).
    pub hooks: EventHooks,
    /// What shows a line once the agent has ended (s16).
    pub screen: Box<dyn Fn(&str) + Send>,
    /// The saved conversations (s17).
    pub log: Arc<SessionLog>,
    /// How many calls of one reply run at once (s18).
    pub max_calls: usize,
    /// The prompt cache (s20).
    pub cache: Arc<PromptCache>,
    /// Tools of others (s21).
    pub servers: Servers,
}

impl Config {
    /// What the command line, the files in `config` and the folder say.
    ///
    /// # Errors
    /// Names the option or the file that is wrong.
    pub async fn of(stage: &Stage, agent: &Agent) -> Result<Self> {
        let (state, screen) = (stage.state().await?, stage.screen.clone());
        // What was spawned runs when this yields: servers start their processes here, hooks below.
        let servers = s21_mcp_runtime::connect(stage, agent).await?;
        yield_now().await;
        let keys = stage.keys().iter().map(|key| key.expose().to_string()).collect();
        let log = SessionLog::open(&state, keys)?;
        // First, since the hooks of SessionStart are told which conversation it is.
        s17_session_management::begin_with(stage, &log, &agent.context()).await?;
        let hooks = s16_event_bus::event_hooks(stage, agent).await?;
        yield_now().await;
        let permissions = s15_permissions::permissions(stage)?;
        let cache = s20_cache_optimization::prompt_cache(stage)?;
        let max_calls = s18_parallel_tools::max_calls(stage)?;
        // Last, when nothing else is wrong: others see who joins.
        let membership = s22_production_mailbox::join(stage, &state).await?;
        Ok(Config {
            window: stage.window.into(),
            skills: Skills::find(&s05_skill_loading::places(&stage.folder)),
            snapshots: Store::open(&state, Limits::default()).map_err(Error::other)?,
            permissions,
            hooks,
            screen: Box::new(move |line| screen.say(line)),
            log,
            max_calls,
            cache,
            servers,
            membership,
            state,
            trees: stage.folder.join(".worktrees"),
        })
    }
}

/// One line per mechanism. s01 is the loop, s02 the tools of the agent that comes in.
fn install(agent: Agent, config: Config) -> Agent {
    let Config { state, trees, membership, .. } = config;
    let Membership { team, board, .. } = &membership;
    let agent = s03_todo_write::install(agent);
    let agent = s04_subagent::install(agent);
    let agent = s05_skill_loading::install(agent, config.skills);
    let agent = s06_context_compact::install(agent, config.window, state.clone());
    let agent = s07_task_system::install(agent, board);
    let agent = s08_background_tasks::install(agent, state.clone());
    let agent = s09_agent_teams::install(agent, team);
    let agent = s10_team_protocols::install(agent, team, REPLY_TIMEOUT);
    let agent = s11_autonomous_agents::install(agent, team, &Claims::new(board.clone(), LEASE));
    let agent = s12_worktree_task_isolation::install(agent, board, &trees);
    let agent = s13_streaming::install(agent);
    let agent = s14_tools_extended::install(agent, config.snapshots);
    let agent = s15_permissions::install(agent, config.permissions);
    let agent = s16_event_bus::install(agent, config.hooks, config.screen);
    let agent = s17_session_management::install(agent, &config.log);
    let agent = s18_parallel_tools::install(agent, config.max_calls);
    let agent = s19_interrupts::install(agent);
    let agent = s20_cache_optimization::install(agent, config.cache);
    let agent = s21_mcp_runtime::install(agent, config.servers);
    let agent = s22_production_mailbox::install(agent, &membership);
    let agent = s23_worktree_advanced::install(agent, board, &trees);
    s24_loop_detection::install(agent)
}

/// The agent with every mechanism.
///
/// # Errors
/// Names the layers that have no place in [`ORDER`].
pub fn full(agent: Agent, config: Config) -> Result<Agent> {
    install(agent, config).arrange(ORDER.map(|(name, _)| name)).map_err(Error::other)
}

/// The options of the lessons that have some.
const FLAGS: &[Flag] = &[
    s15_permissions::FLAGS[0],
    hook_files::SETTINGS,
    s17_session_management::FLAGS[0],
    s17_session_management::FLAGS[1],
    s17_session_management::FLAGS[2],
    s18_parallel_tools::FLAGS[0],
    s20_cache_optimization::FLAGS[0],
    s22_production_mailbox::FLAGS[0],
    s22_production_mailbox::FLAGS[1],
];

async fn build(stage: &Stage) -> Result<Agent> {
    let agent = stage.agent();
    let config = Config::of(stage, &agent).await?;
    full(agent, config)
}

/// The agent of lesson one, with all that the others add; or, with `--serve`, a server of s21.
pub fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--serve") {
        return s21_mcp_runtime::serve();
    }
    lessons::run_with(FLAGS, "full", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s07_task_system::{Board, Status, Task},
        s09_agent_teams::{LEAD, Letter, Team},
        testing::{Play, full_config, inserted, mcp_script, mcp_servers, play, results},
    };
    use rehearsal::{Scene, Turn, call, calls, say, say_results, scene};
    use rungs_core::{Answer, Chat, Context, Event, Layer, Question, Ui, tools};
    use rungs_mailbox::Presence;
    use rungs_process::testing::until;
    use rungs_redis::{Mail, Server, open_board, testing::PrivateServer};
    use rungs_terminal::Interrupt;
    use serde_json::{Value, json};
    use std::{collections::VecDeque, fs, path::Path, sync::Mutex, time::Duration};

    /// The agent with everything, before a script.
    struct Sum {
        play: Play,
        team: Team,
        board: Board,
        log: Arc<SessionLog>,
    }

    const RULES: &str = "deny: [Edit(./denied/**)]\nallow: [Bash(echo:*)]\n";

    async fn config(agent: &Agent, dir: &Path) -> Config {
        let state = Folder::open(dir, ".rungs").unwrap();
        let hooks = fs::read_to_string(dir.join("hooks.json")).unwrap_or("{\"hooks\": {}}".into());
        let mut config = full_config(agent, state, RULES, "bypass", &hooks).await;
        config.trees = dir.join(".worktrees");
        config
    }

    /// With layers in this order, hooks in the form of `settings.json`, and a configuration that
    /// `change` has changed.
    async fn sum_with(
        order: &[&str],
        hooks: Value,
        change: impl FnOnce(&mut Config),
        scenes: impl IntoIterator<Item = Scene>,
    ) -> Sum {
        let mut play = play(scenes, |agent, _| tools::all(agent)).await;
        fs::write(play.dir.path().join("hooks.json"), json!({ "hooks": hooks }).to_string())
            .unwrap();
        let mut config = config(&play.agent, play.dir.path()).await;
        change(&mut config);
        let Membership { team, board, .. } = &config.membership;
        let (team, board, log) = (team.clone(), board.clone(), config.log.clone());
        let agent = install(play.agent.clone(), config);
        play.agent = agent.arrange(order.iter().copied()).unwrap();
        Sum { play, team, board, log }
    }

    async fn sum(order: &[&str], scenes: impl IntoIterator<Item = Scene>) -> Sum {
        sum_with(order, json!({}), |_| {}, scenes).await
    }

    impl Sum {
        /// A conversation of the lead that begins with "go", until nothing more is expected.
        async fn go(&self) -> Chat {
            let mut chat = Chat::default();
            self.play.run_until_idle(&mut chat, "go").await;
            chat
        }

        /// A turn that begins with "go", and is stopped as soon as this holds.
        async fn stopped(&self, chat: &mut Chat, when: impl FnMut() -> bool) {
            let interrupt = Interrupt::default();
            let agent = self.play.agent.clone().with(interrupt.clone());
            let press = async {
                assert!(until(when).await);
                interrupt.request();
            };
            tokio::join!(agent.run(chat, "go", agent_loop), press).0.unwrap_err();
        }

        async fn letter(&self, to: &str, text: &str) {
            self.team.transport().send(to, Letter::new("ann", text)).await.unwrap();
        }

        /// Whether the session holds this text while a request with it is on its way.
        async fn is_saved_with_what_is_sent(
            &self,
            chat: &mut Chat,
            prompt: &str,
            text: &str,
        ) -> bool {
            let session = format!(".rungs/sessions/{}/session.jsonl", chat.id());
            let session = self.play.dir.path().join(session);
            let saved = || fs::read_to_string(&session).unwrap_or_default();
            // It is saved while it is sent: this waits for what is saved in any order.
            let is_done = || {
                let requests = self.play.server.requests();
                let Some(sent) = requests.last().map(|seen| seen.body["messages"].to_string())
                else {
                    return false;
                };
                let (saved, prompt) = (saved(), json!(prompt).to_string());
                let results = |text: &str| text.matches("tool_result").count();
                sent.contains(text) && saved.contains(&prompt) && results(&saved) >= results(&sent)
            };
            tokio::select! {
                end = self.play.run(chat, prompt) => panic!("not delayed: {end:?}"),
                () = async {
                    while !is_done() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                } => {}
            }
            saved().contains(text)
        }
    }

    /// All results of a conversation.
    fn all_results(chat: &Chat) -> Vec<String> {
        chat.messages().iter().flat_map(|message| results(message)).collect()
    }

    /// This order, with these two changed.
    fn swapped(outer: &str, inner: &str) -> Vec<&'static str> {
        let mut order = ORDER.map(|(name, _)| name).to_vec();
        let place = |name: &str| order.iter().position(|other| *other == name).unwrap();
        let (outer, inner) = (place(outer), place(inner));
        assert!(outer < inner);
        order.swap(outer, inner);
        order
    }

    /// A rule of the order: what holds as long as `outer` stands outside of `inner`, and not when
    /// the two have changed places.
    async fn rule(outer: &str, inner: &str, holds: impl AsyncFn(&[&str]) -> bool) {
        let right = ORDER.map(|(name, _)| name);
        assert!(holds(&right).await, "{outer} outside of {inner}");
        assert!(!holds(&swapped(outer, inner)).await, "{inner} outside of {outer}");
    }

    /// Whether this ends in this order. In another one it may wait for ever, which a second shows.
    async fn ends(order: &[&str], future: impl Future) -> bool {
        let is_right = order == ORDER.map(|(name, _)| name);
        let limit = Duration::from_secs(if is_right { 60 } else { 1 });
        tokio::time::timeout(limit, future).await.is_ok()
    }

    fn spawn(prompt: &str) -> Turn {
        call("spawn_teammate", json!({"name": "ann", "role": "helps", "prompt": prompt}))
    }

    fn write(path: &str, content: &str) -> (&'static str, Value) {
        ("write", json!({"file_path": path, "content": content}))
    }

    fn jobs(count: usize) -> Turn {
        let jobs = vec![json!({"description": "a job", "prompt": "job"}); count];
        call("task", json!({ "tasks": jobs }))
    }

    /// A reply that breaks off, once it is streamed.
    fn cut(text: &str) -> Turn {
        say(text).fault(json!({"cut_after": 4}))
    }

    const CONTINUES: &str = "Your reply broke off";

    fn hook(event: &str, matcher: &str, command: &str) -> Value {
        let hook = json!({"type": "command", "command": command});
        json!({ event: [{"matcher": matcher, "hooks": [hook]}] })
    }

    /// A hook that writes to another file than the model wants, after what is written there.
    fn rewriting(path: &str) -> Value {
        let command = format!(
            "input=$(cat); case \"$input\" in *'\"content\":\"first\"'*) sleep 0.3;; esac; \
             case \"$input\" in *rewritten*) echo '{}';; esac",
            json!({"hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "updatedInput": {"file_path": path, "content": "second"},
            }})
        );
        hook("PreToolUse", "Write", &command)
    }

    #[tokio::test]
    async fn a_session_has_what_a_turn_leaves() {
        rule("SessionTurns", "Inbox", async |order| {
            let sum = sum(order, [scene("^go$", [say("noted")])]).await;
            sum.letter(LEAD, "a letter").await;
            let chat = sum.go().await;
            let saved = sum.log.resume(chat.id(), &sum.play.agent.context()).await.unwrap();
            json!(saved.saved_states()) == json!(chat.saved_states())
        })
        .await;
    }

    #[tokio::test]
    async fn a_session_has_what_a_stopped_turn_leaves() {
        rule("SessionTurns", "Interrupts", async |order| {
            let sum = sum(order, [scene("^go$", [say("late").delay_ms(60_000)])]).await;
            let mut chat = Chat::default();
            sum.stopped(&mut chat, || sum.play.server.request_count() == 1).await;
            assert_eq!(inserted(&chat, "interrupt").len(), 1);
            let saved = sum.log.resume(chat.id(), &sum.play.agent.context()).await.unwrap();
            inserted(&saved, "interrupt") == inserted(&chat, "interrupt")
        })
        .await;
    }

    #[tokio::test]
    async fn a_hook_is_stopped_too() {
        rule("Interrupts", "EventHooks", async |order| {
            let hooks = hook("UserPromptSubmit", "", "touch begun; sleep 600");
            let sum = sum_with(order, hooks, |_| {}, [scene("^go$", [say("done")])]).await;
            let begun = sum.play.dir.path().join("begun");
            let mut chat = Chat::default();
            ends(order, sum.stopped(&mut chat, || begun.exists())).await
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_refused_anew_each_time_is_no_repetition() {
        rule("LoopDetector", "Background", async |order| {
            let servers = call("bash", json!({"command": "npm start {{ n }}"})).repeat(8);
            let sum = sum(order, [scene("^go$", [servers, say("end")])]).await;
            sum.play.run(&mut Chat::default(), "go").await.is_ok()
        })
        .await;
    }

    #[tokio::test]
    async fn a_prompt_has_one_budget_also_when_its_turn_runs_again() {
        rule("Bounds", "Continuation", async |order| {
            let scenes = [
                scene("^go$", [jobs(11), cut("The answer is forty-two.")]),
                scene(CONTINUES, [jobs(11), say_results()]),
                scene("^job$", [say("ok")]),
            ];
            let sum = sum(order, scenes).await;
            all_results(&sum.go().await)[1].contains("are too many")
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_hook_makes_of_a_call_is_judged() {
        rule("EventHooks", "Permissions", async |order| {
            let scenes = [scene("^go$", [calls([write("rewritten", "x")]), say("end")])];
            let sum = sum_with(order, rewriting("denied/x"), |_| {}, scenes).await;
            sum.go().await;
            !sum.play.dir.path().join("denied/x").exists()
        })
        .await;
    }

    /// A person who types these lines while the first call runs.
    struct Typing(Mutex<VecDeque<Option<String>>>);

    impl Ui for Typing {
        fn show(&self, _: &Event, _: &Context) {}
        async fn choose(&self, _: Question, _: &Context) -> Answer {
            Answer::No(String::new())
        }
        fn typed(&self) -> Option<String> {
            self.0.lock().unwrap().pop_front().flatten()
        }
    }

    #[tokio::test]
    async fn hooks_see_what_is_typed_while_the_agent_works() {
        let order = ORDER.map(|(name, _)| name);
        let guard = "case $(cat) in *password*) exit 2;; *) echo checked;; esac";
        let hooks = hook("UserPromptSubmit", "", guard);
        let step = call("bash", json!({"command": "echo {{ n }}"}));
        let scenes = [scene("^go$", [step, say("done")])];
        let sum = sum_with(&order, hooks, |_| {}, scenes).await;
        let typed = [None, Some("the password".into()), Some("be quick".into())];
        let agent = sum.play.agent.clone().ui(Typing(Mutex::new(typed.into())));
        let mut chat = Chat::default();
        agent.run(&mut chat, "go", agent_loop).await.unwrap();
        assert_eq!(inserted(&chat, "hook"), ["checked", "checked"]);
        let typed: Vec<&str> = chat.messages()[2].typed().collect();
        assert_eq!(typed, ["be quick"]);
    }

    #[tokio::test]
    async fn tasks_of_a_prompt_that_a_hook_blocks_are_not_begun() {
        rule("EventHooks", "Integration", async |order| {
            let hooks = hook("UserPromptSubmit", "", "echo no >&2; exit 2");
            let sum = sum_with(order, hooks, |_| {}, [scene(".", [say("done")])]).await;
            sum.play.run(&mut Chat::default(), "one | two").await.unwrap_err();
            sum.board.look(|tasks| tasks.all().len()).unwrap() == 0
        })
        .await;
    }

    #[tokio::test]
    async fn what_hooks_make_of_calls_keeps_their_order() {
        rule("EventHooks", "Parallel", async |order| {
            let both = calls([write("a", "first"), write("rewritten", "x")]);
            let scenes = [scene("^go$", [both, say("end")])];
            let sum = sum_with(order, rewriting("a"), |_| {}, scenes).await;
            sum.go().await;
            fs::read_to_string(sum.play.dir.path().join("a")).unwrap() == "second"
        })
        .await;
    }

    #[tokio::test]
    async fn a_call_that_waits_for_another_one_holds_no_snapshot() {
        rule("Parallel", "Snapshots", async |order| {
            let both = calls([write("a", "first"), write("rewritten", "x")]);
            let scenes = [scene("^go$", [both, say("end")])];
            let sum = sum_with(order, rewriting("a"), |_| {}, scenes).await;
            // In the other order they wait for each other.
            ends(order, sum.go()).await
        })
        .await;
    }

    #[tokio::test]
    async fn nobody_is_asked_about_what_lacks_a_plan() {
        rule("Protocol", "Permissions", async |order| {
            let default = |config: &mut Config| config.permissions.set_mode("default").unwrap();
            let scenes = [
                scene("^go$", [spawn("work"), say("free")]),
                scene(r"lead.>\s*work", [calls([write("a", "x")]), say("end")]),
                scene("<mail", [say("noted")]),
            ];
            let sum = sum_with(order, json!({}), default, scenes).await;
            sum.go().await;
            json!(sum.play.bodies()).to_string().contains("you have no approved plan")
        })
        .await;
    }

    #[tokio::test]
    async fn who_agrees_to_end_ends_its_task_first() {
        rule("Protocol", "Autonomy", async |order| {
            let question = json!({"to": "lead", "text": "which one?"});
            let shutdown = json!({"to": "ann", "kind": "shutdown", "text": "enough"});
            let agree = json!({"id": "{{ m[1] }}", "approve": true, "text": "bye"});
            let finish = call("finish_task", json!({"result": "x"}));
            let scenes = [
                scene("^go$", [spawn("work"), say("free")]),
                scene(r"lead.>\s*work", [say("ready")]),
                scene("<task id", [call("send_message", question), say("waiting")]),
                scene("which one", [call("request", shutdown), say("asked")]),
                scene(r"\[request (lead-\w+), Shutdown", [call("respond", agree), say("bye")]),
                scene("You still hold your task", [finish, say("done")]),
                scene("<mail", [say("noted")]),
            ];
            let sum = sum(order, scenes).await;
            sum.board.create(Task { subject: "choose".into(), ..Task::default() }).unwrap();
            sum.go().await;
            sum.board.look(|tasks| tasks.get(1).unwrap().status).unwrap() == Status::Done
        })
        .await;
    }

    #[tokio::test]
    async fn each_round_of_a_claimed_task_reports_by_itself() {
        rule("Autonomy", "Inbox", async |order| {
            let mail = |to: &str, text: &str| call("send_message", json!({"to": to, "text": text}));
            let scenes = [
                scene("^go$", [spawn("work"), say("free")]),
                scene(r"lead.>\s*work", [say("ready")]),
                scene("<task id", [mail("lead", "which one?"), say("waiting")]),
                scene("which one", [mail("ann", "this one"), say("told")]),
                scene(
                    "this one",
                    [call("finish_task", json!({"result": "x"})), say("it is finished")],
                ),
                scene("<mail", [say("noted")]),
            ];
            let sum = sum(order, scenes).await;
            sum.board.create(Task { subject: "choose".into(), ..Task::default() }).unwrap();
            let mail = inserted(&sum.go().await, "mail");
            mail.iter().any(|letter| letter.contains("it is finished"))
        })
        .await;
    }

    #[tokio::test]
    async fn nobody_is_asked_about_a_server_in_the_foreground() {
        rule("Background", "Permissions", async |order| {
            let default = |config: &mut Config| config.permissions.set_mode("default").unwrap();
            let server = call("bash", json!({"command": "npm start"}));
            let scenes = [scene("^go$", [server, say("end")])];
            let sum = sum_with(order, json!({}), default, scenes).await;
            all_results(&sum.go().await)[0].contains("looks like a server")
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_denied_is_not_read() {
        rule("Permissions", "Snapshots", async |order| {
            // No file, so whoever wants to copy it says so.
            let scenes = [scene("^go$", [calls([write("denied/folder", "x")]), say("end")])];
            let sum = sum(order, scenes).await;
            fs::create_dir_all(sum.play.dir.path().join("denied/folder")).unwrap();
            all_results(&sum.go().await)[0].starts_with("not run: it is denied")
        })
        .await;
    }

    #[tokio::test]
    async fn mail_is_saved_with_what_is_sent() {
        rule("Inbox", "SessionSteps", async |order| {
            let sum = sum(order, [scene("^go$", [say("noted").delay_ms(60_000)])]).await;
            sum.letter(LEAD, "a letter").await;
            sum.is_saved_with_what_is_sent(&mut Chat::default(), "go", "a letter").await
        })
        .await;
    }

    #[tokio::test]
    async fn a_reminder_is_saved_with_what_is_sent() {
        rule("Reminder", "SessionSteps", async |order| {
            let todos = json!([{"content": "think", "status": "in_progress"}]);
            let step = call("bash", json!({"command": "echo {{ n }}"}));
            let turns = [
                call("todo_write", json!({ "todos": todos })),
                step.only_if("not texts").repeat(9),
                say("late").delay_ms(60_000),
            ];
            let sum = sum(order, [scene("^go$", turns)]).await;
            sum.is_saved_with_what_is_sent(&mut Chat::default(), "go", "has not changed for").await
        })
        .await;
    }

    /// Two prompts; after the first one the window is nearly full.
    fn long_talk(words: usize) -> [Scene; 3] {
        [
            scene("^Summarise", [say("it was about words")]),
            scene("^go$", [say("word ".repeat(words))]),
            scene("^on$", [say("late").delay_ms(60_000)]),
        ]
    }

    #[tokio::test]
    async fn what_compaction_leaves_is_saved_with_what_is_sent() {
        rule("Compaction", "SessionSteps", async |order| {
            let small = |config: &mut Config| config.window = 12_000;
            let sum = sum_with(order, json!({}), small, long_talk(4_000)).await;
            let mut chat = sum.go().await;
            sum.is_saved_with_what_is_sent(&mut chat, "on", "it was about words").await
        })
        .await;
    }

    #[tokio::test]
    async fn mail_is_counted_before_the_window_is_full() {
        rule("Inbox", "Compaction", async |order| {
            let small = |config: &mut Config| config.window = 20_000;
            let sum = sum_with(order, json!({}), small, long_talk(4_000)).await;
            let mut chat = sum.go().await;
            sum.letter(LEAD, &"letter ".repeat(4_000)).await;
            sum.is_saved_with_what_is_sent(&mut chat, "on", "letter letter").await;
            json!(sum.play.bodies()).to_string().contains("it was about words")
        })
        .await;
    }

    #[tokio::test]
    async fn a_tool_that_joins_the_requests_is_named_as_what_broke_the_cached_prefix() {
        rule("Runtime", "PromptCache", async |order| {
            let dir = tempfile::tempdir().unwrap();
            // Room for one token, so that the tools of servers are left out until they are found.
            let servers = mcp_servers(dir.path(), mcp_script(&["draw"]), false, 1).await;
            let search = call("mcp_search", json!({"query": "draw"}));
            let scenes = [scene("^go$", [search, say("end")])];
            let sum = sum_with(order, json!({}), |config| config.servers = servers, scenes).await;
            sum.go().await;
            let broke = "[cache] the prefix broke: the tool `mcp__s__draw` is new";
            sum.play.ui.take().iter().any(|line| line.contains(broke))
        })
        .await;
    }

    #[tokio::test]
    async fn a_turn_is_summed_up_once() {
        rule("PromptCache", "Continuation", async |order| {
            let scenes = [
                scene(
                    "^go$",
                    [call("bash", json!({"command": "echo x"})), cut("The answer is forty-two.")],
                ),
                scene(CONTINUES, [say(" And that is all.")]),
            ];
            let sum = sum(order, scenes).await;
            sum.go().await;
            let lines = sum.play.ui.take();
            lines.iter().filter(|line| line.contains("[cache] ")).count() == 1
        })
        .await;
    }

    #[tokio::test]
    async fn a_report_that_broke_off_arrives_whole() {
        rule("Inbox", "Continuation", async |order| {
            let scenes = [
                scene("^go$", [spawn("work"), say("free")]),
                scene(r"lead.>\s*work", [cut("The answer is forty-two.")]),
                scene(CONTINUES, [say(" And that is all.")]),
                scene("<mail", [say("noted")]),
            ];
            let sum = sum(order, scenes).await;
            inserted(&sum.go().await, "mail").len() == 1
        })
        .await;
    }

    #[tokio::test]
    async fn a_subagent_is_judged_and_hooked_but_has_no_mail_and_no_plan_of_others() {
        let order = ORDER.map(|(name, _)| name);
        let hooks = hook("PreToolUse", "Write|Bash", "cat >> hooked.txt");
        let todos = json!([{"content": "think", "status": "in_progress"}]);
        let steps = call("bash", json!({"command": "echo {{ n }}"})).repeat(6);
        let scenes = [
            scene("^go$", [call("todo_write", json!({ "todos": todos })), jobs(1), say("end")]),
            scene("^job$", [calls([write("denied/x", "x")]), steps, say("{{ results[0].text }}")]),
        ];
        let sum = sum_with(&order, hooks, |_| {}, scenes).await;
        let play = &sum.play;
        let mut chat = Chat::default();
        let (_, end) = tokio::join!(
            async {
                // The lead has mail while its subagent works.
                while play.server.request_count() < 3 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                sum.letter(LEAD, "a letter").await;
            },
            play.run(&mut chat, "go")
        );
        end.unwrap();
        assert!(!play.dir.path().join("denied/x").exists());
        let hooked = fs::read_to_string(play.dir.path().join("hooked.txt")).unwrap();
        assert_eq!(hooked.matches("\"tool_name\":\"Bash\"").count(), 6, "{hooked}");
        let bodies = play.bodies();
        let of_child =
            |body: &&Value| body["messages"].to_string().contains("You work for another");
        let of_child: Vec<&Value> = bodies.iter().filter(of_child).collect();
        assert_eq!(of_child.len(), 8);
        let last = of_child[7]["messages"].to_string();
        assert!(last.contains("not run: it is denied"), "{last}");
        for text in ["a letter", "Your plan has not changed"] {
            assert!(!last.contains(text), "{last}");
        }
        let letters = inserted(&chat, "mail");
        assert!(letters.len() == 1 && letters[0].contains("a letter"), "{letters:?}");
    }

    /// The lead, or this member, of a team on a server.
    async fn on_server(url: &str, member: Option<&str>) -> Membership {
        let server = Server::connect(url, "blue").await.unwrap();
        let (board, mail) = (open_board(&server).await.unwrap(), Mail::new(&server).unwrap());
        Presence::join(mail.names(), member.unwrap_or(LEAD), "helps").await.unwrap();
        let (names, member) = (Some(mail.names().clone()), member.map(String::from));
        let team = if member.is_some() { Team::led_elsewhere(mail) } else { Team::new(mail) };
        Membership { team, board, names, member }
    }

    #[tokio::test]
    async fn a_teammate_in_another_process_needs_a_plan_too_before_it_writes() {
        let Some(server) = PrivateServer::start(&[]) else { return };
        let order = ORDER.map(|(name, _)| name);
        let plan = ("request", json!({"to": "lead", "kind": "plan", "text": "one"}));
        let finish = ("finish_task", json!({"result": "fine"}));
        let scenes = [
            scene("You have joined the team", [say("I am here.")]).yields(),
            scene("<task id", [calls([write("a", "x"), plan]), say("waiting")]),
            scene(r"\[ann-\w+ approved\]", [calls([write("a", "x"), finish]), say("done")]),
        ];
        let ann = on_server(&server.url(), Some("ann")).await;
        let ann = sum_with(&order, json!({}), |config| config.membership = ann, scenes).await;
        let respond = json!({"id": "{{ m[1] }}", "approve": true, "text": "yes"});
        let scenes = [
            scene("^go$", [call("task_create", json!({"subject": "x"})), say("free")]),
            scene(r"\[request (ann-\w+), Plan", [call("respond", respond), say("x")]),
            scene("<mail", [say("noted")]),
        ];
        let lead = on_server(&server.url(), None).await;
        let lead = sum_with(&order, json!({}), |config| config.membership = lead, scenes).await;
        let mut chat = Chat::default();
        lead.play.run(&mut chat, "go").await.unwrap();
        // Earlier, and its first letter could join the prompt.
        let agent = ann.play.agent.clone();
        let served = tokio::spawn(async move { agent.woken(&Chat::default()).await });
        lead.play.answer_until_idle(&mut chat).await;
        let get = |board: &Board| board.look(|tasks| tasks.get(1).unwrap().clone());
        let task = lead.board.blocking(get).await.unwrap();
        assert_eq!((task.status, task.owner.as_deref()), (Status::Done, Some("ann")));
        assert!(json!(ann.play.bodies()).to_string().contains("you have no approved plan"));
        assert_eq!(fs::read_to_string(ann.play.dir.path().join("a")).unwrap(), "x");
        served.abort();
    }

    #[tokio::test]
    async fn the_order_is_the_whole_truth() {
        struct Stranger;
        impl Layer for Stranger {}
        let order = ORDER.map(|(name, _)| name);
        let sum = sum(&order, []).await;
        let mut installed = sum.play.agent.layers();
        // Not without skills.
        installed.insert(17, "FindLoaded");
        assert_eq!(installed, order);
        let error = sum.play.agent.clone().wrap(Stranger).arrange(order).unwrap_err();
        assert_eq!(error, "the order of layers leaves out Stranger");
    }
}
