//! Sending: one pool of connections, time limits, retries until a response's headers arrive, and
//! errors that name the host and never the key.
use super::{Auth, Endpoint, Format, StopReason};
use crate::{Context, Error, Event, Result};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use serde_json::Value;
use std::{pin::Pin, time::Duration};
use tokio::time::timeout;

/// How often one request is sent at most.
const MAX_ATTEMPTS: u32 = 5;
/// The same where nobody answers at all: a server that is not running does not start by being
/// asked.
const MAX_ATTEMPTS_WITHOUT_ANSWER: u32 = 3;
/// How long one request waits between its attempts, all in all.
const MAX_TOTAL_WAIT: Duration = Duration::from_secs(120);
/// How much of an error's body is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How much of a reply: more than the largest model can put out.
const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct Http {
    client: reqwest::Client,
    base_url: String,
    host: String,
    headers: HeaderMap,
    /// Removed from whatever a server says, should it repeat the key.
    key: Option<String>,
    limits: super::Limits,
}

impl Http {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self> {
        let setting = |key: &str, why: String| Error::Setting { key: key.into(), why };
        let (url_key, key_key) = match endpoint.format {
            Format::Anthropic => ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
            Format::OpenAi => ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
        };
        let url = reqwest::Url::parse(&endpoint.base_url)
            .map_err(|e| setting(url_key, format!("no URL: {e}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(setting(url_key, "a base URL has no `?` and no `#`".into()));
        }
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return Err(setting(
                url_key,
                "it must start with http:// or https:// and name a host".into(),
            ));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(setting(
                url_key,
                "it holds a user name or password; a key belongs in its own variable".into(),
            ));
        }
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if endpoint.format == Format::Anthropic {
            let version = HeaderValue::from_str(&endpoint.version)
                .map_err(|_| setting("ANTHROPIC_VERSION", "it can't stand in a header".into()))?;
            headers.insert("anthropic-version", version);
        }
        let key = match &endpoint.auth {
            Auth::None => None,
            Auth::ApiKey(key) => Some(("x-api-key", key.expose().to_string(), key)),
            Auth::Bearer(key) => Some(("authorization", format!("Bearer {}", key.expose()), key)),
        };
        let key = match key {
            None => None,
            Some((name, value, key)) => {
                let mut value = HeaderValue::from_str(&value).map_err(|_| {
                    setting(key_key, "the key holds characters that no header can carry".into())
                })?;
                value.set_sensitive(true);
                headers.insert(name, value);
                Some(key.expose().to_string())
            }
        };
        // One provider for the process; a second install is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(endpoint.limits.connect)
            // A redirect would carry `x-api-key` to whatever host it names.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rungs/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        if url.scheme() == "http" {
            // Reading the system's certificates takes milliseconds, and here nothing will ask for
            // them.
            builder = builder.tls_certs_only([]);
        }
        let client =
            builder.build().map_err(|e| Error::Net { host: host.into(), why: chain(&e) })?;
        Ok(Http {
            client,
            base_url: endpoint.base_url.trim_end_matches('/').to_string(),
            host: format!("{host}{port}"),
            headers,
            key,
            limits: endpoint.limits.clone(),
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends until the headers of a success arrive; everything else is an error, at once or after
    /// the last try.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        stream: bool,
        cx: &Context,
    ) -> Result<Response> {
        let body = Bytes::from(body);
        let limit = if stream { self.limits.first_byte } else { self.limits.whole };
        let mut waited = Duration::ZERO;
        let mut attempts = 0;
        loop {
            let request =
                self.client.post(format!("{}{path}", self.base_url)).headers(self.headers.clone());
            let sent = timeout(limit, request.body(body.clone()).send());
            let sent = tokio::select! {
                sent = sent => sent,
                () = cx.cancel().cancelled() => return Err(Error::Cancelled),
            };
            attempts += 1;
            let mut max_attempts = MAX_ATTEMPTS;
            let (error, advice) = match sent {
                Ok(Ok(response)) if response.status().is_success() => return Ok(response),
                Ok(Ok(response)) => self.refused(response).await,
                Ok(Err(error)) => {
                    max_attempts = MAX_ATTEMPTS_WITHOUT_ANSWER;
                    (
                        Error::Net { host: self.host.clone(), why: chain(&error) },
                        Advice::Retry(None),
                    )
                }
                Err(_) => {
                    let why = format!("no answer within {} s", limit.as_secs_f32());
                    (Error::Net { host: self.host.clone(), why }, Advice::GiveUp)
                }
            };
            let error = self.clean(error);
            let Advice::Retry(asked) = advice else { return Err(error) };
            let wait = asked.unwrap_or_else(|| backoff(attempts));
            if attempts >= max_attempts || waited + wait > MAX_TOTAL_WAIT {
                return Err(error);
            }
            cx.emit(Event::Retry {
                seconds: wait.as_secs_f32(),
                attempts,
                max_attempts,
                why: error.to_string(),
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => waited += wait,
                () = cx.cancel().cancelled() => return Err(Error::Cancelled),
            }
        }
    }

    /// The body of a plain reply.
    pub(super) async fn whole(&self, response: Response, cx: &Context) -> Result<Bytes> {
        let body = timeout(self.limits.whole, up_to(MAX_REPLY_BYTES, response));
        let body = tokio::select! {
            body = body => body,
            () = cx.cancel().cancelled() => return Err(Error::Cancelled),
        };
        let net = |why| Error::Net { host: self.host.clone(), why };
        match body {
            Ok((bytes, _)) if bytes.len() >= MAX_REPLY_BYTES => {
                Err(net("the reply is larger than any reply can be".into()))
            }
            Ok((bytes, None)) => Ok(bytes),
            Ok((_, Some(error))) => Err(net(format!("the reply was cut: {}", chain(&error)))),
            Err(_) => {
                Err(net(format!("the reply took longer than {} s", self.limits.whole.as_secs())))
            }
        }
    }

    /// An answer that is not in the API's form; or an error in it, though the status says success,
    /// as some proxies do.
    pub(super) fn unreadable(&self, bytes: &[u8], why: &str) -> Error {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(body) if !body["error"].is_null() => {
                let (kind, message) = error_text(&body);
                Error::Api {
                    host: self.host.clone(),
                    status: 200,
                    kind,
                    message,
                    request_id: None,
                    retry_after: None,
                }
            }
            _ => unreadable(&self.host, bytes, why),
        }
    }

    /// The error without the key, should a server have repeated it anywhere.
    pub(super) fn clean(&self, mut error: Error) -> Error {
        let Some(key) = self.key.as_deref().filter(|key| !key.is_empty()) else { return error };
        let remove = |text: &mut String| *text = text.replace(key, "***");
        match &mut error {
            Error::Api { kind, message, request_id, .. } => {
                remove(kind);
                remove(message);
                if let Some(id) = request_id {
                    remove(id);
                }
            }
            Error::Net { why, .. }
            | Error::Unreadable { why, .. }
            | Error::Unfinished { why, .. } => remove(why),
            _ => {}
        }
        error
    }

    /// What the server says, and whether asking again may help.
    async fn refused(&self, response: Response) -> (Error, Advice) {
        let status = response.status();
        let headers = response.headers().clone();
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        if status.is_redirection() {
            let to = header("location").and_then(|l| reqwest::Url::parse(l).ok());
            let to = to.as_ref().and_then(|url| url.host_str()).unwrap_or("another place");
            let why = format!(
                "it redirects to {to} ({}); keys don't follow, so set that base URL",
                status.as_u16()
            );
            return (Error::Unreadable { host: self.host.clone(), why }, Advice::GiveUp);
        }
        let body = timeout(Duration::from_secs(10), up_to(MAX_ERROR_BYTES, response)).await;
        let bytes = body.map_or_else(|_| Bytes::new(), |(bytes, _)| bytes);
        let retry_after = retry_after(&headers);
        let should_retry = header("x-should-retry");
        let Ok(body) = serde_json::from_slice::<Value>(&bytes) else {
            let advice = advice(status, &Value::Null, retry_after, should_retry);
            return (
                unreadable(&self.host, &bytes, &format!("status {}", status.as_u16())),
                advice,
            );
        };
        let (kind, message) = error_text(&body);
        if status == StatusCode::BAD_REQUEST && is_overflow(&body, &message) {
            let why = format!(
                "the conversation is more than the model's context window holds: {message}"
            );
            return (Error::Unfinished { stop: StopReason::WindowFull, why }, Advice::GiveUp);
        }
        let word = |value: &Value| value.as_str().map(str::to_string);
        let error = Error::Api {
            host: self.host.clone(),
            status: status.as_u16(),
            kind,
            message,
            request_id: word(&body["request_id"])
                .or(header("request-id").or(header("x-request-id")).map(Into::into)),
            retry_after,
        };
        (error, advice(status, &body["error"], retry_after, should_retry))
    }
}

/// Whether a refusal means that the prompt is larger than the window, which each server says in its
/// own words.
fn is_overflow(body: &Value, message: &str) -> bool {
    let message = message.to_lowercase();
    body["error"]["code"] == "context_length_exceeded"
        || ["prompt is too long", "maximum context length", "exceeds the context"]
            .iter()
            .any(|say| message.contains(say))
}

/// The kind of an error and its message. The Messages API and Chat Completions agree on
/// `error.message`; some proxies say `detail`, or a bare string, or something else altogether.
pub(super) fn error_text(body: &Value) -> (String, String) {
    let error = &body["error"];
    let word = |value: &Value| value.as_str().map(str::to_string);
    let kind = word(&error["type"]).or(word(&error["code"])).unwrap_or_else(|| "unknown".into());
    let message = word(&error["message"])
        .or(word(error))
        .or(word(&body["detail"]))
        .or(word(&body["message"]));
    (kind, message.unwrap_or_else(|| body.to_string().chars().take(300).collect()))
}

#[derive(Debug, PartialEq)]
enum Advice {
    Retry(Option<Duration>),
    GiveUp,
}

/// Which refusals pass by themselves. The official SDKs go by the status alone; a spent quota also
/// says 429, though, and no waiting refills it.
fn advice(
    status: StatusCode,
    error: &Value,
    retry_after: Option<Duration>,
    should_retry: Option<&str>,
) -> Advice {
    const SPENT: [&str; 6] = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
    ];
    let names = [&error["type"], &error["code"], &error["details"]["error_code"]];
    if names.iter().any(|name| name.as_str().is_some_and(|name| SPENT.contains(&name))) {
        return Advice::GiveUp;
    }
    let passing = match should_retry {
        // Asking again cannot help here, whatever the server says.
        _ if matches!(status.as_u16(), 400 | 401 | 403 | 404 | 413) => false,
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
    };
    if passing { Advice::Retry(retry_after) } else { Advice::GiveUp }
}

/// `retry-after` in seconds or as a date, and the milliseconds that the official SDKs prefer.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let seconds = |n: f64| Duration::try_from_secs_f64(n).ok();
    if let Some(ms) = header("retry-after-ms").and_then(|v| v.parse::<f64>().ok()) {
        return seconds(ms / 1000.0);
    }
    let value = header("retry-after")?;
    if let Ok(n) = value.parse::<f64>() {
        return seconds(n);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that has passed means now.
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// Half a second, doubled each time up to eight, less up to a quarter at random, so that many
/// clients do not retry at the same moment.
fn backoff(tried: u32) -> Duration {
    let full = (0.5 * f64::from(1u32 << (tried - 1).min(10))).min(8.0);
    Duration::from_secs_f64(full * (1.0 - 0.25 * fastrand::f64()))
}

/// The first bytes of a body, however long it is, and what cut it short.
async fn up_to(most: usize, response: Response) -> (Bytes, Option<reqwest::Error>) {
    let mut body = response.bytes_stream();
    let mut start = BytesMut::new();
    while let Some(part) = body.next().await {
        match part {
            Ok(part) => start.extend_from_slice(&part),
            Err(error) => return (start.freeze(), Some(error)),
        }
        if start.len() >= most {
            start.truncate(most);
            break;
        }
    }
    (start.freeze(), None)
}

/// The bytes of a stream; one that falls silent for longer than `idle` ends with an error.
pub(super) fn bytes(
    response: Response,
    idle: Duration,
) -> BoxStream<'static, std::io::Result<Bytes>> {
    let body: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>> =
        Box::pin(response.bytes_stream());
    futures_util::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(idle, body.next()).await {
            Ok(Some(Ok(part))) => Some((Ok(part), Some(body))),
            Ok(Some(Err(error))) => Some((Err(std::io::Error::other(chain(&error))), None)),
            Ok(None) => None,
            Err(_) => {
                let why = format!("nothing came for {} s", idle.as_secs_f32());
                Some((Err(std::io::Error::new(std::io::ErrorKind::TimedOut, why)), None))
            }
        }
    })
    .boxed()
}

