//! Texts that look the same and are not: other kinds of blanks, quotes and dashes, composed and
//! decomposed letters, characters that are not shown. Programs write them, and models do not.
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// How many differences are named, and how many characters of each.
const MAX_DIFFERENCES: usize = 5;
const MAX_NAMED_CHARS: usize = 4;

/// What a text looks like: texts that look the same have the same skeleton.
pub(crate) struct Skeleton<'a> {
    of: &'a str,
    pub(crate) text: String,
    /// For each byte of `text`, where the character that it comes from is.
    origins: Vec<usize>,
}

impl<'a> Skeleton<'a> {
    pub(crate) fn new(of: &'a str) -> Skeleton<'a> {
        let capacity = of.len();
        let text = String::with_capacity(capacity);
        let mut skeleton = Skeleton { of, text, origins: Vec::with_capacity(capacity) };
        for (origin, c) in of.char_indices() {
            match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' => skeleton.push(c, origin),
                '\r' if of[origin..].starts_with("\r\n") => {}
                '\n' | '\r' => {
                    if skeleton.text.ends_with(' ') {
                        skeleton.text.pop();
                        skeleton.origins.pop();
                    }
                    skeleton.push('\n', origin);
                }
                c if c.is_whitespace() => {
                    if !skeleton.text.ends_with(' ') {
                        skeleton.push(' ', origin);
                    }
                }
                '\u{2018}'..='\u{201b}' | '\u{2bc}' | '\u{2032}' => skeleton.push('\'', origin),
                '\u{201c}'..='\u{201f}' | '\u{2033}' => skeleton.push('"', origin),
                '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' => skeleton.push('-', origin),
                '\u{2026}' => (0..3).for_each(|_| skeleton.push('.', origin)),
                '\0' => skeleton.push('\u{2400}', origin),
                c if is_invisible(c) => {}
                c => decompose_canonical(c, |part| skeleton.push(part, origin)),
            }
        }
        skeleton
    }

    fn push(&mut self, c: char, origin: usize) {
        self.text.push(c);
        self.origins.resize(self.text.len(), origin);
    }

    /// Where the character is that the byte `at` of the skeleton comes from.
    fn origin(&self, at: usize) -> usize {
        self.origins.get(at).copied().unwrap_or(self.of.len())
    }

    /// The part of the text that the bytes from `start` to `end` of the skeleton come from.
    fn part(&self, start: usize, end: usize) -> &'a str {
        let last = self.origin(end - 1);
        let last_char = self.of[last..].chars().next().map_or(0, char::len_utf8);
        // What is not shown between two characters belongs to the first of them.
        let until = if end < self.text.len() { self.origin(end) } else { last + last_char };
        &self.of[self.origin(start)..until.max(last)]
    }

    /// Where a text that looks like `wanted` begins, and each difference.
    pub(crate) fn find(&self, wanted: &Skeleton<'a>) -> Option<(usize, Vec<Difference<'a>>)> {
        if wanted.text.trim().is_empty() {
            return None;
        }
        let ends_with_a_letter = |at: usize| {
            let next = self.text[at + wanted.text.len()..].chars().next();
            !next.is_some_and(is_combining_mark)
        };
        let mut places = self.text.match_indices(&wanted.text).map(|(at, _)| at);
        let found = places.find(|at| ends_with_a_letter(*at))?;
        let (mut differences, mut start) = (vec![], 0);
        while start < wanted.text.len() {
            let mut end = start + 1;
            // As far as both sides begin with a new character.
            while end < wanted.text.len()
                && (self.origin(found + end) == self.origin(found + end - 1)
                    || wanted.origin(end) == wanted.origin(end - 1))
            {
                end += 1;
            }
            let (there, wanted) = (self.part(found + start, found + end), wanted.part(start, end));
            if there != wanted {
                differences.push(Difference { at: self.origin(found + start), there, wanted });
            }
            start = end;
        }
        Some((self.origin(found), differences))
    }
}

/// Whether a character takes no place where it is shown.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

