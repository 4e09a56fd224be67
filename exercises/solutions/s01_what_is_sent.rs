use rehearsal::{Scene, call, calls, say, scene};
use rungs_core::Role;
use serde_json::json;

/// How many requests the server receives for both prompts.
const REQUESTS: usize = 4;
/// How many messages the last request holds.
const MESSAGES_OF_LAST_REQUEST: usize = 7;
/// How many `tool_result` blocks the last request holds.
const RESULTS_OF_LAST_REQUEST: usize = 3;
/// In how many of the requests the prompt `go` stands.
const REQUESTS_WITH_GO: usize = 4;
/// Whose message the results are in.
const ROLE_OF_RESULTS: Role = Role::User;
/// Whether the result of `exit 3` is marked with `is_error`.
const FAILED_COMMAND_IS_ERROR: bool = true;

fn model() -> [Scene; 2] {
    let two =
        calls([("bash", json!({"command": "echo one"})), ("bash", json!({"command": "exit 3"}))]);
    let one = call("bash", json!({"command": "echo three"}));
    [scene("^go$", [two, one, say("Done.")]), scene("^thanks$", [say("You are welcome.")])]
}
