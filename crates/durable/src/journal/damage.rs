//! Damage, as it is told to a person.
use super::{BUFFER_BYTES, MAX_JOURNAL_BYTES};
use crate::{
    Damage, Error, Folder,
    record::{self, Position, Scan},
};
use rustix::fs::FileType;
use serde::de::IgnoredAny;
use std::{
    fmt,
    io::BufReader,
    path::{Path, PathBuf},
};

/// A report on what was moved out of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// The journal.
    pub file: PathBuf,
    /// The first line at fault, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub damage: Damage,
    /// How many records are intact.
    pub kept: u64,
    /// How many records are lost, as far as that can be told: also those of an append that was
    /// never complete.
    pub lost: u64,
    /// The quarantine file; none when nothing was left.
    pub to: Option<PathBuf>,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quarantined { file, line, damage, kept, lost, to } = self;
        write!(f, "{}:{line}: {damage}; {kept} records kept, {lost} lost", file.display())?;
        match to {
            Some(to) => write!(f, "; what was found is in {}", to.display()),
            None => Ok(()),
        }
    }
}

/// The damage in the journals `*.jsonl` of this folder and of the folders in it: what
/// [`Journal::open`](crate::Journal::open) would refuse. So a person can be asked before anything
/// is set aside.
///
/// # Errors
/// Those of [`Folder::read`].
pub fn damaged_journals(folder: &Folder) -> Result<Vec<Error>, Error> {
    let mut damaged = vec![];
    let mut folders = vec![folder.clone()];
    for name in folder.list()? {
        let is_folder = |stat| FileType::from_raw_mode(stat) == FileType::Directory;
        if folder.stat(&name)?.is_some_and(|stat| is_folder(stat.st_mode)) {
            folders.push(folder.folder(name)?);
        }
    }
    for folder in folders {
        for name in folder.list()? {
            // What is no file of ours is said by whoever opens it.
            if name.as_encoded_bytes().ends_with(b".jsonl")
                && let Ok(Some(file)) = folder.open_existing(&name, MAX_JOURNAL_BYTES)
            {
                let path = folder.path().join(name);
                let reader = BufReader::with_capacity(BUFFER_BYTES, file);
                let scan = record::scan::<IgnoredAny>(reader, Position::default());
                let Ok(scan) = scan else { continue };
                damaged.extend(refusal(&path, &scan));
            }
        }
    }
    Ok(damaged)
}

/// Why a journal with this content is not opened without a person's word.
pub(super) fn refusal<T>(path: &Path, scan: &Scan<T>) -> Option<Error> {
    let (line, damage) = scan.damage?;
    if scan.torn_at.is_some() {
        return None;
    }
    let (file, kept, lost) = (path.into(), count_records(scan), scan.lost);
    Some(Error::Damaged { file, line, damage, kept, lost })
}

pub(super) fn count_records<T>(scan: &Scan<T>) -> u64 {
    scan.lines.iter().filter(|line| line.data.is_some()).count() as u64
}
