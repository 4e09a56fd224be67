//! The format of a journal on disk: lines of JSON, each with a checksum.
//!
//! - `{"crc":"1c291ca3","journal":{"id":4711,"base":100}}` is the first line. `id` is that of the
//!   journal, for as long as it exists. `base` is the number of the last record before it was
//!   compacted. Journals of an earlier version have no such line: their id and base are 0.
//! - `{"crc":"1c291ca3","seq":107,"more":2,"data":{...}}` is a record. Records are numbered from
//!   `base + 1` on. `more` is the number of lines of the same append that follow.
//! - `{"crc":"1c291ca3","lost":[103,105]}` stands for records that were damaged.
//!
//! The checksum is the CRC-32 of everything between the comma after it and the newline, so it
//! covers the numbers too.

use crate::Damage;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, BufRead, Read},
    ops::Range,
};

/// The largest size of a record as a line of the file, in bytes. It bounds the memory that reading
/// one line takes.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

/// The numbers of records are below this. Larger ones were not written by a journal.
const MAX_SEQ: u64 = 1 << 53;

/// How every line begins.
const HEAD: &[u8] = br#"{"crc":""#;
/// Where the bytes begin that the checksum covers.
const BODY: usize = HEAD.len() + br#"01234567","#.len();
const JOURNAL: &[u8] = br#""journal":"#;
const LOST: &[u8] = br#""lost":"#;

/// The first line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) base: u64,
}

impl Header {
    /// The header of a new journal.
    pub(crate) fn new(base: u64) -> Header {
        // All have the same number of digits.
        Header { id: fastrand::u64(1_000_000_000_000_000..MAX_SEQ), base }
    }
}

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    journal: Header,
}

#[derive(Serialize, Deserialize)]
struct LostLine {
    lost: (u64, u64),
}

#[derive(Deserialize)]
struct RecordLine<T> {
    seq: u64,
    #[serde(default)]
    more: u64,
    data: T,
}

/// Identifies a record: its number and its checksum. Two histories of one journal that went apart
/// have different records with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) seq: u64,
    pub(crate) crc: u32,
}

/// Why a record cannot be written.
pub(crate) enum EncodeError {
    Json(serde_json::Error),
    TooLarge(usize),
}

