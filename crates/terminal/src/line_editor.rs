//! Standard input as a person types it: with an editor on a terminal, as plain lines elsewhere.
//!
//! One thread reads, a line per [`Wish`], so that a wish can be dropped without losing what was
//! typed: it goes to the next one. On a terminal, a wish that is taken back leaves the half-typed
//! line in the editor.
use reedline::{
    EditCommand, Emacs, FileBackedHistory, Hinter, History, KeyCode, KeyModifiers, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, Signal, ValidationResult,
    Validator, default_emacs_keybindings,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};
use std::{
    borrow::Cow,
    fs::OpenOptions,
    io::{BufRead, IsTerminal, Read, Stdin},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc as std_mpsc,
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// How soon the thread notices that its wish was taken back.
const POLL: Duration = Duration::from_millis(25);
/// How long it may take: a terminal that has gone away can hold the thread for ever.
const TAKE_BACK: Duration = Duration::from_millis(300);
/// How many lines the history keeps.
const HISTORY: usize = 1000;
/// How large the file of the history may be, in bytes, since it is read whole.
const MAX_HISTORY_BYTES: u64 = 16 * 1024 * 1024;
/// How long a line may be, in bytes: more than any API takes as one request. A device has no end.
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// What came of a wish.
#[derive(Debug, PartialEq)]
pub(crate) enum Typed {
    /// A line, without its end.
    Line(String),
    /// A line that was typed before it was asked for.
    Ahead(String),
    /// Ctrl+C while editing.
    Interrupt,
    /// Ctrl+D, or the end of a pipe.
    End,
    /// Standard input cannot be read, or not as text; why. It stays so.
    Unreadable(String),
    /// The wish was taken back; what was typed stays for the next one.
    TakenBack,
}

/// How the next line is asked for.
pub(crate) enum Wish {
    /// With an editor, on a terminal; as a plain line elsewhere.
    Prompt(Look),
    /// As a plain line: an answer.
    Answer,
}

/// How the prompt looks.
#[derive(Clone, Default)]
pub(crate) struct Look {
    /// Stands before the line.
    pub prompt: String,
    /// Shown in an empty line.
    pub suggestion: String,
    /// Whether colours may be used.
    pub colour: bool,
    /// Where lines are kept from run to run; made readable by its owner alone.
    pub history: Option<PathBuf>,
}

/// Standard input, and the one thread that reads it.
pub(crate) struct LineEditor {
    wishes: std_mpsc::Sender<Wish>,
    state: tokio::sync::Mutex<State>,
    take_back: Arc<AtomicBool>,
    terminal: bool,
    editor: bool,
}

struct State {
    typed: mpsc::UnboundedReceiver<Typed>,
    /// Whether the thread is at work on a wish.
    open: bool,
    /// Lines that came for nobody.
    kept: std::collections::VecDeque<String>,
}

impl LineEditor {
    /// Starts the thread; nothing is read before the first wish. There should be one in a program.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdin().is_terminal();
        // The editor asks the terminal for the cursor on one stream and paints on another.
        let editor = terminal && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let (wishes, wanted) = std_mpsc::channel();
        let (tell, typed) = mpsc::unbounded_channel();
        let take_back = Arc::new(AtomicBool::new(false));
        let flag = take_back.clone();
        // No tokio thread: one that waits for a line would hold up the end of the program.
        std::thread::spawn(move || {
            let mut reader = Reader {
                with_editor: editor,
                editor: None,
                take_back: flag,
                lines: Lines::default(),
            };
            while let Ok(wish) = wanted.recv() {
                let typed = match terminal {
                    true => reader.at_terminal(wish),
                    false => reader.lines.next(&mut std::io::stdin().lock()),
                };
                if tell.send(typed).is_err() {
                    break;
                }
            }
        });
        let state = State { typed, open: false, kept: Default::default() };
        LineEditor { wishes, state: state.into(), take_back, terminal, editor }
    }

    /// Whether a person types.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether the prompt is an editor, which shows itself; elsewhere it is a plain line.
    pub(crate) fn has_editor(&self) -> bool {
        self.editor
    }

    /// The next line. Safe to drop: what it would have read goes to the next wish.
    pub(crate) async fn wish(&self, wish: Wish) -> Typed {
        let mut state = self.state.lock().await;
        if self.terminal {
            self.end_open(&mut state).await;
        }
        if let Some(line) = state.kept.pop_front() {
            return Typed::Ahead(line);
        }
        if !state.open && self.wishes.send(wish).is_err() {
            return Typed::End;
        }
        state.open = true;
        let typed = state.typed.recv().await.unwrap_or(Typed::End);
        state.open = false;
        typed
    }

    /// Ends a wish that was dropped, so that others may write to the screen.
    pub(crate) async fn take_back(&self) {
        if self.terminal {
            self.end_open(&mut *self.state.lock().await).await;
        }
    }

    async fn end_open(&self, state: &mut State) {
        if !state.open {
            return;
        }
        self.take_back.store(true, Relaxed);
        if let Ok(Some(Typed::Line(line) | Typed::Ahead(line))) =
            timeout(TAKE_BACK, state.typed.recv()).await
        {
            state.kept.push_back(line);
        }
        self.take_back.store(false, Relaxed);
        state.open = false;
    }

    /// Makes the prompt that is open return, with [`Typed::TakenBack`], to whoever waits for it.
    pub(crate) fn interrupt(&self) {
        self.take_back.store(true, Relaxed);
    }

    /// Gives a line back that was meant for somebody else.
    pub(crate) async fn keep(&self, line: String) {
        self.state.lock().await.kept.push_front(line);
    }

    /// A line typed while nobody asked, if there is one.
    pub(crate) fn typed(&self) -> Option<String> {
        let mut state = self.state.try_lock().ok()?;
        if let Some(line) = state.kept.pop_front() {
            return Some(line);
        }
        let stdin = std::io::stdin();
        if !self.terminal || state.open || !readable(&stdin, Duration::ZERO) {
            return None;
        }
        let mut line = String::new();
        stdin.lock().read_line(&mut line).ok().filter(|n| *n > 0)?;
        Some(line.trim_end().into())
    }
}

