//! # s19: Ctrl+C stops the turn, and what you type joins it
//!
//! An agent that takes the wrong direction must be stopped at once, wherever it is, and without
//! losing what it has done. An agent that takes the right one, but lacks a fact, should be told
//! while it works. Both are the person's hand on the wheel, and both must leave a conversation that
//! the API takes: a call without a result would be refused with every later prompt.
//!
//! ```text
//! Ctrl+C ──> turn: the turn's token fires
//!              ├─> model:  streaming, waiting, retry     what was shown is kept, marked
//!              ├─> act:    a call gets 200 ms to return  then it is dropped, its processes too
//!              └─> 300 ms later all that still runs is dropped; open calls are answered
//!            chat: [.., results, "the person stopped the turn"]  ──> prompt
//!
//! typed  ──> waits on the screen ──> ask: [.., results, what was typed] ──> model
//! ```
//!
//! New here: two tokens with different lives. The turn has one of its own ([`Context::cancel`]), a
//! child of the agent's ([`Context::shutdown`]). Ctrl+C fires the first, so subagents and commands
//! stop; jobs in the background and teammates hang on the second, and live on. The terminal makes
//! the request as a value of the turn, [`Interrupt`].
//!
//! Stopping is cooperative first: whoever watches the token ends by itself and says how far it came
//! (a command returns its output so far). Whoever does not is dropped, which in Rust ends a future
//! at its next await, and its processes with it.
//!
//! Terms: **SIGINT**, **cooperative cancellation**, **cancellation token**, **grace period**,
//! **structured concurrency** (no work outlives its owner), **steering**.
//!
//! Run it: `cargo run --example s19_interrupts`
//!
//! You will see five checks, one after the other; press Ctrl+C in the middle of one, or type a line
//! and Enter, and go on. Then a long answer: stop it in the middle of a word.
//!
//! Try, and predict first:
//! 1. Stop the third check, and type `:messages`. What is the result of the call that was running,
//!    and what stands after it?
//! 2. Type two lines while a check runs. In which message do they stand, before or after the
//!    result?
//! 3. Take the body of [`act`](Layer::act) out. How long does a tool that ignores the token hold up
//!    the prompt, and what is lost then?
//!
//! Pitfalls: a cancelled call without a result makes every later request invalid; half a thinking
//! block has no signature and cannot be sent back; the work of a blocking thread goes on after its
//! future was dropped; a line that was typed before a question appeared must not answer it.
//!
//! A product also takes back the prompt into the editor when nothing was done yet, and asks the
//! model what to do with the half of an edit.
//!
//! Builds on s13. Motto: *Ctrl+C steers; you stay in control.*

use lessons::{s01_loop::agent_loop, s13_streaming};
use rungs_core::{
    Agent, Chat, Context, Error, Layer, Message, NextAct, NextAsk, NextTurn, Reply, Result,
    StopReason, ToolCall, ToolResult,
};
use rungs_hooks::PromptHooks;
use rungs_terminal::Interrupt;
use std::{pin::pin, process::ExitCode, time::Duration};
use tokio::time::timeout;

/// How long a call that was told to stop may take to return what it has.
const CALL_GRACE: Duration = Duration::from_millis(200);
/// How long all of the turn may take; the prompt waits for 500 ms, so that layers further out
/// (sessions) have time to save.
const TURN_GRACE: Duration = Duration::from_millis(300);

const NOTE: &str = "<system-reminder>The person stopped the turn here. Do not take it up again by \
    yourself; what they say next decides.</system-reminder>";

/// Stops a turn when the person asks for it, and lets what they type join it.
struct Interrupts {
    call_grace: Duration,
    turn_grace: Duration,
}

