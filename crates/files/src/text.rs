//! Text: with numbered lines, whole for an edit, or cut to a length.
use crate::{
    IsCancelled, LineRange, ReadError,
    encoding::{Encoding, SAMPLE_BYTES},
};
use std::{
    io::{BufRead, Read},
    time::{Duration, Instant},
};

/// How much of a line is shown, and how much of a file at once, in bytes.
const MAX_LINE_BYTES: usize = 2000;
const MAX_SHOWN_BYTES: usize = 100_000;
/// How large a file may be to be edited, in bytes.
pub(crate) const MAX_EDIT_BYTES: u64 = 50_000_000;
/// What is shown for a NUL byte, which many programs cannot pass on.
pub(crate) const NUL_SYMBOL: &str = "\u{2400}";
/// How much of a line is shown around an edit, in characters.
const MAX_EXCERPT_LINE_CHARS: usize = 300;

/// The lines in a range with their numbers, and a last line that says what was left out. Reads for
/// `max_time` at most.
pub(crate) fn numbered_lines(
    mut file: impl BufRead,
    range: LineRange,
    max_time: Duration,
    is_cancelled: IsCancelled<'_>,
) -> Result<String, ReadError> {
    let (offset, limit) = (range.offset.max(1), range.limit.max(1));
    let deadline = Instant::now() + max_time;
    let mut is_late = || match is_cancelled() {
        true => Err(ReadError::Cancelled),
        false => Ok(Instant::now() > deadline),
    };
    let (mut text, mut number, mut has_nul) = (String::new(), 0, false);
    while number + 1 < offset && !file.fill_buf()?.is_empty() {
        if skip_line(&mut file, &mut is_late)? == LineEnd::TooFar
            || (number % 1024 == 0 && is_late()?)
        {
            return Err(ReadError::TooFar { line: offset, reached: number + 1, after: max_time });
        }
        number += 1;
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        // Of a very long line, only what is shown and one byte more are kept in memory.
        if file.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if number - offset >= limit || text.len() > MAX_SHOWN_BYTES {
            text.push_str(&format!("[more lines follow; go on with offset {number}]\n"));
            break;
        }
        let cut = line.len() > MAX_LINE_BYTES && line.last() != Some(&b'\n');
        if cut {
            line.truncate(MAX_LINE_BYTES);
        }
        has_nul |= line.contains(&0);
        let shown = String::from_utf8_lossy(&line).replace('\0', NUL_SYMBOL);
        let shown = shown.trim_end_matches(['\n', '\r']);
        let shown = if number == 1 { shown.trim_start_matches('\u{feff}') } else { shown };
        text.push_str(&numbered_line(number, shown));
        if cut {
            text.insert_str(text.len() - 1, " [line cut]");
            if skip_line(&mut file, &mut is_late)? == LineEnd::TooFar {
                text.push_str(&format!(
                    "[line {number} did not end within {} s; nothing after it was read]\n",
                    max_time.as_secs()
                ));
                break;
            }
        }
    }
    if has_nul {
        text.push_str(&format!("[{NUL_SYMBOL} stands for a NUL byte]\n"));
    }
    match number {
        0 => Ok("(the file is empty)".into()),
        lines if lines < offset => Err(ReadError::PastEnd(lines)),
        _ => Ok(text),
    }
}

#[derive(PartialEq)]
enum LineEnd {
    Reached,
    TooFar,
}

/// Reads on behind the next line end, or to the end of the file.
fn skip_line(
    mut file: impl BufRead,
    is_late: &mut impl FnMut() -> Result<bool, ReadError>,
) -> Result<LineEnd, ReadError> {
    loop {
        let buffered = file.fill_buf()?;
        // The standard library's search for a byte is fast in a debug build too.
        let skipped = { buffered }.skip_until(b'\n')?;
        let is_end = skipped == 0 || buffered[skipped - 1] == b'\n';
        file.consume(skipped);
        if is_end {
            return Ok(LineEnd::Reached);
        }
        if is_late()? {
            return Ok(LineEnd::TooFar);
        }
    }
}

/// One line with its number.
pub(crate) fn numbered_line(number: usize, line: &str) -> String {
    format!("{number:>6}\t{line}\n")
}

/// A line, or its beginning if it is long.
pub(crate) fn truncate_line(line: &str) -> String {
    match line.char_indices().nth(MAX_EXCERPT_LINE_CHARS) {
        Some((cut, _)) => format!("{} [line cut]", &line[..cut]),
        None => line.to_owned(),
    }
}

/// A whole file as text, so that it can be edited and written back with every other byte as it was.
/// A byte-order mark stays in the text.
///
/// # Errors
/// When it is too large, or not UTF-8 from end to end.
pub fn read_text(file: impl Read) -> Result<String, ReadError> {
    let mut bytes = vec![];
    if file.take(MAX_EDIT_BYTES + 1).read_to_end(&mut bytes)? as u64 > MAX_EDIT_BYTES {
        return Err(ReadError::TooLargeToEdit);
    }
    check_encoding(&bytes[..bytes.len().min(SAMPLE_BYTES)])?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ReadError::NotUtf8(1 + valid.iter().filter(|byte| **byte == b'\n').count())
    })
}

