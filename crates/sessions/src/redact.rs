//! Keys, replaced before anything is written.
use regex::Regex;
use std::{borrow::Cow, sync::LazyLock};

/// What stands in the place of a key.
pub const REDACTED: &str = "[redacted key]";

/// Shorter ones may be words that stand everywhere.
const MIN_KEY_BYTES: usize = 8;

/// Keys of well-known services, by how they begin and how long they are; JSON web tokens; private
/// keys. What may be a part of a program's source (`password = ...`) is not among them. All of it
/// is ASCII: tables for Unicode would cost each start milliseconds.
const SHAPES: &str = r"(?x)
    (?-u:\b)(?:
        sk-[A-Za-z0-9_-]{20,} | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,} |
        gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,} |
        xox[abeprs]-[A-Za-z0-9-]{10,} | xapp-[A-Za-z0-9-]{20,} |
        (?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b) | AIza[A-Za-z0-9_-]{35}(?-u:\b) |
        ya29\.[A-Za-z0-9_-]{20,} |
        whsec_[A-Za-z0-9+/=]{16,} | npm_[A-Za-z0-9]{36} | pypi-[A-Za-z0-9_-]{32,} |
        hf_[A-Za-z0-9]{30,} | gsk_[A-Za-z0-9]{30,} | xai-[A-Za-z0-9]{30,} |
        dop_v1_[a-f0-9]{32,} | dckr_pat_[A-Za-z0-9_-]{20,} | shpat_[a-fA-F0-9]{16,} |
        SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,} | AGE-SECRET-KEY-1[A-Z0-9]{20,} |
        eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}
    )
    | -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----(?:[A-Za-z0-9+/=:,.\t\n\r\ ]|-[A-Za-z0-9]){40,}
      (?:-----END\ [A-Z\ ]*PRIVATE\ KEY-----)?";

/// What stands before a secret, which alone is replaced: a password in a URL, a bearer token.
const AFTER: &str = r"(?x)
    (://[^\t\n\r\x20/:@'\x22]+:)[^\t\n\r\x20/@'\x22]+(@) |
    (?-u:\b)([Bb]earer[\t\n\r\x20]+)[A-Za-z0-9._~+/=-]{20,}";

static SHAPES_REGEX: LazyLock<Regex> = LazyLock::new(|| regex(SHAPES));
static AFTER_REGEX: LazyLock<Regex> = LazyLock::new(|| regex(AFTER));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// Replaces keys in what is written.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    keys: Vec<String>,
}

impl Redactor {
    /// A redactor for these keys, if they have 8 bytes at least, and for all that looks like one.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Redactor {
        let mut keys: Vec<String> =
            keys.into_iter().filter(|key| key.len() >= MIN_KEY_BYTES).collect();
        // One may hold another.
        keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
        // To compile the patterns takes a millisecond, for which the start of a program need not
        // wait. Where there is no thread for it, the first text waits.
        let compile = || {
            LazyLock::force(&SHAPES_REGEX);
            LazyLock::force(&AFTER_REGEX);
        };
        let _ = std::thread::Builder::new().spawn(compile);
        Redactor { keys }
    }

    /// The text without keys.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for key in &self.keys {
            if text.contains(key) {
                text = text.replace(key, REDACTED).into();
            }
        }
        for (regex, with) in
            [(&SHAPES_REGEX, REDACTED), (&AFTER_REGEX, "${1}${3}[redacted key]${2}")]
        {
            if let Cow::Owned(replaced) = regex.replace_all(&text, with) {
                text = replaced.into();
            }
        }
        text
    }

    /// JSON without keys in its strings. Everything else stays byte for byte.
    pub fn json(&self, json: &str) -> String {
        let mut out = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(begin) = rest.find('"') {
            let literal = string_literal(&rest[begin..]);
            out.push_str(&rest[..begin]);
            out.push_str(&self.literal(literal));
            rest = &rest[begin + literal.len()..];
        }
        out.push_str(rest);
        out
    }

    fn literal<'t>(&self, literal: &'t str) -> Cow<'t, str> {
        // Half a surrogate pair is no text, and stays as it is.
        let Ok(text) = serde_json::from_str::<Cow<'_, str>>(literal) else { return literal.into() };
        match self.text(&text) {
            Cow::Borrowed(_) => literal.into(),
            Cow::Owned(redacted) => serde_json::Value::from(redacted).to_string().into(),
        }
    }
}

/// The string at the begin of this JSON, with its quotes.
fn string_literal(json: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return &json[..=at],
            _ => {}
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_and_well_known_shapes_are_replaced() {
        let redactor = Redactor::new(["my\"own\nkey".to_string(), "short".to_string()]);
        for (text, expected) in [
            ("a my\"own\nkey b", "a [redacted key] b"),
            ("short", "short"),
            ("\nsk-ant-api03-AAAABBBBCCCCDDDD-x\n", "\n[redacted key]\n"),
            ("x=ghp_0123456789abcdefghij0123;", "x=[redacted key];"),
            ("AKIAIOSFODNN7EXAMPLE", "[redacted key]"),
            ("postgres://me:secret@db/x", "postgres://me:[redacted key]@db/x"),
            (
                "Authorization: Bearer abcdefghijklmnopqrstuv",
                "Authorization: Bearer [redacted key]",
            ),
            ("task-list-of-the-project-and-more", "task-list-of-the-project-and-more"),
            ("let token = next_token(input);", "let token = next_token(input);"),
            ("-----BEGIN PRIVATE KEY----- is a header", "-----BEGIN PRIVATE KEY----- is a header"),
            ("http://localhost:8000/a@b", "http://localhost:8000/a@b"),
        ] {
            assert_eq!(redactor.text(text), expected, "{text:?}");
            let json = serde_json::json!({"a": [text, 1.50, {"b": text}]}).to_string();
            let redacted: serde_json::Value = serde_json::from_str(&redactor.json(&json)).unwrap();
            assert_eq!(redacted, serde_json::json!({"a": [expected, 1.50, {"b": expected}]}));
        }
        let pem = format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\nafter",
            "MIIE".repeat(20)
        );
        assert_eq!(redactor.text(&pem), "[redacted key]\nafter");
    }

    #[test]
    fn json_without_keys_stays_byte_for_byte() {
        let json = r#"{"a":"\ud83d half","b":"\u0041\/","c":[1.0,2e5,"\"\\"],"d":"#.to_string()
            + r#"{"signature":"EqQBCkYIBxgCKkDAkd0a+/=="}}"#;
        assert_eq!(Redactor::default().json(&json), json);
    }
}
