// # Survive a cut after every event
//
// drill, level 2, 30 minutes. Read: examples/s13_streaming.rs, core/src/error.rs
//
// The server of this drill cuts the connection of a stream: in one run after its first event, in
// the next one after the second, and so on, in both wire formats. It does so once for a request;
// asked again, it answers. The reply has thinking, text and a call that must be made exactly once.
//
// The harness below shows text as it arrives. When a stream breaks it calls `after_break`, which
// you write. It says what becomes of the pieces:
//
// - `Next::Again`: they are thrown away, and the same request is sent again.
// - `Next::Keep(blocks)`: these blocks become the model's message, and it is asked to continue.
// - `Next::Fail(error)`: the turn ends.
//
// A person must never read the same words twice. The server refuses a conversation that holds
// thinking without its signature, or a call without a result. And when the server says that the
// request itself is wrong, it must not be sent again.
//
// Run: cargo run -p rungs-exercises -- run s13_every_cut

use rungs_core::{Block, Error, Reply};

/// A stream that broke off.
#[allow(dead_code)]
struct Broken {
    /// What has arrived of the reply: perhaps half a text, or half the arguments of a call.
    partial: Reply,
    /// Whether a person has seen text of it.
    text_was_shown: bool,
    /// Why it broke off.
    error: Error,
}

/// What becomes of it.
#[allow(dead_code)]
enum Next {
    Again,
    Keep(Vec<Block>),
    Fail(Error),
}

fn after_break(broken: Broken) -> Next {
    let _ = broken;
    todo!("decide between Again, Keep and Fail")
}

mod tests {
    use super::*;
    use futures_util::{StreamExt, future::join_all};
    use lessons::s01_loop::agent_loop;
    use rehearsal::{Server, Turn, call, say, scene, script};
    use rungs_core::{
        Agent, AnyModel, Chat, Client, Context, Delta, Event, Layer, Message, Model, NextTurn,
        Recorder, Request, Result, StopReason,
        client::{Endpoint, Format, PartialReply},
        tools,
    };
    use serde_json::{Value, json};
    use std::{fs, sync::Arc, time::Duration};
    use tempfile::TempDir;

    const FORMATS: [Format; 2] = [Format::Anthropic, Format::OpenAi];
    const CONTINUE: &str = "Continue where your reply broke off.";
    /// How many attempts at one request there are.
    const MAX_ATTEMPTS: usize = 3;

    /// Shows each reply while it arrives.
    struct Streaming(AnyModel);

