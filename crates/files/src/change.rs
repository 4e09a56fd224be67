//! Changing a file as a language model does: from what it remembers of it.
use crate::{
    CellError, Doubt, EditError, PathError, PathErrorKind, ReadError, ReadTracker, Root, Stamp,
    edit, notebook,
    text::{self, line_count, read_text},
};
use std::{fs::File, io, path::PathBuf};

pub(crate) const OLD_OUTPUTS: &str =
    "[the outputs of this cell are still those of its old source]\n";

/// A change that was made.
#[derive(Debug, PartialEq)]
pub struct Changed {
    /// What to tell the model.
    pub message: String,
    /// The file, absolute and free of links.
    pub path: PathBuf,
    /// The state it is in now, unless the model does not know the whole file.
    pub stamp: Option<Stamp>,
}

/// A change that was not made, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It cannot be opened or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It would be overwritten unseen.
    #[error("{name}: it exists, and {doubt}; read it first")]
    Overwrites {
        /// The file.
        name: String,
        /// Why the model may not know what it holds.
        doubt: Doubt,
    },
    /// All places would be replaced in a file that the model does not know.
    #[error("{name}: {doubt}; read it before you replace all")]
    ReplacesAll {
        /// The file.
        name: String,
        /// Why the model may not know what it holds.
        doubt: Doubt,
    },
    /// It cannot be edited.
    #[error("{name}: {error}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        error: ReadError,
    },
    /// The edit does not fit its text.
    #[error("{name}: {}{error}", doubt.map(|doubt| format!("{doubt}, and ")).unwrap_or_default())]
    Edit {
        /// The file.
        name: String,
        /// Why the model may not know what it holds.
        doubt: Option<Doubt>,
        /// Why.
        error: EditError,
    },
    /// One of several edits was not made, so none was.
    #[error("edit {number} of {count}: {error}\n(none of the {count} edits was made)")]
    OneOf {
        /// Which one, counted from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// Why.
        error: Box<ChangeError>,
    },
    /// A cell would be changed in a notebook that the model does not know.
    #[error("{name}: {doubt}; cells are counted in what `read` shows, so read it first")]
    CountsCells {
        /// The file.
        name: String,
        /// Why the model may not know what it holds.
        doubt: Doubt,
    },
    /// The cell cannot be changed like this.
    #[error("{name}: {error}")]
    Cell {
        /// The file.
        name: String,
        /// Why.
        error: CellError,
    },
    /// The system does not tell the state of the file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A piece of a file that is to be replaced.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    /// What to replace. Empty, it stands for a file that does not exist or is empty.
    pub old: &'a str,
    /// What to put in its place.
    pub new: &'a str,
    /// Whether to replace it wherever it is.
    pub all: bool,
}

/// The file that a path names.
pub(crate) struct Named<'a> {
    root: &'a Root,
    pub(crate) path: &'a str,
    /// The path, and for which file it was taken if that is another.
    pub(crate) name: String,
    /// Relative to the root and free of links.
    pub(crate) relative: PathBuf,
}

impl<'a> Named<'a> {
    pub(crate) fn new(root: &'a Root, path: &'a str) -> Result<Self, PathError> {
        let relative = root.resolve(path)?;
        let name = match root.look_alike_note(path, &relative) {
            Some(note) => format!("{path} ({note})"),
            None => path.to_owned(),
        };
        Ok(Named { root, path, name, relative })
    }

    pub(crate) fn real(&self) -> PathBuf {
        self.root.path().join(&self.relative)
    }

    /// Whether it is a notebook, also where a link of another name leads to it.
    fn is_notebook(&self) -> bool {
        notebook::is_notebook(&self.relative.to_string_lossy())
    }

    /// The file with its state, or `None` when there is none.
    pub(crate) fn open(&self) -> Result<Option<(File, Stamp)>, ChangeError> {
        match self.root.open_resolved(&self.relative).map_err(PathErrorKind::from) {
            Ok(file) => {
                let stamp = Stamp::of(&file)?;
                Ok(Some((file, stamp)))
            }
            Err(PathErrorKind::NotFound) => Ok(None),
            Err(kind) => Err(PathError::new(self.path, kind).into()),
        }
    }

