//! # s01: one loop is an agent
//!
//! A language model can only write. It becomes an agent when a program runs what it asks for and shows it the results,
//! again and again, until it asks for nothing more. That program is the ten lines of [`agent_loop`], and the lessons
//! after this one never touch them: whatever an agent can do more is a tool, or a layer around `ask` and `act`.
//!
//! Run it: `cargo run --example s01_loop`
//!
//! You will see a prompt. Press Enter to play what it suggests: the model says what it wants (`> bash ls -l`), the tool
//! runs for real, its result goes back, and the model answers. Without a key a script plays the model, over real HTTP.
//!
//! Try: what happens when a command fails? The model reads `[exit code 1]` like any other result, and goes on.
//!
//! Builds on nothing. Motto: *One loop and bash is all you need.*

use rungs_core::{Agent, Chat, Error, Reply, Result, tools};
use std::process::ExitCode;

/// The fuse: an agent that needs more turns than this for one prompt is running in circles, at somebody's expense.
pub const TURNS: usize = 250;

/// Asks the model, runs the tools it calls, and asks again, until it calls none.
pub async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    for _ in 0..TURNS {
        let reply = agent.ask(chat).await?;
        chat.push(reply.message.clone());
        let calls = reply.calls();
        if calls.is_empty() {
            return Ok(reply);
        }
        // One message with one result per call, in their order: also for a call that failed, panicked or was refused.
        chat.push(agent.act(calls).await);
    }
    Err(Error::Limit("turns of one prompt", TURNS))
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
    use rungs_core::{Recorder, Role};
    use serde_json::json;
    use std::sync::Arc;

    async fn play(script: &str) -> (Result<Reply>, Chat, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let (client, _server) = lessons::rehearse(script).await.unwrap();
        let ui = Arc::new(Recorder::default());
        let agent = Agent::new(client, dir.path()).tool(tools::Bash).ui(ui.clone());
        let mut chat = Chat::new("go");
        let end = agent_loop(&agent, &mut chat).await;
        (end, chat, ui.take())
    }

    #[tokio::test]
    async fn runs_what_the_model_asks_for_until_it_asks_for_nothing() {
        let (end, chat, shown) = play(
            "scenes: [{when: go, turns: [
                {say: first, call: [{bash: {command: echo one}}, {bash: {command: echo two}}]},
                {call: [{bash: {command: 'echo three'}}]},
                {say: 'and {{ results[0].text | trim }}'}]}]",
        )
        .await;
        assert_eq!(end.unwrap().text(), "and three");
        let roles: Vec<Role> = chat.messages().iter().map(|m| m.role).collect();
        assert_eq!(
            roles,
            [Role::User, Role::Assistant, Role::User, Role::Assistant, Role::User, Role::Assistant]
        );
        let results = json!(chat.messages()[2].content);
        assert_eq!(
            (&results[0]["content"][0]["text"], &results[1]["content"][0]["text"]),
            (&json!("one\n"), &json!("two\n"))
        );
        assert_eq!(shown[0], "main: reply first");
        assert_eq!(shown.last().unwrap(), "main: reply and three");
    }

    #[tokio::test]
    async fn a_call_that_fails_is_a_result_and_the_loop_goes_on() {
        let (end, _, _) = play(
            "scenes: [{when: go, turns: [
                {call: [{bash: {command: 'exit 3'}}, {nope: {}}, {bash: {comand: ls}}]},
                {say: '{% for r in results %}{{ r.is_error }}: {{ r.text }}; {% endfor %}'}]}]",
        )
        .await;
        assert_eq!(
            end.unwrap().text().split("; ").collect::<Vec<_>>(),
            [
                "True: [exit code 3]",
                "True: there is no tool `nope`",
                "the tools are bash",
                "True: missing field `command`",
                "there is no field `comand`",
                "",
            ]
        );
    }

    #[tokio::test]
    async fn an_endless_loop_blows_the_fuse_and_leaves_a_sound_chat() {
        let (end, mut chat, _) =
            play("scenes: [{when: go, turns: [{repeat: 300, call: [{bash: {command: 'true'}}]}]}]")
                .await;
        assert_eq!(end.unwrap_err().to_string(), "stopped after 250 turns of one prompt");
        assert!(chat.open_calls().is_empty() && chat.messages().len() == 1 + 2 * TURNS);
        chat.push(rungs_core::Message::user("go on"));
        assert_eq!(chat.messages().len(), 1 + 2 * TURNS);
    }
}
