//! One server: connected, listed, called, and connected again.
use crate::{
    Person,
    approvals::{Approvals, Change},
    config::{Endpoint, ServerConfig},
    connect::{Connection, address, connect},
    handler::{Handler, Line},
    lists::{self, LIST_TIMEOUT, Lists},
    oauth::Access,
    output::Output,
};
use durable::Folder;
use rmcp::{
    model::{CallToolRequestParams, GetPromptRequestParams, ReadResourceRequestParams},
    service::{RoleClient, RunningService, ServiceError},
};
use rungs_process::Environment;
use serde_json::{Map, Value};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a server may take from its start to its lists.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A call ends after so many times its time limit, whatever progress the server reports.
const MAX_EXTENSIONS: u32 = 10;
/// How often a connection that was lost is made again.
const MAX_RECONNECTS: u32 = 5;
/// The wait before that, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A connection that lasted so long was good: failures are counted anew.
const GOOD_TIME: Duration = Duration::from_secs(60);
/// How often is looked whether the server has gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long changes of lists are gathered.
const CHANGE_DELAY: Duration = Duration::from_millis(100);

type Service = Arc<RunningService<RoleClient, Handler>>;

/// How a server is.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// It is not connected yet, or again.
    Starting,
    /// It answers; the revision of the protocol that it speaks.
    Connected(String),
    /// It does not answer, and why.
    Failed(String),
}

/// One server.
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: ServerConfig,
    state: Mutex<State>,
    access: Access,
    /// Told of every change of the state.
    news: Arc<Notify>,
}

#[derive(Default)]
pub(crate) struct State {
    status: Option<Status>,
    live: Option<(Service, Arc<Line>)>,
    lists: Lists,
    withheld: Vec<Change>,
    faults: Vec<String>,
}

/// Counts a call while it waits.
struct Waiting<'a>(&'a Line);

impl<'a> Waiting<'a> {
    fn new(line: &'a Line) -> Self {
        line.calls.fetch_add(1, SeqCst);
        Waiting(line)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, SeqCst);
    }
}

impl Server {
    pub(crate) fn new(
        name: String,
        config: ServerConfig,
        folder: Arc<Folder>,
        news: Arc<Notify>,
    ) -> Server {
        let address = match &config.endpoint {
            Endpoint::Http { url, .. } => url.as_str(),
            Endpoint::Stdio { .. } => "",
        };
        let access = Access::new(folder, address);
        Server { name, config, state: Mutex::default(), access, news }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.state().status.clone().unwrap_or(Status::Starting)
    }

    /// What it offers; nothing while it is not connected.
    pub fn lists(&self) -> Lists {
        self.state().lists.clone()
    }

    /// Tools that are not what was approved.
    pub fn withheld(&self) -> Vec<Change> {
        self.state().withheld.clone()
    }

