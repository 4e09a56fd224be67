//! What one hook answers: by its exit status and what it prints.
use crate::{Hook, HookEvent, shapes::output_text};
use rungs_files::shorten;
use rungs_process::{FilterEnd, Filtered};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;

/// How long a text of a hook may be that the model or the person reads, in bytes.
const MAX_TEXT_BYTES: usize = 10_000;
/// The exit status that blocks.
const BLOCKS: i32 = 2;
/// The exit statuses of a shell that cannot run the command.
const CANNOT_RUN: [i32; 2] = [126, 127];

/// What is decided about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// The person need not be asked.
    Allow,
    /// The person must be asked.
    Ask,
    /// It does not run.
    Deny,
}

/// What one hook answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What it decided, and its reason. Where nothing can be denied, [`Decision::Deny`] is what the
    /// protocol calls to block.
    pub decision: Option<(Decision, String)>,
    /// The arguments with which the call runs instead.
    pub updated_input: Option<Value>,
    /// What the model reads instead of the result.
    pub updated_output: Option<String>,
    /// What the model reads besides.
    pub context: Option<String>,
    /// Why the turn ends now, if it does.
    pub stop: Option<String>,
    /// Lines for the person.
    pub messages: Vec<String>,
}

impl Answer {
    /// What is made of a hook that failed: named, and closed where it guards.
    pub(crate) fn failure(hook: &Hook, why: &str, is_status: bool) -> Answer {
        let line = format!("{} {why}", hook.name());
        let blocks = hook.blocks_on(is_status);
        let decision = blocks.then(|| (Decision::Deny, line.clone()));
        Answer { decision, messages: vec![line], ..Answer::default() }
    }

    /// Reads what a hook came to.
    pub(crate) fn read(hook: &Hook, filtered: &Filtered) -> Answer {
        let (out, err) = (filtered.stdout.trim(), filtered.stderr.trim());
        let words = |text: &str| shorten(text, MAX_TEXT_BYTES);
        let failure = |why: &str| {
            let err = if err.is_empty() { String::new() } else { format!(": {}", words(err)) };
            Answer::failure(hook, &format!("{why}{err}"), false)
        };
        let status = match filtered.end {
            FilterEnd::Ended(status) => status,
            FilterEnd::TimedOut => {
                let seconds = hook.timeout.as_secs_f64();
                return failure(&format!("was stopped after {seconds} s"));
            }
            FilterEnd::TooMuchOutput => {
                return failure("printed more than 1 MiB, and was stopped");
            }
        };
        let mut answer = match (status.code(), status.signal()) {
            (Some(0), _) => match json(out) {
                Ok(Some(json)) => match Answer::from_json(hook.event, &json) {
                    Ok(answer) => answer,
                    Err(why) => return failure(&format!("gave an answer that is none: {why}")),
                },
                Ok(None) if hook.event.takes_plain_text() && !out.is_empty() => {
                    Answer { context: Some(words(out)), ..Answer::default() }
                }
                Ok(None) => Answer::default(),
                Err(why) => return failure(&format!("gave an answer that is no JSON ({why})")),
            },
            (Some(BLOCKS), _) => {
                let why = if err.is_empty() { "no reason given".into() } else { words(err) };
                Answer { decision: Some((Decision::Deny, why)), ..Answer::default() }
            }
            (Some(code), _) if CANNOT_RUN.contains(&code) => {
                return failure(&format!("could not be run (status {code})"));
            }
            (Some(code), _) => {
                let err = if err.is_empty() { String::new() } else { format!(": {}", words(err)) };
                Answer::failure(hook, &format!("ended with status {code}{err}"), true)
            }
            (None, signal) => {
                return failure(&format!("was killed by signal {}", signal.unwrap_or_default()));
            }
        };
        if !filtered.left_running.is_empty() {
            answer.messages.push(format!("{}: {}", hook.name(), filtered.left_running));
        }
        answer
    }

    fn from_json(event: HookEvent, json: &Value) -> Result<Answer, String> {
        let specific = &json["hookSpecificOutput"];
        if let Some(name) = specific["hookEventName"].as_str()
            && name != event.to_string()
        {
            return Err(format!("it is for {name}"));
        }
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| !text.trim().is_empty())?;
            Some(shorten(text, MAX_TEXT_BYTES))
        };
        let given = |value: &Value| (!value.is_null()).then(|| value.clone());
        let (asked, permission) = (&specific["decision"], &specific["permissionDecision"]);
        // The newest form of the protocol first.
        let (word, why) = match (permission, &asked["behavior"], &json["decision"]) {
            (Value::Null, Value::Null, Value::Null) => (&Value::Null, &Value::Null),
            (Value::Null, Value::Null, old) => (old, &json["reason"]),
            (Value::Null, behavior, _) => (behavior, &asked["message"]),
            (permission, ..) => (permission, &specific["permissionDecisionReason"]),
        };
        let decision = match word.as_str() {
            Some("deny" | "block") => Some(Decision::Deny),
            Some("ask" | "defer") => Some(Decision::Ask),
            Some("allow" | "approve") => Some(Decision::Allow),
            None if word.is_null() => None,
            _ => return Err(format!("there is no decision {word}")),
        };
        let why = text(why).unwrap_or_else(|| "no reason given".into());
        let updated_input = given(&specific["updatedInput"]).or(given(&asked["updatedInput"]));
        if updated_input.as_ref().is_some_and(|input| !input.is_object()) {
            return Err("updatedInput is no object".into());
        }
        let output = ["updatedToolOutput", "updatedMCPToolOutput"];
        let stop = (json["continue"] == false)
            .then(|| text(&json["stopReason"]).unwrap_or_else(|| "no reason given".into()));
        Ok(Answer {
            decision: decision.map(|decision| (decision, why)),
            updated_input,
            updated_output: output
                .into_iter()
                .find_map(|key| given(&specific[key]))
                .map(|output| output_text(&output)),
            context: text(&specific["additionalContext"]),
            stop,
            messages: text(&json["systemMessage"]).into_iter().collect(),
        })
    }
}

/// The JSON object that an output is, or ends with after lines that a shell's profile has printed.
fn json(out: &str) -> Result<Option<Value>, serde_json::Error> {
    let start = if out.starts_with('{') { Some(0) } else { out.find("\n{").map(|at| at + 1) };
    match start {
        Some(0) => serde_json::from_str(out).map(Some),
        Some(start) => Ok(serde_json::from_str(&out[start..]).ok()),
        None => Ok(None),
    }
}
