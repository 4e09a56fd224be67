//! The file of a journal: how it is opened, written anew and copied.
use super::{BUFFER_BYTES, MAX_JOURNAL_BYTES};
use crate::{
    Error, Folder,
    lock::{LockFiles, with_suffix},
    record::{self, Header, Key, Position},
    step::{self, StepReader, step},
};
use rustix::fs::Stat;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

/// How long a journal waits for its lock. Others hold it for one decision and one flush.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// What tells whether a file was changed: device, inode, size, and when content and inode changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    pub(super) file: (u64, u64),
    pub(super) size: u64,
    times: [i64; 4],
}

impl Stamp {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    pub(super) fn of(stat: &Stat) -> Stamp {
        Stamp {
            file: (stat.st_dev as u64, stat.st_ino as u64),
            size: stat.st_size as u64,
            times: [
                stat.st_mtime as i64,
                stat.st_mtime_nsec as i64,
                stat.st_ctime as i64,
                stat.st_ctime_nsec as i64,
            ],
        }
    }
}

/// What a new file of a journal has: its header, its end and its records.
pub(super) type Written = (Header, Position, Vec<Key>);

/// Writes the lines of a new file.
pub(super) struct Writer<'a> {
    file: &'a File,
    path: PathBuf,
    bytes: Vec<u8>,
    position: Position,
    known: Vec<Key>,
}

impl Writer<'_> {
    pub(super) fn push(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<Key, Error>,
    ) -> Result<(), Error> {
        let start = self.bytes.len();
        let key = encode(&mut self.bytes)?;
        self.known.push(key);
        self.position.seq = key.seq;
        self.count(start);
        if self.position.offset > MAX_JOURNAL_BYTES {
            return Err(Error::Full { file: self.path.clone() });
        }
        if self.bytes.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Counts the line that begins at `start` in the buffer.
    pub(super) fn count(&mut self, start: usize) {
        self.position.last = self.position.offset;
        self.position.offset += (self.bytes.len() - start) as u64;
        self.position.lines += 1;
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        step::write_all(self.file, &self.bytes).map_err(Error::io("write", &self.path))?;
        self.bytes.clear();
        Ok(())
    }
}

/// Replaces the file of a journal by one with this header and the lines that `fill` writes.
pub(super) fn replace(
    folder: &Folder,
    name: &OsStr,
    header: Header,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Error>,
) -> Result<Written, Error> {
    let (mut position, mut known) = (Position::default(), vec![]);
    folder.replace(folder, name, |file| {
        let mut writer = Writer {
            file,
            path: folder.path().join(name),
            bytes: Vec::with_capacity(BUFFER_BYTES),
            position: Position { seq: header.base, ..Position::default() },
            known: vec![],
        };
        record::encode_header(&mut writer.bytes, header);
        writer.count(0);
        fill(&mut writer)?;
        writer.flush()?;
        (position, known) = (writer.position, writer.known);
        Ok(())
    })?;
    Ok((header, position, known))
}

/// The lock of the journal of this name. It has files of its own, since the journal can be
/// replaced.
pub(super) fn lock_files(name: &OsStr) -> LockFiles {
    LockFiles::new(&with_suffix(name, ".lock"))
}

pub(super) fn write(file: &File, bytes: &[u8], flush: bool) -> io::Result<()> {
    step::write_all(file, bytes)?;
    if flush { step("flush", || file.sync_data()) } else { Ok(()) }
}

pub(super) fn truncate(file: &File, bytes: u64) -> io::Result<()> {
    step("truncate", || file.set_len(bytes))?;
    step("flush", || file.sync_all())
}

/// Copies the bytes from `start` to the end of the file.
pub(super) fn copy(mut from: &File, start: u64, to: &File) -> io::Result<()> {
    step("seek", || from.seek(SeekFrom::Start(start)))?;
    let mut reader = StepReader(from).take(MAX_JOURNAL_BYTES);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        step::write_all(to, &buffer[..n])?;
    }
}
