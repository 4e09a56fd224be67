//! No reply leaves a conversation stuck: random malformed replies of both APIs, whole and streamed,
//! are played by a strict server, and each time a second question is asked and must be answered.
//! `SEED` repeats a run, `LONG=1` makes it twenty times as long.
use lessons::s01_loop::agent_loop;
use rehearsal::{say, scene, script};
use rungs_core::{
    Agent, Chat, Client, Context, Effect, Message, Model, Reply, Request, Result, Tool, ToolError,
    ToolOutput, ToolSpec,
    client::{Endpoint, Format},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How many replies one server plays: it remembers 1,000 requests.
const PER_SERVER: usize = 250;

/// Asks for a stream and puts the reply together from its deltas.
struct Streaming(Client);

impl Model for Streaming {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        Reply::from_deltas(self.0.stream(request, cx).await?).await
    }
}

/// Notes something.
#[derive(Deserialize, JsonSchema)]
struct Input {
    text: Option<String>,
    count: Option<u32>,
}

struct Note;

impl Tool for Note {
    type Input = Input;
    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Input>("note")
    }
    fn effect(&self, _: &Input) -> Effect {
        Effect::Internal
    }
    async fn call(&self, input: Input, _: &Context) -> Result<ToolOutput, ToolError> {
        Ok(format!("{:?} {:?}", input.text, input.count).into())
    }
}

/// Makes replies.
struct Maker(fastrand::Rng);

impl Maker {
    fn one_in(&mut self, n: u32) -> bool {
        self.0.u32(..n) == 0
    }

