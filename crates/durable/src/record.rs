//! The form of a journal on disk: one record a line, in sequence, each with a check sum.
//!
//! `{"crc":"1c291ca3","seq":7,"more":2,"data":{...}}`: the sum is CRC-32 over all that stands between the comma after
//! it and the newline, so it covers the numbers too. `more` says how many lines of the same append follow.

use crate::Flaw;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Read};

/// The most bytes that one record may have, and so what reading a line takes at most.
pub const MOST_BYTES: usize = 32 << 20;

const HEAD: &[u8] = br#"{"crc":""#;
const BODY: usize = HEAD.len() + br#"01234567","#.len();

#[derive(Deserialize)]
struct Line<T> {
    seq: u64,
    #[serde(default)]
    more: u64,
    data: T,
}

/// Why a record cannot be written.
pub(crate) enum Unfit {
    Json(serde_json::Error),
    TooLarge(usize),
}

/// Appends the line of one record to `out`.
pub(crate) fn encode<T>(out: &mut Vec<u8>, seq: u64, more: usize, data: &T) -> Result<(), Unfit>
where
    T: Serialize + DeserializeOwned,
{
    let start = out.len();
    out.extend_from_slice(br#"{"crc":"01234567","#);
    out.extend_from_slice(format!(r#""seq":{seq},"#).as_bytes());
    if more > 0 {
        out.extend_from_slice(format!(r#""more":{more},"#).as_bytes());
    }
    out.extend_from_slice(br#""data":"#);
    serde_json::to_writer(&mut *out, data).map_err(Unfit::Json)?;
    // A newline in JSON stands between tokens only (raw values keep theirs), so a space in its place changes nothing.
    out[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    out.push(b'}');
    // What is written but cannot be read again (nested too deeply, a key that is no text) would close the journal for ever.
    serde_json::from_slice::<Line<T>>(&out[start..]).map_err(Unfit::Json)?;
    let sum = sum(&out[start + BODY..]);
    out[start + HEAD.len()..][..sum.len()].copy_from_slice(sum.as_bytes());
    out.push(b'\n');
    let bytes = out.len() - start;
    if bytes > MOST_BYTES { Err(Unfit::TooLarge(bytes)) } else { Ok(()) }
}

fn sum(body: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(body))
}

/// Whether a line is as it was written.
fn check(line: &[u8]) -> Result<(), Flaw> {
    let Some(line) = line.strip_suffix(b"\n") else { return Err(Flaw::Cut) };
    let body = line.get(BODY..).ok_or(Flaw::Sum)?;
    let head = format!(r#"{{"crc":"{}","#, sum(body));
    if line.starts_with(head.as_bytes()) { Ok(()) } else { Err(Flaw::Sum) }
}

/// How far a journal has been read: whole appends only.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Place {
    /// Bytes.
    pub(crate) end: u64,
    /// Lines, and so the number of the last record.
    pub(crate) seq: u64,
}

/// What was found behind a place.
pub(crate) struct Scan<T> {
    pub(crate) records: Vec<T>,
    pub(crate) place: Place,
    /// The first bad line.
    pub(crate) bad: Option<(u64, Flaw)>,
    /// Whether sound lines follow the bad one; then it is no torn tail.
    pub(crate) sound_after: bool,
}

/// Why nothing can be said about what is behind a place.
pub(crate) enum Stop {
    Disk(io::Error),
    Foreign(u64, serde_json::Error),
}

/// Reads what is behind `place`, where `reader` stands. Lines end at `\n`, whatever else Unicode counts as an end.
pub(crate) fn scan<T: DeserializeOwned>(
    mut reader: impl BufRead,
    place: Place,
) -> Result<Scan<T>, Stop> {
    let mut found = Scan { records: Vec::new(), place, bad: None, sound_after: false };
    let (mut at, mut line) = (place, Vec::new());
    let (mut batch, mut missing) = (Vec::new(), 0);
    loop {
        line.clear();
        let bytes = reader
            .by_ref()
            .take(MOST_BYTES as u64)
            .read_until(b'\n', &mut line)
            .map_err(Stop::Disk)?;
        if bytes == 0 {
            break;
        }
        at = Place { end: at.end + bytes as u64, seq: at.seq + 1 };
        match check(&line) {
            Ok(()) if found.bad.is_some() => {
                found.sound_after = true;
                break;
            }
            Err(flaw) => {
                found.bad.get_or_insert((at.seq, flaw));
                continue;
            }
            Ok(()) => {}
        }
        let record: Line<T> =
            serde_json::from_slice(&line).map_err(|e| Stop::Foreign(at.seq, e))?;
        if record.seq != at.seq
            || (!batch.is_empty() && record.more.checked_add(1) != Some(missing))
        {
            (found.bad, found.sound_after) = (Some((at.seq, Flaw::Order)), true);
            break;
        }
        missing = record.more;
        batch.push(record.data);
        if missing == 0 {
            found.records.append(&mut batch);
            found.place = at;
        }
    }
    if !batch.is_empty() {
        found.bad.get_or_insert((found.place.seq + 1, Flaw::Part));
    }
    Ok(found)
}
