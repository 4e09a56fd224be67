//! # s24: stop a model that repeats itself
//!
//! A model whose approach fails often tries the same again: it runs a check that cannot pass yet,
//! or goes back and forth between two files. Each step costs money and fills the context with one
//! more failed attempt. The turn limit of s01 ends this after 250 steps; this lesson notices it
//! after three.
//!
//! ```text
//! act:  call -> 3 replies without progress, and the call was made before? -yes-> refuse it
//!                   | no
//!                   v
//!               run it -> (call, result) not seen yet? -yes-> that is progress: count from 0 again
//!
//! ask:  6 replies without progress? -yes-> the turn ends with an error
//!           | no
//!           v
//!       ask the model -> the reply has calls? -yes-> count it
//! ```
//!
//! New here: progress is measured by results. A repeated call is fine while its results change; a
//! loop over several different calls is a loop all the same. The first answer is a refusal that
//! says what else to do, since a model can often be put right; only then the turn ends.
//!
//! What was seen is a [`State`] of the conversation, so a subagent or a fork has its own, and it is
//! *of the text*: after compaction the results are no longer before the model, so it may make the
//! calls again to see them again.
//!
//! Terms: **loop detection** (also **doom loop**), **no-progress detection**, **sliding window**
//! (only the newest results are remembered), **hash** (two results are compared without keeping
//! them).
//!
//! Run it: `cargo run --example s24_loop_detection`
//!
//! You will see a model run a failing check four times, be refused the fifth time, read the program
//! and correct it; then one that goes back and forth between two files, and finds the answer in a
//! third.
//!
//! Try, and predict first:
//! 1. Type "Keep running the check." How often does it run, how often is it refused, and who reads
//!    why the turn ended: the model or you?
//! 2. Add the line `date +%N` to `check.sh` in `config/rehearsals/s24_loop_detection.yaml`, as its
//!    second line, and make the check pass again. Which call is refused now?
//! 3. Set `OF_TEXT` to false. Which test of this file fails, and what could a model no longer do?
//!
//! Pitfalls: a time or a process id in an output makes every result look new; waiting for something
//! by asking again and again looks like a loop, so the refusal says how to wait; compaction forgets
//! what was seen, so a loop that fills the context each time runs until the turn limit.
//!
//! A product also notices a reply that repeats its own sentences, lets a second model judge whether
//! a long turn makes progress, and asks the person whether to continue.
//!
//! Builds on s01. Motto: *If nothing new comes back, try something else.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Chat, Context, Error, Layer, NextAct, NextAsk, NextTurn, Reply, Result, State, ToolCall,
    ToolResult,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    process::ExitCode,
};

/// Replies in a row without progress, after which a call that was made before is refused.
const REFUSE_AFTER_REPLIES: usize = 3;
/// Replies in a row without progress, after which the turn ends.
const STOP_AFTER_REPLIES: usize = 6;
/// How many different results are remembered: a loop over more calls than that is not noticed.
const MAX_REMEMBERED_RESULTS: usize = 50;

/// What the model has seen in this turn and still has before it. A turn does not survive the
/// program, so none of it is saved.
#[derive(Clone, Default, Serialize, Deserialize)]
struct SeenResults {
    /// The newest different ones, the oldest first.
    #[serde(skip)]
    results: VecDeque<SeenResult>,
    /// Replies in a row, up to the newest, whose calls have brought nothing new so far.
    #[serde(skip)]
    replies_without_progress: usize,
}

/// Hashes of a call and of its result.
#[derive(Clone, PartialEq)]
struct SeenResult {
    call: u64,
    result: u64,
}

impl State for SeenResults {
    const NAME: &'static str = "seen_results";
    const OF_TEXT: bool = true;
}

impl SeenResults {
    fn refuses(&self, call: u64) -> bool {
        // The newest reply, which made this call, is counted too.
        self.replies_without_progress > REFUSE_AFTER_REPLIES
            && self.results.iter().any(|seen| seen.call == call)
    }

