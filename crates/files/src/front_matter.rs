//! Front matter: the lines between two fences `---` with which a text says what it is.
//!
//! People write it by hand, and much of it is no strict YAML: a description with a colon in it. It
//! is read a second time line by line then, as Claude Code does.
use crate::{ConfigError, parse_yaml};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// A text with its front matter.
#[derive(Debug, Default)]
pub struct FrontMatter {
    /// The values that are single texts, numbers or booleans, by key. Others are left out.
    pub fields: BTreeMap<String, String>,
    /// The line on which each key is, counted from 1.
    pub lines: BTreeMap<String, usize>,
    /// The text after it.
    pub body: String,
    /// What is not as it should be, and what would be right.
    pub faults: Vec<ConfigError>,
}

/// Takes a text apart. Line ends become `\n`.
///
/// # Errors
/// When it does not begin with front matter. `file` is what the errors name.
pub fn front_matter(file: &Path, text: &str) -> Result<FrontMatter, ConfigError> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| !line.trim().is_empty()).unwrap_or(0);
    if lines.get(start).is_none_or(|line| line.trim() != "---") {
        let why = "it does not begin with front matter between two lines `---`";
        return Err(ConfigError::new(file, Some(start + 1), why));
    }
    let mut front = FrontMatter::default();
    let inner = &lines[start + 1..];
    // In a block of text, an indented line of hyphens is text.
    let fence = inner
        .iter()
        .position(|line| line.trim_end() == "---")
        .or_else(|| inner.iter().position(|line| line.trim() == "---"));
    let (yaml, body) = match fence {
        Some(end) => (&inner[..end], &inner[end + 1..]),
        None => {
            let is_text = |line: &&str| line.trim().is_empty() || line.starts_with('#');
            let end = inner.iter().position(is_text).unwrap_or(inner.len());
            let why = "no line `---` ends the front matter; it is taken to end here";
            front.faults.push(ConfigError::new(file, Some(start + 2 + end), why));
            inner.split_at(end)
        }
    };
    front.body = body.join("\n").trim().to_owned();
    for (index, line) in yaml.iter().enumerate() {
        if let Some((key, _)) = key_and_value(line) {
            front.lines.insert(key.to_owned(), start + 2 + index);
        }
    }
    match parse_yaml::<BTreeMap<String, Value>>(file, &yaml.join("\n")) {
        Ok(values) => {
            for (key, value) in values {
                match value {
                    Value::String(text) => front.fields.insert(key, text),
                    Value::Number(_) | Value::Bool(_) => {
                        front.fields.insert(key, value.to_string())
                    }
                    _ => None,
                };
            }
        }
        Err(error) => {
            front.fields = read_leniently(yaml);
            let line = error.line.map(|line| start + 1 + line);
            let why = format!(
                "this is no strict YAML, so it was read line by line ({}); quote the value",
                error.why
            );
            front.faults.push(ConfigError::new(file, line, why));
        }
    }
    Ok(front)
}

/// The key that a line begins with, and what stands after it.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let is_key = !key.is_empty()
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && (value.is_empty() || value.starts_with([' ', '\t']));
    is_key.then_some((key, value.trim()))
}

