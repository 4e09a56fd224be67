use super::{Clip, Output, Process, Tool, ToolError, ToolSpec, args};
use crate::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{os::unix::process::ExitStatusExt, time::Duration};

/// How long a command runs when the model does not say, and at most, in milliseconds.
const TIMEOUT: (u64, u64) = (120_000, 600_000);

/// Runs a shell command in the agent's directory. One process per command: nothing is carried over to the next but
/// what is on disk.
pub struct Bash;

impl Tool for Bash {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "bash",
            "Runs a command with bash in the working directory and returns what it prints (standard output and error \
             together, the middle of long output left out). Each call starts afresh: a `cd` or variable does not last, \
             and standard input is empty, so nothing can be asked. Whatever is still running when the command ends is \
             stopped. Quote paths that hold spaces.",
            json!({
                "type": "object",
                "properties": {
                    "command": {"type": "string", "description": "The command."},
                    "timeout": {"type": "integer", "description": "Time limit in milliseconds: 120000 unless given, 600000 at most."},
                },
                "required": ["command"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            command: String,
            timeout: Option<u64>,
        }
        let Args { command, timeout } = args(input)?;
        if command.trim().is_empty() {
            return Err(ToolError("`command` is empty".into()));
        }
        if command.contains('\0') {
            return Err(ToolError("`command` holds a NUL character, which no command can".into()));
        }
        let limit = Duration::from_millis(timeout.unwrap_or(TIMEOUT.0).clamp(1, TIMEOUT.1));
        let mut process = Process::start(&command, cx.cwd())
            .map_err(|e| ToolError(format!("can't start bash in {}: {e}", cx.cwd().display())))?;
        let mut clip = Clip::default();
        let ended = tokio::select! {
            ended = process.finish(&mut clip) => Some(ended?),
            () = tokio::time::sleep(limit) => None,
        };
        let how = match ended {
            Some(status) if status.success() => return Ok(clip.into_text().into()),
            Some(status) => match status.signal() {
                Some(signal) => format!("[killed by signal {signal}]"),
                None => format!("[exit code {}]", status.code().unwrap_or(-1)),
            },
            None => {
                process.stop(&mut clip).await;
                format!("[stopped after its time limit of {} ms]", limit.as_millis())
            }
        };
        let printed = clip.into_text();
        let newline = if printed.is_empty() || printed.ends_with('\n') { "" } else { "\n" };
        Err(ToolError(format!("{printed}{newline}{how}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Agent, Recorder};
    use std::{sync::Arc, time::Instant};

    async fn bash(input: Value) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        bash_in(dir.path(), input).await
    }

    async fn bash_in(dir: &std::path::Path, input: Value) -> Result<String, String> {
        let cx = Agent::new(crate::test::Mute, dir).ui(Arc::new(Recorder::default())).context();
        Bash.call(input, &cx).await.map(|o| o.text).map_err(|e| e.0)
    }

    /// Whether a process whose command line holds `word` is alive.
    fn alive(word: &str) -> bool {
        let out = std::process::Command::new("pgrep").args(["-f", word]).output().unwrap();
        !out.stdout.is_empty()
    }

    #[tokio::test]
    async fn prints_and_fails_as_the_command_does() {
        assert_eq!(bash(json!({"command": "echo out; echo err >&2"})).await.unwrap(), "out\nerr\n");
        assert_eq!(bash(json!({"command": "echo no; exit 3"})).await.unwrap_err(), "no\n[exit code 3]");
        assert_eq!(bash(json!({"command": "printf x; kill -9 $$"})).await.unwrap_err(), "x\n[killed by signal 9]");
        assert_eq!(bash(json!({"command": " "})).await.unwrap_err(), "`command` is empty");
        let missing = bash(json!({"cmd": "ls"})).await.unwrap_err();
        assert_eq!(missing, "the arguments don't fit: missing field `command`");
        let gone = bash_in(std::path::Path::new("/nonexistent"), json!({"command": "ls"})).await.unwrap_err();
        assert!(gone.starts_with("can't start bash in /nonexistent"), "{gone}");
    }

    #[tokio::test]
    async fn has_no_input_no_terminal_and_no_pager() {
        assert_eq!(
            bash(json!({"command": "cat; echo $PAGER; (: < /dev/tty) 2>/dev/null || echo none"})).await.unwrap(),
            "cat\nnone\n"
        );
    }

    #[tokio::test]
    async fn does_not_wait_for_what_holds_the_pipe_and_leaves_nothing() {
        let start = Instant::now();
        assert_eq!(bash(json!({"command": "sleep 41.41 & echo hi"})).await.unwrap(), "hi\n");
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!alive("sleep 41.41"));
    }

    #[tokio::test]
    async fn a_time_limit_stops_the_whole_tree_even_one_that_ignores_term() {
        let command = "trap '' TERM; echo started; sleep 42.42 & sleep 42.42; sleep 42.42";
        let error = bash(json!({"command": command, "timeout": 200})).await.unwrap_err();
        assert_eq!(error, "started\n[stopped after its time limit of 200 ms]");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!alive("sleep 42.42"));
    }

    #[tokio::test]
    async fn a_dropped_call_leaves_nothing() {
        let call = bash(json!({"command": "sleep 43.43 & sleep 43.43"}));
        let _ = tokio::time::timeout(Duration::from_millis(200), call).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!alive("sleep 43.43"));
    }

    #[tokio::test]
    async fn much_output_and_any_bytes() {
        let text = bash(json!({"command": "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end"})).await.unwrap();
        assert!(text.len() < 31_000 && text.ends_with("end\n") && text.contains("bytes left out"));
        assert_eq!(bash(json!({"command": "printf 'a\\xff\\x00b'"})).await.unwrap(), "a\u{fffd}\0b");
    }
}
