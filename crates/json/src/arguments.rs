//! Checks the arguments of a call against the schema that the model was given.
use serde_json::{Map, Value, json};

/// How much of a wrong value is shown, in characters.
const MAX_SHOWN_CHARS: usize = 60;
/// Up to here a float says exactly which whole number is meant.
const MAX_EXACT: f64 = 1e15;

/// The arguments as the schema wants them. Where the meaning is certain, a slip is corrected: a
/// number or a word in quotes, an object or an array written as JSON text, null for what may be
/// left out.
///
/// # Errors
/// Names everything that is wrong, by path, so that the model can correct it all at once.
pub fn fit(schema: &Value, input: &Value) -> Result<Value, String> {
    let mut fitted = input.clone();
    let faults = check(schema, &mut fitted, "");
    if faults.is_empty() { Ok(fitted) } else { Err(faults.join("; ")) }
}

fn check(schema: &Value, value: &mut Value, path: &str) -> Vec<String> {
    correct(schema, value);
    if let Some(expected) = mismatch(schema, value) {
        return vec![match path {
            "" => format!("the arguments are no JSON object (were they cut?): {}", shown(value)),
            path => format!("`{path}`: expected {expected}, got {}", shown(value)),
        }];
    }
    match value {
        Value::Array(items) => {
            let items = items.iter_mut().enumerate();
            items
                .flat_map(|(i, item)| check(&schema["items"], item, &format!("{path}[{i}]")))
                .collect()
        }
        Value::Object(fields) => check_fields(schema, fields, path),
        _ => vec![],
    }
}

/// Corrects a value whose meaning is certain although its type is not the schema's.
fn correct(schema: &Value, value: &mut Value) {
    let Some(kind) = schema["type"].as_str() else { return };
    let corrected: Option<Value> = match value {
        _ if is_of(kind, value) => return,
        Value::String(text) => serde_json::from_str(text.trim()).ok(),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < MAX_EXACT);
            whole.map(|n| json!(n as i64))
        }
        _ => None,
    };
    if let Some(corrected) = corrected
        && is_of(kind, &corrected)
    {
        *value = corrected;
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => true,
    }
}

/// What the schema wants instead of this value, if it does not fit. Where the schema leaves a
/// choice (`anyOf`), everything fits: whoever reads the value will say.
fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    if let Some(words) = schema["enum"].as_array() {
        let listed = words.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
        return (!words.contains(value)).then_some(listed);
    }
    let kind = schema["type"].as_str()?;
    let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    let bounds = match (min, max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" from {min} on"),
        (None, Some(max)) => format!(" up to {max}"),
        (None, None) => String::new(),
    };
    let within =
        |number| min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
    let fits = is_of(kind, value) && value.as_f64().is_none_or(within);
    (!fits).then(|| match kind {
        "object" => "an object".into(),
        "array" => "an array".into(),
        "boolean" => "true or false".into(),
        "integer" => format!("a whole number{bounds}"),
        other => format!("a {other}{bounds}"),
    })
}

fn check_fields(schema: &Value, fields: &mut Map<String, Value>, path: &str) -> Vec<String> {
    let at = |name: &str| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    // Some models write null for what they leave out.
    fields.retain(|name, value| {
        !value.is_null() || !known.contains_key(name) || required.contains(&name.as_str())
    });
    let missing = required.iter().filter(|name| !fields.contains_key(**name));
    let mut faults: Vec<String> =
        missing.map(|name| format!("missing field `{}`", at(name))).collect();
    for (name, value) in fields {
        match known.get(name) {
            Some(inner) => faults.extend(check(inner, value, &at(name))),
            // Left unread, the call would do less than the model believes.
            None if schema["additionalProperties"] == false => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let names = if names.is_empty() { "none".into() } else { names.join(", ") };
                let name = at(name);
                faults.push(format!("there is no field `{name}` (there are: {names})"));
            }
            None => faults.extend(check(&schema["additionalProperties"], value, &at(name))),
        }
    }
    faults
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
