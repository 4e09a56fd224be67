//! Finding files by content.
use crate::{
    IsCancelled, Root, SearchError,
    collector::{Collector, FileMatches, MAX_COLLECTED_BYTES, Stoppable},
    encoding::{self, SAMPLE_BYTES},
    left_out::Reason,
    line_ends::{any_line_end, mentions_return},
    name_filter::NameFilter,
    search::{MAX_TIME, Met, SearchScope, display_path},
};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Encoding, Searcher, SearcherBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    cmp::Reverse,
    collections::HashSet,
    fs::File,
    io::{self, Seek},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::SystemTime,
};

/// How many lines or files are shown unless the query says otherwise.
const DEFAULT_HEAD_LIMIT: usize = 250;
/// How much is shown in all, in bytes.
pub(crate) const MAX_SHOWN_BYTES: usize = 30_000;
/// How much of a file is held in memory at once, in bytes.
const MAX_BUFFER_BYTES: usize = 32_000_000;
/// How large a compiled regular expression may be, in bytes.
const MAX_REGEX_BYTES: usize = 30_000_000;

// The doc comments of this type are what a model reads about the tool and its arguments. The names
// of the arguments are those of ripgrep's options, which models know.
/// Searches the content of files below the working directory with a regular expression, as ripgrep
/// does. Files that git ignores, binary files and what is outside are left out; a last line says
/// what was.
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
    let scope = SearchScope::new(root, query.path.as_deref(), MAX_TIME, is_cancelled)?;
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
    let search = |searcher: &mut Searcher, matcher: &RegexMatcher, met: &Met<'_>, file: &File| {
        let Some(matches) = query.search(&scope, searcher, matcher, met, file) else { return true };
        let size = matches.text.len() + met.path.as_os_str().len();
        found.lock().unwrap().push(matches);
        collected.fetch_add(size, Relaxed) < MAX_COLLECTED_BYTES
    };
    match root.open_resolved(&scope.relative) {
        // A file that is named is searched, whatever its name and even if git ignores it.
        Ok(file) => {
            let met = Met { path: &scope.relative, real: scope.relative.clone(), rank: 0 };
            search(&mut query.searcher(), &matcher, &met, &file);
        }
        Err(_) => {
            let matched = scope.visit(&names, || {
                // One for each thread: a shared matcher makes them wait for its buffers, which
                // costs a fifth of the time.
                let (mut searcher, matcher) = (query.searcher(), matcher.clone());
                let (search, scope) = (&search, &scope);
                move |met: Met<'_>| match root.open_resolved(&met.real) {
                    Ok(file) => search(&mut searcher, &matcher, &met, &file),
                    Err(error) => {
                        scope.unreadable(&met, &error);
                        true
                    }
                }
            })?;
            if found.lock().unwrap().is_empty() {
                scope.count_ignored(&names, matched)?;
            }
            if matched == 0 {
                names.check()?;
            }
        }
    }
    let (mut found, mut less_exact) = (found.into_inner().unwrap(), 0);
    found.retain(|matches: &FileMatches| {
        less_exact += usize::from(!scope.is_best(matches.rank));
        scope.is_best(matches.rank)
    });
    // What was found behind a link is shown where it really is, if it was found there too.
    let shown: HashSet<PathBuf> = found.iter().map(|matches| matches.path.clone()).collect();
    found.retain(|matches| matches.path == matches.real || !shown.contains(&matches.real));
    let ended_early = collected.into_inner() >= MAX_COLLECTED_BYTES;
    let mut answer = query.answer(found, ended_early);
    scope.finish(&mut answer, less_exact)?;
    Ok(answer)
}

impl Query {
    pub(crate) fn output_mode(&self) -> OutputMode {
        self.output_mode.unwrap_or_default()
    }

    fn is_multiline(&self) -> bool {
        self.multiline == Some(true)
    }

