//! Responses as far as they can be trusted.
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::{Body, Response, Url, header::HeaderMap};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A header as text, without blanks around it.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// The host to which a redirect leads, for an error.
pub fn redirect_host(headers: &HeaderMap) -> String {
    let to = header(headers, "location").and_then(|location| Url::parse(location).ok());
    to.as_ref().and_then(Url::host_str).unwrap_or("another place").to_string()
}

/// The first bytes of a body, however long it is and however long it takes, and what cut it short.
pub async fn read_body(
    most: usize,
    limit: Duration,
    response: Response,
) -> (Bytes, Option<String>) {
    let mut body = response.bytes_stream();
    let mut start = BytesMut::new();
    let deadline = Instant::now() + limit;
    loop {
        match timeout_at(deadline, body.next()).await {
            Ok(Some(Ok(part))) => start.extend_from_slice(&part),
            Ok(Some(Err(error))) => return (start.freeze(), Some(cause(&error))),
            Ok(None) => break,
            Err(_) => {
                let why = format!("it took longer than {} s", limit.as_secs_f32());
                return (start.freeze(), Some(why));
            }
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
pub fn cause(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "no connection" } else { "sending failed" };
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    match causes.last() {
        // Whoever reads a body says what was cut.
        Some(cause) if error.is_body() || error.is_decode() => cause.to_string(),
        Some(cause) => format!("{what}: {cause}"),
        None => what.into(),
    }
}

/// The same response; `see` is shown every part of its body as it is read.
pub fn tapped(response: Response, see: impl Fn(&Bytes) + Send + 'static) -> Response {
    let (status, headers) = (response.status(), response.headers().clone());
    let parts = response.bytes_stream().inspect_ok(see);
    let mut same = http::Response::new(Body::wrap_stream(parts));
    (*same.status_mut(), *same.headers_mut()) = (status, headers);
    same.into()
}

/// How much is shown of what a server says, in characters.
const MAX_SHOWN_CHARS: usize = 2000;

/// A text of bounded length without the secret, should a server have repeated it.
pub fn redact(mut text: String, secret: &str) -> String {
    if !secret.is_empty() {
        text = text.replace(secret, "***");
    }
    if let Some((cut, _)) = text.char_indices().nth(MAX_SHOWN_CHARS) {
        text.truncate(cut);
        text.push_str(" [cut]");
    }
    text
}
