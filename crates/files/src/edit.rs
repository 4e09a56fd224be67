//! Exact edits.
use crate::{Unfit, nearest::Nearest};
use std::{fmt, io::Read, ops::Range};

/// How many lines are shown around a change, how many of a change, and how many changes.
const AROUND: usize = 3;
const SHOWN: usize = 40;
const PLACES: usize = 3;

/// How large a file may be edited, in bytes.
pub const BYTES: u64 = 50_000_000;

/// A file as text, a byte-order mark included, so that it can be edited and written back unspoilt.
///
/// # Errors
/// When it is too large, or not UTF-8 from end to end.
pub fn text(file: impl Read) -> Result<String, Unfit> {
    let mut bytes = vec![];
    if file.take(BYTES + 1).read_to_end(&mut bytes)? as u64 > BYTES {
        return Err(Unfit::Huge);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Unfit::Utf16);
    }
    if bytes.contains(&0) {
        return Err(Unfit::Binary);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Unfit::NotUtf8(1 + before.iter().filter(|byte| **byte == b'\n').count())
    })
}

/// An edit that was made.
#[derive(Debug, PartialEq)]
pub struct Edited {
    /// All of the new text.
    pub text: String,
    /// Where the new pieces are in it, in bytes.
    pub places: Vec<Range<usize>>,
}

/// PathErrorKind an edit was not made.
#[derive(Debug, PartialEq)]
pub enum NoEdit {
    /// There is nothing to look for.
    Empty,
    /// It would change nothing.
    Same,
    /// The text is not there; what is most like it.
    Missing(Option<Nearest>),
    /// The text is there more than once, on these lines.
    Many(Vec<usize>),
}

/// Replaces `old`, which must be there exactly once unless `all` are meant, by `new`, and leaves every other byte alone.
///
/// A line end in `old` stands for either kind, and those in `new` become what they replace: a model says `\n`, whatever
/// the file has.
///
/// # Errors
/// When there is no such text, more than one, or no change.
pub fn replace(text: &str, old: &str, new: &str, all: bool) -> Result<Edited, NoEdit> {
    let (flat, old, new) = (Flat::of(text), old.replace("\r\n", "\n"), new.replace("\r\n", "\n"));
    if old.is_empty() {
        return Err(NoEdit::Empty);
    }
    if old == new {
        return Err(NoEdit::Same);
    }
    let found = flat.find(&old, all);
    if found.is_empty() {
        return Err(NoEdit::Missing(Nearest::find(&flat.text, &old)));
    }
    if found.len() > 1 && !all {
        let line = |place: &Range<usize>| 1 + text[..place.start].matches('\n').count();
        return Err(NoEdit::Many(found.iter().map(line).collect()));
    }
    let mut edited = Edited { text: String::with_capacity(text.len()), places: vec![] };
    let mut done = 0;
    for place in found {
        edited.text.push_str(&text[done..place.start]);
        let start = edited.text.len();
        match ends_with_return(text, &place) {
            true => edited.text.push_str(&new.replace('\n', "\r\n")),
            false => edited.text.push_str(&new),
        }
        edited.places.push(start..edited.text.len());
        done = place.end;
    }
    edited.text.push_str(&text[done..]);
    Ok(edited)
}

/// Whether lines end with a return here: by the first line end in or after this place, else by the last before it.
fn ends_with_return(text: &str, place: &Range<usize>) -> bool {
    let end = text[place.start..]
        .find('\n')
        .map(|at| place.start + at)
        .or_else(|| text[..place.start].rfind('\n'));
    end.is_some_and(|end| text[..end].ends_with('\r'))
}

/// A text whose line ends are all `\n`, and the way back to its bytes.
struct Flat {
    text: String,
    /// Where in `text` a return stood before a line end.
    returns: Vec<usize>,
}

impl Flat {
    fn of(text: &str) -> Flat {
        let mut flat = Flat { text: String::with_capacity(text.len()), returns: vec![] };
        for piece in text.split_inclusive("\r\n") {
            match piece.strip_suffix("\r\n") {
                Some(line) => {
                    flat.text.push_str(line);
                    flat.returns.push(flat.text.len());
                    flat.text.push('\n');
                }
                None => flat.text.push_str(piece),
            }
        }
        flat
    }

    /// Where `old` is, in bytes of the text as it was: one after the other to replace them, else also where they overlap,
    /// since "aa" is not once in "aaa".
    fn find(&self, old: &str, apart: bool) -> Vec<Range<usize>> {
        let step = if apart { old.len() } else { old.chars().next().map_or(1, char::len_utf8) };
        let mut found = vec![];
        let mut from = 0;
        while let Some(at) = self.text.get(from..).and_then(|rest| rest.find(old)) {
            let start = from + at;
            found.push(self.real(start)..self.real(start + old.len()));
            from = start + step;
        }
        found
    }

    fn real(&self, at: usize) -> usize {
        at + self.returns.partition_point(|of| *of < at)
    }
}

impl Edited {
    /// How many places, and their lines and a few around them, numbered, as they are now.
    pub fn shown(&self) -> String {
        let count = self.places.len();
        let lines: Vec<&str> = self.text.lines().collect();
        let line_of = |at: usize| self.text[..at].matches('\n').count();
        let mut shown = if count == 1 { "1 place:\n".into() } else { format!("{count} places:\n") };
        for place in self.places.iter().take(PLACES) {
            let (first, last) = (line_of(place.start), line_of(place.end));
            let from = first.saturating_sub(AROUND);
            let until = (last + AROUND + 1).min(lines.len());
            for (number, line) in lines.iter().enumerate().take(until.min(from + SHOWN)).skip(from)
            {
                shown.push_str(&crate::text::one(number + 1, &clipped(line)));
            }
            if until > from + SHOWN {
                shown.push_str(&format!("[{} more lines]\n", until - from - SHOWN));
            }
        }
        if count > PLACES {
            shown.push_str(&format!("[{} more places]\n", count - PLACES));
        }
        shown
    }
}

/// A line, but no more of it than helps.
pub fn clipped(line: &str) -> String {
    match line.char_indices().nth(300) {
        Some((cut, _)) => format!("{} [line cut]", &line[..cut]),
        None => line.to_owned(),
    }
}

impl fmt::Display for NoEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoEdit::Empty => write!(f, "`old_string` is empty, which only makes a new file"),
            NoEdit::Same => write!(
                f,
                "`old_string` and `new_string` are the same, so there is nothing to change"
            ),
            NoEdit::Missing(None) => {
                write!(f, "`old_string` is not in the file, nor anything like it")
            }
            NoEdit::Missing(Some(nearest)) => {
                write!(f, "`old_string` is not in the file; {nearest}")
            }
            NoEdit::Many(lines) => {
                let first: Vec<String> = lines.iter().take(10).map(usize::to_string).collect();
                let more = if lines.len() > first.len() { ", ..." } else { "" };
                write!(
                    f,
                    "`old_string` is there {} times, on lines {}{more}: add lines around it until it is unique, or set \
                     `replace_all`",
                    lines.len(),
                    first.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for NoEdit {}
