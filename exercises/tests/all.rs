//! Every task fails as it is given, and every solution passes the very same tests.
#![allow(clippy::todo, dead_code, unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));

/// How long the tests of a task may run: far longer than they do, so that only a hang is found.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Runs the tests of a task as it is given.
#[track_caller]
fn assert_fails(task: &str) {
    use std::process::{Command, Stdio};
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--ignored", &format!("given::{task}::")]).stdin(Stdio::null());
    let mut program = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // A thread, so that the program cannot wait for a full pipe while it is waited for.
    let mut out = program.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut out).unwrap());
    let begun = std::time::Instant::now();
    while program.try_wait().unwrap().is_none() {
        if begun.elapsed() > LIMIT {
            program.kill().unwrap();
            panic!("{task}: its tests hang as it is given; give them time-outs of a few seconds");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let printed = reader.join().unwrap();
    let failed = printed.lines().any(|line| line.starts_with("test ") && line.ends_with("FAILED"));
    assert!(failed, "{task}: no test fails as it is given:\n{printed}");
}
