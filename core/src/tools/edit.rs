use super::{Effect, Tool, ToolError, ToolOutput, ToolSpec, blocking};
use crate::{Context, paths};
use rungs_files::{Changed, ReadTracker, Replacement, edit_file};
use schemars::JsonSchema;
use serde::Deserialize;

/// Replaces an exact piece of a file, as [`edit_file`] does.
#[derive(Debug, Clone, Copy)]
pub struct Edit;

/// Replaces `old_string` by `new_string` in a file below the working directory. `old_string` must
/// be there exactly, white space included and without line numbers, and only once, unless
/// `replace_all` is set. With an empty `old_string` it makes a new file. Of a notebook (.ipynb), it
/// edits the sources of the cells.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EditInput {
    /// The file, relative to the working directory or absolute.
    file_path: String,
    /// What to replace.
    old_string: String,
    /// What to put in its place.
    new_string: String,
    /// Whether to replace it wherever it is; no unless given.
    replace_all: Option<bool>,
}

impl Tool for Edit {
    type Input = EditInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<EditInput>("edit")
    }

    fn effect(&self, input: &EditInput) -> Effect {
        Effect::Writes(vec![(&input.file_path).into()])
    }

    fn summary(&self, input: &EditInput) -> Option<String> {
        Some(format!("edit {}", input.file_path))
    }

    async fn call(&self, input: EditInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        blocking(cx, move |cx, _| {
            let EditInput { file_path, old_string: old, new_string: new, replace_all } = &input;
            let replacement = Replacement { old, new, all: replace_all.unwrap_or(false) };
            let read = cx.state::<ReadTracker>();
            note(cx, edit_file(&paths::root(cx)?, &read, file_path, replacement)?)
        })
        .await
    }
}

