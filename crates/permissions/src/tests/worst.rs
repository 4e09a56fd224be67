//! Texts made to break a parser: an answer in bounded time, no stack overflow, never "allow".
use super::{decide_in, policy};
use crate::{Mode, Ruling};
use std::time::Instant;

const MEGABYTE: usize = 1 << 20;

/// The text repeated to the size of a megabyte, or a part of it when the test is short.
fn large(text: &str) -> String {
    let size = if std::env::var_os("LONG").is_some() { MEGABYTE } else { MEGABYTE / 500 };
    text.repeat(size / text.len())
}

#[test]
fn large_and_deep_texts_are_asked() {
    let policy = policy();
    let folder = tempfile::tempdir().unwrap();
    let ruling = |text: &str| decide_in(&policy, text, folder.path(), Mode::Default).ruling;
    for part in [
        "x",
        "ls;make;",
        "echo $(",
        "(",
        "{ ",
        "\"$(",
        "`",
        "if ls; then ",
        "${x:-",
        "[[ ",
        "$((",
        "<<A ",
        "f(){ ",
        "\"",
        "'",
        "ls|",
        "a\\\n",
        "a ",
        "bash -c '",
        "env ",
        "eval ",
        "sudo",
        "{a,b}",
        "*",
        "* ",
        "{,",
        "> a ",
        "a=$a$a ",
        "a=b;",
        "find -exec ",
        "cd a;",
        "& ",
        "rm -rf a;",
        "\\",
        "$'",
        "case x in ",
        "a[",
        "!",
        "for a in b; do ",
        "<(",
        "é",
        "\0",
        "env -S 'a' ",
        "$",
        "xargs -I a ",
        "a=$a;",
        "watch ls;",
        "{a..z}",
        "ls $x;",
        "cat [",
        "timeout 1 ",
    ] {
        let text = large(part);
        let begun = Instant::now();
        let is = ruling(&text);
        println!("{:6} {:?}: {:?}", begun.elapsed().as_millis(), part, is);
        assert_ne!(is, Ruling::Allow, "{part:?}");
    }
    // Depth hides nothing from the rules that deny.
    for (open, close) in [("echo $(", ")"), ("( ", ")"), ("{ ", ";}"), ("if ls; then ", ";fi")] {
        let times = large(open).len() / open.len();
        let text = format!("{} sudo ls {}", open.repeat(times), close.repeat(times));
        let begun = Instant::now();
        assert_eq!(ruling(&text), Ruling::Deny, "{open:?}");
        println!("{:6} {:?} closed", begun.elapsed().as_millis(), open);
    }
    assert_eq!(ruling(&format!("{}sudo ls", large("ls;"))), Ruling::Deny);
    assert_eq!(ruling(&format!("cat > x <<'E'\n{}\nE", large("sudo ls\n"))), Ruling::Ask);
}
