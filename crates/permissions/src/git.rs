//! Read-only git, which is only read-only where the repository's own configuration names no
//! program. Configuration is read with libgit2, which runs nothing.
use crate::shell::{
    programs::{Hazard, is_long, is_short},
    words::Word,
};
use git2::{Config, ConfigLevel, Repository};
use std::path::Path;

/// How many submodules are looked into.
const MAX_SUBMODULES: usize = 64;

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
const GLOBAL: [&str; 4] = ["--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs"];

/// The settings of a repository that no reading command runs anything by.
const HARMLESS: [&str; 32] = [
    "core.repositoryformatversion",
    "core.filemode",
    "core.bare",
    "core.logallrefupdates",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.symlinks",
    "core.autocrlf",
    "core.eol",
    "core.safecrlf",
    "core.quotepath",
    "core.untrackedcache",
    "core.abbrev",
    "core.worktree",
    "core.longpaths",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.compression",
    "core.preloadindex",
    "core.protecthfs",
    "core.protectntfs",
    "core.commentchar",
    "core.whitespace",
    "core.fscache",
    "core.hidedotfiles",
    "core.splitindex",
    "core.checkstat",
    "core.trustctime",
    "core.bigfilethreshold",
    "core.deltabasecachelimit",
    "core.packedgitlimit",
    "core.packedgitwindowsize",
];
/// Sections of which the same holds.
const HARMLESS_SECTIONS: [&str; 31] = [
    "advice",
    "am",
    "apply",
    "blame",
    "branch",
    "checkout",
    "clean",
    "color",
    "column",
    "commit",
    "feature",
    "fetch",
    "gc",
    "gui",
    "i18n",
    "index",
    "init",
    "log",
    "maintenance",
    "pack",
    "pull",
    "push",
    "rebase",
    "rerere",
    "receive",
    "stash",
    "status",
    "tag",
    "transfer",
    "user",
    "worktree",
];

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

/// Why git cannot be trusted to only read in a folder, if so.
pub(crate) fn doubt(dir: &Path) -> Option<String> {
    let repository = match Repository::discover(dir) {
        Ok(repository) => repository,
        Err(error) if error.code() == git2::ErrorCode::NotFound => return None,
        Err(error) => return Some(format!("the repository cannot be read: {}", error.message())),
    };
    of_repository(&repository, 0)
}

fn of_repository(repository: &Repository, depth: usize) -> Option<String> {
    let common = repository.commondir();
    for file in [common.join("config"), repository.path().join("config.worktree")] {
        if let Some(why) = of_config(&file) {
            return Some(why);
        }
    }
    for folder in [common, repository.path()] {
        // The only hook that reading runs, when it refreshes the index.
        if folder.join("hooks/post-index-change").symlink_metadata().is_ok() {
            return Some("the repository has the hook post-index-change".into());
        }
    }
    let submodules = match repository.index() {
        Ok(index) => index
            .iter()
            .filter(|entry| entry.mode == 0o160_000)
            .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
            .take(MAX_SUBMODULES + 1)
            .collect::<Vec<_>>(),
        Err(error) => return Some(format!("the index cannot be read: {}", error.message())),
    };
    if submodules.len() > MAX_SUBMODULES || (depth > 4 && !submodules.is_empty()) {
        return Some("the repository has too many submodules to look into".into());
    }
    let root = repository.workdir()?;
    submodules.iter().find_map(|path| match Repository::open(root.join(path)) {
        Ok(inner) => of_repository(&inner, depth + 1),
        Err(error) if error.code() == git2::ErrorCode::NotFound => None,
        Err(error) => Some(format!("the submodule {path} cannot be read: {}", error.message())),
    })
}

/// Why a file of configuration is not harmless, if so.
fn of_config(file: &Path) -> Option<String> {
    if file.symlink_metadata().is_err() {
        return None;
    }
    let unreadable = |error: &git2::Error| {
        Some(format!("the repository's configuration cannot be read: {}", error.message()))
    };
    let mut config = match Config::new() {
        Ok(config) => config,
        Err(error) => return unreadable(&error),
    };
    if let Err(error) = config.add_file(file, ConfigLevel::Local, false) {
        return unreadable(&error);
    }
    let mut entries = match config.entries(None) {
        Ok(entries) => entries,
        Err(error) => return unreadable(&error),
    };
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return unreadable(&error),
        };
        let name = entry.name().unwrap_or("?").to_lowercase();
        if !is_harmless(&name, entry.value().ok()) {
            return Some(format!("the repository's configuration sets `{name}`"));
        }
    }
    None
}

fn is_harmless(name: &str, value: Option<&str>) -> bool {
    let (section, rest) = name.split_once('.').unwrap_or((name, ""));
    let last = rest.rsplit('.').next().unwrap_or(rest);
    match section {
        "core" if rest == "fsmonitor" => matches!(value, Some("false" | "0" | "no" | "off" | "")),
        "core" => HARMLESS.contains(&name),
        "remote" => !matches!(last, "promisor" | "partialclonefilter" | "vcs"),
        "extensions" => matches!(last, "worktreeconfig" | "objectformat" | "refstorage" | "noop"),
        "submodule" => matches!(last, "url" | "active" | "branch" | "path" | "ignore"),
        "diff" => matches!(
            rest,
            "renames"
                | "renamelimit"
                | "algorithm"
                | "mnemonicprefix"
                | "noprefix"
                | "colormoved"
                | "context"
                | "indentheuristic"
                | "submodule"
                | "wordregex"
                | "relative"
        ),
        "merge" => matches!(rest, "conflictstyle" | "ff" | "renames" | "stat"),
        "log" => last != "showsignature",
        "rerere" | "format" => rest != "pretty",
        "lfs" => matches!(last, "repositoryformatversion" | "access" | "locksverify"),
        _ => HARMLESS_SECTIONS.contains(&section),
    }
}
