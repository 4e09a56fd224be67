//! Keys, replaced before anything is written.
use regex::Regex;
use std::{borrow::Cow, sync::OnceLock};

/// What stands in the place of a key.
pub const REDACTED: &str = "[redacted key]";

/// The same between what the two groups of a pattern hold, which may have none.
const AROUND: &str = "${1}[redacted key]${2}";

/// Shorter ones may be words that stand everywhere.
const MIN_KEY_BYTES: usize = 8;

/// What looks like a key.
struct Shape {
    /// One of these stands in every text that the pattern matches. They are looked for first, so
    /// that no start of a program waits for patterns to be compiled that it hardly needs.
    marks: &'static [&'static str],
    /// Of its groups the first one stands before the key, and the second one after it.
    pattern: &'static str,
    /// The pattern, once a mark was found.
    regex: OnceLock<Regex>,
}

/// Keys of well-known services, by how they begin and how long they are; JSON web tokens; private
/// keys; passwords in URLs; bearer tokens. What may be a part of a program's source
/// (`password = ...`) is not among them.
static SHAPES: [Shape; 25] = [
    shape(&["sk-"], r"\bsk-[A-Za-z0-9_-]{20,}"),
    shape(&["k_live_", "k_test_"], r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    shape(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    shape(&["github_pat_"], r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
    shape(&["glpat-"], r"\bglpat-[A-Za-z0-9_-]{16,}"),
    shape(&["xox"], r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    shape(&["xapp-"], r"\bxapp-[A-Za-z0-9-]{20,}"),
    shape(&["AKIA", "ASIA"], r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    shape(&["AIza"], r"\bAIza[A-Za-z0-9_-]{35}\b"),
    shape(&["ya29."], r"\bya29\.[A-Za-z0-9_-]{20,}"),
    shape(&["whsec_"], r"\bwhsec_[A-Za-z0-9+/=]{16,}"),
    shape(&["npm_"], r"\bnpm_[A-Za-z0-9]{36}"),
    shape(&["pypi-"], r"\bpypi-[A-Za-z0-9_-]{32,}"),
    shape(&["hf_"], r"\bhf_[A-Za-z0-9]{30,}"),
    shape(&["gsk_"], r"\bgsk_[A-Za-z0-9]{30,}"),
    shape(&["xai-"], r"\bxai-[A-Za-z0-9]{30,}"),
    shape(&["dop_v1_"], r"\bdop_v1_[a-f0-9]{32,}"),
    shape(&["dckr_pat_"], r"\bdckr_pat_[A-Za-z0-9_-]{20,}"),
    shape(&["shpat_"], r"\bshpat_[a-fA-F0-9]{16,}"),
    shape(&["SG."], r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    shape(&["AGE-SECRET-KEY-1"], r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}"),
    shape(&["eyJ"], r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    shape(
        &["-----BEGIN "],
        concat!(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
            r"(?:[A-Za-z0-9+/=:,.\t\n\r ]|-[A-Za-z0-9]){40,}",
            r"(?:-----END [A-Z ]*PRIVATE KEY-----)?"
        ),
    ),
    shape(&["://"], r"(://[^\t\n\r /:@'\x22]+:)[^\t\n\r /@'\x22]+(@)"),
    shape(&["earer"], r"(\b[Bb]earer[\t\n\r ]+)[A-Za-z0-9._~+/=-]{20,}()"),
];

const fn shape(marks: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { marks, pattern, regex: OnceLock::new() }
}

impl Shape {
    fn replace<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.marks.iter().any(|mark| text.contains(mark)) {
            return text.into();
        }
        let regex = self.regex.get_or_init(|| {
            // Words are ASCII: tables for Unicode would take milliseconds.
            let pattern = self.pattern.replace(r"\b", r"(?-u:\b)");
            Regex::new(&pattern).expect("the pattern is a constant")
        });
        regex.replace_all(text, AROUND)
    }
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
        for shape in &SHAPES {
            if let Cow::Owned(replaced) = shape.replace(&text) {
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
    fn every_shape_is_replaced() {
        let rest = "0123456789abcdef".repeat(3);
        let starts = [
            "sk-",
            "sk_live_",
            "rk_test_",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "xoxb-",
            "xapp-",
            "ya29.",
            "whsec_",
            "pypi-",
            "hf_",
            "gsk_",
            "xai-",
            "dop_v1_",
            "dckr_pat_",
            "shpat_",
        ];
        let mut keys: Vec<String> = starts.iter().map(|start| format!("{start}{rest}")).collect();
        keys.extend(["AKIA0123456789ABCDEF".into(), "ASIA0123456789ABCDEF".into()]);
        keys.extend([format!("AIza{}", &rest[..35]), format!("npm_{}", &rest[..36])]);
        keys.push(format!("SG.{rest}.{rest}"));
        keys.push(format!("AGE-SECRET-KEY-1{}", rest.to_uppercase()));
        keys.push(format!("eyJ{rest}.eyJ{rest}.{rest}"));
        keys.push(format!("-----BEGIN PRIVATE KEY-----\n{rest}\n-----END PRIVATE KEY-----"));
        for key in keys {
            let text = format!("a={key}; b");
            assert_eq!(Redactor::default().text(&text), "a=[redacted key]; b", "{key}");
        }
        for (text, expected) in [
            (format!("Bearer {rest}"), "Bearer [redacted key]"),
            ("a://b:c@d".into(), "a://b:[redacted key]@d"),
        ] {
            assert_eq!(Redactor::default().text(&text), expected);
        }
        let untested = SHAPES.iter().filter(|shape| shape.regex.get().is_none());
        assert_eq!(untested.map(|shape| shape.pattern).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn json_without_keys_stays_byte_for_byte() {
        let json = r#"{"a":"\ud83d half","b":"\u0041\/","c":[1.0,2e5,"\"\\"],"d":"#.to_string()
            + r#"{"signature":"EqQBCkYIBxgCKkDAkd0a+/=="}}"#;
        assert_eq!(Redactor::default().json(&json), json);
    }
}
