//! What both APIs require of a tool's name and of its input schema.
//!
//! The schema itself is checked, not values against it: JSON Schema draft 2020-12 as far as tools
//! use it, and the rules that the APIs add. Keywords that the draft does not know are ignored, as
//! it says.
use crate::api_error::WireFormat;
use serde_json::{Map, Value};

/// The longest name of a tool that both APIs accept, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The longest name of an input that both APIs accept, in bytes.
const MAX_PROPERTY_BYTES: usize = 64;

const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords that JSON Schema allows at the top, but the API does not.
fn forbidden_at_top(format: WireFormat) -> &'static [&'static str] {
    match format {
        WireFormat::Messages => &["oneOf", "anyOf", "allOf"],
        WireFormat::Chat => &["oneOf", "anyOf", "allOf", "enum", "not"],
    }
}

/// Whether both APIs accept this as the name of a tool.
pub(crate) fn is_tool_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_property_name(name: &str) -> bool {
    (1..=MAX_PROPERTY_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// What is wrong with a schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SchemaError {
    /// The top has another `type` than `object`.
    NotAnObject(Value),
    /// A keyword at the top that the APIs refuse there.
    ForbiddenAtTop,
    /// The name of an input that the APIs refuse.
    PropertyName(String),
    /// An array that does not say what its items are. Only Chat Completions requires that it does.
    NoItems { path: Vec<String> },
    /// What JSON Schema does not allow.
    Invalid { path: Vec<String>, reason: String },
}

/// The way to a part of a schema, from the inside out.
#[derive(Clone, Copy)]
struct Path<'a> {
    step: &'a str,
    parent: Option<&'a Path<'a>>,
}

impl Path<'_> {
    fn steps(&self) -> Vec<String> {
        let mut steps = self.parent.map_or(vec![], Path::steps);
        steps.extend((!self.step.is_empty()).then(|| self.step.to_string()));
        steps
    }

    fn invalid(&self, reason: String) -> SchemaError {
        SchemaError::Invalid { path: self.steps(), reason }
    }
}

/// Checks the input schema of a tool.
pub(crate) fn check(schema: &Value, format: WireFormat) -> Result<(), SchemaError> {
    if schema["type"] != "object" {
        return Err(SchemaError::NotAnObject(schema["type"].clone()));
    }
    if forbidden_at_top(format).iter().any(|keyword| schema.get(keyword).is_some()) {
        return Err(SchemaError::ForbiddenAtTop);
    }
    Checker { root: schema, format }.schema(schema, &Path { step: "", parent: None })
}

struct Checker<'a> {
    root: &'a Value,
    format: WireFormat,
}

impl Checker<'_> {
    fn schema(&self, schema: &Value, path: &Path) -> Result<(), SchemaError> {
        let fields = match schema {
            Value::Object(fields) => fields,
            // True allows everything, false nothing.
            Value::Bool(_) => return Ok(()),
            other => return Err(path.invalid(format!("{other} is not a schema"))),
        };
        for (keyword, value) in fields {
            self.keyword(keyword, value, &Path { step: keyword, parent: Some(path) })?;
        }
        required(fields, path)?;
        let items_missing = allows_arrays(&schema["type"]) && !fields.contains_key("items");
        if items_missing && self.format == WireFormat::Chat {
            return Err(SchemaError::NoItems { path: path.steps() });
        }
        Ok(())
    }

    fn keyword(&self, keyword: &str, value: &Value, path: &Path) -> Result<(), SchemaError> {
        let wanted = match keyword {
            "type" => return kind(value, path),
            "$ref" => return self.reference(value, path),
            "items"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else" => return self.schema(value, path),
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => match value.as_array() {
                Some(schemas) if !schemas.is_empty() => {
                    for (place, schema) in schemas.iter().enumerate() {
                        let step = &place.to_string();
                        self.schema(schema, &Path { step, parent: Some(path) })?;
                    }
                    return Ok(());
                }
                _ => "a non-empty list of schemas",
            },
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                match value.as_object() {
                    Some(schemas) => {
                        for (name, schema) in schemas {
                            if keyword == "properties" && !is_property_name(name) {
                                return Err(SchemaError::PropertyName(name.clone()));
                            }
                            self.schema(schema, &Path { step: name, parent: Some(path) })?;
                        }
                        return Ok(());
                    }
                    None => "a map of schemas",
                }
            }
            "required" => match value.as_array() {
                Some(names) if names.iter().all(Value::is_string) => return unique(names, path),
                _ => "a list of names",
            },
            "enum" => match value.as_array() {
                Some(values) if !values.is_empty() => return unique(values, path),
                _ => "a non-empty list of values",
            },
            "$schema" | "$id" | "$comment" | "title" | "description" | "format" | "pattern"
                if !value.is_string() =>
            {
                "of type 'string'"
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf"
                if !value.is_number() =>
            {
                "of type 'number'"
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minContains" | "maxContains"
            | "minProperties" | "maxProperties"
                if !value.is_u64() =>
            {
                "a non-negative integer"
            }
            "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" if !value.is_boolean() => {
                "of type 'boolean'"
            }
            _ => return Ok(()),
        };
        Err(path.invalid(format!("{value} is not {wanted}")))
    }

    /// A reference leads to a schema within this one: no server fetches another for it.
    fn reference(&self, reference: &Value, path: &Path) -> Result<(), SchemaError> {
        let target = match reference.as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.root.pointer(pointer),
            None => None,
        };
        match target {
            Some(Value::Object(_) | Value::Bool(_)) => Ok(()),
            _ => Err(path.invalid(format!("{reference} leads to no schema within this one"))),
        }
    }
}

fn kind(kind: &Value, path: &Path) -> Result<(), SchemaError> {
    let known = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    match kind {
        Value::Array(kinds) if !kinds.is_empty() && kinds.iter().all(known) => unique(kinds, path),
        kind if known(kind) => Ok(()),
        kind => Err(path.invalid(format!("{kind} is not one of {}", TYPES.join(", ")))),
    }
}

fn allows_arrays(kind: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "array"),
        kind => kind == "array",
    }
}

fn unique(values: &[Value], path: &Path) -> Result<(), SchemaError> {
    for (place, value) in values.iter().enumerate() {
        if values[..place].contains(value) {
            return Err(path.invalid(format!("{value} appears twice")));
        }
    }
    Ok(())
}

/// What is required has to be described. A branch of `anyOf` may require what the schema around it
/// describes, so a schema without `type` and `properties` is left alone.
fn required(fields: &Map<String, Value>, path: &Path) -> Result<(), SchemaError> {
    let properties = fields.get("properties").and_then(Value::as_object);
    if properties.is_none() && !fields.contains_key("type") {
        return Ok(());
    }
    for name in fields.get("required").and_then(Value::as_array).into_iter().flatten() {
        let described = name
            .as_str()
            .is_some_and(|name| properties.is_some_and(|properties| properties.contains_key(name)));
        if !described {
            let path = Path { step: "required", parent: Some(path) };
            return Err(path.invalid(format!("{name} is not in 'properties'")));
        }
    }
    Ok(())
}
