use crate::{
    Fault, Root, Stop,
    name_filter::Names,
    search::{Place, shown},
};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch,
};
use ignore::types::TypesBuilder;
use serde::Deserialize;
use std::{
    cmp::Reverse,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::SystemTime,
};

/// How many lines or files are shown when nobody says, how long a line and a whole answer may be, in bytes.
const SHOWN: usize = 250;
const LINE: usize = 500;
const ANSWER: usize = 30_000;
/// How much is gathered before the walk ends early, and how much of a file is held at once, in bytes.
const GATHERED: usize = 32_000_000;
const HELD: usize = 64_000_000;

/// What is searched for, where, and what is wanted of it. The names are those of ripgrep's options.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Query {
    /// A regular expression.
    pub pattern: String,
    /// A file or folder; the root unless given.
    pub path: Option<String>,
    /// Only files of these names.
    pub glob: Option<String>,
    /// Only files of this type, as ripgrep knows it.
    pub r#type: Option<String>,
    /// What is wanted.
    pub output_mode: Mode,
    /// Small and large letters are the same.
    #[serde(rename = "-i")]
    pub ignore_case: bool,
    /// Lines have their numbers; so unless this says no.
    #[serde(rename = "-n")]
    pub line_numbers: Option<bool>,
    /// So many lines after each match.
    #[serde(rename = "-A")]
    pub after: Option<usize>,
    /// So many lines before each match.
    #[serde(rename = "-B")]
    pub before: Option<usize>,
    /// So many lines around each match.
    #[serde(rename = "-C", alias = "context")]
    pub around: Option<usize>,
    /// A match may span lines, and `.` matches their ends.
    pub multiline: bool,
    /// So many lines or files at most; all that fit when it is 0.
    pub head_limit: Option<usize>,
    /// So many are skipped first.
    pub offset: usize,
}

/// What is wanted of the files in which something was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The lines.
    Content,
    /// Their names, the newest first.
    #[default]
    FilesWithMatches,
    /// Their names and in how many lines.
    Count,
}

/// What was found in one file.
struct Hit {
    path: PathBuf,
    modified: SystemTime,
    count: u64,
    /// What is shown of it, and in how many lines: in one piece, since there may be many.
    text: String,
    lines: usize,
}

/// Searches.
///
/// # Errors
/// When the pattern or the place is wrong, or it was stopped.
pub fn grep(root: &Root, query: &Query, stop: Stop<'_>) -> Result<String, Fault> {
    let place = Place::of(root, query.path.as_deref())?;
    let names = match &query.glob {
        Some(glob) => Names::matching(root, glob)?,
        None => Names::all(),
    };
    let matcher = query.matcher()?;
    let mut walk = place.walk();
    if let Some(kind) = &query.r#type {
        let types = TypesBuilder::new().add_defaults().select(kind).build();
        walk.types(types.map_err(|_| {
            Fault::Pattern(format!("`type`: ripgrep knows no type of file `{kind}`"))
        })?);
    }
    let (hits, gathered) = (Mutex::new(vec![]), AtomicUsize::new(0));
    let search = |searcher: &mut Searcher, matcher: &RegexMatcher, inside: &Path, file: &File| {
        if let Some(hit) = query.search(searcher, matcher, inside, file, stop) {
            let size = hit.text.len() + inside.as_os_str().len();
            hits.lock().unwrap().push(hit);
            return gathered.fetch_add(size, Relaxed) < GATHERED;
        }
        true
    };
    match root.open_found(&place.inside) {
        // A file named is searched, whatever its name and though git ignores it.
        Ok(file) => {
            search(&mut query.searcher(), &matcher, &place.inside, &file);
        }
        Err(_) => place.visit(&walk, &names, stop, || {
            // One each: threads that share a matcher wait for its buffers, which costs a fifth of the time.
            let (mut searcher, matcher) = (query.searcher(), matcher.clone());
            let search = &search;
            move |inside: &Path| match root.open_found(inside) {
                Ok(file) => search(&mut searcher, &matcher, inside, &file),
                Err(_) => true,
            }
        })?,
    }
    if stop() {
        return Err(Fault::Stopped);
    }
    let cut = gathered.into_inner() >= GATHERED;
    Ok(query.answer(hits.into_inner().unwrap(), cut))
}

impl Query {
    fn matcher(&self) -> Result<RegexMatcher, Fault> {
        if self.pattern.is_empty() {
            return Err(Fault::Pattern("`pattern` is missing or empty".into()));
        }
        let mut builder = RegexMatcherBuilder::new();
        builder
            .case_insensitive(self.ignore_case)
            .multi_line(true)
            .dot_matches_new_line(self.multiline);
        if !self.multiline {
            builder.line_terminator(Some(b'\n'));
        }
        builder.build(&self.pattern).map_err(|error| {
            let hint = match self.pattern.contains("\\n") && !self.multiline {
                true => "set `multiline` to match across lines",
                false => "write a backslash before (, ), [, ], {, }, |, ., *, +, ? and $ that stand for themselves",
            };
            Fault::Pattern(format!("`pattern`: {error}\n({hint})"))
        })
    }

