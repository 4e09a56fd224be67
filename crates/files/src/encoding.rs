//! What kind of text a file holds.
use std::{
    io::{self, Read},
    str::from_utf8,
};

/// How much of the beginning of a file is judged, in bytes.
pub(crate) const SAMPLE_BYTES: usize = 8192;
/// Of so many bytes, one may be none that stands in text: a NUL byte in a source file makes no
/// binary file of it.
const MIN_BYTES_PER_ODD_BYTE: usize = 10;
/// How many 16-bit units are enough to recognise UTF-16 without a byte-order mark.
const MIN_UTF16_UNITS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8, or another encoding that contains ASCII.
    Text,
    Utf16Le,
    Utf16Be,
    Binary,
}

impl Encoding {
    /// Judges the beginning of a file. Without a NUL byte it is text, as for git and ripgrep.
    pub(crate) fn of(sample: &[u8]) -> Encoding {
        if sample.starts_with(&[0xff, 0xfe]) {
            return Encoding::Utf16Le;
        }
        if sample.starts_with(&[0xfe, 0xff]) {
            return Encoding::Utf16Be;
        }
        if sample.starts_with(b"%PDF-") {
            return Encoding::Binary;
        }
        if !sample.contains(&0) {
            return Encoding::Text;
        }
        // Of most alphabets, every second byte of UTF-16 is zero, and no other.
        let (units, mut zeros) = (sample.len() / 2, [0, 0]);
        for (index, _) in sample.iter().enumerate().filter(|(_, byte)| **byte == 0) {
            zeros[index % 2] += 1;
        }
        if units >= MIN_UTF16_UNITS {
            match zeros {
                [0, low] if low * 2 > units => return Encoding::Utf16Le,
                [high, 0] if high * 2 > units => return Encoding::Utf16Be,
                _ => {}
            }
        }
        let mut odd = 0;
        for chunk in sample.utf8_chunks() {
            odd += chunk.invalid().len();
            odd += chunk.valid().bytes().filter(|byte| is_odd_control(*byte)).count();
        }
        match odd * MIN_BYTES_PER_ODD_BYTE > sample.len() {
            true => Encoding::Binary,
            false => Encoding::Text,
        }
    }
}

/// Whether a text is neither UTF-8 nor marked as UTF-16.
pub(crate) fn may_be_latin1(mut text: impl Read) -> io::Result<bool> {
    let mut buffer = [0; SAMPLE_BYTES];
    // Of a character that the last piece has cut in two.
    let mut kept = 0;
    loop {
        let end = match text.read(&mut buffer[kept..])? {
            0 => return Ok(kept > 0),
            length => kept + length,
        };
        let valid = match from_utf8(&buffer[..end]) {
            Ok(_) => end,
            Err(error) if error.error_len().is_some() => {
                return Ok(!matches!(buffer, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]));
            }
            Err(error) => error.valid_up_to(),
        };
        buffer.copy_within(valid..end, 0);
        kept = end - valid;
    }
}

/// Whether this is a control character that does not occur in text. Backspace and escape do, in
/// what terminals have shown.
fn is_odd_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, 0x08..=0x0d | 0x1b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_may_be_cut_anywhere_and_must_be_whole() {
        for shift in 0..4 {
            let text = ["x".repeat(shift), "\u{1f600}".repeat(SAMPLE_BYTES)].concat();
            let text = text.as_bytes();
            assert!(!may_be_latin1(text).unwrap());
            assert!(may_be_latin1(&text[..text.len() - 1]).unwrap());
            assert!(may_be_latin1([text, b"\xe9t\xe9"].concat().as_slice()).unwrap());
        }
        assert!(!may_be_latin1(b"\xff\xfea\0".as_slice()).unwrap());
    }

    #[test]
    fn a_nul_byte_makes_no_binary_file_but_many_do() {
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let swapped = |bytes: Vec<u8>| bytes.chunks(2).flat_map(|b| [b[1], b[0]]).collect();
        let random: Vec<u8> =
            (0..8192u32).map(|n| (n.wrapping_mul(2654435761) >> 13) as u8).collect();
        for (sample, encoding) in [
            (b"".to_vec(), Encoding::Text),
            (b"caf\xe9\n".to_vec(), Encoding::Text),
            (b"TOKEN = 'a\0b'\n".to_vec(), Encoding::Text),
            (b"\x1b[31mred\x1b[0m\r\n\0 and more text\n".to_vec(), Encoding::Text),
            (b"a\0".to_vec(), Encoding::Binary),
            (b"a\0b".to_vec(), Encoding::Binary),
            (b"\x7fELF\x02\x01\x01\0\0".to_vec(), Encoding::Binary),
            (b"%PDF-1.7\n%\xe2\xe3\n".to_vec(), Encoding::Binary),
            (vec![0; 8192], Encoding::Binary),
            (random, Encoding::Binary),
            (b"\xff\xfea\0".to_vec(), Encoding::Utf16Le),
            (b"\xfe\xff\0a".to_vec(), Encoding::Utf16Be),
            (utf16("let x = 1;\n"), Encoding::Utf16Le),
            (swapped(utf16("let x = 1;\n")), Encoding::Utf16Be),
            (utf16("na\u{ef}ve \u{20ac} 5\n"), Encoding::Utf16Le),
        ] {
            assert_eq!(Encoding::of(&sample), encoding, "{sample:?}");
        }
    }
}
