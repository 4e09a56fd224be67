//! A deny list of a few destructive commands.

/// What a command would do, as a sentence, if it is one of a few that nobody means: `rm -rf /`, to
/// format or overwrite a disk, a fork bomb, to switch the machine off.
///
/// It protects from accidents, not from intent. It splits words but does not interpret the shell:
/// variables, scripts and aliases pass, and so does whatever only loses work (`git push --force`).
/// Permissions decide what may run, and a sandbox limits what it can reach.
pub fn destructive(command: &str) -> Option<&'static str> {
    check(command, MAX_NESTED_SHELLS)
}

/// How many shells within shells (`bash -c "bash -c .."`) are looked into.
const MAX_NESTED_SHELLS: u8 = 3;

fn check(command: &str, depth: u8) -> Option<&'static str> {
    if is_fork_bomb(command) {
        return Some("it is a fork bomb");
    }
    simple_commands(command).iter().find_map(|words| check_words(words, depth))
}

fn check_words(words: &[String], depth: u8) -> Option<&'static str> {
    const WRAPPERS: [&str; 12] = [
        "sudo", "doas", "env", "nohup", "time", "exec", "command", "builtin", "setsid", "nice",
        "then", "do",
    ];
    if words.windows(2).any(|pair| pair[0].starts_with('>') && is_disk(&pair[1])) {
        return Some("it overwrites a disk");
    }
    let is_wrapper = |word: &&String| {
        WRAPPERS.contains(&word.as_str())
            || word.starts_with('-')
            || word.contains('=')
            || word.as_str() == "!"
    };
    let words = &words[words.iter().take_while(is_wrapper).count()..];
    let (name, rest) = words.split_first()?;
    let name = name.rsplit('/').next()?;
    let has = |wanted: &str| rest.iter().any(|word| word == wanted);
    // `-rf`, `-r`, `-R`, `--recursive`
    let recursive = rest.iter().any(|word| {
        word == "--recursive"
            || (word.starts_with('-') && !word.starts_with("--") && word.contains(['r', 'R']))
    });
    match name {
        "rm" | "chmod" | "chown" | "chgrp"
            if recursive && rest.iter().any(|word| is_system_or_home(word)) =>
        {
            Some("it deletes or changes all files of the system or the user")
        }
        "rm" if has("--no-preserve-root") => Some("it deletes all files of the system"),
        "wipefs" | "mke2fs" => Some("it formats a file system"),
        _ if name == "mkfs" || name.starts_with("mkfs.") => Some("it formats a file system"),
        "dd" if rest.iter().any(|word| word.strip_prefix("of=").is_some_and(is_disk)) => {
            Some("it overwrites a disk")
        }
        "shred" | "tee" | "cp" if rest.last().is_some_and(|word| is_disk(word)) => {
            Some("it overwrites a disk")
        }
        "shutdown" | "reboot" | "halt" | "poweroff" => Some("it switches the machine off"),
        "init" | "telinit" if has("0") || has("6") => Some("it switches the machine off"),
        "systemctl" if ["poweroff", "reboot", "halt", "kexec"].into_iter().any(has) => {
            Some("it switches the machine off")
        }
        "kill" if rest.len() > 1 && rest.last().is_some_and(|word| word == "-1") => {
            Some("it kills every process of the user")
        }
        "bash" | "sh" | "dash" | "zsh" | "eval" if depth > 0 => {
            rest.iter().find_map(|word| check(word, depth - 1))
        }
        _ => None,
    }
}

/// Whether this is the root, the home folder, or a folder of the system directly below the root; or
/// all that is in it.
fn is_system_or_home(word: &str) -> bool {
    const SYSTEM: [&str; 16] = [
        "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/sbin",
        "/sys", "/usr", "/var", "/Users", "/System", "/Library",
    ];
    const HOME: [&str; 3] = ["~", "$HOME", "${HOME}"];
    let bare = word.trim_end_matches(['/', '*', '.']);
    (bare.is_empty() && word.starts_with('/')) || HOME.contains(&bare) || SYSTEM.contains(&bare)
}

fn is_disk(word: &str) -> bool {
    const DISKS: [&str; 8] = ["sd", "hd", "vd", "xvd", "nvme", "mmcblk", "disk", "mapper/"];
    word.strip_prefix("/dev/")
        .is_some_and(|device| DISKS.iter().any(|disk| device.starts_with(disk)))
}

