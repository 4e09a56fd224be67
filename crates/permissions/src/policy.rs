//! The rules of several sources together, and what they say of a call.
use crate::{
    Mode, Ruling,
    config::{self, Loaded},
    judge::{Scene, Verdict},
    pattern,
    protected::PROTECTED,
    rule::{Rule, Source, ToolName},
    secrets::Secrets,
    shell::{self, Kind},
};
use rungs_files::ConfigError;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// How many parts of a command are judged one by one.
const MAX_PARTS: usize = 500;
/// How long the parts after them are looked through for what denies.
const MAX_TIME: Duration = Duration::from_secs(1);
/// How many rules are kept from one answer "always".
const MAX_REMEMBERED: usize = 5;

/// What a call does to the world, as the tool says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Access<'a> {
    /// It changes nothing outside of the harness.
    Harmless,
    /// It changes these files.
    Writes(&'a [PathBuf]),
    /// It may do anything.
    Anything,
}

/// A call to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The tool's name.
    pub tool: &'a str,
    /// Its arguments.
    pub input: &'a Value,
    /// What it does.
    pub access: Access<'a>,
    /// The working directory, absolute.
    pub cwd: &'a Path,
}

/// One part of a call, judged by itself.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// How deep it stands in the command; for a tree.
    pub depth: usize,
    /// What it is: `command`, `pipeline`, `read`, `write`, `call`.
    pub label: &'static str,
    /// Its text, shortened.
    pub text: String,
    /// What becomes of it.
    pub ruling: Ruling,
    /// The rule that decided, if one did.
    pub rule: Option<Arc<Rule>>,
    /// Why.
    pub why: String,
}

/// What becomes of a call.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// The strictest of the rulings of its parts.
    #[serde(rename = "decision")]
    pub ruling: Ruling,
    /// The rule that decided, if one did; otherwise the mode decided.
    pub rule: Option<Arc<Rule>>,
    /// Why.
    pub why: String,
    /// Its parts, in the order of the text.
    pub parts: Vec<Part>,
    /// The narrowest rules that would have allowed it: what "always" stores. Empty when no rule can
    /// allow it.
    pub remember: Vec<String>,
}

/// Rules from one or several sources.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
    mode: Option<Mode>,
    pub(crate) home: Option<PathBuf>,
    pub(crate) secrets: [OnceLock<Secrets>; 2],
}

impl Policy {
    /// No rules, for the home folder of whoever runs this program.
    pub fn new() -> Policy {
        Policy { home: std::env::home_dir(), ..Policy::default() }
    }

    /// Reads rules from YAML or JSON, the text of the file `source`: `deny`, `ask` and `allow`; or
    /// `always_deny`, `ask_user` and `always_allow`; or Claude Code's settings with `permissions`.
    ///
    /// # Errors
    /// Names the file and the line. A file without any rule is an error too.
    pub fn load(text: &str, source: &Path) -> Result<Policy, ConfigError> {
        let Loaded { rules, mode } = config::load(text, source)?;
        let rules = rules.into_iter().map(Arc::new).collect();
        Ok(Policy { rules, mode, ..Policy::new() })
    }

    /// Adds the rules of another source. Which comes first does not matter: deny binds, then ask.
    pub fn merge(&mut self, other: Policy) {
        self.rules.extend(other.rules);
        self.secrets = Default::default();
        self.mode = other.mode.or(self.mode);
    }

    /// Adds one rule, such as those of [`Decision::remember`].
    ///
    /// # Errors
    /// When it is no rule.
    pub fn add(&mut self, ruling: Ruling, rule: &str, source: &str) -> Result<(), String> {
        let rule = Rule::parse(ruling, rule, Source::new(source, None), None)?;
        self.rules.push(Arc::new(rule));
        self.secrets = Default::default();
        Ok(())
    }

    /// Seen from another home folder: what `~` means.
    pub fn with_home(mut self, home: &Path) -> Policy {
        self.home = Some(home.into());
        self
    }

    /// All rules, in the order of their sources.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// The mode that a source asks for, if one does.
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// The rules with a ruling.
    pub(crate) fn of(&self, ruling: Ruling) -> impl Iterator<Item = &Arc<Rule>> {
        let built_in = PROTECTED.iter();
        self.rules.iter().chain(built_in).filter(move |rule| rule.ruling == ruling)
    }

    /// The first rule that covers something, the first ruling first.
    pub(crate) fn first(
        &self,
        rulings: &[Ruling],
        covers: impl Fn(&Rule) -> bool,
    ) -> Option<&Arc<Rule>> {
        rulings.iter().find_map(|ruling| self.of(*ruling).find(|rule| covers(rule)))
    }

