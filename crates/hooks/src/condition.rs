//! `if`: a permission rule that a call must match for its hook to run.
use rungs_permissions::{Access, Call, Policy, Ruling};
use serde_json::Value;
use std::path::Path;

/// A permission rule, such as `Bash(git push:*)` or `Edit(*.ts)`. A process is started only for the
/// calls that it covers.
#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    policy: Policy,
}

impl Condition {
    /// Reads a rule.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut policy = Policy::new();
        // As a rule that denies, it covers a command when it covers any part of it.
        policy.add(Ruling::Deny, text, "if")?;
        Ok(Condition { text: text.trim().into(), policy })
    }

    /// The rule as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the rule covers the call that this input is about. A command that cannot be read
    /// with certainty counts as covered, so that it passes no guard unseen. May block for a moment.
    pub(crate) fn holds(&self, input: &Value, own_tool: &str) -> bool {
        let cwd = Path::new(input["cwd"].as_str().unwrap_or_default());
        let (input, access) = (&input["tool_input"], Access::Harmless);
        self.policy.covers(&Call { tool: own_tool, input, access, cwd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn covered(rule: &str, tool: &str, input: &Value) -> bool {
        let input = json!({"cwd": "/repository", "tool_input": input});
        Condition::new(rule).unwrap().holds(&input, tool)
    }

    #[test]
    fn a_rule_covers_a_command_by_any_part_of_it() {
        for (command, expected) in [
            ("git push --force", true),
            ("cd x && A=1 git push", true),
            ("echo \"$(git push)\"", true),
            ("echo 'git push'", false),
            ("git status; ls", false),
            ("rm -rf /", false),
            // It cannot be read.
            ("echo 'git", true),
        ] {
            let input = json!({"command": command});
            assert_eq!(covered("Bash(git push:*)", "bash", &input), expected, "{command}");
        }
    }

    #[test]
    fn a_rule_covers_files_by_their_paths_and_tools_by_their_names() {
        for (rule, tool, path, expected) in [
            ("Edit(./src/**)", "write", "/repository/src/a.rs", true),
            ("Edit(./src/**)", "write", "/repository/a.rs", false),
            ("Edit(./src/**)", "read", "/repository/src/a.rs", false),
            ("mcp__files__put", "mcp__files__put", "a", true),
            ("mcp__files__put", "mcp__files__get", "a", false),
        ] {
            let input = json!({"file_path": path});
            assert_eq!(covered(rule, tool, &input), expected, "{rule} {tool} {path}");
        }
    }
}
