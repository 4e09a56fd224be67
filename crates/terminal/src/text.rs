//! Text for the screen: shortened, and made safe to print.
use rungs_core::ToolCall;
use serde_json::Value;
use std::fmt::Write as _;

/// How many lines of a tool's result are shown, and how many characters of a line.
pub(crate) const MAX_RESULT_LINES: usize = 4;
pub(crate) const MAX_LINE_CHARS: usize = 160;

/// A call on one line: its name and its arguments, a lone text argument without its key.
pub(crate) fn called(call: &ToolCall) -> String {
    let input = match &call.input {
        Value::Object(map) => match map.values().next() {
            Some(Value::String(only)) if map.len() == 1 => only.clone(),
            _ => call.input.to_string(),
        },
        other => other.to_string(),
    };
    clipped(
        &format!("{} {}", escaped(&call.name), escaped(&input).replace('\n', "\n    ")),
        10 * MAX_LINE_CHARS,
    )
}

/// The first lines of a result, indented.
pub(crate) fn result_lines(text: &str, max_lines: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
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
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
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
    fn calls_and_results_are_short() {
        let call = |input| called(&ToolCall { id: "1".into(), name: "t".into(), input });
        assert_eq!(call(serde_json::json!({"command": "ls -la"})), "t ls -la");
        assert_eq!(call(serde_json::json!({"a": 1, "b": "x"})), r#"t {"a":1,"b":"x"}"#);
        assert_eq!(
            result_lines("1\n2\n3\n4\n5\n6", MAX_RESULT_LINES),
            "  1\n  2\n  3\n  4\n  ... 2 more lines"
        );
        assert_eq!(result_lines("", MAX_RESULT_LINES), "  (no output)");
        assert_eq!(clipped("äöü", 2), "äö...");
    }
}
