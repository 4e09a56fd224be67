//! Files of rules: that of the configuration, those that a folder brings, and those that a person
//! has stored.
use durable::Folder;
use rungs_core::{Error, Result};
use rungs_files::{parse_yaml, read_config};
use rungs_permissions::{Policy, Ruling};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What a folder brings with it, in the form of Claude Code.
const OF_FOLDER: [&str; 2] = [".claude/settings.json", ".claude/settings.local.json"];
/// How large a file of stored rules may be, in bytes.
const MAX_STORED_BYTES: u64 = 1_000_000;

/// The rules of all files that hold for a folder. Those that the folder brings may deny and ask:
/// whoever wrote a repository must not decide what may run in it, nor the mode.
///
/// # Errors
/// Names the file, and the line where it is known, when one cannot be read, or `config` is missing.
pub fn load(config: &Path, folder: &Path, stored: &StoredRules) -> Result<Policy> {
    let parse = |text: &str, file: &Path| Policy::load(text, file).map_err(Error::config);
    let mut policy = parse(&read_config(config).map_err(Error::config)?, config)?;
    for file in OF_FOLDER.map(|name| folder.join(name)) {
        let text = match read_config(&file) {
            Err(error) if error.is_missing => continue,
            text => text.map_err(Error::config)?,
        };
        let brought = parse(&text, &file)?;
        for rule in brought.rules().filter(|rule| rule.ruling != Ruling::Allow) {
            let added = policy.add(rule.ruling, &rule.text, &rule.source.to_string());
            added.map_err(Error::other)?;
        }
    }
    if let Some(text) = stored.read()? {
        policy.merge(parse(&text, &stored.path())?);
    }
    Ok(policy)
}

/// The rules that a person has stored for one folder: a file of this program's own state, below the
/// path of that folder. It is not kept in the folder, which may come from somebody else with such a
/// file in it.
#[derive(Debug, Clone)]
pub struct StoredRules {
    state: Folder,
    file: PathBuf,
}

impl StoredRules {
    /// Those for `folder`, in `state`.
    pub fn new(state: Folder, folder: &Path) -> Self {
        let real = folder.canonicalize().unwrap_or_else(|_| folder.into());
        let below = real.strip_prefix("/").unwrap_or(&real);
        StoredRules { state, file: Path::new("rules").join(below).join("permissions.yaml") }
    }

    /// Where they are.
    pub fn path(&self) -> PathBuf {
        self.state.path().join(&self.file)
    }

    /// What the file says, if there is one.
    fn read(&self) -> Result<Option<String>> {
        let bytes = self.state.read(&self.file, MAX_STORED_BYTES).map_err(Error::other)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Adds rules that allow, and keeps what else the person has written into the file, but for
    /// comments. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read or written; it is then as it was.
    pub fn add(&self, rules: &[String]) -> Result<()> {
        let mut file = match self.read()? {
            Some(text) => parse_yaml(&self.path(), &text).map_err(Error::config)?,
            None => Map::new(),
        };
        let allow = file.entry("allow").or_insert_with(|| json!([]));
        let allow = allow.as_array_mut().ok_or_else(|| {
            Error::other(format!("{}: `allow` is no list", self.path().display()))
        })?;
        allow.extend(rules.iter().map(|rule| json!(rule)));
        // JSON is YAML in which every text is quoted.
        let text = format!("{:#}\n", Value::from(file));
        self.state.write(&self.file, text.as_bytes()).map_err(Error::other)
    }
}
