//! Hints: a Markdown file with one step under each of the headings `## 1`, `## 2`, ...
use crate::catalog::shown;
use std::path::{Path, PathBuf};

/// The steps, in their order.
pub(crate) fn steps(text: &str) -> Vec<String> {
    let mut steps: Vec<String> = vec![];
    for line in text.lines() {
        if line.strip_prefix("## ").is_some_and(|number| number.parse::<usize>().is_ok()) {
            steps.push(String::new());
        } else if let Some(step) = steps.last_mut() {
            *step += line;
            *step += "\n";
        }
    }
    steps.iter().map(|step| step.trim().to_string()).collect()
}

/// The links of a Markdown text: what is shown, and where they lead.
pub(crate) fn links(text: &str) -> Vec<(&str, &str)> {
    let parts = text.match_indices("](").filter_map(|(place, _)| {
        let shown = &text[text[..place].rfind('[')? + 1..place];
        let target = &text[place + 2..];
        Some((shown, &target[..target.find(')')?]))
    });
    parts.collect()
}

/// The file that a link of this file leads to; none if it leads out of the repository.
pub(crate) fn target(link: &str, file: &Path) -> Option<PathBuf> {
    let path = link.split('#').next().unwrap_or_default();
    if link.contains("://") || path.is_empty() {
        return None;
    }
    let mut target = file.parent()?.to_path_buf();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::ParentDir => {
                target.pop();
            }
            part => target.push(part),
        }
    }
    Some(target)
}

/// A hint as a terminal shows it: links by the names of their files.
pub(crate) fn plain(hint: &str, file: &Path) -> String {
    let mut plain = hint.to_string();
    for (text, link) in links(hint) {
        let place = target(link, file).map_or(link.to_string(), |path| shown(&path));
        plain = plain.replace(&format!("[{text}]({link})"), &format!("{text} ({place})"));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_links_are_read() {
        let text = "before\n\n## 1\n\nOne [a](../x/b.rs#c) and [d](https://e).\n\n## 2\ntwo\n";
        assert_eq!(steps(text), ["One [a](../x/b.rs#c) and [d](https://e).", "two"]);
        assert_eq!(links(text), [("a", "../x/b.rs#c"), ("d", "https://e")]);
        let file = crate::catalog::root().join("hints/s01.md");
        assert_eq!(plain(&steps(text)[0], &file), "One a (x/b.rs) and d (https://e).");
        assert_eq!(target("https://e", &file), None);
        assert!(links("] and (no link) [either]").is_empty());
    }
}
