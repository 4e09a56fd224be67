//! What this program keeps from its own commands.
use std::io;

/// The first descriptor after those of standard input, output and error.
const FIRST_FILE: i32 = 3;

/// Keeps this process's secrets from its commands, as far as the system can:
///
/// - Variables that hold secrets, by the rule of [`Environment`](crate::Environment), are erased
///   from its environment: neither `std::env` nor `/proc/PID/environ` (which `ps e` shows) has them
///   any longer. So read what is needed before. Kept is the address of a proxy (`HTTPS_PROXY`),
///   which HTTP clients read by themselves.
/// - Files that this process has inherited open are closed in its commands; only standard input,
///   output and error could be meant for them.
/// - Other processes of the same user cannot read its memory or trace it, and no core file is
///   written.
///
/// What root does is not held off: it can read any process's memory.
///
/// Call it at the start, while there is one thread only: another one could read the environment at
/// that moment. On systems other than Linux the variables and the memory stay as they are.
///
/// # Errors
/// When `/proc/self/mem` cannot be written: the variables are still there.
pub fn protect() -> io::Result<()> {
    close_fds::set_fds_cloexec(FIRST_FILE, &[]);
    imp::protect()
}

#[cfg(target_os = "linux")]
mod imp {
    use crate::environment::is_secret;
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    use std::{
        fs::{self, File},
        io,
        os::unix::fs::FileExt,
    };

    /// The place of `env_start` among the fields after the name in `/proc/PID/stat`; see
    /// proc_pid_stat(5), which counts from 1 and has two fields before.
    const ENV_START: usize = 50 - 3;

    pub(super) fn protect() -> io::Result<()> {
        let erased = erase_secrets();
        // Afterwards this process itself could not open its memory. A program that it starts is
        // dumpable again.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        erased
    }

    /// Overwrites the variables in the memory in which the kernel has put them. That a process can
    /// write its memory through a file is outside of what Rust calls unsafe (see "procselfmem" in
    /// `std::os::unix::io`); what keeps it sound is that nobody else reads the environment
    /// meanwhile, and that an empty entry is no variable to any reader.
    fn erase_secrets() -> io::Result<()> {
        let block = fs::read("/proc/self/environ")?;
        let stat = fs::read("/proc/self/stat")?;
        let stat = String::from_utf8_lossy(&stat);
        let start = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(ENV_START));
        let Some(mut address) = start.and_then(|start| start.parse::<u64>().ok()) else {
            return Err(io::Error::other("/proc/self/stat has no env_start"));
        };
        let memory = File::options().write(true).open("/proc/self/mem")?;
        for entry in block.split_inclusive(|byte| *byte == 0) {
            if must_go(entry) {
                memory.write_all_at(&vec![0; entry.len()], address)?;
            }
            address += entry.len() as u64;
        }
        Ok(())
    }

    fn must_go(entry: &[u8]) -> bool {
        let entry = entry.strip_suffix(b"\0").unwrap_or(entry);
        let Some(equals) = entry.iter().position(|byte| *byte == b'=') else { return false };
        let (name, value) = (&entry[..equals], &entry[equals + 1..]);
        is_secret(name, value) && !name.to_ascii_lowercase().ends_with(b"_proxy")
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub(super) fn protect() -> std::io::Result<()> {
        Ok(())
    }
}
