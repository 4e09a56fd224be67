//! Dispatch: the five chains through which everything passes, and [`Layer`], the form of a
//! mechanism that is more than a tool.
//!
//! ```text
//! turn   one prompt to its end           edits of the chat stay
//! ask    one step: from chat to reply    edits of the chat stay
//! send   one request on the wire         edits are for this request only
//! batch  all calls of one reply
//! act    one tool call
//! ```
//!
//! `next` is `Copy`: a layer may run it once, many times, or not at all. Retry, cache hit, "push
//! something and ask again", interrupt and refusal all have that one shape.
use crate::{
    Agent, Block, Chat, Context, Error, Event, Message, Model, Reply, Replying, Request, Result,
    Role, StopReason, ToolCall, ToolResult, Usage, context::Shown,
};
use futures_util::{FutureExt, future::BoxFuture};
use rungs_files::shorten;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::{collections::HashSet, future::Future, panic::AssertUnwindSafe};

/// How often a reply that pauses for a server's own tools is sent back before that counts as an
/// error.
const MAX_PAUSES: usize = 10;
/// How much is shown of the words with which the model declines.
const MAX_QUOTED_BYTES: usize = 500;

/// A mechanism that is more than a tool. The newest layer is the outermost, unless
/// [`Agent::arrange`] sets another order.
pub trait Layer: Send + Sync + 'static {
    /// Around one prompt, from the moment it is in the chat to the last reply. After `next` every
    /// call is answered, and if the prompt was withdrawn, chat and states are as before it.
    fn turn(
        &self,
        chat: &mut Chat,
        cx: &Context,
        next: NextTurn<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        next.run(chat, cx)
    }

    /// Around one step of the loop: from the chat to a reply. Edits of the chat stay. It may be
    /// dropped at any await, so wait first and edit the chat after. A reply that it does not return
    /// was never said.
    fn ask(
        &self,
        chat: &mut Chat,
        cx: &Context,
        next: NextAsk<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        next.run(chat, cx)
    }

    /// Around one request on the wire. Edits are for this request only; what the conversation must
    /// remember belongs in `ask`.
    fn send(
        &self,
        request: Request,
        cx: &Context,
        next: NextSend<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        next.run(request, cx)
    }

    /// Around all calls of one reply. Whatever it does, each call gets one result, in the order of
    /// the calls. It may run `next` on some of the calls at a time, also concurrently: the layers
    /// further in then see each part as a batch.
    fn batch(
        &self,
        calls: Vec<ToolCall>,
        cx: &Context,
        next: NextBatch<'_>,
    ) -> impl Future<Output = Vec<ToolResult>> + Send {
        next.run(calls, cx)
    }

    /// Around one tool call. To refuse it, return [`ToolCall::refuse`] and do not run `next`.
    fn act(
        &self,
        call: ToolCall,
        cx: &Context,
        next: NextAct<'_>,
    ) -> impl Future<Output = ToolResult> + Send {
        next.run(call, cx)
    }

    /// Whether it wraps this child too. A layer that restricts does; one that inserts text, or
    /// serves the person, does not.
    fn follows(&self, _child: &Context) -> bool {
        true
    }

    /// Its name in [`Agent::arrange`] and [`Agent::layers`]: the name of its type.
    fn name(&self) -> &'static str {
        let whole = std::any::type_name::<Self>();
        let path = whole.split('<').next().unwrap_or(whole);
        path.rsplit("::").next().unwrap_or(path)
    }
}

type Batch<'a> = BoxFuture<'a, Vec<ToolResult>>;
type Acting<'a> = BoxFuture<'a, ToolResult>;

/// The object-safe form of [`Layer`].
pub(crate) trait DynLayer: Send + Sync {
    fn turn<'a>(&'a self, _: &'a mut Chat, _: &'a Context, _: NextTurn<'a>) -> Replying<'a>;
    fn ask<'a>(&'a self, _: &'a mut Chat, _: &'a Context, _: NextAsk<'a>) -> Replying<'a>;
    fn send<'a>(&'a self, _: Request, _: &'a Context, _: NextSend<'a>) -> Replying<'a>;
    fn batch<'a>(&'a self, _: Vec<ToolCall>, _: &'a Context, _: NextBatch<'a>) -> Batch<'a>;
    fn act<'a>(&'a self, _: ToolCall, _: &'a Context, _: NextAct<'a>) -> Acting<'a>;
    fn follows(&self, child: &Context) -> bool;
    fn name(&self) -> &'static str;
}