    /// What is wrong with it, a line each: tools that no model API would take.
    pub fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }

    fn set(&self, status: Status) {
        let mut state = self.state();
        if !matches!(status, Status::Connected(_)) {
            *state = State::default();
        }
        state.status = Some(status);
        drop(state);
        self.news.notify_waiters();
    }

    /// Keeps it connected until shutdown, or until it has failed too often.
    pub(crate) async fn run(
        &self,
        (cwd, environment): (PathBuf, Environment),
        approvals: Arc<Approvals>,
        starts: Arc<Semaphore>,
        shutdown: CancellationToken,
    ) {
        let mut failures = 0;
        loop {
            let begin = Instant::now();
            let starting = async {
                let _one = starts.acquire().await;
                let connected = async {
                    let connection =
                        connect(&self.config, &cwd, &environment, &self.access).await?;
                    match self.list(&connection, &approvals).await {
                        Ok(()) => Ok(connection),
                        Err(why) => Err(why),
                    }
                };
                match tokio::time::timeout(START_TIMEOUT, connected).await {
                    Ok(end) => end,
                    Err(_) => Err(format!("it did not start within {} s", START_TIMEOUT.as_secs())),
                }
            };
            let Some(started) = shutdown.run_until_cancelled(starting).await else { return };
            let why = match started {
                Ok(connection) => match self.hold(connection, &approvals, &shutdown).await {
                    Some(why) => why,
                    None => return,
                },
                Err(why) if self.access.is_wanted() => {
                    let name = &self.name;
                    self.set(Status::Failed(format!("{why}: `:mcp login {name}` lets you")));
                    let signed_in = self.access.signed_in.notified();
                    if shutdown.run_until_cancelled(signed_in).await.is_none() {
                        return;
                    }
                    self.set(Status::Starting);
                    continue;
                }
                // What never worked will not work by itself.
                Err(why) if failures == 0 => return self.set(Status::Failed(why)),
                Err(why) => why,
            };
            failures = if begin.elapsed() > GOOD_TIME { 1 } else { failures + 1 };
            if failures > MAX_RECONNECTS {
                let why = format!("{why}; given up after {MAX_RECONNECTS} more attempts");
                return self.set(Status::Failed(why));
            }
            self.set(Status::Failed(format!("{why}; it is tried again")));
            let wait = tokio::time::sleep(FIRST_WAIT * 2_u32.pow(failures - 1));
            if shutdown.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    /// Holds the connection until it is lost, and says why, or until shutdown.
    async fn hold(
        &self,
        connection: Connection,
        approvals: &Arc<Approvals>,
        shutdown: &CancellationToken,
    ) -> Option<String> {
        let mut subscription = lists::subscribe(&connection).await;
        loop {
            let changed = async {
                match &mut subscription {
                    Some(subscription) => {
                        if !matches!(subscription.next().await, Ok(Some(_))) {
                            std::future::pending().await
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.set(Status::Failed("closed".into()));
                    connection.close().await;
                    return None;
                }
                () = connection.line.changed.notified() => {}
                () = changed => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {
                    if connection.service.is_transport_closed() || connection.service.is_closed() {
                        let said = connection.log.last();
                        // Nobody may call what is not there any more.
                        self.set(Status::Failed("the connection was lost".into()));
                        let ended = connection.close().await.map(|end| format!(" ({end})"));
                        let said = said.map(|line| format!("; it wrote: {line}"));
                        let (ended, said) = (ended.unwrap_or_default(), said.unwrap_or_default());
                        return Some(format!("the connection was lost{ended}{said}"));
                    }
                    continue;
                }
            }
            // Several lists change at once.
            tokio::time::sleep(CHANGE_DELAY).await;
            if let Err(why) = self.list(&connection, approvals).await {
                self.state().faults.push(format!("its lists changed and cannot be read: {why}"));
            }
        }
    }

    /// Reads all that it offers, and withholds what is not as approved.
    async fn list(
        &self,
        connection: &Connection,
        approvals: &Arc<Approvals>,
    ) -> Result<(), String> {
        let (mut lists, faults) = lists::read(connection).await?;
        let (approvals, name) = (approvals.clone(), self.name.clone());
        let judging = tokio::task::spawn_blocking(move || {
            let changes = approvals.changes(&name, &lists.tools)?;
            lists.tools.retain(|tool| !changes.iter().any(|change| change.tool == tool.name));
            Ok::<_, durable::Error>((lists, changes))
        });
        let judged = judging.await.map_err(|error| error.to_string())?;
        let (lists, changes) = judged.map_err(|error| error.to_string())?;
        let Some(info) = connection.service.peer_info() else {
            return Err("it did not say what it is".into());
        };
        let live = (connection.service.clone(), connection.line.clone());
        let mut state = self.state();
        (state.live, state.lists, state.withheld, state.faults) =
            (Some(live), lists, changes, faults);
        drop(state);
        self.set(Status::Connected(info.protocol_version.to_string()));
        Ok(())
    }

    pub(crate) fn relist(&self) {
        if let Some((_, line)) = &self.state().live {
            line.changed.notify_one();
        }
    }

    /// Calls a tool by its name at the server. Dropping the call tells the server to stop.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        person: &impl Person,
    ) -> Result<Output, String> {
        let params = CallToolRequestParams::new(tool.to_string()).with_arguments(arguments);
        let limit = self.config.timeout;
        let result =
            self.wait(limit, person, |service| async move { service.call_tool(params).await });
        Ok(Output::of_call(result.await?))
    }

    /// Gets a prompt.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn prompt(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        person: &impl Person,
    ) -> Result<Output, String> {
        let params = GetPromptRequestParams::new(name).with_arguments(arguments);
        let result = self
            .wait(LIST_TIMEOUT, person, |service| async move { service.get_prompt(params).await });
        Ok(Output::of_prompt(result.await?.messages))
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn resource(&self, uri: &str, person: &impl Person) -> Result<Output, String> {
        let params = ReadResourceRequestParams::new(uri);
        let result = self.wait(LIST_TIMEOUT, person, |service| async move {
            service.read_resource(params).await
        });
        Ok(Output::of_resource(result.await?.contents))
    }

    /// Lets the person sign in, where the server is reached by HTTP.
    ///
    /// # Errors
    /// Why that did not work.
    pub async fn login(&self, person: &impl Person) -> Result<(), String> {
        let Endpoint::Http { url, .. } = &self.config.endpoint else {
            return Err("a server on this machine has no sign-in".into());
        };
        // Tokens are for an address that is known; one with variables in it is not.
        self.access.login(&address(url)?, person).await
    }

    /// Waits for an answer, and meanwhile shows progress and lets the person answer questions. The
    /// limit is on silence; a person's thinking does not count.
    async fn wait<T, F: Future<Output = Result<T, ServiceError>>>(
        &self,
        limit: Duration,
        person: &impl Person,
        request: impl FnOnce(Service) -> F,
    ) -> Result<T, String> {
        let live = self.state().live.clone();
        let Some((service, line)) = live else {
            let status = match self.status() {
                Status::Failed(why) => why,
                _ => "it is not connected yet".into(),
            };
            return Err(format!("the server {} cannot be called: {status}", self.name));
        };
        let _waiting = Waiting::new(&line);
        let begin = Instant::now();
        let (mut last, mut thought) = (begin, Duration::ZERO);
        let mut answer = std::pin::pin!(request(service));
        loop {
            let question = async { line.questions.lock().await.recv().await };
            let heard = line.progress.notified();
            let end = (last + limit).min(begin + thought + limit * MAX_EXTENSIONS);
            tokio::select! {
                end = &mut answer => return end.map_err(|error| self.explain(&error)),
                Some((question, reply)) = question => {
                    let asked = Instant::now();
                    // Whoever asked may have gone.
                    let _ = reply.send(question.ask(&self.name, person).await);
                    thought += asked.elapsed();
                    last = Instant::now();
                }
                () = heard => {
                    let (at, words) = line.heard.lock().unwrap().clone();
                    last = at.max(last);
                    if let Some(words) = words {
                        person.notice(&format!("{}: {words}", self.name));
                    }
                }
                () = tokio::time::sleep_until(end.into()) => {
                    return Err(format!(
                        "the server {} was silent for {} s, so the call was given up; it was told \
                         to stop",
                        self.name, limit.as_secs()
                    ));
                }
            }
        }
    }

    fn explain(&self, error: &ServiceError) -> String {
        self.access.note(error.auth_challenge());
        match error {
            error if error.is_authorization_required() || error.auth_challenge().is_some() => {
                format!("{0} wants the person to sign in: `:mcp login {0}` lets them", self.name)
            }
            ServiceError::McpError(error) => format!("{}: {}", self.name, error.message),
            other => format!("{}: {other}", self.name),
        }
    }
}
