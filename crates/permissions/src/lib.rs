//! Rules that say which calls of tools may run.
//!
//! A [`Policy`] holds rules of the form `Tool(specifier)`, each of which denies, asks or allows.
//! [`Policy::decide`] judges a call: deny before ask before allow, and then the [`Mode`]. A shell
//! command is parsed, and every part of it is judged: the [`Decision`] is that of the strictest
//! part. What is not understood is not allowed.
//!
//! Nothing here runs a program. Links in paths are followed, and a repository's configuration is
//! read where git is judged.
//!
//! ```
//! use rungs_permissions::{Access, Call, Mode, Policy, Ruling};
//! use std::path::Path;
//!
//! let rules = "deny: [Bash(sudo:*)]\nallow: [Bash(ls:*), Bash(wc:*)]";
//! let policy = Policy::load(rules, Path::new("permissions.yaml")).unwrap();
//! let ruling = |command: &str| {
//!     let input = serde_json::json!({ "command": command });
//!     let (access, cwd) = (Access::Anything, Path::new("/tmp"));
//!     policy.decide(&Call { tool: "bash", input: &input, access, cwd }, Mode::Default).ruling
//! };
//! assert_eq!(ruling("ls -l | wc -l"), Ruling::Allow);
//! assert_eq!(ruling("ls; make"), Ruling::Ask);
//! assert_eq!(ruling("ls $(su''do id)"), Ruling::Deny);
//! ```
mod calls;
mod config;
mod expression;
mod files;
mod git;
mod judge;
mod mode;
mod paths;
mod pattern;
mod policy;
mod protected;
mod repository;
mod rule;
mod secrets;
mod shell;
mod surroundings;
#[cfg(test)]
mod tests;

pub use mode::{Mode, Ruling};
pub use policy::{Access, Call, Decision, Part, Policy};
pub use rule::{Rule, Source};
