// # Several hooks, one verdict
//
// predict, level 1, 15 minutes. Read: crates/hooks/src/merge.rs, crates/hooks/src/answer.rs
//
// All hooks of an event run at the same time, and what they answer becomes one verdict: deny is
// over ask is over allow. A hook of PreToolUse guards a call, so one that fails counts as a denial.
// What a failure is depends on the file that names the hook: in a `settings.json` of Claude Code a
// status other than 0 and 2 is only a warning, and in this project's own `hooks.yaml` it is a
// failure.
//
// Say for each of the cases below what the verdict is: `Some(Allow)`, `Some(Ask)`, `Some(Deny)`, or
// `None` when nobody has decided anything. The test runs the hooks, with a real bash.
//
// Run: cargo run -p rungs-exercises -- run s16_verdicts

#[allow(unused_imports)]
use rungs_hooks::Decision::{self, Allow, Ask, Deny};

/// What hooks of PreToolUse come to.
const VERDICTS: [(&str, Option<Decision>); 8] = [
    ("settings.json: allow, and another one asks", None),
    ("settings.json: asks, denies and allows", None),
    ("settings.json: exits with 1, and another one allows", None),
    ("hooks.yaml: exits with 1, and another one allows", None),
    ("settings.json: is killed by signal 9, and another one allows", None),
    ("settings.json: prints nothing and exits with 0", None),
    ("settings.json: exits with 2 without a word", None),
    ("settings.json: prints half a JSON object and exits with 0", None),
];

mod tests {
    use super::*;
    use rungs_hooks::{Form, Hooks, run};
    use rungs_process::Environment;
    use serde_json::json;
    use std::path::Path;

    const OWN: Form = Form::Own;
    const SETTINGS: Form = Form::Settings;

    /// A command that answers with this decision.
    fn decides(decision: &str) -> String {
        let answer = json!({"hookSpecificOutput":
            {"hookEventName": "PreToolUse", "permissionDecision": decision}});
        format!("echo '{answer}'")
    }

    async fn verdict(form: Form, commands: &[&str]) -> Option<Decision> {
        let handlers: Vec<_> =
            commands.iter().map(|command| json!({"type": "command", "command": command})).collect();
        let text = json!({"hooks": {"PreToolUse": [{"hooks": handlers}]}}).to_string();
        let hooks = Hooks::parse(Path::new("f"), &text, form).unwrap().hooks;
        let input = json!({"hook_event_name": "PreToolUse"});
        let verdict = run(&hooks, &input, Path::new("/"), &Environment::default()).await;
        verdict.decision.map(|(decision, _)| decision)
    }

    #[tokio::test]
    async fn hooks_come_to_what_you_say() {
        let [allow, ask, deny] = ["allow", "ask", "deny"].map(decides);
        let found = [
            verdict(SETTINGS, &[&allow, &ask]).await,
            verdict(SETTINGS, &[&ask, &deny, &allow]).await,
            verdict(SETTINGS, &["exit 1", &allow]).await,
            verdict(OWN, &["exit 1", &allow]).await,
            verdict(SETTINGS, &["kill -9 $$", &allow]).await,
            verdict(SETTINGS, &["true"]).await,
            verdict(SETTINGS, &["exit 2"]).await,
            verdict(SETTINGS, &["echo '{\"hookSpecificOutput\": '"]).await,
        ];
        let cases = VERDICTS.into_iter().zip(found);
        let wrong: Vec<&str> =
            cases.filter_map(|((case, said), found)| (said != found).then_some(case)).collect();
        assert!(
            wrong.is_empty(),
            "{} of 8 are right. One that is wrong: {:?}. Is it a decision, a failure, or nothing? \
             And which of several answers is the strictest?",
            8 - wrong.len(),
            wrong[0]
        );
    }
}
