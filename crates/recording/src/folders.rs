//! Which files have changed in a folder, and how.
use ignore::WalkBuilder;
use rungs_files::{shorten, unified_diff};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How many files of a folder are compared, and how much of them is kept in memory, in bytes.
const MAX_FILES: usize = 4_000;
const MAX_KEPT_BYTES: u64 = 32 << 20;
/// Larger files are only said to have changed, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// How much of one diff is kept, in bytes.
const MAX_DIFF_BYTES: usize = 100_000;
/// A file that changed so recently may change again within a tick of the file system's clock.
const TICK: Duration = Duration::from_secs(2);

/// Templates without secrets, which most repositories have.
const TEMPLATES: [&str; 4] = [".env.example", ".env.sample", ".env.template", ".env.dist"];

/// A file that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path, relative to the folder if it is below it.
    pub path: String,
    /// What has changed, in the form of `diff -u`.
    pub diff: String,
}

/// A file as it was.
#[derive(Debug, Clone)]
struct Known {
    modified: SystemTime,
    length: u64,
    /// None if the file is too large.
    content: Option<Arc<[u8]>>,
}

type Files = BTreeMap<PathBuf, Known>;

/// The folders of a run, each as it was when it was looked at last. What git ignores, `.git` and
/// `.rungs` are left out, and links are not followed.
#[derive(Debug)]
pub struct Folders {
    max_files: usize,
    known: HashMap<PathBuf, Files>,
    /// Files that a call named, outside of its folder or in one that is too large.
    named: Files,
    /// The recording itself.
    not: PathBuf,
    too_large: BTreeSet<PathBuf>,
    /// What was not said yet of these.
    note: Option<String>,
}

impl Folders {
    /// No folder yet; `not` is a file that does not count.
    pub fn without(not: &Path) -> Folders {
        Folders {
            max_files: MAX_FILES,
            known: HashMap::new(),
            named: Files::new(),
            not: not.into(),
            too_large: BTreeSet::new(),
            note: None,
        }
    }

    /// What has changed in this folder, and of these files, since it was looked at last; nothing
    /// the first time. Blocks.
    pub fn changes(&mut self, folder: &Path, named: &[PathBuf]) -> Vec<Change> {
        let mut changes = vec![];
        let before = self.known.remove(folder);
        if let Some(now) = self.look(folder, before.as_ref()) {
            if let Some(before) = &before {
                compare(folder, before, &now, &mut changes);
            }
            self.known.insert(folder.into(), now);
        }
        let is_known = |file: &&PathBuf| !file.starts_with(folder) || self.is_too_large(folder);
        let outside: Vec<PathBuf> = named.iter().filter(is_known).cloned().collect();
        for file in outside {
            let (before, now) = (self.named.remove(&file), read(&file, None));
            let only = |known: Option<Known>| {
                Files::from_iter(known.into_iter().map(|known| (file.clone(), known)))
            };
            compare(folder, &only(before), &only(now.clone()), &mut changes);
            if let Some(now) = now {
                self.named.insert(file, now);
            }
        }
        changes
    }

    /// What is not looked at, once.
    pub fn left_out(&mut self) -> Option<String> {
        self.note.take()
    }

    /// Remembers these files as they are before a call, and gives what changed before it.
    pub fn before(&mut self, folder: &Path, named: &[PathBuf]) -> Vec<Change> {
        for file in named {
            if let Some(now) = read(file, None) {
                self.named.insert(file.clone(), now);
            } else {
                self.named.remove(file);
            }
        }
        self.changes(folder, &[])
    }

    /// Whether there are too many files to look at.
    fn is_too_large(&self, folder: &Path) -> bool {
        self.too_large.contains(folder)
    }

    fn look(&mut self, folder: &Path, before: Option<&Files>) -> Option<Files> {
        if self.is_too_large(folder) {
            return None;
        }
        let (mut files, mut kept) = (Files::new(), 0);
        let walk = WalkBuilder::new(folder)
            .hidden(false)
            .require_git(false)
            .parents(false)
            .git_global(false)
            .filter_entry(|entry| {
                entry.depth() == 0
                    || ![".git", ".rungs"].iter().any(|name| entry.file_name() == *name)
            })
            .build();
        for entry in walk.flatten() {
            let path = entry.path();
            if !entry.file_type().is_some_and(|kind| kind.is_file()) || path == self.not {
                continue;
            }
            let Some(known) = read(path, before.and_then(|before| before.get(path))) else {
                continue;
            };
            kept += known.content.as_ref().map_or(0, |content| content.len() as u64);
            files.insert(path.into(), known);
            if files.len() > self.max_files || kept > MAX_KEPT_BYTES {
                self.too_large.insert(folder.into());
                self.note = Some(format!(
                    "{}: more than {} files or {} MB; only files that calls name are \
                     compared",
                    folder.display(),
                    self.max_files,
                    MAX_KEPT_BYTES >> 20,
                ));
                return None;
            }
        }
        Some(files)
    }
}

