//! What has changed, as a unified diff.
use crate::{
    encoding::{Encoding, SAMPLE_BYTES},
    notebook,
};
use similar::TextDiff;
use std::{borrow::Cow, time::Duration};

/// How many lines are shown around a change.
const CONTEXT_LINES: usize = 3;
/// How large a text may be to be compared line by line, in bytes.
const MAX_BYTES: usize = 2_000_000;
/// After this time a diff need not be the shortest one any more.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The change from one content of a file to another, none standing for no file, in the form of
/// `diff -u`. Of notebooks it compares what [`read`](crate::read) shows, of binary and of large
/// files it says only that they differ. Empty when nothing has changed.
pub fn unified_diff(name: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    if old == new {
        return String::new();
    }
    let side = |content: Option<&[u8]>| content.map_or("/dev/null", |_| name).to_owned();
    let header = format!("--- {}\n+++ {}\n", side(old), side(new));
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let sizes = || format!("{} bytes, then {} bytes", old.len(), new.len());
    if old.len().max(new.len()) > MAX_BYTES {
        return format!("{header}[too large to be compared here: {}]\n", sizes());
    }
    let is_text = |content: &[u8]| {
        Encoding::of(&content[..content.len().min(SAMPLE_BYTES)]) == Encoding::Text
    };
    if !is_text(old) || !is_text(new) {
        return format!("{header}[binary: {}]\n", sizes());
    }
    let (old, new) = (shown(name, old), shown(name, new));
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_lines(&*old, &*new);
    let hunks = diff.unified_diff().context_radius(CONTEXT_LINES).to_string();
    match (old == new, old.is_empty() && new.is_empty()) {
        (_, true) => header,
        (true, _) => format!("{header}[what `read` shows is the same]\n"),
        _ => header + &hunks,
    }
}

fn shown<'a>(name: &str, content: &'a [u8]) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(content);
    if notebook::is_notebook(name)
        && let Ok(shown) = notebook::show(&text)
    {
        return shown.text.into();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(name: &str, old: Option<&str>, new: Option<&str>) -> String {
        unified_diff(name, old.map(str::as_bytes), new.map(str::as_bytes))
    }

    #[test]
    fn a_change_is_shown_as_by_diff() {
        assert_eq!(
            diff("f", Some("1\n2\n3\n4\n5\n"), Some("1\n2\n3\n4\nfive")),
            "--- f\n+++ f\n@@ -2,4 +2,4 @@\n 2\n 3\n 4\n-5\n+five\n\\ No newline at end of file\n"
        );
        assert_eq!(diff("f", None, Some("x\n")), "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+x\n");
        assert_eq!(diff("f", Some("x\n"), None), "--- f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n");
        assert_eq!(diff("f", Some("x\n"), Some("x\n")), "");
        assert_eq!(diff("f", None, Some("")), "--- /dev/null\n+++ f\n");
        assert!(diff("f", Some("a\r\n"), Some("a\n")).contains("\n-a\r\n+a\n"));
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        assert_eq!(
            unified_diff("f", Some(b"\0\x01\x02"), Some(b"a")),
            "--- f\n+++ f\n[binary: 3 bytes, then 1 bytes]\n"
        );
        let large = "x".repeat(MAX_BYTES + 1);
        assert!(diff("f", None, Some(&large)).ends_with("bytes, then 2000001 bytes]\n"));
        let notebook = |count: u8| {
            let cell = format!(r#""cell_type": "code", "execution_count": {count}"#);
            format!(r#"{{"cells": [{{{cell}}}]}}"#)
        };
        assert_eq!(
            diff("n.ipynb", Some(&notebook(1)), Some(&notebook(2))),
            "--- n.ipynb\n+++ n.ipynb\n[what `read` shows is the same]\n"
        );
    }
}
