//! Standard input without an editor: the lines of a pipe, of a file, and those that a person typed
//! while nobody asked.
use crate::line_editor::Typed;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read},
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};
use std::{
    io::{BufRead, Read, stdin},
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
pub(crate) struct TypedAhead(Mutex<Vec<u8>>);

impl TypedAhead {
    /// The next whole line, if there is one within `wait`.
    pub(crate) fn line(&self, wait: Duration) -> Option<Typed> {
        let mut pending = self.0.lock().unwrap();
        let mut bytes = [0; 4096];
        loop {
            // What came while an editor had the terminal still ends as the key does, with a return.
            if let Some(end) = pending.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let line: Vec<u8> = pending.drain(..=end).collect();
                return Some(Typed::Line(String::from_utf8_lossy(&line[..end]).into()));
            }
            if !readable(wait) {
                return None;
            }
            match read(stdin(), &mut bytes) {
                Ok(n @ 1..) => pending.extend(&bytes[..n]),
                Err(Errno::INTR) => {}
                _ => return Some(Typed::End),
            }
        }
    }

    /// What is left: the beginning of a line.
    pub(crate) fn rest(&self) -> String {
        let rest = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8_lossy(&rest).chars().filter(|c| !c.is_control()).collect()
    }
}

/// Whether there is something to read within `wait`, which is less than a second.
fn readable(wait: Duration) -> bool {
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], Some(&wait)).is_ok_and(|n| n > 0)
}

/// While it lives, the terminal shows what is typed, or does not; afterwards it is as before.
#[derive(Debug)]
pub(crate) struct Echo {
    on: bool,
    changed: bool,
}

impl Echo {
    pub(crate) fn set(on: bool) -> Self {
        Echo { on, changed: set_echo(on) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if self.changed {
            set_echo(!self.on);
        }
    }
}

/// Whether it was otherwise before.
fn set_echo(on: bool) -> bool {
    let stdin = stdin();
    let Ok(mut modes) = tcgetattr(&stdin) else { return false };
    if modes.local_modes.contains(LocalModes::ECHO) == on {
        return false;
    }
    modes.local_modes.set(LocalModes::ECHO, on);
    tcsetattr(&stdin, OptionalActions::Now, &modes).is_ok()
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
