mod catch_up;
mod damage;
mod file;

use crate::{
    Error, Folder, Lock,
    folder::check,
    lock::LockFiles,
    record::{self, EncodeError, Header, Key, Position},
    step::step,
};
use file::{LOCK_TIMEOUT, Stamp, Written, lock_files, replace, truncate, write};
use rustix::fs::{FileType, Stat, fstat};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    marker::PhantomData,
    path::{Path, PathBuf},
};

pub use damage::{Quarantined, damaged_journals};

/// The largest size of a journal, in bytes: it bounds what opening one reads.
pub const MAX_JOURNAL_BYTES: u64 = 256 << 20;

/// The size of the buffers for reading, copying and compacting, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A file to which any number of processes append records, one JSON line each.
///
/// It keeps no records in memory, only their numbers and checksums: so it notices when the file
/// does not hold any more what was read from it or appended to it. Every method blocks.
#[derive(Debug)]
pub struct Journal<T> {
    folder: Folder,
    name: OsString,
    path: PathBuf,
    file: File,
    lock_files: LockFiles,
    /// What the file was when it was last read or written.
    stamp: Stamp,
    header: Header,
    position: Position,
    /// All that was read and written since the last [`Update`] that was a reset.
    known: Vec<Key>,
    /// The file was opened or compacted, and no [`Update`] has reported that yet.
    reset: bool,
    /// The file does not hold all that is known.
    rewound: bool,
    /// A power cut would undo the newest records.
    unflushed: bool,
    /// The name of the file is on the disk.
    is_placed: bool,
    records: PhantomData<fn(T) -> T>,
}

/// What a reader of a journal has not seen yet.
#[derive(Debug, PartialEq)]
#[must_use]
pub struct Update<T> {
    /// The records in their order. Those of one `append_all` are there together or not at all,
    /// unless the file was damaged.
    pub records: Vec<T>,
    /// Discard the state that was built from earlier updates: these records begin with the first.
    /// True when the journal was opened, and after another process has compacted it.
    pub reset: bool,
    /// The file does not hold any more what was read from it: somebody has removed it, cut it off,
    /// or put another version in its place. Keep the state, add these records (what others have
    /// written since), and put all of it back with [`compact`](LockedJournal::compact). Until
    /// then nothing can be appended, and every update says this again.
    pub rewound: bool,
    /// What was damaged, or in the place of the journal, and moved out of it.
    pub quarantined: Option<Quarantined>,
}

/// A journal under its lock: no other process can read or write it until this is dropped.
#[derive(Debug)]
pub struct LockedJournal<'a, T> {
    journal: &'a mut Journal<T>,
    _lock: Lock,
}

