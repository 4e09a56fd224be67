//! Checks the arguments of a call against the schema that the model was given.
use crate::well_formed;
use serde_json::{Map, Value, json};

/// How much of a wrong value is shown, in characters.
const MAX_SHOWN_CHARS: usize = 60;
/// How many steps a correction may take.
const MAX_CORRECTIONS: usize = 3;
/// Up to here a float says exactly which whole number is meant.
const MAX_EXACT: f64 = 1e15;

/// Arguments in the form of the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The arguments.
    pub value: Value,
    /// What was left out of them, a sentence each: fields of inner objects that the schema does not
    /// have. The model should read of it beside its result.
    pub hints: Vec<String>,
}

/// The arguments as the schema wants them. Where the meaning is certain, a slip is corrected: a
/// number or a word in quotes, an object or an array written as JSON text, null for what may be
/// left out, one more field beside those of an item.
///
/// # Errors
/// Names everything that is wrong, by path, so that the model can correct it all at once.
pub fn fit(schema: &Value, input: &Value) -> Result<Fitted, String> {
    let mut value = input.clone();
    let mut hints = vec![];
    let mut faults = check(schema, &mut value, "", &mut hints);
    if faults.is_empty() {
        return Ok(Fitted { value, hints });
    }
    faults.append(&mut hints);
    Err(faults.join("; "))
}

fn check(schema: &Value, value: &mut Value, path: &str, hints: &mut Vec<String>) -> Vec<String> {
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
                .flat_map(|(i, item)| check(&schema["items"], item, &format!("{path}[{i}]"), hints))
                .collect()
        }
        Value::Object(fields) => check_fields(schema, fields, path, hints),
        _ => vec![],
    }
}

/// Corrects a value whose meaning is certain although its type is not the schema's. It may take
/// several steps: `"\"120.0\""` is text that holds text that holds a whole number.
fn correct(schema: &Value, value: &mut Value) {
    let Some(kind) = schema["type"].as_str() else { return };
    let mut corrected = Value::Null;
    for _ in 0..MAX_CORRECTIONS {
        let current = if corrected.is_null() { &*value } else { &corrected };
        let next = match current {
            _ if is_of(kind, current) => break,
            Value::String(text) => read(kind, text),
            Value::Number(number) => {
                let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < MAX_EXACT);
                whole.map(|n| json!(n as i64))
            }
            _ => None,
        };
        let Some(next) = next else { return };
        corrected = next;
    }
    if !corrected.is_null() && is_of(kind, &corrected) {
        *value = corrected;
    }
}

/// The value that a text holds.
fn read(kind: &str, text: &str) -> Option<Value> {
    let mut text = well_formed(text.trim().as_bytes());
    if kind == "boolean" {
        // As Python writes it.
        text.make_ascii_lowercase();
    }
    serde_json::from_str(&text).ok()
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

fn check_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    path: &str,
    hints: &mut Vec<String>,
) -> Vec<String> {
    let at = |name: &str| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    let missing = required.iter().filter(|name| !fields.contains_key(**name));
    let mut faults: Vec<String> =
        missing.map(|name| format!("missing field `{}`", at(name))).collect();
    for (name, mut value) in std::mem::take(fields) {
        match known.get(&name) {
            // Some models write null for what they leave out.
            Some(_) if value.is_null() && !required.contains(&name.as_str()) => continue,
            Some(inner) => faults.extend(check(inner, &mut value, &at(&name), hints)),
            None if schema["additionalProperties"] == false => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let names = if names.is_empty() { "none".into() } else { names.join(", ") };
                // Without a field of its own, a call would do less than the model believes.
                if path.is_empty() {
                    faults.push(format!("there is no field `{name}` (there are: {names})"));
                    continue;
                }
                let hint = format!("an item has no field `{name}` (there are: {names})");
                if !hints.contains(&hint) {
                    hints.push(hint);
                }
                continue;
            }
            None => {
                let inner = &schema["additionalProperties"];
                faults.extend(check(inner, &mut value, &at(&name), hints));
            }
        }
        fields.insert(name, value);
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

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;

    #[derive(JsonSchema)]
    #[expect(dead_code)]
    struct Plan {
        todos: Vec<Item>,
        offset: Option<u32>,
        share: Option<f64>,
        replace_all: Option<bool>,
        title: Option<String>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code)]
    struct Item {
        content: String,
        order: Option<i64>,
    }

    fn fitted(input: &Value) -> Result<Fitted, String> {
        fit(&crate::of::<Plan>().schema, input)
    }

    #[test]
    fn what_is_meant_is_taken() {
        let todos = json!([{"content": "a", "order": 2}]);
        let whole = json!({"todos": todos, "offset": 120, "share": 0.5, "replace_all": false});
        for input in [
            whole.clone(),
            json!(whole.to_string()),
            json!({"todos": todos.to_string(), "offset": "120.0", "share": "0.5",
                "replace_all": "false"}),
            json!({"todos": json!(todos.to_string()).to_string(), "offset": 120.0,
                "share": " 5e-1", "replace_all": "False", "title": null}),
            json!({"todos": [r#"{"content": "a", "order": "2"}"#], "offset": "\"120\"",
                "share": 0.5, "replace_all": "\n false "}),
        ] {
            assert_eq!(fitted(&input), Ok(Fitted { value: whole.clone(), hints: vec![] }));
        }
    }

    #[test]
    fn what_may_mean_something_else_is_refused() {
        for (field, given, fault) in [
            ("offset", json!("12a"), "a whole number from 0 on, got \"12a\""),
            ("offset", json!("1.5"), "a whole number from 0 on, got \"1.5\""),
            ("offset", json!("-1"), "a whole number from 0 on, got -1"),
            ("offset", json!(true), "a whole number from 0 on, got true"),
            ("replace_all", json!("no"), "true or false, got \"no\""),
            ("replace_all", json!(0), "true or false, got 0"),
            ("title", json!(5), "a string, got 5"),
            ("todos", json!({"content": "a"}), "an array, got {\"content\":\"a\"}"),
        ] {
            let mut input = json!({"todos": []});
            input[field] = given;
            assert_eq!(fitted(&input), Err(format!("`{field}`: expected {fault}")));
        }
    }

    #[test]
    fn a_field_too_many_of_an_item_is_left_out_and_named() {
        let item = json!({"content": "a", "activeForm": "doing a", "order": "1"});
        let Fitted { value, hints } = fitted(&json!({"todos": [item, item]})).unwrap();
        let item = json!({"content": "a", "order": 1});
        assert_eq!(value, json!({"todos": [item, item]}));
        let hint = "an item has no field `activeForm` (there are: content, order)";
        assert_eq!(hints, [hint]);
        // One of the call itself is a fault, and then all is named.
        let all = fitted(&json!({"todos": [{"content": "a", "activeForm": ""}], "merge": true}));
        let fault =
            "there is no field `merge` (there are: todos, offset, share, replace_all, title)";
        assert_eq!(all, Err(format!("{fault}; {hint}")));
    }
}
