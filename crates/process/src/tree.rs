//! All processes that a command has started, including those that have left its process group.
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, os::fd::OwnedFd, time::Duration};

/// A shell, its process group, and what escaped from that group.
///
/// To kill the group misses a process that called `setsid` or was given a group of its own. On
/// Linux those are found among the process ids handed out since the shell began, by their session
/// or by a mark in their environment. To look at the few ids in between costs microseconds, where
/// reading all of `/proc` would cost milliseconds. A subreaper, which adopts orphans, could not
/// tell them from this program's other children.
///
/// Not found is a daemon that also wipes its environment (`env -i setsid ..`, or one that
/// overwrites it with its title). Only a PID namespace holds those.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The shell; also the id of its group and session.
    leader: Pid,
    /// The entry in the environment.
    mark: Vec<u8>,
    /// What escaped and was sent SIGTERM already.
    signalled: Vec<Pid>,
    /// How often it was looked for.
    looks: u32,
}

/// What was found, and whether there may be more.
#[derive(Default)]
struct Escaped {
    /// Outside of the group.
    found: Vec<(Pid, OwnedFd)>,
    /// What is left in the group; the leader stands for all of them where they cannot be told apart.
    group: Vec<Pid>,
    /// Whether there is a process that is about to start a program, so that its environment cannot
    /// be read yet.
    unsure: bool,
}

/// How the name of the entry in the environment begins.
pub(crate) const MARK_PREFIX: &str = "RUNGS_TREE_";
/// How often a process whose environment cannot be read yet is looked at, a millisecond or two
/// apart.
const MAX_UNSURE_LOOKS: u32 = 8;
/// How often to look for what is started while the rest is being killed.
const MAX_KILL_LOOKS: u32 = 100;
/// How many characters of a command line are shown.
const MAX_COMMAND_CHARS: usize = 80;
/// The pause between two such looks.
const KILL_INTERVAL: Duration = Duration::from_millis(1);

/// The name of an environment variable that no other command has. Each command gets a new name, so
/// that a command that itself runs marked commands marks theirs with both names.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn mark() -> io::Result<String> {
    Ok(format!("{MARK_PREFIX}{:016x}", getrandom::u64()?))
}

impl Tree {
    /// The processes of this shell; `mark` and `owner` are the entry in their environment.
    pub(crate) fn new(leader: Pid, mark: &str, owner: &str) -> Tree {
        Tree { leader, mark: format!("{mark}={owner}").into_bytes(), signalled: vec![], looks: 0 }
    }

    /// Whether a process of it may be alive.
    pub(crate) fn is_alive(&self) -> bool {
        let escaped = self.escaped();
        escaped.unsure || !escaped.group.is_empty() || !escaped.found.is_empty()
    }

    /// The command lines of its processes.
    pub(crate) fn command_lines(&self) -> Vec<String> {
        let escaped = self.escaped();
        let outside = escaped.found.iter().map(|(pid, _)| *pid);
        escaped.group.iter().copied().chain(outside).map(command_line).collect()
    }

    /// Sends SIGTERM to all processes that have not had it yet; whether there is one left to wait
    /// for.
    pub(crate) fn terminate(&mut self) -> bool {
        self.looks += 1;
        if self.looks == 1 {
            let _ = kill_process_group(self.leader, Signal::TERM);
        }
        let escaped = self.escaped();
        for (pid, process) in &escaped.found {
            if !self.signalled.contains(pid) {
                self.signalled.push(*pid);
                send(process, Signal::TERM);
            }
        }
        let may_be_more = escaped.unsure && self.looks < MAX_UNSURE_LOOKS;
        !escaped.group.is_empty() || !escaped.found.is_empty() || may_be_more
    }

    /// Kills all of it, including what is started meanwhile.
    pub(crate) async fn kill(&self) {
        for look in 0..MAX_KILL_LOOKS {
            if !self.kill_once(look) {
                return;
            }
            tokio::time::sleep(KILL_INTERVAL).await;
        }
    }

    /// The same for `Drop`. It rarely takes more than one or two looks.
    pub(crate) fn kill_blocking(&self) {
        for look in 0..MAX_KILL_LOOKS {
            if !self.kill_once(look) {
                return;
            }
            std::thread::sleep(KILL_INTERVAL);
        }
    }

