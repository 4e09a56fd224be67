//! The client: what is asked, what is answered, and the two wire formats behind one [`Client`].
mod anthropic;
mod endpoint;
mod http;
mod openai;
mod stream;

pub use endpoint::{Auth, Endpoint, Format, Limits, Secret};
pub use rungs_json::{CacheCreation, Usage};
pub use stream::PartialReply;

use crate::{Block, Chat, Context, Error, Message, Replying, Result, ToolCall, ToolSpec};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use http::{Http, Outgoing};
use reqwest::Response;
use serde_json::{Map, Value};
use std::future::Future;
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};

/// One request: made fresh from the chat for each turn, free to edit, thrown away. Cloning copies
/// pointers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Another model than the client's own.
    pub model: Option<String>,
    /// Another bound on the tokens of the reply than the client's own.
    pub max_tokens: Option<u32>,
    /// The system text, in sections.
    pub system: Vec<Arc<str>>,
    /// What the model may call; their order is part of the cache's key.
    pub tools: Vec<Arc<ToolSpec>>,
    /// The conversation.
    pub messages: Vec<Arc<Message>>,
    /// Where the prompt cache may cut.
    pub marks: Vec<Mark>,
    /// Any other field of the body, as it is: `thinking`, `output_config`, `tool_choice`. Nothing
    /// is sent unasked.
    pub extra: Map<String, Value>,
}

impl Request {
    /// Just these messages: no system text, no tools.
    pub fn of(chat: &Chat) -> Self {
        Request { messages: chat.messages().to_vec(), ..Request::default() }
    }
}

/// A breakpoint of the prompt cache: all that stands before it, and it, is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// After what.
    pub place: Place,
    /// For how long.
    pub lifetime: Lifetime,
}

/// Where a [`Mark`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// After the last tool.
    Tools,
    /// After this section of the system text.
    System(usize),
    /// After this block of this message.
    Block {
        /// Index into [`Request::messages`].
        message: usize,
        /// Index into its content.
        block: usize,
    },
}

/// How long the prompt cache keeps an entry that nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Five minutes, the default.
    FiveMinutes,
    /// An hour, at a higher price; must stand before the five-minute marks.
    Hour,
}

/// Why the model stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StopReason {
    /// It had no more to say.
    #[default]
    EndTurn,
    /// It waits for tools.
    ToolUse,
    /// The reply reached `max_tokens`; a call at its end may be incomplete.
    MaxTokens,
    /// A stop sequence of the request.
    StopSequence,
    /// A tool of the server ran long: send the reply back unchanged, and the tool continues.
    PauseTurn,
    /// It, or a filter before it, declined.
    Refusal {
        /// Such as `cyber`; empty when the server does not say.
        category: String,
    },
    /// Prompt and reply together fill the model's window.
    WindowFull,
    /// The person stopped it: what was shown is kept, calls are not.
    Cancelled,
    /// The stream broke off, for this reason: what was shown is kept, calls are not.
    Cut(String),
    /// A reason that this code does not know.
    Other(String),
}

/// The model's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Ready to be pushed; shared with whoever logs it.
    pub message: Arc<Message>,
    /// What it took.
    pub usage: Usage,
    /// Why it ended.
    pub stop: StopReason,
}

impl Reply {
    /// A finished reply of these blocks.
    pub fn new(content: Vec<Block>) -> Self {
        let message = Arc::new(Message::assistant(content));
        Reply { message, usage: Usage::default(), stop: StopReason::EndTurn }
    }

    /// All its text.
    pub fn text(&self) -> String {
        self.message.text()
    }

    /// All its tool calls, in order.
    pub fn calls(&self) -> Vec<ToolCall> {
        self.message.calls()
    }
}

/// One step of a reply that streams. Blocks are told apart by `index`, since parallel calls may
/// interleave.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A block begins; its text, thinking or arguments follow.
    Open {
        /// Which block.
        index: usize,
        /// What is known of it.
        block: Block,
    },
    /// More of a text block.
    Text {
        /// Which block.
        index: usize,
        /// The next characters.
        text: String,
    },
    /// More of a thinking block.
    Thinking {
        /// Which block.
        index: usize,
        /// The next characters.
        text: String,
    },
    /// The signature of a thinking block.
    Signature {
        /// Which block.
        index: usize,
        /// All or the next part of it.
        signature: String,
    },
    /// More of a call's arguments: JSON text that can be parsed only when the block closes.
    Arguments {
        /// Which block.
        index: usize,
        /// The next characters.
        json: String,
    },
    /// A citation that belongs to a text block.
    Citation {
        /// Which block.
        index: usize,
        /// As sent.
        citation: Value,
    },
    /// A block is complete.
    Close {
        /// Which block.
        index: usize,
    },
    /// The tokens so far: each one replaces the one before.
    Usage(Usage),
    /// Why the reply ended.
    Stop(StopReason),
}

