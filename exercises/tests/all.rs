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
