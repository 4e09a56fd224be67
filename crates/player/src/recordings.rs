//! Every lesson is run and recorded.
use crate::{Error, lesson::Lesson, root, steady::Steady};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// How many lessons run at the same time. Most of their time they wait.
const MAX_RUNNING: usize = 6;
/// How long a lesson may take.
const MAX_TIME: Duration = Duration::from_secs(120);

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// How many lessons were recorded.
    pub recordings: usize,
    /// How large their recordings are, in bytes.
    pub bytes: usize,
    /// How long that took.
    pub time: Duration,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Built { recordings, bytes, time } = self;
        let (kilobytes, seconds) = (bytes / 1000, time.as_secs_f32());
        write!(f, "{recordings} recordings, {kilobytes} kB, in {seconds:.1} s")
    }
}

/// A recording that was made.
struct Recorded {
    place: usize,
    title: String,
    script: String,
}

/// Records all lessons into this folder, with a list of them.
pub(crate) fn record_all(lessons: &[Lesson], folder: &Path) -> Result<Built, Error> {
    let begun = Instant::now();
    let programs = programs(lessons)?;
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..lessons.len()).collect());
    let done = Mutex::new(vec![]);
    std::thread::scope(|threads| {
        for _ in 0..MAX_RUNNING {
            threads.spawn(|| {
                loop {
                    let Some(place) = waiting.lock().unwrap().pop_front() else { break };
                    let recorded = record(place, &lessons[place].name, &programs);
                    done.lock().unwrap().push(recorded);
                }
            });
        }
    });
    let done: Result<Vec<Recorded>, Error> =
        done.into_inner().unwrap_or_default().into_iter().collect();
    let mut done = done?;
    done.sort_by_key(|recorded| recorded.place);
    let (mut index, mut bytes) = (vec![], 0);
    for Recorded { place, title, script } in done {
        let name = &lessons[place].name;
        let file = folder.join(name).with_extension("js");
        bytes += script.len();
        index.push(json!({"name": name, "title": title, "bytes": script.len()}));
        fs::write(&file, script).map_err(|error| Error::File(file, error))?;
    }
    let file = folder.join("index.js");
    let recordings = index.len();
    let script = format!("RUNGS.index({});\n", Value::from(index));
    fs::write(&file, script).map_err(|error| Error::File(file, error))?;
    Ok(Built { recordings, bytes, time: begun.elapsed() })
}

/// The folder of the lessons' programs, which are built first.
fn programs(lessons: &[Lesson]) -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // Without `-p`: as `cargo test` and `cargo run --example` build them, so that nothing is built
    // twice.
    build.args(["build", "--quiet"]).current_dir(root());
    for lesson in lessons {
        build.args(["--example", &lesson.name]);
    }
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    // Cargo sets these for what it runs. Build scripts that look at them would run again, and half
    // of everything would be built twice.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&*name);
        }
    }
    let built = build.status().map_err(|error| Error::Build(error.to_string()))?;
    if !built.success() {
        return Err(Error::Build(built.to_string()));
    }
    program("").ok_or_else(|| Error::Build("there is no folder of programs".into()))
}

/// The program of a lesson, beside this one.
pub(crate) fn program(lesson: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    // Tests are in a folder below that of programs.
    let mut folders = own.ancestors().skip(1).take(2).map(|folder| folder.join("examples"));
    let folder = folders.find(|folder| folder.is_dir())?;
    Some(folder.join(lesson))
}

/// A lesson's program that records its run into this file, without the keys and settings of whoever
/// builds the page.
pub(crate) fn recorded(program: &Path, provider: &str, file: &Path) -> Command {
    let mut program = Command::new(program);
    let kept = std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME");
    program.env_clear().envs(kept);
    program.env("RUNGS_PROVIDER", provider).env("RUNGS_ENV", "/dev/null");
    // A server that runs on this machine is somebody else's.
    program.env("REDIS_URL", "redis://localhost:1");
    program.arg("--record").arg(file).stdin(Stdio::null());
    program
}

/// Runs one lesson.
fn record(place: usize, name: &str, programs: &Path) -> Result<Recorded, Error> {
    let wrong = |why: String| Error::Lesson(name.into(), why);
    let folder = tempfile::tempdir().map_err(|error| wrong(error.to_string()))?;
    let file = folder.path().join("run.jsonl");
    let mut program = recorded(&programs.join(name), "offline", &file);
    program.current_dir(folder.path());
    let errors = folder.path().join("errors.txt");
    let log = fs::File::create(&errors).map_err(|error| wrong(error.to_string()))?;
    let mut running = program
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| wrong(error.to_string()))?;
    let begun = Instant::now();
    let status = loop {
        match running.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < MAX_TIME => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ = running.kill();
                return Err(wrong(format!("it did not end within {} s", MAX_TIME.as_secs())));
            }
            Err(error) => return Err(wrong(error.to_string())),
        }
    };
    if !status.success() {
        let said = fs::read_to_string(&errors).unwrap_or_default();
        return Err(wrong(format!("{status}: {}", said.lines().last().unwrap_or_default())));
    }
    let text = fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let steady = Steady::of(&text).ok_or_else(|| wrong("it left no recording".into()))?;
    let mut title = name.to_string();
    let mut records = vec![];
    for line in text.lines() {
        let record =
            steady.record(line).map_err(|error| wrong(format!("a broken record: {error}")))?;
        if record["type"] == "recording" {
            title = record["title"].as_str().unwrap_or(name).to_string();
        }
        records.push(record.to_string());
    }
    let script = format!("RUNGS.recording({}, [\n{}\n]);\n", json!(name), records.join(",\n"));
    Ok(Recorded { place, title, script })
}
