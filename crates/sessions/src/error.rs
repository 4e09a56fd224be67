use crate::VERSION;

/// Why a session cannot be read or written. Each message names the session or the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Error {
    /// The disk, or damage.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// It could be a path, or anything else.
    #[error("`{0}` is no id of a session: an id has 16 hexadecimal digits")]
    NoId(String),
    /// There is no such session.
    #[error("there is no session `{0}`")]
    Missing(String),
    /// Several sessions have ids that begin so, or this title.
    #[error("`{name}` can be each of {}", ids.join(", "))]
    Ambiguous { name: String, ids: Vec<String> },
    /// Another process, or another agent of this one, has it open.
    #[error("session {0} is in use by another process; a fork of it is free")]
    InUse(String),
    /// A newer version of the program has written it.
    #[error(
        "session {id} has format {version}, and this program knows {VERSION} at most; a newer \
         version of the program can read it, and its file was not changed"
    )]
    Newer { id: String, version: u32 },
    /// It cannot be a title, or the name of a place.
    #[error("`{name}` is no name: {why}")]
    NoName { name: String, why: &'static str },
    /// Nothing was said in this folder so far.
    #[error("there is no session here yet")]
    NoneYet,
    /// There is nothing to go on with.
    #[error("there is no session that no other process holds")]
    NoneFree,
    /// There is nothing to take back so far.
    #[error("session {id} has {turns} turns to take back, and no place `{to}`")]
    NoPlace { id: String, to: String, turns: usize },
    /// There is no record of this number.
    #[error("session {id} has no record {record}")]
    NoRecord { id: String, record: u64 },
    /// A record has no JSON form.
    #[error("a record of session {id} cannot be stored: {source}")]
    Unserializable { id: String, source: serde_json::Error },
}
