mod changes;
mod damage;
mod faults;
mod folder;
mod random_damage;
mod sharing;

use crate::{Error, Folder, Journal, Update};
use serde::{Serialize, de::DeserializeOwned};
use std::{ffi::OsStr, fs, path::Path};
use tempfile::TempDir;

/// A temporary folder, in memory where possible: thousands of flushes would take a minute on a busy
/// disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The folder of a file, created where it is missing, and the file's name.
fn place(path: &Path) -> Result<(Folder, &OsStr), Error> {
    let above = path.parent().unwrap();
    let base = above.ancestors().skip(1).find(|folder| folder.exists()).unwrap();
    Ok((Folder::open(base, above.strip_prefix(base).unwrap())?, path.file_name().unwrap()))
}

/// What a journal gives when it is opened.
type Opened<T> = Result<(Journal<T>, Update<T>), Error>;

fn try_open<T: Serialize + DeserializeOwned>(path: &Path) -> Opened<T> {
    let (folder, name) = place(path)?;
    Journal::open(&folder, name)
}

fn salvage<T: Serialize + DeserializeOwned>(path: &Path) -> Opened<T> {
    let (folder, name) = place(path)?;
    Journal::salvage(&folder, name)
}

fn open(path: &Path) -> (Journal<String>, Update<String>) {
    try_open(path).unwrap()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let (folder, name) = place(path)?;
    folder.write(name, bytes)
}

fn strings(records: &[&str]) -> Vec<String> {
    records.iter().map(|record| record.to_string()).collect()
}

/// A journal with these records, appended one by one.
fn journal_of(path: &Path, records: &[&str]) -> Journal<String> {
    let (mut journal, _) = open(path);
    for record in strings(records) {
        journal.append(&record).unwrap();
    }
    journal
}

/// The sorted names in a folder, without lock files.
fn names(folder: &Path) -> Vec<String> {
    let files =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files.filter(|name| !name.contains(".lock")).collect();
    names.sort();
    names
}
