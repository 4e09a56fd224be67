// # Answer every call
//
// repair, level 1, 15 minutes. Read: examples/s01_loop.rs
//
// This harness keeps its messages itself and sends them to the API by hand. It has one tool, the
// prices of a shop. It works as long as every look-up succeeds. A user reports:
//
//   "I asked for pears and quinces. We have no quinces. Instead of an answer I got an error with
//   status 400, and since then every prompt fails, even `hello`. I have to start again. It is the
//   same when I set a limit for the number of look-ups and the model wants more."
//
// Find out what the API refuses, and change `results` so that the conversation stays valid,
// whatever the model calls. The model should be able to tell what went wrong.
//
// Run: cargo run -p rungs-exercises -- run s01_answer_every_call

use rungs_core::{Message, ToolCall, ToolError, ToolOutput};

/// Look-ups that one message may ask for.
const MAX_LOOKUPS: usize = 3;

/// The price of a fruit.
fn price(call: &ToolCall) -> Result<ToolOutput, ToolError> {
    match call.input["fruit"].as_str() {
        Some("apple") => Ok("40 cents".into()),
        Some("pear") => Ok("55 cents".into()),
        Some(other) => Err(ToolError(format!("there is no price for `{other}`"))),
        None => Err(ToolError("`fruit` must be a text".into())),
    }
}

/// Runs the calls of one reply: the message that answers them.
fn results(calls: &[ToolCall]) -> Message {
    let mut results = vec![];
    for call in calls.iter().take(MAX_LOOKUPS) {
        match price(call) {
            Ok(output) => results.push(call.finish(Ok(output))),
            Err(error) => eprintln!("look-up failed: {}", error.0),
        }
    }
    Message::results(results)
}

mod tests {
    use super::*;
    use rehearsal::{RESULTS, Server, Turn, call, calls, say, scene, script};
    use rungs_core::{Agent, Client, Error, Model, Reply, Request, ToolSpec};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Looks up what a fruit costs.
    #[derive(Deserialize, JsonSchema)]
    struct Price {
        /// Its name, such as `pear`.
        #[allow(dead_code)]
        fruit: String,
    }

    /// The whole harness: a loop over messages that nothing but this code looks after.
    struct Harness {
        client: Client,
        server: Server,
        messages: Vec<Arc<Message>>,
    }

    impl Harness {
        async fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
            let hello = scene("hello", [say("Good morning.")]);
            let script = script([scene("^go$", turns), hello]);
            let (client, server) = lessons::rehearse(script).await.unwrap();
            Harness { client, server, messages: vec![] }
        }

        async fn prompt(&mut self, prompt: &str) -> Result<Reply, Error> {
            let cx = Agent::new(self.client.clone(), ".").context();
            self.messages.push(Arc::new(Message::user(prompt)));
            for _ in 0..5 {
                let messages = self.messages.clone();
                let tools = vec![Arc::new(ToolSpec::of::<Price>("price"))];
                let request = Request { messages, tools, ..Request::default() };
                let reply = self.client.reply(&request, &cx).await?;
                self.messages.push(reply.message.clone());
                if reply.calls().is_empty() {
                    return Ok(reply);
                }
                self.messages.push(Arc::new(results(&reply.calls())));
            }
            panic!("the model was asked five times; it never got the results that it waits for")
        }

        /// A prompt that must be answered.
        async fn ask(&mut self, prompt: &str) -> String {
            match self.prompt(prompt).await {
                Ok(reply) => reply.text(),
                Err(error) => panic!(
                    "the API refused the request: {error}\n\nThe next message must hold one \
                     `tool_result` for each `tool_use`, with its id. Which call has none?"
                ),
            }
        }
    }

    fn fruit(name: &str) -> (&'static str, Value) {
        ("price", json!({ "fruit": name }))
    }

    #[tokio::test]
    async fn a_look_up_that_succeeds_is_answered() {
        let mut harness = Harness::new([calls([fruit("pear")]), say(RESULTS)]).await;
        assert_eq!(harness.ask("go").await, "55 cents", "what worked before must still work");
    }

    #[tokio::test]
    async fn a_look_up_that_fails_is_answered_too() {
        let turns = [calls([fruit("pear"), fruit("quince")]), say(RESULTS)];
        let mut harness = Harness::new(turns).await;
        let answer = harness.ask("go").await;
        let why = "the model must read why it failed, or it will make up a price";
        assert_eq!(answer, "55 cents | there is no price for `quince`", "{why}");
        let body = &harness.server.requests()[1].body;
        let results = &body["messages"][2]["content"];
        assert_eq!(results[1]["is_error"], true, "a failure is marked with `is_error`: {results}");
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_are_answered_and_not_run() {
        let many = calls(["apple", "pear", "apple", "pear", "apple"].map(fruit));
        let say = say("{% for r in results %}{{ r.is_error }} {% endfor %}");
        let mut harness = Harness::new([many, say]).await;
        let answer = harness.ask("go").await;
        assert_eq!(
            answer.trim(),
            "False False False True True",
            "three look-ups may run; the other calls get a result that says why they did not"
        );
    }

    #[tokio::test]
    async fn the_conversation_goes_on_after_a_failure() {
        let turns = [call("price", json!({ "fruit": 7 })), say("That was no fruit.")];
        let mut harness = Harness::new(turns).await;
        harness.ask("go").await;
        let answer = harness.ask("hello").await;
        assert_eq!(answer, "Good morning.", "one bad call must not spoil all later prompts");
    }
}
