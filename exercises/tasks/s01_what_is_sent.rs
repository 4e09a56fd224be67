// # What is sent
//
// predict, level 1, 10 minutes. Read: examples/s01_loop.rs, core/src/chat.rs
//
// Two prompts are typed in one conversation: `go`, and then `thanks`. The function `model` shows
// what the model does. Fill in the constants: what does the server receive? The tests run it for
// real, over HTTP, and count. They do not say what would be right.
//
// One message of the API holds a list of blocks: texts, calls (`tool_use`), results
// (`tool_result`). The first message of a conversation also tells the model where it is, in a
// block of its own before the prompt.
//
// Run: cargo run -p rungs-exercises -- run s01_what_is_sent

use rehearsal::{Scene, call, calls, say, scene};
use rungs_core::Role;
use serde_json::json;

/// How many requests the server receives for both prompts.
const REQUESTS: usize = 0;
/// How many messages the last request holds.
const MESSAGES_OF_LAST_REQUEST: usize = 0;
/// How many `tool_result` blocks the last request holds.
const RESULTS_OF_LAST_REQUEST: usize = 0;
/// In how many of the requests the prompt `go` stands.
const REQUESTS_WITH_GO: usize = 0;
/// Whose message the results are in.
const ROLE_OF_RESULTS: Role = Role::Assistant;
/// Whether the result of `exit 3` is marked with `is_error`.
const FAILED_COMMAND_IS_ERROR: bool = false;

fn model() -> [Scene; 2] {
    let two =
        calls([("bash", json!({"command": "echo one"})), ("bash", json!({"command": "exit 3"}))]);
    let one = call("bash", json!({"command": "echo three"}));
    [scene("^go$", [two, one, say("Done.")]), scene("^thanks$", [say("You are welcome.")])]
}

mod tests {
    use super::*;
    use lessons::s01_loop::agent_loop;
    use rungs_core::{Chat, tools};
    use rungs_exercises::support::play;
    use serde_json::Value;

    /// The bodies of all requests.
    async fn requests() -> Vec<Value> {
        let play = play(model(), |agent, _| agent.tool(tools::Bash)).await;
        let mut chat = Chat::default();
        for prompt in ["go", "thanks"] {
            play.agent.run(&mut chat, prompt, agent_loop).await.unwrap();
        }
        play.bodies()
    }

    /// All blocks of a request, each with the role of its message.
    fn blocks(body: &Value) -> Vec<(String, Value)> {
        let mut blocks = vec![];
        for message in body["messages"].as_array().unwrap() {
            let role = message["role"].as_str().unwrap();
            for block in message["content"].as_array().unwrap() {
                blocks.push((role.to_string(), block.clone()));
            }
        }
        blocks
    }

    fn results(body: &Value) -> Vec<(String, Value)> {
        let mut blocks = blocks(body);
        blocks.retain(|(_, block)| block["type"] == "tool_result");
        blocks
    }

    #[tokio::test]
    async fn the_number_of_requests() {
        let right = requests().await.len() == REQUESTS;
        assert!(right, "not {REQUESTS}: every reply of the model answers a request of its own");
    }

    #[tokio::test]
    async fn the_messages_of_the_last_request() {
        let requests = requests().await;
        let count = requests.last().unwrap()["messages"].as_array().unwrap().len();
        let right = count == MESSAGES_OF_LAST_REQUEST;
        let why = "the server remembers nothing, so a request carries the conversation so far; all \
                   results of one reply are one message";
        assert!(right, "not {MESSAGES_OF_LAST_REQUEST}: {why}");
    }

    #[tokio::test]
    async fn the_results_of_the_last_request() {
        let right = results(requests().await.last().unwrap()).len() == RESULTS_OF_LAST_REQUEST;
        let why = "each call has one, and what was sent once is sent again";
        assert!(right, "not {RESULTS_OF_LAST_REQUEST}: {why}");
    }

    #[tokio::test]
    async fn the_requests_with_the_first_prompt() {
        let go = |body: &&Value| blocks(body).iter().any(|(_, block)| block["text"] == "go");
        let right = requests().await.iter().filter(go).count() == REQUESTS_WITH_GO;
        assert!(right, "not {REQUESTS_WITH_GO}: where would the model know the prompt from?");
    }

    #[tokio::test]
    async fn the_role_of_results() {
        let (role, _) = results(requests().await.last().unwrap()).remove(0);
        let right = json!(ROLE_OF_RESULTS) == role;
        assert!(right, "not {ROLE_OF_RESULTS:?}: the API knows two roles; which one runs tools?");
    }

    #[tokio::test]
    async fn the_mark_of_a_failed_command() {
        let (_, failed) = results(requests().await.last().unwrap()).remove(1);
        let right = (failed["is_error"] == true) == FAILED_COMMAND_IS_ERROR;
        assert!(
            right,
            "not {FAILED_COMMAND_IS_ERROR}: `:messages` of lesson 1 shows such a result"
        );
    }
}
