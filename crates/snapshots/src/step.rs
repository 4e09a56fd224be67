//! What a snapshot holds.
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

/// What a file was, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There was no file.
    Absent {
        /// How many of the folders in which it would be did not exist either.
        missing_folders: usize,
    },
    /// There was one.
    File {
        /// The SHA-256 of its content, in hexadecimal digits: the name under which it is kept.
        hash: String,
        /// In bytes.
        size: u64,
        /// The permission bits.
        mode: u32,
    },
    /// It could not be read, or was too large.
    Unknown,
}

impl State {
    /// Whether a file in one of these states is as in the other.
    pub fn is_same(&self, other: &State) -> bool {
        match (self, other) {
            (State::Absent { .. }, State::Absent { .. }) => true,
            (State::Unknown, _) => false,
            (one, other) => one == other,
        }
    }
}

/// One file of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The file, absolute and free of links.
    #[serde(with = "any_path")]
    pub path: PathBuf,
    /// What it was before.
    pub before: State,
    /// What it was afterwards; none while that is not known.
    pub after: Option<State>,
    /// The turn of the newest step whose snapshot of this file was removed, if it was before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_turn: Option<u64>,
}

impl Change {
    /// Whether the file may be another than before.
    pub fn is_changed(&self) -> bool {
        !self.after.as_ref().is_some_and(|after| after.is_same(&self.before))
    }
}

/// How a step has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has not.
    #[default]
    Open,
    /// What the files were afterwards was recorded.
    Recorded,
    /// It was cut off; what its files were when that was found out was recorded.
    Interrupted,
}

/// One call that writes, and what its files were before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub id: u64,
    /// The turn to which it belongs. Turns in which nothing was written have no number.
    pub turn: u64,
    /// When it began, in seconds since 1970.
    pub at: u64,
    /// Who wrote, and with what.
    pub author: Author,
    /// The directory below which the files are.
    #[serde(with = "any_path")]
    pub root: PathBuf,
    /// The files.
    pub files: Vec<Change>,
    /// How it has ended.
    #[serde(default)]
    pub end: End,
}

impl Step {
    /// The files that may be others than before.
    pub fn changed(&self) -> impl Iterator<Item = &Change> {
        self.files.iter().filter(|file| file.is_changed())
    }
}

/// Who wrote, and with what, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The agent.
    pub agent: String,
    /// The tool.
    pub tool: String,
    /// What was asked for in this turn.
    pub prompt: String,
}

/// A path as text, or as its bytes when it is no UTF-8.
mod any_path {
    use super::*;
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(
        path: &std::path::Path,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let stored = match path.to_str() {
            Some(text) => Stored::Text(text.into()),
            None => Stored::Bytes(path.as_os_str().as_bytes().into()),
        };
        stored.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Text(text) => text.into(),
            Stored::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
