//! The book checks itself: what it quotes exists, what it shows happens, what it links is there.
mod commands;
mod form;
mod links;
mod programs;
mod transcripts;

use crate::{build_pages, file_url, repository};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The book, built once for all tests; its player has tests of its own.
static BOOK: LazyLock<(tempfile::TempDir, crate::Built)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let built =
        build_pages(folder.path()).unwrap_or_else(|why| panic!("the book does not build:\n{why}"));
    (folder, built)
});

fn read(file: impl AsRef<Path>) -> String {
    let file = repository().join(file);
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The names of the lessons: every program among the examples.
fn lessons() -> BTreeSet<String> {
    let files = fs::read_dir(repository().join("examples")).unwrap();
    files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().into()).collect()
}

/// All files below a folder whose names end so.
fn below(folder: &Path, end: &str) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(below(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            files.insert(path);
        }
    }
    files
}

/// The pages of the book as they are written, each with its path from the repository's root.
fn pages() -> Vec<(String, String)> {
    let files = below(&repository().join("book/src"), ".md");
    let named = files.into_iter().map(|file| {
        let name = file.strip_prefix(repository()).unwrap().to_str().unwrap().to_string();
        (name, fs::read_to_string(file).unwrap())
    });
    named.collect()
}

/// The blocks of code of a Markdown text, of one language, each with the number of its first line.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = vec![];
    let mut open: Option<(bool, usize, String)> = None;
    for (line, number) in text.lines().zip(1..) {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => open = Some((info == language, number + 1, String::new())),
            (Some(_), Some(_)) => {
                if let Some((true, first, block)) = open.take() {
                    blocks.push((first, block));
                }
                open = None;
            }
            (Some((_, _, block)), None) => *block += &format!("{}\n", line.trim_start()),
            (None, None) => {}
        }
    }
    blocks
}

/// Fails with all lines that there are, so that one run shows everything that is wrong.
#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_book_builds_and_every_quote_run_and_drawing_exists() {
    let (folder, built) = &*BOOK;
    assert!(built.index.starts_with(folder.path()) && built.index.is_file());
    assert_eq!(built.unwritten, [""; 0], "the summary names these, and nobody has written them");
    let page = fs::read_to_string(folder.path().join("s01_loop.html")).unwrap();
    for part in ["<figure class=\"diagram\">", "pub async fn agent_loop", "<b>s01 &gt;&gt; "] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_url_of_a_file_has_no_character_that_a_terminal_would_end_it_at() {
    assert_eq!(file_url(Path::new("/a b/ü.html")), "file:///a%20b/%C3%BC.html");
}

#[test]
fn a_folder_with_other_things_is_not_replaced() {
    let why = build_pages(repository()).unwrap_err();
    assert!(why.ends_with("holds no book; name a new or an empty folder"), "{why}");
}
