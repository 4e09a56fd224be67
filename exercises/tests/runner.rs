//! The runner as a student starts it, in a folder of its own. Nothing is built here: that would
//! take longer than all tests together. Where a test needs a program, a cargo of its own gives it
//! one.
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// The tests of `s01_the_loop`.
const TESTS: [&str; 5] = [
    "a_reply_without_calls_is_the_answer",
    "results_go_back_until_no_tool_is_called",
    "a_failing_command_is_a_result_and_no_end",
    "an_endless_loop_stops_and_leaves_every_call_answered",
    "an_error_of_the_model_ends_the_turn",
];

/// Instead of cargo: what it has built is itself, and as that it says what a file holds.
const CARGO: &str = r#"#!/bin/sh
if [ "$1" = rustc ]; then
    echo '{"reason":"compiler-artifact","target":{"name":"exercise"},"executable":"'"$0"'"}'
else
    cat "$0.said"
fi
"#;

fn runner(work: &Path, words: &[&str]) -> Command {
    let mut runner = Command::new(env!("CARGO_BIN_EXE_rungs-exercises"));
    runner.args(words).env("RUNGS_WORK", work).env("COLUMNS", "40").env("NO_COLOR", "1");
    runner
}

/// Runs it: its exit code, and what it prints.
fn run(work: &Path, words: &[&str]) -> (Option<i32>, String) {
    end(runner(work, words), "")
}

/// The same, with tests that say this; the lines are joined.
fn run_with(said: &str, work: &Path, words: &[&str]) -> (Option<i32>, String) {
    let cargo = work.join("cargo");
    fs::create_dir_all(work).unwrap();
    fs::write(work.join("cargo.said"), said).unwrap();
    // A file that this process has written cannot be run while another test begins a program.
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat > \"$0\" && chmod +x \"$0\""]).arg(&cargo);
    assert_eq!(end(shell, CARGO).0, Some(0));
    let mut runner = runner(work, words);
    runner.env("CARGO", &cargo);
    let (code, said) = end(runner, "q\n");
    (code, joined(&said))
}

