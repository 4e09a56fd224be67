//! What a terminal would show of an output.
use std::collections::VecDeque;

/// How many of the last lines can still change: a program that redraws several lines moves the
/// cursor up to them.
const MAX_ROWS: usize = 64;
/// How many bytes of a line can still change. The beginning of a longer one is final.
const MAX_ROW_BYTES: usize = 32 * 1024;
/// How far to the right an escape sequence can move the cursor, in characters.
const MAX_COLUMN: usize = 1000;
/// How many bytes the parameters of an escape sequence have at most; one that has more is ignored.
const MAX_PARAMETERS: usize = 64;

/// Turns output into what a terminal would show of it, piece by piece, in bounded memory. So a
/// progress bar of 6,000 frames is one line, its last frame.
///
/// A carriage return goes back to the beginning of the line, what is printed then overwrites.
/// Backspaces, cursor movements and the erasing of lines act as they do on a terminal whose lines
/// do not wrap, and on which each character takes one column. Colours, titles and other sequences
/// leave nothing, and neither does what is drawn on the alternate screen, but a line that says so.
/// Tabs and NUL bytes stay, and so do bytes that are no UTF-8. A piece may end within a sequence or
/// a character.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The lines that can still change, at least one. All but the last have ended.
    rows: VecDeque<Row>,
    /// The line of the cursor.
    row: usize,
    /// The column of the cursor, in characters; it may be right of the end.
    column: usize,
    /// Row and column that were saved.
    saved: (usize, usize),
    /// Whether the first row is that of a screen that is drawn again and again.
    has_top: bool,
    /// What is final and was not taken yet.
    done: Vec<u8>,
    state: State,
    parameters: Vec<u8>,
    /// While the alternate screen is shown: how many bytes were drawn on it.
    alternate: Option<u64>,
}

#[derive(Debug, Default)]
struct Row {
    bytes: Vec<u8>,
    /// How many characters they are.
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Text,
    /// After an escape character.
    Escape,
    /// Within a sequence that ends with a letter: `ESC [ .. K`.
    Sequence,
    /// Within a title or another string, which ends with BEL or with `ESC \`.
    String,
    /// One more byte belongs to the sequence, as in `ESC ( B`.
    Designation,
}

/// Whether a byte is not the first one of its character.
fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !continues(**byte)).count()
}

impl Row {
    /// Where a character begins; the end, when there are fewer.
    fn offset(&self, column: usize) -> usize {
        if column >= self.length {
            return self.bytes.len();
        }
        let starts = self.bytes.iter().enumerate().filter(|(_, byte)| !continues(**byte));
        starts.map(|(at, _)| at).nth(column).unwrap_or(self.bytes.len())
    }

    /// Puts text in place of as many characters.
    fn write(&mut self, column: usize, text: &[u8], length: usize) {
        if column > self.length {
            self.bytes.resize(self.bytes.len() + column - self.length, b' ');
            self.length = column;
        }
        if column == self.length {
            self.bytes.extend_from_slice(text);
        } else {
            let replaced = self.offset(column)..self.offset(column + length);
            self.bytes.splice(replaced, text.iter().copied());
        }
        self.length = self.length.max(column + length);
    }

    fn truncate(&mut self, column: usize) {
        self.bytes.truncate(self.offset(column));
        self.length = self.length.min(column);
    }
}

impl Shown {
    pub(crate) fn new() -> Shown {
        Shown {
            rows: VecDeque::from([Row::default()]),
            row: 0,
            column: 0,
            saved: (0, 0),
            has_top: false,
            done: vec![],
            state: State::Text,
            parameters: vec![],
            alternate: None,
        }
    }