impl<L: Layer> DynLayer for L {
    fn turn<'a>(&'a self, chat: &'a mut Chat, cx: &'a Context, next: NextTurn<'a>) -> Replying<'a> {
        Box::pin(Layer::turn(self, chat, cx, next))
    }
    fn ask<'a>(&'a self, chat: &'a mut Chat, cx: &'a Context, next: NextAsk<'a>) -> Replying<'a> {
        Box::pin(Layer::ask(self, chat, cx, next))
    }
    fn send<'a>(&'a self, request: Request, cx: &'a Context, next: NextSend<'a>) -> Replying<'a> {
        Box::pin(Layer::send(self, request, cx, next))
    }
    fn batch<'a>(
        &'a self,
        calls: Vec<ToolCall>,
        cx: &'a Context,
        next: NextBatch<'a>,
    ) -> Batch<'a> {
        Box::pin(Layer::batch(self, calls, cx, next))
    }
    fn act<'a>(&'a self, call: ToolCall, cx: &'a Context, next: NextAct<'a>) -> Acting<'a> {
        Box::pin(Layer::act(self, call, cx, next))
    }
    fn follows(&self, child: &Context) -> bool {
        Layer::follows(self, child)
    }
    fn name(&self) -> &'static str {
        Layer::name(self)
    }
}

/// An agent's loop: any `async fn(&Agent, &mut Chat) -> Result<Reply>`. It is a trait of its own
/// because a bound on the future of an async function cannot be written otherwise.
pub trait Loop<'a>: Send + Sync {
    /// Starts it.
    fn start(&self, agent: &'a Agent, chat: &'a mut Chat) -> Replying<'a>;
}

impl<'a, F, Fut> Loop<'a> for F
where
    F: Fn(&'a Agent, &'a mut Chat) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Reply>> + Send + 'a,
{
    fn start(&self, agent: &'a Agent, chat: &'a mut Chat) -> Replying<'a> {
        Box::pin(self(agent, chat))
    }
}

type Layers<'a> = &'a [Arc<dyn DynLayer>];

/// The inner part of the `turn` chain: the layers further in, then the loop.
#[derive(Clone, Copy)]
pub struct NextTurn<'a> {
    pub(crate) layers: Layers<'a>,
    pub(crate) agent_loop: &'a dyn for<'b> Loop<'b>,
    pub(crate) prompt: &'a Message,
    pub(crate) before: &'a Chat,
}

/// The inner part of the `ask` chain: the layers further in, then `send`.
#[derive(Clone, Copy)]
pub struct NextAsk<'a>(pub(crate) Layers<'a>);

/// The inner part of the `send` chain: the layers further in, then the model.
#[derive(Clone, Copy)]
pub struct NextSend<'a>(pub(crate) Layers<'a>);

/// The inner part of the `batch` chain: the layers further in, then one `act` after another.
#[derive(Clone, Copy)]
pub struct NextBatch<'a>(pub(crate) Layers<'a>);

/// The inner part of the `act` chain: the layers further in, then the tool.
#[derive(Clone, Copy)]
pub struct NextAct<'a>(pub(crate) Layers<'a>);

impl<'a> NextTurn<'a> {
    /// What the turn began with; empty when nobody typed anything. In the chat it may have joined
    /// an unanswered message.
    pub fn prompt(self) -> &'a Message {
        self.prompt
    }

    /// Runs the loop within the layers further in. What is pushed before another run is what the
    /// model answers then.
    ///
    /// # Errors
    /// Whatever ends the turn. If that [withdraws](Error::withdraws) the request, the chat is back
    /// at the last step that the server accepted, or as it was before the prompt.
    pub async fn run(self, chat: &mut Chat, cx: &Context) -> Result<Reply> {
        // A layer may have put another chat in place, and its states with it.
        cx.follow(chat);
        let end = match self.layers.split_first() {
            Some((layer, layers)) => layer.turn(chat, cx, NextTurn { layers, ..self }).await,
            None => {
                cx.progress().withdrawn = false;
                // Only now: a layer may have waited for a source.
                let end = self.agent_loop.start(&cx.agent.listed(), chat).await;
                // It waits for what it runs.
                chat.close_open_calls("not run: the turn ended");
                end
            }
        };
        chat.close_open_calls(Chat::INTERRUPTED);
        match &end {
            Err(error) if error.withdraws() => cx.progress().withdraw(chat, self.before),
            // If this goes on, what was added may be the cause.
            Err(Error::Api { status: 403 | 404 | 500, .. }) => chat.refused = true,
            _ => {}
        }
        cx.follow(chat);
        end
    }
}

