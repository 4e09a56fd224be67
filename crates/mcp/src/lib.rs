//! MCP (Model Context Protocol) servers of other people, held at arm's length.
//!
//! - [`Config`]: which servers there are: the person's own file, and that of a project.
//! - [`Servers`]: all of them, started in parallel in the background; [`Server`]: one, connected by
//!   standard input and output or by HTTP, in the newest way that it knows, and again when lost.
//! - [`Approvals`]: a tool that is not what was approved is withheld until somebody agrees.
//! - [`Trust`]: the servers of projects that a person has agreed to start.
//! - [`qualified`]: names that cannot shadow each other, nor any other tool.
//! - [`market`]: a small server, to try all this against.
//! - [`Output`]: what came back, within bounds; [`Person`]: who watches, and may be asked.
//!
//! A server that hangs, ends, floods or lies costs its own tools and nothing else: every wait,
//! list, message, result and log has a bound, and its processes end with [`Servers`].
mod approvals;
mod catalogue;
mod config;
mod connect;
mod elicitation;
mod handler;
mod lists;
pub mod market;
mod names;
mod oauth;
mod output;
mod person;
mod schema;
mod server;
mod servers;
mod trust;

pub use approvals::{Approvals, Change};
pub use catalogue::{RemoteTool, schema_tokens};
pub use config::{Config, Endpoint, ServerConfig};
pub use lists::Lists;
pub use names::qualified;
pub use output::{Output, Part};
pub(crate) use person::shortened;
pub use person::{Chosen, Person};
pub use server::{Server, Status};
pub use servers::Servers;
pub use trust::Trust;

#[cfg(test)]
mod tests;
