//! What a program that was killed has left running is ended by the next start of any lesson. This
//! test has a program of its own: every lesson that another test starts meanwhile would be that
//! next start.
mod common;

use rehearsal::{call, calls, say, scene, script};
use rungs_process::testing::{alive, marker, until};
use serde_json::json;
use std::process::Stdio;

#[test]
fn what_a_killed_program_has_left_is_ended_and_deleted_by_the_next_start() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for by_a_command in [false, true] {
        let (folder, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let marker = marker();
        let job = json!({"command": format!("setsid sleep {marker} & sleep {marker}")});
        let long = json!({"command": "seq 100000"});
        let last = if by_a_command { "kill -9 $PPID" } else { "touch ready; sleep 100" };
        let turns = [
            calls([("bash_background", job), ("bash", long)]),
            call("bash", json!({ "command": last })),
        ];
        let scenes = [scene("^again$", [say("well")]), scene("^go$", turns)];
        let server = runtime.block_on(script(scenes).serve()).unwrap();
        let lesson = |prompt: &str| {
            let mut command = common::lesson("s08_background_tasks");
            command.arg(prompt).current_dir(folder.path()).env("RUNGS_PROVIDER", "anthropic");
            command.env("ANTHROPIC_BASE_URL", server.url()).env("MODEL_ID", "m");
            command.env("TMPDIR", temporary.path());
            command
        };
        let mut child = lesson("go").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        if !by_a_command {
            let ready = || folder.path().join("ready").exists();
            assert!(runtime.block_on(until(ready)));
            child.kill().unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), None);
        assert!(alive(&marker));
        let next = lesson("again").output().unwrap();
        assert_eq!(next.status.code(), Some(0));
        let err = String::from_utf8_lossy(&next.stderr).into_owned();
        assert!(err.contains("that a killed run had left: "), "{err}");
        assert!(err.contains(&format!("sleep {marker}")), "{err}");
        assert!(!alive(&marker));
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
        let state = folder.path().join(".rungs/s08_background_tasks");
        assert_eq!(std::fs::read_dir(state).unwrap().count(), 0);
    }
}
