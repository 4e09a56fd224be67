//! Dispatch: the four chains through which everything passes, and [`Layer`], what a mechanism is made of.
//!
//! ```text
//! ask    one model turn            edits of the chat stay
//! send   one request on the wire   edits are for this request only
//! batch  all calls of one reply
//! act    one tool call
//! ```
//!
//! `next` is `Copy`: a layer may run it once, many times, or not at all. Retry, cache hit, "tell it and ask again",
//! interrupt and refusal are all that one shape.
use crate::{
    Block, BoxFuture, Chat, Context, Error, Event, Message, Model, Outcome, Reply, Request, Result,
    Role, Stop, ToolCall, Usage,
};
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

/// How often a reply that pauses for a server's own tools is sent back before that counts as a fault.
const PAUSES: usize = 10;

/// A mechanism that is more than a tool. The newest layer is the outermost.
pub trait Layer: Send + Sync + 'static {
    /// Around one model turn: from the chat to a reply. Edits of the chat stay. It may be dropped at any await, so
    /// wait first and edit the chat after.
    fn ask(
        &self,
        chat: &mut Chat,
        cx: &Context,
        next: NextAsk<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        next.run(chat, cx)
    }

    /// Around one request on the wire. Edits are for this request only; what the conversation must remember belongs into `ask`.
    fn send(
        &self,
        request: Request,
        cx: &Context,
        next: NextSend<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        next.run(request, cx)
    }

    /// Around all calls of one reply. Whatever it does, each call gets one result, in the order of the calls.
    fn batch(
        &self,
        calls: Vec<ToolCall>,
        cx: &Context,
        next: NextBatch<'_>,
    ) -> impl Future<Output = Vec<Outcome>> + Send {
        next.run(calls, cx)
    }

    /// Around one tool call. To refuse it, answer with [`ToolCall::refuse`] and don't run `next`.
    fn act(
        &self,
        call: ToolCall,
        cx: &Context,
        next: NextAct<'_>,
    ) -> impl Future<Output = Outcome> + Send {
        next.run(call, cx)
    }

    /// Whether it binds this child too. What restricts does; what feeds or serves the person does not.
    fn follows(&self, _child: &Context) -> bool {
        true
    }
}

/// A layer that something else holds too, such as its commands.
impl<L: Layer> Layer for Arc<L> {
    fn ask(
        &self,
        chat: &mut Chat,
        cx: &Context,
        next: NextAsk<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        L::ask(self, chat, cx, next)
    }
    fn send(
        &self,
        request: Request,
        cx: &Context,
        next: NextSend<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        L::send(self, request, cx, next)
    }
    fn batch(
        &self,
        calls: Vec<ToolCall>,
        cx: &Context,
        next: NextBatch<'_>,
    ) -> impl Future<Output = Vec<Outcome>> + Send {
        L::batch(self, calls, cx, next)
    }
    fn act(
        &self,
        call: ToolCall,
        cx: &Context,
        next: NextAct<'_>,
    ) -> impl Future<Output = Outcome> + Send {
        L::act(self, call, cx, next)
    }
    fn follows(&self, child: &Context) -> bool {
        L::follows(self, child)
    }
}

/// The twin of [`Layer`] that can stand behind a pointer.
pub(crate) trait DynLayer: Send + Sync {
    fn ask<'a>(
        &'a self,
        chat: &'a mut Chat,
        cx: &'a Context,
        next: NextAsk<'a>,
    ) -> BoxFuture<'a, Result<Reply>>;
    fn send<'a>(
        &'a self,
        request: Request,
        cx: &'a Context,
        next: NextSend<'a>,
    ) -> BoxFuture<'a, Result<Reply>>;
    fn batch<'a>(
        &'a self,
        calls: Vec<ToolCall>,
        cx: &'a Context,
        next: NextBatch<'a>,
    ) -> BoxFuture<'a, Vec<Outcome>>;
    fn act<'a>(
        &'a self,
        call: ToolCall,
        cx: &'a Context,
        next: NextAct<'a>,
    ) -> BoxFuture<'a, Outcome>;
    fn follows(&self, child: &Context) -> bool;
}

impl<L: Layer> DynLayer for L {
    fn ask<'a>(
        &'a self,
        chat: &'a mut Chat,
        cx: &'a Context,
        next: NextAsk<'a>,
    ) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(Layer::ask(self, chat, cx, next))
    }
    fn send<'a>(
        &'a self,
        request: Request,
        cx: &'a Context,
        next: NextSend<'a>,
    ) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(Layer::send(self, request, cx, next))
    }
    fn batch<'a>(
        &'a self,
        calls: Vec<ToolCall>,
        cx: &'a Context,
        next: NextBatch<'a>,
    ) -> BoxFuture<'a, Vec<Outcome>> {
        Box::pin(Layer::batch(self, calls, cx, next))
    }
    fn act<'a>(
        &'a self,
        call: ToolCall,
        cx: &'a Context,
        next: NextAct<'a>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(Layer::act(self, call, cx, next))
    }
    fn follows(&self, child: &Context) -> bool {
        Layer::follows(self, child)
    }
}

/// The rest of the way of one turn: the layers further in, then the wire.
#[derive(Clone, Copy)]
pub struct NextAsk<'a>(pub(crate) &'a [Arc<dyn DynLayer>]);

/// The rest of the way of one request: the layers further in, then the model.
#[derive(Clone, Copy)]
pub struct NextSend<'a>(pub(crate) &'a [Arc<dyn DynLayer>]);

/// The rest of the way of a batch: the layers further in, then one call after another.
#[derive(Clone, Copy)]
pub struct NextBatch<'a>(pub(crate) &'a [Arc<dyn DynLayer>]);

