//! Shell commands that cannot ask, cannot hang, print no more than can be read, and leave no
//! processes behind.
//!
//! - [`Process`]: a running command: a session of its own, no input, no terminal.
//! - [`filter`]: a command that reads an input, and whose two outputs are kept apart.
//! - [`Environment`]: the variables that it gets, without secrets; [`protect`] keeps those of this
//!   process from it.
//! - [`Clip`]: the beginning and the end of its output, and the whole of it in a file among an
//!   owner's [`Outputs`].
//! - [`Log`] and [`LogWriter`]: the newest lines of its output, and the whole of it in a file, for
//!   one that runs long.
//! - [`jobs`]: commands in the background.
//! - [`end_orphans`]: the end of what a killed program has left running.
//! - [`destructive`]: a deny list of a few commands that are never meant.
//!
//! Files and folders are created, written and deleted on Tokio's blocking threads. To drop a
//! [`Process`] signals and kills, no more.
mod clip;
mod denylist;
mod environment;
mod file_copy;
mod filter;
pub mod jobs;
mod log;
mod orphans;
mod outputs;
mod piped;
mod protect;
mod shown;
#[doc(hidden)]
pub mod testing;
mod tree;

pub use clip::Clip;
pub use denylist::destructive;
pub use environment::Environment;
pub use filter::{FilterEnd, FilterLimits, Filtered, filter};
pub use log::{Log, LogWriter};
pub use orphans::{end_orphans, end_own};
pub use outputs::Outputs;
pub use piped::{Piped, Pipes};
pub use protect::protect;

use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use rustix::process::Pid;
use shown::Shown;
use std::{
    collections::BTreeMap,
    future::Future,
    io::{self, PipeReader, PipeWriter},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::unix::pipe::Receiver, time::timeout};
use tree::Tree;

/// How long the output of a command is read after its shell has ended, while something still writes
/// to the pipe.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// How long what a command leaves running may take to end by itself.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// How many different command lines are listed of what was stopped.
const MAX_LISTED: usize = 10;
/// How long what a command leaves running has between SIGTERM and SIGKILL.
const BACKGROUND_GRACE: Duration = Duration::from_secs(1);
/// How long a command that is stopped has between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How often what was sent SIGTERM is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How many bytes are read from the pipe at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a command may be that is given to bash as an argument: Linux lets one have 128 KiB,
/// with its end.
const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// Runs a longer command, which comes on standard input, as if it had been an argument.
const RUN_INPUT: &str = "eval \"$(</dev/stdin)\" </dev/null";
/// How often the pipe is read before the sink is flushed: a fast writer must neither keep the task
/// for itself nor fill the memory.
const MAX_READS: usize = 16;

/// Where a command's output goes, piece by piece, as a terminal would show it: what was overwritten
/// is not in it, colours neither.
pub trait Sink {
    /// Takes more bytes, in memory only: it must not block. They will not change any more.
    fn push(&mut self, bytes: &[u8]);

    /// The end of the output for now, which may still be overwritten: it takes the place of what
    /// the last call gave. In memory only, as well.
    fn redraw(&mut self, _text: &[u8]) {}

    /// Writes to disk what was pushed and belongs there. [`Process`] awaits it after every few
    /// pushes and before it returns. It may be dropped at any await, and must lose nothing then.
    fn flush(&mut self) -> impl Future<Output = ()> + Send;
}

/// A running shell command and all that it started. Dropping it kills them all.
#[derive(Debug)]
pub struct Process {
    shell: Box<dyn ChildWrapper>,
    /// `None` once nothing is left to kill.
    tree: Option<Tree>,
    output: Receiver,
    shown: Shown,
}

