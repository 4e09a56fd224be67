use crate::{
    Damage, Error, Lock,
    lock::with_suffix,
    record::{self, EncodeError, Position, Scan, ScanError},
    step::{self, StepReader, step},
    write::{create_folder, flush_folder_of, folder_of, remove_leftovers, replace},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    fs::{File, Metadata},
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom},
    marker::PhantomData,
    mem,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a journal waits for its lock. Others hold it for one decision and one flush.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The size of the buffers for reading, copying and compacting, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A file to which any number of processes append records, one JSON line each.
///
/// It keeps no records in memory, only the position up to which it has read. Every method blocks.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    position: Position,
    /// The file was opened or replaced, and no [`Update`] has reported that yet.
    reset: bool,
    records: PhantomData<fn(T) -> T>,
}

/// What a reader of a journal has not seen yet.
#[derive(Debug, PartialEq)]
#[must_use]
pub struct Update<T> {
    /// The records in their order. Those of one `append_all` are there together or not at all.
    pub records: Vec<T>,
    /// Discard the state that was built from earlier updates: these records begin with the first.
    /// True when the journal was opened, and after another process has compacted or repaired it.
    pub reset: bool,
    /// Damaged bytes that were moved out of the journal.
    pub quarantined: Option<Quarantined>,
}

/// A report on damaged bytes that were moved out of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// The journal.
    pub file: PathBuf,
    /// The first damaged line, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub damage: Damage,
    /// The quarantine file.
    pub to: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quarantined { file, line, damage, to, bytes } = self;
        let (file, to) = (file.display(), to.display());
        write!(f, "{file}:{line}: {damage}; {bytes} bytes were quarantined in {to}")
    }
}