fn end(mut program: Command, input: &str) -> (Option<i32>, String) {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    // It may have ended without a look at what is typed.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout) + &text(&done.stderr))
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn task(name: &str) -> String {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tasks");
    fs::read_to_string(tasks.join(format!("{name}.rs"))).unwrap()
}

/// What the test harness prints.
fn report(tests: &[(&str, &str)]) -> String {
    let lines = tests.iter().map(|(name, end)| format!("test tests::{name} ... {end}\n"));
    lines.collect::<String>() + "\ntest result: that\n"
}

#[test]
fn shows_hints_one_by_one_and_keeps_what_a_student_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let (code, first) = run(&work, &[]);
    assert_eq!(code, Some(0), "{first}");
    assert!(first.contains("Your copy:") && first.contains("COMMAND"), "{first}");
    let task = task("s01_the_loop");
    let file = work.join("s01_the_loop.rs");
    assert_eq!(run(&work, &["reset", "the_loop"]).0, Some(0), "it begins one, too");
    assert_eq!(fs::read_to_string(&file).unwrap(), task);
    for (hint, begin) in [(1, "Hint 1 of 3\n"), (2, "Hint 2 of 3\n"), (3, "Hint 3 of 3\n")] {
        let (code, said) = run(&work, &["hint", "s01_the"]);
        assert!(code == Some(0) && said.starts_with(begin), "{hint}: {said}");
    }
    let (_, last) = run(&work, &["hint", "s01_the"]);
    assert!(last.contains("That is the last one."), "{last}");

    fs::write(&file, task.replace("todo!", "my_own!")).unwrap();
    let (_, diff) = run(&work, &["solution", "the_l"]);
    assert!(diff.contains("\n-    my_own!") && diff.contains("\n+        let calls"), "{diff}");
    for n in ["1", "2"] {
        let mut own = fs::OpenOptions::new().append(true).open(&file).unwrap();
        own.write_all(b"// My own test.\n").unwrap();
        let (code, said) = run(&work, &["reset", "the_l", "--tests"]);
        let kept = work.join(format!("s01_the_loop.{n}.rs"));
        assert!(code == Some(0) && said.contains("given tests"), "{said}");
        assert!(fs::read_to_string(kept).unwrap().contains("my_own!"), "a copy is kept");
        let own = fs::read_to_string(&file).unwrap();
        assert!(own.contains("my_own!") && !own.contains("My own test"), "only the tests");
    }
    for words in [&["reset", "the_l", "--tests"][..], &["reset", "the_l"], &["reset", "the_l"]] {
        let unchanged = words.len() == 3 || work.join("s01_the_loop.3.rs").exists();
        let said = joined(&run(&work, words).1);
        assert_eq!(said.ends_with(": nothing was changed."), unchanged, "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), task);
    assert!(work.join("s01_the_loop.3.rs").exists() && !work.join("s01_the_loop.4.rs").exists());
}

#[test]
fn says_what_became_of_the_tests() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, rest @ ..] = TESTS;
    let run = |said: &str| run_with(said, dir.path(), &["run", "the_loop"]).1;
    let ok = rest.map(|name| (name, "ok"));
    let said = run(&report(&[&ok[..], &[(first, "FAILED"), (second, "FAILED")]].concat()));
    assert!(said.contains("2 of 5 tests do not pass yet. `hint s01_the_loop` helps"), "{said}");
    let said = run(&report(&[&ok[..], &[(first, "ok"), (second, "ignored")]].concat()));
    assert!(
        said.contains(&format!("1 of 5 given tests were not run, as with `#[ignore]`: {second}."))
    );
    let said = run("test tests::results_go_back_until_no_tool_is_called ... ok\n");
    let open = [first, rest[0], rest[1], rest[2]].join(", ");
    assert!(said.contains(&format!("status: 0); not ended: {open}")), "{said}");

    let own = task("s01_the_loop").replace(first, "another").replace(second, "more");
    fs::write(dir.path().join("s01_the_loop.rs"), own).unwrap();
    let said = run(&report(&[&ok[..], &[("another", "FAILED")]].concat()));
    let missing = format!(
        "2 of 5 given tests are missing from your file: {first}, {second}. `reset s01_the_loop \
         --tests` puts them back"
    );
    assert!(said.contains(&missing) && !said.contains("do not pass"), "{said}");
}

#[test]
fn a_solved_exercise_leads_to_its_solution_and_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let said = report(&TESTS.map(|name| (name, "ok")));
    let (code, ran) = run_with(&said, dir.path(), &["run", "s01_the_loop"]);
    let solution = "Solved. `solution s01_the_loop` shows the given one, to compare.";
    assert!(code == Some(0) && ran.contains(solution), "{ran}");
    let next = ran.rsplit(' ').next().unwrap();
    let (code, watched) = run_with(&said, dir.path(), &["watch", "s01_the_loop"]);
    assert!(code == Some(0) && watched.contains(solution), "{watched}");
    let shown = format!("shows the given one, to compare. Your copy: {}", dir.path().display());
    assert!(watched.contains(&format!("{shown}/{next}.rs {next}: ")), "{next}: {watched}");

    let tasks = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tasks")).unwrap();
    let names = tasks.map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned());
    let all = names.map(|name| format!("{name:?}: {{\"solved\": true}}")).collect::<Vec<_>>();
    fs::write(dir.path().join(".progress.json"), format!("{{{}}}", all.join(","))).unwrap();
    for words in [&[][..], &["run", "the_loop"], &["watch"]] {
        let (code, last) = run_with(&said, dir.path(), words);
        assert!(code == Some(0) && last.ends_with("rungs-exercises -- capstone"), "{last}");
    }
}

#[test]
fn a_solution_of_what_was_not_begun_must_be_wanted() {
    let dir = tempfile::tempdir().unwrap();
    // The second time there is a copy, but nothing was done.
    for _ in 0..2 {
        let (code, said) = run(dir.path(), &["solution", "the_loop"]);
        let said = joined(&said);
        assert!(code == Some(2) && said.contains("`solution s01_the_loop --anyway`"), "{said}");
        let (code, said) = run(dir.path(), &["solution", "the_loop", "--anyway"]);
        assert!(code == Some(0) && said.contains("\n+        let calls"), "{said}");
        run(dir.path(), &["reset", "the_loop"]);
    }
}

