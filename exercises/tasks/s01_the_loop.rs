// # Write the loop
//
// build, level 1, 15 minutes. Read: core/src/agent.rs, core/src/turn.rs, core/src/chat.rs
//
// A language model can only write. Write the loop that makes an agent of it, without looking at
// `examples/s01_loop.rs`:
//
// 1. Ask the model (`agent.ask(chat)`), and append its message to the chat.
// 2. If it calls no tool, its reply is the answer.
// 3. Otherwise run the calls (`agent.act(calls)`), append the results, and ask again.
// 4. After `STEP_LIMIT` requests stop with `Error::Limit("steps", STEP_LIMIT)`. The last calls must
//    have been answered even then, or nobody can go on with this conversation.
//
// An error of the model ends the turn: hand it on.
//
// Run: cargo run -p rungs-exercises -- run s01_the_loop

use rungs_core::{Agent, Chat, Error, Reply, Result};

/// How many requests one prompt may take.
const STEP_LIMIT: usize = 20;

/// Asks the model, runs the tools that it calls, and asks again, until it calls none.
async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    todo!("ask the model; run its calls; ask again, until it calls none")
}

mod tests {
    use super::*;
    use rehearsal::{Turn, call, calls, say, scene};
    use rungs_core::{Role, tools};
    use rungs_exercises::support::{Play, play, results};
    use serde_json::{Value, json};

    async fn before(turns: impl IntoIterator<Item = Turn>) -> Play {
        play([scene("^go$", turns)], |agent, _| agent.tool(tools::Bash)).await
    }

    fn bash(command: &str) -> (&'static str, Value) {
        ("bash", json!({ "command": command }))
    }

    #[tokio::test]
    async fn a_reply_without_calls_is_the_answer() {
        let play = before([say("Nothing to do.")]).await;
        let mut chat = Chat::default();
        let reply = play.agent.run(&mut chat, "go", agent_loop).await.unwrap();
        assert_eq!(reply.text(), "Nothing to do.", "the reply is what the loop returns");
        assert_eq!(play.server.request_count(), 1, "one request was enough");
        let roles: Vec<Role> = chat.messages().iter().map(|message| message.role).collect();
        let why = "the reply belongs to the conversation: the model remembers nothing, so the next \
                   request must carry it";
        assert_eq!(roles, [Role::User, Role::Assistant], "{why}");
    }

    #[tokio::test]
    async fn results_go_back_until_no_tool_is_called() {
        let turns = [
            calls([bash("echo one"), bash("echo two")]),
            call("bash", json!({"command": "echo {{ results[1].text | trim }} and three"})),
            say("{{ results[0].text | trim }}"),
        ];
        let play = before(turns).await;
        let mut chat = Chat::default();
        let reply = play.agent.run(&mut chat, "go", agent_loop).await.unwrap();
        assert_eq!(reply.text(), "two and three", "the last reply is the answer");
        let why = "all results of one reply are one message, in the order of the calls";
        assert_eq!(results(&chat.messages()[2]), ["one\n", "two\n"], "{why}");
        assert_eq!(chat.messages().len(), 6, "prompt, and then reply and results by turns");
    }

    #[tokio::test]
    async fn a_failing_command_is_a_result_and_no_end() {
        let play = before([call("bash", json!({"command": "exit 3"})), say("It failed.")]).await;
        let mut chat = Chat::default();
        let reply = play.agent.run(&mut chat, "go", agent_loop).await.unwrap();
        assert_eq!(reply.text(), "It failed.", "the model reads the failure, and may try again");
    }

    #[tokio::test]
    async fn an_endless_loop_stops_and_leaves_every_call_answered() {
        let play = before([call("bash", json!({"command": "true"})).repeat(100)]).await;
        let mut chat = Chat::default();
        let end = play.agent.run(&mut chat, "go", agent_loop).await;
        let Err(error) = end else { panic!("the model never stopped calling, the loop must") };
        assert_eq!(error.to_string(), format!("stopped after {STEP_LIMIT} steps"), "which error?");
        assert_eq!(play.server.request_count(), STEP_LIMIT, "requests cost money: count them");
        let last = chat.messages().last().unwrap();
        assert_eq!(results(last), ["(no output)"], "the last call ran; its result must be kept");
    }

    #[tokio::test]
    async fn an_error_of_the_model_ends_the_turn() {
        let refusal = say("never said").fault(json!({"status": 401, "times": "always"}));
        let play = before([refusal]).await;
        let end = play.agent.run(&mut Chat::default(), "go", agent_loop).await;
        assert!(end.is_err(), "the key was refused: asking again would not help");
        assert_eq!(play.server.request_count(), 1, "hand the error on at once");
    }
}