    fn note(&mut self, result: SeenResult) {
        if self.results.contains(&result) {
            return;
        }
        self.replies_without_progress = 0;
        self.results.push_back(result);
        if self.results.len() > MAX_REMEMBERED_RESULTS {
            self.results.pop_front();
        }
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Refuses calls that were made before, and ends the turn, when nothing new comes back.
struct LoopDetector;

impl Layer for LoopDetector {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        // Somebody asks for something, which may well be to look again.
        chat.update(|seen: &mut SeenResults| *seen = SeenResults::default());
        next.run(chat, cx).await
    }

    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let replies = chat.state::<SeenResults>().replies_without_progress;
        if replies >= STOP_AFTER_REPLIES {
            return Err(Error::Limit("replies in a row that brought nothing new", replies));
        }
        let reply = next.run(chat, cx).await?;
        if !reply.calls().is_empty() {
            // Until one of its calls brings something new, which sets the count back to zero.
            chat.update(|seen: &mut SeenResults| seen.replies_without_progress += 1);
        }
        Ok(reply)
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let call_hash = hash((&call.name, call.input.to_string()));
        if cx.state::<SeenResults>().refuses(call_hash) {
            return call.refuse(format!(
                "not run: this call has been made before, and the last {REFUSE_AFTER_REPLIES} \
                 replies brought nothing new. Do something else, or report what you have; to wait \
                 for something, wait longer within one call."
            ));
        }
        let result = next.run(call, cx).await;
        let content = serde_json::to_string(&result.output.0).unwrap_or_default();
        let seen = SeenResult { call: call_hash, result: hash((content, result.is_error)) };
        cx.update(|all: &mut SeenResults| all.note(seen));
        result
    }
}

/// Adds the mechanism, outside of all layers there are: what they refuse has a result too.
pub fn install(agent: Agent) -> Agent {
    agent.wrap(LoopDetector)
}

