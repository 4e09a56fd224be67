//! How long to wait before something that keeps failing is tried again.
use std::time::Duration;

/// The longest wait, as a power of two in seconds: about a minute.
const MAX_DOUBLINGS: u32 = 6;

/// Counts the failures in a row of something that is made of several requests, and says how long to
/// wait before it is tried again: no time at first, then a second, then twice as long each time,
/// about a minute at most. For the attempts at one request there are [`Retries`](crate::Retries).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    consecutive_failures: u32,
}

impl Backoff {
    /// Counts how a try ended: a success ends the row.
    pub fn count(&mut self, failed: bool) {
        self.consecutive_failures = if failed { self.consecutive_failures + 1 } else { 0 };
    }

    /// How many tries failed since the last one that did not.
    pub fn consecutive_failures(self) -> u32 {
        self.consecutive_failures
    }

    /// How long to wait before the next try.
    pub fn delay(self) -> Duration {
        match self.consecutive_failures {
            0 => Duration::ZERO,
            failures => Duration::from_secs(1 << (failures - 1).min(MAX_DOUBLINGS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_a_success_ends_it() {
        let mut backoff = Backoff::default();
        let mut waits = vec![];
        for _ in 0..9 {
            waits.push(backoff.delay().as_secs());
            backoff.count(true);
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 64]);
        backoff.count(false);
        assert_eq!((backoff.delay(), backoff.consecutive_failures()), (Duration::ZERO, 0));
    }
}
