//! Running a shell command: its own session, no input, bounded output, and no survivors.
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{collections::VecDeque, io, path::Path, process::ExitStatus, process::Stdio, time::Duration};
use tokio::net::unix::pipe::Receiver;

/// After the shell has gone, how long what it left in the pipe is read while somebody still writes to it.
const DRAIN: Duration = Duration::from_millis(500);
/// How long a process that was asked to end has before it is killed.
const MERCY: Duration = Duration::from_secs(2);

/// A running shell command and all that it started. Dropping it kills the lot: nothing outlives its owner.
#[derive(Debug)]
pub struct Process {
    shell: Box<dyn ChildWrapper>,
    /// Also the number of its session: `setsid` makes both one.
    group: Option<Pid>,
    output: Receiver,
}

impl Process {
    /// Starts `bash -c command` in `cwd`: a session of its own (no terminal to ask for passwords on), empty standard
    /// input, both outputs in one pipe so that their order is kept, and an environment without secrets or pagers.
    ///
    /// # Errors
    /// When bash or the directory is missing.
    pub fn start(command: &str, cwd: &Path) -> io::Result<Process> {
        let (reader, writer) = io::pipe()?;
        let mut bash = CommandWrap::with_new("bash", |bash| {
            bash.args(["--norc", "--noprofile", "-c", command]).current_dir(cwd).kill_on_drop(true);
            for (name, _) in std::env::vars_os() {
                if name.to_str().is_none_or(|name| is_secret(name) || steers_shell(name)) {
                    bash.env_remove(name);
                }
            }
            bash.envs([("PAGER", "cat"), ("GIT_PAGER", "cat"), ("GIT_TERMINAL_PROMPT", "0"), ("TERM", "dumb")]);
            bash.stdin(Stdio::null());
        });
        bash.command_mut().stdout(writer.try_clone()?).stderr(writer);
        let child = bash.wrap(ProcessSession).spawn()?;
        // The command still holds the writing end of the pipe; the end of the output is seen only without it.
        drop(bash);
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        // The wrapper's own `wait` waits for the whole group, and so for ever for a server left in the background.
        Ok(Process { shell: child.into_inner(), group, output: Receiver::from_owned_fd(reader.into())? })
    }

    /// Reads its output into `clip` until the shell ends, however long something in the background holds the pipe.
    ///
    /// # Errors
    /// When the pipe or the process can't be read.
    pub async fn finish(&mut self, clip: &mut Clip) -> io::Result<ExitStatus> {
        let mut open = true;
        let status = loop {
            tokio::select! {
                ready = self.output.readable(), if open => { ready?; open = self.read(clip, 16); }
                status = self.shell.wait() => break status?,
            }
        };
        let drained = tokio::time::timeout(DRAIN, async {
            // What the shell wrote is in the pipe already; whoever still writes is not waited for.
            while self.read(clip, 16) && self.has_more() {
                tokio::task::yield_now().await;
            }
        });
        let _ = drained.await;
        self.kill();
        Ok(status)
    }

    /// Reads what is there, at most so many pieces, so that a fast writer can't keep the task for itself; `false` at
    /// the end.
    fn read(&self, clip: &mut Clip, pieces: usize) -> bool {
        let mut piece = [0; 16 * 1024];
        for _ in 0..pieces {
            match self.output.try_read(&mut piece) {
                Ok(0) => return false,
                Ok(n) => clip.push(&piece[..n]),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn has_more(&self) -> bool {
        rustix::io::ioctl_fionread(&self.output).is_ok_and(|bytes| bytes > 0)
    }

    /// Asks it to end, and kills what has not ended two seconds later. Output goes on being read meanwhile.
    pub async fn stop(&mut self, clip: &mut Clip) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::TERM);
        }
        let _ = tokio::time::timeout(MERCY, self.finish(clip)).await;
        self.kill();
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Names that mostly hold secrets: a command that the model writes has no business with them.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["KEY", "APIKEY", "TOKEN", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS"];
    name.to_ascii_uppercase().split('_').any(|word| WORDS.contains(&word))
}

/// Names that make bash or the programs below it run other code than the command that was shown.
fn steers_shell(name: &str) -> bool {
    const NAMES: [&str; 6] = ["BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT", "PROMPT_COMMAND"];
    const STARTS: [&str; 3] = ["BASH_FUNC_", "LD_", "GIT_"];
    NAMES.contains(&name) || STARTS.iter().any(|start| name.starts_with(start))
}

/// The first and the last bytes of what is pushed, and how many were left out between: as much as a model should
/// read, whatever the command prints.
#[derive(Debug, Default)]
pub struct Clip {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Clip {
    const HEAD: usize = 20_000;
    const TAIL: usize = 10_000;

    /// Takes in more.
    pub fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(Self::HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        // Of a large piece only its end can stay: the rest need not pass through the queue.
        let (passed, rest) = rest.split_at(rest.len().saturating_sub(Self::TAIL));
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(Self::TAIL);
        self.tail.drain(..over);
        self.left_out += (passed.len() + over) as u64;
    }

    /// As text, whatever the bytes were.
    pub fn into_text(mut self) -> String {
        if self.left_out == 0 {
            self.head.extend(self.tail);
            return String::from_utf8_lossy(&self.head).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), Vec::from(self.tail));
        format!("{head}\n[... {} bytes left out ...]\n{}", self.left_out, String::from_utf8_lossy(&tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_keeps_both_ends() {
        let mut clip = Clip::default();
        clip.push(b"short");
        assert_eq!(clip.into_text(), "short");
        let all: Vec<u8> = (0..100_000u32).flat_map(|i| format!("{i}\n").into_bytes()).collect();
        for size in [1000, 16_384, all.len()] {
            let mut clip = Clip::default();
            all.chunks(size).for_each(|piece| clip.push(piece));
            let text = clip.into_text();
            let left_out = format!("[... {} bytes left out ...]", all.len() - Clip::HEAD - Clip::TAIL);
            assert!(text.starts_with("0\n1\n2\n") && text.ends_with("99998\n99999\n") && text.contains(&left_out));
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in ["ANTHROPIC_API_KEY", "GITHUB_TOKEN", "aws_secret_access_key", "PGPASSWORD_PASSWORD", "DB_PASSWD"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "HOME", "KEYBOARD", "MONKEY", "SSH_AUTH_SOCK", "TOKENIZERS_PARALLELISM"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
