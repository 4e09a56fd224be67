//! # Rungs: how a coding agent works, built one rung at a time
//!
//! Every lesson is one file that adds one mechanism, and is both a program (`cargo run --example
//! s01_loop`) and a module of this crate, so that later lessons can build on it. What all of them
//! share is [`rungs_core`].
//!
//! # Embedding an agent
//!
//! Nothing here needs a terminal. An agent tells all that it does as typed events, and a program
//! that embeds one reads them as a stream:
//!
//! ```
//! use futures_util::StreamExt;
//! use lessons::s01_loop::agent_loop;
//! use rehearsal::{call, say, scene, script};
//! use rungs_core::{Agent, Chat, Event, Result, tools};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! // Any model will do; this one plays a script, and needs no key.
//! let count = call("bash", json!({"command": "echo 3"}));
//! let turns = [count, say("There are {{ results[0].text }}")];
//! let (client, _server) = lessons::rehearse(script([scene("files", turns)])).await?;
//!
//! let (agent, mut events) = Agent::new(client, std::env::temp_dir()).tool(tools::Bash).events();
//! let turn = tokio::spawn(async move {
//!     agent.run(&mut Chat::default(), "how many files?", agent_loop).await
//! });
//!
//! let mut lines = vec![];
//! while let Some(event) = events.next().await {
//!     lines.push(match event.event {
//!         Event::Call(_, summary) => format!("{}: {summary}", event.agent),
//!         Event::Result(.., text) => format!("it printed {}", text.trim()),
//!         Event::Reply(reply) => format!("it says: {}", reply.text().trim()),
//!         _ => continue,
//!     });
//! }
//! let expected = ["it says: ", "main: $ echo 3", "it printed 3", "it says: There are 3"];
//! assert_eq!(lines, expected);
//! assert_eq!(turn.await.unwrap()?.text().trim(), "There are 3");
//! # Ok(())
//! # }
//! ```
//!
//! # The lessons
//!
//! Modules of this crate, in their order.

extern crate self as lessons;

// An inline module, so that rustc looks for its files in the folder of the same name, where cargo
// finds the programs.
mod examples {
    pub mod s01_loop;
    pub mod s02_tool_use;
    pub mod s03_todo_write;
    pub mod s04_subagent;
    pub mod s05_skill_loading;
    pub mod s06_context_compact;
    pub mod s07_task_system;
    pub mod s08_background_tasks;
    pub mod s09_agent_teams;
    pub mod s10_team_protocols;
    pub mod s11_autonomous_agents;
    pub mod s12_worktree_task_isolation;
    pub mod s13_streaming;
    pub mod s14_tools_extended;
    pub mod s15_permissions;
    pub mod s16_event_bus;
    pub mod s17_session_management;
    pub mod s18_parallel_tools;
    pub mod s19_interrupts;
    pub mod s20_cache_optimization;
    pub mod s21_mcp_runtime;
    pub mod s22_production_mailbox;
    pub mod s23_worktree_advanced;
    pub mod s24_loop_detection;

    // Not among the others, since it is the last one.
    pub mod full;
}
pub use examples::*;

mod command_line;
pub mod dry_run;
pub mod hook_files;
mod inspect;
pub mod models;
mod play;
mod recording;
pub mod restored;
pub mod rule_files;
pub mod rulings;
mod settings;
pub mod spending;
mod stage;
// The exercises share it, as a module of their own library.
#[cfg(test)]
#[allow(unreachable_pub)]
mod testing;
pub use command_line::Flag;
pub use play::rehearse;
pub use stage::{Stage, run, run_with};

/// Keeps the README's code compiling.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
