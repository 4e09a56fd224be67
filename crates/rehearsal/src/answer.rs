//! From a request to a response.
use crate::{
    cache::{Cache, Prompt},
    chat_in, chat_out,
    check::{self, Purpose, Version},
    conversation::Conversation,
    delivery::Delivery,
    fault::{self, Kind},
    messages_out,
    models::{self, MODELS, Model},
    play::play,
    refusal::{Format, Refusal},
    reply::{Reply, cut_arguments},
    script::Script,
    seen::{self, Log, Seen},
    sign::{self, Seal},
};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The longest body that the API takes.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// How many requests are remembered for their attempts.
const MOST_ATTEMPTS: usize = 1000;

/// What a server knows.
#[derive(Debug)]
pub(crate) struct State {
    script: Script,
    log: Mutex<Log>,
    attempts: Mutex<Attempts>,
    cache: Mutex<Cache>,
    requests: AtomicU64,
}

/// How often a request came: the only memory, so that a fault can pass.
#[derive(Debug, Default)]
struct Attempts {
    counts: HashMap<u64, u32>,
    order: VecDeque<u64>,
}

impl Attempts {
    fn next(&mut self, print: u64) -> u32 {
        if !self.counts.contains_key(&print) {
            if self.order.len() == MOST_ATTEMPTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.counts.remove(&oldest);
            }
            self.order.push_back(print);
        }
        let count = self.counts.entry(print).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }
}

impl State {
    pub(crate) fn new(script: Script) -> Self {
        State {
            script,
            log: Mutex::default(),
            attempts: Mutex::default(),
            cache: Mutex::default(),
            requests: AtomicU64::new(1),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().all()
    }

    pub(crate) fn count(&self) -> usize {
        self.log.lock().unwrap().count()
    }
}

/// What a request asks for.
enum Route<'a> {
    Reply(Format),
    Count,
    Models,
    Model(&'a str),
}

pub(crate) async fn answer(state: &State, request: Request<Incoming>) -> Response<Delivery> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_string();
    let format = format_of(&path, &parts.headers);
    let request_id = format!("req_rehearsal_{:08}", state.requests.fetch_add(1, Ordering::Relaxed));
    let read = read(body).await;
    let arrived = Instant::now();
    let bytes = read.as_ref().map_or(0, Bytes::len);
    let json = read.as_ref().ok().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let number = state.log.lock().unwrap().add(Seen {
        path: path.clone(),
        arrived,
        answered: None,
        bytes,
        body: json.clone().filter(|_| state.script.record).unwrap_or_default(),
        headers: seen::headers(&parts.headers),
        status: 0,
    });
    let asked = Asked { state, format, request_id: &request_id, headers: &parts.headers };
    let answered = match (read, route(&parts.method, &path, format)) {
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        (Ok(bytes), Ok(route)) => asked.serve(route, json.as_ref(), &bytes).await,
    };
    let mut response = answered.unwrap_or_else(|refusal| asked.refuse(&refusal));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        let name = if format == Format::Chat { "x-request-id" } else { "request-id" };
        headers.entry(name).or_insert(id);
    }
    state.log.lock().unwrap().answered(number, response.status().as_u16());
    response
}

/// Both APIs have `/v1/models`; only one has the version header.
fn format_of(path: &str, headers: &HeaderMap) -> Format {
    let models = path.starts_with("/v1/models") && !headers.contains_key("anthropic-version");
    if models || path.starts_with("/v1/chat") { Format::Chat } else { Format::Messages }
}

fn route<'a>(method: &Method, path: &'a str, format: Format) -> Result<Route<'a>, Refusal> {
    let (wanted, route) = match path {
        "/v1/messages" => (Method::POST, Route::Reply(Format::Messages)),
        "/v1/chat/completions" => (Method::POST, Route::Reply(Format::Chat)),
        "/v1/messages/count_tokens" => (Method::POST, Route::Count),
        "/v1/models" => (Method::GET, Route::Models),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) => (Method::GET, Route::Model(id)),
            None => {
                let message = match format {
                    Format::Messages => "Not found".to_string(),
                    Format::Chat => format!("Invalid URL ({method} {path})"),
                };
                return Err(Refusal::new(404, message));
            }
        },
    };
    if *method != wanted {
        return Err(Refusal::new(405, format!("Method Not Allowed: {path} takes {wanted}")));
    }
    Ok(route)
}

