use crate::server::NO_REPLICA;
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind};

/// Why a Redis server did not do what it was asked to do: one sentence that names the host, and
/// never the password.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Redis at {host}: {problem}")]
pub struct Failure {
    /// The host and port, or the path of the socket.
    pub host: String,
    /// What is wrong, and what helps.
    pub problem: String,
    /// What kind of problem it is.
    pub cause: Cause,
}

/// What a [`Failure`] means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing answers there.
    Unreachable,
    /// It may pass: the server is restarting, loading, or failing over.
    Passing,
    /// It stays until somebody changes a setting or makes room.
    Lasting,
    /// Another process has taken the name.
    Taken,
}

/// The address of a server, for people: without user and password.
pub(crate) fn host(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            format!("{host}:{port}")
        }
        ConnectionAddr::Unix(path) => path.display().to_string(),
        other => format!("{other:?}"),
    }
}

impl Failure {
    /// Says what an error of the client means.
    pub(crate) fn new(info: &ConnectionInfo, error: &RedisError) -> Failure {
        let (cause, problem) = explain(info, error);
        Failure { host: host(info), problem, cause }
    }

    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.cause, Cause::Unreachable | Cause::Passing)
    }
}

fn explain(info: &ConnectionInfo, error: &RedisError) -> (Cause, String) {
    use Cause::{Lasting, Passing, Unreachable};
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let fixed = match error.code() {
        Some("WRONGPASS" | "NOAUTH") => Some((
            Lasting,
            "it refuses the password; write user and password into REDIS_URL: \
             redis://USER:PASSWORD@HOST:PORT",
        )),
        Some("OOM") => Some((
            Lasting,
            "its memory is full, and nothing was stored; raise its maxmemory, or delete what \
             nobody needs",
        )),
        Some("MISCONF") => Some((
            Lasting,
            "it cannot save to its disk, and stores nothing until it can; its log says why",
        )),
        Some("READONLY") => Some((
            Passing,
            "it is a read-only replica, and nothing was stored; REDIS_URL must name the primary",
        )),
        Some("LOADING") => Some((Passing, "it is still loading its data; try again")),
        Some("MASTERDOWN") => Some((Passing, "it is a replica that has lost its primary")),
        Some("NOREPLICAS") => Some((
            Passing,
            "too few replicas are in reach, and nothing was stored (min-replicas-to-write)",
        )),
        Some("NOPERM") => Some((
            Lasting,
            "the user of REDIS_URL may not use keys, commands or channels that a team needs \
             (rungs:*)",
        )),
        Some("MOVED" | "CROSSSLOT" | "CLUSTERDOWN") => Some((
            Lasting,
            "it is a node of a cluster that does not hold the keys of this team; REDIS_URL must \
             name the one that does",
        )),
        _ => None,
    };
    if let Some((cause, problem)) = fixed {
        return (cause, problem.into());
    }
    if error.detail() == Some(NO_REPLICA) {
        return (Passing, NO_REPLICA.into());
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => (
            Lasting,
            "it refuses the password; write user and password into REDIS_URL: \
             redis://USER:PASSWORD@HOST:PORT"
                .into(),
        ),
        ErrorKind::Io if error.is_connection_refusal() => {
            (Unreachable, "no server answers (REDIS_URL says where to look)".into())
        }
        ErrorKind::Io if error.is_timeout() => {
            (Unreachable, "it does not answer in time (REDIS_URL says where to look)".into())
        }
        ErrorKind::Io if is_tls && !error.is_connection_dropped() => {
            let hint = "SSL_CERT_FILE names the file of those to trust";
            (Lasting, format!("no TLS connection: {error} ({hint})"))
        }
        ErrorKind::Io if is_tls => (
            Passing,
            "the connection was closed; if the server speaks no TLS, REDIS_URL is redis:// and \
             not rediss://"
                .into(),
        ),
        ErrorKind::Io if error.is_connection_dropped() => (
            Passing,
            "the connection was closed; if the server wants TLS, REDIS_URL is rediss://".into(),
        ),
        ErrorKind::Io => (Unreachable, format!("no connection: {error}")),
        ErrorKind::Parse | ErrorKind::RESP3NotSupported => {
            (Lasting, format!("what answers is no Redis server from version 6.2: {error}"))
        }
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            (Lasting, format!("it refused a command: {error}"))
        }
        _ => (Lasting, error.to_string()),
    }
}
