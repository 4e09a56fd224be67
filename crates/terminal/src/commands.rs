//! What a line means: a command, the way out, or a prompt.
use rungs_core::Agent;

/// What a line means.
#[derive(Debug, PartialEq)]
pub(crate) enum Meaning<'a> {
    Nothing,
    Leave,
    /// Its name and its arguments.
    Command(&'a str),
    Prompt(&'a str),
}

impl Meaning<'_> {
    /// Commands begin with a colon. As elsewhere, a slash will do too, before a name that is known:
    /// a path begins with one too.
    pub(crate) fn of<'a>(line: &'a str, commands: &[String]) -> Meaning<'a> {
        let line = line.trim();
        let name = line.split_whitespace().next().unwrap_or_default();
        let known = |name: &str| commands.iter().any(|known| known == name);
        match line.strip_prefix([':', '/']).unwrap_or(line) {
            "" if line.is_empty() => Meaning::Nothing,
            "q" | "quit" | "exit" => Meaning::Leave,
            "help" => Meaning::Command("help"),
            command if line.starts_with(':') || name.strip_prefix('/').is_some_and(known) => {
                Meaning::Command(command)
            }
            _ => Meaning::Prompt(line),
        }
    }
}

/// What the keys do.
const KEYS: &str = "\
q, exit, quit or Ctrl+D leaves; Alt+Enter, or \\ at its end, begins a new line; Tab completes
Ctrl+C clears the line, and stops a turn; in an empty line, or twice within a second, it leaves
what is typed while the agent works waits below what it shows, and is asked next";

/// The commands of this agent's prompt, with a line of help each.
pub(crate) fn commands(agent: &Agent) -> impl Iterator<Item = (&str, &str)> {
    let shared = [("help", "what this lesson teaches, and what to try"), ("commands", "this list")];
    agent.commands().chain(shared)
}

/// The names of the commands of this agent's prompt.
pub(crate) fn names(agent: &Agent) -> Vec<String> {
    commands(agent).map(|(name, _)| name.into()).collect()
}

/// The commands of this agent's prompt, a line each.
pub fn command_list(agent: &Agent) -> String {
    let lines = commands(agent).map(|(name, help)| format!(":{name:<12} {help}"));
    lines.chain([KEYS.into()]).collect::<Vec<_>>().join("\n")
}
