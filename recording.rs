//! `--record FILE`, in every lesson: the run as a file that the player opens. The format is that of
//! `docs/recording.md`.
use crate::models::Models;
use rungs_core::{
    Agent, AnyModel, Chat, Context, Deltas, Effect, Error, Event, Layer, Message, Model, NextAct,
    NextTurn, Reply, Request, Result, StopReason, ToolCall, ToolResult,
    client::{Endpoint, Format, Secret, Wire, WireTap},
};
use rungs_recording::{Change, Folders, Pieces, Recording, Response, VERSION};
use rungs_sessions::Redactor;
use rungs_terminal::Screen;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

/// What is shown is written line by line, or in pieces of so many bytes.
const MAX_SCREEN_BYTES: usize = 4096;

/// At whose prices a rehearsal counts, since its own model is free.
const REHEARSAL_PRICES: &str = "claude-sonnet-5-5";

/// A run that is recorded. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Inner>);

struct Inner {
    recording: Recording,
    models: Models,
    /// At whose prices requests count that name no model.
    model: OnceLock<String>,
    folders: Arc<Mutex<Folders>>,
    /// What has arrived of the replies of agents, by their names.
    arriving: Mutex<HashMap<String, Pieces>>,
    /// What was shown since the last line ended.
    shown: Mutex<String>,
}

