//! Colours.
use colored::{Color, Colorize};

#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Prompt,
    Call,
    Result,
    Failed,
    Note,
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
        Colour::Failed => text.color(Color::AnsiColor(160)).to_string(),
        Colour::Note => text.color(Color::AnsiColor(130)).to_string(),
    }
}
