//! What hooks read, in the shapes that scripts expect.
use crate::{HookEvent, protocol_name};
use serde_json::{Value, json};
use std::path::Path;

/// Which arguments are paths; in the protocol they are absolute.
const PATHS: [&str; 3] = ["file_path", "path", "notebook_path"];
/// The tool that runs a command in the background, which the protocol takes for one of `Bash`.
const IN_BACKGROUND: &str = "bash_background";

/// What a hook reads: the fields of its event, and those that all events have. `agent` is the name
/// of a subagent, such as `main/explorer-2`.
pub fn hook_input(
    event: HookEvent,
    session: &str,
    cwd: &Path,
    agent: Option<&str>,
    fields: Value,
) -> Value {
    let mut input = json!({"session_id": session, "transcript_path": "", "cwd": cwd,
        "permission_mode": "default", "hook_event_name": event});
    if let Some(agent) = agent {
        input["agent_id"] = agent.into();
        input["agent_type"] = agent.rsplit('/').next().into();
    }
    if let (Value::Object(all), Value::Object(fields)) = (&mut input, fields) {
        all.extend(fields);
    }
    input
}

/// The fields of an event that is about a call of `own_tool`.
pub fn call_fields(own_tool: &str, id: &str, input: &Value, cwd: &Path) -> Value {
    let input = tool_input(own_tool, input, cwd);
    json!({"tool_name": protocol_name(own_tool), "tool_input": input, "tool_use_id": id})
}

/// The arguments of a call of `own_tool` as hooks read them.
fn tool_input(own_tool: &str, input: &Value, cwd: &Path) -> Value {
    let mut input = input.clone();
    let Value::Object(fields) = &mut input else { return input };
    for key in PATHS {
        if let Some(Value::String(path)) = fields.get_mut(key) {
            *path = cwd.join(&*path).to_string_lossy().into_owned();
        }
    }
    if own_tool == IN_BACKGROUND {
        fields.insert("run_in_background".into(), true.into());
    }
    input
}

/// Arguments that a hook has changed, as `own_tool` takes them.
pub(crate) fn updated_input(own_tool: &str, mut input: Value) -> Value {
    if own_tool == IN_BACKGROUND
        && let Value::Object(fields) = &mut input
    {
        fields.shift_remove("run_in_background");
    }
    input
}

/// The event that follows a call, and what its fields say of the result in addition: its text, and
/// whether it failed.
pub fn after_call(mut fields: Value, text: &str, is_error: bool) -> (HookEvent, Value) {
    if is_error {
        fields["error"] = text.into();
        return (HookEvent::PostToolUseFailure, fields);
    }
    let tool = fields["tool_name"].as_str().unwrap_or_default();
    fields["tool_response"] = tool_response(tool, &fields["tool_input"], text);
    (HookEvent::PostToolUse, fields)
}

/// What a tool returned, as hooks read it; `tool` is its name in the protocol.
fn tool_response(tool: &str, input: &Value, text: &str) -> Value {
    match (tool, input["file_path"].as_str()) {
        ("Bash", _) => {
            json!({"stdout": text, "stderr": "", "interrupted": false, "isImage": false})
        }
        ("Read", Some(path)) => {
            json!({"type": "text", "file": {"filePath": path, "content": text}})
        }
        (_, Some(path)) => json!({"filePath": path, "success": true, "text": text}),
        _ => text.into(),
    }
}

/// The text of a result that a hook gives in place of another, in any of these shapes.
pub(crate) fn output_text(output: &Value) -> String {
    match output {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(output_text).collect(),
        Value::Object(fields) if fields.contains_key("stdout") => {
            let part = |key: &str| output[key].as_str().unwrap_or_default();
            format!("{}{}", part("stdout"), part("stderr"))
        }
        Value::Object(fields) if fields.contains_key("file") => output_text(&output["file"]),
        Value::Object(fields) => match fields.get("content").or(fields.get("text")) {
            Some(inner) => output_text(inner),
            None => output.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_the_background_is_a_flag() {
        let go = |tool: &str, input: Value| tool_input(tool, &input, Path::new("/w"));
        assert_eq!(go("read", json!({"file_path": "a"})), json!({"file_path": "/w/a"}));
        assert_eq!(go("read", json!({"file_path": "/x"})), json!({"file_path": "/x"}));
        let job = json!({"command": "make"});
        let sent = go("bash_background", job.clone());
        assert_eq!(sent, json!({"command": "make", "run_in_background": true}));
        assert_eq!(updated_input("bash_background", sent), job);
        assert_eq!(go("bash", json!("cut")), json!("cut"));
    }

    #[test]
    fn what_a_hook_gets_it_can_give_back() {
        for (tool, input) in [
            ("Bash", json!({"command": "ls"})),
            ("Read", json!({"file_path": "/w/a"})),
            ("Write", json!({"file_path": "/w/a"})),
            ("Grep", json!({"pattern": "x"})),
        ] {
            assert_eq!(output_text(&tool_response(tool, &input, "text")), "text", "{tool}");
        }
        let mcp = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(output_text(&mcp), "ab");
        assert_eq!(output_text(&json!({"content": mcp})), "ab");
        assert_eq!(output_text(&json!({"n": 1})), "{\"n\":1}");
    }
}
