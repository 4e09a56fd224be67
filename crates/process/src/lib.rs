//! A shell command that can't ask, can't hang, prints no more than can be read, and leaves nothing behind.
//!
//! - [`Process`]: a running command: its own session, no input, no terminal, an environment without secrets.
//! - [`Clip`]: both ends of what it prints, the whole of it in a file, which [`Outputs`] finds a place for.
//! - [`Log`]: the newest lines of what it prints, the whole of it in a file, for one that runs on; both are [`Sink`]s.
//! - [`destructive`]: a seat belt against a few commands that nobody means.
mod clip;
mod denylist;
mod environment;
pub mod jobs;
mod log;
mod outputs;
mod tree;

pub use clip::Clip;
pub use denylist::destructive;
pub use log::Log;
pub use outputs::Outputs;

use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use rustix::process::Pid;
use std::{io, path::Path, process::ExitStatus, process::Stdio, time::Duration};
use tokio::{net::unix::pipe::Receiver, time::timeout};
use tree::Tree;

/// After the shell has gone, how long what it left in the pipe is read while somebody still writes to it.
const DRAIN: Duration = Duration::from_millis(500);
/// How long what a command leaves running, asked to end, has before it is killed.
const LEFT: Duration = Duration::from_secs(1);
/// How long a command that is stopped, asked to end, has before it is killed.
const MERCY: Duration = Duration::from_secs(2);

/// Where output goes, piece by piece.
pub trait Sink {
    /// Takes in more.
    fn push(&mut self, bytes: &[u8]);
}

/// A running shell command and all that it started. Dropping it kills the lot: nothing outlives its owner.
#[derive(Debug)]
pub struct Process {
    shell: Box<dyn ChildWrapper>,
    tree: Option<Tree>,
    output: Receiver,
}

impl Process {
    /// Starts `bash -c command` in `cwd`: a session of its own (no terminal to ask for passwords on), empty standard
    /// input, both outputs in one pipe so that their order is kept, and an environment without secrets, without
    /// what would run other code than was shown, and without pagers and prompts.
    ///
    /// # Errors
    /// When bash or the directory is missing.
    pub fn start(command: &str, cwd: &Path) -> io::Result<Process> {
        let (reader, writer) = io::pipe()?;
        let mark = tree::mark();
        let mut bash = CommandWrap::with_new("bash", |bash| {
            bash.args(["--norc", "--noprofile", "-c", command]).current_dir(cwd).kill_on_drop(true);
            environment::tame(bash);
            bash.env(&mark, "1").stdin(Stdio::null());
        });
        bash.command_mut().stdout(writer.try_clone()?).stderr(writer);
        let child = bash.wrap(ProcessSession).spawn()?;
        // The command still holds the writing end of the pipe; the end of the output is seen only without it.
        drop(bash);
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tree = leader.map(|leader| Tree::new(leader, &mark));
        // The wrapper's own `wait` waits for the whole group, and so for ever for a server left in the background.
        Ok(Process {
            shell: child.into_inner(),
            tree,
            output: Receiver::from_owned_fd(reader.into())?,
        })
    }

    /// The number of the shell, which is also that of its session; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.shell.id()
    }

    /// Reads its output into `sink` until the shell ends, however long something in the background holds the pipe.
    /// What it leaves running is asked to end, and then killed: at most 1.5 seconds pass after the shell's end.
    ///
    /// # Errors
    /// When the pipe or the process can't be read.
    pub async fn finish(&mut self, sink: &mut impl Sink) -> io::Result<ExitStatus> {
        let mut open = true;
        let status = loop {
            tokio::select! {
                ready = self.output.readable(), if open => { ready?; open = self.read(sink, 16); }
                status = self.shell.wait() => break status?,
            }
        };
        let drained = timeout(DRAIN, async {
            // What the shell wrote is in the pipe already; whoever still writes is not waited for.
            while self.read(sink, 16) && self.has_more() {
                tokio::task::yield_now().await;
            }
        });
        let _ = drained.await;
        if let Some(tree) = &mut self.tree
            && tree.ask()
        {
            let gone = async {
                while tree.ask() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let _ = timeout(LEFT, gone).await;
            tree.kill();
        }
        self.tree = None;
        Ok(status)
    }

    /// Reads what is there, at most so many pieces, so that a fast writer can't keep the task for itself; `false` at
    /// the end.
    fn read(&self, sink: &mut impl Sink, pieces: usize) -> bool {
        let mut piece = [0; 16 * 1024];
        for _ in 0..pieces {
            match self.output.try_read(&mut piece) {
                Ok(0) => return false,
                Ok(n) => sink.push(&piece[..n]),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn has_more(&self) -> bool {
        rustix::io::ioctl_fionread(&self.output).is_ok_and(|bytes| bytes > 0)
    }

    /// Asks it to end, and kills what has not ended two seconds later. Output goes on being read meanwhile.
    pub async fn stop(&mut self, sink: &mut impl Sink) {
        if let Some(tree) = &mut self.tree {
            tree.ask();
        }
        let _ = timeout(MERCY, self.finish(sink)).await;
        if let Some(tree) = self.tree.take() {
            tree.kill();
            // So that it does not stay behind as a zombie; it is dead or will never be.
            let _ = timeout(DRAIN, self.shell.wait()).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.take() {
            tree.kill();
        }
    }
}