/// A journal under its lock, and what was new in it.
pub type Locked<'a, T> = (LockedJournal<'a, T>, Update<T>);

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal of this name and reads it. A missing file is created.
    ///
    /// A torn tail, as a crash leaves it, is moved to `NAME.torn-N` and reported in the [`Update`];
    /// every complete append before it is kept.
    ///
    /// # Errors
    /// [`Error::Damaged`] when there is any other damage: the file is not changed then.
    /// [`Error::UnknownRecord`], [`Error::LockTimeout`], and those of [`Folder::open_file`]; the
    /// most bytes are [`MAX_JOURNAL_BYTES`].
    pub fn open(folder: &Folder, name: impl AsRef<OsStr>) -> Result<(Self, Update<T>), Error> {
        Self::open_or_salvage(folder, name.as_ref(), false)
    }

    /// As [`open`](Self::open), but a damaged file is copied to `NAME.damaged-N`, and all intact
    /// records are kept. A person who knows what will be lost should decide that.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) but [`Error::Damaged`].
    pub fn salvage(folder: &Folder, name: impl AsRef<OsStr>) -> Result<(Self, Update<T>), Error> {
        Self::open_or_salvage(folder, name.as_ref(), true)
    }

    /// What others have appended since the last read. When nothing is new, this costs a `stat` of
    /// the file and of each folder above it, and takes no lock.
    ///
    /// It can return a record whose writer was killed before its flush. That record was
    /// acknowledged to nobody, and until the next append a power cut can undo it.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn read_new(&mut self) -> Result<Update<T>, Error> {
        if self.is_current()? {
            return Ok(Update::none());
        }
        let (_locked, update) = self.lock()?;
        Ok(update)
    }

    /// [`lock`](Self::lock) when there is anything new, none when there is not.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn lock_if_new(&mut self) -> Result<Option<Locked<'_, T>>, Error> {
        if self.is_current()? { Ok(None) } else { Ok(Some(self.lock()?)) }
    }

    /// Locks the journal and reads what is new in it: now is the time to decide, and to append what
    /// was decided.
    ///
    /// Damage in what others have written is set aside, and every intact record is kept: nobody
    /// can be asked in the middle of work.
    ///
    /// # Errors
    /// [`Error::LockTimeout`] after ten seconds, and those of [`open`](Self::open).
    pub fn lock(&mut self) -> Result<Locked<'_, T>, Error> {
        let lock = self.hold()?;
        let update = self.catch_up(true)?;
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
        let _lock = self.hold()?;
        self.append_locked(records, true)
    }

    /// As [`append_all`](Self::append_all), but a power cut can undo it until the next
    /// [`flush`](Self::flush), or the next append that flushes. A killed process leaves it there.
    ///
    /// # Errors
    /// As for [`append_all`](Self::append_all).
    pub fn append_unflushed(&mut self, records: &[T]) -> Result<(), Error> {
        let _lock = self.hold()?;
        self.append_locked(records, false)
    }

    /// Brings to the disk what was appended without that.
    ///
    /// # Errors
    /// [`Error::Io`]: it stays unflushed.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.unflushed {
            self.bring_to_disk()?;
        }
        Ok(())
    }

    /// Flushes the file, and its folder if that is not done.
    fn bring_to_disk(&mut self) -> Result<(), Error> {
        self.place()?;
        step("flush", || self.file.sync_data()).map_err(Error::io("flush", &self.path))?;
        self.unflushed = false;
        Ok(())
    }

    /// Flushes the folder, once: whoever created or renamed the file did not, or may have died
    /// before, and a power cut would take what is in it away with its name.
    fn place(&mut self) -> Result<(), Error> {
        if !self.is_placed {
            self.folder.flush()?;
            self.is_placed = true;
        }
        Ok(())
    }

    fn hold(&mut self) -> Result<Lock, Error> {
        self.lock_files.acquire(&self.folder, LOCK_TIMEOUT)
    }

    fn open_or_salvage(
        folder: &Folder,
        name: &OsStr,
        salvage: bool,
    ) -> Result<(Self, Update<T>), Error> {
        let mut lock_files = lock_files(name);
        let _lock = lock_files.acquire(folder, LOCK_TIMEOUT)?;
        let file = folder.open_file(name, MAX_JOURNAL_BYTES)?;
        let mut journal = Journal {
            folder: folder.clone(),
            name: name.into(),
            path: folder.path().join(name),
            file,
            lock_files,
            stamp: Stamp::default(),
            header: Header::default(),
            position: Position::default(),
            known: vec![],
            reset: true,
            rewound: false,
            unflushed: false,
            is_placed: false,
            records: PhantomData,
        };
        journal.stamp = journal.stat_open()?;
        let update = journal.catch_up(salvage)?;
        Ok((journal, update))
    }

    /// Whether everything in the file is known, and everything known is in the file. It looks at
    /// the file and its folder (one that was removed is created again), and takes no lock.
    ///
    /// # Errors
    /// [`Error::NotOurs`] when something else is in its place, [`Error::Replaced`] and
    /// [`Error::Io`].
    pub fn is_current(&self) -> Result<bool, Error> {
        Ok(!self.reset && !self.rewound && self.is_unchanged()?)
    }

    /// Whether the file at the path is the one that was last read, and as it was then.
    fn is_unchanged(&self) -> Result<bool, Error> {
        Ok(self.at_path()?.is_some_and(|stat| Stamp::of(&stat) == self.stamp))
    }

    fn at_path(&self) -> Result<Option<Stat>, Error> {
        self.folder.check()?;
        let stat = self.folder.stat(&self.name)?;
        if let Some(stat) = &stat {
            check(&self.path, stat, FileType::RegularFile, true)?;
        }
        Ok(stat)
    }

    fn stat_open(&self) -> Result<Stamp, Error> {
        let stat =
            step("stat", || Ok(fstat(&self.file)?)).map_err(Error::io("stat", &self.path))?;
        Ok(Stamp::of(&stat))
    }

    /// Goes on with a file that was just put in place.
    fn adopt(&mut self, (header, position, known): Written) -> Result<(), Error> {
        self.file = self.folder.open_file(&self.name, MAX_JOURNAL_BYTES)?;
        self.is_placed = false;
        self.stamp = self.stat_open()?;
        (self.header, self.position, self.known) = (header, position, known);
        Ok(())
    }

    /// Appends. The caller holds the lock.
    fn append_locked(&mut self, records: &[T], flush: bool) -> Result<(), Error> {
        if !self.is_current()? {
            return Err(Error::Stale { file: self.path.clone() });
        }
        if records.is_empty() {
            return Ok(());
        }
        let (mut bytes, mut header, mut keys) = (Vec::new(), self.header, vec![]);
        let mut position = self.position;
        if position.offset == 0 {
            header = Header::new(0);
            record::encode_header(&mut bytes, header);
            position.lines += 1;
        }
        for (record, n) in records.iter().zip(1..) {
            position.last = position.offset + bytes.len() as u64;
            let (seq, more) = (position.seq + n as u64, records.len() - n);
            let key = record::encode(&mut bytes, seq, more, record);
            keys.push(key.map_err(|error| encode_error(&self.path, error))?);
        }
        position.offset += bytes.len() as u64;
        position.seq += records.len() as u64;
        position.lines += records.len() as u64;
        if position.offset > MAX_JOURNAL_BYTES {
            return Err(Error::Full { file: self.path.clone() });
        }
        if flush {
            self.place()?;
        }
        match write(&self.file, &bytes, flush) {
            Ok(()) => {
                self.unflushed = !flush;
                (self.header, self.position) = (header, position);
                self.known.extend(keys);
                // Without it the next read looks at the whole file.
                self.stamp = self.stat_open().unwrap_or_default();
                Ok(())
            }
            Err(source) => match truncate(&self.file, self.position.offset) {
                Ok(()) => Err(Error::io("append to", &self.path)(source)),
                Err(_) => Err(Error::OutcomeUnknown { file: self.path.clone(), source }),
            },
        }
    }
}

