//! Definitions of tools: both APIs refuse the same mistakes, each in its own words.
#![allow(clippy::needless_pass_by_value, reason = "json!(..) is an argument everywhere")]
mod common;
use common::*;
use rehearsal::{Server, say, scene, script};
use serde_json::{Value, json};

async fn server() -> Server {
    serve(script([scene("hello", [say("hi")])])).await
}

/// A request with these tools in the Messages format.
fn messages(tools: Value) -> Value {
    let mut request = ask(json!([user("hello")]));
    request["tools"] = tools;
    request
}

/// A request with these tools in the format of Chat Completions.
fn chat(tools: Value) -> Value {
    json!({"model": "m", "messages": [user("hello")], "tools": tools})
}

/// What both formats say about a tool: the whole message, and `param` and `code` of Chat
/// Completions.
async fn refusals(server: &Server, tool: &Value) -> (String, Value) {
    let custom = json!({"name": tool["name"], "description": tool["description"],
        "input_schema": tool["schema"]});
    let answer = post(server, MESSAGES, &messages(json!([custom]))).await;
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["error"]["type"]),
        (400, &json!("invalid_request_error")),
        "{tool}: {body}"
    );
    let function = json!({"name": tool["name"], "description": tool["description"],
        "parameters": tool["schema"]});
    let answer =
        post(server, CHAT, &chat(json!([{"type": "function", "function": function}]))).await;
    assert_eq!(answer.status, 400, "{tool}: {}", answer.text);
    (body["error"]["message"].as_str().unwrap().into(), answer.json()["error"].clone())
}

#[tokio::test]
async fn names_and_descriptions_are_checked() {
    let server = server().await;
    let pattern = "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'";
    let long = "a".repeat(65);
    let cases = [
        (
            "a b",
            "string does not match pattern. Expected a string that matches the pattern \
             '^[a-zA-Z0-9_-]+$'.",
            "invalid_value",
        ),
        (
            "grep.files",
            "string does not match pattern. Expected a string that matches the pattern \
             '^[a-zA-Z0-9_-]+$'.",
            "invalid_value",
        ),
        ("", "empty string. Expected a string with minimum length 1.", "empty_string"),
        (
            long.as_str(),
            "string too long. Expected a string with maximum length 64, but got a string with \
             length 65 instead.",
            "string_above_max_length",
        ),
    ];
    for (name, reason, code) in cases {
        let tool = json!({"name": name, "schema": {"type": "object"}});
        let (in_messages, in_chat) = refusals(&server, &tool).await;
        assert_eq!(in_messages, pattern);
        let message = format!("Invalid 'tools[0].function.name': {reason}");
        let error = json!({"message": message, "type": "invalid_request_error",
            "param": "tools[0].function.name", "code": code});
        assert_eq!(in_chat, error);
    }
    let tool = json!({"name": "a", "description": 5, "schema": {"type": "object"}});
    let (in_messages, in_chat) = refusals(&server, &tool).await;
    assert_eq!(in_messages, "tools.0.custom.description: Input should be a valid string");
    assert_eq!(
        in_chat["message"],
        "Invalid type for 'tools[0].function.description': expected a string."
    );
    let longest = "a".repeat(64);
    let tools = json!([{"name": longest, "input_schema": {"type": "object"}}]);
    assert_eq!(post(&server, MESSAGES, &messages(tools)).await.status, 200);
    let function = json!({"name": longest});
    let tools = json!([{"type": "function", "function": function}]);
    assert_eq!(post(&server, CHAT, &chat(tools)).await.status, 200);
}

/// An object schema with one input `a`.
fn input(a: Value) -> Value {
    json!({"type": "object", "properties": {"a": a}})
}

