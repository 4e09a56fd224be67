//! Where long outputs are kept.
use crate::file_copy::naming;
use std::{
    collections::VecDeque,
    fs::{File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// How many long outputs are kept; each has at most
/// [`Clip::MAX_FILE_BYTES`](crate::Clip::MAX_FILE_BYTES).
const MAX_FILES: usize = 8;

/// The newest long outputs of one owner, as files in a folder of the system's temporary one:
/// readable by the same user only, and not in the working directory, where they would turn up in
/// searches and in commits.
///
/// The folder is created with the first file. Dropping the value deletes it: on a blocking thread
/// if dropped within a Tokio runtime, which must then be shut down with some time left for that;
/// else at once.
#[derive(Debug, Default)]
pub struct Outputs {
    folder: OnceLock<TempDir>,
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
                // Without this the umask decides, and others may usually look into it.
                let private = Permissions::from_mode(0o700);
                let mut builder = tempfile::Builder::new();
                let folder = builder.prefix("rungs-").permissions(private).tempdir()?;
                // No other thread sets it: `files` is locked.
                self.folder.get_or_init(|| folder)
            }
        };
        let path = |number: u64| folder.path().join(format!("{number}.txt"));
        while files.len() >= MAX_FILES {
            let oldest = path(files[0]);
            match std::fs::remove_file(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(naming(&oldest, &error));
                }
                _ => files.pop_front(),
            };
        }
        let number = files.back().map_or(1, |newest| newest + 1);
        let path = path(number);
        match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                files.push_back(number);
                Ok((file, path))
            }
            Err(error) => Err(naming(&path, &error)),
        }
    }

    /// The folder, if the path leads below it; for a guard that lets these files be read. It uses
    /// no disk.
    pub fn folder_of(&self, path: &str) -> Option<PathBuf> {
        let folder = self.folder.get()?.path();
        Path::new(path).starts_with(folder).then(|| folder.to_path_buf())
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        // To delete half a gigabyte takes a while, and the thread of a runtime has other tasks.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(folder))),
            Err(_) => drop(folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::busy_runtime;
    use std::time::Duration;

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
