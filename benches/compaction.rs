//! What compaction saves: 50 turns that each read much, with a window of 20,000 tokens.
//!
//! `cargo bench --bench compaction`: the same rehearsal with and without the sixth lesson's layer.
//! Without it each request carries all that came before; the saving of a turn is what its prompt is
//! smaller by, as the server counts it.
use durable::Folder;
use lessons::{s01_loop::agent_loop, s06_context_compact};
use rehearsal::{call, say, scene, script};
use rungs_core::{Agent, Chat, tools};
use serde_json::json;

const TURNS: u32 = 50;
const WINDOW: u64 = 20_000;

#[tokio::main]
async fn main() {
    let without = prompts(false).await;
    let with = prompts(true).await;
    let savings: Vec<f64> =
        with.iter().zip(&without).map(|(with, without)| 1.0 - with / without).collect();
    let average = savings.iter().sum::<f64>() / savings.len() as f64;
    let peak = savings.iter().copied().fold(0.0, f64::max);
    let all = |prompts: &[f64]| prompts.iter().sum::<f64>();
    println!(
        "{TURNS} turns, window {WINDOW} tokens: the prompt is smaller by {:.1} % on average, \
         {:.1} % at most",
        100.0 * average,
        100.0 * peak
    );
    println!(
        "all prompts together: {:.0} tokens instead of {:.0}; largest {:.0} instead of {:.0}",
        all(&with),
        all(&without),
        with.iter().copied().fold(0.0, f64::max),
        without.iter().copied().fold(0.0, f64::max)
    );
}

/// The size of each turn's prompts, in bytes / 4, as the rehearsal counts.
async fn prompts(compact: bool) -> Vec<f64> {
    let summary = "Fifty listings of numbers were read in order; each went up by 1,500 lines. None \
                   was changed.";
    let read = call("bash", json!({"command": "seq 100000 101500 # {{ n }}"}));
    let turns = [read.say("One more.").repeat(TURNS), say("done")];
    let scenes = [scene("^Summarise", [say(summary)]), scene("^go$", turns)];
    let (client, server) = lessons::rehearse(script(scenes)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(client, folder.path()).tool(tools::Bash);
    if compact {
        agent = s06_context_compact::install(
            agent,
            WINDOW,
            Folder::open(folder.path(), "state").unwrap(),
        );
    }
    agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
    // What a summary costs belongs to the turn that it was made for.
    let mut turns: Vec<f64> = vec![];
    let mut summaries = 0.0;
    for seen in server.requests() {
        let tokens = seen.bytes as f64 / 4.0;
        if seen.body["messages"].to_string().contains("Summarise the conversation so far") {
            summaries += tokens;
        } else {
            turns.push(tokens + std::mem::take(&mut summaries));
        }
    }
    turns
}
