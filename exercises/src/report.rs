//! What became of an exercise, and how it is shown.
use crate::{
    catalog::{Exercise, shown},
    run::{self, BuildError, Diagnostic, Outcome},
    screen::{bad, good, say, say_marked, strong, wrap_lines},
    task,
};
use std::{path::Path, process::Command, time::Duration};

/// How long the tests of an exercise may run. They need far less, so that only a hang is stopped.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What became of a file.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The compiler refuses it.
    Refused(Vec<Diagnostic>),
    Ran(Outcome),
}

impl Outcome {
    /// Whether each of these tests has passed.
    pub(crate) fn passed(&self, expected: &[String]) -> bool {
        self.broken.is_none() && expected.iter().all(|name| self.has_passed(name))
    }

    pub(crate) fn has_passed(&self, name: &str) -> bool {
        self.tests.iter().any(|test| test.name == name && test.passed)
    }

    /// The test of this name, if it has failed.
    pub(crate) fn failure(&self, name: &str) -> Option<&run::Test> {
        self.tests.iter().find(|test| test.name == name && !test.passed)
    }

    /// Why the tests were not run to their end, and which of these had not ended by then.
    pub(crate) fn fault(&self, names: &[String]) -> Option<String> {
        let why = self.broken.as_ref()?.trim_end();
        let ended = |name: &String| self.tests.iter().any(|test| test.name == *name);
        let open: Vec<&str> =
            names.iter().filter(|name| !ended(name)).map(String::as_str).collect();
        if open.is_empty() {
            return Some(why.into());
        }
        let (first, rest) = why.split_once('\n').unwrap_or((why, ""));
        Some(format!("{first}; not ended: {}\n{rest}", open.join(", ")).trim_end().into())
    }
}

/// Builds a file and runs its tests.
///
/// # Errors
/// When it is not the file's fault that this is impossible.
pub(crate) fn judge(exercise: &Exercise, file: &Path) -> Result<Verdict, String> {
    let program = match run::build(file, false) {
        Ok(program) => program,
        Err(BuildError::Refused(errors)) => return Ok(Verdict::Refused(errors)),
        Err(BuildError::Course(why)) => {
            let name = &exercise.name;
            return Err(format!(
                "{why}\nThat is not the fault of {name}: the course does not build."
            ));
        }
    };
    Ok(Verdict::Ran(run::run(Command::new(program), "tests::", LIMIT)?))
}

/// Shows the verdict.
pub(crate) fn print(exercise: &Exercise, verdict: &Verdict) {
    match verdict {
        Verdict::Refused(errors) => print_errors(exercise, errors),
        Verdict::Ran(outcome) => print_outcome(exercise, outcome),
    }
}

fn print_errors(exercise: &Exercise, errors: &[Diagnostic]) {
    for error in errors {
        say(&error.text);
        outln!("");
    }
    let own = std::fs::read_to_string(exercise.work()).unwrap_or_default();
    let code_lines = task::split(&own).0.lines().count();
    let file = shown(&exercise.work());
    outln!("{}", bad("Your file does not compile."));
    if errors.iter().all(|error| error.line > code_lines) {
        say(&format!(
            "The compiler points at the tests of {file}: what they use of your code must keep its \
             name and its types."
        ));
    } else {
        say(&format!("The errors above are in {file}."));
    }
}

fn print_outcome(exercise: &Exercise, outcome: &Outcome) {
    let expected = exercise.tests();
    let own = std::fs::read_to_string(exercise.work()).unwrap_or_default();
    let own = task::test_names(&own);
    let (mut failures, mut open, mut missing) = (vec![], vec![], vec![]);
    for name in &expected {
        let test = outcome.tests.iter().find(|test| test.name == *name);
        let mark = match test {
            Some(test) if test.passed => good("ok"),
            Some(test) => {
                failures.push(test);
                bad("no")
            }
            None => {
                if own.contains(name) { &mut open } else { &mut missing }.push(name.as_str());
                bad("??")
            }
        };
        say_marked(&mark, &name.replace('_', " "));
    }
    if let Some(test) = failures.first() {
        outln!("");
        outln!("{}", strong(&wrap_lines(&format!("{}:", test.name.replace('_', " ")))));
        say(&test.said);
    }
    let of = expected.len();
    if let Some(why) = outcome.fault(&own) {
        outln!("");
        outln!("{}", bad(&wrap_lines(&why)));
    } else if !open.is_empty() {
        outln!("");
        let (count, names) = (open.len(), open.join(", "));
        say(&format!("{count} of {of} given tests were not run, as with `#[ignore]`: {names}."));
    }
    if !missing.is_empty() {
        outln!("");
        let (count, names) = (missing.len(), missing.join(", "));
        say(&format!("{count} of {of} given tests are missing from your file: {names}."));
        let name = &exercise.name;
        say(&format!("`reset {name} --tests` puts them back, and keeps your code."));
    }
    if failures.len() > 1 {
        outln!("");
        say(&format!("{} of {of} tests do not pass yet.", failures.len()));
    }
}
