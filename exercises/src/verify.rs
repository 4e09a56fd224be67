//! All at once: the student's files, or the course's own.
use crate::{
    batch,
    catalog::{self, read},
    checks,
    isolation::Isolation,
    progress::Progress,
    report::{LIMIT, Verdict},
    run,
    screen::{bad, good, say, say_marked},
    task,
};
use std::process::Stdio;

/// Judges every exercise that was begun, with the given tests, and corrects the progress; whether
/// all of them are solved.
pub(crate) fn work() -> Result<bool, String> {
    let all = catalog::all()?;
    let mut entries = vec![];
    for exercise in all.iter().filter(|exercise| exercise.work().exists()) {
        let own = read(&exercise.work())?;
        entries.push((exercise, task::with_given_tests(&own, &exercise.task)));
    }
    let verdicts = batch::judge(&entries, &Isolation::None, LIMIT)?;
    let mut progress = Progress::load()?;
    let mut solved = 0;
    for ((exercise, _), verdict) in entries.iter().zip(verdicts) {
        let tests = exercise.tests();
        let (passes, why) = match &verdict {
            Verdict::Refused(_) => (false, "does not compile".into()),
            Verdict::Ran(outcome) if outcome.passed(&tests) => (true, "solved".into()),
            Verdict::Ran(outcome) => {
                (false, outcome.fault(&tests).unwrap_or("its tests fail".into()))
            }
        };
        progress.set_solved(&exercise.name, passes)?;
        solved += usize::from(passes);
        let mark = if passes { good("ok") } else { bad("no") };
        say_marked(&mark, &format!("{}: {why}", exercise.name));
    }
    say(&format!("{solved} of {} begun are solved; there are {}.", entries.len(), all.len()));
    Ok(solved == entries.len())
}

/// Checks tasks, solutions and hints whose names begin like this.
pub(crate) fn course(prefix: &str) -> Result<bool, String> {
    if !catalog::names("tasks", ".rs")?.iter().any(|name| name.starts_with(prefix)) {
        return Err(format!("no task begins with `{prefix}`; `list` shows all"));
    }
    let faults = checks::faults(prefix)?;
    for fault in &faults {
        say_marked(&bad("no"), fault);
    }
    let mut cargo = run::cargo();
    cargo.args(["test", "-p", "rungs-exercises", "--test", "all"]);
    if !prefix.is_empty() {
        cargo.arg(format!("::{prefix}"));
    }
    let status = cargo.stdin(Stdio::null()).status().map_err(|error| error.to_string())?;
    Ok(faults.is_empty() && status.success())
}
