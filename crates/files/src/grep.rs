//! Finding files by content.
use crate::{
    IsCancelled, Root, SearchError,
    name_filter::NameFilter,
    search::{SearchScope, display_path},
};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    cmp::Reverse,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::SystemTime,
};

/// How many lines or files are shown unless the query says otherwise.
const DEFAULT_HEAD_LIMIT: usize = 250;
/// How much of a line, and how much in all, is shown, in bytes.
const MAX_LINE_BYTES: usize = 500;
const MAX_SHOWN_BYTES: usize = 30_000;
/// How much of one file is collected after what `offset` skips, in bytes: more than is shown.
const MAX_FILE_BYTES: usize = 2 * MAX_SHOWN_BYTES;
/// How much is collected in all before the walk ends early, in bytes.
const MAX_COLLECTED_BYTES: usize = 32_000_000;
/// How much of a file is held in memory at once, in bytes.
const MAX_BUFFER_BYTES: usize = 64_000_000;

// The doc comments of this type are what a model reads about the tool and its arguments. The names
// of the arguments are those of ripgrep's options, which models know.
/// Searches the content of files below the working directory with a regular expression, as ripgrep
/// does. Files that git ignores, binary files and the targets of links are left out; a last line
/// says what was.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
pub struct Query {
    /// The regular expression, in Rust's syntax.
    pub pattern: String,
    /// The file or folder to search; the working directory unless given.
    #[serde(default)]
    pub path: Option<String>,
    /// Search only files whose names match this glob, such as `*.{ts,tsx}`.
    #[serde(default)]
    pub glob: Option<String>,
    /// Search only files of this type, such as `rust` or `py`.
    #[serde(default)]
    pub r#type: Option<String>,
    /// What to return: `files_with_matches`, the paths of the files, newest first, unless given;
    /// `content`, the matching lines; `count`, how many lines match in each file.
    #[serde(default)]
    pub output_mode: Option<OutputMode>,
    /// Ignore the case of letters; no unless given.
    #[serde(default, rename = "-i")]
    pub ignore_case: Option<bool>,
    /// With `content`, number the lines; yes unless given.
    #[serde(default, rename = "-n")]
    pub line_numbers: Option<bool>,
    /// With `content`, how many lines to show after each match.
    #[serde(default, rename = "-A")]
    pub after: Option<usize>,
    /// With `content`, how many lines to show before each match.
    #[serde(default, rename = "-B")]
    pub before: Option<usize>,
    /// With `content`, how many lines to show before and after each match.
    #[serde(default, rename = "-C", alias = "context")]
    pub context: Option<usize>,
    /// Let a match span lines, and `.` match line ends; no unless given.
    #[serde(default)]
    pub multiline: Option<bool>,
    /// How many lines or files to show: 250 unless given, 0 for as many as fit.
    #[serde(default)]
    pub head_limit: Option<usize>,
    /// How many lines or files to skip first.
    #[serde(default)]
    pub offset: Option<usize>,
}

/// What to return of the files in which something was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputMode {
    /// The matching lines.
    Content,
    /// The paths of the files, the newest first.
    #[default]
    FilesWithMatches,
    /// The paths of the files with their numbers of matching lines.
    Count,
}

/// What was found in one file.
struct FileMatches {
    path: PathBuf,
    modified: SystemTime,
    /// How many lines match.
    count: u64,
    /// The lines to show, and how many there are. One string, since there may be many of them.
    text: String,
    lines: usize,
}

/// What a search of one file has come to.
enum Searched {
    Found(FileMatches),
    Nothing,
    Binary,
    /// Or a line in it is too long to hold in memory.
    Unreadable,
}

/// Searches files with a regular expression, as ripgrep does. What was left out is said in a last
/// line.
///
/// # Errors
/// When the pattern or the path is wrong, or the caller has cancelled.
pub fn grep(
    root: &Root,
    query: &Query,
    is_cancelled: IsCancelled<'_>,
) -> Result<String, SearchError> {
    let scope = SearchScope::new(root, query.path.as_deref())?;
    let mut names = NameFilter::default();
    if let Some(glob) = &query.glob {
        names = names.with_glob(root, glob)?;
    }
    if let Some(name) = &query.r#type {
        names = names.with_type(name)?;
    }
    let matcher = query.matcher()?;
    let (found, collected) = (Mutex::new(vec![]), AtomicUsize::new(0));
    // Whether to search on.
    let search = |searcher: &mut Searcher, matcher: &RegexMatcher, relative: &Path, file: &File| {
        match query.search(searcher, matcher, relative, file, is_cancelled) {
            Searched::Found(matches) => {
                let size = matches.text.len() + relative.as_os_str().len();
                found.lock().unwrap().push(matches);
                return collected.fetch_add(size, Relaxed) < MAX_COLLECTED_BYTES;
            }
            Searched::Nothing => {}
            Searched::Binary => scope.left_out.binary(),
            Searched::Unreadable => scope.left_out.unreadable(),
        }
        true
    };
    let mut met = None;
    match root.open_resolved(&scope.relative) {
        // A file that is named is searched, whatever its name and even if git ignores it.
        Ok(file) => {
            search(&mut query.searcher(), &matcher, &scope.relative, &file);
        }
        Err(_) => {
            met = Some(scope.visit(&names, is_cancelled, || {
                // One for each thread: a shared matcher makes them wait for its buffers, which
                // costs a fifth of the time.
                let (mut searcher, matcher) = (query.searcher(), matcher.clone());
                let (search, left_out) = (&search, &scope.left_out);
                move |relative: &Path| match root.open_resolved(relative) {
                    Ok(file) => search(&mut searcher, &matcher, relative, &file),
                    Err(_) => {
                        left_out.unreadable();
                        true
                    }
                }
            })?);
        }
    }
    let found = found.into_inner().unwrap();
    if found.is_empty()
        && let Some(met) = met
    {
        scope.look_for_ignored(met, is_cancelled)?;
    }
    if is_cancelled() {
        return Err(SearchError::Cancelled);
    }
    let ended_early = collected.into_inner() >= MAX_COLLECTED_BYTES;
    let mut answer = query.answer(found, ended_early);
    scope.left_out.append_to(&mut answer);
    Ok(answer)
}

