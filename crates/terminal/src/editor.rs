//! The line editor of a terminal.
use crate::line_editor::{Look, Typed};
use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, EditCommand, EditMode, Emacs,
    FileBackedHistory, Hinter, History, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, ReedlineRawEvent, Signal,
    SimpleMatchHighlighter, Span, Suggestion as Completion, ValidationResult, Validator,
    default_emacs_keybindings,
};
use rustix::fs::OFlags;
use std::{
    borrow::Cow,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How many lines the history keeps.
const HISTORY: usize = 1000;
/// How large the file of the history may be, in bytes, since it is read whole.
const MAX_HISTORY_BYTES: u64 = 16 * 1024 * 1024;

/// A half-typed line, and where the cursor is in it, in bytes.
#[derive(Default)]
pub(crate) struct Draft {
    pub text: String,
    pub cursor: usize,
}

/// Lets a person edit a line.
pub(crate) struct Editor {
    pub draft: Arc<Mutex<Draft>>,
    /// When set, the editor ends at once, and keeps the line as its draft.
    pub take_back: Arc<AtomicBool>,
    /// How soon it notices that.
    pub poll: Duration,
}

impl Editor {
    /// A line from an editor that is made for it: one that was interrupted would paint over what
    /// was written since then.
    /// `typed` was typed before, and comes first.
    pub(crate) fn edit(&mut self, look: &Look, typed: &str) -> Typed {
        let hint = Arc::new(Mutex::new(look.suggestion.clone()));
        let interrupted = Arc::new(AtomicBool::new(false));
        let keys = Keys::new(interrupted.clone(), look.leaves_until);
        let mut editor = self.editor(look, keys, hint.clone());
        let Draft { mut text, cursor } = std::mem::take(&mut *self.draft.lock().unwrap());
        text.insert_str(cursor, typed);
        let position = cursor + typed.len();
        if !text.is_empty() {
            let to_cursor = EditCommand::MoveToPosition { position, select: false };
            editor.run_edit_commands(&[EditCommand::InsertString(text), to_cursor]);
        }
        match editor.read_line(&PromptText(&look.prompt)) {
            Ok(Signal::Success(line)) => {
                // The editor itself writes its history only when it is dropped.
                let _ = editor.sync_history();
                if line.trim().is_empty() && !look.suggestion.is_empty() {
                    // The suggestion comes in place of the empty line.
                    eprint!("\x1b[A\x1b[2K");
                }
                Typed::Line(line.replace("\\\n", "\n"))
            }
            Ok(Signal::ExternalBreak(text)) => {
                let cursor = editor.current_insertion_point();
                *self.draft.lock().unwrap() = Draft { text, cursor };
                self.erase(&mut editor, &hint);
                Typed::TakenBack
            }
            Ok(Signal::CtrlC) => Typed::Interrupt,
            Ok(Signal::CtrlD) if interrupted.load(Relaxed) => Typed::Interrupt,
            // The terminal is gone, or Ctrl+D.
            _ => Typed::End,
        }
    }

    /// Erases the prompt and the line, however many rows they have, and leaves the cursor where
    /// they began: the editor paints nothing in their place, and is interrupted at once.
    fn erase(&self, editor: &mut Reedline, hint: &Mutex<String>) {
        hint.lock().unwrap().clear();
        editor.run_edit_commands(&[EditCommand::Clear]);
        self.take_back.store(true, Relaxed);
        let _ = editor.read_line(&PromptText(""));
        self.take_back.store(false, Relaxed);
    }

    fn editor(&self, look: &Look, keys: Keys, hint: Arc<Mutex<String>>) -> Reedline {
        let mut editor = Reedline::create()
            .with_edit_mode(Box::new(keys))
            .with_validator(Box::new(Continued))
            // In the terminal's own colour, whatever its background is.
            .with_highlighter(Box::new(SimpleMatchHighlighter::default()))
            .with_completer(Box::new(Commands(look.commands.clone())))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu())))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_hinter(Box::new(Suggestion { text: hint, shown: String::new() }))
            .with_ansi_colors(look.colour)
            .with_break_signal(self.take_back.clone())
            .with_poll_interval(self.poll)
            .use_bracketed_paste(true);
        // A history that can't be written is no reason not to talk.
        if let Some(history) = look.history.as_deref().and_then(history) {
            editor = editor.with_history(Box::new(history));
        }
        editor
    }
}

