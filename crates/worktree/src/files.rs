use crate::Error;
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The entries of a folder; none if it does not exist.
pub(crate) fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(vec![]),
        entries => entries.map_err(Error::io(folder)),
    }
}

/// The first path `.NAME.WHAT-N` at which nothing exists.
pub(crate) fn unused_path(place: &Path, name: &str, what: &str) -> PathBuf {
    let mut n: u64 = 1;
    loop {
        let path = place.join(format!(".{name}.{what}-{n}"));
        if path.symlink_metadata().is_err() {
            return path;
        }
        n += 1;
    }
}

/// Deletes a folder if it exists, also with read-only folders in it, as caches of build tools have
/// them.
pub(crate) fn delete(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            make_writable(folder)?;
            fs::remove_dir_all(folder)
        }
        done => done,
    }
}

fn make_writable(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // The type of the entry itself: symbolic links are not followed.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
