//! Hooks: shell commands that are fed JSON about an event, and may block, change or add.
//!
//! The protocol is that of Claude Code (<https://code.claude.com/docs/en/hooks>, read in November
//! 2026), so that scripts written for it work unchanged.
//!
//! - [`HookEvent`]: when hooks run.
//! - [`Hooks`]: which commands run then, from a YAML file or from `settings.json`.
//! - [`HookSet`]: all hooks of a session; [`run`]: runs those that match, concurrently, and merges
//!   their answers into a [`Verdict`].
//! - [`Repository`]: hooks that came with a repository, which run only once a person trusts them;
//!   [`Fingerprint`]: what they would run, by its content, so that what is trusted is not whatever
//!   it becomes.
//! - [`HookRuling`]: what hooks say about one call, for whoever judges it further in;
//!   [`PromptHooks`]: about a prompt that joins a turn which runs already.
mod answer;
mod condition;
mod config;
mod event;
mod matcher;
mod merge;
mod ruling;
mod run;
mod set;
mod shapes;
mod trust;

pub use answer::{Answer, Decision};
pub use condition::Condition;
pub use config::{Form, Hook, Hooks, OnFailure};
pub use event::{HookEvent, protocol_name, tool_names};
pub use matcher::Matcher;
pub use merge::Verdict;
pub use ruling::{HookRuling, PromptHooks};
pub use run::run;
pub use set::{Ask, HookSet, NOBODY, Trust};
pub use shapes::{after_call, call_fields, hook_input};
pub use trust::{Fingerprint, Repository};
