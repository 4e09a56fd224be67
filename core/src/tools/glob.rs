use super::{Effect, Tool, ToolError, ToolOutput, ToolSpec, blocking};
use crate::{Context, paths};
use schemars::JsonSchema;
use serde::Deserialize;

/// Finds files by their names.
#[derive(Debug, Clone, Copy)]
pub struct Glob;

/// Finds files by name below the working directory, the newest first, 100 at most. `*.rs` finds at
/// any depth, `src/*.rs` from `path` on, `**` passes folders. Files that git ignores are left out.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GlobInput {
    /// Such as `**/*.{ts,tsx}`.
    pattern: String,
    /// The folder to search; the working directory unless given.
    path: Option<String>,
}

impl Tool for Glob {
    type Input = GlobInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<GlobInput>("glob")
    }

    fn effect(&self, _: &GlobInput) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: GlobInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        blocking(cx, move |cx, stop| {
            let GlobInput { pattern, path } = &input;
            Ok(rungs_files::glob(&paths::root(cx)?, path.as_deref(), pattern, stop)?.into())
        })
        .await
    }
}
