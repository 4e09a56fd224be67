//! Damage to a journal: by a crash, a bad disk or an editor.

use super::{folder, journal_of, names, open, strings};
use crate::{Damage, Error, Journal, MAX_RECORD_BYTES, Quarantined};
use serde_json::{Value, json, value::RawValue};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The content of a journal with these appends.
fn file_of(appends: &[&[&str]]) -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    for records in appends {
        journal.append_all(&strings(records)).unwrap();
    }
    fs::read(path).unwrap()
}

fn journal_with(folder: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join("journal");
    fs::write(&path, bytes).unwrap();
    path
}

/// The line and the damage that opening quarantines.
fn quarantined(path: &Path) -> (u64, Damage) {
    let report = open(path).1.quarantined.unwrap();
    (report.line, report.damage)
}

/// The line and the damage that opening refuses.
fn refused(path: &Path) -> (u64, Damage) {
    match Journal::<String>::open(path) {
        Err(Error::Damaged { file, line, damage }) if file == path => (line, damage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_append_that_is_torn_at_any_byte_is_quarantined_as_a_whole() {
    for (last, lines) in [(&["three"][..], 1), (&["three", "four", "five"][..], 3)] {
        let whole = file_of(&[&["one"], &["two"], last]);
        let good = file_of(&[&["one"], &["two"]]).len();
        for cut in good..whole.len() {
            let folder = folder();
            let path = journal_with(folder.path(), &whole[..cut]);
            let (mut journal, update) = open(&path);
            assert_eq!(update.records, ["one", "two"]);
            let to = folder.path().join("journal.torn-1");
            match update.quarantined {
                None => assert_eq!(cut, good),
                Some(Quarantined { file, line, damage, to: at, bytes }) => {
                    assert_eq!((&file, &at, bytes), (&path, &to, (cut - good) as u64));
                    assert_eq!(fs::read(&to).unwrap(), whole[good..cut]);
                    let complete = whole[good..cut].iter().filter(|b| **b == b'\n').count() as u64;
                    let expected = if whole[cut - 1] == b'\n' {
                        (3, Damage::IncompleteAppend)
                    } else {
                        (3 + complete, Damage::Torn)
                    };
                    assert_eq!((line, damage), expected, "cut at {cut} of {}", whole.len());
                    assert!(complete < lines);
                }
            }
            journal.append(&"six".into()).unwrap();
            let update = open(&path).1;
            let expected = strings(&["one", "two", "six"]);
            assert_eq!((update.records, update.quarantined), (expected, None));
        }
    }
}

#[test]
fn quarantine_files_never_overwrite_one_another() {
    let folder = folder();
    let path = folder.path().join("journal");
    for n in 1..=3 {
        fs::write(&path, format!("torn {n}")).unwrap();
        let report = open(&path).1.quarantined.unwrap();
        let shown =
            format!("{0}:1: torn line; 6 bytes were quarantined in {0}.torn-{n}", path.display());
        assert_eq!(report.to_string(), shown);
        assert_eq!(fs::read_to_string(report.to).unwrap(), format!("torn {n}"));
    }
    assert_eq!(
        names(folder.path()),
        ["journal", "journal.torn-1", "journal.torn-2", "journal.torn-3"]
    );
}

#[test]
fn every_flipped_bit_is_detected() {
    let appends: [&[&str]; 3] = [&["one"], &["two", "three"], &["four"]];
    let (whole, all) = (file_of(&appends), strings(&["one", "two", "three", "four"]));
    let folder = folder();
    let path = folder.path().join("journal");
    let last_line = file_of(&appends[..2]).len();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        match Journal::<String>::open(&path) {
            Ok((_, update)) => {
                let report = update.quarantined.expect("not detected");
                let records = update.records;
                assert!(records.len() < all.len() && all.starts_with(&records), "bit {bit}");
                assert_ne!(records.len(), 2, "bit {bit}: half an append");
                assert!(
                    bit / 8 >= last_line - 1,
                    "bit {bit}: acknowledged records were taken for a torn tail"
                );
                assert_eq!(
                    [fs::read(&path).unwrap(), fs::read(&report.to).unwrap()].concat(),
                    bytes,
                    "bit {bit}"
                );
                fs::remove_file(report.to).unwrap();
            }
            Err(Error::Damaged { .. }) => assert_eq!(fs::read(&path).unwrap(), bytes, "bit {bit}"),
            Err(e) => panic!("bit {bit}: {e}"),
        }
    }
}

#[test]
fn damage_before_the_tail_is_an_error_until_it_is_salvaged() {
    let folder = folder();
    let whole = file_of(&[&["one"], &["two"], &["three"]]);
    let bad = String::from_utf8(whole).unwrap().replace("two", "tvo");
    let path = journal_with(folder.path(), &bad);
    assert_eq!(refused(&path), (2, Damage::Checksum));
    let shown = Journal::<String>::open(&path).unwrap_err().to_string();
    let expected =
        format!("{}:2: damaged (wrong checksum); the file was not changed", path.display());
    assert_eq!(shown, expected);
    assert_eq!(names(folder.path()), ["journal"]);

    let (mut journal, update) = Journal::<String>::salvage(&path).unwrap();
    assert_eq!((update.records, update.reset), (strings(&["one"]), true));
    assert_eq!(fs::read_to_string(update.quarantined.unwrap().to).unwrap(), bad);
    assert_eq!(names(folder.path()), ["journal", "journal.damaged-1"]);
    journal.append(&"two".into()).unwrap();
    let update = Journal::<String>::salvage(&path).unwrap().1;
    assert_eq!((update.records, update.quarantined), (strings(&["one", "two"]), None));
}

#[test]
fn missing_and_repeated_lines_are_damage() {
    let whole = String::from_utf8(file_of(&[&["one"], &["two", "three"], &["four"]])).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    for (order, expected) in [
        (&[1, 2, 3][..], (1, Damage::OutOfSequence)),
        (&[0, 2, 3], (2, Damage::OutOfSequence)),
        (&[0, 1, 3], (3, Damage::OutOfSequence)),
        (&[0, 1, 2, 2], (4, Damage::OutOfSequence)),
        (&[0, 1, 2, 3, 0], (5, Damage::OutOfSequence)),
    ] {
        let folder = folder();
        let path = journal_with(folder.path(), order.iter().map(|i| lines[*i]).collect::<String>());
        assert_eq!(refused(&path), expected, "{order:?}");
    }
}

#[test]
fn a_forged_count_does_not_panic() {
    let line =
        |body: &str| format!("{{\"crc\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes()));
    let most = line(&format!(r#""seq":1,"more":{},"data":"one"}}"#, u64::MAX));
    let folder = folder();
    let path = journal_with(folder.path(), &most);
    assert_eq!(quarantined(&path), (1, Damage::IncompleteAppend));
    let again = line(&format!(r#""seq":2,"more":{},"data":"two"}}"#, u64::MAX));
    fs::write(&path, format!("{most}{again}")).unwrap();
    assert_eq!(refused(&path), (2, Damage::OutOfSequence));
}

#[test]
fn a_reader_does_not_continue_after_a_truncation() {
    let folder = folder();
    let path = folder.path().join("journal");
    let mut journal = journal_of(&path, &["one", "two"]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let truncated = |e| matches!(e, Error::Damaged { line: 2, damage: Damage::Truncated, .. });
    assert!(truncated(journal.read_new().unwrap_err()));
    assert!(truncated(journal.lock().unwrap_err()));
    assert!(matches!(journal.append(&"three".into()), Err(Error::Stale { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(journal.append(&"three".into()), Err(Error::Io { file, .. }) if file == path));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_journal_of_other_records_is_not_changed() {
    let folder = folder();
    let path = folder.path().join("journal");
    drop(journal_of(&path, &["one"]));
    for result in [Journal::<u32>::open(&path), Journal::salvage(&path)] {
        assert!(matches!(result, Err(Error::UnknownRecord { line: 1, .. })));
    }
    // A file that was never a journal is quarantined as a whole, as one long torn tail.
    fs::write(&path, "Dear diary,\n\nnothing happened.\n").unwrap();
    let update = open(&path).1;
    assert_eq!((update.records, update.quarantined.unwrap().bytes), (vec![], 31));
}

#[test]
fn only_a_newline_ends_a_line() {
    let folder = folder();
    let path = folder.path().join("journal");
    let odd: String = (0..0x20u8)
        .map(char::from)
        .chain("\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{10ffff}\"\\".chars())
        .collect();
    journal_of(&path, &[&odd, "", &odd]).append(&odd).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches('\n').count(), 4);
    assert!(text.contains('\u{2028}'));
    assert_eq!(open(&path).1.records, [&odd, "", &odd, &odd]);
}

#[test]
fn the_format_on_disk_is_as_documented() {
    let text = String::from_utf8(file_of(&[&["one"], &["two", "three"]])).unwrap();
    let lines = [
        r#""seq":1,"data":"one"}"#,
        r#""seq":2,"more":1,"data":"two"}"#,
        r#""seq":3,"data":"three"}"#,
    ];
    let lines = lines
        .map(|body| format!("{{\"crc\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes())));
    assert_eq!(text, lines.concat());
}

#[test]
fn raw_json_with_newlines_is_stored_in_one_line() {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::<Box<RawValue>>::open(&path).unwrap();
    journal
        .append(&RawValue::from_string("{\n  \"z\": 1.0,\n  \"a\": \"\\n\"\n}".into()).unwrap())
        .unwrap();
    drop(journal);
    let records = Journal::<Box<RawValue>>::open(&path).unwrap().1.records;
    assert_eq!(records[0].get(), r#"{   "z": 1.0,   "a": "\n" }"#);
}

#[test]
fn a_record_that_could_not_be_read_back_is_refused() {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::<Value>::open(&path).unwrap();
    let deep = (0..200).fold(json!(null), |inner, _| json!([inner]));
    assert!(matches!(journal.append(&deep), Err(Error::Unserializable { .. })));
    let large = json!("x".repeat(MAX_RECORD_BYTES));
    assert!(matches!(journal.append_all(&[json!(0), large]), Err(Error::TooLarge { .. })));
    assert!(matches!(
        journal.lock().unwrap().0.compact(&[deep]),
        Err(Error::Unserializable { .. })
    ));
    let almost = json!("x".repeat(MAX_RECORD_BYTES - 100));
    journal.append_all(&[json!(1), almost.clone()]).unwrap();
    assert_eq!(Journal::<Value>::open(&path).unwrap().1.records, [json!(1), almost]);
    assert_eq!(names(folder.path()), ["journal"]);
}

#[test]
fn a_line_beyond_the_size_limit_is_damage_and_is_not_read_into_memory() {
    let folder = folder();
    let path = folder.path().join("journal");
    drop(journal_of(&path, &["one"]));
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(3 * MAX_RECORD_BYTES as u64).unwrap(); // Zeros, as a power cut may leave them.
    let update = open(&path).1;
    let damage = update.quarantined.unwrap().damage;
    assert_eq!((update.records, damage), (strings(&["one"]), Damage::Torn));
}
