// # Four marks
//
// build, level 2, 25 minutes. Read: core/src/client/mod.rs, core/src/block.rs
//
// The server keeps a request up to each mark that stands in it, and reads what it has kept if a
// later request begins with the same bytes. From a mark it looks back over at most 20 blocks. At
// most four marks are allowed, and thinking (`Block::Other`) cannot carry one. All marks live for
// five minutes here.
//
// Write `marks`, without looking at `examples/s20_cache_optimization.rs`, so that
// - each request of a conversation reads all that the request before it has sent, whatever the
//   replies are like, a reply with thirty calls among them;
// - a new conversation with the same agent reads tools and system text.
//
// The tests send real requests, and look at the usage that the server reports.
//
// Run: cargo run -p rungs-exercises -- run s20_marks

#[allow(unused_imports)]
use rungs_core::{
    Block, Request, Role,
    client::{Lifetime, Mark, Place},
};

/// The places of a request after which the server shall keep what it has processed.
fn marks(request: &Request) -> Vec<Mark> {
    let _ = (request, Lifetime::FiveMinutes);
    todo!("place the marks")
}

mod tests {
    use super::*;
    use rehearsal::{Scene, call, calls, say, scene};
    use rungs_core::{Chat, Context, Layer, Message, NextSend, Reply, Result, Usage, tools};
    use rungs_exercises::support::{Play, play};
    use serde_json::{Value, json};
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    /// Sets the marks, and records what each request took.
    #[derive(Clone, Default)]
    struct Marks(Arc<Mutex<Vec<Usage>>>);

    impl Layer for Marks {
        async fn send(
            &self,
            mut request: Request,
            cx: &Context,
            next: NextSend<'_>,
        ) -> Result<Reply> {
            request.marks = marks(&request);
            assert!(request.marks.len() <= 4, "the API takes four marks: {:?}", request.marks);
            let reply = match next.run(request.clone(), cx).await {
                Ok(reply) => reply,
                Err(error) => {
                    panic!("the API refuses a request with the marks {:?}: {error}", request.marks)
                }
            };
            self.0.lock().unwrap().push(reply.usage);
            Ok(reply)
        }
    }

    impl Marks {
        fn taken(&self) -> Vec<Usage> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    async fn before(scenes: impl IntoIterator<Item = Scene>) -> (Play, Marks) {
        let marks = Marks::default();
        let system = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/system.md");
        let system = fs::read_to_string(system).unwrap();
        let play =
            play(scenes, |agent, _| tools::all(agent).system(system).wrap(marks.clone())).await;
        (play, marks)
    }

    fn step() -> (&'static str, Value) {
        ("glob", json!({"pattern": "*"}))
    }

    /// Each of these requests must have read all of the one before.
    fn each_reads_the_one_before(usages: &[Usage], what: &str) {
        for (i, pair) in usages.windows(2).enumerate() {
            assert_eq!(
                pair[1].cache_read_input_tokens,
                pair[0].prompt_tokens(),
                "{what}: request {} must read the {} tokens of the one before it",
                i + 2,
                pair[0].prompt_tokens()
            );
        }
    }

    #[tokio::test]
    async fn a_first_request_is_written_and_the_next_ones_read_it() {
        let (play, marks) =
            before([scene("^go$", [call(step().0, step().1).repeat(4), say("end")])]).await;
        play.ask("go").await;
        let usages = marks.taken();
        assert!(
            usages[0].cache_creation_input_tokens > 1000,
            "nothing of the first request is kept: an entry is written only at a mark"
        );
        each_reads_the_one_before(&usages, "small steps");
        let full: u64 = usages.iter().map(|usage| usage.input_tokens).sum();
        assert_eq!(full, 0, "what stands behind the last mark is processed again each time");
    }

    #[tokio::test]
    async fn many_calls_in_one_reply_lose_nothing() {
        let many = calls((0..30).map(|_| step())).say("thirty at once");
        let (play, marks) = before([scene("^go$", [many, say("end")])]).await;
        play.ask("go").await;
        each_reads_the_one_before(
            &marks.taken(),
            "between the newest mark and the one of the last request stand sixty blocks",
        );
    }

    #[tokio::test]
    async fn thinking_carries_no_mark() {
        let think = call(step().0, step().1).think("hm").repeat(3);
        let (play, marks) = before([scene("^go$", [think, say("end").think("ok")])]).await;
        play.ask("go").await;
        each_reads_the_one_before(&marks.taken(), "replies with thinking");
        // A reply that pauses is sent back, so it can be the newest message.
        let paused = Message::assistant(vec![Block::text("a"), Block::thinking("hm", "signed")]);
        let user = || Arc::new(Message::user("x"));
        let messages = vec![user(), Arc::new(paused)];
        let marks = super::marks(&Request { messages, ..Request::default() });
        let on_thinking = Place::Block { message: 1, block: 1 };
        assert!(
            marks.iter().all(|mark| mark.place != on_thinking),
            "block 1 of message 1 is thinking, and the API refuses a mark on it: {marks:?}"
        );
    }

    #[tokio::test]
    async fn a_new_conversation_reads_tools_and_system_text() {
        let (play, marks) = before([scene("", [say("ok")])]).await;
        play.ask("one").await;
        play.ask("another").await;
        let read = marks.taken()[1].cache_read_input_tokens;
        assert!(
            read > 1000,
            "two conversations differ from the first message on; what stands before it is the \
             same. It was processed again: {read} tokens were read"
        );
        let mut chat = Chat::default();
        play.run(&mut chat, "one more").await.unwrap();
        play.run(&mut chat, "and on").await.unwrap();
        each_reads_the_one_before(&marks.taken()[..], "the conversation after that");
    }

    #[test]
    fn an_empty_request_has_no_marks() {
        assert_eq!(super::marks(&Request::default()), [], "there is nothing to mark");
    }
}