impl Recorder {
    /// A new file. The keys that the program knows are not written into it.
    ///
    /// # Errors
    /// When the file exists, or cannot be made.
    pub(crate) fn create(file: &Path, keys: &[Secret], models: Models) -> Result<Recorder> {
        let redactor = Redactor::new(keys.iter().map(|key| key.expose().to_string()));
        let recording = Recording::create(file, redactor).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::AlreadyExists => {
                    "it exists, and is not overwritten; name another file, or remove it".into()
                }
                _ => error.to_string(),
            };
            Error::setting("--record", format!("{}: {why}", file.display()))
        })?;
        let folders = Arc::new(Mutex::new(Folders::without(recording.path())));
        let (model, arriving, shown) = Default::default();
        Ok(Recorder(Arc::new(Inner { recording, models, model, folders, arriving, shown })))
    }

    /// Writes the first record, and from then on what the screen shows.
    pub(crate) fn begin(&self, run: &Run<'_>, screen: &Screen) {
        let Run { lesson, title, endpoint, is_live, folder } = *run;
        let format = match endpoint.format {
            Format::Anthropic => "anthropic",
            Format::OpenAi => "openai",
        };
        let model = if is_live { endpoint.model.as_str() } else { REHEARSAL_PRICES };
        let _ = self.0.model.set(model.into());
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.0.recording.record(
            "recording",
            json!({
                "version": VERSION,
                "lesson": lesson,
                "title": title,
                "started": since.as_secs(),
                "live": is_live,
                "model": endpoint.model,
                "format": format,
                "prices": model,
                "folder": folder,
            }),
        );
        let this = self.clone();
        screen.record(move |text| this.screen(text));
    }

    /// Attaches it to an agent, around all that it has: to its children too.
    pub(crate) fn install(&self, agent: Agent) -> Agent {
        let (model, listener) = (self.clone(), self.clone());
        agent
            .model(|inner| Recorded { inner, recorder: model })
            .listen(move |event, cx| listener.hear(event, cx))
            .wrap(self.clone())
    }

    /// Writes the last record. Returns a line for the person.
    pub(crate) fn end(&self, code: u8) -> String {
        self.show("");
        self.0.recording.end("end", json!({"code": code}));
        let file = self.0.recording.path().display();
        match self.0.recording.failure() {
            Some(why) => format!("error: the recording is not whole: {file}: {why}"),
            None => format!("recorded: {file}; the player, book/player/index.html, opens it"),
        }
    }

    fn screen(&self, text: &str) {
        let mut shown = self.0.shown.lock().unwrap();
        shown.push_str(text);
        if shown.ends_with('\n') || shown.len() > MAX_SCREEN_BYTES {
            let text = std::mem::take(&mut *shown);
            drop(shown);
            self.show(&text);
        }
    }

    /// Writes what was shown, with what stands before it in its line.
    fn show(&self, text: &str) {
        let before = std::mem::take(&mut *self.0.shown.lock().unwrap());
        let text = before + text;
        if !text.is_empty() {
            let text = self.0.recording.redacted_rows(&text);
            self.0.recording.record("screen", json!({"text": text}));
        }
    }

    fn hear(&self, event: &Event, cx: &Context) {
        let mut arriving = self.0.arriving.lock().unwrap();
        let pieces = arriving.entry(cx.name().into()).or_default();
        let ended = match event {
            Event::TextDelta(text) => pieces.add("text", text),
            Event::ThinkingDelta(text) => pieces.add("thinking", text),
            _ => pieces.take(),
        };
        drop(arriving);
        if let Some(pieces) = ended {
            let kind = pieces.kind;
            let texts = self.0.recording.redacted(pieces.into_texts());
            self.event(cx, json!({"event": kind, "pieces": texts}));
        }
        let fields = match event {
            Event::TextDelta(_) | Event::ThinkingDelta(_) => return,
            Event::Reply(reply) => {
                let message = self.message(&reply.message);
                let stop = stop(&reply.stop);
                json!({"event": "reply", "message": message, "stop": stop, "usage": reply.usage})
            }
            Event::ReplyDiscarded => json!({"event": "reply_discarded"}),
            Event::Call(call, summary) => {
                let ToolCall { id, name, input, .. } = &**call;
                let call = json!({"id": id, "name": name, "input": input});
                json!({"event": "call", "call": call, "summary": summary})
            }
            Event::Result(call, result, shown) => {
                let (content, is_error) = (&result.output.0, result.is_error);
                let mut fields = json!({"event": "result", "call": call.id, "content": content});
                fields["is_error"] = is_error.into();
                if *shown != result.output.text() {
                    fields["shown"] = shown.as_str().into();
                }
                fields
            }
            Event::Retry { seconds, attempts, max_attempts, why } => json!({
                "event": "retry",
                "seconds": seconds,
                "attempts": attempts,
                "max_attempts": max_attempts,
                "why": why,
            }),
            Event::Notice(text) => json!({"event": "notice", "text": text}),
            Event::Failure(text) => json!({"event": "failure", "text": text}),
            other => json!({"event": "other", "text": format!("{other:?}")}),
        };
        self.event(cx, fields);
    }

    fn event(&self, cx: &Context, mut fields: Value) {
        fields["agent"] = cx.name().into();
        self.0.recording.record("event", fields);
    }

    /// The number of a message with the origins of its texts.
    fn message(&self, message: &Message) -> u64 {
        self.0.recording.part(&json!(message))
    }

    fn messages(&self, messages: &[Arc<Message>]) -> Vec<u64> {
        messages.iter().map(|message| self.message(message)).collect()
    }

    /// Writes what has changed in the folder of the agent, and of these files: by a call, or since
    /// the last one.
    async fn changes(&self, cx: &Context, named: Vec<PathBuf>, call: Option<&str>) {
        let (folders, folder) = (self.0.folders.clone(), cx.cwd().to_path_buf());
        let is_before = call.is_none();
        let look = move || {
            let mut folders = folders.lock().unwrap();
            let changes = match is_before {
                true => folders.before(&folder, &named),
                false => folders.changes(&folder, &named),
            };
            (changes, folders.left_out())
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let (changes, left_out) = looked.unwrap_or_default();
        if changes.is_empty() && left_out.is_none() {
            return;
        }
        let change = |Change { path, diff }: &Change| json!({"path": path, "diff": diff});
        let changes: Vec<Value> = changes.iter().map(change).collect();
        let mut fields = json!({"agent": cx.name(), "call": call, "changes": changes});
        if let Some(left_out) = left_out {
            fields["left_out"] = left_out.into();
        }
        self.0.recording.record("files", fields);
    }

    fn cost(&self, request: &Request, reply: &Reply) -> Option<f64> {
        let model = request.model.as_ref().or(self.0.model.get())?;
        self.0.models.get(model)?.cost(&reply.usage)
    }
}

/// What a recording says of its run at the begin.
pub(crate) struct Run<'a> {
    pub(crate) lesson: &'a str,
    pub(crate) title: &'a str,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) is_live: bool,
    pub(crate) folder: &'a Path,
}

