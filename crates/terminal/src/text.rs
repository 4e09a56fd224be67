//! Text of models, tools and servers, made short and safe to print.
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many characters of a line of a prompt are shown, of a tool's result, and of a call or error.
pub(crate) const MAX_LINE_CHARS: usize = 160;
const MAX_LONG_LINE_CHARS: usize = 800;

/// How much of a text is shown: its first and its last lines, each up to so many characters.
pub(crate) struct Excerpt {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) chars: usize,
}

/// Of a call, such as a command of several lines.
pub(crate) const CALL: Excerpt = Excerpt { first: 6, last: 3, chars: MAX_LONG_LINE_CHARS };
/// Of a result, and of one of an agent in the background.
pub(crate) const RESULT: Excerpt = Excerpt { first: 3, last: 2, chars: MAX_LINE_CHARS };
pub(crate) const CHILD_RESULT: Excerpt = Excerpt { first: 2, last: 1, chars: MAX_LINE_CHARS };
/// Of an error, whose end often says most.
pub(crate) const ERROR: Excerpt = Excerpt { first: 8, last: 12, chars: MAX_LONG_LINE_CHARS };

/// The least number of columns of a row.
const MIN_COLUMNS: usize = 10;

impl Excerpt {
    /// The lines that are shown, safe to print. One line alone is never left out: the note that
    /// says so takes as much room.
    pub(crate) fn of(&self, text: &str) -> Vec<String> {
        let lines: Vec<&str> = text.lines().collect();
        let line = |line: &&str| clipped(&escaped(line), self.chars);
        let left_out = lines.len().saturating_sub(self.first + self.last);
        if left_out <= 1 {
            return lines.iter().map(line).collect();
        }
        let mut shown: Vec<String> = lines[..self.first].iter().map(line).collect();
        shown.push(format!("... {left_out} more lines ..."));
        shown.extend(lines[self.first + left_out..].iter().map(line));
        shown
    }

    /// The same of what a tool returned, indented.
    pub(crate) fn of_result(&self, text: &str) -> String {
        let lines = self.of(if text.trim().is_empty() { "(no output)" } else { text });
        format!("  {}", lines.join("\n  "))
    }
}

/// A text in rows of at most `width` columns, broken between words where that is possible. Before
/// the first row stand `before` columns already; all others begin with as many blanks, and the rows
/// of a broken line with those that the line begins with. On a narrow terminal, room for words is
/// worth more than an indentation.
pub(crate) fn wrapped(text: &str, width: usize, before: usize) -> String {
    let mut rows: Vec<String> = vec![];
    let indent = if before > width * 2 / 5 { width / 8 } else { before };
    let room = |taken: usize| width.saturating_sub(taken).max(MIN_COLUMNS);
    let (first_room, other_room) = (room(before), room(indent));
    // How wide a tab is depends on where it stands.
    for line in text.replace('\t', "    ").split('\n') {
        let own = line.len() - line.trim_start_matches(' ').len();
        let own = if indent + own > width / 2 { 0 } else { own };
        let (mut row, mut columns) = (String::new(), 0);
        let mut room = if rows.is_empty() { first_room } else { other_room };
        let mut next_row = |row: &mut String| {
            let full = std::mem::replace(row, " ".repeat(own));
            rows.push(full);
            (own, other_room)
        };
        for word in line.split_inclusive(' ') {
            if columns > own && columns + word.trim_end().width() > room {
                (columns, room) = next_row(&mut row);
            }
            for c in word.chars() {
                let wide = c.width().unwrap_or(0);
                if columns + wide > room {
                    if c == ' ' {
                        continue;
                    }
                    (columns, room) = next_row(&mut row);
                }
                row.push(c);
                columns += wide;
            }
        }
        rows.push(row);
    }
    let rows: Vec<&str> = rows.iter().map(|row| row.trim_end_matches(' ')).collect();
    rows.join(&format!("\n{}", " ".repeat(indent)))
}

/// The first `width` characters of a longer text, without the word that ends beyond them, unless
/// that one is most of the text.
pub(crate) fn clipped(text: &str, width: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(width) else { return text.into() };
    match text[..end].rfind(' ').filter(|space| *space > end / 2) {
        Some(space) => format!("{} ...", text[..space].trim_end()),
        None => format!("{}...", &text[..end]),
    }
}

/// Text of models, tools and servers, made safe to print: control characters could move the cursor
/// or rewrite what stands above, and bidirectional ones could make a command read as another one.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_deceptive(c) => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

/// How many blanks, and how many empty lines, stand in a question as they are.
const MAX_BLANKS: usize = 40;
const MAX_EMPTY_LINES: usize = 3;

