//! One name in a folder: what it is, and how it is opened or created.
use super::{ATTEMPTS, FILE_MODE, FOLDER_MODE, Folder, SAFE, TOO_WIDE};
use crate::{Error, Foreign, step::step};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

impl Folder {
    /// What has this name, itself and not what it leads to.
    pub(crate) fn stat(&self, name: &OsStr) -> Result<Option<Stat>, Error> {
        let stat =
            step("stat", || Ok(fs::statat(&*self.handle(), name, AtFlags::SYMLINK_NOFOLLOW)?));
        match stat {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("stat", &self.0.path.join(name))(e)),
        }
    }

    /// Opens an existing file, to read it and to append to it. Others lose their access to it.
    pub(crate) fn open_existing(
        &self,
        name: &OsStr,
        max_bytes: u64,
    ) -> Result<Option<File>, Error> {
        let path = self.0.path.join(name);
        // Looked at before it is opened, since to open a device can have an effect already.
        let Some(found) = self.stat(name)? else { return Ok(None) };
        check(&path, &found, FileType::RegularFile, true)?;
        let flags = OFlags::RDWR | OFlags::APPEND | SAFE;
        let opened = step("open", || self.openat(name, flags));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let stat = step("stat", || Ok(fs::fstat(&file)?)).map_err(Error::io("stat", &path))?;
        if stat.st_nlink == 0 {
            return Ok(None);
        }
        check(&path, &stat, FileType::RegularFile, true)?;
        let bytes = u64::try_from(stat.st_size).unwrap_or_default();
        if bytes > max_bytes {
            let found = Foreign::TooLarge { bytes, max_bytes };
            return Err(Error::NotOurs { file: path, found });
        }
        close_to_others(&file, &stat).map_err(Error::io("chmod", &path))?;
        Ok(Some(file))
    }

    /// Creates a file; none when there is something of this name.
    pub(super) fn create(&self, name: &OsStr) -> Result<Option<File>, Error> {
        let path = self.0.path.join(name);
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | SAFE;
        let created = step("create", || Ok(fs::openat(&*self.handle(), name, flags, FILE_MODE)?));
        let file = match created {
            Ok(file) => File::from(file),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(e) => return Err(Error::io("create", &path)(e)),
        };
        // The umask may have taken the owner's access away.
        step("chmod", || Ok(fs::fchmod(&file, FILE_MODE)?)).map_err(Error::io("chmod", &path))?;
        Ok(Some(file))
    }

    /// Opens the folder of this name, and creates it when there is none.
    pub(super) fn enter(&self, name: &OsStr) -> Result<Folder, Error> {
        let path = self.0.path.join(name);
        for _ in 0..ATTEMPTS {
            let Some(found) = self.stat(name)? else {
                self.create_folder(name)?;
                continue;
            };
            check(&path, &found, FileType::Directory, true)?;
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | SAFE;
            let opened = step("open", || self.openat(name, flags));
            let handle = match opened {
                Ok(handle) => handle,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("open", &path)(e)),
            };
            let stat =
                step("stat", || Ok(fs::fstat(&handle)?)).map_err(Error::io("stat", &path))?;
            check(&path, &stat, FileType::Directory, true)?;
            close_to_others(&handle, &stat).map_err(Error::io("chmod", &path))?;
            return Ok(Folder::new(handle, path, Some((self.clone(), name.to_owned()))));
        }
        Err(self.unstable(name))
    }

    /// Creates a folder of this name. A power cut can undo it until something in it is flushed,
    /// which [flushes](Folder::flush) this folder too.
    pub(super) fn create_folder(&self, name: &OsStr) -> Result<(), Error> {
        let path = self.0.path.join(name);
        let created =
            step("create folder", || Ok(fs::mkdirat(&*self.handle(), name, FOLDER_MODE)?));
        match created {
            // Another process may have created it in the meantime.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create", &path)(e))
            }
            _ => undo_umask(&*self.handle(), name).map_err(Error::io("chmod", &path)),
        }
    }

    pub(super) fn openat(&self, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(fs::openat(&*self.handle(), name, flags, Mode::empty())?)
    }
}

/// Whether these are the same file or folder.
pub(crate) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Fails unless this is what the program keeps there. The owner matters for what is `ours`.
pub(crate) fn check(path: &Path, stat: &Stat, wanted: FileType, ours: bool) -> Result<(), Error> {
    let is = FileType::from_raw_mode(stat.st_mode);
    let found = match is {
        FileType::Symlink => Foreign::Link,
        FileType::Fifo => Foreign::Fifo,
        FileType::Socket => Foreign::Socket,
        FileType::Directory if wanted != is => Foreign::Folder,
        FileType::RegularFile if wanted != is => Foreign::File,
        FileType::Directory | FileType::RegularFile => {
            if ours && stat.st_uid != rustix::process::geteuid().as_raw() {
                Foreign::OfUser(stat.st_uid)
            } else if is == FileType::RegularFile && stat.st_nlink > 1 {
                Foreign::HardLink
            } else {
                return Ok(());
            }
        }
        _ => Foreign::Device,
    };
    Err(Error::NotOurs { file: path.into(), found })
}

/// Takes the access of others away.
pub(super) fn close_to_others(file: &impl AsFd, stat: &Stat) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(TOO_WIDE) {
        return step("chmod", || Ok(fs::fchmod(file, mode & Mode::RWXU)?));
    }
    Ok(())
}

/// Gives a folder that was just created the mode that it was created with, if the umask has taken
/// so much of it that its owner cannot open it.
pub(super) fn undo_umask(above: &impl AsFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | SAFE;
    match fs::openat(above, name, flags, Mode::empty()) {
        Ok(folder) => {
            let stat = fs::fstat(&folder)?;
            let is_narrow = !Mode::from_raw_mode(stat.st_mode).contains(FOLDER_MODE);
            if is_narrow { Ok(fs::fchmod(&folder, FOLDER_MODE)?) } else { Ok(()) }
        }
        // A handle that needs no access; only its path in /proc changes a mode through it.
        #[cfg(target_os = "linux")]
        Err(Errno::ACCESS) => {
            use std::os::fd::AsRawFd;
            let folder = fs::openat(above, name, OFlags::PATH | SAFE, Mode::empty())?;
            let stat = fs::fstat(&folder)?;
            if stat.st_uid == rustix::process::geteuid().as_raw()
                && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            {
                fs::chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), FOLDER_MODE)?;
            }
            Ok(())
        }
        // Whatever else is there is looked at by the caller.
        Err(_) => Ok(()),
    }
}
