//! Every recorded run is what the lesson prints today.
use super::{assert_none, lessons, programs, read, repository};
use regex::Regex;
use std::{
    collections::BTreeSet,
    env, fs,
    fs::File,
    io::{Read, Seek},
    sync::LazyLock,
};

/// Lessons in which several agents or calls are at work at once. Which one is ahead differs from
/// run to run, so their lines are compared in any order.
const CONCURRENT: [&str; 10] = [
    "full",
    "s04_subagent",
    "s09_agent_teams",
    "s10_team_protocols",
    "s11_autonomous_agents",
    "s12_worktree_task_isolation",
    "s16_event_bus",
    "s18_parallel_tools",
    "s22_production_mailbox",
    "s23_worktree_advanced",
];

/// Lessons that kill a program of ours, which is why they run alone.
const KILLS: [&str; 1] = ["s17_session_management"];

/// How often a lesson may run until it agrees: a race can leave out a line or repeat one, and on a
/// machine that is busy a job may start later.
const RUNS: usize = 4;

/// Where the repository is in a recorded run.
const REPOSITORY: &str = "/home/you/rungs";

/// What differs from run to run, from machine to machine and from user to user, and what is
/// compared in its place.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    patterns(&[
        (r"\b[0-9a-f]{6,}\b", "ID"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\b\d+\.\d+ ?s\b", "TIME s"),
        (r"\b\d+ ?ms\b", "TIME ms"),
        (r"\b\d\d:\d\d(:\d\d)?\b", "TIME"),
        // From `ls -l`: rights, links, owner and group; then the date.
        (r"^( *)[-dl][-rwxst]{9}\S* +\d+ +\S+ +\S+ +", "${1}RIGHTS "),
        (r"\b[A-Z][a-z]{2} [ \d]\d TIME\b", "DATE"),
        // Of a list in the order of random names, the first ones are shown.
        (r"\b\d+ bytes  \./results/", "N bytes  ./results/"),
    ])
});

/// Lines that not every run has. What a killed program left is ended by the next start of a lesson,
/// and what is shown of a command depends on whether it was still there.
static SOMETIMES: LazyLock<Regex> = LazyLock::new(|| {
    let lines = [
        r"ended \d+ processes that a killed run had left: .*",
        r"\[still running at the end, and stopped .*",
        r"\.\.\. \d+ more lines \.\.\.",
        r"bash: line \d+: +\d+ Killed .*",
        r"> .* kill -9 \$PPID; .*",
    ];
    Regex::new(&format!(r"^ *({})$", lines.join("|"))).unwrap()
});

/// The same for agents that work side by side: which letters came together, who was asked first,
/// and how much time that saved.
static SOMETIMES_SAID: LazyLock<Regex> = LazyLock::new(|| {
    let lines = [
        r"Noted\.",
        r".*still to come\.",
        r"Nothing is open\.",
        r"\S+: \S+ is \w+",
        r"\(WORKER: .*\)",
        r"\[cache\].*",
        r"\(\d+ calls in .*",
    ];
    Regex::new(&format!(r"^ *({})$", lines.join("|"))).unwrap()
});

/// What depends on which agent is ahead.
static RACING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    patterns(&[
        // Which call a result belongs to is said only if something else came between.
        (r"^ *(\S+ )?< .*\(TIME s\)$", ""),
        // Who says it; and it stands after a name only if several speak.
        (r"^ {2}[a-z][a-z0-9-]* ", ""),
        (r"(?i)\b(ann|bob)\b", "WORKER"),
        (r"\[(pending|in_progress|done)\]", "[STATE]"),
        (r", owner \S+$", ""),
        // How many events an observer has heard by then.
        (r"\b\d+ (call|hook|reply|result)$", "N $1"),
        (r"\b\d+ times, \d+ failed", "N times, N failed"),
        (r"^[.\s]+(\d/\d)?$", ""),
    ])
});

