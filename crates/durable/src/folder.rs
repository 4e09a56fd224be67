mod entry;
mod temporary;

use crate::{
    Error,
    lock::with_suffix,
    step::{self, step},
};
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

pub(crate) use entry::{check, is_same};

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
/// A folder that was moved or replaced meanwhile is noticed by every call that opens something:
/// [`Error::Replaced`]. One that was removed is created again (`git clean -fdx` does that, and a
/// program must not lose what it keeps in memory because of it). All calls block.
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
    /// Replaced when the folder was removed and created again.
    handle: RwLock<Arc<Handle>>,
    path: PathBuf,
    /// The folder above and the name in it; none for a base.
    above: Option<(Folder, OsString)>,
    is_hidden: AtomicBool,
    /// What killed processes left in it was looked for.
    is_swept: AtomicBool,
}

/// An open folder.
#[derive(Debug)]
struct Handle {
    folder: OwnedFd,
    /// The name of the folder, and those of the folders above it, are on the disk.
    is_placed: AtomicBool,
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Folder {
    /// Opens the folder `relative` below `base`, and creates what is missing of it. `base` was
    /// given by a person: it must exist, links in it are followed, and its mode and owner do not
    /// matter. An empty `relative` is the base itself.
    ///
    /// # Errors
    /// [`Error::NotOurs`] when a name of `relative` is something else than a folder of ours, and
    /// [`Error::Io`].
    pub fn open(base: impl AsRef<Path>, relative: impl AsRef<Path>) -> Result<Folder, Error> {
        let path = base.as_ref().to_path_buf();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = step("open", || Ok(fs::openat(CWD, &path, flags, Mode::empty())?));
        let handle = opened.map_err(Error::io("open", &path))?;
        Folder::new(handle, path, None).folder(relative)
    }

    fn new(folder: OwnedFd, path: PathBuf, above: Option<(Folder, OsString)>) -> Folder {
        let handle = RwLock::new(Arc::new(Handle { folder, is_placed: AtomicBool::new(false) }));
        let (is_hidden, is_swept) = Default::default();
        Folder(Arc::new(Inner { handle, path, above, is_hidden, is_swept }))
    }

    fn handle(&self) -> Arc<Handle> {
        self.0.handle.read().unwrap().clone()
    }

    /// Opens a folder below this one, as [`open`](Folder::open) does.
    ///
    /// # Errors
    /// Those of [`open`](Folder::open).
    pub fn folder(&self, relative: impl AsRef<Path>) -> Result<Folder, Error> {
        self.check()?;
        let mut folder = self.clone();
        for name in self.names_of(relative.as_ref())? {
            folder = folder.enter(name)?;
        }
        Ok(folder)
    }

    /// Hides the folder from git, by a `.gitignore` in it: or `git add` would take it in. That file
    /// is created again with a folder that was removed. Where it can't be written, neither can
    /// anything else, and that will be said.
    pub fn hide_from_git(&self) {
        self.0.is_hidden.store(true, Relaxed);
        self.ignore_all();
    }

    fn ignore_all(&self) {
        if let Ok(Some(file)) = self.create(".gitignore".as_ref()) {
            let _ = step::write_all(&file, b"*\n");
        }
    }

    /// Where the folder was when it was opened, for messages, and for programs that are told where
    /// a file is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Checks whether the path still leads to this folder, and creates it again if it was removed.
    ///
    /// # Errors
    /// [`Error::Replaced`] when it leads elsewhere, [`Error::NotOurs`] when something else than a
    /// folder is there now, and [`Error::Io`].
    pub fn check(&self) -> Result<(), Error> {
        let path = &self.0.path;
        let open = step("stat", || Ok(fs::fstat(&*self.handle())?));
        let open = open.map_err(Error::io("stat", path))?;
        // The usual case, in two system calls whatever the depth. A link on the way does no harm
        // then, since all is opened below the handle. What fails here fails again below.
        if fs::stat(path).is_ok_and(|found| is_same(&open, &found)) {
            return Ok(());
        }
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
        if found.as_ref().is_some_and(|found| is_same(&open, found)) {
            return Ok(());
        }
        if open.st_nlink == 0
            && let Some((above, name)) = &self.0.above
        {
            *self.0.handle.write().unwrap() = above.enter(name)?.handle();
            if self.0.is_hidden.load(Relaxed) {
                self.ignore_all();
            }
            return Ok(());
        }
        if let Some(found) = found {
            check(path, &found, FileType::Directory, false)?;
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

    /// The content of a text file, with U+FFFD for what is no UTF-8. Creates nothing.
    ///
    /// # Errors
    /// Those of [`read`](Folder::read), and [`Error::Io`] when there is no such file.
    pub fn read_text(&self, relative: impl AsRef<Path>, max_bytes: u64) -> Result<String, Error> {
        let relative = relative.as_ref();
        match self.read(relative, max_bytes)? {
            Some(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            None => {
                let error = io::Error::new(io::ErrorKind::NotFound, "there is no such file yet");
                Err(Error::io("read", &self.0.path.join(relative))(error))
            }
        }
    }

    /// Replaces a file atomically: a reader finds the old content or the new content, never a
    /// mixture, also after a power cut.
    ///
    /// It writes a temporary file in this folder, flushes it, renames it, and flushes the folder of
    /// the file, and those above it where that may not be done. A process that is killed meanwhile
    /// leaves a temporary file behind, which is removed when this folder is opened again to write.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Replaced`] and [`Error::Io`]. The file then has its old
    /// content, or already the new one if only the last flush, that of the folder, failed.
    pub fn write(&self, relative: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
        let (folder, name) = self.locate(relative.as_ref())?;
        let path = folder.0.path.join(name);
        folder.replace(self, name, |file| {
            step::write_all(file, bytes).map_err(Error::io("write", &path))
        })
    }

    /// [Writes](Folder::write) a new file `STEM-NUMBER` and `suffix`, under the first number that
    /// is free. Only one program at a time may do that with this stem.
    ///
    /// # Errors
    /// Those of [`write`](Folder::write).
    pub fn write_numbered(
        &self,
        stem: impl AsRef<Path>,
        suffix: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut n: u64 = 1;
        loop {
            let relative = with_suffix(stem.as_ref().as_os_str(), &format!("-{n:04}{suffix}"));
            let (folder, name) = self.locate(relative.as_ref())?;
            if folder.stat(name)?.is_none() {
                return self.write(relative, bytes);
            }
            n += 1;
        }
    }

    /// Removes a file, or a link itself; false when there is none.
    ///
    /// # Errors
    /// [`Error::Replaced`] and [`Error::Io`].
    pub fn remove(&self, relative: impl AsRef<Path>) -> Result<bool, Error> {
        let (folder, name) = self.locate(relative.as_ref())?;
        folder.check()?;
        match step("remove", || Ok(fs::unlinkat(&*folder.handle(), name, AtFlags::empty())?)) {
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
        step("list", || self.entries()).map_err(Error::io("list", &self.0.path))
    }

    /// Flushes the folder: without that, a power cut can undo a new name in it. The first time, the
    /// folders above are flushed too: whoever created this one did not, or may have died before.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let handle = self.handle();
        if let Some((above, _)) = &self.0.above
            && !handle.is_placed.load(Relaxed)
        {
            above.flush()?;
            handle.is_placed.store(true, Relaxed);
        }
        step("flush folder", || Ok(fs::fsync(&*handle)?)).map_err(Error::io("flush", &self.0.path))
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
        for entry in Dir::read_from(&*self.handle())? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
