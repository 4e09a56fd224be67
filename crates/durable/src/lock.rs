use crate::{Error, step::step};
use std::{
    fs::{File, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The pause after the first failed attempt to get a lock; it doubles from attempt to attempt.
const MIN_POLL_INTERVAL: Duration = Duration::from_micros(50);

/// The longest pause between two attempts to get a lock.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// An advisory lock between threads and processes. It is released when it is dropped and when its
/// process ends, also by SIGKILL.
///
/// The kernel locks the open file, so a file that a crash leaves behind is not a stale lock. The
/// file is **never deleted**: those who wait have the old file open, and after a deletion they
/// would lock that one while newcomers lock a new file of the same name. The descriptor is closed
/// on exec, so a program that is started while the lock is held does not inherit it.
///
/// The lock is not reentrant: its holder has to wait as well when it asks again. Dropping it does
/// not wait.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Waits for the lock at `path`, for at most `timeout`. The folder of `path` must exist.
    /// Blocks.
    ///
    /// This polls, because a blocking `flock` has no timeout. Polling alone would let waiters
    /// starve: a holder that releases the lock and asks again nearly always wins against those who
    /// sleep. So everybody first takes a second lock, `NAME.next`, and only its holder polls for
    /// the lock itself.
    ///
    /// # Errors
    /// [`Error::LockTimeout`] when others held the lock all that time, and [`Error::Io`].
    pub fn acquire(path: impl AsRef<Path>, timeout: Duration) -> Result<Lock, Error> {
        let (path, start) = (path.as_ref(), Instant::now());
        let poll = |file_path: &Path| {
            let file = open(file_path)?;
            let mut pause = MIN_POLL_INTERVAL;
            while !try_lock(&file, file_path)? {
                if start.elapsed() >= timeout {
                    return Err(Error::LockTimeout { file: path.into(), waited: timeout });
                }
                thread::sleep(pause);
                pause = (pause * 2).min(MAX_POLL_INTERVAL);
            }
            Ok(Lock(file))
        };
        let _next_in_line = poll(&with_suffix(path, ".next"))?;
        poll(path)
    }

    /// The lock at `path`, or `None` when another holds it. The folder of `path` must exist. Does
    /// not wait for the lock.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn try_acquire(path: impl AsRef<Path>) -> Result<Option<Lock>, Error> {
        let path = path.as_ref();
        let file = open(path)?;
        Ok(if try_lock(&file, path)? { Some(Lock(file)) } else { None })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process between fork and exec still has it open.
        let _ = self.0.unlock();
    }
}

fn open(path: &Path) -> Result<File, Error> {
    step("open", || File::options().create(true).write(true).truncate(false).mode(0o600).open(path))
        .map_err(Error::io("open", path))
}

fn try_lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path)(e)),
    }
}

/// `path` with `suffix` appended to its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_before_exec_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = Lock::try_acquire(&path).unwrap().unwrap();
        let _descriptor_of_the_child = lock.0.try_clone().unwrap();
        drop(lock);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }
}
