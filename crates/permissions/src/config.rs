//! Files of rules.
use crate::{
    Mode, Ruling,
    rule::{Rule, Source},
};
use rungs_files::{ConfigError, parse_yaml};
use serde::Deserialize;
use serde_yaml::Value;
use std::path::Path;

/// How many rules one file may have.
const MAX_RULES: usize = 2000;

/// The rules of a file, and the mode that it asks for.
pub(crate) struct Loaded {
    pub(crate) rules: Vec<Rule>,
    pub(crate) mode: Option<Mode>,
}

/// Rules in the form of Claude Code, and in the three tiers of the first course of this kind.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    deny: Vec<Entry>,
    #[serde(default)]
    ask: Vec<Entry>,
    #[serde(default)]
    allow: Vec<Entry>,
    #[serde(default)]
    always_deny: Vec<Entry>,
    #[serde(default)]
    ask_user: Vec<Entry>,
    #[serde(default)]
    always_allow: Vec<Entry>,
    #[serde(alias = "defaultMode", alias = "default_mode")]
    mode: Option<String>,
    #[serde(rename = "additionalDirectories")]
    _additional_directories: Option<Value>,
    #[serde(rename = "disableBypassPermissionsMode")]
    _disable_bypass: Option<Value>,
    #[serde(rename = "skipDangerousModePermissionPrompt")]
    _skip_prompt: Option<Value>,
}

/// One rule of a file: `Bash(ls:*)`, or with a reason.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(String),
    Rule(Written),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: Option<String>,
    /// A regular expression for commands.
    #[serde(alias = "pattern")]
    regex: Option<String>,
    /// The tool that the expression is for.
    tool: Option<String>,
    #[serde(alias = "description", alias = "message")]
    reason: Option<String>,
}

/// Reads the rules of a file.
pub(crate) fn load(text: &str, source: &Path) -> Result<Loaded, ConfigError> {
    let value: Value = parse_yaml(source, text)?;
    let is_settings = value.get("permissions").is_some();
    let file: File = match value.get("permissions").cloned() {
        None if value.is_null() => File::default(),
        // Settings have much else.
        Some(permissions) => serde_yaml::from_value(permissions)
            .map_err(|error| ConfigError::new(source, None, format!("permissions: {error}")))?,
        // The text knows the line of what is wrong.
        None => serde_yaml::from_value(value).or_else(|_| parse_yaml(source, text))?,
    };
    let lines = Lines::of(text);
    let mode = match &file.mode {
        None => None,
        Some(mode) => Some(
            mode.parse()
                .map_err(|why: String| ConfigError::new(source, lines.find(mode, 0), why))?,
        ),
    };
    let mut rules = vec![];
    let mut from = 0;
    for (ruling, entries, is_tier) in [
        (Ruling::Deny, &file.deny, false),
        (Ruling::Ask, &file.ask, false),
        (Ruling::Allow, &file.allow, false),
        (Ruling::Deny, &file.always_deny, true),
        (Ruling::Ask, &file.ask_user, true),
        (Ruling::Allow, &file.always_allow, true),
    ] {
        for entry in entries {
            let (rule, reason, looked_for) = entry.parts(ruling, is_tier);
            let line = lines.find(&looked_for, from);
            let place = Source::new(&source.display().to_string(), line);
            let error = |why: String| ConfigError::new(source, line, why);
            from = line.unwrap_or(from);
            let rule = rule.ok_or_else(|| error("an entry has neither `rule` nor `regex`".into()));
            rules.push(Rule::parse(ruling, &rule?, place, reason).map_err(error)?);
            if rules.len() > MAX_RULES {
                return Err(error(format!("it has more than {MAX_RULES} rules")));
            }
        }
        from = 0;
    }
    if rules.is_empty() && mode.is_none() && !is_settings {
        return Err(ConfigError::new(source, None, "it has no rules: no deny, ask or allow"));
    }
    Ok(Loaded { rules, mode })
}

impl Entry {
    /// The rule, its reason, and the text to look for in the file.
    fn parts(&self, ruling: Ruling, is_tier: bool) -> (Option<String>, Option<String>, String) {
        match self {
            Entry::Text(text) if is_tier && !is_rule(text) => {
                let rule = match ruling {
                    Ruling::Allow => format!("Bash({text}:*)"),
                    _ => format!("Bash(*{text}*)"),
                };
                (Some(rule), None, text.clone())
            }
            Entry::Text(text) => (Some(text.clone()), None, text.clone()),
            Entry::Rule(Written { rule, regex, tool, reason }) => {
                let looked_for = rule.as_ref().or(regex.as_ref()).cloned().unwrap_or_default();
                let rule = match (rule, regex, tool) {
                    (Some(rule), _, _) => Some(rule.clone()),
                    (None, Some(regex), _) => {
                        Some(format!("regex:{}", regex.trim_start_matches("regex:")))
                    }
                    (None, None, tool) => tool.clone(),
                };
                (rule, reason.clone(), looked_for)
            }
        }
    }
}

/// Whether a text of a tier is written as a rule, and is not a command.
fn is_rule(text: &str) -> bool {
    let name = text.split('(').next().unwrap_or(text);
    text.starts_with("regex:")
        || (text.ends_with(')') && !name.is_empty() && !name.contains(' '))
        || text.starts_with("mcp__")
        || matches!(text, "Bash" | "Read" | "Edit" | "Write" | "Grep" | "Glob")
}

/// The lines of a file that are no comments, each with its number, from one on.
struct Lines<'a>(Vec<(usize, &'a str)>);

impl<'a> Lines<'a> {
    fn of(yaml: &'a str) -> Self {
        let is_comment = |line: &str| line.trim_start().starts_with('#');
        Lines((1..).zip(yaml.lines()).filter(|(_, line)| !is_comment(line)).collect())
    }

    /// The number of the line after line `from` on which a text stands; or before it.
    fn find(&self, text: &str, from: usize) -> Option<usize> {
        let first = text.lines().next().filter(|line| !line.is_empty())?;
        let escaped = first.replace('\\', "\\\\").replace('"', "\\\"");
        let doubled = first.replace('\'', "''");
        let forms = [first, &escaped, &doubled];
        let (before, after) = self.0.split_at(self.0.partition_point(|(n, _)| *n <= from));
        let holds = |(_, line): &&(usize, &str)| forms.iter().any(|form| line.contains(*form));
        let found = after.iter().find(holds).or_else(|| before.iter().find(holds));
        found.map(|(n, _)| *n)
    }
}
