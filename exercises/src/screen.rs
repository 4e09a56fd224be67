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
/// Lines that are indented by so much more than the text before them do not continue it.
const CODE_INDENT: usize = 4;

/// How many columns a line may have.
pub(crate) fn width() -> usize {
    let columns = |size: rustix::termios::Winsize| usize::from(size.ws_col);
    let out = rustix::termios::tcgetwinsize(std::io::stdout());
    // What is piped into a file or a pager still has errors on the terminal.
    let size = out.or_else(|_| rustix::termios::tcgetwinsize(std::io::stderr()));
    let columns = size.ok().map(columns).filter(|columns| *columns > 0);
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    columns.or_else(variable).unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
}

/// Shows what is being done, in a line that whatever comes next is written over; with an empty text
/// the line is free again. Where nobody looks on, it is left out.
pub(crate) fn status(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
        // It is shown at the next chance otherwise.
        let _ = std::io::stderr().flush();
    }
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
/// beside the mark of an item. A word that is longer than a line stays whole, to be copied.
pub(crate) fn wrap(line: &str, width: usize) -> String {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let hang = " ".repeat(indent.len() + item(text).unwrap_or(0));
    let (mut wrapped, mut columns) = (indent.to_string(), indent.len());
    for (i, word) in text.split(' ').enumerate() {
        let length = word_columns(word);
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

/// The columns of a word; the colours in it, such as the compiler's, have none.
fn word_columns(word: &str) -> usize {
    let mut parts = word.split('\x1b');
    let before = parts.next().unwrap_or_default();
    let after = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
    before.chars().count() + after.map(|text| text.chars().count()).sum::<usize>()
}

/// Wraps each line of a text.
pub(crate) fn wrap_lines(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(|line| wrap(line, width())).collect();
    lines.join("\n")
}

/// Prints lines so that they fit.
pub(crate) fn say(text: &str) {
    outln!("{}", wrap_lines(text));
}

/// Prints lines behind a mark of two letters.
pub(crate) fn say_marked(mark: &ColoredString, text: &str) {
    outln!("{mark} {}", wrap_lines(&format!("   {text}")).trim_start());
}

/// Prints lines on standard error, so that they fit.
pub(crate) fn warn(text: &str) {
    eprintln!("{}", wrap_lines(text));
}

/// Joins the lines of a text into paragraphs: what is to be wrapped. An item of a list begins one.
/// Lines that are indented stay as they are, such as those of a table; but what a user says, in
/// quotes, continues in the next line, and so does an item.
pub(crate) fn paragraphs<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut paragraphs: Vec<String> = vec![];
    // How far a line is indented that continues the last paragraph.
    let mut continued = 0..0;
    for line in lines {
        let text = line.trim_start();
        let (indent, mark) = (line.len() - text.len(), item(text));
        match paragraphs.last_mut() {
            Some(last) if continued.contains(&indent) && mark.is_none() && !text.is_empty() => {
                *last = format!("{last} {text}");
            }
            _ => {
                paragraphs.push(line.trim_end().into());
                continued = match mark {
                    Some(mark) => indent + 1..indent + mark + CODE_INDENT,
                    None if text.starts_with('"') => indent..indent + CODE_INDENT,
                    None if indent == 0 && !text.is_empty() => 0..CODE_INDENT,
                    None => 0..0,
                };
            }
        }
    }
    paragraphs
}

/// Prints a text so that it fits.
pub(crate) fn print_text<'a>(lines: impl IntoIterator<Item = &'a str>) {
    for paragraph in paragraphs(lines) {
        say(&paragraph);
    }
}

/// The columns of the mark that an item of a list begins with: `- `, a number or a letter. The item
/// may be in quotes.
fn item(line: &str) -> Option<usize> {
    if let Some(quoted) = line.strip_prefix('"') {
        return item(quoted).map(|mark| mark + 1);
    }
    if line.starts_with("- ") {
        return Some(2);
    }
    let (mark, _) = line.split_once(". ")?;
    let is_mark = mark.parse::<u8>().is_ok() || matches!(mark.as_bytes(), [b'a'..=b'z']);
    is_mark.then_some(mark.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_and_its_code_is_not() {
        let text = "
1. one two
   three
2. four
What it is
- small, and
  very old
- new

  \"Quoted
  text goes on\"

    co de

  #1 a
  #2 b
   9. c
  10. d is
      long
  and
  a. `b`

  \"1. yes,
      yes
   2. no\"";
        let wrapped: Vec<String> = paragraphs(text.lines()).iter().map(|p| wrap(p, 10)).collect();
        let expected = "
1. one two
   three
2. four
What it is
- small,
  and very
  old
- new

  \"Quoted
  text
  goes on\"

    co de

  #1 a
  #2 b
   9. c
  10. d is
      long
  and
  a. `b`

  \"1. yes,
      yes
   2. no\"";
        assert_eq!(wrapped.join("\n"), expected);
        assert_eq!(wrap("a longerthanitmaybe b", 8), "a\nlongerthanitmaybe\nb");
        let coloured = "\x1b[1m\x1b[38;5;9merror\x1b[0m: no";
        assert_eq!(wrap(coloured, 9), coloured, "colours have no width");
        assert_eq!(wrap(coloured, 8), coloured.replace(' ', "\n"));
    }
}
