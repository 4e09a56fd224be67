//! What stands in a session's file.
use crate::conversation::{CALL, MESSAGE, PATCH, RESULT, STATES};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// The format of session files. Records of an unknown kind need no new number: they are kept, and
/// skipped by whoever does not know them.
pub const VERSION: u32 = 1;

/// The kinds of records that this crate itself writes or looks at.
pub(crate) const BEGIN: &str = "begin";
pub(crate) const TITLE: &str = "title";
pub(crate) const SAVE: &str = "save";
pub(crate) const HEAD: &str = "head";
/// Where a turn begins; its data is a [`Turn`].
pub(crate) const TURN: &str = "turn";

/// Every kind that this version knows.
pub(crate) const KINDS: [&str; 10] =
    [BEGIN, TITLE, SAVE, HEAD, TURN, MESSAGE, STATES, PATCH, CALL, RESULT];

/// A record: a node of the tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1 on; it is the same in all forks.
    pub id: u64,
    /// The record before it on its branch, which has a smaller number; 0 is the root.
    pub parent: u64,
    /// When it was written, in seconds since 1970.
    pub at: u64,
    /// What its data is.
    pub kind: String,
    /// JSON, byte for byte as it was given, but for keys.
    pub data: Box<RawValue>,
}

impl Record {
    /// Its data, as far as this type can hold it.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.data.get()).ok()
    }
}

/// What is to be recorded.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) data: serde_json::Result<Box<RawValue>>,
}

impl Entry {
    pub(crate) fn new(kind: impl Into<String>, data: &impl Serialize) -> Entry {
        Entry { kind: kind.into(), data: to_raw_value(data) }
    }

    /// The same, of JSON.
    pub(crate) fn raw(kind: &str, json: &str) -> Entry {
        Entry { kind: kind.into(), data: RawValue::from_string(json.into()) }
    }

    /// The title of the session.
    pub(crate) fn title(title: &str) -> Entry {
        Entry::new(TITLE, &title)
    }

    /// Names the record before it, to return there.
    pub(crate) fn save(name: &str) -> Entry {
        Entry::new(SAVE, &name)
    }

    /// Nothing but a place: the conversation goes on from its parent.
    pub(crate) fn head() -> Entry {
        Entry::new(HEAD, &())
    }

    /// A turn begins.
    pub(crate) fn turn(turn: &Turn) -> Entry {
        Entry::new(TURN, turn)
    }
}

/// Where a turn began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The head before it: a rewind of this turn returns there, also when the history was rewritten
    /// since.
    pub before: u64,
    /// How the prompt begins; empty when nobody typed one.
    pub label: String,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.label.is_empty() { "(nobody typed a prompt)" } else { &self.label })
    }
}

/// How a session began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The format of the file.
    pub version: u32,
    /// Whose conversation it is: `main`, or a child such as `main/explorer-2`.
    pub agent: String,
    /// The folder in which it was held.
    pub folder: String,
    /// Where it shares the past of another session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Fork>,
}

impl Begin {
    /// The beginning of a conversation of this agent in this folder.
    pub fn new(agent: impl Into<String>, folder: impl Into<String>) -> Begin {
        Begin { version: VERSION, agent: agent.into(), folder: folder.into(), fork: None }
    }
}

/// A record of another session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The id of that session.
    pub session: String,
    /// The number of the record.
    pub record: u64,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
