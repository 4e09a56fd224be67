//! What happened how often, and how long it took.
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Counts by name, and what runs now.
#[derive(Debug, Default)]
pub struct Statistics {
    counts: Mutex<BTreeMap<String, Count>>,
    begun: Mutex<HashMap<String, Instant>>,
}

/// What is counted under one name.
#[derive(Debug, Default, Clone, PartialEq)]
struct Count {
    times: u64,
    failed: u64,
    total: Duration,
    longest: Duration,
}

impl Statistics {
    /// Notes that something begins; `key` is its own.
    pub fn begin(&self, key: String) {
        self.begun.lock().unwrap().insert(key, Instant::now());
    }

    /// Counts what has begun under this key, and says how long it took.
    pub fn end(&self, key: &str, name: &str, failed: bool) -> Duration {
        let begun = self.begun.lock().unwrap().remove(key);
        let took = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        self.count(name, failed, took);
        took
    }

    /// Counts one more.
    pub fn count(&self, name: &str, failed: bool, took: Duration) {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(name.into()).or_default();
        count.times += 1;
        count.failed += u64::from(failed);
        count.total += took;
        count.longest = count.longest.max(took);
    }
}

impl fmt::Display for Statistics {
    /// A line a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.lock().unwrap();
        let width = counts.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        for (number, (name, count)) in counts.iter().enumerate() {
            let Count { times, failed, total, longest } = count;
            let (total, longest) = (total.as_secs_f64(), longest.as_secs_f64());
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{name:width$}  {times} times, {failed} failed")?;
            write!(f, ", {total:.1} s in all, {longest:.1} s at most")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_name() {
        let statistics = Statistics::default();
        assert_eq!(statistics.to_string(), "");
        for (name, failed, millis) in
            [("write", false, 40), ("bash", true, 1500), ("bash", false, 500)]
        {
            statistics.count(name, failed, Duration::from_millis(millis));
        }
        let expected = "bash   2 times, 1 failed, 2.0 s in all, 1.5 s at most\n\
                        write  1 times, 0 failed, 0.0 s in all, 0.0 s at most";
        assert_eq!(statistics.to_string(), expected);
    }
}