/// The rest of the way of one call: the layers further in, then the tool.
#[derive(Clone, Copy)]
pub struct NextAct<'a>(pub(crate) &'a [Arc<dyn DynLayer>]);

impl NextAsk<'_> {
    /// Goes on.
    pub async fn run(self, chat: &mut Chat, cx: &Context) -> Result<Reply> {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.ask(chat, cx, NextAsk(rest)).await;
        }
        // Whatever happened before: a request never leaves with an unanswered call.
        chat.close_open_calls("not run: the turn was interrupted");
        if !chat.awaits_reply() {
            return Err(Error::NothingToAnswer);
        }
        let reply = unpaused(cx.request(chat), cx).await?;
        cx.emit(Event::Reply(reply.clone()));
        finished(reply)
    }
}

/// Sends, and sends a paused reply back unchanged until it is whole: one reply in all.
async fn unpaused(mut request: Request, cx: &Context) -> Result<Reply> {
    let next = NextSend(&cx.agent.parts.layers);
    let mut reply = next.run(request.clone(), cx).await?;
    for _ in 0..PAUSES {
        if reply.stop != Stop::PauseTurn {
            return Ok(reply);
        }
        request.messages.push(reply.message.clone());
        let more = next.run(request.clone(), cx).await?;
        request.messages.pop();
        let content = reply.message.content.iter().chain(&more.message.content).cloned().collect();
        reply = Reply { message: Arc::new(Message { role: Role::Assistant, content }), ..reply };
        // The newest request holds the whole prompt; only the output adds up.
        let output_tokens = reply.usage.output_tokens + more.usage.output_tokens;
        reply.usage = Usage { output_tokens, ..more.usage };
        reply.stop = more.stop;
    }
    Err(Error::Limit("pauses of one reply", PAUSES))
}

/// A reply that is not an answer is an error: one honest line, and nothing of it enters the chat. (Recovery is a
/// mechanism of its own; it stands further in, and sees the reply before this.)
fn finished(reply: Reply) -> Result<Reply> {
    let said = |block: &Block| match block.as_text() {
        Some(text) => !text.trim().is_empty(),
        None => block.as_thinking().is_none(),
    };
    let why = match &reply.stop {
        Stop::MaxTokens => {
            let after = match reply.usage.output_tokens {
                0 => String::new(),
                tokens => format!(" after {tokens} tokens"),
            };
            format!(
                "the reply was cut{after}, so nothing of it was run or kept; MAX_TOKENS raises the bound"
            )
        }
        Stop::Refusal { category } if category.is_empty() => "the model declined to answer".into(),
        Stop::Refusal { category } => format!("the model declined to answer ({category})"),
        Stop::WindowFull => {
            "the conversation fills the model's context window; start a new one".into()
        }
        // Nobody vouches that calls at its end are whole.
        Stop::Other(reason) => {
            format!("the model stopped for a reason unknown here: {reason}")
        }
        _ if !reply.message.content.iter().any(said) => {
            "the model gave an empty reply; try again, or say it another way".into()
        }
        _ => return Ok(reply),
    };
    Err(Error::Unfinished { stop: reply.stop, why })
}

impl NextSend<'_> {
    /// Goes on.
    pub async fn run(self, request: Request, cx: &Context) -> Result<Reply> {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.send(request, cx, NextSend(rest)).await;
        }
        let reply = cx.agent.parts.model.reply(&request, cx).await;
        if reply.is_err() {
            cx.emit(Event::Lost);
        }
        reply
    }
}

impl NextBatch<'_> {
    /// Goes on.
    pub async fn run(self, calls: Vec<ToolCall>, cx: &Context) -> Vec<Outcome> {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.batch(calls, cx, NextBatch(rest)).await;
        }
        let mut outcomes = Vec::with_capacity(calls.len());
        for call in calls {
            outcomes.push(self.one(call, cx).await);
        }
        outcomes
    }

    /// One of the calls, through every layer's `act` (and past the `batch` of the layers further in).
    pub async fn one(self, call: ToolCall, cx: &Context) -> Outcome {
        let shown = Arc::new(call.clone());
        cx.emit(Event::Call(shown.clone()));
        let acting = NextAct(&cx.agent.parts.layers).run(call, cx);
        let outcome = match unpanicked(acting).await {
            Ok(outcome) => outcome,
            Err(why) => shown.refuse(format!("`{}` panicked: {why}", shown.name)),
        };
        cx.emit(Event::Outcome(shown, Arc::new(outcome.clone())));
        outcome
    }
}

impl NextAct<'_> {
    /// Goes on.
    pub async fn run(self, call: ToolCall, cx: &Context) -> Outcome {
        if let Some((layer, rest)) = self.0.split_first() {
            return layer.act(call, cx, NextAct(rest)).await;
        }
        let tools = &cx.agent.parts.tools;
        match tools.iter().find(|(spec, _)| spec.name == call.name) {
            None => {
                let names: Vec<&str> = tools.iter().map(|(spec, _)| spec.name.as_str()).collect();
                call.refuse(format!(
                    "there is no tool `{}`; the tools are {}",
                    call.name,
                    names.join(", ")
                ))
            }
            Some(_) if !call.input.is_object() => call.refuse(format!(
                "the arguments are no JSON object (were they cut?): {}",
                call.input
            )),
            Some((_, tool)) => call.finish(tool.call(call.input.clone(), cx).await),
        }
    }
}

/// Runs the future; a panic in it becomes words.
async fn unpanicked<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|task| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(match panic.downcast::<String>() {
                Ok(text) => *text,
                Err(panic) => {
                    panic.downcast_ref::<&str>().unwrap_or(&"no reason given").to_string()
                }
            })),
        }
    })
    .await
}
