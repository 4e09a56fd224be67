//! Commands that run other commands: what stands behind `sudo`, `env`, `xargs`, `bash -c`.

use super::words::Word;
use std::collections::HashSet;

/// How many words are looked at behind programs that run others.
const MAX_STEPS: usize = 200;

/// The shells whose scripts are looked into.
const SHELLS: [&str; 13] = [
    "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "rbash", "posh",
    "busybox",
];

/// Programs that run the rest of their words as a command.
const WRAPPERS: [&str; 66] = [
    "bwrap",
    "busybox",
    "catchsegv",
    "chpst",
    "chroot",
    "chrt",
    "command",
    "builtin",
    "coproc",
    "daemonize",
    "dbus-run-session",
    "doas",
    "env",
    "exec",
    "fakeroot",
    "faketime",
    "firejail",
    "flock",
    "gdb",
    "gosu",
    "ionice",
    "linux32",
    "linux64",
    "ltrace",
    "machinectl",
    "nice",
    "nohup",
    "noglob",
    "nsenter",
    "numactl",
    "parallel",
    "pkexec",
    "proot",
    "proxychains",
    "proxychains4",
    "retry",
    "run0",
    "runcon",
    "runuser",
    "script",
    "sem",
    "setarch",
    "setpriv",
    "setsid",
    "setuidgid",
    "softlimit",
    "ssh-agent",
    "stdbuf",
    "strace",
    "su",
    "su-exec",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "toybox",
    "torify",
    "torsocks",
    "unbuffer",
    "unshare",
    "valgrind",
    "watch",
    "xargs",
    "xvfb-run",
    "then",
];

/// The name of a program without its folder.
pub(crate) fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn is_wrapper(name: &str) -> bool {
    WRAPPERS.contains(&name) || matches!(name, "!" | "{" | "do" | "else" | "if" | "while" | "until")
}

/// Whether a program runs its input, or its words, as a script.
pub(crate) fn is_shell_or_eval(name: &str) -> bool {
    let name = base_name(name);
    SHELLS.contains(&name) || matches!(name, "eval" | "source" | ".")
}

/// The command itself, and each command that it would run by its words. Generous: an option's value
/// may be taken for a command, so only what denies or asks may go by it.
pub(crate) fn commands(words: &[String]) -> Vec<&[String]> {
    look_behind(words).0
}

/// Whether there are more programs that run others than are looked at.
pub(crate) fn is_too_deep(words: &[String]) -> bool {
    look_behind(words).1
}

