use super::{Effect, Tool, ToolError, ToolOutput, ToolSpec, blocking};
use crate::{Block, Context, paths};
use rungs_files::{Content, LineRange, ReadError, ReadTracker, Stamp};
use schemars::JsonSchema;
use serde::Deserialize;

/// Reads a file: text with its lines numbered, a notebook as its cells, an image as itself.
#[derive(Debug, Clone, Copy)]
pub struct Read;

/// Reads a file below the working directory: text with numbered lines, notebooks (.ipynb) as cells
/// with the text of their outputs, images (png, jpeg, gif, webp) as images. Reads the first 2000
/// lines unless `offset` and `limit` say otherwise; very long lines are cut.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReadInput {
    /// The file, relative to the working directory or absolute.
    file_path: String,
    /// The first line to read, counted from 1.
    offset: Option<usize>,
    /// How many lines to read.
    limit: Option<usize>,
}

impl Tool for Read {
    type Input = ReadInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<ReadInput>("read")
    }

    fn effect(&self, _: &ReadInput) -> Effect {
        Effect::Reads
    }

    fn summary(&self, input: &ReadInput) -> Option<String> {
        let lines = LineRange::in_words(input.offset, input.limit);
        Some(format!("read {}{lines}", input.file_path))
    }

    async fn call(&self, input: ReadInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let ReadInput { file_path, offset, limit } = input;
        let all = LineRange::default();
        let range =
            LineRange { offset: offset.unwrap_or(all.offset), limit: limit.unwrap_or(all.limit) };
        blocking(cx, move |cx, stop| {
            let root = paths::root_to_read(cx, &file_path)?;
            let file = root.open_file(&file_path)?;
            let real = root.resolve(&file_path)?;
            let stamp = Stamp::settled(&file)?;
            // Whether it is a notebook says the name of the file, not that of a link to it.
            let content = rungs_files::read(file, &real.to_string_lossy(), range, &|| stop());
            let note = root.look_alike_note(&file_path, &real);
            // What cannot be shown can still be replaced as a whole.
            if !matches!(content, Err(ReadError::Cancelled | ReadError::Io(_))) {
                cx.update(|read: &mut ReadTracker| read.note(root.path().join(real), stamp));
            }
            let content = content.map_err(|error| ToolError(format!("{file_path}: {error}")))?;
            let note = note.map(|note| format!("[{note}]\n")).unwrap_or_default();
            Ok(match content {
                Content::Text(text) => (note + &text).into(),
                Content::Image(image) => {
                    let (width, height) = (image.width, image.height);
                    let size = format!("{note}{file_path}: {width} x {height} pixels");
                    let shown = Block::image(image.media_type, &image.base64);
                    ToolOutput(vec![Block::text(size), shown])
                }
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Agent, AnyTool};
    use serde_json::{Value, json};

    async fn read(content: &[u8], input: Value) -> Result<ToolOutput, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), content).unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        AnyTool::new(Read).call(&input, &cx).await.map_err(|e| e.0)
    }

    #[tokio::test]
    async fn numbers_the_lines() {
        let text = read(b"one\r\ntwo\n\nfour", json!({"file_path": "f"})).await.unwrap().text();
        assert_eq!(text, "     1\tone\n     2\ttwo\n     3\t\n     4\tfour\n");
        let part = read(b"1\n2\n3\n4\n", json!({"file_path": "f", "offset": 2, "limit": 2}))
            .await
            .unwrap()
            .text();
        assert_eq!(part, "     2\t2\n     3\t3\n[more lines follow; go on with offset 4]\n");
    }

    #[tokio::test]
    async fn says_for_which_file_a_name_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1.01\u{202f}AM"), "text\n").unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        let shown = AnyTool::new(Read).call(&json!({"file_path": "1.01 AM"}), &cx).await.unwrap();
        let note = "[this is `1.01\u{202f}AM`: it has U+202F where you wrote U+0020]";
        assert_eq!(shown.text(), format!("{note}\n     1\ttext\n"));
    }

    #[tokio::test]
    async fn a_notebook_is_one_behind_a_link_of_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let notebook = r#"{"cells": [{"cell_type": "code", "source": "x = 1", "outputs": []}]}"#;
        std::fs::write(dir.path().join("n.ipynb"), notebook).unwrap();
        std::os::unix::fs::symlink("n.ipynb", dir.path().join("link")).unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        let shown = AnyTool::new(Read).call(&json!({"file_path": "link"}), &cx).await.unwrap();
        assert_eq!(shown.text(), "     1\t[cell 1: code]\n     2\tx = 1\n");
    }

    #[tokio::test]
    async fn shows_images() {
        let png = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(),
            &7u32.to_be_bytes(),
            &5u32.to_be_bytes(),
        ]
        .concat();
        let image = Block::image("image/png", "iVBORw0KGgoAAAANSUhEUgAAAAcAAAAF");
        let shown = read(&png, json!({"file_path": "f"})).await.unwrap();
        assert_eq!(shown, ToolOutput(vec![Block::text("f: 7 x 5 pixels"), image]));
    }

    #[tokio::test]
    async fn says_what_cannot_be_read() {
        for (content, input, error) in [
            (&b"1\n"[..], json!({"file_path": "f", "offset": 9}), "f: it has only 1 line"),
            (b"\x7fELF\0\0", json!({"file_path": "f"}), "f: this is a binary file"),
            (b"", json!({"file_path": "g"}), "g: no such file"),
            (b"", json!({"file_path": "."}), ".: this is a folder"),
            (b"", json!({"file_path": 7}), "`file_path`: expected a string, got 7"),
        ] {
            assert_eq!(read(content, input).await.unwrap_err(), error);
        }
    }
}
