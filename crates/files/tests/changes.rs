//! Files changed by name, from what was read of them.
use rungs_files::{
    ChangeError, Changed, Content, FileEdit, LineRange, ReadTracker, Replacement, Root, Stamp,
    edit_file, edit_files, glob, read, write_file,
};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

struct Folder {
    dir: tempfile::TempDir,
    root: Root,
    tracker: ReadTracker,
}

impl Folder {
    fn build() -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap().deny(&[".git"]);
        Folder { dir, root, tracker: ReadTracker::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn content(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// Reads it as the tool does.
    fn read(&mut self, path: &str) -> Result<String, String> {
        let file = self.root.open_file(path).map_err(|error| error.to_string())?;
        let stamp = Stamp::of(&file).unwrap();
        let shown = read(file, path, LineRange::default(), &|| false);
        self.tracker.note(self.root.path().join(self.root.resolve(path).unwrap()), stamp);
        match shown.map_err(|error| error.to_string())? {
            Content::Text(text) => Ok(text),
            Content::Image(image) => Ok(image.media_type.into()),
        }
    }

    fn edit(&self, path: &str, old: &str, new: &str) -> Result<String, String> {
        let replacement = Replacement { old, new, all: false };
        let changed = edit_file(&self.root, &self.tracker, path, replacement);
        changed.map(|changed| changed.message).map_err(|error| error.to_string())
    }

    fn edit_all(&self, edits: &[(&str, &str, &str)]) -> Result<Vec<String>, String> {
        let edit = |(path, old, new): &(&str, &str, &str)| FileEdit {
            file_path: path.to_string(),
            old_string: old.to_string(),
            new_string: new.to_string(),
            replace_all: None,
        };
        let edits: Vec<FileEdit> = edits.iter().map(edit).collect();
        let changed = edit_files(&self.root, &self.tracker, &edits);
        let messages =
            |changed: Vec<Changed>| changed.into_iter().map(|file| file.message).collect();
        changed.map(messages).map_err(|error| error.to_string())
    }

    fn write(&self, path: &str, content: &str) -> Result<String, String> {
        let changed = write_file(&self.root, &self.tracker, path, content);
        changed.map(|changed| changed.message).map_err(|error| error.to_string())
    }
}

const SCREENSHOT: &str = "Screenshot 1.01.11\u{202f}AM.txt";

#[test]
fn a_name_stands_for_the_only_one_that_looks_the_same() {
    let mut folder = Folder::build();
    folder.put(&format!("my\u{a0}files/{SCREENSHOT}"), "one\n");
    folder.put("cafe\u{301}.txt", "two\n");
    folder.put("it\u{2019}s.txt", "three\n");
    let shot = "my files/Screenshot 1.01.11 AM.txt";
    let note = format!(
        "this is `my\u{a0}files/{SCREENSHOT}`: it has U+00A0 where you wrote U+0020, it has U+202F \
         where you wrote U+0020"
    );
    let real = folder.root.resolve(shot).unwrap();
    assert_eq!(folder.root.look_alike_note(shot, &real).as_deref(), Some(note.as_str()));
    assert_eq!(
        folder.write(shot, "x").unwrap_err(),
        format!("{shot} ({note}): it exists, and it has not been read; read it first")
    );
    for (path, text) in [(shot, "one"), ("caf\u{e9}.txt", "two"), ("it's.txt", "three")] {
        assert_eq!(folder.read(path).unwrap(), format!("     1\t{text}\n"));
        let edited = folder.edit(path, text, "new").unwrap();
        assert!(edited.starts_with(&format!("edited {path} (this is `")), "{edited}");
    }
    folder.read(shot).unwrap();
    assert_eq!(folder.write(shot, "x").unwrap(), format!("replaced {shot} ({note}): 1 line"));
    assert_eq!(folder.content(&format!("my\u{a0}files/{SCREENSHOT}")), "x");
    // A new file in a folder that looks the same.
    folder.write("my files/new.txt", "x").unwrap();
    assert_eq!(folder.content("my\u{a0}files/new.txt"), "x");
    assert_eq!(folder.read("my  other/x").unwrap_err(), "my  other/x: no such file");
}

#[test]
fn a_name_that_a_search_shows_can_be_opened() {
    let mut folder = Folder::build();
    folder.put("it's/new\nline.txt", "one\n");
    folder.put("tab\there.txt", "two\n");
    let bytes = OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(folder.root.path().join(bytes), "three\n").unwrap();
    let names = glob(&folder.root, None, "*.txt", &|| false).unwrap();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["caf\u{fffd}.txt", "it\\'s/new\\nline.txt", "tab\\there.txt"]);
    for (name, text) in names.into_iter().zip(["three", "one", "two"]) {
        assert_eq!(folder.read(name).unwrap(), format!("     1\t{text}\n"));
        let edited = folder.edit(name, text, "new").unwrap();
        assert!(edited.starts_with(&format!("edited {name}, 1 place")), "{edited}");
    }
}

#[test]
fn the_exact_name_comes_first_and_of_two_that_look_the_same_both_are_named() {
    let mut folder = Folder::build();
    folder.put("a\u{a0}b", "blank\n");
    folder.put("a\u{3000}b", "wide\n");
    let both = "a b: there is no such file, but several look the same: `a\u{a0}b` (it has U+00A0 \
                where you wrote U+0020), `a\u{3000}b` (it has U+3000 where you wrote U+0020)";
    assert_eq!(folder.read("a b").unwrap_err(), both);
    assert_eq!(folder.write("a b", "x").unwrap_err(), both);
    assert_eq!(folder.read("a\u{a0}b").unwrap(), "     1\tblank\n");
    folder.put("a b", "plain\n");
    assert_eq!(folder.read("a b").unwrap(), "     1\tplain\n");
    assert_eq!(folder.root.resolve("a b").unwrap(), Path::new("a b"));
}

#[test]
fn a_name_that_looks_the_same_leads_nowhere_else() {
    let mut folder = Folder::build();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("s\u{a0}1"), "secret").unwrap();
    symlink(outside.path(), folder.at("o\u{a0}ut")).unwrap();
    folder.put(".git/config", "secret");
    for path in ["o ut/s 1", "o ut/s\u{a0}1", ".g\u{200b}it/config", "../o ut/s 1"] {
        let refused = folder.read(path).unwrap_err();
        assert!(
            !refused.contains("no such file") && !refused.contains("s\u{a0}1: no"),
            "{refused}"
        );
    }
}

