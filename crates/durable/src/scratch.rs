use crate::{Error, Folder};
use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The end of the name of the file that the owner of a folder keeps locked.
const OWNER_SUFFIX: &str = ".owner";
/// An owner's file is empty; what has more bytes is no such file.
const MAX_OWNER_BYTES: u64 = 0;

/// A folder for one run of a program, with a name that no other run has: temporary files, logs. It
/// is removed when it is dropped. When its owner is killed before that, the next
/// [`sweep`](Scratch::sweep) removes it, and never that of an owner that lives.
///
/// Beside the folder `PREFIX-NUMBER` stands the empty file `PREFIX-NUMBER.owner`, on which the owner
/// holds an advisory lock. The kernel releases it when the owner dies, also by SIGKILL. All calls
/// block, and so does dropping it.
#[derive(Debug)]
pub struct Scratch {
    base: Folder,
    folder: Folder,
    owner_name: String,
    /// Locked.
    _owner: File,
}

impl Scratch {
    /// Creates a folder below `base`.
    ///
    /// # Errors
    /// Those of [`Folder::folder`].
    pub fn create(base: &Folder, prefix: &str) -> Result<Scratch, Error> {
        loop {
            let name = format!("{prefix}-{:016x}", fastrand::u64(..));
            let owner_name = format!("{name}{OWNER_SUFFIX}");
            let Some(owner) = base.create_new(&owner_name)? else { continue };
            // Before it is locked, a sweep may take it for one of a dead owner.
            if !try_lock(&owner) {
                continue;
            }
            let folder = base.folder(&name)?;
            return Ok(Scratch { base: base.clone(), folder, owner_name, _owner: owner });
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder to the person who wants to look into it: nothing removes it any more.
    pub fn keep(self) -> PathBuf {
        let path = self.path().to_path_buf();
        // Without its owner's file it is not found by a sweep.
        let _ = self.base.remove(&self.owner_name);
        path
    }

    /// Removes the folders below `base` whose owners are dead; returns how many. What cannot be
    /// removed stays until the next time.
    ///
    /// # Errors
    /// When `base` cannot be listed.
    pub fn sweep(base: &Folder, prefix: &str) -> Result<usize, Error> {
        let mut removed = 0;
        for name in base.list()? {
            if let Some(folder) = folder_of(&name, prefix)
                && let Ok(owner) = base.open_file(&name, MAX_OWNER_BYTES)
                && try_lock(&owner)
            {
                removed += usize::from(remove(base, folder, &name));
            }
        }
        Ok(removed)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let folder = self.owner_name.trim_end_matches(OWNER_SUFFIX);
        // One that was kept has no owner's file.
        if matches!(self.base.stat(self.owner_name.as_ref()), Ok(Some(_))) {
            remove(&self.base, folder, self.owner_name.as_ref());
        }
    }
}

/// The name of the folder to which an owner's file belongs.
fn folder_of<'a>(owner: &'a OsStr, prefix: &str) -> Option<&'a str> {
    let folder = owner.to_str()?.strip_suffix(OWNER_SUFFIX)?;
    let number = folder.strip_prefix(prefix)?.strip_prefix('-')?;
    (number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(folder)
}

/// Locks the file; false when another has it, or when it was removed meanwhile.
fn try_lock(owner: &File) -> bool {
    owner.try_lock().is_ok() && owner.metadata().is_ok_and(|file| file.nlink() == 1)
}

/// Removes the folder, then its owner's file, which must be locked; whether that is done. The folder
/// is that of this name, never what a link leads to.
fn remove(base: &Folder, folder: &str, owner: &OsStr) -> bool {
    let path = base.path().join(folder);
    let gone = base.check().is_ok()
        && match fs::remove_dir_all(&path) {
            Ok(()) => true,
            Err(_) => matches!(base.stat(folder.as_ref()), Ok(None)),
        };
    gone && base.remove(owner).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> (tempfile::TempDir, Folder) {
        let here = tempfile::tempdir().unwrap();
        let base = Folder::open(here.path(), "").unwrap();
        (here, base)
    }

    fn names(base: &Folder) -> Vec<String> {
        base.list().unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    /// As if the owner had been killed: the kernel closes its files, and nothing is removed.
    fn kill(scratch: Scratch) -> PathBuf {
        let path = scratch.path().to_path_buf();
        let copy = scratch.base.path().join("copy");
        fs::rename(scratch.base.path().join(&scratch.owner_name), &copy).unwrap();
        let name = scratch.owner_name.clone();
        drop(scratch);
        fs::rename(&copy, path.with_file_name(name)).unwrap();
        path
    }

    #[test]
    fn it_is_removed_when_it_is_dropped_and_stays_when_it_is_kept() {
        let (_here, base) = base();
        let scratch = Scratch::create(&base, "run").unwrap();
        scratch.folder().write("a/b", b"text").unwrap();
        assert_eq!(fs::metadata(scratch.path()).unwrap().mode() & 0o777, 0o700);
        drop(scratch);
        assert_eq!(names(&base), [""; 0]);
        let kept = Scratch::create(&base, "run").unwrap().keep();
        assert_eq!(Scratch::sweep(&base, "run").unwrap(), 0);
        assert!(kept.is_dir() && names(&base).len() == 1);
    }

    #[test]
    fn a_sweep_removes_what_the_dead_left_and_nothing_else() {
        let (here, base) = base();
        let alive = Scratch::create(&base, "run").unwrap();
        let dead = kill(Scratch::create(&base, "run").unwrap());
        let other = kill(Scratch::create(&base, "other").unwrap());
        fs::write(dead.join("file"), "x").unwrap();
        let foreign = here.path().join("run-0123456789abcdef");
        fs::create_dir(&foreign).unwrap();
        fs::write(here.path().join("run-mine.owner"), "").unwrap();
        assert_eq!(Scratch::sweep(&base, "run").unwrap(), 1);
        assert!(alive.path().is_dir() && !dead.exists() && other.is_dir() && foreign.is_dir());
        assert!(here.path().join("run-mine.owner").exists());
        assert_eq!(Scratch::sweep(&base, "run").unwrap(), 0);
    }

    #[test]
    fn a_sweep_follows_no_link() {
        let (here, base) = base();
        let precious = here.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        let dead = kill(Scratch::create(&base, "run").unwrap());
        fs::remove_dir(&dead).unwrap();
        std::os::unix::fs::symlink(&precious, &dead).unwrap();
        let _ = Scratch::sweep(&base, "run").unwrap();
        assert!(precious.join("file").exists());
    }

    /// Many create, drop, are killed and sweep at once: no folder of a living owner goes, and
    /// nothing is left at the end.
    #[test]
    fn sweeps_and_owners_at_once() {
        let (_here, base) = base();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for round in 0..50 {
                        let scratch = Scratch::create(&base, "run").unwrap();
                        scratch.folder().write("file", b"x").unwrap();
                        Scratch::sweep(&base, "run").unwrap();
                        assert_eq!(fs::read(scratch.path().join("file")).unwrap(), b"x");
                        if round % 2 == 0 {
                            drop(scratch);
                        }
                    }
                });
            }
        });
        Scratch::sweep(&base, "run").unwrap();
        assert_eq!(names(&base), [""; 0]);
    }
}
