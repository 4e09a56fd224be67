use crate::client::StopReason;
use rungs_files::ConfigError;
use std::{path::PathBuf, time::Duration};

/// What ends a turn. What the model should hear about is a [`ToolError`](crate::ToolError) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API answered with an error of its own.
    #[error("{host} answered {status} ({kind}): {message}{}", details(retry_after, request_id))]
    Api {
        /// Who answered: host and port, never the key or the path.
        host: String,
        /// The HTTP status; for an error inside a stream, the one its kind stands for.
        status: u16,
        /// The API's own name of the error, such as `rate_limit_error`.
        kind: String,
        /// The API's own words, with the key replaced should they repeat it.
        message: String,
        /// What the vendor asks for in a support request.
        request_id: Option<String>,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// No whole answer came: no connection, a time limit, a broken body or stream.
    #[error("{host}: {why}")]
    Net {
        /// Host and port.
        host: String,
        /// What happened.
        why: String,
    },
    /// An answer came that is no answer of this API: HTML, cut or malformed JSON.
    #[error("{host}: {why}")]
    Unreadable {
        /// Host and port.
        host: String,
        /// What was wrong with it.
        why: String,
    },
    /// The model stopped before it had answered: cut, refused, out of window, or nothing said.
    #[error("{why}")]
    Unfinished {
        /// Why it stopped.
        stop: StopReason,
        /// One line for the person.
        why: String,
    },
    /// A rule refuses the prompt itself, such as a hook.
    #[error("the prompt was blocked: {0}")]
    Blocked(String),
    /// The person, or the owner of this agent, stopped it.
    #[error("interrupted")]
    Cancelled,
    /// A limit of ours was reached; the text says which and how large it is.
    #[error("stopped after {1} {0}")]
    Limit(&'static str, usize),
    /// The model was asked although nothing awaits a reply.
    #[error("nothing in the conversation awaits a reply")]
    NothingToAnswer,
    /// A file we are configured with is missing or wrong.
    #[error("{}{}: {why}", file.display(), line_number(*line))]
    Config {
        /// Which file.
        file: PathBuf,
        /// Where in it, counted from one, when that is known.
        line: Option<usize>,
        /// What is wrong and what would be right.
        why: String,
    },
    /// An environment variable, or a line of `.env`, is missing or wrong.
    #[error("{key}: {why}")]
    Setting {
        /// Its name.
        key: String,
        /// What is wrong and what would be right; never the value of a key.
        why: String,
    },
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Whatever else a mechanism can fail with; its own words must name the file, host or key.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of everything that can end a turn.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the request itself is at fault: blocked by a rule, refused by the server for what it
    /// holds or for its size (400, 413, 422, and what gateways say: 406, 415, 418, 451), declined
    /// by the model, or too much for its window. Sent again unchanged it would fail for ever, so
    /// the conversation continues without what it added. Not at fault is what a refusal of the key,
    /// of the account, of the address or for a time hits.
    pub fn withdraws(&self) -> bool {
        match self {
            Error::Blocked(_) => true,
            Error::Api { status: 401..=404 | 407..=409 | 425 | 429, .. } => false,
            Error::Api { status, .. } => (400..500).contains(status),
            Error::Unfinished { stop, .. } => {
                matches!(stop, StopReason::Refusal { .. } | StopReason::WindowFull)
            }
            _ => false,
        }
    }

    /// Whether a turn failed that ended like this: one that found nothing to answer did not.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Error::NothingToAnswer)
    }

    /// Whether the conversation is more than the server takes. A refusal in words that the client
    /// does not know may mean that too; it counts if the conversation `may_be` too large.
    pub fn is_too_large(&self, may_be: bool) -> bool {
        match self {
            Error::Unfinished { stop, .. } => *stop == StopReason::WindowFull,
            Error::Api { status: 400 | 422, .. } => may_be,
            Error::Api { status, .. } => *status == 413,
            _ => false,
        }
    }

    /// Whether the server refused a picture.
    pub(crate) fn is_about_picture(&self) -> bool {
        match self {
            // Some servers say 404 or 500.
            Error::Api { message, .. } => message.to_lowercase().contains("image"),
            _ => false,
        }
    }

    /// An [`Error::Other`], for `map_err`.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }

    /// An [`Error::Config`], for `map_err`.
    pub fn config(error: ConfigError) -> Error {
        Error::Config { file: error.file, line: error.line, why: error.why }
    }

    /// An [`Error::Setting`].
    pub fn setting(key: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Setting { key: key.into(), why: why.into() }
    }

    /// An [`Error::Io`] at `path`, for `map_err`.
    pub fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

fn details(retry_after: &Option<Duration>, request_id: &Option<String>) -> String {
    let wait = retry_after.map(|wait| format!("; it asks to wait {} s", wait.as_secs()));
    let request = request_id.as_ref().map(|id| format!(" [request {id}]"));
    wait.into_iter().chain(request).collect()
}

fn line_number(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(":{line}"))
}
