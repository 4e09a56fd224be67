//! Checks the arguments of a call against the schema that the model was given.
use super::ToolError;
use serde_json::{Map, Value};

/// How much of a wrong value is shown, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// The arguments as the schema wants them. Where the meaning is certain, a slip is corrected: a
/// number or a word in quotes, an object or an array written as JSON text, null for what may be
/// left out.
///
/// # Errors
/// Names everything that is wrong, by path, so that the model can correct it all at once.
pub(super) fn fit(schema: &Value, input: &Value) -> Result<Value, ToolError> {
    let (mut fitted, mut faults) = (input.clone(), vec![]);
    check(schema, &mut fitted, "", &mut faults);
    if faults.is_empty() { Ok(fitted) } else { Err(ToolError(faults.join("; "))) }
}

fn check(schema: &Value, value: &mut Value, path: &str, faults: &mut Vec<String>) {
    if let Some(forms) = schema["anyOf"].as_array() {
        return check_forms(forms, value, path, faults);
    }
    correct(schema, value);
    if let Some(expected) = mismatch(schema, value) {
        faults.push(match path {
            "" => format!("the arguments are no JSON object (were they cut?): {}", shown(value)),
            path => format!("`{path}`: expected {expected}, got {}", shown(value)),
        });
        return;
    }
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                check(&schema["items"], item, &format!("{path}[{i}]"), faults);
            }
        }
        Value::Object(fields) if schema.is_object() => check_fields(schema, fields, path, faults),
        _ => {}
    }
}

/// The first form that fits counts.
fn check_forms(forms: &[Value], value: &mut Value, path: &str, faults: &mut Vec<String>) {
    for form in forms {
        let (mut attempt, mut wrong) = (value.clone(), vec![]);
        check(form, &mut attempt, path, &mut wrong);
        if wrong.is_empty() {
            *value = attempt;
            return;
        }
    }
    faults.push(format!(
        "`{path}`: it has none of its {} forms, got {}",
        forms.len(),
        shown(value)
    ));
}

/// Corrects a value whose meaning is certain although its type is not the schema's.
fn correct(schema: &Value, value: &mut Value) {
    let corrected = match (schema["type"].as_str(), &*value) {
        (Some("integer"), Value::Number(number)) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                Some(Value::from(float as i64))
            }
            _ => None,
        },
        (Some(kind), Value::String(text)) => match serde_json::from_str::<Value>(text.trim()) {
            Ok(parsed) if is_of(kind, &parsed) => Some(parsed),
            _ => None,
        },
        _ => None,
    };
    if let Some(corrected) = corrected {
        *value = corrected;
    }
}

/// Whether JSON that was found in a string has the type that was wanted instead of a string.
fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}

/// What the schema wants instead of this value, if it does not fit.
fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    if let Some(words) = schema["enum"].as_array() {
        let listed = words.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
        return (!words.contains(value)).then_some(listed);
    }
    let (fits, expected) = match schema["type"].as_str()? {
        "object" => (value.is_object(), "an object"),
        "array" => (value.is_array(), "an array"),
        "string" => (value.is_string(), "a string"),
        "boolean" => (value.is_boolean(), "true or false"),
        "number" => (value.is_number(), "a number"),
        "integer" => {
            let (min, max) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
            let bounds = match (min, max) {
                (Some(min), Some(max)) => format!(" from {min} to {max}"),
                (Some(min), None) => format!(" from {min} on"),
                (None, Some(max)) => format!(" up to {max}"),
                (None, None) => String::new(),
            };
            let fits = match value.as_i64() {
                Some(n) => min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max),
                None => value.is_u64() && max.is_none(),
            };
            return (!fits).then(|| format!("a whole number{bounds}"));
        }
        _ => return None,
    };
    (!fits).then(|| expected.to_string())
}

fn check_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    path: &str,
    faults: &mut Vec<String>,
) {
    let at = |name: &str| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map_or(vec![], |names| names.iter().filter_map(Value::as_str).collect());
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    // Some models write null for what they leave out.
    fields.retain(|name, value| {
        !value.is_null() || !known.contains_key(name) || required.contains(&name.as_str())
    });
    for name in required.iter().filter(|name| !fields.contains_key(**name)) {
        faults.push(format!("missing field `{}`", at(name)));
    }
    for (name, value) in fields {
        match known.get(name) {
            Some(inner) => check(inner, value, &at(name), faults),
            // Left unread, the call would do less than the model believes.
            None if schema["additionalProperties"] == false => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let name = at(name);
                faults
                    .push(format!("there is no field `{name}` (there are: {})", names.join(", ")));
            }
            None => check(&schema["additionalProperties"], value, &at(name), faults),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
