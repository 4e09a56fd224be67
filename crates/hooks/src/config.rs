//! Which commands run on which event: the two forms of the configuration.
use crate::{Condition, HookEvent, Matcher};
use rungs_files::{ConfigError, parse_yaml, read_config, shorten};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::Path, path::PathBuf, time::Duration};

/// How much of a command is shown in a message, in bytes.
const MAX_SHOWN_BYTES: usize = 100;
/// The longest time that can be set; more is taken for a mistake in the unit.
const MAX_TIMEOUT_SECONDS: f64 = 24.0 * 3600.0;
/// Keys of `settings.json` that change nothing here.
const WITHOUT_EFFECT: [&str; 3] = ["statusMessage", "once", "description"];

/// Which program a file was written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// This one: `hooks.yaml`. What is not known is an error.
    Own,
    /// Claude Code: `settings.json`. What is not known is left out, and named.
    Settings,
}

/// What becomes of a call or a prompt when a hook that guards it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is blocked.
    Block,
    /// It goes on, and the person is warned.
    Continue,
}

/// A command that runs on an event.
#[derive(Debug, Clone)]
pub struct Hook {
    /// When it runs.
    pub event: HookEvent,
    /// For which occurrences.
    pub matcher: Matcher,
    /// For which calls of the tools among them.
    pub condition: Option<Condition>,
    /// What bash runs.
    pub command: String,
    /// How long it may run.
    pub timeout: Duration,
    /// What was set for its failures; by default see [`blocks_on`](Hook::blocks_on).
    pub on_failure: Option<OnFailure>,
    /// Whether nobody waits for it.
    pub is_async: bool,
    /// Where it was read.
    pub file: PathBuf,
    /// For which program that file was written.
    pub form: Form,
}

impl Hook {
    /// How messages name it.
    pub fn name(&self) -> String {
        let mut lines = self.command.trim().lines();
        let command = shorten(lines.next().unwrap_or_default(), MAX_SHOWN_BYTES);
        let more = if lines.next().is_some() { " ..." } else { "" };
        format!("{} hook `{}{more}`", self.event, visible(&command))
    }

    /// Whether a failure of it blocks. By default one that guards fails closed. A status other than
    /// 0 and 2 is a failure in our own form only: for Claude Code it is a warning, and scripts rely
    /// on it.
    pub fn blocks_on(&self, is_status: bool) -> bool {
        let by_default = self.event.guards() && !(is_status && self.form == Form::Settings);
        match self.on_failure {
            Some(on_failure) => self.event.guards() && on_failure == OnFailure::Block,
            None => by_default,
        }
    }
}

/// The hooks of some files, in their order.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// A line for everything that was left out, for the person.
    pub left_out: Vec<String>,
}

/// A text with its invisible characters as escapes, such as `\u{202e}`; newlines stay.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' | '\n' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    hooks: BTreeMap<String, Vec<Group>>,
    #[serde(default)]
    disable_all_hooks: bool,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A matcher with its commands, or with one.
#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    matcher: String,
    hooks: Option<Vec<Handler>>,
    #[serde(flatten)]
    alone: Handler,
}

#[derive(Deserialize)]
struct Handler {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    command: Option<String>,
    #[serde(rename = "if")]
    condition: Option<String>,
    /// Words that are given to the command as they are.
    #[serde(default)]
    args: Vec<String>,
    /// In seconds.
    timeout: Option<f64>,
    #[serde(alias = "onFailure")]
    on_failure: Option<OnFailure>,
    #[serde(default, rename = "async")]
    is_async: bool,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Hooks {
    /// Reads a file of hooks.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn read(file: &Path, form: Form) -> Result<Self, ConfigError> {
        Hooks::parse(file, &read_config(file)?, form)
    }