impl Process {
    /// Starts `bash -c command` in `cwd`, within a Tokio runtime: in a session of its own (no
    /// terminal to ask for passwords on), with empty standard input, with both outputs in one pipe
    /// so that their order is kept, and with this environment, in which pagers and prompts are
    /// switched off. A command may have any length.
    ///
    /// # Errors
    /// Says what is wrong: the command holds a NUL character, the directory or bash is missing, the
    /// environment is too large, or the system has no pipe, process or random number left.
    pub fn start(command: &str, cwd: &Path, environment: &Environment) -> io::Result<Process> {
        let (reader, writer) = io::pipe()?;
        let errors = writer.try_clone()?;
        let long = command.len() > MAX_ARGUMENT_BYTES;
        let (argument, input) =
            if long { (RUN_INPUT, Some(command.as_bytes().to_vec())) } else { (command, None) };
        no_nul(command)?;
        Process::spawn(argument, cwd, environment, input, (reader, writer, errors))
    }

    /// Starts `bash -c argument`, gives it this input if there is one, and reads one of its two
    /// outputs.
    fn spawn(
        argument: &str,
        cwd: &Path,
        environment: &Environment,
        input: Option<Vec<u8>>,
        (reader, writer, errors): (PipeReader, PipeWriter, PipeWriter),
    ) -> io::Result<Process> {
        let (mark, owner) = (tree::mark()?, orphans::owner());
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut bash = CommandWrap::with_new("bash", |bash| {
            bash.args(["--norc", "--noprofile", "-c", argument]).current_dir(cwd);
            environment.give(bash);
            bash.env(&mark, &owner).stdin(stdin).kill_on_drop(true);
        });
        bash.command_mut().stdout(writer).stderr(errors);
        // This copies the page tables of the whole program; it will not where the standard library
        // has `setsid` (rust-lang/rust#105376).
        let started = bash.wrap(ProcessSession).spawn();
        let mut child = started.map_err(|error| explain(&error, cwd, environment))?;
        // The command still holds the writing end of the pipe, and as long as it does the output
        // has no end.
        drop(bash);
        if let (Some(mut stdin), Some(input)) = (child.stdin().take(), input) {
            // Whoever ends before it has read all of it does not want the rest.
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tree = leader.map(|leader| Tree::new(leader, &mark, &owner));
        // The wrapper's own `wait` waits for the whole group: forever, if a server was left in the
        // background.
        Ok(Process {
            shell: child.into_inner(),
            tree,
            output: Receiver::from_owned_fd(reader.into())?,
            shown: Shown::new(),
        })
    }

    /// The process id of the shell, which is also that of its session; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.shell.id()
    }

    /// Reads its output into `sink` until the shell ends, even when something in the background
    /// still holds the pipe. What it left running is sent SIGTERM, then SIGKILL, and the last line
    /// of the output says what that was; at most 1.6 seconds pass after the end of the shell.
    ///
    /// # Errors
    /// When the pipe or the process cannot be read.
    pub async fn finish(&mut self, sink: &mut impl Sink) -> io::Result<ExitStatus> {
        let (status, left) = self.finish_tree(sink).await?;
        self.end_output(sink, &stopped(left)).await;
        Ok(status)
    }

