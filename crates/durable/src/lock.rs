use crate::{Error, Folder, folder::is_same, step::step};
use std::{
    ffi::{OsStr, OsString},
    fs::{File, TryLockError},
    sync::Arc,
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
/// file is **never deleted**: those who wait have the old file open. Where somebody deletes it all
/// the same, those who get its lock notice that, and lock the new one. The descriptor is closed on
/// exec, so a program that is started while the lock is held does not inherit it.
///
/// The lock is not reentrant: its holder has to wait as well when it asks again. Dropping it does
/// not wait.
#[derive(Debug)]
pub struct Lock(Arc<File>);

impl Lock {
    /// Waits for the lock of this name, for at most `timeout`. Blocks.
    ///
    /// This polls, because a blocking `flock` has no timeout. Polling alone would let waiters
    /// starve: a holder that releases the lock and asks again nearly always wins against those who
    /// sleep. So once somebody has had to wait, everybody first takes a second lock, `NAME.next`,
    /// and only its holder polls for the lock itself.
    ///
    /// # Errors
    /// [`Error::LockTimeout`] when others held the lock all that time, and those of
    /// [`Folder::open_file`].
    pub fn acquire(
        folder: &Folder,
        name: impl AsRef<OsStr>,
        timeout: Duration,
    ) -> Result<Lock, Error> {
        LockFiles::new(name.as_ref()).acquire(folder, timeout)
    }

    /// The lock of this name, or `None` when another holds it. Does not wait for the lock.
    ///
    /// # Errors
    /// Those of [`Folder::open_file`].
    pub fn try_acquire(folder: &Folder, name: impl AsRef<OsStr>) -> Result<Option<Lock>, Error> {
        LockFile::new(name.as_ref().into()).try_acquire(folder)
    }
}

/// The files of a lock, which stay open from one time to the next. The second is there once
/// somebody has had to wait.
#[derive(Debug)]
pub(crate) struct LockFiles {
    lock: LockFile,
    next: LockFile,
}

impl LockFiles {
    pub(crate) fn new(name: &OsStr) -> LockFiles {
        let next = LockFile::new(with_suffix(name, ".next"));
        LockFiles { lock: LockFile::new(name.into()), next }
    }

    /// As [`Lock::acquire`].
    pub(crate) fn acquire(&mut self, folder: &Folder, timeout: Duration) -> Result<Lock, Error> {
        if folder.stat(&self.next.name)?.is_none()
            && let Some(lock) = self.lock.try_acquire(folder)?
        {
            return Ok(lock);
        }
        let start = Instant::now();
        let name = self.lock.name.clone();
        let poll = |file: &mut LockFile| {
            let mut pause = MIN_POLL_INTERVAL;
            loop {
                if let Some(lock) = file.try_acquire(folder)? {
                    return Ok(lock);
                }
                if start.elapsed() >= timeout {
                    let file = folder.path().join(&name);
                    return Err(Error::LockTimeout { file, waited: timeout });
                }
                thread::sleep(pause);
                pause = (pause * 2).min(MAX_POLL_INTERVAL);
            }
        };
        let _next_in_line = poll(&mut self.next)?;
        poll(&mut self.lock)
    }
}

/// A file that is there to be locked.
#[derive(Debug)]
struct LockFile {
    name: OsString,
    open: Option<Arc<File>>,
}

impl LockFile {
    fn new(name: OsString) -> LockFile {
        LockFile { name, open: None }
    }

    fn try_acquire(&mut self, folder: &Folder) -> Result<Option<Lock>, Error> {
        let path = || folder.path().join(&self.name);
        loop {
            let file = match self.open.take() {
                Some(file) => file,
                None => Arc::new(folder.open_file(&self.name, u64::MAX)?),
            };
            match file.try_lock() {
                Ok(()) => {}
                // Not kept: the file at the path may be another one by the next attempt.
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path())(e)),
            }
            let lock = Lock(file);
            let open = step("stat", || Ok(rustix::fs::fstat(&lock.0)?))
                .map_err(Error::io("stat", &path()))?;
            if folder.stat(&self.name)?.is_some_and(|at_path| is_same(&at_path, &open)) {
                self.open = Some(lock.0.clone());
                return Ok(Some(lock));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process between fork and exec still has it open.
        let _ = self.0.unlock();
    }
}

/// `name` with `suffix` appended.
pub(crate) fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_before_exec_does_not_keep_the_lock() {
        let here = tempfile::tempdir().unwrap();
        let folder = Folder::open(here.path(), "").unwrap();
        let lock = Lock::try_acquire(&folder, "lock").unwrap().unwrap();
        let _descriptor_of_the_child = lock.0.try_clone().unwrap();
        drop(lock);
        assert!(Lock::try_acquire(&folder, "lock").unwrap().is_some());
    }
}
