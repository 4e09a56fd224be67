//! Commands that read an input and answer, such as hooks.
use crate::{DRAIN_TIMEOUT, Environment, MAX_ARGUMENT_BYTES, Process, Sink, no_nul, stopped};
use std::{io, path::Path, pin::pin, process::ExitStatus, time::Duration};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, sync::Notify, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// What bounds a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterLimits {
    /// How long it may run.
    pub time: Duration,
    /// How many bytes it may print on standard output, and how many are kept of standard error.
    pub bytes: usize,
}

/// What came of a filter.
#[derive(Debug)]
pub struct Filtered {
    /// How it ended.
    pub end: FilterEnd,
    /// What it printed on standard output, as a terminal would show it.
    pub stdout: String,
    /// The beginning of what it printed on standard error.
    pub stderr: String,
    /// A line that names the processes which it left running, and which were stopped; empty when
    /// there were none.
    pub left_running: String,
}

/// How a filter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterEnd {
    /// By itself, or by a signal.
    Ended(ExitStatus),
    /// It took longer than [`FilterLimits::time`], and was stopped.
    TimedOut,
    /// It printed more than [`FilterLimits::bytes`], and was stopped.
    TooMuchOutput,
}

/// Runs `bash -c command` as [`Process::start`] does, with this input on standard input and its two
/// outputs apart. A command that does not read its input may end all the same. Dropping the future
/// kills the command, one that is just being started as soon as it runs.
///
/// # Errors
/// Those of [`Process::start`], and when the command has more than 128 KiB.
pub async fn filter(
    command: &str,
    cwd: &Path,
    environment: &Environment,
    input: Vec<u8>,
    limits: FilterLimits,
) -> io::Result<Filtered> {
    no_nul(command)?;
    if command.len() > MAX_ARGUMENT_BYTES {
        let why = format!("the command has more than {MAX_ARGUMENT_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let ((reader, writer), (errors, errors_writer)) = (io::pipe()?, io::pipe()?);
    let pipes = (reader, writer, errors_writer);
    let (command, cwd, environment) = (command.to_owned(), cwd.to_owned(), environment.clone());
    // To start bash blocks the thread until it runs, which may take milliseconds.
    let start = move || Process::spawn(&command, &cwd, &environment, Some(input), pipes);
    let started = AbortOnDropHandle::new(tokio::task::spawn_blocking(start)).await;
    let mut process = started.map_err(io::Error::other)??;
    let (full, max_bytes) = (Notify::new(), limits.bytes);
    let mut stdout = Bounded { bytes: vec![], max_bytes, full: Some(&full) };
    let mut stderr = Bounded { bytes: vec![], max_bytes, full: None };
    let (ended, left) = {
        let mut errors_read = pin!(read(Receiver::from_owned_fd(errors.into())?, &mut stderr));
        let mut finish = pin!(process.finish_tree(&mut stdout));
        let mut time = pin!(tokio::time::sleep(limits.time));
        let mut errors_open = true;
        loop {
            tokio::select! {
                finished = &mut finish => {
                    let (status, left) = finished?;
                    if errors_open {
                        // A daemon that escaped may hold the pipe.
                        let _ = timeout(DRAIN_TIMEOUT, &mut errors_read).await;
                    }
                    break (FilterEnd::Ended(status), left);
                }
                () = &mut errors_read, if errors_open => errors_open = false,
                () = full.notified() => break (FilterEnd::TooMuchOutput, vec![]),
                () = &mut time => break (FilterEnd::TimedOut, vec![]),
            }
        }
    };
    match ended {
        FilterEnd::Ended(_) => process.end_output(&mut stdout, "").await,
        FilterEnd::TimedOut | FilterEnd::TooMuchOutput => process.stop(&mut stdout).await,
    }
    // What it printed last may have been too much.
    let end = match stdout.bytes.len() > max_bytes {
        true if matches!(ended, FilterEnd::Ended(_)) => FilterEnd::TooMuchOutput,
        _ => ended,
    };
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(max_bytes)]).into_owned();
    let (stdout, stderr) = (text(&stdout.bytes), text(&stderr.bytes));
    Ok(Filtered { end, stdout, stderr, left_running: stopped(left) })
}

async fn read(mut pipe: Receiver, sink: &mut Bounded<'_>) {
    let mut piece = [0; 4096];
    // An error is the end, too.
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        sink.push(&piece[..length]);
    }
}

/// The first bytes of an output, up to one more than it may have.
struct Bounded<'a> {
    bytes: Vec<u8>,
    max_bytes: usize,
    /// Told when it is too much.
    full: Option<&'a Notify>,
}

impl Sink for Bounded<'_> {
    fn push(&mut self, bytes: &[u8]) {
        let room = (self.max_bytes + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if let Some(full) = self.full
            && self.bytes.len() > self.max_bytes
        {
            full.notify_one();
        }
    }

    async fn flush(&mut self) {
        if self.bytes.len() > self.max_bytes {
            // A fast writer must not keep whoever stops it waiting.
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gone, marker};

    async fn run(command: &str, input: &str, millis: u64) -> Filtered {
        let limits = FilterLimits { time: Duration::from_millis(millis), bytes: 1000 };
        let environment = Environment::default().with("GIVEN_TOKEN", "x");
        filter(command, Path::new("/"), &environment, input.into(), limits).await.unwrap()
    }

    #[tokio::test]
    async fn input_and_both_outputs_are_apart() {
        let done = run("cat; echo oops >&2; echo $GIVEN_TOKEN; exit 3", "in\n", 60_000).await;
        let FilterEnd::Ended(status) = done.end else { panic!("{done:?}") };
        assert_eq!((status.code(), &*done.stdout, &*done.stderr), (Some(3), "in\nx\n", "oops\n"));
    }

    #[tokio::test]
    async fn a_large_input_that_nobody_reads_holds_nothing_up() {
        let done = run("echo done", &"x".repeat(1 << 20), 60_000).await;
        assert_eq!((&*done.stdout, done.left_running.as_str()), ("done\n", ""));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_stopped_with_all_that_it_started() {
        let marker = marker();
        let done = run(&format!("echo begun; sleep {marker} & sleep {marker}"), "", 200).await;
        assert_eq!((done.end, &*done.stdout), (FilterEnd::TimedOut, "begun\n"));
        assert!(gone(&marker).await);
    }

    #[tokio::test]
    async fn what_prints_too_much_is_stopped() {
        let done = run("yes", "", 60_000).await;
        assert_eq!((done.end, done.stdout.len()), (FilterEnd::TooMuchOutput, 1000));
        let errors = run("yes >&2 & sleep 0.1; kill $!", "", 60_000).await;
        assert!(matches!(errors.end, FilterEnd::Ended(_)) && errors.stderr.len() == 1000);
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_named_and_not_in_its_output() {
        let marker = marker();
        let done = run(&format!("sleep {marker} & echo '{{}}'"), "", 60_000).await;
        let named = format!("[still running at the end, and stopped (1): sleep {marker}]");
        assert_eq!((&*done.stdout, done.left_running), ("{}\n", named));
        assert!(gone(&marker).await);
    }
}
