//! What must hold for every exercise. The course's tests check it, and `verify --course`.
use crate::{
    catalog::{Exercise, HOME, lesson, names, read, root, shown, task_file},
    hints,
    task::{self, TESTS},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Libraries that every exercise may use, and the crates of the course that all lessons use.
const FOR_ALL: [&str; 16] = [
    "std",
    "core",
    "crate",
    "super",
    "self",
    "rungs_core",
    "rehearsal",
    "rungs_exercises",
    "tokio",
    "serde",
    "serde_json",
    "serde_yaml",
    "schemars",
    "tempfile",
    "futures_util",
    "rustix",
];
/// The machinery of the course: an exercise may use what its lesson or an earlier one uses.
const MACHINERY: [&str; 17] = [
    "durable",
    "git2",
    "rungs_files",
    "rungs_hooks",
    "rungs_http",
    "rungs_json",
    "rungs_mailbox",
    "rungs_mcp",
    "rungs_permissions",
    "rungs_process",
    "rungs_redis",
    "rungs_sessions",
    "rungs_snapshots",
    "rungs_tasks",
    "rungs_telemetry",
    "rungs_terminal",
    "rungs_worktree",
];
/// Characters of a line, so that a file can be read in two columns on a wide screen.
const MAX_COLUMNS: usize = 100;
/// Lines of a task's text.
const TEXT_LINES: std::ops::RangeInclusive<usize> = 3..=30;
/// Hints of an exercise.
const MIN_HINTS: usize = 2;

/// Everything that is wrong, a line each, with the exercises whose names begin like this.
///
/// # Errors
/// When a folder cannot be read.
pub(crate) fn faults(prefix: &str) -> Result<Vec<String>, String> {
    let tasks = names("tasks", ".rs")?;
    let mut faults = unlisted(&tasks)?;
    let lessons = Lessons::read()?;
    let mut sources = vec![];
    for name in tasks.iter().filter(|name| name.starts_with(prefix)) {
        let path = task_file(name);
        sources.push(path.clone());
        let exercise = match Exercise::read(name) {
            Ok(exercise) => exercise,
            Err(why) => {
                faults.push(why);
                continue;
            }
        };
        let task = &exercise.task;
        let mut of_task = task_faults(&exercise);
        of_task.extend(lessons.import_faults(name, task));
        if let Ok(solution) = read(&exercise.solution_file()) {
            sources.push(exercise.solution_file());
            let own = format!("solutions/{name}.rs");
            let mut fault = |why: &str| faults.push(format!("{own}: {why}"));
            if solution.lines().any(|line| line.trim_end() == TESTS) {
                fault("it must end before `mod tests {`: it is tested with the task's tests");
            }
            if solution.trim() == task::split(task).0.trim() {
                fault("it is the task, unchanged");
            }
            of_task.extend(lessons.import_faults(name, &solution));
        }
        if let Ok(text) = read(&exercise.hints_file()) {
            of_task.extend(hint_faults(&text, &exercise.hints_file()));
        }
        faults.extend(of_task.into_iter().map(|why| format!("{name}: {why}")));
    }
    faults.extend(format_faults(&sources));
    Ok(faults)
}

/// Files that belong to no task, and tasks without their files.
fn unlisted(tasks: &[String]) -> Result<Vec<String>, String> {
    let mut faults = vec![];
    for (folder, extension) in [("solutions", ".rs"), ("hints", ".md")] {
        let there = names(folder, extension)?;
        let missing = tasks.iter().filter(|name| !there.contains(name));
        faults.extend(missing.map(|name| format!("{folder}/{name}{extension} is missing")));
        let unknown = there.iter().filter(|name| !tasks.contains(name));
        faults.extend(
            unknown.map(|name| format!("{folder}/{name}{extension}: there is no such task")),
        );
    }
    Ok(faults)
}

fn task_faults(exercise: &Exercise) -> Vec<String> {
    let mut faults = vec![];
    let (code, tests) = task::split(&exercise.task);
    if tests.is_empty() {
        faults.push(format!("there is no line `{TESTS}`"));
    } else if exercise.tests().is_empty() {
        faults.push("there is no test".into());
    }
    for file in &exercise.head.read {
        if !root().join(file).is_file() {
            faults.push(format!("`Read:` names {file}, which is no file"));
        }
    }
    let lines = exercise.head.text.len();
    if !TEXT_LINES.contains(&lines) {
        faults.push(format!("its text has {lines} lines, not {TEXT_LINES:?}"));
    }
    if code.contains("#![") || code.lines().any(|line| line.starts_with("//!")) {
        faults.push("`#![` and `//!` cannot stand in a file that is included".into());
    }
    for (line, n) in exercise.task.lines().zip(1..) {
        if line.chars().count() > MAX_COLUMNS {
            faults.push(format!("line {n} is longer than {MAX_COLUMNS} columns"));
        }
    }
    for (assertion, n) in assertions(tests) {
        if !assertion.contains('"') {
            faults.push(format!("test line {n}: `{}` has no message", assertion.trim()));
        }
    }
    faults
}

/// The assertions of the tests, each with its line, as text up to the end of its statement.
fn assertions(tests: &str) -> Vec<(&str, usize)> {
    let mut found = vec![];
    for (place, _) in tests.match_indices("assert") {
        let rest = &tests[place..];
        let name: String = rest.chars().take_while(|c| c.is_alphabetic() || *c == '_').collect();
        if !["assert", "assert_eq", "assert_ne"].contains(&name.as_str()) {
            continue;
        }
        if !rest[name.len()..].starts_with('!') || tests[..place].ends_with('_') {
            continue;
        }
        let end = rest.find(");\n").map_or(rest.len(), |end| end + 2);
        found.push((&rest[..end], tests[..place].lines().count()));
    }
    found
}

fn hint_faults(text: &str, file: &Path) -> Vec<String> {
    let mut faults = vec![];
    let steps = hints::steps(text);
    if steps.len() < MIN_HINTS {
        faults.push(format!("it has {} hints of {MIN_HINTS} at least", steps.len()));
    }
    if steps.iter().any(String::is_empty) {
        faults.push("a hint is empty".into());
    }
    let numbers = text.lines().filter_map(|line| line.strip_prefix("## "));
    for (number, expected) in numbers.zip(1..) {
        if number.trim() != expected.to_string() {
            faults.push(format!("hints: `## {number}` stands where `## {expected}` belongs"));
        }
    }
    for (_, link) in hints::links(text) {
        if hints::target(link, file).is_some_and(|target| !target.exists()) {
            faults.push(format!("a hint links to {link}, which does not exist"));
        }
    }
    faults
}

/// The crates that the lessons use.
struct Lessons(BTreeMap<String, BTreeSet<&'static str>>);

impl Lessons {
    fn read() -> Result<Self, String> {
        let mut lessons = BTreeMap::new();
        for name in names("../examples", ".rs")? {
            let source = read(&root().join(format!("examples/{name}.rs")))?;
            let used = MACHINERY.into_iter().filter(|other| names_crate(&source, other));
            lessons.insert(name, used.collect());
        }
        Ok(Lessons(lessons))
    }

    /// What this source of an exercise imports and may not.
    fn import_faults(&self, exercise: &str, source: &str) -> Vec<String> {
        let mut faults = vec![];
        let own = lesson(exercise);
        if !self.0.keys().any(|name| lesson(name) == own) {
            faults.push(format!("there is no lesson {own}"));
        }
        for name in self.0.keys() {
            // `full` alone is a word of English.
            let named = if name == "full" {
                source.contains("lessons::full")
            } else {
                source.contains(&**name)
            };
            if named && lesson(name) > own {
                faults.push(format!("it imports {name}, a later lesson"));
            }
        }
        let known = self.0.iter().filter(|(name, _)| lesson(name) <= own);
        let known: BTreeSet<&str> = known.flat_map(|(_, crates)| crates.iter().copied()).collect();
        for other in MACHINERY {
            if names_crate(source, other) && !known.contains(other) {
                faults.push(format!("it uses {other}, which no lesson up to {own} does"));
            }
        }
        for line in source.lines().map(str::trim_start) {
            let Some(path) = line.strip_prefix("use ") else { continue };
            let first = path.split([':', ';', ' ']).next().unwrap_or_default();
            // Types of its own, such as an enum's variants, begin with a capital.
            let is_crate = first.starts_with(|c: char| c.is_ascii_lowercase());
            if is_crate
                && !FOR_ALL.contains(&first)
                && !MACHINERY.contains(&first)
                && first != "lessons"
            {
                faults.push(format!("it uses {first}, which exercises may not"));
            }
        }
        faults
    }
}

/// Whether code, comments left out, has a path that begins with this crate.
fn names_crate(source: &str, name: &str) -> bool {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let path = format!("{name}::");
    let mut begins = code.flat_map(|line| line.match_indices(&path).map(move |(i, _)| &line[..i]));
    begins.any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

/// What `rustfmt` would change. Included files are not seen by `cargo fmt`.
fn format_faults(files: &[PathBuf]) -> Vec<String> {
    if files.is_empty() {
        return vec![];
    }
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--check", "--edition", "2024", "--color", "never", "-l"]).args(files);
    let done = rustfmt.current_dir(HOME).stdin(Stdio::null()).output();
    match done {
        Err(error) => vec![format!("rustfmt does not run: {error}")],
        Ok(done) if done.status.success() => vec![],
        Ok(done) => {
            let (out, err) =
                (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            let files =
                out.lines().map(|file| format!("{}: rustfmt changes it", shown(Path::new(file))));
            files.chain(err.lines().map(String::from)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exercise_has_its_form() {
        let faults = faults("").unwrap();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }
}