/// A notebook as Jupyter saves it, with one source of every form.
fn notebook() -> String {
    let text = r##"{
 "cells": [
  {
   "cell_type": "markdown",
   "metadata": {},
   "source": [
    "# Title\n",
    "words"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": 7,
   "metadata": {"custom": [1.50, 1e3]},
   "outputs": [{"output_type": "stream", "name": "stdout", "text": ["x = 3\n"]}],
   "source": "x = 2\nprint(\"caf\u00e9\", x)"
  },
  {"cell_type": "code", "metadata": {}, "outputs": [], "source": []},
  {"cell_type": "code", "metadata": {}, "outputs": [], "source": ["name = 1\n", "name"]}
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}
"##;
    text.into()
}

fn sources(json: &str) -> Vec<Value> {
    let notebook: Value = serde_json::from_str(json.trim_start_matches('\u{feff}')).unwrap();
    notebook["cells"].as_array().unwrap().iter().map(|cell| cell["source"].clone()).collect()
}

#[test]
fn a_notebook_is_edited_in_its_cells_and_stays_one() {
    let mut folder = Folder::build();
    let with_returns = notebook().replace('\n', "\r\n");
    let with_mark = format!("\u{feff}{}", notebook());
    for original in [notebook(), with_returns, with_mark] {
        folder.put("n.ipynb", &original);
        folder.read("n.ipynb").unwrap();
        let edited = folder.edit("n.ipynb", "x = 2\n", "x = \"two\"\ny = '\\\\'\n").unwrap();
        assert_eq!(
            edited.lines().collect::<Vec<_>>(),
            [
                "edited n.ipynb, 1 place:",
                "     2\t# Title",
                "     3\twords",
                "     4\t[cell 2: code]",
                "     5\tx = \"two\"",
                "     6\ty = '\\\\'",
                "     7\tprint(\"caf\u{e9}\", x)",
                "     8\t[output]",
                "     9\tx = 3",
                "    10\t[cell 3: code]",
                "[the outputs of this cell are still those of its old source]",
            ]
        );
        folder.edit("n.ipynb", "name = 1", "name = 1\nother = 2").unwrap();
        folder.edit("n.ipynb", "words", "more\nwords").unwrap();
        let now = folder.content("n.ipynb");
        assert_eq!(
            sources(&now),
            [
                json!(["# Title\n", "more\n", "words"]),
                json!("x = \"two\"\ny = '\\\\'\nprint(\"caf\u{e9}\", x)"),
                json!([]),
                json!(["name = 1\n", "other = 2\n", "name"]),
            ]
        );
        // What was not edited is as it was, white space and numbers included.
        let end = if original.contains('\r') { "\r\n" } else { "\n" };
        let expected = original
            .replace("\"words\"", &format!("\"more\\n\",{end}    \"words\""))
            .replace(
                "\"x = 2\\nprint(\\\"caf\\u00e9\\\", x)\"",
                "\"x = \\\"two\\\"\\ny = '\\\\\\\\'\\nprint(\\\"caf\u{e9}\\\", x)\"",
            )
            .replace("[\"name = 1\\n\",", "[\"name = 1\\n\", \"other = 2\\n\",");
        assert_eq!(now, expected);
        folder.read("n.ipynb").unwrap();
    }
}

#[test]
fn a_notebook_is_one_behind_a_link_of_any_name() {
    let folder = Folder::build();
    folder.put("n.ipynb", notebook());
    symlink("n.ipynb", folder.at("link")).unwrap();
    folder.edit("link", "x = 2", "x = \"two\"").unwrap();
    let source = json!("x = \"two\"\nprint(\"caf\u{e9}\", x)");
    assert_eq!(sources(&folder.content("n.ipynb"))[1], source);
}

#[test]
fn a_notebook_is_not_edited_anywhere_else() {
    let folder = Folder::build();
    folder.put("n.ipynb", notebook());
    for (old, new, refused) in [
        (
            "x = 3",
            "x = 4",
            "`old_string` is not in the source of one cell as `read` shows it; only",
        ),
        ("[cell 2: code]\nx = 2", "y", "`old_string` is not in the source of one cell"),
        ("\"nbformat\": 4", "\"nbformat\": 5", "`old_string` is not in the source of one cell"),
        ("    \"words\"\n", "    \"more\"\n", "`old_string` is not in the source of one cell"),
        ("nothing of this kind", "", "`old_string` is not in the file, nor anything"),
        ("name", "x", "`old_string` is there 2 times, on lines 11, 12"),
        ("x", "y", "`old_string` is there 2 times, on lines 5, 6"),
        ("r", "s", "`old_string` is there 2 times, on lines 3, 6"),
        ("x = 2", "x = 2", "`old_string` and `new_string` are the same"),
        ("", "x", "`old_string` is empty"),
    ] {
        let error = folder.edit("n.ipynb", old, new).unwrap_err();
        let doubt = "n.ipynb: it has not been read, and ";
        assert!(error.strip_prefix(doubt).unwrap().starts_with(refused), "{old}: {error}");
    }
    assert_eq!(folder.content("n.ipynb"), notebook());
    folder.put("n.ipynb", "{\"cells\": [");
    let broken = folder.edit("n.ipynb", "cells", "x").unwrap_err();
    assert!(broken.contains("this is no notebook: EOF while parsing"), "{broken}");
}

#[test]
fn all_sources_of_a_notebook_are_edited_when_all_are_meant() {
    let mut folder = Folder::build();
    folder.put("n.ipynb", notebook());
    folder.read("n.ipynb").unwrap();
    let replacement = Replacement { old: "x", new: "value", all: true };
    let edited = edit_file(&folder.root, &folder.tracker, "n.ipynb", replacement).unwrap();
    assert!(edited.message.starts_with("edited n.ipynb, 2 places:\n"), "{}", edited.message);
    assert_eq!(sources(&folder.content("n.ipynb"))[1], "value = 2\nprint(\"caf\u{e9}\", value)");
    let unread = ReadTracker::default();
    let refused = edit_file(&folder.root, &unread, "n.ipynb", replacement).unwrap_err();
    assert!(matches!(refused, ChangeError::ReplacesAll { .. }));
}

#[test]
fn a_random_edit_of_a_random_notebook_changes_one_source_or_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pieces = ["a", "b", "\n", "\"", "\\", "\u{e9}", "\t", "[cell 1: code]\n", "\u{1f600}"];
    let text = |random: &mut fastrand::Rng, most: usize| -> String {
        (0..random.usize(0..most)).map(|_| *random.choice(&pieces).unwrap()).collect()
    };
    let rounds = if std::env::var("LONG").is_ok() { 200_000 } else { 2000 };
    let mut edited = 0;
    for _ in 0..rounds {
        let texts: Vec<String> = (0..random.usize(1..4)).map(|_| text(&mut random, 9)).collect();
        let cell = |text: &String| {
            let lines = text.split_inclusive('\n').collect::<Vec<_>>();
            let source = if random.bool() { json!(lines) } else { json!(text) };
            json!({"cell_type": "code", "outputs": [{"text": text}], "source": source})
        };
        let cells: Vec<Value> = texts.iter().map(cell).collect();
        let notebook = json!({"cells": cells, "metadata": {"a": [1, 2]}});
        let json = match random.bool() {
            true => notebook.to_string(),
            false => serde_json::to_string_pretty(&notebook).unwrap(),
        };
        let (old, new) = (text(&mut random, 4), text(&mut random, 4));
        let count: usize = texts.iter().map(|text| places(text, &old)).sum();
        let result = rungs_files::replace_in_notebook(&json, &old, &new, false);
        let Ok(result) = result else {
            assert!(count != 1 || old.is_empty() || old == new, "{json} {old:?} {new:?}");
            continue;
        };
        assert_eq!(count, 1, "{json} {old:?} {new:?}");
        let mut expected = notebook;
        for (index, text) in texts.iter().enumerate().filter(|(_, text)| text.contains(&old)) {
            let text = text.replacen(&old, &new, 1);
            let source = &mut expected["cells"][index]["source"];
            *source = match source.is_array() {
                true => json!(text.split_inclusive('\n').collect::<Vec<_>>()),
                false => json!(text),
            };
        }
        assert_eq!(serde_json::from_str::<Value>(&result.json).unwrap(), expected);
        edited += 1;
    }
    println!("{edited} of {rounds} edits were made");
    assert!(edited > rounds / 20);
}