#[tokio::test]
async fn schemas_are_checked() {
    let server = server().await;
    let types = "array, boolean, integer, null, number, object, string";
    let cases = [
        // No type, or one that JSON Schema does not know.
        (
            input(json!({"type": "text"})),
            "properties.a.type",
            format!("\"text\" is not one of {types}"),
        ),
        (input(json!({"type": null})), "properties.a.type", format!("null is not one of {types}")),
        (input(json!({"type": []})), "properties.a.type", format!("[] is not one of {types}")),
        (
            input(json!({"type": ["string", "date"]})),
            "properties.a.type",
            format!("[\"string\",\"date\"] is not one of {types}"),
        ),
        (
            input(json!({"type": ["null", "null"]})),
            "properties.a.type",
            "\"null\" appears twice".into(),
        ),
        // What is required.
        (
            json!({"type": "object", "properties": {"a": {}}, "required": ["a", "b"]}),
            "required",
            "\"b\" is not in 'properties'".into(),
        ),
        (
            json!({"type": "object", "required": ["a"]}),
            "required",
            "\"a\" is not in 'properties'".into(),
        ),
        (
            input(json!({"type": "object", "properties": {}, "required": ["b"]})),
            "properties.a.required",
            "\"b\" is not in 'properties'".into(),
        ),
        (
            json!({"type": "object", "properties": {"a": {}}, "required": "a"}),
            "required",
            "\"a\" is not a list of names".into(),
        ),
        (
            json!({"type": "object", "properties": {"a": {}}, "required": [1]}),
            "required",
            "[1] is not a list of names".into(),
        ),
        (
            json!({"type": "object", "properties": {"a": {}}, "required": ["a", "a"]}),
            "required",
            "\"a\" appears twice".into(),
        ),
        (
            input(json!({"type": "string", "required": true})),
            "properties.a.required",
            "true is not a list of names".into(),
        ),
        // Values to choose from.
        (
            input(json!({"enum": []})),
            "properties.a.enum",
            "[] is not a non-empty list of values".into(),
        ),
        (input(json!({"enum": ["x", "x"]})), "properties.a.enum", "\"x\" appears twice".into()),
        // References.
        (
            input(json!({"$ref": "#/$defs/Missing"})),
            "properties.a.$ref",
            "\"#/$defs/Missing\" leads to no schema within this one".into(),
        ),
        (
            input(json!({"$ref": "https://example.com/a.json"})),
            "properties.a.$ref",
            "\"https://example.com/a.json\" leads to no schema within this one".into(),
        ),
        (
            input(json!({"$ref": "#/type"})),
            "properties.a.$ref",
            "\"#/type\" leads to no schema within this one".into(),
        ),
        // Null is no value of any keyword, and older drafts are another language.
        (
            json!({"type": "object", "properties": null}),
            "properties",
            "null is not a map of schemas".into(),
        ),
        (
            json!({"type": "object", "properties": ["a"]}),
            "properties",
            "[\"a\"] is not a map of schemas".into(),
        ),
        (input(Value::Null), "properties.a", "null is not a schema".into()),
        (input(json!("string")), "properties.a", "\"string\" is not a schema".into()),
        (
            input(json!({"description": null})),
            "properties.a.description",
            "null is not of type 'string'".into(),
        ),
        (
            input(json!({"type": "array", "items": [{}]})),
            "properties.a.items",
            "[{}] is not a schema".into(),
        ),
        (
            input(json!({"type": "array", "items": {"type": "strin"}})),
            "properties.a.items.type",
            format!("\"strin\" is not one of {types}"),
        ),
        (
            input(json!({"minimum": 0, "exclusiveMinimum": true})),
            "properties.a.exclusiveMinimum",
            "true is not of type 'number'".into(),
        ),
        (
            input(json!({"minLength": -1})),
            "properties.a.minLength",
            "-1 is not a non-negative integer".into(),
        ),
        (
            input(json!({"uniqueItems": "yes"})),
            "properties.a.uniqueItems",
            "\"yes\" is not of type 'boolean'".into(),
        ),
        (
            input(json!({"anyOf": []})),
            "properties.a.anyOf",
            "[] is not a non-empty list of schemas".into(),
        ),
        (
            input(json!({"anyOf": [{}, {"type": "text"}]})),
            "properties.a.anyOf.1.type",
            format!("\"text\" is not one of {types}"),
        ),
        (
            input(json!({"additionalProperties": "no"})),
            "properties.a.additionalProperties",
            "\"no\" is not a schema".into(),
        ),
        (
            json!({"type": "object", "$defs": {"D": {"type": "text"}}}),
            "$defs.D.type",
            format!("\"text\" is not one of {types}"),
        ),
    ];
    for (schema, path, reason) in cases {
        let (in_messages, in_chat) =
            refusals(&server, &json!({"name": "t", "schema": schema})).await;
        let expected = format!(
            "tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft \
             2020-12 (https://json-schema.org/draft/2020-12). {path}: {reason}"
        );
        assert_eq!(in_messages, expected);
        let steps: Vec<String> = path.split('.').map(|step| format!("'{step}'")).collect();
        let tuple = if steps.len() == 1 { format!("{},", steps[0]) } else { steps.join(", ") };
        let message = format!("Invalid schema for function 't': In context=({tuple}), {reason}.");
        let error = json!({"message": message, "type": "invalid_request_error",
            "param": "tools[0].function.parameters", "code": "invalid_function_parameters"});
        assert_eq!(in_chat, error);
    }
}

