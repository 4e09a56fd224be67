//! What is known of programs: which of their words run something, write or read.
use super::{
    unwrap::{self, base_name},
    words::Word,
};

/// A word that makes a program do more than its name says.
#[derive(Debug, PartialEq)]
pub(crate) struct Hazard {
    /// The word, as a rule would have to name it.
    pub(crate) word: String,
    pub(crate) why: &'static str,
}

/// What `find` may be asked without running, writing or deleting anything.
const FIND_TESTS: &[&str] = &[
    "-H",
    "-L",
    "-P",
    "-name",
    "-iname",
    "-path",
    "-ipath",
    "-wholename",
    "-iwholename",
    "-regex",
    "-iregex",
    "-regextype",
    "-type",
    "-xtype",
    "-maxdepth",
    "-mindepth",
    "-depth",
    "-d",
    "-size",
    "-empty",
    "-mtime",
    "-mmin",
    "-atime",
    "-amin",
    "-ctime",
    "-cmin",
    "-newer",
    "-anewer",
    "-cnewer",
    "-newermt",
    "-newerct",
    "-newerat",
    "-perm",
    "-user",
    "-group",
    "-uid",
    "-gid",
    "-nouser",
    "-nogroup",
    "-links",
    "-inum",
    "-samefile",
    "-readable",
    "-writable",
    "-executable",
    "-print",
    "-print0",
    "-printf",
    "-ls",
    "-prune",
    "-quit",
    "-not",
    "-a",
    "-and",
    "-o",
    "-or",
    "-follow",
    "-xdev",
    "-mount",
    "-noleaf",
    "-daystart",
    "-fstype",
    "-true",
    "-false",
    "-used",
    "-lname",
    "-ilname",
    "-warn",
    "-nowarn",
    "-ignore_readdir_race",
    "-O1",
    "-O2",
    "-O3",
];

/// The short options whose value may be the next word, of `rg` and of `grep`.
const VALUED: [&[char]; 2] = [
    &['A', 'B', 'C', 'E', 'M', 'T', 'd', 'e', 'f', 'g', 'j', 'm', 'r', 't'],
    &['A', 'B', 'C', 'D', 'd', 'e', 'f', 'm'],
];
/// How many short options in one word are looked behind.
const MAX_CLUSTER: usize = 6;

/// Builtins after which a later command may be another one than it seems. Only a rule that is
/// exactly this command covers them.
const STATEFUL: &[&str] = &[
    ".",
    "alias",
    "bind",
    "builtin",
    "command",
    "compgen",
    "complete",
    "coproc",
    "declare",
    "disown",
    "enable",
    "eval",
    "exec",
    "export",
    "fc",
    "getopts",
    "hash",
    "history",
    "let",
    "local",
    "mapfile",
    "popd",
    "pushd",
    "read",
    "readarray",
    "readonly",
    "set",
    "shopt",
    "source",
    "trap",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// Programs that print what they are told, or names of files, and open none.
const NAMES_ONLY: &[&str] =
    &["basename", "cd", "dirname", "echo", "find", "ls", "printf", "pwd", "stat", "which"];

/// What of a command is more than a rule with a `*` may allow.
pub(crate) fn hazard(words: &[Word]) -> Option<Hazard> {
    let (name, rest) = words.split_first()?;
    let found = |word: &Word, why| Some(Hazard { word: word.text.clone(), why });
    if STATEFUL.contains(&name.text.as_str()) {
        return found(name, "it may change what later commands do");
    }
    for word in rest {
        let text = word.text.as_str();
        let why = match base_name(&name.text) {
            "find" => find(text),
            "rg" => rg(text),
            "sort" => match () {
                () if is_short(text, 'o', "kSTt") || is_long(text, "--output") => {
                    Some("it writes a file")
                }
                () if is_long(text, "--compress-program") => Some("it runs a program"),
                () => None,
            },
            "test" | "[" if text.contains('[') && text != "[" => Some("it may run code in [..]"),
            "test" | "[" if text == "-v" => Some("it may run code in [..]"),
            "printf" if is_short(text, 'v', "") => Some("it sets a variable"),
            "sed" if text.starts_with("-i") || is_long(text, "--in-place") => {
                Some("it changes files")
            }
            "xargs" | "parallel" | "watch" => Some("it runs a program"),
            "tar"
                if is_long(text, "--to-command")
                    || is_long(text, "--checkpoint-action")
                    || is_long(text, "--use-compress-program")
                    || is_long(text, "--rsh-command")
                    || is_short(text, 'I', "fC") =>
            {
                Some("it runs a program")
            }
            _ => None,
        };
        if let Some(why) = why {
            return found(word, why);
        }
    }
    // A name of a file may be an option to these.
    if matches!(base_name(&name.text), "find" | "rg" | "git" | "sort" | "grep" | "wc")
        && let Some(word) = rest.iter().find(|word| may_become_option(word))
    {
        return found(word, "a file may have the name of an option");
    }
    if base_name(&name.text) == "git" {
        return crate::git::hazard(rest);
    }
    None
}

fn may_become_option(word: &Word) -> bool {
    word.is_glob && word.text.starts_with(['*', '?', '[', '-'])
}

fn find(text: &str) -> Option<&'static str> {
    match text {
        "-exec" | "-execdir" | "-ok" | "-okdir" => Some("it runs a program"),
        "-delete" => Some("it deletes files"),
        "-fprint" | "-fprint0" | "-fprintf" | "-fls" => Some("it writes a file"),
        _ if !text.starts_with('-') || FIND_TESTS.contains(&text) => None,
        // `-mtime -1`
        _ if text[1..].starts_with(|c: char| c.is_ascii_digit()) => None,
        _ => Some("it is not known to be harmless"),
    }
}

