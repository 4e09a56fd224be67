//! Chat Completions: the same conversation in the other wire format.
//!
//! It has no blocks: text, calls and thinking are fields of a message, each tool result is a
//! message of its own, and arguments are JSON inside a string. Servers differ in details, so
//! reading is lenient where nothing can go wrong.
use super::stream::{DONE, Decode};
use super::{Delta, Endpoint, Reply, Request, Usage, as_object, stop, wire_id, wire_name};
use crate::{Block, Message, Role, block::CHAT};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The fields of a message that become blocks here; all others are kept as they come.
const MESSAGE: [&str; 6] =
    ["role", "content", "refusal", "tool_calls", "function_call", "reasoning_content"];
/// The same of a call and of the function in it.
const CALL: [&str; 6] = ["index", "id", "type", "function", "name", "arguments"];
/// What stands between results and a message of the person for servers that want a word of the
/// model there.
const BRIDGE: &str = "I have the results.";

/// The request. With `bridged`, a reply stands between results and what the person or the harness
/// says after them: some servers (Mistral's) accept no user message there.
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
    for block in &message.content {
        if let Block::ToolResult { tool_use_id, content, is_error } = block {
            let text: String = content.iter().filter_map(Block::as_text).collect();
            // The format has no flag for failure, so the words must say it.
            let text = if *is_error { format!("Error: {text}") } else { text };
            let id = wire_id(tool_use_id, |_| true);
            out.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
            // A tool message holds text alone; pictures follow in the person's name.
            parts.extend(content.iter().filter(|b| b.as_text().is_none()).filter_map(part));
        } else {
            parts.extend(part(block));
        }
    }
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    if bridged && !parts.is_empty() && out.last().is_some_and(|last| last["role"] == "tool") {
        out.push(json!({"role": "assistant", "content": BRIDGE}));
    }
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
    let mut call = json!({"id": wire_id(id, |_| true), "type": "function", "function":
        {"name": wire_name(name), "arguments": as_object(input).to_string()}});
    if let Some(more) = more.get(CHAT) {
        merge(&mut call, more);
    }
    Some(call)
}

/// What a server says in one message, or in one delta of it.
struct Said {
    thinking: String,
    /// Content and refusal, unless they are empty.
    texts: Vec<String>,
    refused: bool,
    calls: Vec<Value>,
    /// All other fields that say something.
    more: Map<String, Value>,
}

impl Said {
    fn of(message: &Value) -> Self {
        let word = |key: &str| text_of(&message[key]);
        // DeepSeek's name for thinking, and the other name in use; some send both, with the same
        // text.
        let thinking = ["reasoning_content", "reasoning"].map(word);
        let thinking = thinking.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let mut texts = vec![word("content"), word("refusal")];
        let refused = !texts[1].is_empty();
        texts.retain(|text| !text.is_empty());
        let mut calls = match &message["tool_calls"] {
            Value::Array(calls) => calls.clone(),
            one => vec![one.clone()],
        };
        // The older form, of which there is one at most.
        calls.push(json!({"function": message["function_call"]}));
        calls.retain(|call| call["id"].is_string() || call["function"].is_object());
        let mut more = more(message, &MESSAGE);
        if let Value::Array(parts) = &message["content"]
            && parts.iter().any(|part| part["type"] != "text" && part["type"].is_string())
        {
            more.insert("content".into(), parts.clone().into());
        }
        Said { thinking, texts, refused, calls, more }
    }
}

/// The text of a content, which may come in parts, as it is sent.
fn text_of(content: &Value) -> String {
    match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect(),
        Value::Object(part) => part.get("text").map_or(String::new(), text_of),
        other => other.to_string(),
    }
}

