use crate::{
    Error,
    step::{self, step},
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

/// Writes the file at `path` so that whoever reads it finds the old content or the new, whole, also after a power cut.
///
/// Missing folders above it are [created](create_folder). It keeps the mode of a file that is there; a new one is for
/// its owner alone (0600). A link at `path` is replaced, not followed. After an error the file holds the old content, or,
/// if only the last flush failed, already the new. A process that is killed meanwhile can leave a file `.NAME.*.tmp`
/// behind, which nothing reads.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let path = path.as_ref();
    create_folder(folder_of(path))?;
    replace(path, |file| step::write_all(file, bytes).map_err(Error::io("write", path)))
}

/// Creates a folder for its owner alone (0700), and the missing ones above it; one that is there stays as it is.
pub fn create_folder(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(());
    }
    create_folder(folder_of(path))?;
    match step("create folder", || DirBuilder::new().mode(0o700).create(path)) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(Error::io("create", path)(e))
        }
        _ => flush_folder_of(path),
    }
}

/// Puts a new file, filled by `fill`, in the place of the one at `path`.
pub(crate) fn replace(
    path: &Path,
    fill: impl FnOnce(&File) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = || Error::io("write", path);
    let mode = match step("look", || path.symlink_metadata()) {
        Ok(old) if old.is_file() => old.permissions().mode() & 0o777,
        Ok(_) => 0o600,
        Err(e) if e.kind() == ErrorKind::NotFound => 0o600,
        Err(e) => return Err(failed()(e)),
    };
    let prefix = temporary_prefix(path);
    let new = step("create", || {
        tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).tempfile_in(folder_of(path))
    });
    let new = new.map_err(failed())?; // Removes itself unless it is renamed.
    fill(new.as_file())?;
    step("mode", || new.as_file().set_permissions(Permissions::from_mode(mode)))
        .map_err(failed())?;
    step("flush", || new.as_file().sync_all()).map_err(failed())?;
    step("rename", || new.persist(path).map_err(|e| e.error)).map_err(failed())?;
    flush_folder_of(path)
}

/// Removes the temporary files for `path` that a killed process left; only for who knows that nobody writes it now.
pub(crate) fn remove_leftovers(path: &Path) -> Result<(), Error> {
    let prefix = temporary_prefix(path);
    for file in step("list", || fs::read_dir(folder_of(path)))
        .map_err(Error::io("list the folder of", path))?
        .flatten()
    {
        let name = file.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(SUFFIX.as_bytes()) {
            step("remove", || fs::remove_file(file.path()))
                .map_err(Error::io("remove", &file.path()))?;
        }
    }
    Ok(())
}

/// A new name in a folder lasts only when the folder is flushed too.
pub(crate) fn flush_folder_of(path: &Path) -> Result<(), Error> {
    step("flush folder", || File::open(folder_of(path))?.sync_all())
        .map_err(Error::io("flush the folder of", path))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const SUFFIX: &str = ".tmp";

fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or(OsStr::new("")));
    prefix.push(".");
    prefix
}
