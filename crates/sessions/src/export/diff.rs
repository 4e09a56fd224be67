//! The change that a call asks for, as far as its arguments say it.
use serde_json::Value;
use similar::TextDiff;

/// How many lines of what stays are shown around a change.
const CONTEXT_LINES: usize = 3;

/// The unified diff of a call that replaces a text (`old_string`, `new_string`), several of them
/// (`edits`), or writes a whole file (`content`); empty for any other.
pub(super) fn of(input: &Value) -> String {
    let path = input["file_path"].as_str().unwrap_or_default();
    if path.is_empty() && input["edits"].is_null() {
        return String::new();
    }
    let edits = match input["edits"].as_array() {
        Some(edits) => edits.iter().collect(),
        None => vec![input],
    };
    edits.into_iter().map(|edit| of_edit(edit, path)).collect()
}

fn of_edit(edit: &Value, path: &str) -> String {
    let text = |key: &str| edit[key].as_str();
    let (old, new) = match (text("old_string"), text("new_string"), text("content")) {
        (Some(old), Some(new), _) => (old, new),
        // What stood there before is not in the call.
        (None, None, Some(content)) => ("", content),
        _ => return String::new(),
    };
    let path = text("file_path").unwrap_or(path);
    let (old, new) = (ended(old), ended(new));
    let diff = TextDiff::from_lines(&old, &new);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT_LINES).header(&format!("a/{path}"), &format!("b/{path}"));
    unified.to_string()
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.into() } else { format!("{text}\n") }
}
