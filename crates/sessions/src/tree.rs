//! The records of a session, and the paths through them.
use crate::{
    Begin, Error, Record, Result, Turn,
    record::{SAVE, TITLE, TURN},
};

/// All records of a session, those of the sessions whose past it shares included.
#[derive(Debug)]
pub struct Tree {
    /// The id of the session.
    pub id: String,
    /// How it began; `None` when that line was damaged.
    pub begin: Option<Begin>,
    /// What was wrong with the files, in words for a person.
    pub faults: Vec<String>,
    /// By their numbers.
    pub(crate) records: Vec<Record>,
    pub(crate) head: u64,
}

impl Tree {
    /// The newest record: where the conversation is.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// All records in the order in which they were written.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The record of this number.
    pub fn get(&self, id: u64) -> Option<&Record> {
        self.place(id).ok().map(|place| &self.records[place])
    }

    fn place(&self, id: u64) -> std::result::Result<usize, usize> {
        self.records.binary_search_by_key(&id, |record| record.id)
    }

    /// The records from the root to this one. The path leaves out a record that is lost, and goes
    /// on at the newest one that was written before it.
    pub fn path(&self, head: u64) -> Vec<&Record> {
        let (mut path, mut next) = (vec![], head);
        while let Some(record) = self.newest(next) {
            path.push(record);
            // A parent was always written before. What says otherwise was not written by us.
            next = record.parent.min(record.id - 1);
        }
        path.reverse();
        path
    }

    /// This record; the newest one before it when it is lost.
    fn newest(&self, id: u64) -> Option<&Record> {
        let end = self.records.partition_point(|record| record.id <= id);
        self.records[..end].last()
    }

    /// The turns before this record, the newest first. Those before a rewritten history are among
    /// them.
    pub fn turns(&self, head: u64) -> Vec<Turn> {
        let (mut turns, mut next) = (vec![], head);
        while let Some(record) = self.newest(next) {
            let turn = if record.kind == TURN { record.read::<Turn>() } else { None };
            next = turn.as_ref().map_or(record.parent, |turn| turn.before).min(record.id - 1);
            turns.extend(turn);
        }
        turns
    }

    /// Where a rewind leads, and the turns that it takes back, the newest first. `to` is a place
    /// that was saved under this name, or a number of turns; one when it is empty.
    ///
    /// # Errors
    /// [`Error::NoPlace`] when there is no such place, nor so many turns.
    pub fn before(&self, head: u64, to: &str) -> Result<(u64, Vec<Turn>)> {
        let mut turns = self.turns(head);
        let count: usize = if to.is_empty() { 1 } else { to.parse().unwrap_or(0) };
        let counted = count.checked_sub(1).and_then(|last| turns.get(last));
        let saved = self.saved(to).filter(|_| !to.is_empty());
        let Some(place) = saved.or(counted.map(|turn| turn.before)) else {
            return Err(Error::NoPlace { id: self.id.clone(), to: to.into(), turns: turns.len() });
        };
        turns.retain(|turn| turn.before >= place);
        Ok((place, turns))
    }

    /// The title that was given to it last.
    pub fn title(&self) -> Option<String> {
        let newest = self.records.iter().rfind(|record| record.kind == TITLE)?;
        newest.read().filter(|title: &String| !title.is_empty())
    }

    /// The place that was saved last under this name.
    pub fn saved(&self, name: &str) -> Option<u64> {
        let named = |record: &&Record| {
            record.kind == SAVE && record.read::<String>().as_deref() == Some(name)
        };
        self.records.iter().rev().find(named).map(|record| record.id)
    }
}
