//! What is most like a text that is not there.
use crate::{
    look_alike::{self, Skeleton},
    text::truncate_line,
};
use similar::{ChangeTag, TextDiff};
use std::{fmt, time::Duration};

/// How large a text and how large an `old` are compared, in bytes: comparing is slow.
const MAX_TEXT_BYTES: usize = 2_000_000;
const MAX_OLD_BYTES: usize = 20_000;
/// How much of a difference is shown.
const MAX_DIFFERENCE_LINES: usize = 40;
/// Longer lines are not compared, in bytes.
const MAX_COMPARED_LINE_BYTES: usize = 500;
/// How many different lines may be similar, how similar they must be (1 is equal), and how many
/// places with such lines are compared as a whole.
const MAX_SIMILAR_LINES: usize = 3;
const MIN_SIMILARITY: f32 = 0.6;
const MAX_PLACES: usize = 20;
/// How long one comparison may take; after that it is a rough one.
const MAX_COMPARISON_TIME: Duration = Duration::from_millis(100);

/// The place in a file that is most like a text that is not there.
#[derive(Debug, PartialEq)]
pub struct NearestMatch {
    /// Its first line, counted from 1.
    pub line: usize,
    /// The difference: `-` before lines that were searched, `+` before lines that are there.
    pub difference: String,
    /// What probably went wrong.
    hint: String,
}

impl NearestMatch {
    pub(crate) fn find(text: &str, old: &str) -> Option<NearestMatch> {
        if text.len() > MAX_TEXT_BYTES || old.len() > MAX_OLD_BYTES {
            return None;
        }
        let lines: Vec<&str> = text.lines().collect();
        let wanted: Vec<&str> = old.lines().collect();
        let line_of = |at: usize| 1 + text[..at].matches('\n').count();
        let same_look = Skeleton::new(text).find(&Skeleton::new(old));
        let start = match (&same_look, find_ignoring_space(&lines, &wanted)) {
            (Some((at, _)), _) => line_of(*at) - 1,
            (None, Some(start)) => start,
            (None, None) => find_similar(&lines, &wanted)?,
        };
        let actual = &lines[start..(start + wanted.len()).min(lines.len())];
        let only_space_differs = actual.len() == wanted.len()
            && actual.iter().zip(&wanted).all(|(a, b)| a.trim() == b.trim());
        let mut hint = String::new();
        if wanted.iter().all(|line| is_numbered(line)) {
            hint.push_str("leave out the line numbers and the tab after them; ");
        } else if only_space_differs {
            hint.push_str("only white space differs; ");
        }
        if let Some((_, differences)) = same_look {
            let line = |at: usize| format!("line {} has", line_of(at));
            let named = look_alike::describe(&differences, line, "`old_string` has");
            hint.push_str(&format!("{named}; "));
        }
        Some(NearestMatch { line: start + 1, difference: difference(&wanted, actual), hint })
    }
}

fn difference(wanted: &[&str], actual: &[&str]) -> String {
    let (wanted, actual) = (wanted.join("\n") + "\n", actual.join("\n") + "\n");
    let diff = TextDiff::configure().timeout(MAX_COMPARISON_TIME).diff_lines(&wanted, &actual);
    let mut shown = String::new();
    for (number, change) in diff.iter_all_changes().enumerate() {
        if number == MAX_DIFFERENCE_LINES {
            shown.push_str("[the rest is not shown]\n");
            break;
        }
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        let line = truncate_line(change.value().trim_end_matches('\n'));
        shown.push_str(&format!("{sign}{line}\n"));
    }
    shown
}

/// Where the lines are, apart from white space at their ends and line numbers before them.
fn find_ignoring_space(lines: &[&str], wanted: &[&str]) -> Option<usize> {
    let wanted: Vec<&str> = wanted.iter().map(|line| without_number(line).trim()).collect();
    lines
        .windows(wanted.len().max(1))
        .position(|window| window.iter().zip(&wanted).all(|(a, b)| a.trim() == *b))
}

/// Looks for lines like the longest one that is wanted; of the places where such lines are, the one
/// that is most similar as a whole.
fn find_similar(lines: &[&str], wanted: &[&str]) -> Option<usize> {
    let (index, longest) = wanted.iter().enumerate().max_by_key(|(_, line)| line.trim().len())?;
    let longest = without_number(longest).trim();
    let mut candidates: Vec<&str> = lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.len() < MAX_COMPARED_LINE_BYTES)
        .collect();
    candidates.sort_unstable();
    candidates.dedup();
    let similar =
        similar::get_close_matches(longest, &candidates, MAX_SIMILAR_LINES, MIN_SIMILARITY);
    let wanted_text = wanted.join("\n");
    let mut best: Option<(usize, f32)> = None;
    let places = lines.iter().enumerate().filter(|(_, line)| similar.contains(&line.trim()));
    for (place, _) in places.take(MAX_PLACES) {
        let start = place.saturating_sub(index);
        let actual = lines[start..(start + wanted.len()).min(lines.len())].join("\n");
        let ratio = TextDiff::configure()
            .timeout(MAX_COMPARISON_TIME)
            .diff_words(wanted_text.as_str(), actual.as_str())
            .ratio();
        // Of two that are equally similar, the first.
        if best.is_none_or(|(_, best_ratio)| ratio > best_ratio) {
            best = Some((start, ratio));
        }
    }
    best.map(|(start, _)| start)
}

/// Whether a line begins as the lines that the tool `read` returns.
fn is_numbered(line: &str) -> bool {
    line.split_once('\t').is_some_and(|(number, _)| number.trim().parse::<usize>().is_ok())
}

fn without_number(line: &str) -> &str {
    match line.split_once('\t') {
        Some((_, rest)) if is_numbered(line) => rest,
        _ => line,
    }
}

impl fmt::Display for NearestMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}the nearest is at line {} (`-` what was looked for, `+` what is there):\n{}",
            self.hint, self.line, self.difference
        )
    }
}
