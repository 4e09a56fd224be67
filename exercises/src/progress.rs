//! What a student has solved, and how many hints were shown: `work/.progress.json`.
use crate::catalog::{read, shown, work};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file, as it was read or is to be written. It holds what it does not know as well.
#[derive(Debug)]
pub(crate) struct Progress {
    file: PathBuf,
    entries: Value,
}

impl Progress {
    /// Reads the file; without one, nothing is solved.
    ///
    /// # Errors
    /// Names the file when it is damaged, and what to do.
    pub(crate) fn load() -> Result<Self, String> {
        let file = work().join(".progress.json");
        if !file.exists() {
            return Ok(Progress { file, entries: json!({}) });
        }
        let why = match serde_json::from_str(&read(&file)?) {
            Ok(entries @ Value::Object(_)) => return Ok(Progress { file, entries }),
            Ok(_) => "it is no JSON object".to_string(),
            Err(error) => error.to_string(),
        };
        Err(format!("{}: {why}; delete it, and `verify` finds what is solved", shown(&file)))
    }

    pub(crate) fn solved(&self, name: &str) -> bool {
        self.entries[name]["solved"] == true
    }

    /// How many hints were shown.
    pub(crate) fn hints(&self, name: &str) -> usize {
        self.entries[name]["hints"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0)
    }

    pub(crate) fn set_solved(&mut self, name: &str, solved: bool) -> Result<(), String> {
        if self.solved(name) == solved {
            return Ok(());
        }
        self.set(name, "solved", json!(solved))
    }

    pub(crate) fn set_hints(&mut self, name: &str, hints: usize) -> Result<(), String> {
        self.set(name, "hints", json!(hints))
    }

    fn set(&mut self, name: &str, key: &str, value: Value) -> Result<(), String> {
        if !self.entries[name].is_object() {
            self.entries[name] = json!({});
        }
        self.entries[name][key] = value;
        let text = format!("{:#}\n", self.entries);
        replace(&self.file, &text).map_err(|error| format!("{}: {error}", shown(&self.file)))
    }
}

/// Writes a file whole or not at all.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, file)
}
