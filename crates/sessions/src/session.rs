//! A session that is open for writing.
use crate::{
    Error, Record, Redactor, Result,
    record::{Entry, now},
};
use durable::{Journal, Lock};
use serde_json::value::RawValue;

/// A session that this process alone writes to.
#[derive(Debug)]
pub struct Session {
    pub(crate) id: String,
    pub(crate) journal: Journal<Box<RawValue>>,
    pub(crate) redactor: Redactor,
    /// The number of the newest record.
    pub(crate) last: u64,
    /// A journal of a child has none: nobody else knows its name.
    pub(crate) _lock: Option<Lock>,
}

impl Session {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number of the newest record.
    pub fn head(&self) -> u64 {
        self.last
    }

    /// Appends these entries behind `parent`, each the parent of the next, all or none, and returns
    /// their records. They survive a killed process, and a power cut once the journal is flushed.
    ///
    /// # Errors
    /// [`Error::Unserializable`], and those of [`Journal::append_unflushed`].
    pub(crate) fn append(&mut self, parent: u64, entries: Vec<Entry>) -> Result<Vec<Record>> {
        let (mut records, mut lines) = (vec![], vec![]);
        let (mut parent, at) = (parent, now());
        for (entry, id) in entries.into_iter().zip(self.last + 1..) {
            let id_of = self.id.clone();
            let unserializable = |source| Error::Unserializable { id: id_of, source };
            let line = (|| {
                let data = RawValue::from_string(self.redactor.json(entry.data?.get()))?;
                records.push(Record { id, parent, at, kind: entry.kind, data });
                serde_json::value::to_raw_value(&records.last())
            })();
            lines.push(line.map_err(unserializable)?);
            parent = id;
        }
        self.journal.append_unflushed(&lines)?;
        self.last = parent.max(self.last);
        Ok(records)
    }
}
