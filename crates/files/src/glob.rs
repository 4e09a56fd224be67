//! Finding files by name.
use crate::{
    IsCancelled, Root, SearchError,
    name_filter::NameFilter,
    search::{MAX_TIME, Met, SearchScope, display_path},
};
use std::{cmp::Reverse, path::PathBuf, sync::Mutex, time::SystemTime};

/// How many files are listed.
const MAX_FILES: usize = 100;
/// How many are collected before all but the newest are dropped.
const MAX_COLLECTED: usize = 10 * MAX_FILES;

/// The newest files of the highest rank so far.
#[derive(Default)]
struct Newest {
    files: Vec<(Reverse<SystemTime>, PathBuf)>,
    /// How many there were in all.
    count: usize,
    /// The rank of them, and how many there were of a lower one.
    rank: usize,
    less_exact: usize,
}

/// Lists the files whose names match the glob, one a line, the newest first, at most 100. What was
/// left out is said in a last line.
///
/// # Errors
/// When the glob or the folder is wrong, or the caller has cancelled.
pub fn glob(
    root: &Root,
    path: Option<&str>,
    glob: &str,
    is_cancelled: IsCancelled<'_>,
) -> Result<String, SearchError> {
    let scope = SearchScope::new(root, path, MAX_TIME, is_cancelled)?;
    let names = NameFilter::default().with_glob(root, glob)?;
    let newest = Mutex::new(Newest::default());
    let matched = scope.visit(&names, || {
        |met: Met<'_>| {
            // Asked below the directory handle: what is not there was never below it.
            match root.modified(&met.real) {
                Ok(modified) => newest.lock().unwrap().add(modified, &met),
                Err(error) => scope.unreadable(&met, &error),
            }
            true
        }
    })?;
    let mut newest = newest.into_inner().unwrap();
    newest.drop_older();
    let mut text = String::new();
    for (_, path) in &newest.files {
        text.push_str(&display_path(path));
        text.push('\n');
    }
    if newest.files.is_empty() {
        scope.count_ignored(&names, matched)?;
        text.push_str("(no files match)");
    }
    if newest.count > MAX_FILES {
        text.push_str(&format!(
            "[the newest {MAX_FILES} of {}; narrow the pattern to see others]\n",
            newest.count
        ));
    }
    if matched == 0 {
        names.check()?;
    }
    scope.finish(&mut text, newest.less_exact)?;
    Ok(text)
}

impl Newest {
    fn add(&mut self, modified: SystemTime, met: &Met<'_>) {
        if met.rank < self.rank {
            self.less_exact += 1;
            return;
        }
        if met.rank > self.rank {
            let less_exact = self.less_exact + self.count;
            *self = Newest { rank: met.rank, less_exact, ..Newest::default() };
        }
        self.count += 1;
        self.files.push((Reverse(modified), met.path.to_path_buf()));
        if self.files.len() >= MAX_COLLECTED {
            self.drop_older();
        }
    }

    fn drop_older(&mut self) {
        self.files.sort();
        self.files.truncate(MAX_FILES);
    }
}
