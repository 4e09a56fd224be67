//! A copy of what a command prints, in a file.
use crate::Outputs;
use durable::Folder;
use rustix::fs::{OFlags, fcntl_setfl};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::JoinHandle;

/// How many bytes are moved at once when the oldest ones give way.
const MOVED_BYTES: usize = 1 << 20;

/// Copies output to a file without blocking the thread that reads it: bytes are gathered in memory,
/// and the file is created and written on a blocking thread. When the file has reached its bound,
/// the older half of it gives way, and its first line says how much has. The first error ends the
/// copy and is kept.
#[derive(Debug)]
pub(crate) struct FileCopy {
    target: Target,
    /// How many bytes the file may have.
    max_bytes: u64,
    file: Option<OutputFile>,
    /// The write under way. It continues when a flush is dropped; the next flush waits for it.
    writing: Option<JoinHandle<io::Result<OutputFile>>>,
    pending: Vec<u8>,
    /// What stands after that for now, if it has changed.
    changeable: Option<Vec<u8>>,
    error: Option<io::Error>,
}

/// Where the file is created.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// In this folder, under a name that nothing has yet.
    Folder(Folder, String),
    /// Among an owner's long outputs, as a new file.
    Outputs(Arc<Outputs>),
}

#[derive(Debug)]
struct OutputFile {
    file: File,
    path: PathBuf,
    /// How many bytes of it will not change.
    length: u64,
    /// How many bytes were in it and gave way.
    gone: u64,
    /// How long the line is that says so.
    note_length: u64,
    max_bytes: u64,
}

impl Target {
    fn create(self, max_bytes: u64) -> io::Result<OutputFile> {
        let (file, path) = match self {
            Target::Outputs(outputs) => outputs.create()?,
            Target::Folder(folder, name) => {
                let path = folder.path().join(&name);
                match folder.create_new(name).map_err(io::Error::other)? {
                    Some(file) => (file, path),
                    None => {
                        let why = format!("{}: it exists already", path.display());
                        return Err(io::Error::other(why));
                    }
                }
            }
        };
        // Files of state are opened to append, but the end of this one is overwritten.
        fcntl_setfl(&file, OFlags::empty())?;
        Ok(OutputFile { file, path, length: 0, gone: 0, note_length: 0, max_bytes })
    }
}

impl OutputFile {
    fn write(mut self, bytes: &[u8], changeable: Option<&[u8]>) -> io::Result<OutputFile> {
        let path = self.path.clone();
        let written = match self.append(bytes) {
            Ok(()) => self.write_changeable(changeable),
            Err(error) => Err(error),
        };
        written.map(|()| self).map_err(|error| naming(&path, &error))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(MOVED_BYTES) {
            if self.length + piece.len() as u64 > self.max_bytes {
                self.make_room()?;
            }
            self.file.write_all_at(piece, self.length)?;
            self.length += piece.len() as u64;
        }
        Ok(())
    }

    /// Ends the file with what may still change.
    fn write_changeable(&mut self, changeable: Option<&[u8]>) -> io::Result<()> {
        let Some(text) = changeable else { return Ok(()) };
        self.file.write_all_at(text, self.length)?;
        self.file.set_len(self.length + text.len() as u64)
    }

    /// Moves the newer half of the file to its beginning, after a line that says so.
    fn make_room(&mut self) -> io::Result<()> {
        let mut from = self.length / 2;
        self.gone += from - self.note_length;
        let note = format!("[{} bytes before this are gone]\n", self.gone);
        self.file.write_all_at(note.as_bytes(), 0)?;
        self.note_length = note.len() as u64;
        let (mut to, mut piece) = (self.note_length, vec![0; MOVED_BYTES]);
        while from < self.length {
            let wanted = usize::try_from(self.length - from).unwrap_or(MOVED_BYTES);
            let read = self.file.read_at(&mut piece[..wanted.min(MOVED_BYTES)], from)?;
            if read == 0 {
                break; // Somebody else has cut it.
            }
            self.file.write_all_at(&piece[..read], to)?;
            (from, to) = (from + read as u64, to + read as u64);
        }
        self.length = to;
        self.file.set_len(to)
    }
}

