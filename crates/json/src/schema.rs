//! From Rust types to JSON Schemas, in a plain form that both APIs and every model understand.
use crate::Written;
use schemars::transform::{self, transform_subschemas};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// A schema, with the description that stood in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The doc comment of the type; empty when it has none.
    pub description: String,
    /// The rest.
    pub schema: Written,
}

fn schema_of<T: JsonSchema>() -> Schema {
    let mut booleans = transform::ReplaceBoolSchemas::default();
    booleans.skip_additional_properties = true;
    let mut settings = SchemaSettings::draft2020_12()
        .with_transform(booleans)
        .with_transform(transform::AddNullable::default())
        .with_transform(transform::ReplaceConstValue::default());
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    assert!(
        !json!(schema).to_string().contains("\"$ref\""),
        "{} contains itself, which a plain schema cannot say",
        T::schema_name()
    );
    schema
}

/// The schema of the type `T`, whose doc comment is the description.
///
/// # Panics
/// When the type contains itself.
pub fn of<T: JsonSchema>() -> Described {
    let mut schema = schema_of::<T>();
    simplify(&mut schema);
    let description = take_description(&mut schema).unwrap_or_default();
    Described { description, schema: Value::from(schema).into() }
}

/// One schema for each variant of the enum `T`, by the variant's name. Serde's usual form of a
/// variant is an object whose only field has that name.
///
/// # Panics
/// When the type is no such enum.
pub fn variants<T: JsonSchema>() -> Vec<(String, Described)> {
    let schema = schema_of::<T>();
    let variants = schema.get("oneOf").and_then(Value::as_array);
    let described = variants.into_iter().flatten().map(variant).collect::<Option<Vec<_>>>();
    match described {
        Some(described) if !described.is_empty() => described,
        _ => panic!("{}: write each variant as `Name {{ .. }}`", T::schema_name()),
    }
}

fn variant(schema: &Value) -> Option<(String, Described)> {
    let mut variant = Schema::try_from(schema.clone()).ok()?;
    simplify(&mut variant);
    let description = take_description(&mut variant);
    let (name, fields) = variant.get("properties")?.as_object()?.iter().next()?;
    let mut fields = Schema::try_from(fields.clone()).ok()?;
    // A variant around a struct may leave the description to that.
    let inner = take_description(&mut fields);
    let description = description.or(inner).unwrap_or_default();
    Some((name.clone(), Described { description, schema: Value::from(fields).into() }))
}

fn take_description(schema: &mut Schema) -> Option<String> {
    Some(schema.remove("description")?.as_str()?.to_string())
}

/// Leaves what every model understands: closed objects, enums as lists of words, no titles, formats
/// or references; what is optional is left out instead of null.
fn simplify(schema: &mut Schema) {
    transform_subschemas(&mut simplify, schema);
    let Some(map) = schema.as_object_mut() else { return };
    for key in ["title", "format", "uniqueItems", "nullable"] {
        map.shift_remove(key);
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        // The lines of a doc comment are broken for the reader of the code; its paragraphs are
        // meant.
        let paragraphs = text.split("\n\n");
        let joined = paragraphs.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        *text = joined.collect::<Vec<_>>().join("\n");
    }
    if let Some(Value::Array(words)) = map.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.shift_remove("default");
    }
    let choices = map.shift_remove("oneOf").or_else(|| map.shift_remove("anyOf"));
    if let Some(Value::Array(choices)) = choices {
        simplify_choices(map, choices);
    }
    if map.get("type").is_some_and(|kind| kind == "object") {
        if !map.contains_key("additionalProperties") {
            map.entry("properties").or_insert_with(|| json!({}));
            map.insert("additionalProperties".into(), json!(false));
        }
        if map.contains_key("properties") {
            map.entry("required").or_insert_with(|| json!([]));
        }
    }
}

/// `oneOf` and `anyOf`: words become one list, and a single choice is no choice.
fn simplify_choices(map: &mut Map<String, Value>, mut choices: Vec<Value>) {
    // `null` is an enum without words by now.
    choices.retain(|choice| choice["enum"] != json!([]));
    if let [Value::Object(only)] = choices.as_slice() {
        for (key, value) in only {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    } else if choices.iter().all(|choice| choice["enum"].is_array()) {
        let mut lines: Vec<String> = vec![];
        lines.extend(map.get("description").and_then(Value::as_str).map(String::from));
        lines.extend(choices.iter().filter_map(|choice| {
            let (word, text) = (choice["enum"][0].as_str()?, choice["description"].as_str()?);
            Some(format!("`{word}`: {text}"))
        }));
        let words = choices.iter().filter_map(|choice| choice["enum"].as_array()).flatten();
        map.insert("type".into(), json!("string"));
        map.insert("enum".into(), words.cloned().collect());
        if !lines.is_empty() {
            map.insert("description".into(), lines.join("\n").into());
        }
    } else {
        map.insert("anyOf".into(), choices.into());
    }
}
