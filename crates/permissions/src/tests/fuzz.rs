//! Generated commands against real bash: whatever an allowed command starts there, it must have
//! been seen here, word for word.
use super::policy;
use crate::{
    Mode, Ruling,
    shell::{self, Kind},
    tests::decide_in,
};
use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Runs each command in a shell that starts nothing: every name leads to a function that writes its
/// words down. Shell builtins are switched off, so that they are written down too.
const DRIVER: &str = r#"
command_not_found_handle() {
    builtin local s
    builtin printf -v s '%s\x1f' "$N" "$@"
    builtin printf '%s\x1e' "$s" >> "$L"
    builtin return $((RANDOM % 2))
}
for b in eval printf return local; do
    builtin eval "$b() { command_not_found_handle $b \"\$@\"; }"
done
set -f
kept='-e builtin -e enable -e eval -e printf -e return -e local'
enable -n $(compgen -b | /usr/bin/grep -vx $kept)
PATH=/nowhere
HOME="~"
for N in "${!C[@]}"; do
    ( builtin eval "${C[N]}" ) < /dev/null > /dev/null 2>&1
done
"#;

/// What commands are made of; `evil` must never run unseen.
const PIECES: &[&str] = &[
    "ls",
    "echo a",
    "cat f",
    "head -n 1 f",
    "wc -l",
    "grep x f",
    "git log",
    "pwd",
    "find .",
    "evil",
    "evil",
    "a",
    "f",
    "-x",
    "--",
    "'",
    "\"",
    "\\",
    "\n",
    ";",
    "&&",
    "||",
    "|",
    "&",
    "|&",
    "#",
    " ",
    "\t",
    "$(evil)",
    "`evil`",
    "$(",
    ")",
    "(",
    "`",
    "${x:-$(evil)}",
    "${x@P}",
    "${",
    "}",
    "{",
    "$x",
    "$'a'",
    "$'\\x27'",
    "$\"a\"",
    "$((1))",
    "$((a[$(evil)]))",
    "<(evil)",
    ">",
    ">>",
    "<",
    "2>&1",
    ">/dev/null",
    "2>/dev/null",
    "&>/dev/null",
    "<<E\n",
    "<<-E\n",
    "<<'E'\n",
    "\nE\n",
    "<<<",
    "=~",
    "==",
    "[[",
    "]]",
    "[",
    "]",
    "!",
    "if",
    "then",
    "fi",
    "for",
    "in",
    "do",
    "done",
    "while",
    "case",
    "esac",
    ";;",
    "a=b",
    "A=b",
    "LANG=C",
    "x=(",
    "f()",
    "function",
    "time",
    "coproc",
    "nohup",
    "timeout 5",
    "\\\n",
    "\r",
    "*",
    "?",
    "~",
    "{a,b}",
    "é",
    "\u{a0}",
    "\u{200b}",
    "''",
    "\"\"",
    "'a b'",
    "\"a b\"",
    "\"$(evil)\"",
    "\"`evil`\"",
    "'$(evil)'",
    "\"a$\"",
    "\"\\\"\"",
    "\\'",
    "\\\"",
    "\\$",
    "\\`",
    "\\;",
    "\\#",
    "a#b",
    "#'\n",
    "\"'\"",
    "'\"'",
    "$$",
    "$",
    "@",
    "!!",
    "^a^b",
    "0",
    "1",
    "-",
    "+",
    "%",
    ":",
    ",",
    ".",
    "/",
    "=",
    "$'\\n'",
    "$'",
    "$\"",
    "${x",
    "${#x}",
    "$[1]",
    "select",
    "until",
    "else",
    "esac)",
    "env",
    "command ",
    "exec",
    "eval",
    "trap",
    "2>",
    "1>&",
    ">|",
    "<>",
    "<&",
    ">&",
    "&>",
    "&>>",
    "{x}>",
    "\u{b}",
    "\u{c}",
    "\u{1}",
    "\\\\",
    "a\\",
    "export A=b",
];

