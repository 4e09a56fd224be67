use super::*;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Arrived {
    head: String,
    body: String,
}

impl Arrived {
    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &&str| line.to_lowercase().starts_with(&format!("{name}: "));
        Some(self.head.lines().find(of)?.split_once(": ")?.1)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server on this machine that gives these answers, one a request, and then 204.
struct Receiver {
    url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    /// While there is one, no request is answered before it is notified.
    gate: Arc<Notify>,
}

impl Receiver {
    async fn start(answers: &[&str], gated: bool) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/secret/path", listener.local_addr().unwrap());
        let (arrived, gate) = (Arc::new(Mutex::new(vec![])), Arc::new(Notify::new()));
        let mut answers: Vec<String> = answers.iter().rev().map(ToString::to_string).collect();
        let (requests, open) = (arrived.clone(), gate.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                requests.lock().unwrap().push(request);
                if gated {
                    open.notified().await;
                }
                let answer = answers.pop().unwrap_or("204 No Content\r\n".into());
                let (head, body) = answer.split_once("\n\n").unwrap_or((&answer, ""));
                let length = body.len();
                let head = head.trim_end();
                let response = format!(
                    "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        });
        Receiver { url, arrived, gate }
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    /// Delivers so many events of a closed queue: what was reported.
    async fn take(&self, template: &str, key: Option<&str>, events: usize) -> Vec<String> {
        let template = Template::named(template).unwrap();
        let webhook = Webhook::new(template, Some(&self.url), key).unwrap();
        let queue = Queue::new(1000);
        (0..events).for_each(|n| queue.push(json!({"event": "call", "summary": n.to_string()})));
        queue.close();
        let reports = Mutex::new(vec![]);
        webhook.deliver(queue, |line| reports.lock().unwrap().push(line)).await;
        reports.into_inner().unwrap()
    }
}

async fn read(stream: &mut TcpStream) -> Arrived {
    let mut bytes = vec![];
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let arrived = Arrived { head: head.into(), body: body.into() };
        let length: usize = arrived.header("content-length").unwrap().parse().unwrap();
        if arrived.body.len() >= length {
            return arrived;
        }
    }
}

#[tokio::test]
async fn a_batch_is_posted_and_signed_and_the_signature_holds() {
    let receiver = Receiver::start(&[], false).await;
    assert_eq!(receiver.take("plain", Some("key"), 150).await, Vec::<String>::new());
    let arrived = receiver.arrived();
    let sizes: Vec<usize> =
        arrived.iter().map(|request| request.json()["events"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [100, 50]);
    let request = &arrived[0];
    assert!(request.head.starts_with("POST /secret/path HTTP/1.1"), "{}", request.head);
    assert_eq!(request.header("content-type"), Some("application/json"));
    let id = request.header("webhook-id").unwrap();
    assert_eq!(request.json()["id"], id);
    let timestamp = request.header("webhook-timestamp").unwrap().parse().unwrap();
    let expected = signature(&SigningKey::new("key").unwrap(), id, timestamp, &request.body);
    assert_eq!(request.header("webhook-signature"), Some(expected.as_str()));
    let changed = signature(&SigningKey::new("key").unwrap(), id, timestamp, "{}");
    assert_ne!(request.header("webhook-signature"), Some(changed.as_str()));
}

#[tokio::test]
async fn what_fails_is_sent_again_with_the_same_id() {
    let busy = "503 Busy\r\nretry-after: 0.1";
    let receiver = Receiver::start(&[busy, "429 Slow\r\nretry-after: 0.1"], false).await;
    assert_eq!(receiver.take("plain", Some("key"), 1).await, Vec::<String>::new());
    let ids: Vec<String> =
        receiver.arrived().iter().map(|r| r.header("webhook-id").unwrap().into()).collect();
    assert_eq!(ids, vec![ids[0].clone(); 3]);
}

#[tokio::test]
async fn a_refusal_is_reported_without_secrets_and_what_follows_is_sent() {
    let receiver = Receiver::start(&["403 Forbidden\r\n\n\nno key the-key here"], false).await;
    let reports = receiver.take("plain", Some("the-key"), 101).await;
    let line = "webhook 127.0.0.1: 100 events were dropped: it answered 403 Forbidden: no key *** \
                here (1 attempt)";
    assert_eq!(reports, [line]);
    assert_eq!(receiver.arrived()[1].json()["dropped"], 100);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_three_times_and_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    drop(listener);
    let nobody = Receiver { url, arrived: Arc::default(), gate: Arc::default() };
    let reports = nobody.take("slack", None, 1).await;
    let begin = "webhook 127.0.0.1: 1 events were dropped: no connection: Connection refused";
    assert!(reports[0].starts_with(begin) && reports[0].ends_with("(3 attempts)"), "{reports:?}");
    assert!(!reports[0].contains("secret"));
}

#[tokio::test]
async fn a_slow_server_holds_nobody_up_and_what_it_costs_is_said() {
    let receiver = Receiver::start(&[], true).await;
    let template = Template::named("plain").unwrap();
    let webhook = Webhook::new(template, Some(&receiver.url), None).unwrap();
    let (queue, reports) = (Queue::new(10), Arc::new(Mutex::new(vec![])));
    let lines = reports.clone();
    let report = move |line| lines.lock().unwrap().push(line);
    let webhook = webhook.delay(Duration::ZERO);
    let delivering = tokio::spawn(webhook.deliver(queue.clone(), report));
    queue.push(json!("first"));
    while receiver.arrived().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It does not answer, and nobody waits.
    (0..1000).for_each(|n| queue.push(json!(n)));
    queue.close();
    receiver.gate.notify_one();
    receiver.gate.notify_one();
    while receiver.arrived().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    receiver.gate.notify_one();
    delivering.await.unwrap();
    assert_eq!(*reports.lock().unwrap(), ["webhook 127.0.0.1: 990 events were dropped: too many"]);
    let last = receiver.arrived()[1].json();
    assert_eq!(
        (&last["dropped"], &last["events"][0], &last["events"][9]),
        (&json!(990), &json!(990), &json!(999))
    );
}

#[tokio::test]
async fn services_get_their_key_where_they_want_it() {
    let receiver = Receiver::start(&[], false).await;
    receiver.take("datadog", Some("dog"), 2).await;
    receiver.take("pagerduty", Some("duty"), 2).await;
    let arrived = receiver.arrived();
    assert_eq!(arrived[0].header("dd-api-key"), Some("dog"));
    assert_eq!(arrived[0].json().as_array().unwrap().len(), 2);
    let keys: Vec<Value> = arrived[1..].iter().map(|r| r.json()["routing_key"].clone()).collect();
    assert_eq!(keys, ["duty", "duty"]);
    assert!(arrived.iter().all(|request| request.header("webhook-signature").is_none()));
}

#[test]
fn what_is_wrong_is_said_without_the_secret() {
    for (template, url, key, why) in [
        ("plain", None, None, "it has no URL"),
        ("slack", Some("hooks.slack.com/x"), None, "its URL is none: relative URL without a base"),
        (
            "slack",
            Some("http://example.com/secret"),
            None,
            "its URL must start with https://, but for a server on this machine",
        ),
        (
            "plain",
            Some("ftp://x/"),
            None,
            "its URL must start with http:// or https:// and name a host",
        ),
        ("datadog", None, None, "this service wants a key"),
        ("pagerduty", None, None, "this service wants a key"),
        ("datadog", None, Some("a\nb"), "its key cannot stand in a header"),
        (
            "plain",
            Some("http://127.0.0.1"),
            Some("whsec_?"),
            "after `whsec_` the key must be base64",
        ),
    ] {
        let template = Template::named(template).unwrap();
        assert_eq!(Webhook::new(template, url, key).unwrap_err(), why);
    }
    let webhook = Webhook::new(Template::named("datadog").unwrap(), None, Some("the-key")).unwrap();
    assert!(!format!("{webhook:?}").contains("the-key"), "{webhook:?}");
}
