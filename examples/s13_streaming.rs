//! # s13: text appears as it arrives
//!
//! A whole reply of a large model takes a minute, and a person who sees nothing for a minute
//! believes that the program hangs. A stream shows the first words after a second. It also brings a
//! new kind of failure: a reply can break off in the middle, when half of it has been read.
//!
//! ```text
//! Model::stream -> delta -> shown, if it is text or thinking
//!                    |
//!                    v
//!                 partial reply -> the stream's last event -> the reply
//!                    |
//!                    | the stream breaks off
//!                    v
//!       text in it?  no -> ask again, after a wait
//!                   yes -> keep the text, marked; turn: ask the model to continue
//! ```
//!
//! New here: a [`Model`] that wraps another one. Layers stand around it and see whole replies only,
//! so no lesson before or after this one needs to know that replies stream. The blocks of a reply
//! arrive as [`Delta`](rungs_core::Delta)s, the same for both wire formats.
//!
//! What is kept of a reply that broke off is its text alone: half the arguments of a call are no
//! call, and thinking without its signature is refused. What was once sent never changes, so the
//! half reply stays in the conversation as it is, and the model continues in its next message.
//!
//! Terms: **server-sent events**, **delta**, **time to first token**, **idle timeout** (for how
//! long a stream may be silent; pings begin it anew), **partial reply**.
//!
//! Run it: `cargo run --example s13_streaming`
//!
//! You will see a reply arrive word by word, dim thinking before it, and one whose connection is
//! cut in the middle of a sentence: what has arrived stays, and the model continues it.
//!
//! Try, and predict first:
//! 1. Ask for the harbour log again, and then type `:messages`. Which message holds the first half
//!    of the sentence, and who asked for the second half?
//! 2. In `config/rehearsals/s13_streaming.yaml`, set `cut_after` of the log to 3. What is shown
//!    now, and what stands in the conversation?
//! 3. Take `.wrap(Continuation)` out of [`install`]. Where does the story end, and what is the exit
//!    code?
//!
//! Pitfalls: a stream that ends without its last event looks like an answer, and is none; a call
//! whose arguments broke off may be valid JSON all the same (`rm -r /tmp/x` from `rm -r /tmp/x/y`);
//! a client that asks again after a cut shows the same words twice; joining the pieces of a long
//! text again and again costs time by the square of its length.
//!
//! A product also renders Markdown while it arrives, shows the arguments of a long `write` as they
//! come, and resumes a stream on the server where that is offered.
//!
//! Builds on s01. Motto: *Tokens print as they arrive.*

use futures_util::StreamExt;
use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, AnyModel, Block, Chat, Context, Delta, Deltas, Error, Event, Layer, Message, Model,
    NextTurn, Reply, Request, Result, StopReason, client::PartialReply,
};
use rungs_http::{Advice, Retries, advice};
use serde_json::json;
use std::{process::ExitCode, sync::Arc};
use tokio::time::sleep;

/// How often in a row the model is asked to continue a reply that breaks off each time.
const MAX_CONTINUATIONS: usize = 5;
/// What stands after the text of a reply that is not whole.
const CUT_MARK: &str = "\n[cut off here]";
const CONTINUE: &str = "<system-reminder>Your reply broke off after these words, since the \
    connection failed. Continue exactly where the text ends: repeat nothing of it, and say nothing \
    about this. If it had tool calls, none of them was run.</system-reminder>";

/// A model that shows each reply while it arrives.
struct Streaming(AnyModel);

