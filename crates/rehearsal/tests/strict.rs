//! What the Messages API refuses, and its messages.
#![allow(clippy::needless_pass_by_value, reason = "json!(..) is an argument everywhere")]
mod common;
use common::*;
use rehearsal::{Script, call, say, scene, script};
use serde_json::{Value, json};

fn hello() -> Script {
    script([scene("hello", [say("hi")])])
}

fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "bash", "input": {}})
}

fn tool_result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "ok"})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn message(role: &str, blocks: Value) -> Value {
    json!({"role": role, "content": blocks})
}

/// The request with these fields set; a field that is null is removed.
fn with(fields: Value) -> Value {
    let mut request = ask(json!([user("hello")]));
    for (key, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(request.as_object_mut().unwrap().remove(key)),
            value => request[key] = value.clone(),
        }
    }
    request
}

#[tokio::test]
async fn messages_are_checked() {
    let server = serve(hello()).await;
    let open = json!([
        user("hello"),
        message("assistant", json!([tool_use("toolu_a"), tool_use("toolu_b")]))
    ]);
    let answered = |blocks: Value| {
        let mut messages = open.clone();
        messages.as_array_mut().unwrap().push(message("user", blocks));
        messages
    };
    let cases = [
        (
            answered(json!([tool_result("toolu_a")])),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: \
             toolu_b. Each `tool_use` block must have a corresponding `tool_result` block in the \
             next message.",
        ),
        (
            open.clone(),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: \
             toolu_a, toolu_b. Each `tool_use` block must have a corresponding `tool_result` block \
             in the next message.",
        ),
        (
            answered(json!([
                tool_result("toolu_a"),
                tool_result("toolu_b"),
                tool_result("toolu_c")
            ])),
            "messages.2.content.2: unexpected `tool_use_id` found in `tool_result` blocks: \
             toolu_c. Each `tool_result` block must have a corresponding `tool_use` block in the \
             previous message.",
        ),
        (
            answered(json!([
                tool_result("toolu_a"),
                tool_result("toolu_b"),
                tool_result("toolu_b")
            ])),
            "messages.2.content.2: each tool_use must have a single result. Found multiple \
             `tool_result` blocks with id: toolu_b",
        ),
        (
            answered(json!([text("hello"), tool_result("toolu_a"), tool_result("toolu_b")])),
            "messages.2.content.0: `tool_result` blocks must come before all other content of the \
             message",
        ),
        (
            json!([
                user("hello"),
                message("assistant", json!([tool_use("toolu_a"), tool_use("toolu_b")])),
                message("user", json!([tool_result("toolu_a")])),
                message("assistant", json!([text("and")])),
                message("user", json!([tool_result("toolu_b")])),
            ]),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: \
             toolu_b. Each `tool_use` block must have a corresponding `tool_result` block in the \
             next message.",
        ),
        (
            json!([
                user("hello"),
                message("assistant", json!([tool_use("toolu_a")])),
                message("user", json!([tool_result("toolu_a")])),
                message("assistant", json!([tool_use("toolu_a")])),
                message("user", json!([tool_result("toolu_a")])),
            ]),
            "messages.3.content.0: `tool_use` ids must be unique: toolu_a",
        ),
        (
            json!([message("user", json!([tool_result("toolu_a")]))]),
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: \
             toolu_a. Each `tool_result` block must have a corresponding `tool_use` block in the \
             previous message.",
        ),
        (json!([]), "messages: at least one message is required"),
        (json!([user("")]), "messages: text content blocks must be non-empty"),
        (json!([user(" \n")]), "messages: text content blocks must contain non-whitespace text"),
        (
            json!([message("user", json!([]))]),
            "messages.0: all messages must have non-empty content",
        ),
        (
            json!([message("assistant", json!("hi"))]),
            "messages: first message must use the \"user\" role",
        ),
        (
            json!([user("hello"), message("assistant", json!("The answer is"))]),
            "This model does not support assistant message prefill. The conversation must end with \
             a user message.",
        ),
        (
            json!([user("hello"), message("robot", json!("hi"))]),
            "messages: Unexpected role \"robot\". Allowed roles are \"user\" or \"assistant\"",
        ),
        (json!([{"content": "hello"}]), "messages.0.role: Field required"),
        (json!([{"role": "user"}]), "messages.0.content: Field required"),
        (
            json!([message("user", json!([{"text": "hello"}]))]),
            "messages.0.content.0.type: Field required",
        ),
        (
            json!([message("user", json!([tool_use("toolu_a")]))]),
            "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages",
        ),
        (
            json!([
                user("hello"),
                message(
                    "assistant",
                    json!([{"type": "tool_use", "id": "a", "name": "b", "input": "{"}])
                ),
                message("user", json!([tool_result("a")]))
            ]),
            "messages.1.content.0.tool_use.input: Input should be a valid dictionary",
        ),
        (
            answered(json!([{"type": "tool_result", "tool_use_id": "toolu_a", "is_error": true,
                    "content": ""}, tool_result("toolu_b")])),
            "messages.2.content.0.tool_result: content cannot be empty if `is_error` is true",
        ),
        (
            json!([message("system", json!("be brief")), user("hello")]),
            "messages: first message must use the \"user\" role",
        ),
        (
            json!([
                user("hello"),
                message("assistant", json!("hi")),
                message("system", json!("be brief")),
                user("hello")
            ]),
            "messages.2: a `system` message must follow a `user` message or an `assistant` message \
             that ends with a server tool",
        ),
        (
            json!([user("hello"), message("system", json!("be brief")), user("hello")]),
            "messages.1: a `system` message must be the last one or be followed by an `assistant` \
             message",
        ),
    ];
    for (messages, expected) in cases {
        let answer = post(&server, MESSAGES, &ask(messages.clone())).await;
        assert_eq!(answer.error(), (400, expected.to_string()), "{messages}");
        let counted = post(
            &server,
            "/v1/messages/count_tokens",
            &json!({"model": "m", "messages": messages}),
        )
        .await;
        assert_eq!(counted.status, 400, "count_tokens checks the same: {messages}");
    }
}

