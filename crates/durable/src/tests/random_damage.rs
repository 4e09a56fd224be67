//! Random damage to a journal: every record whose line is still there is found, and a program that
//! knows the records puts back the others.

use super::{folder, open, salvage, strings, try_open};
use crate::Error;
use std::{env, fs};

/// How many damages are tried, unless `LONG=1` is set.
const TRIES: usize = 400;
const LONG_TRIES: usize = 40_000;

/// Damages the bytes of a file in one place; says how.
fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) -> &'static str {
    let mut lines: Vec<Vec<u8>> =
        bytes.split_inclusive(|byte| *byte == b'\n').map(Into::into).collect();
    let (one, other) = (random.usize(..lines.len()), random.usize(..lines.len()));
    let at = random.usize(..bytes.len());
    let what = random.choice(["bit", "cut", "twice", "swap", "foreign", "gone", "zeros"]).unwrap();
    match what {
        "bit" => bytes[at] ^= 1 << random.u8(..8),
        "cut" => bytes.truncate(at),
        "twice" => lines.insert(other, lines[one].clone()),
        "swap" => lines.swap(one, other),
        "foreign" => {
            let foreign: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
            bytes.splice(at..at, foreign);
        }
        "gone" => drop(lines.remove(one)),
        _ => {
            let end = bytes.len().min(at + random.usize(..100));
            bytes[at..end].fill(0);
        }
    }
    if ["twice", "swap", "gone"].contains(&what) {
        *bytes = lines.concat();
    }
    what
}

#[test]
fn every_record_whose_line_is_intact_is_kept() {
    let seed = env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let tries = if env::var_os("LONG").is_some() { LONG_TRIES } else { TRIES };
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut kept, mut given_up, mut put_back) = (0, 0, 0);
    for n in 0..tries {
        let context = format!("SEED={seed}, try {n}");
        let folder = folder();
        let path = folder.path().join("journal");
        let mut journal = open(&path).0;
        let mut groups: Vec<Vec<String>> = vec![];
        if random.bool() {
            journal.append_all(&strings(&["old", "older"])).unwrap();
            groups.push(vec!["compacted".into()]);
            journal.lock().unwrap().0.compact(&groups[0]).unwrap();
        }
        for i in 0..random.usize(1..12) {
            let group: Vec<String> =
                (0..random.usize(1..4)).map(|part| format!("{n} {i} {part}")).collect();
            journal.append_all(&group).unwrap();
            groups.push(group);
        }
        let all = groups.concat();
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let mut damages = vec![];
        for _ in 0..random.usize(1..4) {
            if !bytes.is_empty() {
                damages.push(damage(&mut random, &mut bytes));
            }
        }
        let context = format!("{context}, {damages:?}");

        // One that opens the file and knows nothing.
        fs::write(&path, &bytes).unwrap();
        let opened = match try_open::<String>(&path) {
            Err(Error::Damaged { .. }) => salvage(&path),
            opened => opened,
        };
        let found = opened.unwrap_or_else(|e| panic!("{context}: {e}")).1.records;
        let lines = whole.split_inclusive(|byte| *byte == b'\n').skip(1);
        let is_there = |line: &[u8]| bytes.windows(line.len()).any(|bytes| bytes == line);
        let there: Vec<bool> = lines.map(is_there).collect();
        let mut expected = vec![];
        let mut at = 0;
        for group in &groups {
            let end = at + group.len();
            let is_whole = there[at..end].iter().all(|there| *there);
            for (record, there) in group.iter().zip(&there[at..end]) {
                // An append at the end of the file that is not whole was perhaps never
                // acknowledged.
                let may_be_missing = !is_whole && !found.contains(record);
                let follows = found.iter().any(|other| {
                    all.iter().position(|r| r == other) > all.iter().position(|r| r == record)
                });
                if *there && (!may_be_missing || follows) {
                    expected.push(record.clone());
                }
                given_up += usize::from(!there);
            }
            at = end;
        }
        let known: Vec<String> = found.iter().filter(|r| expected.contains(r)).cloned().collect();
        assert_eq!(known, expected, "{context}");
        assert!(found.iter().all(|record| all.contains(record)), "{context}: {found:?}");
        kept += found.len();
        let (_, update) = open(&path);
        assert_eq!((update.records, update.quarantined), (found.clone(), None), "{context}");

        // The one that has written the file, and knows all.
        let news = journal.lock();
        let (mut locked, update) = news.unwrap_or_else(|e| panic!("{context}: {e}"));
        assert!(!update.reset && update.records.is_empty(), "{context}: {update:?}");
        assert_eq!(update.rewound, found.len() < all.len(), "{context}: {update:?}");
        if update.rewound {
            locked.compact(&all).unwrap();
            put_back += all.len() - found.len();
        }
        drop(locked);
        assert_eq!(open(&path).1.records, all, "{context}");
    }
    println!(
        "{tries} damaged journals: {kept} records kept, {given_up} lines damaged, {put_back} \
         records put back by the program that knew them"
    );
}
