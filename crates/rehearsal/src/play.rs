//! Which turn answers a request, and what it says.
//!
//! Nothing is remembered between requests. The text of the newest message chooses a scene. The id
//! of a call carries scene and turn, and the newest results name that id, whatever the client has
//! done to the messages before.
use crate::{
    api_error::ApiError,
    conversation::{Conversation, Role, text_of},
    reply::{Part, Reply, StopReason, Usage, output_tokens, visible_thinking},
    script::{
        Script,
        fault::Fault,
        file::{Turn, UsageOverride},
        template::TemplateError,
    },
    signature::Signer,
};
use regex::Regex;
use serde_json::{Value, json};

/// A reply and how it is delivered.
#[derive(Debug)]
pub(crate) struct PlayedTurn<'a> {
    pub(crate) reply: Reply,
    /// Of the request.
    pub(crate) fingerprint: u64,
    pub(crate) delay_ms: u64,
    pub(crate) pace_ms: u64,
    pub(crate) faults: &'a [Fault],
    usage: UsageOverride,
}

/// What answers a request.
enum Choice {
    Turn {
        scene: usize,
        /// The place in the scene, where a repeated turn counts as often as it is played.
        place: usize,
        /// The prompt that began the scene.
        text: String,
    },
    /// The scene has no further turn.
    SceneOver,
    /// No scene matches the prompt.
    Unknown,
}

/// Plays the turn that answers the newest message.
pub(crate) fn play<'a>(
    script: &'a Script,
    conversation: &Conversation,
    signer: &Signer,
) -> Result<PlayedTurn<'a>, ApiError> {
    let fingerprint = conversation.fingerprint().finish();
    let own_text = |text: String| {
        let parts = vec![Part::Say(text)];
        Ok(PlayedTurn::new(conversation, fingerprint, parts, StopReason::EndTurn, None))
    };
    let (index, mut place, text) = match choose(script, conversation) {
        Choice::Turn { scene, place, text } => (scene, place, text),
        Choice::SceneOver => return own_text(SCENE_OVER.to_string()),
        Choice::Unknown => return own_text(unknown_prompt(script)),
    };
    let Some(scene) = script.scene(index) else { return own_text(SCENE_OVER.to_string()) };
    let (results, calls) = answered_calls(conversation);
    let (texts, earlier) = texts(conversation);
    let system: Vec<&str> =
        conversation.system.iter().filter_map(|block| block["text"].as_str()).collect();
    let m = groups(&scene.when, &text);
    let failed = |place, error| {
        let (reason, when) = (TemplateError(error), scene.when.as_str());
        let hint = if text.is_empty() { "; the prompt is no longer in the request" } else { "" };
        ApiError::new(
            500,
            format!("the script fails in scene {index} (`{when}`), turn {place}: {reason}{hint}"),
        )
    };
    let (turn, variables) = loop {
        let Some((turn, n)) = scene.turn(place) else {
            return own_text(SCENE_OVER.to_string());
        };
        let variables = minijinja::Value::from(minijinja::value::Serde(json!({
            "results": results, "calls": calls, "text": text, "m": m, "n": n,
            "texts": texts, "earlier": earlier, "said": said(conversation),
            "system": system.join("\n"),
        })));
        let Some(condition) = &turn.condition else { break (turn, variables) };
        if condition.holds(&variables).map_err(|error| failed(place, error))? {
            break (turn, variables);
        }
        place += 1;
    };
    let failed = |error| failed(place, error);
    let mut parts = vec![];
    if let Some(template) = &turn.think {
        let text = template.render(&variables).map_err(failed)?;
        if let Some(text) = visible_thinking(text, conversation.thinking) {
            parts.push(Part::Think { signature: signer.sign(&text), text });
        }
    }
    if let Some(template) = &turn.say {
        // A block scalar of YAML ends with a newline that is not meant, and the API refuses blank
        // text when it is sent back.
        let text = template.render(&variables).map_err(failed)?;
        let text = text.trim_end_matches('\n');
        if !text.trim().is_empty() {
            parts.push(Part::Say(text.to_string()));
        }
    }
    parts.extend(turn.raw.iter().map(|raw| Part::Raw(raw.0.clone())));
    for (number, call) in turn.call.iter().enumerate() {
        let input = call.input.render(&variables).map_err(failed)?;
        let id = format!("toolu_{index}_{place}_{number}_{fingerprint:016x}");
        parts.push(Part::Call { id, name: call.tool.clone(), arguments: input.to_string() });
    }
    let default_stop = if turn.call.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse };
    let stop = turn.stop.unwrap_or(default_stop);
    if stop == StopReason::PauseTurn {
        // The request that continues a paused turn ends with this block, and its id names the next
        // turn.
        let id = format!("srvtoolu_{index}_{place}_{fingerprint:016x}");
        let input = json!({"query": "rehearsal"});
        parts.push(Part::Raw(
            json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": input}),
        ));
    }
    Ok(PlayedTurn::new(conversation, fingerprint, parts, stop, Some(turn)))
}

