//! The YAML of a script as it is written, checked while it is read.
use crate::{
    fault::Fault,
    reply::Stop,
    template::{Input, Template, text},
    tool_schema::is_tool_name,
};
use regex::Regex;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, num::NonZeroU32, path::Path};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) about: Option<String>,
    #[serde(default)]
    pub(crate) workspace: Setting,
    #[serde(default)]
    pub(crate) suggest: Vec<String>,
    pub(crate) scenes: Vec<Scene>,
}

/// Where the play takes place.
#[derive(Clone, Debug, Default)]
pub(crate) enum Setting {
    /// In the folder as it is.
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

/// What happens on a prompt.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) when: Regex,
    pub(crate) turns: Vec<Turn>,
}

/// One reply.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    pub(crate) think: Option<Template>,
    pub(crate) say: Option<Template>,
    #[serde(default)]
    pub(crate) call: Vec<Call>,
    #[serde(default)]
    pub(crate) raw: Vec<Raw>,
    pub(crate) repeat: Option<NonZeroU32>,
    #[serde(default)]
    pub(crate) pace_ms: u64,
    #[serde(default)]
    pub(crate) delay_ms: u64,
    pub(crate) stop: Option<Stop>,
    #[serde(default)]
    pub(crate) usage: Figures,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

/// Figures of the usage that the script sets, whatever was counted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
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

/// A content block that goes out as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Raw(pub(crate) Value);

/// What is wrong with a script beyond its grammar.
pub(crate) enum Odd {
    NoTurns,
    Unreachable(usize),
    Path,
    ToolName(String),
    OneTool,
    RawType,
    RawKind(&'static str),
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Odd::NoTurns => f.write_str("a scene needs at least one turn"),
            Odd::Unreachable(turn) => {
                write!(
                    f,
                    "turns[{turn}] is never played: only calls or `stop: pause_turn` lead to a next turn"
                )
            }
            Odd::Path => {
                f.write_str("a file's path must be relative, stay in the folder and not be in .git")
            }
            Odd::ToolName(name) => {
                write!(f, "`{name}` cannot be a tool's name: 1 to 64 of a-z A-Z 0-9 _ -")
            }
            Odd::OneTool => {
                f.write_str("a call is a map with one key: the tool's name, with its input")
            }
            Odd::RawType => f.write_str("a raw block is a map with a `type`"),
            Odd::RawKind(key) => {
                write!(
                    f,
                    "this cannot be a raw block, because ids and signatures are made: use `{key}`"
                )
            }
        }
    }
}

impl Turn {
    /// Whether a request can follow that this scene answers.
    fn leads_on(&self) -> bool {
        !self.call.is_empty() || self.stop == Some(Stop::PauseTurn)
    }
}

impl<'de> Deserialize<'de> for Scene {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            when: Pattern,
            turns: Vec<Turn>,
        }
        let Written { when, turns } = Written::deserialize(deserializer)?;
        Scene::new(when, turns).map_err(D::Error::custom)
    }
}

impl Scene {
    /// A scene whose turns can all be played.
    pub(crate) fn new(when: Pattern, turns: Vec<Turn>) -> Result<Self, Odd> {
        let Some((last, before)) = turns.split_last() else { return Err(Odd::NoTurns) };
        if let Some(end) = before.iter().position(|turn| !turn.leads_on()) {
            return Err(Odd::Unreachable(end + 1));
        }
        if last.repeat.is_some_and(|times| times.get() > 1) && !last.leads_on() {
            return Err(Odd::Unreachable(turns.len() - 1));
        }
        Ok(Scene { when: when.0, turns })
    }
}

/// The regular expression of a scene.
pub(crate) struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, |source| Regex::new(source).map(Pattern))
    }
}

impl<'de> Deserialize<'de> for RelativePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, |path| {
            let mut parts = Path::new(path).components().peekable();
            let inside = parts.peek().is_some()
                && !path.ends_with('/')
                && parts.all(
                    |part| matches!(part, std::path::Component::Normal(name) if name != ".git"),
                );
            inside.then(|| RelativePath(path.to_string())).ok_or(Odd::Path)
        })
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HereOrFolder;
        impl<'de> Visitor<'de> for HereOrFolder {
            type Value = Setting;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`here`, or a map with `git` and `files`")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Setting, E> {
                match word {
                    "here" => Ok(Setting::Here),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Setting, A::Error> {
                Folder::deserialize(MapAccessDeserializer::new(map)).map(Setting::Fresh)
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
                fmt::Display::fmt(&Odd::OneTool, f)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Call, A::Error> {
                let (tool, input) = map
                    .next_entry::<String, Input>()?
                    .ok_or_else(|| A::Error::custom(Odd::OneTool))?;
                if map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom(Odd::OneTool));
                }
                if !is_tool_name(&tool) {
                    return Err(A::Error::custom(Odd::ToolName(tool)));
                }
                match input {
                    Input::Map(_) => Ok(Call { tool, input }),
                    Input::Plain(Value::Null) => Ok(Call { tool, input: Input::empty() }),
                    _ => Err(A::Error::custom(Odd::OneTool)),
                }
            }
        }
        deserializer.deserialize_map(OneTool)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let block = serde_json::Map::deserialize(deserializer)?;
        match block.get("type").and_then(Value::as_str) {
            None => Err(D::Error::custom(Odd::RawType)),
            Some("thinking") => Err(D::Error::custom(Odd::RawKind("think"))),
            Some("tool_use") => Err(D::Error::custom(Odd::RawKind("call"))),
            Some(_) => Ok(Raw(Value::Object(block))),
        }
    }
}
