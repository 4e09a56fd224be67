//! Commands that run other commands: what stands behind `sudo`, `env`, `xargs`, `bash -c`.

use super::words::Word;
use std::collections::HashSet;

/// How many words are looked at behind programs that run others.
const MAX_STEPS: usize = 200;
/// How many of the words are taken for commands when there are more.
const MAX_GUESSES: usize = 1000;

/// The shells whose scripts are looked into.
const SHELLS: &str = "\
    ash bash busybox csh dash fish ksh ksh93 lksh mksh posh pwsh rbash sash sh tcsh yash zsh";

/// Programs that run the rest of their words as a command.
const WRAPPERS: &str = "\
    builtin busybox bwrap calife catchsegv cgexec choom chpst chronic chroot chrt command \
    coproc daemonize dbus-run-session doas dtach dzdo entr env exec fakeroot faketime \
    firejail flock gdb gksudo gosu hyperfine ionice kdesu linux32 linux64 ltrace machinectl \
    nice noglob nohup nsenter numactl parallel perf pfexec pipenv pkexec please poetry \
    prlimit proot proxychains proxychains4 retry rlwrap run0 runcon runuser screen script \
    sem setarch setpriv setsid setuidgid softlimit ssh-agent stdbuf strace su su-exec sudo \
    sudo-rs systemd-run taskset then time timeout tmux torify torsocks toybox unbuffer \
    unshare uv valgrind watch xargs xvfb-run";

/// Programs that run the value of an option as a script.
const RUN_BY_FLAG: &str = "su runuser script flock nix-shell";

/// Those of them before whose command one more word may stand: `chroot DIR`, `flock FILE`.
const AFTER_ONE: &str = "\
    cgexec chroot chrt coproc dtach faketime flock gosu machinectl perf pipenv poetry runcon \
    screen setarch setuidgid su su-exec taskset tmux uv";

fn is_in(list: &str, name: &str) -> bool {
    list.split(' ').any(|other| other == name)
}

fn is_shell(name: &str) -> bool {
    is_in(SHELLS, name)
}

/// The name of a program without its folder.
pub(crate) fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The name by which a rule knows a program: `/usr/bin/sudo` is `sudo`, `./sudo` is another one.
pub(crate) fn program(word: &str) -> &str {
    match word.strip_prefix("./") {
        Some(own) if !own.contains('/') => word,
        _ => base_name(word),
    }
}

fn is_wrapper(name: &str) -> bool {
    let is_stream = name.starts_with('{') && name.ends_with('}');
    is_in(WRAPPERS, name)
        || is_stream
        || matches!(name, "!" | "{" | "do" | "else" | "if" | "while" | "until")
}

