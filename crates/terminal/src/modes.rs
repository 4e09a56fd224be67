//! The modes of the terminal, as they were before the program changed them.
use crate::stdin::MarkedPaste;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Write};
use std::sync::Arc;

/// The modes that standard input's terminal had when this was made. When the last clone is dropped,
/// it has them again, whatever the line editor has left: without this, a program that panics, or
/// whose editor hangs, would leave a terminal that shows nothing of what is typed.
#[derive(Debug, Clone)]
pub struct TerminalModes(Arc<Saved>);

#[derive(Debug)]
struct Saved(Option<Termios>);

impl TerminalModes {
    /// The modes as they are now; nothing when standard input is no terminal.
    pub fn save() -> TerminalModes {
        TerminalModes(Arc::new(Saved(tcgetattr(std::io::stdin()).ok())))
    }

    /// Sets them again.
    pub fn restore(&self) {
        self.0.restore();
    }
}

impl Saved {
    fn restore(&self) {
        // Whoever sets modes in the background is stopped, so it is done only when it is needed.
        if let Some(saved) = &self.0
            && let Ok(now) = tcgetattr(std::io::stdin())
            && (now.local_modes, now.input_modes, now.output_modes)
                != (saved.local_modes, saved.input_modes, saved.output_modes)
        {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, saved);
            if std::io::stderr().is_terminal() {
                let _ = std::io::stderr().write_all(MarkedPaste::OFF.as_bytes());
            }
        }
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.restore();
    }
}
