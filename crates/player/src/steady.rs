//! Takes out of a recording what is of one machine or one moment: folders, times, random names.
use regex::{Captures, Regex};
use serde_json::Value;
use std::{cell::RefCell, collections::HashMap, path::Path};

/// What stands for the folder of a rehearsal.
const FOLDER: &str = "/home/you/project";

/// Replacements, the same for a whole recording.
pub(crate) struct Steady {
    folder: String,
    root: String,
    patterns: Vec<(Regex, &'static str)>,
    random: Regex,
    /// What stands for random names, in the order in which they come.
    names: RefCell<HashMap<String, String>>,
}

impl Steady {
    /// For the recording with this text; none if it does not begin as one.
    pub(crate) fn of(text: &str) -> Option<Steady> {
        let head: Value = serde_json::from_str(text.lines().next()?).ok()?;
        let folder = head["folder"].as_str().filter(|_| head["type"] == "recording")?.to_string();
        let regex = |pattern| Regex::new(pattern).expect("the pattern is a constant");
        let patterns = vec![
            // What `ls -l` prints, the date of the environment, and `finished in 0.03s`.
            (regex(r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d\b"), "Jan  1 12:00"),
            (regex(r"today: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4}"), "today: Thu, 01 Jan 2026"),
            (
                regex(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"),
                "2026-01-01T12:00:00Z",
            ),
            (regex(r"127\.0\.0\.1:\d+"), "127.0.0.1:8000"),
            (regex(r"\bpid \d+"), "pid 4242"),
            (regex(r"finished in \d+\.\d\ds"), "finished in 0.01s"),
        ];
        let root = crate::root().display().to_string();
        // Conversations, files of results, temporary folders, and ids of calls, which end so.
        let random = regex(r"(^|[^0-9A-Za-z])([0-9a-f]{16})\b");
        let (names, folder) = (RefCell::default(), folder);
        Some(Steady { folder, root, patterns, random, names })
    }

    /// A record without all that.
    pub(crate) fn record(&self, line: &str) -> Result<Value, serde_json::Error> {
        let mut record: Value = serde_json::from_str(line)?;
        self.value(&mut record);
        if let Value::Object(fields) = &mut record {
            fields.shift_remove("at");
            fields.shift_remove("started");
        }
        Ok(record)
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.value(value)),
            _ => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.folder, FOLDER);
        // What it says where nothing was set.
        text = text.replace("Redis at localhost:1:", "Redis at localhost:6379:");
        if Path::new(&self.root).is_absolute() {
            text = text.replace(&self.root, "/home/you/rungs");
        }
        for (pattern, with) in &self.patterns {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        let mut names = self.names.borrow_mut();
        let name = |found: &Captures<'_>| {
            let number = names.len() + 1;
            let name = names.entry(found[2].into()).or_insert_with(|| format!("{number:016x}"));
            format!("{}{name}", &found[1])
        };
        self.random.replace_all(&text, name).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn folders_times_and_random_names_are_replaced() {
        let head =
            json!({"type": "recording", "at": 1, "folder": "/tmp/rehearsal-0123456789abcdef"});
        let steady = Steady::of(&head.to_string()).unwrap();
        assert_eq!(
            steady.record(&head.to_string()).unwrap(),
            json!({"type": "recording", "folder": FOLDER})
        );
        let record = json!({"at": 7, "a": ["in /tmp/rehearsal-0123456789abcdef/x", {
            "b": "f0e1d2c3b4a59687 toolu_0_0_0_ac03ced089b0d1e5 f0e1d2c3b4a59687 0f0f0f0f0f0f0f0f",
            "c": "root 75 Nov 26 10:05 README.md\ntoday: Thu, 26 Nov 2026",
        }]});
        let expected = json!({"a": ["in /home/you/project/x", {
            "b": "0000000000000001 toolu_0_0_0_0000000000000002 0000000000000001 0000000000000003",
            "c": "root 75 Jan  1 12:00 README.md\ntoday: Thu, 01 Jan 2026",
        }]});
        assert_eq!(steady.record(&record.to_string()).unwrap(), expected);
        assert!(Steady::of("{\"type\": \"part\"}").is_none());
    }
}
