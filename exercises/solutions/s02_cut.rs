use rungs_core::{Context, Effect, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{fs, path::Path};

/// The folders of the cache. With a list of names the model cannot name any other folder.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Folder {
    Old,
    New,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Deletes files of the cache: one folder of it, or everything.
    ClearCache {
        /// One folder of it.
        folder: Option<Folder>,
        /// True to clear all of the cache; then without `folder`.
        everything: Option<bool>,
    },
}

async fn run(_: &(), call: Call, cx: &Context) -> Result<String, ToolError> {
    let cache = cx.cwd().join("cache");
    let Call::ClearCache { folder, everything } = call;
    match (folder, everything == Some(true)) {
        (Some(Folder::Old), false) => clear(&cache.join("old")),
        (Some(Folder::New), false) => clear(&cache.join("new")),
        (None, true) => clear(&cache),
        // What did not arrive is no wish.
        _ => Err(ToolError("give `folder`, or `everything: true`; nothing was deleted".into())),
    }
}

fn effect(_: &Call) -> Effect {
    Effect::Anything
}

/// Deletes all files below a folder.
fn clear(folder: &Path) -> Result<String, ToolError> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            clear(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
        count += 1;
    }
    Ok(format!("cleared: {count} entries"))
}
