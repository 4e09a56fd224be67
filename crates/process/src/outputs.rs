//! Where long outputs are kept.
use crate::drop_blocking;
use durable::{Folder, Scratch};
use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

/// How the names of the folders begin.
const PREFIX: &str = "rungs";

/// How many long outputs are kept; each has at most
/// [`Clip::MAX_FILE_BYTES`](crate::Clip::MAX_FILE_BYTES).
const MAX_FILES: usize = 8;

/// The newest long outputs of one owner, as files in a folder of the system's temporary one:
/// readable by the same user only, and not in the working directory, where they would turn up in
/// searches and in commits.
///
/// The folder is created with the first file. Dropping the value deletes it: on a blocking thread
/// if dropped within a Tokio runtime, which must then be shut down with some time left for that;
/// else at once. What a killed program left there is deleted by [`sweep`](Outputs::sweep).
#[derive(Debug, Default)]
pub struct Outputs {
    folder: OnceLock<Scratch>,
    /// The numbers of the files, the oldest first. Locked while files are created, on blocking
    /// threads; whoever must not wait looks at `folder` only.
    files: Mutex<VecDeque<u64>>,
}

impl Outputs {
    /// Creates an empty file and opens it for writing; deletes the oldest when there are more than
    /// eight. It uses the disk: async code calls it on a blocking thread, as [`Clip`](crate::Clip)
    /// does.
    ///
    /// # Errors
    /// Names the folder or file that cannot be created, or the old file that cannot be deleted.
    pub fn create(&self) -> io::Result<(File, PathBuf)> {
        let mut files = self.files.lock().unwrap();
        let folder = match self.folder.get() {
            Some(folder) => folder,
            None => {
                let base = temporary().map_err(io::Error::other)?;
                let folder = Scratch::create(&base, PREFIX).map_err(io::Error::other)?;
                // No other thread sets it: `files` is locked.
                self.folder.get_or_init(|| folder)
            }
        };
        let name = |number: u64| format!("{number}.txt");
        while files.len() >= MAX_FILES {
            folder.folder().remove(name(files[0])).map_err(io::Error::other)?;
            files.pop_front();
        }
        let number = files.back().map_or(1, |newest| newest + 1);
        let (name, created) = (name(number), folder.folder().create_new(name(number)));
        let path = folder.path().join(name);
        match created.map_err(io::Error::other)? {
            Some(file) => {
                files.push_back(number);
                Ok((file, path))
            }
            None => Err(io::Error::other(format!("{}: it exists already", path.display()))),
        }
    }

    /// Deletes what killed programs have left. It uses the disk.
    ///
    /// # Errors
    /// When the system's temporary folder cannot be listed.
    pub fn sweep() -> io::Result<()> {
        let swept = temporary().and_then(|base| Scratch::sweep(&base, PREFIX));
        swept.map(drop).map_err(io::Error::other)
    }

    /// The folder, if the path leads below it; for a guard that lets these files be read. It uses
    /// no disk.
    pub fn folder_of(&self, path: &str) -> Option<PathBuf> {
        let folder = self.folder.get()?.path();
        Path::new(path).starts_with(folder).then(|| folder.to_path_buf())
    }
}

fn temporary() -> Result<Folder, durable::Error> {
    Folder::open(std::env::temp_dir(), "")
}

impl Drop for Outputs {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            drop_blocking(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::busy_runtime;
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    #[test]
    fn the_oldest_are_deleted_and_at_the_end_all() {
        let outputs = Outputs::default();
        assert_eq!(outputs.folder_of("/etc/passwd"), None);
        let files: Vec<PathBuf> = (0..12).map(|_| outputs.create().unwrap().1).collect();
        let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
        assert_eq!(left, [[false; 4].as_slice(), &[true; MAX_FILES]].concat());
        let folder = outputs.folder_of(files[11].to_str().unwrap()).unwrap();
        assert_eq!(outputs.folder_of("/etc/passwd"), None);
        drop(outputs);
        assert!(!folder.exists());
    }

    #[test]
    fn folder_and_files_are_private() {
        let outputs = Outputs::default();
        let (file, path) = outputs.create().unwrap();
        let folder = path.parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_file_is_no_obstacle() {
        let outputs = Outputs::default();
        let files: Vec<PathBuf> = (0..MAX_FILES).map(|_| outputs.create().unwrap().1).collect();
        std::fs::remove_file(&files[0]).unwrap();
        assert!(outputs.create().unwrap().1.ends_with("9.txt"));
        assert!(files[1].exists());
    }

    #[test]
    fn within_a_runtime_a_blocking_thread_deletes_the_folder() {
        let (runtime, release) = busy_runtime();
        let file = runtime.block_on(async {
            let outputs = Outputs::default();
            outputs.create().unwrap().1
        });
        // It was dropped, and the only blocking thread is busy.
        assert!(file.exists());
        drop(release);
        runtime.shutdown_timeout(Duration::from_secs(30));
        assert!(!file.exists() && !file.parent().unwrap().exists());
    }
}
