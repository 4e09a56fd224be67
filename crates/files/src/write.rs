//! Replacing a whole file atomically: a temporary file in the same folder, then one rename.
//!
//! A writer holds a lock on its temporary file, which the system releases however the process ends.
//! So a temporary file that nobody has locked is left over, and the next write removes it.
use crate::{PathError, PathErrorKind, Root};
use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How often a folder lock that another process holds is tried, and how long to wait in between.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(10);
/// Within this time, two changes may have the same time: the clock of most kernels ticks every 4 to
/// 10 ms.
const CLOCK_TICK: Duration = Duration::from_millis(12);
/// How the name of a temporary file begins and ends. Between stand 16 hexadecimal digits.
const TEMPORARY_PREFIX: &str = ".rungs-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// What tells one state of a file from another: which file it is, its size, the time of the last
/// write, and the time of the last change of any kind, which no program can put back.
///
/// In JSON it is an array of these seven numbers: a conversation saves one for every file it has
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Numbers", into = "Numbers")]
pub struct Stamp {
    device: u64,
    inode: u64,
    /// In bytes.
    size: u64,
    /// The time of the last write: seconds since 1970, and nanoseconds within that second.
    modified: (i64, i64),
    /// The time of the last change of content, name, mode or owner.
    changed: (i64, i64),
}

type Numbers = (u64, u64, u64, i64, i64, i64, i64);

impl From<Numbers> for Stamp {
    fn from((device, inode, size, a, b, c, d): Numbers) -> Stamp {
        Stamp { device, inode, size, modified: (a, b), changed: (c, d) }
    }
}

impl From<Stamp> for Numbers {
    fn from(Stamp { device, inode, size, modified: (a, b), changed: (c, d) }: Stamp) -> Numbers {
        (device, inode, size, a, b, c, d)
    }
}

impl Stamp {
    /// The state of an open file.
    ///
    /// # Errors
    /// When the system does not tell it.
    pub fn of(file: impl AsFd) -> io::Result<Stamp> {
        Ok(Stamp::from_stat(&rustix::fs::fstat(file)?))
    }

    /// As [`Stamp::of`], but not before the clock of the file system has moved on since the last
    /// change: then every later change makes another stamp. Waits for some milliseconds at most.
    ///
    /// # Errors
    /// When the system does not tell it.
    pub fn settled(file: impl AsFd) -> io::Result<Stamp> {
        let stamp = Stamp::of(&file)?;
        let (seconds, nanoseconds) = stamp.changed;
        let changed = Duration::new(seconds.unsigned_abs(), nanoseconds.unsigned_abs() as u32);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wait = CLOCK_TICK.saturating_sub(now.saturating_sub(changed));
        if wait.is_zero() {
            return Ok(stamp);
        }
        std::thread::sleep(wait);
        Stamp::of(&file)
    }

    // The types of these fields differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    fn from_stat(stat: &Stat) -> Stamp {
        Stamp {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

impl Root {
    /// Makes `content` the whole content of the file, and creates the folders that it needs. The
    /// replacement is atomic: at every moment a reader sees all of the old content or all of the
    /// new. The mode and, where possible, the owner stay; access control lists and hard links do
    /// not.
    ///
    /// `old` is the state that is replaced, `None` for a file that does not exist yet. Of several
    /// writers that start from the same state, also in different processes, one succeeds and the
    /// others fail with [`PathErrorKind::Conflict`] (optimistic concurrency control).
    ///
    /// # Errors
    /// When the path is outside, denied, not a regular file or write-protected, when the file is
    /// not in the state `old`, or when the disk fails; then nothing has changed.
    pub fn write(
        &self,
        path: &str,
        content: &[u8],
        old: Option<&Stamp>,
    ) -> Result<Stamp, PathError> {
        let relative = self.resolve(path)?;
        self.write_resolved(&relative, content, old).map_err(|kind| PathError::new(path, kind))
    }

    pub(crate) fn write_resolved(
        &self,
        relative: &Path,
        content: &[u8],
        old: Option<&Stamp>,
    ) -> Result<Stamp, PathErrorKind> {
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            return Err(PathErrorKind::IsFolder);
        };
        let folder = self.open_folder(parent, old.is_none())?;
        let removed = remove_left_over(&folder);
        let replacement = Replacement::new(folder, Path::new(name), old, &removed);
        let replaced = replacement.check_state()?;
        let (temporary, mut file) = replacement.create_temporary(replaced.is_some())?;
        let written = replacement.fill_and_rename(&mut file, &temporary, content, replaced);
        if written.is_err() {
            // The first error is the one to report.
            let _ = rustix::fs::unlinkat(&replacement.folder, &temporary, AtFlags::empty());
        }
        written
    }
}

/// One file that is about to be replaced.
pub(crate) struct Replacement<'a> {
    pub(crate) folder: OwnedFd,
    pub(crate) name: &'a Path,
    pub(crate) old: Option<Stamp>,
}

