// # The line that was torn
//
// repair, level 2, 25 minutes. Read: examples/s17_session_management.rs, crates/durable/src/lib.rs
//
// This log keeps a conversation, one record a line, as JSON. It works until a program dies while it
// writes. Users report:
//
//   "After a crash my session ends days ago. The file is large; the rest is in there."
//
//   "I went on after the crash for an hour. Nothing of that hour is in the session."
//
//   "Session cannot be read: stream did not contain valid UTF-8."
//
// Repair `append` and `read`:
//
// - A record that was appended whole can be read, whatever stands before or after it. That includes
//   the first record after a crash.
// - `read` names each damaged line by its number, counted from 1, in a message for the person.
// - A last record that is whole and lacks nothing but its newline is no damage.
// - A log that does not exist yet has no records.
//
// Nothing that is in the file may be removed: somebody may want to look at it.
//
// Run: cargo run -p rungs-exercises -- run s17_torn_tail

use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Appends a record. When this returns, it is on the disk.
fn append(file: &Path, record: &Value) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(file)?;
    writeln!(file, "{record}")?;
    file.sync_all()
}

/// All records, and a message for each line that was damaged.
fn read(file: &Path) -> io::Result<(Vec<Value>, Vec<String>)> {
    let text = fs::read_to_string(file)?;
    let mut records = vec![];
    for line in text.lines() {
        let Ok(record) = serde_json::from_str(line) else { break };
        records.push(record);
    }
    Ok((records, vec![]))
}

mod tests {
    use super::*;
    use serde_json::json;
    use std::path::PathBuf;
    use tempfile::TempDir;

    fn log() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("session.jsonl");
        (dir, file)
    }

    fn record(number: usize) -> Value {
        json!({"number": number, "text": "caf\u{e9}, and a line\nbreak"})
    }

    fn all(file: &Path) -> (Vec<Value>, Vec<String>) {
        read(file).expect("damage in a log is no reason to read nothing of it")
    }

    #[test]
    fn records_come_back_in_order() {
        let (_dir, file) = log();
        let none = (vec![], Vec::<String>::new());
        assert_eq!(all(&file), none, "a conversation begins without a file");
        for number in 1..=3 {
            append(&file, &record(number)).unwrap();
        }
        let expected = ([1, 2, 3].map(record).to_vec(), vec![]);
        assert_eq!(all(&file), expected, "nothing was damaged here");
    }

    #[test]
    fn a_program_dies_at_any_byte_and_the_next_record_is_kept() {
        let (_dir, file) = log();
        append(&file, &record(1)).unwrap();
        let first = fs::read(&file).unwrap();
        append(&file, &record(2)).unwrap();
        let both = fs::read(&file).unwrap();
        for length in first.len() + 1..both.len() {
            fs::write(&file, &both[..length]).unwrap();
            append(&file, &record(3)).unwrap();
            let (records, messages) = all(&file);
            let place = length - first.len();
            // Without its newline the second record is whole.
            let is_whole = length + 1 == both.len();
            let expected = if is_whole { vec![1, 2, 3] } else { vec![1, 3] };
            let expected: Vec<Value> = expected.into_iter().map(record).collect();
            assert_eq!(
                records, expected,
                "the program died after {place} bytes of the second record, and another one has \
                 appended the third. What does the third one stand behind?"
            );
            let named = messages.len() == 1 && messages[0].contains('2');
            assert!(
                is_whole && messages.is_empty() || !is_whole && named,
                "after {place} bytes of it, line 2 is damaged, and the person must be told; if it \
                 lacks only its newline, it is not. The messages: {messages:?}"
            );
        }
    }

    #[test]
    fn what_was_damaged_in_the_middle_takes_nothing_else_away() {
        let (_dir, file) = log();
        for number in 1..=4 {
            append(&file, &record(number)).unwrap();
        }
        let mut lines: Vec<Vec<u8>> =
            fs::read(&file).unwrap().split(|byte| *byte == b'\n').map(Vec::from).collect();
        // A power cut can leave a block of zero bytes.
        lines[1].fill(0);
        lines[2][5] = 0xff;
        fs::write(&file, lines.join(&b'\n')).unwrap();
        let (records, messages) = all(&file);
        assert_eq!(records, [1, 4].map(record), "lines 1 and 4 are as they were");
        let named = |line: char| messages.iter().any(|message| message.contains(line));
        assert!(
            messages.len() == 2 && named('2') && named('3'),
            "lines 2 and 3 are lost, each in a message of its own: {messages:?}"
        );
    }

    #[test]
    fn nothing_is_removed() {
        let (_dir, file) = log();
        append(&file, &record(1)).unwrap();
        let mut torn = fs::read(&file).unwrap();
        torn.extend(b"{\"number\": 2, \"te");
        fs::write(&file, &torn).unwrap();
        append(&file, &record(3)).unwrap();
        let now = fs::read(&file).unwrap();
        assert!(now.starts_with(&torn), "half a record is still evidence; leave it where it is");
    }
}