    fn choose<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())].clone()
    }

    /// A word that may be too long, of other characters, or no word at all; see [`Maker::bytes`].
    fn word(&mut self) -> Value {
        let words =
            ["", " ", "note", "text", "a b.c:d/ä", "\0", "HALF", "{\"text\": \"x\"}", "[1]"];
        match self.0.u32(..14) {
            0 => Value::Null,
            1 => json!(5),
            2 => json!("x".repeat(300)),
            3 => self.value(),
            _ => self.choose(&words).into(),
        }
    }

    fn value(&mut self) -> Value {
        let deep = |depth: usize| (0..depth).fold(json!("deep"), |inner, _| json!([inner]));
        match self.0.u32(..14) {
            0 => json!(true),
            1 => json!(-1.5),
            2 => json!(987_654_321),
            3 => json!([]),
            4 => json!({}),
            5 => json!([null, 5, "HALF"]),
            6 => json!({"text": "HALF", "count": "2"}),
            7 => json!({"text": null, "count": 2.0, "a": {"b": [1]}}),
            8 => deep(self.choose(&[3, 90, 100, 115])),
            9 => json!("DEEP"),
            _ => self.word(),
        }
    }

    /// Arguments as most models write them, or anything.
    fn arguments(&mut self) -> Value {
        let input =
            json!({"text": "HALF", "count": self.choose(&[json!(1), json!("2"), json!(2.0)])});
        match self.0.u32(..6) {
            0 => self.value(),
            1 => json!(input.to_string()),
            2 => json!(json!(input.to_string()).to_string()),
            3 => json!(input.to_string() + "{}"),
            4 => json!("{\"text\": \"cut"),
            _ => input,
        }
    }

    /// Changes some fields: another value, none, one more.
    fn spoil(&mut self, fields: Value) -> Value {
        let Value::Object(fields) = fields else { return fields };
        let mut spoiled = Map::new();
        for (key, value) in fields {
            match self.0.u32(..12) {
                0 => {}
                1 => _ = spoiled.insert(key, self.value()),
                2 => {
                    let key = self.choose(&[key, "extra".into(), "$origin".into()]);
                    spoiled.insert(key, value);
                }
                _ => _ = spoiled.insert(key, value),
            }
        }
        spoiled.into()
    }

    fn id(&mut self) -> Value {
        match self.0.u32(..3) {
            0 => self.word(),
            1 => json!("same"),
            _ => json!(format!("id_{}", self.0.u32(..))),
        }
    }

    fn name(&mut self) -> Value {
        if self.one_in(3) { self.word() } else { json!("note") }
    }

    /// A block of the Messages API. No server sends thinking with a signature that it refuses, so
    /// here it has none.
    fn block(&mut self) -> Value {
        let block = match self.0.u32(..14) {
            0 => json!({"type": "thinking", "thinking": self.word(), "signature": ""}),
            1 => json!({"type": "redacted_thinking", "data": self.word()}),
            2 => json!({"type": self.word(), "x": self.value()}),
            3 => json!({"type": "tool_result", "tool_use_id": self.id(), "content": self.value()}),
            4 => json!({"type": self.choose(&["image", "document"]), "source": self.value()}),
            5 | 6 => json!({"type": "text", "text": self.word(), "citations": self.value()}),
            7 => return self.value(),
            _ => {
                let (id, name, input) = (self.id(), self.name(), self.arguments());
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
        };
        let mut block = if self.one_in(2) { self.spoil(block) } else { block };
        if block["type"] == "thinking" && block["signature"].is_string() {
            block["signature"] = json!("");
        }
        block
    }

    fn reason(&mut self) -> Value {
        let whole = ["end_turn", "tool_use", "stop", "tool_calls", "STOP", "eos", ""];
        let others = ["length", "max_tokens", "refusal", "pause_turn", "error"];
        match self.0.u32(..8) {
            0 => self.value(),
            1 => json!(self.choose(&others)),
            _ => json!(self.choose(&whole)),
        }
    }

    fn message(&mut self) -> Value {
        let blocks: Vec<Value> = (0..self.0.u32(..7)).map(|_| self.block()).collect();
        let content = if self.one_in(12) { self.value() } else { blocks.into() };
        let message = json!({"type": "message", "role": "assistant", "content": content,
            "stop_reason": self.reason(), "usage": {"input_tokens": 5, "output_tokens": 7}});
        if self.one_in(4) { self.spoil(message) } else { message }
    }

    /// The events of a message, spoiled.
    fn events(&mut self) -> Vec<Value> {
        let mut events = vec![json!({"type": "message_start", "message": {"usage": {}}})];
        for index in 0..self.0.usize(..6) {
            let (mut block, mut deltas) = (self.block(), vec![]);
            for (key, kind, name) in [
                ("text", "text_delta", "text"),
                ("thinking", "thinking_delta", "thinking"),
                ("input", "input_json_delta", "partial_json"),
            ] {
                if block.get(key).is_some() && !self.one_in(6) {
                    let text = match std::mem::replace(&mut block[key], json!("")) {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    let half = text.chars().count() / 2;
                    let (first, second): (Vec<_>, Vec<_>) =
                        text.chars().enumerate().partition(|(at, _)| *at < half);
                    for part in [first, second] {
                        let part: String = part.into_iter().map(|(_, c)| c).collect();
                        deltas.push(json!({"type": kind, name: part}));
                    }
                }
            }
            events.push(
                json!({"type": "content_block_start", "index": index, "content_block": block}),
            );
            for delta in deltas {
                let delta = if self.one_in(8) { self.spoil(delta) } else { delta };
                events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        let delta = json!({"stop_reason": self.reason()});
        events
            .push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}}));
        events.push(json!({"type": "message_stop"}));
        self.shuffle(events)
    }

    /// Loses, repeats and spoils some.
    fn shuffle(&mut self, events: Vec<Value>) -> Vec<Value> {
        let mut shuffled = vec![];
        for event in events {
            match self.0.u32(..40) {
                0 => {}
                1 => shuffled.extend([event.clone(), event]),
                2 => shuffled.push(self.value()),
                3 | 4 => shuffled.push(self.spoil(event)),
                _ => shuffled.push(event),
            }
        }
        shuffled
    }

    fn call(&mut self) -> Value {
        let arguments = match self.arguments() {
            Value::Object(fields) if !self.one_in(6) => json!(Value::from(fields).to_string()),
            other => other,
        };
        let function = json!({"name": self.name(), "arguments": arguments});
        let function = if self.one_in(4) { self.spoil(function) } else { function };
        let call = json!({"index": 0, "id": self.id(), "type": "function", "function": function,
            "extra_content": self.value()});
        if self.one_in(3) { self.spoil(call) } else { call }
    }

    /// What a message or a delta of Chat Completions says.
    fn said(&mut self) -> Value {
        let mut said = json!({"role": "assistant", "content": self.word()});
        if self.one_in(2) {
            let calls: Vec<Value> = (0..self.0.u32(..4)).map(|_| self.call()).collect();
            said["tool_calls"] = calls.into();
        }
        if self.one_in(4) {
            said[self.choose(&["reasoning", "reasoning_content", "new", "function_call"])] =
                self.value();
        }
        if self.one_in(8) {
            let kind = self.choose(&["text", "thinking"]);
            said["content"] = json!([{"type": kind, "text": self.word()}, self.value()]);
        }
        if self.one_in(4) { self.spoil(said) } else { said }
    }

    fn completion(&mut self) -> Value {
        let choice = json!({"index": 0, "message": self.said(), "finish_reason": self.reason()});
        let choice = if self.one_in(6) { self.spoil(choice) } else { choice };
        let mut choices = vec![choice];
        if self.one_in(8) {
            choices.push(json!({"index": 1, "message": self.said()}));
        }
        let completion = json!({"choices": choices, "usage": {"prompt_tokens": 5}});
        if self.one_in(12) { self.spoil(completion) } else { completion }
    }

    fn chunks(&mut self) -> Vec<Value> {
        let mut chunks = vec![];
        for _ in 0..self.0.u32(1..5) {
            let reason =
                if self.one_in(6) { self.reason() } else { self.choose(&[json!(""), Value::Null]) };
            let choice = json!({"index": 0, "delta": self.said(), "finish_reason": reason});
            chunks.push(json!({"choices": [choice]}));
        }
        chunks
            .push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": self.reason()}]}));
        self.shuffle(chunks)
    }

    /// JSON as bytes, with what no JSON value can hold.
    fn bytes(&mut self, value: &Value) -> String {
        let half = self.choose(&["\\ud83d", "\\udc00\\ud800", "\u{1}", "\\d+", "\\u0000", "ä"]);
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let number = self.choose(&["1e999", "-1e999", "NaN", "1", "18446744073709551616"]);
        let text = value.to_string();
        let text = text.replace("HALF", half).replace("\"DEEP\"", &deep);
        text.replace("987654321", number)
    }

    /// A reply in this format, streamed or not, under some content type or other.
    fn reply(&mut self, format: Format, stream: bool) -> Value {
        let text = match (format, stream) {
            (Format::Anthropic, false) => {
                let message = self.message();
                self.bytes(&message)
            }
            (Format::OpenAi, false) => {
                let completion = self.completion();
                self.bytes(&completion)
            }
            (_, true) => {
                let events = match format {
                    Format::Anthropic => self.events(),
                    Format::OpenAi => self.chunks(),
                };
                let end = self.choose(&["\n\n", "\r\n\r\n", "\n\n: ping\n\n"]);
                let mut text = String::new();
                for event in events {
                    text += &format!("data: {}{end}", self.bytes(&event));
                }
                if format == Format::OpenAi && !self.one_in(6) {
                    text += "data: [DONE]\n\n";
                }
                text
            }
        };
        let text = match self.0.u32(..30) {
            0 => format!("\u{feff}{text}"),
            1 => format!("\n \r\n{text}"),
            2 => text.chars().take(text.chars().count() / 2).collect(),
            3 => text + "\0",
            _ => text,
        };
        let kind = self.choose(&["application/json", "text/event-stream", "text/plain"]);
        json!({"body": text, "content_type": kind})
    }
}

