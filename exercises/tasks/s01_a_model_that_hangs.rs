// # A model that hangs
//
// drill, level 2, 20 minutes. Read: core/src/turn.rs, examples/s01_loop.rs
//
// A server can take a request and then say nothing: no error, no end, the connection stays open.
// This loop waits for it as long as the client does, and that is minutes. Make it survive:
//
// 1. Wait `REPLY_TIMEOUT` for a reply, then send the same request again.
// 2. Send it `MAX_ATTEMPTS` times at most; then end with
//    `Error::Limit("attempts at one request", MAX_ATTEMPTS)`.
// 3. The limit is for the model alone. A tool may run longer than that.
// 4. An error that comes in time ends the turn at once.
//
// The conversation must stay such that it can go on with the next prompt.
//
// Run: cargo run -p rungs-exercises -- run s01_a_model_that_hangs

use rungs_core::{Agent, Chat, Error, Reply, Result};
use std::time::Duration;
use tokio::time::timeout;

const STEP_LIMIT: usize = 20;
/// How long one reply may take. (Here it is short, so that the tests are.)
const REPLY_TIMEOUT: Duration = Duration::from_millis(400);
/// How often the same request is sent, all in all.
const MAX_ATTEMPTS: usize = 3;

/// Asks the model, again if it says nothing in time.
async fn ask(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    agent.ask(chat).await
}

async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    for _ in 0..STEP_LIMIT {
        let reply = ask(agent, chat).await?;
        chat.push(reply.message.clone());
        let calls = reply.calls();
        if calls.is_empty() {
            return Ok(reply);
        }
        chat.push(agent.act(calls).await);
    }
    Err(Error::Limit("steps", STEP_LIMIT))
}

mod tests {
    use super::*;
    use rehearsal::{Turn, call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{Play, play};
    use serde_json::json;

    /// Far more than a loop needs that does not hang.
    const LIMIT: Duration = Duration::from_secs(3);

    async fn before(turns: impl IntoIterator<Item = Turn>) -> Play {
        let hello = scene("hello", [say("Good morning.")]);
        play([scene("^go$", turns), hello], |agent, _| agent.tool(tools::Bash)).await
    }

    fn hanging(turn: Turn, times: serde_json::Value) -> Turn {
        turn.fault(json!({"stall_after": 0, "times": times}))
    }

    async fn run(play: &Play, chat: &mut Chat, prompt: &str) -> Result<Reply> {
        match timeout(LIMIT, play.agent.run(chat, prompt, agent_loop)).await {
            Ok(end) => end,
            Err(_) => panic!(
                "after {LIMIT:?} the loop still waits for a server that says nothing; put \
                 `tokio::time::timeout` around the request"
            ),
        }
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_sent_again() {
        let play = before([hanging(say("Here I am."), json!(2))]).await;
        let reply = run(&play, &mut Chat::default(), "go").await;
        let reply = reply.expect("the third attempt is answered, so the turn must end well");
        assert_eq!(reply.text(), "Here I am.", "the reply of the third attempt");
        assert_eq!(play.server.request_count(), 3, "two attempts without an answer, and a third");
    }

    #[tokio::test]
    async fn each_step_has_its_own_attempts() {
        let bash = call("bash", json!({"command": "echo one"}));
        let turns = [hanging(bash, json!(2)), hanging(say("{{ results[0].text }}"), json!(2))];
        let play = before(turns).await;
        let reply = run(&play, &mut Chat::default(), "go").await;
        let reply = reply.expect("each request is answered at its third attempt");
        assert_eq!(reply.text(), "one", "the tool ran once, and its result went to the model");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_ends_the_turn_and_not_the_conversation() {
        let play = before([hanging(say("never"), json!("always"))]).await;
        let mut chat = Chat::default();
        let end = run(&play, &mut chat, "go").await;
        let Err(error) = end else { panic!("nothing was answered, so the turn has no reply") };
        let expected = format!("stopped after {MAX_ATTEMPTS} attempts at one request");
        assert_eq!(error.to_string(), expected, "the person must read what was given up, and why");
        assert_eq!(play.server.request_count(), MAX_ATTEMPTS, "each attempt may be billed");
        let reply = run(&play, &mut chat, "hello").await;
        let reply = reply.expect("the next prompt is answered by a server that works again");
        assert_eq!(reply.text(), "Good morning.", "the conversation goes on");
    }

    #[tokio::test]
    async fn a_tool_may_take_longer_than_a_reply() {
        let sleep = call("bash", json!({"command": "sleep 0.6; echo done"}));
        let play = before([sleep, say("{{ results[0].text }}")]).await;
        let reply = run(&play, &mut Chat::default(), "go").await;
        let reply = reply.expect("the model answered at once; only the tool was slow");
        assert_eq!(reply.text(), "done", "a build takes minutes: the limit is not for tools");
    }

    #[tokio::test]
    async fn an_error_in_time_is_not_tried_again() {
        let refused = say("never").fault(json!({"status": 401, "times": "always"}));
        let play = before([refused]).await;
        let end = run(&play, &mut Chat::default(), "go").await;
        assert!(end.is_err(), "the key was refused");
        assert_eq!(play.server.request_count(), 1, "a wrong key is wrong the second time as well");
    }
}
