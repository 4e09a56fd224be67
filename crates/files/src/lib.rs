//! Files below a directory handle: read, written, edited and searched as a language model needs it.
//!
//! - [`Root`] opens and writes files below a directory; no link leads out of it. [`ReadTracker`]
//!   remembers in which state a file was read.
//! - [`read`] shows text with numbered lines, notebooks as their cells, and images.
//! - [`read_text`] and [`replace`] make an edit that keeps every other byte.
//! - [`grep`] and [`glob`] search as ripgrep does, with its libraries.
//! - [`read_config`] and [`parse_yaml`] read configuration, in bounded time and memory.
//! - [`truncate_to_budget`] and [`shorten`] cut texts to a number of bytes.
mod config;
mod edit;
mod error;
mod glob;
mod grep;
mod image;
mod left_out;
mod name_filter;
mod nearest;
mod notebook;
mod read;
mod read_tracker;
mod root;
mod search;
mod text;
mod write;

pub use config::{ConfigError, parse_yaml, read_config};
pub use edit::{Edited, replace};
pub use error::{EditError, PathError, PathErrorKind, ReadError, SearchError};
pub use glob::glob;
pub use grep::{OutputMode, Query, grep};
pub use image::Image;
pub use nearest::NearestMatch;
pub use read::{Content, LineRange, read};
pub use read_tracker::{Doubt, ReadTracker};
pub use root::Root;
pub use text::{read_text, remove_largest, shorten, truncate_to_budget};
pub use write::Stamp;

/// Says whether the caller has cancelled. Asked often, from several threads.
pub type IsCancelled<'a> = &'a (dyn Fn() -> bool + Sync);
