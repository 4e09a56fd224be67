//! What nobody means: denied whatever the rules say.
use super::{Command, unwrap};
use std::path::{Path, PathBuf};

/// Folders of the system directly below the root.
const SYSTEM: [&str; 24] = [
    "Applications",
    "Library",
    "System",
    "Users",
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "media",
    "mnt",
    "opt",
    "private",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "usr",
    "var",
];
/// Those of them whose own folders are as important.
const DEEP: [&str; 14] = [
    "System", "Library", "bin", "boot", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr",
    "var", "Users",
];

/// Whether this is a fork bomb: a function that pipes itself into itself, with any name.
pub(crate) fn is_fork_bomb(text: &str) -> bool {
    if !text.contains("()") && !text.contains("( )") {
        return false;
    }
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    dense.match_indices("(){").any(|(at, _)| {
        let name = dense[..at].rsplit([';', '&', '|', '(', '{']).next().unwrap_or_default();
        let name = name.strip_prefix("function").unwrap_or(name);
        !name.is_empty() && dense[at + 3..].starts_with(&format!("{name}|{name}&"))
    })
}

/// Whether a program fetches something from the network.
pub(crate) fn is_fetch(name: &str) -> bool {
    let name = unwrap::base_name(name);
    matches!(name, "curl" | "wget" | "fetch" | "aria2c" | "lynx" | "http" | "https" | "nc" | "ncat")
}

/// Why nobody can mean this command, if so.
pub(crate) fn of(command: &Command, home: Option<&Path>) -> Option<&'static str> {
    if command.is_piped && unwrap::runs_its_input(&command.expanded) {
        return Some("a shell runs what a pipe brings it");
    }
    let commands = unwrap::commands(&command.expanded);
    let root = |path: &str| is_system(path, command, home);
    let is_top = |path: &str| {
        let whole = crate::paths::lexical(Path::new(path.trim_end_matches('*')));
        whole.is_absolute() && whole.iter().count() <= 2 && is_system_folder(&whole)
    };
    for words in &commands {
        let Some((name, rest)) = words.split_first() else { continue };
        let recursive = rest.iter().any(|word| {
            (word.len() > 3 && "--recursive".starts_with(word.as_str()))
                || (word.starts_with('-') && !word.starts_with("--") && word.contains(['r', 'R']))
        });
        let why = match unwrap::base_name(name) {
            "rm" if rest.iter().any(|word| word.starts_with("--no-pres")) => {
                "it deletes the root folder"
            }
            "rm" if recursive && operands(rest).any(root) => {
                "it deletes a folder of the system or the home folder"
            }
            "chmod" | "chown" | "chgrp" if recursive && operands(rest).any(is_top) => {
                "it changes the rights of a folder of the system"
            }
            "mv" if operands(rest).rev().skip(1).any(root) => {
                "it moves a folder of the system or the home folder away"
            }
            "rsync"
                if rest.iter().any(|word| word.starts_with("--del"))
                    && operands(rest).next_back().is_some_and(root) =>
            {
                "it deletes what is in a folder of the system or in the home folder"
            }
            name if overwrites(name, rest).any(|path| is_device(&path, command)) => {
                "it overwrites a device"
            }
            "find" if find_deletes(rest) && find_roots(rest).any(root) => {
                "it deletes what is in a folder of the system or in the home folder"
            }
            _ => continue,
        };
        return Some(why);
    }
    None
}

/// Names of devices that hold data begin so.
const DEVICES: [&str; 21] = [
    "sd", "hd", "vd", "xvd", "nvme", "mmcblk", "disk", "mapper", "loop", "dm-", "md", "sr", "nbd",
    "zram", "ram", "rdisk", "mtd", "pmem", "rbd", "drbd", "mem",
];

/// The files that a program overwrites, where it may be a device.
fn overwrites<'a>(name: &str, words: &'a [String]) -> Box<dyn Iterator<Item = String> + 'a> {
    let after = |short: &'static str, long: &'static str| {
        let pairs = words.windows(2).filter(move |pair| pair[0] == short || pair[0] == long);
        let joined = words.iter().filter_map(move |word| {
            word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')).or_else(|| {
                word.strip_prefix(short).filter(|rest| !short.is_empty() && !rest.is_empty())
            })
        });
        pairs.map(|pair| pair[1].clone()).chain(joined.map(str::to_string))
    };
    let has = |options: &[&str]| words.iter().any(|word| options.contains(&word.as_str()));
    let is_safe = match name {
        "sgdisk" | "sfdisk" | "fdisk" | "gdisk" | "parted" | "cfdisk" => has(&[
            "-l", "--list", "-d", "--dump", "-p", "--print", "-i", "--info", "print", "-v", "-s",
            "--verify", "-J", "--json", "unit",
        ]),
        "badblocks" => !words.iter().any(|word| word.starts_with('-') && word.contains('w')),
        "cryptsetup" => {
            !has(&["luksFormat", "erase", "luksErase", "reencrypt", "format", "plainFormat"])
        }
        "nvme" => !has(&["format", "sanitize", "write-zeroes", "dsm", "delete-ns", "write"]),
        "mkswap" | "newfs" => false,
        "dd" => {
            return Box::new(
                words.iter().filter_map(|word| Some(word.strip_prefix("of=")?.into())),
            );
        }
        "curl" => return Box::new(after("-o", "--output")),
        "wget" => return Box::new(after("-O", "--output-document")),
        "cp" | "mv" | "install" | "ln" => {
            // What is put into `/dev` may replace any device.
            let dirs = after("-t", "--target-directory");
            return Box::new(dirs.map(|dir| format!("{dir}/*")));
        }
        _ => true,
    };
    match is_safe {
        true => Box::new(std::iter::empty()),
        false => Box::new(operands(words).map(str::to_string)),
    }
}

