//! Changes of several files, and of the cells of a notebook.
use crate::{
    CellEdit, ChangeError, Changed, Doubt, PathError, PathErrorKind, ReadTracker, Replacement,
    Root, Stamp, Target,
    change::{Named, OLD_OUTPUTS},
    notebook_cells::edit_cell,
    shorten, unified_diff,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// How much of what several edits have changed is told to the model, in bytes.
const MAX_DIFF_BYTES: usize = 8_000;

/// One of several edits, as a model asks for it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct FileEdit {
    /// The file, relative to the working directory or absolute.
    pub file_path: String,
    /// What to replace; empty to make a new file.
    pub old_string: String,
    /// What to put in its place.
    pub new_string: String,
    /// Whether to replace it wherever it is; no unless given.
    pub replace_all: Option<bool>,
}

impl FileEdit {
    fn replacement(&self) -> Replacement<'_> {
        let all = self.replace_all.unwrap_or(false);
        Replacement { old: &self.old_string, new: &self.new_string, all }
    }
}

/// A file on its way through several edits.
struct Edited<'a> {
    file: Named<'a>,
    old: Option<(String, Stamp)>,
    doubt: Option<Doubt>,
    text: String,
    count: usize,
    has_old_outputs: bool,
}

impl<'a> Edited<'a> {
    fn open(root: &'a Root, read: &ReadTracker, path: &'a str) -> Result<Self, ChangeError> {
        let file = Named::new(root, path)?;
        let (old, doubt) = match file.open()? {
            None => (None, None),
            Some((old_file, state)) => {
                let doubt = read.doubt(&file.real(), &state);
                (Some((file.text(old_file)?, state)), doubt)
            }
        };
        let text = old.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
        Ok(Edited { file, old, doubt, text, count: 0, has_old_outputs: false })
    }

    fn apply(&mut self, replacement: Replacement<'_>) -> Result<(), ChangeError> {
        let is_new = self.old.is_none() && self.count == 0;
        if is_new && !replacement.old.is_empty() {
            return Err(PathError::new(self.file.path, PathErrorKind::NotFound).into());
        }
        let name = self.file.name.clone();
        self.text = match (self.doubt, replacement) {
            (_, Replacement { old: "", new, .. }) if self.text.is_empty() => new.to_owned(),
            (Some(doubt), Replacement { all: true, .. }) => {
                return Err(ChangeError::ReplacesAll { name, doubt });
            }
            (doubt, replacement) => match self.file.replace(&self.text, replacement) {
                Ok((json, shown, has_old_outputs)) => {
                    self.has_old_outputs |= has_old_outputs;
                    json.unwrap_or(shown.text)
                }
                Err(error) => return Err(ChangeError::Edit { name, doubt, error }),
            },
        };
        self.count += 1;
        Ok(())
    }

    fn message(&self) -> String {
        let Edited { file, old, text, count, has_old_outputs, .. } = self;
        let old = old.as_ref().map(|(old, _)| old.as_bytes());
        let verb = if old.is_some() { "edited" } else { "created" };
        let edits = if *count == 1 { "1 edit".into() } else { format!("{count} edits") };
        let diff = unified_diff(file.path, old, Some(text.as_bytes()));
        let diff = shorten(&diff, MAX_DIFF_BYTES);
        let note = if *has_old_outputs { OLD_OUTPUTS } else { "" };
        format!("{verb} {}, {edits}:\n{diff}{note}", file.name)
    }
}

/// Makes several edits in one file or in several, in their order, all of them or none. Each is as
/// [`edit_file`](crate::edit_file) makes it, in the text that the edits before it have left.
///
/// # Errors
/// [`ChangeError::OneOf`] for the first edit that cannot be made, and whatever keeps the files from
/// being written. Then nothing has changed.
pub fn edit_files(
    root: &Root,
    read: &ReadTracker,
    edits: &[FileEdit],
) -> Result<Vec<Changed>, ChangeError> {
    let mut files: Vec<Edited<'_>> = vec![];
    for (i, edit) in edits.iter().enumerate() {
        let mut apply = || {
            // Two paths may lead to one file.
            let relative = root.resolve(&edit.file_path)?;
            let known = files.iter().position(|edited| edited.file.relative == relative);
            let known = match known {
                Some(known) => known,
                None => {
                    let opened = Edited::open(root, read, &edit.file_path)?;
                    let clash = files.iter().map(|edited| &edited.file).find(|other| {
                        relative.starts_with(&other.relative)
                            || other.relative.starts_with(&relative)
                    });
                    if let Some(other) = clash {
                        let kind = PathErrorKind::FileAndFolder(other.path.into());
                        return Err(PathError::new(&edit.file_path, kind).into());
                    }
                    files.push(opened);
                    files.len() - 1
                }
            };
            files[known].apply(edit.replacement())
        };
        apply().map_err(|error: ChangeError| ChangeError::OneOf {
            number: i + 1,
            count: edits.len(),
            error: error.into(),
        })?;
    }
    let target = |edited: &Edited<'_>| Target {
        path: edited.file.relative.clone(),
        content: Some(edited.text.clone().into_bytes()),
        mode: None,
        old: edited.old.as_ref().map(|(_, state)| *state),
    };
    let targets: Vec<Target> = files.iter().map(target).collect();
    let stamps = root.replace_all(&targets)?;
    let changed = files.iter().zip(stamps).map(|(edited, stamp)| {
        // Of a file that was never read, the model knows no more than these places.
        let stamp = stamp.filter(|_| edited.doubt.is_none());
        Changed { message: edited.message(), path: edited.file.real(), stamp }
    });
    Ok(changed.collect())
}

/// Changes one cell of a notebook that has been read, and clears its outputs.
///
/// # Errors
/// When the notebook is not as it was read, or has no such cell, or cannot be written. Then nothing
/// has changed.
pub fn edit_notebook(
    root: &Root,
    read: &ReadTracker,
    change: &CellEdit,
) -> Result<Changed, ChangeError> {
    let file = Named::new(root, &change.file_path)?;
    let Some((old_file, state)) = file.open()? else {
        return Err(PathError::new(file.path, PathErrorKind::NotFound).into());
    };
    let name = file.name.clone();
    if let Some(doubt) = read.doubt(&file.real(), &state) {
        return Err(ChangeError::CountsCells { name, doubt });
    }
    let text = file.text(old_file)?;
    let (json, done) = match edit_cell(&text, change) {
        Ok(edited) => edited,
        Err(error) => return Err(ChangeError::Cell { name, error }),
    };
    let stamp = file.write(&json, Some(&state))?;
    Ok(Changed { message: format!("{name}: {done}"), path: file.real(), stamp: Some(stamp) })
}
