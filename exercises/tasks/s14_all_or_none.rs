// # All edits or none
//
// build, level 2, 25 minutes. Read: examples/s14_tools_extended.rs, crates/files/src/transaction.rs
//
// A model renames something in five files with one call. If the third edit does not fit, a program
// with two new names and three old ones is what nobody wanted. Write `edit_all`: it makes all edits
// in their order, or none at all.
//
// - Each edit is made in the text that the edits before it have left: there may be several in one
//   file.
// - `old` must stand in that text exactly once. An edit with an empty `old` makes a new file of
//   `new`; there must be no such file yet.
// - When an edit does not fit, no file has changed and no file was made. The error names the number
//   of the edit, from 1, and its file.
// - The error says whether `old` was missing or stood there several times: a model mends the two in
//   different ways.
//
// (One thing stays open here: a program that is killed between two writes. The lesson keeps what
// was there before, and that is how it finds out.)
//
// Run: cargo run -p rungs-exercises -- run s14_all_or_none

#[allow(unused_imports)]
use std::{collections::BTreeMap, fs, path::Path};

/// A change of one place in a file.
#[allow(dead_code)]
struct Edit {
    /// The file, by its name in the folder.
    file: &'static str,
    /// What is there; empty for a file that does not exist yet.
    old: &'static str,
    /// What is to be there.
    new: &'static str,
}

/// Makes all edits in this folder, or none: then why not.
fn edit_all(folder: &Path, edits: &[Edit]) -> Result<(), String> {
    let _ = (folder, edits);
    todo!("make all edits in memory first")
}

mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A folder with two files.
    fn folder() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("prices"), "apple 3\npear 3\n").unwrap();
        fs::write(dir.path().join("order"), "apple\npear\napple\n").unwrap();
        dir
    }

    /// All files of a folder with their contents, by name.
    fn contents(dir: &TempDir) -> BTreeMap<String, String> {
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        let content = |path| fs::read_to_string(path).unwrap();
        files.map(|f| (f.file_name().into_string().unwrap(), content(f.path()))).collect()
    }

    fn edit(file: &'static str, old: &'static str, new: &'static str) -> Edit {
        Edit { file, old, new }
    }

    /// Edits that must fail, and leave everything as it was; the error.
    fn fails(edits: &[Edit]) -> String {
        let (dir, before) = (folder(), contents(&folder()));
        let end = edit_all(dir.path(), edits);
        let Err(why) = end else { panic!("one of these edits does not fit, and none was refused") };
        let after = contents(&dir);
        assert_eq!(after, before, "it failed with {why:?}, and something has changed all the same");
        why
    }

    #[test]
    fn all_edits_are_made_when_all_fit() {
        let dir = folder();
        let edits = [
            edit("prices", "apple 3", "apple 4"),
            edit("order", "pear", "quince"),
            edit("notes", "", "dearer since Monday\n"),
        ];
        edit_all(dir.path(), &edits).expect("all three edits fit");
        let expected = [
            ("notes", "dearer since Monday\n"),
            ("order", "apple\nquince\napple\n"),
            ("prices", "apple 4\npear 3\n"),
        ];
        let expected = expected.map(|(name, text)| (name.to_string(), text.to_string()));
        assert_eq!(contents(&dir), BTreeMap::from(expected), "the files afterwards");
    }

    #[test]
    fn edits_of_one_file_see_each_other() {
        let dir = folder();
        let edits = [
            edit("prices", "apple 3", "apple 4"),
            edit("prices", "apple 4", "sour apple 4"),
            edit("notes", "", "one"),
            edit("notes", "one", "two"),
        ];
        edit_all(dir.path(), &edits).expect("the second edit fits what the first one has left");
        assert_eq!(contents(&dir)["prices"], "sour apple 4\npear 3\n", "both edits, in order");
        assert_eq!(contents(&dir)["notes"], "two", "a file that is made can be edited as well");
    }

    #[test]
    fn one_edit_that_does_not_fit_stops_all() {
        let ok = || edit("prices", "apple 3", "apple 4");
        let why = fails(&[ok(), edit("notes", "", "x"), edit("order", "cherry", "plum")]);
        assert!(why.contains('3') && why.contains("order"), "which edit, of which file? {why:?}");
        let why = fails(&[edit("nothing", "apple", "pear"), ok()]);
        assert!(why.contains('1') && why.contains("nothing"), "there is no such file: {why:?}");
        let why = fails(&[ok(), edit("order", "", "new")]);
        assert!(why.contains('2'), "there is an order already; it must not be replaced: {why:?}");
        let why = fails(&[ok(), edit("prices", "apple 3", "apple 5")]);
        assert!(why.contains('2'), "the first edit has taken `apple 3` away: {why:?}");
    }

    #[test]
    fn a_place_must_be_the_only_one_of_its_kind() {
        let twice = fails(&[edit("order", "apple", "quince")]);
        let missing = fails(&[edit("order", "cherry", "quince")]);
        let shortened = missing.replace("cherry", "apple");
        assert_ne!(
            twice, shortened,
            "`apple` stands there twice and `cherry` not at all; a model that reads the same words \
             for both will try the wrong thing"
        );
    }

    #[test]
    fn a_file_whose_folder_is_missing_stops_all() {
        let why = fails(&[edit("prices", "apple 3", "apple 4"), edit("nowhere/x", "", "x")]);
        assert!(why.contains('2'), "that folder does not exist: {why:?}");
    }

    #[test]
    fn no_edits_change_nothing() {
        let dir = folder();
        assert_eq!(edit_all(dir.path(), &[]), Ok(()), "nothing to do is no failure");
        assert_eq!(contents(&dir), contents(&folder()), "and nothing was done");
    }
}
