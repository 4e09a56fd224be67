use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
use schemars::JsonSchema;
use serde::Deserialize;

/// Shows the first line of a text file.
#[derive(Deserialize, JsonSchema)]
struct FirstLineInput {
    /// The file, relative to the working directory or absolute.
    file_path: String,
}

struct FirstLine;

impl Tool for FirstLine {
    type Input = FirstLineInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<FirstLineInput>("first_line")
    }

    fn effect(&self, _: &FirstLineInput) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: FirstLineInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let FirstLineInput { file_path } = input;
        // What was judged is what is opened: no second look at the name.
        let file = paths::open(cx, &file_path)?;
        let text = std::io::read_to_string(file);
        let text = text.map_err(|error| ToolError(format!("{file_path}: {error}")))?;
        Ok(text.lines().next().unwrap_or_default().into())
    }
}
