use crate::client::Stop;
use std::{path::PathBuf, time::Duration};

/// What ends a turn. What the model should hear about is a [`ToolError`](crate::ToolError) instead.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The API answered with an error of its own.
    Api {
        /// Who answered: host and port, never the key or the path.
        host: String,
        /// The HTTP status; for an error inside a stream, the one its kind stands for.
        status: u16,
        /// The API's own name of the error, such as `rate_limit_error`.
        kind: String,
        /// The API's own words, with the key blotted out should they repeat it.
        message: String,
        /// What the vendor wants to hear when asked for help.
        request_id: Option<String>,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// No answer came: no connection, a time limit, a broken body.
    Net {
        /// Host and port.
        host: String,
        /// What happened.
        why: String,
    },
    /// An answer came that is no answer of this API: HTML, cut or malformed JSON, a cut stream.
    Unreadable {
        /// Host and port.
        host: String,
        /// What was wrong with it.
        why: String,
    },
    /// The model stopped before it had answered: cut, refused, out of window, or nothing said.
    Unfinished {
        /// Why it stopped.
        stop: Stop,
        /// One honest line for the person.
        why: String,
    },
    /// The person, or the owner of this agent, stopped it.
    Cancelled,
    /// A fuse of ours blew; the text says which and how large it is.
    Limit(&'static str, usize),
    /// The model was asked although nothing awaits a reply.
    NothingToAnswer,
    /// A file we are configured with is missing or wrong.
    Config {
        /// Which file.
        file: PathBuf,
        /// Where in it, counted from one, when that is known.
        line: Option<usize>,
        /// What is wrong and what would be right.
        why: String,
    },
    /// An environment variable, or a line of `.env`, is missing or wrong.
    Setting {
        /// Its name.
        key: String,
        /// What is wrong and what would be right; never the value of a key.
        why: String,
    },
    /// The disk.
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Whatever else a mechanism can fail with; its own words must name the file, host or key.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of everything that can end a turn.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the request itself is at fault: refused by the server for what it holds (400) or how large it is (413),
    /// declined by the model, or too much for its window. Sent again unchanged, it would fail for ever.
    pub fn refuses_request(&self) -> bool {
        matches!(
            self,
            Error::Api { status: 400 | 413, .. }
                | Error::Unfinished { stop: Stop::Refusal { .. } | Stop::WindowFull, .. }
        )
    }

    /// An [`Error::Other`], for `map_err`.
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Other(Box::new(error))
    }

    /// An [`Error::Io`] at `path`, for `map_err`.
    pub fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Api { host, status, kind, message, request_id, retry_after } => {
                write!(f, "{host} answered {status} ({kind}): {message}")?;
                if let Some(wait) = retry_after {
                    write!(f, "; it asks to wait {} s", wait.as_secs())?;
                }
                match request_id {
                    Some(id) => write!(f, " [request {id}]"),
                    None => Ok(()),
                }
            }
            Error::Net { host, why } | Error::Unreadable { host, why } => {
                write!(f, "{host}: {why}")
            }
            Error::Unfinished { why, .. } => write!(f, "{why}"),
            Error::Cancelled => write!(f, "interrupted"),
            Error::Limit(what, size) => write!(f, "stopped after {size} {what}"),
            Error::NothingToAnswer => write!(f, "nothing in the conversation awaits a reply"),
            Error::Config { file, line: Some(line), why } => {
                write!(f, "{}:{line}: {why}", file.display())
            }
            Error::Config { file, line: None, why } => write!(f, "{}: {why}", file.display()),
            Error::Setting { key, why } => write!(f, "{key}: {why}"),
            Error::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Other(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Other(error) => Some(&**error),
            _ => None,
        }
    }
}
