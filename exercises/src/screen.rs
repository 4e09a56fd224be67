//! What is shown: lines that fit the terminal, colours where they are wanted.
use colored::{ColoredString, Colorize};
use std::io::{IsTerminal, Write};

/// `println!`, but a reader that has gone, as in `list | head`, ends the program quietly.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::screen::print(format_args!($($text)*))
    };
}

pub(crate) fn print(text: std::fmt::Arguments<'_>) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Columns where nobody knows the terminal's width.
const DEFAULT_WIDTH: usize = 80;
/// Wider lines are hard to read.
const MAX_WIDTH: usize = 100;
/// Narrower terminals get lines of this width.
const MIN_WIDTH: usize = 20;

/// How many columns a line may have.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    columns.or_else(variable).unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
}

/// Whether a line may be written over.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether the compiler's messages may be coloured.
pub(crate) fn coloured() -> bool {
    colored::control::SHOULD_COLORIZE.should_colorize()
}

pub(crate) fn good(text: &str) -> ColoredString {
    text.green()
}

pub(crate) fn bad(text: &str) -> ColoredString {
    text.red()
}

pub(crate) fn strong(text: &str) -> ColoredString {
    text.bold()
}

/// Breaks a line at spaces, so that it fits; the lines after the first are indented as it is, and
/// beside the number of an item. A word that is longer than a line stays whole, to be copied.
pub(crate) fn wrap(line: &str, width: usize) -> String {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let hang = " ".repeat(indent.len() + item(text).map_or(0, |number| number.len() + 2));
    let (mut wrapped, mut columns) = (indent.to_string(), indent.len());
    for (i, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if i > 0 && columns + 1 + length > width {
            wrapped += "\n";
            wrapped += &hang;
            columns = hang.len();
        } else if i > 0 {
            wrapped.push(' ');
            columns += 1;
        }
        wrapped += word;
        columns += length;
    }
    wrapped
}

/// Prints one line so that it fits.
pub(crate) fn say(line: &str) {
    outln!("{}", wrap(line, width()));
}

/// Joins the lines of a text into paragraphs: what is to be wrapped. An item of a list begins one,
/// and lines that are indented by four or more are code, and stay.
pub(crate) fn paragraphs<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut paragraphs: Vec<String> = vec![];
    let mut open = false;
    for line in lines {
        let is_code = line.starts_with("    ");
        match paragraphs.last_mut() {
            Some(last) if open && !is_code && !line.is_empty() && item(line).is_none() => {
                *last = format!("{last} {}", line.trim_start());
            }
            _ => paragraphs.push(line.trim_end().into()),
        }
        open = !is_code && !line.is_empty();
    }
    paragraphs
}

/// Prints a text so that it fits.
pub(crate) fn print_text<'a>(lines: impl IntoIterator<Item = &'a str>) {
    for paragraph in paragraphs(lines) {
        say(&paragraph);
    }
}

/// The number that an item of a list begins with.
fn item(line: &str) -> Option<&str> {
    let (number, _) = line.split_once(". ")?;
    let is_number = number.parse::<u8>().is_ok();
    is_number.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_and_its_code_is_not() {
        let text =
            ["1. one two", "   three", "2. four", "", "  quoted text", "  goes on", "    co de"];
        let wrapped: Vec<String> = paragraphs(text).iter().map(|p| wrap(p, 10)).collect();
        let expected =
            ["1. one two\n   three", "2. four", "", "  quoted\n  text\n  goes on", "    co de"];
        assert_eq!(wrapped, expected);
        assert_eq!(wrap("a longerthanitmaybe b", 8), "a\nlongerthanitmaybe\nb");
    }
}
