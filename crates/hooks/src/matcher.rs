//! Which occurrences of an event a hook is for.
use regex::Regex;

/// A name, several names, or a regular expression.
#[derive(Debug, Clone)]
pub struct Matcher {
    text: String,
    /// `None` for everything.
    form: Option<Names>,
}

#[derive(Debug, Clone)]
enum Names {
    Exact(Vec<String>),
    Pattern(Regex),
}

impl Matcher {
    /// Reads a matcher: nothing, an empty text and `*` match everything; letters, digits, `_`, `-`
    /// and blanks are a name, also several ones with `|` or `,` between them; everything else is a
    /// regular expression that is found anywhere in a name.
    ///
    /// # Errors
    /// Says why the regular expression is none.
    pub fn new(text: &str) -> Result<Self, String> {
        let is_name = |c: char| c.is_alphanumeric() || "_- |,".contains(c);
        let form = match text.trim() {
            "" | "*" => None,
            names if names.chars().all(is_name) => {
                let names = names.split(['|', ',']).map(str::trim);
                Some(Names::Exact(names.filter(|name| !name.is_empty()).map(Into::into).collect()))
            }
            pattern => match Regex::new(pattern) {
                Ok(regex) => Some(Names::Pattern(regex)),
                Err(error) => {
                    let why = error.to_string();
                    let why = why.lines().last().unwrap_or_default().trim();
                    return Err(format!("matcher `{pattern}` is no regular expression: {why}"));
                }
            },
        };
        Ok(Matcher { text: text.trim().into(), form })
    }

    /// What stands for a matcher that cannot be read: it matches everything, so that a guard does
    /// not fail to guard.
    pub(crate) fn unread(text: &str) -> Self {
        Matcher { text: text.trim().into(), form: None }
    }

    /// Whether one of these names is meant.
    pub fn matches(&self, names: &[&str]) -> bool {
        match &self.form {
            None => true,
            Some(Names::Exact(exact)) => names.iter().any(|name| exact.iter().any(|e| e == name)),
            Some(Names::Pattern(regex)) => names.iter().any(|name| regex.is_match(name)),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lists_and_patterns() {
        for (matcher, matched, not) in [
            ("", "Bash", None),
            ("*", "Bash", None),
            ("Bash", "Bash", Some("BashOutput")),
            ("Edit|Write", "Write", Some("MultiEdit")),
            ("Edit, Write", "Write", Some("Edit, Write")),
            ("mcp__memory__.*", "mcp__memory__create", Some("mcp__other__create")),
            ("Notebook.*", "NotebookEdit", Some("Edit")),
            ("^Edit$", "Edit", Some("MultiEdit")),
            (".*", "x", None),
            ("mcp__memory", "mcp__memory", Some("mcp__memory__create")),
        ] {
            let read = Matcher::new(matcher).unwrap();
            assert!(read.matches(&[matched]), "{matcher}");
            assert!(not.is_none_or(|name| !read.matches(&[name])), "{matcher}");
        }
        let why = Matcher::new("Bash(git").unwrap_err();
        assert_eq!(why, "matcher `Bash(git` is no regular expression: error: unclosed group");
    }
}