impl Model for Streaming {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        let mut retries = Retries::default();
        loop {
            // Until the first delta the client asks again by itself.
            let deltas = self.0.stream(request, cx).await?;
            let mut arriving = Arriving::default();
            let error = match arriving.receive(deltas, cx).await {
                Ok(()) => return Ok(arriving.reply.complete()),
                Err(error) => error,
            };
            if arriving.has_text && !cx.is_unseen() && !error.withdraws() {
                return Ok(arriving.kept(match error {
                    Error::Cancelled => StopReason::Cancelled,
                    error => StopReason::Cut(error.to_string()),
                }));
            }
            let Some(wait) = retries.next(&advice_on(&error)) else { return Err(error) };
            if arriving.is_shown {
                cx.emit(Event::ReplyDiscarded);
            }
            let Retries { attempts, max_attempts, .. } = retries;
            let (seconds, why) = (wait.as_secs_f32(), error.to_string());
            cx.emit(Event::Retry { seconds, attempts, max_attempts, why });
            cx.cancel().run_until_cancelled(sleep(wait)).await.ok_or(Error::Cancelled)?;
        }
    }

    async fn stream(&self, request: &Request, cx: &Context) -> Result<Deltas> {
        self.0.stream(request, cx).await
    }
}

/// Whether it helps to ask again for a reply that broke off with this error: the server's own
/// errors mean what they mean as the status of a response.
fn advice_on(error: &Error) -> Advice {
    match error {
        Error::Net { .. } => Advice::Retry(None),
        Error::Api { status, kind, .. } => {
            advice(*status, &json!({ "type": kind }), &Default::default())
        }
        _ => Advice::GiveUp,
    }
}

/// A reply on its way.
#[derive(Default)]
struct Arriving {
    reply: PartialReply,
    /// Whether anything of it was shown, thinking included.
    is_shown: bool,
    /// Whether text of it was shown.
    has_text: bool,
    /// The white space with which a block begins, not shown yet: a block of nothing else is left
    /// out of the reply.
    blank: String,
    /// Whether the newest block has shown more than that.
    in_text: bool,
}

impl Arriving {
    /// Shows the deltas, and puts them together, until the last one.
    async fn receive(&mut self, mut deltas: Deltas, cx: &Context) -> Result<()> {
        loop {
            let next = cx.cancel().run_until_cancelled(deltas.next()).await;
            match next.ok_or(Error::Cancelled)? {
                Some(delta) => self.add(delta?, cx),
                None => return Ok(()),
            }
        }
    }

    fn add(&mut self, delta: Delta, cx: &Context) {
        match &delta {
            Delta::Open { block: Block::Text { text, .. }, .. } => {
                (self.blank, self.in_text) = (String::new(), false);
                self.show_text(text, cx);
            }
            Delta::Text { text, .. } => self.show_text(text, cx),
            Delta::Thinking { text, .. } if !text.is_empty() => {
                self.is_shown = true;
                cx.emit(Event::ThinkingDelta(text.clone()));
            }
            _ => {}
        }
        self.reply.add(delta);
    }

    fn show_text(&mut self, text: &str, cx: &Context) {
        self.blank.push_str(text);
        self.in_text |= !text.trim().is_empty();
        if self.in_text && !self.blank.is_empty() {
            (self.is_shown, self.has_text) = (true, true);
            cx.emit(Event::TextDelta(std::mem::take(&mut self.blank)));
        }
    }

    /// What is kept of a reply that is not whole: its text, marked.
    fn kept(self, stop: StopReason) -> Reply {
        let Reply { message, usage, .. } = self.reply.complete();
        let texts = message.content.iter().filter(|block| block.as_text().is_some());
        let mut content: Vec<Block> = texts.cloned().collect();
        content.push(Block::inserted("cut", CUT_MARK));
        Reply { message: Arc::new(Message::assistant(content)), usage, stop }
    }
}

/// Asks the model to continue a reply that broke off.
struct Continuation;

impl Layer for Continuation {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let mut reply = next.run(chat, cx).await?;
        // The replies in a row that broke off.
        let mut parts = vec![];
        while let StopReason::Cut(why) = &reply.stop {
            if parts.len() == MAX_CONTINUATIONS {
                let limit = "continuations of a reply that broke off each time";
                return Err(Error::Limit(limit, MAX_CONTINUATIONS));
            }
            cx.notice(format!("{why}; the model is asked to continue"));
            parts.push(reply.message);
            chat.push(Message::inserted("continue", CONTINUE));
            let length = chat.messages().len();
            reply = match next.run(chat, cx).await {
                // All had been said already.
                Err(Error::Unfinished { stop: StopReason::EndTurn, .. }) => Reply::new(vec![]),
                end => end?,
            };
            if chat.messages().len() > length + 1 {
                // It called tools in between, and then began another answer.
                parts.clear();
            }
        }
        Ok(joined(&parts, reply))
    }
}

