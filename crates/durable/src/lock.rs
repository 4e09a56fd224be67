use crate::{Error, step::step};
use std::{
    fs::{File, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A lock between threads and processes, held until it is dropped or its process dies, in whatever way.
///
/// The lock is on the open file, not on its being there, so nothing is stale after a crash, and the file is **never
/// deleted**: whoever waits for it holds the old file open, and would get a lock that no newcomer, who makes a new file
/// of that name, can see. The descriptor is closed on exec: a program that is started meanwhile does not keep the lock.
/// It is advisory: it binds those who ask for it, its own holder too when that one asks again.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Waits for the lock at `path`, whose folder must exist, for at most `patience`.
    ///
    /// It asks again and again, since a wait in the kernel has no bound. Asking alone would be unfair: whoever lets go
    /// and asks at once nearly always comes before those who sleep. So everyone passes a gate first, the lock
    /// `NAME.next`, and only the one inside it asks for the lock itself.
    pub fn acquire(path: impl AsRef<Path>, patience: Duration) -> Result<Lock, Error> {
        let (path, start) = (path.as_ref(), Instant::now());
        let wait = |at: &Path| {
            let (file, mut pause) = (open(at)?, Duration::from_micros(50));
            while !lock(&file, at)? {
                if start.elapsed() >= patience {
                    return Err(Error::Busy { file: path.into(), waited: patience });
                }
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(1));
            }
            Ok(Lock(file))
        };
        let _gate = wait(&beside(path, ".next"))?;
        wait(path)
    }

    /// The lock at `path`, or `None` when it is held.
    pub fn try_acquire(path: impl AsRef<Path>) -> Result<Option<Lock>, Error> {
        let path = path.as_ref();
        let file = open(path)?;
        Ok(lock(&file, path)?.then_some(Lock(file)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would not do: a child that stands between its fork and its exec still has it open.
        let _ = self.0.unlock();
    }
}

fn open(path: &Path) -> Result<File, Error> {
    step("open", || File::options().create(true).write(true).truncate(false).mode(0o600).open(path))
        .map_err(Error::io("open", path))
}

fn lock(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path)(e)),
    }
}

/// `path` with more at the end of its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_was_forked_but_has_not_called_exec_yet_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = Lock::try_acquire(&path).unwrap().unwrap();
        let _of_the_child = lock.0.try_clone().unwrap();
        drop(lock);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }
}
