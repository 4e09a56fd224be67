//! The ruling on each part of a command.
use crate::{
    Mode, Part, Policy, Ruling,
    files::is_harmless_stream,
    git,
    paths::Place,
    pattern::BETWEEN,
    rule::{Rule, ToolName, What},
    shell::{
        Command, Dirs, Item, Kind, danger,
        programs::{self, Hazard},
        unwrap,
        words::{Word, has_braces},
    },
    surroundings,
};
use std::{path::Path, sync::Arc};

/// Variables that a command may be given, with plain values: they change how it looks, not what it
/// runs.
const HARMLESS_VARIABLES: [&str; 12] = [
    "CARGO_TERM_COLOR",
    "CI",
    "CLICOLOR",
    "COLUMNS",
    "FORCE_COLOR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LINES",
    "NO_COLOR",
    "PYTHONUNBUFFERED",
    "RUST_BACKTRACE",
];

/// Where and how a call is judged.
pub(crate) struct Scene<'a> {
    pub(crate) mode: Mode,
    /// The working directory of the agent.
    pub(crate) root: &'a Path,
    pub(crate) home: Option<&'a Path>,
    /// Why the text as a whole cannot be allowed.
    pub(crate) doubt: Option<&'a str>,
}

/// What was decided, before it becomes a part.
pub(crate) struct Verdict {
    pub(crate) ruling: Ruling,
    pub(crate) rule: Option<Arc<Rule>>,
    pub(crate) why: String,
}

impl Verdict {
    pub(crate) fn new(ruling: Ruling, why: impl Into<String>) -> Verdict {
        Verdict { ruling, rule: None, why: why.into() }
    }

    pub(crate) fn by(rule: &Arc<Rule>) -> Verdict {
        let why = match (&rule.reason, rule.ruling) {
            (Some(reason), _) => reason.clone(),
            (None, Ruling::Deny) => "a rule forbids it".into(),
            (None, Ruling::Ask) => "a rule wants it asked".into(),
            (None, Ruling::Allow) => "a rule allows it".into(),
        };
        Verdict { ruling: rule.ruling, rule: Some(rule.clone()), why }
    }
}

/// The commands that some words may come to, as patterns are compared with them. All are ends of
/// the same words, each with and without the folder of its program.
struct Candidates {
    /// The words, with [`BETWEEN`] between them.
    joined: String,
    /// The same with spaces, for regular expressions.
    spaced: String,
    /// Where the commands begin in them.
    begins: Vec<usize>,
}

impl Candidates {
    fn new(words: &[String]) -> Candidates {
        let joined = words.join(&BETWEEN.to_string());
        let mut offsets = vec![];
        let mut offset = 0;
        for word in words {
            offsets.push(offset);
            offset += word.len() + BETWEEN.len_utf8();
        }
        let mut begins = vec![];
        for command in unwrap::commands(words) {
            let begin = offsets[words.len() - command.len()];
            begins.push(begin);
            let base = unwrap::program(&command[0]);
            if base.len() < command[0].len() {
                begins.push(begin + command[0].len() - base.len());
            }
        }
        let spaced = joined.replace(BETWEEN, " ");
        Candidates { joined, spaced, begins }
    }

    fn any(&self, covers: impl Fn(&str, &str) -> bool) -> bool {
        self.begins.iter().any(|begin| covers(&self.joined[*begin..], &self.spaced[*begin..]))
    }
}

fn join(words: &[Word]) -> String {
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    words.join(&BETWEEN.to_string())
}

impl Policy {
    /// Judges one item of a command.
    pub(crate) fn judge(&self, item: &Item, scene: &Scene<'_>) -> Part {
        let verdict = match &item.kind {
            Kind::Structure => Verdict::new(Ruling::Allow, ""),
            Kind::Denied(why) => Verdict::by(&Rule::built_in(Ruling::Deny, why)),
            Kind::Doubt(why) => self.judge_doubt(why, scene),
            Kind::Read(word, dirs) => self.judge_redirect(word, dirs, &ToolName::Read, scene),
            Kind::Write(word, dirs) => self.judge_redirect(word, dirs, &ToolName::Edit, scene),
            Kind::Command(command) => self.judge_command(command, &item.text, scene),
        };
        part(item, verdict)
    }

