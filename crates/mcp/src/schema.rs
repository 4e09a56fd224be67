//! Whether model APIs take a schema. They refuse the whole request for one that they do not, so a
//! single tool of a single server would end every conversation.
use serde_json::{Map, Value};

/// How large a schema may be, in bytes, and how deep.
const MAX_SCHEMA_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 50;
/// The longest name of an argument, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// What may not stand at the top.
const NOT_AT_TOP: [&str; 5] = ["oneOf", "anyOf", "allOf", "enum", "not"];

/// What is wrong with the schema of a tool's arguments, if something is.
pub(crate) fn fault(schema: &Map<String, Value>) -> Option<String> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Some("its arguments are no object".into());
    }
    if let Some(key) = NOT_AT_TOP.iter().find(|key| schema.contains_key(**key)) {
        return Some(format!("its schema has {key:?} at the top, which model APIs refuse"));
    }
    let whole = Value::Object(schema.clone());
    let bytes = whole.to_string().len();
    if bytes > MAX_SCHEMA_BYTES {
        return Some(format!("its schema has {bytes} bytes, more than {MAX_SCHEMA_BYTES}"));
    }
    below(&whole, &whole, 0)
}

fn below(value: &Value, whole: &Value, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return Some(format!("its schema is nested more than {MAX_DEPTH} levels deep"));
    }
    match value {
        Value::Object(map) => {
            let names = map.get("properties").and_then(Value::as_object);
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let odd = names.iter().flat_map(|names| names.keys()).find(|name| {
                name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain)
            });
            if let Some(odd) = odd {
                return Some(format!("{odd:?} cannot name an argument"));
            }
            if let Some(Value::String(place)) = map.get("$ref")
                && place.strip_prefix('#').is_none_or(|at| whole.pointer(at).is_none())
            {
                return Some(format!("its schema refers to {place:?}, which is not in it"));
            }
            map.values().find_map(|value| below(value, whole, depth + 1))
        }
        Value::Array(items) => items.iter().find_map(|item| below(item, whole, depth + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_apis_refuse_is_found() {
        let deep = (0..60).fold(json!({}), |inner, _| json!({"items": inner}));
        for (schema, part) in [
            (json!({}), "no object"),
            (json!({"type": "object", "anyOf": []}), "\"anyOf\" at the top"),
            (json!({"type": "object", "properties": {"a b": {}}}), "\"a b\" cannot name"),
            (json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}), "refers to"),
            (json!({"type": "object", "properties": {"a": {"$ref": "http://x"}}}), "refers to"),
            (json!({"type": "object", "x": "y".repeat(70_000)}), "bytes, more than"),
            (json!({"type": "object", "properties": {"a": deep}}), "nested more than"),
        ] {
            let why = fault(schema.as_object().unwrap()).unwrap();
            assert!(why.contains(part), "{why}");
        }
        let fine = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"},
            "properties": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "$defs": {"x": {"type": "string"}}});
        assert_eq!(fault(fine.as_object().unwrap()), None);
    }
}
