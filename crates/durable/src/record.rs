//! The format of a journal on disk: one record a line, numbered, each with a checksum.
//!
//! `{"crc":"1c291ca3","seq":7,"more":2,"data":{...}}`: the checksum is the CRC-32 of everything
//! between the comma after it and the newline, so it covers the numbers too. `more` is the number
//! of lines of the same append that follow.

use crate::Damage;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Read};

/// The largest size of a record as a line of the file, in bytes. It bounds the memory that reading
/// one line takes.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

const HEAD: &[u8] = br#"{"crc":""#;
/// Where the bytes begin that the checksum covers.
const BODY: usize = HEAD.len() + br#"01234567","#.len();

#[derive(Deserialize)]
struct Line<T> {
    seq: u64,
    #[serde(default)]
    more: u64,
    data: T,
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
) -> Result<(), EncodeError>
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
    serde_json::to_writer(&mut *out, data).map_err(EncodeError::Json)?;
    // In JSON a newline stands only between tokens, and only raw values contain any, so that a
    // space in its place does not change the value.
    for byte in &mut out[start..] {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    out.push(b'}');
    // A record that can be written but not read (too deeply nested, a map key that is not a string)
    // would make the journal unreadable.
    serde_json::from_slice::<Line<T>>(&out[start..]).map_err(EncodeError::Json)?;
    let checksum = checksum(&out[start + BODY..]);
    out[start + HEAD.len()..][..checksum.len()].copy_from_slice(checksum.as_bytes());
    out.push(b'\n');
    let bytes = out.len() - start;
    if bytes > MAX_RECORD_BYTES { Err(EncodeError::TooLarge(bytes)) } else { Ok(()) }
}

fn checksum(body: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(body))
}

/// Whether a line is exactly as it was written.
fn verify(line: &[u8]) -> Result<(), Damage> {
    let Some(line) = line.strip_suffix(b"\n") else { return Err(Damage::Torn) };
    let Some(body) = line.get(BODY..) else { return Err(Damage::Checksum) };
    let head = format!(r#"{{"crc":"{}","#, checksum(body));
    if line.starts_with(head.as_bytes()) { Ok(()) } else { Err(Damage::Checksum) }
}

/// How far a journal has been read. Always the end of a complete append.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Position {
    /// The offset in the file, in bytes.
    pub(crate) offset: u64,
    /// The number of lines before it, which is the number of the last record.
    pub(crate) seq: u64,
}

/// What was found after a position.
pub(crate) struct Scan<T> {
    pub(crate) records: Vec<T>,
    /// The end of the last complete append.
    pub(crate) end: Position,
    /// The number of the first damaged line, and its damage.
    pub(crate) damage: Option<(u64, Damage)>,
    /// Whether intact lines follow the damage. If so, it is not a torn tail.
    pub(crate) intact_after: bool,
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
    let mut scan = Scan { records: Vec::new(), end: start, damage: None, intact_after: false };
    let (mut position, mut line) = (start, Vec::new());
    let (mut append, mut more) = (Vec::new(), 0);
    loop {
        line.clear();
        let bytes = reader
            .by_ref()
            .take(MAX_RECORD_BYTES as u64)
            .read_until(b'\n', &mut line)
            .map_err(ScanError::Io)?;
        if bytes == 0 {
            break;
        }
        position = Position { offset: position.offset + bytes as u64, seq: position.seq + 1 };
        match verify(&line) {
            Ok(()) if scan.damage.is_some() => {
                scan.intact_after = true;
                break;
            }
            Ok(()) => {}
            Err(damage) => {
                scan.damage.get_or_insert((position.seq, damage));
                continue;
            }
        }
        let record: Line<T> =
            serde_json::from_slice(&line).map_err(|e| ScanError::UnknownRecord(position.seq, e))?;
        let continues_append = append.is_empty() || record.more.checked_add(1) == Some(more);
        if record.seq != position.seq || !continues_append {
            scan.damage = Some((position.seq, Damage::OutOfSequence));
            scan.intact_after = true;
            break;
        }
        more = record.more;
        append.push(record.data);
        if more == 0 {
            scan.records.append(&mut append);
            scan.end = position;
        }
    }
    if !append.is_empty() {
        scan.damage.get_or_insert((scan.end.seq + 1, Damage::IncompleteAppend));
    }
    Ok(scan)
}
