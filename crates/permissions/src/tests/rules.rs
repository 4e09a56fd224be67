//! Files of rules, the order of rules, modes, and tools other than the shell.
use super::{decide_in, policy};
use crate::{Access, Call, Mode, Policy, Ruling};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn load(text: &str) -> Policy {
    Policy::load(text, Path::new("rules.yaml")).unwrap()
}

fn error(text: &str) -> String {
    Policy::load(text, Path::new("rules.yaml")).unwrap_err().to_string()
}

fn bash(policy: &Policy, command: &str, mode: Mode) -> Ruling {
    decide_in(policy, command, Path::new("/tmp"), mode).ruling
}

fn tool(policy: &Policy, tool: &str, input: &Value, mode: Mode) -> Ruling {
    let writes: Vec<PathBuf> =
        input["file_path"].as_str().map(|path| Path::new("/tmp").join(path)).into_iter().collect();
    let access = match tool {
        "edit" | "write" | "multi_edit" | "notebook_edit" => Access::Writes(&writes),
        "read" | "grep" | "glob" => Access::Harmless,
        _ => Access::Anything,
    };
    policy.decide(&Call { tool, input, access, cwd: Path::new("/tmp") }, mode).ruling
}

#[test]
fn a_broken_file_names_its_line() {
    for (text, what) in [
        ("", "rules.yaml: it has no rules: no deny, ask or allow"),
        ("deny: []", "rules.yaml: it has no rules: no deny, ask or allow"),
        (
            "deny:\n  - Bash(ls",
            "rules.yaml:2: the rule \"Bash(ls\" has no closing parenthesis at its end",
        ),
        (
            "allow:\n  - Bash()\n",
            "rules.yaml:2: the rule \"Bash()\" has nothing in its parentheses",
        ),
        (
            "ask: [rm -rf]",
            "rules.yaml:1: \"rm -rf\" is no rule; a rule is `Tool`, `Tool(specifier)` or \
             `regex:EXPRESSION`",
        ),
        (
            "mode: wild\ndeny: [Bash]",
            "rules.yaml:1: there is no mode \"wild\" (there are: default, accept-edits, plan, \
             auto, dont-ask, bypass)",
        ),
        ("deny:\n  - Bash\n  - reason: x\n", "rules.yaml: an entry has neither `rule` nor `regex`"),
    ] {
        assert_eq!(error(text), what);
    }
    assert!(
        error("deny:\n  - ok\n  - regex: '('\n")
            .starts_with("rules.yaml:3: the regular expression \"(\": ")
    );
    assert!(error("allowed: [Bash]").starts_with("rules.yaml:1: unknown field `allowed`"));
    assert!(error("deny: [").starts_with("rules.yaml:"));
}

#[test]
fn every_form_of_a_file_loads() {
    let tiers = load(
        "always_deny:\n  - rm -rf\n  - regex: '^curl\\b'\n    reason: no network\n\
         always_allow:\n  - ls\n  - Read(./src/**)\nask_user: [git push]\n",
    );
    assert_eq!(bash(&tiers, "ls -l", Mode::Default), Ruling::Allow);
    assert_eq!(bash(&tiers, "ls; rm -rf x", Mode::Bypass), Ruling::Deny);
    assert_eq!(bash(&tiers, "git push", Mode::Bypass), Ruling::Ask);
    let decision = decide_in(&tiers, "ls | curl x", Path::new("/tmp"), Mode::Default);
    assert_eq!((decision.ruling, decision.why.as_str()), (Ruling::Deny, "no network"));
    assert_eq!(decision.rule.unwrap().source.to_string(), "rules.yaml:3");
    let settings = load(
        r#"{"model": "x", "permissions": {"allow": ["Bash(npm run *)"],
            "deny": ["Read(./secret)"], "defaultMode": "acceptEdits"}}"#,
    );
    assert_eq!(settings.mode(), Some(Mode::AcceptEdits));
    assert_eq!(bash(&settings, "npm run test", Mode::Default), Ruling::Allow);
    assert_eq!(bash(&settings, "npm run test > x", Mode::Default), Ruling::Ask);
    assert_eq!(bash(&settings, "cat secret/a", Mode::Default), Ruling::Deny);
}

