//! The course checks itself: what is written about the lessons is true, the limits hold, and every
//! lesson plays.
mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Code lines of a lesson, of core altogether, and of any source file.
const MAX_LESSON_LINES: usize = 250;
const MAX_CORE_LINES: usize = 3_500;
const MAX_FILE_LINES: usize = 350;
/// Characters of a line of any Rust file, comments included, so that code can be projected.
const MAX_COLUMNS: usize = 100;

/// The parts of a lesson's head after its title, in their order: how the line begins.
const HEAD: [&str; 12] = [
    "```text",
    "```",
    "Terms: **",
    "Run it: `cargo run --example ",
    "You will see ",
    "Try, and predict first:",
    "1. ",
    "2. ",
    "3. ",
    "Pitfalls: ",
    "A product also ",
    "Builds on ",
];

/// How a lesson could put text into a conversation without saying that it did: as a message that
/// the person typed, or as a block without an origin in a message of its own. `Block::text` alone
/// is no fault: it makes the results of tools, replies, and what is left of the person's words
/// after a compaction. White space is left out.
const TEXT_WITHOUT_ORIGIN: [&str; 8] = [
    "Message::user(",
    "Message::from(",
    "role:Role::User,content:",
    "content:vec![Block::text(",
    "content.push(Block::text(",
    "content.insert(0,Block::text(",
    "content.extend([Block::text(",
    "origin:None",
];

fn read(file: impl AsRef<Path>) -> String {
    let file = Path::new(ROOT).join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// All Rust files of the repository, as paths from its root.
fn rust_files() -> Vec<PathBuf> {
    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // What a student works on is nobody else's business.
            let is_work = path == Path::new(ROOT).join("exercises/work");
            if path.is_dir() && name != "target" && !name.starts_with('.') && !is_work {
                below(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(ROOT).unwrap().to_path_buf());
            }
        }
    }
    let mut files = vec![];
    below(Path::new(ROOT), &mut files);
    files.sort();
    files
}

/// Whether a file holds nothing but tests or benchmarks.
fn is_test(file: &Path) -> bool {
    let parts: Vec<&str> = file.iter().map(|part| part.to_str().unwrap()).collect();
    ["tests", "benches", "tests.rs"].iter().any(|name| parts.contains(name))
}

/// The lines of a source before its tests, without blanks, comments and docs.
fn code(source: &str) -> impl Iterator<Item = &str> {
    let before_tests = source.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    before_tests.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
}

/// The names of the lessons, in their order: every `examples/sNN_*.rs`, and `full` at the end.
fn lessons() -> Vec<String> {
    let files = std::fs::read_dir(Path::new(ROOT).join("examples")).unwrap();
    let stems = files.map(|file| file.unwrap().path().file_stem().unwrap().to_owned());
    let names: BTreeSet<String> = stems.map(|stem| stem.into_string().unwrap()).collect();
    let (full, mut lessons): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name == "full");
    lessons.extend(full);
    lessons
}

fn source(lesson: &str) -> String {
    read(format!("examples/{lesson}.rs"))
}

/// The `//!` lines that a lesson begins with.
fn head(source: &str) -> Vec<&str> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect()
}

fn number(lesson: &str) -> &str {
    lesson.split('_').next().unwrap_or(lesson)
}

/// Fails with all lines that there are, so that one run shows everything that is wrong.
#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn only_lessons_are_among_the_examples() {
    assert!(lessons().len() >= 12);
    for lesson in lessons() {
        let digits = lesson.strip_prefix('s').and_then(|rest| rest.split_once('_'));
        let numbered = digits
            .is_some_and(|(n, name)| n.len() == 2 && n.parse::<u8>().is_ok() && !name.is_empty());
        assert!(
            numbered || lesson == "full",
            "examples/{lesson}.rs is no lesson, yet cargo makes a program of it"
        );
    }
}

#[test]
fn every_lesson_is_in_the_table_of_contents() {
    assert_eq!(common::lessons(), lessons());
}

