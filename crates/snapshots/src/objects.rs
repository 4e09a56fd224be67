//! The contents, each kept once, under the name that its hash gives it.
use crate::{Error, State};
use durable::Folder;
use ring::digest::{SHA256, digest};
use rungs_files::{PathErrorKind, Root, Stamp};
use std::{
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The largest file of which a snapshot is kept, in bytes: the most that is edited, too.
pub const MAX_FILE_BYTES: u64 = 50_000_000;
/// How often a file is read again that changes meanwhile.
const READ_ATTEMPTS: u32 = 5;
const FOLDER: &str = "objects";
/// How many digits of a hash name the folder. One folder for all would become slow.
const PREFIX_DIGITS: usize = 2;
const PERMISSIONS: u32 = 0o777;

/// A file as it is now.
pub(crate) struct Found {
    pub(crate) state: State,
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) stamp: Option<Stamp>,
}

/// Looks at a file by its path relative to the root and free of links.
pub(crate) fn look(root: &Root, relative: &Path) -> Result<Found, Error> {
    let path = || root.path().join(relative);
    for _ in 0..READ_ATTEMPTS {
        let file = match root.open_resolved(relative).map_err(PathErrorKind::from) {
            Ok(file) => file,
            Err(PathErrorKind::NotFound) => {
                let state = State::Absent { missing_folders: root.missing_folders(relative) };
                return Ok(Found { state, content: None, stamp: None });
            }
            Err(kind) => return Err(Error::Path { path: path(), kind }),
        };
        let io = |error: std::io::Error| Error::Path { path: path(), kind: error.into() };
        let (stamp, metadata) = (Stamp::of(&file).map_err(io)?, file.metadata().map_err(io)?);
        let mut content = vec![];
        (&file).take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(io)?;
        let size = content.len() as u64;
        if size > MAX_FILE_BYTES {
            return Err(Error::TooLarge { path: path(), bytes: metadata.len() });
        }
        if Stamp::of(&file).map_err(io)? != stamp {
            continue;
        }
        let state = State::File { hash: hash(&content), size, mode: metadata.mode() & PERMISSIONS };
        return Ok(Found { state, content: Some(content), stamp: Some(stamp) });
    }
    Err(Error::Path { path: path(), kind: PathErrorKind::Conflict })
}

/// Keeps a content. On the disk when it returns.
pub(crate) fn keep(folder: &Folder, hash: &str, content: &[u8]) -> Result<(), Error> {
    Ok(folder.write(place(hash)?, content)?)
}

/// A content that was kept.
pub(crate) fn fetch(folder: &Folder, name: &str) -> Result<Vec<u8>, Error> {
    let content = folder.read(place(name)?, MAX_FILE_BYTES)?;
    let intact = content.filter(|content| hash(content) == name);
    intact.ok_or_else(|| Error::Damaged { file: folder.path().join(FOLDER).join(name) })
}

/// Removes the contents that nobody needs. What cannot be removed stays until the next time.
pub(crate) fn remove_all_but(folder: &Folder, needed: impl Fn(&str) -> bool) -> Result<(), Error> {
    let objects = folder.folder(FOLDER)?;
    for prefix in objects.list()? {
        let Ok(names) = objects.folder(&prefix).and_then(|folder| folder.list()) else { continue };
        for name in names {
            let hash = format!("{}{}", prefix.to_string_lossy(), name.to_string_lossy());
            if place(&hash).is_ok() && !needed(&hash) {
                let _ = objects.remove(Path::new(&prefix).join(&name));
            }
        }
    }
    Ok(())
}

/// Where a content is. A journal that somebody else has written may hold anything.
fn place(hash: &str) -> Result<PathBuf, Error> {
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash {
        return Err(Error::Damaged { file: hash.into() });
    }
    let (prefix, rest) = hash.split_at(PREFIX_DIGITS);
    Ok(Path::new(FOLDER).join(prefix).join(rest))
}

fn hash(content: &[u8]) -> String {
    let digest = digest(&SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