fn look_behind(words: &[String]) -> (Vec<&[String]>, bool) {
    let mut found: Vec<&[String]> = vec![];
    let mut known = HashSet::new();
    let mut todo = vec![words];
    let mut steps = 0;
    while let Some(words) = todo.pop() {
        let Some((name, rest)) = words.split_first() else { continue };
        if steps > MAX_STEPS || !known.insert(words.len()) {
            continue;
        }
        found.push(words);
        let name = base_name(name);
        if is_wrapper(name) || is_assignment(&words[0]) {
            let mut operands = 0;
            for (at, word) in rest.iter().enumerate() {
                steps += 1;
                todo.push(&rest[at..]);
                let after_option = at > 0 && rest[at - 1].starts_with('-');
                let is_value = word.starts_with('-')
                    || is_assignment(word)
                    || after_option
                    || word.starts_with(|c: char| c.is_ascii_digit());
                operands += usize::from(!is_value);
                // `chroot DIR`, `flock FILE`, `taskset MASK`: one word may come before.
                let before = matches!(
                    name,
                    "chroot"
                        | "flock"
                        | "taskset"
                        | "setarch"
                        | "su"
                        | "gosu"
                        | "su-exec"
                        | "runcon"
                        | "setuidgid"
                        | "faketime"
                        | "machinectl"
                        | "chrt"
                        | "coproc"
                );
                if operands > usize::from(before) || steps > MAX_STEPS {
                    break;
                }
            }
        }
        if matches!(name, "find" | "fd" | "fdfind") {
            for (at, word) in rest.iter().enumerate() {
                let runs = ["-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec"];
                if runs.contains(&word.as_str()) || word == "--exec-batch" {
                    todo.push(&rest[at + 1..]);
                }
            }
        }
    }
    (found, steps > MAX_STEPS)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.trim_end_matches('+');
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The scripts that a command hands to a shell by its words.
pub(crate) fn scripts(words: &[String]) -> Vec<String> {
    let mut scripts = vec![];
    for words in commands(words) {
        let Some((name, rest)) = words.split_first() else { continue };
        let name = base_name(name);
        let is_shell = SHELLS.contains(&name);
        if is_shell || matches!(name, "su" | "runuser" | "script" | "flock" | "nix-shell") {
            let flag = rest.iter().position(|word| is_command_flag(word, is_shell));
            if let Some(at) = flag {
                let script = rest[at + 1..].iter().find(|word| !is_shell || !is_option(word));
                scripts.extend(script.cloned());
            }
        }
        match name {
            "eval" | "watch" => {
                let from = rest.iter().take_while(|word| word.starts_with('-')).count();
                scripts.push(rest[from..].join(" "));
            }
            "trap" | "at" | "parallel" => scripts.extend(rest.first().cloned()),
            "env" => {
                for (at, word) in rest.iter().enumerate() {
                    let split = word.strip_prefix("--split-string=").or(word.strip_prefix("-S"));
                    scripts.extend(split.filter(|text| !text.is_empty()).map(str::to_string));
                    if matches!(word.as_str(), "-S" | "--split-string" | "-vS" | "-iS") {
                        scripts.extend(rest.get(at + 1).cloned());
                    }
                }
            }
            "git" => {
                let commands = rest.iter().filter_map(|word| word.split_once("=!"));
                scripts.extend(commands.map(|(_, script)| script.to_string()));
            }
            _ => {}
        }
    }
    scripts.retain(|script| script.contains(|c: char| c.is_ascii_alphanumeric() || c == ':'));
    scripts
}

fn is_option(word: &str) -> bool {
    word.starts_with('-') || word.starts_with('+')
}

/// `-c`, also among other letters: `-lc`.
fn is_command_flag(word: &str, is_shell: bool) -> bool {
    match word.strip_prefix('-') {
        Some(letters) if is_shell => !letters.starts_with('-') && letters.contains('c'),
        Some(letters) => letters.starts_with('c') || letters == "-command",
        None => false,
    }
}

/// Whether a command is a shell that reads its script from its input.
pub(crate) fn runs_its_input(words: &[String]) -> bool {
    commands(words).into_iter().any(|words| {
        let Some((name, mut rest)) = words.split_first() else { return false };
        let mut name = base_name(name);
        if name == "busybox" {
            let Some((applet, more)) = rest.split_first() else { return false };
            (name, rest) = (applet.as_str(), more);
        }
        if matches!(name, "source" | ".") {
            return rest.first().is_some_and(|file| is_input(file));
        }
        if !SHELLS.contains(&name) {
            return false;
        }
        let mut words = rest.iter().peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-" | "--" => {}
                "-s" => return true,
                "-o" | "+o" | "-O" | "+O" | "--rcfile" | "--init-file" => {
                    words.next();
                }
                _ if is_command_flag(word, true) => return false,
                _ if word.starts_with("--") => {}
                _ if is_option(word) && word.contains('s') => return true,
                _ if is_option(word) => {}
                file => return is_input(file),
            }
        }
        true
    })
}

fn is_input(file: &str) -> bool {
    matches!(file, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")
}

/// The words without the wrappers in front of them that change nothing of what runs: `time`,
/// `nohup`, `nice`, `command`, `timeout`, `stdbuf`, in their plain forms.
pub(crate) fn allowed(words: &[Word]) -> &[Word] {
    let mut words = words;
    loop {
        let Some((name, rest)) = words.split_first() else { return words };
        let text = |at: usize| rest.get(at).map(|word| word.text.as_str()).unwrap_or_default();
        let is_number = |text: &str| {
            let digits = text.trim_end_matches(['s', 'm', 'h']);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        };
        let skip = match name.text.as_str() {
            "time" | "nohup" | "command" => 0,
            "nice" if text(0) == "-n" && is_number(text(1)) => 2,
            "nice" => 0,
            "timeout" if is_number(text(0)) => 1,
            "stdbuf" if matches!(text(0), "-oL" | "-o0" | "-eL" | "-e0" | "-i0") => 1,
            _ => return words,
        };
        let inner = &rest[skip.min(rest.len())..];
        if inner.first().is_none_or(|word| word.text.starts_with('-')) {
            return words;
        }
        words = inner;
    }
}
