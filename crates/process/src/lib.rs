//! Shell commands that cannot ask, cannot hang, print no more than can be read, and leave no
//! processes behind.
//!
//! - [`Process`]: a running command: a session of its own, no input, no terminal, an environment
//!   without secrets.
//! - [`Clip`]: the beginning and the end of its output, and the whole of it in a file among an
//!   owner's [`Outputs`].
//! - [`Log`] and [`LogWriter`]: the newest lines of its output, and the whole of it in a file, for
//!   one that runs long.
//! - [`jobs`]: commands in the background.
//! - [`destructive`]: a deny list of a few commands that are never meant.
//!
//! Files and folders are created, written and deleted on Tokio's blocking threads. To drop a
//! [`Process`] signals and kills, no more.
mod clip;
mod denylist;
mod environment;
mod file_copy;
pub mod jobs;
mod log;
mod outputs;
#[doc(hidden)]
pub mod testing;
mod tree;

pub use clip::Clip;
pub use denylist::destructive;
pub use log::{Log, LogWriter};
pub use outputs::Outputs;

use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use rustix::process::Pid;
use std::{
    future::Future,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{net::unix::pipe::Receiver, time::timeout};
use tree::Tree;

/// How long the output of a command is read after its shell has ended, while something still writes
/// to the pipe.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// How long what a command leaves running has between SIGTERM and SIGKILL.
const BACKGROUND_GRACE: Duration = Duration::from_secs(1);
/// How long a command that is stopped has between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How often what was sent SIGTERM is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How many bytes are read from the pipe at once.
const READ_BYTES: usize = 16 * 1024;
/// How often the pipe is read before the sink is flushed: a fast writer must neither keep the task
/// for itself nor fill the memory.
const MAX_READS: usize = 16;

/// Where a command's output goes, piece by piece.
pub trait Sink {
    /// Takes more bytes, in memory only: it must not block.
    fn push(&mut self, bytes: &[u8]);

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
}

impl Process {
    /// Starts `bash -c command` in `cwd`, within a Tokio runtime: in a session of its own (no
    /// terminal to ask for passwords on), with empty standard input, with both outputs in one pipe
    /// so that their order is kept, and with an environment without secrets, without what would run
    /// other code than was shown, and without pagers and prompts.
    ///
    /// # Errors
    /// When bash or the directory is missing, or the system has no pipe, process or random number
    /// left.
    pub fn start(command: &str, cwd: &Path) -> io::Result<Process> {
        let (reader, writer) = io::pipe()?;
        let mark = tree::mark()?;
        let mut bash = CommandWrap::with_new("bash", |bash| {
            bash.args(["--norc", "--noprofile", "-c", command]).current_dir(cwd).kill_on_drop(true);
            environment::restrict(bash);
            bash.env(&mark, "1").stdin(Stdio::null());
        });
        bash.command_mut().stdout(writer.try_clone()?).stderr(writer);
        let child = bash.wrap(ProcessSession).spawn()?;
        // The command still holds the writing end of the pipe, and as long as it does the output
        // has no end.
        drop(bash);
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tree = leader.map(|leader| Tree::new(leader, &mark));
        // The wrapper's own `wait` waits for the whole group: forever, if a server was left in the
        // background.
        Ok(Process {
            shell: child.into_inner(),
            tree,
            output: Receiver::from_owned_fd(reader.into())?,
        })
    }

    /// The process id of the shell, which is also that of its session; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.shell.id()
    }

    /// Reads its output into `sink` until the shell ends, even when something in the background
    /// still holds the pipe. What it left running is sent SIGTERM, then SIGKILL; at most 1.5
    /// seconds pass after the end of the shell.
    ///
    /// # Errors
    /// When the pipe or the process cannot be read.
    pub async fn finish(&mut self, sink: &mut impl Sink) -> io::Result<ExitStatus> {
        let mut open = true;
        let status = loop {
            tokio::select! {
                ready = self.output.readable(), if open => {
                    ready?;
                    open = self.read(sink);
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
        if let Some(tree) = &mut self.tree
            && tree.terminate()
        {
            let all_ended = async {
                while tree.terminate() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            };
            let _ = timeout(BACKGROUND_GRACE, all_ended).await;
            tree.kill().await;
        }
        self.tree = None;
        sink.flush().await;
        Ok(status)
    }

    /// Reads what is in the pipe, up to a bound; `false` at the end of the output.
    fn read(&self, sink: &mut impl Sink) -> bool {
        let mut piece = [0; READ_BYTES];
        for _ in 0..MAX_READS {
            match self.output.try_read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => sink.push(&piece[..length]),
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
        let _ = timeout(KILL_GRACE, self.finish(sink)).await;
        if let Some(tree) = &self.tree {
            tree.kill().await;
            self.tree = None;
            // So that the shell does not stay as a zombie. It is dead, or waits in the kernel and
            // cannot be killed.
            let _ = timeout(DRAIN_TIMEOUT, self.shell.wait()).await;
        }
        sink.flush().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(tree) = &self.tree {
            tree.kill_blocking();
        }
    }
}
