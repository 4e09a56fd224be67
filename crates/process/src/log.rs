//! The newest lines of what a command prints.
use crate::Sink;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// The newest lines of what a command prints, however much that is, and all of it in a file. Clones are the same log:
/// one is written while others are read.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: Result<File, io::Error>,
    lines: VecDeque<String>,
    /// How many lines are whole.
    count: u64,
    /// What has come of the next one.
    begun: Vec<u8>,
}

impl Log {
    /// How many lines are kept in memory.
    pub const LINES: usize = 500;
    /// How much of a line is, in bytes.
    pub const LINE: usize = 2000;

    /// One that writes everything to a new file at this path, its owner's alone. A file that can't be written costs the
    /// file, not the log; [`fault`](Log::fault) tells.
    pub fn new(path: PathBuf) -> Log {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        Log(Arc::new(Mutex::new(Inner {
            path,
            file,
            lines: VecDeque::new(),
            count: 0,
            begun: vec![],
        })))
    }

    /// The newest lines, at most so many, the oldest first; and how many there have been in all.
    pub fn newest(&self, most: usize) -> (Vec<String>, u64) {
        let log = self.0.lock().unwrap();
        let begun =
            (!log.begun.is_empty()).then(|| String::from_utf8_lossy(&log.begun).into_owned());
        let count = log.count + u64::from(begun.is_some());
        let mut lines: Vec<String> = log.lines.iter().cloned().chain(begun).collect();
        (lines.split_off(lines.len().saturating_sub(most)), count)
    }

    /// Where all of it is.
    pub fn path(&self) -> PathBuf {
        self.0.lock().unwrap().path.clone()
    }

    /// Why the file is not whole, if it is not.
    pub fn fault(&self) -> Option<String> {
        self.0.lock().unwrap().file.as_ref().err().map(|error| error.to_string())
    }
}

impl Sink for Log {
    fn push(&mut self, bytes: &[u8]) {
        let mut log = self.0.lock().unwrap();
        let log = &mut *log;
        if let Ok(file) = &mut log.file
            && let Err(error) = file.write_all(bytes)
        {
            log.file = Err(error);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = Self::LINE.saturating_sub(log.begun.len());
            log.begun.extend(&text[..text.len().min(room)]);
            if ends {
                let line = String::from_utf8_lossy(&std::mem::take(&mut log.begun)).into_owned();
                log.lines.push_back(line);
                log.count += 1;
                if log.lines.len() > Self::LINES {
                    log.lines.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_stay_and_the_file_has_them_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(dir.path().join("log"));
        let all: String = (0..1200).map(|i| format!("line {i}\n")).collect();
        for piece in all.as_bytes().chunks(37) {
            log.push(piece);
        }
        log.push(b"half a li");
        let (lines, count) = log.newest(3);
        assert_eq!(
            (lines, count),
            (vec!["line 1198".into(), "line 1199".into(), "half a li".into()], 1201)
        );
        assert_eq!(log.newest(9999).0.len(), Log::LINES + 1);
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), all + "half a li");
    }

    #[test]
    fn long_lines_are_cut_in_memory_alone_and_a_missing_file_costs_only_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(dir.path().join("log"));
        log.push(&[b'x'; 1_000_000]);
        log.push(b"\nend\n");
        assert_eq!(log.newest(2).0.iter().map(String::len).collect::<Vec<_>>(), [Log::LINE, 3]);
        assert_eq!(std::fs::metadata(log.path()).unwrap().len(), 1_000_005);
        let mut log = Log::new(dir.path().join("no/such/folder"));
        log.push(b"a\n");
        assert!(log.fault().is_some() && log.newest(1).0 == ["a"]);
    }
}