/// The error of a stream that broke after so many events.
pub(super) fn cut(host: String, error: &sse_stream::Error, seen: usize) -> Error {
    match error {
        sse_stream::Error::Body(why) => {
            Error::Net { host, why: format!("the stream was cut after {seen} events: {why}") }
        }
        other => Error::Unreadable {
            host,
            why: format!("event {} of the stream is malformed: {other}", seen + 1),
        },
    }
}

/// A stream that is no stream is mostly a proxy's error page.
pub(super) fn expect_type(host: &str, response: &Response, wanted: &str) -> Result<()> {
    let got =
        response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("nothing");
    if got.to_ascii_lowercase().starts_with(wanted) {
        return Ok(());
    }
    let why = format!(
        "it answered with {got} where a stream was asked for; is the base URL that of the API?"
    );
    Err(Error::Unreadable { host: host.into(), why })
}

/// An answer that is not in the API's form.
fn unreadable(host: &str, bytes: &[u8], why: &str) -> Error {
    let start = bytes.trim_ascii_start();
    let why = if start.is_empty() {
        format!("the answer is empty ({why})")
    } else if start.starts_with(b"<") {
        format!(
            "it answered with HTML where JSON was expected ({why}); is the base URL that of the API?"
        )
    } else {
        format!("the answer is no reply of this API ({why})")
    };
    Error::Unreadable { host: host.into(), why }
}

