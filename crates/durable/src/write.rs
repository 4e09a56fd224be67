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

/// The end of the names of temporary files.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Replaces the file at `path` atomically: a reader finds the old content or the new content, never
/// a mixture, also after a power cut. Blocks.
///
/// It writes a temporary file, flushes it, renames it, and flushes the folder. Missing folders are
/// [created](create_folder). An existing file keeps its mode; a new one gets 0600. A symbolic link
/// at `path` is replaced, not followed. A process that is killed meanwhile can leave a temporary
/// file `.NAME.*.tmp` behind, which nothing reads.
///
/// # Errors
/// [`Error::Io`]. The file then has its old content, or already the new one if only the last flush,
/// that of the folder, failed.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let path = path.as_ref();
    create_folder(folder_of(path))?;
    replace(path, |file| step::write_all(file, bytes).map_err(Error::io("write", path)))
}

/// Creates a folder and the missing ones above it, with mode 0700. An existing folder is not
/// changed. Blocks.
///
/// # Errors
/// [`Error::Io`], also when something else than a folder is there.
pub fn create_folder(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(());
    }
    create_folder(folder_of(path))?;
    match step("create folder", || DirBuilder::new().mode(0o700).create(path)) {
        // Another process may have created it in the meantime.
        Err(e) if e.kind() != ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(Error::io("create", path)(e))
        }
        _ => flush_folder_of(path),
    }
}

/// Puts a new file with the content that `fill` writes in the place of the one at `path`.
pub(crate) fn replace(
    path: &Path,
    fill: impl FnOnce(&File) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = || Error::io("write", path);
    let mode = match step("stat", || path.symlink_metadata()) {
        Ok(old) if old.is_file() => old.permissions().mode() & 0o777,
        Ok(_) => 0o600,
        Err(e) if e.kind() == ErrorKind::NotFound => 0o600,
        Err(e) => return Err(failed()(e)),
    };
    let prefix = temporary_prefix(path);
    // Created with O_EXCL, so whoever guesses its name gains nothing; unlinked if it is dropped.
    let new = step("create", || {
        tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(TEMPORARY_SUFFIX)
            .tempfile_in(folder_of(path))
    })
    .map_err(failed())?;
    fill(new.as_file())?;
    step("chmod", || new.as_file().set_permissions(Permissions::from_mode(mode)))
        .map_err(failed())?;
    step("flush", || new.as_file().sync_all()).map_err(failed())?;
    step("rename", || new.persist(path).map_err(|e| e.error)).map_err(failed())?;
    flush_folder_of(path)
}

/// Removes the temporary files for `path` that killed processes left behind. The caller must hold
/// the lock that keeps others from writing `path`.
pub(crate) fn remove_leftovers(path: &Path) -> Result<(), Error> {
    let prefix = temporary_prefix(path);
    let entries = step("list", || fs::read_dir(folder_of(path)))
        .map_err(Error::io("list the folder of", path))?;
    for file in entries.flatten() {
        let name = file.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes())
            && name.ends_with(TEMPORARY_SUFFIX.as_bytes())
        {
            step("remove", || fs::remove_file(file.path()))
                .map_err(Error::io("remove", &file.path()))?;
        }
    }
    Ok(())
}

/// Flushes the folder of `path`: without that, a power cut can undo a new name in it.
pub(crate) fn flush_folder_of(path: &Path) -> Result<(), Error> {
    step("flush folder", || File::open(folder_of(path))?.sync_all())
        .map_err(Error::io("flush the folder of", path))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or(OsStr::new("")));
    prefix.push(".");
    prefix
}
