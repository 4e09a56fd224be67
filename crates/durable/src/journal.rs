use crate::{
    Error, Flaw, Lock, lock,
    record::{self, Place, Scan, Stop, Unfit},
    step::{self, Reading, step},
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

/// How long a journal waits for its lock, which others hold for one decision and one flush.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a compaction gathers before it writes.
const CHUNK: usize = 64 << 10;

/// A file to which records are appended, one JSON line each, by any number of processes.
///
/// It keeps no records, only how far it has read. It never waits long, but it does wait for locks and flushes: in async
/// code it belongs on a blocking thread.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    place: Place,
    /// Whether all that was told before is void, and nobody has been told so yet.
    afresh: bool,
    of: PhantomData<fn(T) -> T>,
}

/// What a journal has that its reader did not know yet.
#[derive(Debug, PartialEq)]
#[must_use]
pub struct News<T> {
    /// The records, in their order; those of one `append_all` together or not at all.
    pub records: Vec<T>,
    /// Forget what earlier reads told: these are the records from the first on. True when the journal was opened, and
    /// when it was compacted or set aside by another process.
    pub afresh: bool,
    /// What was no record, and where it lies now.
    pub set_aside: Option<SetAside>,
}

/// A report on bytes that were moved out of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAside {
    /// The journal.
    pub file: PathBuf,
    /// The first bad line, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// Where the bytes lie now.
    pub to: PathBuf,
    /// How many they are.
    pub bytes: u64,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let SetAside { file, line, flaw, to, bytes } = self;
        write!(
            f,
            "{}:{line}: {flaw}; {bytes} bytes were set aside in {}",
            file.display(),
            to.display()
        )
    }
}