/// An error with its causes, which say what the outermost does not; without the URL, which may hold
/// more than the host.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_connect() {
        "no connection".to_string()
    } else if error.is_timeout() {
        "time limit".to_string()
    } else {
        "sending failed".to_string()
    };
    let mut source = std::error::Error::source(error);
    let mut last = None;
    while let Some(cause) = source {
        source = cause.source();
        last = Some(cause);
    }
    if let Some(cause) = last {
        text.push_str(&format!(": {cause}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_passes_and_what_does_not() {
        let go = |status: u16, error: Value| {
            advice(StatusCode::from_u16(status).unwrap(), &error, None, None)
        };
        for status in [408, 409, 429, 500, 503, 504, 529] {
            assert_eq!(go(status, json!({"type": "x"})), Advice::Retry(None), "{status}");
        }
        for status in [400, 401, 402, 403, 404, 413, 422] {
            assert_eq!(go(status, json!({})), Advice::GiveUp, "{status}");
        }
        assert_eq!(go(429, json!({"type": "insufficient_quota"})), Advice::GiveUp);
        assert_eq!(go(429, json!({"code": "credit_balance_exhausted"})), Advice::GiveUp);
        assert_eq!(
            go(429, json!({"details": {"error_code": "enforced_spend_limit_reached"}})),
            Advice::GiveUp
        );
        let told = |status, word| {
            advice(StatusCode::from_u16(status).unwrap(), &Value::Null, None, Some(word))
        };
        assert_eq!([told(529, "false"), told(400, "true")], [Advice::GiveUp, Advice::GiveUp]);
        assert_eq!(told(422, "true"), Advice::Retry(None));
    }

    #[test]
    fn waiting_is_told_in_three_ways() {
        let told = |name: &'static str, value: &str| {
            retry_after(&HeaderMap::from_iter([(
                name.parse().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )]))
        };
        assert_eq!(told("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(told("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(told("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60));
        assert!(told("retry-after", &soon).is_some_and(|d| (50..=60).contains(&d.as_secs())));
        assert_eq!([told("retry-after", "-1"), told("retry-after", "soon")], [None, None]);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        for (tried, full) in [(1, 0.5), (2, 1.0), (5, 8.0), (60, 8.0)] {
            let wait = backoff(tried).as_secs_f64();
            assert!(wait <= full && wait >= full * 0.75, "{tried}: {wait}");
        }
    }

    #[test]
    fn a_base_url_that_cannot_be_used_is_named() {
        for (url, why) in
            [("ftp://x", "http://"), ("nonsense", "no URL"), ("http://me:pw@x", "user name")]
        {
            let error =
                Http::new(&Endpoint::new(Format::Anthropic, url, "m")).err().unwrap().to_string();
            assert!(error.starts_with("ANTHROPIC_BASE_URL: ") && error.contains(why), "{error}");
            assert!(!error.contains("pw"));
        }
    }
}
