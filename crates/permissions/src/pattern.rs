//! The patterns of commands in rules: words, and `*` for anything.

/// What stands between two words in the text that a pattern is compared with. A word that holds it
/// is never allowed by a pattern, so that no word can pass for two.
pub(crate) const BETWEEN: char = '\u{1f}';

/// `git log:*` or `npm run *`: a pattern for the words of a command. A space in it stands between
/// two words, `*` for any number of characters and words. `:*` at the end, as well as ` *`, means
/// "and whatever follows, or nothing". Quotes hold a word together; a backslash takes the meaning
/// of `*`, of a quote and of a backslash.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    parts: Vec<String>,
    /// Whether further words may follow.
    more: bool,
    /// Its words as written, `*` included.
    words: Vec<String>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Pattern {
        let text = text.trim();
        let (text, more) = match text.strip_suffix(":*").or_else(|| text.strip_suffix(" *")) {
            Some(rest) if !rest.ends_with('\\') => (rest.trim_end(), true),
            _ => (text, false),
        };
        let (mut parts, mut part, mut words, mut word) =
            (vec![], String::new(), vec![], String::new());
        let mut quote = None;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', None | Some('"'))
                    if matches!(chars.peek(), Some('*' | '\\' | '"' | '\'' | ' ')) =>
                {
                    let escaped = chars.next().unwrap_or('\\');
                    part.push(escaped);
                    word.push(escaped);
                }
                ('"' | '\'', None) if is_closed(chars.clone(), c) => quote = Some(c),
                (_, Some(open)) if c == open => quote = None,
                ('*', None) => {
                    parts.push(std::mem::take(&mut part));
                    word.push('*');
                }
                (' ', None) => {
                    if !part.ends_with(BETWEEN) {
                        part.push(BETWEEN);
                        words.push(std::mem::take(&mut word));
                    }
                }
                _ => {
                    part.push(c);
                    word.push(c);
                }
            }
        }
        parts.push(part);
        words.push(word);
        Pattern { parts, more, words }
    }

    /// Whether it stands for several commands.
    pub(crate) fn is_wide(&self) -> bool {
        self.more || self.parts.len() > 1
    }

    /// Whether one of its words is exactly this one.
    pub(crate) fn names(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    /// Whether it covers these words, joined by [`BETWEEN`].
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        let Some((last, middle)) = rest.split_last() else {
            return text.is_empty() || (self.more && text.starts_with(BETWEEN));
        };
        for part in middle {
            let Some((_, after)) = text.split_once(part.as_str()) else { return false };
            text = after;
        }
        if !self.more {
            return text.ends_with(last.as_str());
        }
        // Whatever follows begins with a new word.
        last.is_empty()
            || text.ends_with(last.as_str())
            || text.contains(&format!("{last}{BETWEEN}"))
    }
}

/// Whether a quote that has just begun ends: in `it's` it is a letter.
fn is_closed(rest: std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> bool {
    let mut escaped = false;
    for c in rest {
        if c == quote && !escaped {
            return true;
        }
        escaped = c == '\\' && !escaped;
    }
    false
}

/// A pattern that covers this command only, as it is written in a rule.
pub(crate) fn exactly(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+~^#!?[]{}".contains(c);
        if !word.is_empty() && word.chars().all(plain) && !word.ends_with(":*") {
            return word.clone();
        }
        let mut text = String::from("\"");
        for c in word.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text + "\""
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, words: &[&str]) -> bool {
        Pattern::new(pattern).matches(&words.join(&BETWEEN.to_string()))
    }

    #[test]
    fn a_prefix_ends_at_a_word() {
        for pattern in ["git log:*", "git log *"] {
            assert!(matches(pattern, &["git", "log"]));
            assert!(matches(pattern, &["git", "log", "-p"]));
            assert!(!matches(pattern, &["git", "logs"]));
            assert!(!matches(pattern, &["git log"]));
        }
        assert!(matches("mkfs*", &["mkfs.ext4", "/dev/sda"]));
        assert!(!matches("ls", &["ls", "-l"]));
    }

    #[test]
    fn a_star_stands_anywhere() {
        assert!(matches("git * main", &["git", "push", "origin", "main"]));
        assert!(!matches("git * main", &["git", "push", "mainly"]));
        assert!(matches("* --help:*", &["cargo", "build", "--help", "x"]));
        assert!(matches("* --help:*", &["a", "--helps", "--help"]));
        assert!(!matches("* --help:*", &["a", "--helps"]));
        assert!(matches("*", &["anything", "at all"]));
    }

    #[test]
    fn an_exact_pattern_covers_its_command_only() {
        for words in [
            &["git", "commit", "-m", "a b; c"][..],
            &["echo", "*", "\"x\"", "it's", "\\*", ""],
            &["echo", "a:*"],
            &["find", ".", "-name", "*.rs"],
        ] {
            let owned: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            let pattern = exactly(&owned);
            assert!(!Pattern::new(&pattern).is_wide(), "{pattern}");
            assert!(matches(&pattern, words), "{pattern}");
        }
        assert!(!matches("echo \"*\"", &["echo", "x"]));
    }
}
