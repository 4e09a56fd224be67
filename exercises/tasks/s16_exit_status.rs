// # What a hook has said
//
// build, level 2, 25 minutes. Read: crates/hooks/src/answer.rs, examples/s16_event_bus.rs
//
// A hook is a program that a harness runs before something happens. How it ends is its answer.
// Write `answer`, which reads it, for a harness in which guards fail closed:
//
// - Status 0 and nothing printed, or a text: go on.
// - Status 0 and JSON (what is printed begins with `{`): the field `decision` decides, "block" or
//   "approve", with `reason`. JSON without `decision` means go on.
// - Status 2: it blocks, and what stands on standard error is the reason.
// - Everything else is a failure: another status, a signal, a time limit, JSON that cannot be read,
//   a decision of another name. If the hook guards something, a failure blocks. If not, the person
//   is warned, and things go on.
//
// A reason is for the model, which wants to know what to do instead: never an empty text, and for a
// failure the words "the hook failed", so that nobody takes it for a decision.
//
// Run: cargo run -p rungs-exercises -- run s16_exit_status

#[allow(unused_imports)]
use serde_json::Value;

/// How a hook has ended.
#[derive(Debug)]
#[allow(dead_code)]
enum End {
    /// By itself.
    Exited { status: i32, out: String, err: String },
    /// By a signal of this number, such as 9.
    Killed { signal: i32 },
    /// It was stopped, since it took too long.
    TimedOut,
}

/// What becomes of what it was asked about.
#[derive(Debug, PartialEq)]
#[allow(dead_code)]
enum Answer {
    GoOn,
    /// The call runs; the person reads this line.
    Warn(String),
    /// Does not happen; the model reads this reason.
    Block(String),
}

/// The answer of a hook that has ended like this. `guards`: whether it stands before something that
/// it could forbid, such as a call of a tool.
fn answer(end: &End, guards: bool) -> Answer {
    let _ = (end, guards);
    todo!("what does this end mean?")
}

mod tests {
    use super::*;
    use std::{os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

    /// Runs a hook with a real bash.
    async fn end_of(command: &str) -> End {
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true);
        let limit = Duration::from_millis(500);
        let Ok(done) = tokio::time::timeout(limit, bash.output()).await else {
            return End::TimedOut;
        };
        let done = done.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        match (done.status.code(), done.status.signal()) {
            (Some(status), _) => {
                End::Exited { status, out: text(&done.stdout), err: text(&done.stderr) }
            }
            (None, signal) => End::Killed { signal: signal.unwrap_or_default() },
        }
    }

    #[tokio::test]
    async fn a_hook_that_has_nothing_to_say_lets_things_go_on() {
        for command in ["true", "echo all is well", "echo '{\"note\": \"seen\"}'"] {
            let end = end_of(command).await;
            assert_eq!(answer(&end, true), Answer::GoOn, "`{command}` objects to nothing");
            assert_eq!(answer(&end, false), Answer::GoOn, "`{command}` objects to nothing");
        }
        let end = end_of("echo '{\"decision\": \"approve\"}'").await;
        assert_eq!(answer(&end, true), Answer::GoOn, "an approval is no objection");
    }

    #[tokio::test]
    async fn status_two_blocks_with_its_reason() {
        let end = end_of("echo 'use trash instead' >&2; exit 2").await;
        let expected = Answer::Block("use trash instead".into());
        assert_eq!(answer(&end, true), expected, "the reason is what stands on standard error");
        let end = end_of("exit 2").await;
        let Answer::Block(why) = answer(&end, true) else {
            panic!("status 2 blocks also without a word: the status is the decision")
        };
        assert!(
            !why.is_empty(),
            "a model that reads an empty refusal does not know that it is one"
        );
    }

    #[tokio::test]
    async fn a_decision_in_json_counts() {
        let end =
            end_of("echo '{\"decision\": \"block\", \"reason\": \"frozen until Friday\"}'").await;
        let expected = Answer::Block("frozen until Friday".into());
        assert_eq!(answer(&end, true), expected, "status 0 says that the JSON is the answer");
        let end = end_of("echo '{\"decision\": \"block\"}'").await;
        let blocked = matches!(answer(&end, true), Answer::Block(why) if !why.is_empty());
        assert!(blocked, "it blocks also when it gives no reason");
    }

    /// Ends of hooks that failed.
    const FAILURES: [&str; 7] = [
        "echo 'not allowed' >&2; exit 1",
        "exit 127",
        "kill -9 $$",
        "sleep 5",
        "echo '{\"decision\": \"block\", '",
        "echo '{\"decision\": \"blcok\"}'",
        "echo '{\"decision\": 1}'",
    ];

    #[tokio::test]
    async fn a_guard_that_fails_is_closed() {
        for command in FAILURES {
            let end = end_of(command).await;
            let said = answer(&end, true);
            let Answer::Block(why) = said else {
                panic!(
                    "`{command}` ended with {end:?}. Nobody knows what this guard would have said, \
                     and {said:?} lets it happen"
                )
            };
            assert!(
                why.contains("the hook failed"),
                "`{command}`: no decision, a failure: {why:?}"
            );
        }
        let Answer::Block(why) = answer(&end_of(FAILURES[0]).await, true) else { unreachable!() };
        assert!(why.contains("not allowed"), "what it wrote helps whoever mends it: {why:?}");
    }

    #[tokio::test]
    async fn where_nothing_is_guarded_a_failure_is_only_named() {
        for command in FAILURES {
            let said = answer(&end_of(command).await, false);
            let Answer::Warn(line) = said else {
                panic!("`{command}`: it must not stop the work, and not fail in silence: {said:?}")
            };
            assert!(line.contains("the hook failed"), "`{command}`: {line:?}");
        }
    }
}
