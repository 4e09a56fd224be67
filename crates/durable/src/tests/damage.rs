//! What a crash, a bad disk or an editor may have done to a journal.

use super::{folder, journal_of, names, open, strings};
use crate::{Error, Flaw, Journal, MOST_BYTES, SetAside};
use serde_json::{Value, json, value::RawValue};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file of a journal with these appends.
fn file_of(appends: &[&[&str]]) -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = open(&path);
    appends.iter().for_each(|records| journal.append_all(&strings(records)).unwrap());
    fs::read(path).unwrap()
}

fn journal_with(folder: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join("journal");
    fs::write(&path, bytes).unwrap();
    path
}

fn damage_or_report(path: &Path) -> (u64, Flaw) {
    match Journal::<String>::open(path) {
        Ok((_, news)) => news.set_aside.map(|report| (report.line, report.flaw)).unwrap(),
        Err(_) => damage(path),
    }
}

fn damage(path: &Path) -> (u64, Flaw) {
    match Journal::<String>::open(path) {
        Err(Error::Damaged { file, line, flaw }) if file == path => (line, flaw),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_append_that_was_cut_at_any_byte_is_set_aside_whole() {
    for (last, lines) in [(&["three"][..], 1), (&["three", "four", "five"][..], 3)] {
        let whole = file_of(&[&["one"], &["two"], last]);
        let good = file_of(&[&["one"], &["two"]]).len();
        for cut in good..whole.len() {
            let folder = folder();
            let path = journal_with(folder.path(), &whole[..cut]);
            let (mut journal, news) = open(&path);
            assert_eq!(news.records, ["one", "two"]);
            let to = folder.path().join("journal.torn-1");
            match news.set_aside {
                None => assert_eq!(cut, good),
                Some(SetAside { file, line, flaw, to: at, bytes }) => {
                    assert_eq!((&file, &at, bytes), (&path, &to, (cut - good) as u64));
                    assert_eq!(fs::read(&to).unwrap(), whole[good..cut]);
                    let in_line = whole[good..cut].iter().filter(|b| **b == b'\n').count() as u64;
                    let expected = if whole[cut - 1] == b'\n' {
                        (3, Flaw::Part)
                    } else {
                        (3 + in_line, Flaw::Cut)
                    };
                    assert_eq!((line, flaw), expected, "cut at {cut} of {}", whole.len());
                    assert!(in_line < lines);
                }
            }
            journal.append(&"six".into()).unwrap();
            let news = open(&path).1;
            assert_eq!((news.records, news.set_aside), (strings(&["one", "two", "six"]), None));
        }
    }
}

#[test]
fn torn_ends_never_overwrite_one_another() {
    let folder = folder();
    let path = folder.path().join("journal");
    for n in 1..=3 {
        fs::write(&path, format!("torn {n}")).unwrap();
        let report = open(&path).1.set_aside.unwrap();
        let shown =
            format!("{0}:1: cut off; 6 bytes were set aside in {0}.torn-{n}", path.display());
        assert_eq!(report.to_string(), shown);
        assert_eq!(fs::read_to_string(report.to).unwrap(), format!("torn {n}"));
    }
    assert_eq!(
        names(folder.path()),
        ["journal", "journal.torn-1", "journal.torn-2", "journal.torn-3"]
    );
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
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
            Ok((_, news)) => {
                let report = news.set_aside.expect("unnoticed");
                assert!(
                    news.records.len() < all.len() && all.starts_with(&news.records),
                    "bit {bit}"
                );
                assert_ne!(news.records.len(), 2, "bit {bit}: half an append");
                assert!(
                    bit / 8 >= last_line - 1,
                    "bit {bit}: acknowledged records were taken for a torn end"
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
fn damage_before_the_end_is_an_error_until_it_is_salvaged() {
    let folder = folder();
    let whole = file_of(&[&["one"], &["two"], &["three"]]);
    let bad = String::from_utf8(whole).unwrap().replace("two", "tvo");
    let path = journal_with(folder.path(), &bad);
    assert_eq!(damage(&path), (2, Flaw::Sum));
    let shown = Journal::<String>::open(&path).unwrap_err().to_string();
    assert_eq!(
        shown,
        format!("{}:2: damaged (wrong check sum); the file was left as it is", path.display())
    );
    assert_eq!(names(folder.path()), ["journal"]);

    let (mut journal, news) = Journal::<String>::salvage(&path).unwrap();
    assert_eq!((news.records, news.afresh), (strings(&["one"]), true));
    assert_eq!(fs::read_to_string(news.set_aside.unwrap().to).unwrap(), bad);
    assert_eq!(names(folder.path()), ["journal", "journal.damaged-1"]);
    journal.append(&"two".into()).unwrap();
    let news = Journal::<String>::salvage(&path).unwrap().1;
    assert_eq!((news.records, news.set_aside), (strings(&["one", "two"]), None));
}

#[test]
fn lines_that_are_missing_or_there_twice_are_damage() {
    let whole = String::from_utf8(file_of(&[&["one"], &["two", "three"], &["four"]])).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    for (order, found) in [
        (&[1, 2, 3][..], (1, Flaw::Order)),
        (&[0, 2, 3], (2, Flaw::Order)),
        (&[0, 1, 3], (3, Flaw::Order)),
        (&[0, 1, 2, 2], (4, Flaw::Order)),
        (&[0, 1, 2, 3, 0], (5, Flaw::Order)),
    ] {
        let folder = folder();
        let path = journal_with(folder.path(), order.iter().map(|i| lines[*i]).collect::<String>());
        assert_eq!(damage(&path), found, "{order:?}");
    }
}

#[test]
fn a_forged_count_is_no_reason_to_panic() {
    let line =
        |body: &str| format!("{{\"crc\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes()));
    let most = line(&format!(r#""seq":1,"more":{},"data":"one"}}"#, u64::MAX));
    let folder = folder();
    let path = journal_with(folder.path(), &most);
    assert_eq!(damage_or_report(&path), (1, Flaw::Part));
    let again = line(&format!(r#""seq":2,"more":{},"data":"two"}}"#, u64::MAX));
    fs::write(&path, format!("{most}{again}")).unwrap();
    assert_eq!(damage_or_report(&path), (2, Flaw::Order));
}

#[test]
fn who_reads_along_never_goes_on_after_damage() {
    let folder = folder();
    let path = folder.path().join("journal");
    let mut journal = journal_of(&path, &["one", "two"]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let expected = |e| matches!(e, Error::Damaged { line: 2, flaw: Flaw::Shrunk, .. });
    assert!(expected(journal.read_new().unwrap_err()));
    assert!(expected(journal.lock().unwrap_err()));
    assert!(matches!(journal.append(&"three".into()), Err(Error::Behind { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(journal.append(&"three".into()), Err(Error::Io { file, .. }) if file == path));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_journal_of_something_else_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("journal");
    drop(journal_of(&path, &["one"]));
    for result in [Journal::<u32>::open(&path), Journal::salvage(&path)] {
        assert!(matches!(result, Err(Error::Foreign { line: 1, .. })));
    }
    // A file that was never a journal goes aside whole, as one long torn end.
    fs::write(&path, "Dear diary,\n\nnothing happened.\n").unwrap();
    let news = open(&path).1;
    assert_eq!((news.records, news.set_aside.unwrap().bytes), (vec![], 31));
}

#[test]
fn a_line_ends_at_a_newline_and_at_nothing_else() {
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
fn the_numbers_and_sums_are_where_the_format_says() {
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
fn raw_json_with_newlines_is_one_line() {
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
fn what_could_not_be_read_again_is_refused() {
    let folder = folder();
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::<Value>::open(&path).unwrap();
    let deep = (0..200).fold(json!(null), |inner, _| json!([inner]));
    assert!(matches!(journal.append(&deep), Err(Error::Refused { .. })));
    let large = json!("x".repeat(MOST_BYTES));
    assert!(matches!(journal.append_all(&[json!(0), large]), Err(Error::TooLarge { .. })));
    assert!(matches!(journal.lock().unwrap().0.compact(&[deep]), Err(Error::Refused { .. })));
    let almost = json!("x".repeat(MOST_BYTES - 100));
    journal.append_all(&[json!(1), almost.clone()]).unwrap();
    assert_eq!(Journal::<Value>::open(&path).unwrap().1.records, [json!(1), almost]);
    assert_eq!(names(folder.path()), ["journal"]);
}

#[test]
fn a_line_beyond_the_bound_is_bad_and_is_not_held_in_memory() {
    let folder = folder();
    let path = folder.path().join("journal");
    drop(journal_of(&path, &["one"]));
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(3 * MOST_BYTES as u64).unwrap(); // Zeros, as a power cut may leave them.
    let news = open(&path).1;
    assert_eq!((news.records, news.set_aside.unwrap().flaw), (strings(&["one"]), Flaw::Cut));
}
