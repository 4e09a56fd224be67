//! Standard input without an editor: the lines of a pipe, of a file, and those that a person typed
//! while nobody asked.
use crate::line_editor::Typed;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read},
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};
use std::{
    collections::VecDeque,
    io::{BufRead, Read, Write, stdin},
    sync::Mutex,
    time::Duration,
};

/// How long a line may be, in bytes: more than any API takes as one request. A device has no end.
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// The lines of a pipe or a file.
#[derive(Default)]
pub(crate) struct Lines {
    /// How many were read.
    read: usize,
    unreadable: Option<String>,
}

impl Lines {
    /// The next line of this input.
    pub(crate) fn next(&mut self, input: &mut impl BufRead) -> Typed {
        if self.unreadable.is_none() {
            match self.read(input) {
                Ok(Some(line)) => return Typed::Line(line),
                Ok(None) => return Typed::End,
                Err(why) => self.unreadable = Some(why),
            }
        }
        Typed::Unreadable(self.unreadable.clone().unwrap_or_default())
    }

    fn read(&mut self, input: &mut impl BufRead) -> Result<Option<String>, String> {
        let (mut line, number) = (Vec::new(), self.read + 1);
        let mut bounded = input.take(MAX_LINE_BYTES + 1);
        let size = bounded.read_until(b'\n', &mut line).map_err(|error| error.to_string())? as u64;
        if size > MAX_LINE_BYTES {
            return Err(format!("line {number} has more than {MAX_LINE_BYTES} bytes"));
        }
        self.read = number;
        let line = String::from_utf8(line).map_err(|error| {
            let byte = 1 + error.utf8_error().valid_up_to();
            format!("line {number} is not UTF-8 from byte {byte} on")
        })?;
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        Ok((size > 0).then(|| line.trim_end_matches(['\n', '\r']).to_string()))
    }
}

/// What a person typed at a terminal while no editor was open.
#[derive(Default)]
pub(crate) struct TypedAhead(Mutex<Keys>);

impl TypedAhead {
    /// The next whole line, if there is one within `wait`.
    pub(crate) fn line(&self, wait: Duration) -> Option<Typed> {
        let mut keys = self.0.lock().unwrap();
        let mut bytes = [0; 4096];
        loop {
            if let Some(typed) = keys.typed.pop_front() {
                return Some(typed);
            }
            if !readable(wait) {
                return None;
            }
            match read(stdin(), &mut bytes) {
                Ok(n @ 1..) => bytes[..n].iter().for_each(|byte| keys.add(*byte)),
                Err(Errno::INTR) => {}
                _ => return Some(Typed::End),
            }
        }
    }

    /// The beginning of a line that is not whole yet.
    pub(crate) fn draft(&self) -> String {
        let keys = self.0.lock().unwrap();
        String::from_utf8_lossy(&keys.draft).into()
    }

    /// Takes the draft out.
    pub(crate) fn take_draft(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0.lock().unwrap().draft)).into()
    }

    /// Puts text before the draft.
    pub(crate) fn prepend(&self, text: &str) {
        self.0.lock().unwrap().draft.splice(..0, text.bytes());
    }
}

/// Keys as they come without an editor, and what they make. On a terminal that hands over each key
/// these are the keys with which its own editor would edit a line.
#[derive(Default)]
struct Keys {
    typed: VecDeque<Typed>,
    draft: Vec<u8>,
    escape: Escape,
    /// Whether what comes is pasted: an end of line in it does not send the line.
    pasted: bool,
}

/// How far an escape sequence, such as that of an arrow key, has come.
#[derive(Default)]
enum Escape {
    #[default]
    None,
    Begun,
    /// What stands between its begin and its end.
    Control(Vec<u8>),
}

/// What a terminal puts around text that is pasted, where it was asked to.
const PASTE_BEGINS: &[u8] = b"200";
const PASTE_ENDS: &[u8] = b"201";

impl Keys {
    fn add(&mut self, byte: u8) {
        match (std::mem::take(&mut self.escape), byte) {
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Control(vec![]),
            // Alt+Enter begins a new line, as in the editor.
            (Escape::Begun, b'\r' | b'\n') => self.draft.push(b'\n'),
            (Escape::Begun, _) => {}
            (Escape::Control(code), b'@'..=b'~') => match &*code {
                PASTE_BEGINS => self.pasted = true,
                PASTE_ENDS => self.pasted = false,
                _ => {}
            },
            (Escape::Control(mut code), byte) => {
                code.push(byte);
                self.escape = Escape::Control(code);
            }
            (_, 0x1b) => self.escape = Escape::Begun,
            (_, b'\n' | b'\r') if self.pasted => self.draft.push(b'\n'),
            // What came while an editor had the terminal ends as the key does, with a return.
            (_, b'\n' | b'\r') if self.draft.ends_with(b"\\") => {
                self.draft.pop();
                self.draft.push(b'\n');
            }
            (_, b'\n' | b'\r') => {
                let line = std::mem::take(&mut self.draft);
                self.typed.push_back(Typed::Line(String::from_utf8_lossy(&line).into()));
            }
            // Ctrl+D; as a zero byte when the terminal handed over lines until then.
            (_, 0x04 | 0x00) if self.draft.is_empty() => self.typed.push_back(Typed::End),
            // Backspace.
            (_, 0x08 | 0x7f) => {
                let end = self.draft.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
                self.draft.truncate(end);
            }
            // Ctrl+U.
            (_, 0x15) => self.draft.clear(),
            // Ctrl+W.
            (_, 0x17) => {
                let word = self.draft.trim_ascii_end();
                let end =
                    word.iter().rposition(u8::is_ascii_whitespace).map_or(0, |space| space + 1);
                self.draft.truncate(end);
            }
            (_, byte) if byte.is_ascii_control() && byte != b'\t' => {}
            (_, byte) => self.draft.push(byte),
        }
    }
}

