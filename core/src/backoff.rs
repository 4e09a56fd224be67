//! How long to wait before something that keeps failing is tried again.
use crate::{Error, Result};
use std::time::Duration;

/// The longest wait, as a power of two in seconds: about a minute.
const MAX_DOUBLINGS: u32 = 6;

/// Counts the turns that failed one after the other, and says how long to wait before the next one:
/// no time at first, then a second, then twice as long each time, about a minute at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    consecutive_failures: u32,
}

impl Backoff {
    /// Counts how a turn ended. A turn that found nothing to answer did not fail.
    pub fn count<T>(&mut self, end: &Result<T>) {
        match end {
            Ok(_) | Err(Error::NothingToAnswer) => self.consecutive_failures = 0,
            Err(_) => self.consecutive_failures += 1,
        }
    }

    /// How many turns failed since the last one that did not.
    pub fn consecutive_failures(self) -> u32 {
        self.consecutive_failures
    }

    /// How long to wait before the next turn.
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
            backoff.count::<()>(&Err(Error::Cancelled));
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 64]);
        backoff.count::<()>(&Err(Error::NothingToAnswer));
        assert_eq!((backoff.delay(), backoff.consecutive_failures()), (Duration::ZERO, 0));
    }
}
