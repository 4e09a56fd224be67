use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
use schemars::JsonSchema;
use serde::Deserialize;

/// Counts the lines of a text file.
#[derive(Deserialize, JsonSchema)]
struct LineCountInput {
    /// The file, relative to the working directory or absolute.
    file_path: String,
}

struct LineCount;

impl Tool for LineCount {
    type Input = LineCountInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<LineCountInput>("line_count")
    }

    fn effect(&self, _: &LineCountInput) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: LineCountInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let LineCountInput { file_path } = input;
        // What was judged is what is opened: no second look at the name.
        let file = paths::open(cx, &file_path)?;
        let text = std::io::read_to_string(file);
        let text = text.map_err(|error| ToolError(format!("{file_path}: {error}")))?;
        Ok(format!("{} lines", text.lines().count()).into())
    }
}