/// The values line by line: each is the rest of its line, and the lines without a key after it. Of
/// two with the same key, the last, as in YAML.
fn read_leniently(yaml: &[&str]) -> BTreeMap<String, String> {
    let mut values: Vec<(&str, Vec<&str>)> = vec![];
    for line in yaml {
        match (key_and_value(line), values.last_mut()) {
            (Some((key, value)), _) => values.push((key, vec![value])),
            (None, Some((_, value))) if !line.trim_start().starts_with('#') => {
                value.push(line.trim());
            }
            (None, _) => {}
        }
    }
    let mut fields = BTreeMap::new();
    for (key, lines) in values {
        // How YAML announces a block of text; here the lines are joined whatever it says.
        let is_block = lines[0].len() <= 3 && lines[0].starts_with(['>', '|']);
        let value = lines[usize::from(is_block)..].join(" ");
        fields.insert(key.to_owned(), unquoted(value.trim()).to_owned());
    }
    fields
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// The fields, the body, and the faults as `LINE: why`.
    fn read(text: &str) -> (Vec<(String, String)>, String, Vec<String>) {
        let front = front_matter(Path::new("f"), text).unwrap();
        let faults = front.faults.iter().map(|fault| fault.to_string());
        (front.fields.into_iter().collect(), front.body, faults.collect())
    }

    #[test]
    fn strict_front_matter_is_read_whatever_stands_around_its_fences() {
        let fields = [("description", "what: it does"), ("license", "true"), ("name", "x")];
        let fields = fields.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let yaml = "name: x\ndescription: 'what: it does'\nlicense: true\nmetadata:\n  a: [1]";
        for text in [
            format!("---\n{yaml}\n---\n\n# Do it\n"),
            format!("\u{feff}---\n{yaml}\n---\n# Do it"),
            format!("\n\n---  \n{yaml}\n--- \t\n# Do it\n"),
            format!(" ---\n{yaml}\n ---\n# Do it\n"),
            format!("---\n{yaml}\n---\n# Do it\n").replace('\n', "\r\n"),
        ] {
            assert_eq!(read(&text), (fields.to_vec(), "# Do it".into(), vec![]), "{text:?}");
        }
        let block = "---\ndescription: |\n  one\n  ---\n  two\n---\nbody\n---\nmore";
        let (fields, body, faults) = read(block);
        assert_eq!(fields, [("description".into(), "one\n---\ntwo".into())]);
        assert_eq!((body.as_str(), faults.len()), ("body\n---\nmore", 0));
    }

    #[test]
    fn what_is_no_strict_yaml_is_read_line_by_line_and_that_is_said() {
        for (yaml, description) in [
            ("description: Use for: this, and that", "Use for: this, and that"),
            ("description: \"Say \"hello\": now\"", "Say \"hello\": now"),
            ("description: it's: 'quoted'", "it's: 'quoted'"),
            ("description: x: y\n  and more\n\tand a tab", "x: y and more and a tab"),
            ("description: >-\n  x: y\n  z\nother: a: b", "x: y z"),
            ("argument-hint: [file] - [line]\ndescription: plain", "plain"),
            ("description: @at the start", "@at the start"),
            ("description: %percent", "%percent"),
            ("description: `code` first", "`code` first"),
            (
                "description: plain\nThese words have no key\nKeywords: a: b",
                "plain These words have no key",
            ),
            ("\tname: x\ndescription: after a tab", "after a tab"),
            ("description: a: b\ndescription: c: d", "c: d"),
            ("description: plain\n# a: comment\nother: - [", "plain"),
            ("description: *alias", "*alias"),
        ] {
            let (fields, body, faults) = read(&format!("---\nname: x\n{yaml}\n---\nbody\n"));
            let found = fields.iter().find(|(key, _)| key == "description").unwrap();
            assert_eq!(found.1, description, "{yaml}");
            assert_eq!(body, "body");
            let [fault] = &faults[..] else { panic!("{faults:?}") };
            assert!(fault.starts_with("f:"), "{fault}");
            assert!(fault.contains(": this is no strict YAML, so it was read line by line ("));
            assert!(fault.ends_with("); quote the value"), "{fault}");
        }
        let (.., faults) = read("---\nname: x\ndescription: a: b\n---\n");
        assert!(faults[0].starts_with("f:3: "), "{faults:?}");
    }

    #[test]
    fn a_missing_end_is_said_and_a_missing_beginning_is_an_error() {
        for (text, body) in [
            ("---\nname: x\n\nbody\n", "body"),
            ("---\nname: x\n# Title\nbody\n", "# Title\nbody"),
            ("---\nname: x", ""),
        ] {
            let (fields, found, faults) = read(text);
            assert_eq!((fields, found.as_str()), (vec![("name".into(), "x".into())], body));
            assert_eq!(
                faults,
                ["f:3: no line `---` ends the front matter; it is taken to end here"]
            );
        }
        for (text, line) in [("", 1), ("# hello\n", 1), ("\n\nhello\n---\n", 3), ("--\n", 1)] {
            let error = front_matter(Path::new("f"), text).unwrap_err().to_string();
            let why = "it does not begin with front matter between two lines `---`";
            assert_eq!(error, format!("f:{line}: {why}"));
        }
    }

    #[test]
    fn front_matter_of_any_form_ends_in_bounded_time() {
        let bomb: String = (1..9)
            .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(",")))
            .collect();
        let begun = Instant::now();
        for yaml in [
            "x: ".to_owned() + &"[".repeat(50_000),
            format!("a0: &a0 [x]\n{bomb}"),
            "a: b: c\n".repeat(10_000),
            "- ".repeat(50_000),
            "x".repeat(100_000),
        ] {
            let front = format!("---\ndescription: here\n{yaml}\n---\nbody\n");
            let (fields, body, faults) = read(&front);
            let description = fields.iter().find(|(key, _)| key == "description").unwrap();
            assert!(description.1.starts_with("here"));
            assert_eq!((body.as_str(), faults.len()), ("body", 1));
            assert!(faults[0].len() < 600, "{}", faults[0]);
        }
        assert!(begun.elapsed().as_secs() < 60);
    }
}
