//! Which git commands only read, by their words.
use crate::shell::{
    programs::{Hazard, is_long, is_short},
    words::Word,
};

/// Subcommands that only read, if nothing in the repository makes them run a program.
const READERS: [&str; 21] = [
    "blame",
    "branch",
    "cat-file",
    "describe",
    "diff",
    "for-each-ref",
    "grep",
    "log",
    "ls-files",
    "ls-tree",
    "merge-base",
    "name-rev",
    "reflog",
    "remote",
    "rev-list",
    "rev-parse",
    "shortlog",
    "show",
    "show-ref",
    "status",
    "tag",
];

/// Options before the subcommand that change nothing of what is read.
pub(crate) const GLOBAL: [&str; 4] =
    ["--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs"];

/// The words of a git command without the options before the subcommand that change nothing.
pub(crate) fn plain(words: &[Word]) -> Vec<Word> {
    let mut plain = words.to_vec();
    while plain.get(1).is_some_and(|word| GLOBAL.contains(&word.text.as_str())) {
        plain.remove(1);
    }
    plain
}

/// What in a git command runs a program, writes or leads elsewhere; `words` are those after `git`.
pub(crate) fn hazard(words: &[Word]) -> Option<Hazard> {
    let mut rest = words;
    while rest.first().is_some_and(|word| GLOBAL.contains(&word.text.as_str())) {
        rest = &rest[1..];
    }
    let (subcommand, rest) = rest.split_first()?;
    let found = |word: &Word, why| Some(Hazard { word: word.text.clone(), why });
    if subcommand.text.starts_with('-') && !matches!(subcommand.text.as_str(), "--version" | "-v") {
        return found(subcommand, "it changes which repository, configuration or program is used");
    }
    for word in rest {
        let text = word.text.as_str();
        let is_exact = matches!(text, "--text" | "--no-textconv" | "--no-ext-diff");
        let runs = ["--ext-diff", "--textconv", "--open-files-in-pager", "--exec", "--upload-pack"];
        if !is_exact && (runs.iter().any(|run| is_long(text, run)) || text.starts_with("ext::")) {
            return found(word, "it runs a program");
        }
        let lists = matches!(subcommand.text.as_str(), "branch" | "for-each-ref" | "tag");
        if text == "--help" || checks_signatures(text, lists) {
            return found(word, "it runs a program");
        }
        if is_long(text, "--no-index") {
            return found(word, "it compares files outside of a repository");
        }
        if is_long(text, "--receive-pack") || is_long(text, "--show-signature") {
            return found(word, "it runs a program");
        }
        if is_long(text, "--output") {
            return found(word, "it writes a file");
        }
        if subcommand.text == "grep" && is_short(text, 'O', "ABCefm") {
            return found(word, "it runs a program");
        }
    }
    if subcommand.text == "branch" {
        let word = changes_branches(rest)?;
        return found(word, "it may create, change or delete a branch");
    }
    None
}

/// Whether a format, or an order, has git start gpg: `%G?`, `%+GS`, `%(signature:grade)`.
fn checks_signatures(text: &str, lists: bool) -> bool {
    let modifiers = ['+', '-', ' ', '*'];
    let placeholders = text.split('%').skip(1).map(|after| after.trim_start_matches(modifiers));
    let names = text.split("%(").skip(1).map(|after| after.trim_start_matches(modifiers));
    let order = text.split('=').next_back().unwrap_or(text).trim_start_matches(modifiers);
    placeholders.into_iter().any(|after| after.starts_with('G'))
        || names.chain(lists.then_some(order)).any(|name| {
            name.strip_prefix("signature").is_some_and(|rest| {
                !rest.contains('/') && { rest.is_empty() || rest.starts_with([':', ')']) }
            })
        })
}

/// The word by which `git branch` does more than list.
fn changes_branches(words: &[Word]) -> Option<&Word> {
    const LISTS: [&str; 20] = [
        "-a",
        "-r",
        "-v",
        "-vv",
        "-av",
        "-avv",
        "-rv",
        "-q",
        "-i",
        "--all",
        "--remotes",
        "--verbose",
        "--show-current",
        "--no-color",
        "--color",
        "--no-column",
        "--column",
        "--no-abbrev",
        "--ignore-case",
        "--quiet",
    ];
    const VALUED: [&str; 7] = [
        "--contains",
        "--no-contains",
        "--merged",
        "--no-merged",
        "--points-at",
        "--sort",
        "--format",
    ];
    let is_list = words.iter().any(|word| matches!(word.text.as_str(), "-l" | "--list"));
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        let name = text.split('=').next().unwrap_or(text);
        if VALUED.contains(&name) {
            if name == text && words.peek().is_some_and(|next| !next.text.starts_with('-')) {
                words.next();
            }
        } else if matches!(text, "-l" | "--list") || LISTS.contains(&name) || name == "--abbrev" {
        } else if !is_list || text.starts_with('-') {
            return Some(word);
        }
    }
    None
}

/// Whether these words read a repository; `words` are those after `git`.
pub(crate) fn is_reader(words: &[Word]) -> bool {
    let mut rest = words.iter().filter(|word| !GLOBAL.contains(&word.text.as_str()));
    rest.next().is_some_and(|subcommand| READERS.contains(&subcommand.text.as_str()))
}