    /// Reads the text of a file of hooks.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn parse(file: &Path, text: &str, form: Form) -> Result<Self, ConfigError> {
        if text.trim().is_empty() {
            return Ok(Hooks::default());
        }
        let error = |why: String| ConfigError::new(file, None, why);
        let read: File = match form {
            Form::Own => parse_yaml(file, text)?,
            // JSON is almost YAML, but for tabs and for `\/`.
            Form::Settings => serde_json::from_str(text).map_err(|error| {
                let why = error.to_string();
                // The place is named before it.
                let why = why.split(" at line ").next().unwrap_or_default();
                ConfigError::new(file, Some(error.line()), why)
            })?,
        };
        let mut all = Hooks::default();
        if form == Form::Own
            && let Some(key) = read.other.keys().next()
        {
            return Err(error(format!("there is no key `{key}`; `hooks` is the only one")));
        }
        if read.disable_all_hooks {
            let count = read.hooks.values().flatten().count();
            all.leave_out(file, &format!("disableAllHooks switches {count} of its hooks off"));
            return Ok(all);
        }
        for (name, groups) in read.hooks {
            let Some(event) = HookEvent::named(&name) else {
                match form {
                    Form::Own => return Err(error(format!("there is no event `{name}`"))),
                    Form::Settings => {
                        all.leave_out(file, &format!("hooks of {name}: no such event"))
                    }
                }
                continue;
            };
            for group in groups {
                let matcher = match (Matcher::new(&group.matcher), form) {
                    (Ok(matcher), _) => matcher,
                    (Err(why), Form::Own) => return Err(error(format!("{name}: {why}"))),
                    // A guard fails closed: without its matcher it guards everything.
                    (Err(why), Form::Settings) if event.guards() => {
                        all.leave_out(file, &format!("{name}: {why}; it runs for everything"));
                        Matcher::unread(&group.matcher)
                    }
                    (Err(why), Form::Settings) => {
                        all.leave_out(file, &format!("{name}: {why}; its hooks do not run"));
                        continue;
                    }
                };
                for handler in group.hooks.unwrap_or_else(|| vec![group.alone]) {
                    let read = handler.read(event, &matcher, file, form, &mut all);
                    all.hooks.extend(read.map_err(|why| error(format!("{name}: {why}")))?);
                }
            }
        }
        Ok(all)
    }

    /// Adds those of another file.
    pub fn extend(&mut self, other: Hooks) {
        self.hooks.extend(other.hooks);
        self.left_out.extend(other.left_out);
    }

    fn leave_out(&mut self, file: &Path, what: &str) {
        self.left_out.push(format!("{}: left out: {what}", file.display()));
    }
}

impl Handler {
    /// The hook; `None` when it is left out.
    fn read(
        self,
        event: HookEvent,
        matcher: &Matcher,
        file: &Path,
        form: Form,
        all: &mut Hooks,
    ) -> Result<Option<Hook>, String> {
        let kind = self.kind.as_deref().unwrap_or("command");
        if kind != "command" {
            let what = format!("a {event} hook of type `{kind}`; only commands are run");
            return match form {
                Form::Own => Err(format!("there is no type `{kind}`; the only one is `command`")),
                Form::Settings => {
                    all.leave_out(file, &what);
                    Ok(None)
                }
            };
        }
        let command = self.command.filter(|command| !command.trim().is_empty());
        let Some(mut command) = command else { return Err("a hook has no `command`".into()) };
        for word in &self.args {
            command += &format!(" '{}'", word.replace('\'', r"'\''"));
        }
        for key in self.other.keys().filter(|key| !WITHOUT_EFFECT.contains(&key.as_str())) {
            if form == Form::Own {
                return Err(format!("a hook has no key `{key}`"));
            }
            all.leave_out(file, &format!("`{key}` of a {event} hook, which runs without it"));
        }
        let condition = match self.condition.as_deref().map(|rule| read_condition(rule, event)) {
            None => None,
            Some(Ok(condition)) => Some(condition),
            Some(Err(why)) if form == Form::Own => return Err(why),
            // A guard fails closed: without its condition it guards everything.
            Some(Err(why)) if event.guards() => {
                all.leave_out(file, &format!("{event}: {why}; it runs for everything"));
                None
            }
            Some(Err(why)) => {
                all.leave_out(file, &format!("{event}: {why}; the hook does not run"));
                return Ok(None);
            }
        };
        let timeout = match self.timeout {
            None => event.timeout(),
            Some(seconds) if seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS => {
                Duration::from_secs_f64(seconds)
            }
            Some(seconds) => {
                let most = MAX_TIMEOUT_SECONDS;
                return Err(format!("timeout {seconds}: it is in seconds, from 0 to {most}"));
            }
        };
        let (matcher, file) = (matcher.clone(), file.to_path_buf());
        let (on_failure, is_async) = (self.on_failure, self.is_async);
        let hook =
            Hook { event, matcher, condition, command, timeout, on_failure, is_async, file, form };
        Ok(Some(hook))
    }
}

