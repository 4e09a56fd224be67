use serde_json::{Map, Value};

/// The arguments that the model meant, or what it must be told.
fn arguments(text: &str) -> Result<Map<String, Value>, String> {
    let text = without_fences(text.trim());
    if text.is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| fault(&error))?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        Value::String(inner) => match serde_json::from_str(&inner) {
            Ok(Value::Object(object)) => Ok(object),
            Err(error) if error.is_eof() && inner.starts_with('{') => Err(fault(&error)),
            _ => Err("no JSON object: it is a text; send the object itself".into()),
        },
        other => Err(format!("no JSON object: {other}; name each argument")),
    }
}

fn fault(error: &serde_json::Error) -> String {
    match error.is_eof() {
        true => "cut: the arguments end too early, so nothing was run; send them again".into(),
        false => format!("no JSON object: {error}"),
    }
}

/// The text between fences, if there are any. The second one may have been cut off.
fn without_fences(text: &str) -> &str {
    let Some(inner) = text.strip_prefix("```") else { return text };
    let inner = inner.strip_prefix("json").unwrap_or(inner);
    inner.strip_suffix("```").unwrap_or(inner).trim()
}
