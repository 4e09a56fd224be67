//! Builds an exercise with the tests, runs them, and reads what they say.
use crate::{catalog::root, screen};
use serde_json::Value;
use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How often it is looked whether a program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long it is waited for more of what a program wrote, once it has ended.
const PIPE_GRACE: Duration = Duration::from_millis(500);

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// The compiler refuses the file: what it says, with the files that it names.
    Refused(Vec<Diagnostic>),
    /// Anything else: the course itself does not build, or cargo does not run.
    Course(String),
}

/// One error of the compiler.
#[derive(Debug)]
pub(crate) struct Diagnostic {
    /// As the compiler prints it.
    pub(crate) text: String,
    pub(crate) file: String,
    /// The first line that it points at.
    pub(crate) line: usize,
}

/// Builds the program that tests this file, and nothing else: of the whole course only the crate
/// that includes the file is compiled, and linked.
pub(crate) fn build(file: &Path, offline: bool) -> Result<PathBuf, BuildError> {
    let content = fs::read(file)
        .map_err(|error| BuildError::Course(format!("{}: {error}", file.display())))?;
    let mut cargo = cargo();
    let coloured = if screen::coloured() { "json-diagnostic-rendered-ansi" } else { "json" };
    cargo.args(["rustc", "--quiet", "-p", "rungs-exercises", "--test", "exercise"]);
    cargo.arg(format!("--message-format={coloured}"));
    if offline {
        cargo.arg("--offline");
    }
    // The compiler shortens long lines of code to this.
    cargo.args(["--", &format!("--diagnostic-width={}", screen::width())]);
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    cargo.env("RUNGS_EXERCISE", file).env("RUNGS_EXERCISE_VERSION", hasher.finish().to_string());
    let cannot = |error| BuildError::Course(format!("cargo does not run: {error}"));
    screen::status("Building ...");
    let mut child = cargo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let said = drain(child.stderr.take());
    let messages = child.stdout.take().map(BufReader::new);
    let built = read_messages(messages.into_iter().flat_map(BufRead::lines).map_while(Result::ok));
    let status = child.wait().map_err(cannot)?;
    let said = said.text();
    screen::status("");
    match built {
        Built { errors, .. } if !errors.is_empty() => Err(BuildError::Refused(errors)),
        Built { program: Some(program), .. } if status.success() => Ok(program),
        Built { others, .. } => Err(BuildError::Course(format!("{others}{said}"))),
    }
}

/// Cargo in the repository, without the variables that the cargo which started this program has
/// set: build scripts that look at them would run again, and half of everything be built twice.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let of_package = name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if of_package || name == "OUT_DIR" {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

#[derive(Default)]
struct Built {
    program: Option<PathBuf>,
    errors: Vec<Diagnostic>,
    /// Errors in the rest of the course.
    others: String,
}

/// Reads the messages of cargo, one JSON object a line, and shows how far it is.
fn read_messages(lines: impl Iterator<Item = String>) -> Built {
    let (mut built, mut counter) = (Built::default(), Counter::default());
    for message in lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
        let is_exercise = message["target"]["name"] == "exercise";
        match message["reason"].as_str() {
            Some("compiler-artifact") if is_exercise => {
                built.program = message["executable"].as_str().map(PathBuf::from);
            }
            Some("compiler-artifact") if message["fresh"] == false => counter.count(),
            Some("compiler-message") if message["message"]["level"] == "error" => {
                let Some(diagnostic) = diagnostic(&message["message"]) else { continue };
                if is_exercise {
                    built.errors.push(diagnostic);
                } else {
                    built.others += &diagnostic.text;
                }
            }
            _ => {}
        }
    }
    built
}

/// An error; its summary at the end ("aborting due to ..") has no place, and is left out.
fn diagnostic(message: &Value) -> Option<Diagnostic> {
    let spans = message["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true).or(spans.first());
    // A span within a macro of another crate leads to the place where the macro is called.
    let mut span = span?;
    while !span["expansion"]["span"].is_null() {
        span = &span["expansion"]["span"];
    }
    let root = format!("{}/", root().display());
    let text = message["rendered"].as_str()?.replace(&root, "");
    let file = span["file_name"].as_str().unwrap_or_default().into();
    let line = span["line_start"].as_u64().and_then(|line| line.try_into().ok()).unwrap_or(0);
    Some(Diagnostic { text, file, line })
}

/// Says how many crates were built, since the first build takes minutes.
#[derive(Default)]
struct Counter(usize);

impl Counter {
    /// From here on it is the course that is built, and not only what belongs to the exercise.
    const OF_COURSE: usize = 4;

    fn count(&mut self) {
        self.0 += 1;
        if self.0 == Self::OF_COURSE {
            screen::status("");
            screen::warn("The course is built first. That takes minutes, once.");
        }
        if self.0 >= Self::OF_COURSE {
            screen::status(&format!("Building ... {} crates", self.0));
        }
    }
}

/// How the tests of a file ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The tests that reported an end, in no particular order.
    pub(crate) tests: Vec<Test>,
    /// Why the program ended without a report on all tests.
    pub(crate) broken: Option<String>,
    pub(crate) timed_out: bool,
}

/// One test.
#[derive(Debug)]
pub(crate) struct Test {
    /// Its name with the modules that it is in.
    pub(crate) path: String,
    /// The name of its function.
    pub(crate) name: String,
    pub(crate) passed: bool,
    /// What it printed, and its panic.
    pub(crate) said: String,
}