#[test]
fn the_tables_of_the_readme_have_each_row_once_and_in_order() {
    let readme = read("README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| [`")).collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row.split('`').nth(1)).collect();
    let (of_lessons, others) = names.split_at(lessons().len());
    assert_eq!(of_lessons, lessons());
    assert_eq!(others.len(), others.iter().collect::<BTreeSet<_>>().len(), "{others:?}");

    let machinery = rows.iter().find(|row| row.starts_with("| [`crates/`]")).unwrap();
    for folder in std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let own_row = names.contains(&format!("crates/{name}/").as_str());
        let times = machinery.matches(&format!("(`{name}`)")).count();
        assert_eq!(times + usize::from(own_row), 1, "{name} in the README's layout");
    }
}

#[test]
fn every_lesson_is_in_the_readme_with_its_minutes() {
    let readme = read("README.md");
    let mut wrong = vec![];
    for lesson in lessons() {
        let begin = format!("| [`{lesson}`](examples/{lesson}.rs) |");
        let Some(row) = readme.lines().find(|line| line.starts_with(&begin)) else {
            wrong.push(format!("the README's table has no row for {lesson}"));
            continue;
        };
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, mechanism, idea, minutes] = cells[..] else {
            wrong.push(format!("README: the row of {lesson} has {} cells, not 4", cells.len()));
            continue;
        };
        if mechanism.is_empty() || idea.is_empty() {
            wrong.push(format!("README: the row of {lesson} has an empty cell"));
        }
        if !minutes.parse::<u32>().is_ok_and(|minutes| minutes > 0) {
            wrong.push(format!("README: {lesson} takes `{minutes}`, which are no minutes"));
        }
    }
    assert_none(&wrong);
}

/// What each lesson explains of Claude Code.
const MAP: &str = "docs/claude-code.md";
/// The format of `--record`.
const RECORDING: &str = "docs/recording.md";

