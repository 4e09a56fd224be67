use crate::{Cause, Failure, failure::host};
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, ProtocolVersion, PushInfo, PushKind,
    ScriptInvocation, Value, aio::MultiplexedConnection, from_redis_value,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

/// Where a Redis server is looked for when nothing else is said.
pub const DEFAULT_URL: &str = "redis://localhost:6379";
/// How long a call goes on trying while the server restarts or fails over.
const RETRY_TIME: Duration = Duration::from_secs(10);
/// How long a connection may take, and an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a replica may take to have what was written.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);
/// What is said when none has it.
pub(crate) const NO_REPLICA: &str = "no replica has it yet, and a failover could lose it";
/// How long the server knows what was stored: in this time a call may be tried again, and what it
/// writes is stored once.
pub(crate) const SENT_SECONDS: u64 = 600;
/// How many keys the server looks at in one step.
const SCANNED_KEYS: usize = 1000;
/// How long is waited between two attempts: at first, and at most.
const MIN_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_millis(500);

/// The part of a Redis server that belongs to one team: its keys begin with `rungs:{TEAM}:`, the
/// braces keep them on one node of a cluster. Clones share one connection.
#[derive(Clone)]
pub struct Server(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) client: Client,
    team: String,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    retry_time: Duration,
    wakes: Arc<Wakes>,
    /// Whether the server had replicas when it was last connected.
    has_replicas: AtomicBool,
}

/// Who waits for what. A message of the server says only that there may be something new; whoever
/// is woken looks. So a message that was lost with a connection costs nothing: when the
/// connection stands again, all look.
#[derive(Default)]
struct Wakes {
    by_name: Mutex<HashMap<String, watch::Sender<()>>>,
    disconnected: Notify,
}

impl Wakes {
    fn subscribe(&self, name: &str) -> watch::Receiver<()> {
        self.by_name.lock().unwrap().entry(name.into()).or_default().subscribe()
    }

    fn notify(&self, name: &str) {
        if let Some(wake) = self.by_name.lock().unwrap().get(name) {
            wake.send_replace(());
        }
    }

    fn notify_all(&self) {
        for wake in self.by_name.lock().unwrap().values() {
            wake.send_replace(());
        }
    }

    /// Takes what the server sends by itself.
    fn push(&self, push: &PushInfo) {
        match (&push.kind, &push.data[..]) {
            (PushKind::Message, [_, payload]) => {
                if let Ok(name) = from_redis_value::<String>(payload.clone()) {
                    self.notify(&name);
                }
            }
            (PushKind::Disconnection, _) => self.disconnected.notify_one(),
            _ => {}
        }
    }
}

impl Server {
    /// Connects to the server at this URL (`redis://`, `rediss://` for TLS, `unix://`).
    ///
    /// # Errors
    /// [`Failure`]; its cause is [`Cause::Unreachable`] when no server answers.
    pub async fn connect(url: &str, team: &str) -> Result<Server, Failure> {
        Self::connect_retrying(url, team, RETRY_TIME).await
    }