impl Query {
    fn output_mode(&self) -> OutputMode {
        self.output_mode.unwrap_or_default()
    }

    fn is_multiline(&self) -> bool {
        self.multiline == Some(true)
    }

    fn offset(&self) -> usize {
        self.offset.unwrap_or(0)
    }

    fn matcher(&self) -> Result<RegexMatcher, SearchError> {
        if self.pattern.is_empty() {
            return Err(SearchError::EmptyPattern);
        }
        let multiline = self.is_multiline();
        let mut builder = RegexMatcherBuilder::new();
        builder
            .case_insensitive(self.ignore_case == Some(true))
            .multi_line(true)
            .dot_matches_new_line(multiline);
        if !multiline {
            builder.line_terminator(Some(b'\n'));
        }
        builder.build(&self.pattern).map_err(|error| {
            let hint = match self.pattern.contains("\\n") && !multiline {
                true => "set `multiline` to match across lines",
                false => {
                    "write a backslash before (, ), [, ], {, }, |, ., *, +, ? and $ that stand for \
                     themselves"
                }
            };
            SearchError::Pattern { error, hint }
        })
    }

    fn searcher(&self) -> Searcher {
        let content = self.output_mode() == OutputMode::Content;
        let context = |lines: Option<usize>| match content {
            true => lines.or(self.context).unwrap_or(0),
            false => 0,
        };
        SearcherBuilder::new()
            .line_number(content && self.line_numbers != Some(false))
            .before_context(context(self.before))
            .after_context(context(self.after))
            .multi_line(self.is_multiline())
            .binary_detection(BinaryDetection::quit(0))
            .heap_limit(Some(MAX_BUFFER_BYTES))
            .build()
    }

    /// How many lines or files are needed of any one file, those skipped for `offset` included.
    fn max_lines(&self) -> usize {
        match self.head_limit.unwrap_or(DEFAULT_HEAD_LIMIT) {
            0 => usize::MAX,
            limit => limit.saturating_add(self.offset()),
        }
    }

    fn search(
        &self,
        searcher: &mut Searcher,
        matcher: &RegexMatcher,
        relative: &Path,
        file: &File,
        is_cancelled: IsCancelled<'_>,
    ) -> Searched {
        let matches = FileMatches {
            path: relative.to_path_buf(),
            modified: SystemTime::UNIX_EPOCH,
            count: 0,
            text: String::new(),
            lines: 0,
        };
        let name = display_path(relative);
        let mut collector = Collector {
            query: self,
            matches,
            name,
            skipped_bytes: 0,
            is_binary: false,
            is_cancelled,
        };
        if searcher.search_file(matcher, file, &mut collector).is_err() {
            return Searched::Unreadable;
        }
        if collector.is_binary {
            return Searched::Binary;
        }
        if collector.matches.count == 0 {
            return Searched::Nothing;
        }
        if self.output_mode() == OutputMode::FilesWithMatches {
            let modified = file.metadata().and_then(|metadata| metadata.modified());
            collector.matches.modified = modified.unwrap_or(SystemTime::UNIX_EPOCH);
        }
        Searched::Found(collector.matches)
    }

    fn answer(&self, mut found: Vec<FileMatches>, ended_early: bool) -> String {
        if found.is_empty() {
            return "(nothing found)".into();
        }
        // Threads find them in any order; the same search gives the same answer.
        found.sort_by(|a, b| (Reverse(a.modified), &a.path).cmp(&(Reverse(b.modified), &b.path)));
        if self.output_mode() != OutputMode::Content {
            for matches in &mut found {
                matches.text = display_path(&matches.path);
                if self.output_mode() == OutputMode::Count {
                    matches.text.push_str(&format!(":{}", matches.count));
                }
            }
        }
        let (mut text, mut shown, mut more) = (String::new(), 0, ended_early);
        let lines = found.iter().flat_map(|matches| matches.text.lines());
        for line in lines.skip(self.offset()) {
            if shown >= self.max_lines() - self.offset()
                || text.len() + line.len() > MAX_SHOWN_BYTES
            {
                more = true;
                break;
            }
            shown += 1;
            text.push_str(line);
            text.push('\n');
        }
        if shown == 0 && !more {
            return format!("(nothing more from offset {} on)", self.offset());
        }
        if more {
            text.push_str(&format!(
                "[there is more; narrow the search, or go on with offset {}]\n",
                self.offset() + shown
            ));
        } else if self.output_mode() == OutputMode::Count {
            let count: u64 = found.iter().map(|matches| matches.count).sum();
            text.push_str(&format!("[{count} in {} files]\n", found.len()));
        }
        text
    }
}

/// Receives what is found in one file.
struct Collector<'a> {
    query: &'a Query,
    matches: FileMatches,
    name: String,
    /// How much of the text `offset` may skip.
    skipped_bytes: usize,
    is_binary: bool,
    is_cancelled: IsCancelled<'a>,
}

impl Collector<'_> {
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
                Ok(self.add(':', found.line_number(), found.bytes()) && !(self.is_cancelled)())
            }
            OutputMode::FilesWithMatches => Ok(false),
            OutputMode::Count => Ok(!(self.is_cancelled)()),
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
