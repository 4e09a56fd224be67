//! The terminal: the [`Screen`] that shows events and asks questions, the line editor behind it,
//! the [`Prompt`] that all lessons share, and [`Signals`]. It shows what an agent emits and knows
//! no mechanism.
mod line_editor;
mod prompt;
mod screen;
mod signals;
mod text;

pub use prompt::{Prompt, command_list};
pub use screen::Screen;
pub use signals::Signals;
pub use text::escaped;
