use crate::Stamp;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// In which state somebody last saw each file: what they remember of one that has changed since is wrong, and writing
/// from memory would undo another's work.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<PathBuf, Stamp>>);

impl Seen {
    /// Notes that this file, by its absolute path free of links, is known in this state.
    pub fn note(&self, path: PathBuf, stamp: Stamp) {
        self.0.lock().unwrap().insert(path, stamp);
    }

    /// Why this file, now in this state, can't be known; `None` when it is.
    pub fn doubt(&self, path: &Path, now: &Stamp) -> Option<&'static str> {
        match self.0.lock().unwrap().get(path) {
            Some(seen) if seen == now => None,
            Some(_) => Some("it has changed since it was read"),
            None => Some("it has not been read"),
        }
    }
}