/// Characters that look the same as others.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference<'a> {
    /// Where they are, in bytes.
    pub(crate) at: usize,
    pub(crate) there: &'a str,
    pub(crate) wanted: &'a str,
}

/// Names the first differences of two kinds of text, `where` before each.
pub(crate) fn describe(
    differences: &[Difference<'_>],
    place: impl Fn(usize) -> String,
    wanted_name: &str,
) -> String {
    let mut named: Vec<String> = vec![];
    for difference in differences {
        let (there, wanted) = (code_points(difference.there), code_points(difference.wanted));
        named.push(format!("{} {there} where {wanted_name} {wanted}", place(difference.at)));
        if named.len() == MAX_DIFFERENCES {
            break;
        }
    }
    if differences.len() > named.len() {
        named.push(format!("{} more differences", differences.len() - named.len()));
    }
    named.join(", ")
}

fn code_points(text: &str) -> String {
    let mut points: Vec<String> =
        text.chars().take(MAX_NAMED_CHARS).map(|c| format!("U+{:04X}", c as u32)).collect();
    if text.chars().nth(MAX_NAMED_CHARS).is_some() {
        points.push("...".into());
    }
    if points.is_empty() { "nothing".into() } else { points.join(" ") }
}

/// Whether two names look the same and are not.
pub(crate) fn looks_like(name: &str, wanted: &str) -> bool {
    if name.is_ascii() && wanted.is_ascii() {
        return false;
    }
    name != wanted && Skeleton::new(name).text == Skeleton::new(wanted).text
}

/// How a path that was found differs from the one that was wanted.
pub(crate) fn describe_path(there: &str, wanted: &str) -> String {
    match Skeleton::new(there).find(&Skeleton::new(wanted)) {
        Some((_, differences)) if !differences.is_empty() => {
            describe(&differences, |_| "it has".into(), "you wrote")
        }
        _ => "its name looks the same".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_found_and_each_difference_is_named() {
        for (there, wanted, differences) in [
            ("1.01\u{202f}AM", "1.01 AM", "it has U+202F where you wrote U+0020"),
            (
                "x\u{a0}y\u{3000}z",
                "x y z",
                "it has U+00A0 where you wrote U+0020, it has U+3000 where you wrote U+0020",
            ),
            ("caf\u{e9}", "cafe\u{301}", "it has U+00E9 where you wrote U+0065 U+0301"),
            ("cafe\u{301}", "caf\u{e9}", "it has U+0065 U+0301 where you wrote U+00E9"),
            ("\u{ac00}", "\u{1100}\u{1161}", "it has U+AC00 where you wrote U+1100 U+1161"),
            ("it\u{2019}s", "it's", "it has U+2019 where you wrote U+0027"),
            (
                "\u{201c}a\u{201d}",
                "\"a\"",
                "it has U+201C where you wrote U+0022, it has U+201D where you wrote U+0022",
            ),
            ("1\u{2013}2", "1-2", "it has U+2013 where you wrote U+002D"),
            ("a\u{200b}b", "ab", "it has U+0061 U+200B where you wrote U+0061"),
            ("ab", "a\u{200b}b", "it has U+0061 where you wrote U+0061 U+200B"),
            ("wait\u{2026}", "wait...", "it has U+2026 where you wrote U+002E U+002E U+002E"),
            ("\tx", "    x", "it has U+0009 where you wrote U+0020 U+0020 U+0020 U+0020"),
            ("a\rb", "a\nb", "it has U+000D where you wrote U+000A"),
            ("a \nb", "a\nb", "it has U+0061 U+0020 where you wrote U+0061"),
            ("'\0'", "'\u{2400}'", "it has U+0000 where you wrote U+2400"),
        ] {
            assert_eq!(describe_path(there, wanted), differences, "{there:?} {wanted:?}");
        }
        for (there, wanted) in [("a", "b"), ("caf\u{e9}", "cafe"), ("a b", "ab"), ("x", " ")] {
            assert!(Skeleton::new(there).find(&Skeleton::new(wanted)).is_none(), "{there:?}");
        }
    }
}
