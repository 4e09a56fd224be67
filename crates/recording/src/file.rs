//! The file.
use crate::pieces;
use rungs_sessions::Redactor;
use serde_json::{Map, Value, json};
use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fs::{File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

/// The version of the format. Whoever reads it skips records and fields that it does not know; a
/// change that breaks such a reader makes this one larger.
pub const VERSION: u32 = 1;

/// A file to which records are appended. Clones are the same one.
#[derive(Clone)]
pub struct Recording(Arc<Inner>);

struct Inner {
    path: PathBuf,
    redactor: Redactor,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    /// None once the last record is written.
    file: Option<File>,
    /// Why nothing more is written.
    failure: Option<String>,
    /// The numbers of the parts that were written, by length and hash.
    parts: HashMap<(usize, u64), u64>,
    exchanges: u64,
}

impl Recording {
    /// A new file, which only its owner can read.
    ///
    /// # Errors
    /// When it exists, or cannot be made.
    pub fn create(path: &Path, redactor: Redactor) -> io::Result<Recording> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let state = State { file: Some(file), failure: None, parts: HashMap::new(), exchanges: 0 };
        Ok(Recording(Arc::new(Inner {
            path: path.canonicalize()?,
            redactor,
            begun: Instant::now(),
            state: state.into(),
        })))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Appends a record of this type; `fields` is an object.
    pub fn record(&self, kind: &str, fields: Value) {
        let line = self.line(kind, fields);
        self.0.state.lock().unwrap().append(&line);
    }

    /// Appends the last record: what comes later is left out.
    pub fn end(&self, kind: &str, fields: Value) {
        self.record(kind, fields);
        self.0.state.lock().unwrap().file = None;
    }

    fn line(&self, kind: &str, fields: Value) -> String {
        let mut record = Map::new();
        record.insert("type".into(), kind.into());
        record.insert("at".into(), json!(self.0.begun.elapsed().as_millis() as u64));
        if let Value::Object(fields) = fields {
            record.extend(fields);
        }
        self.0.redactor.json(&Value::from(record).to_string()) + "\n"
    }

    /// The number of a value that other records refer to: most of a request is what the request
    /// before it held. What was not written yet is, as a record of its own.
    pub fn part(&self, value: &Value) -> u64 {
        let text = value.to_string();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let key = (text.len(), hasher.finish());
        let mut state = self.0.state.lock().unwrap();
        let next = state.parts.len() as u64;
        if let Some(number) = state.parts.get(&key) {
            return *number;
        }
        state.parts.insert(key, next);
        state.append(&self.line("part", json!({"id": next, "value": value})));
        next
    }

    /// The elements of an array, as the numbers of parts.
    pub fn parts(&self, values: &[Value]) -> Vec<u64> {
        values.iter().map(|value| self.part(value)).collect()
    }

    /// A number for the next request.
    pub fn next_exchange(&self) -> u64 {
        let mut state = self.0.state.lock().unwrap();
        state.exchanges += 1;
        state.exchanges
    }

    /// Pieces of one text without keys, also those that are spread over several pieces.
    pub fn redacted(&self, texts: Vec<String>) -> Vec<String> {
        pieces::redacted(&self.0.redactor, texts)
    }

    /// The same for what a terminal shows, where a key may be spread over several rows.
    pub fn redacted_rows(&self, text: &str) -> String {
        pieces::redacted_rows(&self.0.redactor, text)
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// Why the recording is not whole, if it is not: such as a full disk.
    pub fn failure(&self) -> Option<String> {
        self.0.state.lock().unwrap().failure.clone()
    }
}

impl State {
    /// One write for each line, so that a reader never sees half of one, but the last.
    fn append(&mut self, line: &str) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(line.as_bytes())
        {
            self.failure = Some(error.to_string());
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        let mut records: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.iter_mut().for_each(|record| {
            record.as_object_mut().unwrap().shift_remove("at").unwrap();
        });
        records
    }

    #[test]
    fn a_part_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let recording = Recording::create(&path, Redactor::default()).unwrap();
        assert_eq!(recording.parts(&[json!("a"), json!({"b": 1}), json!("a")]), [0, 1, 0]);
        recording.record("request", json!({"messages": [0, 1]}));
        let expected = json!([
            {"type": "part", "id": 0, "value": "a"},
            {"type": "part", "id": 1, "value": {"b": 1}},
            {"type": "request", "messages": [0, 1]},
        ]);
        assert_eq!(Value::from(records(&path)), expected);
    }

    #[test]
    fn no_file_is_overwritten_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        Recording::create(&path, Redactor::default()).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = Recording::create(&path, Redactor::default()).map(|_| ()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn keys_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let recording = Recording::create(&path, Redactor::new(["own-key-1".into()])).unwrap();
        recording.record("event", json!({"text": "it is own-key-1"}));
        recording.part(&json!({"deep": [["own-key-1"]]}));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            (text.contains("own-key-1"), text.matches("[redacted key]").count()),
            (false, 2)
        );
    }

    #[test]
    fn a_full_disk_is_reported_and_ends_it() {
        let mut state = State {
            file: OpenOptions::new().write(true).open("/dev/full").ok(),
            failure: None,
            parts: HashMap::new(),
            exchanges: 0,
        };
        state.append("x\n");
        assert!(state.failure.unwrap().starts_with("No space left on device"));
    }
}
