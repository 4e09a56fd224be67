//! JSON as models write it: schemas in a form that every model understands, and arguments checked
//! against them, leniently where the meaning is certain.
mod arguments;
mod schema;

pub use arguments::fit;
pub use schema::{Described, of, variants};
