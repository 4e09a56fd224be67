//! Replacing several files: all of them or none.
use crate::{
    PathError, PathErrorKind, Root, Stamp,
    write::{Replacement, lock, remove_left_over, rename, temporary_name},
};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, linkat, openat, unlinkat},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

/// One file as it is to be.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The file, relative to the root and free of links, as [`Root::resolve`] returns it.
    pub path: PathBuf,
    /// All that it is to hold; none if there is to be no such file.
    pub content: Option<Vec<u8>>,
    /// Its permission bits; without them it keeps those that it has.
    pub mode: Option<u32>,
    /// The state that is replaced; none for a file that does not exist yet.
    pub old: Option<Stamp>,
}

impl Root {
    /// Brings several files into their states, all of them or none; each is named once. All new
    /// content is on the disk before the first file is replaced, and when one cannot be replaced
    /// after all, those before it are put back. Returns the new state of each file, none for one
    /// that was removed.
    ///
    /// To a reader each file is old or new; between two of them is a moment in which one is new and
    /// the other still old. A process that is killed in that moment leaves it so: no file system
    /// call replaces two files at once. Whoever must know keeps the old states elsewhere
    /// (write-ahead).
    ///
    /// # Errors
    /// Those of [`Root::write`], for the first file that cannot be replaced; then nothing has
    /// changed, and folders that were made for new files are gone again.
    pub fn replace_all(&self, targets: &[Target]) -> Result<Vec<Option<Stamp>>, PathError> {
        self.replace_each(targets, &mut |_| {})
    }

    fn replace_each(
        &self,
        targets: &[Target],
        before: &mut dyn FnMut(usize),
    ) -> Result<Vec<Option<Stamp>>, PathError> {
        let failed = |i: usize, kind: PathErrorKind| {
            PathError::new(&targets[i].path.to_string_lossy(), kind)
        };
        // In all folders before the first file is looked at: it changes the stamps of some.
        let parents: BTreeSet<_> = targets.iter().filter_map(|file| file.path.parent()).collect();
        let folders = parents.into_iter().filter_map(|path| self.open_folder(path, false).ok());
        let removed: Vec<Stamp> = folders.flat_map(|folder| remove_left_over(&folder)).collect();
        let mut all = All(vec![]);
        let prepared = &mut all.0;
        for (i, target) in targets.iter().enumerate() {
            prepared.push(Prepared::new(self, target, &removed).map_err(|kind| failed(i, kind))?);
        }
        // One lock for each folder, in one order for everybody: or two could wait for each other.
        let folders: BTreeMap<_, _> =
            prepared.iter().enumerate().map(|(i, file)| (file.target.path.parent(), i)).collect();
        for i in folders.into_values() {
            lock(&prepared[i].replacement.folder).map_err(|error| failed(i, error.into()))?;
        }
        for (i, file) in prepared.iter().enumerate() {
            file.replacement.check_state().map_err(|kind| failed(i, kind))?;
        }
        for i in 0..prepared.len() {
            before(i);
            let Err(kind) = prepared[i].commit() else { continue };
            let mut kind = kind;
            for earlier in prepared[..i].iter_mut().rev() {
                if let Err(error) = earlier.roll_back() {
                    let path = earlier.target.path.display();
                    let text = format!("{kind}; and {path} could not be put back: {error}");
                    kind = PathErrorKind::Io(std::io::Error::other(text));
                }
            }
            return Err(failed(i, kind));
        }
        prepared
            .iter()
            .enumerate()
            .map(|(i, file)| file.stamp().map_err(|kind| failed(i, kind)))
            .collect()
    }

    /// How many of the folders in which this file would be do not exist yet.
    pub fn missing_folders(&self, relative: &Path) -> usize {
        let folders = relative.ancestors().skip(1);
        folders.take_while(|folder| !self.is_there(folder)).count()
    }