    /// Whether a tool is denied whatever its arguments: then it need not be offered.
    pub fn denies_tool(&self, tool: &str) -> bool {
        self.of(Ruling::Deny).any(|rule| rule.covers_tool(tool))
    }

    /// Judges a call. Nothing is run; the file system is looked at for links, and the repository's
    /// configuration for git. May block for a moment.
    pub fn decide(&self, call: &Call<'_>, mode: Mode) -> Decision {
        let command = call.input.get("command").and_then(Value::as_str);
        let mut decision = match (ToolName::of(call.tool), command) {
            (ToolName::Bash, Some(command)) => {
                let analysis = shell::analyse(command, call.cwd, self.home.as_deref());
                self.decide_command(command, &analysis, call.cwd, mode)
            }
            (tool, _) => self.decide_tool(&tool, call, mode),
        };
        if mode == Mode::DontAsk && decision.ruling == Ruling::Ask {
            decision.ruling = Ruling::Deny;
            decision.why = format!("{}; in dont-ask mode nobody is asked", decision.why);
            for part in &mut decision.parts {
                if part.ruling == Ruling::Ask {
                    part.ruling = Ruling::Deny;
                }
            }
        }
        raise_denied(&mut decision.parts);
        decision
    }

    /// Whether one of these rules covers a call or, of a command, any part. A command that cannot
    /// be read with certainty counts as covered. Rules that are built in do not count. May block
    /// for a moment.
    pub fn covers(&self, call: &Call<'_>) -> bool {
        let command = call.input.get("command").and_then(Value::as_str);
        let decision = match (ToolName::of(call.tool), command) {
            (ToolName::Bash, Some(command)) => {
                let analysis = shell::analyse(command, call.cwd, self.home.as_deref());
                if analysis.doubt.is_some() {
                    return true;
                }
                self.decide_command(command, &analysis, call.cwd, Mode::Bypass)
            }
            (tool, _) => self.decide_tool(&tool, call, Mode::Bypass),
        };
        let Decision { rule, parts, .. } = decision;
        let mut decisive = parts.iter().filter_map(|part| part.rule.as_ref()).chain(&rule);
        decisive.any(|rule| self.rules.iter().any(|own| Arc::ptr_eq(own, rule)))
    }

    /// Judges a shell command by what it was read as.
    fn decide_command(
        &self,
        command: &str,
        analysis: &shell::Analysis,
        cwd: &Path,
        mode: Mode,
    ) -> Decision {
        let home = self.home.as_deref();
        let scene = Scene { mode, root: cwd, home, doubt: analysis.doubt.as_deref() };
        let items = &analysis.items;
        let (first, rest) = items.split_at(items.len().min(MAX_PARTS));
        let mut parts: Vec<Part> = first.iter().map(|item| self.judge(item, &scene)).collect();
        if !rest.is_empty() {
            // What denies is looked for to the end, as far as the time allows.
            let deadline = Instant::now() + MAX_TIME;
            let mut in_time = rest.iter().take_while(|_| Instant::now() < deadline);
            let denied = in_time.find_map(|item| self.denied(item, &scene));
            let why = format!("it has more than {MAX_PARTS} parts");
            let verdict = self.by_mode(mode, &why);
            let more = part("more", format!("{} more parts", rest.len()), verdict);
            parts.push(denied.unwrap_or(more));
        }
        if let Some(rule) = self.covers_whole(command) {
            parts.push(part("script", shell::shorten(command), Verdict::by(rule)));
        }
        let is_empty = !items.iter().any(|item| !matches!(item.kind, Kind::Structure));
        if let Some(doubt) = &analysis.doubt
            && (is_empty || parts.iter().all(|part| part.ruling == Ruling::Allow))
            && mode != Mode::Bypass
            && !self.of(Ruling::Allow).any(|rule| rule.covers_tool("bash"))
        {
            let verdict = Verdict::new(Ruling::Ask, doubt.clone());
            parts.push(part("script", shell::shorten(command), verdict));
        }
        raise_structures(&mut parts);
        let remember = self.remember_command(command, analysis, &parts);
        let mut decision = strictest(parts, remember);
        // What was approved word for word runs, but for what a rule wants denied or asked.
        if decision.ruling == Ruling::Ask
            && decision.parts.iter().all(|part| part.ruling != Ruling::Ask || part.rule.is_none())
            && mode != Mode::Plan
            && let Some(rule) = self.approved(command)
        {
            let verdict = Verdict::by(rule);
            decision.ruling = verdict.ruling;
            (decision.rule, decision.why) = (verdict.rule, verdict.why);
        }
        decision
    }

