//! Files that are being written, until they get their names.
use super::{ATTEMPTS, Folder, SAFE, entry::check};
use crate::{Error, step::step};
use rustix::fs::{self, AtFlags, FileType, FlockOperation, OFlags, Stat};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::unix::ffi::OsStrExt,
    sync::atomic::Ordering::Relaxed,
};

/// The end of the names of temporary files.
const TEMPORARY_SUFFIX: &str = ".tmp";

impl Folder {
    /// Puts a new file with the content that `fill` writes in the place of this one. Until then it
    /// is in `temporaries`, a folder on the same disk.
    pub(crate) fn replace(
        &self,
        temporaries: &Folder,
        name: &OsStr,
        fill: impl FnOnce(&File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check()?;
        if let Some(old) = self.stat(name)? {
            check(&self.0.path.join(name), &old, FileType::RegularFile, true)?;
        }
        let (temporary, file) = temporaries.create_temporary(name)?;
        let put = || {
            let (from, to) = (temporaries.handle(), self.handle());
            step("flush", || file.sync_all())?;
            step("rename", || Ok(fs::renameat(&*from, &*temporary, &*to, name)?))
        };
        let path = self.0.path.join(name);
        let replaced = fill(&file).and_then(|()| put().map_err(Error::io("write", &path)));
        if replaced.is_err() {
            // The first error is the one to report.
            let _ = fs::unlinkat(&*temporaries.handle(), &*temporary, AtFlags::empty());
        }
        replaced?;
        self.flush()
    }

    /// A new file `.NAME.NUMBER.tmp`, locked until it is closed: so nobody takes it for one that a
    /// killed process left behind. Those are removed first.
    fn create_temporary(&self, name: &OsStr) -> Result<(OsString, File), Error> {
        if !self.0.is_swept.swap(true, Relaxed) {
            self.remove_leftovers();
        }
        for _ in 0..ATTEMPTS {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{:016x}{TEMPORARY_SUFFIX}", fastrand::u64(..)));
            let created = self.create(&temporary);
            if created.is_err() {
                let _ = fs::unlinkat(&*self.handle(), &*temporary, AtFlags::empty());
            }
            let Some(file) = created? else { continue };
            // Another process may have taken it for a leftover before it was locked.
            let is_locked = fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if is_locked && fs::fstat(&file).is_ok_and(|stat| stat.st_nlink == 1) {
                return Ok((temporary, file));
            }
        }
        Err(self.unstable(name))
    }

    /// Removes the temporary files of killed processes: those that nobody has locked. What cannot
    /// be removed does no harm, so errors do not matter.
    fn remove_leftovers(&self) {
        for name in self.entries().unwrap_or_default() {
            let is_file =
                |stat: Stat| check(&self.0.path, &stat, FileType::RegularFile, true).is_ok();
            if is_temporary(&name)
                && fs::statat(&*self.handle(), &*name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_file)
                && let Ok(file) = self.openat(&name, OFlags::RDONLY | SAFE)
                && fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                let _ = fs::unlinkat(&*self.handle(), &*name, AtFlags::empty());
            }
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") && name.ends_with(TEMPORARY_SUFFIX.as_bytes())
}