#[test]
fn a_name_may_be_the_path_of_a_file_and_a_list_may_be_short() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["exercises/work/s01_the_loop.rs", "exercises/tasks/s01_the_loop.rs"] {
        let (code, said) = run(dir.path(), &["hint", file, "1"]);
        assert!(code == Some(0) && said.starts_with("Hint 1 of 3"), "{said}");
    }
    let (code, list) = run(dir.path(), &["list", "s01"]);
    let others = list.lines().any(|line| line.starts_with("  [") && !line.contains("] s01_"));
    assert!(code == Some(0) && list.contains("] s01_the_loop\n") && !others, "{list}");
    let (_, list) = run(dir.path(), &["list", "s01_the"]);
    assert!(list.contains("\n0 of 1 solved, 0 of 15 minutes.\n"), "{list}");
}

#[test]
fn bad_input_gets_a_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    for (words, line) in [
        (&["run"][..], "`run` needs the name of an exercise; `list` shows all"),
        (&["run", "nope"], "there is no exercise `nope`; `list` shows all"),
        (
            &["run", "teh_loop"],
            "there is no exercise `teh_loop`; did you mean `s01_the_loop`? `list` shows all",
        ),
        (&["run", "../x"], "there is no exercise `../x`; `list` shows all"),
        (&["list", "nope"], "there is no exercise `nope`; `list` shows all"),
        (&["list", "s01", "s02"], "`list` does not take so many words; --help shows all"),
        (&["walk"], "`walk` is no command; --help shows all"),
        (&["wacth"], "`wacth` is no command; did you mean `watch`? --help shows all"),
        (&["hint", "the_l", "x"], "`x` is no number of a hint"),
        (&["hint", "the_l", "0"], "s01_the_loop has 3 hints, from 1 on"),
        (&["--wat"], "invalid option '--wat'; --help shows all"),
        (&["list", "--tests"], "--tests belongs to `reset`"),
        (&["run", "the_loop", "--anyway"], "--anyway belongs to `solution`"),
        (&["verify", "nope", "--course"], "no task begins with `nope`; `list` shows all"),
        (&["grade"], "`grade` needs folders, one a student"),
        (&["grade", "/nonexistent"], "/nonexistent is no folder"),
        (
            &["grade", ".", "--only", "nope"],
            "--only: there is no exercise `nope`; `list` shows all",
        ),
        (&["grade", ".", "--limit", "0"], "--limit: `0` is no number of seconds above 0"),
    ] {
        let (code, said) = run(dir.path(), words);
        assert_eq!((code, &*joined(&said)), (Some(2), line), "{words:?}");
        assert!(said.lines().all(fits), "{said}");
    }
    let (code, several) = run(dir.path(), &["run", "1"]);
    assert!(code == Some(2) && several.starts_with("`1` can be\n  s01_"), "{several}");
    fs::write(dir.path().join(".progress.json"), "{\"s01").unwrap();
    let (code, said) = run(dir.path(), &["list"]);
    assert!(code == Some(2) && joined(&said).contains(".progress.json: EOF while"), "{said}");
    let damaged = fs::read_to_string(dir.path().join(".progress.json")).unwrap();
    assert_eq!(damaged, "{\"s01", "nothing is lost");
}

#[test]
fn a_line_fits_forty_columns_unless_it_is_to_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (code, list) = run(dir.path(), &["list"]);
    assert_eq!(code, Some(0), "{list}");
    let (_, help) = run(dir.path(), &["--help"]);
    let (_, next) = run(dir.path(), &["next"]);
    for line in list.lines().chain(help.lines()).chain(next.lines()) {
        assert!(fits(line), "{line}");
    }
}

/// Whether a line has no word that could be put into the next one.
fn fits(line: &str) -> bool {
    line.chars().count() <= 40 || !line.trim().contains(' ')
}
