// # Three asked for, twenty-four ran
//
// repair, level 2, 30 minutes. Read: examples/s04_subagent.rs, core/src/children.rs
//
// `task` gives jobs to subagents, at most `MAX_SUBAGENTS` for one prompt. The layer `Bounds` makes
// the budget when a prompt begins. A user reports:
//
//   "I asked for three research agents. 24 ran, most of them on the same questions, and my monthly
//   limit was used up in twenty minutes. The log never says that a bound was reached."
//
// Each subagent has the tool `task` too, and that is wanted. What must hold: one prompt leads to at
// most `MAX_SUBAGENTS` subagents, those of subagents included, and a new prompt begins with a new
// budget. A call for which there is no room starts none, and the model reads how many are left.
//
// Do not lower the bound, and do not take the tool away.
//
// Run: cargo run -p rungs-exercises -- run s04_runaway

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Chat, Context, Effect, Layer, NextTurn, Reply, Result, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many subagents one prompt may lead to.
const MAX_SUBAGENTS: usize = 5;

/// How many subagents a prompt may still start.
#[derive(Clone)]
struct Budget(Arc<AtomicUsize>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Gives jobs to subagents, one after the other, and returns their reports.
    Task {
        /// What each subagent has to do.
        jobs: Vec<String>,
    },
}

async fn run(_: &(), call: Call, cx: &Context) -> Result<String, ToolError> {
    let Call::Task { jobs } = call;
    let budget = cx.value::<Budget>().ok_or(ToolError("there is no budget".into()))?;
    let take = |left: usize| left.checked_sub(jobs.len());
    if let Err(left) = budget.0.fetch_update(Relaxed, Relaxed, take) {
        return Err(ToolError(format!("{} are too many: {left} are left", jobs.len())));
    }
    let mut reports = vec![];
    for job in &jobs {
        let child = cx.agent.child("worker", &[]);
        let mut chat = child.new_chat();
        let report = child.run(&mut chat, job.as_str(), agent_loop).await;
        reports.push(report.map_or_else(|error| error.to_string(), |reply| reply.text()));
    }
    Ok(reports.join("\n"))
}

/// Gives each prompt its budget.
struct Bounds;

impl Layer for Bounds {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let budget = Budget(Arc::new(MAX_SUBAGENTS.into()));
        next.run(chat, &cx.with(budget)).await
    }
}

fn install(agent: Agent) -> Agent {
    agent.tools((), |_: &Call| Effect::Delegates, run).wrap(Bounds)
}

mod tests {
    use super::*;
    use rehearsal::{Scene, Turn, call, say, say_results, scene};
    use rungs_exercises::support::{Play, play};
    use serde_json::json;

    fn task(jobs: &[&str]) -> Turn {
        call("task", json!({ "jobs": jobs }))
    }

    async fn plays(scenes: impl IntoIterator<Item = Scene>) -> Play {
        play(scenes, |agent, _| install(agent)).await
    }

    /// How many subagents the server has met: each begins with a request of one message.
    fn begun(play: &Play) -> usize {
        let first = |body: &serde_json::Value| body["messages"].as_array().unwrap().len() == 1;
        play.bodies().iter().filter(|body| first(body)).count() - 1
    }

    #[tokio::test]
    async fn the_bound_holds_for_all_levels_together() {
        let scenes = [
            scene("^go$", [task(&["dig", "dig", "dig"]), say_results()]),
            // Each digger wants two more, and those want two more.
            scene("^dig$", [task(&["look", "look"]), say_results()]),
            scene("^look$", [task(&["peek", "peek"]), say_results()]),
            scene("^peek$", [say("seen")]),
        ];
        let play = plays(scenes).await;
        let (answer, _) = play.ask("go").await;
        let begun = begun(&play);
        assert!(
            begun <= MAX_SUBAGENTS,
            "{begun} subagents began, and one prompt may lead to {MAX_SUBAGENTS}. No single agent \
             broke its own bound. Whose budget did each of them take from?"
        );
        assert_eq!(
            begun, 5,
            "three for the prompt, and two for the first of them: so much is allowed"
        );
        let why = "whoever is refused must read it, and do the work alone";
        assert!(answer.contains("are left"), "{why}: {answer}");
    }

    #[tokio::test]
    async fn a_subagent_may_have_subagents() {
        let scenes = [
            scene("^go$", [task(&["dig"]), say_results()]),
            scene("^dig$", [task(&["peek", "peek"]), say_results()]),
            scene("^peek$", [say("seen")]),
        ];
        let (answer, _) = plays(scenes).await.ask("go").await;
        assert_eq!(
            answer.trim(),
            "seen\nseen",
            "three subagents on two levels are within the bound"
        );
    }

    #[tokio::test]
    async fn a_new_prompt_has_a_new_budget() {
        let scenes =
            [scene("^go$", [task(&["peek"; 4]), say("done")]), scene("^peek$", [say("seen")])];
        let play = plays(scenes).await;
        let mut chat = Chat::default();
        for prompt in 1..=2 {
            play.run(&mut chat, "go").await.unwrap();
            let why = "the bound is for one prompt; the next one begins anew";
            let subagents = play.bodies().len() - 2 * prompt;
            assert_eq!(subagents, 4 * prompt, "{why}");
        }
    }

    #[tokio::test]
    async fn a_call_without_room_starts_none() {
        let scenes =
            [scene("^go$", [task(&["peek"; 6]), say_results()]), scene("^peek$", [say("seen")])];
        let play = plays(scenes).await;
        let (answer, _) = play.ask("go").await;
        assert_eq!(begun(&play), 0, "half of the jobs would look like a whole answer: {answer}");
    }
}
