//! Which files a conversation has read, and in which state.
use crate::Stamp;
use serde::{Deserialize, Serialize, Serializer};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// In which state each file was last read. Whoever writes a file from memory after it has changed
/// would undo somebody else's work.
///
/// Plain data that can be cloned and saved. In JSON it is an object from path to [`Stamp`]; a path
/// that is not UTF-8 cannot be a key there and is left out, so that its file counts as unread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReadTracker {
    #[serde(serialize_with = "serialize_utf8_paths")]
    stamps: BTreeMap<PathBuf, Stamp>,
}

/// Why the content of a file may not be what the reader remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It was never read.
    #[error("it has not been read")]
    Unread,
    /// It is in another state than when it was read.
    #[error("it has changed since it was read")]
    Changed,
}

impl ReadTracker {
    /// Notes that the file at this path, absolute and free of links, was read in this state.
    pub fn note(&mut self, path: PathBuf, stamp: Stamp) {
        self.stamps.insert(path, stamp);
    }

    /// Why a file that is now in the state `now` may not be what was read; `None` when it is.
    pub fn doubt(&self, path: &Path, now: &Stamp) -> Option<Doubt> {
        match self.stamps.get(path) {
            Some(read) if read == now => None,
            Some(_) => Some(Doubt::Changed),
            None => Some(Doubt::Unread),
        }
    }
}

fn serialize_utf8_paths<S: Serializer>(
    stamps: &BTreeMap<PathBuf, Stamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(stamps.iter().filter_map(|(path, stamp)| Some((path.to_str()?, stamp))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

    #[test]
    fn a_saved_tracker_knows_the_same_files_but_none_whose_path_is_not_utf8() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &OsStr, content: &str| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            let stamp = Stamp::of(fs::File::open(&path).unwrap()).unwrap();
            (path, stamp)
        };
        let (plain, first) = file(OsStr::new("a \"quoted\"\nname"), "first");
        let (odd, odd_stamp) = file(OsStr::from_bytes(b"caf\xe9"), "x");
        let mut tracker = ReadTracker::default();
        assert_eq!(tracker.doubt(&plain, &first), Some(Doubt::Unread));
        tracker.note(plain.clone(), first);
        let without_odd = tracker.clone();
        tracker.note(odd.clone(), odd_stamp);
        assert_ne!(tracker, without_odd, "a clone goes its own way");
        assert_eq!((tracker.doubt(&plain, &first), tracker.doubt(&odd, &odd_stamp)), (None, None));

        let json = serde_json::to_value(&tracker).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [plain.to_str().unwrap()]);
        assert_eq!(json[plain.to_str().unwrap()], serde_json::to_value(first).unwrap());
        let loaded: ReadTracker = serde_json::from_value(json).unwrap();
        assert_eq!(loaded, without_odd);
        assert_eq!(loaded.doubt(&odd, &odd_stamp), Some(Doubt::Unread));

        let (_, second) = file(OsStr::new("a \"quoted\"\nname"), "second");
        let doubt = loaded.doubt(&plain, &second).unwrap();
        assert_eq!(doubt, Doubt::Changed);
        assert_eq!(doubt.to_string(), "it has changed since it was read");
    }
}
