//! Damage to a journal: by a crash, a bad disk or an editor.

use super::{folder, journal_of, names, open, salvage, strings, try_open};
use crate::{Damage, Error, MAX_RECORD_BYTES, Quarantined};
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
    match try_open::<String>(path) {
        Err(Error::Damaged { file, line, damage, .. }) if file == path => (line, damage),
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
                Some(Quarantined { file, line, damage, kept, lost, to: at }) => {
                    assert_eq!((&file, at.as_ref(), kept), (&path, Some(&to), 2));
                    assert_eq!(fs::read(&to).unwrap(), whole[good..cut]);
                    let complete = whole[good..cut].iter().filter(|b| **b == b'\n').count() as u64;
                    let expected = if whole[cut - 1] == b'\n' {
                        (4, Damage::IncompleteAppend)
                    } else {
                        (4 + complete, Damage::Torn)
                    };
                    assert_eq!((line, damage), expected, "cut at {cut} of {}", whole.len());
                    assert_eq!(lost, complete + u64::from(damage == Damage::Torn), "cut at {cut}");
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
        let shown = format!(
            "{0}:1: torn line; 0 records kept, 0 lost; what was found is in {0}.torn-{n}",
            path.display()
        );
        assert_eq!(report.to_string(), shown);
        assert_eq!(fs::read_to_string(report.to.unwrap()).unwrap(), format!("torn {n}"));
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
        match try_open::<String>(&path) {
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
                    [fs::read(&path).unwrap(), fs::read(report.to.as_ref().unwrap()).unwrap()]
                        .concat(),
                    bytes,
                    "bit {bit}"
                );
                fs::remove_file(report.to.unwrap()).unwrap();
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
    assert_eq!(refused(&path), (3, Damage::Checksum));
    let shown = try_open::<String>(&path).unwrap_err().to_string();
    let expected = format!(
        "{}:3: wrong checksum; 2 records intact, 1 lost; the file was not changed",
        path.display()
    );
    assert_eq!(shown, expected);
    assert_eq!(names(folder.path()), ["journal"]);

    let (mut journal, update) = salvage::<String>(&path).unwrap();
    assert_eq!((update.records, update.reset), (strings(&["one", "three"]), true));
    let report = update.quarantined.unwrap();
    let damaged = folder.path().join("journal.damaged-1");
    let expected = format!(
        "{}:3: wrong checksum; 2 records kept, 1 lost; what was found is in {}",
        path.display(),
        damaged.display()
    );
    assert_eq!((report.to_string(), fs::read_to_string(damaged).unwrap()), (expected, bad));
    assert_eq!(names(folder.path()), ["journal", "journal.damaged-1"]);
    journal.append(&"four".into()).unwrap();
    let update = open(&path).1;
    let expected = strings(&["one", "three", "four"]);
    assert_eq!((update.records, update.quarantined), (expected, None));
}

#[test]
fn missing_and_repeated_lines_are_damage() {
    let whole = String::from_utf8(file_of(&[&["one"], &["two", "three"], &["four"]])).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    let all = ["one", "two", "three", "four"];
    for (order, expected, kept, lost) in [
        (&[0, 2, 3, 4][..], 2, &["two", "three", "four"][..], 1),
        (&[0, 1, 3, 4], 3, &["one", "three", "four"], 1),
        (&[0, 1, 2, 4], 4, &["one", "two", "four"], 1),
        (&[0, 1, 2, 3, 3, 4], 5, &all, 0),
        (&[0, 1, 2, 3, 4, 1], 6, &all, 0),
        (&[0, 4, 2, 3, 1], 2, &all, 0),
        (&[4, 3, 2, 1, 0], 1, &all, 0),
    ] {
        let folder = folder();
        let path = journal_with(folder.path(), order.iter().map(|i| lines[*i]).collect::<String>());
        assert_eq!(refused(&path), (expected, Damage::OutOfSequence), "{order:?}");
        let update = salvage::<String>(&path).unwrap().1;
        let report = update.quarantined.unwrap();
        assert_eq!((update.records, report.lost), (strings(kept), lost), "{order:?}");
        assert_eq!(open(&path).1.records, kept, "{order:?}");
    }
}

#[test]
fn a_journal_of_the_former_format_is_read_and_written() {
    let whole = String::from_utf8(file_of(&[&["one"], &["two", "three"]])).unwrap();
    let (_, former) = whole.split_once('\n').unwrap();
    let folder = folder();
    let path = journal_with(folder.path(), former);
    let (mut journal, update) = open(&path);
    assert_eq!((update.records, update.quarantined), (strings(&["one", "two", "three"]), None));
    journal.append(&"four".into()).unwrap();
    let (mut other, update) = open(&path);
    assert_eq!(update.records, ["one", "two", "three", "four"]);
    journal.lock().unwrap().0.compact(&strings(&["all"])).unwrap();
    let update = other.read_new().unwrap();
    assert_eq!((update.records, update.reset), (strings(&["all"]), true));
    // Its first record is damaged.
    fs::write(&path, former.replace("one", "eno")).unwrap();
    assert_eq!(refused(&path), (1, Damage::Checksum));
    let update = salvage::<String>(&path).unwrap().1;
    let report = update.quarantined.unwrap();
    assert_eq!((update.records, report.kept, report.lost), (strings(&["two", "three"]), 2, 1));
}

#[test]
fn a_damaged_newline_or_first_line_costs_no_record() {
    let whole = file_of(&[&["one"], &["two", "three"], &["four"]]);
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap();
    let newline = header + 1 + whole[header + 1..].iter().position(|b| *b == b'\n').unwrap();
    for at in [3, header - 3, header, newline] {
        let folder = folder();
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let path = journal_with(folder.path(), &bytes);
        let update = salvage::<String>(&path).unwrap().1;
        let report = update.quarantined.unwrap();
        assert_eq!(update.records, ["one", "two", "three", "four"], "byte {at}");
        assert_eq!((report.kept, report.lost), (4, 0), "byte {at}");
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
fn a_journal_of_other_records_is_not_changed() {
    let folder = folder();
    let path = folder.path().join("journal");
    drop(journal_of(&path, &["one"]));
    for result in [try_open::<u32>(&path), salvage(&path)] {
        assert!(matches!(result, Err(Error::UnknownRecord { line: 2, .. })));
    }
    // A file that was never a journal is quarantined as a whole, as one long torn tail.
    fs::write(&path, "Dear diary,\n\nnothing happened.\n").unwrap();
    let update = open(&path).1;
    let to = update.quarantined.unwrap().to.unwrap();
    assert_eq!((update.records, fs::metadata(to).unwrap().len()), (vec![], 31));
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
    assert_eq!(text.matches('\n').count(), 5);
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
    let (header, records) = text.split_once('\n').unwrap();
    assert_eq!(records, lines.concat());
    let header: Value = serde_json::from_str(header).unwrap();
    let id = header["journal"]["id"].as_u64().unwrap();
    let body = format!(r#""journal":{{"id":{id},"base":0}}}}"#);
    assert_eq!(header["crc"], format!("{:08x}", crc32fast::hash(body.as_bytes())));
}

#[test]
fn raw_json_with_newlines_is_stored_in_one_line() {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = try_open::<Box<RawValue>>(&path).unwrap();
    journal
        .append(&RawValue::from_string("{\n  \"z\": 1.0,\n  \"a\": \"\\n\"\n}".into()).unwrap())
        .unwrap();
    drop(journal);
    let records = try_open::<Box<RawValue>>(&path).unwrap().1.records;
    assert_eq!(records[0].get(), r#"{   "z": 1.0,   "a": "\n" }"#);
}

#[test]
fn a_record_that_could_not_be_read_back_is_refused() {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = try_open::<Value>(&path).unwrap();
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
    assert_eq!(try_open::<Value>(&path).unwrap().1.records, [json!(1), almost]);
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
