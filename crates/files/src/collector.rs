//! What is found in one file.
use crate::{
    OutputMode, Query,
    grep::MAX_SHOWN_BYTES,
    search::{Met, SearchScope, display_path},
    text::NUL_SYMBOL,
};
use grep_searcher::{Searcher, Sink, SinkContext, SinkFinish, SinkMatch};
use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::SystemTime,
};

/// How much of a line is shown, in bytes.
const MAX_LINE_BYTES: usize = 500;
/// How much of one file is collected after what `offset` skips, in bytes: more than is shown.
const MAX_FILE_BYTES: usize = 2 * MAX_SHOWN_BYTES;
/// How much is collected in all before the walk ends early, in bytes.
pub(crate) const MAX_COLLECTED_BYTES: usize = 32_000_000;

/// What was found in one file.
pub(crate) struct FileMatches {
    /// As it is shown, and free of links.
    pub(crate) path: PathBuf,
    pub(crate) real: PathBuf,
    /// How well its name matches.
    pub(crate) rank: usize,
    pub(crate) modified: SystemTime,
    /// How many lines match.
    pub(crate) count: u64,
    /// The lines to show, and how many there are. One string, since there may be many of them.
    pub(crate) text: String,
    pub(crate) lines: usize,
}

/// A file that ends with an error when the search must end.
pub(crate) struct Stoppable<'a> {
    pub(crate) file: &'a File,
    pub(crate) scope: &'a SearchScope<'a>,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.scope.must_end() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => self.file.read(buffer),
        }
    }
}

/// Receives what is found in one file.
pub(crate) struct Collector<'a> {
    query: &'a Query,
    scope: &'a SearchScope<'a>,
    pub(crate) matches: FileMatches,
    name: String,
    /// How much of the text `offset` may skip.
    skipped_bytes: usize,
    pub(crate) is_binary: bool,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(
        query: &'a Query,
        scope: &'a SearchScope<'a>,
        met: &Met<'_>,
    ) -> Collector<'a> {
        let matches = FileMatches {
            path: met.path.to_path_buf(),
            real: met.real.clone(),
            rank: met.rank,
            modified: SystemTime::UNIX_EPOCH,
            count: 0,
            text: String::new(),
            lines: 0,
        };
        let name = display_path(met.path);
        Collector { query, scope, matches, name, skipped_bytes: 0, is_binary: false }
    }

    /// Adds lines, as ripgrep prints them: `:` after a match, `-` after a line around it. Returns
    /// whether more are needed.
    fn add(&mut self, separator: char, first_number: Option<u64>, bytes: &[u8]) -> bool {
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = &mut self.matches.text;
            text.push_str(&self.name);
            text.push(separator);
            if let Some(first_number) = first_number {
                text.push_str(&(first_number + index as u64).to_string());
                text.push(separator);
            }
            let shown = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE_BYTES)]);
            let shown = shown.replace('\0', NUL_SYMBOL);
            match line.len() > MAX_LINE_BYTES {
                // Without the first half of a character that was cut in two.
                true => text.extend([shown.trim_end_matches('\u{fffd}'), " [line cut]"]),
                false => text.push_str(&shown),
            }
            text.push('\n');
            self.matches.lines += 1;
            if self.matches.lines <= self.query.offset() {
                self.skipped_bytes = self.matches.text.len();
            }
        }
        let bytes = self.matches.text.len();
        bytes - self.skipped_bytes < MAX_FILE_BYTES
            && bytes < MAX_COLLECTED_BYTES
            && self.matches.lines <= self.query.max_lines()
    }
}

impl Sink for Collector<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        self.matches.count += found.lines().count() as u64;
        match self.query.output_mode() {
            OutputMode::Content => {
                Ok(self.add(':', found.line_number(), found.bytes()) && !self.scope.must_end())
            }
            OutputMode::FilesWithMatches => Ok(false),
            OutputMode::Count => Ok(!self.scope.must_end()),
        }
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> io::Result<bool> {
        Ok(self.add('-', found.line_number(), found.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        self.matches.text.push_str("--\n");
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> io::Result<bool> {
        self.is_binary = true;
        Ok(false)
    }

    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> io::Result<()> {
        self.is_binary |= finish.binary_byte_offset().is_some();
        Ok(())
    }
}
