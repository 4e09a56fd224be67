//! The tools of a Chat Completions request and the choice among them.
use crate::{
    api_error::{ApiError, WireFormat},
    tool_schema::{self, SchemaError, is_tool_name},
};
use serde_json::{Value, json};

/// The most tools that the API accepts in a request.
const MAX_TOOLS: usize = 128;

/// Checks the tools and returns them in the terms of the Messages API.
pub(crate) fn read(body: &Value) -> Result<Vec<Value>, ApiError> {
    let mut read: Vec<Value> = vec![];
    for (place, tool) in list(body)?.iter().enumerate() {
        let path = format!("tools[{place}]");
        match tool["type"].as_str() {
            Some("function") => {}
            Some(other) => {
                let message =
                    format!("Invalid value: '{other}'. Supported values are: 'function'.");
                return Err(ApiError::invalid_param(path + ".type", message));
            }
            None => return Err(missing(&format!("{path}.type"))),
        }
        let path = path + ".function";
        let function = &tool["function"];
        let name = function["name"].as_str().ok_or_else(|| missing(&format!("{path}.name")))?;
        check_name(&path, name)?;
        if read.iter().any(|known| known["name"] == name) {
            return Err(ApiError::invalid_param(
                "tools",
                format!("Duplicate function name: '{name}'."),
            ));
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

fn missing(path: &str) -> ApiError {
    ApiError::invalid_param(path, format!("Missing required parameter: '{path}'."))
}

fn list(body: &Value) -> Result<&[Value], ApiError> {
    match &body["tools"] {
        Value::Null => Ok(&[]),
        Value::Array(tools) if tools.is_empty() => Err(ApiError::invalid_param(
            "tools",
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an \
             empty array instead.",
        )),
        Value::Array(tools) if tools.len() > MAX_TOOLS => {
            let length = tools.len();
            let message = format!(
                "Invalid 'tools': array too long. Expected an array with maximum length \
                 {MAX_TOOLS}, but got an array with length {length} instead."
            );
            Err(ApiError::invalid_param("tools", message))
        }
        Value::Array(tools) => Ok(tools),
        _ => Err(ApiError::invalid_param(
            "tools",
            "Invalid type for 'tools': expected an array of objects.",
        )),
    }
}

pub(super) fn check_name(path: &str, name: &str) -> Result<(), ApiError> {
    if is_tool_name(name) {
        return Ok(());
    }
    let path = format!("{path}.name");
    let (reason, code) = match name.len() {
        0 => ("empty string. Expected a string with minimum length 1".into(), "empty_string"),
        65.. => {
            let length = name.len();
            let reason = format!(
                "string too long. Expected a string with maximum length 64, but got a string with \
                 length {length} instead"
            );
            (reason, "string_above_max_length")
        }
        _ => (
            "string does not match pattern. Expected a string that matches the pattern \
             '^[a-zA-Z0-9_-]+$'"
                .into(),
            "invalid_value",
        ),
    };
    let message = format!("Invalid '{path}': {reason}.");
    Err(ApiError::invalid_param(path, message).with_code(code))
}

/// The fields of a function that have a type of their own.
fn check_types(path: &str, function: &Value) -> Result<(), ApiError> {
    for (field, value) in function.as_object().into_iter().flatten() {
        let (fits, wanted) = match field.as_str() {
            "name" | "description" => (value.is_string(), "a string"),
            "parameters" => (value.is_object(), "an object"),
            "strict" => (value.is_boolean(), "a boolean"),
            _ => {
                let message = format!("Unknown parameter: '{path}.{field}'.");
                return Err(ApiError::invalid_param(format!("{path}.{field}"), message));
            }
        };
        if !fits && !value.is_null() {
            let message = format!("Invalid type for '{path}.{field}': expected {wanted}.");
            return Err(ApiError::invalid_param(format!("{path}.{field}"), message));
        }
    }
    Ok(())
}

fn check_schema(path: &str, name: &str, schema: &Value) -> Result<(), ApiError> {
    let reason = match tool_schema::check(schema, WireFormat::Chat) {
        Ok(()) => return Ok(()),
        Err(SchemaError::NotAnObject(kind)) => {
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
    let error = ApiError::invalid_param(format!("{path}.parameters"), message);
    Err(error.with_code("invalid_function_parameters"))
}

/// A path as the API writes it, as a tuple of Python.
fn context(path: &[String]) -> String {
    let steps: Vec<String> = path.iter().map(|step| format!("'{step}'")).collect();
    match steps.as_slice() {
        [one] => format!("({one},)"),
        steps => format!("({})", steps.join(", ")),
    }
}

fn check_choice(body: &Value, names: &[&str]) -> Result<(), ApiError> {
    let choice = &body["tool_choice"];
    for field in ["tool_choice", "parallel_tool_calls"] {
        if names.is_empty() && !body[field].is_null() {
            let message = format!("'{field}' is only allowed when 'tools' are specified.");
            return Err(ApiError::invalid_param(field, message));
        }
    }
    match choice {
        Value::Null => Ok(()),
        Value::String(word) if matches!(word.as_str(), "none" | "auto" | "required") => Ok(()),
        Value::Object(_) => match choice["function"]["name"].as_str() {
            Some(name) if names.contains(&name) => Ok(()),
            Some(name) => {
                let message = format!(
                    "Invalid value for 'tool_choice': no function named '{name}' was specified in \
                     'tools'."
                );
                Err(ApiError::invalid_param("tool_choice", message))
            }
            None => Err(missing("tool_choice.function.name")),
        },
        other => {
            let message = format!(
                "Invalid value: {other}. Supported values are: 'none', 'auto', and 'required'."
            );
            Err(ApiError::invalid_param("tool_choice", message))
        }
    }
}
