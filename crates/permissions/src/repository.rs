//! Read-only git is only read-only where the repository's own configuration names no program.
//! Configuration is read with libgit2, which runs nothing.
use crate::{
    git::GLOBAL,
    paths::{lexical, resolve},
    shell::words::Word,
};
use git2::{Config, ConfigLevel, Repository};
use std::path::Path;

/// How many submodules are looked into.
const MAX_SUBMODULES: usize = 64;
/// How large a file of configuration may be, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The settings of a repository that no reading command runs anything by.
const HARMLESS: [&str; 31] = [
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

/// Why git cannot be trusted to only read in a folder, if so; `words` are those after `git`.
pub(crate) fn doubt(dir: &Path, words: &[Word]) -> Option<String> {
    let Some(real) = resolve(dir) else { return Some("its links lead in a circle".into()) };
    let folder = real.ancestors().find(|folder| may_be_repository(folder));
    if compares_files(words, &real, folder) {
        return Some("it compares files outside of a repository".into());
    }
    of_folder(folder?, 0)
}

/// Whether git may take a folder for a repository, or for one that has a repository in `.git`.
/// Generous: git and libgit2 do not refuse the same ones.
fn may_be_repository(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
    has(".git") || (has("HEAD") && ["objects", "refs", "commondir"].into_iter().any(has))
}

/// Whether `git diff` with two paths looks at files that are in no repository, and at folders of
/// them with all that they hold.
fn compares_files(words: &[Word], dir: &Path, repository: Option<&Path>) -> bool {
    let mut words = words.iter().map(|word| word.text.as_str());
    if words.find(|word| !GLOBAL.contains(word)) != Some("diff") {
        return false;
    }
    let operands: Vec<&str> = words.skip_while(|word| word.starts_with('-')).collect();
    let operands: Vec<&str> = operands.into_iter().filter(|word| is_operand(word)).collect();
    let is_outside = |word: &&str| {
        let path = dir.join(word);
        repository.is_none_or(|folder| {
            !lexical(&path).starts_with(folder)
                || resolve(&path).is_none_or(|real| !real.starts_with(folder))
        })
    };
    operands.len() == 2 && !operands.contains(&"--") && operands.iter().any(is_outside)
}

fn is_operand(word: &str) -> bool {
    word == "--" || !word.starts_with('-')
}

/// As [`doubt`], of a folder that may be a repository, or a submodule.
fn of_folder(folder: &Path, depth: usize) -> Option<String> {
    let link = folder.join(".git");
    if link.is_file()
        && let Some(why) = of_link(&link, "gitdir: ")
    {
        return Some(why);
    }
    match Repository::open(folder) {
        Ok(repository) => of_repository(&repository, folder, depth),
        Err(error) => {
            let folder = folder.display();
            Some(format!("the repository in {folder} cannot be read: {}", error.message()))
        }
    }
}

/// Why a file that names a folder may name another one to git than to libgit2, which cut off
/// different blanks, if so.
fn of_link(file: &Path, begin: &str) -> Option<String> {
    let why = || Some(format!("where {} leads is not certain", file.display()));
    let Some(text) = small_text(file) else { return why() };
    let Some(path) = text.strip_prefix(begin) else { return why() };
    let path = path.trim_end_matches(['\n', '\r']);
    if path.is_empty() || path.trim() != path || path.contains(char::is_control) {
        return why();
    }
    None
}

/// The text of a plain file that is not large.
fn small_text(file: &Path) -> Option<String> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return None;
    }
    Some(String::from_utf8_lossy(&std::fs::read(file).ok()?).into_owned())
}

fn of_repository(repository: &Repository, folder: &Path, depth: usize) -> Option<String> {
    let link = repository.path().join("commondir");
    if link.symlink_metadata().is_ok()
        && let Some(why) = of_link(&link, "")
    {
        return Some(why);
    }
    let common = repository.commondir();
    for file in [common.join("config"), repository.path().join("config.worktree")] {
        if let Some(why) = of_config(&file, repository.path(), folder) {
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
    let folders = submodules.iter().map(|path| root.join(path));
    let mut folders = folders.filter(|folder| may_be_repository(folder));
    folders.find_map(|folder| of_folder(&folder, depth + 1))
}

/// Why a file of configuration is not harmless, if so: that of the repository in `git`, which
/// `folder` holds.
fn of_config(file: &Path, git: &Path, folder: &Path) -> Option<String> {
    if file.symlink_metadata().is_err() {
        return None;
    }
    let unreadable = |error: &git2::Error| {
        Some(format!("the repository's configuration cannot be read: {}", error.message()))
    };
    let Some(text) = small_text(file) else {
        return Some("the repository's configuration cannot be read".into());
    };
    // git and libgit2 differ in what they make of these.
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    let text = text.replace("\r\n", "\n");
    if text.contains(is_odd) || text.lines().any(|line| line.trim_end().ends_with('\\')) {
        return Some("a line of the repository's configuration is not plain".into());
    }
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
        let value = entry.value().ok();
        // A submodule names its own folder, which leads nowhere else.
        let is_own = |to: &str| {
            resolve(&git.join(to)).is_some() && resolve(&git.join(to)) == resolve(folder)
        };
        if name == "core.worktree" && value.is_some_and(is_own) {
            continue;
        }
        if !is_harmless(&name, value) {
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
