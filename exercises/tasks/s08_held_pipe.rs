// # The pipe that stays open
//
// drill, level 3, 30 minutes. Read: examples/s08_background_tasks.rs, crates/process/src/lib.rs
//
// `run` runs a command of the model and returns how it ended and what it printed. It is right for
// every command that behaves. Commands of models do not: they leave servers behind with `&`, and
// whatever is left holds the pipe into which the command prints. Then `run` waits until that ends,
// which for a server is for ever.
//
// Make `run` survive this:
//
// 1. It returns soon after the shell has ended, whoever holds the pipe. All that was printed until
//    then is in the output, however much it is.
// 2. What is left in the command's process group is killed when `run` returns, and also when `run`
//    is dropped, as after Ctrl+C. `kill_group` does that.
//
// Use tokio's `Command`, not `rungs_process::Process`, which can do all this and more.
//
// Run: cargo run -p rungs-exercises -- run s08_held_pipe

use std::process::{ExitStatus, Stdio};
#[allow(unused_imports)]
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

/// How long the output may be read after the end of the shell.
#[allow(dead_code)]
const DRAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// Kills all processes of the group that this process leads.
#[allow(dead_code)]
fn kill_group(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(leader) = Pid::from_raw(leader.cast_signed()) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// Runs a command: how its shell ended, and what was printed until then.
async fn run(command: &str) -> std::io::Result<(ExitStatus, String)> {
    let child = Command::new("bash")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let output = child.wait_with_output().await?;
    Ok((output.status, String::from_utf8_lossy(&output.stdout).into_owned()))
}

mod tests {
    use super::*;
    use rungs_process::testing::{self, alive, marker, until};
    use std::time::Duration;

    /// What `run` returns, within five seconds.
    async fn soon(command: &str) -> (ExitStatus, String) {
        let why = "still waiting after 5 s. The shell has ended long ago; who else holds the pipe? \
                   Wait for the shell, not for the end of the output";
        timeout(Duration::from_secs(5), run(command)).await.expect(why).unwrap()
    }

    /// Whether nothing is left after three seconds.
    async fn gone(marker: &str) -> bool {
        timeout(Duration::from_secs(3), testing::gone(marker)).await.unwrap_or(false)
    }

    #[tokio::test]
    async fn a_command_that_behaves() {
        let (status, output) = soon("echo one; echo two; exit 3").await;
        assert_eq!((status.code(), output.as_str()), (Some(3), "one\ntwo\n"), "as before");
    }

    #[tokio::test]
    async fn more_than_a_pipe_holds() {
        let (status, output) = soon("head -c 3000000 /dev/zero | tr '\\0' x").await;
        assert_eq!(status.code(), Some(0), "a pipe that nobody reads stops whoever writes to it");
        assert_eq!(output.len(), 3_000_000, "all of it, not only what the pipe holds");
    }

    #[tokio::test]
    async fn a_server_in_the_background_holds_the_pipe() {
        let marker = marker();
        let (status, output) = soon(&format!("M={marker} sleep 30 & echo started")).await;
        assert_eq!(status.code(), Some(0), "the shell has ended well");
        assert_eq!(output, "started\n", "what was printed before its end must not be lost");
        assert!(gone(&marker).await, "what it left behind must be gone, or nobody knows of it");
    }

    #[tokio::test]
    async fn one_that_prints_for_ever_does_not_keep_it() {
        let marker = marker();
        let command = format!("(: {marker}; while :; do echo noise; done) & echo started");
        let (_, output) = soon(&command).await;
        assert!(output.contains("started"), "the shell's own line is among the noise");
        assert!(gone(&marker).await, "it must be gone");
    }

    #[tokio::test]
    async fn a_run_that_is_dropped_leaves_nothing() {
        let marker = marker();
        let command = format!("M={marker} sleep 30 & M={marker} sleep 30");
        tokio::select! {
            _ = run(&command) => panic!("it does not end by itself"),
            begun = until(|| alive(&marker)) => assert!(begun, "the command did not start"),
        }
        assert!(gone(&marker).await, "Ctrl+C drops the future. What kills the group then?");
    }
}
