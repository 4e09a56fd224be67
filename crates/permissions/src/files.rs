//! The files that a command reads and changes by its words, and the rules for them.
use crate::{
    Mode, Policy, Ruling,
    judge::Scene,
    paths::Place,
    rule::{Rule, ToolName},
    secrets::{Search, Secrets},
    shell::{Command, globs, programs, searches, unwrap, words::Word},
};
use std::sync::Arc;

/// How many paths of a command are looked up on the disk.
const MAX_LOOKED_UP: usize = 2000;
/// How many words with wildcards a command may have.
const MAX_GLOBS: usize = 50;
/// How many files one word may stand for.
const MAX_FILES: usize = 5000;

impl Policy {
    /// The strictest rule for files that covers what a command reads or changes by its words, if
    /// one denies or asks; and whether they were too many to look at each.
    pub(crate) fn covers_files(
        &self,
        command: &Command,
        scene: &Scene<'_>,
    ) -> (Option<Arc<Rule>>, bool) {
        let mut strictest: Option<Arc<Rule>> = None;
        let mut looked_up = 0;
        let mut judge = |tool: &ToolName, name: &str, path: &str| {
            for dir in command.dirs.likely.iter().chain(&command.dirs.possible) {
                looked_up += 1;
                let is_known = looked_up <= MAX_LOOKED_UP;
                let place = if is_known { Place::new } else { Place::unresolved };
                let place = place(path, dir, scene.root, scene.home);
                if !self.restricted(tool).may_cover(&place) {
                    continue;
                }
                let covers = |rule: &Rule| rule.covers_path(tool, name, &place);
                let rule = self.first(&[Ruling::Deny, Ruling::Ask], covers);
                if let Some(rule) = rule
                    && strictest.as_ref().is_none_or(|strictest| strictest.ruling < rule.ruling)
                {
                    strictest = Some(rule.clone());
                }
            }
        };
        let commands = unwrap::commands(&command.expanded);
        let mut globs = 0;
        let reader = commands.iter().find(|words| programs::opens_files(words));
        for path in reader.map(|words| programs::reads(words)).unwrap_or_default() {
            globs += usize::from(path.contains(['*', '?', '[']));
            let matched = match globs <= MAX_GLOBS {
                true => self.matched(&path, command).unwrap_or_default(),
                false => vec![],
            };
            for path in [path].into_iter().chain(matched) {
                judge(&ToolName::Read, "read", &path);
            }
        }
        for words in commands {
            for path in programs::writes(words).unwrap_or_default() {
                if !is_harmless_stream(path) {
                    judge(&ToolName::Edit, "edit", path);
                }
            }
        }
        (strictest, looked_up > MAX_LOOKED_UP)
    }

    /// What a word with wildcards stands for; `None` when that cannot be said.
    fn matched(&self, text: &str, command: &Command) -> Option<Vec<String>> {
        if !text.contains(['*', '?', '[']) {
            return Some(vec![]);
        }
        let mut all = vec![];
        for dir in command.dirs.likely.iter().chain(&command.dirs.possible) {
            all.extend(globs::expand(text, dir)?);
        }
        (all.len() <= MAX_FILES).then_some(all)
    }

    /// Why the files that a command opens are in doubt, if so: what its wildcards stand for, and
    /// what is in the folders that it searches.
    pub(crate) fn doubtful_files(&self, command: &Command, scene: &Scene<'_>) -> Option<String> {
        for words in unwrap::commands(&command.expanded) {
            if !programs::opens_files(words) {
                continue;
            }
            if command.words.iter().filter(|word| word.is_glob).count() > MAX_GLOBS {
                return Some(format!("it has more than {MAX_GLOBS} wildcards"));
            }
            for word in command.words.iter().filter(|word| word.is_glob) {
                match self.matched(&word.text, command) {
                    None => return Some(format!("`{}` stands for too many files", word.text)),
                    Some(names) if names.iter().any(|name| name.starts_with('-')) => {
                        return Some(format!("`{}` stands for an option", word.text));
                    }
                    Some(_) => {}
                }
            }
            if let Some(search) = searches::search(words)
                && let Some(why) = self.doubtful_search(words, &search, command, scene)
            {
                return Some(why);
            }
        }
        None
    }

    fn doubtful_search(
        &self,
        words: &[String],
        search: &Search,
        command: &Command,
        scene: &Scene<'_>,
    ) -> Option<String> {
        let mut named = programs::reads(words);
        // The working directory is searched where nothing else is named. The last word names
        // something, unless it may be an option's value or the pattern.
        let names_last = match words {
            [.., before, last] => {
                !before.starts_with('-') && !last.starts_with('-') && named.last() == Some(last)
            }
            _ => false,
        };
        if !command.is_piped && !names_last {
            named.push(".".into());
        }
        for dir in command.dirs.likely.iter().chain(&command.dirs.possible) {
            let place = |text: &String| Place::new(text, dir, scene.root, scene.home);
            let folders: Vec<Place> = named.iter().map(place).collect();
            for place in &folders {
                let Some(folder) = place.real.as_deref().filter(|real| real.is_dir()) else {
                    continue;
                };
                let secrets = self.restricted(&ToolName::Read);
                match secrets.below(folder, search, &place.cwd[1], scene.home) {
                    Ok(None) => {}
                    Ok(Some(file)) => return Some(format!("it would show {file}")),
                    Err(why) => return Some(why),
                }
            }
        }
        None
    }

    /// Whether `accept-edits` covers a command that changes files as the file tools do.
    pub(crate) fn file_command(&self, command: &Command, scene: &Scene<'_>) -> bool {
        if scene.mode != Mode::AcceptEdits || scene.doubt.is_some() || command.dirs.unknown {
            return false;
        }
        let Some(name) = command.words.first() else { return false };
        let plain = |word: &Word| word.doubt.is_none() && !word.is_glob && !word.is_tilde;
        let known = command.words.iter().all(plain) && command.assigned.is_empty();
        if !known || name.text == "sed" || !programs::is_file_command(&name.text) {
            return false;
        }
        let dirs = || command.dirs.likely.iter().chain(&command.dirs.possible);
        let mut operands =
            command.words[1..].iter().filter(|word| !word.text.starts_with('-')).peekable();
        operands.peek().is_some()
            && operands.all(|word| {
                dirs().all(|dir| {
                    let place = Place::new(&word.text, dir, scene.root, scene.home);
                    let tool = ToolName::Edit;
                    let verdict = self.judge_path(&tool, "edit", &place, scene.mode);
                    place.is_inside() && verdict.ruling == Ruling::Allow
                })
            })
    }

    /// The paths that rules for reading, or for changing, want asked or denied.
    pub(crate) fn restricted(&self, tool: &ToolName) -> &Secrets {
        let index = usize::from(*tool == ToolName::Edit);
        self.secrets[index].get_or_init(|| {
            let rules = self.of(Ruling::Deny).chain(self.of(Ruling::Ask));
            Secrets::of_rules(rules.filter(|rule| rule.tool == *tool))
        })
    }
}

/// Files of `/dev` that keep nothing.
pub(crate) fn is_harmless_stream(path: &str) -> bool {
    matches!(path, "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/fd/1" | "/dev/fd/2")
}
