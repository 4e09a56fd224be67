use rungs_core::{
    Agent, Block, Chat, Context, Effect, Layer, NextAsk, Reply, Result, State, Tool, ToolError,
    ToolOutput, ToolSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The skills whose instructions stand in the conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Loaded(BTreeSet<String>);

impl State for Loaded {
    const NAME: &'static str = "loaded";
    const OF_TEXT: bool = true;
}

/// Reads off the conversation what is loaded, after each reply, which is before the next tool runs.
struct FindLoaded;

impl Layer for FindLoaded {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let reply = next.run(chat, cx).await?;
        let origins = chat.blocks().filter_map(|block| block.origin());
        let names = origins.filter_map(|origin| origin.name.strip_prefix("skill:"));
        let loaded = Loaded(names.map(String::from).collect());
        chat.update(|state: &mut Loaded| *state = loaded);
        Ok(reply)
    }
}

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
        if !cx.update(|loaded: &mut Loaded| loaded.0.insert(name.clone())) {
            return Ok(format!("{name} is loaded already: see further up").into());
        }
        // The origin names the skill; compaction leaves this block as it is.
        let text = format!("How to {name}: look twice.");
        Ok(ToolOutput(vec![Block::kept(format!("skill:{name}"), text)]))
    }
}

fn install(agent: Agent) -> Agent {
    agent.tool(LoadSkill).wrap(FindLoaded)
}
