//! The beginning and the end of what a command prints.
use crate::{
    Outputs, Sink,
    file_copy::{FileCopy, Target},
};
use std::{collections::VecDeque, sync::Arc};

/// The first and the last bytes of an output, and how many were left out between: as much as a
/// model should read, whatever the command prints. When something is left out, the whole output can
/// go to a file.
#[derive(Debug, Default)]
pub struct Clip {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    outputs: Option<Arc<Outputs>>,
    /// There from the moment on when something is left out.
    copy: Option<FileCopy>,
}

impl Clip {
    /// How many of the first bytes are kept.
    const MAX_HEAD_BYTES: usize = 20_000;
    /// How many of the last bytes are kept.
    const MAX_TAIL_BYTES: usize = 10_000;
    /// How many bytes of one output a file takes. Of more, the oldest give way.
    pub const MAX_FILE_BYTES: u64 = 64 << 20;

    /// A clip that, once it leaves something out, writes the whole output to a new file among
    /// these, up to [`MAX_FILE_BYTES`](Clip::MAX_FILE_BYTES). A short output costs no disk access.
    pub fn spilling(outputs: Arc<Outputs>) -> Clip {
        Clip { outputs: Some(outputs), ..Clip::default() }
    }

    /// The output as text, whatever the bytes were. It says how many bytes were left out, and where
    /// all of them are or why they could not be kept. Writes what is still to be written to the
    /// file first.
    pub async fn into_text(mut self) -> String {
        self.flush().await;
        let tail = self.tail.make_contiguous();
        if self.left_out == 0 {
            self.head.extend_from_slice(tail);
            return String::from_utf8_lossy(&self.head).into_owned();
        }
        // No character is cut in two.
        let (until, from) = (whole_until(&self.head), whole_from(tail));
        let (head, tail) = (&self.head[..until], &tail[from..]);
        let left_out = self.left_out + (self.head.len() - until + from) as u64;
        let file = self.copy.map(|copy| location(&copy)).unwrap_or_default();
        let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
        format!("{head}\n[... {left_out} bytes left out{file} ...]\n{tail}")
    }
}