impl Layer for Recorder {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let prompt = &next.prompt().content;
        self.0.recording.record("turn", json!({"agent": cx.name(), "prompt": prompt}));
        let end = next.run(chat, cx).await;
        let error = end.as_ref().err().map(ToString::to_string);
        let messages = self.messages(chat.messages());
        let fields = json!({"agent": cx.name(), "error": error, "messages": messages});
        self.0.recording.record("turn_end", fields);
        end
    }

    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let named = match cx.effect(&call) {
            Effect::Reads => return next.run(call, cx).await,
            Effect::Writes(paths) => paths,
            _ => vec![],
        };
        let id = call.id.clone();
        self.changes(cx, named.clone(), None).await;
        let result = next.run(call, cx).await;
        self.changes(cx, named, Some(&id)).await;
        result
    }
}

/// The model, whose requests and replies are recorded.
struct Recorded {
    inner: AnyModel,
    recorder: Recorder,
}

impl Recorded {
    /// The context in which what goes over the wire is seen.
    fn tapped(&self, request: &Request, cx: &Context) -> (Arc<Tap>, Context) {
        let tap = Arc::new(Tap {
            recorder: self.recorder.clone(),
            agent: cx.name().into(),
            is_side: cx.is_unseen(),
            messages: request.messages.clone(),
            open: Mutex::default(),
        });
        let sees = tap.clone();
        (tap, cx.with(WireTap(Box::new(move |wire| sees.see(wire)))))
    }
}

impl Model for Recorded {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        let (tap, tapped) = self.tapped(request, cx);
        let end = self.inner.reply(request, &tapped).await;
        let exchange = tap.finish();
        let mut fields = json!({"exchange": exchange, "agent": cx.name()});
        match &end {
            Ok(reply) => {
                fields["message"] = self.recorder.message(&reply.message).into();
                fields["stop"] = stop(&reply.stop).into();
                fields["usage"] = json!(reply.usage);
                fields["cost"] = json!(self.recorder.cost(request, reply));
            }
            Err(error) => fields["error"] = error.to_string().into(),
        }
        self.recorder.0.recording.record("reply", fields);
        end
    }

    async fn stream(&self, request: &Request, cx: &Context) -> Result<Deltas> {
        self.inner.stream(request, &self.tapped(request, cx).1).await
    }
}

/// Why a reply ended, in the words of the Messages API as far as it has some.
fn stop(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::ToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::PauseTurn => "pause_turn",
        StopReason::Refusal { .. } => "refusal",
        StopReason::WindowFull => "model_context_window_exceeded",
        StopReason::Cancelled => "cancelled",
        StopReason::Cut(_) => "cut",
        StopReason::Other(name) => name,
    }
}

/// Sees what goes over the wire for one reply: one request and its response, or several when an
/// attempt fails.
struct Tap {
    recorder: Recorder,
    agent: String,
    /// Whether nobody sees the reply.
    is_side: bool,
    messages: Vec<Arc<Message>>,
    open: Mutex<Exchange>,
}

/// The newest request, and what has come of its response.
#[derive(Default)]
struct Exchange {
    number: u64,
    response: Option<Response>,
}

impl Tap {
    fn see(&self, wire: Wire<'_>) {
        if let Wire::Request(body) = wire {
            self.finish();
            let exchange = self.request(body);
            let response = Some(Response::default());
            *self.open.lock().unwrap() = Exchange { number: exchange, response };
        } else if let Some(response) = &mut self.open.lock().unwrap().response {
            match wire {
                Wire::Request(_) => {}
                Wire::Response(status) => response.status = status,
                Wire::Part(part) => response.add(part),
            }
        }
    }

    /// Writes a request: of its body, what stands in lists becomes numbers of parts.
    fn request(&self, bytes: &[u8]) -> u64 {
        let recording = &self.recorder.0.recording;
        let mut body: Value = serde_json::from_slice(bytes).unwrap_or_default();
        for name in ["tools", "system", "messages"] {
            if let Some(Value::Array(list)) = body.get_mut(name) {
                *list = recording.parts(list).into_iter().map(Value::from).collect();
            }
        }
        let exchange = recording.next_exchange();
        let fields = json!({
            "exchange": exchange,
            "agent": self.agent,
            "side": self.is_side,
            "conversation": self.recorder.messages(&self.messages),
            "body": body,
            "bytes": bytes.len(),
        });
        recording.record("request", fields);
        exchange
    }