#[test]
fn deny_binds_before_ask_before_allow_in_every_mode_and_from_every_source() {
    let sources = [
        "deny: [Bash(x:*), Edit(./x), mcp__x]",
        "ask: [Bash(y:*), Edit(./y), mcp__y]",
        "allow: [Bash, Edit, mcp__x, mcp__y]",
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut policy = Policy::new();
        for index in order {
            policy.merge(load(sources[index]));
        }
        for mode in Mode::ALL {
            let asked = if mode == Mode::DontAsk { Ruling::Deny } else { Ruling::Ask };
            for command in ["x a", "ls | x", "echo $(x)", "sh -c 'x'", "/bin/x", "env A=b x"] {
                assert_eq!(bash(&policy, command, mode), Ruling::Deny, "{mode} {command}");
            }
            assert_eq!(bash(&policy, "ls && y", mode), asked, "{mode}");
            for (name, ruling) in [("x", Ruling::Deny), ("y", asked)] {
                let file = json!({ "file_path": name });
                for edit in ["edit", "Write", "multi_edit", "NotebookEdit"] {
                    let is = tool(&policy, &edit.to_lowercase(), &file, mode);
                    let plan = mode == Mode::Plan && ruling == Ruling::Ask;
                    assert_eq!(is, if plan { Ruling::Ask } else { ruling }, "{mode} {edit} {name}");
                }
                assert_eq!(tool(&policy, &format!("mcp__{name}__do"), &json!({}), mode), ruling);
            }
        }
    }
}

#[test]
fn modes_decide_what_no_rule_does() {
    let policy = load("allow: [Bash(ls:*), Bash(make:*), Edit(./ok/**)]");
    use Mode::{AcceptEdits, Auto, Bypass, Default, DontAsk, Plan};
    use Ruling::{Allow, Ask, Deny};
    let file = |path: &str| json!({ "file_path": path });
    for (mode, unknown, edit, outside, allowed_edit) in [
        (Default, Ask, Ask, Ask, Allow),
        (Auto, Ask, Ask, Ask, Allow),
        (AcceptEdits, Ask, Allow, Ask, Allow),
        (Plan, Ask, Deny, Deny, Deny),
        (DontAsk, Deny, Deny, Deny, Allow),
        (Bypass, Allow, Allow, Allow, Allow),
    ] {
        assert_eq!(bash(&policy, "cargo build", mode), unknown, "{mode}");
        assert_eq!(bash(&policy, "ls", mode), Allow, "{mode}");
        assert_eq!(tool(&policy, "edit", &file("a"), mode), edit, "{mode}");
        assert_eq!(tool(&policy, "edit", &file("/opt/a"), mode), outside, "{mode}");
        assert_eq!(tool(&policy, "edit", &file("ok/a"), mode), allowed_edit, "{mode}");
        assert_eq!(tool(&policy, "read", &file("a"), mode), Allow, "{mode}");
        let ask = if mode == DontAsk { Deny } else { Ask };
        let protected = tool(&policy, "edit", &file(".git/hooks/x"), mode);
        assert_eq!(protected, ask, "{mode}");
    }
    assert_eq!(bash(&policy, "mkdir a && touch a/b", AcceptEdits), Allow);
    assert_eq!(bash(&policy, "mkdir /opt/a", AcceptEdits), Ask);
    assert_eq!(bash(&policy, "touch .git/x", AcceptEdits), Ask);
    assert_eq!(bash(&policy, "make", Plan), Ask);
}