#[tokio::test]
async fn the_top_of_a_schema_is_an_object_without_alternatives() {
    let server = server().await;
    let cases = [
        (json!({}), ".type: Field required", "got 'type: null'"),
        (json!({"properties": {}}), ".type: Field required", "got 'type: null'"),
        (json!({"type": "string"}), ".type: Input should be 'object'", "got 'type: \"string\"'"),
        (
            json!({"type": ["object", "null"]}),
            ".type: Input should be 'object'",
            "got 'type: [\"object\",\"null\"]'",
        ),
    ];
    for (schema, in_messages, in_chat) in cases {
        let refused = refusals(&server, &json!({"name": "t", "schema": schema})).await;
        assert_eq!(refused.0, format!("tools.0.custom.input_schema{in_messages}"));
        let message = format!(
            "Invalid schema for function 't': schema must be a JSON Schema of 'type: \"object\"', \
             {in_chat}."
        );
        assert_eq!(refused.1["message"], message);
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        let schema = json!({"type": "object", keyword: [{}]});
        let refused = refusals(&server, &json!({"name": "t", "schema": schema})).await;
        let expected = "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, \
                        or anyOf at the top level";
        assert_eq!(refused.0, expected);
        let expected = "Invalid schema for function 't': schema must have type 'object' and not \
                        have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.";
        assert_eq!(refused.1["message"], expected);
    }
    let schema = json!({"type": "object", "properties": {"a b": {}}});
    let refused = refusals(&server, &json!({"name": "t", "schema": schema})).await;
    let expected = "tools.0.custom.input_schema.properties: Property keys should match pattern \
                    '^[a-zA-Z0-9_.-]{1,64}$'";
    assert_eq!(refused.0, expected);
    let expected = "Invalid schema for function 't': In context=('properties',), 'a b' does not \
                    match '^[a-zA-Z0-9_.-]{1,64}$'.";
    assert_eq!(refused.1["message"], expected);
    for (parameters, wanted) in [(json!("object"), "an object"), (json!([]), "an object")] {
        let tools =
            json!([{"type": "function", "function": {"name": "t", "parameters": parameters}}]);
        let (status, message) = post(&server, CHAT, &chat(tools)).await.error();
        let expected =
            format!("Invalid type for 'tools[0].function.parameters': expected {wanted}.");
        assert_eq!((status, message), (400, expected));
    }
}

