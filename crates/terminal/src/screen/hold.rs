//! What keeps the screen for a prompt or a question alone.
use super::Screen;
use crate::output::To;

/// A question that is open. If it is taken back, what comes next begins on a row of its own.
pub(super) struct Asked<'a> {
    hold: Hold<'a>,
    pub(super) is_answered: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Asked { hold: Hold::new(screen), is_answered: false }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut output = self.hold.0.0.output.lock().unwrap();
        output.row_begins();
        if !self.is_answered
            && let Some(held) = &mut output.held
        {
            held.insert(0, (To::Err, "\n".into()));
        }
    }
}

/// While it lives, the prompt or the question alone has the screen; the rest is shown when it is
/// dropped.
pub(super) struct Hold<'a>(&'a Screen);

impl<'a> Hold<'a> {
    pub(super) fn new(terminal: &'a Screen) -> Self {
        terminal.0.output.lock().unwrap().held = Some(vec![]);
        Hold(terminal)
    }

    /// Shows what was held, after this.
    pub(super) fn begin_with(self, text: &str) {
        if let Some(held) = &mut self.0.0.output.lock().unwrap().held {
            held.insert(0, (To::Err, text.into()));
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let inner = &self.0.0;
        let mut output = inner.output.lock().unwrap();
        for (to, text) in output.held.take().unwrap_or_default() {
            inner.write(&mut output, to, &text);
        }
    }
}
