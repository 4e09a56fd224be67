//! Sending: one pool of connections, time limits, retries, and errors that name the host and what
//! to change, and never the key.
use super::{Auth, Endpoint, Format, StopReason, Wire, WireTap};
use crate::{Context, Error, Event, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue};
use rungs_http::{
    Advice, Refusal, Retries, advice, base_url, cause, client, header, header_value, is_local,
    proxy, read_body, redirect_host, reported, retry_after, status_of, tapped, unreadable,
};
use serde_json::{Value, json};
use std::{sync::Arc, sync::Mutex, time::Duration};
use tokio::time::timeout;

/// How long the body of an error may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an error's body is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How much of a reply: more than the largest model can put out.
pub(super) const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

/// How one attempt ends: a failure comes with what may help.
type Attempt<T> = Result<T, (Error, Advice)>;

/// A request that can be sent again.
pub(super) struct Outgoing<'a> {
    pub path: &'static str,
    pub model: &'a str,
    pub stream: bool,
    /// The bound on the tokens of the reply.
    pub max_tokens: u32,
    /// Its bytes, with such a bound.
    pub body: &'a (dyn Fn(u32) -> Vec<u8> + Sync),
}

#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    pub endpoint: Endpoint,
    /// Host and port.
    pub host: String,
    /// Whether that is this machine.
    is_local: bool,
    /// Through whom the system's settings send it: host and port.
    proxy: Option<String>,
    /// The body of the newest request of an agent that is nobody's child.
    pub last_request: Mutex<Option<Bytes>>,
}

impl Http {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self> {
        let variable = match endpoint.format {
            Format::Anthropic => "ANTHROPIC_BASE_URL",
            Format::OpenAi => "OPENAI_BASE_URL",
        };
        let url = base_url(&endpoint.base_url).map_err(|why| Error::setting(variable, why))?;
        // The authority has no user name: `base_url` refuses one.
        let host = url.authority().to_string();
        match client(&url, headers(&endpoint)?, endpoint.limits.connect) {
            Ok(client) => {
                let (is_local, proxy) = (is_local(&url), proxy(&url));
                let last_request = Mutex::default();
                Ok(Http { client, endpoint, host, is_local, proxy, last_request })
            }
            Err(error) => Err(Error::Net { host, why: cause(&error) }),
        }
    }