    /// [`connect`](Server::connect), with another time for which later calls go on trying.
    ///
    /// # Errors
    /// Those of [`connect`](Server::connect).
    pub async fn connect_retrying(
        url: &str,
        team: &str,
        retry_time: Duration,
    ) -> Result<Server, Failure> {
        // One provider for the process; a second install is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let invalid = |_| Failure {
            // Not the URL: there may be a password in it.
            host: "REDIS_URL".into(),
            problem: "that is no address; it has the form redis://USER:PASSWORD@HOST:PORT".into(),
            cause: Cause::Lasting,
        };
        let client = Client::open(url).map_err(invalid)?;
        let info = client.get_connection_info().clone();
        let resp3 = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(resp3)).map_err(invalid)?;
        let server = Server(Arc::new(Inner {
            client,
            team: team.into(),
            connection: tokio::sync::Mutex::default(),
            retry_time,
            wakes: Arc::default(),
            has_replicas: AtomicBool::new(false),
        }));
        server.0.connection().await?;
        tokio::spawn(reconnect(Arc::downgrade(&server.0), server.0.wakes.clone()));
        Ok(server)
    }

    /// The host, for people.
    pub fn host(&self) -> String {
        host(self.0.client.get_connection_info())
    }

    /// The team whose keys these are.
    pub fn team(&self) -> &str {
        &self.0.team
    }

    pub(crate) fn client(&self) -> Client {
        self.0.client.clone()
    }

    pub(crate) fn retry_time(&self) -> Duration {
        self.0.retry_time
    }

    /// A key of the team.
    pub(crate) fn key(&self, rest: &str) -> String {
        format!("rungs:{{{}}}:{rest}", self.0.team)
    }

    pub(crate) fn has_replicas(&self) -> bool {
        self.0.has_replicas.load(Relaxed)
    }

    /// The key by which the server recognises one call that is tried again.
    pub(crate) fn sent_key(&self) -> String {
        self.key(&format!("sent:{:016x}", fastrand::u64(..)))
    }

    /// Wakes whoever waits for this name as soon as there may be something new.
    pub(crate) fn wake(&self, name: &str) -> watch::Receiver<()> {
        self.0.wakes.subscribe(name)
    }

    /// What a person should know of how this server keeps its data; none when it keeps all that it
    /// has accepted, or does not say.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn durability(&self) -> Result<Option<String>, Failure> {
        let setting = async |name: &str| {
            let mut command = redis::cmd("CONFIG");
            command.arg("GET").arg(name);
            let value = self.0.once(|mut connection| {
                let command = command.clone();
                async move { command.query_async::<HashMap<String, String>>(&mut connection).await }
            });
            // A hosted server may not say.
            value.await.ok().and_then(|mut values| values.remove(name))
        };
        let log = setting("appendonly").await;
        let flush = setting("appendfsync").await;
        Ok(match (log.as_deref(), flush.as_deref()) {
            (Some("yes"), Some("always")) | (None, _) | (_, None) => None,
            (Some("yes"), Some("everysec")) => Some(
                "it flushes once a second: a crash can lose the letters of the last \
                 one \
                      (appendfsync always keeps all)"
                    .into(),
            ),
            _ => Some(
                "it keeps no log of what it stores: a restart can lose letters \
                       (appendonly yes, appendfsync always keep all)"
                    .into(),
            ),
        })
    }

    /// Removes all keys of the team, whose members have left.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn remove_team(&self) -> Result<(), Failure> {
        let keys = self.key("*");
        let remove = |mut connection: MultiplexedConnection| async move {
            let mut cursor = 0;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&keys).arg("COUNT").arg(SCANNED_KEYS);
                let found: Vec<String>;
                (cursor, found) = scan.query_async::<(u64, _)>(&mut connection).await?;
                if !found.is_empty() {
                    redis::cmd("DEL").arg(found).query_async::<()>(&mut connection).await?;
                }
                if cursor == 0 {
                    return Ok(());
                }
            }
        };
        self.0.once(remove).await
    }

    /// Runs a script, and tries again while that may help: so it must not matter how often a
    /// script runs.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        self.run_and_wait(script, false).await
    }

    /// [`run`](Server::run), for what must survive a failover: `Ok` means that a replica has it
    /// too, where the server had any when it was connected. When all are gone, it must do alone.
    pub(crate) async fn store<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        self.run_and_wait(script, true).await
    }

    async fn run_and_wait<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        for_replica: bool,
    ) -> Result<T, Failure> {
        let (end, mut delay) = (Instant::now() + self.0.retry_time, MIN_DELAY);
        loop {
            let call = |mut connection: MultiplexedConnection| async move {
                let value = script.invoke_async(&mut connection).await?;
                if for_replica && self.has_replicas() {
                    check_replicas(wait_command().query_async(&mut connection).await?)?;
                }
                Ok(value)
            };
            match self.0.once(call).await {
                Err(failure) if failure.is_passing() && Instant::now() + delay < end => {
                    sleep(delay).await;
                    delay = (2 * delay).min(MAX_DELAY);
                }
                done => return done,
            }
        }
    }
}

/// Waits until a replica has what this connection has written.
pub(crate) fn wait_command() -> redis::Cmd {
    let mut wait = redis::cmd("WAIT");
    wait.arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
    wait
}

/// An error when no replica has it.
pub(crate) fn check_replicas(count: u64) -> redis::RedisResult<()> {
    if count > 0 {
        return Ok(());
    }
    Err((redis::ErrorKind::Io, "WAIT", NO_REPLICA.into()).into())
}

impl Inner {
    /// One attempt. After a failure that may pass, the next one takes a new connection: the name of
    /// the host may lead to another server by then.
    async fn once<T, F>(&self, call: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = redis::RedisResult<T>>,
    {
        let connection = self.connection().await?;
        match call(connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                let failure = Failure::new(self.client.get_connection_info(), &error);
                if failure.is_passing() || error.is_unrecoverable_error() {
                    *self.connection.lock().await = None;
                }
                Err(failure)
            }
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, Failure> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let wakes = self.wakes.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_push_sender(move |push: PushInfo| {
                wakes.push(&push);
                Ok::<(), std::convert::Infallible>(())
            });
        let connected = async {
            let mut connection =
                self.client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.subscribe(format!("rungs:{{{}}}:wake", self.team)).await?;
            // A hosted server may not say.
            let role = redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await;
            let replicas = role.ok().and_then(|mut role| role.pop());
            let any = matches!(replicas, Some(Value::Array(list)) if !list.is_empty());
            self.has_replicas.store(any, Relaxed);
            Ok(connection)
        };
        let connection = match connected.await {
            Ok(connection) => connection,
            Err(error) => return Err(Failure::new(self.client.get_connection_info(), &error)),
        };
        *slot = Some(connection.clone());
        // What was said while there was no connection was not heard.
        self.wakes.notify_all();
        Ok(connection)
    }
}

/// Connects again whenever the connection is lost, so that whoever waits is woken by what comes.
async fn reconnect(inner: Weak<Inner>, wakes: Arc<Wakes>) {
    let mut delay = MIN_DELAY;
    loop {
        wakes.disconnected.notified().await;
        loop {
            let Some(inner) = inner.upgrade() else { return };
            let mut slot = inner.connection.lock().await;
            let is_lost = match &mut *slot {
                Some(connection) => {
                    redis::cmd("PING").query_async::<String>(connection).await.is_err()
                }
                None => true,
            };
            if is_lost {
                *slot = None;
            }
            drop(slot);
            match inner.connection().await {
                Ok(_) => break,
                Err(_) => {
                    drop(inner);
                    sleep(delay).await;
                    delay = (2 * delay).min(MAX_DELAY);
                }
            }
        }
        delay = MIN_DELAY;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.wakes.disconnected.notify_one();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.host()).field("team", &self.0.team).finish()
    }
}