    pub(crate) fn offset(&self) -> usize {
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
            .dot_matches_new_line(multiline)
            .size_limit(MAX_REGEX_BYTES)
            .dfa_size_limit(MAX_REGEX_BYTES)
            // `$` stands before `\r\n` too, unless the pattern itself is about returns.
            .crlf(!mentions_return(&self.pattern))
            .line_terminator(if multiline { None } else { Some(b'\n') });
        let pattern = if multiline { any_line_end(&self.pattern) } else { self.pattern.clone() };
        builder.build(&pattern).map_err(|error| {
            if error.to_string().contains("size limit") {
                return SearchError::Pattern {
                    error,
                    hint: "repeat less in it: `{1,9}`, not `{1,999}`",
                };
            }
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
        self.searcher_for(BinaryDetection::quit(0), None)
    }

    fn searcher_for(&self, binary: BinaryDetection, encoding: Option<Encoding>) -> Searcher {
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
            .binary_detection(binary)
            .encoding(encoding)
            .heap_limit(Some(MAX_BUFFER_BYTES))
            .build()
    }

    /// How many lines or files are needed of any one file, those skipped for `offset` included.
    pub(crate) fn max_lines(&self) -> usize {
        match self.head_limit.unwrap_or(DEFAULT_HEAD_LIMIT) {
            0 => usize::MAX,
            limit => limit.saturating_add(self.offset()),
        }
    }

    /// What is in one file, if anything.
    fn search(
        &self,
        scope: &SearchScope<'_>,
        searcher: &mut Searcher,
        matcher: &RegexMatcher,
        met: &Met<'_>,
        file: &File,
    ) -> Option<FileMatches> {
        let mut collector = Collector::new(self, scope, met);
        let mut ended = searcher.search_reader(matcher, Stoppable { file, scope }, &mut collector);
        let mut encoding = None;
        // Of what is beyond ASCII, the regular expression knows UTF-8 only.
        let is_latin1 = ended.is_ok()
            && collector.matches.count == 0
            && !collector.is_binary
            && !self.pattern.is_ascii()
            && { file }.rewind().is_ok()
            && encoding::may_be_latin1(Stoppable { file, scope }).unwrap_or(false);
        if is_latin1 {
            encoding = Encoding::new("windows-1252").ok();
        }
        if ended.is_ok() && collector.is_binary {
            // A NUL byte alone makes no binary file.
            let mut sample = [0; SAMPLE_BYTES];
            let length = file.read_at(&mut sample, 0).unwrap_or(0);
            encoding = match encoding::Encoding::of(&sample[..length]) {
                encoding::Encoding::Text => None,
                encoding::Encoding::Utf16Le => Encoding::new("utf-16le").ok(),
                encoding::Encoding::Utf16Be => Encoding::new("utf-16be").ok(),
                encoding::Encoding::Binary => {
                    scope.left_out.add(Reason::Binary, Some(display_path(met.path)));
                    return None;
                }
            };
        }
        if ended.is_ok() && (collector.is_binary || is_latin1) {
            collector = Collector::new(self, scope, met);
            let mut searcher = self.searcher_for(BinaryDetection::none(), encoding);
            ended = { file }.rewind().and_then(|()| {
                searcher.search_reader(matcher, Stoppable { file, scope }, &mut collector)
            });
        }
        if let Err(error) = ended {
            let name = Some(display_path(met.path));
            match (error.kind(), error.raw_os_error(), self.is_multiline()) {
                // What was found before the end is shown.
                (io::ErrorKind::TimedOut, None, _) => {}
                (_, Some(_), _) => scope.unreadable(met, &error),
                (_, None, false) => scope.left_out.add(Reason::LongLine, name),
                (_, None, true) => scope.left_out.add(Reason::TooLarge, name),
            }
        }
        let mut matches = collector.matches;
        if matches.count == 0 {
            if is_latin1 {
                scope.left_out.add(Reason::NotUtf8, Some(display_path(met.path)));
            }
            return None;
        }
        if self.output_mode() == OutputMode::FilesWithMatches {
            let modified = file.metadata().and_then(|metadata| metadata.modified());
            matches.modified = modified.unwrap_or(SystemTime::UNIX_EPOCH);
        }
        Some(matches)
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