    /// The same without the last line: the command lines of what was left running.
    async fn finish_tree(&mut self, sink: &mut impl Sink) -> io::Result<(ExitStatus, Vec<String>)> {
        let status = self.wait_for_shell(sink).await?;
        // What is about to end by itself may do so: the `tee` of `make > >(tee log)`.
        let all_ended = async {
            while self.tree.as_ref().is_some_and(Tree::is_alive) {
                self.read(sink);
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let left = match timeout(SETTLE_TIME, all_ended).await {
            Ok(()) => vec![],
            Err(_) => self.tree.as_ref().map(Tree::command_lines).unwrap_or_default(),
        };
        self.end_tree().await;
        self.read(sink);
        Ok((status, left))
    }

    async fn wait_for_shell(&mut self, sink: &mut impl Sink) -> io::Result<ExitStatus> {
        let mut open = true;
        let status = loop {
            tokio::select! {
                ready = self.output.readable(), if open => {
                    ready?;
                    open = self.read(sink);
                    sink.redraw(&self.shown.changeable());
                    sink.flush().await;
                }
                status = self.shell.wait() => break status?,
            }
        };
        // What the shell wrote is in the pipe by now; other writers are not waited for.
        let drain = async {
            while self.read(sink) && self.has_more() {
                sink.flush().await;
                tokio::task::yield_now().await;
            }
        };
        let _ = timeout(DRAIN_TIMEOUT, drain).await;
        Ok(status)
    }

    /// Ends what is left once the shell has ended.
    async fn end_tree(&mut self) {
        let Some(tree) = &mut self.tree else { return };
        if tree.terminate() {
            let all_ended = async {
                while tree.terminate() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            };
            let _ = timeout(BACKGROUND_GRACE, all_ended).await;
            tree.kill().await;
        }
        self.tree = None;
    }

    /// Gives the sink what is left, once nothing can overwrite it any more.
    async fn end_output(&mut self, sink: &mut impl Sink, note: &str) {
        self.shown.end(note);
        sink.push(&self.shown.take_final());
        sink.redraw(&[]);
        sink.flush().await;
    }

    /// Reads what is in the pipe, up to a bound; `false` at the end of the output.
    fn read(&mut self, sink: &mut impl Sink) -> bool {
        let mut piece = [0; READ_BYTES];
        for _ in 0..MAX_READS {
            match self.output.try_read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => {
                    self.shown.push(&piece[..length]);
                    sink.push(&self.shown.take_final());
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn has_more(&self) -> bool {
        rustix::io::ioctl_fionread(&self.output).is_ok_and(|bytes| bytes > 0)
    }

    /// Sends SIGTERM to all of it, and SIGKILL two seconds later to what is left. Its output is
    /// read meanwhile.
    pub async fn stop(&mut self, sink: &mut impl Sink) {
        if let Some(tree) = &mut self.tree {
            tree.terminate();
        }
        let all_ended = async {
            let _ = self.wait_for_shell(sink).await;
            self.end_tree().await;
        };
        let _ = timeout(KILL_GRACE, all_ended).await;
        if let Some(tree) = &self.tree {
            tree.kill().await;
            self.tree = None;
            // So that the shell does not stay as a zombie. It is dead, or waits in the kernel and
            // cannot be killed.
            let _ = timeout(DRAIN_TIMEOUT, self.shell.wait()).await;
        }
        self.read(sink);
        self.end_output(sink, "").await;
    }
}

/// A command that holds a NUL character would be another one than was shown.
fn no_nul(command: &str) -> io::Result<()> {
    if command.contains('\0') {
        let why = "the command holds a NUL character, which no command can";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}

/// What is said of processes that were stopped: how many, and which.
fn stopped(command_lines: Vec<String>) -> String {
    let (count, mut lines) = (command_lines.len(), BTreeMap::<String, usize>::new());
    for line in command_lines {
        *lines.entry(line).or_default() += 1;
    }
    let mut listed: Vec<String> = lines
        .into_iter()
        .map(|(line, times)| if times > 1 { format!("{line} ({times} times)") } else { line })
        .collect();
    if listed.len() > MAX_LISTED {
        listed.truncate(MAX_LISTED);
        listed.push("...".into());
    }
    match count {
        0 => String::new(),
        _ => format!("[still running at the end, and stopped ({count}): {}]", listed.join(", ")),
    }
}

/// Why bash was not started, in a sentence that blames what is to blame.
fn explain(error: &io::Error, cwd: &Path, environment: &Environment) -> io::Error {
    let folder = !cwd.is_dir() || error.kind() == io::ErrorKind::PermissionDenied;
    let place = if folder { format!(" in {}", cwd.display()) } else { String::new() };
    let reason = match error.kind() {
        io::ErrorKind::ArgumentListTooLong => format!(
            ": the environment has {} bytes, more than the system gives to a program",
            environment.bytes()
        ),
        _ => format!("{place}: {error}"),
    };
    io::Error::new(error.kind(), format!("cannot start bash{reason}"))
}

/// Drops a folder on a blocking thread, when there is a runtime: to delete half a gigabyte takes a
/// while, and the thread of a runtime has other tasks.
fn drop_blocking(folder: durable::Scratch) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(folder))),
        Err(_) => drop(folder),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(tree) = &self.tree {
            tree.kill_blocking();
        }
    }
}