/// The steps of a reply: it ends after the last one, or with the error that cut it short.
pub type Deltas = BoxStream<'static, Result<Delta>>;

/// Whatever answers a request.
pub trait Model: Send + Sync + 'static {
    /// One reply, whole. Watches [`Context::cancel`] and gives up when it fires.
    ///
    /// # Errors
    /// Whatever keeps it from replying. A reply that is cut short or declined is no error here; its
    /// `stop` says so.
    fn reply(&self, request: &Request, cx: &Context) -> impl Future<Output = Result<Reply>> + Send;

    /// One reply, delta by delta; from a model that cannot stream, block by block. A model that
    /// wraps another passes this on, so that a model that streams outside of it still reaches the
    /// wire.
    ///
    /// # Errors
    /// As for [`reply`](Model::reply); the stream itself ends with an error when it is cut.
    fn stream(
        &self,
        request: &Request,
        cx: &Context,
    ) -> impl Future<Output = Result<Deltas>> + Send {
        async { self.reply(request, cx).await.map(whole_blocks) }
    }
}

/// What goes over the wire for one request, as it happens.
#[derive(Debug, Clone, Copy)]
pub enum Wire<'a> {
    /// A request is sent, with this body; once for each attempt.
    Request(&'a Bytes),
    /// A response begins, with this status.
    Response(u16),
    /// The next bytes of its body.
    Part(&'a Bytes),
}

/// Sees what goes over the wire for the requests of a context whose [value](Context::with) it is;
/// it must not block.
pub struct WireTap(pub Box<dyn Fn(Wire<'_>) + Send + Sync>);

/// A whole reply as deltas.
fn whole_blocks(reply: Reply) -> Deltas {
    let mut deltas = vec![];
    for (index, block) in reply.message.content.iter().cloned().enumerate() {
        deltas.extend([Delta::Open { index, block }, Delta::Close { index }]);
    }
    deltas.extend([Delta::Usage(reply.usage), Delta::Stop(reply.stop)]);
    futures_util::stream::iter(deltas.into_iter().map(Ok)).boxed()
}

/// What a server's reason for stopping means. Servers have many words for a reply that is whole, so
/// these are no list: whole calls run and whole text counts unless the word says otherwise.
fn stop(reason: &Value, details: &Value, calls: bool, refused: bool) -> StopReason {
    let reason = reason.as_str().unwrap_or("");
    match reason.to_ascii_lowercase().as_str() {
        "max_tokens" | "length" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "pause_turn" => StopReason::PauseTurn,
        "model_context_window_exceeded" => StopReason::WindowFull,
        "refusal" => {
            StopReason::Refusal { category: details["category"].as_str().unwrap_or("").into() }
        }
        "content_filter" => StopReason::Refusal { category: reason.into() },
        // The upstream of a proxy failed half way.
        "error" => StopReason::Other(reason.into()),
        _ if refused => StopReason::Refusal { category: String::new() },
        _ if calls => StopReason::ToolUse,
        _ => StopReason::EndTurn,
    }
}

/// Any model behind one pointer.
#[derive(Clone)]
pub struct AnyModel(pub(crate) Arc<dyn DynModel>);

impl Model for AnyModel {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        self.0.reply(request, cx).await
    }
    async fn stream(&self, request: &Request, cx: &Context) -> Result<Deltas> {
        self.0.stream(request, cx).await
    }
}

type Streaming<'a> = BoxFuture<'a, Result<Deltas>>;

/// The object-safe form of [`Model`].
pub(crate) trait DynModel: Send + Sync {
    fn reply<'a>(&'a self, request: &'a Request, cx: &'a Context) -> Replying<'a>;
    fn stream<'a>(&'a self, request: &'a Request, cx: &'a Context) -> Streaming<'a>;
}

impl<M: Model> DynModel for M {
    fn reply<'a>(&'a self, request: &'a Request, cx: &'a Context) -> Replying<'a> {
        Box::pin(Model::reply(self, request, cx))
    }
    fn stream<'a>(&'a self, request: &'a Request, cx: &'a Context) -> Streaming<'a> {
        Box::pin(Model::stream(self, request, cx))
    }
}

/// A model behind an API: one of two wire formats over one pool of connections. Clones share the
/// pool.
#[derive(Debug, Clone)]
pub struct Client {
    http: Arc<Http>,
    /// Whether the server wants a reply between results and a message of the person.
    bridges: Arc<AtomicBool>,
}