impl<T> Update<T> {
    pub(crate) fn none() -> Self {
        Update { records: vec![], reset: false, rewound: false, quarantined: None }
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
    /// [`Error::Unserializable`], [`Error::TooLarge`], [`Error::Full`] and [`Error::Io`]: nothing
    /// was appended. [`Error::Stale`] when the last update was [`rewound`](Update::rewound).
    /// [`Error::OutcomeUnknown`]: only the next read shows that; until then every write is
    /// [`Error::Stale`].
    pub fn append_all(&mut self, records: &[T]) -> Result<(), Error> {
        self.journal.append_locked(records, true)
    }

    /// Replaces the journal by one with only these records. They must result in the same state.
    ///
    /// Other readers notice that by themselves; their next [`Update`] says
    /// [`reset`](Update::reset).
    ///
    /// # Errors
    /// [`Error::Unserializable`], [`Error::TooLarge`], [`Error::Full`], [`Error::Stale`] and
    /// [`Error::Io`]. The old journal is kept then, or already replaced if only the last flush
    /// failed; the next read shows which.
    pub fn compact<'r>(&mut self, records: impl IntoIterator<Item = &'r T>) -> Result<(), Error>
    where
        T: 'r,
    {
        let journal = &mut *self.journal;
        if journal.reset || !journal.is_unchanged()? {
            return Err(Error::Stale { file: journal.path.clone() });
        }
        let header = match journal.position.seq {
            0 => Header::new(0),
            base => Header { base, ..journal.header },
        };
        let path = &journal.path;
        let replaced = replace(&journal.folder, &journal.name, header, |writer| {
            for (record, seq) in records.into_iter().zip(header.base + 1..) {
                writer.push(|bytes| {
                    record::encode(bytes, seq, 0, record).map_err(|error| encode_error(path, error))
                })?;
            }
            Ok(())
        })?;
        journal.rewound = false;
        journal.adopt(replaced)
    }
}

fn encode_error(path: &Path, error: EncodeError) -> Error {
    let file = path.into();
    match error {
        EncodeError::Json(source) => Error::Unserializable { file, source },
        EncodeError::TooLarge(bytes) => Error::TooLarge { file, bytes },
    }
}
