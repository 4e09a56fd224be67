#![doc = include_str!("../README.md")]

mod answer;
pub mod build;
mod cache;
mod chat_in;
mod chat_out;
mod chat_tools;
mod check;
mod conversation;
mod delivery;
mod fault;
mod format;
mod hash;
mod messages_out;
mod models;
mod play;
mod refusal;
mod reply;
mod script;
mod seen;
mod server;
mod sign;
mod template;
mod tool_schema;
mod workspace;

pub use build::{RESULTS, Scene, Turn, call, calls, literal, say, say_results, scene, script};
pub use script::{Script, ScriptError};
pub use seen::Seen;
pub use server::Server;
pub use workspace::{TempFolder, Workspace, WorkspaceError};