/// The last reply of a turn with all parts of its text, for whoever waits for the answer, such as
/// the parent of a subagent. In the chat they stay apart.
fn joined(parts: &[Arc<Message>], reply: Reply) -> Reply {
    let texts = parts.iter().flat_map(|part| part.content.iter().filter(|b| b.origin().is_none()));
    let content = texts.chain(&reply.message.content).cloned().collect();
    Reply { message: Arc::new(Message::assistant(content)), ..reply }
}

/// Puts the mechanism between the agent and its model.
pub fn install(agent: Agent) -> Agent {
    agent.model(Streaming).wrap(Continuation)
}

/// The agent of lesson one, whose replies appear as they arrive.
pub fn main() -> ExitCode {
    lessons::run("s13_streaming", async |stage| Ok(install(stage.agent())), agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use lessons::s04_subagent;
    use rehearsal::{Scene, Server, Turn, call, say, say_results, scene, script};
    use rungs_core::{
        Client, NextAsk, Recorder, Role,
        client::{Endpoint, Format},
        tools,
    };
    use serde_json::Value;
    use std::time::Duration;
    use tempfile::TempDir;

    const FORMATS: [Format; 2] = [Format::Anthropic, Format::OpenAi];
    const CONTINUES: &str = "Your reply broke off";

    struct Play {
        agent: Agent,
        ui: Arc<Recorder>,
        server: Server,
        dir: TempDir,
    }

    async fn play(format: Format, scenes: impl IntoIterator<Item = Scene>) -> Play {
        let server = script(scenes).record(true).serve().await.unwrap();
        let version = if format == Format::OpenAi { "/v1" } else { "" };
        let endpoint = Endpoint::new(format, &format!("{}{version}", server.url()), "rehearsal");
        let (dir, ui) = (tempfile::tempdir().unwrap(), Arc::new(Recorder::default()));
        let agent = Agent::new(Client::new(endpoint).unwrap(), dir.path()).ui(ui.clone());
        Play { agent: install(agent.tool(tools::Bash)), ui, server, dir }
    }

    impl Play {
        /// One turn of a new conversation.
        async fn go(&self) -> (Result<Reply>, Chat) {
            let mut chat = Chat::default();
            let end = self.agent.run(&mut chat, "go", agent_loop).await;
            (end, chat)
        }

        /// What was shown, deltas that follow each other in one line. Each reply must begin with
        /// its deltas, or it would be shown twice.
        fn shown(&self) -> Vec<String> {
            let mut lines: Vec<String> = vec![];
            let mut pieces = String::new();
            for line in self.ui.take() {
                let line = line.strip_prefix("main: ").unwrap_or(&line);
                let last = lines.last_mut().filter(|last| {
                    let kind = line.split(' ').next().unwrap();
                    ["delta", "thinking"].contains(&kind) && last.starts_with(kind)
                });
                match last {
                    Some(last) => last.push_str(line.split_once(' ').unwrap().1),
                    None => lines.push(line.into()),
                }
                if let Some(text) = line.strip_prefix("delta ") {
                    pieces.push_str(text);
                } else if line == "reply discarded" {
                    pieces.clear();
                } else if let Some(text) = line.strip_prefix("reply ") {
                    assert!(text.starts_with(&pieces), "{pieces:?} and again {text:?}");
                    pieces.clear();
                }
            }
            lines
        }
    }

    /// What the model said, message by message.
    fn said(chat: &Chat) -> Vec<String> {
        let messages = chat.messages().iter().filter(|message| message.role == Role::Assistant);
        messages.map(|message| message.text()).collect()
    }

    #[tokio::test]
    async fn text_and_thinking_are_shown_once_as_they_arrive() {
        for format in FORMATS {
            let look = call("bash", json!({"command": "echo 3"}));
            let look = look.think("There may be some files.").say("I look for files.");
            let play = play(format, [scene("^go$", [look, say("There are three.")])]).await;
            assert_eq!(play.go().await.0.unwrap().text(), "There are three.");
            let expected = [
                "thinking There may be some files.",
                "delta I look for files.",
                "reply I look for files.",
                "call bash",
                "result 3\n",
                "delta There are three.",
                "reply There are three.",
            ];
            assert_eq!(play.shown(), expected, "{format:?}");
        }
    }

    #[tokio::test]
    async fn deltas_are_shown_before_the_reply_is_whole() {
        let play = play(FORMATS[0], [scene("^go$", [say("slow words, one by one").pace_ms(20)])]);
        let play = play.await;
        let watch = async {
            while play.ui.take().is_empty() {
                sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            () = watch => {}
            end = play.go() => panic!("{:?}", end.0),
        }
    }

    /// What happens to a stream after so many events, or bytes.
    fn faults(after: usize) -> Vec<Value> {
        if std::env::var_os("LONG").is_some() {
            return vec![json!({"cut_after_bytes": after})];
        }
        let others = [
            json!({"end_after": after}),
            json!({"malformed_after": after}),
            json!({"error_event": "overloaded_error", "after": after}),
        ];
        vec![json!({"cut_after": after}), others[after % 3].clone()]
    }

    /// Breaks a reply that has thinking, text and a call; how often the model was asked.
    async fn broken(format: Format, fault: &Value) -> usize {
        let ran = || call("bash", json!({"command": "echo x >> ran; cat ran"}));
        let first = ran().think("I think.").say("Half a sentence is").fault(fault.clone());
        let end = || say("all there is: {{ results[0].text }}");
        let scenes = [
            scene("^go$", [first, end()]),
            scene(CONTINUES, [ran().say(" better than none."), end()]),
            scene("^again$", [say("answered")]),
        ];
        let play = play(format, scenes).await;
        let (end, mut chat) = play.go().await;
        let told = format!("{format:?} {fault} {chat:#?}");
        // The call is made once, whatever the stream did.
        assert_eq!(end.unwrap().text(), "all there is: x", "{told}");
        assert_eq!(std::fs::read_to_string(play.dir.path().join("ran")).unwrap(), "x\n", "{told}");
        let said = said(&chat);
        let text = said.concat().replace(CUT_MARK, "");
        let whole = "Half a sentence is";
        match &said[..] {
            [first, _] => assert_eq!(first, whole, "{told}"),
            [first, ..] => {
                let part = first.strip_suffix(CUT_MARK).unwrap();
                assert!(!part.is_empty() && whole.starts_with(part), "{told}");
                assert_eq!(text, format!("{part} better than none.all there is: x"), "{told}");
            }
            _ => panic!("{told}"),
        }
        play.shown();
        play.agent.run(&mut chat, "again", agent_loop).await.unwrap();
        let seen = play.server.requests();
        assert!(seen.iter().all(|seen| seen.status == 200), "{told}");
        seen.len()
    }

    #[tokio::test]
    async fn a_conversation_is_valid_wherever_a_reply_breaks_off() {
        let long = std::env::var_os("LONG").is_some();
        let places = if long { 4000 } else { 24 };
        for format in FORMATS {
            let all: Vec<Value> = (0..places).flat_map(faults).collect();
            let mut requests = vec![];
            for some in all.chunks(100) {
                requests.extend(join_all(some.iter().map(|fault| broken(format, fault))).await);
                // Past its end a stream cannot break.
                if requests.ends_with(&[3; 100]) {
                    break;
                }
            }
            // Some broke, and the last ones did not.
            assert_eq!(requests[0], 4);
            assert!(requests.ends_with(&[3; 2]), "{requests:?}");
        }
    }

    #[tokio::test]
    async fn what_broke_off_before_its_text_is_asked_for_again() {
        for format in FORMATS {
            let answer = say("whole").think("I think about it.");
            let play = play(format, [scene("^go$", [answer.fault(json!({"cut_after": 4}))])]).await;
            let (end, chat) = play.go().await;
            assert_eq!((end.unwrap().text(), chat.messages().len()), ("whole".into(), 2));
            let shown = play.shown();
            let [thinking, discarded, retry, again @ ..] = &shown[..] else { panic!("{shown:?}") };
            assert!(thinking.starts_with("thinking I think"), "{shown:?}");
            assert_eq!(discarded, "reply discarded");
            assert!(retry.contains("the stream was cut after 4 events"), "{shown:?}");
            assert_eq!(again, ["thinking I think about it.", "delta whole", "reply whole"]);
        }
    }

    #[tokio::test]
    async fn a_whole_stream_whose_call_has_no_end_broke_off() {
        let call = json!({"type": "tool_use", "id": "a", "name": "bash", "input": {}});
        let body = [
            json!({"type": "content_block_start", "index": 0, "content_block": call}),
            json!({"type": "content_block_delta", "index": 0, "delta":
                {"type": "input_json_delta", "partial_json": r#"{"command": "touch ran"}"#}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
            json!({"type": "message_stop"}),
        ];
        let body = body.map(|event| format!("data: {event}\n\n")).concat();
        let fault = json!({"body": body, "content_type": "text/event-stream"});
        let play = play(FORMATS[0], [scene("^go$", [say("whole").fault(fault)])]).await;
        assert_eq!(play.go().await.0.unwrap().text(), "whole");
        let shown = play.shown();
        let why = "the reply broke off: a call in it has no end";
        assert!(shown[0].starts_with("retry 1/8") && shown[0].contains(why), "{shown:?}");
        assert_eq!(shown[1..], ["delta whole", "reply whole"]);
        assert!(!play.dir.path().join("ran").exists());
    }

    #[tokio::test]
    async fn text_that_broke_off_is_kept_and_marked_and_continued() {
        for format in FORMATS {
            let first = say("The answer is forty-two.").fault(json!({"cut_after": 4}));
            let rest =
                say("{{ 'The answer is forty-two.'[said | split('\n[') | first | length:] }}");
            let play = play(format, [scene("^go$", [first]), scene(CONTINUES, [rest])]).await;
            let (end, chat) = play.go().await;
            assert_eq!(end.unwrap().text(), "The answer is forty-two.");
            let said = said(&chat);
            assert!(said[0].starts_with("The ans") && said[0].ends_with(CUT_MARK), "{said:?}");
            let shown = play.shown();
            let [delta, kept, notice, rest @ ..] = &shown[..] else { panic!("{shown:?}") };
            assert_eq!(*kept, format!("reply {}{CUT_MARK}", delta.strip_prefix("delta ").unwrap()));
            assert!(notice.ends_with("; the model is asked to continue"), "{notice}");
            // The chunks of the other format had brought all of the text.
            assert_eq!(rest.len(), if format == Format::Anthropic { 2 } else { 0 }, "{rest:?}");
        }
    }

    #[tokio::test]
    async fn a_reply_that_breaks_off_again_and_again_ends_the_turn() {
        let broken = || say("never whole").fault(json!({"cut_after": 5, "times": "always"}));
        let scenes = [scene("^go$", [broken()]), scene(CONTINUES, [broken()])];
        let play = play(FORMATS[0], scenes).await;
        let error = play.go().await.0.unwrap_err().to_string();
        assert_eq!(error, "stopped after 5 continuations of a reply that broke off each time");
    }

    #[tokio::test]
    async fn an_error_that_stays_ends_the_turn_in_the_middle_of_a_stream_too() {
        for format in FORMATS {
            let fault = json!({"error_event": "invalid_request_error", "message": "bad words",
                "after": 6, "times": "always"});
            let play =
                play(format, [scene("^go$", [say("some words of mine").fault(fault)])]).await;
            let (end, chat) = play.go().await;
            let error = end.unwrap_err();
            assert!(error.withdraws() && error.to_string().contains("bad words"), "{error}");
            assert_eq!((chat.messages().len(), play.server.request_count()), (0, 1));
            assert_eq!(play.shown()[1], "reply discarded");
        }
    }

    #[tokio::test]
    async fn a_stopped_reply_keeps_its_text() {
        for format in FORMATS {
            let slow = say("slow words, one by one, for ever and ever").pace_ms(20);
            let play = play(format, [scene("^go$", [slow]), scene("^on$", [say("on")])]).await;
            let stop = async {
                while !play.ui.take().iter().any(|line| line.contains("delta")) {
                    sleep(Duration::from_millis(2)).await;
                }
                play.agent.context().cancel().cancel();
            };
            let ((end, chat), ()) = tokio::join!(play.go(), stop);
            assert_eq!(end.unwrap().stop, StopReason::Cancelled);
            let said = said(&chat);
            assert!(said[0].starts_with("slow") && said[0].ends_with(CUT_MARK), "{said:?}");
        }
    }

    #[tokio::test]
    async fn the_parent_of_a_subagent_gets_all_of_a_continued_answer() {
        let job = json!({"tasks": [{"description": "x", "prompt": "work"}]});
        let scenes = [
            scene("^go$", [call("task", job), say_results()]),
            scene("^work$", [say("one two three").fault(json!({"cut_after": 3}))]),
            scene(CONTINUES, [say(" and the rest")]),
        ];
        let mut play = play(FORMATS[1], scenes).await;
        play.agent = s04_subagent::install(play.agent);
        let answer = play.go().await.0.unwrap().text();
        assert_eq!(answer, "# x\none two three and the rest");
    }

    /// Asks on the side before each step.
    struct Aside;

    impl Layer for Aside {
        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            let mut aside = Chat::default();
            aside.push(Message::inserted("aside", "a title?"));
            let title = cx.side_request(cx.request(&aside)).await?.text();
            cx.notice(format!("title: {title}"));
            next.run(chat, cx).await
        }
    }

    #[tokio::test]
    async fn what_nobody_sees_is_asked_for_again_even_after_its_text() {
        let title = say("A whole title").fault(json!({"cut_after": 5}));
        let scenes = [scene("^go$", [say("done")]), scene("^a title", [title])];
        let mut play = play(FORMATS[0], scenes).await;
        play.agent = play.agent.wrap(Aside);
        play.go().await.0.unwrap();
        assert_eq!(play.shown(), ["notice title: A whole title", "delta done", "reply done"]);
    }

    #[tokio::test]
    async fn a_paused_reply_is_shown_once() {
        let turns = [say("one ").stop("pause_turn"), say("two ").stop("pause_turn"), say("three")];
        let play = play(FORMATS[0], [scene("^go$", turns)]).await;
        assert_eq!(play.go().await.0.unwrap().text(), "one two three");
        assert_eq!(play.shown(), ["delta one two three", "reply one two three"]);
    }

    #[tokio::test]
    async fn blank_blocks_and_blank_ends_are_shown_as_they_are_kept() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let turn = Turn::default().raw(text(" \n")).raw(text("one\n\n")).raw(text(" two "));
        let play = play(FORMATS[0], [scene("^go$", [turn])]).await;
        assert_eq!(play.go().await.0.unwrap().text(), "one\n\n two ");
        assert_eq!(play.shown(), ["delta one\n\n two ", "reply one\n\n two "]);
    }

    #[tokio::test]
    async fn a_plain_reply_where_a_stream_was_asked_for_is_shown_once() {
        let message = json!({"content": [{"type": "text", "text": "plain"}]});
        let completion = json!({"choices": [{"message": {"content": "plain"}}]});
        for (format, body) in FORMATS.into_iter().zip([message, completion]) {
            let fault = json!({"body": body.to_string(), "content_type": "text/event-stream"});
            let play = play(format, [scene("^go$", [say("").fault(fault)])]).await;
            assert_eq!(play.go().await.0.unwrap().text(), "plain");
            assert_eq!(play.shown(), ["delta plain", "reply plain"]);
        }
    }
}
