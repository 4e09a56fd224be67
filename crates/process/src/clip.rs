//! Both ends of what a command prints.
use crate::Sink;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// The first and the last bytes of what is pushed, and how many were left out between: as much as a model should
/// read, whatever the command prints. When something is left out, all of it can go to a file.
#[derive(Debug, Default)]
pub struct Clip {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    spill: Option<Spill>,
}

/// Where the whole goes.
#[derive(Debug)]
struct Spill {
    path: PathBuf,
    file: Option<File>,
    kept: u64,
    fault: Option<io::Error>,
}

impl Clip {
    const HEAD: usize = 20_000;
    const TAIL: usize = 10_000;
    /// How much of one output a file takes, in bytes.
    pub const SPILL: u64 = 64 * 1024 * 1024;

    /// One that keeps the whole, up to [`Clip::SPILL`], in a new file at this path once it leaves something out; the
    /// file is its owner's alone, and stays.
    pub fn spilling(path: PathBuf) -> Clip {
        Clip { spill: Some(Spill { path, file: None, kept: 0, fault: None }), ..Clip::default() }
    }

    /// As text, whatever the bytes were, saying what was left out and where all of it is.
    pub fn into_text(mut self) -> String {
        let tail = self.tail.make_contiguous();
        if self.left_out == 0 {
            self.head.extend_from_slice(tail);
            return String::from_utf8_lossy(&self.head).into_owned();
        }
        // No character is cut in two.
        let (until, from) = (whole_until(&self.head), whole_from(tail));
        let (head, tail) = (&self.head[..until], &tail[from..]);
        let left_out = self.left_out + (self.head.len() - until + from) as u64;
        let file = self.spill.map(|spill| spill.to_string()).unwrap_or_default();
        let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
        format!("{head}\n[... {left_out} bytes left out{file} ...]\n{tail}")
    }
}

impl Spill {
    fn write(&mut self, bytes: &[u8]) {
        let room = usize::try_from(Clip::SPILL - self.kept).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        if self.fault.is_some() || bytes.is_empty() {
            return;
        }
        self.kept += bytes.len() as u64;
        self.fault = self.open().and_then(|mut file| file.write_all(bytes)).err();
    }

    fn open(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            self.file =
                Some(File::options().write(true).create_new(true).mode(0o600).open(&self.path)?);
        }
        Ok(self.file.as_ref().expect("just opened"))
    }
}

impl std::fmt::Display for Spill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Some(why) => write!(f, "; they could not be kept in {path}: {why}"),
            None if self.kept == Clip::SPILL => {
                write!(f, "; the first {} MiB are in {path}", self.kept >> 20)
            }
            None => write!(f, "; all of it is in {path}"),
        }
    }
}

/// Where the last whole character ends.
fn whole_until(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0x80..=0xbf => continue,
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
        return if length > back { bytes.len() - back } else { bytes.len() };
    }
    bytes.len()
}

/// Where the first whole character begins.
fn whole_from(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| (0x80..=0xbf).contains(*byte)).count()
}

impl Sink for Clip {
    /// Takes in more. A file is written at once: to the system's cache, which is no slower than the pipe it came from.
    fn push(&mut self, bytes: &[u8]) {
        if self.head.len() + self.tail.len() + bytes.len() > Self::HEAD + Self::TAIL
            && let Some(spill) = &mut self.spill
        {
            if spill.file.is_none() && self.left_out == 0 {
                spill.write(&self.head);
                spill.write(self.tail.make_contiguous());
            }
            spill.write(bytes);
        }
        let (head, rest) = bytes.split_at(bytes.len().min(Self::HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        // Of a large piece only its end can stay: the rest need not pass through the queue.
        let (passed, rest) = rest.split_at(rest.len().saturating_sub(Self::TAIL));
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(Self::TAIL);
        self.tail.drain(..over);
        self.left_out += (passed.len() + over) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Vec<u8> {
        (0..100_000u32).flat_map(|i| format!("{i}\n").into_bytes()).collect()
    }

    #[test]
    fn both_ends_are_kept() {
        let mut clip = Clip::default();
        clip.push(b"short");
        assert_eq!(clip.into_text(), "short");
        let all = numbers();
        for size in [1000, 16_384, all.len()] {
            let mut clip = Clip::default();
            all.chunks(size).for_each(|piece| clip.push(piece));
            let text = clip.into_text();
            let left_out =
                format!("[... {} bytes left out ...]", all.len() - Clip::HEAD - Clip::TAIL);
            assert!(
                text.starts_with("0\n1\n2\n")
                    && text.ends_with("99998\n99999\n")
                    && text.contains(&left_out)
            );
        }
    }

    #[test]
    fn all_of_it_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let all = numbers();
        for size in [1000, 16_384, all.len()] {
            let path = dir.path().join(size.to_string());
            let mut clip = Clip::spilling(path.clone());
            all.chunks(size).for_each(|piece| clip.push(piece));
            assert!(
                clip.into_text()
                    .contains(&format!(" bytes left out; all of it is in {} ...]", path.display()))
            );
            assert_eq!(std::fs::read(&path).unwrap(), all);
        }
        let unneeded = dir.path().join("unneeded");
        let mut clip = Clip::spilling(unneeded.clone());
        clip.push(&all[..Clip::HEAD]);
        clip.push(&all[..Clip::TAIL]);
        assert_eq!(clip.into_text().len(), Clip::HEAD + Clip::TAIL);
        assert!(!unneeded.exists());
    }

    #[test]
    fn the_file_is_bounded_and_may_fail() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("much");
        let mut clip = Clip::spilling(path.clone());
        let piece = vec![b'x'; 1 << 20];
        (0..66).for_each(|_| clip.push(&piece));
        assert!(
            clip.into_text()
                .contains(&format!("; the first 64 MiB are in {} ...]", path.display()))
        );
        assert_eq!(path.metadata().unwrap().len(), Clip::SPILL);
        let mut clip = Clip::spilling(path);
        clip.push(&piece);
        assert!(clip.into_text().contains("; they could not be kept in "));
    }

    #[test]
    fn no_character_is_cut() {
        for shift in 0..4 {
            let mut all = "x".repeat(shift);
            all.push_str(&"\u{20ac}\u{1f600}\u{e9}".repeat(10_000));
            let mut clip = Clip::default();
            clip.push(all.as_bytes());
            let text = clip.into_text();
            assert!(!text.contains('\u{fffd}'), "{shift}");
            let left_out: usize =
                text.split(['[', ' ']).find_map(|word| word.parse().ok()).unwrap();
            let notice = format!("\n[... {left_out} bytes left out ...]\n");
            assert_eq!(text.len() - notice.len() + left_out, all.len());
        }
    }
}
