//! What a search did not look at: "nothing found" means that everything else was looked at.
use crate::text::truncate_line;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// How many names are shown of what was left out for one reason.
const MAX_NAMES: usize = 3;
/// How many files are counted that git ignores.
pub(crate) const MAX_IGNORED: usize = 1000;

/// Why something was left out. They are named in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A file that git ignores. Only known when nothing was found.
    Ignored,
    Binary,
    /// A text that is no UTF-8, in which a pattern beyond ASCII was not found.
    NotUtf8,
    /// From a line on that is too long to hold in memory.
    LongLine,
    /// Something that was changed while it was searched.
    Changed,
    /// Too large for a search across lines.
    TooLarge,
    /// A link that leads outside or nowhere.
    LinkOutside,
    /// A link into a folder to which access is denied.
    LinkDenied,
    /// Behind links, when too much is.
    BehindLinks,
    /// A pipe, a device or a socket.
    Special,
    /// A folder with a file that says what git ignores, and is no such file.
    BadIgnoreFile,
    /// A file or folder that could not be opened or read, with the error of the system.
    Unreadable(String),
    /// A file or folder to which access is denied.
    Denied,
}

/// Counted by several threads at once.
#[derive(Default)]
pub(crate) struct LeftOut(Mutex<BTreeMap<Reason, Names>>);

/// The first names in alphabetical order, so that the same search gives the same answer.
#[derive(Default)]
struct Names {
    count: usize,
    first: BTreeSet<String>,
}

impl LeftOut {
    /// `name` is `None` for what may be outside.
    pub(crate) fn add(&self, reason: Reason, name: Option<String>) {
        let mut left_out = self.0.lock().unwrap();
        let names = left_out.entry(reason).or_default();
        names.count += 1;
        names.first.extend(name.map(|name| truncate_line(&name)));
        if names.first.len() > MAX_NAMES {
            names.first.pop_last();
        }
    }

    /// What is counted but not named.
    pub(crate) fn add_many(&self, reason: Reason, count: usize) {
        if count > 0 {
            self.0.lock().unwrap().entry(reason).or_default().count += count;
        }
    }

    /// Appends one line to an answer, if anything was left out.
    pub(crate) fn append_to(&self, answer: &mut String) {
        let left_out = self.0.lock().unwrap();
        if left_out.is_empty() {
            return;
        }
        if !answer.ends_with('\n') {
            answer.push('\n');
        }
        let parts: Vec<String> =
            left_out.iter().map(|(reason, names)| names.describe(reason)).collect();
        answer.push_str(&format!("[left out: {}]\n", parts.join(", ")));
    }
}

impl Names {
    fn describe(&self, reason: &Reason) -> String {
        let mut names: Vec<&str> = self.first.iter().map(String::as_str).collect();
        if let Reason::Denied = reason {
            return names
                .iter()
                .map(|name| format!("{name} (closed to tools)"))
                .collect::<Vec<_>>()
                .join(", ");
        }
        let [one, many] = match reason {
            Reason::Ignored => ["file that git ignores", "files that git ignores"],
            Reason::Binary => ["binary file", "binary files"],
            Reason::NotUtf8 => [
                "file that is not UTF-8, searched as Latin-1",
                "files that are not UTF-8, searched as Latin-1",
            ],
            Reason::LongLine => {
                ["file from a line of over 32 MB on", "files from a line of over 32 MB on"]
            }
            Reason::Changed => {
                ["path that changed during the search", "paths that changed during the search"]
            }
            Reason::TooLarge => [
                "file of over 32 MB, too large for `multiline`",
                "files of over 32 MB, too large for `multiline`",
            ],
            Reason::LinkOutside => {
                ["link that leads outside or nowhere", "links that lead outside or nowhere"]
            }
            Reason::LinkDenied => {
                ["link into what is closed to tools", "links into what is closed to tools"]
            }
            Reason::BehindLinks => ["path too far behind links", "paths too far behind links"],
            Reason::Special => ["special file", "special files"],
            Reason::BadIgnoreFile => [
                "folder whose .gitignore, .ignore or .git cannot be read",
                "folders whose .gitignore, .ignore or .git cannot be read",
            ],
            Reason::Unreadable(_) => ["unreadable path", "unreadable paths"],
            Reason::Denied => [""; 2],
        };
        let count = match reason {
            Reason::Ignored if self.count > MAX_IGNORED => format!("over {MAX_IGNORED}"),
            _ => self.count.to_string(),
        };
        let mut text = format!("{count} {}", if self.count == 1 { one } else { many });
        if self.count > names.len() && !names.is_empty() {
            names.push("...");
        }
        let names = names.join(", ");
        match reason {
            Reason::Unreadable(why) if names.is_empty() => text.push_str(&format!(" ({why})")),
            Reason::Unreadable(why) => text.push_str(&format!(" ({why}: {names})")),
            _ if names.is_empty() => {}
            _ => text.push_str(&format!(" ({names})")),
        }
        text
    }
}
