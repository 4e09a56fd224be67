// # Loaded already
//
// repair, level 2, 30 minutes. Read: examples/s05_skill_loading.rs, core/src/state.rs
//
// `load_skill` brings the instructions of a skill, once in a conversation. Which ones were brought
// is kept with the agent. A user reports:
//
//   "In long sessions the agent stops following our review checklist. When I tell it to load the
//   skill again, the answer is `review is loaded already: see further up`. There is nothing further
//   up. It is the same after I take back a prompt, and in a fork from before."
//
// Mend it: the tool says `loaded already` if, and only if, the instructions stand in this very
// conversation. It must be right after compaction, in a fork, in a new conversation, and when a
// prompt was withdrawn. Two calls in one reply must not bring the same text twice.
//
// Run: cargo run -p rungs-exercises -- run s05_loaded

#[allow(unused_imports)]
use rungs_core::{
    Agent, Block, Chat, Context, Effect, Layer, NextAsk, Reply, Result, State, Tool, ToolError,
    ToolOutput, ToolSpec,
};
use schemars::JsonSchema;
#[allow(unused_imports)]
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Mutex};

/// The skills that were brought.
#[derive(Default)]
struct Loaded(Mutex<BTreeSet<String>>);

/// Brings the instructions of a skill.
#[derive(Deserialize, JsonSchema)]
struct LoadSkillInput {
    /// Its name.
    name: String,
}

struct LoadSkill;

impl Tool for LoadSkill {
    type Input = LoadSkillInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<LoadSkillInput>("load_skill")
    }

    fn effect(&self, _: &LoadSkillInput) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: LoadSkillInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let LoadSkillInput { name } = input;
        if !cx.resource::<Loaded>().0.lock().unwrap().insert(name.clone()) {
            return Ok(format!("{name} is loaded already: see further up").into());
        }
        // The origin names the skill; compaction leaves this block as it is.
        let text = format!("How to {name}: look twice.");
        Ok(ToolOutput(vec![Block::kept(format!("skill:{name}"), text)]))
    }
}

fn install(agent: Agent) -> Agent {
    agent.tool(LoadSkill)
}

mod tests {
    use super::*;
    use rehearsal::{Turn, call, calls, say, say_results, scene};
    use rungs_core::Message;
    use rungs_exercises::support::{Play, play};
    use serde_json::json;

    const TEXT: &str = "How to review: look twice.";
    const LOADED: &str = "review is loaded already: see further up";

    /// Prompts that load the skill and say what came of it.
    async fn before<const N: usize>(prompts: [&str; N]) -> Play {
        let turns = || [call("load_skill", json!({"name": "review"})), say_results()];
        let refused = json!({"status": 400, "message": "no"});
        let bad: [Turn; 2] =
            [call("load_skill", json!({"name": "review"})), say("never").fault(refused)];
        let both = calls(vec![("load_skill", json!({"name": "review"})); 2]);
        let scenes = prompts.map(|prompt| scene(&format!("^{prompt}$"), turns()));
        let others = [scene("^bad$", bad), scene("^both$", [both, say_results()])];
        play(scenes.into_iter().chain(others), |agent, _| install(agent)).await
    }

    async fn ask(play: &Play, chat: &mut Chat, prompt: &str) -> String {
        play.run(chat, prompt).await.unwrap().text()
    }

    #[tokio::test]
    async fn it_comes_once_in_a_conversation() {
        let play = before(["one", "two"]).await;
        let mut chat = Chat::default();
        assert_eq!(ask(&play, &mut chat, "one").await, TEXT, "the first call brings the text");
        assert_eq!(ask(&play, &mut chat, "two").await, LOADED, "the text stands further up");
        let both = format!("{TEXT} | {LOADED}");
        let answer = ask(&play, &mut Chat::default(), "both").await;
        assert_eq!(answer, both, "two calls in one reply, with no request between them");
    }

    #[tokio::test]
    async fn a_new_conversation_has_loaded_nothing() {
        let play = before(["one", "two"]).await;
        ask(&play, &mut Chat::default(), "one").await;
        let answer = ask(&play, &mut Chat::default(), "two").await;
        assert_eq!(answer, TEXT, "another conversation of the same agent does not hold the text");
    }

    #[tokio::test]
    async fn a_fork_has_what_stood_in_it_when_it_was_made() {
        let play = before(["one", "two", "three"]).await;
        let mut chat = Chat::default();
        let mut early = chat.fork();
        ask(&play, &mut chat, "one").await;
        let mut late = chat.fork();
        assert_eq!(ask(&play, &mut early, "two").await, TEXT, "it was made before the skill came");
        assert_eq!(
            ask(&play, &mut late, "three").await,
            LOADED,
            "it was made after the skill came"
        );
    }

    #[tokio::test]
    async fn a_withdrawn_prompt_leaves_nothing_loaded() {
        let play = before(["one"]).await;
        let mut chat = Chat::default();
        assert!(play.run(&mut chat, "bad").await.is_err(), "the server refuses this prompt");
        let held = chat.messages().iter().any(|message| format!("{message:?}").contains(TEXT));
        assert!(!held, "the prompt was taken back, with all that it brought");
        assert_eq!(ask(&play, &mut chat, "one").await, TEXT, "so nothing is loaded");
    }

    #[tokio::test]
    async fn after_compaction_it_is_loaded_if_its_text_was_kept() {
        let play = before(["one", "two", "three"]).await;
        let mut chat = Chat::default();
        ask(&play, &mut chat, "one").await;
        let kept = |block: &&Block| block.origin().is_some_and(|origin| origin.keep);
        let kept: Vec<Block> = chat.blocks().filter(kept).cloned().collect();
        chat.compact([Message { content: kept, ..Message::empty() }]);
        let answer = ask(&play, &mut chat, "two").await;
        assert_eq!(answer, LOADED, "compaction has kept the text, so it need not come again");
        chat.compact([Message::user("all is gone")]);
        let answer = ask(&play, &mut chat, "three").await;
        assert_eq!(answer, TEXT, "compaction has removed the text, so it must come again");
    }
}
