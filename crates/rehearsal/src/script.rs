//! A script: what the stand-in for the model plays.
use crate::{
    format::{File, Scene, Turn},
    workspace::{Workspace, WorkspaceError},
};
use std::{fmt, fs, io, path::Path};

/// A checked script, ready to be served.
#[derive(Clone, Debug)]
pub struct Script {
    file: File,
    /// Whether the server keeps what it was sent.
    pub(crate) record: bool,
}

impl Script {
    /// Reads and checks a script.
    pub fn load(path: impl AsRef<Path>) -> Result<Script, ScriptError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(yaml) => Script::parse(&name, &yaml),
            Err(error) => Err(ScriptError { name, line: None, cause: Cause::Unreadable(error) }),
        }
    }

    /// Checks a script that is already at hand; `name` stands for the file in errors.
    pub fn parse(name: &str, yaml: &str) -> Result<Script, ScriptError> {
        let file = serde_yaml::from_str(yaml).map_err(|error| ScriptError {
            name: name.to_string(),
            line: error.location().map(|place| place.line()),
            cause: Cause::Wrong(error),
        })?;
        Ok(Script { file, record: false })
    }

    /// A script of scenes that are already checked.
    pub(crate) fn of(scenes: Vec<Scene>) -> Script {
        Script { file: File { scenes, ..File::default() }, record: false }
    }

    /// What the play is about, in a line.
    pub fn about(&self) -> Option<&str> {
        self.file.about.as_deref()
    }

    /// What to type, in order.
    pub fn suggest(&self) -> &[String] {
        &self.file.suggest
    }

    /// The regular expressions that begin the scenes.
    pub fn scenes(&self) -> impl Iterator<Item = &str> {
        self.file.scenes.iter().map(|scene| scene.when.as_str())
    }

    /// Whether the server keeps the bodies it was sent, for [`Server::seen`](crate::Server::seen). They may hold whole
    /// files, so it does not unless asked.
    pub fn record(self, on: bool) -> Self {
        Script { record: on, ..self }
    }

    /// Makes the folder in which the play takes place. It blocks, and every call makes another folder.
    pub fn workspace(&self) -> Result<Workspace, WorkspaceError> {
        Workspace::make(&self.file.workspace)
    }

    pub(crate) fn scene(&self, scene: usize) -> Option<&Scene> {
        self.file.scenes.get(scene)
    }

    /// The first scene that knows this text.
    pub(crate) fn scene_for(&self, text: &str) -> Option<usize> {
        self.file.scenes.iter().position(|scene| scene.when.is_match(text))
    }
}

impl TryFrom<&str> for Script {
    type Error = ScriptError;

    /// Checks YAML; errors call the file `script`.
    fn try_from(yaml: &str) -> Result<Script, ScriptError> {
        Script::parse("script", yaml)
    }
}

impl TryFrom<&String> for Script {
    type Error = ScriptError;

    /// Checks YAML; errors call the file `script`.
    fn try_from(yaml: &String) -> Result<Script, ScriptError> {
        Script::parse("script", yaml)
    }
}

impl Scene {
    /// The turn at a place in the scene as it is played, repetitions unrolled, and the index of the repetition.
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
#[derive(Debug)]
pub struct ScriptError {
    name: String,
    line: Option<usize>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Unreadable(io::Error),
    Wrong(serde_yaml::Error),
}

impl ScriptError {
    /// The line of the file, from 1, where it is known.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.cause {
            Cause::Unreadable(error) => write!(f, ": {error}"),
            Cause::Wrong(error) => {
                // The place stands in front already.
                let reason = error.to_string();
                let reason =
                    reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
                write!(f, ": {reason}")
            }
        }
    }
}

impl std::error::Error for ScriptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Unreadable(error) => Some(error),
            Cause::Wrong(error) => Some(error),
        }
    }
}
