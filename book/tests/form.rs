//! Every chapter has all its parts, in their order.
use super::{assert_none, below, lessons, pages, read, repository};
use crate::directives::words;
use std::collections::BTreeSet;

/// The parts of a chapter.
const PARTS: [&str; 9] = [
    "The problem",
    "The idea",
    "The mechanism",
    "A run",
    "What can go wrong",
    "What products do",
    "Questions",
    "Exercises",
    "Further reading",
];

/// The parts of the notes for instructors.
const NOTES: [&str; 5] =
    ["Minutes", "What students get wrong", "Live demo", "Answers", "Exercises"];

/// A chapter's words, without code.
const WORDS: std::ops::RangeInclusive<usize> = 1_000..=2_600;

/// Words that a page of plain technical English does without.
const NOT_PLAIN: [&str; 7] =
    ["simply", "powerful", "magic", "seamless", "leverage", "delve", "blazing"];

/// The headings of the second level.
fn parts(text: &str) -> Vec<&str> {
    prose(text).into_iter().filter_map(|line| line.strip_prefix("## ")).map(str::trim).collect()
}

/// The lines of a page outside of its blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = vec![];
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    lines
}

/// The text of a part.
fn part<'a>(text: &'a str, name: &str) -> &'a str {
    let begin = format!("\n## {name}\n");
    let rest = text.split_once(&begin).map_or("", |(_, rest)| rest);
    rest.split("\n## ").next().unwrap_or_default()
}

/// How many items of a numbered list there are, if their numbers are right.
fn numbered(text: &str) -> Option<usize> {
    let mut count = 0;
    for line in prose(text) {
        let Some((number, _)) = line.split_once(". ") else { continue };
        if let Ok(number) = number.parse::<usize>() {
            if number != count + 1 {
                return None;
            }
            count = number;
        }
    }
    Some(count)
}

fn chapter_faults(lesson: &str, text: &str) -> Vec<String> {
    let mut wrong = vec![];
    let mut fault = |what: String| wrong.push(format!("book/src/{lesson}.md: {what}"));
    let number = lesson.split('_').next().unwrap_or(lesson);
    let title = text.lines().next().unwrap_or_default();
    if !title.starts_with(&format!("# {number}: ")) {
        fault(format!("does not begin with `# {number}: `"));
    }
    let about = text.split("\n\n").nth(1).unwrap_or_default().replace('\n', " ");
    let file = format!("[`examples/{lesson}.rs`](../../examples/{lesson}.rs), ");
    if !about.starts_with("*Reading: ") || !about.contains(&file) || !about.contains("Builds on ") {
        fault(
            "has no line `*Reading: N minutes. Lesson: [..](..), M minutes. Builds on ..*`".into(),
        );
    }
    if parts(text) != PARTS {
        fault(format!("has the parts {:?}, not {PARTS:?}", parts(text)));
    }
    if let words = words(text)
        && !WORDS.contains(&words)
    {
        fault(format!("has {words} words, not {WORDS:?}"));
    }
    for (name, directive) in [
        ("The idea", "{{#diagram "),
        ("The mechanism", "{{#item "),
        ("A run", &format!("{{{{#transcript {lesson}}}}}")),
        ("Exercises", &format!("{{{{#exercises {number}}}}}")),
    ] {
        if !part(text, name).lines().any(|line| line.starts_with(directive)) {
            fault(format!("`{name}` has no {directive}"));
        }
    }
    let links = |name| part(text, name).matches("](http").count();
    for name in ["What can go wrong", "What products do"] {
        if links(name) == 0 {
            fault(format!("`{name}` has no source"));
        }
    }
    if links("Further reading") < 3 {
        fault("`Further reading` has fewer than three links".into());
    }
    match numbered(part(text, "Questions")) {
        Some(5..=8) => {}
        questions => fault(format!("has {questions:?} questions, not 5 to 8")),
    }
    wrong
}

fn notes_faults(lesson: &str, chapter: &str, notes: &str) -> Vec<String> {
    let mut wrong = vec![];
    let mut fault = |what: String| wrong.push(format!("book/src/instructors/{lesson}.md: {what}"));
    let number = lesson.split('_').next().unwrap_or(lesson);
    if notes.lines().next() != Some(&format!("# {number} for instructors")) {
        fault(format!("does not begin with `# {number} for instructors`"));
    }
    let parts = parts(notes);
    if parts != NOTES {
        fault(format!("has the parts {parts:?}, not {:?}", NOTES));
    }
    let (questions, answers) =
        (numbered(part(chapter, "Questions")), numbered(part(notes, "Answers")));
    if answers.is_none() || questions != answers {
        fault(format!("has {answers:?} answers to {questions:?} questions"));
    }
    if !part(notes, "Minutes").contains("|---|") {
        fault("`Minutes` has no table".into());
    }
    if !part(notes, "Live demo").contains("```sh\n") {
        fault("`Live demo` has no block of commands".into());
    }
    wrong
}

/// The lessons that have a chapter or notes.
fn written() -> BTreeSet<String> {
    let names = below(&repository().join("book/src"), ".md");
    let names = names.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_string());
    names.filter(|name| lessons().contains(name)).collect()
}

