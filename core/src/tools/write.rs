use super::{Effect, Tool, ToolError, ToolOutput, ToolSpec, blocking};
use crate::{Context, paths};
use rungs_files::{PathErrorKind, ReadTracker, Stamp};
use schemars::JsonSchema;
use serde::Deserialize;

/// Makes a file, or replaces the whole of one that the model has read.
#[derive(Debug, Clone, Copy)]
pub struct Write;

/// Writes a whole file below the working directory, and makes the folders that it needs. A file
/// that exists must have been read before. To change a part of a file, use `edit`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WriteInput {
    /// The file, relative to the working directory or absolute.
    file_path: String,
    /// All that the file will hold.
    content: String,
}

impl Tool for Write {
    type Input = WriteInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<WriteInput>("write")
    }

    fn effect(&self, input: &WriteInput) -> Effect {
        Effect::Writes(vec![(&input.file_path).into()])
    }

    async fn call(&self, input: WriteInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let WriteInput { file_path, content } = input;
        blocking(cx, move |cx, _| {
            let root = paths::root(cx)?;
            let path = root.path().join(root.resolve(&file_path)?);
            let old = match root.open_file(&file_path) {
                Ok(file) => Some(Stamp::of(file)?),
                Err(error) if matches!(error.kind, PathErrorKind::NotFound) => None,
                Err(error) => return Err(error.into()),
            };
            if let Some(old) = &old
                && let Some(doubt) = cx.state::<ReadTracker>().doubt(&path, old)
            {
                let why = format!("{file_path}: it exists, and {doubt}; read it first");
                return Err(ToolError(why));
            }
            let new = root.write(&file_path, content.as_bytes(), old.as_ref())?;
            cx.update(|read: &mut ReadTracker| read.note(path, new));
            let verb = if old.is_some() { "replaced" } else { "created" };
            Ok(format!("{verb} {file_path}: {} lines", content.lines().count()).into())
        })
        .await
    }
}
