//! Text of models, tools and servers, made short and safe to print.
use rungs_core::ToolCall;
use serde_json::Value;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many lines of a tool's result are shown, and how many characters of a line.
pub(crate) const MAX_RESULT_LINES: usize = 4;
pub(crate) const MAX_LINE_CHARS: usize = 160;
/// The least number of columns of a row.
const MIN_COLUMNS: usize = 10;

/// A call on one line: its name and its arguments, a lone text argument without its key.
pub(crate) fn call_line(call: &ToolCall) -> String {
    let input = match &call.input {
        Value::Object(map) => match map.values().next() {
            Some(Value::String(only)) if map.len() == 1 => only.clone(),
            _ => call.input.to_string(),
        },
        other => other.to_string(),
    };
    clipped(&format!("{} {}", escaped(&call.name), escaped(&input)), 10 * MAX_LINE_CHARS)
}

/// The first lines of a result, indented.
pub(crate) fn result_lines(text: &str, max_lines: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // A note that one line is missing takes as much room as that line.
    let max_lines = if lines.len() == max_lines + 1 { lines.len() } else { max_lines };
    let mut shown: Vec<String> = lines
        .iter()
        .take(max_lines)
        .map(|l| format!("  {}", clipped(&escaped(l), MAX_LINE_CHARS)))
        .collect();
    match lines.len().saturating_sub(max_lines) {
        0 if shown.is_empty() => shown.push("  (no output)".into()),
        0 => {}
        more => shown.push(format!("  ... {more} more lines")),
    }
    shown.join("\n")
}

/// A text in rows of at most `width` columns, broken between words where that is possible. Before
/// the first row stand `before` columns already; all others begin with as many blanks, and the rows
/// of a broken line with those that the line begins with.
pub(crate) fn wrapped(text: &str, width: usize, before: usize) -> String {
    let mut rows: Vec<String> = vec![];
    // How wide a tab is depends on where it stands.
    for line in text.replace('\t', "    ").split('\n') {
        let own = line.len() - line.trim_start_matches(' ').len();
        // On a narrow terminal, room for words is worth more than an indentation.
        let own = if before + own > width / 2 { 0 } else { own };
        let room = width.saturating_sub(before).max(MIN_COLUMNS);
        let (mut row, mut columns) = (String::new(), 0);
        let mut next_row = |row: &mut String| {
            let full = std::mem::replace(row, " ".repeat(own));
            rows.push(full);
            own
        };
        for word in line.split_inclusive(' ') {
            if columns > own && columns + word.trim_end().width() > room {
                columns = next_row(&mut row);
            }
            for c in word.chars() {
                let wide = c.width().unwrap_or(0);
                if columns + wide > room {
                    if c == ' ' {
                        continue;
                    }
                    columns = next_row(&mut row);
                }
                row.push(c);
                columns += wide;
            }
        }
        rows.push(row);
    }
    let rows: Vec<&str> = rows.iter().map(|row| row.trim_end_matches(' ')).collect();
    rows.join(&format!("\n{}", " ".repeat(before)))
}

pub(crate) fn clipped(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
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
    }

    #[test]
    fn calls_and_results_are_short() {
        let call = |input| call_line(&ToolCall { id: "1".into(), name: "t".into(), input });
        assert_eq!(call(serde_json::json!({"command": "ls -la"})), "t ls -la");
        assert_eq!(call(serde_json::json!({"a": 1, "b": "x"})), r#"t {"a":1,"b":"x"}"#);
        assert_eq!(
            result_lines("1\n2\n3\n4\n5\n6", MAX_RESULT_LINES),
            "  1\n  2\n  3\n  4\n  ... 2 more lines"
        );
        assert_eq!(result_lines("1\n2", 1), "  1\n  2");
        assert_eq!(result_lines("", MAX_RESULT_LINES), "  (no output)");
        assert_eq!(clipped("äöü", 2), "äö...");
    }
}
