// # A call that was cut
//
// drill, level 1, 15 minutes. Read: examples/s02_tool_use.rs, crates/json/src/arguments.rs
//
// `clear_cache` deletes the files of a cache. With `folder` it clears one folder of it, without
// `folder` all of it. In this drill the model server cuts the arguments of a call after a few
// bytes, as it happens when a reply runs into a limit, and then sends what is left of them: `{}`.
//
// The model wanted to clear `cache/old`. Play it, and see what is deleted.
//
// Change the tool so that a cut call deletes nothing, and the model reads what is missing and calls
// again. Clearing all of the cache must still be possible, when the model says so: with
// `everything: true`. A call that names a folder and says `everything: true` contradicts itself and
// is refused.
//
// Run: cargo run -p rungs-exercises -- run s02_cut

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
    /// Deletes files of the cache.
    ClearCache {
        /// One folder of it; without it, all of the cache.
        folder: Option<Folder>,
    },
}

async fn run(_: &(), call: Call, cx: &Context) -> Result<String, ToolError> {
    let cache = cx.cwd().join("cache");
    let Call::ClearCache { folder } = call;
    match folder {
        Some(Folder::Old) => clear(&cache.join("old")),
        Some(Folder::New) => clear(&cache.join("new")),
        None => clear(&cache),
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

mod tests {
    use super::*;
    use rehearsal::{Turn, call, say, scene};
    use rungs_exercises::support::{Play, play, results};
    use serde_json::{Value, json};

    async fn cache(turns: impl IntoIterator<Item = Turn>) -> Play {
        play([scene("^go$", turns)], |agent, dir| {
            for file in ["cache/old/a", "cache/old/b", "cache/new/c"] {
                fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
                fs::write(dir.join(file), "x").unwrap();
            }
            agent.tools((), effect, run)
        })
        .await
    }

    fn clear_cache(input: Value) -> Turn {
        call("clear_cache", input)
    }

    fn left(play: &Play) -> Vec<&'static str> {
        let mut files = vec!["old/a", "old/b", "new/c"];
        files.retain(|file| play.dir.path().join("cache").join(file).exists());
        files
    }

    #[tokio::test]
    async fn a_cut_call_deletes_nothing_and_is_repeated() {
        let cut = clear_cache(json!({"folder": "old"})).fault(json!({"cut_arguments": 5}));
        let again = clear_cache(json!({"folder": "old"})).only_if("results[0].is_error");
        let play = cache([cut, again, say("done")]).await;
        let (_, chat) = play.ask("go").await;
        let why = "`{}` is what a cut call looks like. A tool that takes it for a wish does the \
                   most harmful thing that it can do";
        assert_eq!(left(&play), ["new/c"], "{why}");
        let first = &results(&chat.messages()[2])[0];
        let why = "the model must learn which argument did not arrive";
        assert!(first.contains("folder"), "{why}: {first}");
    }

    #[tokio::test]
    async fn all_of_it_goes_only_when_the_model_says_so() {
        let play = cache([clear_cache(json!({"everything": true})), say("done")]).await;
        let (_, chat) = play.ask("go").await;
        let result = &results(&chat.messages()[2])[0];
        assert_eq!(left(&play), [""; 0], "`everything: true` is a clear wish: {result}");
    }

    #[tokio::test]
    async fn a_call_that_contradicts_itself_deletes_nothing() {
        for input in
            [json!({"folder": "old", "everything": true}), json!({"everything": false}), json!({})]
        {
            let play = cache([clear_cache(input.clone()), say("done")]).await;
            play.ask("go").await;
            assert_eq!(left(&play), ["old/a", "old/b", "new/c"], "{input} says nothing clearly");
        }
    }

    #[tokio::test]
    async fn one_folder_is_cleared_as_before() {
        let play = cache([clear_cache(json!({"folder": "new"})), say("done")]).await;
        play.ask("go").await;
        assert_eq!(left(&play), ["old/a", "old/b"], "`folder` alone works as it did");
    }
}