/// Appends the line of one record to `out`.
pub(crate) fn encode<T>(
    out: &mut Vec<u8>,
    seq: u64,
    more: usize,
    data: &T,
) -> Result<Key, EncodeError>
where
    T: Serialize + DeserializeOwned,
{
    let mut body = format!(r#""seq":{seq},"#).into_bytes();
    if more > 0 {
        body.extend_from_slice(format!(r#""more":{more},"#).as_bytes());
    }
    body.extend_from_slice(br#""data":"#);
    serde_json::to_writer(&mut body, data).map_err(EncodeError::Json)?;
    body.push(b'}');
    // In JSON a newline stands only between tokens, and only raw values contain any, so that a
    // space in its place does not change the value.
    for byte in &mut body {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    let start = out.len();
    let crc = push_line(out, &body);
    // A record that can be written but not read (too deeply nested, a map key that is not a string)
    // would make the journal unreadable.
    serde_json::from_slice::<RecordLine<T>>(&out[start..]).map_err(EncodeError::Json)?;
    let bytes = out.len() - start;
    if bytes > MAX_RECORD_BYTES { Err(EncodeError::TooLarge(bytes)) } else { Ok(Key { seq, crc }) }
}

/// Appends the first line of a journal to `out`.
pub(crate) fn encode_header(out: &mut Vec<u8>, header: Header) {
    let Header { id, base } = header;
    push_line(out, format!(r#""journal":{{"id":{id},"base":{base}}}}}"#).as_bytes());
}

/// Appends the line that stands for damaged records to `out`.
pub(crate) fn encode_lost(out: &mut Vec<u8>, lost: &Range<u64>) -> Key {
    let (first, seq) = (lost.start, lost.end - 1);
    let crc = push_line(out, format!(r#""lost":[{first},{seq}]}}"#).as_bytes());
    Key { seq, crc }
}

fn push_line(out: &mut Vec<u8>, body: &[u8]) -> u32 {
    let crc = crc32fast::hash(body);
    out.extend_from_slice(&head(crc));
    out.extend_from_slice(body);
    out.push(b'\n');
    crc
}

/// How a line with this checksum begins.
pub(crate) fn head(crc: u32) -> Vec<u8> {
    format!(r#"{{"crc":"{crc:08x}","#).into_bytes()
}

/// How far a journal has been read. Always the end of a complete append.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Position {
    /// The offset in the file, in bytes.
    pub(crate) offset: u64,
    /// The number of the last record.
    pub(crate) seq: u64,
    /// How many lines are before it.
    pub(crate) lines: u64,
    /// Where the last line begins.
    pub(crate) last: u64,
}

/// An intact line that is a record, or that stands for lost ones.
pub(crate) struct Line<T> {
    /// With the number of the record, or of the last lost one.
    pub(crate) key: Key,
    /// The number of the record, or of the first lost one.
    first: u64,
    more: u64,
    /// None when it stands for lost records.
    pub(crate) data: Option<T>,
    /// Where it stands in the file, without its newline.
    pub(crate) bytes: Range<u64>,
    /// The number of the line in the file.
    number: u64,
}

/// What was found after a position.
pub(crate) struct Scan<T> {
    pub(crate) header: Option<Header>,
    /// The intact lines in the order of their numbers, each of them once, without an append at the
    /// end that was never complete.
    pub(crate) lines: Vec<Line<T>>,
    /// The end of the file. The number is that of the last record in `lines` and `gaps`.
    pub(crate) end: Position,
    /// The number of the first line at fault, and its damage.
    pub(crate) damage: Option<(u64, Damage)>,
    /// Where the damage begins, if it is what an interrupted write leaves: nothing but the end of
    /// the file is missing.
    pub(crate) torn_at: Option<u64>,
    /// The number of the last record before these.
    pub(crate) base: u64,
    /// The numbers of records that are missing.
    pub(crate) gaps: Vec<Range<u64>>,
    /// How many records are lost, as far as that can be told.
    pub(crate) lost: u64,
}

/// Why a scan gives no result.
pub(crate) enum ScanError {
    Io(io::Error),
    UnknownRecord(u64, serde_json::Error),
}

/// Reads from `start`, where `reader` must be, to the end. Only `\n` ends a line, not the other
/// line separators of Unicode.
pub(crate) fn scan<T: DeserializeOwned>(
    mut reader: impl BufRead,
    start: Position,
) -> Result<Scan<T>, ScanError> {
    let mut reading = Reading {
        header: None,
        lines: vec![],
        damage: None,
        begin: start.offset,
        damaged_before: 0,
        damaged_after: 0,
        is_torn: false,
    };
    let (mut end, mut line) = (start, Vec::new());
    loop {
        line.clear();
        let bytes = reader
            .by_ref()
            .take(MAX_RECORD_BYTES as u64)
            .read_until(b'\n', &mut line)
            .map_err(ScanError::Io)?;
        if bytes == 0 {
            return Ok(reading.put_in_order(start, end));
        }
        end.lines += 1;
        end.last = end.offset;
        reading.read(&line, end.offset, end.lines)?;
        end.offset += bytes as u64;
    }
}

/// The intact lines in the order in which they stand in the file.
struct Reading<T> {
    header: Option<Header>,
    lines: Vec<Line<T>>,
    damage: Option<(u64, Damage)>,
    /// Where the records begin.
    begin: u64,
    /// How many records seem to be damaged before the first intact line, and after the last one.
    damaged_before: u64,
    damaged_after: u64,
    /// Whether the file ends in a record of which the end is missing.
    is_torn: bool,
}

impl<T: DeserializeOwned> Reading<T> {
    /// Reads the line that stands at this place, `number` lines from the beginning.
    fn read(&mut self, line: &[u8], at: u64, number: u64) -> Result<(), ScanError> {
        let ends = line.ends_with(b"\n");
        self.is_torn = !ends && (self.header.is_some() || !self.lines.is_empty());
        if ends && self.read_intact(&line[..line.len() - 1], at, number)? {
            return Ok(());
        }
        self.damage.get_or_insert((number, if ends { Damage::Checksum } else { Damage::Torn }));
        // Where a newline is damaged, or somebody has appended half a line, intact ones stand
        // behind each other.
        let mut begins = line.windows(HEAD.len()).enumerate().filter(|(_, bytes)| *bytes == HEAD);
        let mut next = begins.next().map(|(begin, _)| begin);
        let mut damaged = u64::from(next.is_none());
        while let Some(begin) = next {
            next = begins.next().map(|(begin, _)| begin);
            let piece = &line[begin..next.unwrap_or(line.len())];
            let at = at + begin as u64;
            // The last byte of it is the newline, or what took its place.
            if next.is_none() && !ends {
                break;
            } else if self.read_intact(&piece[..piece.len() - 1], at, number)?
                || self.read_intact(piece, at, number)?
            {
                damaged = 0;
            } else {
                damaged += 1;
            }
        }
        if ends {
            self.damaged_after += damaged;
            let is_header = line.windows(JOURNAL.len()).any(|bytes| bytes == JOURNAL);
            if self.lines.is_empty() && !is_header {
                self.damaged_before += damaged;
            }
        }
        Ok(())
    }

    /// Reads a line without its newline; false when it is not exactly as it was written.
    fn read_intact(&mut self, line: &[u8], at: u64, number: u64) -> Result<bool, ScanError> {
        let Some(body) = line.get(BODY..) else { return Ok(false) };
        let crc = crc32fast::hash(body);
        if !line.starts_with(&head(crc)) {
            return Ok(false);
        }
        let unknown = |e| ScanError::UnknownRecord(number, e);
        let bytes = at..at + line.len() as u64;
        self.damaged_after = 0;
        if body.starts_with(JOURNAL) {
            let HeaderLine { journal } = serde_json::from_slice(line).map_err(unknown)?;
            // The newest, should there be several.
            if self.header.is_none_or(|header| header.base < journal.base) {
                self.header = Some(journal);
            }
            if self.lines.is_empty() {
                self.begin = bytes.end + 1;
            }
            return Ok(true);
        }
        let line = if body.starts_with(LOST) {
            let LostLine { lost: (first, seq) } = serde_json::from_slice(line).map_err(unknown)?;
            Line { key: Key { seq, crc }, first, more: 0, data: None, bytes, number }
        } else {
            let record = serde_json::from_slice(line).map_err(unknown)?;
            let RecordLine { seq, more, data } = record;
            Line { key: Key { seq, crc }, first: seq, more, data: Some(data), bytes, number }
        };
        self.lines.push(line);
        Ok(true)
    }

    fn put_in_order(self, start: Position, mut end: Position) -> Scan<T> {
        let base = self.base(start);
        let Reading { header, mut lines, mut damage, begin, damaged_after, is_torn, .. } = self;
        if let Some(number) = first_out_of_order(&lines, base)
            && damage.is_none_or(|(damaged, _)| number < damaged)
        {
            damage = Some((number, Damage::OutOfSequence));
        }
        let found = lines.len();
        lines.sort_by_key(|line| line.first);
        // Without repeated lines, and without what another history has in the place of a record.
        let mut next = base + 1;
        lines.retain(|line| {
            let is_next = (next..MAX_SEQ).contains(&line.first) && line.key.seq < MAX_SEQ;
            if is_next {
                next = line.key.seq + 1;
            }
            is_next
        });
        let all_in_order = lines.len() == found;
        let mut lost = damaged_after + u64::from(is_torn);
        // The last lines of the last append, which are missing or damaged.
        let missing = lines.last().map_or(0, |line| line.more);
        if missing > damaged_after {
            // It was never complete, so nobody was told that it is there.
            let before = lines.len();
            let first = pop_append(&mut lines);
            lost += (before - lines.len()) as u64;
            next = first.key.seq;
            damage.get_or_insert((first.number, Damage::IncompleteAppend));
        } else {
            lost -= missing;
            next += missing;
        }
        end.seq = next - 1;
        let mut gaps = vec![];
        let mut expected = base + 1;
        let after_last = next..next;
        let numbers = lines.iter().map(|line| line.first..line.key.seq + 1);
        for numbers in numbers.chain([after_last]) {
            if numbers.start > expected {
                gaps.push(expected..numbers.start);
            }
            expected = numbers.end;
        }
        lost += gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>();
        let kept = lines.iter().map(|line| (line.number, line.bytes.end + 1)).max();
        let (last, kept_end) = kept.unwrap_or((0, begin));
        let is_torn = |(number, damage)| damage != Damage::OutOfSequence && last < number;
        let is_torn = damage.is_some_and(is_torn) && all_in_order && gaps.is_empty();
        let torn_at = is_torn.then_some(kept_end);
        Scan { header, lines, end, damage, torn_at, base, gaps, lost }
    }

    /// The number of the last record before those that were read.
    fn base(&self, start: Position) -> u64 {
        if start.offset > 0 {
            return start.seq;
        }
        if let Some(header) = self.header {
            return header.base.min(MAX_SEQ);
        }
        // The first line is damaged, or the file has the format of an earlier version.
        let first = self.lines.iter().map(|line| line.first).min().unwrap_or(1);
        let base = first.saturating_sub(1).min(MAX_SEQ);
        if base <= self.damaged_before { 0 } else { base }
    }
}

/// The number of the first line that does not continue the one before it.
fn first_out_of_order<T>(lines: &[Line<T>], base: u64) -> Option<u64> {
    let (mut next, mut more) = (base + 1, 0);
    for line in lines {
        let continues = more == 0 || line.data.is_none() || line.more == more - 1;
        if line.first != next || line.key.seq < next || line.key.seq >= MAX_SEQ || !continues {
            return Some(line.number);
        }
        (next, more) = (line.key.seq + 1, line.more);
    }
    None
}

/// Removes the lines of the last append; returns the first one.
fn pop_append<T>(lines: &mut Vec<Line<T>>) -> Line<T> {
    let continues = |[before, line]: &[Line<T>; 2]| {
        before.more.checked_sub(1) == Some(line.more) && before.key.seq + 1 == line.first
    };
    while lines.last_chunk().is_some_and(continues) {
        lines.pop();
    }
    lines.remove(lines.len() - 1)
}
