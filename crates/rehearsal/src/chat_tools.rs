//! The tools of a Chat Completions request and the choice among them.
use crate::{
    refusal::{Format, Refusal},
    tool_schema::{self, SchemaError, is_tool_name},
};
use serde_json::{Value, json};

/// The most tools that the API accepts in a request.
const MAX_TOOLS: usize = 128;

/// Checks the tools and gives them in the terms of the Messages API.
pub(crate) fn read(body: &Value) -> Result<Vec<Value>, Refusal> {
    let mut read: Vec<Value> = vec![];
    for (place, tool) in list(body)?.iter().enumerate() {
        let path = format!("tools[{place}]");
        match tool["type"].as_str() {
            Some("function") => {}
            Some(other) => {
                let message =
                    format!("Invalid value: '{other}'. Supported values are: 'function'.");
                return Err(Refusal::field(path + ".type", message));
            }
            None => return Err(missing(&format!("{path}.type"))),
        }
        let path = path + ".function";
        let function = &tool["function"];
        let name = function["name"].as_str().ok_or_else(|| missing(&format!("{path}.name")))?;
        check_name(&path, name)?;
        if read.iter().any(|known| known["name"] == name) {
            return Err(Refusal::field("tools", format!("Duplicate function name: '{name}'.")));
        }
        check_types(&path, function)?;
        let schema = &function["parameters"];
        if !schema.is_null() {
            check_schema(&path, name, schema)?;
        }
        let description = &function["description"];
        read.push(json!({"name": name, "description": description, "input_schema": schema}));
    }
    let names: Vec<&str> = read.iter().filter_map(|tool| tool["name"].as_str()).collect();
    check_choice(body, &names)?;
    Ok(read)
}

fn missing(path: &str) -> Refusal {
    Refusal::field(path, format!("Missing required parameter: '{path}'."))
}

fn list(body: &Value) -> Result<&[Value], Refusal> {
    match &body["tools"] {
        Value::Null => Ok(&[]),
        Value::Array(tools) if tools.is_empty() => Err(Refusal::field(
            "tools",
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        )),
        Value::Array(tools) if tools.len() > MAX_TOOLS => {
            let length = tools.len();
            let message = format!(
                "Invalid 'tools': array too long. Expected an array with maximum length {MAX_TOOLS}, but got an array \
                 with length {length} instead."
            );
            Err(Refusal::field("tools", message))
        }
        Value::Array(tools) => Ok(tools),
        _ => {
            Err(Refusal::field("tools", "Invalid type for 'tools': expected an array of objects."))
        }
    }
}

fn check_name(path: &str, name: &str) -> Result<(), Refusal> {
    if is_tool_name(name) {
        return Ok(());
    }
    let path = format!("{path}.name");
    let (reason, code) = match name.len() {
        0 => ("empty string. Expected a string with minimum length 1".into(), "empty_string"),
        65.. => {
            let length = name.len();
            let reason = format!(
                "string too long. Expected a string with maximum length 64, but got a string with length {length} instead"
            );
            (reason, "string_above_max_length")
        }
        _ => (
            "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'".into(),
            "invalid_value",
        ),
    };
    let refusal = Refusal::field(path.as_str(), format!("Invalid '{path}': {reason}."));
    Err(Refusal { code: Some(code.into()), ..refusal })
}

/// The fields of a function that have a type of their own.
fn check_types(path: &str, function: &Value) -> Result<(), Refusal> {
    for (field, value) in function.as_object().into_iter().flatten() {
        let (fits, wanted) = match field.as_str() {
            "name" | "description" => (value.is_string(), "a string"),
            "parameters" => (value.is_object(), "an object"),
            "strict" => (value.is_boolean(), "a boolean"),
            _ => {
                let message = format!("Unknown parameter: '{path}.{field}'.");
                return Err(Refusal::field(format!("{path}.{field}"), message));
            }
        };
        if !fits && !value.is_null() {
            let message = format!("Invalid type for '{path}.{field}': expected {wanted}.");
            return Err(Refusal::field(format!("{path}.{field}"), message));
        }
    }
    Ok(())
}

fn check_schema(path: &str, name: &str, schema: &Value) -> Result<(), Refusal> {
    let reason = match tool_schema::check(schema, Format::Chat) {
        Ok(()) => return Ok(()),
        Err(SchemaError::NotAnObject(kind)) => {
            let kind = kind.as_str().map_or_else(|| kind.to_string(), |kind| format!("\"{kind}\""));
            format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: {kind}'.")
        }
        Err(SchemaError::ForbiddenAtTop) => "schema must have type 'object' and not have \
                                             'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
            .into(),
        Err(SchemaError::PropertyName(key)) => {
            format!(
                "In context=('properties',), '{key}' does not match '^[a-zA-Z0-9_.-]{{1,64}}$'."
            )
        }
        Err(SchemaError::NoItems { path }) => {
            format!("In context={}, array schema missing items.", context(&path))
        }
        Err(SchemaError::Invalid { path, reason }) => {
            format!("In context={}, {reason}.", context(&path))
        }
    };
    let message = format!("Invalid schema for function '{name}': {reason}");
    let refusal = Refusal::field(format!("{path}.parameters"), message);
    Err(Refusal { code: Some("invalid_function_parameters".into()), ..refusal })
}

/// A path as the API writes it, as a tuple of Python.
fn context(path: &[String]) -> String {
    let steps: Vec<String> = path.iter().map(|step| format!("'{step}'")).collect();
    match steps.as_slice() {
        [one] => format!("({one},)"),
        steps => format!("({})", steps.join(", ")),
    }
}

fn check_choice(body: &Value, names: &[&str]) -> Result<(), Refusal> {
    let choice = &body["tool_choice"];
    for field in ["tool_choice", "parallel_tool_calls"] {
        if names.is_empty() && !body[field].is_null() {
            let message = format!("'{field}' is only allowed when 'tools' are specified.");
            return Err(Refusal::field(field, message));
        }
    }
    match choice {
        Value::Null => Ok(()),
        Value::String(word) if matches!(word.as_str(), "none" | "auto" | "required") => Ok(()),
        Value::Object(_) => match choice["function"]["name"].as_str() {
            Some(name) if names.contains(&name) => Ok(()),
            Some(name) => {
                let message = format!(
                    "Invalid value for 'tool_choice': no function named '{name}' was specified in 'tools'."
                );
                Err(Refusal::field("tool_choice", message))
            }
            None => Err(missing("tool_choice.function.name")),
        },
        other => {
            let message = format!(
                "Invalid value: {other}. Supported values are: 'none', 'auto', and 'required'."
            );
            Err(Refusal::field("tool_choice", message))
        }
    }
}
