//! Sending: one pool of connections, time limits, retries until a response's headers arrive, and
//! errors that name the host and never the key.
use super::{Auth, Endpoint, Format, StopReason, retry, retry::Advice};
use crate::{Context, Error, Event, Result};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, Url};
use serde_json::Value;
use std::{sync::Mutex, time::Duration};
use tokio::time::timeout;

/// How often one request is sent at most.
const MAX_ATTEMPTS: u32 = 5;
/// The same where nobody answers at all: a server that is not running does not start by being
/// asked.
const MAX_ATTEMPTS_WITHOUT_ANSWER: u32 = 3;
/// How long one request waits between its attempts, all in all.
const MAX_TOTAL_WAIT: Duration = Duration::from_secs(120);
/// How long the body of an error may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an error's body is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How much of a reply: more than the largest model can put out.
pub(super) const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;
/// How much is shown of an error's body that has no message.
const MAX_SHOWN_CHARS: usize = 300;

/// How one attempt ends: a failure comes with whether another may help.
type Attempt = Result<Response, (Error, Advice)>;

#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    pub endpoint: Endpoint,
    /// Host and port.
    pub host: String,
    /// The body of the newest request of an agent that is nobody's child.
    last_request: Mutex<Option<Bytes>>,
}

impl Http {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self> {
        let url = checked_url(&endpoint)?;
        // One provider for the process; a second install is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers(&endpoint)?)
            .connect_timeout(endpoint.limits.connect)
            // A redirect would carry `x-api-key` to whatever host it names.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rungs/", env!("CARGO_PKG_VERSION")));
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        if url.scheme() == "http" {
            // Reading the system's certificates takes milliseconds, and here nothing will ask for
            // them.
            builder = builder.tls_certs_only([]);
        }
        // The authority has no user name: `checked_url` refuses one.
        let host = url.authority().to_string();
        match builder.build() {
            Ok(client) => Ok(Http { client, endpoint, host, last_request: Mutex::default() }),
            Err(error) => Err(Error::Net { host, why: chain(&error) }),
        }
    }

    pub(super) fn last_request(&self) -> Option<Bytes> {
        self.last_request.lock().unwrap().clone()
    }

