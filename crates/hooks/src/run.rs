//! Running all hooks that an event has.
use crate::{Answer, Hook, Verdict, tool_names};
use futures_util::future::join_all;
use rungs_process::{Environment, FilterLimits, filter};
use serde_json::Value;
use std::{collections::HashSet, path::Path};

/// How much a hook may print, in bytes.
const MAX_OUTPUT_BYTES: usize = 1 << 20;

impl Hook {
    /// Whether it is for this input. `own_tool` is the name of the tool as this program writes it.
    pub fn is_for(&self, input: &Value, own_tool: &str) -> bool {
        if input["hook_event_name"] != self.event.to_string() {
            return false;
        }
        let Some(field) = self.event.subject() else { return true };
        let subject = input[field].as_str().unwrap_or_default();
        match field {
            "tool_name" => self.matcher.matches(&tool_names(subject, own_tool)),
            _ => self.matcher.matches(&[subject]),
        }
    }

    /// Runs it with this input on standard input, in the folder of the project.
    pub async fn run(&self, input: &Value, project: &Path, environment: &Environment) -> Answer {
        let environment = environment.clone().with("CLAUDE_PROJECT_DIR", project);
        let limits = FilterLimits { time: self.timeout, bytes: MAX_OUTPUT_BYTES };
        let input = format!("{input}\n").into_bytes();
        match filter(&self.command, project, &environment, input, limits).await {
            Ok(filtered) => Answer::read(self, &filtered),
            Err(error) => Answer::failure(self, &format!("was not started: {error}"), false),
        }
    }
}

