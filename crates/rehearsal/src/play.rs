//! Which turn answers a request, and what it says.
//!
//! Nothing is remembered between requests. The text of the newest message chooses a scene; the id of a call carries
//! scene and turn, and the newest results name the id, whatever a client has done to the messages before.
use crate::{
    conversation::{Conversation, Message, Role, text_of},
    fault::Fault,
    format::{Figures, Turn},
    refusal::Refusal,
    reply::{Part, Reply, Stop, Usage, count, shown},
    script::Script,
    sign::Seal,
    template::Reason,
};
use serde_json::{Value, json};

/// A reply and how it is delivered.
#[derive(Debug)]
pub(crate) struct Played<'a> {
    pub(crate) reply: Reply,
    pub(crate) delay_ms: u64,
    pub(crate) pace_ms: u64,
    pub(crate) faults: &'a [Fault],
    figures: Figures,
}

/// What answers.
enum Choice {
    Turn {
        scene: usize,
        place: usize,
        text: String,
    },
    /// The scene is over.
    Over,
    /// No scene knows the prompt.
    Unknown,
}

/// Plays the turn that answers the newest message.
pub(crate) fn play<'a>(
    script: &'a Script,
    conversation: &Conversation,
    seal: &Seal,
) -> Result<Played<'a>, Refusal> {
    let print = conversation.print().finish();
    let (scene, place, text) = match choose(script, conversation) {
        Choice::Turn { scene, place, text } => (scene, place, text),
        Choice::Over => return Ok(spoken(conversation, print, OVER.to_string())),
        Choice::Unknown => return Ok(spoken(conversation, print, unknown(script))),
    };
    let Some((when, turn, n)) = script.scene(scene).and_then(|scene| {
        let (turn, n) = scene.turn(place)?;
        Some((&scene.when, turn, n))
    }) else {
        return Ok(spoken(conversation, print, OVER.to_string()));
    };
    let m: Vec<String> = when.captures(&text).map_or(vec![], |captures| {
        captures.iter().map(|group| group.map_or("", |group| group.as_str()).to_string()).collect()
    });
    let (results, calls) = answered(conversation);
    let variables = minijinja::Value::from(minijinja::value::Serde(json!({
        "results": results, "calls": calls, "text": text, "m": m, "n": n,
    })));
    let failed = |error| {
        let (reason, when) = (Reason(error), when.as_str());
        let hint = if text.is_empty() { "; the prompt is no longer in the request" } else { "" };
        Refusal::new(
            500,
            format!("the script fails in scene {scene} (`{when}`), turn {place}: {reason}{hint}"),
        )
    };
    let mut parts = vec![];
    if let Some(template) = &turn.think
        && let Some(text) =
            shown(template.render(&variables).map_err(failed)?, conversation.thinking)
    {
        parts.push(Part::Think { signature: seal.sign(&text), text });
    }
    if let Some(template) = &turn.say {
        // A block scalar of YAML ends with a newline that nobody means, and the API takes no blank text back.
        let text = template.render(&variables).map_err(failed)?;
        let text = text.trim_end_matches('\n');
        if !text.trim().is_empty() {
            parts.push(Part::Say(text.to_string()));
        }
    }
    parts.extend(turn.raw.iter().map(|raw| Part::Raw(raw.0.clone())));
    for (index, call) in turn.call.iter().enumerate() {
        let input = call.input.render(&variables).map_err(failed)?;
        let id = format!("toolu_{scene}_{place}_{index}_{print:016x}");
        parts.push(Part::Call { id, name: call.tool.clone(), arguments: input.to_string() });
    }
    let calls = !turn.call.is_empty();
    let stop = turn.stop.unwrap_or(if calls { Stop::ToolUse } else { Stop::EndTurn });
    if stop == Stop::PauseTurn {
        // The continuing request ends with this block; its id says where to go on.
        let id = format!("srvtoolu_{scene}_{place}_{print:016x}");
        let input = json!({"query": "rehearsal"});
        parts.push(Part::Raw(
            json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": input}),
        ));
    }
    Ok(Played::new(conversation, print, parts, stop, Some(turn)))
}

impl<'a> Played<'a> {
    fn new(
        conversation: &Conversation,
        print: u64,
        parts: Vec<Part>,
        stop: Stop,
        turn: Option<&'a Turn>,
    ) -> Self {
        let stop_sequence =
            conversation.stop_sequences.first().filter(|_| stop == Stop::StopSequence).cloned();
        let (id, model) = (format!("{print:016x}"), conversation.model.clone());
        Played {
            reply: Reply { id, model, parts, stop, stop_sequence, usage: Usage::default() },
            delay_ms: turn.map_or(0, |turn| turn.delay_ms),
            pace_ms: turn.map_or(0, |turn| turn.pace_ms),
            faults: turn.map_or(&[], |turn| &turn.faults),
            figures: turn.map(|turn| turn.usage).unwrap_or_default(),
        }
    }

