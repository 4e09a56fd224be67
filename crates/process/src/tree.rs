//! All that a command has started, also what has left its process group.
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::fd::OwnedFd;

/// A shell, its process group, and what escaped from that.
///
/// Killing the group misses whoever called `setsid` or was given a group of its own. On Linux those are found among
/// the process numbers handed out since the shell began, by their session or by a mark in their environment: asking
/// for the few numbers in between costs microseconds, where reading all of `/proc` would cost milliseconds, and
/// adopting orphans would leave this program's own children to be told from theirs.
///
/// Not found is a daemon that also wipes its environment (`env -i setsid ..`, or one that writes its title over it).
/// Only a name space of process numbers holds those.
#[derive(Debug)]
pub struct Tree {
    /// The shell; also the number of its group and session.
    leader: Pid,
    mark: Vec<u8>,
    asked: Vec<Pid>,
    looks: u32,
}

/// What has escaped, whether something has not, and whether something in the middle of starting can't be told yet.
#[derive(Default)]
struct Escaped {
    found: Vec<(Pid, OwnedFd)>,
    stayed: bool,
    unsure: bool,
}

/// How often something that can't be told is looked at again, a millisecond or two apart.
const UNSURE: u32 = 8;

/// The name of an environment variable that no other command has. Named anew each time, so that a command that itself
/// runs such commands marks theirs with both names.
pub fn mark() -> String {
    use std::hash::{BuildHasher, Hasher};
    format!("RUNGS_TREE_{:016x}", std::hash::RandomState::new().build_hasher().finish())
}

impl Tree {
    pub fn new(leader: Pid, mark: &str) -> Tree {
        Tree { leader, mark: format!("{mark}=1").into_bytes(), asked: vec![], looks: 0 }
    }

    /// Asks all of it to end, everybody once; whether there is anybody left to wait for.
    pub fn ask(&mut self) -> bool {
        self.looks += 1;
        if self.looks == 1 {
            let _ = kill_process_group(self.leader, Signal::TERM);
        }
        let escaped = self.escaped();
        for (pid, process) in &escaped.found {
            if !self.asked.contains(pid) {
                self.asked.push(*pid);
                send(process, Signal::TERM);
            }
        }
        escaped.stayed || !escaped.found.is_empty() || (escaped.unsure && self.looks < UNSURE)
    }

    /// Kills all of it, also what is started while it dies.
    pub fn kill(&self) {
        // The group dies as one. What escaped may be starting more, so look again until a look finds nothing.
        let _ = kill_process_group(self.leader, Signal::KILL);
        for look in 0..100 {
            let escaped = self.escaped();
            escaped.found.iter().for_each(|(_, process)| send(process, Signal::KILL));
            if escaped.found.is_empty() && !(escaped.unsure && look < UNSURE) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn escaped(&self) -> Escaped {
        let stayed = rustix::process::test_kill_process_group(self.leader).is_ok();
        Escaped { stayed, ..Escaped::default() }
    }
}

#[cfg(not(target_os = "linux"))]
fn send(_: &OwnedFd, _: Signal) {}

#[cfg(target_os = "linux")]
fn send(process: &OwnedFd, signal: Signal) {
    // Whoever is gone needs none.
    let _ = rustix::process::pidfd_send_signal(process, signal);
}

#[cfg(target_os = "linux")]
mod escaped {
    use super::{Escaped, Tree};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::{fs, os::fd::OwnedFd};

    enum Whose {
        Ours(OwnedFd),
        /// It is in the group.
        Group,
        /// It is changing its program this very moment, and has no environment.
        Unsure,
        Other,
    }

    impl Tree {
        pub(super) fn escaped(&self) -> Escaped {
            let mut escaped = Escaped::default();
            for pid in self.candidates().into_iter().filter_map(Pid::from_raw) {
                match self.whose(pid).unwrap_or(Whose::Other) {
                    Whose::Ours(process) => escaped.found.push((pid, process)),
                    Whose::Group => escaped.stayed = true,
                    Whose::Unsure => escaped.unsure = true,
                    Whose::Other => {}
                }
            }
            escaped
        }

        /// What a process is to this tree; `None` when there is no such process, or no more than its exit status, which
        /// the first process of a container may never fetch.
        fn whose(&self, pid: Pid) -> Option<Whose> {
            // Opened before it is judged: the number may be another's by then, the handle never.
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Not by `getsid`: that is 0 for a process about to vanish, which `Pid` can't hold.
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
            // The name, in parentheses, may hold anything.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (state, parent) = (fields.next()?, fields.next()?);
            let (group, session) = (fields.next()?, fields.next()?);
            let leader = self.leader.as_raw_pid().to_string();
            // The children of number 2 are the kernel's own.
            if matches!(state, "Z" | "X") || parent == "2" {
                return None;
            }
            if group == leader {
                return Some(Whose::Group);
            }
            if session == leader {
                return Some(Whose::Ours(process));
            }
            let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
            Some(match environment.is_empty() {
                true => Whose::Unsure,
                false if environment.split(|byte| *byte == 0).any(|entry| entry == self.mark) => {
                    Whose::Ours(process)
                }
                false => Whose::Other,
            })
        }

        /// The numbers of all processes started since the shell; of all processes where numbers have begun anew.
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