/// How often a text is in another, overlapping places included.
fn places(text: &str, old: &str) -> usize {
    match old.is_empty() {
        true => 0,
        false => text.char_indices().filter(|(at, _)| text[*at..].starts_with(old)).count(),
    }
}

#[test]
fn a_written_notebook_that_is_none_is_said() {
    let folder = Folder::build();
    assert_eq!(folder.write("good.ipynb", &notebook()).unwrap(), "created good.ipynb: 24 lines");
    let said = folder.write("bad.ipynb", "x = 1\n").unwrap();
    let expected =
        "created bad.ipynb: 1 line; this is no notebook: expected value at line 1 column 1";
    assert_eq!(said, expected);
}

#[test]
fn an_edit_keeps_everything_that_reading_does_not_show() {
    for (content, old, new, result) in [
        ("a\r\nb\r\n", "b", "x\ny", "a\r\nx\r\ny\r\n"),
        ("a\nb\r\nc", "c", "x", "a\nb\r\nx"),
        ("\u{feff}a\r\n", "a", "b", "\u{feff}b\r\n"),
        ("no end", "end", "end here", "no end here"),
        ("nul '\0' here\nand here\n", "and", "or", "nul '\0' here\nor here\n"),
        ("", "", "filled\n", "filled\n"),
    ] {
        let mut folder = Folder::build();
        folder.put("real/f", content);
        symlink("real/f", folder.at("link")).unwrap();
        folder.read("link").unwrap();
        folder.edit("link", old, new).unwrap();
        assert_eq!(folder.content("real/f"), result);
        assert!(folder.at("link").is_symlink());
    }
    let mut folder = Folder::build();
    folder.put("f", "a\n");
    fs::set_permissions(folder.at("f"), fs::Permissions::from_mode(0o400)).unwrap();
    folder.read("f").unwrap();
    assert_eq!(folder.edit("f", "a", "b").unwrap_err(), "f: it is write-protected");
    assert_eq!(folder.content("f"), "a\n");
}