/// Runs the tests of a program whose names begin like this, for so long at most.
pub(crate) fn run(mut program: Command, module: &str, limit: Duration) -> Result<Outcome, String> {
    // Of the variables that change how tests run, the ones of the course hold.
    program.args([module, "--color=never"]).env("RUST_TEST_THREADS", "8");
    program.env_remove("RUST_BACKTRACE").current_dir(crate::catalog::HOME);
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().map_err(|error| error.to_string())?;
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    screen::status("Running the tests ...");
    let ended = wait(&mut child, limit).map_err(|error| error.to_string())?;
    let (out, err) = (out.text(), err.text());
    screen::status("");
    let tests = read_tests(&out);
    let broken = match ended {
        None => Some(format!("stopped after {} seconds", limit.as_secs())),
        Some(_) if out.contains("\ntest result: ") => None,
        Some(status) => Some(format!("the tests ended without a result ({status})\n{err}")),
    };
    Ok(Outcome { tests, broken, timed_out: ended.is_none() })
}

/// Waits for a program; after so long it is killed, and there is no status.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// What a program writes, read on a thread of its own, so that nobody waits for a full pipe.
struct Drained(mpsc::Receiver<Vec<u8>>);

fn drain(pipe: Option<impl Read + Send + 'static>) -> Drained {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (Some(mut pipe), mut buffer) = (pipe, [0; 8192]) else { return };
        // What came until an error is all there is.
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    Drained(receiver)
}

impl Drained {
    /// All of it. A process that a test has left behind may keep the pipe open, so it is waited for
    /// the end only while more comes.
    fn text(self) -> String {
        let mut bytes = vec![];
        while let Ok(more) = self.0.recv_timeout(PIPE_GRACE) {
            bytes.extend(more);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Reads what the test harness prints: a line a test, and at the end what those that failed said.
fn read_tests(out: &str) -> Vec<Test> {
    let mut tests = vec![];
    for line in out.lines() {
        let Some((name, end)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... "))
        else {
            continue;
        };
        let passed = match end {
            "ok" => true,
            "FAILED" => false,
            _ => continue,
        };
        let heading = format!("---- {name} stdout ----\n");
        let said = out.split_once(&heading).map_or("", |(_, said)| said);
        let said = said.split("\n---- ").next().unwrap_or_default();
        let said = said.split("\n\nfailures:\n").next().unwrap_or_default();
        let said = said.split("\n\nsuccesses:\n").next().unwrap_or_default();
        let (path, name) = (name.to_string(), name.rsplit("::").next().unwrap_or(name).into());
        tests.push(Test { path, name, passed, said: message(said) });
    }
    tests
}

/// What a test says, without the words of the test harness around it: its message, and where.
fn message(said: &str) -> String {
    let root = format!("{}/", root().display());
    let said = said.replace(&root, "");
    let mut lines = vec![];
    for line in said.trim().lines() {
        if line.starts_with("note: run with `RUST_BACKTRACE=1`") {
            continue;
        }
        if let Some((_, place)) = line.split_once("panicked at ")
            && line.starts_with("thread '")
        {
            lines.push(place.trim_end_matches(':').to_string());
            continue;
        }
        let line = line.strip_prefix("assertion `left == right` failed: ").unwrap_or(line);
        lines.push(line.into());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_the_tests_is_read() {
        let out = "
running 4 tests
test tests::a ... ok
test tests::b ... FAILED
test tests::c ... FAILED
test tests::d - should panic ... ok

failures:

---- tests::b stdout ----
log

thread 'tests::b' (7) panicked at work/x.rs:1:2:
assertion `left == right` failed: why
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

---- tests::c stdout ----
boom


failures:
    tests::b

test result: FAILED. 2 passed
";
        let tests = read_tests(out);
        let short: Vec<_> =
            tests.iter().map(|t| (t.path.as_str(), t.passed, t.said.as_str())).collect();
        let said = "log\n\nwork/x.rs:1:2\nwhy\n  left: 1\n right: 2";
        let expected = [
            ("tests::a", true, ""),
            ("tests::b", false, said),
            ("tests::c", false, "boom"),
            ("tests::d - should panic", true, ""),
        ];
        assert_eq!(short, expected);
    }

    #[test]
    fn a_program_that_hangs_or_ends_early_has_no_result() {
        let shell = |script: &str, limit| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            run(shell, "", limit).unwrap()
        };
        let hangs = shell("echo 'test tests::a ... ok'; exec sleep 60", Duration::from_millis(200));
        assert!(hangs.timed_out && hangs.tests.len() == 1, "{hangs:?}");
        let names = ["a".into(), "b".into(), "c".into()];
        assert_eq!(hangs.fault(&names).unwrap(), "stopped after 0 seconds; not ended: b, c");
        let ends = shell("echo 'test tests::a ... ok'; exit 0", Duration::from_secs(60));
        assert!(!ends.timed_out && ends.broken.unwrap().contains("without a result"));
        // What it left behind holds the pipe, and is not waited for.
        let begun = Instant::now();
        let leaves = shell("sleep 20 & echo; echo 'test result: ok'", Duration::from_secs(60));
        assert!(leaves.broken.is_none() && begun.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn an_error_of_the_compiler_names_its_place() {
        let span = |file: &str, line: u32, primary: bool| {
            serde_json::json!({"file_name": file, "line_start": line, "is_primary": primary,
                "expansion": null})
        };
        let mut message = serde_json::json!({
            "rendered": format!("error: in {}/x.rs", root().display()),
            "spans": [span("other", 1, false), span("mine", 7, true)],
        });
        let found = diagnostic(&message).unwrap();
        assert_eq!((&*found.file, found.line, &*found.text), ("mine", 7, "error: in x.rs"));
        // Within a macro of another crate, the place is where that is called.
        message["spans"][1]["expansion"] = serde_json::json!({"span": span("call", 9, true)});
        assert_eq!(diagnostic(&message).unwrap().line, 9);
        message["spans"] = serde_json::json!([]);
        assert!(diagnostic(&message).is_none(), "the summary at the end");
    }
}
