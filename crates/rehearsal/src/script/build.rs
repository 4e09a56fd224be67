//! A typed builder for scripts, for tests and benchmarks.
//!
//! It makes the values that a YAML file would hold and reads them through the same types, so the
//! same code finds a mistake in a regular expression, a template or a fault. A mistake panics at
//! once and names scene and turn: a test cannot run without its script.
//!
//! ```
//! use rehearsal::{call, calls, say, scene, script};
//! use serde_json::json;
//!
//! let script = script([scene(
//!     "^go$",
//!     [
//!         calls([
//!             ("bash", json!({"command": "echo one"})),
//!             ("bash", json!({"command": "echo two"})),
//!         ])
//!         .say("Two commands at once."),
//!         call("bash", json!({"command": "echo {{ results[0].text | trim }}"})),
//!         say("The last one printed {{ results[0].text | trim }}."),
//!     ],
//! )]);
//! assert_eq!(script.scenes().collect::<Vec<_>>(), ["^go$"]);
//! ```
use super::{
    Script,
    file::{self, Pattern},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A template that says the texts of all results in order, trimmed and joined with ` | `.
pub const RESULTS: &str = "{{ results | map(attribute='text') | map('trim') | join(' | ') }}";

/// A script of these scenes; among those that match a prompt, the first one plays.
pub fn script(scenes: impl IntoIterator<Item = Scene>) -> Script {
    Script::from_scenes(scenes.into_iter().map(|Scene(scene)| scene).collect())
}

/// A scene that begins when the regular expression `when` is found in a text of the newest user
/// message.
///
/// # Panics
/// When `when` is no regular expression, when a turn has a mistake, and when a turn can never be
/// played.
#[track_caller]
pub fn scene(when: &str, turns: impl IntoIterator<Item = Turn>) -> Scene {
    // No closures: the panic must name the caller's line.
    let pattern = match Pattern::deserialize(Value::from(when)) {
        Ok(pattern) => pattern,
        Err(error) => panic!("scene `{when}`: {error}"),
    };
    let mut checked = vec![];
    for (place, Turn(keys)) in turns.into_iter().enumerate() {
        match file::Turn::deserialize(Value::Object(keys)) {
            Ok(turn) => checked.push(turn),
            Err(error) => panic!("scene `{when}`, turn {place}: {error}"),
        }
    }
    match file::Scene::new(pattern, checked) {
        Ok(scene) => Scene(scene),
        Err(error) => panic!("scene `{when}`: {error}"),
    }
}

/// A turn that says a text, which is a template.
pub fn say(text: impl Into<String>) -> Turn {
    Turn::default().say(text)
}

/// A turn that says the texts of all results: [`RESULTS`].
pub fn say_results() -> Turn {
    say(RESULTS)
}

/// A turn that calls one tool. Texts in the input, at any depth, are templates.
pub fn call(name: impl Into<String>, input: Value) -> Turn {
    Turn::default().and_call(name, input)
}

/// A turn that calls several tools at once, in this order.
pub fn calls<N: Into<String>>(calls: impl IntoIterator<Item = (N, Value)>) -> Turn {
    let mut turn = Turn::default();
    for (name, input) in calls {
        turn = turn.and_call(name, input);
    }
    turn
}

/// A template that stands for this very text, whatever `{{`, `{%` and `{#` are in it.
pub fn literal(text: &str) -> String {
    // A template begins with an opening brace; a closing one alone is text.
    text.replace('{', "{{ '{' }}")
}

/// A scene, checked. Made by [`scene`].
#[derive(Clone, Debug)]
pub struct Scene(file::Scene);

impl Scene {
    /// The same scene, which gives way to other texts of a message, and to results.
    pub fn yields(mut self) -> Self {
        self.0.yields = true;
        self
    }
}

/// One reply of the model. Its methods are the keys that a turn has in YAML; it is checked by
/// [`scene`].
///
/// `Turn::default()` is an empty reply, to which anything can be added.
#[derive(Clone, Debug, Default)]
#[must_use = "a turn is played only as part of a scene"]
pub struct Turn(Map<String, Value>);

impl Turn {
    /// The text of the reply: a template.
    #[track_caller]
    pub fn say(self, text: impl Into<String>) -> Self {
        self.set("say", text.into())
    }

    /// A thinking block before the text: a template.
    #[track_caller]
    pub fn think(self, text: impl Into<String>) -> Self {
        self.set("think", text.into())
    }

    /// One more call, after those that the turn has. Texts in the input, at any depth, are
    /// templates.
    pub fn and_call(self, name: impl Into<String>, input: Value) -> Self {
        self.add("call", Value::Object(Map::from_iter([(name.into(), input)])))
    }

    /// One more content block, sent as it is (Messages API only).
    pub fn raw(self, block: Value) -> Self {
        self.add("raw", block)
    }

    /// One more fault, in the form that it has in YAML: `json!({"status": 429, "times": 2})`. The
    /// faults follow each other from attempt to attempt.
    pub fn fault(self, fault: Value) -> Self {
        self.add("faults", fault)
    }

    /// The turn is played only if this expression holds, such as `results[0].is_error`; otherwise
    /// the next one is tried.
    #[track_caller]
    pub fn only_if(self, condition: &str) -> Self {
        self.set("if", condition)
    }

    /// How often the turn is played in a row; `n` in templates counts from 0.
    #[track_caller]
    pub fn repeat(self, times: u32) -> Self {
        self.set("repeat", times)
    }

    /// Milliseconds before the response begins.
    #[track_caller]
    pub fn delay_ms(self, milliseconds: u64) -> Self {
        self.set("delay_ms", milliseconds)
    }

    /// Milliseconds between the events of a stream.
    #[track_caller]
    pub fn pace_ms(self, milliseconds: u64) -> Self {
        self.set("pace_ms", milliseconds)
    }

    /// Why the reply ends, in the words of the Messages API: `refusal`, `max_tokens`, `pause_turn`,
    /// ...
    #[track_caller]
    pub fn stop(self, reason: &str) -> Self {
        self.set("stop", reason)
    }

    /// Token counts instead of those estimated, such as `json!({"input_tokens": 190_000})`.
    #[track_caller]
    pub fn usage(self, counts: Value) -> Self {
        self.set("usage", counts)
    }

    #[track_caller]
    fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let before = self.0.insert(key.to_string(), value.into());
        assert!(before.is_none(), "a turn has `{key}` twice");
        self
    }

    fn add(mut self, key: &str, item: Value) -> Self {
        if let Value::Array(list) = self.0.entry(key).or_insert_with(|| json!([])) {
            list.push(item);
        }
        self
    }
}