impl Layer for Interrupts {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let Some(interrupt) = cx.value::<Interrupt>() else { return next.run(chat, cx).await };
        let end = {
            let mut turn = pin!(next.run(chat, cx));
            tokio::select! {
                end = &mut turn => return end,
                () = interrupt.requested() => cx.cancel().cancel(),
            }
            timeout(self.turn_grace, turn).await
        };
        match end {
            // It ended by itself in the same moment.
            Ok(Ok(reply)) if reply.stop != StopReason::Cancelled => Ok(reply),
            Ok(Err(error)) if !matches!(error, Error::Cancelled) => Err(error),
            _ => {
                chat.close_open_calls(Chat::INTERRUPTED);
                chat.push(Message::inserted("interrupt", NOTE));
                Err(Error::Cancelled)
            }
        }
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        // What is typed after Ctrl+C is for the next turn.
        while !cx.cancel().is_cancelled()
            && let Some(typed) = cx.typed()
        {
            let text = typed.text();
            match allowed(&text, cx).await {
                Some(Ok(added)) => {
                    cx.notice(format!("joins the turn: {text}"));
                    chat.push(typed);
                    chat.push(Message::inserted("hook", added));
                }
                Some(Err(why)) => cx.notice(format!("a hook blocks {text:?}: {why}")),
                None => {
                    if let Some(interrupt) = cx.value::<Interrupt>() {
                        interrupt.give_back(text);
                    }
                }
            }
        }
        next.run(chat, cx).await
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if cx.cancel().is_cancelled() {
            return call.refuse("not run: the person interrupted the turn");
        }
        let stopped = call.refuse(Chat::INTERRUPTED);
        let mut running = pin!(next.run(call, cx));
        tokio::select! {
            result = &mut running => result,
            () = cx.cancel().cancelled() => {
                timeout(self.call_grace, running).await.unwrap_or(stopped)
            }
        }
    }

    /// A subagent stops with the call that runs it; what is typed is for the agent that the person
    /// talks to.
    fn follows(&self, _child: &Context) -> bool {
        false
    }
}

/// What is typed is a prompt, so hooks may add to it or block it. None when the turn is stopped.
async fn allowed(text: &str, cx: &Context) -> Option<std::result::Result<String, String>> {
    let Some(hooks) = cx.value::<PromptHooks>() else { return Some(Ok(String::new())) };
    cx.cancel().run_until_cancelled(hooks.submit(text.into())).await
}

/// Adds the mechanism. The prompt makes the request to stop; a program without one gives its own:
/// `agent.with(Interrupt::default())`.
pub fn install(agent: Agent) -> Agent {
    agent.wrap(Interrupts { call_grace: CALL_GRACE, turn_grace: TURN_GRACE })
}