/// What a text that replaces a file changes beside its words, since reading does not show it: a
/// note to append.
pub(crate) fn lost_marks(old: impl Read, new: &str) -> std::io::Result<String> {
    let mut sample = vec![];
    old.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
    let mut note = String::new();
    if sample.windows(2).any(|pair| pair == b"\r\n") && !new.contains('\r') {
        note.push_str("; its line ends were CRLF and are LF now");
    }
    if sample.starts_with("\u{feff}".as_bytes()) && !new.starts_with('\u{feff}') {
        note.push_str("; its byte-order mark is gone");
    }
    Ok(note)
}

/// Fails unless a file that begins like this can be shown as text.
pub(crate) fn check_encoding(sample: &[u8]) -> Result<(), ReadError> {
    match Encoding::of(sample) {
        Encoding::Text => Ok(()),
        Encoding::Utf16Le | Encoding::Utf16Be => Err(ReadError::Utf16),
        Encoding::Binary => Err(ReadError::Binary),
    }
}

/// Cuts texts until they fit into a budget in bytes. The budget is given to the last text first,
/// which is the newest, then to the one before it. A text that is too long keeps its beginning and
/// its end, and about `min_bytes` of it stay even when the budget is used up.
pub fn truncate_to_budget(
    mut texts: Vec<String>,
    mut budget: usize,
    min_bytes: usize,
) -> Vec<String> {
    for text in texts.iter_mut().rev() {
        let max_bytes = budget.max(min_bytes);
        if text.len() > max_bytes {
            *text = both_ends(text, max_bytes);
        }
        budget = budget.saturating_sub(text.len());
    }
    texts
}

/// How many lines, in words: `1 line`, `2 lines`.
pub fn line_count(lines: usize) -> String {
    if lines == 1 { "1 line".into() } else { format!("{lines} lines") }
}

/// A text of at most so many bytes as it is; a longer one as its beginning and its end, half as
/// much, so that it is not cut again if it comes by once more.
pub fn shorten(text: &str, max_bytes: usize) -> String {
    if text.len() > max_bytes { both_ends(text, max_bytes / 2) } else { text.into() }
}

/// Takes out the largest items until the sizes of the rest are at most `max` together; of equal
/// ones the first. So one item does not push out many.
pub fn remove_largest<T>(items: &mut Vec<T>, max: usize, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut removed = vec![];
    while items.iter().map(&size).sum::<usize>() > max
        && let Some(largest) = (0..items.len()).rev().max_by_key(|i| size(&items[*i]))
    {
        removed.push(items.remove(largest));
    }
    removed
}

fn both_ends(text: &str, max_bytes: usize) -> String {
    let head = text.floor_char_boundary(max_bytes / 2);
    let tail = text.ceil_char_boundary(text.len() - max_bytes / 2);
    format!("{}\n[{} bytes cut here to save room]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truncated(texts: &[&str], budget: usize, min_bytes: usize) -> Vec<String> {
        truncate_to_budget(texts.iter().map(|text| text.to_string()).collect(), budget, min_bytes)
    }

    #[test]
    fn a_shortened_text_is_not_shortened_again() {
        assert_eq!(shorten("abcdefgh", 8), "abcdefgh");
        let once = shorten(&"x".repeat(1000), 200);
        assert_eq!(once, format!("{0}\n[900 bytes cut here to save room]\n{0}", "x".repeat(50)));
        assert_eq!(shorten(&once, 200), once);
    }

    #[test]
    fn the_largest_go_first_and_of_equal_ones_the_first() {
        let mut items = vec!["aa", "bbbb", "cc", "dddd", "e"];
        assert_eq!(remove_largest(&mut items, 5, |item| item.len()), ["bbbb", "dddd"]);
        assert_eq!(items, ["aa", "cc", "e"]);
        assert_eq!(remove_largest(&mut items, 5, |item| item.len()), [""; 0]);
        assert_eq!(remove_largest(&mut items, 0, |item| item.len()), ["aa", "cc", "e"]);
    }

    #[test]
    fn the_newest_come_first_and_what_is_too_long_keeps_both_ends() {
        let cut = |head: &str, bytes: usize, tail: &str| {
            format!("{head}\n[{bytes} bytes cut here to save room]\n{tail}")
        };
        assert_eq!(truncated(&["one", "two", "three"], 11, 0), ["one", "two", "three"]);
        assert_eq!(
            truncated(&["abcdefgh", "three"], 11, 4),
            [cut("abc", 2, "fgh"), "three".into()]
        );
        assert_eq!(
            truncated(&["abcdefgh", "one", "three"], 5, 4),
            [cut("ab", 4, "gh"), "one".into(), "three".into()]
        );
        assert_eq!(truncated(&[], 11, 4), Vec::<String>::new());
        // No character is cut in two.
        assert_eq!(
            truncated(&["\u{20ac}\u{20ac}\u{20ac}"], 8, 0),
            [cut("\u{20ac}", 3, "\u{20ac}")]
        );
    }
}
