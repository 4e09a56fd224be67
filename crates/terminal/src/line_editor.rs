//! Standard input as a person types it: with an editor on a terminal, as plain lines elsewhere.
//!
//! One thread reads, a line per [`Wish`], so that a wish can be dropped without losing what was
//! typed: it goes to the next one. On a terminal, a wish that is taken back leaves the half-typed
//! line in the editor.
use crate::{
    editor::{Draft, Editor},
    stdin::{Lines, TypedAhead},
};
use std::{
    collections::VecDeque,
    io::IsTerminal,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::timeout};

/// How soon the thread notices that its wish was taken back.
const POLL: Duration = Duration::from_millis(25);
/// How long it may take: the editor asks the terminal three times where its cursor is, and one that
/// has gone away can hold the thread for ever.
const TAKE_BACK: Duration = Duration::from_secs(2);

/// What came of a wish.
#[derive(Debug, PartialEq)]
pub(crate) enum Typed {
    /// A line, without its end.
    Line(String),
    /// A line that was typed before it was asked for.
    Ahead(String),
    /// Ctrl+C in an empty line.
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
    /// What Tab completes after a colon or a slash.
    pub commands: Vec<String>,
    /// Where lines are kept from run to run; made readable by its owner alone.
    pub history: Option<PathBuf>,
    /// Until when Ctrl+C leaves whatever is in the line: it has just stopped a turn.
    pub leaves_until: Option<Instant>,
}

/// What was typed while nobody asked.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Waiting {
    /// Whole lines, which the next prompt gets, or the turn.
    pub lines: Vec<String>,
    /// The beginning of another one.
    pub draft: String,
}

/// Standard input, and the one thread that reads it.
pub(crate) struct LineEditor {
    wishes: std_mpsc::Sender<Wish>,
    state: tokio::sync::Mutex<State>,
    take_back: Arc<AtomicBool>,
    typed_ahead: Arc<TypedAhead>,
    /// The line that the editor was taken away from.
    draft: Arc<Mutex<Draft>>,
    terminal: bool,
    editor: bool,
}

struct State {
    typed: mpsc::UnboundedReceiver<Typed>,
    /// Whether the thread is at work on a wish.
    open: bool,
    /// What came for nobody.
    kept: VecDeque<Typed>,
    /// The half-typed line that stood there before a question.
    aside: String,
}

