//! JSON as models and their servers write it: bytes made well-formed, schemas in a form that every
//! model understands, and arguments checked against them, leniently where the meaning is certain.
mod arguments;
mod repair;
mod schema;

pub use arguments::{Fitted, fit};
pub use repair::{arguments, well_formed};
pub use schema::{Described, of, variants};