    /// A rule that denies or asks by the text of the whole command.
    fn covers_whole(&self, command: &str) -> Option<&Arc<Rule>> {
        self.first(&[Ruling::Deny, Ruling::Ask], |rule| match &rule.what {
            crate::rule::What::Regex(regex) => regex.covers(command, rule.ruling),
            _ => false,
        })
    }

    /// The rule that is exactly this command.
    fn approved(&self, command: &str) -> Option<&Arc<Rule>> {
        let text = command.trim();
        self.of(Ruling::Allow).find(|rule| match &rule.what {
            crate::rule::What::Command(pattern) => !pattern.is_wide() && pattern.matches(text),
            _ => false,
        })
    }

    fn remember_command(
        &self,
        command: &str,
        analysis: &shell::Analysis,
        parts: &[Part],
    ) -> Vec<String> {
        let whole = || vec![format!("Bash({})", pattern::exactly(&[command.trim().to_string()]))];
        if parts.iter().any(|part| part.ruling == Ruling::Deny) {
            return vec![];
        }
        let mut rules: Vec<String> = vec![];
        for (item, part) in analysis.items.iter().zip(parts) {
            match (&item.kind, part.ruling) {
                (_, Ruling::Allow) | (Kind::Structure, _) => {}
                (_, _) if part.rule.is_some() => return vec![],
                (Kind::Command(command), _) if analysis.doubt.is_none() => {
                    let words: Vec<String> =
                        command.words.iter().map(|word| word.text.clone()).collect();
                    rules.push(format!("Bash({})", pattern::exactly(&words)));
                }
                (Kind::Write(word, _), _) if analysis.doubt.is_none() => {
                    rules.push(format!("Edit({})", path_rule(&word.text)));
                }
                _ => return whole(),
            }
        }
        rules.dedup();
        if rules.len() > MAX_REMEMBERED { whole() } else { rules }
    }
}

pub(crate) fn part(label: &'static str, text: String, verdict: Verdict) -> Part {
    let Verdict { ruling, rule, why } = verdict;
    Part { depth: 0, label, text, ruling, rule, why }
}

/// A path as a rule that covers it alone.
pub(crate) fn path_rule(path: &str) -> String {
    let mut text = String::new();
    for c in path.chars() {
        if "*?[]{}\\".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    match text.strip_prefix('/') {
        Some(rest) => format!("//{rest}"),
        None if text.starts_with("~/") || text.starts_with("./") => text,
        None => format!("./{text}"),
    }
}

/// Gives each construct the strictest ruling of what is in it.
fn raise_structures(parts: &mut [Part]) {
    // For each depth, the strictest ruling of the parts after this one that are deeper.
    let mut below: Vec<(usize, Ruling)> = vec![];
    for part in parts.iter_mut().rev() {
        let mut ruling = part.ruling;
        while let Some((depth, inner)) = below.last().copied()
            && depth > part.depth
        {
            below.pop();
            if part.why.is_empty() {
                ruling = ruling.max(inner);
            }
        }
        part.ruling = ruling;
        match below.last_mut() {
            Some((depth, same)) if *depth == part.depth => *same = (*same).max(ruling),
            _ => below.push((part.depth, ruling)),
        }
    }
}

/// Denies whatever a denied part stands in.
fn raise_denied(parts: &mut [Part]) {
    // How deep the last denied part stands: the next one that is less deep encloses it.
    let mut denied_depth = 0;
    for part in parts.iter_mut().rev() {
        if part.depth < denied_depth && part.ruling != Ruling::Deny {
            (part.ruling, part.rule) = (Ruling::Deny, None);
            part.why = "a part of it is denied".into();
        }
        if part.ruling == Ruling::Deny {
            denied_depth = part.depth;
        }
    }
}

/// The decision by the strictest part.
pub(crate) fn strictest(parts: Vec<Part>, remember: Vec<String>) -> Decision {
    let ruling = parts.iter().map(|part| part.ruling).max().unwrap_or(Ruling::Allow);
    let decisive = parts
        .iter()
        .filter(|part| part.ruling == ruling && !part.why.is_empty())
        .max_by_key(|part| part.rule.is_some());
    let (rule, why) = match decisive {
        Some(part) => (part.rule.clone(), part.why.clone()),
        None => (None, "it does nothing".into()),
    };
    Decision { ruling, rule, why, parts, remember }
}