/// The agent of lesson 13, which can be stopped and told.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| Ok(install(s13_streaming::install(stage.agent())));
    lessons::run("s19_interrupts", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent, s06_context_compact, s08_background_tasks, s09_agent_teams,
        s17_session_management::{self, SessionLog},
        s18_parallel_tools,
        testing::{Play, inserted, play},
    };
    use rehearsal::{Scene, call, calls, say, scene};
    use rungs_core::{
        Answer, Block, CancellationToken, Effect, Event, NextBatch, Question, ToolError, Ui, tools,
    };
    use rungs_hooks::Verdict;
    use rungs_process::testing::{alive, asleep, gone, marker, until};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::{collections::VecDeque, path::Path, sync::Mutex, time::Instant};

    /// Far more than a stop takes, and far less than what it stops.
    const AT_ONCE: Duration = Duration::from_secs(10);
    const FOR_LONG: u64 = 60_000;

    /// What the person does not do: answer.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Call {
        /// Asks the person.
        AskPerson {},
        /// Never ends.
        Hang {},
    }

    async fn run((): &(), call: Call, cx: &Context) -> Result<String, ToolError> {
        match call {
            Call::AskPerson {} => Ok(format!("{:?}", cx.choose(Question::new("Sure?")).await)),
            Call::Hang {} => std::future::pending().await,
        }
    }

    /// A person who answers no question, and what they have typed each time somebody looks.
    #[derive(Default)]
    struct Person(Mutex<VecDeque<Option<&'static str>>>);

    impl Ui for Person {
        fn show(&self, _: &Event, _: &Context) {}
        async fn choose(&self, _: Question, _: &Context) -> Answer {
            std::future::pending().await
        }
        fn typed(&self) -> Option<String> {
            self.0.lock().unwrap().pop_front().flatten().map(String::from)
        }
    }

    fn bash(command: impl Into<String>) -> (&'static str, Value) {
        ("bash", json!({"command": command.into()}))
    }

    fn equipped(agent: Agent) -> Agent {
        let agent = agent.tool(tools::Bash).tools((), |_: &Call| Effect::Reads, run);
        install(s13_streaming::install(agent))
    }

    async fn stage(scenes: impl IntoIterator<Item = Scene>) -> Play {
        let next = scene("^next$", [say("fine")]);
        play(scenes.into_iter().chain([next]), |agent, _| equipped(agent)).await
    }

    /// Runs a turn, and stops it once `when` holds: it must end at once.
    async fn stopped(play: &Play, chat: &mut Chat, prompt: &str, when: impl FnMut() -> bool) {
        let interrupt = Interrupt::default();
        let agent = play.agent.clone().with(interrupt.clone());
        let press = async {
            assert!(until(when).await);
            assert!(interrupt.request());
            Instant::now()
        };
        let (end, pressed) = tokio::join!(agent.run(chat, prompt, agent_loop), press);
        assert!(pressed.elapsed() < AT_ONCE);
        assert!(matches!(end, Err(Error::Cancelled)), "{end:?}");
    }

    /// Each block in short: what was typed and said, calls, results, names of what was inserted.
    fn blocks(chat: &Chat) -> Vec<String> {
        let short = |block: &Block| match (block, block.origin()) {
            (_, Some(origin)) if origin.name == "environment" => None,
            (_, Some(origin)) => Some(format!("[{}]", origin.name)),
            (Block::ToolUse { name, .. }, _) => Some(format!("call {name}")),
            (Block::ToolResult { content, .. }, _) => {
                let text: String = content.iter().filter_map(Block::as_text).collect();
                Some(format!("result {text}"))
            }
            (block, _) => block.as_text().map(String::from),
        };
        chat.messages().iter().flat_map(|m| &m.content).filter_map(short).collect()
    }

    /// The conversation is one that the server takes.
    async fn goes_on(play: &Play, chat: &mut Chat) {
        assert_eq!(play.run(chat, "next").await.unwrap().text(), "fine");
    }

    #[tokio::test]
    async fn a_model_that_has_not_begun_to_answer_is_stopped() {
        let play = stage([scene("^go$", [say("late").delay_ms(FOR_LONG)])]).await;
        let mut chat = Chat::default();
        stopped(&play, &mut chat, "go", || play.server.request_count() == 1).await;
        assert_eq!(blocks(&chat), ["go", "[interrupt]"]);
        goes_on(&play, &mut chat).await;
        assert_eq!(blocks(&chat), ["go", "[interrupt]", "next", "fine"]);
    }

    #[tokio::test]
    async fn what_was_shown_of_an_answer_is_kept() {
        let say = say("one two three four five ".repeat(400)).pace_ms(20);
        let play = stage([scene("^go$", [say])]).await;
        let (mut chat, mut shown) = (Chat::default(), String::new());
        let mut look = || {
            for line in play.ui.take() {
                shown += line.strip_prefix("main: delta ").unwrap_or_default();
            }
            shown.len() > 20
        };
        stopped(&play, &mut chat, "go", &mut look).await;
        look();
        assert_eq!(blocks(&chat), ["go", &shown, "[cut]", "[interrupt]"]);
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn a_command_is_stopped_with_all_its_processes_and_what_it_has_printed_is_kept() {
        let day = marker();
        let turns =
            [calls([bash(format!("echo one; sleep {day} & sleep {day}")), bash("touch x")])];
        // On a busy machine a process may take its time.
        let patient = Interrupts { call_grace: AT_ONCE, turn_grace: AT_ONCE };
        let play = play([scene("^go$", turns), scene("^next$", [say("fine")])], |agent, _| {
            agent.tool(tools::Bash).wrap(patient)
        })
        .await;
        let mut chat = Chat::default();
        stopped(&play, &mut chat, "go", || asleep(&day)).await;
        assert!(gone(&day).await);
        let first = "result one\n[stopped: the person interrupted it]";
        let second = "result not run: the person interrupted the turn";
        let ends = ["go", "call bash", "call bash", first, second, "[interrupt]"];
        assert_eq!(
            (blocks(&chat), play.dir.path().join("x").exists()),
            (ends.map(String::from).into(), false)
        );
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn a_command_that_ignores_the_signal_is_killed() {
        let day = marker();
        let go = [calls([bash(format!("trap '' TERM; sleep {day}; sleep {day}"))])];
        let play = stage([scene("^go$", go)]).await;
        let mut chat = Chat::default();
        stopped(&play, &mut chat, "go", || asleep(&day)).await;
        assert!(gone(&day).await);
        let result = &format!("result {}", Chat::INTERRUPTED);
        assert_eq!(blocks(&chat), ["go", "call bash", result, "[interrupt]"]);
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn an_open_question_is_closed_and_earlier_results_stay() {
        let go = [calls([bash("echo one"), ("ask_person", json!({})), ("hang", json!({}))])];
        let mut play = stage([scene("^go$", go)]).await;
        play.agent = play.agent.ui(Person::default());
        let mut chat = Chat::default();
        let begin = Instant::now();
        stopped(&play, &mut chat, "go", || begin.elapsed() > Duration::from_millis(400)).await;
        let results = [
            "result one\n",
            &format!("result {}", Chat::INTERRUPTED),
            "result not run: the person interrupted the turn",
        ];
        let calls = ["go", "call bash", "call ask_person", "call hang"];
        assert_eq!(blocks(&chat), [&calls[..], &results, &["[interrupt]"]].concat());
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn the_wait_before_another_attempt_is_stopped() {
        let busy = json!({"status": 529, "retry_after": 30, "times": "always"});
        let play = stage([scene("^go$", [say("never").fault(busy)])]).await;
        let mut chat = Chat::default();
        let retries = || play.ui.take().iter().any(|line| line.starts_with("main: retry"));
        stopped(&play, &mut chat, "go", retries).await;
        assert_eq!(blocks(&chat), ["go", "[interrupt]"]);
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn a_compaction_is_stopped_and_nothing_is_lost() {
        let words = || say("word ".repeat(1300));
        let scenes = [
            scene("^Summarise", [say("late").delay_ms(FOR_LONG)]),
            scene("^first", [words()]),
            scene("^second", [words()]),
        ];
        let folder = |dir: &Path| durable::Folder::open(dir, "state").unwrap();
        let play = play(scenes, |agent, dir| {
            install(s06_context_compact::install(agent, 2_500, folder(dir)))
        })
        .await;
        let (_, mut chat) = play.ask("first").await;
        play.run(&mut chat, "second").await.unwrap();
        let mut expected = blocks(&chat);
        expected.extend(["third", "[interrupt]"].map(String::from));
        let asked = play.server.request_count();
        stopped(&play, &mut chat, "third", || play.server.request_count() > asked).await;
        assert_eq!(blocks(&chat), expected);
    }

    #[tokio::test]
    async fn subagents_stop_with_the_call_that_runs_them() {
        let day = marker();
        let jobs = json!({"tasks": [{"description": "x", "prompt": "x"}]});
        let sleeps = calls([bash(format!("sleep {day}; sleep {day}"))]);
        let scenes = [scene("^go$", [call("task", jobs)]), scene("^x$", [sleeps])];
        let play = stage(scenes).await;
        let play = Play { agent: s04_subagent::install(play.agent.clone()), ..play };
        let mut chat = Chat::default();
        stopped(&play, &mut chat, "go", || asleep(&day)).await;
        assert!(gone(&day).await);
        assert_eq!(play.server.request_count(), 2);
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn jobs_and_teammates_live_on() {
        let (job, mate, day) = (marker(), marker(), marker());
        let begin = json!({"command": format!("sleep {job}")});
        let ann = json!({"name": "ann", "role": "helps", "prompt": "begin"});
        let go = [
            calls([("bash_background", begin), ("spawn_teammate", ann)]),
            calls([bash(format!("sleep {day}"))]),
        ];
        let ann =
            calls([bash(format!("touch begun; until [ -e go-on ]; do sleep 0.1; done; : {mate}"))]);
        let scenes = [
            scene("^go$", go),
            scene(r#"from="lead">\s*begin"#, [ann, calls([bash("touch done")]), say("done")]),
            scene("^next$", [say("fine")]),
        ];
        let folder = tempfile::tempdir().unwrap();
        let state = durable::Folder::open(folder.path(), "").unwrap();
        let mailboxes = rungs_mailbox::Mailboxes::open(&state).await.unwrap();
        let team = s09_agent_teams::Team::new(mailboxes);
        let play = play(scenes, |agent, _| {
            let agent = s08_background_tasks::install(agent.tool(tools::Bash), state.clone());
            install(s09_agent_teams::install(agent, &team))
        })
        .await;
        let (mut chat, begun) = (Chat::default(), play.dir.path().join("begun"));
        stopped(&play, &mut chat, "go", || alive(&day) && begun.exists()).await;
        assert!(gone(&day).await);
        assert_eq!((alive(&job), alive(&mate)), (true, true));
        std::fs::write(play.dir.path().join("go-on"), "").unwrap();
        assert!(until(|| play.dir.path().join("done").exists()).await);
        goes_on(&play, &mut chat).await;
        play.agent.exit().await;
        assert!(gone(&job).await);
    }

    #[tokio::test]
    async fn what_was_stopped_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let state = durable::Folder::open(folder.path(), "").unwrap();
            SessionLog::open(&state, vec![]).unwrap()
        };
        let go = [calls([bash("echo one")]), say("two three four ".repeat(800)).pace_ms(20)];
        let log = open();
        let play = play([scene("^go$", go)], |agent, _| {
            s17_session_management::install(equipped(agent), &log)
        })
        .await;
        let mut chat = Chat::default();
        let begun = || play.ui.take().iter().any(|line| line.starts_with("main: delta two"));
        stopped(&play, &mut chat, "go", begun).await;
        drop((play, log));
        let play = stage([]).await;
        let mut saved = open().resume(chat.id(), &play.agent.context()).await.unwrap();
        assert_eq!((blocks(&saved), blocks(&saved).len()), (blocks(&chat), 6));
        goes_on(&play, &mut saved).await;
    }

    #[tokio::test]
    async fn a_turn_can_be_stopped_at_any_moment() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let step = |n: u32| bash(format!("sleep 0.0{n}; echo {n}"));
        let steps =
            calls([step(1), step(4), ("ask_person", json!({}))]).think("hm").say("look at it");
        let go = [calls([step(2), step(3)]).think("hm").pace_ms(2), steps.pace_ms(2)];
        let mut play = stage([scene("^go$", go)]).await;
        let agent = s18_parallel_tools::install(play.agent.clone().ui(Person::default()), 8);
        play.agent = agent;
        let mut chat = Chat::default();
        for _ in 0..if std::env::var_os("LONG").is_some() { 300 } else { 8 } {
            let interrupt = Interrupt::default();
            let agent = play.agent.clone().with(interrupt.clone());
            let after = Duration::from_millis(random.u64(..300));
            let press = async {
                tokio::time::sleep(after).await;
                interrupt.request();
            };
            let (end, ()) = tokio::join!(agent.run(&mut chat, "go", agent_loop), press);
            assert!(matches!(end, Err(Error::Cancelled)), "{after:?} {end:?}");
            assert!(chat.open_calls().is_empty());
            goes_on(&play, &mut chat).await;
        }
    }

    /// Never gives a result, and hears nothing.
    struct Stuck;

    impl Layer for Stuck {
        async fn batch(&self, _: Vec<ToolCall>, _: &Context, _: NextBatch<'_>) -> Vec<ToolResult> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_layer_that_does_not_stop_is_dropped_and_its_calls_are_answered() {
        let play = stage([scene("^go$", [calls([bash("true")])])]).await;
        let play = Play { agent: play.agent.clone().wrap(Stuck), ..play };
        let (mut chat, begin) = (Chat::default(), Instant::now());
        let later = || begin.elapsed() > Duration::from_millis(300);
        stopped(&play, &mut chat, "go", later).await;
        let result = &format!("result {}", Chat::INTERRUPTED);
        assert_eq!(blocks(&chat), ["go", "call bash", result, "[interrupt]"]);
        goes_on(&play, &mut chat).await;
    }

    #[tokio::test]
    async fn lines_typed_meanwhile_join_the_next_step_as_the_person_s_own() {
        let go = [
            call("task", json!({"tasks": [{"description": "x", "prompt": "x"}]})),
            say("all {{ texts | join('+') }}"),
        ];
        let x = [call("bash", json!({"command": "echo one"})), say("sub {{ texts | join('+') }}")];
        let typed = [None, Some("be quick"), Some("and kind"), None];
        let play = play([scene("^go$", go), scene("^x$", x)], |agent, _| {
            s04_subagent::install(equipped(agent.ui(Person(Mutex::new(typed.into())))))
        })
        .await;
        let (reply, chat) = play.ask("go").await;
        // A subagent, which takes two steps meanwhile, leaves them alone.
        assert_eq!(reply, "all be quick+and kind");
        let result = "result # x\nsub ";
        assert_eq!(blocks(&chat), ["go", "call task", result, "be quick", "and kind", &reply]);
        let typed: Vec<&str> = chat.messages()[2].typed().collect();
        assert_eq!(typed, ["be quick", "and kind"]);
    }
    #[tokio::test]
    async fn what_a_hook_blocks_does_not_join_and_the_turn_goes_on() {
        let go = [calls([bash("echo one")]), say("done")];
        let typed = [None, Some("bad"), Some("good"), None];
        let play = play([scene("^go$", go)], |agent, _| {
            let hooks = PromptHooks::new(async |prompt: String| match prompt.as_str() {
                "bad" => Verdict { stop: Some("no".into()), ..Verdict::default() },
                other => Verdict { context: vec![format!("{other}!")], ..Verdict::default() },
            });
            equipped(agent.ui(Person(Mutex::new(typed.into()))).with(hooks))
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let all = ["go", "call bash", "result one\n", "good", "[hook]", "done"];
        assert_eq!(
            (blocks(&chat), inserted(&chat, "hook")),
            (all.map(String::from).into(), vec!["good!".into()])
        );
    }

    #[tokio::test]
    async fn a_line_whose_hook_is_cut_by_a_stop_waits_for_the_next_turn() {
        let (asked, typed) = (CancellationToken::new(), [None, Some("be quick")]);
        let play = play([scene("^go$", [calls([bash("echo one")])])], |agent, _| {
            let asked = asked.clone();
            let hooks = PromptHooks::new(move |_| {
                asked.cancel();
                std::future::pending()
            });
            equipped(agent.ui(Person(Mutex::new(typed.into()))).with(hooks))
        })
        .await;
        let interrupt = Interrupt::default();
        let play = Play { agent: play.agent.clone().with(interrupt.clone()), ..play };
        let mut chat = Chat::default();
        let (end, ()) = tokio::join!(play.run(&mut chat, "go"), async {
            asked.cancelled().await;
            interrupt.request();
        });
        assert!(matches!(end, Err(Error::Cancelled)), "{end:?}");
        assert_eq!(blocks(&chat), ["go", "call bash", "result one\n", "[interrupt]"]);
        assert_eq!(interrupt.given_back().as_deref(), Some("be quick"));
    }
}
