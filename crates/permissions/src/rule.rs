//! One rule: `Tool(specifier)`, or a regular expression.
use crate::{
    expression::Expression,
    mode::Ruling,
    paths::{PathPattern, Place},
    pattern::Pattern,
};
use serde::Serialize;
use serde_json::Value;
use std::{fmt, sync::Arc};

/// Where a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// A file, `session`, or `built in`.
    pub name: Arc<str>,
    /// The line in that file, counted from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Source {
    /// A source that is no file, or a place in a file.
    pub fn new(name: &str, line: Option<usize>) -> Source {
        Source { name: name.into(), line }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A rule that was loaded.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// What it says of the calls that it covers.
    pub ruling: Ruling,
    /// As it is written: `Bash(git log:*)`.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
    /// Why, in the words of whoever wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip)]
    pub(crate) tool: ToolName,
    #[serde(skip)]
    pub(crate) what: What,
}

/// What of a tool's calls a rule covers.
#[derive(Debug)]
pub(crate) enum What {
    Everything,
    Command(Pattern),
    Path(Box<PathPattern>),
    Regex(Box<Expression>),
    /// A host and those below it.
    Domain(String),
    /// A field of the input, or any of those that name what a call is about.
    Field(Option<String>, Pattern),
}

/// The tools that a rule covers, as a name without case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ToolName {
    Bash,
    /// Reading files: `read`, `grep`, `glob`.
    Read,
    /// Changing files: `edit`, `write`, `multi_edit`, `notebook_edit`.
    Edit,
    Other(String),
}

impl ToolName {
    /// The kind of tool that a call names.
    pub(crate) fn of(name: &str) -> ToolName {
        let lower = name.to_lowercase();
        match lower.replace(['_', '-'], "").as_str() {
            "bash" | "bashbackground" | "shell" => ToolName::Bash,
            "read" | "grep" | "glob" | "ls" | "notebookread" => ToolName::Read,
            "edit" | "write" | "multiedit" | "notebookedit" => ToolName::Edit,
            _ => ToolName::Other(lower),
        }
    }

    /// Whether a rule with this name covers a tool, by the tool's own name. `mcp__a` covers the
    /// tools of the server `a`; whether `mcp__a__b__c` is one of them cannot be known, so only a
    /// rule that forbids or asks covers it.
    fn covers(&self, name: &str, is_allow: bool) -> bool {
        let ToolName::Other(own) = self else { return *self == ToolName::of(name) };
        let name = name.to_lowercase();
        if let Some(prefix) = own.strip_suffix('*') {
            let prefix = prefix.strip_suffix("__").unwrap_or(prefix);
            return name.strip_prefix(prefix).is_some_and(|rest| !is_allow || is_one_tool(rest));
        }
        if own == &name {
            return true;
        }
        own.starts_with("mcp__")
            && name
                .strip_prefix(own)
                .is_some_and(|rest| rest.starts_with("__") && (!is_allow || is_one_tool(rest)))
    }
}

fn is_one_tool(rest: &str) -> bool {
    !rest.trim_start_matches('_').contains("__")
}

impl Rule {
    /// Reads `Tool`, `Tool(specifier)` or `regex:EXPRESSION`.
    pub(crate) fn parse(
        ruling: Ruling,
        text: &str,
        source: Source,
        reason: Option<String>,
    ) -> Result<Rule, String> {
        let text = text.trim();
        let (tool, what) = match text.strip_prefix("regex:") {
            Some(text) => (ToolName::Bash, expression(text)?),
            None => parse_tool(text)?,
        };
        Ok(Rule { ruling, text: text.into(), source, reason, tool, what })
    }

    /// What no file of rules can change.
    pub(crate) fn built_in(ruling: Ruling, text: &str) -> Arc<Rule> {
        let source = Source::new("built in", None);
        let reason = Some(text.to_string());
        let (tool, what) = (ToolName::Bash, What::Everything);
        Arc::new(Rule { ruling, text: text.into(), source, reason, tool, what })
    }

