use crate::Stamp;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
/// x
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub struct ReadTracker(#[serde(skip)] HashMap<PathBuf, Stamp>);
impl ReadTracker {
    /// x
    pub fn note(&mut self, path: PathBuf, stamp: Stamp) {
        self.0.insert(path, stamp);
    }
    /// x
    pub fn doubt(&self, path: &Path, now: &Stamp) -> Option<&'static str> {
        match self.0.get(path) {
            Some(seen) if seen == now => None,
            Some(_) => Some("it has changed since it was read"),
            None => Some("it has not been read"),
        }
    }
}
