//! What sessions cost: a saved turn at the begin and at the end of a long session, and resuming it.
//!
//! `cargo bench -p rungs-sessions` prints figures, and asserts nothing.
use durable::Folder;
use rungs_sessions::{Begin, Conversation, Now, Redactor, Sessions};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

const TURNS: usize = 5000;
const ID: &str = "0123456789abcdef";

type Talk = Conversation<Value, Value>;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path(), "sessions").unwrap();
    let sessions = Sessions::new(folder, Redactor::default());
    let begin = Begin::new("main", "/w");
    let mut talk = Talk::new(sessions.open_or_create(ID, &begin).unwrap());
    let mut now = Now { messages: vec![], states: BTreeMap::new() };
    let mut costs = vec![];
    for turn in 0..TURNS {
        now.messages.push(message("user", &format!("{turn} {}", "a prompt ".repeat(100))));
        now.states.insert("turn".into(), json!(turn));
        let start = Instant::now();
        talk.begin_turn("a prompt", &now).unwrap();
        now.messages.push(message("assistant", &"an answer ".repeat(100)));
        talk.end_turn(&sessions, false, &now).unwrap();
        costs.push(start.elapsed());
    }
    drop(talk);
    let start = Instant::now();
    let listed = sessions.list().unwrap().len();
    println!("listing {listed} session of {} messages: {:?}", 2 * TURNS, start.elapsed());
    let start = Instant::now();
    let talk = Talk::new(sessions.open(ID).unwrap());
    let count = talk.messages().count();
    println!("resuming it: {count} messages in {:?}", start.elapsed());
    let (first, last) = (median(&costs[..100]), median(&costs[TURNS - 100..]));
    println!("a saved turn (two flushes), median of 100: first {first:?}, last {last:?}");
}

fn message(role: &str, text: &str) -> Arc<Value> {
    Arc::new(json!({"role": role, "content": [{"type": "text", "text": text}]}))
}

fn median(costs: &[Duration]) -> Duration {
    let mut costs = costs.to_vec();
    costs.sort();
    costs[costs.len() / 2]
}
