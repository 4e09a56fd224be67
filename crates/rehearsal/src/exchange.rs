//! From a request to a response.
use crate::{
    api_error::{ApiError, WireFormat},
    cache::{Cache, Prompt},
    chat,
    conversation::Conversation,
    messages::{self, Purpose, Version},
    models,
    play::{PlayedTurn, play},
    reply::{Reply, cut_arguments},
    request_log::{self, ReceivedRequest, RequestLog},
    response_body::ResponseBody,
    route::{Route, format_of, route},
    script::{
        Script,
        fault::{self, ErrorStatus, FaultKind},
    },
    signature::{self, Signer},
};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
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

/// The longest body that the API accepts.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// For how many different requests the attempts are counted; older ones begin again.
const MAX_COUNTED_REQUESTS: usize = 1000;

/// What the connections of a server share.
#[derive(Debug)]
pub(crate) struct State {
    script: Script,
    log: Mutex<RequestLog>,
    attempts: Mutex<Attempts>,
    cache: Mutex<Cache>,
    next_request_id: AtomicU64,
}

/// How often each request was made. Beside the cache this is all that a server remembers; without
/// it a fault would last for ever.
#[derive(Debug, Default)]
struct Attempts {
    /// By the fingerprint of the request.
    counts: HashMap<u64, u32>,
    /// The fingerprints, oldest first.
    order: VecDeque<u64>,
}

impl Attempts {
    /// Counts an attempt and returns its number, from 1.
    fn count(&mut self, fingerprint: u64) -> u32 {
        if !self.counts.contains_key(&fingerprint) {
            if self.order.len() == MAX_COUNTED_REQUESTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.counts.remove(&oldest);
            }
            self.order.push_back(fingerprint);
        }
        let count = self.counts.entry(fingerprint).or_insert(0);
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
            next_request_id: AtomicU64::new(1),
        }
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.log.lock().unwrap().all()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.log.lock().unwrap().count()
    }
}

/// Answers a request, whatever it is, and logs it.
pub(crate) async fn answer(state: &State, request: Request<Incoming>) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_string();
    let format = format_of(&path, &parts.headers);
    let id = state.next_request_id.fetch_add(1, Ordering::Relaxed);
    let request_id = format!("req_rehearsal_{id:08}");
    let body = read_body(body).await;
    let arrived = Instant::now();
    let json = match &body {
        Ok(bytes) => serde_json::from_slice::<Value>(bytes).ok(),
        Err(_) => None,
    };
    let number = state.log.lock().unwrap().add(ReceivedRequest {
        path: path.clone(),
        arrived,
        answered: None,
        bytes: body.as_ref().map_or(0, Bytes::len),
        body: json.as_ref().filter(|_| state.script.record).cloned().unwrap_or_default(),
        headers: request_log::headers(&parts.headers),
        status: 0,
    });
    let exchange = Exchange { state, format, request_id: &request_id, headers: &parts.headers };
    let answered = match (body, route(&parts.method, &path, format)) {
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(bytes), Ok(route)) => exchange.serve(route, json.as_ref(), &bytes).await,
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => exchange.error(&error),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        let name = if format == WireFormat::Chat { "x-request-id" } else { "request-id" };
        response.headers_mut().entry(name).or_insert(id);
    }
    // Freed before the answer counts as given: it takes a while, and is no work of the client.
    drop(json);
    state.log.lock().unwrap().answered(number, response.status().as_u16());
    response
}

async fn read_body(mut body: Incoming) -> Result<Bytes, ApiError> {
    let announced = body.size_hint().lower();
    let mut kept: Vec<u8> = Vec::with_capacity(announced.min(MAX_BODY_BYTES as u64) as usize);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(ApiError::invalid("The request body was cut")) };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        match length {
            0..=MAX_BODY_BYTES => kept.extend_from_slice(&data),
            // A client reads the response only when it has written the request, so the rest is read
            // and dropped; but not without end.
            _ if length < 2 * MAX_BODY_BYTES => kept = vec![],
            _ => break,
        }
    }
    if length > MAX_BODY_BYTES {
        return Err(ApiError::new(413, "Request exceeds the maximum size"));
    }
    Ok(kept.into())
}

/// A request and all that its response needs.
struct Exchange<'a> {
    state: &'a State,
    format: WireFormat,
    request_id: &'a str,
    headers: &'a HeaderMap,
}