#[tokio::test]
async fn each_format_has_rules_of_its_own() {
    let server = server().await;
    // Chat Completions wants to know what is in an array, and allows neither `enum` nor `not` at
    // the top.
    let only_chat = [
        (
            input(json!({"type": "array"})),
            "In context=('properties', 'a'), array schema missing items.",
        ),
        (
            input(json!({"type": ["array", "null"]})),
            "In context=('properties', 'a'), array schema missing items.",
        ),
        (
            json!({"type": "object", "not": {"required": ["a"]}}),
            "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at \
             the top level.",
        ),
    ];
    for (schema, reason) in only_chat {
        let tools = json!([{"name": "t", "input_schema": schema}]);
        assert_eq!(post(&server, MESSAGES, &messages(tools)).await.status, 200, "{schema}");
        let tools = json!([{"type": "function", "function": {"name": "t", "parameters": schema}}]);
        let error = post(&server, CHAT, &chat(tools)).await.error();
        assert_eq!(error, (400, format!("Invalid schema for function 't': {reason}")));
    }
    let object = json!({"type": "object"});
    let cases = [
        (
            json!([{"name": "t", "input_schema": object, "parameters": {}}]),
            "tools.0.custom.parameters: Extra inputs are not permitted",
        ),
        (
            json!([{"name": "t", "input_schema": object, "strict": "yes"}]),
            "tools.0.custom.strict: Input should be a valid boolean",
        ),
        (
            json!([{"name": "t", "input_schema": object, "input_examples": {}}]),
            "tools.0.custom.input_examples: Input should be a valid list",
        ),
        (
            json!([{"type": "function", "name": "t", "input_schema": object}]),
            "tools.0: Input tag \"function\" found using 'type' does not match any of the expected \
             tags: 'custom', or a dated built-in tool",
        ),
        (json!({}), "tools: Input should be a valid list"),
        (
            json!([{"name": "t", "input_schema": [1]}]),
            "tools.0.custom.input_schema: Input should be a valid dictionary",
        ),
    ];
    for (tools, expected) in cases {
        let error = post(&server, MESSAGES, &messages(tools)).await.error();
        assert_eq!(error, (400, expected.to_string()));
    }
    let function = json!({"name": "t"});
    let tool = json!({"type": "function", "function": function});
    let cases = [
        (
            json!({"tools": []}),
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an \
             empty array instead.",
        ),
        (json!({"tools": {}}), "Invalid type for 'tools': expected an array of objects."),
        (
            json!({"tools": vec![tool.clone(); 129]}),
            "Invalid 'tools': array too long. Expected an array with maximum length 128, but got \
             an array with length 129 instead.",
        ),
        (
            json!({"tools": [{"function": function}]}),
            "Missing required parameter: 'tools[0].type'.",
        ),
        (
            json!({"tools": [{"type": "custom"}]}),
            "Invalid value: 'custom'. Supported values are: 'function'.",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "Missing required parameter: 'tools[0].function.name'.",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "t", "input_schema": {}}}]}),
            "Unknown parameter: 'tools[0].function.input_schema'.",
        ),
        (json!({"tools": [tool, tool]}), "Duplicate function name: 't'."),
        (
            json!({"tool_choice": "auto"}),
            "'tool_choice' is only allowed when 'tools' are specified.",
        ),
        (
            json!({"parallel_tool_calls": false}),
            "'parallel_tool_calls' is only allowed when 'tools' are specified.",
        ),
        (
            json!({"tools": [tool], "tool_choice": "any"}),
            "Invalid value: \"any\". Supported values are: 'none', 'auto', and 'required'.",
        ),
        (
            json!({"tools": [tool], "tool_choice": {"type": "function",
                "function": {"name": "u"}}}),
            "Invalid value for 'tool_choice': no function named 'u' was specified in 'tools'.",
        ),
    ];
    for (fields, expected) in cases {
        let mut request = json!({"model": "m", "messages": [user("hello")]});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let error = post(&server, CHAT, &request).await.error();
        assert_eq!(error, (400, expected.to_string()));
    }
}

#[tokio::test]
async fn what_derived_schemas_contain_is_accepted() {
    let server = server().await;
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Edit",
        "description": "Edits a file.",
        "type": "object",
        "properties": {
            "path": {"description": "Which file.", "type": "string"},
            "limit": {"type": ["integer", "null"], "format": "uint32", "minimum": 0, "maximum": 10,
            "default": null},
            "mode": {"$ref": "#/$defs/Mode"},
            "edits": {"type": "array", "items": {"$ref": "#/$defs/Edit"}, "minItems": 1},
            "either": {"anyOf": [{"type": "string", "const": "x"}, {"type": "null"}]},
            "any": true,
            "tree": {"$ref": "#"},
        },
        "required": ["path", "edits"],
        "additionalProperties": false,
        "$defs": {
            "Mode": {"type": "string", "enum": ["read", "write"]},
            "Edit": {
                "type": "object",
                "properties": {"old": {"type": "string"}, "new": {"type": "string"}},
                "anyOf": [{"required": ["old"]}, {"required": ["new"]}],
            },
        },
        "x-unknown": null,
    });
    let tool = json!({"type": "custom", "name": "edit", "description": "Edits.",
        "input_schema": schema,
        "cache_control": {"type": "ephemeral"}, "strict": null, "defer_loading": false,
        "input_examples": [{}]});
    let answer = post(&server, MESSAGES, &messages(json!([tool]))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let function =
        json!({"name": "edit", "description": null, "parameters": schema, "strict": false});
    let mut request = chat(json!([{"type": "function", "function": function}]));
    request["tool_choice"] = json!({"type": "function", "function": {"name": "edit"}});
    request["parallel_tool_calls"] = json!(true);
    let answer = post(&server, CHAT, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}
