//! The player: one page that plays recorded runs, and one that shows what a lesson adds.
//!
//! [`build`] runs every lesson offline with `--record`, and puts the recordings beside the page, as
//! scripts, since a page that was opened from a file cannot fetch anything. Recordings are made
//! when the page is built and are not checked in, so they are always those of the code.
mod lesson;
mod recordings;
mod steady;

pub use recordings::Built;

use lesson::Lesson;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The files of the page, which are copied as they are.
const FILES: [&str; 7] =
    ["index.html", "steps.html", "player.css", "theme.js", "recording.js", "player.js", "steps.js"];

/// Why the page could not be built.
#[derive(Debug)]
pub enum Error {
    /// A file or folder.
    File(PathBuf, io::Error),
    /// A lesson did not run to its end, or left no recording.
    Lesson(String, String),
    /// The lessons could not be compiled.
    Build(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::File(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Lesson(name, why) => write!(f, "{name}: {why}"),
            Error::Build(why) => write!(f, "the lessons do not build: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// The repository.
pub fn root() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Builds the page in this folder: records all lessons, and writes what both pages need.
///
/// # Errors
/// Names the lesson or the file that is in the way.
pub fn build(out: &Path) -> Result<Built, Error> {
    let lessons = Lesson::all(&root())?;
    let at = |path: PathBuf| move |error| Error::File(path, error);
    let folder = out.join("recordings");
    fs::create_dir_all(&folder).map_err(at(folder.clone()))?;
    for file in FILES {
        let (from, to) = (root().join("book/player").join(file), out.join(file));
        fs::copy(&from, to).map_err(at(from))?;
    }
    let sources = out.join("sources.js");
    fs::write(&sources, lesson::script(&lessons)).map_err(at(sources.clone()))?;
    recordings::record_all(&lessons, &folder)
}

#[cfg(test)]
mod tests;