    /// Kills what is there, and says whether to look again: what escaped may have started more.
    fn kill_once(&self, look: u32) -> bool {
        if look == 0 {
            // The group dies as one.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
        let escaped = self.escaped();
        for (_, process) in &escaped.found {
            send(process, Signal::KILL);
        }
        !escaped.found.is_empty() || (escaped.unsure && look < MAX_UNSURE_LOOKS)
    }

    #[cfg(not(target_os = "linux"))]
    fn escaped(&self) -> Escaped {
        let alive = rustix::process::test_kill_process_group(self.leader).is_ok();
        Escaped { group: alive.then_some(self.leader).into_iter().collect(), ..Escaped::default() }
    }
}

/// The command line of a process, on one line and not too long; its id where there is none.
pub(crate) fn command_line(pid: Pid) -> String {
    let pid = pid.as_raw_pid();
    let read = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&read).replace(|c: char| c.is_control(), " ");
    match text.trim().char_indices().nth(MAX_COMMAND_CHARS) {
        _ if text.trim().is_empty() => format!("process {pid}"),
        Some((end, _)) => format!("{}...", &text.trim()[..end]),
        None => text.trim().to_owned(),
    }
}

#[cfg(not(target_os = "linux"))]
fn send(_: &OwnedFd, _: Signal) {}

#[cfg(target_os = "linux")]
fn send(process: &OwnedFd, signal: Signal) {
    // An error means that it has ended.
    let _ = rustix::process::pidfd_send_signal(process, signal);
}

#[cfg(target_os = "linux")]
mod escaped {
    use super::{Escaped, Tree};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::{fs, os::fd::OwnedFd};

    /// What a process is to a tree.
    enum Membership {
        /// It left the group.
        Escaped(OwnedFd),
        /// It is in the group.
        Group,
        /// It is about to start a program and has no environment yet.
        Unsure,
        /// It does not belong to the tree.
        Other,
    }

    impl Tree {
        pub(super) fn escaped(&self) -> Escaped {
            let mut escaped = Escaped::default();
            for pid in self.candidates().into_iter().filter_map(Pid::from_raw) {
                match self.membership(pid) {
                    Some(Membership::Escaped(process)) => escaped.found.push((pid, process)),
                    Some(Membership::Group) => escaped.group.push(pid),
                    Some(Membership::Unsure) => escaped.unsure = true,
                    Some(Membership::Other) | None => {}
                }
            }
            escaped
        }

        /// What a process is to this tree; `None` when there is no such process, or only its exit
        /// status (a zombie), which the first process of a container may never fetch.
        fn membership(&self, pid: Pid) -> Option<Membership> {
            // Opened before it is judged: the id may be reused by then, the handle stays this
            // process's.
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Not by `getsid`, which gives 0 for a process about to vanish: `Pid` cannot hold that.
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
            // The name, in parentheses, may contain anything, also spaces and parentheses.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (state, parent) = (fields.next()?, fields.next()?);
            let (group, session) = (fields.next()?, fields.next()?);
            let leader = self.leader.as_raw_pid().to_string();
            // The children of process 2 are threads of the kernel.
            if matches!(state, "Z" | "X") || parent == "2" {
                return None;
            }
            if group == leader {
                return Some(Membership::Group);
            }
            if session == leader {
                return Some(Membership::Escaped(process));
            }
            let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
            if environment.is_empty() {
                return Some(Membership::Unsure);
            }
            let marked = environment.split(|byte| *byte == 0).any(|entry| entry == self.mark);
            Some(if marked { Membership::Escaped(process) } else { Membership::Other })
        }

        /// The ids of all processes started since the shell; of all processes if the ids have
        /// wrapped around.
        fn candidates(&self) -> Vec<i32> {
            let first = self.leader.as_raw_pid() + 1;
            let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
            match load.rsplit(' ').next().and_then(|last| last.trim().parse().ok()) {
                Some(last) if (first - 1..first + 20_000).contains(&last) => {
                    (first..=last).collect()
                }
                _ => {
                    let processes = fs::read_dir("/proc").into_iter().flatten();
                    processes
                        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                        .collect()
                }
            }
        }
    }
}