/// The agent of lesson one, which does not repeat itself for ever.
pub fn main() -> ExitCode {
    lessons::run("s24_loop_detection", async |stage| Ok(install(stage.agent())), agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::{
        s04_subagent,
        testing::{Play, play, results},
    };
    use rehearsal::{Scene, Turn, call, calls, say, say_results, scene};
    use rungs_core::tools;
    use serde_json::{Value, json};

    fn bash(command: &str) -> (&'static str, Value) {
        ("bash", json!({ "command": command }))
    }

    /// The same call in several replies.
    fn same(replies: u32) -> Turn {
        calls([bash("echo same")]).repeat(replies)
    }

    async fn detector(scenes: impl IntoIterator<Item = Scene>) -> Play {
        play(scenes, |agent, _| install(s04_subagent::install(agent.tool(tools::Bash)))).await
    }

    /// The results of all calls of a chat, in order; a refusal is `None`.
    fn run_or_refused(chat: &Chat) -> Vec<Option<String>> {
        let all = chat.messages().iter().flat_map(|message| results(message));
        let refused = "not run: this call has been made before, and the last 3 replies brought \
                       nothing new. Do something else, or report what you have; to wait for \
                       something, wait longer within one call.";
        all.map(|text| (text != refused).then(|| text.trim().to_string())).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some(text.to_string())).collect()
    }

    const STOPPED: &str = "stopped after 6 replies in a row that brought nothing new";

    #[tokio::test]
    async fn a_repeated_call_is_refused_and_then_the_turn_ends() {
        let play = detector([scene("^go$", [same(100)])]).await;
        let mut chat = Chat::default();
        let end = play.run(&mut chat, "go").await.unwrap_err();
        assert_eq!(end.to_string(), STOPPED);
        assert_eq!(run_or_refused(&chat), [some(&["same"; 4]), vec![None; 3]].concat());
        assert_eq!(play.bodies().len(), 7);
    }

    #[tokio::test]
    async fn several_calls_in_each_reply_are_a_loop_too() {
        let both = calls([bash("echo one"), bash("echo two")]).repeat(100);
        let play = detector([scene("^go$", [both])]).await;
        let mut chat = Chat::default();
        let end = play.run(&mut chat, "go").await.unwrap_err();
        assert_eq!(end.to_string(), STOPPED);
        let ran = some(&["one", "two"].repeat(4));
        assert_eq!(run_or_refused(&chat), [ran, vec![None; 6]].concat());
    }

    #[tokio::test]
    async fn going_back_and_forth_is_a_loop_too() {
        let alternating = call("bash", json!({"command": "echo {{ n % 2 }}"})).repeat(100);
        let play = detector([scene("^go$", [alternating])]).await;
        let mut chat = Chat::default();
        let end = play.run(&mut chat, "go").await.unwrap_err();
        assert_eq!(end.to_string(), STOPPED);
        let ran = some(&["0", "1", "0", "1", "0"]);
        assert_eq!(run_or_refused(&chat), [ran, vec![None; 3]].concat());
    }

    #[tokio::test]
    async fn whoever_makes_progress_is_not_stopped() {
        let count = bash("echo x >> f; cat f | wc -l");
        let steps = calls([count, bash("true")]).repeat(20);
        let (answer, chat) = detector([scene("^go$", [steps, say("end")])]).await.ask("go").await;
        assert_eq!(answer, "end");
        let expected = (1..=20).flat_map(|n| [Some(n.to_string()), Some("(no output)".into())]);
        assert_eq!(run_or_refused(&chat), expected.collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn after_something_new_the_call_may_be_made_again() {
        let other = calls([bash("echo other")]);
        let turns = [same(5), other, same(4), say("end")];
        let (_, chat) = detector([scene("^go$", turns)]).await.ask("go").await;
        let first = [some(&["same"; 4]), vec![None]].concat();
        let second = [some(&["other"]), some(&["same"; 3]), vec![None]].concat();
        assert_eq!(run_or_refused(&chat), [first, second].concat());
    }

    #[tokio::test]
    async fn a_new_prompt_may_ask_for_the_same_again() {
        let play = detector([scene("^go$", [same(4), say("end")])]).await;
        let mut chat = Chat::default();
        for _ in 0..2 {
            play.run(&mut chat, "go").await.unwrap();
        }
        assert_eq!(run_or_refused(&chat), some(&["same"; 8]));
    }

    /// Compacts a conversation of four steps: the prompt and the newest step stay.
    struct Compaction;

    impl Layer for Compaction {
        async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
            if let [prompt, _, _, _, _, _, _, calls, results] = chat.messages() {
                let kept = [prompt.clone(), calls.clone(), results.clone()];
                chat.compact(kept);
            }
            next.run(chat, cx).await
        }
    }

    #[tokio::test]
    async fn after_compaction_the_call_may_be_made_again() {
        let scenes = [scene("^go$", [same(7), say("end")])];
        let play = play(scenes, |agent, _| install(agent.tool(tools::Bash)).wrap(Compaction)).await;
        play.ask("go").await;
        let shown = play.ui.take();
        let shown: Vec<&str> =
            shown.iter().filter_map(|l| l.strip_prefix("main: result ")).collect();
        assert_eq!(shown, ["same\n"; 7]);
    }

    #[tokio::test]
    async fn a_subagent_is_stopped_by_itself() {
        let job = json!({"tasks": [{"description": "x", "prompt": "repeat"}]});
        let go = [call("task", job), say_results()];
        let scenes = [scene("^go$", go), scene("^repeat$", [same(100)])];
        let (answer, _) = detector(scenes).await.ask("go").await;
        assert_eq!(answer, format!("# x\nThis subagent failed: {STOPPED}"));
    }

    #[tokio::test]
    async fn a_subagent_has_seen_nothing_yet() {
        let job = json!({"tasks": [{"description": "x", "prompt": "look"}]});
        let go = [same(4), calls([("task", job), bash("echo same")]), say_results()];
        let look = [same(1), say_results()];
        let scenes = [scene("^go$", go), scene("^look$", look)];
        let (answer, _) = detector(scenes).await.ask("go").await;
        assert_eq!(answer, "# x\nsame | same");
    }
}
