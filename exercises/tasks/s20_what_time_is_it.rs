// # What time is it
//
// repair, level 2, 20 minutes. Read: examples/s20_cache_optimization.rs, core/src/dispatch.rs
//
// A team wanted its agent to know the time, and added the layer `Clock`. The model knows the time
// since then. Two weeks later somebody looked at the bill:
//
//   "Since the release we pay ten times as much for input. Caching is on, marks are set, and still
//   the server says that it reads only the tools. The answers are good."
//
// Change `Clock` so that the model still learns the time with every prompt, the time at which it
// was typed, and each request reads from the cache all that the request before it has sent.
//
// Run: cargo run -p rungs-exercises -- run s20_what_time_is_it

#[allow(unused_imports)]
use rungs_core::{
    Chat, Context, Layer, Message, NextAsk, NextSend, NextTurn, Reply, Request, Result,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the model the time.
struct Clock;

fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("The time is {} ns since 1970.", time.as_nanos())
}

impl Layer for Clock {
    async fn send(&self, mut request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        request.system.push(now().into());
        next.run(request, cx).await
    }
}

mod tests {
    use super::*;
    use lessons::s20_cache_optimization::{Lifetimes, PromptCache, install};
    use rehearsal::{call, say, scene};
    use rungs_core::{NextSend, Request, Usage, client::Lifetime, tools};
    use rungs_exercises::support::{Play, models, play};
    use serde_json::{Value, json};
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    /// Records what each request took.
    #[derive(Clone, Default)]
    struct Usages(Arc<Mutex<Vec<Usage>>>);

    impl Layer for Usages {
        async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
            let reply = next.run(request, cx).await?;
            self.0.lock().unwrap().push(reply.usage);
            Ok(reply)
        }
    }

    /// A conversation of three prompts, the second one with three steps: what its requests took,
    /// and what they were.
    async fn conversation() -> (Vec<Usage>, Vec<Value>) {
        let five = Lifetime::FiveMinutes;
        let lifetimes = Lifetimes { prefix: five, conversation: five };
        let cache = PromptCache::new(Some(lifetimes), models(), "a");
        let system = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/system.md");
        let system = fs::read_to_string(system).unwrap();
        let usages = Usages::default();
        let steps = call("glob", json!({"pattern": "*"})).repeat(3);
        let scenes = [scene("^steps$", [steps, say("end")]), scene("^p\\d$", [say("ok")])];
        let play: Play = play(scenes, |agent, _| {
            let agent = install(tools::all(agent).system(system), cache);
            agent.wrap(Clock).wrap(usages.clone())
        })
        .await;
        let mut chat = Chat::default();
        for prompt in ["p1", "steps", "p3"] {
            play.run(&mut chat, prompt).await.unwrap();
        }
        let usages = usages.0.lock().unwrap().clone();
        (usages, play.bodies())
    }

    /// The times that a value tells.
    fn times(value: &Value) -> Vec<u128> {
        let text = value.to_string();
        let parts = text.split("The time is ").skip(1);
        parts.filter_map(|part| part.split(' ').next()?.parse().ok()).collect()
    }

    #[tokio::test]
    async fn each_request_reads_all_of_the_one_before() {
        let (usages, _) = conversation().await;
        for (i, pair) in usages.windows(2).enumerate() {
            assert_eq!(
                pair[1].cache_read_input_tokens,
                pair[0].prompt_tokens(),
                "request {} has read {} of the {} tokens that the one before it had sent: \
                 something that stands before them is another one each time",
                i + 2,
                pair[1].cache_read_input_tokens,
                pair[0].prompt_tokens()
            );
        }
    }

    #[tokio::test]
    async fn the_model_learns_the_time_with_every_prompt() {
        let (_, bodies) = conversation().await;
        let mut newest = vec![];
        // The first requests of the three turns.
        for i in [0, 1, 5] {
            let messages = bodies[i]["messages"].as_array().unwrap();
            let said = times(messages.last().unwrap());
            assert!(
                !said.is_empty() || !times(&bodies[i]["system"]).is_empty(),
                "request {} does not tell the time at which its prompt was typed",
                i + 1
            );
            newest.extend(said.last().or(times(&bodies[i]["system"]).last()).copied());
        }
        let is_later = newest.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(
            is_later,
            "each prompt has its own time, and not that of the first one: {newest:?}"
        );
    }

    #[tokio::test]
    async fn what_was_said_of_the_time_stays_as_it_was() {
        let (_, bodies) = conversation().await;
        for pair in bodies.windows(2) {
            let [before, after] = [&pair[0], &pair[1]].map(|body| {
                let mut all = times(&body["system"]);
                all.extend(times(&body["messages"]));
                all
            });
            assert!(
                after.starts_with(&before),
                "a time that was sent once has changed or gone in the next request; history is \
                 append-only, or nothing can be read again"
            );
        }
    }
}