    /// Takes more output.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            let mut taken = 1;
            match (self.state, byte) {
                (_, 0x1b) => self.state = State::Escape,
                (State::Text, 0x20..=0x7e | 0x80.. | 0) => {
                    let is_text = |byte: &u8| (*byte >= 0x20 && *byte != 0x7f) || *byte == 0;
                    taken = bytes.iter().take_while(|byte| is_text(byte)).count();
                    self.print(&bytes[..taken]);
                }
                (State::Text, _) => self.control(byte),
                (State::Escape, _) => self.escape(byte),
                (State::Sequence, 0x20..=0x3f) => {
                    if self.parameters.len() <= MAX_PARAMETERS {
                        self.parameters.push(byte);
                    }
                }
                (State::Sequence, 0x40..=0x7e) => {
                    self.state = State::Text;
                    if self.parameters.len() <= MAX_PARAMETERS {
                        self.sequence(byte);
                    }
                }
                (State::Sequence, _) => self.control(byte),
                (State::String, 0x07) | (State::Designation, _) => self.state = State::Text,
                (State::String, _) => {
                    let ends = |byte: &u8| matches!(*byte, 0x07 | 0x1b);
                    taken = bytes.iter().position(ends).unwrap_or(bytes.len());
                }
            }
            bytes = &bytes[taken..];
        }
    }

    /// The text that will not change any more, since the last call.
    pub(crate) fn take_final(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.done)
    }

    /// The lines after that, which may still change.
    pub(crate) fn changeable(&self) -> Vec<u8> {
        let rows: Vec<&[u8]> = self.rows.iter().map(|row| row.bytes.as_slice()).collect();
        rows.join(&b'\n')
    }

    /// At the end of the output nothing changes any more; a note that is not empty follows it, on a
    /// line of its own.
    pub(crate) fn end(&mut self, note: &str) {
        self.leave_alternate();
        let rest = self.changeable();
        self.done.extend(rest);
        if !note.is_empty() {
            let in_line = self.rows.back().is_some_and(|row| !row.bytes.is_empty());
            let newline = if in_line { "\n" } else { "" };
            self.done.extend(format!("{newline}{note}\n").into_bytes());
        }
        *self = Shown { done: self.take_final(), ..Shown::new() };
    }

    fn print(&mut self, text: &[u8]) {
        if let Some(bytes) = &mut self.alternate {
            *bytes += text.len() as u64;
            return;
        }
        // In pieces, so that a long line takes no more memory than it may.
        for piece in text.chunks(MAX_ROW_BYTES) {
            let length = characters(piece);
            self.rows[self.row].write(self.column, piece, length);
            self.column += length;
            if self.rows[self.row].bytes.len() > MAX_ROW_BYTES {
                self.finish_beginning();
            }
        }
    }

    /// Makes the beginning of a line that is too long final, and all lines before it.
    fn finish_beginning(&mut self) {
        while self.row > 0 {
            self.finish_first();
        }
        let row = &mut self.rows[0];
        // Not within a character, of which the last bytes may still come.
        let end = row.bytes.iter().rposition(|byte| !continues(*byte)).unwrap_or(0);
        let rest = row.bytes.split_off(end);
        self.done.append(&mut row.bytes);
        *row = Row { length: characters(&rest), bytes: rest };
        self.column = row.length;
    }

    fn finish_first(&mut self) {
        if let Some(first) = self.rows.pop_front() {
            self.done.extend(first.bytes);
            self.done.push(b'\n');
        }
        self.row = self.row.saturating_sub(1);
        self.saved.0 = self.saved.0.saturating_sub(1);
    }

    fn control(&mut self, byte: u8) {
        match byte {
            _ if self.alternate.is_some() => {}
            b'\n' | 0x0b | 0x0c => {
                self.down(1);
                self.column = 0;
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' if self.column >= self.rows[self.row].length => self.print(b"\t"),
            b'\t' => self.column = (self.column / 8 + 1) * 8,
            _ => {}
        }
    }

    fn down(&mut self, rows: usize) {
        for _ in 0..rows.min(MAX_ROWS) {
            self.row += 1;
            if self.row == self.rows.len() {
                self.rows.push_back(Row::default());
            }
            if self.rows.len() > MAX_ROWS {
                self.finish_first();
            }
        }
    }

    fn escape(&mut self, byte: u8) {
        self.state = match byte {
            b'[' => {
                self.parameters.clear();
                State::Sequence
            }
            b']' | b'P' | b'X' | b'^' | b'_' => State::String,
            b' ' | b'#' | b'%' | b'('..=b'/' => State::Designation,
            _ => State::Text,
        };
        match byte {
            b'7' => self.saved = (self.row, self.column),
            b'8' => (self.row, self.column) = (self.saved.0.min(self.rows.len() - 1), self.saved.1),
            b'D' => self.down(1),
            b'E' => self.control(b'\n'),
            b'M' => self.row = self.row.saturating_sub(1),
            b'c' => self.clear(),
            _ => {}
        }
    }

    /// Carries out a sequence that ends with this byte.
    fn sequence(&mut self, end: u8) {
        let parameters = String::from_utf8_lossy(&self.parameters).into_owned();
        let parameter = |index: usize| {
            let given = parameters.split(';').nth(index).unwrap_or_default();
            given.parse::<usize>().unwrap_or(0)
        };
        let (mode, count) = (parameter(0), parameter(0).max(1));
        if matches!(&*parameters, "?47" | "?1047" | "?1049") {
            match end {
                b'h' if self.alternate.is_none() => self.alternate = Some(0),
                b'l' => self.leave_alternate(),
                _ => {}
            }
        }
        if self.alternate.is_some() || parameters.starts_with(['?', '>', '<', '=']) {
            return;
        }
        match end {
            b'A' => self.row = self.row.saturating_sub(count),
            b'B' => self.down(count),
            b'C' => self.move_to(self.column.saturating_add(count)),
            b'D' => self.column = self.column.saturating_sub(count),
            b'E' => {
                self.down(count);
                self.column = 0;
            }
            b'F' => (self.row, self.column) = (self.row.saturating_sub(count), 0),
            b'G' | b'`' => self.move_to(count - 1),
            b'H' | b'f' => {
                if !self.has_top {
                    self.clear();
                }
                self.row = 0;
                self.down(count - 1);
                self.move_to(parameter(1).max(1) - 1);
            }
            b'J' if mode >= 2 => {
                let (row, column) = (self.row, self.column);
                self.clear();
                self.down(row);
                self.column = column;
            }
            b'J' if mode == 0 => {
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            b'K' if mode == 0 => self.rows[self.row].truncate(self.column),
            b'K' if mode == 1 => {
                let blank = self.column.min(self.rows[self.row].length);
                self.rows[self.row].write(0, &vec![b' '; blank], blank);
            }
            b'K' => self.rows[self.row] = Row::default(),
            b's' => self.saved = (self.row, self.column),
            b'u' => (self.row, self.column) = (self.saved.0.min(self.rows.len() - 1), self.saved.1),
            _ => {}
        }
    }

    fn move_to(&mut self, column: usize) {
        self.column = column.min(MAX_COLUMN.max(self.rows[self.row].length));
    }

    /// Begins an empty screen. What was printed before the first one stays; one after another takes
    /// the other's place.
    fn clear(&mut self) {
        if !self.has_top {
            while self.rows.len() > 1 {
                self.finish_first();
            }
            if !self.rows[0].bytes.is_empty() {
                self.finish_first();
            }
        }
        self.has_top = true;
        self.rows = VecDeque::from([Row::default()]);
        (self.row, self.column, self.saved) = (0, 0, (0, 0));
    }

    fn leave_alternate(&mut self) {
        if let Some(bytes) = self.alternate.take()
            && bytes > 0
        {
            let note = format!("[{bytes} bytes drawn on the alternate screen are left out]");
            if self.column > 0 {
                self.control(b'\n');
            }
            self.print(note.as_bytes());
            self.control(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(output: impl AsRef<[u8]>) -> String {
        let whole = in_pieces(output.as_ref(), usize::MAX);
        assert_eq!(in_pieces(output.as_ref(), 1), whole, "byte by byte");
        whole
    }

    fn in_pieces(output: &[u8], size: usize) -> String {
        let mut shown = Shown::new();
        let mut all = vec![];
        for piece in output.chunks(size) {
            shown.push(piece);
            all.extend(shown.take_final());
        }
        shown.end("");
        all.extend(shown.take_final());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "a", "a\n", "a\nb", "\n\n a\t b\n\n", "äöü 字 👩‍💻\n", "a\0b\tc", "x\n\n\n"]
        {
            assert_eq!(shown(text), text);
        }
        let many: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(in_pieces(many.as_bytes(), 777), many);
    }

    #[test]
    fn returns_overwrite_and_line_ends_of_windows_do_not() {
        for (output, expected) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("10%\r50%\r100%\n", "100%\n"),
            ("long line\rshort\n", "shortline\n"),
            ("äöü\rx\n", "xöü\n"),
            ("abc\rä\n", "äbc\n"),
            ("ab\x08c\n", "ac\n"),
            ("x\x08\x08\x08y\n", "y\n"),
            ("abc\r\tx\n", "abc     x\n"),
            ("bell\x07 del\x7f\n", "bell del\n"),
        ] {
            assert_eq!(shown(output), expected, "{output:?}");
        }
    }

    #[test]
    fn six_thousand_frames_are_one_line_and_what_is_between_them_stays() {
        let frames = |from: u32| (from..from + 3000).map(|n| format!("\r{n:4} [=====>    ]"));
        let output: String = frames(0)
            .chain(["\nerror: the real cause\n".to_string()])
            .chain(frames(3000))
            .chain(["\n".into()])
            .collect();
        let expected = "2999 [=====>    ]\nerror: the real cause\n5999 [=====>    ]\n";
        assert_eq!(shown(output), expected);
    }

    #[test]
    fn lines_are_erased_and_redrawn() {
        for (output, expected) in [
            ("abc\r\x1b[Kx\n", "x\n"),
            ("abc\x1b[2K\x1b[1Gx\n", "x\n"),
            ("abcdef\x1b[3D\x1b[1Kx\n", "   xef\n"),
            ("a\nb\nc\n\x1b[3A1\n2\n3\n", "1\n2\n3\n"),
            ("a\nb\n\x1b[1A\x1b[2Kdone\n", "a\ndone\n"),
            ("a\nb\nc\n\x1b[3Fx\x1b[J\n", "x\n"),
            ("a\x1b[5Cb\n", "a     b\n"),
            ("a\x1b[Bb\n", "a\n b\n"),
            ("a\nb\x1b[s\x1b[1A!\x1b[u?\n", "a!\nb?\n"),
            ("a\nb\x1b7\x1bM!\x1b8?\n", "a!\nb?\n"),
        ] {
            assert_eq!(shown(output), expected, "{output:?}");
        }
        // Three lines, drawn 2000 times, as docker and npm do.
        let frame = |n: u32| format!("\x1b[2K\ra {n}\n\x1b[2K\rb {n}\n\x1b[2K\rc {n}\n\x1b[3A");
        let frames: String = (0..2000).map(frame).collect();
        assert_eq!(
            shown(format!("begin\n{frames}\x1b[3Bend\n")),
            "begin\na 1999\nb 1999\nc 1999\nend\n"
        );
    }

    #[test]
    fn sequences_leave_nothing() {
        for (output, expected) in [
            ("\x1b[31mred\x1b[0m\n", "red\n"),
            ("\x1b[38;2;1;2;3mx\x1b[m\x1b[?25l\x1b[?25h\n", "x\n"),
            ("\x1b]0;title\x07a\n", "a\n"),
            ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\\n", "link\n"),
            ("\x1bP1$r0m\x1b\\a\x1b(B\x1b)0b\x1b=\n", "ab\n"),
            ("a\x1b[", "a"),
            ("a\x1b]0;never ends", "a"),
            ("a\x1b[1\x1b[31mb\n", "ab\n"),
        ] {
            assert_eq!(shown(output), expected, "{output:?}");
        }
    }

    #[test]
    fn screens_drawn_again_and_again_are_the_last_one() {
        let frames: String = (0..500).map(|n| format!("\x1b[H\x1b[2Jcpu {n}\nmem {n}\n")).collect();
        assert_eq!(shown(format!("begin\n{frames}")), "begin\ncpu 499\nmem 499\n");
        let frames: String =
            (0..500).map(|n| format!("\x1b[1;1Hcpu {n}\n\x1b[2;3Hmem\n")).collect();
        assert_eq!(shown(format!("begin{frames}")), "begin\ncpu 499\n  mem\n");
        let output = "a\n\x1b[?1049h\x1b[Hall of vim\x1b[?1049lb\n";
        let note = "[10 bytes drawn on the alternate screen are left out]";
        assert_eq!(shown(output), format!("a\n{note}\nb\n"));
        assert_eq!(shown("a\x1b[?1049hall of vim"), format!("a\n{note}\n"));
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut shown = Shown::new();
        let (mut final_bytes, piece) = (0, "ä".repeat(10_000));
        for _ in 0..1000 {
            shown.push(piece.as_bytes());
            let text = shown.take_final();
            final_bytes += String::from_utf8(text).unwrap().len();
            assert!(shown.changeable().len() <= MAX_ROW_BYTES);
        }
        shown.end("");
        assert_eq!(final_bytes + shown.take_final().len(), 20_000_000);
        shown.push(b"\x1b]0;");
        shown.push(&[b'x'; 1_000_000]);
        shown.push(&[b"\x1b[".as_slice(), &[b'1'; 1_000_000]].concat());
        assert!(shown.parameters.capacity() < 1000);
        shown.push(b"m\x1b[999999999999999999999C\x1b[4000000000B\x1b[99999999Gx");
        assert!(shown.changeable().len() < MAX_ROWS + MAX_COLUMN + 2);
    }

    /// Whatever the bytes are, and however they are cut: the same text, and no panic.
    #[test]
    fn pieces_do_not_matter() {
        let long = std::env::var("LONG").is_ok_and(|value| value == "1");
        let (runs, seed) = (if long { 200_000 } else { 2000 }, getrandom::u64().unwrap());
        let mut state = seed | 1;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let parts: [&[u8]; 22] = [
            b"a",
            b"text",
            "ä字".as_bytes(),
            b"\n",
            b"\r",
            b"\r\n",
            b"\x08",
            b"\t",
            b"\x1b[A",
            b"\x1b[2B",
            b"\x1b[3C",
            b"\x1b[K",
            b"\x1b[1K",
            b"\x1b[2K",
            b"\x1b[J",
            b"\x1b[2J",
            b"\x1b[H",
            b"\x1b[5;9H",
            b"\x1b7",
            b"\x1b8",
            b"\xff\x80",
            b"\x1b[?1049h",
        ];
        for run in 0..runs {
            let output: Vec<u8> =
                (0..random(60)).flat_map(|_| parts[random(parts.len())].to_vec()).collect();
            let pieces = |size: usize| {
                let mut shown = Shown::new();
                output.chunks(size).for_each(|piece| shown.push(piece));
                shown.end("");
                shown.take_final()
            };
            let whole = pieces(usize::MAX);
            assert_eq!(pieces(1 + random(7)), whole, "seed {seed}, run {run}: {output:?}");
        }
    }
}