impl NextAsk<'_> {
    /// Asks the model through the layers further in.
    ///
    /// # Errors
    /// Whatever keeps the model from answering.
    pub async fn run(self, chat: &mut Chat, cx: &Context) -> Result<Reply> {
        cx.follow(chat);
        let end = match self.0.split_first() {
            Some((layer, rest)) => layer.ask(chat, cx, NextAsk(rest)).await,
            None => ask_model(chat, cx).await,
        };
        cx.follow(chat);
        end
    }
}

async fn ask_model(chat: &mut Chat, cx: &Context) -> Result<Reply> {
    if cx.cancel().is_cancelled() {
        return Err(Error::Cancelled);
    }
    // Whatever happened before, a request never leaves with an unanswered call.
    chat.close_open_calls(Chat::INTERRUPTED);
    if !chat.awaits_reply() {
        return Err(Error::NothingToAnswer);
    }
    let mut end = unpaused(cx.request(chat), cx).await;
    while let Err(error) = &end
        && error.is_about_picture()
    {
        // It would stand in the way of every later request.
        let note = format!("[a picture stood here, which the server refused: {error}]");
        let count = chat.replace_pictures(&note);
        if count == 0 {
            break;
        }
        cx.notice(format!("pictures left out: {count}, since {error}"));
        end = unpaused(cx.request(chat), cx).await;
    }
    if matches!(end, Err(Error::Api { status: 400 | 403 | 404 | 422 | 500, .. }))
        && let Some(reply) = mended(chat, cx).await
    {
        end = Ok(reply);
    }
    let reply = end?;
    chat.accept();
    finished(reply)
}

/// Some servers refuse what they said themselves: thinking that is bound to another account, a
/// block of a type that they only send. If they take the conversation without it, it goes on
/// without it; else every later prompt would be refused.
async fn mended(chat: &mut Chat, cx: &Context) -> Option<Reply> {
    let mut mended = vec![chat.without_opaque()];
    if chat.refused {
        mended.push(chat.without_unaccepted(
            "The last reply was taken out, since the server refuses it. What its calls did stays.",
        ));
    }
    for messages in mended {
        if messages == chat.messages() {
            continue;
        }
        let request = Request { messages, ..cx.request(chat) };
        if let Ok(reply) = unpaused(request.clone(), cx).await {
            chat.mend(request.messages);
            cx.notice("the server refuses a part of its last reply; it was taken out");
            return Some(reply);
        }
    }
    None
}

/// Sends, and sends a paused reply back unchanged until it is whole: one reply in all.
async fn unpaused(mut request: Request, cx: &Context) -> Result<Reply> {
    let next = NextSend(&cx.agent.parts.layers);
    let mut reply = next.run(request.clone(), cx).await?;
    fit(&mut reply, &request);
    for _ in 0..MAX_PAUSES {
        if reply.stop != StopReason::PauseTurn {
            return Ok(reply);
        }
        request.messages.push(reply.message.clone());
        // What was shown of the reply so far stays: more of it follows.
        let shown = cx.agent.scope.deltas_shown.swap(false, Relaxed);
        let more = next.run(request.clone(), cx).await;
        cx.agent.scope.deltas_shown.fetch_or(shown, Relaxed);
        let mut more = more?;
        fit(&mut more, &request);
        request.messages.pop();
        let content = reply.message.content.iter().chain(&more.message.content).cloned().collect();
        let message = Arc::new(Message { role: Role::Assistant, content });
        // The newest request holds the whole prompt; only the output adds up.
        let output_tokens = reply.usage.output_tokens + more.usage.output_tokens;
        reply = Reply { message, usage: Usage { output_tokens, ..more.usage }, stop: more.stop };
    }
    Err(Error::Limit("pauses of one reply", MAX_PAUSES))
}

