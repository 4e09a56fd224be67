use super::{Output, Seen, Tool, ToolError, ToolSpec, args, blocking};
use crate::{Context, paths};
use rungs_files::{PathErrorKind, Stamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// Makes a file, or replaces the whole of one that the model knows.
pub struct Write;

impl Tool for Write {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "write",
            "Writes a whole file below the working directory, and makes the folders that it needs. A file that exists \
             must have been read before. To change a part of a file, use `edit`.",
            json!({
                "type": "object",
                "properties": {
                    "file_path": {"type": "string", "description": "The file, relative to the working directory or absolute."},
                    "content": {"type": "string", "description": "All that the file will hold."},
                },
                "required": ["file_path", "content"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            file_path: String,
            content: String,
        }
        let Args { file_path, content } = args(input)?;
        blocking(cx, move |cx, _| {
            let root = paths::root(cx)?;
            let path = root.path().join(root.resolve(&file_path)?);
            let old = match root.open_file(&file_path) {
                Ok(file) => Some(Stamp::of(file)?),
                Err(refused) if matches!(refused.kind, PathErrorKind::NotFound) => None,
                Err(refused) => return Err(refused.into()),
            };
            if let Some(doubt) = old.and_then(|old| cx.local::<Seen>().doubt(&path, &old)) {
                return Err(ToolError(format!(
                    "{file_path}: it exists, and {doubt}; read it first"
                )));
            }
            let new = root.write(&file_path, content.as_bytes(), old.as_ref())?;
            cx.local::<Seen>().note(path, new);
            let verb = if old.is_some() { "replaced" } else { "created" };
            Ok(format!("{verb} {file_path}: {} lines", content.lines().count()).into())
        })
        .await
    }
}
