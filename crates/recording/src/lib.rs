//! A run of an agent as a file of JSON lines, in the format of `docs/recording.md`: what was said,
//! shown, sent and changed. It can be opened at any moment, also after its program was killed.
//!
//! - [`Recording`] appends records, without keys, and never overwrites a file.
//! - [`Response`] collects the bytes of a response, and shows them as its events or its body.
//! - [`Pieces`] collects text that arrives in pieces, since a key may be spread over several.
//! - [`Folders`] finds which files have changed, and shows how.
mod file;
mod folders;
mod pieces;
mod response;

pub use file::{Recording, VERSION};
pub use folders::{Change, Folders};
pub use pieces::Pieces;
pub use response::Response;
