//! Replacing a file whole: a temporary file in its folder, then one rename.
use crate::{PathError, PathErrorKind, Root};
use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    fs::File,
    hash::{BuildHasher, Hasher},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

/// How often, and how far apart, a lock that somebody else holds is tried.
const LOCK: (u32, Duration) = (200, Duration::from_millis(10));

/// What tells one state of a file from the next: which file, how long, when written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
}

impl Stamp {
    /// The state of an open file.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn of(file: impl AsFd) -> io::Result<Stamp> {
        Ok(Stamp::from(&rustix::fs::fstat(file)?))
    }

    // The types of these fields differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    fn from(stat: &Stat) -> Stamp {
        Stamp {
            file: (stat.st_dev as u64, stat.st_ino as u64),
            size: stat.st_size as u64,
            written: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }
}

impl Root {
    /// Makes this the whole content of the file, its folders with it: at every moment a reader sees all of the old or
    /// all of the new. Mode and, where possible, owner stay; access lists and other names of the file do not.
    ///
    /// `old` is the state that it replaces, `None` for a file that does not exist yet. Of several writers that
    /// started from one state, one wins and the others are told, also when they are different processes.
    ///
    /// # Errors
    /// When the path is outside, closed, no regular file or write-protected, when it is not in the state `old`, or
    /// when the disk fails; then nothing has changed.
    pub fn write(
        &self,
        path: &str,
        content: &[u8],
        old: Option<&Stamp>,
    ) -> Result<Stamp, PathError> {
        let inside = self.locate(path)?;
        self.put_at(&inside, content, old).map_err(|why| PathError::new(path, why))
    }

    fn put_at(
        &self,
        inside: &Path,
        content: &[u8],
        old: Option<&Stamp>,
    ) -> Result<Stamp, PathErrorKind> {
        let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) else {
            return Err(PathErrorKind::Folder);
        };
        let name = Path::new(name);
        let folder = self.walk(parent, old.is_none()).map_err(PathErrorKind::of)?;
        let replaced = unchanged(&folder, name, old)?;
        let (draft, mut file) = draft(&folder, replaced.is_some()).map_err(PathErrorKind::of)?;
        let mut put = || {
            file.write_all(content)?;
            if let Some(replaced) = replaced {
                // Only the superuser may give a file away; for everybody else this stays theirs.
                let owner = (
                    rustix::fs::Uid::from_raw(replaced.st_uid),
                    rustix::fs::Gid::from_raw(replaced.st_gid),
                );
                let _ = rustix::fs::fchown(&file, Some(owner.0), Some(owner.1));
                // Without the bits that lend the owner's rights: this is other content.
                let mode =
                    Mode::from_raw_mode(replaced.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
                rustix::fs::fchmod(&file, mode)?;
            }
            // Renamed before its content is on the disk, it could be empty after a power cut.
            file.sync_data()?;
            lock(&folder)
        };
        let renamed = put().map_err(PathErrorKind::of).and_then(|()| {
            unchanged(&folder, name, old)?;
            rename(&folder, &draft, name, old.is_some()).map_err(|errno| match errno {
                Errno::EXIST => PathErrorKind::Changed,
                errno => PathErrorKind::of(errno),
            })?;
            Stamp::of(&file).map_err(PathErrorKind::of)
        });
        if renamed.is_err() {
            let _ = rustix::fs::unlinkat(&folder, &draft, AtFlags::empty());
        }
        renamed
    }
}

/// Refuses unless what has this name is a regular file in this state, or nothing when nothing is expected.
fn unchanged(
    folder: &OwnedFd,
    name: &Path,
    old: Option<&Stamp>,
) -> Result<Option<Stat>, PathErrorKind> {
    let now = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(now) => now,
        Err(Errno::NOENT) if old.is_none() => return Ok(None),
        Err(Errno::NOENT) => return Err(PathErrorKind::Changed),
        Err(errno) => return Err(PathErrorKind::of(errno)),
    };
    match FileType::from_raw_mode(now.st_mode) {
        FileType::Directory => return Err(PathErrorKind::Folder),
        FileType::Symlink => return Err(PathErrorKind::Swapped),
        FileType::RegularFile => {}
        _ => return Err(PathErrorKind::NoFile),
    }
    if old != Some(&Stamp::from(&now)) {
        return Err(PathErrorKind::Changed);
    }
    // The superuser could, and a rename asks nobody: the mark means that somebody wants it left alone.
    if !Mode::from_raw_mode(now.st_mode).intersects(Mode::WUSR | Mode::WGRP | Mode::WOTH) {
        return Err(PathErrorKind::ReadOnly);
    }
    Ok(Some(now))
}

/// A new file of a name that nobody can guess; private while it stands for one whose mode it will get.
fn draft(folder: &OwnedFd, private: bool) -> io::Result<(String, File)> {
    let mode = Mode::from_raw_mode(if private { 0o600 } else { 0o666 });
    loop {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let name = format!(".{random:016x}.tmp");
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, &name, flags, mode) {
            Ok(file) => return Ok((name, File::from(file))),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Locks the folder until its handle is closed, so that looking and renaming are one step among all who use this.
fn lock(folder: &OwnedFd) -> io::Result<()> {
    for _ in 0..LOCK.0 {
        match rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK.1),
            // Some network file systems have no locks; the look alone is what is left then.
            Ok(()) | Err(_) => return Ok(()),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another program keeps its folder locked"))
}

fn rename(folder: &OwnedFd, draft: &str, name: &Path, replace: bool) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    if !replace {
        match rustix::fs::renameat_with(
            folder,
            draft,
            folder,
            name,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            // This file system can't promise it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return renamed,
        }
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    let _ = replace;
    rustix::fs::renameat(folder, draft, folder, name)
}
