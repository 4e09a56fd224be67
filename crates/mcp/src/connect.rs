//! From a configured server to a connection: its process or its address, and the handshake of its
//! time.
use crate::{
    config::{Endpoint, ServerConfig, expand},
    handler::{Handler, Line},
    oauth::Access,
};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use rmcp::{
    model::ProtocolVersion,
    service::{
        ClientInitializeError, ClientLifecycleMode, RoleClient, RunningService,
        serve_client_with_lifecycle,
    },
    transport::{
        StreamableHttpClientTransport,
        async_rw::AsyncRwTransport,
        streamable_http_client::{StreamableHttpClient, StreamableHttpClientTransportConfig},
    },
};
use rungs_process::{Environment, Piped};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio_util::task::AbortOnDropHandle;

/// How large one message of a server may be, in bytes.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// How long the connection to an address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many of the last lines are kept of what a server writes about itself, and how long each is.
const MAX_LOG_LINES: usize = 20;
const MAX_LOG_LINE_BYTES: u64 = 500;

/// How long the last words of a server that has ended are waited for.
const LOG_TIMEOUT: Duration = Duration::from_millis(200);

/// A connection. Dropping it ends the server's process and all that it started.
pub(crate) struct Connection {
    pub service: Arc<RunningService<RoleClient, Handler>>,
    pub line: Arc<Line>,
    pub process: Option<Piped>,
    pub log: Log,
}

/// The last lines that a server wrote to standard error.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    pub(crate) fn last(&self) -> Option<String> {
        self.0.lock().unwrap().iter().rev().find(|line| !line.trim().is_empty()).cloned()
    }

    /// Keeps the newest lines, and reads on for ever: a full pipe would stop the server.
    async fn fill(self, from: impl tokio::io::AsyncRead + Unpin) {
        let mut reader = BufReader::new(from);
        let mut line = vec![];
        while let Ok(read) =
            (&mut reader).take(MAX_LOG_LINE_BYTES).read_until(b'\n', &mut line).await
            && read > 0
        {
            let mut lines = self.0.lock().unwrap();
            let text = String::from_utf8_lossy(&line);
            lines.push_back(text.trim_end().replace(|c: char| c.is_control(), " "));
            if lines.len() > MAX_LOG_LINES {
                lines.pop_front();
            }
            line.clear();
        }
    }
}

/// Connects, in the newest way that the server knows.
///
/// # Errors
/// Why there is no connection.
pub(crate) async fn connect(
    config: &ServerConfig,
    cwd: &Path,
    environment: &Environment,
    access: &Access,
) -> Result<Connection, String> {
    let newest = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    };
    match attempt(config, cwd, environment, access, newest).await {
        Ok(connection) => Ok(connection),
        // Some servers of the older era end, or fall silent, at a request before `initialize`.
        Err(why) if access.is_wanted() => Err(why),
        Err(first) => {
            let older = ClientLifecycleMode::Initialize;
            attempt(config, cwd, environment, access, older).await.map_err(|_| first)
        }
    }
}

async fn attempt(
    config: &ServerConfig,
    cwd: &Path,
    environment: &Environment,
    access: &Access,
    mode: ClientLifecycleMode,
) -> Result<Connection, String> {
    let line = Line::new();
    let (handler, log) = (Handler(line.clone()), Log::default());
    match &config.endpoint {
        Endpoint::Stdio { command, args, env } => {
            let expand = |text: &String| expand(text, environment);
            let args = args.iter().map(expand).collect::<Result<Vec<_>, _>>()?;
            let env = env.iter().map(|(name, value)| Ok((name.clone(), expand(value)?)));
            let env = env.collect::<Result<_, String>>()?;
            let (command, cwd, environment) =
                (expand(command)?, cwd.to_path_buf(), environment.clone());
            // To start a program blocks the thread until it runs, which may take milliseconds.
            let start = move || Piped::start(&command, &args, &cwd, &environment, &env);
            let started = AbortOnDropHandle::new(tokio::task::spawn_blocking(start)).await;
            let started = started.map_err(|error| error.to_string())?;
            let (process, pipes) = started.map_err(|error| error.to_string())?;
            let logged = tokio::spawn(log.clone().fill(pipes.errors));
            let transport = AsyncRwTransport::new_client(pipes.output, pipes.input)
                .with_max_line_length(MAX_MESSAGE_BYTES);
            match serve_client_with_lifecycle(handler, transport, mode).await {
                Ok(service) => {
                    let (service, process) = (Arc::new(service), Some(process));
                    Ok(Connection { service, line, process, log })
                }
                Err(error) => {
                    let ended = process.stop().await.unwrap_or_default();
                    // What it wrote last says most; but something else may hold that pipe open.
                    let _ = tokio::time::timeout(LOG_TIMEOUT, logged).await;
                    let said = log.last().map(|line| format!("; it wrote: {line}"));
                    Err(format!("{} ({ended}){}", explain(&error), said.unwrap_or_default()))
                }
            }
        }
        Endpoint::Http { url, headers } => {
            let url = address(&expand(url, environment)?)?;
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let value = HeaderValue::try_from(expand(value, environment)?);
                let valid = HeaderName::try_from(name.as_str());
                let (Ok(valid), Ok(mut value)) = (valid, value) else {
                    return Err(format!(
                        "the header {name:?} has a name or value that none can have"
                    ));
                };
                value.set_sensitive(true);
                map.insert(valid, value);
            }
            let client = rungs_http::client(&url, map, CONNECT_TIMEOUT);
            let client = client.map_err(|error| rungs_http::cause(&error))?;
            let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
            config = config
                .max_sse_event_size(MAX_MESSAGE_BYTES)
                .max_json_response_size(MAX_MESSAGE_BYTES);
            let signed_in = access.client(&url, client.clone()).await;
            let service = match signed_in {
                Some(client) => http(client, config, handler, mode).await,
                None => http(client, config, handler, mode).await,
            };
            let service = service.map_err(|error| {
                access.note(error.auth_challenge());
                match error.is_authorization_required() {
                    true => "it wants you to sign in".into(),
                    false => explain(&error),
                }
            })?;
            let service = Arc::new(service);
            Ok(Connection { service, line, process: None, log })
        }
    }
}

async fn http<C: StreamableHttpClient + Send + 'static>(
    client: C,
    config: StreamableHttpClientTransportConfig,
    handler: Handler,
    mode: ClientLifecycleMode,
) -> Result<RunningService<RoleClient, Handler>, ClientInitializeError> {
    let transport = StreamableHttpClientTransport::with_client(client, config);
    serve_client_with_lifecycle(handler, transport, mode).await
}

/// Why there is no connection, without the names of types.
fn explain(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::JsonRpcError(error) => format!("it refused: {}", error.message),
        ClientInitializeError::ConnectionClosed(_) => "it ended before it had answered".into(),
        ClientInitializeError::TransportError { error, .. } => {
            let mut cause: &dyn std::error::Error = error.error.as_ref();
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            format!("it cannot be reached: {cause}")
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => explain(fallback),
        other => other.to_string(),
    }
}

/// The address of a server: with a secret in its headers, only this machine is spoken to in the
/// clear.
pub(crate) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user name or password; a secret belongs in `headers`".into());
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if rungs_http::is_local(&url) => Ok(url),
        _ => Err("the URL must begin with https://, or lead to this machine by http://".into()),
    }
}

impl Connection {
    /// Ends it: the server's input is closed, then its processes are ended.
    pub(crate) async fn close(self) -> Option<String> {
        self.service.cancellation_token().cancel();
        drop(self.service);
        self.process?.stop().await
    }
}
