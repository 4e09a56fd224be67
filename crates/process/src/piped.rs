//! Programs that are spoken to: standard input and output belong to whoever started them.
use crate::{
    Environment, orphans,
    tree::{self, Tree},
};
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use rustix::process::Pid;
use std::{collections::BTreeMap, io, path::Path, process::Stdio, time::Duration};
use tokio::{
    process::{ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};

/// How long a program whose input was closed may take to end by itself.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// How long it then has between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(1);
/// How often what is to end is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A running program, such as a language server, and all that it started. Dropping it kills them.
#[derive(Debug)]
pub struct Piped {
    program: Box<dyn ChildWrapper>,
    tree: Option<Tree>,
}

/// The other ends of a program's three pipes.
#[derive(Debug)]
pub struct Pipes {
    /// What is written here, it reads.
    pub input: ChildStdin,
    /// What it writes.
    pub output: ChildStdout,
    /// What it writes about itself.
    pub errors: ChildStderr,
}

impl Piped {
    /// Starts a program, without a shell, in a session of its own, with this environment and these
    /// variables over it. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When there is no such program or folder, or the system has no pipe or process left.
    pub fn start(
        program: &str,
        arguments: &[String],
        cwd: &Path,
        environment: &Environment,
        variables: &BTreeMap<String, String>,
    ) -> io::Result<(Piped, Pipes)> {
        let (mark, owner) = (tree::mark()?, orphans::owner());
        let started = CommandWrap::with_new(program, |command| {
            command.args(arguments).current_dir(cwd);
            environment.give(command);
            command.envs(variables).env(&mark, &owner).kill_on_drop(true);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        })
        .wrap(ProcessSession)
        .spawn();
        let mut child = started.map_err(|error| {
            let folder =
                if cwd.is_dir() { String::new() } else { format!(" in {}", cwd.display()) };
            io::Error::new(error.kind(), format!("cannot start {program}{folder}: {error}"))
        })?;
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tree = leader.map(|leader| Tree::new(leader, &mark, &owner));
        let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let piped = Piped { program: child.into_inner(), tree };
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other(format!("{program} has no pipes")));
        };
        Ok((piped, Pipes { input, output, errors }))
    }

    /// Waits for it to end, now that its input is closed, then sends SIGTERM, then SIGKILL, to all
    /// of it: at most a second and a half pass. Says how it ended, if that is known.
    pub async fn stop(mut self) -> Option<String> {
        let mut ended = timeout(CLOSE_GRACE, self.program.wait()).await;
        if let Some(tree) = &mut self.tree {
            let all_ended = async {
                while tree.terminate() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            };
            let _ = timeout(TERM_GRACE, all_ended).await;
            tree.kill().await;
        }
        self.tree = None;
        if ended.is_err() {
            // So that it does not stay as a zombie.
            ended = timeout(CLOSE_GRACE, self.program.wait()).await;
        }
        Some(ended.ok()?.ok()?.to_string())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if let Some(tree) = &self.tree {
            tree.kill_blocking();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alive, gone, marker, until};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn bash(script: &str) -> (Piped, Pipes) {
        let arguments = ["-c".to_string(), script.to_string()];
        let variables = BTreeMap::from([("OWN".to_string(), "mine".to_string())]);
        let environment = Environment::new([], &[]);
        Piped::start("bash", &arguments, Path::new("/"), &environment, &variables).unwrap()
    }

    #[tokio::test]
    async fn it_reads_and_writes_and_ends_when_its_input_does() {
        let (piped, mut pipes) = bash("cat; echo $OWN; echo why >&2; exit 3");
        pipes.input.write_all(b"hello\n").await.unwrap();
        drop(pipes.input);
        let (mut output, mut errors) = (String::new(), String::new());
        pipes.output.read_to_string(&mut output).await.unwrap();
        pipes.errors.read_to_string(&mut errors).await.unwrap();
        assert_eq!((output.as_str(), errors.as_str()), ("hello\nmine\n", "why\n"));
        assert_eq!(piped.stop().await.unwrap(), "exit status: 3");
    }

    #[tokio::test]
    async fn what_ignores_its_end_is_killed_with_all_that_it_started() {
        let marker = marker();
        let script = format!("trap '' TERM; setsid sleep {marker} & sleep {marker} & wait");
        let (piped, pipes) = bash(&script);
        assert!(until(|| alive(&marker)).await);
        drop(pipes);
        piped.stop().await;
        assert!(gone(&marker).await);
        let (dropped, _pipes) = bash(&script);
        assert!(until(|| alive(&marker)).await);
        drop(dropped);
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_named() {
        let environment = Environment::new([], &[]);
        let start = |program, cwd: &str| {
            let started =
                Piped::start(program, &[], Path::new(cwd), &environment, &BTreeMap::new());
            started.unwrap_err().to_string()
        };
        assert!(start("no-such-program", "/").starts_with("cannot start no-such-program: "));
        assert!(start("cat", "/nowhere").starts_with("cannot start cat in /nowhere: "));
    }
}