/// A journal under its lock: no other process can read or write it until this is dropped.
#[derive(Debug)]
pub struct LockedJournal<'a, T> {
    journal: &'a mut Journal<T>,
    _lock: Lock,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal at `path` and reads it. A missing file is created with mode 0600, missing
    /// folders with 0700.
    ///
    /// A torn tail, as a crash leaves it, is moved to `NAME.torn-N` and reported in the [`Update`];
    /// every complete append before it is kept.
    ///
    /// # Errors
    /// [`Error::Damaged`] when intact lines follow the damage: the file is not changed then.
    /// [`Error::UnknownRecord`], [`Error::LockTimeout`] and [`Error::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Update<T>), Error> {
        Self::open_or_salvage(path.into(), false)
    }

    /// As [`open`](Self::open), but a damaged file is copied to `NAME.damaged-N`, and only what
    /// stands before the damage is kept. A person who knows what will be lost should decide that.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) but [`Error::Damaged`].
    pub fn salvage(path: impl Into<PathBuf>) -> Result<(Self, Update<T>), Error> {
        Self::open_or_salvage(path.into(), true)
    }

    /// What others have appended since the last read. When nothing is new, this costs two `stat`
    /// calls and takes no lock.
    ///
    /// It can return a record whose writer was killed before its flush. That record was
    /// acknowledged to nobody, and until the next append a power cut can undo it.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn read_new(&mut self) -> Result<Update<T>, Error> {
        if self.is_current()? {
            return Ok(Update { records: Vec::new(), reset: false, quarantined: None });
        }
        let (_locked, update) = self.lock()?;
        Ok(update)
    }

    /// Locks the journal and reads what is new in it: now is the time to decide, and to append what
    /// was decided.
    ///
    /// # Errors
    /// [`Error::LockTimeout`] after ten seconds, and those of [`open`](Self::open).
    pub fn lock(&mut self) -> Result<(LockedJournal<'_, T>, Update<T>), Error> {
        let lock = lock(&self.path)?;
        let update = self.catch_up(false)?;
        Ok((LockedJournal { journal: self, _lock: lock }, update))
    }

    /// Appends one record; `Ok` means that it is on the disk.
    ///
    /// This is for journals with one writer. Where several write, use [`lock`](Self::lock).
    ///
    /// # Errors
    /// As for [`append_all`](Self::append_all).
    pub fn append(&mut self, record: &T) -> Result<(), Error> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records atomically: after a crash either all of them are found or none.
    ///
    /// # Errors
    /// [`Error::Stale`] when others have written since the last read: the records were decided on
    /// without knowing that. Those of [`LockedJournal::append_all`], and [`Error::LockTimeout`].
    pub fn append_all(&mut self, records: &[T]) -> Result<(), Error> {
        let _lock = lock(&self.path)?;
        self.append_locked(records)
    }

    fn open_or_salvage(path: PathBuf, salvage: bool) -> Result<(Self, Update<T>), Error> {
        create_folder(folder_of(&path))?;
        let _lock = lock(&path)?;
        remove_leftovers(&path)?;
        let file = open_file(&path, true)?;
        let position = Position::default();
        let mut journal = Journal { path, file, position, reset: true, records: PhantomData };
        let update = journal.catch_up(salvage)?;
        Ok((journal, update))
    }

    /// Whether the file at the path is the one that was read, and has not grown since.
    fn is_current(&self) -> Result<bool, Error> {
        let (open, at_path) = self.stat()?;
        let known = (open.dev(), open.ino(), self.position.offset);
        Ok(!self.reset && known == (at_path.dev(), at_path.ino(), at_path.len()))
    }

    fn stat(&self) -> Result<(Metadata, Metadata), Error> {
        step("stat", || Ok((self.file.metadata()?, self.path.metadata()?)))
            .map_err(Error::io("stat", &self.path))
    }

    /// Reads what is new. The caller holds the lock, so an incomplete append is not one in
    /// progress.
    fn catch_up(&mut self, salvage: bool) -> Result<Update<T>, Error> {
        let (open, at_path) = self.stat()?;
        // The inode number of the old file cannot be reused, since that file is still open here.
        if (open.dev(), open.ino()) != (at_path.dev(), at_path.ino()) {
            self.file = open_file(&self.path, false)?;
            self.position = Position::default();
            self.reset = true;
        }
        let damaged = |line, damage| Error::Damaged { file: self.path.clone(), line, damage };
        if at_path.len() < self.position.offset {
            return Err(damaged(self.position.seq, Damage::Truncated));
        }
        let scan: Scan<T> = scan(&self.file, self.position).map_err(|error| match error {
            ScanError::Io(e) => Error::io("read", &self.path)(e),
            ScanError::UnknownRecord(line, source) => {
                Error::UnknownRecord { file: self.path.clone(), line, source }
            }
        })?;
        if let Some((line, damage)) = scan.damage
            && scan.intact_after
            && !salvage
        {
            return Err(damaged(line, damage));
        }
        if self.reset {
            // After a crash nobody may build on data that a power cut could undo. Later reads do
            // not flush: that would cost as much as an append, and the next append flushes it
            // anyway.
            step("flush", || self.file.sync_data()).map_err(Error::io("flush", &self.path))?;
        }
        let quarantined = match scan.damage {
            Some((line, damage)) => Some(self.quarantine(&scan, line, damage)?),
            None => None,
        };
        self.position = scan.end;
        Ok(Update { records: scan.records, reset: mem::take(&mut self.reset), quarantined })
    }

    /// Copies the damage to a quarantine file, then replaces the journal by its intact part. That
    /// is a new file, so that other readers notice the change.
    fn quarantine(
        &mut self,
        scan: &Scan<T>,
        line: u64,
        damage: Damage,
    ) -> Result<Quarantined, Error> {
        let (kind, from) =
            if scan.intact_after { ("damaged", 0) } else { ("torn", scan.end.offset) };
        let (to, bytes) = copy_beside(&self.path, &self.file, kind, from)?;
        replace(&self.path, |new| {
            copy(&self.file, 0, scan.end.offset, new).map_err(Error::io("write", &self.path))?;
            Ok(())
        })?;
        self.file = open_file(&self.path, false)?;
        Ok(Quarantined { file: self.path.clone(), line, damage, to, bytes })
    }

    /// Appends. The caller holds the lock.
    fn append_locked(&mut self, records: &[T]) -> Result<(), Error> {
        self.check_current()?;
        if records.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (record, n) in records.iter().zip(1..) {
            let more = records.len() - n;
            record::encode(&mut bytes, self.position.seq + n as u64, more, record)
                .map_err(|error| self.encode_error(error))?;
        }
        match write_and_flush(&self.file, &bytes) {
            Ok(()) => {
                self.position.offset += bytes.len() as u64;
                self.position.seq += records.len() as u64;
                Ok(())
            }
            Err(source) => match truncate(&self.file, self.position.offset) {
                Ok(()) => Err(Error::io("append to", &self.path)(source)),
                Err(_) => Err(Error::OutcomeUnknown { file: self.path.clone(), source }),
            },
        }
    }

    fn check_current(&self) -> Result<(), Error> {
        if self.is_current()? { Ok(()) } else { Err(Error::Stale { file: self.path.clone() }) }
    }

    fn encode_error(&self, error: EncodeError) -> Error {
        let file = self.path.clone();
        match error {
            EncodeError::Json(source) => Error::Unserializable { file, source },
            EncodeError::TooLarge(bytes) => Error::TooLarge { file, bytes },
        }
    }
}

