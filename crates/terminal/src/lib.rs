//! The terminal: the [`Screen`] that shows events and asks questions, the line editor behind it,
//! the [`Prompt`] that all lessons share, [`Signals`], the [`Interrupt`] of a turn, and
//! [`TerminalModes`]. It shows what an agent emits and knows no mechanism.
mod commands;
mod diff;
mod editor;
mod interrupt;
mod line_editor;
mod modes;
mod output;
mod paint;
mod prompt;
mod question;
mod running;
mod screen;
mod signals;
mod speaker;
mod stdin;
mod tally;
mod text;

pub use commands::command_list;
pub use interrupt::Interrupt;
pub use modes::TerminalModes;
pub use prompt::Prompt;
pub use screen::Screen;
pub use signals::Signals;
pub use text::escaped;
