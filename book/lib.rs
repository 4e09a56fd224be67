//! The book of the lessons. mdBook makes the pages; here the directives of the chapters are filled
//! in from the repository, so that nothing which is quoted can differ from what runs:
//!
//! - `{{#item FILE NAME}}` quotes an item of a Rust file by its name ([`items::quote`]);
//! - `{{#transcript sNN_name}}` shows a recorded run from `book/transcripts`, and links the player;
//! - `{{#diagram sNN_name}}` puts a drawing from `book/src/diagrams` into the page;
//! - `{{#exercises sNN}}` lists the exercises of a lesson by their heads;
//! - `{{#page FILE.md}}` includes a Markdown file of the repository;
//! - `{{#player}}` links the page that plays recorded runs.
//!
//! Each stands on a line of its own. A name that does not exist is an error with file and line.
mod directives;
pub mod items;
mod sources;
#[cfg(test)]
mod tests;

use directives::Chapters;
use mdbook_driver::{MDBook, book::BookItem, config::Config};
use mdbook_summary::{Summary, SummaryItem, parse_summary};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The chapters, their order and their titles.
pub const SUMMARY: &str = "SUMMARY.md";

/// Where the player is in the book.
const PLAYER: &str = "player";

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The page to begin with.
    pub index: PathBuf,
    /// How many pages have text of their own.
    pub pages: usize,
    /// The words of their prose: not of what is quoted.
    pub words: usize,
    /// The runs that its player has.
    pub recordings: usize,
    /// Chapters that the summary names and nobody has written.
    pub unwritten: Vec<String>,
}

/// The repository that this package belongs to.
pub fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Builds the book into a folder, which it replaces, with the player and its recordings.
///
/// # Errors
/// All that is wrong, a line for each: with the file and the line of a directive or a link that
/// leads nowhere.
pub fn build(to: &Path) -> Result<Built, String> {
    let built = build_pages(to)?;
    let player = rungs_player::build(&to.join(PLAYER)).map_err(|e| format!("the player: {e}"))?;
    Ok(Built { recordings: player.recordings, ..built })
}

/// Builds the book without its player.
fn build_pages(to: &Path) -> Result<Built, String> {
    let root = repository().join("book");
    let mut config = Config::from_disk(root.join("book.toml")).map_err(|e| format!("{e:#}"))?;
    let to = std::path::absolute(to).map_err(|e| format!("{}: {e}", to.display()))?;
    check_replaceable(&to)?;
    config.build.build_dir.clone_from(&to);
    let (summary, unwritten) = summary(&root.join("src"))?;
    let mut book = MDBook::load_with_config_and_summary(&root, config, summary)
        .map_err(|e| format!("{e:#}"))?;
    let mut chapters = Chapters::new(repository(), &unwritten);
    let (mut pages, mut words) = (0, 0);
    book.book.for_each_mut(|item| {
        if let BookItem::Chapter(chapter) = item
            && let Some(path) = &chapter.path
        {
            pages += 1;
            words += directives::words(&chapter.content);
            chapter.content = chapters.fill_in(path, &chapter.content);
        }
    });
    let files = chapters.finish()?;
    book.build().map_err(|e| format!("{e:#}"))?;
    sources::write(repository(), &files, &to)?;
    Ok(Built { index: to.join("index.html"), pages, words, recordings: 0, unwritten })
}

/// Refuses a folder that has other things than an earlier book.
fn check_replaceable(to: &Path) -> Result<(), String> {
    let is_empty = fs::read_dir(to).map_or(true, |mut entries| entries.next().is_none());
    if is_empty || ["book.js", PLAYER].iter().any(|part| to.join(part).exists()) {
        return Ok(());
    }
    Err(format!("{} holds no book; name a new or an empty folder", to.display()))
}

/// The summary without the chapters whose files do not exist, and the names of these.
fn summary(src: &Path) -> Result<(Summary, Vec<String>), String> {
    let file = src.join(SUMMARY);
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut summary = parse_summary(&text).map_err(|e| format!("{}: {e:#}", file.display()))?;
    let mut unwritten = vec![];
    let parts = [
        &mut summary.prefix_chapters,
        &mut summary.numbered_chapters,
        &mut summary.suffix_chapters,
    ];
    for part in parts {
        remove_unwritten(part, src, &mut unwritten);
    }
    Ok((summary, unwritten))
}

fn remove_unwritten(items: &mut Vec<SummaryItem>, src: &Path, unwritten: &mut Vec<String>) {
    items.retain_mut(|item| {
        let SummaryItem::Link(link) = item else { return true };
        remove_unwritten(&mut link.nested_items, src, unwritten);
        let Some(location) = &link.location else { return true };
        let is_there = src.join(location).is_file();
        if !is_there {
            unwritten.push(location.display().to_string());
        }
        is_there
    });
}

/// A link that a browser opens without a server.
pub fn file_url(file: &Path) -> String {
    let mut url = String::from("file://");
    for byte in file.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url += &format!("%{byte:02X}");
        }
    }
    url
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}