    /// Writes the response, as far as it has come. Returns the number of its request.
    fn finish(&self) -> u64 {
        let mut open = self.open.lock().unwrap();
        if let Some(response) = open.response.take() {
            let recording = &self.recorder.0.recording;
            let mut fields = json!({"exchange": open.number, "agent": self.agent});
            if let (Value::Object(fields), Value::Object(more)) =
                (&mut fields, response.fields(recording))
            {
                fields.extend(more);
            }
            recording.record("response", fields);
        }
        open.number
    }
}

impl Drop for Tap {
    /// A reply that nobody awaits any more, such as when a turn is stopped.
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{s04_subagent, s06_context_compact, s13_streaming, testing};
    use durable::Folder;
    use rehearsal::{Scene, call, say, scene};
    use rungs_core::tools;

    const KEY: &str = "sk-ant-api03-AAAABBBBCCCCDDDDEEEE";

    struct Recorded {
        play: testing::Play,
        records: Vec<Value>,
        text: String,
    }

    /// Plays these scenes before an agent that is recorded, each prompt as a turn.
    async fn record(
        scenes: impl IntoIterator<Item = Scene>,
        prompts: &[&str],
        install: impl FnOnce(Agent, &Path) -> Agent,
    ) -> Recorded {
        let mut play = testing::play(scenes, install).await;
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("run.jsonl");
        let models = testing::models();
        let recorder = Recorder::create(&file, &[Secret::new("own-key-1")], models).unwrap();
        play.agent = recorder.install(play.agent);
        let mut chat = Chat::default();
        for prompt in prompts {
            match prompt.strip_prefix(':') {
                Some(command) => play.agent.run_command(command, "", &mut chat).await.unwrap(),
                None => play.run(&mut chat, prompt).await.map(drop),
            }
            .unwrap();
        }
        recorder.end(0);
        let text = std::fs::read_to_string(&file).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Recorded { play, records, text }
    }

    impl Recorded {
        fn of(&self, kind: &str) -> Vec<&Value> {
            self.records.iter().filter(|record| record["type"] == kind).collect()
        }

        fn part(&self, id: &Value) -> &Value {
            let of = |record: &&&Value| record["id"] == *id;
            &self.of("part").iter().find(of).unwrap()["value"]
        }

        /// The bodies of the requests, with the parts that they name.
        fn bodies(&self) -> Vec<Value> {
            let whole = |request: &&Value| {
                let mut body = request["body"].clone();
                for name in ["tools", "system", "messages"] {
                    let parts = body.get_mut(name).and_then(Value::as_array_mut);
                    for part in parts.into_iter().flatten() {
                        *part = self.part(part).clone();
                    }
                }
                body
            };
            self.of("request").iter().map(whole).collect()
        }

        fn field(&self, kind: &str, name: &str) -> Vec<Value> {
            self.of(kind).iter().map(|record| record[name].clone()).collect()
        }
    }

    #[tokio::test]
    async fn requests_are_recorded_as_they_were_sent_those_of_subagents_too() {
        let task = json!({"prompt": "look around", "description": "a look"});
        let brief = json!({"tasks": [task]});
        let scenes = [
            scene("^go$", [call("task", brief), say("done: {{ results[0].text }}")]),
            scene("look around", [call("bash", json!({"command": "echo x > f"})), say("one file")]),
        ];
        let install = |agent, _: &Path| s04_subagent::install(tools::all(agent));
        let recorded = record(scenes, &["go"], install).await;
        let sent = recorded.play.bodies();
        assert_eq!((recorded.bodies(), sent.len()), (sent, 4));
        let agents = recorded.field("request", "agent");
        assert_eq!(agents, ["main", "main/a-look", "main/a-look", "main"].map(Value::from));
        let turns: Vec<_> = recorded.of("turn").iter().map(|turn| turn["agent"].clone()).collect();
        assert_eq!(turns, ["main", "main/a-look"].map(Value::from));
        // The file that the subagent made belongs to its call.
        let files = recorded.of("files");
        assert_eq!(files.len(), 1);
        assert_eq!(files[0]["agent"], "main/a-look");
        let expected = json!([{"path": "f", "diff": "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+x\n"}]);
        assert_eq!(files[0]["changes"], expected);
    }