/// A journal while no other process can read or write it; free again when dropped.
#[derive(Debug)]
pub struct Held<'a, T> {
    journal: &'a mut Journal<T>,
    _lock: Lock,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal at `path`, creates it (0600) and its folders (0700) where they are missing, and reads it.
    ///
    /// A bad end, as a crash leaves it, is set aside into `NAME.torn-N` and reported; every whole append before it stands.
    /// A bad line with sound ones after it is [`Error::Damaged`], and nothing is touched.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, News<T>), Error> {
        Self::enter(path.into(), false)
    }

    /// As [`open`](Self::open), but a damaged file is set aside whole, into `NAME.damaged-N`, and what stands before the
    /// damage goes on. To be asked for by a person who was told what will be missing.
    pub fn salvage(path: impl Into<PathBuf>) -> Result<(Self, News<T>), Error> {
        Self::enter(path.into(), true)
    }

    /// What others have appended since the last read. Without news it costs two looks at the file's size, and no lock.
    ///
    /// It may tell of a record whose writer was killed before its flush: nobody was promised that one, and until somebody
    /// appends, a power cut can take it back.
    pub fn read_new(&mut self) -> Result<News<T>, Error> {
        if self.is_current()? {
            return Ok(News { records: Vec::new(), afresh: false, set_aside: None });
        }
        Ok(self.lock()?.1)
    }

    /// Keeps all others out, and tells what they wrote until then: the moment to decide, and to append what was decided.
    pub fn lock(&mut self) -> Result<(Held<'_, T>, News<T>), Error> {
        let lock = Lock::acquire(lock::beside(&self.path, ".lock"), PATIENCE)?;
        let news = self.catch_up(false)?;
        Ok((Held { journal: self, _lock: lock }, news))
    }

    /// Appends one record; `Ok` means that it is on the disk.
    ///
    /// For a journal with one writer: when others have written meanwhile it refuses with [`Error::Behind`], since the
    /// record was decided without knowing of theirs. Where that is usual, [`lock`](Self::lock).
    pub fn append(&mut self, record: &T) -> Result<(), Error> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records as one: after a crash either all are found or none.
    pub fn append_all(&mut self, records: &[T]) -> Result<(), Error> {
        let _lock = Lock::acquire(lock::beside(&self.path, ".lock"), PATIENCE)?;
        self.add(records)
    }

    fn enter(path: PathBuf, salvage: bool) -> Result<(Self, News<T>), Error> {
        create_folder(folder_of(&path))?;
        let _lock = Lock::acquire(lock::beside(&path, ".lock"), PATIENCE)?;
        remove_leftovers(&path)?;
        let file = open_file(&path, true)?;
        let mut journal =
            Journal { path, file, place: Place::default(), afresh: true, of: PhantomData };
        let news = journal.catch_up(salvage)?;
        Ok((journal, news))
    }

    /// Whether the file is the one that was read, and no longer than that.
    fn is_current(&self) -> Result<bool, Error> {
        let (open, there) = self.look()?;
        let known = (open.dev(), open.ino(), self.place.end);
        Ok(!self.afresh && known == (there.dev(), there.ino(), there.len()))
    }

    fn look(&self) -> Result<(Metadata, Metadata), Error> {
        step("look", || Ok((self.file.metadata()?, self.path.metadata()?)))
            .map_err(Error::io("look at", &self.path))
    }

    /// Reads what is new. Under the lock: what is no whole append then is nobody's work in progress.
    fn catch_up(&mut self, salvage: bool) -> Result<News<T>, Error> {
        let (open, there) = self.look()?;
        // The old file is still open here, so no new one can have its number.
        if (open.dev(), open.ino()) != (there.dev(), there.ino()) {
            self.file = open_file(&self.path, false)?;
            self.place = Place::default();
            self.afresh = true;
        }
        let damaged = |line, flaw| Error::Damaged { file: self.path.clone(), line, flaw };
        if there.len() < self.place.end {
            return Err(damaged(self.place.seq, Flaw::Shrunk));
        }
        let found: Scan<T> = read(&self.file, self.place).map_err(|stop| match stop {
            Stop::Disk(e) => Error::io("read", &self.path)(e),
            Stop::Foreign(line, source) => Error::Foreign { file: self.path.clone(), line, source },
        })?;
        if let Some((line, flaw)) = found.bad.filter(|_| found.sound_after && !salvage) {
            return Err(damaged(line, flaw));
        }
        if self.afresh {
            // Whoever starts over after a crash must not build on what a power cut would take back. Later reads do not
            // flush: it would cost as much as an append, and one's own next append flushes all before it too.
            step("flush", || self.file.sync_data()).map_err(Error::io("flush", &self.path))?;
        }
        let set_aside = match found.bad {
            Some((line, flaw)) => Some(self.set_aside(&found, line, flaw)?),
            None => None,
        };
        self.place = found.place;
        Ok(News { records: found.records, afresh: mem::take(&mut self.afresh), set_aside })
    }

    /// Saves what is bad in a file of its own, then goes on with what is good: a new file, so that all others notice.
    fn set_aside(&mut self, found: &Scan<T>, line: u64, flaw: Flaw) -> Result<SetAside, Error> {
        let (kind, from) =
            if found.sound_after { ("damaged", 0) } else { ("torn", found.place.end) };
        let (to, bytes) = save_beside(&self.path, &self.file, kind, from)?;
        replace(&self.path, |new| {
            copy(&self.file, 0, found.place.end, new)
                .map(drop)
                .map_err(Error::io("write", &self.path))
        })?;
        self.file = open_file(&self.path, false)?;
        Ok(SetAside { file: self.path.clone(), line, flaw, to, bytes })
    }

    /// Appends, under the lock.
    fn add(&mut self, records: &[T]) -> Result<(), Error> {
        self.refuse_if_behind()?;
        if records.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (record, i) in records.iter().zip(1..) {
            record::encode(&mut bytes, self.place.seq + i as u64, records.len() - i, record)
                .map_err(|unfit| self.refused(unfit))?;
        }
        let written = step::write_all(&self.file, &bytes)
            .and_then(|()| step("flush", || self.file.sync_data()));
        let Err(source) = written else {
            self.place.end += bytes.len() as u64;
            self.place.seq += records.len() as u64;
            return Ok(());
        };
        match step("cut", || self.file.set_len(self.place.end))
            .and_then(|()| step("flush", || self.file.sync_all()))
        {
            Ok(()) => Err(Error::io("append to", &self.path)(source)),
            Err(_) => Err(Error::Unsure { file: self.path.clone(), source }),
        }
    }

    fn refuse_if_behind(&self) -> Result<(), Error> {
        if self.is_current()? { Ok(()) } else { Err(Error::Behind { file: self.path.clone() }) }
    }

    fn refused(&self, unfit: Unfit) -> Error {
        let file = self.path.clone();
        match unfit {
            Unfit::Json(source) => Error::Refused { file, source },
            Unfit::TooLarge(bytes) => Error::TooLarge { file, bytes },
        }
    }
}