    pub(crate) fn text(&self, file: File) -> Result<String, ChangeError> {
        read_text(file).map_err(|error| ChangeError::Read { name: self.name.clone(), error })
    }

    /// A text after an edit: of a notebook its JSON too, and whether it has old outputs.
    pub(crate) fn replace(
        &self,
        text: &str,
        Replacement { old, new, all }: Replacement<'_>,
    ) -> Result<(Option<String>, edit::Edited, bool), EditError> {
        if !self.is_notebook() {
            return Ok((None, edit::replace(text, old, new, all)?, false));
        }
        let edited = notebook::replace_in_notebook(text, old, new, all)?;
        Ok((Some(edited.json), edited.shown, edited.has_old_outputs))
    }

    pub(crate) fn write(&self, content: &str, old: Option<&Stamp>) -> Result<Stamp, PathError> {
        let written = self.root.write_resolved(&self.relative, content.as_bytes(), old);
        written.map_err(|kind| PathError::new(self.path, kind))
    }

    /// Writes all of a file.
    fn put(self, content: &str, old: Option<&Stamp>) -> Result<Changed, ChangeError> {
        let stamp = self.write(content, old)?;
        let verb = if old.is_some() { "replaced" } else { "created" };
        let lines = line_count(content.lines().count());
        let mut message = format!("{verb} {}: {lines}", self.name);
        if self.is_notebook()
            && let Some(fault) = notebook::notebook_fault(content)
        {
            message.push_str(&format!("; this is no notebook: {fault}"));
        }
        Ok(Changed { message, path: self.real(), stamp: Some(stamp) })
    }
}

/// Makes a file, or replaces the whole of one that has been read.
///
/// # Errors
/// When it exists and is not as it was read, or cannot be written. Then nothing has changed.
pub fn write_file(
    root: &Root,
    read: &ReadTracker,
    path: &str,
    content: &str,
) -> Result<Changed, ChangeError> {
    let file = Named::new(root, path)?;
    let Some((old_file, old)) = file.open()? else { return file.put(content, None) };
    if let Some(doubt) = read.doubt(&file.real(), &old) {
        return Err(ChangeError::Overwrites { name: file.name, doubt });
    }
    let notes = text::lost_marks(old_file, content)?;
    let mut changed = file.put(content, Some(&old))?;
    changed.message.push_str(&notes);
    Ok(changed)
}

/// Replaces an exact piece of a file: of a text, or of the sources in a notebook. Whoever quotes a
/// piece that is there exactly once means that piece, whatever else they know of the file; to
/// replace all such pieces, one must have read the file as it is.
///
/// # Errors
/// When the piece is not there or not unique, or the file cannot be edited. Then nothing has
/// changed.
pub fn edit_file(
    root: &Root,
    read: &ReadTracker,
    path: &str,
    Replacement { old, new, all }: Replacement<'_>,
) -> Result<Changed, ChangeError> {
    let file = Named::new(root, path)?;
    let Some((old_file, state)) = file.open()? else {
        return match old.is_empty() {
            true => file.put(new, None),
            false => Err(PathError::new(path, PathErrorKind::NotFound).into()),
        };
    };
    if old.is_empty() && old_file.metadata()?.len() == 0 {
        return file.put(new, Some(&state));
    }
    let doubt = read.doubt(&file.real(), &state);
    let name = file.name.clone();
    if let (Some(doubt), true) = (doubt, all) {
        return Err(ChangeError::ReplacesAll { name, doubt });
    }
    let text = file.text(old_file)?;
    let edited = file.replace(&text, Replacement { old, new, all });
    let (json, shown, has_old_outputs) = match edited {
        Ok(edited) => edited,
        Err(error) => return Err(ChangeError::Edit { name, doubt, error }),
    };
    let content = json.as_deref().unwrap_or(&shown.text);
    let stamp = file.write(content, Some(&state))?;
    let mut message = format!("edited {name}, {}", shown.excerpt());
    if has_old_outputs {
        message.push_str(OLD_OUTPUTS);
    }
    // Of a file that was never read, the model now knows this place and no more.
    let stamp = doubt.is_none().then_some(stamp);
    Ok(Changed { message, path: file.real(), stamp })
}
