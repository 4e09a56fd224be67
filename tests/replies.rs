//! Replies as servers really write them: what is meant is run and kept, what is not known comes
//! back as it came, and no reply leaves a conversation stuck. For the latter, random malformed
//! replies of both APIs, whole and streamed, are played by a strict server, and each time a second
//! question is asked and must be answered. `SEED` repeats that run, `LONG=1` makes it longer.
use lessons::s01_loop::agent_loop;
use rehearsal::{Server, call, say, scene, script};
use rungs_core::{
    Agent, Block, Chat, Client, Context, Effect, Layer, Message, Model, NextAsk, Recorder, Reply,
    Request, Result, Tool, ToolError, ToolOutput, ToolSpec,
    client::{Endpoint, Format},
    tools,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
};

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
        if block["type"] == "thinking" && block.get("signature").is_some() {
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

const FORMATS: [Format; 2] = [Format::Anthropic, Format::OpenAi];

/// A server that answers the prompt `go` with this body, which is announced as plain text, and an
/// agent that asks for whole replies, or for streams.
async fn agent(format: Format, body: &str, streaming: bool) -> (Agent, Server) {
    let go = say("").fault(json!({"body": body, "content_type": "text/plain"}));
    let scenes = [scene("^go$", [go]), scene("^again$", [say("answered")])];
    let server = script(scenes).record(true).serve().await.unwrap();
    let version = if format == Format::OpenAi { "/v1" } else { "" };
    let endpoint = Endpoint::new(format, &format!("{}{version}", server.url()), "rehearsal");
    let client = Client::new(endpoint).unwrap();
    let agent =
        if streaming { Agent::new(Streaming(client), ".") } else { Agent::new(client, ".") };
    (agent.tool(Note), server)
}

/// The events of a stream.
fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// A choice of Chat Completions; what it says is called `message`, or `delta` in a stream.
fn choice(index: u32, key: &str, said: &Value, reason: &Value) -> Value {
    json!({"index": index, key: said, "finish_reason": reason})
}

/// The same reply whole and as a stream: blocks, or a message of Chat Completions.
fn forms(format: Format, said: &Value, reason: &Value) -> [String; 2] {
    if format == Format::OpenAi {
        let all = |choice: Value| json!({"choices": [choice]});
        let begin = json!({"role": "assistant", "content": ""});
        let none_yet = &json!("");
        let deltas = [(&begin, none_yet), (said, none_yet), (&json!({}), reason)];
        let chunks = deltas.map(|(said, reason)| all(choice(0, "delta", said, reason)));
        let stream = events(&chunks) + "data: [DONE]\n\n";
        return [all(choice(0, "message", said, reason)).to_string(), stream];
    }
    let mut stream = vec![json!({"type": "message_start", "message": {}})];
    for (index, block) in said.as_array().unwrap().iter().enumerate() {
        stream.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        stream.push(json!({"type": "content_block_stop", "index": index}));
    }
    stream.push(json!({"type": "message_delta", "delta": {"stop_reason": reason}}));
    stream.push(json!({"type": "message_stop"}));
    [json!({"content": said, "stop_reason": reason}).to_string(), events(&stream)]
}

/// What a reply in this format says: a text, or calls of the tool `note`.
fn said(format: Format, text: &str, calls: &[(&str, Value)]) -> Value {
    if format == Format::OpenAi {
        let calls = calls.iter().enumerate().map(|(index, (id, input))| {
            let function = json!({"name": "note", "arguments": input.to_string()});
            json!({"index": index, "id": id, "type": "function", "function": function})
        });
        return json!({"content": text, "tool_calls": calls.collect::<Vec<_>>()});
    }
    let calls = calls
        .iter()
        .map(|(id, input)| json!({"type": "tool_use", "id": id, "name": "note", "input": input}));
    let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    text.into_iter().chain(calls).collect()
}

/// How turns end whose reply comes in each form, asked for in each way: the results of its calls,
/// or the error; what the second prompt was sent with, which must be answered.
async fn ends(format: Format, bodies: &[String]) -> Vec<(Result<Vec<String>, String>, Value)> {
    let mut ends = vec![];
    for body in bodies {
        for streaming in [false, true] {
            let (agent, server) = agent(format, body, streaming).await;
            let mut chat = Chat::default();
            let end = agent.run(&mut chat, "go", agent_loop).await;
            let second = agent.run(&mut chat, "again", agent_loop).await.unwrap();
            assert_eq!(second.text(), "answered", "{body}");
            let results = chat.messages().iter().filter(|message| message.has_results());
            let texts = results.flat_map(|message| message.blocks().filter_map(Block::as_text));
            let texts = texts.filter(|text| *text != "again").map(String::from).collect();
            let seen = server.requests();
            assert!(seen.iter().all(|seen| seen.status == 200), "{body}");
            let end = end.map(|_| texts).map_err(|error| error.to_string());
            ends.push((end, seen[seen.len() - 1].body["messages"].clone()));
        }
    }
    ends
}

#[tokio::test]
async fn whole_calls_run_and_whole_text_counts_whatever_the_reason_is_called() {
    let reasons = ["end_turn", "tool_use", "stop", "tool_calls", "STOP", "eos", "", "new_word"];
    for format in FORMATS {
        for reason in reasons.map(Value::from).into_iter().chain([Value::Null]) {
            let one = said(format, "", &[("one", json!({"count": 1}))]);
            for (end, _) in ends(format, &forms(format, &one, &reason)).await {
                assert_eq!(end, Ok(vec!["None Some(1)".into()]), "{format:?} {reason}");
            }
            for (end, _) in ends(format, &forms(format, &said(format, "hi", &[]), &reason)).await {
                assert_eq!(end, Ok(vec![]), "{format:?} {reason}");
            }
        }
    }
}

#[tokio::test]
async fn a_cut_reply_is_cut_in_the_words_of_either_api() {
    for format in FORMATS {
        let call = said(format, "half", &[("one", json!({"count": 1}))]);
        for reason in ["max_tokens", "length", "MAX_TOKENS"] {
            for (end, _) in ends(format, &forms(format, &call, &json!(reason))).await {
                let error = end.unwrap_err();
                assert!(error.starts_with("the reply was cut"), "{format:?} {reason}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn half_a_surrogate_pair_becomes_a_replacement_character() {
    for format in FORMATS {
        let reply = said(format, "I HALF.", &[("one", json!({"text": "smile HALF"}))]);
        let bodies = forms(format, &reply, &json!("tool_use"));
        for half in ["\\ud83d", "\\uDE00", "\\ud83d\\ud83d"] {
            // Arguments are JSON within a string.
            let bodies = bodies.clone().map(|body| match format {
                Format::Anthropic => body.replace("HALF", half),
                Format::OpenAi => body
                    .replace("I HALF", &format!("I {half}"))
                    .replace("HALF", &half.replace('\\', "\\\\")),
            });
            let marks = "\u{fffd}".repeat(half.len() / 6);
            for (end, messages) in ends(format, &bodies).await {
                assert_eq!(end, Ok(vec![format!("Some(\"smile {marks}\") None")]), "{format:?}");
                let sent = messages.to_string();
                assert!(sent.contains(&format!("I {marks}.")), "{format:?}: {sent}");
            }
        }
    }
}

#[tokio::test]
async fn calls_with_the_same_id_or_none_or_a_strange_one_all_run() {
    let long = "x".repeat(300);
    for format in FORMATS {
        for ids in
            [["same", "same"], ["", ""], ["functions.note:0", "functions.note:1"], [&long, "ä b"]]
        {
            let [first, second] = ids;
            let calls = [(first, json!({"count": 1})), (second, json!({"count": 2}))];
            let bodies = forms(format, &said(format, "", &calls), &json!("tool_use"));
            for (end, _) in ends(format, &bodies).await {
                let expected = ["None Some(1)", "None Some(2)"].map(String::from);
                assert_eq!(end, Ok(expected.to_vec()), "{format:?} {ids:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_of_nothing_is_refused_with_a_result() {
    let all = "there is no tool ``; the tools are note";
    let call = json!([{"type": "tool_use"}]);
    let bodies = forms(Format::Anthropic, &call, &json!("tool_use"));
    for (end, messages) in ends(Format::Anthropic, &bodies).await {
        assert_eq!(end, Ok(vec![all.into()]));
        assert_eq!(messages[1]["content"][0]["name"], "unnamed");
    }
    let calls = json!({"content": null, "tool_calls": [{"id": "one", "function": null}, null, 5]});
    for (end, messages) in
        ends(Format::OpenAi, &forms(Format::OpenAi, &calls, &json!("stop"))).await
    {
        assert_eq!(end, Ok(vec![all.into()]));
        assert_eq!(messages[1]["tool_calls"][0]["function"]["name"], "unnamed");
    }
}

#[tokio::test]
async fn fields_that_are_not_known_come_back_as_they_came() {
    let call = json!({"index": 0, "id": "one", "type": "function", "function":
        {"name": "note", "arguments": "{}", "provider": {"x": [1]}},
        "extra_content": {"google": {"thought_signature": "x"}}});
    let details = json!([{"type": "reasoning.encrypted", "data": "a==", "index": 0}]);
    let message = json!({"role": "assistant", "content": "hi", "refusal": null, "audio": null,
        "reasoning": "why", "reasoning_details": details, "tool_calls": [call]});
    for (end, messages) in
        ends(Format::OpenAi, &forms(Format::OpenAi, &message, &json!("stop"))).await
    {
        assert_eq!(end, Ok(vec!["None None".into()]));
        let mut call = call.clone();
        call.as_object_mut().unwrap().remove("index");
        let sent = json!({"role": "assistant", "content": "hi", "reasoning": "why",
            "reasoning_details": details, "tool_calls": [call]});
        assert_eq!(messages[1], sent);
    }
    let text = json!({"type": "text", "text": "hi", "new": {"x": 1.0}});
    let call = json!({"type": "tool_use", "id": "one", "name": "note", "input": {},
        "caller": {"type": "direct"}});
    let unknown = json!({"type": "new_block", "z": 1, "a": [1.50, "\u{e4}"]});
    let blocks = json!([text, unknown, call]);
    let bodies = forms(Format::Anthropic, &blocks, &json!("tool_use"));
    for (end, messages) in ends(Format::Anthropic, &bodies).await {
        assert_eq!((end, &messages[1]["content"]), (Ok(vec!["None None".into()]), &blocks));
    }
}

#[tokio::test]
async fn a_content_of_parts_that_are_more_than_text_comes_back() {
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
        {"type": "text", "text": "hi"}]);
    let message = json!({"role": "assistant", "content": parts});
    for (end, messages) in
        ends(Format::OpenAi, &forms(Format::OpenAi, &message, &json!("stop"))).await
    {
        assert_eq!((end, &messages[1]), (Ok(vec![]), &message));
    }
}

#[tokio::test]
async fn a_reply_is_read_whatever_stands_around_it() {
    for format in FORMATS {
        let call = said(format, "", &[("one", json!({"text": "\u{e4}"}))]);
        let [whole, stream] = forms(format, &call, &json!("tool_use"));
        let bodies = [
            format!("\u{feff}\r\n {whole}\0"),
            format!("\u{feff}\n: a comment\n\n{}", stream.replace('\n', "\r\n")),
            stream.trim_end().to_string(),
            stream.replace("data: ", "event: x\nid: 1\nretry: 5\ndata:"),
        ];
        for (end, _) in ends(format, &bodies).await {
            assert_eq!(end, Ok(vec!["Some(\"\u{e4}\") None".into()]), "{format:?}");
        }
        let error = json!({"error": {"message": "no credits", "code": 402}});
        for (end, _) in ends(format, &[error.to_string(), events(&[error])]).await {
            let error = end.unwrap_err();
            assert!(error.contains("no credits"), "{format:?}: {error}");
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_replaced() {
    // A script is text, so this server is made by hand.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = b"{\"content\": [{\"type\": \"text\", \"text\": \"a\xff\xe2b\"}]}";
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 64 * 1024]);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    });
    let client = Client::new(Endpoint::new(Format::Anthropic, &url, "m")).unwrap();
    let reply = Agent::new(client, ".").run(&mut Chat::default(), "go", agent_loop).await.unwrap();
    assert_eq!(reply.text(), "a\u{fffd}\u{fffd}b");
}

#[tokio::test]
async fn what_nobody_can_hold_is_refused_and_breaks_nothing() {
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    for input in [deep.as_str(), "1e999", "[1e999]", "{\"count\": -1e999}"] {
        let block = r#"{"type":"tool_use","id":"one","name":"note","input":INPUT}"#;
        let body = format!(r#"{{"content":[{block},{{"type":"new","x":INPUT}}]}}"#);
        for (end, _) in ends(Format::Anthropic, &[body.replace("INPUT", input)]).await {
            let [result] = &end.unwrap()[..] else { panic!("{input}") };
            assert!(result.contains("expected") || result.contains("no JSON object"), "{result}");
        }
        let call = r#"{"id":"one","function":{"name":"note","arguments":INPUT}}"#;
        let body = format!(r#"{{"choices":[{{"message":{{"tool_calls":[{call}],"x":INPUT}}}}]}}"#);
        for (end, _) in ends(Format::OpenAi, &[body.replace("INPUT", input)]).await {
            let [result] = &end.unwrap()[..] else { panic!("{input}") };
            assert!(result.contains("expected") || result.contains("no JSON object"), "{result}");
        }
    }
}

#[tokio::test]
async fn only_the_first_of_several_choices_counts() {
    let call = said(Format::OpenAi, "", &[("one", json!({"count": 1}))]);
    let other = said(Format::OpenAi, "another", &[("two", json!({"count": 2}))]);
    let choice = |index: u32, key: &str, said: &Value| choice(index, key, said, &json!("stop"));
    let whole = json!({"choices": [choice(1, "message", &other), choice(0, "message", &call)]});
    let stream = events(&[
        json!({"choices": [choice(1, "delta", &other)]}),
        json!({"choices": null}),
        json!({"choices": [choice(0, "delta", &call)]}),
        json!({"choices": []}),
    ]);
    for (end, messages) in ends(Format::OpenAi, &[whole.to_string(), stream]).await {
        assert_eq!(end, Ok(vec!["None Some(1)".into()]));
        assert_eq!(messages[1]["content"], Value::Null);
    }
}

/// Says something to the model after every result, as a reminder does.
struct Remind;

impl Layer for Remind {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        if chat.messages().last().is_some_and(|message| message.has_results()) {
            chat.push(Message::inserted("reminder", "remember"));
        }
        next.run(chat, cx).await
    }
}

#[tokio::test]
async fn text_and_pictures_after_results_reach_servers_that_want_a_reply_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let png = "89504e470d0a1a0a0000000d4948445200000001000000010806000000\
               1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082";
    let bytes = (0..png.len() / 2).map(|i| u8::from_str_radix(&png[2 * i..2 * i + 2], 16).unwrap());
    std::fs::write(folder.path().join("a.png"), bytes.collect::<Vec<u8>>()).unwrap();
    for streaming in [false, true] {
        let turns = [
            call("read", json!({"file_path": "a.png"})),
            call("read", json!({"file_path": "a.png"})),
            say("{{ results | length }} seen"),
        ];
        let server = script([scene("^go$", turns)]).record(true).refuse_user_after_results(true);
        let server = server.serve().await.unwrap();
        let endpoint = Endpoint::new(Format::OpenAi, &format!("{}/v1", server.url()), "rehearsal");
        let client = Client::new(endpoint).unwrap();
        let cwd = folder.path();
        let agent =
            if streaming { Agent::new(Streaming(client), cwd) } else { Agent::new(client, cwd) };
        let agent = tools::all(agent).wrap(Remind);
        let reply = agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
        assert_eq!(reply.text(), "1 seen");
        // It is refused once, and then known.
        let seen = server.requests();
        let statuses: Vec<u16> = seen.iter().map(|seen| seen.status).collect();
        assert_eq!(statuses, [200, 400, 200, 200]);
        let messages = seen[3].body["messages"].as_array().unwrap();
        let roles: Vec<&str> = messages.iter().map(|m| m["role"].as_str().unwrap()).collect();
        let round = ["assistant", "tool", "assistant", "user"];
        assert_eq!(roles, [&["user"][..], &round, &round].concat());
        for place in [2, 6] {
            let result = messages[place]["content"].as_str().unwrap();
            assert!(result.ends_with("\n\nremember"), "{result}");
            let shown = messages[place + 2]["content"].as_array().unwrap();
            assert_eq!((shown.len(), &shown[0]["type"]), (1, &json!("image_url")));
        }
    }
}

#[tokio::test]
async fn what_the_person_says_after_results_stays_the_persons() {
    let turns = [call("note", json!({})), say("never").delay_ms(60_000)];
    let scenes = [scene("^go$", turns), scene("^again$", [say("answered")])];
    let server = script(scenes).record(true).refuse_user_after_results(true).serve().await.unwrap();
    let endpoint = Endpoint::new(Format::OpenAi, &format!("{}/v1", server.url()), "rehearsal");
    let agent = Agent::new(Client::new(endpoint).unwrap(), ".").tool(Note);
    let mut chat = Chat::default();
    let stopped = tokio::select! {
        _ = agent.run(&mut chat, "go", agent_loop) => false,
        stopped = rungs_process::testing::until(|| server.request_count() == 2) => stopped,
    };
    assert!(stopped);
    // The results are there, and the next prompt joins their message.
    let reply = agent.run(&mut chat, "again", agent_loop).await.unwrap();
    assert_eq!(reply.text(), "answered");
    let seen = server.requests();
    let messages = seen[seen.len() - 1].body["messages"].as_array().unwrap();
    let said = json!({"role": "user", "content": "again"});
    assert_eq!(
        (messages[2]["content"].as_str(), messages.last()),
        (Some("None None"), Some(&said))
    );
}

#[tokio::test]
async fn a_refusal_of_something_else_is_told_as_it_was_said() {
    let turns = [call("note", json!({})), say("x").fault(json!({"status": 400, "message": "odd"}))];
    let server = script([scene("^go$", turns)]).record(true).serve().await.unwrap();
    let endpoint = Endpoint::new(Format::OpenAi, &format!("{}/v1", server.url()), "rehearsal");
    let agent = Agent::new(Client::new(endpoint).unwrap(), ".").tool(Note);
    let error = agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap_err();
    let expected = "answered 400 (invalid_request_error): odd [request ";
    assert!(error.to_string().contains(expected), "{error}");
    // Nothing stands after results here, so no other form was tried.
    assert_eq!(server.request_count(), 2);
}

#[tokio::test]
async fn what_a_server_sent_and_then_refuses_gives_way() {
    // Signed by nobody.
    let thinking = json!({"type": "thinking", "thinking": "why", "signature": "forged"});
    let call = json!({"type": "tool_use", "id": "one", "name": "note", "input": {}});
    let body = json!({"content": [thinking, call], "stop_reason": "tool_use"}).to_string();
    let (agent, server) = agent(Format::Anthropic, &body, false).await;
    let ui = Arc::new(Recorder::default());
    let agent = agent.ui(ui.clone());
    let mut chat = Chat::default();
    agent.run(&mut chat, "go", agent_loop).await.unwrap();
    let notice = "main: notice the server refuses a part of its last reply; it was taken out";
    assert_eq!(ui.take().iter().filter(|line| *line == notice).count(), 1);
    assert_eq!(agent.run(&mut chat, "again", agent_loop).await.unwrap().text(), "answered");
    let statuses: Vec<u16> = server.requests().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 400, 200, 200]);
}
