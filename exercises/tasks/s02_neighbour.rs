// # The neighbour's files
//
// repair, level 2, 20 minutes. Read: examples/s02_tool_use.rs, core/src/paths.rs
//
// `first_line` is a tool that shows the first line of a file. The model names the file, so the tool
// looks whether it is in the working directory. A user reports:
//
//   "My project is in /work/shop. The agent told me what stands in /work/shop-keys/live.txt. I
//   never showed it that folder. It also read a file through a link that somebody had put into the
//   project, and that file is in my home."
//
// Mend the tool. Whatever the model names, the tool reads files below its working directory and no
// others. What worked before must still work: a subfolder, `./a.txt`, an absolute path that leads
// inside. When a file is missing, the model must read which one.
//
// Run: cargo run -p rungs-exercises -- run s02_neighbour

#[allow(unused_imports)]
use rungs_core::{Context, Effect, Tool, ToolError, ToolOutput, ToolSpec, paths};
#[allow(unused_imports)]
use rungs_files::absolute;
use schemars::JsonSchema;
use serde::Deserialize;
#[allow(unused_imports)]
use std::path::Path;

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
        let path = absolute(cx.cwd(), Path::new(&file_path));
        let folder = cx.cwd().display().to_string();
        if !path.display().to_string().starts_with(&folder) {
            return Err(ToolError(format!("{file_path}: it is outside the working directory")));
        }
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ToolError(format!("{file_path}: {error}")))?;
        Ok(text.lines().next().unwrap_or_default().into())
    }
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_exercises::support::{play, results};
    use serde_json::json;
    use std::fs;

    /// What the model reads when it asks for this file. The project is `work/shop`, and
    /// `work/shop-keys` is the neighbour's.
    async fn shown(file_path: &str) -> String {
        let path = file_path.to_string();
        let turns = [call("first_line", json!({ "file_path": path })), say("done")];
        let play = play([scene("^go$", turns)], |agent, dir| {
            let (shop, keys) = (dir.join("work/shop"), dir.join("work/shop-keys"));
            fs::create_dir_all(shop.join("src")).unwrap();
            fs::create_dir_all(&keys).unwrap();
            fs::write(shop.join("a.txt"), "apples\n2\n").unwrap();
            fs::write(shop.join("src/b.txt"), "pears\n2\n3\n").unwrap();
            fs::write(keys.join("live.txt"), "secret\n").unwrap();
            std::os::unix::fs::symlink(keys.join("live.txt"), shop.join("link.txt")).unwrap();
            std::os::unix::fs::symlink(&keys, shop.join("linked")).unwrap();
            agent.tool(FirstLine).in_dir(shop)
        })
        .await;
        let path = file_path.replace("WORK", &play.dir.path().join("work").display().to_string());
        let cx = play.agent.context();
        if path == file_path {
            let (_, chat) = play.ask("go").await;
            return results(&chat.messages()[2])[0].clone();
        }
        // An absolute path is known only now.
        match Tool::call(&FirstLine, FirstLineInput { file_path: path }, &cx).await {
            Ok(output) => output.text(),
            Err(error) => error.0,
        }
    }

    #[tokio::test]
    async fn files_of_the_project_are_read() {
        for (path, line) in [
            ("a.txt", "apples"),
            ("./a.txt", "apples"),
            ("src/b.txt", "pears"),
            ("src/../a.txt", "apples"),
            ("WORK/shop/src/b.txt", "pears"),
        ] {
            assert_eq!(shown(path).await, line, "{path} is inside, and was read before");
        }
    }

    #[tokio::test]
    async fn a_folder_with_a_longer_name_is_another_folder() {
        for path in ["../shop-keys/live.txt", "WORK/shop-keys/live.txt"] {
            let text = shown(path).await;
            let why = "`/work/shop-keys` begins with the letters of `/work/shop`. A path is a list \
                       of names, and not a text";
            assert!(!text.contains("secret"), "{why}.\n\nThe model read: {text}");
        }
    }

    #[tokio::test]
    async fn a_link_is_judged_by_where_it_leads() {
        for path in ["link.txt", "linked/live.txt"] {
            let text = shown(path).await;
            let why = "the name is inside, the file is not: what counts is the file that is opened";
            assert!(!text.contains("secret"), "{why}.\n\nThe model read: {text}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let text = shown("src/c.txt").await;
        assert!(text.contains("src/c.txt"), "the model must know which file is missing: {text}");
    }
}