#[test]
fn what_a_whole_new_text_loses_unseen_is_said() {
    let mut folder = Folder::build();
    for (old, new, note) in [
        ("a\r\nb\r\n", "a\nb\n", "; its line ends were CRLF and are LF now"),
        ("a\r\nb\r\n", "a\r\nc\r\n", ""),
        ("\u{feff}a\n", "b\n", "; its byte-order mark is gone"),
        ("\u{feff}a\n", "\u{feff}b\n", ""),
        ("a\n", "b\n", ""),
    ] {
        folder.put("f", old);
        folder.read("f").unwrap();
        let lines = rungs_files::line_count(new.lines().count());
        assert_eq!(folder.write("f", new).unwrap(), format!("replaced f: {lines}{note}"));
        assert_eq!(folder.content("f"), new);
    }
}

#[test]
fn several_edits_in_several_files_are_made_in_their_order() {
    let folder = Folder::build();
    folder.put("a", "one\r\ntwo\r\n");
    symlink("a", folder.at("link")).unwrap();
    let made = folder.edit_all(&[
        ("a", "one", "1"),
        ("b/new", "", "x = 1\n"),
        ("link", "1\ntwo", "1\n2"),
        ("b/new", "x", "y"),
    ]);
    let made = made.unwrap();
    assert_eq!(
        (folder.content("a"), folder.content("b/new")),
        ("1\r\n2\r\n".into(), "y = 1\n".into())
    );
    assert!(
        made[0].starts_with("edited a, 2 edits:\n--- a\n+++ a\n@@ -1,2 +1,2 @@\n"),
        "{}",
        made[0]
    );
    assert_eq!(
        made[1],
        "created b/new, 2 edits:\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+y = 1\n"
    );
    assert!(folder.at("link").is_symlink());
}