    /// What denies an item, as far as that can be said without a look at the disk.
    pub(crate) fn denied(&self, item: &Item, scene: &Scene<'_>) -> Option<Part> {
        let verdict = match &item.kind {
            Kind::Denied(why) => Verdict::by(&Rule::built_in(Ruling::Deny, why)),
            Kind::Command(command) => {
                let candidates = Candidates::new(&command.expanded);
                let covers = |rule: &Rule| covers_any(rule, &candidates, &item.text);
                match danger::of(command, scene.home) {
                    Some(why) => Verdict::by(&Rule::built_in(Ruling::Deny, why)),
                    None => Verdict::by(self.first(&[Ruling::Deny], covers)?),
                }
            }
            Kind::Write(word, dirs) => {
                let dir = dirs.likely.first()?;
                let place = Place::unresolved(&word.text, dir, scene.root, scene.home);
                let covers = |rule: &Rule| rule.covers_path(&ToolName::Edit, "edit", &place);
                Verdict::by(self.first(&[Ruling::Deny], covers)?)
            }
            _ => return None,
        };
        Some(part(item, verdict))
    }

    fn judge_doubt(&self, why: &str, scene: &Scene<'_>) -> Verdict {
        match self.all_of_bash() {
            Some(rule) if scene.mode != Mode::Plan => Verdict::by(rule),
            _ => self.by_mode(scene.mode, why),
        }
    }

    /// A rule that allows every command.
    fn all_of_bash(&self) -> Option<&Arc<Rule>> {
        self.of(Ruling::Allow).find(|rule| rule.covers_tool("bash"))
    }

    fn judge_redirect(
        &self,
        word: &Word,
        dirs: &Dirs,
        tool: &ToolName,
        scene: &Scene<'_>,
    ) -> Verdict {
        let is_read = *tool == ToolName::Read;
        let text = word.text.as_str();
        let is_foreign = word.is_tilde && text.len() > 1 && !text.starts_with("~/");
        let expands = word.is_glob || is_foreign || has_braces(word);
        let known = word.doubt.is_none() && !expands && !dirs.unknown;
        if known && is_harmless_stream(&word.text) {
            return Verdict::new(Ruling::Allow, "it is thrown away or joined");
        }
        let mut worst: Option<Verdict> = None;
        for dir in dirs.likely.iter().chain(&dirs.possible) {
            let place = Place::new(&word.text, dir, scene.root, scene.home);
            let name = if is_read { "read" } else { "edit" };
            let verdict = self.judge_path(tool, name, &place, scene.mode);
            if worst.as_ref().is_none_or(|worst| worst.ruling < verdict.ruling) {
                worst = Some(verdict);
            }
        }
        let worst = worst.unwrap_or_else(|| Verdict::new(Ruling::Ask, "its folder is not known"));
        if worst.ruling == Ruling::Deny {
            return worst;
        }
        if known && !word.text.starts_with("/dev/") {
            if worst.ruling == Ruling::Ask
                && worst.rule.is_none()
                && scene.mode != Mode::Plan
                && let Some(rule) = self.all_of_bash()
            {
                return Verdict::by(rule);
            }
            return worst;
        }
        if worst.ruling == Ruling::Ask && worst.rule.is_some() {
            return worst;
        }
        let why = word.doubt.unwrap_or("which file it opens is not known");
        self.judge_doubt(why, scene)
    }

    /// Judges a path that is read or changed, by the rules and the mode.
    pub(crate) fn judge_path(
        &self,
        tool: &ToolName,
        name: &str,
        place: &Place,
        mode: Mode,
    ) -> Verdict {
        if let Some(rule) =
            self.first(&[Ruling::Deny, Ruling::Ask], |rule| rule.covers_path(tool, name, place))
        {
            return Verdict::by(rule);
        }
        let is_read = *tool == ToolName::Read;
        if place.real.is_none() {
            return Verdict::new(Ruling::Ask, "its links lead in a circle");
        }
        if mode == Mode::Plan && !is_read {
            return Verdict::new(Ruling::Deny, "nothing is changed in plan mode");
        }
        if let Some(rule) = self.first(&[Ruling::Allow], |rule| rule.covers_path(tool, name, place))
        {
            return Verdict::by(rule);
        }
        match mode {
            _ if is_read => Verdict::new(Ruling::Allow, "reading is allowed"),
            Mode::AcceptEdits if place.is_inside() => {
                Verdict::new(Ruling::Allow, "edits in the working directory are accepted")
            }
            Mode::AcceptEdits => Verdict::new(Ruling::Ask, "it is outside the working directory"),
            _ => self.by_mode(mode, "no rule allows this change"),
        }
    }

    /// What a mode says where no rule does.
    pub(crate) fn by_mode(&self, mode: Mode, why: &str) -> Verdict {
        match mode {
            Mode::Bypass => Verdict::new(Ruling::Allow, "nothing is asked in bypass mode"),
            _ => Verdict::new(Ruling::Ask, why),
        }
    }