impl<T: Serialize + DeserializeOwned> Held<'_, T> {
    /// Appends one record; `Ok` means that it is on the disk.
    pub fn append(&mut self, record: &T) -> Result<(), Error> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records as one: after a crash either all are found or none.
    pub fn append_all(&mut self, records: &[T]) -> Result<(), Error> {
        self.journal.add(records)
    }

    /// Puts a new file with only these records, which must amount to the same state, in the place of the old one.
    ///
    /// Others find it by themselves, and read it [afresh](News::afresh). After an error the old file stands, or, if only
    /// the last flush failed, already the new one; the next read tells.
    pub fn compact<'r>(&mut self, records: impl IntoIterator<Item = &'r T>) -> Result<(), Error>
    where
        T: 'r,
    {
        let journal = &mut *self.journal;
        journal.refuse_if_behind()?;
        let mut place = Place::default();
        replace(&journal.path, |file| {
            let mut flush = |bytes: &mut Vec<u8>| {
                place.end += bytes.len() as u64;
                step::write_all(file, bytes).map_err(Error::io("write", &journal.path))?;
                bytes.clear();
                Ok(())
            };
            let mut bytes = Vec::with_capacity(CHUNK);
            for record in records {
                place.seq += 1;
                record::encode(&mut bytes, place.seq, 0, record)
                    .map_err(|unfit| journal.refused(unfit))?;
                if bytes.len() >= CHUNK {
                    flush(&mut bytes)?;
                }
            }
            flush(&mut bytes)
        })?;
        journal.file = open_file(&journal.path, false)?;
        journal.place = place;
        Ok(())
    }
}

fn open_file(path: &Path, create: bool) -> Result<File, Error> {
    let mut options = File::options();
    let file =
        step("open", || options.read(true).append(true).create(create).mode(0o600).open(path));
    let file = file.map_err(Error::io("open", path))?;
    // Whoever put it there may have died before this flush, and what is appended now must not go with the name.
    flush_folder_of(path)?;
    Ok(file)
}

fn read<T: DeserializeOwned>(mut file: &File, start: Place) -> Result<Scan<T>, Stop> {
    step("seek", || file.seek(SeekFrom::Start(start.end))).map_err(Stop::Disk)?;
    record::scan(BufReader::with_capacity(CHUNK, Reading(file)), start)
}

/// Copies a journal from byte `from` on into a new file beside it; returns its path and size.
fn save_beside(path: &Path, file: &File, kind: &str, from: u64) -> Result<(PathBuf, u64), Error> {
    for n in 1.. {
        let to = lock::beside(path, &format!(".{kind}-{n}"));
        let new = match step("create", || {
            File::options().write(true).create_new(true).mode(0o600).open(&to)
        }) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            new => new.map_err(Error::io("create", &to))?,
        };
        let bytes = copy(file, from, u64::MAX, &new)
            .and_then(|bytes| step("flush", || new.sync_all()).map(|()| bytes));
        let bytes =
            bytes.map_err(Error::io("write", &to)).and_then(|n| flush_folder_of(&to).map(|()| n));
        if bytes.is_err() {
            let _ = std::fs::remove_file(&to); // The journal still has it all.
        }
        return Ok((to, bytes?));
    }
    unreachable!("there is always a next number")
}

fn copy(mut from: &File, start: u64, end: u64, to: &File) -> io::Result<u64> {
    step("seek", || from.seek(SeekFrom::Start(start)))?;
    let mut reader = Reading(from).take(end - start);
    let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            return Ok(bytes);
        }
        step::write_all(to, &buffer[..n])?;
        bytes += n as u64;
    }
}
