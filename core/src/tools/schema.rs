//! From Rust types to the schemas of tools, in a plain form that both APIs and every model
//! understand.
use super::ToolSpec;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The longest name of a tool, in bytes: OpenAI's limit, the smaller one of the two APIs.
const MAX_NAME_BYTES: usize = 64;

fn schema_of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    assert!(
        !schema.to_string().contains("\"$ref\""),
        "{} contains itself, which a plain schema cannot say",
        T::schema_name()
    );
    schema
}

/// The tool whose arguments are the struct `T`.
pub(super) fn spec<T: JsonSchema>(name: &str) -> ToolSpec {
    let mut schema = schema_of::<T>();
    simplify(&mut schema);
    let description = take_description(&mut schema).unwrap_or_default();
    checked(ToolSpec { name: name.into(), description, input_schema: schema })
}

/// One tool for each variant of the enum `T`. Serde's usual form of a variant is an object whose
/// only field has the variant's name.
pub(super) fn variants<T: JsonSchema>() -> Vec<ToolSpec> {
    let schema = schema_of::<T>();
    let Some(variants) = schema["oneOf"].as_array() else {
        panic!("{} is no enum; write each variant as `Name {{ .. }}`", T::schema_name());
    };
    variants.iter().map(variant::<T>).collect()
}

fn variant<T: JsonSchema>(variant: &Value) -> ToolSpec {
    let mut variant = variant.clone();
    simplify(&mut variant);
    let description = take_description(&mut variant);
    let fields = variant["properties"].as_object();
    let Some((name, mut schema)) = fields.and_then(|fields| fields.clone().into_iter().next())
    else {
        panic!("{}: {variant}: write each variant as `Name {{ .. }}`", T::schema_name());
    };
    // A variant around a struct may leave the description to that.
    let inner = take_description(&mut schema);
    let description = description.or(inner).unwrap_or_default();
    checked(ToolSpec { name, description, input_schema: schema })
}

fn take_description(schema: &mut Value) -> Option<String> {
    Some(schema.as_object_mut()?.shift_remove("description")?.as_str()?.to_string())
}

/// Finds mistakes of whoever wrote the tool, when it is added.
fn checked(spec: ToolSpec) -> ToolSpec {
    let ToolSpec { name, description, input_schema } = &spec;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!(
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(plain),
        "{name:?} cannot name a tool"
    );
    assert!(
        !description.is_empty(),
        "the tool `{name}` has no doc comment, so no model would know what it does"
    );
    assert!(input_schema["type"] == "object", "the arguments of `{name}` must be a struct");
    spec
}

/// Leaves what every model understands: closed objects, enums as lists of words, no titles, formats
/// or references; what is optional is left out instead of null.
fn simplify(schema: &mut Value) {
    if schema == &json!(true) {
        *schema = json!({});
    }
    let Some(map) = schema.as_object_mut() else { return };
    for key in ["title", "uniqueItems"] {
        map.shift_remove(key);
    }
    format_to_bounds(map);
    if let Some(Value::String(text)) = map.get_mut("description") {
        // The lines of a doc comment are broken for the reader of the code; its paragraphs are
        // meant.
        let paragraphs = text.split("\n\n");
        let joined = paragraphs.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        *text = joined.collect::<Vec<_>>().join("\n");
    }
    let choices = map.shift_remove("oneOf").or_else(|| map.shift_remove("anyOf"));
    if let Some(Value::Array(choices)) = choices {
        simplify_choices(map, choices);
    }
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            map.insert("type".into(), one);
        }
    }
    if let Some(word) = map.shift_remove("const") {
        map.insert("enum".into(), json!([word]));
    }
    if let Some(Value::Array(words)) = map.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.shift_remove("default");
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
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key)
            && *inner != json!(true)
        {
            simplify(inner);
        }
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for (_, inner) in properties {
            simplify(inner);
        }
    }
}

/// Not every server knows `format`; what it says of whole numbers, bounds say as well.
fn format_to_bounds(map: &mut Map<String, Value>) {
    let (min, max) = match map.shift_remove("format").as_ref().and_then(Value::as_str) {
        Some("uint8") => (json!(0), json!(u8::MAX)),
        Some("uint16") => (json!(0), json!(u16::MAX)),
        Some("uint32") => (json!(0), json!(u32::MAX)),
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        _ => return,
    };
    map.entry("minimum").or_insert(min);
    map.entry("maximum").or_insert(max);
}

/// `oneOf` and `anyOf`: words become one list, null is left out, and a single choice is no choice.
fn simplify_choices(map: &mut Map<String, Value>, mut choices: Vec<Value>) {
    choices.retain(|choice| choice["type"] != "null");
    choices.iter_mut().for_each(simplify);
    if let [Value::Object(only)] = choices.as_slice() {
        for (key, value) in only {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    } else if choices.iter().all(|choice| choice["enum"].is_array()) {
        let words =
            choices.iter().flat_map(|choice| choice["enum"].as_array().into_iter().flatten());
        let words: Vec<Value> = words.cloned().collect();
        let mut lines: Vec<String> =
            map.get("description").and_then(Value::as_str).map(String::from).into_iter().collect();
        for choice in &choices {
            if let (Some(word), Some(text)) =
                (choice["enum"][0].as_str(), choice["description"].as_str())
            {
                lines.push(format!("`{word}`: {text}"));
            }
        }
        map.insert("type".into(), json!("string"));
        map.insert("enum".into(), words.into());
        if !lines.is_empty() {
            map.insert("description".into(), lines.join("\n").into());
        }
    } else {
        map.insert("anyOf".into(), choices.into());
    }
}