#[test]
fn file_tools_ask_for_secrets_too() {
    let policy = policy();
    for (name, input) in [
        ("read", json!({"file_path": ".env"})),
        ("Read", json!({"file_path": "a/.env.local"})),
        ("grep", json!({"pattern": "x", "path": ".env", "output_mode": "content"})),
        ("grep", json!({"pattern": "x", "glob": ".env*"})),
        ("glob", json!({"pattern": "**/.env"})),
        ("read", json!({"file_path": "/root/.ssh/id_ed25519"})),
        ("read", json!({"file_path": "x/../.ENV"})),
    ] {
        assert_eq!(tool(&policy, name, &input, Mode::Bypass), Ruling::Ask, "{input}");
    }
    assert_eq!(tool(&policy, "read", &json!({"file_path": "a.rs"}), Mode::Default), Ruling::Allow);
}

#[test]
fn a_wildcard_allows_no_option_that_runs_or_writes_unless_it_names_it() {
    let policy = load("allow: [Bash(find:*), Bash(git *), Bash(xargs:*), Bash(sort:*)]");
    for command in [
        "find . -delete",
        "git log --output=x",
        "git -c a.b=c log",
        "ls | xargs rm",
        "sort -o x y",
        "git branch x",
    ] {
        assert_eq!(bash(&policy, command, Mode::Default), Ruling::Ask, "{command}");
    }
    let named = load("allow: [Bash(find * -delete), Bash(git push:*)]");
    assert_eq!(bash(&named, "find a -name b -delete", Mode::Default), Ruling::Allow);
    assert_eq!(bash(&named, "git push --force", Mode::Default), Ruling::Allow);
    assert_eq!(bash(&named, "git push --receive-pack=x", Mode::Default), Ruling::Ask);
}

#[test]
fn what_always_stores_allows_that_and_nothing_else() {
    let mut policy = load("allow: [Bash(ls:*)]\ndeny: [Bash(sudo:*)]");
    for command in [
        "ls && cargo build --release | tee x.log",
        "git commit -m \"a; b\" && make 'x y'",
        "for f in *; do echo \"$f\"; done",
        "echo 'it''s' > out.txt",
        "echo \"*\" \\\\ x:*",
    ] {
        let remember = decide_in(&policy, command, Path::new("/tmp"), Mode::Default).remember;
        assert!(!remember.is_empty(), "{command}");
        let before = policy.clone();
        for rule in remember {
            policy.add(Ruling::Allow, &rule, "session").unwrap();
        }
        assert_eq!(bash(&policy, command, Mode::Default), Ruling::Allow, "{command}");
        assert_eq!(bash(&policy, &format!("{command}; evil"), Mode::Default), Ruling::Ask);
        assert_eq!(bash(&policy, &format!("{command} evil"), Mode::Default), Ruling::Ask);
        policy = before;
    }
    let denied = decide_in(&policy, "make; sudo x", Path::new("/tmp"), Mode::Default);
    assert_eq!(denied.remember, [""; 0]);
}

#[test]
fn servers_are_told_apart() {
    let policy = load("allow: [mcp__a, mcp__b__read]\ndeny: [mcp__c]");
    for (name, ruling) in [
        ("mcp__a__do", Ruling::Allow),
        ("mcp__a__b__do", Ruling::Ask),
        ("mcp__ab__do", Ruling::Ask),
        ("mcp__b__read", Ruling::Allow),
        ("MCP__B__READ", Ruling::Allow),
        ("mcp__b__write", Ruling::Ask),
        ("mcp__c__d__do", Ruling::Deny),
    ] {
        assert_eq!(tool(&policy, name, &json!({}), Mode::Default), ruling, "{name}");
    }
    let web = load("allow: ['WebFetch(domain:example.com)']");
    for (url, ruling) in [
        ("https://example.com/x", Ruling::Allow),
        ("https://docs.example.com", Ruling::Allow),
        ("https://example.com.evil.org", Ruling::Ask),
        ("https://evil.org/example.com", Ruling::Ask),
        ("https://example.com@evil.org", Ruling::Ask),
        ("https://evil.org\\@example.com", Ruling::Ask),
        ("https://evilexample.com", Ruling::Ask),
    ] {
        assert_eq!(tool(&web, "web_fetch", &json!({ "url": url }), Mode::Default), Ruling::Ask);
        assert_eq!(tool(&web, "WebFetch", &json!({ "url": url }), Mode::Default), ruling, "{url}");
    }
}