/// The file as it is now; `before` is as good if it did not change.
fn read(file: &Path, before: Option<&Known>) -> Option<Known> {
    let state = file.symlink_metadata().ok().filter(|state| state.is_file())?;
    let (modified, length) = (state.modified().ok()?, state.len());
    let is_old = modified.elapsed().is_ok_and(|age| age > TICK);
    match before {
        Some(known) if is_old && known.modified == modified && known.length == length => {
            Some(known.clone())
        }
        _ if length > MAX_FILE_BYTES => Some(Known { modified, length, content: None }),
        _ => Some(Known { modified, length, content: Some(std::fs::read(file).ok()?.into()) }),
    }
}

fn content(known: Option<&Known>) -> Option<&[u8]> {
    known.and_then(|known| known.content.as_deref())
}

/// Keys of unknown shapes stand in such files.
fn may_hold_secrets(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_env = name == ".env" || name.starts_with(".env.") && !TEMPLATES.contains(&&*name);
    let is_key = [".pem", ".key", ".p12", ".pfx"].iter().any(|end| name.ends_with(end));
    is_env || is_key || name.starts_with("id_") || [".netrc", "credentials"].contains(&&*name)
}

fn compare(folder: &Path, before: &Files, now: &Files, changes: &mut Vec<Change>) {
    let paths: BTreeSet<&PathBuf> = before.keys().chain(now.keys()).collect();
    for path in paths {
        let (old, new) = (before.get(path), now.get(path));
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let diff = match (old, new) {
            _ if may_hold_secrets(path) => match content(old) == content(new) {
                true => String::new(),
                false => "[not shown: a file of this name may hold secrets]\n".into(),
            },
            (Some(Known { content: None, .. }), _) | (_, Some(Known { content: None, .. })) => {
                let is_same = old.map(|known| (known.modified, known.length))
                    == new.map(|known| (known.modified, known.length));
                let sizes = [old, new].map(|known| known.map_or(0, |known| known.length));
                match is_same {
                    true => String::new(),
                    false => {
                        format!("[too large to compare: {} bytes, then {}]\n", sizes[0], sizes[1])
                    }
                }
            }
            _ => unified_diff(&name, content(old), content(new)),
        };
        if !diff.is_empty() {
            let diff = shorten(&diff, MAX_DIFF_BYTES);
            changes.push(Change { path: name, diff });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, remove_file, write};

    fn names(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.path.as_str()).collect()
    }

    #[test]
    fn what_changes_between_two_looks_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(at("same"), "a\n").unwrap();
        write(at("changed"), "a\n").unwrap();
        write(at("gone"), "a\n").unwrap();
        write(at(".gitignore"), "*.log\n").unwrap();
        for name in [".git", ".rungs"] {
            create_dir(at(name)).unwrap();
        }
        let mut folders = Folders::without(&at("run.jsonl"));
        assert_eq!(folders.before(folder.path(), &[]), []);
        write(at("changed"), "b\n").unwrap();
        remove_file(at("gone")).unwrap();
        for name in ["new", "run.jsonl", "x.log", ".git/x", ".rungs/x"] {
            write(at(name), "c\n").unwrap();
        }
        let changes = folders.changes(folder.path(), &[]);
        assert_eq!(names(&changes), ["changed", "gone", "new"]);
        assert_eq!(changes[0].diff, "--- changed\n+++ changed\n@@ -1 +1 @@\n-a\n+b\n");
        assert_eq!(folders.changes(folder.path(), &[]), []);
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let mut folders = Folders::without(Path::new(""));
        folders.before(folder.path(), &[]);
        for name in [".env", ".env.example", "a.pem"] {
            write(folder.path().join(name), "TOKEN=hunter2\n").unwrap();
        }
        let changes = folders.changes(folder.path(), &[]);
        let shown = changes.iter().filter(|change| change.diff.contains("hunter2"));
        let shown: Vec<&str> = shown.map(|change| change.path.as_str()).collect();
        assert_eq!((changes.len(), shown), (3, vec![".env.example"]));
    }

    #[test]
    fn a_named_file_outside_is_compared() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = other.path().join("f");
        let named = std::slice::from_ref(&file);
        let mut folders = Folders::without(Path::new(""));
        folders.before(folder.path(), named);
        write(&file, "a\n").unwrap();
        let changes = folders.changes(folder.path(), named);
        assert_eq!(names(&changes), [file.to_str().unwrap()]);
        folders.before(folder.path(), named);
        assert_eq!(folders.changes(folder.path(), named), []);
    }

    #[test]
    fn in_a_large_folder_named_files_alone_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..9 {
            write(folder.path().join(number.to_string()), "").unwrap();
        }
        let mut folders = Folders { max_files: 8, ..Folders::without(Path::new("")) };
        let named = [folder.path().join("7")];
        folders.before(folder.path(), &named);
        assert!(folders.left_out().unwrap().contains(": more than 8 files"));
        assert_eq!(folders.left_out(), None);
        write(&named[0], "x\n").unwrap();
        write(folder.path().join("8"), "x\n").unwrap();
        assert_eq!(names(&folders.changes(folder.path(), &named)), ["7"]);
    }
}