fn patterns(patterns: &[(&str, &'static str)]) -> Vec<(Regex, &'static str)> {
    patterns.iter().map(|(pattern, name)| (Regex::new(pattern).unwrap(), *name)).collect()
}

fn replaced(line: &str, patterns: &[(Regex, &str)]) -> String {
    patterns.iter().fold(line.to_string(), |line, (pattern, name)| {
        pattern.replace_all(&line, *name).into_owned()
    })
}

fn normal(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for line in text.lines().filter(|line| !SOMETIMES.is_match(line)) {
        // Names of folders and of the machine are part of what is counted.
        let counts = line.contains(" tokens") || line.contains("[cache]");
        let line = replaced(line, &VARYING);
        lines.push(if counts { line.replace(|c: char| c.is_ascii_digit(), "") } else { line });
    }
    // A list of files that have random names is in a random order.
    for listed in lines.chunk_by_mut(|a, b| a.contains("ID") && b.contains("ID")) {
        listed.sort();
    }
    lines
}

/// What a lesson prints when its standard input is closed: it plays all that it suggests.
fn run(lesson: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut shown: File = tempfile::tempfile().unwrap();
    let program = programs::BUILT.join("examples").join(lesson);
    let mut program = programs::program(&program, home.path());
    program.stdout(shown.try_clone().unwrap()).stderr(shown.try_clone().unwrap());
    // The next start of any lesson ends what a killed program has left, and both of them say so.
    let (_alone, _beside) = match KILLS.contains(&lesson) {
        true => (Some(programs::RUNNING.write().unwrap()), None),
        false => (None, Some(programs::RUNNING.read().unwrap())),
    };
    let status = program.status().unwrap_or_else(|e| panic!("{lesson}: {e}"));
    let mut text = String::new();
    shown.rewind().unwrap();
    shown.read_to_string(&mut text).unwrap();
    assert!(status.success(), "{lesson} ends with {status}:\n{text}");
    // As it would be in a usual place.
    let text = text.replace(repository().to_str().unwrap(), REPOSITORY);
    let text = text.replace(&*programs::temporary(home.path()).to_string_lossy(), "/tmp");
    // What it says where nothing was set.
    let text = text.replace("Redis at localhost:1:", "Redis at localhost:6379:");
    let own =
        |line: &&str| !(line.starts_with("ended ") && line.contains(" a killed run had left"));
    text.split_inclusive('\n').filter(own).collect()
}

/// What differs, if anything does: the first line, or for a concurrent lesson all lines that only
/// one of the two has.
fn difference(lesson: &str, recorded: &str, now: &str) -> Option<String> {
    let (recorded, now) = (normal(recorded), normal(now));
    if !CONCURRENT.contains(&lesson) {
        let at = (0..recorded.len().max(now.len())).find(|at| recorded.get(*at) != now.get(*at))?;
        let line = |lines: &[String]| lines.get(at).map_or("(its end)".into(), String::clone);
        return Some(format!("line {}\n- {}\n+ {}", at + 1, line(&recorded), line(&now)));
    }
    let set = |lines: &[String]| -> BTreeSet<String> {
        let lines = lines.iter().map(|line| replaced(line, &RACING).trim().to_string());
        lines.filter(|line| !SOMETIMES_SAID.is_match(line)).collect()
    };
    let (recorded, now) = (set(&recorded), set(&now));
    let gone = recorded.difference(&now).map(|line| format!("- {line}"));
    let new = now.difference(&recorded).map(|line| format!("+ {line}"));
    let lines: Vec<String> = gone.chain(new).collect();
    (!lines.is_empty()).then(|| format!("in any order\n{}", lines.join("\n")))
}

#[test]
fn every_transcript_is_what_the_lesson_prints() {
    let update = env::var_os("UPDATE").is_some();
    let wrong = programs::for_all(lessons().into_iter().collect(), |lesson| {
        let file = repository().join(format!("book/transcripts/{lesson}.txt"));
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        let mut differences = vec![];
        let mut now = String::new();
        for _ in 0..RUNS {
            now = run(&lesson);
            differences.push(difference(&lesson, &recorded, &now)?);
        }
        if update {
            fs::write(file, now).unwrap();
            return None;
        }
        Some(format!(
            "book/transcripts/{lesson}.txt, {}\nUPDATE=1 cargo test -p rungs-book records it",
            differences.join("\nand another time, ")
        ))
    });
    assert_none(&wrong);
}

#[test]
fn every_transcript_belongs_to_a_lesson_and_names_nobody() {
    let home = env::var("HOME").unwrap_or_default();
    for file in super::below(&repository().join("book/transcripts"), "") {
        let lesson = file.file_stem().unwrap().to_str().unwrap();
        assert!(lessons().contains(lesson), "{} is of no lesson", file.display());
        let text = read(&file);
        assert!(home.len() < 6 || !text.contains(&home), "{} names {home}", file.display());
    }
}

#[test]
fn what_varies_is_not_compared_and_everything_else_is() {
    let first = "A rehearsal in /tmp/rehearsal-10f68892ac2fc1e6
  -rw-r--r-- 1 root root 75 Nov 26 09:54 README.md
stream of 127.0.0.1:3590 cut after 0.1 s
";
    let second = "A rehearsal in /tmp/rehearsal-babdbd2d0e3406ba
  -rw------- 1 me we 75 Nov  2 19:54 README.md
stream of 127.0.0.1:40000 cut after 12.0 s
";
    assert_eq!(difference("s01_loop", first, second), None);
    let other = second.replace("cut", "ended");
    let found = difference("s01_loop", first, &other).unwrap();
    assert!(found.starts_with("line 3\n- stream of 127.0.0.1:PORT cut"), "{found}");
    let ended = difference("s01_loop", first, "").unwrap();
    assert!(ended.ends_with("+ (its end)"), "{ended}");
    assert!(difference("s01_loop", "a\nb\n", "b\na\n").is_some());
    assert_eq!(difference("s04_subagent", "a\nb\n", "  ann b\na\n"), None);
    let found = difference("s04_subagent", "a\nb\n", "a\n  ann c\n").unwrap();
    assert_eq!(found, "in any order\n- b\n+ c");
}