/// Whether there is something to read within `wait`, which is less than a second.
fn readable(wait: Duration) -> bool {
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], Some(&wait)).is_ok_and(|n| n > 0)
}

/// How a terminal hands over what is typed while no editor has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input {
    /// Line by line, which it lets the person edit, and shows.
    Lines,
    /// Line by line, without showing them.
    Hidden,
    /// Key by key, without showing them. Ctrl+C discards none of them.
    Keys,
}

/// While it lives, the terminal hands over input like this; afterwards it is as before.
#[derive(Debug)]
pub(crate) struct InputModes(Option<LocalModes>);

impl InputModes {
    pub(crate) fn set(input: Input) -> Self {
        let (echo, canonical) = (LocalModes::ECHO, LocalModes::ICANON);
        let (on, off) = match input {
            Input::Lines => (echo | canonical, LocalModes::NOFLSH),
            Input::Hidden => (canonical, echo | LocalModes::NOFLSH),
            Input::Keys => (LocalModes::NOFLSH, echo | canonical),
        };
        InputModes(change(|modes| (modes | on) - off))
    }
}

impl Drop for InputModes {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            change(|_| before);
        }
    }
}

/// While it lives, a terminal marks what is pasted.
#[derive(Debug)]
pub(crate) struct MarkedPaste;

impl MarkedPaste {
    /// What switches it off again.
    pub(crate) const OFF: &str = "\x1b[?2004l";

    pub(crate) fn begin() -> Self {
        write("\x1b[?2004h");
        MarkedPaste
    }
}

impl Drop for MarkedPaste {
    fn drop(&mut self) {
        write(Self::OFF);
    }
}

/// Whoever cannot be reached needs no modes.
fn write(code: &str) {
    let _ = std::io::stderr().write_all(code.as_bytes());
}

/// Returns what they were, if they were otherwise.
fn change(new: impl FnOnce(LocalModes) -> LocalModes) -> Option<LocalModes> {
    let stdin = stdin();
    let mut modes = tcgetattr(&stdin).ok()?;
    let before = modes.local_modes;
    modes.local_modes = new(before);
    if modes.local_modes == before {
        return None;
    }
    tcsetattr(&stdin, OptionalActions::Now, &modes).ok()?;
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: impl Read) -> Vec<Typed> {
        let (mut lines, mut input) = (Lines::default(), std::io::BufReader::new(input));
        (0..3).map(|_| lines.next(&mut input)).collect()
    }

    fn line(text: &str) -> Typed {
        Typed::Line(text.into())
    }

    #[test]
    fn keys_edit_a_line_as_a_terminal_does() {
        let typed = |keys: &str| {
            let mut read = Keys::default();
            keys.bytes().for_each(|byte| read.add(byte));
            (Vec::from(read.typed), String::from_utf8(read.draft).unwrap())
        };
        for (keys, lines, draft) in [
            ("one\rtwo\nthr", vec![line("one"), line("two")], "thr"),
            ("aä\x7f\x7f\x7fb", vec![], "b"),
            ("日本\x08x", vec![], "日x"),
            ("one two  \x17x", vec![], "one x"),
            ("one\x15two", vec![], "two"),
            ("a\x1b[D\x1b[1;5C\x1bOHb\x07\x0c", vec![], "ab"),
            ("a\x1b\rb\\\rc\r", vec![line("a\nb\nc")], ""),
            ("\x1b[200~a\rb\x1b[201~c\rd", vec![line("a\nbc")], "d"),
            ("a\x04\r\x04", vec![line("a"), Typed::End], ""),
        ] {
            assert_eq!(typed(keys), (lines, draft.to_string()), "{keys:?}");
        }
    }

    #[test]
    fn lines_lose_their_ends_and_the_mark_before_them() {
        assert_eq!(read(&b"a\r\n\nb"[..]), [line("a"), line(""), line("b")]);
        assert_eq!(
            read("\u{feff}a\n\u{feff}".as_bytes()),
            [line("a"), line("\u{feff}"), Typed::End]
        );
        assert_eq!(read("\u{feff}".as_bytes()), [line(""), Typed::End, Typed::End]);
        assert_eq!(read(&b""[..]), [Typed::End, Typed::End, Typed::End]);
    }

    #[test]
    fn what_is_no_line_of_text_ends_the_input_with_a_reason() {
        let unreadable = |why: &str| Typed::Unreadable(why.into());
        let twice = |why: &str| [line("a"), unreadable(why), unreadable(why)];
        assert_eq!(read(&b"a\nb\xffc\nd\n"[..]), twice("line 2 is not UTF-8 from byte 2 on"));
        let endless = b"a\n".chain(std::io::repeat(0));
        assert_eq!(read(endless), twice("line 2 has more than 67108864 bytes"));
        let folder = std::fs::File::open("/").unwrap();
        assert_eq!(read(folder)[2], unreadable("Is a directory (os error 21)"));
    }
}
