//! A typed builder for scripts, for tests and benchmarks.
//!
//! It makes the same JSON values that a YAML file would hold and reads them through the same types, so a mistake in a
//! regular expression, a template or a fault is found by the same code. It panics at once, because a test cannot go
//! on without its script.
//!
//! ```
//! use rehearsal::{call, calls, say, scene, script};
//! use serde_json::json;
//!
//! let script = script([scene(
//!     "^go$",
//!     [
//!         calls([("bash", json!({"command": "echo one"})), ("bash", json!({"command": "echo two"}))])
//!             .say("Two commands at once."),
//!         call("bash", json!({"command": "echo {{ results[0].text | trim }}"})),
//!         say("The last one printed {{ results[0].text | trim }}."),
//!     ],
//! )]);
//! assert_eq!(script.scenes().collect::<Vec<_>>(), ["^go$"]);
//! ```
use crate::{
    format::{self, Pattern},
    script::Script,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A template that says the texts of all results in order, trimmed and joined with ` | `.
pub const RESULTS: &str = "{{ results | map(attribute='text') | map('trim') | join(' | ') }}";

/// A script of these scenes; among those that match a prompt, the first one plays.
pub fn script(scenes: impl IntoIterator<Item = Scene>) -> Script {
    Script::of(scenes.into_iter().map(|Scene(scene)| scene).collect())
}

/// A scene that begins when the regular expression `when` is found in a text of the newest user message.
///
/// # Panics
/// When `when` is no regular expression, when a turn has a mistake, and when a turn can never be played.
#[track_caller]
pub fn scene(when: &str, turns: impl IntoIterator<Item = Turn>) -> Scene {
    let pattern: Pattern =
        read(Value::from(when)).unwrap_or_else(|error| panic!("scene `{when}`: {error}"));
    let mut read_turns: Vec<format::Turn> = vec![];
    for (place, Turn(keys)) in turns.into_iter().enumerate() {
        match read(Value::Object(keys)) {
            Ok(turn) => read_turns.push(turn),
            Err(error) => panic!("scene `{when}`, turn {place}: {error}"),
        }
    }
    match format::Scene::new(pattern, read_turns) {
        Ok(scene) => Scene(scene),
        Err(error) => panic!("scene `{when}`: {error}"),
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// A turn that says a text, which is a template.
pub fn say(text: impl Into<String>) -> Turn {
    Turn::default().say(text)
}

/// A turn that says what all results were: [`RESULTS`].
pub fn say_results() -> Turn {
    say(RESULTS)
}

/// A turn that calls one tool. Texts in the input, at any depth, are templates.
pub fn call(name: impl Into<String>, input: Value) -> Turn {
    Turn::default().and_call(name, input)
}

/// A turn that calls several tools at once, in this order.
pub fn calls<N: Into<String>>(calls: impl IntoIterator<Item = (N, Value)>) -> Turn {
    let turn = Turn::default();
    calls.into_iter().fold(turn, |turn, (name, input)| turn.and_call(name, input))
}

/// A template that stands for this very text, whatever `{{`, `{%` and `{#` are in it.
pub fn literal(text: &str) -> String {
    // Only braces that open begin something.
    text.replace('{', "{{ '{' }}")
}

/// A scene, checked. Made by [`scene`].
#[derive(Clone, Debug)]
pub struct Scene(format::Scene);

/// One reply of the model. Its methods are the keys that a turn has in YAML; it is checked by [`scene`].
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

    /// One more call, after those that the turn has. Texts in the input, at any depth, are templates.
    pub fn and_call(self, name: impl Into<String>, input: Value) -> Self {
        let (name, input) = (name.into(), input);
        self.add("call", json!({name: input}))
    }

    /// One more content block, sent as it is (Messages API only).
    pub fn raw(self, block: Value) -> Self {
        self.add("raw", block)
    }

    /// One more fault, in the form that it has in YAML, such as `json!({"status": 429, "times": 2})`. Every attempt
    /// at the request meets the next one.
    pub fn fault(self, fault: Value) -> Self {
        self.add("faults", fault)
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

    /// Why the reply ends, in the words of the Messages API: `refusal`, `max_tokens`, `pause_turn`, ...
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
