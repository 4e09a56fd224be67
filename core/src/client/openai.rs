//! Chat Completions: the same conversation in the other wire format.
//!
//! It has no blocks: text, calls and thinking are fields of a message, each tool result is a
//! message of its own, and arguments are JSON inside a string. Servers differ in details, so
//! reading is lenient where nothing can go wrong.
use super::stream::{Broken, DONE, Decode};
use super::{Delta, Endpoint, Reply, Request, StopReason, Usage, as_object};
use crate::{Block, Message, Role};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn body(endpoint: &Endpoint, request: &Request, stream: bool) -> Vec<u8> {
    let mut messages: Vec<Value> = vec![];
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system.join("\n\n")}));
    }
    for message in &request.messages {
        match message.role {
            Role::User => user(message, &mut messages),
            Role::Assistant => messages.push(assistant(message)),
        }
    }
    // The vendor's newest models refuse the old name, most other servers know only that.
    let vendor = endpoint.base_url.contains("api.openai.com");
    let bound = if vendor { "max_completion_tokens" } else { "max_tokens" };
    let model = request.model.as_deref().unwrap_or(&endpoint.model);
    let max_tokens = endpoint.max_tokens(request.max_tokens, stream);
    let mut body = json!({"model": model, bound: max_tokens, "messages": messages});
    if stream {
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
    }
    let tools = request.tools.iter().map(|tool| {
        let (name, description, parameters) = (&tool.name, &tool.description, &tool.input_schema);
        json!({"type": "function", "function":
            {"name": name, "description": description, "parameters": parameters}})
    });
    if !request.tools.is_empty() {
        body["tools"] = tools.collect();
    }
    for (key, value) in &request.extra {
        if body.get(key).is_none() {
            body[key] = value.clone();
        }
    }
    serde_json::to_vec(&body).expect("a JSON value is JSON")
}

fn user(message: &Message, out: &mut Vec<Value>) {
    let mut parts: Vec<Value> = vec![];
    for block in &message.content {
        if let Block::ToolResult { tool_use_id, content, is_error } = block {
            let text: String = content.iter().filter_map(Block::as_text).collect();
            // The format has no flag for failure, so the words must say it.
            let text = if *is_error { format!("Error: {text}") } else { text };
            out.push(json!({"role": "tool", "tool_call_id": tool_use_id, "content": text}));
            // A tool message holds text alone; pictures follow in the person's name.
            parts.extend(content.iter().filter(|b| b.as_text().is_none()).filter_map(part));
        } else {
            parts.extend(part(block));
        }
    }
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    match parts.len() {
        0 => {}
        // Some servers know content only as a string.
        n if n == texts.len() => out.push(json!({"role": "user", "content": texts.join("\n\n")})),
        _ => out.push(json!({"role": "user", "content": parts})),
    }
}

fn part(block: &Block) -> Option<Value> {
    match block {
        Block::Text { text, .. } => Some(json!({"type": "text", "text": text})),
        Block::Image { source, .. } => {
            let url = match source["url"].as_str() {
                Some(url) => url.to_string(),
                None => data_url(source)?,
            };
            Some(json!({"type": "image_url", "image_url": {"url": url}}))
        }
        Block::Document { source, .. } if source["type"] == "text" => {
            Some(json!({"type": "text", "text": source["data"].as_str()?}))
        }
        Block::Document { source, .. } => {
            let file = json!({"filename": "document.pdf", "file_data": data_url(source)?});
            Some(json!({"type": "file", "file": file}))
        }
        _ => None,
    }
}

fn data_url(source: &Value) -> Option<String> {
    let (kind, data) = (source["media_type"].as_str()?, source["data"].as_str()?);
    Some(format!("data:{kind};base64,{data}"))
}