    /// Enters the bill: what was counted, unless the script has figures of its own.
    pub(crate) fn charge(&mut self, mut usage: Usage) {
        (usage.output, usage.thinking) = count(&self.reply.parts);
        let figures = &self.figures;
        usage.input = figures.input_tokens.unwrap_or(usage.input);
        usage.cache_read = figures.cache_read_input_tokens.unwrap_or(usage.cache_read);
        usage.output = figures.output_tokens.unwrap_or(usage.output);
        usage.thinking = usage.thinking.min(usage.output);
        if let Some(written) = figures.cache_creation_input_tokens {
            (usage.written_5m, usage.written_1h) = (written, 0);
        }
        self.reply.usage = usage;
    }
}

const OVER: &str = "(The rehearsal ends here: this scene of the script has no further turn.)";

/// A reply of the rehearsal itself.
fn spoken<'a>(conversation: &Conversation, print: u64, text: String) -> Played<'a> {
    Played::new(conversation, print, vec![Part::Say(text)], Stop::EndTurn, None)
}

/// Says honestly what this is.
fn unknown(script: &Script) -> String {
    let suggested = script.suggest().iter().map(|prompt| format!("\n- {prompt}"));
    let scenes = script.scenes().map(|when| format!("\n- a prompt that matches `{when}`"));
    let known: String =
        if script.suggest().is_empty() { scenes.collect() } else { suggested.collect() };
    let list = if known.is_empty() {
        "It has no scenes at all.".into()
    } else {
        format!("It can play:{known}")
    };
    format!(
        "This is a rehearsal: a script stands in for the model here, and no model has read your prompt. The script \
         has no scene for it. {list}"
    )
}

fn choose(script: &Script, conversation: &Conversation) -> Choice {
    let Some(newest) = conversation.messages.iter().rfind(|message| message.role != Role::System)
    else {
        return Choice::Unknown;
    };
    // A text that a scene knows wins over results: a new prompt may share the message with those of a broken turn.
    let texts = || newest.of_type("text").rev().filter_map(|block| block["text"].as_str());
    if newest.role == Role::User
        && let Some((text, scene)) = texts().find_map(|text| Some((text, script.scene_for(text)?)))
    {
        return Choice::Turn { scene, place: 0, text: text.to_string() };
    }
    let id = match newest.role {
        Role::Assistant => {
            newest.of_type("server_tool_use").rev().find_map(|block| block["id"].as_str())
        }
        _ => newest.of_type("tool_result").rev().find_map(|block| block["tool_use_id"].as_str()),
    };
    let Some((scene, place)) = id.and_then(place_of) else { return Choice::Unknown };
    let Some(known) = script.scene(scene) else { return Choice::Unknown };
    if known.turn(place + 1).is_none() {
        return Choice::Over;
    }
    Choice::Turn { scene, place: place + 1, text: prompt_of(conversation, &known.when) }
}

/// The scene and the turn that made a call.
fn place_of(id: &str) -> Option<(usize, usize)> {
    let parts = id.strip_prefix("toolu_").or_else(|| id.strip_prefix("srvtoolu_"))?;
    let mut parts = parts.split('_').map(str::parse);
    let (scene, place): (usize, usize) = (parts.next()?.ok()?, parts.next()?.ok()?);
    // An id can say anything; no script has this many turns.
    (place < usize::MAX).then_some((scene, place))
}

/// The newest text that began this scene; empty if the client no longer sends it.
fn prompt_of(conversation: &Conversation, when: &regex::Regex) -> String {
    let messages = conversation.messages.iter().rev().filter(|message| message.role == Role::User);
    let mut texts = messages
        .flat_map(|message| message.of_type("text").rev())
        .filter_map(|block| block["text"].as_str());
    texts.find(|text| when.is_match(text)).unwrap_or_default().to_string()
}

/// The results of the newest message in order, and the inputs of the calls they answer.
fn answered(conversation: &Conversation) -> (Vec<Value>, Vec<Value>) {
    let mut newest =
        conversation.messages.iter().rev().filter(|message| message.role != Role::System);
    let Some(user) = newest.next().filter(|message| message.role == Role::User) else {
        return (vec![], vec![]);
    };
    let before: Vec<&Value> =
        newest.next().map_or(vec![], |message: &Message| message.of_type("tool_use").collect());
    let call = |result: &Value| before.iter().find(|call| call["id"] == result["tool_use_id"]);
    let results = user.of_type("tool_result");
    results
        .map(|result| {
            let call = call(result);
            let tool = call.and_then(|call| call["name"].as_str()).unwrap_or_default();
            let told =
                json!({"text": text_of(&result["content"]), "is_error": result["is_error"] == true, "tool": tool});
            (told, call.map_or(Value::Null, |call| call["input"].clone()))
        })
        .unzip()
}
