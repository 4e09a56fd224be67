//! For teachers: the work of a class, judged with the given tests, as JSON and CSV.
use crate::{
    batch,
    catalog::{self, Exercise, matching},
    isolation::Isolation,
    report::Verdict,
    screen::warn,
    task,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Bytes of a file that is judged; more is no solution of an exercise.
const MAX_FILE_BYTES: u64 = 1_000_000;
/// Bytes of a message in the report.
const MAX_MESSAGE_BYTES: usize = 2000;

/// What is to be graded, and how.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// One folder a student.
    pub(crate) folders: Vec<String>,
    /// Only exercises that are named like this.
    pub(crate) only: Vec<String>,
    /// For the tests of one exercise.
    pub(crate) limit: Option<Duration>,
    /// Files to write; `-` is standard output.
    pub(crate) json: Option<String>,
    pub(crate) csv: Option<String>,
    /// Whether it is a failure if anything is not solved.
    pub(crate) require: bool,
}

/// Judges every folder; false if something is not solved that has to be.
///
/// # Errors
/// When a folder does not exist, or the course does not build: never for a student's file.
pub(crate) fn grade(options: &Options) -> Result<bool, String> {
    let all = catalog::all()?;
    let mut exercises: Vec<&Exercise> = all.iter().collect();
    if !options.only.is_empty() {
        let mut named = vec![];
        for name in &options.only {
            let found = matching(&all, name).map_err(|why| format!("--only: {why}"))?;
            named.extend(found.into_iter().map(|exercise| &exercise.name));
        }
        exercises.retain(|exercise| named.contains(&&exercise.name));
    }
    if options.folders.is_empty() {
        return Err("`grade` needs folders, one a student".into());
    }
    for folder in &options.folders {
        if !Path::new(folder).is_dir() {
            return Err(format!("{folder} is no folder"));
        }
    }
    let home = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let isolation = Isolation::best(home.path());
    warn(&format!("Network: {}", isolation.describe()));
    let limit = options.limit.unwrap_or(crate::report::LIMIT);
    let mut students = vec![];
    for (folder, n) in options.folders.iter().zip(1..) {
        let student = student(folder, &exercises, &isolation, limit)?;
        let (solved, of) = (&student["solved"], exercises.len());
        warn(&format!("{n} of {}: {folder} {solved} of {of} solved", options.folders.len()));
        students.push(student);
    }
    let csv = csv(&students);
    let report = json!({
        "network": isolation.describe(),
        "limit_seconds": limit.as_secs(),
        "students": &students,
    });
    let json = format!("{report:#}\n");
    if let Some(file) = &options.json {
        write(file, &json)?;
    }
    match &options.csv {
        Some(file) => write(file, &csv)?,
        None if options.json.is_none() => write("-", &csv)?,
        None => {}
    }
    let solved = |student: &Value| student["solved"] == student["of"];
    Ok(!options.require || students.iter().all(solved))
}

fn write(file: &str, text: &str) -> Result<(), String> {
    if file == "-" {
        outln!("{}", text.trim_end());
        return Ok(());
    }
    fs::write(file, text).map_err(|error| format!("{file}: {error}"))
}

/// The folder of a student's files: a whole repository is as good.
pub(crate) fn files_of(folder: &str) -> PathBuf {
    let below = Path::new(folder).join("exercises/work");
    if below.is_dir() { below } else { folder.into() }
}

fn student(
    folder: &str,
    exercises: &[&Exercise],
    isolation: &Isolation,
    limit: Duration,
) -> Result<Value, String> {
    let files = files_of(folder);
    let mut entries = vec![];
    let mut results = vec![];
    for exercise in exercises {
        match source(&files.join(format!("{}.rs", exercise.name))) {
            Ok(Some(own)) if task::split(&own).0 == task::split(&exercise.task).0 => {
                results.push((*exercise, status("not begun", 0, "it is the task, unchanged")));
            }
            Ok(Some(own)) => {
                entries.push((*exercise, task::with_given_tests(&own, &exercise.task)));
            }
            Ok(None) => results.push((*exercise, status("not begun", 0, "there is no file"))),
            Err(why) => results.push((*exercise, status("unreadable", 0, &why))),
        }
    }
    let verdicts = batch::judge(&entries, isolation, limit)?;
    for ((exercise, _), verdict) in entries.iter().zip(verdicts) {
        results.push((*exercise, result(exercise, &verdict)));
    }
    let place = |exercise: &Exercise| exercises.iter().position(|e| e.name == exercise.name);
    results.sort_by_key(|(exercise, _)| place(exercise));
    let solved = results.iter().filter(|(_, result)| result["status"] == "solved").count();
    let results = results.into_iter().map(|(exercise, mut result)| {
        let head = &exercise.head;
        result["name"] = json!(exercise.name);
        result["kind"] = json!(head.kind.name());
        result["level"] = json!(head.level);
        result["tests"] = json!(exercise.tests().len());
        result
    });
    let results: Vec<Value> = results.collect();
    let name = Path::new(folder).file_name().map_or(folder.into(), |name| name.to_string_lossy());
    let of = exercises.len();
    Ok(json!({"student": name, "folder": folder, "solved": solved, "of": of, "exercises": results}))
}

/// The text of a student's file; none if there is no such file.
pub(crate) fn source(file: &Path) -> Result<Option<String>, String> {
    let Ok(metadata) = fs::metadata(file) else { return Ok(None) };
    if !metadata.is_file() {
        return Err("it is no file".into());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!("it has {} bytes, of {MAX_FILE_BYTES} at most", metadata.len()));
    }
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8".into())
}

fn status(status: &str, passed: usize, message: &str) -> Value {
    let cut = message.char_indices().map(|(i, c)| i + c.len_utf8());
    let end = cut.take_while(|end| *end <= MAX_MESSAGE_BYTES).last().unwrap_or(0);
    json!({"status": status, "passed": passed, "message": message[..end].trim()})
}

fn result(exercise: &Exercise, verdict: &Verdict) -> Value {
    let outcome = match verdict {
        Verdict::Refused(errors) => {
            let texts: Vec<&str> = errors.iter().map(|error| error.text.as_str()).collect();
            return status("does not compile", 0, &texts.join("\n"));
        }
        Verdict::Ran(outcome) => outcome,
    };
    let expected = exercise.tests();
    let passed = expected.iter().filter(|name| outcome.has_passed(name)).count();
    if outcome.passed(&expected) {
        return status("solved", passed, "");
    }
    if let Some(why) = outcome.fault(&expected) {
        let name = if outcome.timed_out { "time limit" } else { "failing" };
        return status(name, passed, &why);
    }
    let first = expected.iter().find_map(|name| outcome.failure(name));
    status("failing", passed, first.map_or("", |test| &test.said))
}

/// One line for each exercise of each student.
fn csv(students: &[Value]) -> String {
    let mut csv = "student,exercise,kind,level,status,tests passed,tests\n".to_string();
    for student in students {
        for result in student["exercises"].as_array().into_iter().flatten() {
            let cells = [
                &student["student"],
                &result["name"],
                &result["kind"],
                &result["level"],
                &result["status"],
                &result["passed"],
                &result["tests"],
            ];
            let cells: Vec<String> = cells.into_iter().map(cell).collect();
            csv += &cells.join(",");
            csv += "\n";
        }
    }
    csv
}

fn cell(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.into(),
        None => value.to_string(),
    }
}
