mod damage;
mod faults;
mod folder;
mod sharing;

use crate::{Journal, Update};
use std::{fs, path::Path};
use tempfile::TempDir;

/// A temporary folder, in memory where possible: thousands of flushes would take a minute on a busy
/// disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(path: &Path) -> (Journal<String>, Update<String>) {
    Journal::open(path).unwrap()
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
