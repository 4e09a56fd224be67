//! JSON as models and their servers write it: bytes made well-formed, event streams, messages of
//! Chat Completions and names in the forms that occur; schemas in a form that every model
//! understands, arguments checked against them, leniently where the meaning is certain, calls in
//! words for a person, and tokens as they are counted.
mod arguments;
mod completion;
mod events;
mod names;
mod repair;
mod schema;
mod summary;
mod text;
mod usage;

pub use arguments::{Fitted, fit};
pub use completion::{Call, Said, add_call_piece, merge};
pub use events::{Body, EventError, Events, events, is_events, sniffed};
pub use names::{as_id, as_name, is_name, is_plain};
pub use repair::{arguments, as_object, as_text, well_formed};
pub use schema::{Described, of, variants};
pub use summary::summary;
pub use text::{Written, size};
pub use usage::{CacheCreation, Usage};
