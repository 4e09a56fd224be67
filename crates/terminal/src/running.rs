//! The calls that run, of all agents, and for how long each has.
use crate::text::{clipped, escaped};
use rungs_core::ToolCall;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How many characters of a call are shown beside its time.
const MAX_SUMMARY_CHARS: usize = 60;

/// The calls that have no result yet, in the order in which they began.
#[derive(Default)]
pub(crate) struct Running(Mutex<Vec<Call>>);

struct Call {
    agent: String,
    call: Arc<ToolCall>,
    summary: String,
    since: Instant,
    /// Whether another call of its agent ran at the same time.
    beside_others: bool,
}

impl Running {
    pub(crate) fn begin(&self, agent: &str, call: &Arc<ToolCall>, summary: &str) {
        let mut calls = self.0.lock().unwrap();
        let mut beside_others = false;
        for other in calls.iter_mut().filter(|other| other.agent == agent) {
            (other.beside_others, beside_others) = (true, true);
        }
        let first_line = summary.lines().next().unwrap_or_default();
        calls.push(Call {
            agent: agent.into(),
            call: call.clone(),
            summary: clipped(&escaped(first_line), MAX_SUMMARY_CHARS),
            since: Instant::now(),
            beside_others,
        });
    }

    /// Ends a call. If others of its agent ran beside it, gives the call and its time, since its
    /// result stands below another one.
    pub(crate) fn end(&self, agent: &str, call: &Arc<ToolCall>) -> Option<String> {
        let mut calls = self.0.lock().unwrap();
        let place = calls.iter().position(|c| c.agent == agent && c.call.id == call.id)?;
        let ended = calls.remove(place);
        let (summary, time) = (&ended.summary, ended.since.elapsed().as_secs_f32());
        ended.beside_others.then(|| format!("{summary} ({time:.1} s)"))
    }

    /// For how long the turn has been going on, and what runs side by side, each call with its
    /// time. A call that runs alone stands in the line above already.
    pub(crate) fn status(&self, start: Instant) -> String {
        let turn = format!("{} s; Ctrl+C stops it", start.elapsed().as_secs());
        let calls = self.0.lock().unwrap();
        if calls.len() < 2 {
            return turn;
        }
        let each = |call: &Call| format!("{} {} s", call.summary, call.since.elapsed().as_secs());
        let each: Vec<String> = calls.iter().map(each).collect();
        format!("{turn}; {} calls: {}", calls.len(), each.join(", "))
    }

    /// Forgets calls that a stopped turn has left without a result.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str) -> Arc<ToolCall> {
        Arc::new(ToolCall { id: id.into(), name: "read".into(), input: json!({}) })
    }

    #[test]
    fn calls_side_by_side_are_told_apart_by_what_they_do_and_one_alone_is_not() {
        let running = Running::default();
        let [a, b, c] = ["a", "b", "c"].map(call);
        running.begin("main", &a, "read a");
        let turn = "0 s; Ctrl+C stops it";
        let status = || running.status(Instant::now());
        assert_eq!((&*status(), running.end("main", &a)), (turn, None));
        running.begin("main", &a, "read a\nmore");
        running.begin("main", &b, "read b");
        // Two agents may have calls of one id, and a call of another agent is not beside these.
        running.begin("main/x", &b, "read c");
        assert_eq!(status(), format!("{turn}; 3 calls: read a 0 s, read b 0 s, read c 0 s"));
        assert_eq!(running.end("main", &b).as_deref(), Some("read b (0.0 s)"));
        assert_eq!(running.end("main", &a).as_deref(), Some("read a (0.0 s)"));
        assert_eq!((running.end("main/x", &b), running.end("main", &c)), (None, None));
        running.begin("main", &a, "read a");
        running.begin("main", &b, "read b");
        running.clear();
        assert_eq!((&*status(), running.end("main", &a)), (turn, None));
    }
}