fn assistant(message: &Message) -> Value {
    let text = message.text();
    let calls: Vec<Value> = message.content.iter().filter_map(call).collect();
    if calls.is_empty() {
        return json!({"role": "assistant", "content": text});
    }
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let mut out = json!({"role": "assistant", "content": content});
    // Those who send it (DeepSeek and its like) want it back with the calls it led to, or answer
    // 400; the others never sent any, so none is here to confuse them.
    let thinking: String = message.content.iter().filter_map(Block::as_thinking).collect();
    if !thinking.is_empty() {
        out["reasoning_content"] = thinking.into();
    }
    out["tool_calls"] = calls.into();
    out
}

fn call(block: &Block) -> Option<Value> {
    let Block::ToolUse { id, name, input, .. } = block else { return None };
    let arguments = as_object(input).to_string();
    Some(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
}

/// What a server says in one message, or in one delta of it.
struct Said<'a> {
    thinking: String,
    /// Content and refusal, unless they are empty.
    texts: Vec<String>,
    refused: bool,
    calls: &'a [Value],
}

impl<'a> Said<'a> {
    fn of(message: &'a Value) -> Self {
        let word = |key: &str| match &message[key] {
            Value::String(text) => text.clone(),
            // Content may also come in parts, as it is sent.
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        };
        // DeepSeek's name for thinking, and the other name in use; some send both, with the same
        // text.
        let thinking = ["reasoning_content", "reasoning"].map(word);
        let thinking = thinking.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let mut texts = vec![word("content"), word("refusal")];
        let refused = !texts[1].is_empty();
        texts.retain(|text| !text.is_empty());
        let calls = message["tool_calls"].as_array().map_or(&[][..], Vec::as_slice);
        Said { thinking, texts, refused, calls }
    }
}

/// A call, under an id of our own where the server gives none: unlike any other in the
/// conversation.
fn call_block(call: &Value, input: Value) -> Block {
    let id = match call["id"].as_str() {
        Some(id) if !id.is_empty() => id.to_string(),
        _ => format!("call_{:016x}", fastrand::u64(..)),
    };
    let name = call["function"]["name"].as_str().unwrap_or("").into();
    Block::ToolUse { id, name, input, more: Map::new() }
}

/// Arguments as an object; what is no JSON stays text, so that dispatch can tell the model.
fn arguments(given: &Value) -> Value {
    match given {
        Value::Null => json!({}),
        Value::String(text) if text.trim().is_empty() => json!({}),
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| given.clone()),
        // Some servers forget to put it into a string.
        object => object.clone(),
    }
}

pub(super) fn reply(bytes: &[u8]) -> Result<Reply, String> {
    let answer: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let choice = answer["choices"].get(0).ok_or("no `choices`")?;
    if !choice["message"].is_object() {
        return Err("no `message`".into());
    }
    let said = Said::of(&choice["message"]);
    let mut content = vec![];
    if !said.thinking.is_empty() {
        content.push(Block::thinking(&said.thinking, ""));
    }
    content.extend(said.texts.into_iter().map(Block::text));
    let calls = said.calls.iter();
    content.extend(calls.map(|call| call_block(call, arguments(&call["function"]["arguments"]))));
    let reason = choice["finish_reason"].as_str().unwrap_or("stop");
    Ok(Reply {
        message: Arc::new(Message::assistant(content)),
        usage: usage(&answer["usage"]),
        stop: stop(reason, !said.calls.is_empty(), said.refused),
    })
}

fn stop(reason: &str, calls: bool, refused: bool) -> StopReason {
    match reason {
        "length" => StopReason::MaxTokens,
        "content_filter" => StopReason::Refusal { category: "content_filter".into() },
        "stop" | "tool_calls" | "function_call" if refused => {
            StopReason::Refusal { category: String::new() }
        }
        // Some servers say "stop" although calls are there.
        "stop" | "tool_calls" | "function_call" if calls => StopReason::ToolUse,
        "stop" | "tool_calls" | "function_call" => StopReason::EndTurn,
        other => StopReason::Other(other.into()),
    }
}