    /// Removes the `count` innermost folders in which this file was, as far as they are empty.
    pub fn remove_empty_folders(&self, relative: &Path, count: usize) {
        for folder in relative.ancestors().skip(1).take(count) {
            let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return };
            let Ok(parent) = self.open_folder(parent, false) else { return };
            if unlinkat(parent, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }
}

/// A file whose new content is on the disk, under a temporary name.
struct Prepared<'a> {
    root: &'a Root,
    target: &'a Target,
    replacement: Replacement<'a>,
    /// The new content, until it has its name.
    temporary: Option<String>,
    new: Option<File>,
    /// The old file, locked, so that nobody takes its second name for one that is left over.
    old: Option<File>,
    /// The second name of the old file, once it may have lost its own.
    backup: Option<String>,
    made_folders: usize,
    is_done: bool,
}

impl<'a> Prepared<'a> {
    fn new(root: &'a Root, target: &'a Target, removed: &[Stamp]) -> Result<Self, PathErrorKind> {
        let (Some(parent), Some(name)) = (target.path.parent(), target.path.file_name()) else {
            return Err(PathErrorKind::IsFolder);
        };
        let made_folders = root.missing_folders(&target.path);
        let made = root.open_folder(parent, target.old.is_none());
        let replacement = match made {
            Ok(folder) => Replacement::new(folder, Path::new(name), target.old.as_ref(), removed),
            Err(errno) => {
                root.remove_empty_folders(&target.path, made_folders);
                return Err(errno.into());
            }
        };
        let (temporary, new, old, backup, is_done) = (None, None, None, None, false);
        let mut prepared = Prepared {
            root,
            target,
            replacement,
            temporary,
            new,
            old,
            backup,
            made_folders,
            is_done,
        };
        let replaced = prepared.replacement.check_state()?;
        if replaced.is_some() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let old = openat(&prepared.replacement.folder, name, flags, Mode::empty())?;
            let _ = rustix::fs::flock(&old, FlockOperation::NonBlockingLockExclusive);
            prepared.old = Some(old.into());
        }
        if let Some(content) = &target.content {
            let (temporary, mut new) = prepared.replacement.create_temporary(replaced.is_some())?;
            prepared.temporary = Some(temporary);
            prepared.replacement.fill(&mut new, content, replaced)?;
            if let Some(mode) = target.mode {
                let permissions = Mode::RWXU | Mode::RWXG | Mode::RWXO;
                rustix::fs::fchmod(&new, Mode::from_raw_mode(mode as _) & permissions)?;
            }
            prepared.new = Some(new);
        }
        Ok(prepared)
    }

    /// Gives the file its new content. The old file keeps a second name until this is dropped.
    fn commit(&mut self) -> Result<(), PathErrorKind> {
        let Replacement { folder, name, .. } = &self.replacement;
        if self.old.is_some() {
            let backup = temporary_name()?;
            linkat(folder, *name, folder, &backup, AtFlags::empty())?;
            self.backup = Some(backup);
        }
        match &self.temporary {
            Some(temporary) => match rename(folder, temporary, name, self.old.is_some()) {
                Err(Errno::EXIST) => return Err(PathErrorKind::Conflict),
                renamed => renamed?,
            },
            None if self.old.is_some() => unlinkat(folder, *name, AtFlags::empty())?,
            None => {}
        }
        self.temporary = None;
        self.is_done = true;
        Ok(())
    }

    /// Puts the old file back. Should that fail, the old file stays under its second name.
    fn roll_back(&mut self) -> Result<(), Errno> {
        let Replacement { folder, name, .. } = &self.replacement;
        match self.backup.take() {
            Some(backup) => rustix::fs::renameat(folder, backup, folder, *name)?,
            None if self.new.is_some() => unlinkat(folder, *name, AtFlags::empty())?,
            None => {}
        }
        self.is_done = false;
        Ok(())
    }

    /// The state of the new file.
    fn stamp(&self) -> Result<Option<Stamp>, PathErrorKind> {
        Ok(match &self.new {
            Some(file) => Some(Stamp::of(file)?),
            None => None,
        })
    }
}

/// All files that are prepared.
struct All<'a>(Vec<Prepared<'a>>);

