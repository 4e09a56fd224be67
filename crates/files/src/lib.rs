//! Files below a directory handle: read, written, edited and searched as a language model needs it.
//!
//! - [`Root`] opens and writes files below a directory; no link leads out of it. [`ReadTracker`]
//!   remembers in which state a file was read.
//! - [`absolute`] makes a path whole by its text alone.
//! - [`read`] shows text with numbered lines, notebooks as their cells, and images.
//! - [`edit_file`] and [`write_file`] change a file, unless it is in another state than when it was
//!   read. [`replace`] makes an edit that keeps every other byte, [`replace_in_notebook`] one that
//!   keeps a notebook whole. [`edit_files`] makes several edits or none, [`edit_notebook`] changes
//!   a cell, [`unified_diff`] shows what has changed. [`Root::replace_all`] brings several files
//!   into new states, all or none.
//! - [`grep`] and [`glob`] search as ripgrep does, with its libraries.
//! - [`read_config`] and [`parse_yaml`] read configuration, in bounded time and memory;
//!   [`front_matter`] reads what a text says of itself.
//! - [`truncate_to_budget`] and [`shorten`] cut texts to a number of bytes.
mod absolute;
mod change;
mod change_all;
mod collector;
mod config;
mod diff;
mod edit;
mod encoding;
mod error;
mod front_matter;
mod glob;
mod grep;
mod image;
mod left_out;
mod line_ends;
mod look_alike;
mod name_filter;
mod nearest;
mod notebook;
mod notebook_cells;
mod read;
mod read_tracker;
mod root;
mod search;
mod text;
mod transaction;
mod write;

pub use absolute::absolute;
pub use change::{ChangeError, Changed, Replacement, edit_file, write_file};
pub use change_all::{FileEdit, edit_files, edit_notebook};
pub use config::{ConfigError, parse_yaml, read_config};
pub use diff::unified_diff;
pub use edit::{Edited, replace};
pub use error::{EditError, PathError, PathErrorKind, ReadError, SearchError};
pub use front_matter::{FrontMatter, front_matter};
pub use glob::glob;
pub use grep::{OutputMode, Query, grep};
pub use image::Image;
pub use nearest::NearestMatch;
pub use notebook::{EditedNotebook, notebook_fault, replace_in_notebook};
pub use notebook_cells::{CellEdit, CellError, CellType, EditMode};
pub use read::{Content, LineRange, read};
pub use read_tracker::{Doubt, ReadTracker};
pub use root::Root;
pub use text::{line_count, read_text, remove_largest, shorten, truncate_to_budget};
pub use transaction::Target;
pub use write::Stamp;

/// Says whether the caller has cancelled. Asked often, from several threads.
pub type IsCancelled<'a> = &'a (dyn Fn() -> bool + Sync);
