use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Appends a record. When this returns, it is on the disk.
fn append(file: &Path, record: &Value) -> io::Result<()> {
    let mut file = File::options().create(true).read(true).append(true).open(file)?;
    // What a program has left that died does not become the begin of this line.
    let begin = if ends_in_a_line(&mut file)? { "\n" } else { "" };
    file.write_all(format!("{begin}{record}\n").as_bytes())?;
    file.sync_all()
}

/// Whether the last line of a file has no newline.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// All records, and a message for each line that was damaged.
fn read(file: &Path) -> io::Result<(Vec<Value>, Vec<String>)> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
        bytes => bytes?,
    };
    let (mut records, mut messages) = (vec![], vec![]);
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(_) if line.is_empty() => {}
            Err(why) => messages.push(format!("line {number} is damaged: {why}")),
        }
    }
    Ok((records, messages))
}
