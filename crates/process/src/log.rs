//! The newest lines of what a command prints.
use crate::{
    Sink,
    file_copy::{FileCopy, Target},
};
use durable::Folder;
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// How many lines of a log are kept whose file is deleted.
const SHORT_LINES: usize = 20;

/// The newest lines of what a command prints, to be read while a [`LogWriter`] adds to them. Clones
/// are the same log.
#[derive(Debug, Clone)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    /// Lines that have ended, without their newline.
    complete: VecDeque<String>,
    /// How many lines have ended, including those no longer kept.
    count: u64,
    /// The line that has not ended yet.
    partial: Vec<u8>,
    /// What follows and may still change, as lines.
    changeable: Vec<u8>,
    /// Why the file is missing or incomplete.
    fault: Option<String>,
}

/// Where a command's output goes: the newest lines to a [`Log`], and all of it to a file.
#[derive(Debug)]
pub struct LogWriter {
    log: Log,
    copy: FileCopy,
}

impl Log {
    /// How many lines are kept in memory.
    pub const MAX_LINES: usize = 500;
    /// How many bytes of a line are kept in memory.
    pub const MAX_LINE_BYTES: usize = 2000;
    /// How many bytes the file has at most. Of more, the oldest give way.
    pub const MAX_FILE_BYTES: u64 = 8 << 20;

    /// The newest lines, at most `max`, the oldest first; and how many there have been in all.
    pub fn newest(&self, max: usize) -> (Vec<String>, u64) {
        let lines = self.0.lines.lock().unwrap();
        let mut newest: Vec<String> = lines.complete.iter().cloned().collect();
        let mut count = lines.count;
        let open = [lines.partial.as_slice(), &lines.changeable].concat();
        let mut open: Vec<&[u8]> = open.split(|byte| *byte == b'\n').collect();
        open.pop_if(|last| last.is_empty());
        count += open.len() as u64;
        newest.extend(open.into_iter().map(|line| {
            let line = &line[..line.len().min(Log::MAX_LINE_BYTES)];
            String::from_utf8_lossy(line).into_owned()
        }));
        (newest.split_off(newest.len().saturating_sub(max)), count)
    }

    /// The file with the whole output.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Why the file is missing or incomplete, if it is.
    pub fn fault(&self) -> Option<String> {
        self.0.lines.lock().unwrap().fault.clone()
    }
}

impl Log {
    /// Keeps the last lines only, and says why its file is deleted; false when that was done
    /// before.
    pub(crate) fn shorten(&self, why: &str) -> bool {
        let mut lines = self.0.lines.lock().unwrap();
        let fault = format!("the file is deleted: {why}");
        if lines.fault.as_ref() == Some(&fault) {
            return false;
        }
        let old = lines.complete.len().saturating_sub(SHORT_LINES);
        lines.complete.drain(..old);
        lines.complete.shrink_to_fit();
        lines.fault = Some(fault);
        true
    }
}

impl LogWriter {
    /// An empty log, whose output goes to a file of this name, readable by the same user only. The
    /// first flush creates the file; there must be none. If it cannot be written, only the file is
    /// missing: the lines are kept, and [`Log::fault`] says why.
    pub fn new(folder: &Folder, name: &str) -> LogWriter {
        let path = folder.path().join(name);
        let copy = FileCopy::new(Target::Folder(folder.clone(), name.into()), Log::MAX_FILE_BYTES);
        LogWriter { log: Log(Arc::new(Inner { path, lines: Mutex::default() })), copy }
    }

    /// The log that this adds to.
    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Sink for LogWriter {
    fn push(&mut self, bytes: &[u8]) {
        self.copy.push(bytes);
        self.log.0.lines.lock().unwrap().push(bytes);
    }

    fn redraw(&mut self, text: &[u8]) {
        self.copy.redraw(text);
        self.log.0.lines.lock().unwrap().changeable = text.to_vec();
    }

    async fn flush(&mut self) {
        self.copy.flush().await;
        let fault = match self.copy.error() {
            Some(error) => error.to_string(),
            None if self.copy.gone() > 0 => {
                format!("the first {} bytes of it are gone", self.copy.gone())
            }
            None => return,
        };
        self.log.0.lines.lock().unwrap().fault = Some(fault);
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = Log::MAX_LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend(&text[..text.len().min(room)]);
            if ends {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
                self.complete.push_back(line);
                self.count += 1;
                if self.complete.len() > Log::MAX_LINES {
                    self.complete.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_lines_are_kept_and_the_file_has_them_all() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), "").unwrap();
        let mut writer = LogWriter::new(&folder, "log");
        let log = writer.log();
        let all: String = (0..1200).map(|i| format!("line {i}\n")).collect();
        for piece in all.as_bytes().chunks(37) {
            writer.push(piece);
            writer.flush().await;
        }
        writer.push(b"half a ");
        writer.redraw(b"li");
        writer.flush().await;
        let (lines, count) = log.newest(3);
        assert_eq!(
            (lines, count),
            (vec!["line 1198".into(), "line 1199".into(), "half a li".into()], 1201)
        );
        assert_eq!(log.newest(9999).0.len(), Log::MAX_LINES + 1);
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), all + "half a li");
        assert_eq!(log.fault(), None);
    }

    #[tokio::test]
    async fn long_lines_are_cut_in_memory_only_and_a_missing_file_costs_only_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), "").unwrap();
        let mut writer = LogWriter::new(&folder, "log");
        writer.push(&[b'x'; 1_000_000]);
        writer.push(b"\nend\n");
        writer.flush().await;
        let log = writer.log();
        let lengths: Vec<usize> = log.newest(2).0.iter().map(String::len).collect();
        assert_eq!(lengths, [Log::MAX_LINE_BYTES, 3]);
        assert_eq!(std::fs::metadata(log.path()).unwrap().len(), 1_000_005);

        let mut writer = LogWriter::new(&folder, "log");
        writer.push(b"a\n");
        writer.flush().await;
        let (fault, log) = (writer.log().fault().unwrap(), writer.log());
        assert_eq!(fault, format!("{}: it exists already", log.path().display()));
        assert_eq!(log.newest(1).0, ["a"]);
    }

    #[tokio::test]
    async fn a_file_that_is_full_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), "").unwrap();
        let mut writer = LogWriter::new(&folder, "log");
        writer.push(&vec![b'x'; 9 << 20]);
        writer.flush().await;
        let fault = writer.log().fault();
        assert_eq!(fault.as_deref(), Some("the first 4194304 bytes of it are gone"));
    }
}