    impl Model for Streaming {
        async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
            for _ in 0..MAX_ATTEMPTS {
                let mut deltas = self.0.stream(request, cx).await?;
                let (mut reply, mut text_was_shown) = (PartialReply::default(), false);
                let error = loop {
                    match deltas.next().await {
                        Some(Ok(delta)) => {
                            if let Delta::Text { text, .. } = &delta {
                                text_was_shown = true;
                                cx.emit(Event::TextDelta(text.clone()));
                            }
                            reply.add(delta);
                        }
                        Some(Err(error)) => break error,
                        None => return Ok(reply.complete()),
                    }
                };
                let why = StopReason::Cut(error.to_string());
                let partial = reply.complete();
                match after_break(Broken { partial, text_was_shown, error }) {
                    Next::Again => {}
                    Next::Keep(blocks) => return Ok(Reply { stop: why, ..Reply::new(blocks) }),
                    Next::Fail(error) => return Err(error),
                }
            }
            Err(Error::Limit("attempts at one request", MAX_ATTEMPTS))
        }
    }

    /// Asks the model to continue a reply that was cut.
    struct Continues;

    impl Layer for Continues {
        async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
            let mut reply = next.run(chat, cx).await?;
            while matches!(reply.stop, StopReason::Cut(_)) {
                chat.push(Message::inserted("continue", CONTINUE));
                reply = next.run(chat, cx).await?;
            }
            Ok(reply)
        }
    }

    struct Drill {
        agent: Agent,
        ui: Arc<Recorder>,
        server: Server,
        dir: TempDir,
    }

    impl Drill {
        async fn new(format: Format, turns: impl IntoIterator<Item = Turn>) -> Self {
            let scenes = [
                scene("^go$", turns),
                scene("^Continue where", [count().say(" has begun. "), end()]),
                scene("^again$", [say("answered")]),
            ];
            let server = script(scenes).record(true).serve().await.unwrap();
            let version = if format == Format::OpenAi { "/v1" } else { "" };
            let url = format!("{}{version}", server.url());
            let client = Client::new(Endpoint::new(format, &url, "rehearsal")).unwrap();
            let (dir, ui) = (tempfile::tempdir().unwrap(), Arc::new(Recorder::default()));
            let agent = Agent::new(client, dir.path()).ui(ui.clone()).tool(tools::Bash);
            Drill { agent: agent.model(Streaming).wrap(Continues), ui, server, dir }
        }

        async fn prompt(&self, chat: &mut Chat, prompt: &str) -> Result<Reply> {
            let run = self.agent.run(chat, prompt, agent_loop);
            let limit = Duration::from_secs(10);
            tokio::time::timeout(limit, run).await.expect("the turn takes too long: a loop?")
        }

        /// All text that the person has read.
        fn read(&self) -> String {
            let lines = self.ui.take();
            lines.iter().filter_map(|line| line.strip_prefix("main: delta ")).collect()
        }
    }

    /// The call that must be made once.
    fn count() -> Turn {
        call("bash", json!({"command": "echo x >> ran; cat ran"}))
    }

    fn end() -> Turn {
        say("{{ results[0].text | trim }}")
    }

    async fn survive(format: Format, fault: Value) {
        let first = count().think("I think about it.").say("The work of today");
        let drill = Drill::new(format, [first.fault(fault.clone()), end()]).await;
        let mut chat = Chat::default();
        let end = drill.prompt(&mut chat, "go").await;
        let told = format!("{format:?}, {fault}");
        if let Err(error) = end {
            panic!("{told}: the turn ended with an error, although asking again helps: {error}");
        }
        let ran = fs::read_to_string(drill.dir.path().join("ran")).unwrap_or_default();
        assert_eq!(ran, "x\n", "{told}: each x is one run of the command, and one was wanted");
        let read = drill.read();
        let kept = read.split(" has begun. ").next().unwrap_or_default();
        assert!(
            read == "The work of todayx"
                || ("The work of today".starts_with(kept)
                    && read == format!("{kept} has begun. x")),
            "{told}: this is what the person has read, in one piece: {read:?}\nText that was shown \
             stays; what follows must not begin from the start."
        );
        let again = drill.prompt(&mut chat, "again").await;
        let seen = drill.server.requests();
        let refused = seen.iter().filter(|request| request.status != 200).count();
        assert!(
            again.is_ok() && refused == 0,
            "{told}: the server refuses the conversation from now on: it holds something that is \
             not whole: {chat:#?}"
        );
    }

    #[tokio::test]
    async fn a_cut_after_any_event_is_survived() {
        for format in FORMATS {
            join_all((0..20).map(|after| survive(format, json!({"cut_after": after})))).await;
        }
    }

    #[tokio::test]
    async fn an_end_without_the_last_event_is_survived() {
        for format in FORMATS {
            join_all((1..20).map(|after| survive(format, json!({"end_after": after})))).await;
        }
    }

    #[tokio::test]
    async fn a_request_that_is_wrong_is_not_sent_again() {
        for (after, place) in [(1, "before any text"), (8, "after some text")] {
            let fault = json!({"error_event": "invalid_request_error", "message": "bad words",
                "after": after, "times": "always"});
            let turn = say("some words of mine, and some more of them").fault(fault);
            let drill = Drill::new(Format::Anthropic, [turn]).await;
            let end = drill.prompt(&mut Chat::default(), "go").await;
            assert!(
                end.is_err_and(|error| error.to_string().contains("bad words")),
                "{place} the server said that the request is wrong; the person must read that"
            );
            let count = drill.server.request_count();
            assert_eq!(count, 1, "{place}: what is wrong now is wrong at the next attempt, too");
        }
    }
}
