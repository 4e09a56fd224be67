//! Events on their way out of a program that must not wait for them.
//!
//! - [`Queue`]: bounded; to push never waits, and what had to be dropped is counted.
//! - [`write_jsonl`]: writes what a queue brings to a file, a line an event.
//! - [`Webhook`]: posts what a queue brings in batches, signs them and retries; [`WebhookConfig`]:
//!   how a file of configuration describes one.
//! - [`Destinations`]: all places that events go to. [`Statistics`]: what happened how often.
//!
//! ```
//! use rungs_telemetry::{Queue, write_jsonl};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! # let here = tempfile::tempdir()?;
//! let file = std::fs::File::create_new(here.path().join("events.jsonl"))?;
//! let queue = Queue::new(1000);
//! let writing = tokio::spawn(write_jsonl(queue.clone(), file));
//! queue.push(json!({"event": "call", "tool": "bash"}));
//! queue.close();
//! writing.await??;
//! # Ok(())
//! # }
//! ```
mod config;
mod destinations;
mod file;
mod queue;
mod signature;
mod statistics;
mod template;
mod webhook;

pub use config::{EventsConfig, WebhookConfig};
pub use destinations::Destinations;
pub use file::{MAX_FILE_BYTES, write_jsonl};
pub use queue::{Batch, Queue};
pub use signature::{SigningKey, signature};
pub use statistics::Statistics;
pub use template::{BadTemplate, Template};
pub use webhook::Webhook;