/// The condition of a hook on this event.
fn read_condition(rule: &str, event: HookEvent) -> Result<Condition, String> {
    if event.subject() != Some("tool_name") {
        return Err(format!("`if: {rule}`: a {event} is about no call of a tool"));
    }
    Condition::new(rule).map_err(|why| format!("`if: {rule}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, form: Form) -> Result<Hooks, String> {
        Hooks::parse(Path::new("f"), text, form).map_err(|error| error.to_string())
    }

    fn shown(hooks: &Hooks) -> Vec<String> {
        let show = |hook: &Hook| {
            let (seconds, matcher) = (hook.timeout.as_secs_f64(), hook.matcher.text());
            format!("{} {matcher} {} {seconds}", hook.event, hook.command)
        };
        hooks.hooks.iter().map(show).collect()
    }

    #[test]
    fn both_forms_say_the_same() {
        let own = "hooks:
  PreToolUse:
    - matcher: Bash
      command: guard
      timeout: 2.5
    - command: look
  SessionEnd:
    - hooks: [{command: bye}]
";
        let settings = r#"{"permissions": {"allow": ["Bash"]}, "hooks": {
            "PreToolUse": [
                {"matcher": "Bash", "hooks": [
                    {"type": "command", "command": "guard", "timeout": 2.5}]},
                {"hooks": [{"type": "command", "command": "look", "statusMessage": "x"}]}],
            "SessionEnd": [{"hooks": [{"type": "command", "command": "bye"}]}]}}"#;
        let expected = ["PreToolUse Bash guard 2.5", "PreToolUse  look 600", "SessionEnd  bye 1.5"];
        for hooks in [parse(own, Form::Own), parse(settings, Form::Settings)] {
            let hooks = hooks.unwrap();
            assert_eq!((shown(&hooks), hooks.left_out), (expected.map(Into::into).into(), vec![]));
        }
    }

    #[test]
    fn what_claude_code_knows_and_this_program_does_not_is_left_out_and_named() {
        let settings = r#"{"hooks": {
            "WorktreeCreate": [{"hooks": [{"type": "command", "command": "a"}]}],
            "PreToolUse": [{"hooks": [
                {"type": "prompt", "prompt": "is that fine?"},
                {"type": "command", "command": "b", "if": "Bash(git *"},
                {"type": "command", "command": "c", "args": ["it's", "$HOME"]}]}]}}"#;
        let hooks = parse(settings, Form::Settings).unwrap();
        assert_eq!(shown(&hooks), ["PreToolUse  b 600", r"PreToolUse  c 'it'\''s' '$HOME' 600"]);
        let left_out = [
            "f: left out: a PreToolUse hook of type `prompt`; only commands are run",
            "f: left out: PreToolUse: `if: Bash(git *`: the rule \"Bash(git *\" has no closing \
             parenthesis at its end; it runs for everything",
            "f: left out: hooks of WorktreeCreate: no such event",
        ];
        assert_eq!(hooks.left_out, left_out);
        let off = r#"{"disableAllHooks": true, "hooks": {"Stop": [{"command": "x"}]}}"#;
        let off = parse(off, Form::Settings).unwrap();
        let said = "f: left out: disableAllHooks switches 1 of its hooks off";
        assert_eq!((off.hooks.len(), off.left_out), (0, vec![said.to_string()]));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("hook: {}", "f: there is no key `hook`; `hooks` is the only one"),
            ("hooks: {PreTool: []}", "f: there is no event `PreTool`"),
            ("hooks: {Stop: [{comand: x}]}", "f: Stop: a hook has no `command`"),
            ("hooks: {Stop: [{command: ' '}]}", "f: Stop: a hook has no `command`"),
            ("hooks: {Stop: [{command: x, tmeout: 1}]}", "f: Stop: a hook has no key `tmeout`"),
            (
                "hooks: {Stop: [{command: x, timeout: 600000}]}",
                "f: Stop: timeout 600000: it is in seconds, from 0 to 86400",
            ),
            (
                "hooks: {Stop: [{command: x, timeout: .nan}]}",
                "f: Stop: timeout NaN: it is in seconds, from 0 to 86400",
            ),
            (
                "hooks: {PreToolUse: [{matcher: 'a(', command: x}]}",
                "f: PreToolUse: matcher `a(` is no regular expression: error: unclosed group",
            ),
        ] {
            assert_eq!(parse(text, Form::Own).unwrap_err(), why);
        }
        assert!(parse("hooks: [", Form::Own).is_err());
        let cut = parse("{\n\t\"hooks\": {", Form::Settings).unwrap_err();
        assert_eq!(cut, "f:2: EOF while parsing an object");
        assert_eq!(parse("", Form::Own).unwrap().hooks.len(), 0);
        assert!(Hooks::read(Path::new("/missing"), Form::Settings).unwrap_err().is_missing);
    }

    #[test]
    fn a_guard_with_a_broken_matcher_guards_everything() {
        let hooks = r#"{"hooks": {
            "PreToolUse": [{"matcher": "Bash(", "command": "guard"}, {"command": "other"}],
            "PostToolUse": [{"matcher": "Bash(", "command": "log"}]}}"#;
        let hooks = parse(hooks, Form::Settings).unwrap();
        assert_eq!(shown(&hooks), ["PreToolUse Bash( guard 600", "PreToolUse  other 600"]);
        assert!(hooks.hooks[0].matcher.matches(&["Write"]));
        let why = "matcher `Bash(` is no regular expression: error: unclosed group";
        let left_out = [
            format!("f: left out: PostToolUse: {why}; its hooks do not run"),
            format!("f: left out: PreToolUse: {why}; it runs for everything"),
        ];
        assert_eq!(hooks.left_out, left_out);
    }

    #[test]
    fn a_guard_fails_closed_unless_the_protocol_or_the_person_says_otherwise() {
        let blocks = |text: &str, form| {
            let hook = parse(text, form).unwrap().hooks.remove(0);
            [hook.blocks_on(false), hook.blocks_on(true)]
        };
        let guard = r#"{"hooks": {"PreToolUse": [{"command": "x"}]}}"#;
        assert_eq!(blocks(guard, Form::Own), [true, true]);
        assert_eq!(blocks(guard, Form::Settings), [true, false]);
        let strict = guard.replace(r#""x""#, r#""x", "onFailure": "block""#);
        assert_eq!(blocks(&strict, Form::Settings), [true, true]);
        let lenient = guard.replace(r#""x""#, r#""x", "on_failure": "continue""#);
        assert_eq!(blocks(&lenient, Form::Own), [false, false]);
        assert_eq!(blocks(&guard.replace("PreToolUse", "Stop"), Form::Own), [false, false]);
    }
}
