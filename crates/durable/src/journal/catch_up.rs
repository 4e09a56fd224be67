//! How a journal finds out what has happened to its file.
use super::{
    BUFFER_BYTES, Journal, MAX_JOURNAL_BYTES, Update,
    damage::{count_records, refusal},
    file::{Stamp, copy, replace},
};
use crate::{
    Damage, Error, Foreign, Quarantined,
    lock::with_suffix,
    record::{self, Header, Key, Position, Scan, ScanError},
    step::{StepReader, step},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashSet,
    io::{BufReader, Read, Seek, SeekFrom},
    mem,
    os::unix::fs::FileExt,
    path::PathBuf,
};

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Reads what is new. The caller holds the lock, so an incomplete append is not one in
    /// progress.
    pub(super) fn catch_up(&mut self, salvage: bool) -> Result<Update<T>, Error> {
        let at_path = self.at_path()?.map(|stat| Stamp::of(&stat));
        if !self.reset && !self.rewound && at_path == Some(self.stamp) {
            return Ok(Update::none());
        }
        if let Some(Stamp { size: bytes, .. }) = at_path
            && bytes > MAX_JOURNAL_BYTES
        {
            let found = Foreign::TooLarge { bytes, max_bytes: MAX_JOURNAL_BYTES };
            return Err(Error::NotOurs { file: self.path.clone(), found });
        }
        let is_same_file = at_path.is_some_and(|stamp| stamp.file == self.stamp.file);
        if is_same_file && let Some(update) = self.read_appended()? {
            return Ok(update);
        }
        if !is_same_file {
            // The inode number of the old file cannot be reused, since that file is still open.
            self.file = self.folder.open_file(&self.name, MAX_JOURNAL_BYTES)?;
        }
        // Also the same file may have been elsewhere meanwhile.
        self.is_placed = false;
        let stamp = self.stat_open()?;
        // After a crash nobody may build on data that a power cut could undo. What is only appended
        // is not flushed: that would cost as much as an append, and the next append flushes it
        // anyway.
        if stamp.size > 0 {
            self.bring_to_disk()?;
        }
        let scan = self.scan(Position::default())?;
        let found: HashSet<Key> = scan.lines.iter().map(|line| line.key).collect();
        let known: HashSet<Key> = self.known.iter().copied().collect();
        let holds_known = known.is_subset(&found);
        let header = scan.header.unwrap_or_default();
        let is_compacted = header.id == self.header.id && header.base >= self.position.seq;
        if !self.reset && !holds_known && !is_compacted {
            let damage = match at_path {
                None => Damage::Removed,
                Some(_) if is_same_file && stamp.size < self.position.offset => Damage::Truncated,
                Some(_) if is_same_file => Damage::Overwritten,
                Some(_) => Damage::Replaced,
            };
            return self.rewind(scan, stamp, damage);
        }
        let mut quarantined = None;
        if !salvage && let Some(error) = refusal(&self.path, &scan) {
            return Err(error);
        }
        if let Some((line, damage)) = scan.damage {
            let (kept, lost) = (count_records(&scan), scan.lost);
            let (kind, from) = scan.torn_at.map_or(("damaged", 0), |from| ("torn", from));
            let to = self.copy_beside(kind, from)?;
            let file = self.path.clone();
            quarantined = Some(Quarantined { file, line, damage, kept, lost, to });
            self.rewrite(&scan)?;
        } else {
            (self.header, self.position, self.stamp) = (header, scan.end, stamp);
            self.known = scan.lines.iter().map(|line| line.key).collect();
        }
        self.rewound = false;
        let reset = mem::take(&mut self.reset) || !holds_known;
        let is_new = |key: &Key| reset || !known.contains(key);
        let new = scan.lines.into_iter().filter(|line| is_new(&line.key));
        let records = new.filter_map(|line| line.data).collect();
        Ok(Update { records, reset, rewound: false, quarantined })
    }

    /// The usual case: others have appended something. None when it is not that.
    fn read_appended(&mut self) -> Result<Option<Update<T>>, Error> {
        let (stamp, position) = (self.stat_open()?, self.position);
        if self.reset || self.rewound || stamp.size <= position.offset {
            return Ok(None);
        }
        let expected = self.known.last().map_or(vec![], |last| record::head(last.crc));
        let mut found = expected.clone();
        step("read", || self.file.read_exact_at(&mut found, position.last))
            .map_err(Error::io("read", &self.path))?;
        if found != expected || (expected.is_empty() && position.offset > 0) {
            return Ok(None);
        }
        let scan = self.scan(position)?;
        if scan.damage.is_some() {
            return Ok(None);
        }
        (self.stamp, self.position) = (stamp, scan.end);
        self.header = scan.header.unwrap_or(self.header);
        let mut update = Update::none();
        for line in scan.lines {
            self.known.push(line.key);
            update.records.extend(line.data);
        }
        Ok(Some(update))
    }

    /// The file does not hold all that is known: what it holds instead is copied aside, and what of
    /// it is not known is news.
    fn rewind(&mut self, scan: Scan<T>, stamp: Stamp, damage: Damage) -> Result<Update<T>, Error> {
        let mut update = Update { rewound: true, ..Update::none() };
        if !self.rewound || stamp != self.stamp {
            let to = if stamp.size == 0 { None } else { self.copy_beside("replaced", 0)? };
            let (file, kept) = (self.path.clone(), self.known.len() as u64);
            update.quarantined = Some(Quarantined { file, line: 1, damage, kept, lost: 0, to });
        }
        let known: HashSet<Key> = self.known.iter().copied().collect();
        for line in scan.lines.into_iter().filter(|line| !known.contains(&line.key)) {
            self.known.push(line.key);
            update.records.extend(line.data);
        }
        self.position.seq = self.position.seq.max(scan.end.seq);
        (self.stamp, self.rewound) = (stamp, true);
        Ok(update)
    }

    fn scan(&self, start: Position) -> Result<Scan<T>, Error> {
        let mut file = &self.file;
        step("seek", || file.seek(SeekFrom::Start(start.offset)))
            .map_err(Error::io("read", &self.path))?;
        let reader = BufReader::with_capacity(BUFFER_BYTES, StepReader(file));
        record::scan(reader.take(MAX_JOURNAL_BYTES), start).map_err(|error| match error {
            ScanError::Io(e) => Error::io("read", &self.path)(e),
            ScanError::UnknownRecord(line, source) => {
                Error::UnknownRecord { file: self.path.clone(), line, source }
            }
        })
    }

    /// Replaces the journal by its intact lines. That is a new file, so that other readers notice
    /// the change.
    fn rewrite(&mut self, scan: &Scan<T>) -> Result<(), Error> {
        // Without an intact first line it gets a new id.
        let header = match scan.header {
            Some(header) => header,
            None => Header::new(scan.base),
        };
        let mut gaps = scan.gaps.iter().peekable();
        let old = &self.file;
        let path = self.path.clone();
        let replaced = replace(&self.folder, &self.name, header, |writer| {
            for line in &scan.lines {
                if let Some(gap) = gaps.next_if(|gap| gap.start < line.key.seq) {
                    writer.push(|bytes| Ok(record::encode_lost(bytes, gap)))?;
                }
                let (from, to) = (line.bytes.start, line.bytes.end);
                writer.push(|bytes| {
                    let start = bytes.len();
                    bytes.resize(start + (to - from) as usize, 0);
                    step("read", || old.read_exact_at(&mut bytes[start..], from))
                        .map_err(Error::io("read", &path))?;
                    bytes.push(b'\n');
                    Ok(line.key)
                })?;
            }
            match gaps.next() {
                Some(gap) => writer.push(|bytes| Ok(record::encode_lost(bytes, gap))),
                None => Ok(()),
            }
        })?;
        self.adopt(replaced)
    }

    /// Copies the journal from byte `from` on to the first new file `NAME.KIND-N`.
    fn copy_beside(&self, kind: &str, from: u64) -> Result<Option<PathBuf>, Error> {
        let mut n: u64 = 1;
        loop {
            let name = with_suffix(&self.name, &format!(".{kind}-{n}"));
            let Some(new) = self.folder.create_new(&name)? else {
                n += 1;
                continue;
            };
            let to = self.folder.path().join(&name);
            let copied = copy(&self.file, from, &new)
                .and_then(|()| step("flush", || new.sync_all()))
                .map_err(Error::io("write", &to))
                .and_then(|()| self.folder.flush());
            if copied.is_err() {
                // An incomplete copy is of no use: the journal still has all of it.
                let _ = self.folder.remove(&name);
            }
            copied?;
            return Ok(Some(to));
        }
    }
}
