//! Chat Completions: the same conversation in the other wire format.
//!
//! It has no blocks: text, calls and thinking are fields of a message, each tool result is a
//! message of its own, and arguments are JSON inside a string. Servers differ in details, so
//! reading is lenient where nothing can go wrong.
use super::stream::{DONE, Decode};
use super::{Delta, Endpoint, Reply, Request, Usage, stop};
use crate::{Block, Message, Role, block::CHAT};
use rungs_json::{Call, Said, add_call_piece, as_id, as_name, as_object, merge};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The model's word between results and what the person says or shows after them.
const BRIDGE: &str = "I have the results.";

/// The request. With `bridged`, no user message follows results, since some servers (Mistral's)
/// accept none there: what the harness inserts stands in the last result, and a word of the model
/// before what is the person's.
pub(super) fn body(endpoint: &Endpoint, request: &Request, stream: bool, bridged: bool) -> Vec<u8> {
    let mut messages: Vec<Value> = vec![];
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system.join("\n\n")}));
    }
    for message in &request.messages {
        match message.role {
            Role::User => user(message, bridged, &mut messages),
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

fn user(message: &Message, bridged: bool, out: &mut Vec<Value>) {
    let mut parts: Vec<Value> = vec![];
    let mut inserted = String::new();
    for block in &message.content {
        if let Block::ToolResult { tool_use_id, content, is_error } = block {
            let text: String = content.iter().filter_map(Block::as_text).collect();
            // The format has no flag for failure, so the words must say it.
            let text = if *is_error { format!("Error: {text}") } else { text };
            let id = as_id(tool_use_id, |_| true);
            out.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
            // A tool message holds text alone; pictures follow in the person's name.
            parts.extend(content.iter().filter(|b| b.as_text().is_none()).filter_map(part));
        } else if bridged
            && message.has_results()
            && let Some(text) = block.inserted_text()
        {
            inserted += &format!("\n\n{text}");
        } else {
            parts.extend(part(block));
        }
    }
    if bridged
        && let Some(last) = out.last_mut()
        && last["role"] == "tool"
    {
        last["content"] = (last["content"].as_str().unwrap_or("").to_string() + &inserted).into();
        if !parts.is_empty() {
            out.push(json!({"role": "assistant", "content": BRIDGE}));
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
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() };
    let mut out = json!({"role": "assistant", "content": content});
    for fields in message.content.iter().filter_map(Block::as_beside) {
        for (key, value) in fields {
            out[key] = value;
        }
    }
    if calls.is_empty() {
        return out;
    }
    // Those who send it (DeepSeek and its like) want it back with the calls it led to, or answer
    // 400; the others never sent any, so none is here to confuse them.
    let thinking: String = message.content.iter().filter_map(Block::as_thinking).collect();
    if !thinking.is_empty() && out.get("reasoning").is_none() {
        out["reasoning_content"] = thinking.into();
    }
    out["tool_calls"] = calls.into();
    out
}

fn call(block: &Block) -> Option<Value> {
    let Block::ToolUse { id, name, input, more } = block else { return None };
    let mut call = json!({"id": as_id(id, |_| true), "type": "function", "function":
        {"name": as_name(name), "arguments": as_object(input).to_string()}});
    if let Some(more) = more.get(CHAT) {
        merge(&mut call, more);
    }
    Some(call)
}

/// A call, under an id of our own where the server gives none: unlike any other in the
/// conversation.
fn call_block(call: Call) -> Block {
    let Call { mut id, name, arguments: input, beside } = call;
    if id.is_empty() {
        id = format!("call_{:016x}", fastrand::u64(..));
    }
    let more = Map::from_iter((!beside.is_empty()).then(|| (CHAT.into(), beside.into())));
    Block::ToolUse { id, name, input, more }
}

pub(super) fn reply(answer: &Value) -> Result<Reply, String> {
    let (said, reason) = Said::of(answer).ok_or("no `message` in `choices`")?;
    let mut content = vec![];
    if !said.thinking.is_empty() {
        content.push(Block::thinking(&said.thinking, ""));
    }
    content.extend(said.texts.into_iter().map(Block::text));
    content.extend(said.calls.iter().map(|call| call_block(Call::of(call))));
    content.extend(Block::beside(&said.beside));
    let stop = stop(reason, &Value::Null, !said.calls.is_empty(), said.refused);
    Ok(Reply {
        message: Arc::new(Message::assistant(content)),
        usage: Usage::of_completion(&answer["usage"]),
        stop,
    })
}

/// Chunks into deltas. The blocks that the format lacks are opened here. Calls are passed on at the
/// end, since their pieces come in any order and under any names.
#[derive(Default)]
pub(super) struct Decoder {
    /// The blocks of thinking and of text.
    thinking: Option<usize>,
    text: Option<usize>,
    /// How many blocks were opened.
    opened: usize,
    /// Put together from their pieces.
    calls: Vec<Value>,
    beside: Value,
    refused: bool,
    reason: Value,
    ended: bool,
}

impl Decode for Decoder {
    fn event(&mut self, chunk: &Value) -> Vec<Delta> {
        let mut out = vec![];
        if chunk == DONE {
            return self.finish();
        }
        if let Some((said, reason)) = Said::of(chunk) {
            self.said(said, &mut out);
            // Some servers send an empty one with every chunk.
            if reason.as_str().is_some_and(|reason| !reason.is_empty()) {
                self.reason = reason.clone();
            }
        }
        if chunk["usage"].is_object() {
            out.push(Delta::Usage(Usage::of_completion(&chunk["usage"])));
        }
        out
    }

    fn ended(&self) -> bool {
        self.ended
    }

    /// Some servers leave `[DONE]` out.
    fn end(&mut self) -> Option<Vec<Delta>> {
        (!self.reason.is_null()).then(|| self.finish())
    }
}

impl Decoder {
    fn finish(&mut self) -> Vec<Delta> {
        self.ended = true;
        let mut out: Vec<Delta> = (0..self.opened).map(|index| Delta::Close { index }).collect();
        let mut push = |block: Block, json: Option<String>| {
            let index = self.opened;
            self.opened += 1;
            out.push(Delta::Open { index, block });
            out.extend(json.map(|json| Delta::Arguments { index, json }));
            out.push(Delta::Close { index });
        };
        for call in &self.calls {
            let mut call = Call::of(call);
            let json = match std::mem::replace(&mut call.arguments, json!({})) {
                Value::String(broken) => broken,
                value => value.to_string(),
            };
            push(call_block(call), Some(json));
        }
        if let Some(block) = self.beside.as_object().and_then(Block::beside) {
            push(block, None);
        }
        let has_calls = !self.calls.is_empty();
        out.push(Delta::Stop(stop(&self.reason, &Value::Null, has_calls, self.refused)));
        out
    }

    fn said(&mut self, said: Said, out: &mut Vec<Delta>) {
        let mut open = |place: &mut Option<usize>, block: Block, out: &mut Vec<Delta>| {
            *place.get_or_insert_with(|| {
                out.push(Delta::Open { index: self.opened, block });
                self.opened += 1;
                self.opened - 1
            })
        };
        if !said.thinking.is_empty() {
            let index = open(&mut self.thinking, Block::thinking("", ""), out);
            out.push(Delta::Thinking { index, text: said.thinking });
        }
        for text in said.texts {
            let index = open(&mut self.text, Block::text(""), out);
            out.push(Delta::Text { index, text });
        }
        self.refused |= said.refused;
        merge(&mut self.beside, &said.beside.into());
        for piece in said.calls {
            add_call_piece(&mut self.calls, piece);
        }
    }
}
