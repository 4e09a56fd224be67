//! Standard output and standard error, which are one terminal where a person sits.
use crate::paint::{Colour, paint};
use std::{
    io::{IsTerminal, Result, Write},
    time::{Duration, Instant},
};
use unicode_width::UnicodeWidthStr;

/// How long nothing may be written before the screen shows that the program is at work.
const SILENCE: Duration = Duration::from_millis(500);

pub(crate) struct Output {
    pub out: Stream,
    pub err: Stream,
    /// What has been shown of a reply that is not whole yet.
    pub pieces: String,
    /// Whether the newest that was shown is thinking, whose line is not ended.
    pub thinking: bool,
    /// What waits for its turn while a prompt or a question has the output.
    pub held: Option<Vec<(To, String)>>,
    /// When something was written last.
    newest: Instant,
    /// The line that stands for the time being below all others, and is erased by what comes.
    status: String,
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
        // Whether to colour is decided here, for each stream; the crate knows only one answer for
        // both.
        colored::control::set_override(true);
        Output {
            out: stream(Box::new(out), out_terminal),
            err: stream(Box::new(err), err_terminal),
            pieces: String::new(),
            thinking: false,
            held: None,
            newest: Instant::now(),
            status: String::new(),
        }
    }

    pub(crate) fn write(&mut self, to: To, text: &str) -> Result<()> {
        self.set_status("")?;
        self.newest = Instant::now();
        match to {
            To::Out => self.out.write(text),
            To::Err => self.err.write(text),
        }
    }

    /// Shows this line for the time being, if nothing was written for a while (or it is `urgent`)
    /// and the cursor is at the beginning of a row.
    pub(crate) fn show_status(&mut self, line: &str, urgent: bool) -> Result<()> {
        let middle = self.thinking || !self.pieces.is_empty() && !self.pieces.ends_with('\n');
        if middle || self.held.is_some() || (!urgent && self.newest.elapsed() < SILENCE) {
            return Ok(());
        }
        self.set_status(line)
    }

    /// Puts this line in the place of the one before, which blanks erase: escape sequences are for
    /// colours alone.
    pub(crate) fn set_status(&mut self, line: &str) -> Result<()> {
        if self.status == line {
            return Ok(());
        }
        let blanks = " ".repeat(self.status.width());
        self.status = line.into();
        let line = paint(line, self.err.colour, Colour::Result);
        self.err.write(&format!("\r{blanks}\r{line}"))
    }
}

impl Stream {
    fn write(&mut self, text: &str) -> Result<()> {
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush())
    }
}
