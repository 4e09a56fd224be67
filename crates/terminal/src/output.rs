//! Standard output and standard error, which are one terminal where a person sits.
use crate::paint::{Colour, paint};
use rustix::fs::fstat;
use std::{
    io::{IsTerminal, Result, Write},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};
use unicode_width::UnicodeWidthStr;

/// How long nothing may be written before the screen shows that the program is at work.
const SILENCE: Duration = Duration::from_millis(500);

/// Sees what is written.
type Tee = dyn Fn(&str) + Send;

pub(crate) struct Output {
    pub out: Stream,
    pub err: Stream,
    /// Whether both are one stream: a terminal, or one file or pipe.
    pub are_one: bool,
    /// What has been shown of a reply that is not whole yet.
    pub pieces: String,
    /// Whether the newest that was shown is thinking, whose line is not ended.
    pub thinking: bool,
    /// What waits for its turn while a prompt or a question has the output.
    pub held: Option<Vec<(To, String)>>,
    /// When something was written last.
    newest: Instant,
    /// How many columns were written since the last row began, over rows that the terminal wraps.
    columns: usize,
    /// The line that stands for the time being below all others, and is erased by what comes.
    status: String,
    /// Whether it stands in the row below the cursor's.
    is_below: bool,
    /// Sees all that is written, coloured.
    pub tee: Option<Box<Tee>>,
}

pub(crate) struct Stream {
    to: Box<dyn Write + Send>,
    pub is_terminal: bool,
    pub colour: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum To {
    Out,
    Err,
}

impl Output {
    /// Colours go where a terminal is, unless `NO_COLOR` is set.
    pub(crate) fn stdio() -> Output {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let stream = |to: Box<dyn Write + Send>, is_terminal: bool| Stream {
            to,
            is_terminal,
            colour: wanted && is_terminal,
        };
        let (out_terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
        let file = |fd: BorrowedFd<'_>| fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let are_one = out_terminal || file(out.as_fd()) == file(err.as_fd());
        // Whether to colour is decided here, for each stream; the crate knows only one answer for
        // both.
        colored::control::set_override(true);
        Output {
            out: stream(Box::new(out), out_terminal),
            err: stream(Box::new(err), err_terminal),
            are_one,
            pieces: String::new(),
            thinking: false,
            held: None,
            newest: Instant::now(),
            columns: 0,
            status: String::new(),
            is_below: false,
            tee: None,
        }
    }

    pub(crate) fn write(&mut self, to: To, text: &str) -> Result<()> {
        self.set_status("")?;
        let plain;
        let text = match &self.tee {
            Some(tee) => {
                tee(text);
                plain = without_colours(text);
                if self.stream(to).colour { text } else { &plain }
            }
            None => text,
        };
        self.newest = Instant::now();
        self.columns = match text.rsplit_once('\n') {
            Some((_, row)) => columns(row),
            None => self.columns + columns(text),
        };
        match to {
            To::Out => self.out.write(text),
            To::Err => self.err.write(text),
        }
    }

    fn stream(&self, to: To) -> &Stream {
        match to {
            To::Out => &self.out,
            To::Err => &self.err,
        }
    }

    /// Whether what is written there must be coloured, be it for the tee alone.
    pub(crate) fn has_colour(&self, to: To) -> bool {
        self.tee.is_some() || self.stream(to).colour
    }

    /// Somebody else has begun a new row.
    pub(crate) fn row_begins(&mut self) {
        self.columns = 0;
    }

    /// Shows this line for the time being, if nothing was written for a while, or at once. In the
    /// middle of a row, of a terminal with so many columns, it stands below it.
    pub(crate) fn show_status(&mut self, line: &str, at_once: bool, width: usize) -> Result<()> {
        // Where a row is just full, terminals differ in where the cursor is.
        let is_full = self.columns > 0 && self.columns.is_multiple_of(width);
        let waits = !at_once && (self.columns > 0 || self.newest.elapsed() < SILENCE);
        if self.held.is_some() || is_full || waits {
            return Ok(());
        }
        self.set_status(line)
    }

    /// Puts this line in the place of the one before, which blanks erase.
    pub(crate) fn set_status(&mut self, line: &str) -> Result<()> {
        if self.status == line {
            return Ok(());
        }
        let blanks = " ".repeat(self.status.width());
        if self.status.is_empty() {
            self.is_below = self.columns > 0;
        }
        self.status = line.into();
        let line = paint(line, self.err.colour, Colour::Result);
        if !self.is_below {
            return self.err.write(&format!("\r{blanks}\r{line}"));
        }
        // A vertical tab moves down in the same column, and scrolls where there is no row.
        let (make_room, save, down, back) = ("\x0b\x1b[A", "\x1b7", "\x1b[B", "\x1b8");
        self.err.write(&format!("{make_room}{save}{down}\r{blanks}\r{line}{back}"))
    }
}

/// How many columns this text takes, which may be coloured.
fn columns(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().width();
    let after_code = |part: &str| part.split_once('m').map_or(0, |(_, rest)| rest.width());
    first + parts.map(after_code).sum::<usize>()
}

/// The text without the codes of [`paint`]; what others say is escaped before, and has none.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default();
    let after_code = |part: &str| part.split_once('m').map_or(String::new(), |(_, s)| s.into());
    std::iter::once(first.to_string()).chain(parts.map(after_code)).collect()
}

impl Stream {
    fn write(&mut self, text: &str) -> Result<()> {
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush())
    }
}