    /// Whether it covers every call of this tool, whatever its input.
    pub(crate) fn covers_tool(&self, name: &str) -> bool {
        matches!(self.what, What::Everything)
            && self.tool.covers(name, self.ruling == Ruling::Allow)
    }

    /// Whether it covers what this call is about, by its input.
    pub(crate) fn covers_input(&self, name: &str, input: &Value) -> bool {
        if !self.tool.covers(name, self.ruling == Ruling::Allow) {
            return false;
        }
        match &self.what {
            What::Everything => true,
            What::Domain(domain) => {
                let url = input.get("url").and_then(Value::as_str).unwrap_or_default();
                host(url).is_some_and(|host| {
                    host == *domain
                        || host.strip_suffix(domain.as_str()).is_some_and(|sub| sub.ends_with('.'))
                })
            }
            What::Field(field, pattern) => {
                const ABOUT: [&str; 8] = [
                    "name",
                    "skill",
                    "agent",
                    "agent_type",
                    "subagent_type",
                    "type",
                    "url",
                    "query",
                ];
                let matches = |key: &str| {
                    let text = input.get(key).and_then(Value::as_str);
                    text.is_some_and(|text| pattern.matches(text))
                };
                match field {
                    Some(field) => matches(field),
                    None => ABOUT.into_iter().any(matches),
                }
            }
            What::Command(_) | What::Path(_) | What::Regex(_) => false,
        }
    }

    /// Whether it is for a tool of this kind and name.
    pub(crate) fn is_for(&self, tool: &ToolName, name: &str) -> bool {
        self.tool == *tool || self.tool.covers(name, self.ruling == Ruling::Allow)
    }

    /// Whether it covers a path that is read or changed.
    pub(crate) fn covers_path(&self, tool: &ToolName, name: &str, place: &Place) -> bool {
        let is_allow = self.ruling == Ruling::Allow;
        if !self.is_for(tool, name) {
            return false;
        }
        match &self.what {
            What::Everything => true,
            What::Path(pattern) => pattern.covers(place, is_allow),
            _ => false,
        }
    }
}

/// The host of an address, in lower case.
fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    is_plain.then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

fn expression(text: &str) -> Result<What, String> {
    Ok(What::Regex(Box::new(Expression::new(text.trim())?)))
}

fn parse_tool(text: &str) -> Result<(ToolName, What), String> {
    let (name, specifier) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let Some(inside) = rest.strip_suffix(')') else {
                return Err(format!("the rule {text:?} has no closing parenthesis at its end"));
            };
            (name, Some(inside.trim()))
        }
    };
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let plain = name.strip_suffix('*').unwrap_or(name);
    if name.is_empty() || name == "*" || !plain.chars().all(is_name) {
        let forms = "`Tool`, `Tool(specifier)` or `regex:EXPRESSION`";
        return Err(format!("{text:?} is no rule; a rule is {forms}"));
    }
    // `Read` covers `grep` and `glob`, but `Grep` and `Write` mean themselves.
    let tool = match name.to_lowercase().as_str() {
        "bash" | "read" | "edit" => ToolName::of(name),
        lower => ToolName::Other(lower.into()),
    };
    let Some(specifier) = specifier.filter(|specifier| !matches!(*specifier, "*" | ":*")) else {
        return Ok((tool, What::Everything));
    };
    if specifier.is_empty() {
        return Err(format!("the rule {text:?} has nothing in its parentheses"));
    }
    let what = match ToolName::of(name) {
        ToolName::Bash => match specifier.strip_prefix("regex:") {
            Some(text) => expression(text)?,
            None => What::Command(Pattern::new(specifier)),
        },
        ToolName::Read | ToolName::Edit => What::Path(Box::new(PathPattern::new(specifier)?)),
        ToolName::Other(_) => match specifier.split_once(':') {
            Some(("domain", domain)) => What::Domain(domain.trim().to_ascii_lowercase()),
            Some((field, rest)) if field.chars().all(is_name) && !rest.starts_with("//") => {
                What::Field(Some(field.into()), Pattern::new(rest))
            }
            _ => What::Field(None, Pattern::new(specifier)),
        },
    };
    Ok((tool, what))
}
