// # What is known of the calls
//
// build, level 2, 20 minutes. Read: examples/s17_session_management.rs, restored.rs
//
// A program was killed in the middle of a turn, and its conversation comes back from the disk. The
// last message is a reply with calls, and there is no message with results. The API refuses such a
// conversation, for ever. From the journal three things are known:
//
// - the results of calls that had ended (of several calls of one reply each result is a record);
// - the ids of the calls that had begun: each was recorded just before its tool got it;
// - everything else: it had not begun.
//
// Write `answers`: the message that answers every call of the reply, once, in the order of the
// calls. A call that had begun and has no result is answered with `MAY_HAVE_RUN`, and one that had
// not begun with `NOT_RUN`; both are errors. Results of other calls can be among those that were
// recorded, since another branch of the conversation left them behind.
//
// Run: cargo run -p rungs-exercises -- run s17_open_calls

#[allow(unused_imports)]
use rungs_core::{Message, ToolCall, ToolResult};

/// What the model reads of a call that was running.
const MAY_HAVE_RUN: &str = "interrupted: it may have run, wholly or in part. Look before you do it \
    again.";
/// What the model reads of a call that nobody had begun.
const NOT_RUN: &str = "not run: the program ended";

/// Answers these calls with what is known of them.
fn answers(calls: &[ToolCall], begun: &[&str], results: &[ToolResult]) -> Message {
    let _ = (calls, begun, results, MAY_HAVE_RUN, NOT_RUN);
    todo!("one result for each call, in their order")
}

mod tests {
    use super::*;
    use rehearsal::{Server, calls, say, scene, script};
    use rungs_core::{Agent, Client, Model, Request, ToolOutput, ToolSpec, tools};
    use serde_json::json;
    use std::sync::Arc;

    /// A conversation whose last message is a reply with three calls.
    struct Killed {
        client: Client,
        _server: Server,
        tools: Vec<Arc<ToolSpec>>,
        messages: Vec<Arc<Message>>,
        calls: Vec<ToolCall>,
    }

    impl Killed {
        async fn new() -> Self {
            let bash = |command: &str| ("bash", json!({ "command": command }));
            let three = calls([bash("make"), bash("rm -r old"), bash("git push")]);
            let script = script([scene(
                "^go$",
                [three, say("{% for r in results %}{{ r.is_error }}:{{ r.text }}|{% endfor %}")],
            )]);
            let (client, server) = lessons::rehearse(script).await.unwrap();
            let tools = tools::all(Agent::new(client.clone(), ".")).specs();
            let messages = vec![Arc::new(Message::user("go"))];
            let mut killed = Killed { client, _server: server, tools, messages, calls: vec![] };
            let reply = killed.ask().await.unwrap();
            killed.calls = reply.calls();
            killed.messages.push(reply.message);
            killed
        }

        async fn ask(&self) -> rungs_core::Result<rungs_core::Reply> {
            let (messages, tools) = (self.messages.clone(), self.tools.clone());
            let request = Request { messages, tools, ..Request::default() };
            self.client.reply(&request, &Agent::new(self.client.clone(), ".").context()).await
        }

        fn id(&self, index: usize) -> &str {
            &self.calls[index].id
        }

        fn result(&self, index: usize, text: &str) -> ToolResult {
            let id = self.id(index).to_string();
            ToolResult { id, output: ToolOutput::from(text), is_error: false }
        }

        /// What the model reads when the conversation goes on with this message.
        async fn goes_on_with(mut self, message: Message) -> String {
            self.messages.push(Arc::new(message));
            match self.ask().await {
                Ok(reply) => reply.text(),
                Err(error) => panic!(
                    "the API refuses the conversation: {error}\n\nEach call needs exactly one \
                     result, and no result may answer a call that is not in the reply."
                ),
            }
        }
    }

    fn error(text: &str) -> String {
        format!("True:{text}|")
    }

    #[tokio::test]
    async fn nothing_had_begun() {
        let killed = Killed::new().await;
        let message = answers(&killed.calls, &[], &[]);
        let why = "the program died before the first call";
        assert_eq!(killed.goes_on_with(message).await, error(NOT_RUN).repeat(3), "{why}");
    }

    #[tokio::test]
    async fn one_had_ended_and_one_was_running() {
        let killed = Killed::new().await;
        let begun = [killed.id(0), killed.id(1)];
        let message = answers(&killed.calls, &begun, &[killed.result(0, "made")]);
        let expected = format!("False:made|{}{}", error(MAY_HAVE_RUN), error(NOT_RUN));
        let why = "`make` has a result, `rm` had begun, `git push` had not: three different truths";
        assert_eq!(killed.goes_on_with(message).await, expected, "{why}");
    }

    #[tokio::test]
    async fn calls_that_ran_at_the_same_time_are_answered_in_their_order() {
        let killed = Killed::new().await;
        let begun = [killed.id(2), killed.id(0), killed.id(1)];
        let results = [killed.result(2, "pushed"), killed.result(0, "made")];
        let message = answers(&killed.calls, &begun, &results);
        let expected = format!("False:made|{}False:pushed|", error(MAY_HAVE_RUN));
        let why = "the journal has the order in which things happened; the model wants its own";
        assert_eq!(killed.goes_on_with(message).await, expected, "{why}");
    }

    #[tokio::test]
    async fn what_another_branch_left_behind_answers_nothing() {
        let killed = Killed::new().await;
        let stale = ToolResult { id: "toolu_of_another_branch".into(), ..killed.result(0, "old") };
        let begun = ["toolu_of_another_branch", killed.id(0)];
        let message = answers(&killed.calls, &begun, &[stale]);
        let expected = format!("{}{}", error(MAY_HAVE_RUN), error(NOT_RUN).repeat(2));
        assert_eq!(killed.goes_on_with(message).await, expected, "each result names its call");
    }

    #[tokio::test]
    async fn a_result_counts_even_if_its_begin_is_lost() {
        let killed = Killed::new().await;
        let message = answers(&killed.calls, &[], &[killed.result(1, "removed")]);
        let expected = format!("{}False:removed|{}", error(NOT_RUN), error(NOT_RUN));
        let why = "a damaged file can lack any record; a result proves that the call ran";
        assert_eq!(killed.goes_on_with(message).await, expected, "{why}");
    }
}
