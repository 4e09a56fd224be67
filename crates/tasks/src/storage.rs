use crate::{BoardError, Task, Tasks};
use durable::{Folder, Journal, LockedJournal, Update};
use std::ffi::OsStr;

/// What runs while nobody else can write: with what others have written since the last time.
pub type Work<'a> = dyn FnMut(&mut dyn Log, Update<Task>) -> Result<(), BoardError> + 'a;

/// Where the changes of a board are stored: a log to which several processes append tasks. Its
/// methods block.
pub trait Storage: Send {
    /// Reads what others have written, and runs `work`. What it appends is stored only if nobody
    /// else has written meanwhile: others are locked out, or `work` runs again with what they have
    /// written. Unless `always`, it runs only when there is something new.
    ///
    /// # Errors
    /// Those of `work`, and those of the storage.
    fn locked(&mut self, always: bool, work: &mut Work<'_>) -> Result<(), BoardError>;
}

/// A log under its lock.
pub trait Log {
    /// Appends tasks, all or none; `Ok` means that they are stored.
    ///
    /// # Errors
    /// [`BoardError::Outdated`] when others have written meanwhile, and those of the storage.
    fn append(&mut self, tasks: &[Task]) -> Result<(), BoardError>;

    /// Replaces the log by one with only these tasks.
    ///
    /// # Errors
    /// Those of [`append`](Log::append).
    fn compact(&mut self, tasks: &Tasks) -> Result<(), BoardError>;
}

/// The storage in a file.
pub(crate) struct File {
    journal: Journal<Task>,
    /// What was read when it was opened.
    first: Option<Update<Task>>,
}

impl File {
    pub(crate) fn open(folder: &Folder, name: &OsStr) -> Result<File, BoardError> {
        let opened = match Journal::open(folder, name) {
            Err(durable::Error::Damaged { .. }) => Journal::salvage(folder, name),
            other => other,
        };
        let (journal, first) = opened?;
        Ok(File { journal, first: Some(first) })
    }
}

impl Storage for File {
    fn locked(&mut self, always: bool, work: &mut Work<'_>) -> Result<(), BoardError> {
        if let Some(first) = self.first.take() {
            let (mut log, news) = self.journal.lock()?;
            work(&mut log, first)?;
            return work(&mut log, news);
        }
        if always {
            let (mut log, news) = self.journal.lock()?;
            return work(&mut log, news);
        }
        match self.journal.lock_if_new()? {
            Some((mut log, news)) => work(&mut log, news),
            None => Ok(()),
        }
    }
}

impl Log for LockedJournal<'_, Task> {
    fn append(&mut self, tasks: &[Task]) -> Result<(), BoardError> {
        Ok(self.append_all(tasks)?)
    }

    fn compact(&mut self, tasks: &Tasks) -> Result<(), BoardError> {
        Ok(LockedJournal::compact(self, tasks.all())?)
    }
}