/// What is said of the file in the text.
fn location(copy: &FileCopy) -> String {
    match (copy.path(), copy.error()) {
        (_, Some(error)) => format!("; they could not be kept: {error}"),
        (Some(path), None) if copy.gone() > 0 => {
            format!("; all but the first {} bytes are in {}", copy.gone(), path.display())
        }
        (Some(path), None) => format!("; all of it is in {}", path.display()),
        (None, None) => String::new(),
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
    fn push(&mut self, bytes: &[u8]) {
        let kept = self.head.len() + self.tail.len();
        if kept + bytes.len() > Self::MAX_HEAD_BYTES + Self::MAX_TAIL_BYTES {
            if let Some(outputs) = self.outputs.take() {
                let mut copy = FileCopy::new(Target::Outputs(outputs), Self::MAX_FILE_BYTES);
                copy.push(&self.head);
                copy.push(self.tail.make_contiguous());
                self.copy = Some(copy);
            }
            if let Some(copy) = &mut self.copy {
                copy.push(bytes);
            }
        }
        let (head, rest) = bytes.split_at(bytes.len().min(Self::MAX_HEAD_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        // Only the end of a large piece can stay, so the rest of it need not pass through the
        // queue.
        let (passed, rest) = rest.split_at(rest.len().saturating_sub(Self::MAX_TAIL_BYTES));
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(Self::MAX_TAIL_BYTES);
        self.tail.drain(..over);
        self.left_out += (passed.len() + over) as u64;
    }

    async fn flush(&mut self) {
        if let Some(copy) = &mut self.copy {
            copy.flush().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT_BYTES: usize = Clip::MAX_HEAD_BYTES + Clip::MAX_TAIL_BYTES;

    fn numbers() -> Vec<u8> {
        (0..100_000u32).flat_map(|i| format!("{i}\n").into_bytes()).collect()
    }

    /// The path that the text names after `before`.
    fn path_in(text: &str, before: &str) -> String {
        let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("{text}"));
        after.split_once(" ...]").unwrap().0.into()
    }

    #[tokio::test]
    async fn both_ends_are_kept() {
        let mut clip = Clip::default();
        clip.push(b"short");
        assert_eq!(clip.into_text().await, "short");
        let all = numbers();
        for size in [1000, 16_384, all.len()] {
            let mut clip = Clip::default();
            for piece in all.chunks(size) {
                clip.push(piece);
            }
            let text = clip.into_text().await;
            let left_out = format!("[... {} bytes left out ...]", all.len() - KEPT_BYTES);
            assert!(
                text.starts_with("0\n1\n2\n")
                    && text.ends_with("99998\n99999\n")
                    && text.contains(&left_out)
            );
        }
    }

    #[tokio::test]
    async fn the_whole_output_is_in_the_file() {
        let outputs = Arc::new(Outputs::default());
        let all = numbers();
        for size in [1000, 16_384, all.len()] {
            let mut clip = Clip::spilling(outputs.clone());
            for piece in all.chunks(size) {
                clip.push(piece);
                clip.flush().await;
            }
            let text = clip.into_text().await;
            let path = path_in(&text, " bytes left out; all of it is in ");
            assert!(outputs.folder_of(&path).is_some());
            assert_eq!(std::fs::read(&path).unwrap(), all);
        }
    }

    #[tokio::test]
    async fn a_short_output_makes_no_file() {
        let outputs = Arc::new(Outputs::default());
        let all = numbers();
        let mut clip = Clip::spilling(outputs.clone());
        clip.push(&all[..Clip::MAX_HEAD_BYTES]);
        clip.push(&all[..Clip::MAX_TAIL_BYTES]);
        clip.flush().await;
        assert_eq!(clip.into_text().await.len(), KEPT_BYTES);
        // The next file is the first one.
        assert!(outputs.create().unwrap().1.ends_with("1.txt"));
    }

    #[tokio::test]
    async fn the_file_is_bounded() {
        let mut clip = Clip::spilling(Arc::default());
        let mebibyte = vec![b'x'; 1 << 20];
        for _ in 0..66 {
            clip.push(&mebibyte);
            clip.flush().await;
        }
        // The copy holds the outputs, and they their folder, until the text is made.
        let path = clip.copy.as_ref().unwrap().path().unwrap().to_path_buf();
        let left = path.metadata().unwrap().len();
        assert!((32 << 20..=Clip::MAX_FILE_BYTES).contains(&left), "{left}");
        let text = clip.into_text().await;
        let (_, gone) = text.split_once("; all but the first ").unwrap();
        let (gone, rest) = gone.split_once(" bytes are in ").unwrap();
        let note = format!("[{gone} bytes before this are gone]\n");
        assert_eq!(gone.parse::<u64>().unwrap() + left - note.len() as u64, 66 << 20);
        assert!(rest.starts_with(path.to_str().unwrap()));
    }

    #[tokio::test]
    async fn why_there_is_no_file_is_said() {
        let outputs = Arc::new(Outputs::default());
        let (_, first) = outputs.create().unwrap();
        let folder = first.parent().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        std::fs::write(folder, "").unwrap();
        let mut clip = Clip::spilling(outputs);
        clip.push(&numbers());
        let text = clip.into_text().await;
        std::fs::remove_file(folder).unwrap();
        let folder = folder.display().to_string();
        let why = path_in(&text, "; they could not be kept: ");
        assert!(why.contains(&folder), "{why}");
    }

    #[tokio::test]
    async fn no_character_is_cut() {
        for shift in 0..4 {
            let mut all = "x".repeat(shift);
            all.push_str(&"\u{20ac}\u{1f600}\u{e9}".repeat(10_000));
            let mut clip = Clip::default();
            clip.push(all.as_bytes());
            let text = clip.into_text().await;
            assert!(!text.contains('\u{fffd}'), "{shift}");
            let left_out: usize =
                text.split(['[', ' ']).find_map(|word| word.parse().ok()).unwrap();
            let notice = format!("\n[... {left_out} bytes left out ...]\n");
            assert_eq!(text.len() - notice.len() + left_out, all.len());
        }
    }
}
