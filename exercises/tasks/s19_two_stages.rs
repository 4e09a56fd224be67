// # Two stages of a stop
//
// build, level 3, 30 minutes. Read: core/src/dispatch.rs, core/src/context.rs, core/src/chat.rs
//
// Write the layer that stops a turn, without looking at `examples/s19_interrupts.rs`. The token
// `person` fires when somebody presses Ctrl+C. Then:
//
// 1. Fire the token of the turn (`cx.cancel()`). Whoever watches it ends by itself and returns what
//    it has: do not drop the turn, go on waiting for it.
// 2. Wait no longer than `grace`. A tool that hears nothing, or a server that never answers, is
//    dropped with the turn.
// 3. If the turn has ended by itself with a whole reply in the same moment, that is its end.
//    Otherwise answer what is open (`chat.close_open_calls(Chat::INTERRUPTED)`), push the note,
//    and end the turn with `Error::Cancelled`.
//
// A turn that nobody stops is not changed.
//
// Run: cargo run -p rungs-exercises -- run s19_two_stages

#[allow(unused_imports)]
use rungs_core::{
    CancellationToken, Chat, Context, Error, Layer, Message, NextTurn, Reply, Result, StopReason,
};
#[allow(unused_imports)]
use std::{pin::pin, time::Duration};

/// What the model reads of a stop: `Message::inserted("interrupt", NOTE)`.
const NOTE: &str = "The person stopped the turn here. What they say next decides.";

/// Stops a turn when the person asks for it.
struct Stoppable {
    /// Fires when the person presses Ctrl+C.
    person: CancellationToken,
    /// How long the turn may take to end by itself then.
    grace: Duration,
}

impl Layer for Stoppable {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let _ = (chat, cx, next, &self.person, self.grace, NOTE);
        todo!("run the turn; when the person asks for it, stop it in two stages")
    }
}

mod tests {
    use super::*;
    use rehearsal::{Turn, call, calls, say, scene};
    use rungs_core::{Effect, ToolError, tools};
    use rungs_exercises::support::{Play, play, results};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;
    use std::time::Instant;
    use tokio::time::timeout;