/// Whether a path may be that of a device that holds data.
fn is_device(path: &str, command: &Command) -> bool {
    command.dirs.likely.iter().any(|dir| {
        let path = crate::paths::lexical(&dir.join(path));
        let Ok(name) = path.strip_prefix("/dev") else { return false };
        let name = name.to_string_lossy();
        let known = name.split(['*', '?', '[']).next().unwrap_or_default();
        let is_glob = known.len() < name.len();
        DEVICES
            .iter()
            .any(|device| known.starts_with(*device) || (is_glob && device.starts_with(known)))
    })
}

/// Whether a text holds a command that fetches something from the network.
pub(crate) fn holds_fetch(text: &str) -> bool {
    let text = text.replace('"', " ");
    let commands = super::loose::commands(&text);
    commands.iter().any(|words| words.first().is_some_and(|name| is_fetch(name)))
}

/// What a command prints, as far as that can be told: the words of `echo`, where `find` begins.
pub(crate) fn printed(words: &[String]) -> Vec<String> {
    let Some((name, rest)) = words.split_first() else { return vec![] };
    match unwrap::base_name(name) {
        "echo" | "printf" => {
            let words = rest.iter().filter(|word| !word.starts_with(['-', '%']));
            words.flat_map(|word| word.split_whitespace()).map(str::to_string).collect()
        }
        "find" if !is_picky(rest) => find_roots(rest).map(str::to_string).collect(),
        _ => vec![],
    }
}

fn operands(words: &[String]) -> impl DoubleEndedIterator<Item = &str> {
    words.iter().map(String::as_str).filter(|word| !word.starts_with('-'))
}

fn find_roots(words: &[String]) -> impl Iterator<Item = &str> {
    let roots = words.iter().map(String::as_str);
    roots
        .skip_while(|word| matches!(*word, "-L" | "-H" | "-P"))
        .take_while(|word| !word.starts_with(['-', '(', '!']))
}

fn find_deletes(words: &[String]) -> bool {
    let deletes = |word: &String| {
        let is = |word| matches!(unwrap::base_name(word), "rm" | "shred" | "unlink");
        word.split_whitespace().any(is)
    };
    let runs = |word: &String| word.starts_with("-exec") || word.starts_with("-ok");
    let is_delete = words.iter().any(|word| word == "-delete")
        || (words.iter().any(runs) && words.iter().any(deletes));
    is_delete && !is_picky(words)
}

/// Whether `find` is given a test, so that only some of the files are meant.
fn is_picky(words: &[String]) -> bool {
    let is_test = |word: &String| {
        const OTHERS: [&str; 15] = [
            "-L",
            "-H",
            "-P",
            "-type",
            "-mindepth",
            "-maxdepth",
            "-depth",
            "-delete",
            "-print",
            "-print0",
            "-xdev",
            "-mount",
            "-r",
            "-f",
            "-c",
        ];
        let is_action = word.starts_with("-exec") || word.starts_with("-ok");
        word.starts_with('-') && !is_action && !OTHERS.contains(&word.as_str()) && word != "-rf"
    };
    words.iter().any(is_test)
}

/// Whether a path is the root, a folder of the system or a home folder, or all that is in it.
fn is_system(path: &str, command: &Command, home: Option<&Path>) -> bool {
    if path.is_empty() {
        return false;
    }
    let expanded = match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        (Some("root"), _) => PathBuf::from("/root"),
        _ => PathBuf::from(path),
    };
    command.dirs.likely.iter().any(|dir| {
        let joined = dir.join(&expanded);
        // What a wildcard alone stands for is all of the folder.
        let mut whole = crate::paths::lexical(&joined);
        let all = |name: &std::ffi::OsStr| {
            matches!(name.to_str(), Some("*" | ".*" | "?*" | "{*,.*}" | "[!.]*" | ".[!.]*" | "*.*"))
        };
        while whole.file_name().is_some_and(all) {
            whole.pop();
        }
        let real = crate::paths::resolve(&whole);
        home.is_some_and(|home| whole == home || home.starts_with(&whole))
            || is_system_folder(&whole)
            || real.is_some_and(|real| is_system_folder(&real) || home == Some(real.as_path()))
    })
}

fn is_system_folder(path: &Path) -> bool {
    let names: Vec<&str> = path.iter().skip(1).map(|name| name.to_str().unwrap_or("?")).collect();
    match names.as_slice() {
        [] => true,
        [name] if name.contains(['*', '?', '[']) => match super::globs::matcher(name) {
            Some(glob) => name.starts_with('*') || SYSTEM.iter().any(|name| glob.is_match(name)),
            None => true,
        },
        [name] => SYSTEM.contains(name),
        ["home" | "Users", _] => true,
        ["var", name] => matches!(*name, "db" | "lib" | "log" | "mail" | "run" | "spool"),
        [name, _] => DEEP.contains(name),
        ["usr", "local", name] => matches!(*name, "bin" | "lib" | "sbin" | "share" | "etc"),
        _ => false,
    }
}