/// How the first questions ended, in words that can be counted.
type Ends = BTreeMap<String, usize>;

/// Plays replies, asks a second question after each, and counts how the first ones ended.
async fn play(format: Format, stream: bool, replies: &[Value], ends: &mut Ends) {
    // Each new conversation is one more attempt at the same request.
    let go = replies.iter().fold(say("no reply is left"), |turn, reply| turn.fault(reply.clone()));
    let scenes = [scene("^go$", [go]), scene("^again$", [say("answered")])];
    let server = script(scenes).record(true).serve().await.unwrap();
    let version = if format == Format::OpenAi { "/v1" } else { "" };
    let endpoint = Endpoint::new(format, &format!("{}{version}", server.url()), "rehearsal");
    let client = Client::new(endpoint).unwrap();
    let agent = match stream {
        true => Agent::new(Streaming(client), "."),
        false => Agent::new(client, "."),
    };
    let agent = agent.tool(Note);
    for reply in replies {
        let mut chat = Chat::default();
        chat.push(Message::kept("environment", "none"));
        let first = agent.run(&mut chat, "go", agent_loop).await;
        let end = match &first {
            Ok(_) if chat.messages().len() > 2 => "calls were answered".into(),
            Ok(_) => "text".into(),
            Err(error) => {
                let words = error.to_string();
                let words = words.split_once(": ").map_or(&*words, |(_, words)| words);
                words.chars().filter(|c| !c.is_ascii_digit()).take(40).collect()
            }
        };
        *ends.entry(end).or_default() += 1;
        let shown = format!("{format:?}, streamed: {stream}, {reply}");
        // As a session file keeps it.
        let file = serde_json::to_string(&chat).unwrap();
        let mut loaded: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!(loaded.messages(), chat.messages(), "{shown}");
        let second = agent.run(&mut loaded, "again", agent_loop).await;
        let second = second.unwrap_or_else(|error| panic!("{error}\n{shown}\n{file}"));
        assert_eq!(second.text(), "answered", "{shown}");
    }
    let refused = server.requests().into_iter().filter(|seen| seen.status != 200);
    let refused: Vec<Value> = refused.map(|seen| seen.body).collect();
    assert_eq!(refused, [Value::Null; 0]);
}

#[tokio::test]
async fn no_malformed_reply_leaves_a_conversation_stuck() {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    let long = std::env::var_os("LONG").is_some();
    println!("SEED={seed}");
    let mut maker = Maker(fastrand::Rng::with_seed(seed));
    let rounds = if long { 100 } else { 2 };
    for format in [Format::Anthropic, Format::OpenAi] {
        for stream in [false, true] {
            let mut ends = Ends::new();
            for _ in 0..rounds {
                let replies: Vec<Value> =
                    (0..PER_SERVER).map(|_| maker.reply(format, stream)).collect();
                play(format, stream, &replies, &mut ends).await;
            }
            let count: usize = ends.values().sum();
            println!("{count} replies, {format:?}, streamed: {stream}: {ends:#?}");
        }
    }
}
