//! What a server may ask and tell us.
use crate::elicitation::{Elicitation, Reply};
use rmcp::{
    ClientHandler, ErrorData,
    model::{
        ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationCapability,
        FormElicitationCapability, Implementation, ProgressNotificationParam, ProtocolVersion,
        UrlElicitationCapability,
    },
    service::{NotificationContext, RequestContext, RoleClient},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};
use tokio::sync::{Notify, mpsc, oneshot};

/// How many questions of one server may wait.
const MAX_QUESTIONS: usize = 8;
/// How many characters of a server's words about its progress are shown.
const MAX_PROGRESS_CHARS: usize = 200;

/// A question, and where its answer goes.
pub(crate) type Asked = (Elicitation, oneshot::Sender<Reply>);

/// One connection as both sides see it: what the server says arrives here, whoever waits takes it.
pub(crate) struct Line {
    /// Something that the server lists has changed.
    pub changed: Notify,
    /// When it was last heard of within a call, and its words about its progress.
    pub heard: Mutex<(Instant, Option<String>)>,
    pub progress: Notify,
    /// How many calls wait for it. Without any, nobody is there to answer its questions.
    pub calls: AtomicUsize,
    pub questions: tokio::sync::Mutex<mpsc::Receiver<Asked>>,
    ask: mpsc::Sender<Asked>,
}

impl Line {
    pub(crate) fn new() -> Arc<Line> {
        let (ask, questions) = mpsc::channel(MAX_QUESTIONS);
        Arc::new(Line {
            changed: Notify::new(),
            heard: Mutex::new((Instant::now(), None)),
            progress: Notify::new(),
            calls: AtomicUsize::new(0),
            questions: questions.into(),
            ask,
        })
    }
}

/// Serves the server's requests on one line.
pub(crate) struct Handler(pub Arc<Line>);

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let elicitation = ElicitationCapability::new()
            .with_form(FormElicitationCapability::default())
            .with_url(UrlElicitationCapability::default());
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(elicitation);
        let rungs = Implementation::new("rungs", env!("CARGO_PKG_VERSION"));
        // What `initialize` offers; the newer era has no handshake.
        ClientConfig::new(capabilities, rungs).with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let (answer, answered) = oneshot::channel();
        let Some(question) = Elicitation::of(request) else {
            return Err(ErrorData::invalid_params("this kind of question is not known here", None));
        };
        if self.0.calls.load(SeqCst) == 0 || self.0.ask.try_send((question, answer)).is_err() {
            return Ok(Reply::Cancel.into_result());
        }
        // The call that would have answered may end meanwhile.
        Ok(answered.await.unwrap_or(Reply::Cancel).into_result())
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let done = match progress.total {
            Some(total) => format!("{} of {total}", progress.progress),
            None => progress.progress.to_string(),
        };
        let words: String =
            progress.message.unwrap_or_default().chars().take(MAX_PROGRESS_CHARS).collect();
        let line = if words.is_empty() { done } else { format!("{done}: {words}") };
        *self.0.heard.lock().unwrap() = (Instant::now(), Some(line));
        self.0.progress.notify_waiters();
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }
}
