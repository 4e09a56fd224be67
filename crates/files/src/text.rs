use crate::{Range, Unfit};
use std::io::{BufRead, Read};

/// How long a line and a whole answer may be, in bytes.
const LINE: usize = 2000;
const ANSWER: usize = 100_000;

/// The wanted lines with their numbers, and a last line that says what was left out.
pub fn numbered(
    mut file: impl BufRead,
    range: Range,
    stop: &dyn Fn() -> bool,
) -> Result<String, Unfit> {
    let (offset, limit) = (range.offset.max(1), range.limit.max(1));
    let mut text = String::new();
    let (mut number, mut line) = (0, Vec::new());
    loop {
        line.clear();
        // No more of a line than will be shown, and its last byte, is ever held.
        if file.by_ref().take(LINE as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if number % 1024 == 0 && stop() {
            return Err(Unfit::Stopped);
        }
        let cut = line.len() > LINE && line.last() != Some(&b'\n');
        if cut {
            line.truncate(LINE);
            file.skip_until(b'\n')?;
        }
        if number < offset {
            continue;
        }
        if number - offset >= limit || text.len() > ANSWER {
            text.push_str(&format!("[more lines follow; go on with offset {number}]\n"));
            return Ok(text);
        }
        if line.contains(&0) {
            return Err(Unfit::Binary);
        }
        let shown = String::from_utf8_lossy(&line);
        let shown = shown.trim_end_matches(['\n', '\r']);
        let shown = if number == 1 { shown.trim_start_matches('\u{feff}') } else { shown };
        text.push_str(&one(number, shown));
        if cut {
            text.insert_str(text.len() - 1, " [line cut]");
        }
    }
    match number {
        0 => Ok("(the file is empty)".into()),
        lines if lines < offset => Err(Unfit::Short(lines)),
        _ => Ok(text),
    }
}

/// One line with its number.
pub fn one(number: usize, line: &str) -> String {
    format!("{number:>6}\t{line}\n")
}
