//! Tests of the whole: tables of commands, and commands against real programs.
mod fuzz;
mod hostile;
mod rules;
mod tables;
mod worst;

use crate::{Access, Call, Decision, Mode, Policy};
use serde_json::json;
use std::path::Path;

/// The policy that is shipped.
fn policy() -> Policy {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/permissions.yaml"));
    Policy::load(&std::fs::read_to_string(file).unwrap(), file).unwrap()
}

fn decide_in(policy: &Policy, command: &str, cwd: &Path, mode: Mode) -> Decision {
    let input = json!({ "command": command });
    policy.decide(&Call { tool: "bash", input: &input, access: Access::Anything, cwd }, mode)
}
