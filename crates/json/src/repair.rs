//! Bytes that were meant as JSON, made such that every parser reads them.
use serde_json::{Value, json};
use std::borrow::Cow;

/// How deep a text may be nested. Parsers stop at 128, and what is read here is sent again within a
/// few more levels.
const MAX_DEPTH: usize = 96;

/// The text of these bytes. What servers and models get wrong within JSON is mended where only one
/// thing can be meant: half a surrogate pair and invalid UTF-8 become U+FFFD, a control character
/// in a string becomes its escape, a backslash that begins no escape stands for itself, `NaN` is
/// null, a byte order mark and control characters between values are left out. What no parser would
/// hold (a number out of range, too deep a nesting) becomes a string of its text. All else stays
/// byte for byte.
pub fn well_formed(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut out = String::with_capacity(rest.len());
    let mut depth = 0;
    while let Some(c) = rest.chars().next() {
        let is_too_deep = matches!(c, '{' | '[') && depth == MAX_DEPTH;
        let length = match c {
            '"' => string_length(rest),
            _ if is_too_deep => value_length(rest),
            _ if is_in_word(c) => rest.find(|c| !is_in_word(c)).unwrap_or(rest.len()),
            _ => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match c {
            '"' => push_string(token, &mut out),
            _ if is_too_deep || is_out_of_range(token) => out.push_str(&json!(token).to_string()),
            _ if matches!(token, "NaN" | "Infinity" | "-Infinity") => out.push_str("null"),
            _ if c.is_ascii_control() && !c.is_ascii_whitespace() => {}
            _ => out.push_str(token),
        }
        match c {
            '{' | '[' if !is_too_deep => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    out
}

/// The arguments of a call from the text that the model wrote: without text none, and one object
/// where the text was encoded twice. What cannot be read stays text.
pub fn arguments(text: &str) -> Value {
    let parse = |text: &str| serde_json::from_str(&well_formed(text.as_bytes()));
    match parse(text) {
        Ok(Value::String(inner)) => match parse(&inner) {
            Ok(object @ Value::Object(_)) => object,
            _ => inner.into(),
        },
        Ok(Value::Null) => json!({}),
        Ok(value) => value,
        Err(_) if text.trim().is_empty() => json!({}),
        Err(_) => text.into(),
    }
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

fn is_out_of_range(token: &str) -> bool {
    let is_number = token.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    is_number && token.parse::<f64>().is_ok_and(f64::is_infinite) && !token.ends_with("nity")
}

/// The length of the string that the text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = true; // Passes over the first quote.
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The length of the array or object that the text begins with.
fn value_length(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        at += if c == '"' { string_length(&text[at..]) } else { c.len_utf8() };
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn push_string(mut rest: &str, out: &mut String) {
    while let Some(at) = rest.find(|c: char| c == '\\' || c < ' ') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let escaped = rest[1..].chars().next();
        let length = match escape_unit(rest) {
            _ if !rest.starts_with('\\') => {
                out.push_str(&format!("\\u{:04x}", rest.as_bytes()[0]));
                rest = &rest[1..];
                continue;
            }
            Some(0xd800..=0xdbff) if matches!(escape_unit(&rest[6..]), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            Some(_) => 6,
            None if escaped.is_some_and(|c| "\"\\/bfnrt".contains(c)) => 2,
            None => {
                out.push('\\');
                1
            }
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
}

/// The UTF-16 unit of the escape `\uXXXX` that the text begins with.
fn escape_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// The arguments of a call as APIs want them, an object: what was no JSON is put into one.
pub fn as_object(input: &Value) -> Cow<'_, Value> {
    match input {
        Value::Object(_) => Cow::Borrowed(input),
        broken => Cow::Owned(json!({ "malformed": broken })),
    }
}

/// A value where text is expected.
pub fn as_text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sound_stays_byte_for_byte() {
        for sound in [
            r#" {"a" : [1, -2.50e+3, true, null, "ä€😀 \" \\ \/ \b\f\n\r\t \u0000 \ud83d\ude00"]} "#,
            r#""\\ud83d""#,
            "",
            "[]",
            "1e308",
        ] {
            assert_eq!(well_formed(sound.as_bytes()), sound);
        }
    }

    #[test]
    fn what_can_mean_one_thing_only_is_mended() {
        for (broken, mended) in [
            (&br#""smile \ud83d""#[..], r#""smile \ufffd""#),
            (br#""\uDE00\ud83d\ud83d\ude00""#, r#""\ufffd\ufffd\ud83d\ude00""#),
            (br#""\ud83d\n\ud83""#, r#""\ufffd\n\\ud83""#),
            (b"\"a\xff\xfeb\"", "\"a\u{fffd}\u{fffd}b\""),
            (b"\"a\nb\0\"", "\"a\\u000ab\\u0000\""),
            (br#""\d+ \u+12f \'""#, r#""\\d+ \\u+12f \\'""#),
            (b"\xef\xbb\xbf{}\0", "{}"),
            (b"[NaN, -Infinity, Infinity]", "[null, null, null]"),
            (b"[1e999, -1e999, 12]", r#"["1e999", "-1e999", 12]"#),
        ] {
            assert_eq!(well_formed(broken), mended);
        }
    }

    #[test]
    fn what_is_nested_too_deep_becomes_text() {
        for depth in [MAX_DEPTH, MAX_DEPTH + 1, 1000, 100_000] {
            let deep = format!("{}\"]\"{}", "[".repeat(depth), "]".repeat(depth));
            let text = well_formed(deep.as_bytes());
            let mut value: Value = serde_json::from_str(&text).unwrap();
            for _ in 0..MAX_DEPTH {
                value = value[0].take();
            }
            let rest = depth - MAX_DEPTH;
            let inner = format!("{}\"]\"{}", "[".repeat(rest), "]".repeat(rest));
            assert_eq!(value, if rest == 0 { "]" } else { &inner });
        }
    }

    #[test]
    fn nothing_makes_it_panic() {
        let seed: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let parts = ["\"", "\\", "\\u", "d83d", "{", "[", "]", "}", "ä", "\n", "1e999", "-", ":"];
        for _ in 0..20_000 {
            let parts = (0..random.usize(..12)).map(|_| parts[random.usize(..parts.len())]);
            let text: String = parts.collect();
            let once = well_formed(text.as_bytes());
            assert_eq!(well_formed(once.as_bytes()), once, "{text:?}");
        }
    }

    #[test]
    fn arguments_are_read_as_they_were_meant() {
        for (text, value) in [
            (r#"{"a": 1}"#, json!({"a": 1})),
            ("", json!({})),
            (" \n", json!({})),
            ("null", json!({})),
            (r#""{\"a\": \"\\ud83d\"}""#, json!({"a": "\u{fffd}"})),
            (r#"{"a": 1, "a": 2}"#, json!({"a": 2})),
            (r#"{"a": 1"#, json!("{\"a\": 1")),
            (r#"{"a": 1}{"a": 2}"#, json!(r#"{"a": 1}{"a": 2}"#)),
            (r#""word""#, json!("word")),
            ("[1]", json!([1])),
        ] {
            assert_eq!(arguments(text), value, "{text}");
        }
    }
}