    #[tokio::test]
    async fn the_conversation_has_the_origins_that_the_wire_does_not_show() {
        let recorded = record([scene("go", [say("done")])], &["go"], |agent, _| agent).await;
        let request = recorded.of("request")[0];
        let conversation = recorded.part(&request["conversation"][0]);
        let origins: Vec<&Value> =
            conversation["content"].as_array().unwrap().iter().map(|b| &b["$origin"]).collect();
        assert_eq!(origins, [&json!({"name": "environment", "keep": true}), &Value::Null]);
        assert!(!recorded.bodies()[0].to_string().contains("$origin"));
        let end = recorded.of("turn_end")[0];
        assert_eq!(recorded.part(&end["messages"][1])["content"][0]["text"], "done");
    }

    #[tokio::test]
    async fn a_side_request_is_marked_and_every_attempt_is_there() {
        let busy = say("at last ".repeat(1000)).fault(json!({"status": 429, "retry_after": 0}));
        let scenes = [scene("^go", [busy]), scene("Summarise", [say("a summary")])];
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::open(state.path(), "state").unwrap();
        let install = |agent: Agent, _: &Path| s06_context_compact::install(agent, 9000, folder);
        let recorded = record(scenes, &["go on", "go again", ":compact"], install).await;
        let side = recorded.field("request", "side");
        assert_eq!(side, [false, false, false, false, true].map(Value::from));
        assert_eq!(recorded.field("response", "status")[..2], [429, 200].map(Value::from));
        assert_eq!(recorded.field("reply", "exchange")[0], 2);
        let retry = recorded.records.iter().find(|record| record["event"] == "retry").unwrap();
        assert_eq!(retry["attempts"], 1);
    }

    #[tokio::test]
    async fn streams_are_recorded_event_by_event_also_one_that_breaks_off() {
        let cut = say("one two three four five six").fault(json!({"cut_after": 6}));
        let scenes = [scene("^go$", [cut]), scene("broke off", [say("seven")])];
        let recorded = record(scenes, &["go"], |agent, _| s13_streaming::install(agent)).await;
        let events = recorded.field("response", "events");
        assert_eq!((events.len(), events[0].as_array().unwrap().len()), (2, 6));
        assert_eq!(events[0][0]["type"], "message_start");
        assert_eq!(events[1].as_array().unwrap().last().unwrap()["type"], "message_stop");
        assert_eq!(recorded.field("reply", "stop"), ["cut", "end_turn"].map(Value::from));
        let pieces = recorded.records.iter().find(|record| record["event"] == "text").unwrap();
        assert!(pieces["pieces"].as_array().unwrap().len() > 1, "{pieces}");
    }

    #[tokio::test]
    async fn keys_are_left_out_wherever_they_stand() {
        let said = format!("the keys are {KEY} and own-key-1");
        let command = format!("echo own-key-1 | tee f; : {KEY}");
        let turns = [call("bash", json!({"command": command})).say(&said), say(&said)];
        let install = |agent, _: &Path| s13_streaming::install(tools::all(agent));
        let prompt = format!("take {KEY}, and own-key-1");
        let recorded = record([scene("take", turns)], &[&prompt], install).await;
        assert_eq!(recorded.field("response", "status"), [200, 200]);
        let file = std::fs::read_to_string(recorded.play.dir.path().join("f")).unwrap();
        assert_eq!(file, "own-key-1\n");
        // In one piece nowhere, and in pieces neither.
        let joined = recorded.text.replace(['"', ',', '\n'], "");
        for key in [KEY, "own-key-1", "AAAABBBB"] {
            assert!(!recorded.text.contains(key) && !joined.contains(key), "{}", recorded.text);
        }
        let texts = |event: &Value| event["delta"]["text"].as_str().unwrap_or("").to_string();
        let events = &recorded.field("response", "events")[1];
        let whole: String = events.as_array().unwrap().iter().map(texts).collect();
        assert_eq!(whole, "the keys are [redacted key] and [redacted key]");
    }
}
