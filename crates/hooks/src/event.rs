//! When hooks run, and how the protocol names tools.
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// How long a hook may run that sets no time of its own.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The same at the end of a session, when somebody waits for the program to end.
const SESSION_END_TIMEOUT: Duration = Duration::from_millis(1500);

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HookEvent {
    /// A conversation begins, or continues after it was resumed, cleared or compacted.
    SessionStart,
    /// A conversation ends.
    SessionEnd,
    /// The person has sent a prompt.
    UserPromptSubmit,
    /// A tool is about to be called.
    PreToolUse,
    /// A call has succeeded.
    PostToolUse,
    /// A call has failed.
    PostToolUseFailure,
    /// The person is about to be asked whether a call may run.
    PermissionRequest,
    /// The model has nothing more to do.
    Stop,
    /// A subagent begins.
    SubagentStart,
    /// A subagent has nothing more to do.
    SubagentStop,
    /// Older turns are about to be summarised.
    PreCompact,
    /// They were.
    PostCompact,
    /// The person should know something, such as that they are asked.
    Notification,
}

impl HookEvent {
    /// The event of this name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    /// Whether its hooks guard something: one that fails then counts as one that blocks.
    pub fn guards(self) -> bool {
        matches!(self, Self::UserPromptSubmit | Self::PreToolUse | Self::PermissionRequest)
    }

    /// Whether plain text on standard output is context for the model.
    pub(crate) fn takes_plain_text(self) -> bool {
        matches!(self, Self::SessionStart | Self::UserPromptSubmit)
    }

    /// Which field of the input a matcher is about; `None` when matchers are ignored.
    pub(crate) fn subject(self) -> Option<&'static str> {
        match self {
            Self::SessionStart => Some("source"),
            Self::SessionEnd => Some("reason"),
            Self::PreToolUse
            | Self::PostToolUse
            | Self::PostToolUseFailure
            | Self::PermissionRequest => Some("tool_name"),
            Self::SubagentStart | Self::SubagentStop => Some("agent_type"),
            Self::PreCompact | Self::PostCompact => Some("trigger"),
            Self::Notification => Some("notification_type"),
            Self::UserPromptSubmit | Self::Stop => None,
        }
    }

    /// How long its hooks may run by default.
    pub(crate) fn timeout(self) -> Duration {
        if self == Self::SessionEnd { SESSION_END_TIMEOUT } else { TIMEOUT }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How the protocol names a tool: `bash` is `Bash`, `todo_write` is `TodoWrite`, a tool of an MCP
/// server (`mcp__server__tool`) keeps its name. A command in the background is a command.
pub fn protocol_name(tool: &str) -> String {
    match tool {
        "bash_background" => "Bash".into(),
        "task" => "Agent".into(),
        "load_skill" => "Skill".into(),
        name if name.starts_with("mcp__") => name.into(),
        name => name.split('_').map(capitalised).collect(),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The names under which a matcher finds a tool that the protocol calls so: also as this program
/// writes it, and as it was once called.
pub fn tool_names<'a>(protocol_name: &'a str, own_name: &'a str) -> Vec<&'a str> {
    let former = (protocol_name == "Agent").then_some("Task");
    [protocol_name, own_name].into_iter().chain(former).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_have_the_names_that_scripts_expect() {
        for (tool, name) in [
            ("bash", "Bash"),
            ("bash_background", "Bash"),
            ("multi_edit", "MultiEdit"),
            ("notebook_edit", "NotebookEdit"),
            ("todo_write", "TodoWrite"),
            ("task", "Agent"),
            ("mcp__github__create_issue", "mcp__github__create_issue"),
            ("", ""),
        ] {
            assert_eq!(protocol_name(tool), name);
        }
        assert_eq!(tool_names("Agent", "task"), ["Agent", "task", "Task"]);
    }

    #[test]
    fn events_have_their_names() {
        assert_eq!(HookEvent::named("PostToolUseFailure"), Some(HookEvent::PostToolUseFailure));
        assert_eq!(HookEvent::named("WorktreeCreate"), None);
        assert_eq!(HookEvent::SubagentStop.to_string(), "SubagentStop");
    }
}