impl Client {
    /// A client for this endpoint; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setting`] when the base URL or the key can't be used.
    pub fn new(endpoint: Endpoint) -> Result<Self> {
        Ok(Client { http: Arc::new(Http::new(endpoint)?), bridges: Arc::default() })
    }

    /// Where it asks, and for what.
    pub fn endpoint(&self) -> &Endpoint {
        &self.http.endpoint
    }

    /// The body of the newest request of an agent that is nobody's child, for a person who wants to
    /// see what goes over the wire. It is kept until the next one.
    pub fn last_request(&self) -> Option<Bytes> {
        self.http.last_request.lock().unwrap().clone()
    }

    /// Sends this request until `read` has made something of a response.
    async fn post<'a, T>(
        &'a self,
        request: &Request,
        stream: bool,
        read: impl Fn(Response) -> BoxFuture<'a, Result<T>>,
        cx: &Context,
    ) -> Result<T> {
        let endpoint = self.endpoint();
        let body = |bridges, max_tokens| {
            let request = Request { max_tokens: Some(max_tokens), ..request.clone() };
            match endpoint.format {
                Format::Anthropic => anthropic::body(endpoint, &request, stream),
                Format::OpenAi => openai::body(endpoint, &request, stream, bridges),
            }
        };
        let path = match endpoint.format {
            Format::Anthropic => "/v1/messages",
            Format::OpenAi => "/chat/completions",
        };
        let model = request.model.as_deref().unwrap_or(&endpoint.model);
        let max_tokens = endpoint.max_tokens(request.max_tokens, stream);
        let send = async |bridges| {
            let body = |max_tokens| body(bridges, max_tokens);
            let outgoing = Outgoing { path, model, stream, max_tokens, body: &body };
            self.http.post(outgoing, &read, cx).await
        };
        let bridges = self.bridges.load(Ordering::Relaxed);
        let sent = send(bridges).await;
        // Each server says in its own words that it takes no user message after results, so the
        // other form is tried, and kept if it is taken.
        let Err(Error::Api { status: 400 | 422 | 500, .. }) = sent else { return sent };
        if bridges || body(true, max_tokens) == body(false, max_tokens) {
            return sent;
        }
        let Ok(answer) = send(true).await else { return sent };
        self.bridges.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    fn decoded(&self, body: rungs_json::Body) -> Deltas {
        let decoder: Box<dyn stream::Decode> = match self.endpoint().format {
            Format::Anthropic => Box::new(anthropic::Decoder::default()),
            Format::OpenAi => Box::new(openai::Decoder::default()),
        };
        stream::deltas(body, decoder, self.http.clone())
    }

    /// The reply that these bytes hold, whatever they were announced as: JSON, or a whole stream.
    async fn read(&self, bytes: Bytes) -> Result<Reply> {
        if rungs_json::is_events(&bytes) {
            let body = futures_util::stream::iter([Ok(bytes)]).boxed();
            return Reply::from_deltas(self.decoded(body)).await;
        }
        let text = rungs_json::well_formed(&bytes);
        let reply = match (self.endpoint().format, serde_json::from_str(&text)) {
            (_, Err(error)) => Err(error.to_string()),
            (Format::Anthropic, Ok(answer)) => anthropic::reply(&answer, &text),
            (Format::OpenAi, Ok(answer)) => openai::reply(&answer),
        };
        reply.map_err(|why| self.http.no_reply(text.as_bytes(), &why))
    }

    /// The deltas of a response that was asked for as a stream. What does not look like one is a
    /// whole reply, or a page of a proxy.
    async fn begun(&self, response: Response) -> Result<Deltas> {
        let body = stream::bytes(response, &self.endpoint().limits);
        let (body, is_events) = rungs_json::sniffed(body).await;
        if !is_events {
            let whole = body.map_ok(|part| part.to_vec()).try_concat().await;
            let whole = whole.map_err(|error| self.http.net(format!("the reply was cut: {error}")));
            return self.read(whole?.into()).await.map(whole_blocks);
        }
        let mut deltas = self.decoded(body);
        let first = deltas.next().await.transpose()?;
        Ok(futures_util::stream::iter(first.map(Ok)).chain(deltas).boxed())
    }
}

impl Model for Client {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        let whole = async |response| self.read(self.http.whole(response).await?).await;
        self.post(request, false, |response| whole(response).boxed(), cx).await
    }

    /// Retries happen until the first delta is there; from then on a cut is an error, and whoever
    /// shows deltas asks again.
    async fn stream(&self, request: &Request, cx: &Context) -> Result<Deltas> {
        self.post(request, true, |response| self.begun(response).boxed(), cx).await
    }
}