    /// What hears nothing.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Call {
        /// Never ends.
        Hang {},
    }

    async fn hang((): &(), call: Call, _: &Context) -> std::result::Result<String, ToolError> {
        match call {
            Call::Hang {} => std::future::pending().await,
        }
    }

    struct Stage {
        play: Play,
        person: CancellationToken,
    }

    async fn stage(turns: impl IntoIterator<Item = Turn>, grace: Duration) -> Stage {
        let person = CancellationToken::new();
        let layer = Stoppable { person: person.clone(), grace };
        let scenes = [scene("^go$", turns), scene("^next$", [say("fine")])];
        let play = play(scenes, |agent, _| {
            agent.tool(tools::Bash).tools((), |_: &Call| Effect::Reads, hang).wrap(layer)
        });
        Stage { play: play.await, person }
    }

    impl Stage {
        /// Runs a turn, and presses Ctrl+C once `ready` says so: its end, and the time it took from
        /// then on.
        async fn stopped(&self, chat: &mut Chat, ready: impl Fn() -> bool) -> (Error, Duration) {
            let press = async {
                while !ready() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                self.person.cancel();
                Instant::now()
            };
            let both = async { tokio::join!(self.play.run(chat, "go"), press) };
            let Ok((end, pressed)) = timeout(Duration::from_secs(5), both).await else {
                panic!(
                    "5 s after Ctrl+C the turn still runs. Its token was fired, or not; whoever \
                     does not watch it must be dropped once the grace period is over"
                )
            };
            let Err(error) = end else { panic!("the turn was stopped: its end is an error") };
            (error, pressed.elapsed())
        }

        /// The conversation is one that the server takes.
        async fn goes_on(&self, chat: &mut Chat) {
            chat.push(Message::user("next"));
            match self.play.agent.ask(chat).await {
                Ok(reply) => assert_eq!(reply.text(), "fine", "the next prompt has its answer"),
                Err(error) => panic!("after a stop the next prompt must be answered: {error}"),
            }
        }
    }

    /// How many notes there are.
    fn notes(chat: &Chat) -> usize {
        chat.blocks().filter(|block| block.as_text() == Some(NOTE)).count()
    }

    #[tokio::test]
    async fn a_turn_that_nobody_stops_is_not_changed() {
        let stage = stage([say("done")], Duration::from_secs(1)).await;
        let mut chat = Chat::default();
        let reply = stage.play.run(&mut chat, "go").await.unwrap();
        assert_eq!(reply.text(), "done", "the turn goes its way, whoever might stop it");
        assert_eq!((chat.messages().len(), notes(&chat)), (2, 0), "no note without a stop");
    }

    #[tokio::test]
    async fn a_command_is_stopped_and_what_it_has_printed_is_kept() {
        let go = call("bash", json!({"command": "echo one; touch begun; sleep 60"}));
        let stage = stage([go], Duration::from_secs(4)).await;
        let begun = stage.play.dir.path().join("begun");
        let mut chat = Chat::default();
        let (error, _) = stage.stopped(&mut chat, || begun.exists()).await;
        assert!(matches!(error, Error::Cancelled), "the person stopped it: {error:?}");
        let kept = &results(&chat.messages()[2])[0];
        assert!(
            kept.starts_with("one\n"),
            "the command watches the token and returns its output so far; a turn that is dropped \
             at once loses it. The result is: {kept:?}"
        );
        assert_eq!(notes(&chat), 1, "the model must read that the person stopped the turn");
        stage.goes_on(&mut chat).await;
    }

    #[tokio::test]
    async fn a_tool_that_hears_nothing_is_dropped() {
        let go = calls([("bash", json!({"command": "touch begun"})), ("hang", json!({}))]);
        let stage = stage([go], Duration::from_millis(100)).await;
        let begun = stage.play.dir.path().join("begun");
        let mut chat = Chat::default();
        let (error, time) = stage.stopped(&mut chat, || begun.exists()).await;
        assert!(matches!(error, Error::Cancelled), "the person stopped it: {error:?}");
        assert!(time < Duration::from_secs(2), "the grace period is 100 ms, it took {time:?}");
        assert_eq!(results(&chat.messages()[2]).len(), 2, "each call needs a result");
        stage.goes_on(&mut chat).await;
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_not_waited_for() {
        let stage = stage([say("late").delay_ms(60_000)], Duration::from_millis(100)).await;
        let mut chat = Chat::default();
        let asked = || stage.play.server.request_count() == 1;
        let (error, time) = stage.stopped(&mut chat, asked).await;
        assert!(matches!(error, Error::Cancelled), "the person stopped it: {error:?}");
        assert!(time < Duration::from_secs(2), "the grace period is 100 ms, it took {time:?}");
        assert_eq!(notes(&chat), 1, "the note belongs into the chat also without any call");
        stage.goes_on(&mut chat).await;
    }

    /// Has its whole reply in the moment in which the person presses Ctrl+C.
    struct SameMoment(CancellationToken);

    impl Layer for SameMoment {
        async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
            let end = next.run(chat, cx).await;
            self.0.cancel();
            tokio::time::sleep(Duration::from_millis(20)).await;
            end
        }
    }

    #[tokio::test]
    async fn a_reply_that_is_whole_in_the_same_moment_is_the_answer() {
        let person = CancellationToken::new();
        let layer = Stoppable { person: person.clone(), grace: Duration::from_secs(4) };
        let play = play([scene("^go$", [say("done")])], |agent, _| {
            agent.wrap(SameMoment(person)).wrap(layer)
        });
        let play = play.await;
        let mut chat = Chat::default();
        let end = play.run(&mut chat, "go").await;
        let reply = end.expect("the turn ended by itself: nothing was stopped");
        assert_eq!(reply.text(), "done", "the reply was whole");
        assert_eq!(notes(&chat), 0, "nothing was stopped, so nothing is said of a stop");
    }
}
