//! Text that arrives in pieces: a key may be spread over several of them.
use rungs_sessions::Redactor;
use std::borrow::Cow;

/// Pieces of one text, in the order in which they arrived.
#[derive(Debug, Default)]
pub struct Pieces {
    /// What kind of text it is.
    pub kind: &'static str,
    texts: Vec<String>,
}

impl Pieces {
    /// Adds a piece. A piece of another kind begins another text, and gives back the one so far.
    pub fn add(&mut self, kind: &'static str, text: &str) -> Option<Pieces> {
        let before = (self.kind != kind).then(|| self.take()).flatten();
        self.kind = kind;
        self.texts.push(text.into());
        before
    }

    /// All pieces so far, if there are some.
    pub fn take(&mut self) -> Option<Pieces> {
        (!self.texts.is_empty()).then(|| std::mem::take(self))
    }

    /// Its texts.
    pub fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

/// The texts as they are, or one without keys.
pub(crate) fn redacted(redactor: &Redactor, texts: Vec<String>) -> Vec<String> {
    let whole = texts.concat();
    match without_keys(redactor, &whole) {
        Some(redacted) => vec![redacted],
        None => texts,
    }
}

/// The text without keys, if it has some. It may be the text of JSON, which writes some characters
/// of a key in another way.
pub(crate) fn without_keys(redactor: &Redactor, text: &str) -> Option<String> {
    let plain = redactor.text(text);
    let json = redactor.json(&plain);
    (json != text).then_some(json)
}

/// What a terminal shows without keys, of which one may be wrapped. Then the rows become one, which
/// is rare and cannot be mistaken.
pub(crate) fn redacted_rows(redactor: &Redactor, text: &str) -> String {
    let text = redactor.text(text);
    let one_row = one_row(&text);
    match redactor.text(&one_row) {
        Cow::Owned(redacted) => redacted + "\n",
        Cow::Borrowed(_) => text.into_owned(),
    }
}

/// Without line ends, the blanks after them, and colours.
fn one_row(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_string();
    let rest = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
    let plain = rest.fold(first, |plain, part| plain + part);
    plain.split('\n').map(str::trim_start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-ant-api03-AAAABBBBCCCCDDDD";

    #[test]
    fn a_key_in_pieces_is_found() {
        let redactor = Redactor::new(["my \"key\"".to_string()]);
        let of =
            |texts: &[&str]| redacted(&redactor, texts.iter().map(|t| t.to_string()).collect());
        assert_eq!(
            of(&["it is sk-ant-api03-AAA", "ABBBBCCCCDDDD", "!"]),
            ["it is [redacted key]!"]
        );
        assert_eq!(of(&["{\"a\": \"my \\\"", "key\\\"\"}"]), ["{\"a\": \"[redacted key]\"}"]);
        assert_eq!(of(&["no ", "key"]), ["no ", "key"]);
    }

    #[test]
    fn a_key_in_rows_is_found() {
        let redactor = Redactor::new(["own-key-of-mine".to_string()]);
        let rows = "\x1b[2m> echo own-key-\x1b[0m\n  \x1b[2mof-mine\x1b[0m\n";
        assert_eq!(redacted_rows(&redactor, rows), "> echo [redacted key]\n");
        let rows = format!("{KEY}\n  of a\n");
        assert_eq!(redacted_rows(&redactor, &rows), "[redacted key]\n  of a\n");
        assert_eq!(redacted_rows(&redactor, "a\n  b\n"), "a\n  b\n");
    }

    #[test]
    fn pieces_of_another_kind_begin_another_text() {
        let mut pieces = Pieces::default();
        assert!(pieces.add("thinking", "a").is_none());
        assert!(pieces.add("thinking", "b").is_none());
        let before = pieces.add("text", "c").unwrap();
        assert_eq!((before.kind, before.into_texts()), ("thinking", vec!["a".into(), "b".into()]));
        assert_eq!(pieces.take().unwrap().into_texts(), ["c"]);
        assert!(pieces.take().is_none());
    }
}