/// Makes a reply such that it can stand after this request, whatever the server sent: each call has
/// an id that no other call has, nothing is blank, nothing is the person's to say. A pause is one
/// only if a tool of the server is at work.
fn fit(reply: &mut Reply, request: &Request) {
    let content = &mut Arc::make_mut(&mut reply.message).content;
    content.retain(|block| match block {
        Block::ToolResult { .. } | Block::Image { .. } | Block::Document { .. } => false,
        block => !block.is_blank(),
    });
    let is_used = |id: &str| request.messages.iter().any(|message| message.has_call(id));
    let mut ids = HashSet::new();
    for block in content.iter_mut() {
        if let Block::ToolUse { id, .. } = block
            && (id.is_empty() || !ids.insert(id.clone()) || is_used(id))
        {
            *id = format!("call_{:016x}", fastrand::u64(..));
        }
    }
    let waits = content.last().is_some_and(Block::is_of_server_tool);
    if reply.stop == StopReason::PauseTurn && (!waits || !reply.calls().is_empty()) {
        reply.stop = StopReason::EndTurn;
    }
}

/// A reply that is not an answer is an error, and nothing of it enters the chat. (Recovery is a
/// mechanism of its own; it wraps `send`, and sees the reply before this.)
fn finished(reply: Reply) -> Result<Reply> {
    let said = |block: &Block| {
        !block.is_blank() && block.as_thinking().is_none() && block.as_beside().is_none()
    };
    let why = match &reply.stop {
        StopReason::MaxTokens => {
            let tokens = reply.usage.output_tokens;
            let after = if tokens == 0 { String::new() } else { format!(" after {tokens} tokens") };
            format!(
                "the reply was cut{after}, so nothing of it was run or kept; MAX_TOKENS raises \
                 the bound"
            )
        }
        StopReason::Refusal { category } => {
            let mut why = "the model declined to answer".to_string();
            if !category.is_empty() {
                why += &format!(" ({category})");
            }
            let words = reply.text();
            if !words.trim().is_empty() {
                why += &format!(": {}", shorten(words.trim(), MAX_QUOTED_BYTES));
            }
            why
        }
        StopReason::WindowFull => {
            "the conversation fills the model's context window; start a new one".into()
        }
        // Calls at its end may be incomplete.
        StopReason::Other(name) => format!("the model stopped for a reason unknown here: {name}"),
        _ if !reply.message.content.iter().any(said) => {
            "the model gave an empty reply; try again, or say it another way".into()
        }
        _ => return Ok(reply),
    };
    Err(Error::Unfinished { stop: reply.stop, why })
}

impl NextSend<'_> {
    /// Sends the request through the layers further in.
    ///
    /// # Errors
    /// Whatever the model or the wire answers instead of a reply.
    pub async fn run(self, request: Request, cx: &Context) -> Result<Reply> {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.send(request, cx, NextSend(rest)).await;
        }
        // Deltas of an earlier reply, which a layer further out did not want.
        cx.discard_deltas();
        let reply = cx.agent.model.reply(&request, cx).await;
        if reply.is_err() {
            cx.discard_deltas();
        }
        reply
    }
}

impl NextBatch<'_> {
    /// Runs these calls, which may be some of those that came, through the layers further in.
    pub async fn run(self, calls: Vec<ToolCall>, cx: &Context) -> Vec<ToolResult> {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.batch(calls, cx, NextBatch(rest)).await;
        }
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            let shown = Arc::new(call.clone());
            cx.emit(Event::Call(shown.clone(), cx.summary(&call)));
            let cx = cx.with(Shown::default());
            let acting = NextAct(&cx.agent.parts.layers).run(call, &cx);
            // Nothing of the call is used after a panic but its id, so no broken state can be seen.
            let result = match AssertUnwindSafe(acting).catch_unwind().await {
                Ok(result) => result,
                Err(panic) => {
                    shown.refuse(format!("`{}` panicked: {}", shown.name, panic_text(&*panic)))
                }
            };
            let text = cx.shown(&result);
            cx.emit(Event::Result(shown, Arc::new(result.clone()), text));
            results.push(result);
        }
        results
    }
}

impl NextAct<'_> {
    /// Runs one call through the layers further in.
    pub async fn run(self, call: ToolCall, cx: &Context) -> ToolResult {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.act(call, cx, NextAct(rest)).await;
        }
        if cx.cancel().is_cancelled() {
            return call.refuse("not run: the turn was stopped");
        }
        match cx.agent.find(&call.name) {
            Some(tool) => call.finish(tool.call(&call.input, cx).await),
            None => {
                let names = cx.agent.tool_names().join(", ");
                call.refuse(format!("there is no tool `{}`; the tools are {names}", call.name))
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no reason given",
    }
}
