//! The files that a command reads and changes by its words, and the rules for them.
use crate::{
    Policy, Ruling,
    judge::{Scene, Verdict, is_harmless_stream},
    paths::Place,
    rule::{Rule, ToolName, What},
    secrets::{Search, Secrets},
    shell::{Command, globs, programs, unwrap},
};
use std::{path::Path, sync::Arc};

/// How many files one word may stand for.
const MAX_FILES: usize = 5000;

impl Policy {
    /// A rule for files that covers what a command reads or changes by its words.
    pub(crate) fn covers_files(
        &self,
        command: &Command,
        ruling: Ruling,
        scene: &Scene<'_>,
    ) -> Option<Verdict> {
        let has = |tool: &ToolName| {
            let is_path = |rule: &&Arc<Rule>| matches!(rule.what, What::Path(_));
            self.of(ruling).filter(is_path).any(|rule| rule.tool == *tool)
        };
        let covers = |tool: &ToolName, name: &str, path: &str| {
            let dirs = command.dirs.likely.iter().chain(&command.dirs.possible);
            dirs.map(|dir| Place::new(path, dir, scene.root, scene.home)).find_map(|place| {
                let covers = |rule: &Rule| rule.covers_path(tool, name, &place);
                self.first(&[ruling], covers).map(Verdict::by)
            })
        };
        for words in unwrap::commands(&command.expanded) {
            if has(&ToolName::Read) {
                for path in programs::reads(words) {
                    if let Some(found) = covers(&ToolName::Read, "read", &path) {
                        return Some(found);
                    }
                    for path in self.matched(&path, command).unwrap_or_default() {
                        if let Some(found) = covers(&ToolName::Read, "read", &path) {
                            return Some(found);
                        }
                    }
                }
            }
            for path in programs::writes(words).unwrap_or_default() {
                if is_harmless_stream(path) {
                    continue;
                }
                if let Some(found) = covers(&ToolName::Edit, "edit", path) {
                    return Some(found);
                }
            }
        }
        None
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
            for word in command.words.iter().filter(|word| word.is_glob) {
                match self.matched(&word.text, command) {
                    None => return Some(format!("`{}` stands for too many files", word.text)),
                    Some(names) if names.iter().any(|name| name.starts_with('-')) => {
                        return Some(format!("`{}` stands for an option", word.text));
                    }
                    Some(_) => {}
                }
            }
            if let Some(search) = programs::search(words)
                && let Some(why) = self.doubtful_search(words, search, command, scene)
            {
                return Some(why);
            }
        }
        None
    }

    fn doubtful_search(
        &self,
        words: &[String],
        search: Search,
        command: &Command,
        scene: &Scene<'_>,
    ) -> Option<String> {
        let mut named = programs::reads(words);
        // What a pipe brings is searched instead.
        if !command.is_piped {
            named.push(".".into());
        }
        for dir in command.dirs.likely.iter().chain(&command.dirs.possible) {
            let place = |text: &String| Place::new(text, dir, scene.root, scene.home);
            let folders: Vec<Place> = named.iter().map(place).collect();
            let mut folders: Vec<&Path> = folders
                .iter()
                .filter_map(|place| place.real.as_deref())
                .filter(|real| real.is_dir())
                .collect();
            // The working directory is searched only where nothing else is named.
            if folders.len() > 1 && !command.is_piped {
                folders.pop();
            }
            for folder in folders {
                match self.secrets().below(folder, search, scene.root, scene.home) {
                    Ok(None) => {}
                    Ok(Some(file)) => return Some(format!("it would show {file}")),
                    Err(why) => return Some(why),
                }
            }
        }
        None
    }

    /// What the rules for reading want asked or denied.
    pub(crate) fn secrets(&self) -> &Secrets {
        self.secrets.get_or_init(|| {
            let rules = self.of(Ruling::Deny).chain(self.of(Ruling::Ask));
            Secrets::new(rules.filter(|rule| rule.tool == ToolName::Read).filter_map(|rule| {
                match &rule.what {
                    What::Path(pattern) => Some(pattern.glob()),
                    _ => None,
                }
            }))
        })
    }
}
