//! What files hold, as a model can read it, and exact edits of it.
//!
//! - [`read`]: text with its lines numbered, notebooks as their cells, images.
use crate::{Image, edit, image, notebook, text};
use std::{
    fmt,
    io::{self, Read},
};

/// What was read.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// Numbered lines, or the cells of a notebook.
    Text(String),
    /// An image.
    Image(Image),
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The first, counted from 1.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

impl Default for Range {
    fn default() -> Self {
        Range { offset: 1, limit: 2000 }
    }
}

/// PathErrorKind a file can't be shown or edited.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unfit {
    /// It is no text.
    Binary,
    /// It is text in UTF-16.
    Utf16,
    /// From this line on it is not UTF-8.
    NotUtf8(usize),
    /// It is too large to edit.
    Huge,
    /// It ends before the first line that was wanted.
    Short(usize),
    /// It is an image with more bytes than a request may hold.
    Heavy(u64),
    /// It is an image with longer sides than a model takes, in pixels.
    Large(usize, usize),
    /// It says that it is a notebook.
    NoNotebook(serde_json::Error),
    /// Whoever asked no longer wants it.
    Stopped,
    /// The disk.
    Io(io::Error),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Unfit::Io(error)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Binary => write!(f, "this is a binary file"),
            Unfit::Utf16 => {
                write!(f, "this is text in UTF-16; only UTF-8 can be read or edited here")
            }
            Unfit::NotUtf8(line) => write!(
                f,
                "line {line} is not UTF-8 (Latin-1, perhaps), so an edit could spoil the file; use a command that knows \
                 its encoding"
            ),
            Unfit::Huge => write!(
                f,
                "it has more than {} bytes, too many to edit here; use a command",
                edit::BYTES
            ),
            Unfit::Short(lines) => write!(f, "it has only {lines} lines"),
            Unfit::Heavy(bytes) => {
                write!(
                    f,
                    "this image has {bytes} bytes, of which at most {} can be shown",
                    image::BYTES
                )
            }
            Unfit::Large(width, height) => {
                write!(
                    f,
                    "this image is {width} x {height} pixels, and at most {0} x {0} can be shown",
                    image::SIDE
                )
            }
            Unfit::NoNotebook(error) => write!(f, "this is no notebook: {error}"),
            Unfit::Stopped => write!(f, "stopped"),
            Unfit::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Reads a file as a model can: bounded, however large the file is. `name` tells a notebook; images are told by what
