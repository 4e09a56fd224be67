//! A script: what the rehearsal plays.
pub mod build;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod template;

use crate::workspace::{Workspace, WorkspaceError};
use file::{File, Scene, Turn};
use rungs_files::{ConfigError, parse_yaml, read_config};
use std::{path::Path, time::Duration};

/// A checked script, ready to be served.
#[derive(Clone, Debug, Default)]
pub struct Script {
    file: File,
    /// Whether the server keeps the bodies that it receives.
    pub(crate) record: bool,
    /// How long each reply takes before it begins, beyond what its turn says.
    pub(crate) think_time: Duration,
    /// How long a stream takes from one event to the next, unless its turn says.
    pub(crate) pace: Duration,
    /// Whether the server refuses a user message right after results.
    pub(crate) refuse_user_after_results: bool,
}

impl Script {
    /// Reads a YAML file and checks it.
    ///
    /// # Errors
    /// When the file cannot be read, and when it is no valid script; the error names the line.
    pub fn load(path: impl AsRef<Path>) -> Result<Script, ScriptError> {
        let path = path.as_ref();
        let yaml = read_config(path)?;
        Ok(Script { file: parse_yaml(path, &yaml)?, ..Script::default() })
    }

    /// Checks a script in YAML; `name` stands for the file in errors.
    ///
    /// # Errors
    /// When it is no valid script; the error names the line.
    pub fn parse(name: &str, yaml: &str) -> Result<Script, ScriptError> {
        Ok(Script { file: parse_yaml(Path::new(name), yaml)?, ..Script::default() })
    }

    /// A script of scenes that are already checked.
    fn from_scenes(scenes: Vec<Scene>) -> Script {
        Script { file: File { scenes, ..File::default() }, ..Script::default() }
    }

    /// What the script is about, in a line.
    pub fn about(&self) -> Option<&str> {
        self.file.about.as_deref()
    }

    /// The prompts that a person should type, in order.
    pub fn suggest(&self) -> &[String] {
        &self.file.suggest
    }

    /// The regular expressions that begin the scenes.
    pub fn scenes(&self) -> impl Iterator<Item = &str> {
        self.file.scenes.iter().map(|scene| scene.when.as_str())
    }

    /// Whether the server keeps the bodies that it receives, for
    /// [`Server::requests`](crate::Server::requests). They may hold whole files, so without this it
    /// does not.
    pub fn record(self, on: bool) -> Self {
        Script { record: on, ..self }
    }

    /// Lets each reply take so long before it begins, for a person who follows the play.
    pub fn think_time(self, think_time: Duration) -> Self {
        Script { think_time, ..self }
    }

    /// Lets so much time pass between the events of each stream, for a person who reads along.
    pub fn pace(self, pace: Duration) -> Self {
        Script { pace, ..self }
    }

    /// Whether the server refuses a `user` message right after `tool` messages, as Mistral's do
    /// (Chat Completions only).
    pub fn refuse_user_after_results(self, on: bool) -> Self {
        Script { refuse_user_after_results: on, ..self }
    }

    /// Makes the folder in which the script is played. It blocks, and every call makes another
    /// folder.
    ///
    /// # Errors
    /// When a file or the git repository cannot be written.
    pub fn workspace(&self) -> Result<Workspace, WorkspaceError> {
        Workspace::make(&self.file.workspace)
    }

    pub(crate) fn scene(&self, scene: usize) -> Option<&Scene> {
        self.file.scenes.get(scene)
    }

    /// The first scene whose regular expression matches this text, if it is one that `yields`, or
    /// one that does not.
    pub(crate) fn scene_for(&self, text: &str, yields: bool) -> Option<usize> {
        let first = self.file.scenes.iter().position(|scene| scene.when.is_match(text))?;
        (self.file.scenes[first].yields == yields).then_some(first)
    }
}

impl TryFrom<&str> for Script {
    type Error = ScriptError;

    /// Checks a script in YAML; errors call the file `script`.
    fn try_from(yaml: &str) -> Result<Script, ScriptError> {
        Script::parse("script", yaml)
    }
}

impl Scene {
    /// The turn at a place of the scene, where a repeated turn counts as often as it is played, and
    /// which of its repetitions that is.
    pub(crate) fn turn(&self, place: usize) -> Option<(&Turn, usize)> {
        let mut first = 0;
        for turn in &self.turns {
            let times = turn.repeat.map_or(1, |times| times.get() as usize);
            if place < first + times {
                return Some((turn, place - first));
            }
            first += times;
        }
        None
    }
}

/// Why a script cannot be played. Displays as `FILE:LINE: reason`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ScriptError(#[from] pub ConfigError);

impl ScriptError {
    /// The line of the file, from 1, where it is known.
    pub fn line(&self) -> Option<usize> {
        self.0.line
    }
}
