//! The course checks itself: what is written about the lessons is true, and every lesson plays.
mod common;

use common::program;
use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(file: impl AsRef<Path>) -> String {
    let file = Path::new(ROOT).join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The names of the lessons, in their order: every `examples/sNN_*.rs`.
fn lessons() -> Vec<String> {
    let files = std::fs::read_dir(Path::new(ROOT).join("examples")).unwrap();
    let names =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn only_lessons_lie_among_the_examples() {
    assert!(!lessons().is_empty());
    for lesson in lessons() {
        let number = lesson.strip_prefix('s').and_then(|rest| rest.get(..3)).unwrap_or("");
        let numbered = number.ends_with('_') && number[..2].parse::<u8>().is_ok();
        assert!(
            numbered || lesson == "full",
            "examples/{lesson}.rs is no lesson, yet cargo makes a program of it"
        );
    }
}

#[test]
fn every_lesson_is_in_the_table_of_contents_the_readme_and_the_rehearsals() {
    let (contents, readme) = (read("lessons.rs"), read("README.md"));
    for lesson in lessons() {
        assert!(contents.contains(&format!("pub mod {lesson};")), "lessons.rs lacks {lesson}");
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| [`{lesson}`](examples/{lesson}.rs) |")));
        let row = row.unwrap_or_else(|| panic!("the README's table lacks {lesson}"));
        let minutes = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        assert!(
            minutes.parse::<u32>().is_ok_and(|m| m > 0),
            "{lesson}: `{minutes}` are no minutes"
        );
        let script = Path::new(ROOT).join("config/rehearsals").join(&lesson).with_extension("yaml");
        let script = rehearsal::Script::load(script).unwrap();
        assert!(!script.suggest().is_empty(), "{lesson}'s rehearsal suggests nothing to type");
    }
}

#[test]
fn every_lesson_has_its_head() {
    for lesson in lessons() {
        let source = read(format!("examples/{lesson}.rs"));
        let head: String =
            source.lines().map_while(|l| l.strip_prefix("//!")).map(|l| format!("{l}\n")).collect();
        let title = lesson.split('_').next().unwrap();
        assert!(
            head.starts_with(&format!(" # {title}: ")),
            "{lesson} does not begin with its title"
        );
        for part in
            [&format!("`cargo run --example {lesson}`"), "You will see", "Try: ", "Builds on "]
        {
            assert!(head.contains(part), "the head of {lesson} lacks {part:?}");
        }
    }
}

#[test]
fn lessons_import_only_earlier_lessons() {
    let all = lessons();
    for (i, lesson) in all.iter().enumerate() {
        let source = read(format!("examples/{lesson}.rs"));
        for later in all[i..].iter().filter(|_| lesson != "full") {
            assert!(!source.contains(&format!("lessons::{later}")), "{lesson} imports {later}");
        }
    }
}

#[test]
fn code_shown_in_docs_is_the_code() {
    // A block after a line that ends with a file's name, as in "from `core/src/dispatch.rs`:", quotes it verbatim.
    let mut docs: Vec<String> = vec!["README.md".into(), "crates/rehearsal/README.md".into()];
    docs.extend(lessons().into_iter().map(|lesson| format!("examples/{lesson}.rs")));
    let mut quotes = 0;
    for doc in docs {
        let text = read(&doc);
        let bare =
            |line| str::strip_prefix(line, "//! ").or(line.strip_prefix("//!")).unwrap_or(line);
        let lines: Vec<&str> = text.lines().map(bare).collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("```")) {
            let before =
                lines[..i].iter().rev().find(|line| !line.is_empty()).copied().unwrap_or("");
            let file = before.strip_suffix("`:").and_then(|before| before.rsplit('`').next());
            let Some(file) =
                file.filter(|file| Path::new(ROOT).join(file).is_file() && line.len() > 3)
            else {
                continue;
            };
            let quote: Vec<&str> =
                lines[i + 1..].iter().take_while(|l| !l.starts_with("```")).copied().collect();
            assert!(
                !quote.is_empty() && read(file).contains(&quote.join("\n")),
                "{doc}:{}: not in {file}",
                i + 1
            );
            quotes += 1;
        }
    }
    assert!(quotes > 0);
}

#[test]
fn every_link_between_files_leads_somewhere() {
    for doc in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "crates/rehearsal/README.md"] {
        let text = read(doc);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file =
                Path::new(ROOT).join(doc).parent().unwrap().join(link.split('#').next().unwrap());
            assert!(
                link.contains("://") || link.starts_with('#') || file.exists(),
                "{doc}: {link}"
            );
        }
    }
}

fn plays(provider: &str) {
    for lesson in lessons() {
        let mut run = Command::new(program(&lesson));
        run.env("RUNGS_PROVIDER", provider)
            .env("RUNGS_ENV", "/dev/null")
            .env_remove("MAX_TOKENS")
            .stdin(Stdio::null());
        let done = run.output().unwrap_or_else(|e| panic!("{lesson}: {e}"));
        let (out, err) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.code(), Some(0), "{lesson} over {provider}:\n{out}\n{err}");
        let script = Path::new(ROOT).join("config/rehearsals").join(&lesson).with_extension("yaml");
        for suggestion in rehearsal::Script::load(script).unwrap().suggest() {
            assert!(
                err.contains(suggestion.as_str()),
                "{lesson} did not play {suggestion:?}:\n{err}"
            );
        }
        assert!(!out.trim().is_empty() && !out.contains("has no scene for it"), "{lesson}:\n{out}");
        assert!(!err.contains("error:") && !err.contains("panicked"), "{lesson}:\n{err}");
    }
}

#[test]
fn every_lesson_plays_over_messages() {
    plays("offline");
}

#[test]
fn every_lesson_plays_over_chat_completions() {
    plays("offline-openai");
}
