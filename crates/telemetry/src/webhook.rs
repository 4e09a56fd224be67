//! Events that are posted to a service.
use crate::{
    Batch, Queue, SigningKey, Template, signature,
    template::{Content, KeyUse},
};
use reqwest::{
    Client, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use rungs_http::{Advice, Retries, Secret, advice, cause, client, is_local, read_body, redact};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// How many events a request carries at most, and how long the first of them waits for the others.
const MAX_BATCH: usize = 100;
const DELAY: Duration = Duration::from_secs(1);
/// How long a connection and an answer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of an answer is read, and shown when it is a refusal, in bytes.
const MAX_ANSWER_BYTES: usize = 300;

/// A service that takes events. Its URL may be a secret itself, so that only the host is ever
/// shown.
#[derive(Debug)]
pub struct Webhook {
    template: Template,
    url: Url,
    client: Client,
    key: Option<Secret>,
    signing_key: Option<SigningKey>,
    /// How this machine is called in what is sent.
    host: String,
    delay: Duration,
}

impl Webhook {
    /// A webhook at this URL, or where the service of the template always is.
    ///
    /// # Errors
    /// What is wrong with the URL or the key; neither is repeated.
    pub fn new(template: Template, url: Option<&str>, key: Option<&str>) -> Result<Self, String> {
        let Some(url) = url.or(template.url) else {
            return Err("it has no URL".into());
        };
        let url = Url::parse(url).map_err(|error| format!("its URL is none: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("its URL must start with http:// or https:// and name a host".into());
        }
        if url.scheme() == "http" && !is_local(&url) {
            return Err("its URL must start with https://, but for a server on this machine".into());
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut signing_key = None;
        match (template.key, key) {
            (KeyUse::Signs, Some(key)) => signing_key = Some(SigningKey::new(key)?),
            (KeyUse::Header(name), Some(key)) => {
                let value = HeaderValue::from_str(key);
                let mut value =
                    value.map_err(|_| "its key cannot stand in a header".to_string())?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (KeyUse::InBody, Some(_)) | (KeyUse::Signs, None) => {}
            (_, None) => return Err("this service wants a key".into()),
        }
        let client = client(&url, headers, CONNECT_TIMEOUT).map_err(|error| error.to_string())?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let (host, key) = (host.trim().to_string(), key.map(Secret::new));
        Ok(Webhook { template, url, client, key, signing_key, host, delay: DELAY })
    }

    /// The host, for messages.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// How long the first event of a batch waits for others.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Posts what the queue brings until it is closed and empty. What cannot be delivered after
    /// retries with backoff is dropped, and `report` is given a line about it.
    pub async fn deliver(self, queue: Queue, report: impl Fn(String)) {
        let most = if self.template.is_single { 1 } else { MAX_BATCH };
        let mut dropped = 0;
        while let Some(mut batch) = queue.next(most, self.delay).await {
            if batch.dropped > 0 {
                let count = batch.dropped;
                report(format!("webhook {}: {count} events were dropped: too many", self.host()));
            }
            // What could not be delivered is said with what can.
            batch.dropped += dropped;
            dropped = batch.dropped;
            match self.post(&batch).await {
                Ok(()) => dropped = 0,
                Err(why) => {
                    let count = batch.events.len();
                    dropped += count as u64;
                    report(format!("webhook {}: {count} events were dropped: {why}", self.host()));
                }
            }
        }
    }

    /// Posts one batch, and again while that may help. All attempts have the same id.
    async fn post(&self, batch: &Batch) -> Result<(), String> {
        let id = format!("msg_{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let key = match self.template.key {
            KeyUse::InBody => self.key.as_ref().map(Secret::expose),
            _ => None,
        };
        let (events, dropped) = (batch.events.as_slice(), batch.dropped);
        let content = Content { events, id: &id, host: &self.host, dropped, key };
        let body = self.template.render(&content).map_err(|error| error.to_string())?;
        let mut retries = Retries::default();
        loop {
            let (advice, why) = match self.attempt(&id, &body).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let Some(wait) = retries.next(&advice) else {
                let times = retries.attempts;
                return Err(format!(
                    "{why} ({times} attempt{})",
                    if times == 1 { "" } else { "s" }
                ));
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, id: &str, body: &str) -> Result<(), (Advice, String)> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut request = self.client.post(self.url.clone()).body(body.to_owned());
        request = request.timeout(ANSWER_TIMEOUT).header("webhook-id", id);
        if let Some(key) = &self.signing_key {
            // The time is that of the attempt: a receiver refuses what is older than minutes.
            request = request
                .header("webhook-timestamp", now.as_secs())
                .header("webhook-signature", signature(key, id, now.as_secs(), body));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let local = error.is_connect() && is_local(&self.url);
                let advice = if local { Advice::RetryLocal } else { Advice::Retry(None) };
                let why =
                    if error.is_timeout() { "no answer in time".into() } else { cause(&error) };
                return Err((advice, why));
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Ok(());
        }
        let (answer, _) = read_body(MAX_ANSWER_BYTES, ANSWER_TIMEOUT, response).await;
        let answer = String::from_utf8_lossy(&answer).trim().to_string();
        let key = self.key.as_ref().map_or("", Secret::expose);
        let why = redact(format!("it answered {status}: {answer}"), key);
        Err((advice(status.as_u16(), &Value::Null, &headers), why))
    }
}

#[cfg(test)]
mod tests;
