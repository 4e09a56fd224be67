//! A second, strict reader: the plain part of the shell's language and nothing else. A command that
//! is to be allowed must read the same here as in the parser.
//!
//! Plain are words of text and quotes, `;`, newlines, `&&`, `||`, `|`, comments, and redirections
//! to and from a word. No variable, no substitution, no `&`, no parenthesis, no reserved word.

/// What a plain command is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    /// A command: its words without quotes.
    Command(Vec<String>),
    /// `;`, `&&`, `||`, `|` or a newline.
    Operator(&'static str),
    /// A redirection: its operator and its target.
    Redirect(&'static str, String),
}

/// Words that begin or end a construct where a command may begin.
const RESERVED: [&str; 20] = [
    "!", "{", "}", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for",
    "function", "if", "select", "then", "until", "while",
];

/// Reads a plain command; `None` when it is not plain.
pub(crate) fn read(text: &str) -> Option<Vec<Plain>> {
    let mut reader = Reader { rest: text, read: vec![], words: vec![], redirects: vec![] };
    while reader.step()? {}
    reader.end_command();
    Some(reader.read)
}

/// `NAME=value`: the parser tells what is set.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, value)| {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(is_name)
            && !value.is_empty()
    })
}

struct Reader<'a> {
    rest: &'a str,
    read: Vec<Plain>,
    words: Vec<String>,
    redirects: Vec<Plain>,
}

impl Reader<'_> {
    fn end_command(&mut self) {
        if !self.words.is_empty() {
            self.read.push(Plain::Command(std::mem::take(&mut self.words)));
        }
        self.read.append(&mut self.redirects);
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads one thing; `false` at the end.
    fn step(&mut self) -> Option<bool> {
        let Some(c) = self.rest.chars().next() else { return Some(false) };
        match c {
            ' ' | '\t' => {
                self.rest = &self.rest[1..];
            }
            '\\' if self.take("\\\n") => {}
            '#' => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            }
            '\n' | ';' | '|' | '&' if !self.rest.starts_with("&>") => {
                let operator = ["&&", "||", "|", "\n", ";"].into_iter().find(|op| self.take(op))?;
                // `|&` and `;;` are something else.
                if self.rest.starts_with(['&', ';']) && operator != "\n" {
                    return None;
                }
                self.end_command();
                self.read.push(Plain::Operator(operator));
            }
            '<' | '>' | '&' => self.redirect()?,
            _ => {
                let begin = self.rest;
                let (word, quoted) = self.word()?;
                let is_number = !quoted && word.bytes().all(|byte| byte.is_ascii_digit());
                if is_number && self.rest.starts_with(['<', '>']) {
                    self.redirect()?;
                    return Some(true);
                }
                // `{name}>file` opens the file with a number of its own.
                if word.ends_with('}') && self.rest.starts_with(['<', '>']) {
                    return None;
                }
                if self.words.is_empty() {
                    let written = &begin[..begin.len() - self.rest.len()];
                    if !quoted && is_assignment(written) {
                        return Some(true);
                    }
                    if RESERVED.contains(&word.as_str()) || written.contains('=') {
                        return None;
                    }
                }
                self.words.push(word);
            }
        }
        Some(true)
    }

    fn redirect(&mut self) -> Option<()> {
        const OPERATORS: [&str; 8] = [">>", ">&", ">|", ">", "<", "&>>", "&>", "<&"];
        if self.rest.starts_with("<<") || self.rest.starts_with("<>") {
            return None;
        }
        let operator = OPERATORS.into_iter().find(|operator| self.take(operator))?;
        // `>&2`: the operator and the target make one; `<&` is never plain.
        if operator == "<&" || self.rest.starts_with(['&', '(', '<', '>', '|']) {
            return None;
        }
        while self.take(" ") || self.take("\t") {}
        let (target, _) = self.word()?;
        if target.is_empty() {
            return None;
        }
        self.redirects.push(Plain::Redirect(operator, target));
        Some(())
    }

    /// Reads a word; `None` when it is not plain, or there is none.
    fn word(&mut self) -> Option<(String, bool)> {
        let (mut word, mut any, mut quoted) = (String::new(), false, false);
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' => {
                    end = at;
                    break;
                }
                '(' | ')' | '`' | '$' => return None,
                '\\' => match chars.next()?.1 {
                    '\n' => continue,
                    escaped => word.push(escaped),
                },
                '\'' => loop {
                    match chars.next()?.1 {
                        '\'' => break,
                        c => word.push(c),
                    }
                },
                '"' => loop {
                    match chars.next()?.1 {
                        '"' => break,
                        '`' => return None,
                        // A dollar sign before a quote or a space is one; before the rest it may be
                        // more.
                        '$' => match chars.as_str().chars().next()? {
                            '"' | ' ' | '|' | '/' | ',' | '.' | ':' | ')' => word.push('$'),
                            _ => return None,
                        },
                        '\\' => match chars.next()?.1 {
                            '\n' => {}
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => {
                                word.push('\\');
                                word.push(other);
                            }
                        },
                        c => word.push(c),
                    }
                },
                c => word.push(c),
            }
            any = true;
            quoted |= matches!(c, '\\' | '\'' | '"');
        }
        if !any {
            return None;
        }
        self.rest = &self.rest[end..];
        Some((word, quoted))
    }
}
