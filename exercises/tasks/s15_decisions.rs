// # What do the rules decide?
//
// predict, level 1, 15 minutes. Read: examples/s15_permissions.rs, crates/permissions/src/policy.rs
//
// These rules hold, in the mode `default`:
//
//   deny:  Bash(rm:*)   Edit(./closed/**)
//   ask:   Bash(git push:*)
//   allow: Bash(ls:*)   Bash(git:*)   Bash(echo:*)   Bash(rm -i)
//
// Deny is looked at first, then ask, then allow; what no rule covers asks. A command is judged part
// by part, and the strictest part decides. `:*` stands for further words, or none.
//
// Say for each of the ten commands below what becomes of it. The test asks the real rules.
//
// Run: cargo run -p rungs-exercises -- run s15_decisions

#[allow(unused_imports)]
use rungs_permissions::Ruling::{self, Allow, Ask, Deny};

/// The commands, each with what becomes of it.
const DECISIONS: [(&str, Ruling); 10] = [
    ("ls -l | sort", Allow),
    ("git push origin main", Allow),
    ("ls; rm notes", Allow),
    ("rm -i", Allow),
    ("echo 'rm notes'", Allow),
    ("echo \"$(rm notes)\"", Allow),
    ("ls\necho done", Allow),
    ("echo x > closed/notes", Allow),
    ("timeout 5 rm notes", Allow),
    ("ls $HOME", Allow),
];

mod tests {
    use super::*;
    use rungs_permissions::{Access, Call, Mode, Policy};
    use serde_json::json;
    use std::path::Path;

    const RULES: &str = "deny: ['Bash(rm:*)', 'Edit(./closed/**)']\n\
                         ask: ['Bash(git push:*)']\n\
                         allow: ['Bash(ls:*)', 'Bash(git:*)', 'Bash(echo:*)', 'Bash(rm -i)']\n";
    const COMMANDS: [&str; 10] = [
        "ls -l | sort",
        "git push origin main",
        "ls; rm notes",
        "rm -i",
        "echo 'rm notes'",
        "echo \"$(rm notes)\"",
        "ls\necho done",
        "echo x > closed/notes",
        "timeout 5 rm notes",
        "ls $HOME",
    ];

    #[test]
    fn the_rules_decide_as_you_say() {
        assert_eq!(DECISIONS.map(|(command, _)| command), COMMANDS, "change the rulings only");
        let dir = tempfile::tempdir().unwrap();
        let policy = Policy::load(RULES, Path::new("rules.yaml")).unwrap();
        let ruling = |command: &str| {
            let input = json!({ "command": command });
            let (access, cwd) = (Access::Anything, dir.path());
            policy.decide(&Call { tool: "bash", input: &input, access, cwd }, Mode::Default).ruling
        };
        let wrong: Vec<&str> = DECISIONS
            .into_iter()
            .filter_map(|(command, said)| (ruling(command) != said).then_some(command))
            .collect();
        assert!(
            wrong.is_empty(),
            "{} of 10 are right. One that is wrong is {:?}. Which commands, substitutions and \
             redirections does bash see in it, and which rule covers each? With the lesson's rules \
             you can draw a command: `cargo run --example s15_permissions -- explain 'COMMAND'`.",
            10 - wrong.len(),
            wrong[0]
        );
    }
}