/// Remembers in which state a file is that the model has changed.
pub(super) fn note(cx: &Context, changed: Changed) -> Result<ToolOutput, ToolError> {
    if let Some(stamp) = changed.stamp {
        cx.update(|read: &mut ReadTracker| read.note(changed.path, stamp));
    }
    Ok(changed.message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Agent,
        test::call,
        tools::{Bash, Read, Write},
    };
    use serde_json::{Value, json};
    use std::fs;

    struct Folder {
        dir: tempfile::TempDir,
        cx: Context,
    }

    impl Folder {
        fn build() -> Folder {
            let dir = tempfile::tempdir().unwrap();
            let cx = Agent::new(crate::test::Mute, dir.path()).context();
            Folder { dir, cx }
        }

        fn put(&self, content: impl AsRef<[u8]>) {
            fs::write(self.dir.path().join("f"), content).unwrap();
        }

        fn content(&self) -> Vec<u8> {
            fs::read(self.dir.path().join("f")).unwrap()
        }

        async fn call(&self, tool: impl Tool, input: Value) -> Result<String, String> {
            call(tool, input, &self.cx).await
        }

        async fn read(&self) {
            self.call(Read, json!({"file_path": "f"})).await.unwrap();
        }

        async fn edit(&self, old: &str, new: &str, all: bool) -> Result<String, String> {
            let input =
                json!({"file_path": "f", "old_string": old, "new_string": new, "replace_all": all});
            self.call(Edit, input).await
        }

        async fn write(&self, content: &str) -> Result<String, String> {
            self.call(Write, json!({"file_path": "f", "content": content})).await
        }
    }

    #[tokio::test]
    async fn a_file_is_made_read_and_changed() {
        let folder = Folder::build();
        assert_eq!(folder.write("one\ntwo\n").await.unwrap(), "created f: 2 lines");
        assert_eq!(
            folder.edit("two", "2", false).await.unwrap(),
            "edited f, 1 place:\n     1\tone\n     2\t2\n"
        );
        assert_eq!(
            folder.edit("o", "0", true).await.unwrap(),
            "edited f, 1 place:\n     1\t0ne\n     2\t2\n"
        );
        assert_eq!(folder.write("three\n").await.unwrap(), "replaced f: 1 line");
        assert_eq!(folder.content(), b"three\n");
        let deep = json!({"file_path": "a/b/c", "old_string": "", "new_string": "x"});
        assert_eq!(folder.call(Edit, deep.clone()).await.unwrap(), "created a/b/c: 1 line");
        let again = folder.call(Edit, deep).await.unwrap_err();
        assert_eq!(again, "a/b/c: `old_string` is empty, which only makes a new file");
    }

    #[tokio::test]
    async fn what_was_not_read_is_not_overwritten() {
        let folder = Folder::build();
        folder.put("a\na\n");
        assert_eq!(
            folder.write("x").await.unwrap_err(),
            "f: it exists, and it has not been read; read it first"
        );
        let all = folder.edit("a", "x", true).await.unwrap_err();
        assert_eq!(all, "f: it has not been read; read it before you replace all");
        let many = folder.edit("a", "x", false).await.unwrap_err();
        assert!(
            many.starts_with(
                "f: it has not been read, and `old_string` is there 2 times, on lines 1, 2"
            ),
            "{many}"
        );
        assert_eq!(
            folder.edit("a\na", "b\na", false).await.unwrap(),
            "edited f, 1 place:\n     1\tb\n     2\ta\n"
        );
        assert!(folder.write("x").await.is_err(), "an edit shows no more than its place");
        folder.read().await;
        assert_eq!(folder.write("x").await.unwrap(), "replaced f: 1 line");
        let cx = Agent::new(crate::test::Mute, folder.dir.path()).context();
        let folder = Folder { cx, ..folder };
        assert!(folder.write("y").await.is_err(), "another conversation has read nothing");
        assert_eq!(folder.content(), b"x");
    }

    #[tokio::test]
    async fn what_has_changed_since_is_not_overwritten() {
        let folder = Folder::build();
        folder.put("a\nb\na\n");
        folder.read().await;
        folder.call(Bash, json!({"command": "printf 'c\\n' >> f"})).await.unwrap();
        let changed = "f: it exists, and it has changed since it was read; read it first";
        assert_eq!(folder.write("x").await.unwrap_err(), changed);
        let all = folder.edit("a", "x", true).await.unwrap_err();
        assert_eq!(all, "f: it has changed since it was read; read it before you replace all");
        let gone = folder.edit("d", "x", false).await.unwrap_err();
        assert!(
            gone.starts_with(
                "f: it has changed since it was read, and `old_string` is not in the file"
            ),
            "{gone}"
        );
        folder.edit("b", "B", false).await.unwrap();
        assert_eq!(folder.content(), b"a\nB\na\nc\n");
        assert_eq!(folder.write("x").await.unwrap_err(), changed);
        fs::remove_file(folder.dir.path().join("f")).unwrap();
        assert_eq!(folder.write("x").await.unwrap(), "created f: 1 line");
    }

    #[tokio::test]
    async fn bytes_that_were_not_meant_stay() {
        for (content, old, new, result) in [
            (&b"\xef\xbb\xbfa\r\nb\r\n"[..], "a\nb", "x\ny", Ok(&b"\xef\xbb\xbfx\r\ny\r\n"[..])),
            (b"a\r\nb\nc", "b", "1\n2", Ok(b"a\r\n1\n2\nc")),
            (b"no end", "end", "END", Ok(b"no END")),
            (b"caf\xe9\nb\n", "b", "x", Err("f: line 1 is not UTF-8")),
            (b"\xff\xfea\0", "a", "x", Err("f: this is text in UTF-16")),
            (b"a\0b", "a", "x", Err("f: this is a binary file")),
            (b"a", "a", "a", Err("f: `old_string` and `new_string` are the same")),
            (b"a", "b", "x", Err("f: `old_string` is not in the file")),
        ] {
            let folder = Folder::build();
            folder.put(content);
            if !content.contains(&0) {
                folder.read().await;
            }
            match (folder.edit(old, new, false).await, result) {
                (Ok(_), Ok(result)) => assert_eq!(folder.content(), result),
                (Err(error), Err(start)) => {
                    assert!(error.starts_with(start), "{error}");
                    assert_eq!(folder.content(), content);
                }
                (was, _) => panic!("{content:?}: {was:?}"),
            }
        }
    }

    #[tokio::test]
    async fn modes_stay_and_what_is_too_much_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::build();
        folder.put("#!/bin/sh\n");
        let path = folder.dir.path().join("f");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        folder.edit("sh", "bash", false).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(folder.edit("bash", "sh", false).await.unwrap_err(), "f: it is write-protected");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(50_000_001).unwrap();
        let large = folder.edit("bash", "sh", false).await.unwrap_err();
        assert_eq!(
            large,
            "f: it has more than 50000000 bytes, the most that is read whole; use a command"
        );
        for path in ["../f", ".git/config", ".rungs/f", "/etc/passwd"] {
            let input = json!({"file_path": path, "content": "x"});
            assert!(folder.call(Write, input).await.is_err(), "{path}");
        }
    }
}
