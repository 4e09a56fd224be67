//! Which files a command searches in the folders that it names.
use super::{programs::is_long, unwrap::base_name};
use crate::secrets::Search;

/// What a command searches below the folders that it names, if it does.
pub(crate) fn search(words: &[String]) -> Option<Search> {
    let (name, rest) = words.split_first()?;
    let has = |letters: &[char], long: &[&str]| {
        rest.iter().any(|word| {
            let is_cluster = word.starts_with('-') && !word.starts_with("--");
            (is_cluster && word.contains(letters))
                || long.iter().any(|option| is_long(word, option) || word.starts_with(option))
        })
    };
    match base_name(name) {
        "grep" | "egrep" | "fgrep" => {
            let links = has(&['R'], &["--dereference-recursive"]);
            let is_recursive = links || has(&['r', 'd'], &["--recursive", "--directories"]);
            let all = Search { hidden: true, ignored: true, ..Search::default() };
            is_recursive.then_some(Search { links, ..all })
        }
        "rg" | "ag" | "ack" => {
            // What these bring back of what is hidden or ignored is not looked at in detail.
            const BRING_BACK: [&str; 7] = [
                "--iglob",
                "--glob-case-insensitive",
                "--type-add",
                "--type-clear",
                "--ignore-file",
                "--no-ignore-",
                "--no-require-git",
            ];
            let is_all = base_name(name) != "rg"
                || rest.iter().any(|word| BRING_BACK.iter().any(|bring| word.starts_with(bring)));
            let (globs, types) = (values(rest, 'g', "--glob"), values(rest, 't', "--type"));
            Some(Search {
                hidden: is_all || has(&['u', '.'], &["--hidden", "--unrestricted"]),
                ignored: is_all || has(&['u'], &["--no-ignore", "--unrestricted"]),
                links: has(&['L'], &["--follow"]),
                globs,
                types,
                narrows: false,
            })
        }
        _ => None,
    }
}

/// What may be the values of an option: `-g x`, `-gx`, `-ng x`, `--glob x`, `--glob=x`.
fn values(words: &[String], short: char, long: &str) -> Vec<String> {
    let mut values = vec![];
    for (at, word) in words.iter().enumerate() {
        let after = if word == long {
            ""
        } else if let Some(value) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('='))
        {
            value
        } else if word.starts_with('-')
            && !word.starts_with("--")
            && let Some((_, value)) = word.split_once(short)
        {
            value.strip_prefix('=').unwrap_or(value)
        } else {
            continue;
        };
        let next = words.get(at + 1).map(String::as_str).unwrap_or_default();
        values.push(if after.is_empty() { next.into() } else { after.into() });
    }
    values
}