/// they hold.
///
/// # Errors
/// When it is nothing that a model could read, or does not reach the wanted lines.
pub fn read(
    mut file: impl Read,
    name: &str,
    range: Range,
    stop: &dyn Fn() -> bool,
) -> Result<Content, Unfit> {
    if name.to_ascii_lowercase().ends_with(".ipynb") {
        let cells = notebook::cells(io::BufReader::new(file))?;
        return text::numbered(cells.as_bytes(), range, stop).map(Content::Text);
    }
    let mut head = Vec::new();
    file.by_ref().take(32).read_to_end(&mut head)?;
    if let Some(media_type) = image::media_type(&head) {
        return image::read(head.chain(file), media_type).map(Content::Image);
    }
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(Unfit::Utf16);
    }
    text::numbered(io::BufReader::new(head.chain(file)), range, stop).map(Content::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(content: &[u8], name: &str, offset: usize, limit: usize) -> Result<String, String> {
        match read(content, name, Range { offset, limit }, &|| false) {
            Ok(Content::Text(text)) => Ok(text),
            Ok(Content::Image(picture)) => {
                Ok(format!("{} {}x{}", picture.media_type, picture.width, picture.height))
            }
            Err(unfit) => Err(unfit.to_string()),
        }
    }

    #[test]
    fn lines_are_numbered() {
        for (content, offset, limit, shown) in [
            ("one\r\ntwo\n\nfour", 1, 9, Ok("     1\tone\n     2\ttwo\n     3\t\n     4\tfour\n")),
            (
                "1\n2\n3\n4\n",
                2,
                2,
                Ok("     2\t2\n     3\t3\n[more lines follow; go on with offset 4]\n"),
            ),
            ("1\n2\n", 1, 2, Ok("     1\t1\n     2\t2\n")),
            ("1\n2\n", 0, 0, Ok("     1\t1\n[more lines follow; go on with offset 2]\n")),
            ("\u{feff}with a mark\n", 1, 9, Ok("     1\twith a mark\n")),
            ("", 1, 9, Ok("(the file is empty)")),
            ("1\n", 9, 9, Err("it has only 1 lines")),
            ("a\0b", 1, 9, Err("this is a binary file")),
        ] {
            assert_eq!(
                reading(content.as_bytes(), "f", offset, limit),
                shown.map(String::from).map_err(String::from)
            );
        }
        assert_eq!(reading(b"caf\xe9\n", "f", 1, 9).unwrap(), "     1\tcaf\u{fffd}\n");
        assert_eq!(reading(b"\xff\xfea\0", "f", 1, 9).unwrap_err(), Unfit::Utf16.to_string());
        assert_eq!(
            reading(b"%PDF-1.7\n1 0 obj\n\0", "f", 1, 9).unwrap_err(),
            "this is a binary file"
        );
    }

    #[test]
    fn long_lines_and_long_files_are_bounded() {
        let text = reading(&[b'x'; 5_000_000], "f", 1, 2000).unwrap();
        assert!(text.len() < 2100 && text.ends_with("x [line cut]\n"));
        let lines = format!("{}\n", "\u{e9}".repeat(50)).repeat(5000);
        let text = reading(lines.as_bytes(), "f", 1, 5000).unwrap();
        assert!(text.len() < 104_000 && text.ends_with("lines follow; go on with offset 927]\n"));
        let stopped = read(lines.as_bytes(), "f", Range { offset: 4900, limit: 1 }, &|| true);
        assert!(matches!(stopped, Err(Unfit::Stopped)));
    }

    #[test]
    fn notebooks_show_cells_and_outputs() {
        let notebook = r##"{"nbformat": 4, "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "words"]},
            {"cell_type": "code", "source": "1/0", "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
                {"output_type": "execute_result", "data": {"text/plain": ["42"], "image/png": "iVBORw0KGgo="}},
                {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["\u001b[31mx"]}
            ]},
            {"cell_type": "code", "source": [], "outputs": []}
        ]}"##;
        let shown = reading(notebook.as_bytes(), "a.ipynb", 1, 2000).unwrap();
        let lines: Vec<&str> = shown.lines().map(|line| line.split_once('\t').unwrap().1).collect();
        assert_eq!(
            lines,
            [
                "[cell 1: markdown]",
                "# Title",
                "words",
                "[cell 2: code]",
                "1/0",
                "[output]",
                "a",
                "b",
                "[output]",
                "[image/png is not shown]",
                "42",
                "[output]",
                "ZeroDivisionError: division by zero",
                "[cell 3: code]"
            ]
        );
        assert!(
            reading(b"{}", "a.ipynb", 1, 9)
                .unwrap_err()
                .starts_with("this is no notebook: missing field `cells`")
        );
    }

    #[test]
    fn images_are_told_by_what_they_hold() {
        let png = |width: u32, height: u32| {
            let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
            png.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
            png
        };
        assert_eq!(reading(&png(640, 480), "misnamed.txt", 1, 9).unwrap(), "image/png 640x480");
        assert_eq!(reading(b"GIF89a\x02\0\x01\0\0\0\0", "f", 1, 9).unwrap(), "image/gif 2x1");
        assert_eq!(
            reading(&png(9000, 10), "f", 1, 9).unwrap_err(),
            "this image is 9000 x 10 pixels, and at most 2000 x 2000 can be shown"
        );
        let heavy = [png(10, 10), vec![0; 4_000_000]].concat();
        assert_eq!(
            reading(&heavy, "f", 1, 9).unwrap_err(),
            "this image has 4000024 bytes, of which at most 3750000 can be shown"
        );
        assert_eq!(reading(b"\x89PNG\r\n\x1a\n", "f", 1, 9).unwrap_err(), "this is a binary file");
    }
}