#[tokio::test]
async fn fields_are_checked() {
    let server = serve(hello()).await;
    let tool = |name: &str, schema: Value| json!({"name": name, "input_schema": schema});
    let object = json!({"type": "object"});
    let mark = |ttl: &str| {
        json!({"type": "text", "text": "hello",
        "cache_control": {"type": "ephemeral", "ttl": ttl}})
    };
    let marks = |count: usize| json!([message("user", json!(vec![mark("5m"); count]))]);
    let cases = [
        (json!({"model": null}), "model: Field required"),
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"max_tokens": 0}), "max_tokens: Input should be greater than or equal to 1"),
        (json!({"max_tokens": "many"}), "max_tokens: Input should be a valid integer"),
        (json!({"messages": null}), "messages: Field required"),
        (json!({"max_token": 5}), "max_token: Extra inputs are not permitted"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 5}}),
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            json!({"system": [text(" ")]}),
            "system: text content blocks must contain non-whitespace text",
        ),
        (
            json!({"tools": [tool("a", object.clone()), tool("a", object.clone())]}),
            "tools: Tool names must be unique.",
        ),
        (
            json!({"tools": [tool("a b", object.clone())]}),
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        ),
        (json!({"tools": [{"name": "a"}]}), "tools.0.custom.input_schema: Field required"),
        (
            json!({"tools": [tool("a", json!({}))]}),
            "tools.0.custom.input_schema.type: Field required",
        ),
        (
            json!({"tools": [tool("a", json!({"type": "string"}))]}),
            "tools.0.custom.input_schema.type: Input should be 'object'",
        ),
        (
            json!({"tool_choice": {"type": "tool", "name": "a"}}),
            "Tool 'a' not found in provided tools",
        ),
        (
            json!({"messages": marks(5)}),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            json!({"messages": marks(4), "cache_control": {"type": "ephemeral"}}),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            json!({"messages": [message("user", json!([mark("5m"), mark("1h")]))]}),
            "messages.0.content.1.cache_control.ttl: a ttl='1h' cache_control block must not come \
             after a ttl='5m' cache_control block. Note that blocks are processed in the following \
             order: `tools`, `system`, `messages`.",
        ),
        (
            json!({"cache_control": {"type": "forever"}}),
            "cache_control.type: Input should be 'ephemeral'",
        ),
        (
            json!({"messages": [message("user",
                json!([{"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}]))]}),
            "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
        ),
        (
            json!({"messages": [user("hello"), message("assistant",
                json!([{"type": "thinking", "thinking": "", "signature": "",
                    "cache_control": {"type": "ephemeral"}}, text("a")])), user("hello")]}),
            "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted",
        ),
        (
            json!({"model": "claude-sonnet-5", "messages": [user("hello"),
                message("system", json!("be brief"))]}),
            "messages.1: role 'system' is not supported on this model",
        ),
    ];
    for (fields, expected) in cases {
        let answer = post(&server, MESSAGES, &with(fields.clone())).await;
        assert_eq!(answer.error(), (400, expected.to_string()), "{fields}");
        let body = answer.json();
        let id = answer.header("request-id");
        let whole = json!({"type": "error", "error": {"type": "invalid_request_error",
            "message": expected}, "request_id": id});
        assert_eq!(body, whole);
    }
}

#[tokio::test]
async fn valid_requests_are_accepted() {
    let server = serve(hello()).await;
    let marked = json!({"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}});
    let cases = [
        json!({"messages": [user("one"), user("hello")]}),
        // Results in two messages of the same role are one message.
        json!({"messages": [user("hello"), message("assistant",
            json!([tool_use("a"), tool_use("b")])), message("user", json!([tool_result("b")])),
                message("user", json!([tool_result("a"), text("hello")]))]}),
        json!({"messages": [user("hello"), message("system", json!("be brief"))]}),
        json!({"messages": [message("user",
            json!([{"type": "from_the_future", "x": 1}, text("hello")]))]}),
        json!({"messages": [message("user", json!([marked, marked, marked]))],
            "cache_control": {"type": "ephemeral"}}),
        json!({"messages": [user("hello"), message("assistant",
            json!([{"type": "redacted_thinking", "data": "x"}, text("a")])), user("hello")]}),
        json!({"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "mcp_toolset",
            "mcp_server_name": "x"}]}),
        json!({"temperature": 1, "system": "", "stop_sequences": ["x"],
            "metadata": {"user_id": "u"}}),
    ];
    for fields in cases {
        let answer = post(&server, MESSAGES, &with(fields.clone())).await;
        assert_eq!(
            (answer.status, answer.text.contains("\"hi\"")),
            (200, true),
            "{fields}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn each_version_of_the_api_has_rules_of_its_own() {
    let server = serve(hello()).await;
    let hot = with(json!({"temperature": 1.0}));
    let document = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain",
        "data": "x"}});
    let shown = with(json!({"messages": [user("hello"), message("assistant", json!([document])),
            user("hello")]}));
    let cited = json!({"type": "text", "text": "hello", "citations": [{"type": "char_location"}]});
    let cited = with(json!({"messages": [message("user", json!([cited]))]}));
    let cases = [
        (None, with(json!({})), "anthropic-version: header is required"),
        (
            Some("2099-01-01"),
            with(json!({})),
            "anthropic-version: \"2099-01-01\" is not a valid version",
        ),
        (Some("2026-10-21"), hot.clone(), "temperature: Extra inputs are not permitted"),
        (
            Some("2026-10-21"),
            shown.clone(),
            "messages.1.content.0: `document` blocks are not allowed in `assistant` messages",
        ),
        (
            Some("2026-10-21"),
            cited.clone(),
            "messages.0.content.0.text.citations: citations are not allowed in `user` messages",
        ),
        (Some("2026-10-21"), with(json!({})), ""),
        (Some("2023-06-01"), hot, ""),
        (Some("2023-06-01"), shown, ""),
        (Some("2023-06-01"), cited, ""),
    ];
    for (version, body, expected) in cases {
        let answer = post_text(&server, MESSAGES, version, body.to_string()).await;
        let status = if expected.is_empty() { 200 } else { 400 };
        assert_eq!(answer.error(), (status, expected.to_string()), "{version:?} {body}");
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_or_too_long_are_refused() {
    let server = serve(hello()).await;
    let answer = post_text(&server, MESSAGES, Some("2023-06-01"), "{\"model\": ".into()).await;
    assert_eq!(
        answer.error(),
        (
            400,
            "The request body is not valid JSON: EOF while parsing a value at line 1 column 10"
                .into()
        )
    );
    let answer = post_text(&server, CHAT, None, "[1".into()).await;
    assert_eq!(
        answer.error(),
        (
            400,
            "We could not parse the JSON body of your request: EOF while parsing a list at line \
               1 column 2"
                .into()
        )
    );
    let answer =
        post_text(&server, MESSAGES, Some("2023-06-01"), "x".repeat(32 * 1024 * 1024 + 1)).await;
    assert_eq!(answer.error(), (413, "Request exceeds the maximum size".into()));
    assert_eq!(answer.json()["error"]["type"], "request_too_large");
}

#[tokio::test]
async fn thinking_is_bound_to_what_precedes_it() {
    let server = serve(script([scene(
        "hello",
        [call("bash", json!({})).think("Hm."), call("bash", json!({})).think("So."), say("hi")],
    )]))
    .await;
    let messages = json!(converse(&server, "hello", |_, _| "ok".into()).await[..5]);
    assert_eq!(messages[1]["content"][0]["thinking"], "Hm.");
    let request = |messages: &Value, system: &str| {
        let mut request = ask(messages.clone());
        request["system"] = json!(system);
        request
    };
    let edited = |pointer: &str, value: Value| {
        let mut messages = messages.clone();
        *messages.pointer_mut(pointer).unwrap() = value;
        messages
    };
    let without = |places: &[usize]| {
        let mut messages = messages.clone();
        for place in places {
            messages[place]["content"].as_array_mut().unwrap().remove(0);
        }
        messages
    };
    let modified = |place: usize| {
        format!(
            "messages.{place}.content.0: `thinking` or `redacted_thinking` blocks in an \
             `assistant` message cannot be modified. These blocks must remain as they were in the \
             original response."
        )
    };
    let bound = |place: usize| {
        format!(
            "messages.{place}.content.0: this `thinking` block is bound to a different \
             conversation: the system prompt, the tools or the messages before it have changed \
             since it was made."
        )
    };
    // A list instead of a text, and a cache mark: the model sees the same.
    let marked = json!([{"text": "hello", "type": "text", "cache_control": {"type": "ephemeral"}}]);
    let cases = [
        (request(&messages, ""), String::new()),
        (request(&edited("/0/content", marked), ""), String::new()),
        (request(&without(&[1, 3]), ""), String::new()),
        (request(&without(&[1]), ""), String::new()),
        (request(&without(&[1, 3]), "new"), String::new()),
        (request(&edited("/1/content/0/thinking", json!("Ha.")), ""), modified(1)),
        (request(&edited("/3/content/0/signature", json!("x")), ""), modified(3)),
        (request(&messages, "new"), bound(1)),
        (request(&edited("/0/content", json!("hello you")), ""), bound(1)),
        (request(&edited("/2/content/0/content", json!("(cleared)")), ""), bound(3)),
    ];
    for (request, expected) in cases {
        let status = if expected.is_empty() { 200 } else { 400 };
        assert_eq!(
            post(&server, MESSAGES, &request).await.error(),
            (status, expected),
            "{request}"
        );
    }
}

#[tokio::test]
async fn only_the_oldest_thinking_may_be_left_out() {
    let server = serve(script([scene(
        "hello",
        [call("bash", json!({})).think("Hm.").repeat(3), say("hi")],
    )]))
    .await;
    let whole = json!(converse(&server, "hello", |_, _| "ok".into()).await[..7]);
    for (left_out, status) in
        [(&[1][..], 200), (&[1, 3], 200), (&[1, 3, 5], 200), (&[3], 400), (&[5], 200)]
    {
        let mut messages = whole.clone();
        for place in left_out {
            messages[place]["content"].as_array_mut().unwrap().remove(0);
        }
        let answer = post(&server, MESSAGES, &ask(messages)).await;
        assert_eq!(answer.status, status, "{left_out:?} {}", answer.text);
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_answered() {
    let server = serve(hello()).await;
    let get = |path: &'static str, version: Option<&'static str>| {
        let mut request = client().get(format!("{}{path}", server.url()));
        if let Some(version) = version {
            request = request.header("anthropic-version", version);
        }
        async move {
            let response = request.send().await.unwrap();
            (
                response.status().as_u16(),
                serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap(),
            )
        }
    };
    let (status, body) = get("/v1/nothing", None).await;
    let error = json!({"type": "not_found_error", "message": "Not found"});
    assert_eq!((status, &body["error"]), (404, &error));
    let (status, body) = get("/v1/messages", None).await;
    let message = "Method Not Allowed: /v1/messages takes POST";
    assert_eq!((status, body["error"]["message"].as_str()), (405, Some(message)));
    let (status, body) = get("/v1/chat/nothing", None).await;
    let error = json!({"message": "Invalid URL (GET /v1/chat/nothing)",
        "type": "invalid_request_error", "param": null, "code": "not_found"});
    assert_eq!((status, &body["error"]), (404, &error));
    let (status, body) = get("/v1/models/rehearsal", Some("2023-06-01")).await;
    let model = json!({"type": "model", "id": "rehearsal", "display_name": "rehearsal (rehearsed)",
        "created_at": "2026-01-01T00:00:00Z", "max_input_tokens": 1_000_000,
        "max_tokens": 128_000});
    assert_eq!((status, body), (200, model));
    let (status, body) = get("/v1/models/rehearsal", None).await;
    assert_eq!((status, &body["object"]), (200, &json!("model")));
    let (status, body) = get("/v1/models/unknown", Some("2023-06-01")).await;
    assert_eq!((status, &body["error"]["message"]), (404, &json!("model: unknown")));
    let (_, body) = get("/v1/models", Some("2023-06-01")).await;
    assert_eq!((&body["data"][0]["id"], &body["has_more"]), (&json!("rehearsal"), &json!(false)));
    let (_, body) = get("/v1/models", None).await;
    assert_eq!(body["object"], "list");
}