fn rg(text: &str) -> Option<&'static str> {
    const RUNS: [&str; 3] = ["--pre", "--hostname-bin", "--search-zip"];
    let name = text.split('=').next().unwrap_or(text);
    if text.starts_with("--pre") || RUNS.into_iter().any(|option| is_long(name, option)) {
        return Some("it runs a program");
    }
    is_short(text, 'z', "ABCEdefgjmMrtT").then_some("it runs a program")
}

/// Whether a word is a long option, perhaps cut short as GNU's and git's options may be.
pub(crate) fn is_long(word: &str, option: &str) -> bool {
    let name = word.split('=').next().unwrap_or(word);
    name.len() > 2 && name.starts_with("--") && option.starts_with(name)
}

/// Whether a word is a cluster of short options with this one among them. A letter in `valued`
/// takes the rest of the cluster as its value.
pub(crate) fn is_short(word: &str, option: char, valued: &str) -> bool {
    let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else {
        return false;
    };
    for letter in letters.chars() {
        if letter == option {
            return true;
        }
        if valued.contains(letter) {
            return false;
        }
    }
    false
}

/// Whether a word of a search may be the option that gives the pattern, or leaves it out.
fn gives_pattern(word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(option) => option.starts_with(['f', 'r']) || option == "type-list",
        None => word.starts_with('-') && word.contains(['e', 'f']),
    }
}

/// The words of a command that may be files it reads, as texts to be compared with the rules for
/// reading.
pub(crate) fn reads(words: &[String]) -> Vec<String> {
    let Some((name, rest)) = words.split_first() else { return vec![] };
    let name = base_name(name);
    if NAMES_ONLY.contains(&name) {
        return vec![];
    }
    let is_search = matches!(name, "grep" | "egrep" | "fgrep" | "rg");
    // Where an option gives the pattern, before or after them, all other words are files.
    let mut pattern = is_search && !rest.iter().any(|word| gives_pattern(word));
    let mut found = vec![];
    let (mut before, mut before_that) = ("", "");
    let mut only_operands = false;
    for word in rest {
        let is_pattern = matches!(before, "-e" | "--regexp") && !before_that.starts_with('-');
        if only_operands {
            // No word is an option any more.
            if std::mem::take(&mut pattern) {
                continue;
            }
        } else if is_search && is_pattern {
            (before_that, before) = (before, word);
            continue;
        } else if let Some(option) = word.strip_prefix("--") {
            only_operands = option.is_empty();
            // What follows may be its value, so where the pattern is, is not known.
            pattern &= only_operands || option.contains('=');
        } else if !word.starts_with('-') {
            let is_value =
                before.starts_with('-') && before.ends_with(VALUED[usize::from(name != "rg")]);
            if pattern && !is_value {
                pattern = false;
                (before_that, before) = (before, word);
                continue;
            }
        }
        (before_that, before) = (before, word);
        for part in [Some(word.as_str()), word.split_once('=').map(|(_, value)| value)] {
            let Some(part) = part.filter(|part| !part.is_empty()) else { continue };
            found.push(part.trim_start_matches('@').to_string());
            // `HEAD:.env`, `-L1,5:.env`
            let after = [part.split_once(':'), part.rsplit_once(':')].into_iter().flatten();
            found.extend(after.map(|(_, path)| path.trim_start_matches("//").to_string()));
        }
        if word.starts_with('-') && !word.starts_with("--") {
            // `-rf.env`: where the letters end and the value begins, each program knows best.
            let ends = word.char_indices().skip(2).take(MAX_CLUSTER).map(|(at, _)| at);
            found.extend(ends.map(|at| word[at..].to_string()));
        }
    }
    found.retain(|path| !path.is_empty() && path.len() < 4096 && !path.contains('\0'));
    found
}

/// Whether a command that a rule allows is known to change nothing.
pub(crate) fn only_reads(words: &[Word]) -> bool {
    let words = unwrap::allowed(words);
    let Some((name, rest)) = words.split_first() else { return false };
    match name.text.as_str() {
        "ls" | "cat" | "head" | "tail" | "wc" | "grep" | "rg" | "find" | "echo" | "pwd" => {
            hazard(words).is_none()
        }
        "git" => hazard(words).is_none() && crate::git::is_reader(rest),
        _ => matches!(rest, [only] if only.text == "--version"),
    }
}

/// Whether a program opens the files that its words name.
pub(crate) fn opens_files(words: &[String]) -> bool {
    words.first().is_some_and(|name| !NAMES_ONLY.contains(&base_name(name)))
}

/// The files that a command changes by its words; `None` when it is not a program whose writes are
/// known.
pub(crate) fn writes(words: &[String]) -> Option<Vec<&str>> {
    let (name, rest) = words.split_first()?;
    let operands = || rest.iter().map(String::as_str).filter(|word| !word.starts_with('-'));
    Some(match base_name(name) {
        "tee" | "touch" | "truncate" | "mkdir" | "rmdir" | "rm" | "shred" | "unlink" | "mv"
        | "sponge" => operands().collect(),
        "cp" | "ln" | "install" => operands().next_back().into_iter().collect(),
        "dd" => rest.iter().filter_map(|word| word.strip_prefix("of=")).collect(),
        "sed" if rest.iter().any(|word| word.starts_with("-i") || is_long(word, "--in-place")) => {
            operands().skip(1).collect()
        }
        _ => return None,
    })
}

/// Programs that change files as the file tools do; `accept-edits` covers them.
pub(crate) fn is_file_command(name: &str) -> bool {
    matches!(name, "touch" | "mkdir" | "rmdir" | "rm" | "mv" | "cp" | "sed")
}