impl<'a> PlayedTurn<'a> {
    fn new(
        conversation: &Conversation,
        fingerprint: u64,
        parts: Vec<Part>,
        stop: StopReason,
        turn: Option<&'a Turn>,
    ) -> Self {
        let stop_sequence = match stop {
            StopReason::StopSequence => conversation.stop_sequences.first().cloned(),
            _ => None,
        };
        let (id, model) = (format!("{fingerprint:016x}"), conversation.model.clone());
        PlayedTurn {
            reply: Reply { id, model, parts, stop, stop_sequence, usage: Usage::default() },
            fingerprint,
            delay_ms: turn.map_or(0, |turn| turn.delay_ms),
            pace_ms: turn.map_or(0, |turn| turn.pace_ms),
            faults: turn.map_or(&[], |turn| &turn.faults),
            usage: turn.map(|turn| turn.usage).unwrap_or_default(),
        }
    }

    /// Sets the usage of the reply: what was counted, unless the script sets other counts.
    pub(crate) fn set_usage(&mut self, mut usage: Usage) {
        (usage.output, usage.thinking) = output_tokens(&self.reply.parts);
        let script = &self.usage;
        usage.input = script.input_tokens.unwrap_or(usage.input);
        usage.cache_read = script.cache_read_input_tokens.unwrap_or(usage.cache_read);
        usage.output = script.output_tokens.unwrap_or(usage.output);
        usage.thinking = usage.thinking.min(usage.output);
        if let Some(written) = script.cache_creation_input_tokens {
            (usage.written_5m, usage.written_1h) = (written, 0);
        }
        self.reply.usage = usage;
    }
}

const SCENE_OVER: &str = "(The rehearsal ends here: this scene of the script has no further turn.)";

/// What the rehearsal itself says when no scene matches.
fn unknown_prompt(script: &Script) -> String {
    let mut prompts: Vec<String> =
        script.suggest().iter().map(|prompt| format!("\n- {prompt}")).collect();
    if prompts.is_empty() {
        prompts =
            script.scenes().map(|when| format!("\n- a prompt that matches `{when}`")).collect();
    }
    let list = match prompts.is_empty() {
        true => "It has no scenes at all.".to_string(),
        false => format!("It can play:{}", prompts.concat()),
    };
    format!(
        "This is a rehearsal: a script stands in for the model here, and no model has read your \
         prompt. The script has no scene for it. {list}"
    )
}