/// The fields that are not known and say something.
fn more(fields: &Value, known: &[&str]) -> Map<String, Value> {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let fields = fields.as_object().into_iter().flatten();
    let unknown =
        fields.filter(|(key, value)| !known.contains(&key.as_str()) && !says_nothing(value));
    unknown.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Adds what a later piece of a stream says: texts grow, lists too, all else is replaced.
fn merge(whole: &mut Value, piece: &Value) {
    match (whole, piece) {
        (Value::Object(whole), Value::Object(piece)) => {
            for (key, value) in piece {
                merge(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(whole), Value::Array(piece)) => whole.extend_from_slice(piece),
        // Names are repeated, texts come in pieces.
        (Value::String(whole), Value::String(piece)) if whole != piece => whole.push_str(piece),
        (whole, piece) if !piece.is_null() => *whole = piece.clone(),
        _ => {}
    }
}

/// A call, under an id of our own where the server gives none: unlike any other in the
/// conversation.
fn call_block(call: &Value, input: Value) -> Block {
    let id = match text_of(&call["id"]) {
        id if id.is_empty() => format!("call_{:016x}", fastrand::u64(..)),
        id => id,
    };
    let mut kept = more(call, &CALL);
    let function = more(&call["function"], &CALL);
    if !function.is_empty() {
        kept.insert("function".into(), function.into());
    }
    let mut more = Map::new();
    if !kept.is_empty() {
        more.insert(CHAT.into(), kept.into());
    }
    Block::ToolUse { id, name: text_of(&call["function"]["name"]), input, more }
}

/// Arguments as an object; what is no JSON stays text, so that dispatch can tell the model.
fn arguments(call: &Value) -> Value {
    match &call["function"]["arguments"] {
        Value::Null => json!({}),
        Value::String(text) => rungs_json::arguments(text),
        // Some servers forget to put it into a string.
        object => object.clone(),
    }
}

/// The choice that was asked for: the first. Others come if a proxy asks for them.
fn choice(answer: &Value) -> Option<(&Value, &Value)> {
    let mut choices = answer["choices"].as_array()?.iter();
    let choice = choices.find(|choice| choice["index"].as_u64().unwrap_or(0) == 0)?;
    let said = [&choice["delta"], &choice["message"]].into_iter().find(|said| said.is_object());
    Some((choice, said.unwrap_or(&Value::Null)))
}

pub(super) fn reply(answer: &Value) -> Result<Reply, String> {
    let (choice, message) = choice(answer).ok_or("no `choices`")?;
    if message.is_null() {
        return Err("no `message`".into());
    }
    let said = Said::of(message);
    let mut content = vec![];
    if !said.thinking.is_empty() {
        content.push(Block::thinking(&said.thinking, ""));
    }
    content.extend(said.texts.into_iter().map(Block::text));
    content.extend(said.calls.iter().map(|call| call_block(call, arguments(call))));
    content.extend(Block::beside(&said.more));
    let stop = stop(&choice["finish_reason"], &Value::Null, !said.calls.is_empty(), said.refused);
    Ok(Reply {
        message: Arc::new(Message::assistant(content)),
        usage: usage(&answer["usage"]),
        stop,
    })
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
    more: Value,
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
        if let Some((choice, delta)) = choice(chunk) {
            self.said(Said::of(delta), &mut out);
            // Some servers send an empty one with every chunk.
            if choice["finish_reason"].as_str().is_some_and(|reason| !reason.is_empty()) {
                self.reason = choice["finish_reason"].clone();
            }
        }
        if chunk["usage"].is_object() {
            out.push(Delta::Usage(usage(&chunk["usage"])));
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
            let json = match arguments(call) {
                Value::String(broken) => broken,
                value => value.to_string(),
            };
            push(call_block(call, json!({})), Some(json));
        }
        if let Some(block) = self.more.as_object().and_then(Block::beside) {
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
        merge(&mut self.more, &said.more.into());
        for call in said.calls {
            self.piece(call);
        }
    }

    /// A piece of a call belongs to the newest call with its id and its index, as far as it has
    /// them. One with a name begins another call where that has a name already, unless it repeats
    /// it: some servers give all calls the same index, some leave out both.
    fn piece(&mut self, mut piece: Value) {
        if !piece["function"].is_object() {
            piece["function"] = json!({});
        }
        let text = match piece["function"]["arguments"].take() {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        if piece["id"] == "" {
            piece["id"] = Value::Null;
        }
        let continues = |call: &&mut Value| {
            let agrees =
                |key: &str| call[key].is_null() || piece[key].is_null() || call[key] == piece[key];
            let (mine, its) = (&call["function"], text_of(&piece["function"]["name"]));
            let is_repeated = mine["name"] == its && arguments(call).is_string();
            let is_unnamed = its.is_empty() || mine["name"].is_null();
            agrees("id") && agrees("index") && (is_unnamed || is_repeated)
        };
        match self.calls.iter_mut().rev().find(continues) {
            Some(call) => {
                merge(call, &piece);
                if let Value::String(whole) = &mut call["function"]["arguments"] {
                    whole.push_str(&text);
                }
            }
            None => {
                piece["function"]["arguments"] = text.into();
                self.calls.push(piece);
            }
        }
    }
}