/// The keys of Emacs, and Ctrl+C as described at [`Keys::interrupt`].
struct Keys {
    emacs: Emacs,
    /// Whether of the two keys that can leave the newest was Ctrl+C.
    interrupted: Arc<AtomicBool>,
    leaves_until: Option<Instant>,
}

impl Keys {
    fn new(interrupted: Arc<AtomicBool>, leaves_until: Option<Instant>) -> Self {
        let mut keys = default_emacs_keybindings();
        keys.add_binding(
            KeyModifiers::ALT,
            KeyCode::Enter,
            ReedlineEvent::Edit(vec![EditCommand::InsertNewline]),
        );
        keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('c'), Keys::interrupt());
        // Ctrl+D typed just before the editor takes the terminal arrives as a zero byte, which is
        // read as this.
        keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char(' '), ReedlineEvent::CtrlD);
        let complete = vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext];
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
        Keys { emacs: Emacs::new(keys), interrupted, leaves_until }
    }

    /// Leaves an empty line, as Ctrl+D does, and else clears it; ends a search in the history, in
    /// which `Multiple` does nothing.
    fn interrupt() -> ReedlineEvent {
        let clear = ReedlineEvent::Edit(vec![EditCommand::Clear]);
        let leave_or_clear = ReedlineEvent::Multiple(vec![ReedlineEvent::CtrlD, clear]);
        ReedlineEvent::UntilFound(vec![leave_or_clear, ReedlineEvent::Esc])
    }
}

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let event = self.emacs.parse_event(event);
        if event == Keys::interrupt() && self.leaves_until.is_some_and(|end| Instant::now() < end) {
            return ReedlineEvent::CtrlC;
        }
        if event == ReedlineEvent::CtrlD {
            self.interrupted.store(false, Relaxed);
        } else if event == Keys::interrupt() {
            self.interrupted.store(true, Relaxed);
        }
        event
    }

    fn edit_mode(&self) -> PromptEditMode {
        self.emacs.edit_mode()
    }
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

/// The name of the menu of completions.
const MENU: &str = "completions";

/// In the terminal's own colour.
fn menu() -> ColumnarMenu {
    let (plain, chosen) = (Color::Default.normal(), Color::Default.reverse());
    ColumnarMenu::default()
        .with_name(MENU)
        .with_marker("")
        .with_text_style(plain)
        .with_match_text_style(plain)
        .with_selected_text_style(chosen)
        .with_selected_match_text_style(chosen)
}

/// Completes the first word of a line when it begins as a command does.
struct Commands(Vec<String>);

impl Completer for Commands {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let begun = line[..pos].strip_prefix([':', '/']);
        let fitting =
            self.0.iter().filter(|name| begun.is_some_and(|begun| name.starts_with(begun)));
        let suggestions: Vec<Completion> = fitting
            .map(|name| Completion {
                value: name.clone(),
                span: Span::new(1, pos),
                append_whitespace: true,
                ..Completion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
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
            shown if colour => format!("\x1b[2m{shown}   (Enter)\x1b[0m"),
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

struct PromptText<'a>(&'a str);

impl Prompt for PromptText<'_> {
    fn get_prompt_color(&self) -> Color {
        Color::Default
    }
    fn get_prompt_multiline_color(&self) -> Color {
        Color::Default
    }
    fn get_indicator_color(&self) -> Color {
        Color::Default
    }
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
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
