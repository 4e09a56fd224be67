//! The definitions of tools and the choice among them.
use crate::{format::is_tool_name, refusal::Refusal};
use serde_json::Value;

pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    let tools = match &body["tools"] {
        Value::Null => &vec![],
        Value::Array(tools) => tools,
        _ => return Err(Refusal::bad("tools: Input should be a valid list")),
    };
    let mut names: Vec<&str> = vec![];
    for (place, tool) in tools.iter().enumerate() {
        let custom = matches!(tool["type"].as_str(), None | Some("custom"));
        let name = match tool["name"].as_str() {
            Some(name) => name,
            // A set of tools of a server has none.
            None if !custom => continue,
            None => return Err(Refusal::bad(format!("tools.{place}.custom.name: Field required"))),
        };
        if !is_tool_name(name) {
            return Err(Refusal::bad(format!(
                "tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )));
        }
        if names.contains(&name) {
            return Err(Refusal::bad("tools: Tool names must be unique."));
        }
        names.push(name);
        if custom {
            schema(place, &tool["input_schema"])?;
        }
    }
    choice(&body["tool_choice"], &names)
}

fn schema(place: usize, schema: &Value) -> Result<(), Refusal> {
    let why = match (schema, &schema["type"]) {
        (Value::Null, _) => ": Field required",
        (Value::Object(_), Value::Null) => ".type: Field required",
        (Value::Object(_), kind) if kind == "object" => return Ok(()),
        (Value::Object(_), _) => ".type: Input should be 'object'",
        _ => ": Input should be a valid dictionary",
    };
    Err(Refusal::bad(format!("tools.{place}.custom.input_schema{why}")))
}

fn choice(choice: &Value, names: &[&str]) -> Result<(), Refusal> {
    match choice["type"].as_str() {
        _ if choice.is_null() => Ok(()),
        Some("auto" | "any" | "none") => Ok(()),
        Some("tool") => match choice["name"].as_str() {
            Some(name) if names.contains(&name) => Ok(()),
            Some(name) => Err(Refusal::bad(format!("Tool '{name}' not found in provided tools"))),
            None => Err(Refusal::bad("tool_choice.tool.name: Field required")),
        },
        _ => Err(Refusal::bad("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")),
    }
}