#[test]
fn a_search_by_a_tool_is_judged_by_the_files_below_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for file in [".env", "src/a.rs", "private/deep/b.txt"] {
        std::fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
        std::fs::write(dir.join(file), "x\n").unwrap();
    }
    let ruling = |policy: &Policy, tool: &str, input: serde_json::Value| {
        let call = Call { tool, input: &input, access: Access::Harmless, cwd: dir };
        policy.decide(&call, Mode::Bypass).ruling
    };
    let private = load("deny: ['Read(./private/**)']");
    for (tool, input) in [
        ("grep", json!({"pattern": "X", "path": "."})),
        ("grep", json!({"pattern": "X"})),
        ("Grep", json!({"pattern": "X", "path": "private"})),
        ("grep", json!({"pattern": "X", "path": "private/deep"})),
        ("grep", json!({"pattern": "X", "glob": "*.txt"})),
        ("glob", json!({"pattern": "*", "path": "private"})),
        ("glob", json!({"pattern": "private/*"})),
        ("read", json!({"file_path": "private"})),
    ] {
        assert_eq!(ruling(&private, tool, input.clone()), Ruling::Deny, "{tool} {input}");
    }
    let shipped = policy();
    for (tool, input) in [
        ("grep", json!({"pattern": "X"})),
        ("grep", json!({"pattern": "X", "path": dir})),
        ("grep", json!({"pattern": "X", "glob": "*"})),
        ("grep", json!({"pattern": "X", "glob": "[.]env"})),
        ("glob", json!({"pattern": ".e*"})),
        ("glob", json!({"pattern": "{.env,x}"})),
        ("glob", json!({"pattern": "**/[.]env"})),
    ] {
        assert_eq!(ruling(&shipped, tool, input.clone()), Ruling::Ask, "{tool} {input}");
    }
    for (policy, tool, input) in [
        (&private, "grep", json!({"pattern": "X", "path": "src"})),
        (&private, "grep", json!({"pattern": "X", "glob": "*.rs"})),
        (&private, "grep", json!({"pattern": "X", "type": "rust"})),
        (&private, "glob", json!({"pattern": "*.rs"})),
        (&shipped, "grep", json!({"pattern": ".env", "path": "src"})),
        (&shipped, "grep", json!({"pattern": "X", "glob": "*.{rs,md}"})),
        (&shipped, "glob", json!({"pattern": "**/*.rs"})),
        (&shipped, "glob", json!({"pattern": ".github/*"})),
    ] {
        assert_eq!(ruling(policy, tool, input.clone()), Ruling::Allow, "{tool} {input}");
    }
}

#[test]
fn a_shell_call_without_a_command_is_not_remembered() {
    for input in [json!({}), json!({"command": 1})] {
        let call =
            Call { tool: "bash", input: &input, access: Access::Anything, cwd: Path::new("/tmp") };
        let decision = policy().decide(&call, Mode::Default);
        assert_eq!((decision.ruling, decision.remember), (Ruling::Ask, vec![]));
    }
}

#[test]
fn what_a_denied_part_stands_in_is_denied() {
    for command in [
        "echo $(sudo id)",
        "ls; bash -c 'echo; sudo id'",
        "if true; then ls | sh; fi",
        "FOO=$(eval 'rm -rf /')",
    ] {
        let decision = decide_in(&policy(), command, Path::new("/repository"), Mode::Default);
        let mut encloses = usize::MAX;
        let parts = decision.parts.iter().rev();
        for part in parts.skip_while(|part| part.ruling != Ruling::Deny) {
            if part.depth < encloses {
                assert_eq!(part.ruling, Ruling::Deny, "{command}: {}", part.text);
                encloses = part.depth;
            }
        }
        assert_eq!(encloses, 0, "{command}");
    }
}