    /// Sends until the headers of a success arrive; everything else is an error, at once or after
    /// the last attempt.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        stream: bool,
        cx: &Context,
    ) -> Result<Response> {
        let limits = &self.endpoint.limits;
        let limit = if stream { limits.first_byte } else { limits.whole };
        let url = format!("{}{path}", self.endpoint.base_url.trim_end_matches('/'));
        let body = Bytes::from(body);
        if !cx.is_child() {
            *self.last_request.lock().unwrap() = Some(body.clone());
        }
        let (mut attempts, mut waited) = (0, Duration::ZERO);
        loop {
            attempts += 1;
            let request = self.client.post(&url).body(body.clone());
            let (error, advice) = match until_cancelled(cx, self.send(request, limit)).await? {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let Advice::Retry(asked) = advice else { return Err(error) };
            let wait = asked.unwrap_or_else(|| retry::backoff(attempts));
            let max_attempts = match error {
                Error::Net { .. } => MAX_ATTEMPTS_WITHOUT_ANSWER,
                _ => MAX_ATTEMPTS,
            };
            if attempts >= max_attempts || waited + wait > MAX_TOTAL_WAIT {
                return Err(error);
            }
            let (seconds, why) = (wait.as_secs_f32(), error.to_string());
            cx.emit(Event::Retry { seconds, attempts, max_attempts, why });
            until_cancelled(cx, tokio::time::sleep(wait)).await?;
            waited += wait;
        }
    }

    /// Sends once.
    async fn send(&self, request: RequestBuilder, limit: Duration) -> Attempt {
        match timeout(limit, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(response),
            Ok(Ok(response)) => Err(self.refused(response).await),
            Ok(Err(error)) => Err((self.net(chain(&error)), Advice::Retry(None))),
            Err(_) => {
                let why = format!("no answer within {} s", limit.as_secs_f32());
                Err((self.net(why), Advice::GiveUp))
            }
        }
    }

    /// What the server says, and whether asking again may help.
    async fn refused(&self, response: Response) -> (Error, Advice) {
        let (status, headers) = (response.status(), response.headers().clone());
        let code = status.as_u16();
        if status.is_redirection() {
            let to = header(&headers, "location").and_then(|location| Url::parse(location).ok());
            let to = to.as_ref().and_then(Url::host_str).unwrap_or("another place");
            let why =
                format!("it redirects to {to} ({code}); keys don't follow, so set that base URL");
            return (self.unreadable(why), Advice::GiveUp);
        }
        let body = timeout(ERROR_BODY_TIMEOUT, up_to(MAX_ERROR_BYTES, response)).await;
        let bytes = body.map_or_else(|_| Bytes::new(), |(bytes, _)| bytes);
        let Ok(body) = serde_json::from_slice::<Value>(&bytes) else {
            let error = self.no_reply(&bytes, &format!("status {code}"));
            return (error, retry::advice(code, &Value::Null, &headers));
        };
        let (_, message) = error_text(&body);
        if code == 400 && retry::is_overflow(&body["error"]["code"], &message) {
            let why = format!(
                "the conversation is more than the model's context window holds: {message}"
            );
            let error = Error::Unfinished { stop: StopReason::WindowFull, why: self.clean(why) };
            return (error, Advice::GiveUp);
        }
        (self.api(code, &body, &headers), retry::advice(code, &body["error"], &headers))
    }

    /// The body of a plain reply.
    pub(super) async fn whole(&self, response: Response, cx: &Context) -> Result<Bytes> {
        let limit = self.endpoint.limits.whole;
        let body = timeout(limit, up_to(MAX_REPLY_BYTES, response));
        let why = match until_cancelled(cx, body).await? {
            Ok((bytes, None)) if bytes.len() < MAX_REPLY_BYTES => return Ok(bytes),
            Ok((_, None)) => "the reply is larger than any reply can be".into(),
            Ok((_, Some(error))) => format!("the reply was cut: {}", chain(&error)),
            Err(_) => format!("the reply took longer than {} s", limit.as_secs()),
        };
        Err(self.net(why))
    }

    /// The error of a connection that failed.
    pub(super) fn net(&self, why: String) -> Error {
        Error::Net { host: self.host.clone(), why: self.clean(why) }
    }

    /// The error of an answer that is not in the API's form.
    pub(super) fn unreadable(&self, why: String) -> Error {
        Error::Unreadable { host: self.host.clone(), why: self.clean(why) }
    }

    /// The error that the server reports in this body.
    pub(super) fn api(&self, status: u16, body: &Value, headers: &HeaderMap) -> Error {
        let (kind, message) = error_text(body);
        let in_headers = header(headers, "request-id").or(header(headers, "x-request-id"));
        let request_id = body["request_id"].as_str().or(in_headers);
        Error::Api {
            host: self.host.clone(),
            status,
            kind: self.clean(kind),
            message: self.clean(message),
            request_id: request_id.map(|id| self.clean(id.into())),
            retry_after: retry::retry_after(headers),
        }
    }

    /// The error of a body that is no reply, though the status may say success: some proxies report
    /// their errors like that.
    pub(super) fn no_reply(&self, bytes: &[u8], why: &str) -> Error {
        if let Ok(body) = serde_json::from_slice::<Value>(bytes)
            && !body["error"].is_null()
        {
            return self.api(200, &body, &HeaderMap::new());
        }
        let start = bytes.trim_ascii_start();
        self.unreadable(if start.is_empty() {
            format!("the answer is empty ({why})")
        } else if start.starts_with(b"<") {
            format!(
                "it answered with HTML where JSON was expected ({why}); is the base URL that of \
                 the API?"
            )
        } else {
            format!("the answer is no reply of this API ({why})")
        })
    }

    /// A text without the key, should the server have repeated it.
    fn clean(&self, text: String) -> String {
        match &self.endpoint.auth {
            Auth::ApiKey(key) | Auth::Bearer(key) if !key.expose().is_empty() => {
                text.replace(key.expose(), "***")
            }
            _ => text,
        }
    }
}

