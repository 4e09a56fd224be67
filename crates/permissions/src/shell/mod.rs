//! Reading shell commands: which programs a text would start, which files it would open, and what
//! of it cannot be known. Nothing is run.
//!
//! [`walk`] goes over the tree of tree-sitter's parser, whatever is in it, also over trees with
//! errors: what it finds is judged by the rules that deny and ask. To be allowed, a text must
//! consist of the plain part of the language only, and a second reader ([`plain`]) that knows
//! nothing else must have found the same commands.
mod commands;
pub(crate) mod danger;
mod dirs;
mod functions;
pub(crate) mod globs;
pub(crate) mod loose;
mod nodes;
pub(crate) mod plain;
pub(crate) mod programs;
pub(crate) mod searches;
pub(crate) mod unwrap;
pub(crate) mod walk;
pub(crate) mod words;

pub(crate) use dirs::Dirs;
use plain::Plain;
use std::path::Path;
use walk::Walk;
use words::Word;

/// How long a text may be that is allowed, in bytes.
const MAX_ALLOWED_BYTES: usize = 64 * 1024;
/// How many shells within shells are looked into.
const MAX_NESTED_SHELLS: usize = 12;
/// How much of a part's text is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 400;

/// One thing that a text would do, or a construct that holds such things.
#[derive(Debug)]
pub(crate) struct Item {
    /// How deep it stands in the text.
    pub(crate) depth: usize,
    /// What it is: `pipeline`, `command`, `write`.
    pub(crate) label: &'static str,
    /// Its text, shortened.
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// A construct that does nothing by itself.
    Structure,
    Command(Command),
    /// A file that is read.
    Read(Word, Dirs),
    /// A file that is written.
    Write(Word, Dirs),
    /// What is not known to be harmless, with the reason.
    Doubt(String),
    /// What no rule can allow, with the reason.
    Denied(&'static str),
}

/// A command with its words.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) words: Vec<Word>,
    /// The words as a reader would expand them, for what is denied.
    pub(crate) expanded: Vec<String>,
    /// Variables that are set for it.
    pub(crate) assigned: Vec<(String, Word)>,
    /// Whether it reads from a pipe.
    pub(crate) is_piped: bool,
    pub(crate) dirs: Dirs,
}

/// What is known of a text.
pub(crate) struct Analysis {
    pub(crate) items: Vec<Item>,
    /// Why the text as a whole cannot be allowed, if so.
    pub(crate) doubt: Option<String>,
}

/// Reads a text that bash would run in a directory.
pub(crate) fn analyse(text: &str, cwd: &Path, home: Option<&Path>) -> Analysis {
    let mut walk = Walk::new(cwd, home);
    // No command can hold a NUL, and the parser takes it for the end of the text again and again.
    let clean = text.replace('\0', " ");
    if text.len() > MAX_ALLOWED_BYTES {
        walk.long(&clean);
        let doubt = Some(format!("it is longer than {MAX_ALLOWED_BYTES} bytes"));
        return Analysis { items: walk.items, doubt };
    }
    let is_whole = walk.script(&clean, 0, 0, false);
    let mut doubt = characters(text);
    if doubt.is_none() {
        doubt = match plain::read(text) {
            Some(plain) if is_whole && agree(&walk.items, &plain) => None,
            Some(_) => Some("two readers of shell commands understand it differently".into()),
            None => Some(not_plain(&walk.items)),
        };
    }
    // What the parser makes of a line that goes on after a backslash is not what bash does.
    let joined = text.replace("\\\n", "");
    if doubt.is_some() && joined.len() < text.len() {
        walk.script(&joined, 0, 0, false);
    }
    Analysis { items: walk.items, doubt }
}

/// Why a text is not plain, by the first part that is in doubt.
fn not_plain(items: &[Item]) -> String {
    let why = items.iter().find_map(|item| match &item.kind {
        Kind::Doubt(why) => Some(why.clone()),
        Kind::Command(command) => {
            let doubt = command.words.iter().find_map(|word| word.doubt);
            doubt.map(|doubt| format!("in `{}` {doubt}", item.text))
        }
        _ => None,
    });
    why.unwrap_or_else(|| "it is more than plain commands".into())
}

/// Characters that show as something else than they are.
fn characters(text: &str) -> Option<String> {
    let odd = text.chars().find(|c| match c {
        '\n' | '\t' => false,
        c if c.is_control() => true,
        c if c.is_ascii() => false,
        c => c.is_whitespace() || is_invisible(*c),
    });
    odd.map(|c| format!("it holds the character {}, which does not show", c.escape_unicode()))
}

fn is_invisible(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
        | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164
        | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff)
}

/// Whether the parser found the same commands and redirections.
fn agree(items: &[Item], plain: &[Plain]) -> bool {
    let words = |word: &Word| word.text.clone();
    let mut tree = items.iter().filter_map(|item| match &item.kind {
        Kind::Command(command) => Some(command.words.iter().map(words).collect::<Vec<_>>()),
        _ => None,
    });
    let mut files = items.iter().filter_map(|item| match &item.kind {
        Kind::Read(word, _) | Kind::Write(word, _) => Some(word.text.as_str()),
        _ => None,
    });
    for part in plain {
        let same = match part {
            Plain::Command(words) => tree.next().as_ref() == Some(words),
            Plain::Redirect(">&", target) if is_descriptor(target) => true,
            Plain::Redirect(_, target) => files.next() == Some(target),
            Plain::Operator(_) => true,
        };
        if !same {
            return false;
        }
    }
    tree.next().is_none() && files.next().is_none()
}

/// Whether a redirection names an open stream and not a file.
pub(crate) fn is_descriptor(target: &str) -> bool {
    target == "-" || (!target.is_empty() && target.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The begin of a text, in one line.
pub(crate) fn shorten(text: &str) -> String {
    let mut end = text.len().min(MAX_SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = text[..end].to_string();
    if end < text.len() {
        short.push_str(" [..]");
    }
    short
}
