use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
use schemars::JsonSchema;
use serde::Deserialize;

struct LineCount;

/// Counts the lines of a text file, or those that contain a text.
#[derive(Deserialize, JsonSchema)]
struct Input {
    /// A text file, relative to the working directory.
    file_path: String,
    /// Count only lines that contain this text.
    containing: Option<String>,
}

impl Tool for LineCount {
    type Input = Input;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Input>("line_count")
    }

    fn effect(&self, _: &Input) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: Input, cx: &Context) -> Result<ToolOutput, ToolError> {
        let Input { file_path, containing } = input;
        let file = paths::open(cx, &file_path)?;
        let text = std::io::read_to_string(file)
            .map_err(|error| ToolError(format!("{file_path}: {error}")))?;
        let all = text.lines().count();
        let Some(wanted) = containing else { return Ok(format!("{all} lines").into()) };
        if wanted.is_empty() {
            let why = "containing must not be empty; leave it out to count all lines";
            return Err(ToolError(why.into()));
        }
        let some = text.lines().filter(|line| line.contains(&wanted)).count();
        Ok(format!("{some} of {all} lines contain {wanted:?}").into())
    }
}
