//! The arguments and results of tools in the shapes that scripts expect.
use serde_json::{Value, json};
use std::path::Path;

/// Which arguments are paths; in the protocol they are absolute.
const PATHS: [&str; 3] = ["file_path", "path", "notebook_path"];
/// The tool that runs a command in the background, which the protocol takes for one of `Bash`.
const IN_BACKGROUND: &str = "bash_background";

/// The arguments of a call of `own_tool` as hooks read them.
pub fn tool_input(own_tool: &str, input: &Value, cwd: &Path) -> Value {
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
pub fn updated_input(own_tool: &str, mut input: Value) -> Value {
    if own_tool == IN_BACKGROUND
        && let Value::Object(fields) = &mut input
    {
        fields.shift_remove("run_in_background");
    }
    input
}

/// What a tool returned, as hooks read it; `tool` is its name in the protocol.
pub fn tool_response(tool: &str, input: &Value, text: &str) -> Value {
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
pub fn output_text(output: &Value) -> String {
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
