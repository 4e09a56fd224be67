use super::{Output, Tool, ToolError, ToolSpec, args, blocking};
use crate::{Context, paths};
use serde::Deserialize;
use serde_json::{Value, json};

/// Finds files by their names.
pub struct Glob;

impl Tool for Glob {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "glob",
            "Finds files by name below the working directory, the newest first, 100 at most. `*.rs` finds at any \
             depth, `src/*.rs` from `path` on, `**` passes folders. Files that git ignores are left out.",
            json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "Such as `**/*.{ts,tsx}`."},
                    "path": {"type": "string", "description": "The folder to search; the working directory unless given."},
                },
                "required": ["pattern"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            pattern: String,
            path: Option<String>,
        }
        let Args { pattern, path } = args(input)?;
        blocking(cx, move |cx, stop| {
            Ok(rungs_files::glob(&paths::root(cx)?, path.as_deref(), &pattern, stop)?.into())
        })
        .await
    }

    fn read_only(&self) -> bool {
        true
    }
}
