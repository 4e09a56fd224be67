//! # s13: text appears as it arrives
//!
//! A whole reply of a large model takes a minute, and a person who sees nothing for a minute
//! believes that the program hangs. A stream shows the first words after a second. It also brings a
//! new kind of failure: a reply can break off in the middle, when half of it has been read.
//!
//! ```text
//! Model::stream -> delta -> shown, if it is text or thinking
//!                    |
//!                    v
//!                 partial reply -> the stream's last event -> the reply
//!                    |
//!                    | the stream breaks off
//!                    v
//!       text in it?  no -> ask again, after a wait
//!                   yes -> keep the text, marked; turn: ask the model to continue
//! ```
//!
//! New here: a [`Model`] that wraps another one. Layers stand around it and see whole replies only,
//! so no lesson before or after this one needs to know that replies stream. The blocks of a reply
//! arrive as [`Delta`](rungs_core::Delta)s, the same for both wire formats.
//!
//! What is kept of a reply that broke off is its text alone: half the arguments of a call are no
//! call, and thinking without its signature is refused. What was once sent never changes, so the
//! half reply stays in the conversation as it is, and the model continues in its next message.
//!
//! Terms: **server-sent events**, **delta**, **time to first token**, **idle timeout** (for how
//! long a stream may be silent; pings begin it anew), **partial reply**.
//!
//! Run it: `cargo run --example s13_streaming`
//!
//! You will see a reply arrive word by word, dim thinking before it, and one whose connection is
//! cut in the middle of a sentence: what has arrived stays, and the model continues it.
//!
//! Try, and predict first:
//! 1. Ask for the harbour log again, and then type `:messages`. Which message holds the first half
//!    of the sentence, and who asked for the second half?
//! 2. In `config/rehearsals/s13_streaming.yaml`, set `cut_after` of the log to 3. What is shown
//!    now, and what stands in the conversation?
//! 3. Take `.wrap(Continuation)` out of [`install`]. Where does the story end, and what is the exit
//!    code?
//!
//! Pitfalls: a stream that ends without its last event looks like an answer, and is none; a call
//! whose arguments broke off may be valid JSON all the same (`rm -r /tmp/x` from `rm -r /tmp/x/y`);
//! a client that asks again after a cut shows the same words twice; joining the pieces of a long
//! text again and again costs time by the square of its length.
//!
//! A product also renders Markdown while it arrives, shows the arguments of a long `write` as they
//! come, and resumes a stream on the server where that is offered.
//!
//! Builds on s01. Motto: *Tokens print as they arrive.*

use futures_util::StreamExt;
use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, AnyModel, Block, Chat, Context, Delta, Deltas, Error, Event, Layer, Message, Model,
    NextTurn, Reply, Request, Result, StopReason, client::PartialReply,
};
use rungs_http::{Advice, Retries, advice};
use serde_json::json;
use std::{process::ExitCode, sync::Arc};
use tokio::time::sleep;

/// How often in a row the model is asked to continue a reply that breaks off each time.
const MAX_CONTINUATIONS: usize = 5;
/// What stands after the text of a reply that is not whole.
const CUT_MARK: &str = "\n[cut off here]";
const CONTINUE: &str = "<system-reminder>Your reply broke off after these words, since the \
    connection failed. Continue exactly where the text ends: repeat nothing of it, and say nothing \
    about this. If it had tool calls, none of them was run.</system-reminder>";

/// A model that shows each reply while it arrives.
struct Streaming(AnyModel);

