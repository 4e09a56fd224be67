//! Colours.
use colored::{Color, Colorize};

/// The colours of agents.
pub(crate) const AGENTS: [u8; 6] = [32, 64, 133, 166, 30, 97];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Colour {
    Prompt,
    Call,
    Result,
    Failed,
    /// A line of a diff.
    Added,
    /// A line of a diff.
    Removed,
    Note,
    /// The terminal's own.
    Plain,
    /// One of [`AGENTS`].
    Agent(usize),
}

/// Of the 256 colours only those of middle brightness, which can be read on light and on dark.
pub(crate) fn paint(text: &str, colour: bool, kind: Colour) -> String {
    if !colour {
        return text.into();
    }
    match kind {
        Colour::Prompt => text.bold().to_string(),
        Colour::Call => text.color(Color::AnsiColor(31)).to_string(),
        Colour::Result => text.dimmed().to_string(),
        Colour::Failed | Colour::Removed => text.color(Color::AnsiColor(160)).to_string(),
        Colour::Added => text.color(Color::AnsiColor(64)).to_string(),
        Colour::Note => text.color(Color::AnsiColor(130)).to_string(),
        Colour::Plain => text.into(),
        Colour::Agent(n) => text.color(Color::AnsiColor(AGENTS[n])).to_string(),
    }
}