/// Whether a program runs its input, or its words, as a script.
pub(crate) fn is_shell_or_eval(name: &str) -> bool {
    let name = base_name(name);
    is_shell(name) || matches!(name, "eval" | "source" | ".")
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
        // `command -v` only says what a name stands for.
        let only_tells =
            name == "command" && rest.first().is_some_and(|word| word.contains(['v', 'V']));
        if only_tells && rest[0].starts_with('-') {
            continue;
        }
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
                if operands > usize::from(is_in(AFTER_ONE, name) || name.starts_with('{'))
                    || steps > MAX_STEPS
                {
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
    if steps > MAX_STEPS {
        // What is behind is not known: each of the words may be the command.
        let mut names = HashSet::new();
        let begins = (0..words.len()).filter(|at| names.insert(base_name(&words[*at])));
        found.extend(begins.take(MAX_GUESSES).map(|at| &words[at..]));
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
        let is_shell = is_shell(name);
        if is_shell || is_in(RUN_BY_FLAG, name) {
            let flag = rest.iter().position(|word| is_command_flag(word, is_shell));
            if let Some(at) = flag {
                let mut words =
                    rest[at + 1..].iter().skip_while(|word| is_shell && is_option(word));
                if let Some(script) = words.next() {
                    scripts.push(with_arguments(script, words.skip(1)));
                }
            }
            let attached = rest.iter().filter_map(|word| word.strip_prefix("-c"));
            scripts.extend(attached.filter(|_| !is_shell).map(str::to_string));
        }
        let value = |flags: &[&str]| {
            let at = rest.iter().position(|word| flags.contains(&word.as_str()))?;
            rest.get(at + 1).cloned()
        };
        match name {
            "eval" | "watch" => {
                let from = rest.iter().take_while(|word| word.starts_with('-')).count();
                scripts.push(rest[from..].join(" "));
            }
            "trap" | "at" | "parallel" => {
                scripts.extend(rest.iter().find(|word| !word.starts_with('-')).cloned());
            }
            "tmux" | "screen" | "hyperfine" | "entr" | "dtach" => {
                scripts.extend(rest.iter().filter(|word| word.contains(' ')).cloned());
            }
            "nix-shell" => scripts.extend(value(&["--run", "--command"])),
            "npx" | "npm" => scripts.extend(value(&["-c", "--call"])),
            "env" => {
                for (at, word) in rest.iter().enumerate() {
                    let long = word.split_once('=').filter(|(name, _)| is_split(name));
                    let split = long.map(|(_, text)| text).or(word.strip_prefix("-S"));
                    scripts.extend(split.filter(|text| !text.is_empty()).map(str::to_string));
                    if matches!(word.as_str(), "-S" | "-vS" | "-iS") || is_split(word) {
                        scripts.extend(rest.get(at + 1).cloned());
                    }
                }
            }
            "git" => {
                let commands = rest.iter().filter_map(|word| word.split_once("=!"));
                scripts.extend(commands.map(|(_, script)| script.to_string()));
                let is_rebase = rest.iter().any(|word| word == "rebase");
                if is_rebase {
                    scripts.extend(value(&["-x", "--exec"]));
                    let long = rest.iter().filter_map(|word| word.strip_prefix("--exec="));
                    scripts.extend(long.map(str::to_string));
                }
                for (group, runs) in [("submodule", "foreach"), ("bisect", "run")] {
                    let at = rest.windows(2).position(|pair| pair[0] == group && pair[1] == runs);
                    let Some(at) = at else { continue };
                    let script = rest[at + 2..].iter().skip_while(|word| word.starts_with('-'));
                    scripts.push(script.cloned().collect::<Vec<_>>().join(" "));
                }
            }
            _ => {}
        }
    }
    scripts.retain(|script| script.contains(|c: char| c.is_ascii_alphanumeric() || c == ':'));
    scripts
}

/// A script that finds its arguments in `$1` and `$@`.
fn with_arguments<'a>(script: &str, arguments: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<String> =
        arguments.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    match quoted.is_empty() || !script.contains('$') {
        true => script.into(),
        false => format!("set -- {}; {script}", quoted.join(" ")),
    }
}

fn is_split(option: &str) -> bool {
    option.len() > 2 && "--split-string".starts_with(option)
}

fn is_option(word: &str) -> bool {
    word.starts_with('-') || word.starts_with('+')
}

/// `-c`, also among other letters: `-lc`.
fn is_command_flag(word: &str, is_shell: bool) -> bool {
    match word.strip_prefix('-') {
        Some(letters) if is_shell => !letters.starts_with('-') && letters.contains('c'),
        Some(letters) => letters.trim_start_matches('-') == "command" || is_cluster_c(letters),
        None => false,
    }
}

fn is_cluster_c(letters: &str) -> bool {
    letters.ends_with('c') && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a command runs a here-document as a script.
pub(crate) fn runs_a_text(words: &[String]) -> bool {
    let is_queue = |name: &String| matches!(base_name(name), "at" | "batch");
    runs_its_input(words) || commands(words).iter().any(|words| is_queue(&words[0]))
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
        if !is_shell(name) {
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
                _ if is_command_flag(word, true) => {
                    // What a pipe brings may stand in its place: `xargs -I{} sh -c {}`.
                    return words
                        .next()
                        .is_none_or(|script| script.trim_matches(['{', '}']).is_empty());
                }
                _ if word.starts_with("--") => {}
                _ if is_option(word) && word.contains('s') => return true,
                // `-euo pipefail`
                _ if is_option(word) && word.ends_with(['o', 'O']) => {
                    words.next();
                }
                _ if is_option(word) => {}
                file => return is_input(file),
            }
        }
        true
    })
}

/// `/dev/stdin`, `/dev/fd/0`, `/proc/self/fd/0`, however they are written.
fn is_input(file: &str) -> bool {
    let path = crate::paths::lexical(std::path::Path::new(file));
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    match names.as_slice() {
        ["-"] | ["/", "dev", "stdin"] => true,
        ["/", "dev", "fd", number] | ["/", "proc", .., "fd", number] => {
            number.bytes().all(|digit| digit == b'0')
        }
        _ => false,
    }
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
