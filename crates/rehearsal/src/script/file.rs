//! A script as it is written, checked while it is read.
use super::{
    fault::Fault,
    template::{Condition, Input, Template, deserialize_text},
};
use crate::{reply::StopReason, tool_schema::is_tool_name};
use regex::Regex;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    path::{Component, Path},
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) about: Option<String>,
    #[serde(default)]
    pub(crate) workspace: WorkspacePlan,
    #[serde(default)]
    pub(crate) suggest: Vec<String>,
    pub(crate) scenes: Vec<Scene>,
}

/// Where the script is played.
#[derive(Clone, Debug, Default)]
pub(crate) enum WorkspacePlan {
    /// In the current folder.
    #[default]
    Here,
    /// In a folder made for it.
    Fresh(Folder),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Folder {
    #[serde(default)]
    pub(crate) git: bool,
    #[serde(default)]
    pub(crate) files: BTreeMap<RelativePath, String>,
}

/// A path that stays below the folder it is joined to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelativePath(pub(crate) String);

/// What is played when a prompt matches.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) when: Regex,
    /// Whether it gives way to other texts and to results.
    pub(crate) yields: bool,
    pub(crate) turns: Vec<Turn>,
}

/// One reply.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// The turn is played only if this holds, and passed over otherwise.
    #[serde(rename = "if")]
    pub(crate) condition: Option<Condition>,
    pub(crate) think: Option<Template>,
    pub(crate) say: Option<Template>,
    #[serde(default)]
    pub(crate) call: Vec<Call>,
    #[serde(default)]
    pub(crate) raw: Vec<RawBlock>,
    pub(crate) repeat: Option<NonZeroU32>,
    #[serde(default)]
    pub(crate) pace_ms: u64,
    #[serde(default)]
    pub(crate) delay_ms: u64,
    pub(crate) stop: Option<StopReason>,
    #[serde(default)]
    pub(crate) usage: UsageOverride,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

/// Token counts that the script sets, whatever was counted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageOverride {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) cache_creation_input_tokens: Option<u64>,
    pub(crate) cache_read_input_tokens: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) tool: String,
    pub(crate) input: Input,
}

/// A content block that is sent as it is.
#[derive(Clone, Debug)]
pub(crate) struct RawBlock(pub(crate) Value);

/// What is wrong with a script whose keys and types are right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptMistake {
    #[error("a scene needs at least one turn")]
    NoTurns,
    #[error("turns[{0}] is never played: only calls or `stop: pause_turn` lead to a next turn")]
    Unreachable(usize),
    #[error("a file's path must be relative, stay in the folder and not be in .git")]
    Path,
    #[error("`{0}` cannot be a tool's name: 1 to 64 of a-z A-Z 0-9 _ -")]
    ToolName(String),
    #[error("a call is a map with one key: the tool's name, with its input")]
    NotOneTool,
    #[error("a raw block is a map with a `type`")]
    RawWithoutType,
    #[error("a raw block cannot be this, because ids and signatures are made: use `{0}`")]
    RawType(&'static str),
}

impl Turn {
    /// Whether a client answers this turn with a request that continues the scene.
    fn leads_on(&self) -> bool {
        !self.call.is_empty() || self.stop == Some(StopReason::PauseTurn)
    }
}

impl<'de> Deserialize<'de> for Scene {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            when: Pattern,
            #[serde(default)]
            yields: bool,
            turns: Vec<Turn>,
        }
        let Keys { when, yields, turns } = Keys::deserialize(deserializer)?;
        let scene = Scene::new(when, turns).map_err(D::Error::custom)?;
        Ok(Scene { yields, ..scene })
    }
}

impl Scene {
    /// A scene whose turns can all be played.
    pub(crate) fn new(when: Pattern, turns: Vec<Turn>) -> Result<Self, ScriptMistake> {
        let Some((last, before)) = turns.split_last() else { return Err(ScriptMistake::NoTurns) };
        let always_ends = |turn: &Turn| turn.condition.is_none() && !turn.leads_on();
        if let Some(end) = before.iter().position(always_ends) {
            return Err(ScriptMistake::Unreachable(end + 1));
        }
        if last.repeat.is_some_and(|times| times.get() > 1) && !last.leads_on() {
            return Err(ScriptMistake::Unreachable(turns.len() - 1));
        }
        Ok(Scene { when: when.0, yields: false, turns })
    }
}

/// The regular expression of a scene.
pub(crate) struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |source| Regex::new(source).map(Pattern))
    }
}

impl<'de> Deserialize<'de> for RelativePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |path| match stays_inside(path) {
            true => Ok(RelativePath(path.to_string())),
            false => Err(ScriptMistake::Path),
        })
    }
}

/// Whether a path names a file below the folder it is joined to, outside of `.git`.
fn stays_inside(path: &str) -> bool {
    let inside = |part| matches!(part, Component::Normal(name) if name != ".git");
    !path.is_empty() && !path.ends_with('/') && Path::new(path).components().all(inside)
}

impl<'de> Deserialize<'de> for WorkspacePlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HereOrFolder;
        impl<'de> Visitor<'de> for HereOrFolder {
            type Value = WorkspacePlan;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`here`, or a map with `git` and `files`")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<WorkspacePlan, E> {
                match word {
                    "here" => Ok(WorkspacePlan::Here),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WorkspacePlan, A::Error> {
                Folder::deserialize(MapAccessDeserializer::new(map)).map(WorkspacePlan::Fresh)
            }
        }
        deserializer.deserialize_any(HereOrFolder)
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneTool;
        impl<'de> Visitor<'de> for OneTool {
            type Value = Call;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                fmt::Display::fmt(&ScriptMistake::NotOneTool, f)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Call, A::Error> {
                let Some((tool, input)) = map.next_entry::<String, Input>()? else {
                    return Err(A::Error::custom(ScriptMistake::NotOneTool));
                };
                if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom(ScriptMistake::NotOneTool));
                }
                if !is_tool_name(&tool) {
                    return Err(A::Error::custom(ScriptMistake::ToolName(tool)));
                }
                match input {
                    Input::Map(_) => Ok(Call { tool, input }),
                    Input::Plain(Value::Null) => Ok(Call { tool, input: Input::empty() }),
                    _ => Err(A::Error::custom(ScriptMistake::NotOneTool)),
                }
            }
        }
        deserializer.deserialize_map(OneTool)
    }
}

impl<'de> Deserialize<'de> for RawBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let block = serde_json::Map::deserialize(deserializer)?;
        match block.get("type").and_then(Value::as_str) {
            None => Err(D::Error::custom(ScriptMistake::RawWithoutType)),
            Some("thinking") => Err(D::Error::custom(ScriptMistake::RawType("think"))),
            Some("tool_use") => Err(D::Error::custom(ScriptMistake::RawType("call"))),
            Some(_) => Ok(RawBlock(Value::Object(block))),
        }
    }
}