    fn searcher(&self) -> Searcher {
        let content = self.output_mode == Mode::Content;
        let around =
            |side: Option<usize>| if content { side.or(self.around).unwrap_or(0) } else { 0 };
        SearcherBuilder::new()
            .line_number(content && self.line_numbers != Some(false))
            .before_context(around(self.before))
            .after_context(around(self.after))
            .multi_line(self.multiline)
            .binary_detection(BinaryDetection::quit(0))
            .heap_limit(Some(HELD))
            .build()
    }

    /// No answer needs more of one file.
    fn most(&self) -> usize {
        match self.head_limit.unwrap_or(SHOWN) {
            0 => usize::MAX,
            limit => limit.saturating_add(self.offset),
        }
    }

    fn search(
        &self,
        searcher: &mut Searcher,
        matcher: &RegexMatcher,
        inside: &Path,
        file: &File,
        stop: Stop<'_>,
    ) -> Option<Hit> {
        let hit = Hit {
            path: inside.to_path_buf(),
            modified: SystemTime::UNIX_EPOCH,
            count: 0,
            text: String::new(),
            lines: 0,
        };
        let mut found = Found { query: self, hit, name: shown(inside), binary: false, stop };
        // What can't be read, or has a line too long to hold, is as if nothing were in it.
        let searched = searcher.search_file(matcher, file, &mut found);
        if searched.is_err() || found.binary || found.hit.count == 0 {
            return None;
        }
        if self.output_mode == Mode::FilesWithMatches {
            found.hit.modified =
                file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        }
        Some(found.hit)
    }

    fn answer(&self, mut hits: Vec<Hit>, cut: bool) -> String {
        if hits.is_empty() {
            return "(nothing found)".into();
        }
        // Threads find them in any order; the same search gives the same answer.
        hits.sort_by(|a, b| (Reverse(a.modified), &a.path).cmp(&(Reverse(b.modified), &b.path)));
        let (files, matches) = (hits.len(), hits.iter().map(|hit| hit.count).sum::<u64>());
        if self.output_mode != Mode::Content {
            for hit in &mut hits {
                hit.text = shown(&hit.path);
                if self.output_mode == Mode::Count {
                    hit.text.push_str(&format!(":{}", hit.count));
                }
            }
        }
        let lines = hits.iter().flat_map(|hit| hit.text.lines());
        let (mut text, mut number) = (String::new(), 0);
        let mut more = cut;
        for line in lines.skip(self.offset) {
            if number >= self.most() - self.offset || text.len() + line.len() > ANSWER {
                more = true;
                break;
            }
            number += 1;
            text.push_str(line);
            text.push('\n');
        }
        if more {
            text.push_str(&format!(
                "[there is more; narrow the search, or go on with offset {}]\n",
                self.offset + number
            ));
        } else if self.output_mode == Mode::Count {
            text.push_str(&format!("[{matches} in {files} files]\n"));
        }
        text
    }
}

/// Takes in what is found in one file.
struct Found<'a> {
    query: &'a Query,
    hit: Hit,
    name: String,
    binary: bool,
    stop: Stop<'a>,
}

impl Found<'_> {
    /// Adds lines; whether more are wanted.
    fn add(&mut self, mark: char, first: Option<u64>, bytes: &[u8]) -> bool {
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = &mut self.hit.text;
            text.push_str(&self.name);
            text.push(mark);
            if let Some(first) = first {
                text.push_str(&(first + number as u64).to_string());
                text.push(mark);
            }
            let shown = String::from_utf8_lossy(&line[..line.len().min(LINE)]);
            match line.len() > LINE {
                // Without the half of a character.
                true => text.extend([shown.trim_end_matches('\u{fffd}'), " [line cut]"]),
                false => text.push_str(&shown),
            }
            text.push('\n');
            self.hit.lines += 1;
        }
        self.hit.text.len() < ANSWER * 2 && self.hit.lines <= self.query.most()
    }
}

impl Sink for Found<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        self.hit.count += found.lines().count() as u64;
        match self.query.output_mode {
            Mode::Content => {
                Ok(self.add(':', found.line_number(), found.bytes()) && !(self.stop)())
            }
            Mode::FilesWithMatches => Ok(false),
            Mode::Count => Ok(!(self.stop)()),
        }
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> io::Result<bool> {
        Ok(self.add('-', found.line_number(), found.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        self.hit.text.push_str("--\n");
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> io::Result<bool> {
        self.binary = true;
        Ok(false)
    }

    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> io::Result<()> {
        self.binary |= finish.binary_byte_offset().is_some();
        Ok(())
    }
}