impl Drop for All<'_> {
    fn drop(&mut self) {
        // The last one first: its folders may be in those that were made for an earlier one.
        while self.0.pop().is_some() {}
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        let folder = &self.replacement.folder;
        for name in self.temporary.take().into_iter().chain(self.backup.take()) {
            // Nobody has a use for it, and the next write removes it too.
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
        if !self.is_done {
            self.root.remove_empty_folders(&self.target.path, self.made_folders);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    struct Folder {
        dir: tempfile::TempDir,
        root: Root,
    }

    impl Folder {
        fn build() -> Folder {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            Folder { dir, root }
        }

        fn put(&self, path: &str, content: &str) {
            fs::write(self.dir.path().join(path), content).unwrap();
        }

        fn target(&self, path: &str, content: Option<&str>) -> Target {
            let file = self.root.open_file(path).ok();
            let old = file.map(|file| Stamp::of(file).unwrap());
            let content = content.map(|text| text.as_bytes().to_vec());
            Target { path: path.into(), content, mode: None, old }
        }

        /// All files below the folder, with their content.
        fn all(&self) -> Vec<(String, String)> {
            fn below(folder: &Path, base: &Path, all: &mut Vec<(String, String)>) {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    let name = path.strip_prefix(base).unwrap().display().to_string();
                    if path.is_dir() {
                        all.push((name + "/", String::new()));
                        below(&path, base, all);
                    } else {
                        all.push((name, fs::read_to_string(&path).unwrap()));
                    }
                }
            }
            let mut all = vec![];
            below(self.dir.path(), self.dir.path(), &mut all);
            all.sort();
            all
        }
    }

    fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, content)| (path.to_string(), content.to_string())).collect()
    }

    #[test]
    fn several_files_are_replaced_made_and_removed_and_nothing_else_is_left() {
        let folder = Folder::build();
        folder.put("a", "old");
        folder.put("b", "old");
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.dir.path().join("a"), mode(0o755)).unwrap();
        let targets = [
            folder.target("a", Some("new")),
            folder.target("b", None),
            Target { mode: Some(0o640), ..folder.target("new/deep/c", Some("c")) },
            folder.target("nothing", None),
        ];
        let stamps = folder.root.replace_all(&targets).unwrap();
        let are_there: Vec<bool> = stamps.iter().map(Option::is_some).collect();
        assert_eq!(are_there, [true, false, true, false]);
        let left = [("a", "new"), ("new/", ""), ("new/deep/", ""), ("new/deep/c", "c")];
        assert_eq!(folder.all(), files(&left));
        let mode = |path: &str| {
            fs::metadata(folder.dir.path().join(path)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("a"), mode("new/deep/c")), (0o755, 0o640));
    }

    #[test]
    fn when_one_cannot_be_prepared_nothing_has_changed() {
        let folder = Folder::build();
        folder.put("a", "old");
        folder.put("b", "old");
        let first = folder.target("a", Some("new"));
        let new = folder.target("new/c", Some("c"));
        let changed = folder.target("b", Some("new"));
        folder.put("b", "by hand, and longer");
        let before = folder.all();
        let error = folder.root.replace_all(&[first, new, changed]).unwrap_err();
        assert_eq!(error.to_string(), "b: it was made, changed or removed meanwhile");
        assert_eq!(folder.all(), before);
    }

    /// Whatever fails, and whenever: those before are put back.
    #[test]
    fn when_one_cannot_be_replaced_those_before_it_are_put_back() {
        for at in 1..4 {
            let folder = Folder::build();
            folder.put("a", "old");
            folder.put("b", "old");
            let targets = [
                folder.target("a", Some("new")),
                folder.target("new/c", Some("c")),
                folder.target("b", None),
                folder.target("d", Some("d")),
            ];
            let mut expected = files(&[("a", "old"), ("b", "old")]);
            let path = |i: usize| folder.dir.path().join(&targets[i].path);
            let error = folder.root.replace_each(&targets, &mut |i| {
                if i == at && targets[i].old.is_some() {
                    fs::remove_file(path(i)).unwrap();
                } else if i == at {
                    fs::write(path(i), "by hand").unwrap();
                }
            });
            match at {
                1 => expected.extend(files(&[("new/", ""), ("new/c", "by hand")])),
                2 => _ = expected.pop(),
                _ => expected.extend(files(&[("d", "by hand")])),
            }
            assert!(error.is_err(), "{at}");
            assert_eq!(folder.all(), expected, "{at}");
        }
    }
}