/// Whether it contains `:(){ :|:& };:`, with any name for the function.
fn is_fork_bomb(command: &str) -> bool {
    let dense: String = command.chars().filter(|c| !c.is_whitespace()).collect();
    dense.split_once("(){").is_some_and(|(before, body)| {
        let name = before.rsplit([';', '&', '|']).next().unwrap_or_default();
        !name.is_empty() && body.starts_with(&format!("{name}|{name}&"))
    })
}

/// The words of each command, without their quotes, split at the operators outside of quotes. What
/// follows `<<` is the text of a here-document in most cases, and is skipped.
fn simple_commands(command: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (vec![], vec![], String::new());
    let (mut quote, mut quoted, mut previous) = (None, false, ' ');
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.push(c),
            (_, '\\') => word.extend(chars.next().filter(|c| *c != '\n')),
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, quoted) = (Some(c), true),
            (None, '<') if previous == '<' && chars.peek() != Some(&'<') => break,
            (None, '#') if word.is_empty() && previous.is_whitespace() => {
                while chars.next_if(|c| *c != '\n').is_some() {}
            }
            (None, '{') if previous == '$' => word.push(c),
            (None, '}') if word.contains("${") => word.push(c),
            (None, c) if c.is_whitespace() || ";|&(){}`<>".contains(c) => {
                if !word.is_empty() || quoted {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
                match c {
                    '>' => words.push(">".into()),
                    ';' | '|' | '&' | '(' | ')' | '{' | '}' | '`' | '\n' => {
                        commands.push(std::mem::take(&mut words))
                    }
                    _ => {}
                }
            }
            (None, c) => word.push(c),
        }
        previous = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    commands.push(words);
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destructive_commands_are_denied() {
        for command in [
            "rm -rf /",
            "rm -fr /*",
            "rm -r -f ~",
            "rm -rf ~/",
            "rm -rf ~/*",
            "rm --recursive --force $HOME",
            "rm -rf \"$HOME\"/",
            "rm -rf ${HOME}/*",
            "rm -Rf '/'",
            "rm -rf //",
            "rm -rf /.",
            "rm -rf /usr /tmp/x",
            "rm -rf /etc/*",
            "rm -rf --no-preserve-root /",
            "cd x && sudo rm -rf /",
            "echo hi; /bin/rm -rf /",
            "(rm -rf /)",
            "true | rm -rf /",
            "X=1 rm -rf /",
            "env X=1 rm -rf /",
            "sudo -n rm -rf /",
            "if true; then rm -rf /; fi",
            "bash -c 'rm -rf /'",
            "sudo sh -c \"cd / && rm -rf /\"",
            "eval 'rm -rf ~'",
            "rm \\\n -rf /",
            "r\\m -rf /",
            "chmod -R 777 /",
            "sudo chown -R me /usr",
            "mkfs /dev/sda1",
            "sudo mkfs.ext4 -F /dev/sda1",
            "wipefs -a /dev/sda",
            "dd if=/dev/zero of=/dev/sda bs=1M",
            "dd of=/dev/nvme0n1 if=x",
            "cat x > /dev/sda",
            "echo x >/dev/vda",
            "shutdown -h now",
            "sudo reboot",
            "/sbin/poweroff",
            "init 0",
            "systemctl poweroff",
            "kill -9 -1",
            ":(){ :|:& };:",
            "bomb() { bomb | bomb & }; bomb",
        ] {
            assert!(destructive(command).is_some(), "{command}");
        }
    }

    #[test]
    fn all_others_pass() {
        for command in [
            "",
            "rm -rf target",
            "rm -rf /tmp/x",
            "rm -rf ./*",
            "rm -rf ~/project/target",
            "rm -rf /home/me/project",
            "rm -f /etc/x.conf",
            "rm /",
            "echo 'rm -rf /'",
            "echo rm -rf /",
            "git commit -m 'no more rm -rf /; reboot'",
            "grep -r shutdown /etc",
            "# rm -rf /",
            "ls # rm -rf /",
            "cat > x.sh <<EOF\nreboot\nEOF",
            "cat <<'EOF' > x.sh\nrm -rf /\nEOF",
            "git push --force",
            "git reset --hard",
            "dd if=/dev/zero of=disk.img",
            "dd if=x of=/dev/null",
            "echo x > /dev/null",
            "echo x >/dev/stderr",
            "man mkfs",
            "which reboot",
            "kill -9 123",
            "kill -1 123",
            "chmod -R u+w .",
            "f() { g | h & }; f",
            "npm run init 0x",
        ] {
            assert_eq!(destructive(command), None, "{command}");
        }
    }
}
