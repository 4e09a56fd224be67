use super::{Effect, Outputs, Tool, ToolError, ToolOutput, ToolSpec};
use crate::Context;
use rungs_process::{Clip, Process, destructive};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{os::unix::process::ExitStatusExt, time::Duration};

/// How long a command may run when the model does not say, in milliseconds.
const DEFAULT_TIMEOUT_MS: u64 = 120_000;
/// How long a command may run at most, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 600_000;

/// Runs a shell command in the agent's directory. Each command is a process of its own: nothing is
/// carried over to the next but what is on disk.
#[derive(Debug, Clone, Copy)]
pub struct Bash;

/// Runs a command with bash in the working directory and returns what it prints, standard output
/// and error together; of long output both ends, and the path of a file with all of it. Each call
/// starts afresh: a `cd` or variable does not last, and standard input is empty, so nothing can be
/// asked. Whatever is still running when the command ends is stopped. Quote paths that hold spaces.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct BashInput {
    /// The command.
    command: String,
    /// Time limit in milliseconds: 120000 unless given, 600000 at most.
    timeout: Option<u64>,
    /// What it does, in a few words, for the person who watches.
    description: Option<String>,
}

impl Tool for Bash {
    type Input = BashInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<BashInput>("bash")
    }

    fn effect(&self, _: &BashInput) -> Effect {
        Effect::Anything
    }

    fn summary(&self, input: &BashInput) -> Option<String> {
        let about = input.description.iter().flat_map(|about| about.split_whitespace());
        let about: String = about.flat_map(|word| [" ", word]).collect();
        let mark = if about.is_empty() { "" } else { "  #" };
        Some(format!("$ {}{mark}{about}", input.command.trim()))
    }

    async fn call(&self, input: BashInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let BashInput { command, timeout, .. } = input;
        if command.trim().is_empty() {
            return Err(ToolError("`command` is empty".into()));
        }
        if let Some(why) = destructive(&command) {
            let why = format!("refused: {why}; if that is wanted, ask the person to run it");
            return Err(ToolError(why));
        }
        let limit = timeout.unwrap_or(DEFAULT_TIMEOUT_MS).clamp(1, MAX_TIMEOUT_MS);
        let mut process = Process::start(&command, cx.cwd(), cx.command_environment())?;
        let mut clip = Clip::spilling(cx.resource::<Outputs>());
        let how = tokio::select! {
            status = process.finish(&mut clip) => {
                let status = status?;
                match (status.code(), status.signal()) {
                    (Some(0), _) => return Ok(clip.into_text().await.into()),
                    (Some(code), _) => format!("[exit code {code}]"),
                    (None, signal) => format!("[killed by signal {}]", signal.unwrap_or_default()),
                }
            }
            () = tokio::time::sleep(Duration::from_millis(limit)) => {
                format!("[stopped after its time limit of {limit} ms]")
            }
            () = cx.cancel().cancelled() => "[stopped: the person interrupted it]".into(),
        };
        // Nothing is left to stop when it has ended by itself.
        process.stop(&mut clip).await;
        let printed = clip.into_text().await;
        let newline = if printed.is_empty() || printed.ends_with('\n') { "" } else { "\n" };
        Err(ToolError(format!("{printed}{newline}{how}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Agent, Recorder, test::call, tools::Read};
    use rungs_process::testing::{gone, marker, processes, until};
    use serde_json::{Value, json};
    use std::sync::Arc;

    async fn bash(input: Value) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        bash_in(dir.path(), input).await
    }

    async fn bash_in(dir: &std::path::Path, input: Value) -> Result<String, String> {
        let cx = Agent::new(crate::test::Mute, dir).ui(Arc::new(Recorder::default())).context();
        call(Bash, input, &cx).await
    }

    #[tokio::test]
    async fn prints_and_fails_as_the_command_does() {
        assert_eq!(bash(json!({"command": "echo out; echo err >&2"})).await.unwrap(), "out\nerr\n");
        assert_eq!(
            bash(json!({"command": "echo no; exit 3"})).await.unwrap_err(),
            "no\n[exit code 3]"
        );
        assert_eq!(
            bash(json!({"command": "printf x; kill -9 $$"})).await.unwrap_err(),
            "x\n[killed by signal 9]"
        );
        assert_eq!(bash(json!({"command": " "})).await.unwrap_err(), "`command` is empty");
        let missing = bash(json!({"cmd": "ls"})).await.unwrap_err();
        assert_eq!(
            missing,
            "missing field `command`; there is no field `cmd` (there are: command, timeout, \
             description)"
        );
        assert_eq!(
            bash(json!({"command": "echo hi", "description": "says hi"})).await.unwrap(),
            "hi\n"
        );
        let refused = bash(json!({"command": "cd / && rm -rf /*"})).await.unwrap_err();
        let why = "refused: it deletes or changes all files of the system";
        assert!(refused.starts_with(why), "{refused}");
        let gone = bash_in(std::path::Path::new("/nonexistent"), json!({"command": "ls"}))
            .await
            .unwrap_err();
        assert!(gone.starts_with("cannot start bash in /nonexistent"), "{gone}");
    }

    #[tokio::test]
    async fn a_command_may_have_any_length_and_no_nul() {
        for size in [1000, 131_071, 131_072, 141_000, 5_000_000] {
            let text = "x".repeat(size);
            let command = format!("cat > big <<'END'\n{text}\nEND\nwc -c < big; echo $0; exit 3");
            let failed = bash(json!({ "command": command })).await.unwrap_err();
            assert_eq!(failed, format!("{}\nbash\n[exit code 3]", size + 1));
        }
        let nul = bash(json!({"command": "echo \0"})).await.unwrap_err();
        assert_eq!(nul, "the command holds a NUL character, which no command can");
    }

    #[tokio::test]
    async fn what_was_left_running_is_stopped_and_listed() {
        let day = marker();
        let command = format!("printf hi; sleep {day} & setsid sleep {day} & exit 0");
        let text = bash(json!({ "command": command })).await.unwrap();
        let note = format!("[still running at the end, and stopped (2): sleep {day} (2 times)]");
        assert_eq!(text, format!("hi\n{note}\n"));
        assert!(gone(&day).await);
    }

    #[tokio::test]
    async fn has_no_input_no_terminal_and_no_pager() {
        assert_eq!(
            bash(json!({"command": "cat; echo $PAGER; (: < /dev/tty) 2>/dev/null || echo none"}))
                .await
                .unwrap(),
            "cat\nnone\n"
        );
    }

    #[tokio::test]
    async fn a_time_limit_stops_it() {
        let day = marker();
        let command = format!("trap '' TERM; echo started; sleep {day} & sleep {day}; sleep {day}");
        let error = bash(json!({"command": command, "timeout": 1000})).await.unwrap_err();
        assert_eq!(error, "started\n[stopped after its time limit of 1000 ms]");
        assert!(gone(&day).await);
    }

    #[tokio::test]
    async fn a_person_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        let day = marker();
        let command = format!("touch up; sleep {day} & setsid sleep {day}; sleep {day}");
        let running = call(Bash, json!({ "command": command }), &cx);
        let stop = async {
            assert!(until(|| dir.path().join("up").exists()).await);
            cx.cancel().cancel();
        };
        let (result, ()) = tokio::join!(running, stop);
        assert_eq!(result.unwrap_err(), "[stopped: the person interrupted it]");
        assert!(gone(&day).await);
    }

    #[tokio::test]
    async fn a_dropped_call_leaves_nothing() {
        let day = marker();
        let call = bash(json!({"command": format!("sleep {day} & sleep {day}; true")}));
        tokio::select! {
            result = call => panic!("{result:?}"),
            running = until(|| processes(&day).len() == 3) => assert!(running),
        }
        assert!(gone(&day).await);
    }

    #[tokio::test]
    async fn all_of_a_long_output_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        let text = call(Bash, json!({"command": "seq 100000; exit 3"}), &cx).await.unwrap_err();
        assert!(text.len() < 31_000 && text.ends_with("99999\n100000\n[exit code 3]"));
        let path = text.split_once("all of it is in ").unwrap().1.split_once(' ').unwrap().0;
        let wanted = json!({"file_path": path, "offset": 50_000, "limit": 1});
        let read = call(Read, wanted, &cx).await.unwrap();
        assert_eq!(read, " 50000\t50000\n[more lines follow; go on with offset 50001]\n");
        let path = std::path::PathBuf::from(path);
        drop(cx);
        assert!(until(|| !path.exists()).await);
    }

    #[tokio::test]
    async fn much_output_and_any_bytes() {
        let text =
            bash(json!({"command": "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end"}))
                .await
                .unwrap();
        assert!(text.len() < 31_000 && text.ends_with("end\n") && text.contains("bytes left out"));
        assert_eq!(
            bash(json!({"command": "printf 'a\\xff\\x00b'"})).await.unwrap(),
            "a\u{fffd}\0b"
        );
    }
}
