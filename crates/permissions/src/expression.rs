//! Regular expressions for commands.
use crate::mode::Ruling;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use std::{fmt, sync::OnceLock};

/// How large a compiled expression may be, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// The longest expression, in bytes, that is not compiled until it is needed.
const MAX_SHORT: usize = 1000;

/// A regular expression. To compile those of `config/permissions.yaml` takes as long as all else
/// about its rules, so it waits for the first command that is judged.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    /// Reads it, since a mistake in it is to be named before anything is judged. Whether it is too
    /// large shows when it is compiled; a short one can be that by a counted repetition (`{1000}`)
    /// or a flag (`(?u)`) only, and then it is compiled now.
    ///
    /// # Errors
    /// Quotes the expression, and says what is wrong.
    pub(crate) fn new(text: &str) -> Result<Expression, String> {
        let compiled = OnceLock::new();
        let may_be_large = text.len() > MAX_SHORT || text.contains('{') || text.contains("(?");
        if may_be_large {
            let _ = compiled.set(Some(compile(text).map_err(|error| wrong(text, &error))?));
        } else {
            // As `compile` has it.
            let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
            parsed.map_err(|error| wrong(text, &error))?;
        }
        Ok(Expression { text: text.into(), compiled })
    }

    /// Whether a rule with this expression covers a command. One that cannot be compiled after all
    /// would allow nothing, and forbid everything.
    pub(crate) fn covers(&self, command: &str, ruling: Ruling) -> bool {
        match self.compiled.get_or_init(|| compile(&self.text).ok()) {
            Some(regex) => regex.is_match(command.as_bytes()),
            None => ruling != Ruling::Allow,
        }
    }
}

/// Of bytes, as commands are for a shell, whose white space and names are ASCII; `(?u)` in an
/// expression asks for more. It is ten times faster to compile.
fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(MAX_COMPILED_BYTES).build()
}

fn wrong(text: &str, error: &impl fmt::Display) -> String {
    let error = error.to_string();
    let last = error.lines().last().unwrap_or_default();
    format!("the regular expression {text:?}: {}", last.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named_when_it_is_read() {
        let mistake = |text: &str| Expression::new(text).unwrap_err();
        assert_eq!(mistake("("), "the regular expression \"(\": unclosed group");
        assert_eq!(mistake("(?u)("), "the regular expression \"(?u)(\": unclosed group");
    }

    #[test]
    fn what_is_too_large_is_refused_when_it_is_read() {
        let long = "[^a][^b]".repeat(20_000);
        for text in ["(?:x{1000}){1000}", r"(?u)\w{500}", &long] {
            let error = Expression::new(text).unwrap_err();
            assert!(error.ends_with("exceeds size limit of 1048576 bytes."), "{error}");
        }
    }

    /// What is compiled later must not fail then: the largest that a short text can stand for.
    #[test]
    fn a_short_expression_can_be_compiled() {
        for unit in [r"\W", "[^a]", "a|", "(.*)*", r"\b.", "[b-df-hj-np-tv-z]+?"] {
            let text = unit.repeat(MAX_SHORT / unit.len());
            let expression = Expression::new(&text).unwrap();
            assert!(expression.compiled.get().is_none());
            assert!(compile(&text).is_ok(), "{unit}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_allows_nothing_and_forbids_everything() {
        let broken = Expression { text: "(".into(), compiled: OnceLock::new() };
        let covers = [Ruling::Allow, Ruling::Ask, Ruling::Deny].map(|r| broken.covers("ls", r));
        assert_eq!(covers, [false, true, true]);
    }
}
