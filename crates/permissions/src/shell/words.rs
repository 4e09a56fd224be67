//! Words of the shell: quotes removed, and what of them is known before it runs.
use std::{collections::HashMap, ops::Range};

/// How many words one word may expand to by braces, when it is looked through for what is denied.
const MAX_BRACE_WORDS: usize = 64;

/// Up to which length variables are replaced in a word, in bytes.
const MAX_EXPANDED_BYTES: usize = 10_000;
/// How long a word may be that is looked through for braces, in bytes.
const MAX_BRACED_BYTES: usize = 1000;

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Word {
    /// Without its quotes. What is not known before it runs stands as it is written.
    pub(crate) text: String,
    /// Why its text is not what the program gets, if so.
    pub(crate) doubt: Option<&'static str>,
    /// Whether it has a `*`, `?` or `[` that the shell may replace by names of files.
    pub(crate) is_glob: bool,
    /// Whether it begins with a `~` that the shell replaces.
    pub(crate) is_tilde: bool,
    /// For what is denied: its parts.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    /// Text, and whether it is quoted.
    Text(String, bool),
    /// A variable, and whether it is quoted.
    Variable(String, bool),
    /// A variable, what it is without a value, and whether it is quoted.
    Default(String, String, bool),
    /// What cannot be known.
    Unknown,
}

impl Word {
    /// A word that is known.
    pub(crate) fn literal(text: &str) -> Word {
        Word { text: text.into(), pieces: vec![Piece::Text(text.into(), true)], ..Word::default() }
    }

    /// Reads a word as it is written. `holes` are the parts of it that hold commands, relative to
    /// its begin, and are not looked into.
    pub(crate) fn read(raw: &str, holes: &[Range<usize>]) -> Word {
        let mut reader = Reader { raw, at: 0, holes, word: Word::default() };
        reader.read();
        let mut word = reader.word;
        word.is_tilde = raw.starts_with('~');
        word
    }

    fn push(&mut self, c: char, is_quoted: bool) {
        self.text.push(c);
        match self.pieces.last_mut() {
            Some(Piece::Text(text, quoted)) if *quoted == is_quoted => text.push(c),
            _ => self.pieces.push(Piece::Text(c.into(), is_quoted)),
        }
    }

    fn doubt(&mut self, why: &'static str) {
        self.doubt.get_or_insert(why);
    }

    /// The words that the program gets, as far as a reader can tell: braces expanded, variables
    /// replaced by what they were set to, those without a value left out.
    pub(crate) fn expanded(&self, variables: &HashMap<String, String>) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut text = String::new();
        for piece in &self.pieces {
            let (part, splits) = match piece {
                Piece::Text(part, is_quoted) => {
                    // A brace in quotes expands to nothing.
                    let part =
                        if *is_quoted { part.replace(['{', '}'], "\u{1}") } else { part.clone() };
                    (part, false)
                }
                Piece::Variable(name, is_quoted) => match variables.get(name) {
                    Some(value) if text.len() < MAX_EXPANDED_BYTES => {
                        (value.clone(), !is_quoted || name == "@")
                    }
                    None if is_special(name) => (String::new(), false),
                    _ => (format!("${name}"), false),
                },
                Piece::Default(name, default, is_quoted) => {
                    (variables.get(name).unwrap_or(default).clone(), !is_quoted)
                }
                Piece::Unknown => ("$(..)".into(), false),
            };
            if !splits {
                text.push_str(&part);
                continue;
            }
            // An unquoted value is split at white space.
            let mut parts = part.split([' ', '\t', '\n']).peekable();
            while let Some(part) = parts.next() {
                text.push_str(part);
                if parts.peek().is_some() {
                    words.extend(Some(std::mem::take(&mut text)));
                }
            }
        }
        words.push(text);
        let has_quotes = self.pieces.iter().any(|piece| matches!(piece, Piece::Text(_, true)));
        let mut expanded = vec![];
        for word in words {
            if !word.is_empty() {
                braces(&word, &mut expanded);
            }
        }
        if expanded.is_empty() && has_quotes {
            expanded.push(String::new());
        }
        for word in &mut expanded {
            if word.contains('\u{1}') {
                // Which of the two it was does not matter to any rule that forbids.
                *word = word.replace('\u{1}', "{");
            }
        }
        expanded
    }
}

