use crate::edit::clipped;
use similar::{ChangeTag, TextDiff};
use std::fmt;

/// How large a text is searched for something alike, and how much of a difference is shown.
const BYTES: usize = 2_000_000;
const OLD: usize = 20_000;
const SHOWN: usize = 40;

/// The place in a file that is most like a text that is not there.
#[derive(Debug, PartialEq)]
pub struct Nearest {
    /// Its first line, counted from 1.
    pub line: usize,
    /// What is different: `-` before lines that were looked for, `+` before those that are there.
    pub difference: String,
    /// What probably went wrong.
    hint: &'static str,
}

impl Nearest {
    pub(crate) fn find(text: &str, old: &str) -> Option<Nearest> {
        if text.len() > BYTES || old.len() > OLD {
            return None;
        }
        let (lines, wanted): (Vec<&str>, Vec<&str>) =
            (text.lines().collect(), old.lines().collect());
        let start = same_but_for_space(&lines, &wanted).or_else(|| alike(&lines, &wanted))?;
        let there = &lines[start..(start + wanted.len()).min(lines.len())];
        let spaces = there.len() == wanted.len()
            && there.iter().zip(&wanted).all(|(a, b)| a.trim() == b.trim());
        let hint = match wanted.iter().all(|line| is_numbered(line)) {
            true => "leave out the line numbers and the tab after them; ",
            false if spaces => "only white space differs; ",
            false => "",
        };
        let (wanted, there) = (wanted.join("\n") + "\n", there.join("\n") + "\n");
        let changes = TextDiff::from_lines(&wanted, &there);
        let shown = changes.iter_all_changes().take(SHOWN).map(|change| {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            format!("{sign}{}\n", clipped(change.value().trim_end_matches('\n')))
        });
        Some(Nearest { line: start + 1, difference: shown.collect(), hint })
    }
}

/// Where the lines are, but for white space at their ends and line numbers before them.
fn same_but_for_space(lines: &[&str], wanted: &[&str]) -> Option<usize> {
    let bare = |line: &str| without_number(line).trim().to_owned();
    let wanted: Vec<String> = wanted.iter().map(|line| bare(line)).collect();
    lines
        .windows(wanted.len().max(1))
        .position(|window| window.iter().zip(&wanted).all(|(a, b)| a.trim() == b))
}

/// Where lines like its most telling one are, and of these the place that is most alike as a whole.
fn alike(lines: &[&str], wanted: &[&str]) -> Option<usize> {
    let (at, telling) = wanted.iter().enumerate().max_by_key(|(_, line)| line.trim().len())?;
    let telling = without_number(telling).trim();
    let mut known: Vec<&str> =
        lines.iter().map(|line| line.trim()).filter(|line| line.len() < 500).collect();
    known.sort_unstable();
    known.dedup();
    let close = similar::get_close_matches(telling, &known, 3, 0.6);
    let places = lines.iter().enumerate().filter(|(_, line)| close.contains(&line.trim())).take(20);
    let scored = places.map(|(place, _)| {
        let start = place.saturating_sub(at);
        let there = lines[start..(start + wanted.len()).min(lines.len())].join("\n");
        let likeness = TextDiff::from_words(wanted.join("\n").as_str(), there.as_str()).ratio();
        (start, likeness)
    });
    // Of two that are equally alike, the first.
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(start, _)| start)
}

/// Whether it starts as a line of `read` does.
fn is_numbered(line: &str) -> bool {
    line.split_once('\t').is_some_and(|(number, _)| number.trim().parse::<usize>().is_ok())
}

fn without_number(line: &str) -> &str {
    match line.split_once('\t') {
        Some((_, rest)) if is_numbered(line) => rest,
        _ => line,
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}the nearest is at line {} (`-` what was looked for, `+` what is there):\n{}",
            self.hint, self.line, self.difference
        )
    }
}
