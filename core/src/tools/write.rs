use super::{Effect, Tool, ToolError, ToolOutput, ToolSpec, blocking, edit::note};
use crate::{Context, paths};
use rungs_files::{ReadTracker, line_count, write_file};
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

    fn summary(&self, input: &WriteInput) -> Option<String> {
        let lines = line_count(input.content.lines().count());
        Some(format!("write {} ({lines})", input.file_path))
    }

    async fn call(&self, input: WriteInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let WriteInput { file_path, content } = input;
        blocking(cx, move |cx, _| {
            let read = cx.state::<ReadTracker>();
            note(cx, write_file(&paths::root(cx)?, &read, &file_path, &content)?)
        })
        .await
    }
}
