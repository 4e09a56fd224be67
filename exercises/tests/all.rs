//! Every task fails as it is given, and every solution passes the very same tests.
#![allow(clippy::needless_pass_by_value, clippy::todo, dead_code, unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));

/// How long it is waited for a test that fails: far longer than it takes, so that only a task whose
/// tests hang is found.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Runs the tests of a task as it is given, until the first one has failed.
#[track_caller]
fn assert_fails(task: &str) {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--ignored", &format!("given::{task}::")]).stdin(Stdio::null());
    let mut program = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let (sender, failed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = lines.map_while(Result::ok);
        // Nobody listens any more once the limit has passed.
        let _ = sender
            .send(lines.any(|line| line.starts_with("test given::") && line.ends_with(" FAILED")));
    });
    let failed = failed.recv_timeout(LIMIT);
    // What it still runs is of no interest; an error means that it has ended.
    let _ = program.kill();
    program.wait().unwrap();
    match failed {
        Ok(true) => {}
        Ok(false) => panic!("{task}: no test fails as it is given"),
        Err(_) => {
            panic!("{task}: its tests hang as it is given; give them limits of a few seconds")
        }
    }
}

/// The runner as a student starts it, in a folder of its own; what builds is left out here, since
/// it would take longer than all tests together.
mod runner {
    use std::{fs, path::Path, process::Command};

    /// Runs it: its exit code, and what it prints.
    fn run(work: &Path, words: &[&str]) -> (Option<i32>, String) {
        let mut runner = Command::new(env!("CARGO_BIN_EXE_rungs-exercises"));
        runner.args(words).env("RUNGS_WORK", work).env("COLUMNS", "40").env("NO_COLOR", "1");
        let done = runner.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout) + &text(&done.stderr))
    }

    #[test]
    fn shows_hints_one_by_one_and_keeps_what_a_student_has_written() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        let (code, first) = run(&work, &[]);
        assert_eq!(code, Some(0), "{first}");
        assert!(first.contains("Your copy:") && first.contains("COMMAND"), "{first}");
        let task = concat!(env!("CARGO_MANIFEST_DIR"), "/tasks/s01_the_loop.rs");
        let task = fs::read_to_string(task).unwrap();
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
            let (code, said) = run(&work, &["reset", "the_l", "--tests"]);
            let kept = work.join(format!("s01_the_loop.{n}.rs"));
            assert!(code == Some(0) && said.contains("given tests"), "{said}");
            assert!(fs::read_to_string(kept).unwrap().contains("my_own!"), "a copy is kept");
            assert!(fs::read_to_string(&file).unwrap().contains("my_own!"), "only the tests");
        }
        run(&work, &["reset", "the_l"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), task);
        assert!(work.join("s01_the_loop.3.rs").exists());
    }

    #[test]
    fn bad_input_gets_a_clear_line() {
        let dir = tempfile::tempdir().unwrap();
        for (words, line) in [
            (&["run"][..], "`run` needs the name of an exercise; `list` shows all\n"),
            (&["run", "nope"], "there is no exercise `nope`; `list` shows all\n"),
            (&["run", "../x"], "there is no exercise `../x`; `list` shows all\n"),
            (&["walk"], "`walk` is no command; --help shows all\n"),
            (&["hint", "the_l", "x"], "`x` is no number of a hint\n"),
            (&["hint", "the_l", "0"], "s01_the_loop has 3 hints, from 1 on\n"),
            (&["--wat"], "invalid option '--wat'; --help shows all\n"),
            (&["list", "--tests"], "--tests belongs to `reset`\n"),
            (&["grade"], "`grade` needs folders, one a student\n"),
            (&["grade", "/nonexistent"], "/nonexistent is no folder\n"),
            (&["grade", ".", "--only", "nope"], "--only: there is no exercise `nope`\n"),
            (&["grade", ".", "--limit", "0"], "--limit: `0` is no number of seconds above 0\n"),
        ] {
            assert_eq!(run(dir.path(), words), (Some(2), line.to_string()), "{words:?}");
        }
        let (code, several) = run(dir.path(), &["run", "1"]);
        assert!(code == Some(2) && several.starts_with("`1` can be\n  s01_"), "{several}");
        fs::write(dir.path().join(".progress.json"), "{\"s01").unwrap();
        let (code, said) = run(dir.path(), &["list"]);
        assert!(code == Some(2) && said.contains(".progress.json: EOF while"), "{said}");
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
            let is_command = line.contains("cargo run") || !line.trim().contains(' ');
            assert!(line.chars().count() <= 40 || is_command, "{line}");
        }
    }
}
