//! Commands whose owner was killed before it could end them.

/// Ends the processes of commands whose owner is dead: a program that was killed (SIGKILL) could
/// not end what it had started. Returns the command lines of what it has ended. It takes a
/// millisecond or two to look at all processes, and up to a second more when there is something to
/// end, so async code calls it on a blocking thread. On systems other than Linux it finds nothing.
pub fn end_orphans() -> Vec<String> {
    imp::end(&imp::is_orphan)
}

/// Ends the processes of all commands of this process at once, for an end that cannot wait for
/// anything.
pub fn end_own() {
    imp::end(&imp::is_own);
}

/// What stands in the environment of a command for its owner: the id of this process and when it
/// was started, since ids are used again.
pub(crate) fn owner() -> String {
    imp::owner()
}

#[cfg(target_os = "linux")]
mod imp {
    use crate::tree::{self, MARK_PREFIX};
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use std::{
        collections::BTreeMap,
        fs,
        os::fd::OwnedFd,
        sync::OnceLock,
        time::{Duration, Instant},
    };

    /// How long what is ended has between SIGTERM and SIGKILL.
    const GRACE: Duration = Duration::from_secs(1);
    const POLL_INTERVAL: Duration = Duration::from_millis(10);
    /// The place of the start time among the fields after the name in `/proc/PID/stat`; see
    /// proc_pid_stat(5), which counts from 1 and has two fields before.
    const START_TIME: usize = 22 - 3;

    pub(super) fn owner() -> String {
        static OWNER: OnceLock<String> = OnceLock::new();
        let named = || {
            let pid = std::process::id().to_string();
            format!("{pid}.{}", start_time(&pid).unwrap_or_default())
        };
        OWNER.get_or_init(named).clone()
    }

    pub(super) fn is_own(owner: &str) -> bool {
        owner == self::owner()
    }

    pub(super) fn is_orphan(owner: &str) -> bool {
        let Some((pid, started)) = owner.split_once('.') else { return false };
        started.parse::<u64>().is_ok() && start_time(pid).as_deref() != Some(started)
    }

    /// When a living process was started.
    fn start_time(pid: &str) -> Option<String> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_dead = matches!(fields.clone().next(), Some("Z" | "X"));
        fields.nth(START_TIME).filter(|_| !is_dead).map(str::to_owned)
    }

    /// Ends all processes with such an owner, and what they start meanwhile.
    pub(super) fn end(is_wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let (start, mut ended) = (Instant::now(), BTreeMap::new());
        loop {
            let (found, elapsed) = (find(is_wanted), start.elapsed());
            if found.is_empty() || elapsed >= 2 * GRACE {
                return ended.into_values().collect();
            }
            for (pid, process) in &found {
                let is_new = !ended.contains_key(&pid.as_raw_pid());
                // Read first: what has ended has no command line any longer.
                ended.entry(pid.as_raw_pid()).or_insert_with(|| tree::command_line(*pid));
                let signal = if elapsed < GRACE { Signal::TERM } else { Signal::KILL };
                if is_new || signal == Signal::KILL {
                    // An error means that it has ended.
                    let _ = pidfd_send_signal(process, signal);
                }
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn find(is_wanted: &dyn Fn(&str) -> bool) -> Vec<(Pid, OwnedFd)> {
        let processes = fs::read_dir("/proc").into_iter().flatten();
        let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.filter_map(|id| has_owner(Pid::from_raw(id)?, is_wanted)).collect()
    }

    fn has_owner(pid: Pid, is_wanted: &dyn Fn(&str) -> bool) -> Option<(Pid, OwnedFd)> {
        // Opened before it is judged: the id may be reused by then, the handle stays this
        // process's.
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
        let found = environment.split(|byte| *byte == 0).any(|entry| {
            let entry = entry.strip_prefix(MARK_PREFIX.as_bytes());
            let owner = entry.and_then(|entry| std::str::from_utf8(entry).ok()?.split_once('='));
            owner.is_some_and(|(_, owner)| is_wanted(owner))
        });
        // In a container ids count from 1 again, and mean other processes.
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let here = found && namespace(&pid.as_raw_pid().to_string()) == namespace("self");
        here.then_some((pid, process))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub(super) fn owner() -> String {
        "1".into()
    }

    pub(super) fn is_own(_: &str) -> bool {
        false
    }

    pub(super) fn is_orphan(_: &str) -> bool {
        false
    }

    pub(super) fn end(_: &dyn Fn(&str) -> bool) -> Vec<String> {
        vec![]
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::testing::{alive, gone, marker, until};
    use std::process::Command;

    fn sleeps(marker: &str, owner: &str) -> std::process::Child {
        let mut sleep = Command::new("sleep");
        sleep.arg(marker).env("RUNGS_TREE_0123456789abcdef", owner).spawn().unwrap()
    }

    #[tokio::test]
    async fn the_commands_of_the_dead_are_ended_and_no_others() {
        let (dead, living, unknown) = (marker(), marker(), marker());
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let mut children = [
            sleeps(&dead, &format!("{}.1", ended.id())),
            sleeps(&living, &owner()),
            sleeps(&unknown, "1"),
        ];
        assert!(until(|| [&dead, &living, &unknown].iter().all(|marker| alive(marker))).await);
        let lines = tokio::task::spawn_blocking(end_orphans).await.unwrap();
        assert!(lines.contains(&format!("sleep {dead}")), "{lines:?}");
        assert!(gone(&dead).await && alive(&living) && alive(&unknown));
        for child in &mut children {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}
