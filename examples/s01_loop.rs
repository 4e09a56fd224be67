//! # s01: one loop is an agent
//!
//! A language model can only write. It becomes an agent when a program runs the tools that it asks
//! for and sends it the results, again and again, until it asks for nothing more.
//!
//! ```text
//!            +--------------------------------------------+
//!            v                                            |
//! prompt -> chat -> ask the model -> tool calls? -yes-> run them: results join the chat
//!                                         |
//!                                         no -> the reply is the answer
//! ```
//!
//! New here: that program, the ten lines of [`agent_loop`]. The lessons after this one never change
//! them: every further ability is a tool, or a layer around the calls of `ask` and `act`.
//!
//! Terms: **agent loop**, **tool call** and **tool result** (`tool_use` and `tool_result` on the
//! wire), **conversation history** (the model remembers nothing: every request carries all of it),
//! **step** (one request and its tool calls), **turn** (one prompt to its answer).
//!
//! Run it: `cargo run --example s01_loop`
//!
//! You will see a prompt. Press Enter to play what it suggests: the model says what it wants
//! (`> $ ls -l`), the tool runs for real, its result goes back, and the model answers. Without a
//! key a script plays the model, over real HTTP.
//!
//! Try, and predict first:
//! 1. What happens when a command fails? The model reads `[exit code 1]` like any other result.
//! 2. Set [`TURN_LIMIT`] to 1 and ask something that needs a tool. Who sees the error, the model or
//!    you?
//! 3. Take `.tool(tools::Read)` out of `main`. Which tools does the model believe it has?
//!
//! Pitfalls: every call needs exactly one result in the very next message, or the API refuses the
//! conversation for ever; a loop without a limit can spend money for hours.
//!
//! A product also streams its replies (s13), asks before it acts (s15), saves every conversation
//! (s17) and lets you interrupt (s19).
//!
//! Builds on nothing. Motto: *One loop and bash is all you need.*

use rungs_core::{Agent, Chat, Error, Reply, Result, tools};
use std::process::ExitCode;

/// How many steps one prompt may take: an agent that needs more is repeating itself, at somebody's
/// expense.
pub const TURN_LIMIT: usize = 250;

/// Asks the model, runs the tools it calls, and asks again, until it calls none.
pub async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    for _ in 0..TURN_LIMIT {
        let reply = agent.ask(chat).await?;
        chat.push(reply.message.clone());
        let calls = reply.calls();
        if calls.is_empty() {
            return Ok(reply);
        }
        // One message with one result per call, in their order: also for a call that failed,
        // panicked or was refused.
        chat.push(agent.act(calls).await);
    }
    Err(Error::Limit("turns of one prompt", TURN_LIMIT))
}

/// A model, a folder and two tools: everything else that this program does is the loop.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        let agent = Agent::new(stage.client.clone(), &stage.folder).system(stage.system.as_str());
        Ok(agent.tool(tools::Bash).tool(tools::Read))
    };
    lessons::run("s01_loop", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{play, results};
    use rehearsal::{call, calls, say, scene};
    use rungs_core::{Message, Role};
    use serde_json::json;

    #[tokio::test]
    async fn runs_what_the_model_asks_for_until_it_asks_for_nothing() {
        let bash = |command: &str| ("bash", json!({ "command": command }));
        let turns = [
            calls([bash("echo one"), bash("echo two")]).say("first"),
            call("bash", json!({"command": "echo three"})),
            say("and {{ results[0].text | trim }}"),
        ];
        let play = play([scene("^go$", turns)], |agent, _| agent.tool(tools::Bash)).await;
        let (answer, chat) = play.ask("go").await;
        assert_eq!(answer, "and three");
        let roles: Vec<Role> = chat.messages().iter().map(|m| m.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant].repeat(3));
        assert_eq!(results(&chat.messages()[2]), ["one\n", "two\n"]);
        let shown = play.ui.take();
        assert_eq!(shown.first().unwrap(), "main: reply first");
        assert_eq!(shown.last().unwrap(), "main: reply and three");
    }

    #[tokio::test]
    async fn a_call_that_fails_is_a_result_and_the_loop_continues() {
        let turns = [
            calls([
                ("bash", json!({"command": "exit 3"})),
                ("nope", json!({})),
                ("bash", json!({"comand": "ls"})),
            ]),
            say("{% for r in results %}{{ r.is_error }}: {{ r.text }}\n{% endfor %}"),
        ];
        let play = play([scene("^go$", turns)], |agent, _| agent.tool(tools::Bash)).await;
        let fields = "(there are: command, timeout, description)";
        let expected = [
            "True: [exit code 3]",
            "True: there is no tool `nope`; the tools are bash",
            &format!("True: missing field `command`; there is no field `comand` {fields}"),
        ];
        let (answer, _) = play.ask("go").await;
        assert_eq!(answer.lines().collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn an_endless_loop_stops_at_the_limit_and_leaves_a_valid_chat() {
        let endless = [call("read", json!({"file_path": "x"})).repeat(300)];
        let play = play([scene("^go$", endless)], |agent, _| agent.tool(tools::Read)).await;
        let mut chat = Chat::default();
        let error = play.run(&mut chat, "go").await.unwrap_err();
        assert_eq!(error.to_string(), "stopped after 250 turns of one prompt");
        assert!(chat.open_calls().is_empty());
        assert_eq!(chat.messages().len(), 1 + 2 * TURN_LIMIT);
        chat.push(Message::user("continue"));
        assert_eq!(chat.messages().len(), 1 + 2 * TURN_LIMIT);
    }
}