#[test]
fn of_several_edits_none_is_made_when_one_does_not_fit() {
    let folder = Folder::build();
    folder.put("a", "one\n");
    folder.put("n.ipynb", json!({"cells": [{"cell_type": "code", "source": "x"}]}).to_string());
    let before = (folder.content("a"), folder.content("n.ipynb"));
    let first = [("a", "one", "two"), ("n.ipynb", "x", "y"), ("new/b", "", "b")];
    for (last, said) in [
        (("c", "x", "y"), "edit 4 of 4: c: no such file\n(none of the 4 edits was made)"),
        (("../c", "", "y"), "edit 4 of 4: ../c: it is outside the working directory"),
        (("a", "one", "x"), "edit 4 of 4: a: it has not been read, and `old_string` is not in"),
        (("new/b", "", "x"), "edit 4 of 4: new/b: `old_string` is empty"),
        ((".", "x", "y"), "edit 4 of 4: .: this is a folder"),
        (("new/b/c", "", "y"), "new/b/c: together with new/b it cannot be: one name would be"),
    ] {
        let edits = [&first[..], &[last]].concat();
        let error = folder.edit_all(&edits).unwrap_err();
        assert!(error.contains(said), "{error}");
        assert_eq!((folder.content("a"), folder.content("n.ipynb")), before, "{error}");
        assert!(!folder.at("new").exists(), "{error}");
    }
    folder.edit_all(&first).unwrap();
    assert_eq!(folder.content("a"), "two\n");
}