    fn judge_command(&self, command: &Command, text: &str, scene: &Scene<'_>) -> Verdict {
        if let Some(why) = danger::of(command, scene.home) {
            return Verdict::by(&Rule::built_in(Ruling::Deny, why));
        }
        let candidates = Candidates::new(&command.expanded);
        let (files, are_too_many) = self.covers_files(command, scene);
        for ruling in [Ruling::Deny, Ruling::Ask] {
            let covers = |rule: &Rule| covers_any(rule, &candidates, text);
            if let Some(rule) = self.first(&[ruling], covers) {
                return Verdict::by(rule);
            }
            if let Some(rule) = files.as_ref().filter(|rule| rule.ruling == ruling) {
                return Verdict::by(rule);
            }
        }
        if unwrap::is_too_deep(&command.expanded) {
            return Verdict::new(Ruling::Ask, "too many programs run one another");
        }
        if let Some(rule) = self.all_of_bash()
            && scene.mode != Mode::Plan
        {
            return Verdict::by(rule);
        }
        if are_too_many {
            return self.by_mode(scene.mode, "it names too many files to look at each");
        }
        if let Some(why) = self.doubtful_files(command, scene) {
            return self.by_mode(scene.mode, &why);
        }
        match self.allowed(command, scene) {
            Ok(_) if scene.mode == Mode::Plan && !programs::only_reads(&command.words) => {
                Verdict::new(Ruling::Ask, "in plan mode, a rule allows reading only")
            }
            Ok(rule) => Verdict::by(rule),
            Err(why) => match self.file_command(command, scene) {
                true => Verdict::new(Ruling::Allow, "edits in the working directory are accepted"),
                false => self.by_mode(scene.mode, &why),
            },
        }
    }

    /// The rule that allows a command; or why there is none.
    fn allowed(&self, command: &Command, scene: &Scene<'_>) -> Result<&Arc<Rule>, String> {
        if let Some(doubt) = scene.doubt {
            return Err(doubt.into());
        }
        for (name, value) in &command.assigned {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:=@".contains(c);
            let plain = value.doubt.is_none() && value.text.chars().all(is_plain);
            if !plain || !HARMLESS_VARIABLES.contains(&name.as_str()) {
                return Err(format!("the variable {name} may change what it does"));
            }
        }
        for word in &command.words {
            if let Some(doubt) = word.doubt {
                return Err(format!("{doubt}: {}", word.text));
            }
            if has_braces(word) {
                return Err(format!("its braces expand: {}", word.text));
            }
            if word.text.contains(BETWEEN) {
                return Err("it holds a character that does not show".into());
            }
            if word.is_tilde && word.text.len() > 1 && !word.text.starts_with("~/") {
                return Err(format!("whose folder it is, is not known: {}", word.text));
            }
        }
        if command.dirs.unknown {
            return Err("in which folder it runs is not known".into());
        }
        let inner = unwrap::allowed(&command.words);
        let plain = match inner.first().map(|word| word.text.as_str()) {
            Some("git") => git::plain(inner),
            _ => inner.to_vec(),
        };
        let (outer, inner) = (join(&command.words), join(&plain));
        let hazard = programs::hazard(&plain);
        let mut named = None;
        let rule = self.of(Ruling::Allow).find(|rule| match &rule.what {
            What::Command(pattern) if rule.tool == ToolName::Bash => {
                if !pattern.is_wide() {
                    return pattern.matches(&outer) || pattern.matches(&inner);
                }
                if !pattern.matches(&inner) {
                    return false;
                }
                match &hazard {
                    Some(Hazard { word, why }) if !pattern.names(word) => {
                        named.get_or_insert(format!("`{word}`: {why}"));
                        false
                    }
                    _ => true,
                }
            }
            What::Regex(regex) => {
                hazard.is_none() && regex.covers(&inner.replace(BETWEEN, " "), rule.ruling)
            }
            _ => false,
        });
        let Some(rule) = rule else {
            return Err(named.unwrap_or_else(|| "no rule allows it".into()));
        };
        surroundings::check(&plain, &command.dirs, scene.root, scene.home)?;
        Ok(rule)
    }
}

fn part(item: &Item, verdict: Verdict) -> Part {
    let Verdict { ruling, rule, why } = verdict;
    Part { depth: item.depth, label: item.label, text: item.text.clone(), ruling, rule, why }
}

fn covers_any(rule: &Rule, candidates: &Candidates, text: &str) -> bool {
    if rule.tool != ToolName::Bash {
        return false;
    }
    match &rule.what {
        What::Everything => true,
        What::Command(pattern) => candidates.any(|words, _| pattern.matches(words)),
        What::Regex(regex) => {
            let covers = |text: &str| regex.covers(text, rule.ruling);
            covers(text) || candidates.any(|_, words| covers(words))
        }
        _ => false,
    }
}
