#![doc = include_str!("../README.md")]

// What is played: the script, and the reply that a turn of it makes.
mod play;
mod reply;
mod script;
mod workspace;

// What is sent and received: the server, and the two wire formats.
mod api_error;
mod chat;
mod conversation;
mod exchange;
mod messages;
mod models;
mod request_log;
mod response_body;
mod route;
mod server;
mod tool_schema;

// What a real server would remember, and a rehearsal computes: the cache, and the signatures of
// thinking.
mod cache;
mod fingerprint;
mod signature;

pub use request_log::ReceivedRequest;
pub use script::{
    Script, ScriptError,
    build::{self, RESULTS, Scene, Turn, call, calls, literal, say, say_results, scene, script},
};
pub use server::Server;
pub use workspace::{TempFolder, Workspace, WorkspaceError};