/// The thread's own.
struct Reader {
    with_editor: bool,
    editor: Option<Editor>,
    take_back: Arc<AtomicBool>,
    lines: Lines,
}

struct Editor {
    line: Reedline,
    suggestion: Arc<Mutex<String>>,
}

/// The lines of a pipe or a file.
#[derive(Default)]
struct Lines {
    /// How many were read.
    read: usize,
    unreadable: Option<String>,
}

impl Lines {
    /// The next line of this input.
    fn next(&mut self, input: &mut impl BufRead) -> Typed {
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

impl Reader {
    fn at_terminal(&mut self, wish: Wish) -> Typed {
        match wish {
            // Lines that were typed meanwhile wait in the terminal. The editor would take them for
            // one long paste.
            Wish::Prompt(_) if readable(&std::io::stdin(), Duration::ZERO) => match self.line() {
                Typed::Line(line) => Typed::Ahead(line),
                other => other,
            },
            Wish::Prompt(look) if self.with_editor => self.edit(look),
            _ => {
                while !self.take_back.swap(false, Relaxed) {
                    if readable(&std::io::stdin(), POLL) {
                        return self.line();
                    }
                }
                Typed::TakenBack
            }
        }
    }

    /// A line that a person typed.
    fn line(&mut self) -> Typed {
        let mut line = Vec::new();
        match std::io::stdin().lock().read_until(b'\n', &mut line) {
            Ok(n) if n > 0 => {
                Typed::Line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).into())
            }
            _ => Typed::End,
        }
    }

    fn edit(&mut self, look: Look) -> Typed {
        let editor = self.editor.get_or_insert_with(|| editor(&look, self.take_back.clone()));
        *editor.suggestion.lock().unwrap() = look.suggestion;
        match editor.line.read_line(&PromptText(look.prompt)) {
            Ok(Signal::Success(line)) => {
                // The editor itself writes its history only when it is dropped, and it may never
                // be.
                let _ = editor.line.sync_history();
                Typed::Line(line.replace("\\\n", "\n"))
            }
            Ok(Signal::CtrlC) => Typed::Interrupt,
            Ok(Signal::ExternalBreak(_)) => Typed::TakenBack,
            // The terminal is gone, or Ctrl+D.
            _ => Typed::End,
        }
    }
}

fn readable(stdin: &Stdin, wait: Duration) -> bool {
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    let mut fds = [PollFd::new(stdin, PollFlags::IN)];
    poll(&mut fds, Some(&wait)).is_ok_and(|n| n > 0)
}

fn editor(look: &Look, take_back: Arc<AtomicBool>) -> Editor {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::ALT,
        KeyCode::Enter,
        ReedlineEvent::Edit(vec![EditCommand::InsertNewline]),
    );
    let suggestion = Arc::new(Mutex::new(String::new()));
    let mut line = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Continued))
        .with_hinter(Box::new(Suggestion { text: suggestion.clone(), shown: String::new() }))
        .with_ansi_colors(look.colour)
        .with_break_signal(take_back)
        .with_poll_interval(POLL)
        .use_bracketed_paste(true);
    // A history that can't be written is no reason not to talk.
    if let Some(history) = look.history.as_deref().and_then(history) {
        line = line.with_history(Box::new(history));
    }
    Editor { line, suggestion }
}

fn history(file: &Path) -> Option<FileBackedHistory> {
    std::fs::create_dir_all(file.parent()?).ok()?;
    // Prompts are nobody else's business. Whatever stands there, opening it must not wait.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(flags.bits() as i32);
    let metadata = options.open(file).ok()?.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_HISTORY_BYTES {
        return None;
    }
    FileBackedHistory::with_file(HISTORY, file.into()).ok()
}

/// A line that ends with a backslash is continued on the next one.
struct Continued;

impl Validator for Continued {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.ends_with('\\') { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

/// What Enter plays, in grey, while the line is empty.
struct Suggestion {
    text: Arc<Mutex<String>>,
    shown: String,
}

impl Hinter for Suggestion {
    fn handle(
        &mut self,
        line: &str,
        _pos: usize,
        _history: &dyn History,
        colour: bool,
        _cwd: &str,
    ) -> String {
        self.shown =
            if line.is_empty() { self.text.lock().unwrap().clone() } else { String::new() };
        match &*self.shown {
            "" => String::new(),
            shown if colour => format!("\x1b[90m{shown}   (Enter)\x1b[0m"),
            shown => format!("{shown}   (Enter)"),
        }
    }

    fn complete_hint(&self) -> String {
        self.shown.clone()
    }

    fn next_hint_token(&self) -> String {
        self.shown.split_inclusive(' ').next().unwrap_or("").into()
    }
}

struct PromptText(String);

impl Prompt for PromptText {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }
    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "".into()
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "... ".into()
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(history: {}) ", search.term).into()
    }
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