/// `prompt_tokens` includes the cached ones, which the Messages API counts apart.
fn usage(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let details = &usage["prompt_tokens_details"];
    let read = count(&details["cached_tokens"]).max(count(&usage["prompt_cache_hit_tokens"]));
    let written = count(&details["cache_write_tokens"]);
    Usage {
        input_tokens: count(&usage["prompt_tokens"]).saturating_sub(read + written),
        output_tokens: count(&usage["completion_tokens"]),
        cache_creation_input_tokens: written,
        cache_read_input_tokens: read,
        ..Usage::default()
    }
}

/// Chunks into deltas. The blocks that the format lacks are opened here.
#[derive(Default)]
pub(super) struct Decoder {
    /// What has been opened, and as which block.
    blocks: BTreeMap<Part, usize>,
    refused: bool,
    finished: bool,
    ended: bool,
}

/// What becomes a block of its own: all thinking, all text, each call by the server's index.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Thinking,
    Text,
    Call(u64),
}

impl Decode for Decoder {
    fn event(&mut self, chunk: Value) -> Result<Vec<Delta>, Broken> {
        if chunk == DONE {
            if !self.finished {
                return Err(Broken::Event("[DONE] without a finish_reason".into()));
            }
            self.ended = true;
            return Ok(vec![]);
        }
        if !chunk["error"].is_null() {
            let status = chunk["error"]["code"].as_u64().or(chunk["error"]["status"].as_u64());
            let status = status.and_then(|status| status.try_into().ok()).unwrap_or(500);
            return Err(Broken::Api { status, body: chunk });
        }
        let mut out = vec![];
        if let Some(choice) = chunk["choices"].get(0) {
            self.said(Said::of(&choice["delta"]), &mut out);
            if let Some(reason) = choice["finish_reason"].as_str()
                && !self.finished
            {
                out.extend((0..self.blocks.len()).map(|index| Delta::Close { index }));
                let calls = self.newest_call().is_some();
                out.push(Delta::Stop(stop(reason, calls, self.refused)));
                self.finished = true;
            }
        }
        if chunk["usage"].is_object() {
            out.push(Delta::Usage(usage(&chunk["usage"])));
        }
        Ok(out)
    }

    fn ended(&self) -> bool {
        self.ended
    }

    /// Some servers leave `[DONE]` out.
    fn complete(&self) -> bool {
        self.finished
    }
}

impl Decoder {
    fn said(&mut self, said: Said<'_>, out: &mut Vec<Delta>) {
        if !said.thinking.is_empty() {
            let index = self.open(Part::Thinking, out, || Block::thinking("", ""));
            out.push(Delta::Thinking { index, text: said.thinking });
        }
        self.refused |= said.refused;
        for text in said.texts {
            let index = self.open(Part::Text, out, || Block::text(""));
            out.push(Delta::Text { index, text });
        }
        for call in said.calls {
            // Some servers leave out the index; then an id begins a call, and what has none
            // continues the newest.
            let has_id = call["id"].as_str().is_some_and(|id| !id.is_empty());
            let key = match (call["index"].as_u64(), self.newest_call()) {
                (Some(index), _) => index,
                (None, Some(newest)) if has_id => newest + 1,
                (None, newest) => newest.unwrap_or(0),
            };
            let index = self.open(Part::Call(key), out, || call_block(call, json!({})));
            let json = match &call["function"]["arguments"] {
                Value::String(text) => text.clone(),
                Value::Null => continue,
                object => object.to_string(),
            };
            if !json.is_empty() {
                out.push(Delta::Arguments { index, json });
            }
        }
    }

    fn newest_call(&self) -> Option<u64> {
        let Some((Part::Call(index), _)) = self.blocks.last_key_value() else { return None };
        Some(*index)
    }

    /// The index of this part's block, which is opened when the part begins.
    fn open(&mut self, part: Part, out: &mut Vec<Delta>, block: impl FnOnce() -> Block) -> usize {
        let next = self.blocks.len();
        *self.blocks.entry(part).or_insert_with(|| {
            out.push(Delta::Open { index: next, block: block() });
            next
        })
    }
}