/// Whether a parameter has no value in a command that has no arguments.
fn is_special(name: &str) -> bool {
    name == "@" || name == "*" || name.chars().all(|c| c.is_ascii_digit()) && name != "0"
}

/// Expands `{a,b}`.
fn braces(word: &str, to: &mut Vec<String>) {
    if to.len() >= MAX_BRACE_WORDS {
        return;
    }
    let braces_of = (word.len() <= MAX_BRACED_BYTES).then(|| first_braces(word)).flatten();
    let Some((before, inside, after)) = braces_of else {
        to.push(word.into());
        return;
    };
    for choice in inside {
        let whole = format!("{before}{choice}{after}");
        if !whole.is_empty() {
            braces(&whole, to);
        }
    }
}

/// The first pair of braces with a comma in it: what stands before, the choices, what follows.
fn first_braces(word: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut from = 0;
    while let Some(open) = word[from..].find('{').map(|at| from + at) {
        let (mut depth, mut begin, mut choices) = (0_usize, open + 1, vec![]);
        for (at, c) in word[open..].char_indices() {
            let at = open + at;
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => {
                    choices.push(&word[begin..at]);
                    if choices.len() > 1 {
                        return Some((&word[..open], choices, &word[at + 1..]));
                    }
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    choices.push(&word[begin..at]);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        from = open + 1;
    }
    None
}

/// What a substitution comes to, where its text shows that: `${x:-a}`, `${a[@]}`, `$(echo a)`.
fn likely(raw: &str, is_quoted: bool) -> Option<Piece> {
    const OPEN: [char; 6] = ['$', '`', '"', '\'', '(', '\\'];
    if let Some(inner) = raw.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        let is_array = rest.starts_with("[@]") || rest.starts_with("[*]");
        let default = rest.trim_start_matches(':');
        let default = default.strip_prefix(['-', '=', '+']);
        let default = match default {
            Some(default) if !default.contains(OPEN) => default.to_string(),
            _ => format!("${name}"),
        };
        let known = !name.is_empty();
        return known.then(|| Piece::Default(name.into(), default, is_quoted && !is_array));
    }
    let inner = raw.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.or_else(|| raw.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')))?;
    let inner = inner.replace(['"', '\''], "");
    let words = ["echo ", "printf ", "which ", "command -v ", "type -p "];
    let said = words.iter().find_map(|program| inner.trim_start().strip_prefix(program))?;
    let said = said.trim_start_matches("-n ").trim_start_matches("%s ").trim();
    let known = !said.contains(OPEN) && !said.contains(['|', ';', '&', '<', '>']);
    known.then(|| Piece::Default(String::new(), said.into(), is_quoted))
}

struct Reader<'a> {
    raw: &'a str,
    at: usize,
    holes: &'a [Range<usize>],
    word: Word,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.raw[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Skips a part that holds commands.
    fn hole(&mut self, is_quoted: bool) -> bool {
        let Some(hole) = self.holes.iter().find(|hole| hole.start == self.at && !hole.is_empty())
        else {
            return false;
        };
        self.word.text.push_str("$(..)");
        self.word.doubt("a substitution decides what it gets");
        let end = hole.end.min(self.raw.len());
        let known = likely(&self.raw[self.at..end], is_quoted);
        self.word.pieces.push(known.unwrap_or(Piece::Unknown));
        self.at = end;
        true
    }

    fn read(&mut self) {
        loop {
            if self.hole(false) {
                continue;
            }
            let Some(c) = self.next() else { return };
            match c {
                '\\' => match self.next() {
                    None | Some('\n') => {}
                    Some(escaped) => self.word.push(escaped, true),
                },
                '\'' => self.single(),
                '"' => self.double(),
                '$' if self.peek() == Some('\'') => {
                    self.next();
                    self.ansi();
                }
                '$' if self.peek() == Some('"') => self.word.doubt("a text is translated"),
                '$' => self.variable(false),
                '`' => self.word.doubt("a substitution decides what it gets"),
                _ => {
                    self.word.is_glob |= matches!(c, '*' | '?' | '[');
                    self.word.push(c, false);
                }
            }
        }
    }

    fn single(&mut self) {
        self.word.push_empty();
        while let Some(c) = self.next() {
            if c == '\'' {
                return;
            }
            self.word.push(c, true);
        }
        self.word.doubt("a quote is not closed");
    }

    fn double(&mut self) {
        self.word.push_empty();
        loop {
            if self.hole(true) {
                continue;
            }
            let Some(c) = self.next() else { break };
            match c {
                '"' => return,
                '\\' => match self.next() {
                    None => break,
                    Some('\n') => {}
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => self.word.push(escaped, true),
                    Some(other) => {
                        self.word.push('\\', true);
                        self.word.push(other, true);
                    }
                },
                '$' => self.variable(true),
                '`' => self.word.doubt("a substitution decides what it gets"),
                _ => self.word.push(c, true),
            }
        }
        self.word.doubt("a quote is not closed");
    }

    /// `$'..'`: read for what is denied, never relied on.
    fn ansi(&mut self) {
        self.word.doubt("it has a text in the form $'..'");
        self.word.push_empty();
        while let Some(c) = self.next() {
            if c == '\'' {
                return;
            }
            if c != '\\' {
                self.word.push(c, true);
                continue;
            }
            let Some(kind) = self.next() else { return };
            let (digits, radix) = match kind {
                'x' => (2, 16),
                'u' => (4, 16),
                'U' => (8, 16),
                '0'..='7' => {
                    self.at -= 1;
                    (3, 8)
                }
                _ => (0, 10),
            };
            let code = self.number(digits, radix);
            let c = match kind {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'e' | 'E' => '\u{1b}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                'c' => match self.next() {
                    Some(control) => char::from(control as u8 & 0x1f),
                    None => return,
                },
                _ if digits > 0 => code.and_then(char::from_u32).unwrap_or('?'),
                other => other,
            };
            if c != '\0' {
                self.word.push(c, true);
            }
        }
    }

    fn number(&mut self, digits: usize, radix: u32) -> Option<u32> {
        let text: String =
            self.raw[self.at..].chars().take(digits).take_while(|c| c.is_digit(radix)).collect();
        self.at += text.len();
        u32::from_str_radix(&text, radix).ok()
    }

    /// What follows a `$`.
    fn variable(&mut self, is_quoted: bool) {
        let rest = &self.raw[self.at..];
        let (name, length) = match rest.chars().next() {
            Some('{') => {
                let Some(end) = rest.find('}') else {
                    self.word.doubt("a variable decides what it gets");
                    self.word.pieces.push(Piece::Unknown);
                    self.at = self.raw.len();
                    return;
                };
                (&rest[1..end], end + 1)
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (&rest[..end], end)
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => (&rest[..1], 1),
            Some('(' | '[') => ("", 0),
            // A dollar sign and nothing more.
            _ => return self.word.push('$', is_quoted),
        };
        self.word.doubt("a variable decides what it gets");
        self.word.text.push('$');
        self.word.text.push_str(&rest[..length]);
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_@*".contains(c));
        self.word.pieces.push(match is_plain && !name.is_empty() {
            true => Piece::Variable(name.into(), is_quoted),
            false => likely(&self.raw[self.at - 1..self.at + length], is_quoted)
                .unwrap_or(Piece::Unknown),
        });
        self.at += length;
    }
}

impl Word {
    /// Remembers that there was a quote: `""` is a word.
    fn push_empty(&mut self) {
        if !matches!(self.pieces.last(), Some(Piece::Text(_, true))) {
            self.pieces.push(Piece::Text(String::new(), true));
        }
    }
}

/// Whether an unquoted word may expand to several by its braces: `{a,b}`, `{1..3}`.
pub(crate) fn has_braces(word: &Word) -> bool {
    word.pieces.iter().any(|piece| match piece {
        Piece::Text(text, false) => text.contains('{') && text != "{}",
        _ => false,
    }) && (word.text.contains(',') || word.text.contains(".."))
}