/// The same error with the path in its message.
pub(crate) fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl FileCopy {
    /// Nothing is created before the first [`flush`](FileCopy::flush).
    pub(crate) fn new(target: Target, max_bytes: u64) -> FileCopy {
        FileCopy {
            target,
            max_bytes,
            file: None,
            writing: None,
            pending: vec![],
            changeable: None,
            error: None,
        }
    }

    /// Gathers bytes for the next flush.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// What stands at the end of the file until the next call.
    pub(crate) fn redraw(&mut self, text: &[u8]) {
        if self.error.is_none() {
            self.changeable = Some(text.to_vec());
        }
    }

    /// Creates the file, if that has not been done, and writes what was gathered. It may be dropped
    /// at any await: nothing is lost or written twice then.
    pub(crate) async fn flush(&mut self) {
        loop {
            if let Some(writing) = &mut self.writing {
                let written = writing.await;
                self.writing = None;
                match written {
                    Ok(Ok(file)) => self.file = Some(file),
                    Ok(Err(error)) => self.error = Some(error),
                    Err(error) => self.error = Some(error.into()),
                }
            }
            let nothing_new = self.pending.is_empty() && self.changeable.is_none();
            if self.error.is_some() || (self.file.is_some() && nothing_new) {
                return;
            }
            let (file, bytes) = (self.file.take(), std::mem::take(&mut self.pending));
            let changeable = self.changeable.take();
            let (target, max_bytes) = (self.target.clone(), self.max_bytes);
            self.writing = Some(tokio::task::spawn_blocking(move || {
                let file = match file {
                    Some(file) => file,
                    None => target.create(max_bytes)?,
                };
                file.write(&bytes, changeable.as_deref())
            }));
        }
    }

    /// Where the file is, once it is created.
    pub(crate) fn path(&self) -> Option<&Path> {
        Some(&self.file.as_ref()?.path)
    }

    /// Why there is no file, or why it is incomplete.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// How many of the first bytes are not in the file any more.
    pub(crate) fn gone(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::busy_runtime;

    #[test]
    fn the_disk_is_used_on_blocking_threads_only_and_a_dropped_flush_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let base = Folder::open(folder.path(), "").unwrap();
        let (runtime, release) = busy_runtime();
        runtime.block_on(async {
            let mut copy = FileCopy::new(Target::Folder(base, "copy".into()), 1 << 20);
            for piece in ["first ", "second "] {
                copy.push(piece.as_bytes());
                tokio::select! {
                    biased;
                    () = copy.flush() => panic!("no blocking thread is free"),
                    () = tokio::task::yield_now() => {}
                }
                assert!(!path.exists());
            }
            drop(release);
            copy.push(b"third");
            copy.flush().await;
            assert_eq!(copy.path(), Some(path.as_path()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "first second third");
        });
    }

    #[tokio::test]
    async fn the_file_is_bounded_and_the_oldest_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("much");
        let base = Folder::open(folder.path(), "").unwrap();
        let mut copy = FileCopy::new(Target::Folder(base, "much".into()), 100_000);
        let all: String = (0..100_000).map(|n| format!("{n:09}\n")).collect();
        for piece in all.as_bytes().chunks(7777) {
            copy.push(piece);
            copy.flush().await;
            assert!(path.metadata().unwrap().len() <= 100_000);
        }
        assert!(copy.error().is_none());
        let text = std::fs::read_to_string(&path).unwrap();
        let (note, rest) = text.split_once('\n').unwrap();
        assert_eq!(note, format!("[{} bytes before this are gone]", all.len() - rest.len()));
        assert_eq!(copy.gone(), (all.len() - rest.len()) as u64);
        assert!(rest.len() > 40_000 && all.ends_with(rest));
    }

    #[tokio::test]
    async fn what_may_change_stands_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let base = Folder::open(folder.path(), "").unwrap();
        let mut copy = FileCopy::new(Target::Folder(base, "log".into()), 1 << 20);
        for (text, changeable, expected) in [
            ("a\n", "50 %, a long line", "a\n50 %, a long line"),
            ("", "100 %", "a\n100 %"),
            ("b\n", "", "a\nb\n"),
        ] {
            copy.push(text.as_bytes());
            copy.redraw(changeable.as_bytes());
            copy.flush().await;
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }
}
