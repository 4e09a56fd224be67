//! A server, and a client that reads its responses without a library for the API.
#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(clippy::needless_pass_by_value, reason = "json!(..) is an argument everywhere")]
use rehearsal::{Script, Server};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub(crate) async fn serve(script: impl TryInto<Script, Error: std::fmt::Debug>) -> Server {
    script.try_into().unwrap().record(true).serve().await.unwrap()
}

/// One client for all tests, because making one reads the system's certificates. It keeps no
/// connections: they belong to the runtime of the test that made them.
pub(crate) fn client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap()
    });
    &CLIENT
}

pub(crate) const MESSAGES: &str = "/v1/messages";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A response.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    /// Whether the body was cut.
    pub cut: bool,
    /// The sizes of the pieces in which it arrived.
    pub pieces: Vec<usize>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The data of the events; what is not JSON as a text.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
    }

    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        (self.status, body["error"]["message"].as_str().unwrap_or_default().to_string())
    }
}

pub(crate) async fn post_text(
    server: &Server,
    path: &str,
    version: Option<&str>,
    body: String,
) -> Answer {
    let mut request = client().post(format!("{}{path}", server.url())).body(body);
    if let Some(version) = version {
        request = request.header("anthropic-version", version);
    }
    let mut response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let (mut bytes, mut pieces) = (vec![], vec![]);
    let cut = loop {
        match response.chunk().await {
            Ok(Some(piece)) => {
                pieces.push(piece.len());
                bytes.extend_from_slice(&piece);
            }
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), cut, pieces }
}

pub(crate) async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    post_text(server, path, Some("2023-06-01"), body.to_string()).await
}

/// A request in the Messages format.
pub(crate) fn ask(messages: Value) -> Value {
    json!({"model": "rehearsal", "max_tokens": 1000, "messages": messages})
}

/// A request that is streamed.
pub(crate) fn stream(mut request: Value) -> Value {
    request["stream"] = json!(true);
    request
}

pub(crate) fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

/// Plays one prompt to its end, answering each call with `answer(name, input)`; returns all
/// messages.
pub(crate) async fn converse(
    server: &Server,
    prompt: &str,
    answer: impl Fn(&str, &Value) -> String,
) -> Vec<Value> {
    let mut messages = vec![user(prompt)];
    loop {
        let reply = post(server, MESSAGES, &ask(json!(messages))).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let content = reply.json()["content"].clone();
        messages.push(json!({"role": "assistant", "content": content}));
        let calls = content.as_array().unwrap().iter().filter(|block| block["type"] == "tool_use");
        let results: Vec<Value> = calls
            .map(|call| {
                let text = answer(call["name"].as_str().unwrap(), &call["input"]);
                json!({"type": "tool_result", "tool_use_id": call["id"], "content": text})
            })
            .collect();
        if results.is_empty() {
            return messages;
        }
        messages.push(json!({"role": "user", "content": results}));
    }
}

/// The text of the last message.
pub(crate) fn last_text(messages: &[Value]) -> &str {
    messages.last().and_then(|message| message["content"][0]["text"].as_str()).unwrap_or_default()
}
