//! Descriptors: none is lost, none is handed on. They belong to the whole process, so the test that
//! counts them has one of its own.
#![cfg(target_os = "linux")]

use rungs_process::{Clip, Environment, Process};
use std::path::Path;

/// How many commands are run in the short form.
const SHORT_RUNS: usize = 200;
const LONG_RUNS: usize = 5000;

fn environment() -> Environment {
    Environment::new([("PATH".into(), std::env::var_os("PATH").unwrap())], &[])
}

async fn run(command: &str) -> String {
    let (mut process, mut clip) = start(command);
    process.finish(&mut clip).await.unwrap();
    clip.into_text().await
}

fn start(command: &str) -> (Process, Clip) {
    (Process::start(command, Path::new("/"), &environment()).unwrap(), Clip::default())
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn no_way_to_run_a_command_leaks_a_descriptor_or_hands_one_on() {
    let long = std::env::var("LONG").is_ok_and(|value| value == "1");
    let padded = format!(": {}\necho $((1 + 1))", "x".repeat(200_000));
    // Whoever runs this test may have left files open.
    rungs_process::protect().unwrap();
    // Each opens what it opens only once.
    assert_eq!(run(&padded).await, "2\n");
    let before = descriptors();
    for _ in 0..if long { LONG_RUNS } else { SHORT_RUNS } / 4 {
        // Standard input, output and error, and the folder that is listed.
        assert_eq!(run("ls /proc/self/fd | wc -l").await.trim(), "4");
        assert_eq!(run(&padded).await, "2\n");
        assert!(Process::start("true", Path::new("/no/such"), &environment()).is_err());
        let (mut process, mut clip) = start("sleep 100");
        process.stop(&mut clip).await;
        drop(start("sleep 100"));
    }
    assert_eq!(descriptors(), before);
}