/// Pieces that are mostly allowed, so that enough is run.
const PLAIN: &[&str] = &[
    "ls",
    "echo a",
    "cat f",
    "wc -l",
    "grep 'x' f",
    "git log",
    "pwd",
    " ; ",
    " && ",
    " || ",
    " | ",
    "\n",
    " 2>&1 ",
    " >/dev/null ",
    " 'a b' ",
    " \"c\" ",
    " d ",
    "\\ ",
    " # n\n",
    "''",
    " \\\n",
    "LANG=C ",
    " time ",
    "timeout 5 ",
    " -x ",
    " a\"b\"'c' ",
    " \"a$\" ",
    "{}",
    " a=b ",
    " \\; ",
];

fn generate(random: &mut fastrand::Rng) -> String {
    let mut text = String::new();
    let odd = random.u32(0..100);
    for _ in 0..random.usize(1..12) {
        let pieces = if random.u32(0..100) < odd / 2 { PIECES } else { PLAIN };
        text.push_str(random.choice(pieces).unwrap());
        if random.u8(0..3) == 0 {
            text.push(' ');
        }
    }
    text
}

/// A text as bash reads it back.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Which words each command started, by its number.
fn run(commands: &[String], dir: &Path) -> Vec<(usize, Vec<String>)> {
    let log = dir.with_extension("log");
    let _ = fs::remove_file(&log);
    let list: Vec<String> = commands.iter().map(|command| quoted(command)).collect();
    let script = format!("L={}\nC=({})\n{DRIVER}", quoted(log.to_str().unwrap()), list.join("\n"));
    let file = dir.with_extension("sh");
    fs::write(&file, script).unwrap();
    let status = Command::new("bash")
        .args(["--norc", "--noprofile"])
        .arg(&file)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.code().is_some(), "the shell was killed");
    let log = fs::read(&log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    log.split_terminator('\u{1e}')
        .map(|record| {
            let mut fields = record.trim_end_matches('\u{1f}').split('\u{1f}');
            let number = fields.next().unwrap().parse().unwrap();
            // An empty last word was cut off with its separator.
            let words = record.matches('\u{1f}').count() - 1;
            let mut words: Vec<String> = fields
                .map(str::to_string)
                .chain(std::iter::repeat_n(String::new(), words))
                .take(words)
                .collect();
            words.shrink_to_fit();
            (number, words)
        })
        .collect()
}

/// The words of the commands that were seen, without the harmless words in front of them.
fn seen(command: &str, dir: &Path) -> HashSet<Vec<String>> {
    let analysis = shell::analyse(command, dir, None);
    let commands = analysis.items.iter().filter_map(|item| match &item.kind {
        Kind::Command(command) => Some(&command.words),
        _ => None,
    });
    let mut seen = HashSet::new();
    for words in commands {
        // `time` is a word of the shell, so what follows is what it starts.
        for from in 0..words.len() {
            if from == 0 || words[..from].iter().all(|word| word.text == "time") {
                seen.insert(words[from..].iter().map(|word| word.text.clone()).collect());
            }
        }
    }
    seen
}

#[test]
fn an_allowed_command_starts_nothing_unseen() {
    let long = std::env::var_os("LONG").is_some();
    let (rounds, size) = if long { (1000, 1000) } else { (2, 500) };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("empty");
    fs::create_dir(&dir).unwrap();
    let policy = policy();
    let (mut generated, mut allowed, mut started) = (0, 0, 0);
    for round in 1..=rounds {
        if round % 20 == 0 {
            println!("{generated} generated, {allowed} allowed, {started} started by them");
        }
        let mut commands = vec![];
        for _ in 0..size {
            let command = generate(&mut random);
            generated += 1;
            if decide_in(&policy, &command, &dir, Mode::Default).ruling == Ruling::Allow {
                commands.push(command);
            }
        }
        allowed += commands.len();
        for (number, words) in run(&commands, &dir) {
            started += 1;
            let command = &commands[number];
            let seen = seen(command, &dir);
            assert!(seen.contains(&words), "{command:?} starts {words:?}, seen is {seen:?}");
        }
        let made: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(made.is_empty(), "{made:?} was made by one of {commands:#?}");
    }
    println!("{generated} generated, {allowed} allowed, {started} started by them");
    assert!(allowed > 0 && started > 0);
}
