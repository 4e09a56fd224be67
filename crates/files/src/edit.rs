//! Exact replacements in a text.
use crate::{EditError, nearest::NearestMatch, text};
use std::ops::Range;

/// How many lines are shown before and after a replacement, how many lines of one replacement in
/// all, and how many replacements.
const CONTEXT_LINES: usize = 3;
const MAX_EXCERPT_LINES: usize = 40;
const MAX_EXCERPTS: usize = 3;

/// A text after an edit.
#[derive(Debug, PartialEq)]
pub struct Edited {
    /// The whole new text.
    pub text: String,
    /// Where the replacements are in it, as ranges of bytes.
    pub places: Vec<Range<usize>>,
}

/// Replaces `old` by `new` and leaves every other byte as it is. `old` must be there exactly once,
/// unless `all` is set.
///
/// A model writes `\n` whatever the file has. So a line end in `old` matches `\n` and `\r\n`, and
/// the line ends in `new` become those of the text that is replaced.
///
/// # Errors
/// When `old` is not there or there more than once, or when nothing would change.
pub fn replace(text: &str, old: &str, new: &str, all: bool) -> Result<Edited, EditError> {
    match find_and_replace(text, old, new, all)? {
        Some(edited) => Ok(edited),
        None => Err(not_found(text, old)),
    }
}

/// As [`replace`], but `None` when `old` is not there.
pub(crate) fn find_and_replace(
    text: &str,
    old: &str,
    new: &str,
    all: bool,
) -> Result<Option<Edited>, EditError> {
    let normalized = Normalized::new(text);
    let (old, new) = (old.replace("\r\n", "\n"), new.replace("\r\n", "\n"));
    if old.is_empty() {
        return Err(EditError::EmptyOld);
    }
    if old == new {
        return Err(EditError::NoChange);
    }
    let found = normalized.find(&old, all);
    if found.is_empty() {
        return Ok(None);
    }
    if found.len() > 1 && !all {
        let line = |place: &Range<usize>| 1 + text[..place.start].matches('\n').count();
        return Err(EditError::Ambiguous(found.iter().map(line).collect()));
    }
    let mut edited = Edited { text: String::with_capacity(text.len()), places: vec![] };
    let mut copied = 0;
    for place in found {
        edited.text.push_str(&text[copied..place.start]);
        let start = edited.text.len();
        match has_crlf(text, &place) {
            true => edited.text.push_str(&new.replace('\n', "\r\n")),
            false => edited.text.push_str(&new),
        }
        edited.places.push(start..edited.text.len());
        copied = place.end;
    }
    edited.text.push_str(&text[copied..]);
    Ok(Some(edited))
}

/// What to say of an `old` that is not there.
pub(crate) fn not_found(text: &str, old: &str) -> EditError {
    match NearestMatch::find(&Normalized::new(text).text, &old.replace("\r\n", "\n")) {
        Some(nearest) => EditError::OnlySimilar(nearest),
        None => EditError::NotFound,
    }
}

/// Whether lines here end in `\r\n`: the first line end in or after this place decides, or the last
/// one before it if there is none.
fn has_crlf(text: &str, place: &Range<usize>) -> bool {
    let newline = match text[place.start..].find('\n') {
        Some(offset) => Some(place.start + offset),
        None => text[..place.start].rfind('\n'),
    };
    newline.is_some_and(|newline| text[..newline].ends_with('\r'))
}

/// A text whose line ends are all `\n`, and the way back to the offsets of the original.
struct Normalized {
    text: String,
    /// The offsets in `text` before which a `\r` was removed.
    removed_returns: Vec<usize>,
}

impl Normalized {
    fn new(original: &str) -> Normalized {
        let mut text = String::with_capacity(original.len());
        let mut removed_returns = vec![];
        for piece in original.split_inclusive("\r\n") {
            match piece.strip_suffix("\r\n") {
                Some(line) => {
                    text.push_str(line);
                    removed_returns.push(text.len());
                    text.push('\n');
                }
                None => text.push_str(piece),
            }
        }
        Normalized { text, removed_returns }
    }

    /// Where `old` is, in bytes of the original. To replace all of them, matches must not overlap;
    /// to find out whether `old` is unique, overlapping ones count too: "aa" is twice in "aaa".
    fn find(&self, old: &str, all: bool) -> Vec<Range<usize>> {
        let step = if all { old.len() } else { old.chars().next().map_or(1, char::len_utf8) };
        let mut found = vec![];
        let mut from = 0;
        while let Some(offset) = self.text.get(from..).and_then(|rest| rest.find(old)) {
            let start = from + offset;
            found.push(self.original_offset(start)..self.original_offset(start + old.len()));
            from = start + step;
        }
        found
    }

    fn original_offset(&self, offset: usize) -> usize {
        offset + self.removed_returns.partition_point(|removed| *removed < offset)
    }
}

impl Edited {
    /// How many replacements there are, and the lines around the first of them with their numbers,
    /// as they are after the edit.
    pub fn excerpt(&self) -> String {
        let count = self.places.len();
        let lines: Vec<&str> = self.text.lines().collect();
        let line_index = |offset: usize| self.text[..offset].matches('\n').count();
        let mut shown = if count == 1 { "1 place:\n".into() } else { format!("{count} places:\n") };
        for place in self.places.iter().take(MAX_EXCERPTS) {
            let from = line_index(place.start).saturating_sub(CONTEXT_LINES);
            let until = (line_index(place.end) + CONTEXT_LINES + 1).min(lines.len());
            let shown_until = until.min(from + MAX_EXCERPT_LINES);
            for (index, line) in lines.iter().enumerate().take(shown_until).skip(from) {
                shown.push_str(&text::numbered_line(index + 1, &text::truncate_line(line)));
            }
            if until > shown_until {
                shown.push_str(&format!("[{} more lines]\n", until - shown_until));
            }
        }
        if count > MAX_EXCERPTS {
            shown.push_str(&format!("[{} more places]\n", count - MAX_EXCERPTS));
        }
        shown
    }
}
