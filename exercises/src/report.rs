//! What became of an exercise, and how it is shown.
use crate::{
    catalog::{Exercise, shown},
    run::{self, BuildError, Diagnostic, Outcome},
    screen::{bad, good, say, strong},
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
        outln!("{}", error.text.trim_end());
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
    let mut first_failure = None;
    for name in &expected {
        let test = outcome.tests.iter().find(|test| test.name == *name);
        let (mark, failed) = match test {
            Some(test) if test.passed => (good("ok"), false),
            Some(_) => (bad("no"), true),
            None => (bad("??"), false),
        };
        // The mark is not part of what is wrapped, since colours have no width.
        let line =
            crate::screen::wrap(&format!("   {}", name.replace('_', " ")), crate::screen::width());
        outln!("{mark} {}", line.trim_start());
        if failed && first_failure.is_none() {
            first_failure = test;
        }
    }
    if let Some(test) = first_failure {
        outln!("");
        outln!("{}", strong(&format!("{}:", test.name.replace('_', " "))));
        for line in test.said.lines() {
            say(line);
        }
    }
    if let Some(why) = &outcome.broken {
        outln!("");
        outln!("{}", bad(why.trim_end()));
    }
    let failing = expected.len()
        - outcome.tests.iter().filter(|test| test.passed).count().min(expected.len());
    if failing > 1 {
        outln!("");
        say(&format!("{failing} of {} tests do not pass yet.", expected.len()));
    }
}
