//! A bounded queue between those who must not wait and one who may.
use serde_json::Value;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// Events that wait to be delivered. When it is full, the oldest one is dropped and counted: the
/// newest say best what goes wrong. Clones share it.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Value>,
    dropped: u64,
    is_closed: bool,
}

/// Some events, in their order, and how many were dropped before them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The events.
    pub events: Vec<Value>,
    /// How many were dropped since the last batch, for lack of room.
    pub dropped: u64,
}

impl Queue {
    /// A queue for so many events.
    pub fn new(capacity: usize) -> Self {
        let state = Mutex::default();
        Queue(Arc::new(Shared { capacity, state, changed: Notify::new() }))
    }

    /// Adds an event. It never waits; after [`close`](Queue::close) it does nothing.
    pub fn push(&self, event: Value) {
        let mut state = self.0.state.lock().unwrap();
        if state.is_closed {
            return;
        }
        state.events.push_back(event);
        while state.events.len() > self.0.capacity {
            state.events.pop_front();
            state.dropped += 1;
        }
        self.0.changed.notify_one();
    }

    /// Says that nothing more will come: what waits is still delivered.
    pub fn close(&self) {
        self.0.state.lock().unwrap().is_closed = true;
        self.0.changed.notify_one();
    }

    /// Waits for events: at least one and at most so many, those that come within `delay` of the
    /// first. `None` once the queue is closed and empty. For one reader.
    pub async fn next(&self, most: usize, delay: Duration) -> Option<Batch> {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.0.state.lock().unwrap();
                if !state.events.is_empty() {
                    break;
                }
                if state.is_closed {
                    return None;
                }
            }
            changed.await;
        }
        let full = async {
            loop {
                let changed = self.0.changed.notified();
                {
                    let state = self.0.state.lock().unwrap();
                    if state.is_closed || state.events.len() >= most {
                        return;
                    }
                }
                changed.await;
            }
        };
        // It need not be full.
        let _ = tokio::time::timeout(delay, full).await;
        let mut state = self.0.state.lock().unwrap();
        let count = state.events.len().min(most);
        let events = state.events.drain(..count).collect();
        Some(Batch { events, dropped: std::mem::take(&mut state.dropped) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn the_oldest_are_dropped_and_counted() {
        let queue = Queue::new(3);
        (0..10).for_each(|n| queue.push(json!(n)));
        let batch = queue.next(2, Duration::ZERO).await.unwrap();
        assert_eq!(batch, Batch { events: vec![json!(7), json!(8)], dropped: 7 });
        queue.close();
        queue.push(json!("late"));
        let batch = queue.next(2, Duration::ZERO).await.unwrap();
        assert_eq!(batch, Batch { events: vec![json!(9)], dropped: 0 });
        assert_eq!(queue.next(2, Duration::ZERO).await, None);
    }

    #[tokio::test]
    async fn what_comes_soon_joins_the_batch() {
        let queue = Queue::new(100);
        let late = queue.clone();
        queue.push(json!(0));
        tokio::spawn(async move {
            (1..3).for_each(|n| late.push(json!(n)));
            late.close();
        });
        let batch = queue.next(100, Duration::from_secs(60)).await.unwrap();
        assert_eq!(batch.events, [0, 1, 2].map(|n| json!(n)));
    }
}
