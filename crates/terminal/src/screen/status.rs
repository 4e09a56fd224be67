//! What stands below all else for the time being: for how long the work has been going on, and what
//! the person types meanwhile.
use super::{Screen, fitted};
use crate::{line_editor::Waiting, text::escaped};
use rustix::termios::tcgetwinsize;
use std::{
    convert::Infallible,
    time::{Duration, Instant},
};
use unicode_width::UnicodeWidthChar;

/// How often it is looked whether keys were pressed, or nothing was written for a while.
const TICK: Duration = Duration::from_millis(40);
/// How wide a terminal counts that does not say it.
const UNKNOWN_WIDTH: usize = 80;
/// How many columns of a half-typed line are shown at least.
const MIN_DRAFT_WIDTH: usize = 12;

impl Screen {
    /// Shows, while nothing else is, for how long the work has been going on, and at once what is
    /// typed; never ends.
    pub(crate) async fn show_elapsed(&self) -> Infallible {
        let start = Instant::now();
        let _erased = Status(self);
        if !self.0.editor_thread.has_editor() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(TICK).await;
            let waiting = self.0.editor_thread.waiting();
            let mut output = self.0.output.lock().unwrap();
            let line = match waiting == Waiting::default() {
                true => self.0.running.status(start),
                false => status(&waiting, start.elapsed(), width()),
            };
            let line = fitted(std::io::stderr(), &line, 1);
            let line = line.lines().next().unwrap_or_default();
            // The next line that is written finds out that the terminal is gone.
            let _ = output.show_status(line, waiting != Waiting::default(), width());
        }
    }
}

fn width() -> usize {
    match tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => UNKNOWN_WIDTH,
    }
}

/// What waits, and the end of the line that is being typed, in one row.
fn status(waiting: &Waiting, elapsed: Duration, width: usize) -> String {
    let seconds = elapsed.as_secs();
    let one_row = |text: &str| escaped(text).replace('\n', " ");
    let lines: Vec<String> = waiting.lines.iter().map(|line| one_row(line)).collect();
    if waiting.draft.is_empty() {
        return format!("{seconds} s; Ctrl+C stops it; waiting: {}", lines.join(" | "));
    }
    let mut before = match lines.len() {
        0 => format!("{seconds} s; Ctrl+C stops it >> "),
        count => format!("{seconds} s; {count} waiting >> "),
    };
    if before.len() + MIN_DRAFT_WIDTH > width {
        before = ">> ".into();
    }
    let draft = one_row(&waiting.draft);
    let mut room = width.saturating_sub(before.len() + 1);
    let fits = |c: &char| {
        let columns = c.width().unwrap_or(0);
        let fits = columns <= room;
        room = room.saturating_sub(columns);
        fits
    };
    let shown: Vec<char> = draft.chars().rev().take_while(fits).collect();
    before + &shown.iter().rev().collect::<String>()
}

/// While it lives, there can be a line for the time being.
struct Status<'a>(&'a Screen);

impl Drop for Status<'_> {
    fn drop(&mut self) {
        let _ = self.0.0.output.lock().unwrap().set_status("");
        self.0.0.running.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_that_is_typed_the_end_is_shown() {
        let line = |lines: &[&str], draft: &str, width| {
            let lines = lines.iter().map(|line| line.to_string()).collect();
            status(&Waiting { lines, draft: draft.into() }, Duration::from_secs(3), width)
        };
        assert_eq!(line(&["a", "b\nc"], "", 80), "3 s; Ctrl+C stops it; waiting: a | b c");
        assert_eq!(line(&[], "half a li", 80), "3 s; Ctrl+C stops it >> half a li");
        assert_eq!(line(&["a"], "half a longer line", 30), "3 s; 1 waiting >> longer line");
        assert_eq!(line(&["a"], "half a line", 20), ">> half a line");
        assert_eq!(line(&[], "日本語", 8), ">> 本語");
    }
}
