//! Tables of commands, one a line; `\n`, `\t`, `\r`, `\0` and `\u{..}` stand for what they do in
//! Rust where a line begins with `%`.
use super::{decide_in, policy};
use crate::{Mode, Ruling};

fn commands(table: &str) -> Vec<String> {
    let unescape = |line: &str| {
        let mut text = String::new();
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            let (name, more) = after.split_once('%').expect("a name between two %");
            text.push(match name {
                "n" => '\n',
                "t" => '\t',
                "r" => '\r',
                "0" => '\0',
                hex => char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap(),
            });
            rest = more;
        }
        text + rest
    };
    let lines = table.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.strip_prefix("% ").map_or_else(|| line.to_string(), unescape)).collect()
}

/// The lines of a table that are ruled otherwise.
fn wrong(table: &str, is_right: impl Fn(Ruling) -> bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let policy = policy();
    let rulings = commands(table).into_iter().map(|command| {
        let decision = decide_in(&policy, &command, folder.path(), Mode::Default);
        (command, decision)
    });
    let wrong = rulings.filter(|(_, decision)| !is_right(decision.ruling));
    wrong.map(|(command, is)| format!("{}: {command:?} ({})", is.ruling, is.why)).collect()
}

#[test]
fn no_attack_is_allowed() {
    assert_eq!(wrong(include_str!("attacks.txt"), |is| is != Ruling::Allow), [""; 0]);
}

#[test]
fn what_nobody_means_is_denied() {
    assert_eq!(wrong(include_str!("denied.txt"), |is| is == Ruling::Deny), [""; 0]);
}

#[test]
fn reading_is_allowed() {
    assert_eq!(wrong(include_str!("reading.txt"), |is| is == Ruling::Allow), [""; 0]);
}

#[test]
fn ordinary_work_is_not_denied() {
    assert_eq!(wrong(include_str!("ordinary.txt"), |is| is == Ruling::Ask), [""; 0]);
}
