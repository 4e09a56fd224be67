//! Reading a file as a language model can take it in.
use crate::{Image, IsCancelled, ReadError, encoding::SAMPLE_BYTES, image, notebook, text};
use std::{
    io::{BufReader, Read, Seek, SeekFrom},
    time::Duration,
};

/// How much is read from the file at once, in bytes.
const BUFFER_BYTES: usize = 1 << 16;
/// How long to read on towards the lines that are wanted.
const MAX_TIME: Duration = Duration::from_secs(3);
/// How many lines are read unless the caller says otherwise.
const DEFAULT_LINES: usize = 2000;

/// What was read.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// Numbered lines of a text, or of a notebook's cells.
    Text(String),
    /// An image.
    Image(Image),
}

/// Which lines to read.
#[derive(Debug, Clone, Copy)]
pub struct LineRange {
    /// The first line, counted from 1.
    pub offset: usize,
    /// How many lines at most.
    pub limit: usize,
}

impl LineRange {
    /// What was asked for, in words for a person: ` lines 10-20`, nothing for the whole file.
    pub fn in_words(offset: Option<usize>, limit: Option<usize>) -> String {
        let first = offset.unwrap_or(1);
        match limit {
            Some(limit) => format!(" lines {first}-{}", first.saturating_add(limit.max(1) - 1)),
            None if first > 1 => format!(" from line {first}"),
            None => String::new(),
        }
    }
}

impl Default for LineRange {
    fn default() -> Self {
        LineRange { offset: 1, limit: DEFAULT_LINES }
    }
}

/// Reads a file. What is returned, what is held in memory and how long it takes is bounded, however
/// large the file is. A `name` that ends in `.ipynb` means a notebook; images are recognised by
/// their content.
///
/// # Errors
/// When the content is nothing that a model can read, or ends before the first wanted line.
pub fn read(
    mut file: impl Read + Seek,
    name: &str,
    range: LineRange,
    is_cancelled: IsCancelled<'_>,
) -> Result<Content, ReadError> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    if notebook::is_notebook(name) {
        let json = notebook::read(file, size)?;
        let shown = notebook::show(&json).map_err(ReadError::InvalidNotebook)?.text;
        return Ok(Content::Text(text::numbered_lines(
            shown.as_bytes(),
            range,
            MAX_TIME,
            is_cancelled,
        )?));
    }
    let mut sample = Vec::new();
    file.by_ref().take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
    if let Some(media_type) = image::media_type(&sample) {
        return Ok(Content::Image(image::read(sample.chain(file), size, media_type)?));
    }
    text::check_encoding(&sample)?;
    let whole = BufReader::with_capacity(BUFFER_BYTES, sample.chain(file));
    Ok(Content::Text(text::numbered_lines(whole, range, MAX_TIME, is_cancelled)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn reading(content: &[u8], name: &str, offset: usize, limit: usize) -> Result<String, String> {
        match read(Cursor::new(content), name, LineRange { offset, limit }, &|| false) {
            Ok(Content::Text(text)) => Ok(text),
            Ok(Content::Image(image)) => {
                Ok(format!("{} {}x{}", image.media_type, image.width, image.height))
            }
            Err(error) => Err(error.to_string()),
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
            ("1\n", 9, 9, Err("it has only 1 line")),
            ("a\0b", 1, 9, Err("this is a binary file")),
        ] {
            assert_eq!(
                reading(content.as_bytes(), "f", offset, limit),
                shown.map(String::from).map_err(String::from)
            );
        }
        assert_eq!(reading(b"caf\xe9\n", "f", 1, 9).unwrap(), "     1\tcaf\u{fffd}\n");
        assert_eq!(reading(b"\xff\xfea\0", "f", 1, 9).unwrap_err(), ReadError::Utf16.to_string());
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
        let lines = Cursor::new(lines);
        let stopped = read(lines, "f", LineRange { offset: 4900, limit: 1 }, &|| true);
        assert!(matches!(stopped, Err(ReadError::Cancelled)));
    }

    #[test]
    fn notebooks_show_cells_and_outputs() {
        let notebook = r##"{"nbformat": 4, "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "words"]},
            {"cell_type": "code", "source": "1/0", "outputs": [
                {"output_type": "stream", "name": "stdout", "text":
                    ["a\n", " 1%\r 2%\r", "done\r\n", "b\n"]},
                {"output_type": "execute_result", "data":
                    {"text/html": "<b>42</b>", "text/plain": ["42"], "image/png": "iVBORw0KGgo="}},
                {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero",
                    "traceback": ["\u001b[31mx"]}
            ]},
            {"cell_type": "code", "source": [], "outputs": []},
            {"cell_type": "raw", "source": null},
            {"cell_type": "code", "outputs": [{"output_type": "stream", "text": null}]}
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
                "done",
                "b",
                "[output]",
                "[text/html is not shown]",
                "[image/png is not shown]",
                "42",
                "[output]",
                "ZeroDivisionError: division by zero",
                "[the traceback is not shown]",
                "[cell 3: code]",
                "[cell 4: raw]",
                "[cell 5: code]",
                "[output]"
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
