//! The capstone: a mechanism of the student's own, measured.
use crate::{
    catalog::{self, HOME, read, shown},
    commands::begin_file,
    isolation::Isolation,
    report::LIMIT,
    run::{self, BuildError, Outcome},
    screen::{bad, good, say, say_marked, strong, warn},
    task,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Points for each test of `capstone/task.rs`; the table of its README says what they are for.
const POINTS: [(&str, u32); 7] = [
    ("there_is_a_mechanism", 10),
    ("the_tests_of_the_project_pass", 10),
    ("nothing_escapes_from_the_folder", 10),
    ("it_costs_few_requests", 5),
    ("it_costs_few_tokens", 5),
    ("what_was_sent_stays_as_it_was", 5),
    ("a_subagent_gets_what_it_asks_for", 5),
];
/// Points for the student's own tests, and how many they must be.
const OWN_POINTS: u32 = 10;
const MIN_OWN_TESTS: usize = 3;

fn file_of(name: &str) -> PathBuf {
    Path::new(HOME).join("capstone").join(name)
}

/// What became of one capstone.
struct Measured {
    /// What each line of the rubric is worth, and got; and what its test says.
    lines: Vec<(String, u32, u32, String)>,
    /// Why nothing could be measured.
    fault: Option<String>,
}

impl Measured {
    fn nothing(fault: String) -> Self {
        Measured { lines: vec![], fault: Some(fault) }
    }

    fn points(&self) -> u32 {
        self.lines.iter().map(|(_, points, ..)| points).sum()
    }
}

fn all_points() -> u32 {
    POINTS.iter().map(|(_, points)| points).sum::<u32>() + OWN_POINTS
}

/// Measures one's own, and shows the rubric; whether it has all points.
pub(crate) fn own() -> Result<bool, String> {
    let file = catalog::work().join("capstone.rs");
    let task = read(&file_of("task.rs"))?;
    if begin_file(&file, &task)? {
        say("The task sheet is exercises/capstone/README.md.");
        return Ok(true);
    }
    let measured = measure(&read(&file)?, &task, &file, &Isolation::None)?;
    if let Some(fault) = &measured.fault {
        say(fault);
        return Ok(false);
    }
    for (name, points, of, said) in &measured.lines {
        let mark = if points == of { good("ok") } else { bad("no") };
        say_marked(&mark, &format!("{points:>2} of {of:>2}: {}", name.replace('_', " ")));
        for line in said.lines() {
            say(&format!("   {line}"));
        }
    }
    let (points, all) = (measured.points(), all_points());
    outln!("{}", strong(&format!("{points} of {all} points are measured.")));
    say(&format!("{} says what else is judged.", shown(&file_of("README.md"))));
    Ok(points == all)
}

/// Measures `capstone.rs` in each of these folders, without the network: JSON on standard output.
pub(crate) fn of_class(folders: &[&str]) -> Result<(), String> {
    let task = read(&file_of("task.rs"))?;
    let home = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let isolation = Isolation::best(home.path());
    warn(&format!("Network: {}", isolation.describe()));
    let mut students: Vec<Value> = vec![];
    for folder in folders {
        let file = crate::grade::files_of(folder).join("capstone.rs");
        let measured = match crate::grade::source(&file) {
            Ok(Some(own)) => {
                // The given tests, so the file is written anew; its own stay as they are.
                let copy = home.path().join("capstone.rs");
                let whole = task::with_given_tests(&own, &task);
                fs::write(&copy, &whole).map_err(|error| error.to_string())?;
                measure(&whole, &task, &copy, &isolation)?
            }
            Ok(None) => Measured::nothing(format!("{} does not exist", file.display())),
            Err(why) => Measured::nothing(format!("{}: {why}", file.display())),
        };
        let lines = measured.lines.iter().map(|(name, points, of, said)| {
            json!({"what": name, "points": points, "of": of, "says": said})
        });
        students.push(json!({
            "student": folder,
            "points": measured.points(),
            "of": all_points(),
            "fault": measured.fault,
            "rubric": lines.collect::<Vec<Value>>(),
        }));
    }
    let report = json!({"network": isolation.describe(), "students": students});
    outln!("{report:#}");
    Ok(())
}

fn measure(
    source: &str,
    task: &str,
    file: &Path,
    isolation: &Isolation,
) -> Result<Measured, String> {
    if task::split(source).1 != task::split(task).1 {
        let fault = "the given tests were changed: put them back from exercises/capstone/task.rs";
        return Ok(Measured::nothing(fault.into()));
    }
    let program = match run::build(file, isolation.offline()) {
        Ok(program) => program,
        Err(BuildError::Refused(errors)) => {
            let texts: Vec<&str> = errors.iter().map(|error| error.text.as_str()).collect();
            return Ok(Measured::nothing(format!("{}\nIt does not compile.", texts.join("\n"))));
        }
        Err(BuildError::Course(why)) => return Err(why),
    };
    let mut command = isolation.command(&program);
    command.arg("--show-output");
    let outcome = run::run(command, "", LIMIT)?;
    if let Some(why) = outcome.fault(&task::test_names(task)) {
        return Ok(Measured::nothing(why));
    }
    let mut lines = vec![];
    let mut acts = true;
    for (name, of) in POINTS {
        let test = outcome.tests.iter().find(|test| test.path == format!("tests::{name}"));
        let (passed, said) = test.map_or((false, ""), |test| (test.passed, &test.said));
        // Without a mechanism all is as good as it was before.
        acts &= passed || name != POINTS[0].0;
        let points = if passed && acts { of } else { 0 };
        lines.push((name.to_string(), points, of, said.to_string()));
    }
    lines.push(own_tests(&outcome));
    Ok(Measured { lines, fault: None })
}

fn own_tests(outcome: &Outcome) -> (String, u32, u32, String) {
    let own = outcome.tests.iter().filter(|test| !test.path.starts_with("tests::"));
    let failing: Vec<&str> =
        own.clone().filter(|test| !test.passed).map(|test| test.path.as_str()).collect();
    let count = own.count();
    let said = match failing.is_empty() {
        true => format!("{count} tests, of {MIN_OWN_TESTS} at least"),
        false => format!("these fail: {}", failing.join(", ")),
    };
    let passes = failing.is_empty() && count >= MIN_OWN_TESTS;
    ("your own tests".into(), if passes { OWN_POINTS } else { 0 }, OWN_POINTS, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_rubric_is_a_test_with_its_points() {
        let task = read(&file_of("task.rs")).unwrap();
        assert_eq!(task::test_names(&task), POINTS.map(|(name, _)| name));
        let readme = read(&file_of("README.md")).unwrap();
        let measured = readme.split("## What is measured").nth(1).unwrap();
        let measured = measured.split("That makes 60 points").next().unwrap();
        let cells = measured.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let points: Vec<u32> = cells.filter_map(|cell| cell.parse().ok()).collect();
        let mut expected = POINTS.map(|(_, points)| points).to_vec();
        expected.push(OWN_POINTS);
        assert_eq!(points, expected);
        assert_eq!(all_points(), 60);
    }
}
