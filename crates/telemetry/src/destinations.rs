//! All places that events go to.
use crate::{EventsConfig, Queue, WebhookConfig, write_jsonl};
use rungs_files::{ConfigError, shorten};
use serde_json::json;
use std::{
    fmt::Display,
    fs::File,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// How many events wait for a place before the oldest are dropped.
const MAX_WAITING_EVENTS: usize = 1000;
/// How much of a summary is sent, in bytes.
const MAX_SUMMARY_BYTES: usize = 500;

/// The places that events go to, each behind a queue of its own: what one cannot take in time does
/// not hold up the others.
#[derive(Debug)]
pub struct Destinations {
    /// What each wants, and the queue before it.
    queues: Vec<(WebhookConfig, Queue)>,
    deliveries: Mutex<JoinSet<()>>,
}

impl Destinations {
    /// The destinations of a configuration; `log` makes the file of the log, if one is wanted.
    /// `variable` gives the value of an environment variable, `say` a line to the person. To be
    /// called within a Tokio runtime.
    ///
    /// # Errors
    /// Names the file and the webhook that is wrong, and why; and what keeps the log from being
    /// written.
    pub fn open<E: Display>(
        config: &EventsConfig,
        log: impl FnOnce() -> Result<File, E>,
        variable: impl Fn(&str) -> Option<String>,
        say: impl Fn(&str) + Clone + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let error = |why: String| ConfigError::new(&config.file, None, why);
        let (mut queues, mut deliveries) = (vec![], JoinSet::new());
        for (number, webhook) in (1..).zip(config.webhooks.clone()) {
            let opened = webhook.open(&variable);
            let opened = opened.map_err(|why| error(format!("webhook {number}: {why}")))?;
            let (queue, say) = (Queue::new(MAX_WAITING_EVENTS), say.clone());
            let delivering = opened.deliver(queue.clone(), move |line| say(&line));
            deliveries.spawn(delivering);
            queues.push((webhook, queue));
        }
        if config.log {
            let file = log().map_err(|why| error(format!("log: {why}")))?;
            let queue = Queue::new(MAX_WAITING_EVENTS);
            let writing = write_jsonl(queue.clone(), file);
            deliveries.spawn(async move {
                if let Err(error) = writing.await {
                    say(&format!("the log of events ends: {error}"));
                }
            });
            queues.push((WebhookConfig::default(), queue));
        }
        Ok(Destinations { queues, deliveries: Mutex::new(deliveries) })
    }

    /// Gives an event of this name to every place that wants it: `severity` is `info`, `warning` or
    /// `error`, `agent` to whom it happened. It never waits.
    pub fn send(&self, name: &str, severity: &str, agent: &str, summary: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (time, summary) = (now.as_secs_f64(), shorten(summary, MAX_SUMMARY_BYTES));
        let event = json!({"time": time, "event": name, "severity": severity, "agent": agent,
            "summary": summary});
        for (_, queue) in self.queues.iter().filter(|(wanted, _)| wanted.wants(name)) {
            queue.push(event.clone());
        }
    }

    /// Lets nothing more in, and waits until what waits has left.
    pub async fn close(&self) {
        self.queues.iter().for_each(|(_, queue)| queue.close());
        let mut deliveries = std::mem::take(&mut *self.deliveries.lock().unwrap());
        while deliveries.join_next().await.is_some() {}
    }
}
