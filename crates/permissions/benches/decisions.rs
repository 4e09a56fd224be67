//! Decisions per second, and the worst texts of a megabyte:
//! `cargo bench -p rungs-permissions`
use rungs_permissions::{Access, Call, Mode, Policy, Ruling};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const RULES: &str = include_str!("../../../config/permissions.yaml");
const MEGABYTE: usize = 1 << 20;
/// How long each command is judged over and over.
const TIME: Duration = Duration::from_millis(300);

fn main() {
    let policy = Policy::load(RULES, Path::new("config/permissions.yaml")).unwrap();
    let cwd = Path::new("/usr/include");
    let decide = |command: &str| -> Ruling {
        let input = serde_json::json!({ "command": command });
        let call = Call { tool: "bash", input: &input, access: Access::Anything, cwd };
        policy.decide(&call, Mode::Default).ruling
    };
    for command in [
        "ls -la",
        "ls -la 2>/dev/null | wc -l && echo done",
        "git log --oneline -5",
        "cargo build --release",
        "for f in *.rs; do wc -l \"$f\"; done",
        "bash -c 'ls; sudo reboot'",
    ] {
        decide(command);
        let begun = Instant::now();
        let mut times = 0;
        while begun.elapsed() < TIME {
            decide(command);
            times += 1;
        }
        let rate = f64::from(times) / begun.elapsed().as_secs_f64();
        println!("{rate:9.0} decisions/s  {command}");
    }
    for (what, part) in [
        ("one word", "x"),
        ("commands", "ls;make;"),
        ("pipes", "ls|"),
        ("words", "a "),
        ("substitutions", "echo $("),
        ("parentheses", "("),
        ("conditions", "if ls; then "),
        ("here-documents", "<<A "),
        ("wildcards", "* "),
        ("NUL", "\0"),
        ("evals", "eval "),
        ("redirections", "> a "),
    ] {
        let text = part.repeat(MEGABYTE / part.len());
        let begun = Instant::now();
        let ruling = decide(&text);
        println!("{:6} ms  1 MB of {what}: {ruling}", begun.elapsed().as_millis());
    }
}
