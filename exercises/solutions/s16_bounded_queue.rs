use std::{collections::VecDeque, mem, sync::Mutex};

/// Some events in their order, and how many were dropped before them since the last batch.
#[derive(Debug, Default, PartialEq)]
struct Batch {
    events: Vec<String>,
    dropped: usize,
}

/// Events on their way to a service, so many at most.
struct Queue {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<String>,
    /// How many had to make room since the last batch.
    dropped: usize,
    is_closed: bool,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Queue { capacity, state: Mutex::default() }
    }

    /// Adds an event. The agent calls it, so it never waits.
    fn push(&self, event: String) {
        let mut state = self.state.lock().unwrap();
        if state.is_closed {
            return;
        }
        state.events.push_back(event);
        while state.events.len() > self.capacity {
            state.events.pop_front();
            state.dropped += 1;
        }
    }

    /// Takes all events that wait. The task that sends them calls it.
    fn take(&self) -> Batch {
        let mut state = self.state.lock().unwrap();
        let events = state.events.drain(..).collect();
        Batch { events, dropped: mem::take(&mut state.dropped) }
    }

    /// Nothing more will be taken in.
    fn close(&self) {
        self.state.lock().unwrap().is_closed = true;
    }
}