impl LineEditor {
    /// Starts the thread; nothing is read before the first wish. There should be one in a program.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdin().is_terminal();
        // The editor asks the terminal for the cursor on one stream and paints on another.
        let editor = terminal
            && std::io::stdout().is_terminal()
            && std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (wishes, wanted) = std_mpsc::channel();
        let (tell, typed) = mpsc::unbounded_channel();
        let take_back = Arc::new(AtomicBool::new(false));
        let (flag, typed_ahead) = (take_back.clone(), Arc::new(TypedAhead::default()));
        let (ahead, with_editor) = (typed_ahead.clone(), editor);
        let draft = Arc::new(Mutex::new(Draft::default()));
        let editor_draft = draft.clone();
        // No tokio thread: one that waits for a line would hold up the end of the program.
        std::thread::spawn(move || {
            let mut reader = Reader {
                editor: with_editor.then(|| Editor {
                    draft: editor_draft,
                    take_back: flag.clone(),
                    poll: POLL,
                }),
                take_back: flag,
                typed_ahead: ahead,
                lines: Lines::default(),
            };
            while let Ok(wish) = wanted.recv() {
                let typed = match terminal {
                    true => reader.at_terminal(&wish),
                    false => reader.lines.next(&mut std::io::stdin().lock()),
                };
                if tell.send(typed).is_err() {
                    break;
                }
            }
        });
        let state = State { typed, open: false, kept: VecDeque::new(), aside: String::new() };
        LineEditor { wishes, state: state.into(), take_back, typed_ahead, draft, terminal, editor }
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
        // A line that was typed before a question appeared is no answer to it.
        if !self.terminal || matches!(wish, Wish::Prompt(_)) {
            self.collect(&mut state);
            if let Some(typed) = state.kept.pop_front() {
                return typed;
            }
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

    /// What stood in the editor is from now on typed without one: a turn begins.
    pub(crate) fn draft_leaves_editor(&self) {
        let draft = std::mem::take(&mut *self.draft.lock().unwrap());
        self.typed_ahead.prepend(&draft.text);
    }

    async fn end_open(&self, state: &mut State) {
        if !state.open {
            return;
        }
        self.take_back.store(true, Relaxed);
        if let Ok(Some(Typed::Line(line) | Typed::Ahead(line))) =
            timeout(TAKE_BACK, state.typed.recv()).await
        {
            state.kept.push_back(Typed::Ahead(line));
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
        self.state.lock().await.kept.push_front(Typed::Ahead(line));
    }

    /// What was typed while nobody asked; nothing while somebody does.
    pub(crate) fn waiting(&self) -> Waiting {
        let Ok(mut state) = self.state.try_lock() else { return Waiting::default() };
        self.collect(&mut state);
        let line = |typed: &Typed| match typed {
            Typed::Ahead(line) => Some(line.clone()),
            _ => None,
        };
        Waiting {
            lines: state.kept.iter().filter_map(line).collect(),
            draft: self.typed_ahead.draft(),
        }
    }

    /// The first line typed while nobody asked, if it is one that is wanted.
    pub(crate) fn typed(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let mut state = self.state.try_lock().ok()?;
        self.collect(&mut state);
        match state.kept.front() {
            Some(Typed::Ahead(line)) if wanted(line) => {}
            _ => return None,
        }
        match state.kept.pop_front() {
            Some(Typed::Ahead(line)) => Some(line),
            _ => None,
        }
    }

    /// Before a question: what was typed by then is for others.
    pub(crate) async fn set_aside(&self) {
        let mut state = self.state.lock().await;
        self.collect(&mut state);
        state.aside = self.typed_ahead.take_draft();
    }

    /// Makes of the lines that wait a draft for the editor: they were for a turn that was stopped.
    pub(crate) async fn lines_to_draft(&self) {
        let mut state = self.state.lock().await;
        self.collect(&mut state);
        let mut lines = String::new();
        while let Some(Typed::Ahead(line)) = state.kept.front() {
            lines += &format!("{line}\n");
            state.kept.pop_front();
        }
        if self.typed_ahead.draft().is_empty() {
            lines.pop();
        }
        self.typed_ahead.prepend(&lines);
    }

    /// Takes over what a person has typed while nobody asked.
    fn collect(&self, state: &mut State) {
        if !self.terminal || state.open {
            return;
        }
        self.typed_ahead.prepend(&std::mem::take(&mut state.aside));
        while state.kept.back() != Some(&Typed::End)
            && let Some(typed) = self.typed_ahead.line(Duration::ZERO)
        {
            match typed {
                Typed::Line(line) if line.trim().is_empty() => {}
                Typed::Line(line) => state.kept.push_back(Typed::Ahead(line.trim_end().into())),
                other => state.kept.push_back(other),
            }
        }
    }
}

/// The thread's own.
struct Reader {
    editor: Option<Editor>,
    take_back: Arc<AtomicBool>,
    typed_ahead: Arc<TypedAhead>,
    lines: Lines,
}

impl Reader {
    fn at_terminal(&mut self, wish: &Wish) -> Typed {
        if let (Wish::Prompt(look), Some(editor)) = (wish, &mut self.editor) {
            // The editor would take whole lines for one long paste.
            return match self.typed_ahead.line(Duration::ZERO) {
                Some(Typed::Line(line)) => Typed::Ahead(line),
                Some(other) => other,
                None => editor.edit(look, &self.typed_ahead.take_draft()),
            };
        }
        while !self.take_back.swap(false, Relaxed) {
            if let Some(typed) = self.typed_ahead.line(POLL) {
                return typed;
            }
        }
        Typed::TakenBack
    }
}