impl<T: Serialize + DeserializeOwned> LockedJournal<'_, T> {
    /// Appends one record; `Ok` means that it is on the disk.
    ///
    /// # Errors
    /// As for [`append_all`](Self::append_all).
    pub fn append(&mut self, record: &T) -> Result<(), Error> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records atomically: after a crash either all of them are found or none.
    ///
    /// # Errors
    /// [`Error::Unserializable`], [`Error::TooLarge`] and [`Error::Io`]: nothing was appended.
    /// [`Error::OutcomeUnknown`]: only the next read shows that; until then every write is
    /// [`Error::Stale`].
    pub fn append_all(&mut self, records: &[T]) -> Result<(), Error> {
        self.journal.append_locked(records)
    }

    /// Replaces the journal by one with only these records. They must result in the same state.
    ///
    /// Other readers notice that by themselves; their next [`Update`] says
    /// [`reset`](Update::reset).
    ///
    /// # Errors
    /// [`Error::Unserializable`], [`Error::TooLarge`], [`Error::Stale`] and [`Error::Io`]. The old
    /// journal is kept then, or already replaced if only the last flush failed; the next read shows
    /// which.
    pub fn compact<'r>(&mut self, records: impl IntoIterator<Item = &'r T>) -> Result<(), Error>
    where
        T: 'r,
    {
        let journal = &mut *self.journal;
        journal.check_current()?;
        let mut position = Position::default();
        replace(&journal.path, |file| {
            let mut write = |bytes: &mut Vec<u8>| {
                position.offset += bytes.len() as u64;
                step::write_all(file, bytes).map_err(Error::io("write", &journal.path))?;
                bytes.clear();
                Ok(())
            };
            let mut bytes = Vec::with_capacity(BUFFER_BYTES);
            for record in records {
                position.seq += 1;
                record::encode(&mut bytes, position.seq, 0, record)
                    .map_err(|error| journal.encode_error(error))?;
                if bytes.len() >= BUFFER_BYTES {
                    write(&mut bytes)?;
                }
            }
            write(&mut bytes)
        })?;
        journal.file = open_file(&journal.path, false)?;
        journal.position = position;
        Ok(())
    }
}

/// The lock of the journal at `path`. It has a file of its own, since the journal can be replaced.
fn lock(path: &Path) -> Result<Lock, Error> {
    Lock::acquire(with_suffix(path, ".lock"), LOCK_TIMEOUT)
}

fn open_file(path: &Path, create: bool) -> Result<File, Error> {
    let mut options = File::options();
    let file =
        step("open", || options.read(true).append(true).create(create).mode(0o600).open(path))
            .map_err(Error::io("open", path))?;
    // Whoever created or renamed it may have died before flushing the folder, and a power cut would
    // then take what is appended now away with the name.
    flush_folder_of(path)?;
    Ok(file)
}

fn scan<T: DeserializeOwned>(mut file: &File, start: Position) -> Result<Scan<T>, ScanError> {
    step("seek", || file.seek(SeekFrom::Start(start.offset))).map_err(ScanError::Io)?;
    record::scan(BufReader::with_capacity(BUFFER_BYTES, StepReader(file)), start)
}

fn write_and_flush(file: &File, bytes: &[u8]) -> io::Result<()> {
    step::write_all(file, bytes)?;
    step("flush", || file.sync_data())
}

fn truncate(file: &File, bytes: u64) -> io::Result<()> {
    step("truncate", || file.set_len(bytes))?;
    step("flush", || file.sync_all())
}

/// Copies the journal from byte `from` on to a new file `NAME.KIND-N`; returns its path and size.
fn copy_beside(path: &Path, file: &File, kind: &str, from: u64) -> Result<(PathBuf, u64), Error> {
    let (to, new) = create_numbered(path, kind)?;
    let write = || {
        let bytes = copy(file, from, u64::MAX, &new).map_err(Error::io("write", &to))?;
        step("flush", || new.sync_all()).map_err(Error::io("write", &to))?;
        flush_folder_of(&to)?;
        Ok(bytes)
    };
    match write() {
        Ok(bytes) => Ok((to, bytes)),
        Err(error) => {
            // An incomplete copy is of no use: the journal still has all of it.
            let _ = std::fs::remove_file(&to);
            Err(error)
        }
    }
}

/// Creates the first file `NAME.KIND-N` that does not exist yet.
fn create_numbered(path: &Path, kind: &str) -> Result<(PathBuf, File), Error> {
    let mut n: u64 = 1;
    loop {
        let to = with_suffix(path, &format!(".{kind}-{n}"));
        let created =
            step("create", || File::options().write(true).create_new(true).mode(0o600).open(&to));
        match created {
            Ok(file) => return Ok((to, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => n += 1,
            Err(e) => return Err(Error::io("create", &to)(e)),
        }
    }
}

/// Copies the bytes from `start` to `end`, or to the end of the file; returns their number.
fn copy(mut from: &File, start: u64, end: u64, to: &File) -> io::Result<u64> {
    step("seek", || from.seek(SeekFrom::Start(start)))?;
    let mut reader = StepReader(from).take(end - start);
    let (mut buffer, mut bytes) = (vec![0; BUFFER_BYTES], 0);
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            return Ok(bytes);
        }
        step::write_all(to, &buffer[..n])?;
        bytes += n as u64;
    }
}
