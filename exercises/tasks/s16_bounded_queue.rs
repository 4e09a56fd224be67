// # A monitor that stops the work
//
// repair, level 2, 20 minutes. Read: examples/s16_event_bus.rs, crates/telemetry/src/queue.rs
//
// This queue stands between an agent and a monitoring service. The agent pushes events, and a task
// sends them. A user reports:
//
//   "Our agents stop in the middle of their work now and then, all of them at the same time. Today
//   we found out what they had in common: the monitoring service was down."
//
// Somebody has tried to mend it by dropping what does not fit. Since then the agents go on, and the
// newest events, those that would say what is wrong, are missing in the charts.
//
// Repair `Queue`: `push` never waits. When the queue is full, the oldest event makes room, and the
// next batch says how many were dropped before it. After `close`, nothing more is taken in; what
// waits can still be taken.
//
// Run: cargo run -p rungs-exercises -- run s16_bounded_queue

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex},
};

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
    /// Told when something was taken.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<String>,
    is_closed: bool,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Queue { capacity, state: Mutex::default(), taken: Condvar::new() }
    }

    /// Adds an event. The agent calls it.
    fn push(&self, event: String) {
        let mut state = self.state.lock().unwrap();
        while state.events.len() >= self.capacity {
            state = self.taken.wait(state).unwrap();
        }
        state.events.push_back(event);
    }

    /// Takes all events that wait. The task that sends them calls it.
    fn take(&self) -> Batch {
        let mut state = self.state.lock().unwrap();
        let events = state.events.drain(..).collect();
        self.taken.notify_all();
        Batch { events, dropped: 0 }
    }

    /// Nothing more will be taken in.
    fn close(&self) {
        self.state.lock().unwrap().is_closed = true;
    }
}

mod tests {
    use super::*;
    use std::{sync::Arc, sync::mpsc, thread, time::Duration};

    /// Pushes so many events, named by their numbers. What waits for ever is a failure.
    fn push(queue: &Arc<Queue>, numbers: std::ops::Range<usize>) {
        let (queue, (done, finished)) = (queue.clone(), mpsc::channel());
        thread::spawn(move || {
            for number in numbers {
                queue.push(number.to_string());
            }
            let _ = done.send(());
        });
        assert!(
            finished.recv_timeout(Duration::from_secs(1)).is_ok(),
            "`push` waits, and nobody takes anything: the agent stands still because a service is \
             down"
        );
    }

    fn numbers(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| number.to_string()).collect()
    }

    #[test]
    fn what_fits_is_delivered_in_order() {
        let queue = Arc::new(Queue::new(10));
        push(&queue, 0..3);
        let expected = Batch { events: numbers(0..3), dropped: 0 };
        assert_eq!(queue.take(), expected, "there was room for all three");
        assert_eq!(queue.take(), Batch::default(), "what was taken is gone");
    }

    #[test]
    fn a_full_queue_keeps_the_newest_and_counts_the_rest() {
        let queue = Arc::new(Queue::new(10));
        push(&queue, 0..1000);
        let batch = queue.take();
        let why = "the newest events say what goes wrong now; the oldest make room";
        assert_eq!(batch.events, numbers(990..1000), "{why}");
        assert_eq!(batch.dropped, 990, "a gap that nobody knows of is worse than a gap");
    }

    #[test]
    fn what_was_dropped_is_said_once() {
        let queue = Arc::new(Queue::new(2));
        push(&queue, 0..5);
        assert_eq!(queue.take().dropped, 3, "three of five did not fit");
        push(&queue, 5..6);
        let expected = Batch { events: numbers(5..6), dropped: 0 };
        assert_eq!(queue.take(), expected, "the count begins anew with each batch");
    }

    #[test]
    fn after_the_end_nothing_comes_in_and_all_that_waits_goes_out() {
        let queue = Arc::new(Queue::new(2));
        push(&queue, 0..3);
        queue.close();
        push(&queue, 3..9);
        let expected = Batch { events: numbers(1..3), dropped: 1 };
        assert_eq!(queue.take(), expected, "the last events before the end are still delivered");
        assert_eq!(queue.take(), Batch::default(), "and nothing after them");
    }

    #[test]
    fn a_queue_without_room_drops_everything() {
        let queue = Arc::new(Queue::new(0));
        push(&queue, 0..4);
        let expected = Batch { events: vec![], dropped: 4 };
        assert_eq!(queue.take(), expected, "a capacity of 0 is strange, and no reason to hang");
    }
}