impl Exchange<'_> {
    async fn serve(
        &self,
        route: Route<'_>,
        json: Option<&Value>,
        bytes: &[u8],
    ) -> Result<Response<ResponseBody>, ApiError> {
        match route {
            Route::Models => Ok(json_response(200, &models::list(self.format))),
            Route::Model(id) => match models::find(id) {
                Some(model) => Ok(json_response(200, &model.describe(self.format))),
                None => Err(ApiError::new(404, format!("model: {id}"))),
            },
            Route::CountTokens => {
                let version = self.version()?;
                let body = parsed(json, bytes, WireFormat::Messages)?;
                let (conversation, _) = messages::read(body, version, Purpose::CountTokens)?;
                let tokens = Prompt::of_messages(&conversation, &[], None).tokens();
                Ok(json_response(200, &json!({"input_tokens": tokens})))
            }
            Route::Reply(WireFormat::Messages) => {
                let version = self.version()?;
                let body = parsed(json, bytes, WireFormat::Messages)?;
                let (conversation, signer) = messages::read(body, version, Purpose::Reply)?;
                let settings = [&body["tool_choice"], &body["thinking"], &body["output_config"]];
                let prompt =
                    Prompt::of_messages(&conversation, &settings, body.get("cache_control"));
                self.reply(&conversation, &signer, &prompt, false).await
            }
            Route::Reply(WireFormat::Chat) => {
                let body = parsed(json, bytes, WireFormat::Chat)?;
                let conversation = chat::read(body)?;
                if self.state.script.refuse_user_after_results {
                    chat::no_user_after_results(body)?;
                }
                let signer = signature::verify(&conversation)?;
                let prompt =
                    Prompt::of_chat(&conversation.model, &body["tools"], &body["messages"]);
                let include_usage = body["stream_options"]["include_usage"] == true;
                self.reply(&conversation, &signer, &prompt, include_usage).await
            }
        }
    }

    fn version(&self) -> Result<Version, ApiError> {
        let header = self.headers.get("anthropic-version");
        Version::read(header.map(|value| value.to_str().unwrap_or("?")))
    }

    async fn reply(
        &self,
        conversation: &Conversation,
        signer: &Signer,
        prompt: &Prompt,
        include_usage: bool,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let mut played = play(&self.state.script, conversation, signer)?;
        let usage = self.state.cache.lock().unwrap().usage(prompt, Instant::now());
        let attempt = self.state.attempts.lock().unwrap().count(played.fingerprint);
        let fault = fault::of_attempt(played.faults, attempt);
        let delay = self.state.script.think_time + Duration::from_millis(played.delay_ms);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match fault {
            Some(FaultKind::Status(status)) => return Ok(self.scripted_error(status)),
            Some(FaultKind::Body { text, content_type }) => {
                return Ok(raw(text, content_type.as_deref(), conversation.stream));
            }
            // Without a stream the error is the whole response.
            Some(FaultKind::ErrorEvent { kind, message, .. }) if !conversation.stream => {
                return Err(ApiError::in_stream(kind, message.as_deref()));
            }
            Some(FaultKind::CutArguments { characters }) => {
                cut_arguments(&mut played.reply.parts, *characters);
            }
            _ => {}
        }
        played.set_usage(usage);
        // Not before: a request that got an error has written nothing to the cache.
        self.state.cache.lock().unwrap().write(prompt, Instant::now());
        Ok(match conversation.stream {
            true => self.streamed(&played, fault, include_usage),
            false => self.whole(&played.reply, fault),
        })
    }

    fn streamed(
        &self,
        played: &PlayedTurn<'_>,
        fault: Option<&FaultKind>,
        include_usage: bool,
    ) -> Response<ResponseBody> {
        let reply = &played.reply;
        let pace = match played.pace_ms {
            0 => self.state.script.pace,
            own => Duration::from_millis(own),
        };
        let events = match self.format {
            WireFormat::Messages => messages::response::events(reply),
            WireFormat::Chat => chat::response::events(reply, now(), include_usage),
        };
        let body = ResponseBody::stream(events, fault, self.format, self.request_id, pace);
        let mut response = respond(200, "text/event-stream; charset=utf-8", body);
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        response
    }

    fn whole(&self, reply: &Reply, fault: Option<&FaultKind>) -> Response<ResponseBody> {
        let mut whole = match self.format {
            WireFormat::Messages => messages::response::whole(reply),
            WireFormat::Chat => chat::response::whole(reply, now()),
        };
        if let Some(FaultKind::Unknown { .. }) = fault {
            whole["rehearsal_field"] = json!({"note": "skip me"});
        }
        let text = whole.to_string();
        let body = match fault {
            Some(fault) => ResponseBody::with_fault(text, fault),
            None => ResponseBody::whole(text),
        };
        respond(200, "application/json", body)
    }

    fn error(&self, error: &ApiError) -> Response<ResponseBody> {
        json_response(error.status, &error.body(self.format, self.request_id))
    }

    fn scripted_error(&self, fault: &ErrorStatus) -> Response<ResponseBody> {
        let mut response = match fault.html {
            true => {
                let status = fault.status;
                let page = format!(
                    "<html><head><title>{status}</title></head>\
                     <body><h1>{status}</h1></body></html>\n"
                );
                respond(status, "text/html", ResponseBody::whole(page))
            }
            false => self.error(&ApiError::scripted(fault)),
        };
        let retry_after = fault.retry_after.as_ref().map(|value| ("retry-after", value));
        let headers = fault.headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in retry_after.into_iter().chain(headers) {
            // Both were checked when the script was read.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The body as JSON. Where it is none, it is parsed again for the reason.
fn parsed<'a>(
    json: Option<&'a Value>,
    bytes: &[u8],
    format: WireFormat,
) -> Result<&'a Value, ApiError> {
    if let Some(json) = json {
        return Ok(json);
    }
    let reason = match serde_json::from_slice::<Value>(bytes) {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    };
    Err(ApiError::invalid(match format {
        WireFormat::Messages => format!("The request body is not valid JSON: {reason}"),
        WireFormat::Chat => {
            format!("We could not parse the JSON body of your request: {reason}")
        }
    }))
}

fn respond(status: u16, content_type: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

/// The response that a script has written byte by byte.
fn raw(text: &str, content_type: Option<&str>, stream: bool) -> Response<ResponseBody> {
    let usual = if stream { "text/event-stream" } else { "application/json" };
    let mut response = respond(200, usual, ResponseBody::whole(text.to_string()));
    // It was checked when the script was read.
    if let Some(Ok(kind)) = content_type.map(HeaderValue::from_str) {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

fn json_response(status: u16, body: &Value) -> Response<ResponseBody> {
    respond(status, "application/json", ResponseBody::whole(body.to_string()))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