#[test]
fn every_lesson_is_on_the_map_with_what_it_builds_on() {
    let map = read(MAP);
    let mut wrong = vec![];
    for lesson in lessons() {
        let head = head(&source(&lesson)).join(" ");
        let builds_on = head.split("Builds on ").nth(1).and_then(|rest| rest.split('.').next());
        let begin = format!("| [`{lesson}`](../examples/{lesson}.rs) |");
        let row = map.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if cells.len() != 4 || cells[1].is_empty() || Some(cells[3]) != builds_on {
            wrong.push(format!("{MAP}: {lesson} builds on {builds_on:?}, its row: {row:?}"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_lesson_has_a_rehearsal_that_suggests_what_to_type() {
    for lesson in lessons() {
        assert!(!suggestions(&lesson).is_empty(), "{lesson}'s rehearsal suggests nothing to type");
    }
}

fn suggestions(lesson: &str) -> Vec<String> {
    let script = Path::new(ROOT).join("config/rehearsals").join(lesson).with_extension("yaml");
    rehearsal::Script::load(script).unwrap().suggest().to_vec()
}

/// What is wrong with the head of a lesson.
fn head_faults(lesson: &str, head: &[&str]) -> Vec<String> {
    let mut wrong = vec![];
    let mut fault = |what: &str| wrong.push(format!("{lesson}: the head {what}"));
    let title = format!("# {}: ", number(lesson));
    if !head.first().is_some_and(|line| line.starts_with(&title)) {
        fault(&format!("does not begin with `{title}`"));
    }
    let mut lines = head.iter().skip(1).copied();
    // Advances to the line that begins like this, and counts the lines of prose on the way.
    let mut prose_before = |part: &str| {
        let mut prose = 0;
        for line in lines.by_ref() {
            if line.starts_with(part) {
                return Some(prose);
            }
            prose += usize::from(!line.is_empty());
        }
        None
    };
    let mut prose = vec![];
    for part in HEAD {
        let Some(lines) = prose_before(part) else {
            fault(&format!("has no {part:?}, or not at its place"));
            return wrong;
        };
        prose.push(lines);
    }
    if prose[0] == 0 {
        fault("does not say the problem between its title and the diagram");
    }
    if prose[2] == 0 {
        fault("does not say what is new between the diagram and the terms");
    }
    if head.iter().any(|line| line.starts_with("4. ")) {
        fault("has more than three things to try");
    }
    let command = format!("Run it: `cargo run --example {lesson}`");
    if !head.contains(&command.as_str()) {
        fault(&format!("has no line `{command}`"));
    }
    // The motto ends the head, in the paragraph of `Builds on`.
    let start = head.iter().rposition(|line| line.starts_with("Builds on ")).unwrap_or_default();
    let end = head[start..].join(" ");
    let motto = end.split_once("Motto: *").and_then(|(_, motto)| motto.trim().strip_suffix('*'));
    if !motto.is_some_and(|motto| !motto.is_empty() && !motto.contains('*')) {
        fault("does not end with `Motto: *...*`");
    }
    wrong
}

#[test]
fn every_head_is_complete() {
    let lessons = lessons();
    let wrong: Vec<String> =
        lessons.iter().flat_map(|lesson| head_faults(lesson, &head(&source(lesson)))).collect();
    assert_none(&wrong);
}

#[test]
fn a_head_that_lacks_one_part_is_found() {
    let lesson = "s03_todo_write";
    let source = source(lesson);
    let whole = head(&source);
    assert_none(&head_faults(lesson, &whole));
    for part in ["# s03: ", "Run it: "].into_iter().chain(HEAD).filter(|part| *part != "```") {
        let without: Vec<&str> =
            whole.iter().copied().filter(|line| !line.starts_with(part)).collect();
        assert_eq!(without.len(), whole.len() - 1, "{part}");
        assert!(!head_faults(lesson, &without).is_empty(), "{part}");
    }
    let place = |part| whole.iter().position(|line| line.starts_with(part)).unwrap();
    let diagram = place("```text");
    let diagram_end = diagram + 1 + whole[diagram + 1..].iter().position(|l| *l == "```").unwrap();
    for (from, to, expected) in [
        (1, diagram, "does not say the problem between its title and the diagram"),
        (diagram_end + 1, place("Terms: "), "does not say what is new between the diagram"),
    ] {
        let faults = head_faults(lesson, &[&whole[..from], &whole[to..]].concat());
        assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
    }
    let without_motto = [&whole[..place("Builds on ")], &["Builds on s01."]].concat();
    let expected = format!("{lesson}: the head does not end with `Motto: *...*`");
    assert_eq!(head_faults(lesson, &without_motto), [expected]);
    let mut swapped = whole.clone();
    swapped.swap(place("Terms: "), place("Pitfalls: "));
    assert!(!head_faults(lesson, &swapped).is_empty());
}

#[test]
fn every_lesson_is_short() {
    let mut wrong = vec![];
    for lesson in lessons() {
        let lines = code(&source(&lesson)).count();
        if lines > MAX_LESSON_LINES {
            wrong.push(format!("examples/{lesson}.rs: {lines} code lines of {MAX_LESSON_LINES}"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn core_is_small() {
    let files = rust_files();
    let core = files.iter().filter(|file| file.starts_with("core") && !is_test(file));
    let lines: usize = core.map(|file| code(&read(file)).count()).sum();
    assert!(lines > 1_000, "core has only {lines} code lines: were its files found?");
    assert!(lines <= MAX_CORE_LINES, "core: {lines} code lines of {MAX_CORE_LINES}");
}

#[test]
fn every_source_file_is_short() {
    let mut wrong = vec![];
    for file in rust_files().iter().filter(|file| !is_test(file)) {
        let lines = code(&read(file)).count();
        if lines > MAX_FILE_LINES {
            wrong.push(format!("{}: {lines} code lines of {MAX_FILE_LINES}", file.display()));
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_line_is_too_long_to_be_projected() {
    let mut wrong = vec![];
    for file in rust_files() {
        for (line, n) in read(&file).lines().zip(1..) {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                wrong.push(format!("{}:{n}: {columns} columns of {MAX_COLUMNS}", file.display()));
            }
        }
    }
    assert_none(&wrong);
}

/// The way in which this code puts text without an origin into a conversation, if it does.
fn text_without_origin(source: &str) -> Option<&'static str> {
    let code: String = code(source).flat_map(|line| line.split_whitespace()).collect();
    TEXT_WITHOUT_ORIGIN.into_iter().find(|way| code.contains(way))
}

#[test]
fn lessons_insert_no_text_without_its_origin() {
    let mut wrong = vec![];
    for lesson in lessons() {
        if let Some(way) = text_without_origin(&source(&lesson)) {
            wrong.push(format!(
                "{lesson}: `{way}`: inserted text is `Message::inserted` or `Block::inserted`, or \
                 `kept`, so that nobody takes it for the person's words"
            ));
        }
    }
    assert_none(&wrong);
}

#[test]
fn text_without_an_origin_is_found() {
    for bad in [
        "chat.push(Message::user(text));",
        "chat.push(Message {\n    role: Role::User,\n    content: vec![block],\n});",
        "Arc::make_mut(&mut message)\n    .content\n    .push(Block::text(\n        text,\n    ));",
        "chat.push(Message { content: vec![Block::text(text)], ..Message::empty() });",
        "let block = Block::Text { text, origin: None, more };",
    ] {
        assert!(text_without_origin(bad).is_some(), "{bad}");
    }
    for good in [
        "// not Message::user(text)",
        "chat.push(Message::inserted(\"reminder\", text));",
        "Ok(ToolOutput(vec![Block::text(text), image]))",
        "Reply::new(vec![Block::text(text)])",
        "typed.push(Block::text(shortened));",
        "chat.push(Message { content: kept, ..Message::empty() });",
        "let Message { role, content } = message;",
        "#[cfg(test)]\nchat.push(Message::user(text));",
    ] {
        assert_eq!(text_without_origin(good), None, "{good}");
    }
}

/// The lessons that a head says its lesson builds on, and those that these build on.
fn builds_on(lesson: &str, heads: &BTreeMap<String, String>) -> BTreeSet<String> {
    let Some(head) = heads.get(lesson) else { return BTreeSet::new() };
    let named = head.split("Builds on ").nth(1).unwrap_or_default();
    let named = named.split("Motto").next().unwrap_or_default();
    let mut all = BTreeSet::new();
    for name in named.split(|c: char| !c.is_alphanumeric()) {
        if heads.contains_key(name) {
            all.insert(name.to_string());
            all.extend(builds_on(name, heads));
        }
    }
    all
}

#[test]
fn lessons_import_only_earlier_lessons_that_they_build_on() {
    let lessons = lessons();
    let heads: BTreeMap<String, String> = lessons
        .iter()
        .map(|lesson| (number(lesson).to_string(), head(&source(lesson)).join(" ")))
        .collect();
    let mut wrong = vec![];
    for (i, lesson) in lessons.iter().enumerate().filter(|(_, lesson)| *lesson != "full") {
        let source = source(lesson);
        // Comments may point forward; tests may not.
        for later in &lessons[i + 1..] {
            let mut with_tests = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            // That name alone is a word of English.
            let import = if later == "full" { "full::" } else { later };
            if with_tests.any(|line| line.contains(import)) {
                wrong.push(format!("{lesson} imports {later}, which comes later"));
            }
        }
        let known = builds_on(number(lesson), &heads);
        for earlier in &lessons[..i] {
            let imported = code(&source).any(|line| line.contains(earlier.as_str()));
            if imported && !known.contains(number(earlier)) {
                wrong.push(format!("{lesson} imports {earlier}, but does not say it builds on it"));
            }
        }
        let earlier: Vec<&str> = lessons[..i].iter().map(|lesson| number(lesson)).collect();
        for other in known.iter().filter(|other| !earlier.contains(&other.as_str())) {
            wrong.push(format!("{lesson} says that it builds on {other}, which comes later"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn code_shown_in_docs_is_the_code() {
    // A block after a line that ends with a file's name, as in "from `core/src/dispatch.rs`:",
    // quotes that file verbatim.
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
    let mut wrong = vec![];
    let docs = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "crates/rehearsal/README.md",
        MAP,
        RECORDING,
    ];
    for doc in docs {
        let text = read(doc);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let is_file = !link.contains("://") && !link.starts_with('#');
            if is_file && !Path::new(ROOT).join(doc).parent().unwrap().join(file).exists() {
                wrong.push(format!("{doc}: {link}"));
            }
        }
    }
    assert_none(&wrong);
}

/// Plays these lines in the rehearsal of a lesson, as a program, to its end. No lines play all that
/// it suggests.
fn play(lesson: &str, provider: &str, lines: &[&str]) -> (String, String) {
    let mut program = common::lesson(lesson);
    program.env("RUNGS_PROVIDER", provider).stdin(Stdio::piped());
    let mut program = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = program.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let done = program.wait_with_output().unwrap_or_else(|e| panic!("{lesson}: {e}"));
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    let played = format!("{lesson} over {provider}, {lines:?}:\n{out}\n{err}");
    assert_eq!(done.status.code(), Some(0), "{played}");
    assert!(!out.trim().is_empty(), "nothing was said: {played}");
    for fault in ["has no scene for it", "The rehearsal ends here"] {
        assert!(!out.contains(fault), "{played}");
    }
    for fault in ["error:", "panicked"] {
        assert!(!err.contains(fault), "{played}");
    }
    (out, err)
}

/// What a play must show of its mechanism: a text on standard error.
const SHOWN: [(&str, &str); 10] = [
    ("s03_todo_write", "(the model is reminded of its plan)"),
    ("s06_context_compact", "(summarised: about "),
    ("s07_task_system", "  #1 [done] Run the tests, priority 5, owner main\n  #2 [pending]"),
    ("s10_team_protocols", "ann: Waiting ── Answered ──> Idle, ann-"),
    ("s11_autonomous_agents", " claimed #2 Count ch2.txt: attempt 2 (fencing token), lease 30 s\n"),
    ("s11_autonomous_agents", "  too late: the fencing token of attempt 1 is stale; now #2 ["),
    ("full", "  mean-of-none\n"),
    ("full", " claimed #4 Review #2: attempt 1 (fencing token), lease 30 s\n"),
    ("full", "  merged rungs/1-add-a-median-"),
    ("s12_worktree_task_isolation", " was not removed. What is not on rungs/2-add-cherries-"),
];

fn play_all(provider: &str) {
    for lesson in common::lessons() {
        let (_, err) = play(&lesson, provider, &[]);
        for (_, text) in SHOWN.iter().filter(|(of, _)| *of == lesson) {
            assert!(err.contains(text), "{lesson} over {provider} does not show {text:?}:\n{err}");
        }
        for suggestion in suggestions(&lesson) {
            assert!(err.contains(&suggestion), "{lesson} did not play {suggestion:?}:\n{err}");
        }
        // A lesson may have something to say on the way out.
        let played = err.lines().any(|line| line.starts_with("That was all of the play."));
        assert!(played, "{lesson}: {err}");
    }
}

#[test]
fn every_lesson_plays_over_messages() {
    play_all("offline");
}

#[test]
fn every_lesson_plays_over_chat_completions() {
    play_all("offline-openai");
}

/// People play a scene again, or begin in the middle.
#[test]
fn every_scene_can_be_played_twice_and_first() {
    for lesson in common::lessons() {
        let prompts = suggestions(&lesson);
        let prompts = prompts.iter().map(String::as_str).filter(|line| !line.starts_with(':'));
        let twice: Vec<&str> = prompts.clone().flat_map(|prompt| [prompt, prompt]).collect();
        play(&lesson, "offline", &twice);
        // A server that nobody stops keeps the program waiting for its end.
        let alone: Vec<&str> =
            prompts.skip(1).filter(|prompt| *prompt != "Start the web server.").collect();
        std::thread::scope(|threads| {
            for prompt in &alone {
                threads.spawn(|| play(&lesson, "offline", &[prompt]));
            }
        });
    }
}
