//! What a search did not look at: "nothing found" means that everything else was looked at.
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// Counted by several threads at once.
#[derive(Default)]
pub(crate) struct LeftOut {
    binary: AtomicUsize,
    links: AtomicUsize,
    special: AtomicUsize,
    unreadable: AtomicUsize,
    /// Whether git ignores any file. Only known when nothing was found.
    ignored: AtomicBool,
    /// The names to which access is denied.
    denied: Mutex<BTreeSet<String>>,
}

impl LeftOut {
    /// A binary file.
    pub(crate) fn binary(&self) {
        self.binary.fetch_add(1, Relaxed);
    }

    /// A link, which is not followed.
    pub(crate) fn link(&self) {
        self.links.fetch_add(1, Relaxed);
    }

    /// A pipe, a device or a socket.
    pub(crate) fn special(&self) {
        self.special.fetch_add(1, Relaxed);
    }

    /// A file or folder that could not be opened or read.
    pub(crate) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }

    /// Files that git ignores.
    pub(crate) fn ignored(&self) {
        self.ignored.store(true, Relaxed);
    }

    /// A file or folder to which access is denied.
    pub(crate) fn denied(&self, name: &OsStr) {
        self.denied.lock().unwrap().insert(name.to_string_lossy().into_owned());
    }

    /// Appends one line to an answer, if anything was left out.
    pub(crate) fn append_to(&self, answer: &mut String) {
        let mut parts = vec![];
        if self.ignored.load(Relaxed) {
            parts.push("files that git ignores".to_owned());
        }
        for (count, one, many) in [
            (&self.binary, "binary file", "binary files"),
            (&self.links, "link", "links"),
            (&self.special, "special file", "special files"),
            (&self.unreadable, "unreadable path", "unreadable paths"),
        ] {
            match count.load(Relaxed) {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                count => parts.push(format!("{count} {many}")),
            }
        }
        for name in self.denied.lock().unwrap().iter() {
            parts.push(format!("{name} (closed to tools)"));
        }
        if parts.is_empty() {
            return;
        }
        if !answer.ends_with('\n') {
            answer.push('\n');
        }
        answer.push_str(&format!("[left out: {}]\n", parts.join(", ")));
    }
}
