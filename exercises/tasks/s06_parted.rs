// # The parted call
//
// repair, level 2, 30 minutes. Read: examples/s06_context_compact.rs, core/src/chat.rs
//
// A small model takes only few messages, so this layer sends the newest `MAX_MESSAGES` of them and
// leaves out what is older. The chat itself keeps everything. A user reports:
//
//   "Short questions work. When a job takes more than a few steps I get `400: unexpected
//   tool_use_id found in tool_result blocks`, and from then on every step fails. Sometimes it says
//   that the first message must be the user's. And once it answered a question that I never asked,
//   as if it had forgotten what I wanted."
//
// Mend `window`. What it returns
// - is accepted by the API: it begins with a message of the user that answers no call, and no
//   result stands without its call;
// - holds what the person typed last, or the model does not know what it works for;
// - ends with the newest messages, as many as fit: at most `max` messages in all, but never less
//   than the newest step, which is a reply with calls and their results.
//
// Messages stay whole and in their order. If the newest turn fits, the window has no gaps: it
// begins at a prompt and goes to the end. If it does not fit, the window is the prompt of that
// turn, and then its newest steps.
//
// Run: cargo run -p rungs-exercises -- run s06_parted

#[allow(unused_imports)]
use rungs_core::{Context, Layer, Message, NextSend, Reply, Request, Result, Role};
use std::sync::Arc;

/// How many messages the model takes.
const MAX_MESSAGES: usize = 5;

/// The newest messages, `max` at most.
fn window(messages: &[Arc<Message>], max: usize) -> Vec<Arc<Message>> {
    let begin = messages.len().saturating_sub(max);
    messages[begin..].to_vec()
}

/// Sends the newest messages only.
struct Window;

impl Layer for Window {
    async fn send(&self, mut request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        request.messages = window(&request.messages, MAX_MESSAGES);
        next.run(request, cx).await
    }
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::{Block, Chat, ToolOutput, ToolResult, tools};
    use rungs_exercises::support::{Play, play};
    use serde_json::json;

    /// A job of so many steps, and small talk.
    async fn model(steps: u32) -> Play {
        let step = call("bash", json!({"command": "echo {{ n }}"})).repeat(steps);
        let scenes = [
            scene("^go$", [step, say("done: {{ results[0].text | trim }}")]),
            scene("^hello", [say("Good morning.")]),
        ];
        play(scenes, |agent, _| agent.tool(tools::Bash).wrap(Window)).await
    }

    #[tokio::test]
    async fn a_long_job_is_done() {
        for steps in [1, 2, 3, 8] {
            let play = model(steps).await;
            let mut chat = Chat::default();
            match play.run(&mut chat, "go").await {
                Ok(reply) => assert_eq!(reply.text(), format!("done: {}", steps - 1)),
                Err(error) => panic!(
                    "with {steps} steps the server says: {error}\n\nA call and its results are one \
                     piece. Where was it cut?"
                ),
            }
        }
    }

    #[tokio::test]
    async fn a_conversation_of_many_prompts_goes_on() {
        let play = model(3).await;
        let mut chat = Chat::default();
        for prompt in ["hello", "go", "hello", "hello", "go", "hello"] {
            let end = play.run(&mut chat, prompt).await;
            assert!(end.is_ok(), "the prompt `{prompt}` was refused: {end:?}");
        }
    }

    fn user(text: &str) -> Arc<Message> {
        Arc::new(Message::user(text))
    }

    fn calls(id: &str) -> Arc<Message> {
        let call = json!({"type": "tool_use", "id": id, "name": "bash", "input": {}});
        Arc::new(Message::assistant(vec![Block::from_value(&call)]))
    }

    fn results(id: &str) -> Arc<Message> {
        let output = ToolOutput::from("x");
        Arc::new(Message::results([ToolResult { id: id.into(), output, is_error: false }]))
    }

    fn says(text: &str) -> Arc<Message> {
        Arc::new(Message::assistant(vec![Block::text(text)]))
    }

    /// Two turns; the second one is at work.
    fn two_turns() -> Vec<Arc<Message>> {
        let first = [user("first"), calls("a"), results("a"), says("yes")];
        let second = [user("second"), calls("b"), results("b"), calls("c"), results("c")];
        first.into_iter().chain(second).collect()
    }

    #[track_caller]
    fn assert_window(max: usize, expected: &[usize], why: &str) {
        let all = two_turns();
        let window = window(&all, max);
        let place = |message| all.iter().position(|known| known == message);
        let places: Vec<Option<usize>> = window.iter().map(place).collect();
        let expected: Vec<Option<usize>> = expected.iter().copied().map(Some).collect();
        assert_eq!(places, expected, "{why} (places of the messages in the chat, max is {max})");
    }

    #[test]
    fn what_the_person_typed_last_is_there() {
        assert_window(3, &[4, 7, 8], "the prompt, and the newest step");
        assert_window(4, &[4, 7, 8], "a step is two messages: one of the older does not fit");
        assert_window(5, &[4, 5, 6, 7, 8], "the whole turn fits");
    }

    #[test]
    fn older_messages_come_as_far_as_they_fit() {
        assert_window(6, &[4, 5, 6, 7, 8], "`yes` alone cannot be the first message");
        assert_window(8, &[4, 5, 6, 7, 8], "nor can a result without its call");
        assert_window(9, &[0, 1, 2, 3, 4, 5, 6, 7, 8], "everything fits");
    }

    #[test]
    fn the_newest_step_is_never_left_out() {
        assert_window(
            1,
            &[4, 7, 8],
            "a model that does not see its newest result asks for it again",
        );
        let only = [user("hello")];
        assert_eq!(window(&only, 0), only, "a prompt alone is the least");
    }
}
