//! A copy of what a command prints, in a file.
use crate::Outputs;
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
};
use tokio::task::JoinHandle;

/// How much of one output a file takes, in bytes; the rest is dropped.
pub(crate) const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Copies output to a file without blocking the thread that reads it: bytes are gathered in memory,
/// and the file is created and written on a blocking thread. Its first error ends the copy and is
/// kept.
#[derive(Debug)]
pub(crate) struct FileCopy {
    target: Target,
    file: Option<OutputFile>,
    /// The write under way. It continues when a flush is dropped; the next flush waits for it.
    writing: Option<JoinHandle<io::Result<OutputFile>>>,
    pending: Vec<u8>,
    /// How many bytes the file has been given, including those that are pending.
    accepted: u64,
    /// Whether there were more than the file takes.
    truncated: bool,
    error: Option<io::Error>,
}

/// Where the file is created.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// At this path, in place of an older file.
    Path(PathBuf),
    /// Among an owner's long outputs, as a new file.
    Outputs(Arc<Outputs>),
}

#[derive(Debug)]
struct OutputFile {
    file: File,
    path: PathBuf,
}

impl Target {
    fn create(self) -> io::Result<OutputFile> {
        let (file, path) = match self {
            Target::Outputs(outputs) => outputs.create()?,
            Target::Path(path) => {
                let mut options = File::options();
                options.write(true).create(true).truncate(true).mode(0o600);
                match options.open(&path) {
                    Ok(file) => (file, path),
                    Err(error) => return Err(naming(&path, &error)),
                }
            }
        };
        Ok(OutputFile { file, path })
    }
}

impl OutputFile {
    fn write(mut self, bytes: &[u8]) -> io::Result<OutputFile> {
        match self.file.write_all(bytes) {
            Ok(()) => Ok(self),
            Err(error) => Err(naming(&self.path, &error)),
        }
    }
}

/// The same error with the path in its message.
pub(crate) fn naming(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl FileCopy {
    /// Nothing is created before the first [`flush`](FileCopy::flush).
    pub(crate) fn new(target: Target) -> FileCopy {
        FileCopy {
            target,
            file: None,
            writing: None,
            pending: vec![],
            accepted: 0,
            truncated: false,
            error: None,
        }
    }

    /// Gathers bytes for the next flush, up to [`MAX_FILE_BYTES`] in all.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let room = usize::try_from(MAX_FILE_BYTES - self.accepted).unwrap_or(usize::MAX);
        let accepted = bytes.len().min(room);
        self.pending.extend_from_slice(&bytes[..accepted]);
        self.accepted += accepted as u64;
        self.truncated |= accepted < bytes.len();
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
            if self.error.is_some() || (self.file.is_some() && self.pending.is_empty()) {
                return;
            }
            let (file, bytes) = (self.file.take(), std::mem::take(&mut self.pending));
            let target = self.target.clone();
            self.writing = Some(tokio::task::spawn_blocking(move || {
                let file = match file {
                    Some(file) => file,
                    None => target.create()?,
                };
                file.write(&bytes)
            }));
        }
    }

    /// Where the file is, once it is created.
    pub(crate) fn path(&self) -> Option<&std::path::Path> {
        Some(&self.file.as_ref()?.path)
    }

    /// Why there is no file, or why it is incomplete.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Whether the output was longer than the file may be.
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
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
        let (runtime, release) = busy_runtime();
        runtime.block_on(async {
            let mut copy = FileCopy::new(Target::Path(path.clone()));
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
    async fn the_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("much");
        let mut copy = FileCopy::new(Target::Path(path.clone()));
        let mebibyte = vec![b'x'; 1 << 20];
        for number in 1..=66 {
            copy.push(&mebibyte);
            copy.flush().await;
            assert_eq!(copy.is_truncated(), number > 64, "{number}");
        }
        assert_eq!(path.metadata().unwrap().len(), MAX_FILE_BYTES);
        assert!(copy.error().is_none());
    }
}