impl Model for Streaming {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        let mut retries = Retries::default();
        loop {
            // Until the first delta the client asks again by itself.
            let deltas = self.0.stream(request, cx).await?;
            let mut arriving = Arriving::default();
            let error = match arriving.receive(deltas, cx).await {
                Ok(()) => return Ok(arriving.reply.complete()),
                Err(error) => error,
            };
            let advice = advice_on(&error);
            if arriving.has_text {
                match error {
                    Error::Cancelled => return Ok(arriving.kept(StopReason::Cancelled)),
                    error if advice != Advice::GiveUp => {
                        return Ok(arriving.kept(StopReason::Cut(error.to_string())));
                    }
                    _ => {}
                }
            }
            let Some(wait) = retries.next(&advice) else { return Err(error) };
            if arriving.is_shown {
                cx.emit(Event::ReplyDiscarded);
            }
            let Retries { attempts, max_attempts, .. } = retries;
            let (seconds, why) = (wait.as_secs_f32(), error.to_string());
            cx.emit(Event::Retry { seconds, attempts, max_attempts, why });
            cx.cancel().run_until_cancelled(sleep(wait)).await.ok_or(Error::Cancelled)?;
        }
    }

    async fn stream(&self, request: &Request, cx: &Context) -> Result<Deltas> {
        self.0.stream(request, cx).await
    }
}

/// Whether it helps to ask again for a reply that broke off with this error: the server's own
/// errors mean what they mean as the status of a response.
fn advice_on(error: &Error) -> Advice {
    match error {
        Error::Net { .. } | Error::Unreadable { .. } => Advice::Retry(None),
        Error::Api { status, kind, .. } => {
            advice(*status, &json!({ "type": kind }), &Default::default())
        }
        _ => Advice::GiveUp,
    }
}

/// A reply on its way.
#[derive(Default)]
struct Arriving {
    reply: PartialReply,
    /// Whether anything of it was shown.
    is_shown: bool,
    /// Whether text is among that.
    has_text: bool,
    /// White space, not shown yet: a block of nothing else is left out of the reply.
    blank: String,
}

impl Arriving {
    /// Shows the deltas, and puts them together, until the last one.
    async fn receive(&mut self, mut deltas: Deltas, cx: &Context) -> Result<()> {
        loop {
            let next = cx.cancel().run_until_cancelled(deltas.next()).await;
            match next.ok_or(Error::Cancelled)? {
                Some(delta) => self.add(delta?, cx),
                None => return Ok(()),
            }
        }
    }

    fn add(&mut self, delta: Delta, cx: &Context) {
        match &delta {
            Delta::Open { block: Block::Text { text, .. }, .. } => {
                self.blank.clear();
                self.show_text(text, cx);
            }
            Delta::Text { text, .. } => self.show_text(text, cx),
            Delta::Thinking { text, .. } if !text.is_empty() => {
                self.is_shown = true;
                cx.emit(Event::ThinkingDelta(text.clone()));
            }
            _ => {}
        }
        self.reply.add(delta);
    }

    fn show_text(&mut self, text: &str, cx: &Context) {
        self.blank.push_str(text);
        if !text.trim().is_empty() {
            (self.is_shown, self.has_text) = (true, true);
            cx.emit(Event::TextDelta(std::mem::take(&mut self.blank)));
        }
    }

    /// What is kept of a reply that is not whole: its text, marked.
    fn kept(self, stop: StopReason) -> Reply {
        let Reply { message, usage, .. } = self.reply.complete();
        let texts = message.content.iter().filter(|block| block.as_text().is_some());
        let mut content: Vec<Block> = texts.cloned().collect();
        content.push(Block::inserted("cut", CUT_MARK));
        Reply { message: Arc::new(Message::assistant(content)), usage, stop }
    }
}

/// Asks the model to continue a reply that broke off.
struct Continuation;

impl Layer for Continuation {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let mut reply = next.run(chat, cx).await?;
        for _ in 0..MAX_CONTINUATIONS {
            let StopReason::Cut(why) = &reply.stop else { return Ok(reply) };
            cx.notice(format!("{why}; the model is asked to continue"));
            chat.push(Message::inserted("continue", CONTINUE));
            reply = next.run(chat, cx).await?;
        }
        Err(Error::Limit("continuations of a reply that broke off each time", MAX_CONTINUATIONS))
    }
}

/// Puts the mechanism between the agent and its model.
pub fn install(agent: Agent) -> Agent {
    agent.model(Streaming).wrap(Continuation)
}

/// The agent of lesson one, whose replies appear as they arrive.
pub fn main() -> ExitCode {
    lessons::run("s13_streaming", async |stage| Ok(install(stage.agent())), agent_loop)
}