#[test]
fn every_chapter_has_all_its_parts_and_notes_with_an_answer_to_each_question() {
    let mut wrong = vec![];
    for lesson in written() {
        let text =
            |file: String| std::fs::read_to_string(repository().join(file)).unwrap_or_default();
        let chapter = text(format!("book/src/{lesson}.md"));
        let notes = text(format!("book/src/instructors/{lesson}.md"));
        wrong.extend(chapter_faults(&lesson, &chapter));
        wrong.extend(notes_faults(&lesson, &chapter, &notes));
    }
    assert_none(&wrong);
}

#[test]
fn a_part_that_is_missing_is_found() {
    let chapter = read("book/src/s01_loop.md");
    let notes = read("book/src/instructors/s01_loop.md");
    assert_none(&chapter_faults("s01_loop", &chapter));
    assert_none(&notes_faults("s01_loop", &chapter, &notes));
    for part in PARTS {
        let without = chapter.replace(&format!("## {part}\n"), "");
        assert!(!chapter_faults("s01_loop", &without).is_empty(), "{part}");
    }
    for directive in
        ["{{#diagram", "{{#item", "{{#transcript", "{{#exercises", "# s01: ", "*Reading: "]
    {
        let without = chapter.replace(directive, "");
        assert!(!chapter_faults("s01_loop", &without).is_empty(), "{directive}");
    }
    let six = chapter.replace("\n7. Set", "\nSet");
    assert_eq!(notes_faults("s01_loop", &six, &notes).len(), 1);
    assert_eq!(notes_faults("s01_loop", &chapter, &notes.replace("```sh", "```text")).len(), 1);
}

#[test]
fn the_summary_has_every_page_and_every_lesson() {
    let summary = read("book/src/SUMMARY.md");
    let mut wrong = vec![];
    let mut expected: BTreeSet<String> =
        pages().into_iter().map(|(page, _)| page.replace("book/src/", "")).collect();
    for lesson in lessons() {
        expected.insert(format!("{lesson}.md"));
        expected.insert(format!("instructors/{lesson}.md"));
    }
    expected.remove("SUMMARY.md");
    for page in expected {
        if summary.matches(&format!("]({page})")).count() != 1 {
            wrong.push(format!("SUMMARY.md does not name {page} once"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn drawings_are_readable_in_light_in_dark_and_on_paper() {
    let mut wrong = vec![];
    for file in below(&repository().join("book/src/diagrams"), ".svg") {
        let svg = read(&file);
        let mut fault = |what: &str| wrong.push(format!("{}: {what}", file.display()));
        if !svg.contains("currentColor") {
            fault("has no currentColor");
        }
        if svg.split('"').any(is_color) {
            fault("has a colour of its own, which may not be seen on another background");
        }
        for bad in ["<script", "@import", "<style", "<image", "foreignObject", "<a "] {
            if svg.contains(bad) {
                fault(&format!("has {bad}"));
            }
        }
        let sizes = svg.split("font-size=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let sizes: Vec<&str> = sizes.collect();
        let is_small = |size: &&str| !size.parse::<f32>().is_ok_and(|size| size >= 14.0);
        if sizes.is_empty() || sizes.iter().any(is_small) {
            fault(&format!("has text below 14 px: {sizes:?}"));
        }
        let xmlns = svg.matches("http://www.w3.org/").count();
        if svg.matches("://").count() != xmlns {
            fault("has a link");
        }
    }
    assert_none(&wrong);
}

fn is_color(value: &str) -> bool {
    let digits = value.strip_prefix('#').unwrap_or_default();
    [3, 6].contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit())
}

#[test]
fn pages_are_written_in_plain_english() {
    let mut wrong = vec![];
    for (page, text) in pages() {
        let mut number = 0;
        let mut is_code = false;
        for line in text.lines() {
            number += 1;
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            if is_code || line.starts_with("{{#") {
                continue;
            }
            let lower = line.to_lowercase();
            let mut words = lower.split(|c: char| !c.is_alphanumeric());
            if let Some(word) = words.find(|word| NOT_PLAIN.contains(word)) {
                wrong.push(format!("{page}:{number}: `{word}`"));
            }
            if line.contains("! ") && !line.contains('`') || line.ends_with('!') {
                wrong.push(format!("{page}:{number}: an exclamation mark"));
            }
            if line.contains('—') {
                wrong.push(format!("{page}:{number}: a dash where a clause of its own would do"));
            }
        }
    }
    assert_none(&wrong);
}

/// What stands between two asterisks on each side in the paragraph `Terms:` of a lesson's head.
fn terms(lesson: &str) -> Vec<String> {
    let source = read(format!("examples/{lesson}.rs"));
    let head = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let terms = head.skip_while(|line| !line.starts_with("Terms: "));
    let terms: Vec<&str> = terms.take_while(|line| !line.is_empty()).collect();
    terms.join(" ").split("**").skip(1).step_by(2).map(String::from).collect()
}

#[test]
fn the_glossary_has_every_term_of_every_lesson_with_a_link_to_it() {
    let glossary = read("book/src/glossary.md");
    let mut wrong = vec![];
    for lesson in lessons() {
        let terms = terms(&lesson);
        assert!(terms.len() > 1, "{lesson} has the terms {terms:?}");
        for term in terms {
            let begin = format!("- **{term}** (");
            let line = glossary.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
            if !line.contains(&format!("]({lesson}.md)")) {
                wrong.push(format!("the glossary has no {begin}[..]({lesson}.md)"));
            }
        }
    }
    assert_none(&wrong);
}
