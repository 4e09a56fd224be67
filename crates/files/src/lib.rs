//! Files below a directory handle: read, written, edited and searched as a model needs it.
mod edit;
mod glob;
mod grep;
mod image;
mod name_filter;
mod nearest;
mod notebook;
mod path_error;
mod read;
mod read_tracker;
mod root;
mod search;
mod text;
mod truncate;
mod write;

pub use edit::{Edited, NoEdit, replace, text};
pub use glob::files as glob;
pub use grep::{Mode, Query, grep};
pub use image::Image;
pub use path_error::{PathError, PathErrorKind};
pub use read::{Content, Range, Unfit, read};
pub use read_tracker::ReadTracker;
pub use root::Root;
pub use search::{Fault, Stop};
pub use truncate::fit;
pub use write::Stamp;