    /// Sends until `read` has made something of a response; everything else is an error, at once or
    /// after the last attempt.
    pub(super) async fn post<'a, T>(
        &'a self,
        outgoing: Outgoing<'_>,
        read: impl Fn(Response) -> BoxFuture<'a, Result<T>>,
        cx: &Context,
    ) -> Result<T> {
        let mut max_tokens = outgoing.max_tokens;
        let (mut retries, tap) = (Retries::default(), cx.value::<WireTap>());
        loop {
            let body = Bytes::from((outgoing.body)(max_tokens));
            if !cx.is_child() {
                *self.last_request.lock().unwrap() = Some(body.clone());
            }
            let attempt = async {
                let response = self.send(&outgoing, body, max_tokens, tap.clone()).await?;
                read(response).await.map_err(|error| self.judged(error, &outgoing))
            };
            let (error, advice) = match until_cancelled(cx, attempt).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // Once: the numbers of a second refusal would be no better.
            if let Advice::Fewer(fewer) = advice
                && max_tokens == outgoing.max_tokens
            {
                cx.notice(format!("{error}; asking again for at most {fewer} tokens"));
                max_tokens = fewer;
                continue;
            }
            let Some(wait) = retries.next(&advice) else { return Err(error) };
            let Retries { attempts, max_attempts, .. } = retries;
            let (seconds, why) = (wait.as_secs_f32(), error.to_string());
            cx.emit(Event::Retry { seconds, attempts, max_attempts, why });
            until_cancelled(cx, tokio::time::sleep(wait)).await?;
        }
    }

    /// Sends once.
    async fn send(
        &self,
        outgoing: &Outgoing<'_>,
        body: Bytes,
        bound: u32,
        tap: Option<Arc<WireTap>>,
    ) -> Attempt<Response> {
        if let Some(WireTap(see)) = tap.as_deref() {
            see(Wire::Request(&body));
        }
        let limits = &self.endpoint.limits;
        let limit = if outgoing.stream { limits.first_byte } else { limits.whole };
        let url = format!("{}{}", self.endpoint.base_url.trim_end_matches('/'), outgoing.path);
        let mut sent = timeout(limit, self.client.post(url).body(body).send()).await;
        if let (Ok(Ok(response)), Some(tap)) = (&mut sent, tap) {
            tap.0(Wire::Response(response.status().as_u16()));
            sent = sent.map(|sent| Ok(tapped(sent?, move |part| tap.0(Wire::Part(part)))));
        }
        match sent {
            Ok(Ok(response)) if response.status().is_success() => Ok(response),
            Ok(Ok(response)) => Err(self.refused(response, outgoing, bound).await),
            Ok(Err(error)) => {
                let mut why = cause(&error);
                if let Some(proxy) = &self.proxy
                    && error.is_connect()
                {
                    why.push_str(&format!("; HTTPS_PROXY or its like leads through {proxy}"));
                }
                let local = self.is_local && error.is_connect();
                let advice = if local { Advice::RetryLocal } else { Advice::Retry(None) };
                Err((self.net(why), advice))
            }
            Err(_) => {
                let why = format!("no answer within {} s", limit.as_secs_f32());
                Err((self.net(why), Advice::RetryOnce))
            }
        }
    }

    /// What the server says, what that is about, and what may help.
    async fn refused(
        &self,
        response: Response,
        outgoing: &Outgoing<'_>,
        max_tokens: u32,
    ) -> (Error, Advice) {
        let (status, headers) = (response.status(), response.headers().clone());
        let code = status.as_u16();
        if status.is_redirection() {
            let to = redirect_host(&headers);
            let why = format!("it redirects to {to} ({code}), without the key; set that base URL");
            return (self.unreadable(why), Advice::GiveUp);
        }
        let (bytes, _) = read_body(MAX_ERROR_BYTES, ERROR_BODY_TIMEOUT, response).await;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(
            |_| json!({ "message": unreadable(&bytes, &format!("status {code}")) }),
        );
        let refusal = Refusal::read(code, &body);
        let mut error = self.api(code, &body, &headers);
        if let Error::Api { message, .. } | Error::Unfinished { why: message, .. } = &mut error {
            let about = match self.about(code, message, outgoing) {
                about if about.is_empty() && refusal.is_about_reply() => {
                    format!("; MAX_TOKENS sets the bound, which was {max_tokens}")
                }
                about => about,
            };
            message.push_str(&about);
        }
        let advice = match refusal.fewer_tokens(max_tokens) {
            Some(fewer) => Advice::Fewer(fewer),
            None if refusal.is_overflow() => Advice::GiveUp,
            None => advice(code, &body["error"], &headers),
        };
        (error, advice)
    }

    /// Which setting a refusal is about.
    fn about(&self, status: u16, words: &str, outgoing: &Outgoing<'_>) -> String {
        let (path, model) = (outgoing.path, outgoing.model);
        // Gemini's endpoint says 400.
        let names_key = || words.to_lowercase().contains("api key");
        let is_key = matches!(status, 401 | 403) || (status == 400 && names_key());
        match (status, self.endpoint.key_variable) {
            (404, _) => format!("; {path} was asked for `{model}`, which MODEL_ID names"),
            (_, Some(key)) if is_key && self.endpoint.auth == Auth::None => {
                format!("; {key} is not set")
            }
            (_, Some(key)) if is_key => format!("; {key} was refused"),
            _ => String::new(),
        }
    }

    /// What helps after a reply that could not be read. A server may report its error under a
    /// status of success, or as the first event of a stream.
    fn judged(&self, mut error: Error, outgoing: &Outgoing<'_>) -> (Error, Advice) {
        let advice = match &mut error {
            Error::Net { .. } => Advice::RetryOnce,
            Error::Api { status, kind, message, .. } => {
                message.push_str(&self.about(*status, message, outgoing));
                advice(*status, &json!({ "type": kind }), &HeaderMap::new())
            }
            _ => Advice::GiveUp,
        };
        (error, advice)
    }

    /// The body of a plain reply.
    pub(super) async fn whole(&self, response: Response) -> Result<Bytes> {
        match read_body(MAX_REPLY_BYTES, self.endpoint.limits.whole, response).await {
            (_, Some(why)) => Err(self.net(format!("the reply was cut: {why}"))),
            (bytes, None) if bytes.len() < MAX_REPLY_BYTES => Ok(bytes),
            (_, None) => Err(self.unreadable("the reply is larger than any".into())),
        }
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
        let refusal = Refusal::read(status, body);
        if refusal.is_overflow() {
            let why = "the conversation is more than the model's context window holds";
            let why = self.clean(format!("{why}: {}", refusal.message));
            return Error::Unfinished { stop: StopReason::WindowFull, why };
        }
        let in_headers = header(headers, "request-id").or(header(headers, "x-request-id"));
        let request_id = body["request_id"].as_str().or(in_headers);
        Error::Api {
            host: self.host.clone(),
            status,
            kind: self.clean(refusal.kind),
            message: self.clean(refusal.message),
            request_id: request_id.map(|id| self.clean(id.into())),
            retry_after: retry_after(headers),
        }
    }

    /// The error of a body that is no reply, though the status says success: some proxies report
    /// their errors like that.
    pub(super) fn no_reply(&self, bytes: &[u8], why: &str) -> Error {
        if let Ok(body) = serde_json::from_slice::<Value>(bytes)
            && let Some(error) = reported(&body)
        {
            return self.api(status_of(error).unwrap_or(200), &body, &HeaderMap::new());
        }
        self.unreadable(unreadable(bytes, why))
    }

    /// A text of bounded length without the key, should the server have repeated it.
    fn clean(&self, text: String) -> String {
        self.endpoint.auth.redact(text)
    }
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let mut variable = "OPENAI_API_KEY";
    if endpoint.format == Format::Anthropic {
        let version = header_value(&endpoint.version);
        let version = version.map_err(|why| Error::setting("ANTHROPIC_VERSION", why))?;
        headers.insert("anthropic-version", version);
        variable = "ANTHROPIC_API_KEY";
    }
    let key = endpoint.auth.header();
    let key = key.map_err(|why| Error::setting(endpoint.key_variable.unwrap_or(variable), why))?;
    headers.extend(key);
    Ok(headers)
}

async fn until_cancelled<T>(cx: &Context, work: impl Future<Output = T>) -> Result<T> {
    cx.cancel().run_until_cancelled(work).await.ok_or(Error::Cancelled)
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
        for broken in ["sk-\n1", "sk-\u{fffd}", "sk-\u{2013}1"] {
            endpoint.auth = Auth::Bearer(Secret::new(broken));
            let error = Http::new(endpoint.clone()).unwrap_err().to_string();
            assert_eq!(error, "OPENAI_API_KEY: it holds characters that no header can carry");
        }
    }
}
