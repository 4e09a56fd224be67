use super::{Output, Seen, Tool, ToolError, ToolSpec, args, blocking};
use crate::{Context, paths};
use rungs_files::{PathErrorKind, Stamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// Replaces an exact piece of a file. Whoever quotes a piece that is there exactly once means that piece, whatever else
/// they know of the file; to replace all such pieces, the model must know the file as it is.
pub struct Edit;

#[derive(Deserialize)]
struct Args {
    file_path: String,
    old_string: String,
    new_string: String,
    #[serde(default)]
    replace_all: bool,
}

impl Tool for Edit {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "edit",
            "Replaces `old_string` by `new_string` in a file below the working directory. `old_string` must be there \
             exactly, white space included and without line numbers, and only once, unless `replace_all` is set. \
             With an empty `old_string` it makes a new file.",
            json!({
                "type": "object",
                "properties": {
                    "file_path": {"type": "string", "description": "The file, relative to the working directory or absolute."},
                    "old_string": {"type": "string", "description": "What to replace."},
                    "new_string": {"type": "string", "description": "What to put in its place."},
                    "replace_all": {"type": "boolean", "description": "Replace it wherever it is; no unless given."},
                },
                "required": ["file_path", "old_string", "new_string"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        let args: Args = args(input)?;
        blocking(cx, move |cx, _| edit(&args, cx)).await
    }
}

fn edit(args: &Args, cx: &Context) -> Result<Output, ToolError> {
    let Args { file_path, old_string, new_string, replace_all } = args;
    let said = |why: &dyn std::fmt::Display| ToolError(format!("{file_path}: {why}"));
    let root = paths::root(cx)?;
    let path = root.path().join(root.resolve(file_path)?);
    let file = match root.open_file(file_path) {
        Ok(file) => file,
        Err(refused)
            if matches!(refused.kind, PathErrorKind::NotFound) && old_string.is_empty() =>
        {
            let new = root.write(file_path, new_string.as_bytes(), None)?;
            cx.local::<Seen>().note(path, new);
            return Ok(format!("created {file_path}: {} lines", new_string.lines().count()).into());
        }
        Err(refused) => return Err(refused.into()),
    };
    let old = Stamp::of(&file)?;
    let doubt = cx.local::<Seen>().doubt(&path, &old);
    if let Some(doubt) = doubt
        && *replace_all
    {
        return Err(said(&format!("{doubt}; read it before you replace all")));
    }
    let text = rungs_files::read_text(file).map_err(|unfit| said(&unfit))?;
    let edited = rungs_files::replace(&text, old_string, new_string, *replace_all).map_err(
        |no| match doubt {
            Some(doubt) => said(&format!("{doubt}, and {no}")),
            None => said(&no),
        },
    )?;
    let new = root.write(file_path, edited.text.as_bytes(), Some(&old))?;
    // Of a file that was never read, the model now knows this place and no more.
    if doubt.is_none() {
        cx.local::<Seen>().note(path, new);
    }
    Ok(format!("edited {file_path}, {}", edited.excerpt()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Agent,
        tools::{Bash, Write},
    };
    use std::fs;

    struct House {
        dir: tempfile::TempDir,
        cx: Context,
    }

    impl House {
        fn build() -> House {
            let dir = tempfile::tempdir().unwrap();
            let cx = Agent::new(crate::test::Mute, dir.path()).context();
            House { dir, cx }
        }

        fn put(&self, content: impl AsRef<[u8]>) {
            fs::write(self.dir.path().join("f"), content).unwrap();
        }

        fn content(&self) -> Vec<u8> {
            fs::read(self.dir.path().join("f")).unwrap()
        }

        async fn call(&self, tool: &impl Tool, input: Value) -> Result<String, String> {
            tool.call(input, &self.cx).await.map(|output| output.text).map_err(|error| error.0)
        }

        async fn read(&self) {
            self.call(&crate::tools::Read, json!({"file_path": "f"})).await.unwrap();
        }

        async fn edit(&self, old: &str, new: &str, all: bool) -> Result<String, String> {
            let input =
                json!({"file_path": "f", "old_string": old, "new_string": new, "replace_all": all});
            self.call(&Edit, input).await
        }

        async fn write(&self, content: &str) -> Result<String, String> {
            self.call(&Write, json!({"file_path": "f", "content": content})).await
        }
    }

    #[tokio::test]
    async fn a_file_is_made_read_and_changed() {
        let house = House::build();
        assert_eq!(house.write("one\ntwo\n").await.unwrap(), "created f: 2 lines");
        assert_eq!(
            house.edit("two", "2", false).await.unwrap(),
            "edited f, 1 place:\n     1\tone\n     2\t2\n"
        );
        assert_eq!(
            house.edit("o", "0", true).await.unwrap(),
            "edited f, 1 place:\n     1\t0ne\n     2\t2\n"
        );
        assert_eq!(house.write("three\n").await.unwrap(), "replaced f: 1 lines");
        assert_eq!(house.content(), b"three\n");
        let deep = json!({"file_path": "a/b/c", "old_string": "", "new_string": "x"});
        assert_eq!(house.call(&Edit, deep.clone()).await.unwrap(), "created a/b/c: 1 lines");
        let again = house.call(&Edit, deep).await.unwrap_err();
        assert_eq!(again, "a/b/c: `old_string` is empty, which only makes a new file");
    }

    #[tokio::test]
    async fn what_was_not_read_is_not_overwritten() {
        let house = House::build();
        house.put("a\na\n");
        assert_eq!(
            house.write("x").await.unwrap_err(),
            "f: it exists, and it has not been read; read it first"
        );
        let all = house.edit("a", "x", true).await.unwrap_err();
        assert_eq!(all, "f: it has not been read; read it before you replace all");
        let many = house.edit("a", "x", false).await.unwrap_err();
        assert!(
            many.starts_with(
                "f: it has not been read, and `old_string` is there 2 times, on lines 1, 2"
            ),
            "{many}"
        );
        assert_eq!(
            house.edit("a\na", "b\na", false).await.unwrap(),
            "edited f, 1 place:\n     1\tb\n     2\ta\n"
        );
        assert!(house.write("x").await.is_err(), "an edit shows no more than its place");
        house.read().await;
        assert_eq!(house.write("x").await.unwrap(), "replaced f: 1 lines");
        house.cx.forget();
        assert!(house.write("y").await.is_err(), "another conversation has read nothing");
        assert_eq!(house.content(), b"x");
    }

    #[tokio::test]
    async fn what_has_changed_since_is_not_overwritten() {
        let house = House::build();
        house.put("a\nb\na\n");
        house.read().await;
        house.call(&Bash, json!({"command": "printf 'c\\n' >> f"})).await.unwrap();
        let changed = "f: it exists, and it has changed since it was read; read it first";
        assert_eq!(house.write("x").await.unwrap_err(), changed);
        let all = house.edit("a", "x", true).await.unwrap_err();
        assert_eq!(all, "f: it has changed since it was read; read it before you replace all");
        let gone = house.edit("d", "x", false).await.unwrap_err();
        assert!(
            gone.starts_with(
                "f: it has changed since it was read, and `old_string` is not in the file"
            ),
            "{gone}"
        );
        house.edit("b", "B", false).await.unwrap();
        assert_eq!(house.content(), b"a\nB\na\nc\n");
        assert_eq!(house.write("x").await.unwrap_err(), changed);
        fs::remove_file(house.dir.path().join("f")).unwrap();
        assert_eq!(house.write("x").await.unwrap(), "created f: 1 lines");
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
            let house = House::build();
            house.put(content);
            if !content.contains(&0) {
                house.read().await;
            }
            match (house.edit(old, new, false).await, result) {
                (Ok(_), Ok(result)) => assert_eq!(house.content(), result),
                (Err(error), Err(start)) => {
                    assert!(error.starts_with(start), "{error}");
                    assert_eq!(house.content(), content);
                }
                (was, _) => panic!("{content:?}: {was:?}"),
            }
        }
    }

    #[tokio::test]
    async fn modes_stay_and_what_is_too_much_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let house = House::build();
        house.put("#!/bin/sh\n");
        let path = house.dir.path().join("f");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        house.edit("sh", "bash", false).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(house.edit("bash", "sh", false).await.unwrap_err(), "f: it is write-protected");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(50_000_001).unwrap();
        let large = house.edit("bash", "sh", false).await.unwrap_err();
        assert_eq!(
            large,
            "f: it has more than 50000000 bytes, too many to edit here; use a command"
        );
        for path in ["../f", ".git/config", ".rungs/f", "/etc/passwd"] {
            let input = json!({"file_path": path, "content": "x"});
            assert!(house.call(&Write, input).await.is_err(), "{path}");
        }
    }
}