async fn read(mut body: Incoming) -> Result<Bytes, Refusal> {
    let told = body.size_hint().lower();
    let mut kept: Vec<u8> = Vec::with_capacity(told.min(MOST_BYTES as u64) as usize);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Refusal::bad("The request body was cut")) };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        match length {
            0..=MOST_BYTES => kept.extend_from_slice(&data),
            // A client that is still writing would not read the answer, so a little more is read and dropped.
            _ if length < 2 * MOST_BYTES => kept = vec![],
            _ => break,
        }
    }
    if length > MOST_BYTES {
        return Err(Refusal::new(413, "Request exceeds the maximum size"));
    }
    Ok(kept.into())
}

/// A request on its way through the rehearsal.
struct Asked<'a> {
    state: &'a State,
    format: Format,
    request_id: &'a str,
    headers: &'a HeaderMap,
}

impl Asked<'_> {
    async fn serve(
        &self,
        route: Route<'_>,
        json: Option<&Value>,
        bytes: &[u8],
    ) -> Result<Response<Delivery>, Refusal> {
        match route {
            Route::Models => Ok(plain(200, &model_list(self.format))),
            Route::Model(id) => match models::find(id) {
                Some(model) => Ok(plain(200, &describe(model, self.format))),
                None => Err(Refusal::new(404, format!("model: {id}"))),
            },
            Route::Count => {
                let version = self.version()?;
                let body = parsed(json, bytes, Format::Messages)?;
                let (conversation, _) = check::check(body, version, Purpose::Count)?;
                let tokens = Prompt::marked(&conversation, &[], None).tokens();
                Ok(plain(200, &json!({"input_tokens": tokens})))
            }
            Route::Reply(Format::Messages) => {
                let version = self.version()?;
                let body = parsed(json, bytes, Format::Messages)?;
                let (conversation, seal) = check::check(body, version, Purpose::Reply)?;
                let settings = [&body["tool_choice"], &body["thinking"], &body["output_config"]];
                let prompt = Prompt::marked(&conversation, &settings, body.get("cache_control"));
                self.reply(&conversation, &seal, &prompt, false).await
            }
            Route::Reply(Format::Chat) => {
                let body = parsed(json, bytes, Format::Chat)?;
                let conversation = chat_in::read(body)?;
                let seal = sign::verify(&conversation)?;
                let prompt =
                    Prompt::automatic(&conversation.model, &body["tools"], &body["messages"]);
                let include_usage = body["stream_options"]["include_usage"] == true;
                self.reply(&conversation, &seal, &prompt, include_usage).await
            }
        }
    }

    fn version(&self) -> Result<Version, Refusal> {
        let header = self.headers.get("anthropic-version");
        Version::read(header.map(|value| value.to_str().unwrap_or("?")))
    }

    async fn reply(
        &self,
        conversation: &Conversation,
        seal: &Seal,
        prompt: &Prompt,
        include_usage: bool,
    ) -> Result<Response<Delivery>, Refusal> {
        let mut played = play(&self.state.script, conversation, seal)?;
        let bill = self.state.cache.lock().unwrap().bill(prompt, Instant::now());
        let attempt = self.state.attempts.lock().unwrap().next(conversation.print().finish());
        let fault = fault::met(played.faults, attempt);
        if played.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(played.delay_ms)).await;
        }
        match fault {
            Some(Kind::Status(status)) => return Ok(self.scripted(status)),
            // Without a stream the error is the whole answer.
            Some(Kind::ErrorEvent { kind, message, .. }) if !conversation.stream => {
                return Err(Refusal::in_stream(kind, message.as_deref()));
            }
            Some(Kind::CutArguments { after }) => cut_arguments(&mut played.reply.parts, *after),
            _ => {}
        }
        played.charge(bill);
        // Only now the reply begins, and what it wrote can be used.
        self.state.cache.lock().unwrap().keep(prompt, Instant::now());
        Ok(match conversation.stream {
            true => self.streamed(&played.reply, fault, include_usage, played.pace_ms),
            false => self.whole(&played.reply, fault),
        })
    }

    fn streamed(
        &self,
        reply: &Reply,
        fault: Option<&Kind>,
        include_usage: bool,
        pace_ms: u64,
    ) -> Response<Delivery> {
        let events = match self.format {
            Format::Messages => messages_out::events(reply),
            Format::Chat => chat_out::events(reply, now(), include_usage),
        };
        let delivery = Delivery::stream(events, fault, self.format, self.request_id, pace_ms);
        let mut response = respond(200, "text/event-stream; charset=utf-8", delivery);
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        response
    }

    fn whole(&self, reply: &Reply, fault: Option<&Kind>) -> Response<Delivery> {
        let mut whole = match self.format {
            Format::Messages => messages_out::whole(reply),
            Format::Chat => chat_out::whole(reply, now()),
        };
        if let Some(Kind::Unknown { .. }) = fault {
            whole["rehearsal_field"] = json!({"note": "skip me"});
        }
        let text = whole.to_string();
        let delivery = match fault {
            Some(fault) => Delivery::faulty(text, fault),
            None => Delivery::whole(text),
        };
        respond(200, "application/json", delivery)
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Delivery> {
        plain(refusal.status, &refusal.body(self.format, self.request_id))
    }

    fn scripted(&self, fault: &fault::Status) -> Response<Delivery> {
        let mut response = match fault.html {
            true => {
                let status = fault.status;
                let page = format!(
                    "<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n"
                );
                respond(status, "text/html", Delivery::whole(page))
            }
            false => self.refuse(&Refusal::scripted(fault)),
        };
        let retry_after = fault.retry_after.as_ref().map(|value| ("retry-after", value));
        let headers = fault.headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in retry_after.into_iter().chain(headers) {
            // Checked when the script was loaded.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

fn parsed<'a>(json: Option<&'a Value>, bytes: &[u8], format: Format) -> Result<&'a Value, Refusal> {
    json.ok_or_else(|| {
        let why = serde_json::from_slice::<Value>(bytes)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        Refusal::bad(match format {
            Format::Messages => format!("The request body is not valid JSON: {why}"),
            Format::Chat => format!("We could not parse the JSON body of your request: {why}"),
        })
    })
}

fn respond(status: u16, kind: &'static str, delivery: Delivery) -> Response<Delivery> {
    let mut response = Response::new(delivery);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}

fn plain(status: u16, body: &Value) -> Response<Delivery> {
    respond(status, "application/json", Delivery::whole(body.to_string()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn model_list(format: Format) -> Value {
    let data: Vec<Value> = MODELS.iter().map(|model| describe(model, format)).collect();
    match format {
        Format::Messages => {
            let (first, last) =
                (MODELS.first().map(|model| model.id), MODELS.last().map(|model| model.id));
            json!({"data": data, "has_more": false, "first_id": first, "last_id": last})
        }
        Format::Chat => json!({"object": "list", "data": data}),
    }
}

fn describe(model: &Model, format: Format) -> Value {
    match format {
        Format::Messages => json!({
            "type": "model",
            "id": model.id,
            "display_name": format!("{} (rehearsed)", model.id),
            "created_at": "2026-01-01T00:00:00Z",
            "max_input_tokens": model.max_input_tokens,
            "max_tokens": model.max_tokens,
        }),
        Format::Chat => {
            json!({"id": model.id, "object": "model", "created": 1_767_225_600, "owned_by": "rehearsal"})
        }
    }
}
