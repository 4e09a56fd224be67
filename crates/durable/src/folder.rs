use crate::{
    Error, Foreign,
    step::{self, step},
};
use rustix::{
    fs::{self, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The end of the names of temporary files.
const TEMPORARY_SUFFIX: &str = ".tmp";
/// How often a name is looked at again that appears or disappears while it is being opened.
const ATTEMPTS: u32 = 100;
/// The mode of folders. That of files is [`FILE_MODE`].
const FOLDER_MODE: Mode = Mode::RWXU;
/// Read and write for the owner, nothing for others.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// What nobody but the owner may have.
const TOO_WIDE: Mode = Mode::RWXG.union(Mode::RWXO);
/// How every name is opened: without following a link, without waiting for a pipe or a device.
const SAFE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A folder of a program's own state, held open. Clones are the same folder.
///
/// State lies in folders that somebody else has filled: a repository can bring `.rungs` as a link
/// to the home folder, or a log as a link to `~/.bashrc`. So nothing here is opened by its path.
/// Every name is opened below the handle of its folder without following links, and must be what
/// this program keeps there: a folder, or a regular file with one name, which belongs to the user
/// that runs the program. Anything else is [`Error::NotOurs`], and is not touched: not read, not
/// created through, not cut off, its mode not changed.
///
/// New folders have mode 0700 and new files 0600, whatever the umask; those that others may read or
/// write are closed to them when they are opened. Paths of files are relative, and name no folder
/// above: those that are written create the folders on their way.
///
/// A folder that was moved, removed or replaced meanwhile is noticed by every call that opens
/// something: [`Error::Replaced`]. All calls block.
///
/// ```
/// # let here = tempfile::tempdir()?;
/// let state = durable::Folder::open(here.path(), ".rungs/s06")?;
/// state.write("notes/today.md", b"milk")?;
/// assert_eq!(state.read("notes/today.md", 1000)?.as_deref(), Some(&b"milk"[..]));
/// assert_eq!(state.read("notes/tomorrow.md", 1000)?, None);
///
/// std::os::unix::fs::symlink("/etc/passwd", here.path().join(".rungs/s06/link"))?;
/// assert!(state.read("link", 1000).unwrap_err().to_string().contains("is a symbolic link"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: OwnedFd,
    path: PathBuf,
    /// The folder above and the name in it; none for a base.
    above: Option<(Folder, OsString)>,
}

impl Folder {
    /// Opens the folder `relative` below `base`, and creates what is missing of it. `base` was
    /// given by a person: it must exist, links in it are followed, and its mode and owner do not
    /// matter. An empty `relative` is the base itself.
    ///
    /// Temporary files that killed processes left in the folders below the base are removed.
    ///
    /// # Errors
    /// [`Error::NotOurs`] when a name of `relative` is something else than a folder of ours, and
    /// [`Error::Io`].
    pub fn open(base: impl AsRef<Path>, relative: impl AsRef<Path>) -> Result<Folder, Error> {
        let path = base.as_ref().to_path_buf();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = step("open", || Ok(fs::openat(CWD, &path, flags, Mode::empty())?));
        let handle = opened.map_err(Error::io("open", &path))?;
        Folder(Arc::new(Inner { handle, path, above: None })).folder(relative)
    }

    /// Opens a folder below this one, as [`open`](Folder::open) does.
    ///
    /// # Errors
    /// Those of [`open`](Folder::open).
    pub fn folder(&self, relative: impl AsRef<Path>) -> Result<Folder, Error> {
        let mut folder = self.clone();
        for name in self.names_of(relative.as_ref())? {
            folder = folder.enter(name)?;
        }
        Ok(folder)
    }

    /// Where the folder was when it was opened, for messages, and for programs that are told where
    /// a file is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Checks whether the path still leads to this folder.
    ///
    /// # Errors
    /// [`Error::Replaced`] when it does not, [`Error::NotOurs`] when something else than a folder
    /// is there now, and [`Error::Io`].
    pub fn check(&self) -> Result<(), Error> {
        let path = &self.0.path;
        let found = match &self.0.above {
            Some((above, name)) => {
                above.check()?;
                above.stat(name)?
            }
            None => match step("stat", || Ok(fs::stat(path)?)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                found => Some(found.map_err(Error::io("stat", path))?),
            },
        };
        let Some(found) = found else { return Err(Error::Replaced { folder: path.clone() }) };
        check(path, &found, FileType::Directory, false)?;
        let open = step("stat", || Ok(fs::fstat(&self.0.handle)?));
        if is_same(&open.map_err(Error::io("stat", path))?, &found) {
            return Ok(());
        }
        Err(Error::Replaced { folder: path.clone() })
    }

    /// Opens a file to read it and to append to it, and creates it when there is none.
    ///
    /// # Errors
    /// [`Error::NotOurs`], also when it has more than `max_bytes`; [`Error::Replaced`] and
    /// [`Error::Io`].
    pub fn open_file(&self, relative: impl AsRef<Path>, max_bytes: u64) -> Result<File, Error> {
        let (folder, name) = self.locate(relative.as_ref())?;
        folder.check()?;
        for _ in 0..ATTEMPTS {
            if let Some(file) = folder.open_existing(name, max_bytes)? {
                return Ok(file);
            }
            if let Some(file) = folder.create(name)? {
                folder.flush()?;
                return Ok(file);
            }
        }
        Err(folder.unstable(name))
    }

    /// Creates a file, to write it; none when there is something of this name already.
    ///
    /// # Errors
    /// [`Error::Replaced`] and [`Error::Io`].
    pub fn create_new(&self, relative: impl AsRef<Path>) -> Result<Option<File>, Error> {
        let (folder, name) = self.locate(relative.as_ref())?;
        folder.check()?;
        folder.create(name)
    }

    /// The content of a file; none when there is no such file. Creates nothing.
    ///
    /// # Errors
    /// Those of [`open_file`](Folder::open_file).
    pub fn read(
        &self,
        relative: impl AsRef<Path>,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let relative = relative.as_ref();
        self.check()?;
        let mut folder = self.clone();
        if let Some(above) = relative.parent() {
            for name in self.names_of(above)? {
                if folder.stat(name)?.is_none() {
                    return Ok(None);
                }
                folder = folder.enter(name)?;
            }
        }
        let name = self.last_name(relative)?;
        let Some(file) = folder.open_existing(name, max_bytes)? else { return Ok(None) };
        let mut content = Vec::new();
        // It may grow meanwhile.
        step("read", || file.take(max_bytes).read_to_end(&mut content))
            .map_err(Error::io("read", &folder.0.path.join(name)))?;
        Ok(Some(content))
    }

    /// Replaces a file atomically: a reader finds the old content or the new content, never a
    /// mixture, also after a power cut.
    ///
    /// It writes a temporary file, flushes it, renames it, and flushes the folder. A process that
    /// is killed meanwhile leaves a temporary file behind, which is removed when the folder is
    /// opened again.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Replaced`] and [`Error::Io`]. The file then has its old
    /// content, or already the new one if only the last flush, that of the folder, failed.
    pub fn write(&self, relative: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
        let (folder, name) = self.locate(relative.as_ref())?;
        let path = folder.0.path.join(name);
        folder.replace(name, |file| step::write_all(file, bytes).map_err(Error::io("write", &path)))
    }

    /// Removes a file, or a link itself; false when there is none.
    ///
    /// # Errors
    /// [`Error::Replaced`] and [`Error::Io`].
    pub fn remove(&self, relative: impl AsRef<Path>) -> Result<bool, Error> {
        let (folder, name) = self.locate(relative.as_ref())?;
        folder.check()?;
        match step("remove", || Ok(fs::unlinkat(&folder.0.handle, name, AtFlags::empty())?)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => {
                removed.map_err(Error::io("remove", &folder.0.path.join(name)))?;
                Ok(true)
            }
        }
    }

    /// The names of everything in the folder, in alphabetical order.
    ///
    /// # Errors
    /// [`Error::Replaced`] and [`Error::Io`].
    pub fn list(&self) -> Result<Vec<OsString>, Error> {
        self.check()?;
        self.entries().map_err(Error::io("list", &self.0.path))
    }

    /// Puts a new file with the content that `fill` writes in the place of this one.
    pub(crate) fn replace(
        &self,
        name: &OsStr,
        fill: impl FnOnce(&File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check()?;
        if let Some(old) = self.stat(name)? {
            check(&self.0.path.join(name), &old, FileType::RegularFile, true)?;
        }
        let (temporary, file) = self.create_temporary(name)?;
        let replaced = fill(&file).and_then(|()| self.put(&file, &temporary, name));
        if replaced.is_err() {
            // The first error is the one to report.
            let _ = fs::unlinkat(&self.0.handle, &*temporary, AtFlags::empty());
        }
        replaced?;
        self.flush()
    }

    /// Flushes the folder: without that, a power cut can undo a new name in it.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        step("flush folder", || Ok(fs::fsync(&self.0.handle)?))
            .map_err(Error::io("flush", &self.0.path))
    }

    /// What has this name, itself and not what it leads to.
    pub(crate) fn stat(&self, name: &OsStr) -> Result<Option<Stat>, Error> {
        let stat =
            step("stat", || Ok(fs::statat(&self.0.handle, name, AtFlags::SYMLINK_NOFOLLOW)?));
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
    fn create(&self, name: &OsStr) -> Result<Option<File>, Error> {
        let path = self.0.path.join(name);
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | SAFE;
        let created = step("create", || Ok(fs::openat(&self.0.handle, name, flags, FILE_MODE)?));
        let file = match created {
            Ok(file) => File::from(file),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(e) => return Err(Error::io("create", &path)(e)),
        };
        // The umask may have taken the owner's access away.
        step("chmod", || Ok(fs::fchmod(&file, FILE_MODE)?)).map_err(Error::io("chmod", &path))?;
        Ok(Some(file))
    }

    /// A new file `.NAME.NUMBER.tmp`, locked until it is closed: so nobody takes it for one that a
    /// killed process left behind.
    fn create_temporary(&self, name: &OsStr) -> Result<(OsString, File), Error> {
        for _ in 0..ATTEMPTS {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{:016x}{TEMPORARY_SUFFIX}", fastrand::u64(..)));
            let Some(file) = self.create(&temporary)? else { continue };
            // Another process may have taken it for a leftover before it was locked.
            let is_locked = fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if is_locked && fs::fstat(&file).is_ok_and(|stat| stat.st_nlink == 1) {
                return Ok((temporary, file));
            }
        }
        Err(self.unstable(name))
    }

    fn put(&self, file: &File, temporary: &OsStr, name: &OsStr) -> Result<(), Error> {
        let handle = &self.0.handle;
        step("flush", || file.sync_all())
            .and_then(|()| step("rename", || Ok(fs::renameat(handle, temporary, handle, name)?)))
            .map_err(Error::io("write", &self.0.path.join(name)))
    }

    /// Opens the folder of this name, and creates it when there is none.
    fn enter(&self, name: &OsStr) -> Result<Folder, Error> {
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
            let above = Some((self.clone(), name.to_owned()));
            let folder = Folder(Arc::new(Inner { handle, path, above }));
            folder.remove_leftovers();
            return Ok(folder);
        }
        Err(self.unstable(name))
    }

    fn create_folder(&self, name: &OsStr) -> Result<(), Error> {
        let path = self.0.path.join(name);
        let created = step("create folder", || Ok(fs::mkdirat(&self.0.handle, name, FOLDER_MODE)?));
        match created {
            // Another process may have created it in the meantime.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create", &path)(e))
            }
            _ => {
                undo_umask(&self.0.handle, name).map_err(Error::io("chmod", &path))?;
                self.flush()
            }
        }
    }

    fn openat(&self, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(fs::openat(&self.0.handle, name, flags, Mode::empty())?)
    }

    /// The folder of a file, and its name in it.
    fn locate<'a>(&self, relative: &'a Path) -> Result<(Folder, &'a OsStr), Error> {
        let folder = match relative.parent() {
            Some(above) => self.folder(above)?,
            None => self.clone(),
        };
        Ok((folder, self.last_name(relative)?))
    }

    fn last_name<'a>(&self, relative: &'a Path) -> Result<&'a OsStr, Error> {
        match self.names_of(relative)?.pop() {
            Some(name) => Ok(name),
            None => Err(self.no_name(relative)),
        }
    }

    fn names_of<'a>(&self, relative: &'a Path) -> Result<Vec<&'a OsStr>, Error> {
        let mut names = vec![];
        for component in relative.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                _ => return Err(self.no_name(relative)),
            }
        }
        Ok(names)
    }

    fn no_name(&self, relative: &Path) -> Error {
        let why = "it is not a name below this folder";
        let error = io::Error::new(io::ErrorKind::InvalidInput, why);
        Error::io("open", &self.0.path.join(relative))(error)
    }

    fn unstable(&self, name: &OsStr) -> Error {
        let error = io::Error::other("it appears and disappears again and again");
        Error::io("open", &self.0.path.join(name))(error)
    }

    fn entries(&self) -> io::Result<Vec<OsString>> {
        let mut names = vec![];
        for entry in step("list", || Ok(Dir::read_from(&self.0.handle)?))? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes the temporary files of killed processes: those that nobody has locked. What cannot
    /// be removed does no harm, so errors do not matter.
    fn remove_leftovers(&self) {
        for name in self.entries().unwrap_or_default() {
            if is_temporary(&name)
                && let Ok(Some(file)) = self.open_existing(&name, u64::MAX)
                && fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                let _ = fs::unlinkat(&self.0.handle, &*name, AtFlags::empty());
            }
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") && name.ends_with(TEMPORARY_SUFFIX.as_bytes())
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
fn close_to_others(file: &impl std::os::fd::AsFd, stat: &Stat) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(TOO_WIDE) {
        return step("chmod", || Ok(fs::fchmod(file, mode & Mode::RWXU)?));
    }
    Ok(())
}

/// Gives a folder that was just created the mode that it was created with, if the umask has taken
/// so much of it that its owner cannot open it.
fn undo_umask(above: &OwnedFd, name: &OsStr) -> io::Result<()> {
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
