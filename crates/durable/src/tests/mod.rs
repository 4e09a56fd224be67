mod damage;
mod faults;
mod sharing;

use crate::{Journal, News};
use std::{fs, path::Path};
use tempfile::TempDir;

/// A temporary folder in memory where there is such a thing: thousands of flushes would take a minute on a busy disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(path: &Path) -> (Journal<String>, News<String>) {
    Journal::open(path).unwrap()
}

fn strings(records: &[&str]) -> Vec<String> {
    records.iter().map(|record| record.to_string()).collect()
}

/// A journal with these records, appended one by one.
fn journal_of(path: &Path, records: &[&str]) -> Journal<String> {
    let (mut journal, _) = open(path);
    strings(records).iter().for_each(|record| journal.append(record).unwrap());
    journal
}

/// The names in a folder, in order, but for lock files and their gates.
fn names(folder: &Path) -> Vec<String> {
    let files =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files.filter(|name| !name.contains(".lock")).collect();
    names.sort();
    names
}
