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
//! New here: two tokens with different lives. The turn has one of its own
//! ([`Context::cancel`]), a child of the agent's ([`Context::shutdown`]). Ctrl+C fires the first, so
//! subagents and commands stop; jobs in the background and teammates hang on the second, and live
//! on. The terminal makes the request as a value of the turn, [`Interrupt`].
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
//! You will see five checks, a second each; press Ctrl+C in the middle of one, or type a line and
//! Enter, and go on. Then a long answer: stop it in the middle of a word.
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
struct Interrupts;

impl Layer for Interrupts {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let Some(interrupt) = cx.value::<Interrupt>() else { return next.run(chat, cx).await };
        let end = {
            let mut turn = pin!(next.run(chat, cx));
            tokio::select! {
                end = &mut turn => return end,
                () = interrupt.requested() => cx.cancel().cancel(),
            }
            timeout(TURN_GRACE, turn).await
        };
        match end {
            // It ended by itself in the same moment.
            Ok(Ok(reply)) if reply.stop != StopReason::Cancelled => Ok(reply),
            Ok(Err(error)) if !matches!(error, Error::Cancelled) => Err(error),
            _ => {
                chat.close_open_calls("stopped: the person interrupted the turn");
                chat.push(Message::inserted("interrupt", NOTE));
                Err(Error::Cancelled)
            }
        }
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        // What is typed after Ctrl+C is for the next turn.
        while !cx.cancel().is_cancelled()
            && let Some(line) = cx.typed()
        {
            cx.notice(format!("joins the turn: {line}"));
            chat.push(Message::user(line));
        }
        next.run(chat, cx).await
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        if cx.cancel().is_cancelled() {
            return call.refuse("not run: the person interrupted the turn");
        }
        let stopped = call.refuse("stopped: the person interrupted it");
        let mut running = pin!(next.run(call, cx));
        tokio::select! {
            result = &mut running => result,
            () = cx.cancel().cancelled() => timeout(CALL_GRACE, running).await.unwrap_or(stopped),
        }
    }

    /// A subagent stops with the call that runs it; what is typed is for the agent that the person
    /// talks to.
    fn follows(&self, _child: &Context) -> bool {
        false
    }
}

/// Adds the mechanism. The prompt makes the request to stop; a program without one gives its own:
/// `agent.with(Interrupt::default())`.
pub fn install(agent: Agent) -> Agent {
    agent.wrap(Interrupts)
}

/// The agent of lesson 13, which can be stopped and told.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| Ok(install(s13_streaming::install(stage.agent())));
    lessons::run("s19_interrupts", build, agent_loop)
}