fn checked_url(endpoint: &Endpoint) -> Result<Url> {
    let variable = match endpoint.format {
        Format::Anthropic => "ANTHROPIC_BASE_URL",
        Format::OpenAi => "OPENAI_BASE_URL",
    };
    let url = Url::parse(&endpoint.base_url)
        .map_err(|error| Error::setting(variable, format!("no URL: {error}")))?;
    let why = if url.query().is_some() || url.fragment().is_some() {
        "a base URL has no `?` and no `#`"
    } else if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        "it must start with http:// or https:// and name a host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "it holds a user name or password; a key belongs in its own variable"
    } else {
        return Ok(url);
    };
    Err(Error::setting(variable, why))
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap> {
    let value = |text: &str, variable: &str| {
        let error = |_| Error::setting(variable, "it holds characters that no header can carry");
        HeaderValue::from_str(text).map_err(error)
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let mut variable = "OPENAI_API_KEY";
    if endpoint.format == Format::Anthropic {
        variable = "ANTHROPIC_API_KEY";
        headers.insert("anthropic-version", value(&endpoint.version, "ANTHROPIC_VERSION")?);
    }
    let (name, mut key) = match &endpoint.auth {
        Auth::None => return Ok(headers),
        Auth::ApiKey(key) => ("x-api-key", value(key.expose(), variable)?),
        Auth::Bearer(key) => {
            ("authorization", value(&format!("Bearer {}", key.expose()), variable)?)
        }
    };
    key.set_sensitive(true);
    headers.insert(name, key);
    Ok(headers)
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

async fn until_cancelled<T>(cx: &Context, work: impl Future<Output = T>) -> Result<T> {
    cx.cancel().run_until_cancelled(work).await.ok_or(Error::Cancelled)
}

/// The kind of an error and its message. The Messages API and Chat Completions agree on
/// `error.message`; some proxies say `detail`, or a bare string, or something else altogether.
fn error_text(body: &Value) -> (String, String) {
    let error = &body["error"];
    let kind = error["type"].as_str().or(error["code"].as_str()).unwrap_or("unknown");
    let words = [&error["message"], error, &body["detail"], &body["message"]];
    let message = match words.into_iter().find_map(Value::as_str) {
        Some(message) => message.into(),
        None => body.to_string().chars().take(MAX_SHOWN_CHARS).collect(),
    };
    (kind.into(), message)
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

/// An error with its first cause, which says what the outermost does not; without the URL, which
/// may hold more than the host.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "no connection" } else { "sending failed" };
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    match causes.last() {
        Some(cause) => format!("{what}: {cause}"),
        None => what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Secret;

    #[test]
    fn a_base_url_that_cannot_be_used_is_named() {
        for (url, why) in
            [("ftp://x", "http://"), ("nonsense", "no URL"), ("http://me:pw@x", "user name")]
        {
            let error = Http::new(Endpoint::new(Format::Anthropic, url, "m")).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("ANTHROPIC_BASE_URL: ") && error.contains(why), "{error}");
            assert!(!error.contains("pw"));
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let mut endpoint = Endpoint::new(Format::OpenAi, "http://x", "m");
        for auth in [Auth::ApiKey(Secret::new("sk-1")), Auth::Bearer(Secret::new("sk-1"))] {
            endpoint.auth = auth;
            let http = Http::new(endpoint.clone()).unwrap();
            assert!(!format!("{http:?}").contains("sk-1"));
        }
        endpoint.auth = Auth::Bearer(Secret::new("sk-\n1"));
        let error = Http::new(endpoint).unwrap_err().to_string();
        assert_eq!(error, "OPENAI_API_KEY: it holds characters that no header can carry");
    }
}
