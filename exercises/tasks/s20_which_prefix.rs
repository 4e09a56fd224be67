// # Which prefix is read
//
// predict, level 2, 15 minutes. Read: examples/s20_cache_optimization.rs
//
// An agent has six tools, a system text in one section, and the prompt cache of lesson 20: marks
// after the tools, after the system text, and at the ends of the two newest user messages. A first
// prompt was answered, so all of that request is in the cache. Then come the seven requests below,
// one after the other, all within a minute; what one of them changes stays so for those after it.
//
// Say for each what the server reads from its cache:
//
//     Nothing         it processes the whole request
//     Tools           the tools, and no more
//     ToolsAndSystem  tools and system text, and no more
//     LastRequest     all that the last request of the same conversation has sent
//
// Fill in `READ`. The test sends the requests and looks at the usage that the server reports.
//
// Run: cargo run -p rungs-exercises -- run s20_which_prefix

/// What is read from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Nothing,
    #[allow(dead_code)]
    Tools,
    #[allow(dead_code)]
    ToolsAndSystem,
    #[allow(dead_code)]
    LastRequest,
}
#[allow(unused_imports)]
use Read::{LastRequest, Nothing, Tools, ToolsAndSystem};

const READ: [(&str, Read); 7] = [
    ("1. the second prompt of the same conversation", Nothing),
    ("2. the first prompt of a new conversation with the same agent", Nothing),
    ("3. the first conversation goes on with the results of thirty calls of one reply", Nothing),
    ("4. it goes on, and one word of the system text is another one now", Nothing),
    ("5. it goes on; the system text stays as it is since request 4", Nothing),
    ("6. it goes on, and two tools change their places in the list", Nothing),
    ("7. it goes on, and somebody has corrected a letter in its first prompt", Nothing),
];

mod tests {
    use super::*;
    use lessons::s20_cache_optimization::{Lifetimes, PromptCache, install};
    use rehearsal::{calls, say, scene};
    use rungs_core::{
        Chat, Context, Layer, Message, NextSend, Reply, Request, Result, Usage, client::Lifetime,
        tools,
    };
    use rungs_exercises::support::{models, play};
    use serde_json::json;
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    type Change = fn(&mut Request);

    /// Changes requests, and records what each took.
    #[derive(Clone, Default)]
    struct Outside {
        changes: Arc<Mutex<Vec<Change>>>,
        usages: Arc<Mutex<Vec<Usage>>>,
        sizes: Arc<Mutex<(usize, usize)>>,
    }

    impl Layer for Outside {
        async fn send(
            &self,
            mut request: Request,
            cx: &Context,
            next: NextSend<'_>,
        ) -> Result<Reply> {
            for change in self.changes.lock().unwrap().iter() {
                change(&mut request);
            }
            let tools = json!(request.tools).to_string().len();
            *self.sizes.lock().unwrap() = (tools, json!(request.system).to_string().len());
            let reply = next.run(request, cx).await?;
            self.usages.lock().unwrap().push(reply.usage);
            Ok(reply)
        }
    }

    impl Outside {
        fn change(&self, change: Change) {
            self.changes.lock().unwrap().push(change);
        }

        /// What the newest request has read, when the one before it in its conversation had a
        /// prompt of `last` tokens. Tools and system text are known by their sizes.
        fn read(&self, last: u64) -> (Read, u64) {
            let usage = *self.usages.lock().unwrap().last().unwrap();
            let (tools, system) = *self.sizes.lock().unwrap();
            let (read, tools, head) =
                (usage.cache_read_input_tokens, tools as u64 / 4, (tools + system) as u64 / 4);
            let what = match read {
                0 => Nothing,
                read if read == last => LastRequest,
                read if read.abs_diff(tools) < read.abs_diff(head) => Tools,
                _ => ToolsAndSystem,
            };
            (what, usage.prompt_tokens())
        }
    }

    async fn what_the_server_reads() -> Vec<Read> {
        let five = Lifetime::FiveMinutes;
        let lifetimes = Lifetimes { prefix: five, conversation: five };
        let cache = PromptCache::new(Some(lifetimes), models(), "a");
        let outside = Outside::default();
        let system = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/system.md");
        let system = fs::read_to_string(system).unwrap();
        let many = calls((0..30).map(|_| ("glob", json!({"pattern": "*"}))));
        let scenes = [scene("^many$", [many, say("ok")]), scene("", [say("ok")])];
        let play = play(scenes, |agent, _| {
            install(tools::all(agent).system(system), cache).wrap(outside.clone())
        });
        let (play, mut found) = (play.await, vec![]);
        let (mut chat, mut other) = (Chat::default(), Chat::default());
        play.run(&mut chat, "first").await.unwrap();
        let (_, first) = outside.read(0);
        // 1
        play.run(&mut chat, "second").await.unwrap();
        found.push(outside.read(first).0);
        // 2
        play.run(&mut other, "another one").await.unwrap();
        found.push(outside.read(0).0);
        // 3: the request that made the reply with the calls, and then that with the results.
        play.run(&mut chat, "many").await.unwrap();
        let before = outside.usages.lock().unwrap().iter().rev().nth(1).copied().unwrap();
        let (read, mut last) = outside.read(before.prompt_tokens());
        found.push(read);
        let mut go_on = async |change: Option<Change>, prompt: &str| {
            if let Some(change) = change {
                outside.change(change);
            }
            play.run(&mut chat, prompt).await.unwrap();
            let (read, prompt_tokens) = outside.read(last);
            last = prompt_tokens;
            found.push(read);
        };
        let other_word: Change =
            |r| r.system[0] = r.system[0].replacen("agent", "helper", 1).into();
        go_on(Some(other_word), "on 4").await;
        go_on(None, "on 5").await;
        go_on(Some(|r| r.tools.swap(0, 1)), "on 6").await;
        let corrected: Change = |r| {
            let mut first = Message::clone(&r.messages[0]);
            if let Some(rungs_core::Block::Text { text, .. }) = first.content.last_mut() {
                *text = text.replace("first", "First");
            }
            r.messages[0] = Arc::new(first);
        };
        go_on(Some(corrected), "on 7").await;
        found
    }

    /// What to think of, for each request.
    const ASK: [&str; 7] = [
        "With which bytes does it begin, and where did the request before it have its newest mark?",
        "What do two conversations with the same agent begin with, and is there a mark after it?",
        "The newest mark is more than twenty blocks after the last one. Is there another mark?",
        "What stands before the system text, and is there a mark after it?",
        "The request before it wrote new entries. Does this one begin with the same bytes?",
        "What stands before the tools?",
        "What stands before the messages? What did the request before it leave there?",
    ];

    #[tokio::test]
    async fn the_server_reads_what_was_predicted() {
        let found = what_the_server_reads().await;
        let wrong: Vec<String> = (0..READ.len())
            .filter(|i| READ[*i].1 != found[*i])
            .map(|i| format!("  {}: not {:?}. {}", READ[i].0, READ[i].1, ASK[i]))
            .collect();
        assert!(
            wrong.is_empty(),
            "the server read something else in {} of {} requests:\n{}",
            wrong.len(),
            READ.len(),
            wrong.join("\n")
        );
    }
}