/// Runs these hooks concurrently, each command once, and merges what they answer. Nobody waits for
/// those that are `async`; they end with the runtime at the latest.
pub async fn run(
    hooks: &[Hook],
    input: &Value,
    project: &Path,
    environment: &Environment,
) -> Verdict {
    let mut commands = HashSet::new();
    let each = hooks.iter().filter(|hook| commands.insert(&hook.command));
    let (detached, awaited): (Vec<&Hook>, Vec<&Hook>) = each.partition(|hook| hook.is_async);
    for hook in detached {
        let (hook, input, environment) = (hook.clone(), input.clone(), environment.clone());
        let project = project.to_path_buf();
        tokio::spawn(async move { hook.run(&input, &project, &environment).await });
    }
    let running = awaited.iter().map(|hook| hook.run(input, project, environment));
    let answers = join_all(running).await;
    let mut verdict = Verdict::default();
    for answer in answers {
        verdict.add(answer);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decision, Form, HookEvent, Hooks};
    use serde_json::json;
    use std::time::{Duration, Instant};

    fn hooks(event: &str, commands: &[&str], form: Form) -> Vec<Hook> {
        let handlers: Vec<Value> = commands
            .iter()
            .map(|command| json!({"type": "command", "command": command, "timeout": 5}))
            .collect();
        let text = json!({"hooks": {event: [{"hooks": handlers}]}}).to_string();
        Hooks::parse(Path::new("f"), &text, form).unwrap().hooks
    }

    async fn answer_of(hooks: &[Hook], input: &Value) -> Verdict {
        run(hooks, input, Path::new("/"), &Environment::default()).await
    }

    async fn verdict(event: &str, commands: &[&str], form: Form) -> Verdict {
        answer_of(&hooks(event, commands, form), &json!({"hook_event_name": event})).await
    }

    #[tokio::test]
    async fn status_zero_two_and_others() {
        let go = async |command: &str| verdict("PreToolUse", &[command], Form::Settings).await;
        assert_eq!(go("echo text; echo note >&2").await, Verdict::default());
        let late = go("echo Welcome; echo '{\"decision\": \"block\", \"reason\": \"no\"}'").await;
        assert_eq!(late.denied(), Some("no"));
        let blocked = go("echo '{\"continue\": false}'; echo no >&2; exit 2").await;
        let deny = Some((Decision::Deny, "no".to_string()));
        assert_eq!(blocked, Verdict { decision: deny, ..Verdict::default() });
        let warned = go("echo 1 >&2; exit 1").await;
        let line = "PreToolUse hook `echo 1 >&2; exit 1` ended with status 1: 1".to_string();
        let messages = vec![line.clone()];
        assert_eq!(warned, Verdict { messages: messages.clone(), ..Verdict::default() });
        let own = verdict("PreToolUse", &["echo 1 >&2; exit 1"], Form::Own).await;
        let decision = Some((Decision::Deny, line));
        assert_eq!(own, Verdict { decision, messages, ..Verdict::default() });
    }

    #[tokio::test]
    async fn a_guard_that_crashes_hangs_babbles_or_mumbles_is_named_and_blocks() {
        for (command, why) in [
            ("kill -9 $$", "was killed by signal 9"),
            ("/missing/guard", "could not be run (status 127): bash: line 1: /missing/guard: "),
            ("head -c 2000000 /dev/zero; sleep 60", "printed more than 1 MiB, and was stopped"),
            ("echo '{\"decision\": '", "gave an answer that is no JSON (EOF while parsing"),
            (
                "echo '{\"hookSpecificOutput\": {\"permissionDecision\": \"denied\"}}'",
                "gave an answer that is none: there is no decision \"denied\"",
            ),
            (
                "echo '{\"hookSpecificOutput\": {\"updatedInput\": \"ls\"}}'",
                "gave an answer that is none: updatedInput is no object",
            ),
            (
                "echo '{\"hookSpecificOutput\": {\"hookEventName\": \"Stop\"}}'",
                "gave an answer that is none: it is for Stop",
            ),
        ] {
            let verdict = verdict("PreToolUse", &[command], Form::Settings).await;
            let begin = format!("PreToolUse hook `{}` {why}", command);
            let denied = verdict.denied().unwrap();
            assert!(denied.starts_with(&begin), "{denied}\n{begin}");
            assert_eq!(verdict.messages, [denied]);
        }
        let mut hang = hooks("UserPromptSubmit", &["sleep 60"], Form::Settings);
        hang[0].timeout = Duration::from_millis(100);
        let hung = answer_of(&hang, &json!({})).await;
        let line = "UserPromptSubmit hook `sleep 60` was stopped after 0.1 s";
        assert_eq!(hung.denied(), Some(line));
    }

    #[tokio::test]
    async fn where_nothing_is_guarded_a_failure_is_only_named() {
        let verdict = verdict("Stop", &["kill -9 $$"], Form::Own).await;
        let messages = vec!["Stop hook `kill -9 $$` was killed by signal 9".to_string()];
        assert_eq!(verdict, Verdict { messages, ..Verdict::default() });
    }

    #[tokio::test]
    async fn all_run_at_the_same_time_and_each_command_once() {
        let begun = Instant::now();
        // Each waits for the other one.
        let dir = tempfile::tempdir().unwrap();
        let meet = |own: &str, other: &str| {
            let dir = dir.path().display();
            format!("echo >> {dir}/{own}; until test -e {dir}/{other}; do sleep 0.01; done")
        };
        let (a, b) = (meet("a", "b"), meet("b", "a"));
        verdict("Stop", &[&a, &b, &a], Form::Settings).await;
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "\n");
    }

    #[tokio::test]
    async fn nobody_waits_for_an_async_hook() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let command =
            format!("until test -e {}; do sleep 0.01; done; echo >> {}", path("go"), path("ran"));
        let mut hooks = hooks("PreToolUse", &[&format!("{command}; exit 2")], Form::Own);
        hooks[0].is_async = true;
        let verdict = answer_of(&hooks, &json!({})).await;
        assert_eq!(verdict, Verdict::default());
        std::fs::write(path("go"), "").unwrap();
        while !dir.path().join("ran").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn plain_text_is_context_where_the_protocol_says_so() {
        for (event, context) in [
            ("SessionStart", vec!["hi".into()]),
            ("UserPromptSubmit", vec!["hi".into()]),
            ("Stop", vec![]),
        ] {
            let said = verdict(event, &["echo hi"], Form::Settings).await;
            assert_eq!(said, Verdict { context, ..Verdict::default() }, "{event}");
        }
    }

    #[tokio::test]
    async fn the_input_is_on_standard_input_and_the_project_in_the_environment() {
        let hooks = hooks("SessionStart", &["cat; echo $CLAUDE_PROJECT_DIR $PWD"], Form::Settings);
        let input = json!({"hook_event_name": "SessionStart", "source": "startup"});
        // It begins like an answer, but is not one.
        let said = answer_of(&hooks, &input).await;
        assert_eq!(said.context, Vec::<String>::new());
        let hooks =
            self::hooks("SessionStart", &["wc -l; echo $CLAUDE_PROJECT_DIR $PWD"], Form::Own);
        assert_eq!(answer_of(&hooks, &input).await.context, ["1\n/ /"]);
    }

    #[test]
    fn a_hook_is_for_the_tool_by_either_name() {
        let text = r#"{"hooks": {"PreToolUse": [{"matcher": "Task|bash", "command": "x"}]}}"#;
        let hook = Hooks::parse(Path::new("f"), text, Form::Own).unwrap().hooks.remove(0);
        let of =
            |event: HookEvent, tool: &str| json!({"hook_event_name": event, "tool_name": tool});
        for (event, tool, own, expected) in [
            (HookEvent::PreToolUse, "Bash", "bash", true),
            (HookEvent::PreToolUse, "Agent", "task", true),
            (HookEvent::PreToolUse, "Write", "write", false),
            (HookEvent::PostToolUse, "Bash", "bash", false),
        ] {
            assert_eq!(hook.is_for(&of(event, tool), own), expected, "{event} {tool}");
        }
    }
}
