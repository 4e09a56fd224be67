use super::{Output, Tool, ToolError, ToolSpec, args};
use crate::{Context, paths};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read as _};

/// How many lines are read when the model does not say, and how long a line and a whole answer may be, in bytes.
const LINES: usize = 2000;
const LINE: usize = 2000;
const ANSWER: usize = 100_000;

/// Reads a text file with its lines numbered.
pub struct Read;

impl Tool for Read {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "read",
            "Reads a text file below the working directory, with numbered lines. Reads the first 2000 lines unless \
             `offset` and `limit` say otherwise; very long lines are cut.",
            json!({
                "type": "object",
                "properties": {
                    "file_path": {"type": "string", "description": "The file, relative to the working directory or absolute."},
                    "offset": {"type": "integer", "description": "The first line to read, counted from 1."},
                    "limit": {"type": "integer", "description": "How many lines to read."},
                },
                "required": ["file_path"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            file_path: String,
            offset: Option<usize>,
            limit: Option<usize>,
        }
        let Args { file_path, offset, limit } = args(input)?;
        let (offset, limit) = (offset.unwrap_or(1).max(1), limit.unwrap_or(LINES).max(1));
        let cx = cx.clone();
        let reading = move || {
            let file = paths::open(&cx, &file_path)?;
            numbered(BufReader::new(file), offset, limit).map_err(|why| ToolError(format!("{file_path}: {why}")))
        };
        Ok(tokio::task::spawn_blocking(reading).await??.into())
    }

    fn read_only(&self) -> bool {
        true
    }
}

/// The wanted lines with their numbers, and a last line that says what was left out.
fn numbered(mut file: impl BufRead, offset: usize, limit: usize) -> Result<String, String> {
    let mut text = String::new();
    let (mut number, mut line) = (0, Vec::new());
    loop {
        line.clear();
        // No more of a line than will be shown, and its last byte, is ever held.
        let read = file.by_ref().take(LINE as u64 + 1).read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
        if read == 0 {
            break;
        }
        number += 1;
        if number == 1 && line.contains(&0) {
            return Err("this is a binary file".into());
        }
        let cut = line.len() > LINE && line.last() != Some(&b'\n');
        if cut {
            line.truncate(LINE);
            file.skip_until(b'\n').map_err(|e| e.to_string())?;
        }
        if number < offset {
            continue;
        }
        if number >= offset + limit || text.len() > ANSWER {
            text.push_str(&format!("[more lines follow; go on with offset {number}]\n"));
            return Ok(text);
        }
        let shown = String::from_utf8_lossy(&line);
        let shown = shown.trim_end_matches(['\n', '\r']);
        text.push_str(&format!("{number:>6}\t{shown}{}\n", if cut { " [line cut]" } else { "" }));
    }
    match number {
        0 => Ok("(the file is empty)".into()),
        n if n < offset => Err(format!("it has only {n} lines, so none from line {offset} on")),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Agent;

    async fn read(content: &[u8], input: Value) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), content).unwrap();
        let cx = Agent::new(crate::test::Mute, dir.path()).context();
        Read.call(input, &cx).await.map(|o| o.text).map_err(|e| e.0)
    }

    #[tokio::test]
    async fn numbers_the_lines() {
        let text = read(b"one\r\ntwo\n\nfour", json!({"file_path": "f"})).await.unwrap();
        assert_eq!(text, "     1\tone\n     2\ttwo\n     3\t\n     4\tfour\n");
        let part = read(b"1\n2\n3\n4\n", json!({"file_path": "f", "offset": 2, "limit": 2})).await.unwrap();
        assert_eq!(part, "     2\t2\n     3\t3\n[more lines follow; go on with offset 4]\n");
    }

    #[tokio::test]
    async fn says_what_can_not_be_read() {
        assert_eq!(read(b"", json!({"file_path": "f"})).await.unwrap(), "(the file is empty)");
        let beyond = read(b"1\n", json!({"file_path": "f", "offset": 9})).await.unwrap_err();
        assert_eq!(beyond, "f: it has only 1 lines, so none from line 9 on");
        assert_eq!(read(b"\x7fELF\0\0", json!({"file_path": "f"})).await.unwrap_err(), "f: this is a binary file");
        assert_eq!(read(b"", json!({"file_path": "g"})).await.unwrap_err(), "g: no such file");
        let wrong = read(b"", json!({"file_path": 7})).await.unwrap_err();
        assert_eq!(wrong, "the arguments don't fit: invalid type: integer `7`, expected a string");
    }

    #[tokio::test]
    async fn long_lines_and_long_files_are_bounded() {
        let text = read(&[b'x'; 5_000_000], json!({"file_path": "f"})).await.unwrap();
        assert!(text.len() < 2100 && text.ends_with("x [line cut]\n"));
        let lines = format!("{}\n", "x".repeat(100)).repeat(5000);
        let text = read(lines.as_bytes(), json!({"file_path": "f", "limit": 5000})).await.unwrap();
        assert!(
            text.len() < ANSWER + 3000 && text.ends_with("lines follow; go on with offset 927]\n"),
            "{}",
            &text[ANSWER..]
        );
    }
}
