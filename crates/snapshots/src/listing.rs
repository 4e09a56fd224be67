//! Steps in words.
use crate::{Change, End, State, Step};
use rungs_files::Root;
use std::path::{Path, PathBuf};

impl Step {
    /// What it did, in a line: `edit prices.txt`.
    pub fn in_words(&self) -> String {
        let files: Vec<String> = self.changed().map(|file| file.in_words(&self.root)).collect();
        format!("{} {}", self.author.tool, files.join(", "))
    }

    /// The whole line of a listing, with how long ago it was.
    pub fn line(&self, now: u64) -> String {
        let mut line = format!("step {}: {}", self.id, self.in_words());
        // `main` is who everybody expects.
        if self.author.agent.contains('/') {
            line.push_str(&format!(", by {}", self.author.agent));
        }
        line.push_str(&format!(", {}", ago(now.saturating_sub(self.at))));
        match self.end {
            End::Recorded => {}
            End::Open => line.push_str(" (not ended)"),
            End::Interrupted => line.push_str(" (cut off: it may be half done)"),
        }
        line
    }
}

impl Change {
    fn in_words(&self, root: &Path) -> String {
        let path = self.path.strip_prefix(root).unwrap_or(&self.path).display();
        match (&self.before, &self.after) {
            (State::Absent { .. }, Some(State::File { .. })) => format!("{path} (new)"),
            (State::File { .. }, Some(State::Absent { .. })) => format!("{path} (removed)"),
            _ => path.to_string(),
        }
    }
}

/// Steps by turn, the newest first, at most so many, a line each.
pub(crate) fn by_turn(steps: &[Step], max: usize, now: u64) -> String {
    if steps.is_empty() {
        return "no snapshots\n".into();
    }
    let mut text = String::new();
    let mut turn = None;
    for step in steps.iter().rev().take(max) {
        if turn != Some(step.turn) {
            turn = Some(step.turn);
            text.push_str(&format!("turn {}: {}\n", step.turn, step.author.prompt));
        }
        text.push_str(&format!("  {}\n", step.line(now)));
    }
    if steps.len() > max {
        text.push_str(&format!("and {} older steps\n", steps.len() - max));
    }
    text
}

/// The files that something else has changed.
pub(crate) fn changed(paths: &[PathBuf], root: &Root) -> String {
    let line = |path: &PathBuf| {
        let path = path.strip_prefix(root.path()).unwrap_or(path).display();
        format!("{path} is not as its newest step has left it: something else has changed it\n")
    };
    paths.iter().map(line).collect()
}

fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => return "just now".into(),
        60..3600 => (seconds / 60, "minute"),
        3600..86400 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}
