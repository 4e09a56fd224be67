//! The request to stop a turn, and what Ctrl+C means.
use crate::Signals;
use rungs_core::CancellationToken;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

/// The exit code of a program that Ctrl+C has ended, as shells count it.
pub(crate) const INTERRUPTED: u8 = 130;

/// How soon after another one a Ctrl+C leaves instead of stopping the turn.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// A request to stop what runs. The prompt gives one to each turn as a value
/// (`cx.value::<Interrupt>()`) and makes the request when the person presses Ctrl+C, or a signal
/// ends the program. A turn in which somebody waits for it has half a second to end by itself;
/// any other is dropped at once. Clones are the same request.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    made: CancellationToken,
    waiting: AtomicUsize,
    given_back: Mutex<Option<String>>,
}

impl Interrupt {
    /// Waits until it is made.
    pub async fn requested(&self) {
        let _waiting = Waiting::new(&self.0.waiting);
        self.0.made.cancelled().await;
    }

    /// Makes it; returns whether anybody waits for it.
    pub fn request(&self) -> bool {
        let is_waited_for = self.0.waiting.load(Relaxed) > 0;
        self.0.made.cancel();
        is_waited_for
    }

    /// Gives a line back that was typed for the turn and did not join it. It waits for the prompt,
    /// before those that were typed after it.
    pub fn give_back(&self, line: String) {
        *self.0.given_back.lock().unwrap() = Some(line);
    }

    /// The line that was given back.
    pub fn given_back(&self) -> Option<String> {
        self.0.given_back.lock().unwrap().take()
    }
}

/// Counts as one who waits while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// When Ctrl+C has stopped something last.
#[derive(Default)]
pub(crate) struct Interrupts(Option<Instant>);

impl Interrupts {
    /// Whether the signal of this exit code only stops what runs now: the first Ctrl+C within a
    /// second.
    pub(crate) fn stops(&mut self, code: u8, signals: &Signals) -> bool {
        let leaves = self.leaves_until().is_some_and(|end| Instant::now() < end);
        self.0 = Some(Instant::now());
        let stops = code == INTERRUPTED && !leaves;
        if stops {
            signals.forgive();
        }
        stops
    }

    /// Until when another Ctrl+C leaves, whatever is in the line.
    pub(crate) fn leaves_until(&self) -> Option<Instant> {
        self.0.map(|time| time + LEAVES_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_makes_a_request_learns_whether_anybody_waits() {
        let interrupt = Interrupt::default();
        let waiting = interrupt.requested();
        drop(waiting);
        assert!(!interrupt.request());
        let interrupt = Interrupt::default();
        let other = interrupt.clone();
        let waiting = tokio::spawn(async move { other.requested().await });
        tokio::task::yield_now().await;
        assert!(interrupt.request());
        waiting.await.unwrap();
        interrupt.requested().await;
    }
}