/// What a person decides about, so that nothing of it is hidden: as [`escaped`], with every other
/// character escaped too that does not show or looks like a blank, and with padding counted, since
/// it moves what follows out of sight.
pub(crate) fn exact(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while !rest.is_empty() {
        let words = rest.trim_start_matches([' ', '\n']);
        let (blanks, _) = rest.split_at(rest.len() - words.len());
        if blanks.len() > MAX_BLANKS || blanks.matches('\n').count() > MAX_EMPTY_LINES {
            let _ = write!(out, " [{} blanks] ", blanks.len());
        } else {
            out.push_str(blanks);
        }
        let (word, after) = words.split_at(words.find([' ', '\n']).unwrap_or(words.len()));
        for c in word.chars() {
            if c.is_control() || c.is_whitespace() || is_deceptive(c) || is_blank(c) {
                let _ = write!(out, "{}", c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        rest = after;
    }
    out
}

/// Format characters and fillers, which take no room or look like a blank.
fn is_blank(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200c}' | '\u{200d}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0080}'..='\u{e0fff}'
    )
}

/// Characters that change how their neighbours are read, or can't be seen at all.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}'
        | '\u{2029}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_shown_escaped() {
        assert_eq!(escaped("plain\ttext\n äöü 👩‍💻"), "plain\ttext\n äöü 👩‍💻");
        assert_eq!(escaped("\x1b[2Jx\r\u{7}"), "\\u{1b}[2Jx\\u{d}\\u{7}");
        assert_eq!(escaped("a\u{202e}b\u{9b}1m"), "a\\u{202e}b\\u{9b}1m");
    }

    #[test]
    fn what_a_person_decides_about_hides_nothing() {
        for (text, shown) in [
            ("rm -r build\n  && ls", "rm -r build\n  && ls"),
            ("ls\u{a0}a\u{3164}b\u{200d}c\u{ad}", "ls\\u{a0}a\\u{3164}b\\u{200d}c\\u{ad}"),
            ("ls\t\u{2800}\u{e0101}\u{202e}\r", "ls\\u{9}\\u{2800}\\u{e0101}\\u{202e}\\u{d}"),
            ("\u{e4} 日本 – “x”", "\u{e4} 日本 – “x”"),
        ] {
            assert_eq!(exact(text), shown);
        }
        let padded = |blank: &str, n| format!("ls{}; rm -r ~", blank.repeat(n));
        assert_eq!(exact(&padded(" ", 40)), padded(" ", 40));
        assert_eq!(exact(&padded(" ", 500)), "ls [500 blanks] ; rm -r ~");
        assert_eq!(exact(&padded("\n", 4)), "ls [4 blanks] ; rm -r ~");
    }

    #[test]
    fn rows_are_broken_between_words_and_begin_below_the_text() {
        let rows = |text: &str, width, before| wrapped(text, width, before);
        assert_eq!(rows("one two three", 80, 0), "one two three");
        assert_eq!(rows("one two three four", 13, 0), "one two three\nfour");
        assert_eq!(rows("one two three four", 18, 5), "one two three\n     four");
        assert_eq!(rows("a\n\nb", 20, 2), "a\n  \n  b");
        assert_eq!(rows("  one two three", 12, 0), "  one two\n  three");
        assert_eq!(rows("/a/path/that/is/longer", 12, 0), "/a/path/that\n/is/longer");
        assert_eq!(rows("日本語日本語", 11, 0), "日本語日本\n語");
        assert_eq!(rows("a  b\tc   ", 80, 0), "a  b    c");
        assert_eq!(rows("narrow", 3, 40), "narrow");
        assert_eq!(
            rows("one two three four five\nsix", 16, 9),
            "one two\n  three four\n  five\n  six"
        );
    }

    #[test]
    fn of_a_long_text_both_ends_are_shown_and_never_one_line_is_left_out() {
        let text = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>().join("\n");
        for n in 0..=6 {
            assert_eq!(RESULT.of(&text(n)).join("\n"), text(n));
        }
        assert_eq!(RESULT.of(&text(7)), ["1", "2", "3", "... 2 more lines ...", "6", "7"]);
        assert_eq!(
            RESULT.of_result(&text(1000)),
            "  1\n  2\n  3\n  ... 995 more lines ...\n  999\n  1000"
        );
        assert_eq!(CHILD_RESULT.of(&text(4)), ["1", "2", "3", "4"]);
        assert_eq!(CHILD_RESULT.of(&text(5)), ["1", "2", "... 2 more lines ...", "5"]);
        assert_eq!(ERROR.of(&text(21)).len(), 21);
        assert_eq!(ERROR.of(&text(500)).len(), 21);
        for empty in ["", " \n\n"] {
            assert_eq!(RESULT.of_result(empty), "  (no output)");
        }
    }

    #[test]
    fn long_lines_are_clipped() {
        let shown = RESULT.of(&"ä".repeat(161));
        assert_eq!(shown, [format!("{}...", "ä".repeat(160))]);
        assert_eq!(ERROR.of(&"ä".repeat(161)), ["ä".repeat(161)]);
        assert_eq!(CALL.of("a\x1b[2J\nb"), ["a\\u{1b}[2J", "b"]);
        let words = "four ".repeat(33);
        assert_eq!(RESULT.of(&words), [format!("{}...", "four ".repeat(32))]);
        assert_eq!(RESULT.of(&format!("a {words}")), [format!("a {}...", "four ".repeat(31))]);
    }
}