fn choose(script: &Script, conversation: &Conversation) -> Choice {
    let Some(newest) = conversation.messages.iter().rfind(|message| message.role != Role::System)
    else {
        return Choice::Unknown;
    };
    // A text that matches a scene goes before results: the results of an interrupted turn and the
    // next prompt are in one message.
    let begun = |yields| {
        let newest = Some(newest).filter(|message| message.role == Role::User)?;
        let mut texts = newest.of_type("text").rev().filter_map(|block| block["text"].as_str());
        texts.find_map(|text| {
            let scene = script.scene_for(text, yields)?;
            Some(Choice::Turn { scene, place: 0, text: text.to_string() })
        })
    };
    if let Some(turn) = begun(false) {
        return turn;
    }
    let id = match newest.role {
        Role::Assistant => {
            newest.of_type("server_tool_use").rev().find_map(|block| block["id"].as_str())
        }
        _ => newest.of_type("tool_result").rev().find_map(|block| block["tool_use_id"].as_str()),
    };
    let Some((scene, place)) = id.and_then(place_of) else {
        return begun(true).unwrap_or(Choice::Unknown);
    };
    let Some(known) = script.scene(scene) else { return Choice::Unknown };
    if known.turn(place + 1).is_none() {
        return Choice::SceneOver;
    }
    Choice::Turn { scene, place: place + 1, text: prompt_of(conversation, &known.when) }
}

/// The scene and the place of the turn that made the call with this id.
fn place_of(id: &str) -> Option<(usize, usize)> {
    let parts = id.strip_prefix("toolu_").or_else(|| id.strip_prefix("srvtoolu_"))?;
    let mut parts = parts.split('_').map(str::parse);
    let (scene, place): (usize, usize) = (parts.next()?.ok()?, parts.next()?.ok()?);
    // The client may send any number; the next place must still be one.
    (place < usize::MAX).then_some((scene, place))
}

/// The newest text that matches the scene; empty if the client no longer sends it.
fn prompt_of(conversation: &Conversation, when: &Regex) -> String {
    for message in conversation.messages.iter().rev().filter(|message| message.role == Role::User) {
        for text in message.of_type("text").rev().filter_map(|block| block["text"].as_str()) {
            if when.is_match(text) {
                return text.to_string();
            }
        }
    }
    String::new()
}

/// What the groups of the regular expression matched; nothing if it does not match.
fn groups(when: &Regex, text: &str) -> Vec<String> {
    let Some(captures) = when.captures(text) else { return vec![] };
    let text = |group: Option<regex::Match>| group.map_or("", |group| group.as_str()).to_string();
    captures.iter().map(text).collect()
}

/// The texts of the newest user message in order, and those of the user messages before it.
fn texts(conversation: &Conversation) -> (Vec<&str>, Vec<&str>) {
    let (mut newest, mut earlier) = (vec![], vec![]);
    for message in conversation.messages.iter().filter(|message| message.role == Role::User) {
        earlier.append(&mut newest);
        newest = message.of_type("text").filter_map(|block| block["text"].as_str()).collect();
    }
    (newest, earlier)
}

/// The text of the newest reply.
fn said(conversation: &Conversation) -> String {
    let mut replies = conversation.messages.iter().filter(|m| m.role == Role::Assistant);
    let Some(newest) = replies.next_back() else { return String::new() };
    newest.of_type("text").filter_map(|block| block["text"].as_str()).collect()
}

/// The results of the newest message in order, and the inputs of the calls that they answer.
fn answered_calls(conversation: &Conversation) -> (Vec<Value>, Vec<Value>) {
    let mut messages =
        conversation.messages.iter().rev().filter(|message| message.role != Role::System);
    let Some(newest) = messages.next().filter(|message| message.role == Role::User) else {
        return (vec![], vec![]);
    };
    let before = messages.next();
    let (mut results, mut inputs) = (vec![], vec![]);
    for result in newest.of_type("tool_result") {
        let call = before.and_then(|message| {
            message.of_type("tool_use").find(|call| call["id"] == result["tool_use_id"])
        });
        results.push(json!({
            "text": text_of(&result["content"]),
            "is_error": result["is_error"] == true,
            "tool": call.and_then(|call| call["name"].as_str()).unwrap_or_default(),
        }));
        inputs.push(call.map_or(Value::Null, |call| call["input"].clone()));
    }
    (results, inputs)
}