impl<'a> Replacement<'a> {
    /// `removed` is what killed writers had left. One may have given this very file a second name,
    /// and no new content yet: without that name the file is what it was, but for the time of its
    /// last change.
    pub(crate) fn new(
        folder: OwnedFd,
        name: &'a Path,
        old: Option<&Stamp>,
        removed: &[Stamp],
    ) -> Self {
        let mut old = old.copied();
        if let Some(old) = &mut old
            && removed.contains(old)
            && let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)
        {
            let now = Stamp::from_stat(&stat);
            if (Stamp { changed: old.changed, ..now }) == *old {
                *old = now;
            }
        }
        Replacement { folder, name, old }
    }

    /// Fails unless the name is a regular file in the expected state, or is free when no file is
    /// expected.
    pub(crate) fn check_state(&self) -> Result<Option<Stat>, PathErrorKind> {
        let stat = match rustix::fs::statat(&self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.old.is_none() => return Ok(None),
            Err(Errno::NOENT) => return Err(PathErrorKind::Conflict),
            Err(errno) => return Err(errno.into()),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Err(PathErrorKind::IsFolder),
            FileType::Symlink => return Err(PathErrorKind::Race),
            FileType::RegularFile => {}
            _ => return Err(PathErrorKind::NotRegularFile),
        }
        // The superuser could write it, and a rename needs no permission on the file: but a file
        // without any write bit is one that somebody wants to stay as it is.
        if !Mode::from_raw_mode(stat.st_mode).intersects(Mode::WUSR | Mode::WGRP | Mode::WOTH) {
            return Err(PathErrorKind::ReadOnly);
        }
        if self.old != Some(Stamp::from_stat(&stat)) {
            return Err(PathErrorKind::Conflict);
        }
        Ok(Some(stat))
    }

    /// A new file with a name that cannot be guessed, locked. `private` until it gets the mode of
    /// the file that it replaces.
    pub(crate) fn create_temporary(&self, private: bool) -> io::Result<(String, File)> {
        let mode = Mode::from_raw_mode(if private { 0o600 } else { 0o666 });
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let name = temporary_name()?;
            let file = match rustix::fs::openat(&self.folder, &name, flags, mode) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
            };
            // Another writer may have taken it for left over before it was locked.
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            if locked != Err(Errno::WOULDBLOCK) && rustix::fs::fstat(&file)?.st_nlink > 0 {
                return Ok((name, file));
            }
        }
    }

    fn fill_and_rename(
        &self,
        file: &mut File,
        temporary: &str,
        content: &[u8],
        replaced: Option<Stat>,
    ) -> Result<Stamp, PathErrorKind> {
        self.fill(file, content, replaced)?;
        lock(&self.folder)?;
        self.check_state()?;
        match rename(&self.folder, temporary, self.name, self.old.is_some()) {
            Err(Errno::EXIST) => return Err(PathErrorKind::Conflict),
            renamed => renamed?,
        }
        Ok(Stamp::of(file)?)
    }

    /// Puts the content on the disk, with the owner and the mode of the file that is replaced.
    pub(crate) fn fill(
        &self,
        file: &mut File,
        content: &[u8],
        replaced: Option<Stat>,
    ) -> Result<(), PathErrorKind> {
        file.write_all(content)?;
        if let Some(replaced) = replaced {
            let owner = (Uid::from_raw(replaced.st_uid), Gid::from_raw(replaced.st_gid));
            // Only the superuser may give a file away; for everybody else it stays their own.
            let _ = rustix::fs::fchown(&*file, Some(owner.0), Some(owner.1));
            // Without set-user-ID and set-group-ID: they were granted to the old content.
            let permissions = Mode::RWXU | Mode::RWXG | Mode::RWXO;
            rustix::fs::fchmod(&*file, Mode::from_raw_mode(replaced.st_mode) & permissions)?;
        }
        // Renamed before its content is on the disk, the file could be empty after a power cut.
        Ok(file.sync_data()?)
    }
}

/// A new name for a temporary file, which cannot be guessed.
pub(crate) fn temporary_name() -> io::Result<String> {
    Ok(format!("{TEMPORARY_PREFIX}{:016x}{TEMPORARY_SUFFIX}", getrandom::u64()?))
}

/// Whether this is the name of a temporary file.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let name = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX));
    let digits = name.and_then(|name| name.strip_suffix(TEMPORARY_SUFFIX));
    digits.is_some_and(|digits| digits.len() == 16 && u64::from_str_radix(digits, 16).is_ok())
}

/// Removes the temporary files in a folder whose writers were killed, and gives what they were.
/// That fails silently: what cannot be removed harms nobody.
pub(crate) fn remove_left_over(folder: &OwnedFd) -> Vec<Stamp> {
    let mut removed = vec![];
    let Ok(names) = rustix::fs::Dir::read_from(folder) else { return removed };
    for name in names.flatten() {
        if !is_temporary(OsStr::from_bytes(name.file_name().to_bytes())) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, name.file_name(), flags, Mode::empty());
        let Ok(file) = opened else { continue };
        let Ok(stat) = rustix::fs::fstat(&file) else { continue };
        let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == rustix::process::geteuid().as_raw();
        if is_ours
            && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && rustix::fs::unlinkat(folder, name.file_name(), AtFlags::empty()).is_ok()
        {
            removed.push(Stamp::from_stat(&stat));
        }
    }
    removed
}

/// Locks the folder until its handle is closed, so that check and rename are one step among all
/// processes that use this function.
pub(crate) fn lock(folder: &OwnedFd) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_RETRY_DELAY),
            // Some network file systems have no locks; then the check alone has to do.
            Ok(()) | Err(_) => return Ok(()),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another program keeps its folder locked"))
}

pub(crate) fn rename(
    folder: &OwnedFd,
    temporary: &str,
    name: &Path,
    replace: bool,
) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    if !replace {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(folder, temporary, folder, name, flags) {
            // This file system does not support it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return renamed,
        }
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    let _ = replace;
    rustix::fs::renameat(folder, temporary, folder, name)
}
