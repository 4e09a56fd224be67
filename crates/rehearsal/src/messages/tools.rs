//! The definitions of tools and the choice among them.
use crate::{
    api_error::{ApiError, WireFormat},
    tool_schema::{self, SchemaError, is_tool_name},
};
use serde_json::Value;

/// What the definition of a custom tool allows.
const FIELDS: [&str; 10] = [
    "name",
    "description",
    "input_schema",
    "type",
    "cache_control",
    "strict",
    "defer_loading",
    "allowed_callers",
    "input_examples",
    "eager_input_streaming",
];

pub(super) fn check(body: &Value) -> Result<(), ApiError> {
    let tools = match &body["tools"] {
        Value::Null => &vec![],
        Value::Array(tools) => tools,
        _ => return Err(ApiError::invalid("tools: Input should be a valid list")),
    };
    let mut names: Vec<&str> = vec![];
    for (place, tool) in tools.iter().enumerate() {
        let custom = match &tool["type"] {
            Value::Null => true,
            Value::String(kind) if kind == "custom" => true,
            Value::String(kind) if is_built_in(kind) => false,
            kind => {
                return Err(ApiError::invalid(format!(
                    "tools.{place}: Input tag {kind} found using 'type' does not match any of the \
                     expected tags: 'custom', or a dated built-in tool"
                )));
            }
        };
        let name = match tool["name"].as_str() {
            Some(name) => name,
            // A toolset has none.
            None if !custom => continue,
            None => {
                return Err(ApiError::invalid(format!(
                    "tools.{place}.custom.name: Field required"
                )));
            }
        };
        if !is_tool_name(name) {
            return Err(ApiError::invalid(format!(
                "tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            )));
        }
        if names.contains(&name) {
            return Err(ApiError::invalid("tools: Tool names must be unique."));
        }
        names.push(name);
        if custom {
            check_custom(&format!("tools.{place}.custom"), tool)?;
        }
    }
    choice(&body["tool_choice"], &names)
}

/// Built-in tools carry the date of their version, such as `bash_20250124`.
fn is_built_in(kind: &str) -> bool {
    let dated = kind.rsplit_once('_').is_some_and(|(_, date)| {
        date.len() == 8 && date.bytes().all(|digit| digit.is_ascii_digit())
    });
    dated || kind == "mcp_toolset"
}

fn check_custom(path: &str, tool: &Value) -> Result<(), ApiError> {
    for (field, value) in tool.as_object().into_iter().flatten() {
        let wanted = match field.as_str() {
            "description" if !value.is_string() => "string",
            "strict" | "defer_loading" | "eager_input_streaming" if !value.is_boolean() => {
                "boolean"
            }
            "allowed_callers" | "input_examples" if !value.is_array() => "list",
            known if FIELDS.contains(&known) => continue,
            _ => {
                return Err(ApiError::invalid(format!(
                    "{path}.{field}: Extra inputs are not permitted"
                )));
            }
        };
        // Optional fields may be null.
        if !value.is_null() {
            return Err(ApiError::invalid(format!(
                "{path}.{field}: Input should be a valid {wanted}"
            )));
        }
    }
    let schema = &tool["input_schema"];
    let why = match schema {
        Value::Null => ": Field required".to_string(),
        Value::Object(_) => match tool_schema::check(schema, WireFormat::Messages) {
            Ok(()) => return Ok(()),
            Err(SchemaError::NotAnObject(Value::Null)) => ".type: Field required".into(),
            Err(SchemaError::NotAnObject(_)) => ".type: Input should be 'object'".into(),
            Err(SchemaError::ForbiddenAtTop) => {
                ": input_schema does not support oneOf, allOf, or anyOf at the top level".into()
            }
            Err(SchemaError::PropertyName(_)) => {
                ".properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'".into()
            }
            Err(SchemaError::NoItems { path }) => invalid(&path, "array schema missing items"),
            Err(SchemaError::Invalid { path, reason }) => invalid(&path, &reason),
        },
        _ => ": Input should be a valid dictionary".into(),
    };
    Err(ApiError::invalid(format!("{path}.input_schema{why}")))
}

/// The message of the API, which does not say what is wrong, with the place and the reason.
fn invalid(path: &[String], reason: &str) -> String {
    let place = if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) };
    format!(
        ": JSON schema is invalid. It must match JSON Schema draft 2020-12 \
         (https://json-schema.org/draft/2020-12). {place}{reason}"
    )
}

fn choice(choice: &Value, names: &[&str]) -> Result<(), ApiError> {
    match choice["type"].as_str() {
        _ if choice.is_null() => Ok(()),
        Some("auto" | "any" | "none") => Ok(()),
        Some("tool") => match choice["name"].as_str() {
            Some(name) if names.contains(&name) => Ok(()),
            Some(name) => {
                Err(ApiError::invalid(format!("Tool '{name}' not found in provided tools")))
            }
            None => Err(ApiError::invalid("tool_choice.tool.name: Field required")),
        },
        _ => Err(ApiError::invalid(
            "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'",
        )),
    }
}
