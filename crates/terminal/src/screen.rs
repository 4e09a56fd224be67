//! The coloured terminal: answers on standard output, progress and questions on standard error.
mod arriving;
mod hold;
mod status;

use crate::{
    commands::Meaning,
    diff,
    line_editor::{LineEditor, Look, Typed, Wish},
    output::{Output, To},
    paint::{Colour, paint},
    question,
    running::Running,
    speaker::Speakers,
    stdin::{Input, InputModes, MarkedPaste},
    tally::Tally,
    text::{CALL, CHILD_RESULT, ERROR, MAX_LINE_CHARS, RESULT, clipped, escaped, wrapped},
};
use hold::{Asked, Hold};
use rungs_core::{Answer, CancellationToken, Context, Event, Question, Ui, client::Usage};
use rustix::termios::tcgetwinsize;
use std::{
    io::ErrorKind,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// The terminal. Clones are the same one.
#[derive(Clone)]
pub struct Screen(Arc<Inner>);

struct Inner {
    editor_thread: LineEditor,
    output: Mutex<Output>,
    /// Of the requests that were not shown yet.
    tally: Mutex<Tally>,
    cost: OnceLock<Box<Cost>>,
    commands: OnceLock<Vec<String>>,
    speakers: Speakers,
    running: Running,
    /// One question at a time.
    question: tokio::sync::Mutex<()>,
    /// Set at the end of input: from then on nobody is there.
    ended: AtomicBool,
    closed: CancellationToken,
    /// Whether an answer could not be written.
    write_failed: AtomicBool,
}

/// What the tokens of a request cost.
type Cost = dyn Fn(&Usage) -> Option<f64> + Send + Sync;

impl Screen {
    /// Standard input, output and error. Colours go where a terminal is, unless `NO_COLOR` is set;
    /// the only other escape sequences are those with which the line editor moves the cursor.
    ///
    /// Standard output has the answers alone where it is no terminal: what the model says beside
    /// its calls goes to standard error, with all other progress.
    pub fn stdio() -> Self {
        Screen(Arc::new(Inner {
            editor_thread: LineEditor::new(),
            output: Output::stdio().into(),
            tally: Tally::default().into(),
            cost: OnceLock::new(),
            commands: OnceLock::new(),
            speakers: Speakers::default(),
            running: Running::default(),
            question: ().into(),
            ended: false.into(),
            closed: CancellationToken::new(),
            write_failed: false.into(),
        }))
    }

    /// Lets `tee` see all that is shown from now on, coloured as on a terminal; what is typed too,
    /// once it is sent.
    pub fn record(&self, tee: impl Fn(&str) + Send + 'static) {
        self.0.output.lock().unwrap().tee = Some(Box::new(tee));
    }

    /// The tee sees what was typed, which the terminal shows by itself.
    fn record_typed(&self, prompt: &str, line: &str) {
        if let Some(tee) = &self.0.output.lock().unwrap().tee
            && self.is_terminal()
        {
            tee(&format!("{}{}\n", paint(prompt, true, Colour::Prompt), escaped(line)));
        }
    }

    /// What the tokens of a request cost, in dollars, where that is known.
    pub fn cost_by(&self, cost: impl Fn(&Usage) -> Option<f64> + Send + Sync + 'static) {
        let _ = self.0.cost.set(Box::new(cost));
    }

    /// Counts a request for [`show_tally`](Screen::show_tally).
    pub(crate) fn count(&self, usage: &Usage) {
        let cost = self.0.cost.get().and_then(|cost| cost(usage));
        self.0.tally.lock().unwrap().add(usage, cost);
    }

    /// What the requests since the last time took, in one line, to a person who can see it.
    pub(crate) fn show_tally(&self, time: Duration) {
        let tally = std::mem::take(&mut *self.0.tally.lock().unwrap());
        if self.is_terminal() && tally.requests > 0 {
            let line = fitted(std::io::stderr(), &tally.line(time), 0);
            self.0.put(To::Err, |c| format!("{}\n", paint(&line, c, Colour::Result)));
        }
    }

    /// Fires when nobody reads the output any more.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.0.closed
    }

    /// Whether an answer could not be written (a full disk).
    pub(crate) fn write_failed(&self) -> bool {
        self.0.write_failed.load(Relaxed)
    }

    /// Whether a person sits at a terminal: standard input and standard error both are one.
    pub fn is_terminal(&self) -> bool {
        self.0.editor_thread.is_terminal()
    }

    /// Reads a line with the prompt, or gives what `other` gives, whichever comes first. What was
    /// typed by then stays in the prompt for the next time.
    pub(crate) async fn prompt<T>(
        &self,
        mut look: Look,
        other: impl Future<Output = T>,
    ) -> Result<Typed, T> {
        look.colour = self.0.output.lock().unwrap().err.colour;
        let mut other = std::pin::pin!(other);
        let typed = loop {
            let plain = self.is_terminal() && !self.0.editor_thread.has_editor();
            let _lines = plain.then(|| InputModes::set(Input::Lines));
            if plain {
                if let Some(line) = self.0.editor_thread.typed(|_| true) {
                    return Ok(Typed::Ahead(line));
                }
                let enter = match &*look.suggestion {
                    "" => String::new(),
                    suggestion => format!("(Enter: {suggestion})\n"),
                };
                let prompt = |colour| paint(&look.prompt, colour, Colour::Prompt);
                self.0.put(To::Err, |c| format!("{enter}{}", prompt(c)));
            }
            let hold = self.is_terminal().then(|| Hold::new(self));
            let typed = tokio::select! {
                biased;
                typed = self.0.editor_thread.wish(Wish::Prompt(look.clone())) => Ok(typed),
                other = &mut other => Err(other),
            };
            if typed.is_err() {
                self.0.editor_thread.take_back().await;
                self.0.editor_thread.draft_leaves_editor();
            }
            let taken_back = matches!(typed, Err(_) | Ok(Typed::TakenBack));
            match hold {
                // What is shown now stands below the prompt, which comes again.
                Some(hold) if plain && taken_back => hold.begin_with("\n"),
                // The editor has erased itself, and comes again below with what was typed.
                _ => {}
            }
            // Taken back by what wanted to be shown; it has been by now.
            if !matches!(typed, Ok(Typed::TakenBack)) {
                break typed;
            }
        };
        if let Ok(Typed::Line(line)) = &typed {
            match self.0.editor_thread.has_editor() {
                true if line.trim().is_empty() => {}
                true => self.record_typed(&look.prompt, line),
                // It has shown the prompt.
                false => self.record_typed("", line),
            }
        }
        if matches!(typed, Ok(Typed::End)) {
            self.0.ended.store(true, Relaxed);
        }
        typed
    }

    /// A line for the person, outside any turn.
    pub fn say(&self, line: &str) {
        let line = fitted(std::io::stderr(), &escaped(line), 0);
        self.0.put(To::Err, |colour| format!("{}\n", paint(&line, colour, Colour::Note)));
    }

    /// Text on standard output, as it is.
    pub fn print(&self, text: &str) {
        self.0.put(To::Out, |_| text.into());
    }

    /// What was asked, where it was not typed at the prompt itself.
    pub(crate) fn echo(&self, prompt: &str, line: &str) {
        let line = clipped(&escaped(line), MAX_LINE_CHARS);
        let line = fitted(std::io::stderr(), &line, prompt.len());
        self.0.put(To::Err, |c| format!("{}{line}\n", paint(prompt, c, Colour::Prompt)));
    }

    /// What Enter has played; a plain prompt has shown it.
    pub(crate) fn echo_suggestion(&self, prompt: &str, line: &str) {
        if self.0.editor_thread.has_editor() {
            self.echo(prompt, line);
        }
    }

    /// While this lives, what is typed while nobody asks is not shown: it would stand in the middle
    /// of what is written. The terminal keeps it for the next prompt.
    pub(crate) fn echo_off(&self) -> Option<InputModes> {
        self.is_terminal().then(|| InputModes::set(Input::Hidden))
    }

    /// While this lives, what is typed while nobody asks is shown below all else, key by key.
    pub(crate) fn keys(&self) -> Option<(InputModes, MarkedPaste)> {
        let keys = || (InputModes::set(Input::Keys), MarkedPaste::begin());
        self.0.editor_thread.has_editor().then(keys)
    }

    /// The names of the commands: a line that begins with one is no text for a turn.
    pub(crate) fn set_commands(&self, names: Vec<String>) {
        let _ = self.0.commands.set(names);
    }

    /// A line that was typed while nobody asked, and that did not join the turn, waits again.
    pub(crate) async fn keep(&self, line: String) {
        self.0.editor_thread.keep(line).await;
    }

    /// After a turn was stopped: what was typed for it stands in the editor, to be sent or not.
    pub(crate) async fn lines_to_draft(&self) {
        if self.0.editor_thread.has_editor() {
            self.0.editor_thread.lines_to_draft().await;
        }
    }

    /// Lines on standard error, beside the name of the agent, and below `mark`.
    fn line(&self, cx: &Context, kind: Colour, mark: &str, text: &str) {
        self.rows(cx, mark, &[(kind, text.into())]);
    }

    /// The same, each row in a colour of its own.
    fn rows(&self, cx: &Context, mark: &str, rows: &[(Colour, String)]) {
        let speaker = self.0.speakers.get(cx.name());
        let before = speaker.width() + mark.len();
        let fit =
            |(kind, text): &(Colour, String)| (*kind, fitted(std::io::stderr(), text, before));
        let rows: Vec<(Colour, String)> = rows.iter().map(fit).collect();
        self.0.put(To::Err, |c| {
            let rows: Vec<String> =
                rows.iter().map(|(kind, text)| paint(&format!("{mark}{text}"), c, *kind)).collect();
            let text = rows.join(&format!("\n{}", " ".repeat(before)));
            match &*speaker.name {
                "" => format!("{text}\n"),
                name => format!("{}{} {text}\n", speaker.indent, paint(name, c, speaker.colour)),
            }
        });
    }
}

/// The text in rows as wide as the terminal, where there is one.
fn fitted(stream: impl AsFd, text: &str, before: usize) -> String {
    match tcgetwinsize(stream) {
        Ok(size) if size.ws_col > 0 => wrapped(text, size.ws_col.into(), before),
        _ => text.replace('\n', &format!("\n{}", " ".repeat(before))),
    }
}

impl Inner {
    fn put(&self, to: To, text: impl FnOnce(bool) -> String) {
        let mut output = self.output.lock().unwrap();
        self.end_thinking(&mut output);
        // Words that were on their way end here; the reply begins again below.
        if output.are_one && !output.pieces.is_empty() && !output.pieces.ends_with('\n') {
            self.write(&mut output, To::Out, "\n");
        }
        output.pieces.clear();
        let text = text(output.has_colour(to));
        self.write(&mut output, to, &text);
    }

    fn write(&self, output: &mut Output, to: To, text: &str) {
        if let Some(held) = &mut output.held {
            held.push((to, text.into()));
            return self.editor_thread.interrupt();
        }
        let written = output.write(to, text);
        match (to, written) {
            (_, Ok(())) => {}
            // The terminal is gone, with whoever sat at it.
            (_, Err(error)) if self.editor_thread.is_terminal() && is_io_error(&error) => {
                self.closed.cancel();
            }
            // Progress that nobody reads must not cost the answer.
            (To::Err, _) => {}
            // A reader that went away (`| head -1`) is no error; it ends the program in silence.
            (To::Out, Err(error)) if error.kind() == ErrorKind::BrokenPipe => self.closed.cancel(),
            (To::Out, Err(error)) => {
                if !self.write_failed.swap(true, Relaxed) {
                    let line = format!("error: standard output: {error}\n");
                    let _ = output.write(To::Err, &line);
                }
            }
        }
    }
}

fn is_io_error(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

impl Ui for Screen {
    fn show(&self, event: &Event, cx: &Context) {
        let front = !cx.is_child();
        let line = |kind: Colour, text: &str| self.line(cx, kind, "", text);
        match event {
            Event::TextDelta(text) if front => self.text_delta(text),
            Event::ThinkingDelta(text) if front => self.thinking_delta(text),
            // Two streams in one window can't be read: children are shown whole.
            Event::TextDelta(_) | Event::ThinkingDelta(_) => {}
            Event::Reply(reply) if front => self.reply(reply),
            Event::Reply(reply) if reply.text().trim().is_empty() => {}
            Event::Reply(reply) => line(Colour::Plain, &escaped(reply.text().trim_end())),
            Event::ReplyDiscarded if front => self.reply_discarded(),
            Event::ReplyDiscarded => {}
            Event::Call(call, summary) => {
                self.0.running.begin(cx.name(), call, summary);
                self.line(cx, Colour::Call, "> ", &CALL.of(summary).join("\n"));
            }
            Event::Result(call, result, text) => {
                if let Some(call) = self.0.running.end(cx.name(), call) {
                    self.line(cx, Colour::Call, "< ", &call);
                }
                if !result.is_error
                    && let Some(rows) = diff::rows(text, !front)
                {
                    return self.rows(cx, "", &rows);
                }
                let (kind, excerpt) = match (result.is_error, front) {
                    (true, _) => (Colour::Failed, ERROR),
                    (false, true) => (Colour::Result, RESULT),
                    (false, false) => (Colour::Result, CHILD_RESULT),
                };
                line(kind, &excerpt.of_result(text));
            }
            Event::Retry { seconds, attempts, max_attempts, why } => {
                let text = format!(
                    "{why}; trying again in {seconds:.1} s ({attempts} of {max_attempts} attempts \
                     so far)"
                );
                line(Colour::Note, &escaped(&text));
            }
            Event::Notice(text) => line(Colour::Note, &escaped(text)),
            Event::Failure(text) => line(Colour::Failed, &format!("error: {}", escaped(text))),
            // Newer events than this screen knows.
            _ => {}
        }
    }

    async fn choose(&self, question: Question, cx: &Context) -> Answer {
        let _one = self.0.question.lock().await;
        let who = match self.0.speakers.get(cx.name()).name {
            name if name.is_empty() => name,
            name => format!("{name}: "),
        };
        let text = format!("{who}{}", question::text(&question));
        if self.is_terminal() {
            // The beginning of a line too.
            let _keys = InputModes::set(Input::Keys);
            self.0.editor_thread.set_aside().await;
        }
        let _lines = self.is_terminal().then(|| InputModes::set(Input::Lines));
        self.0.put(To::Err, |c| paint(&text, c, Colour::Prompt));
        let mut asked = Asked::new(self);
        loop {
            match self.0.editor_thread.wish(Wish::Answer).await {
                Typed::Line(line) | Typed::Ahead(line) => {
                    self.record_typed("", &line);
                    match question::answer(&line, question.choices.len()) {
                        Some(answer) => {
                            asked.is_answered = true;
                            return answer;
                        }
                        // Nobody sits there: the line was meant for the prompt.
                        None if !self.is_terminal() => {
                            self.keep(line).await;
                            return Answer::No(String::new());
                        }
                        None => {}
                    }
                }
                // Something wants to be shown; it waits until the person has answered.
                Typed::TakenBack => {}
                // What cannot be read is said when the next prompt is wanted.
                Typed::Interrupt | Typed::End | Typed::Unreadable(_) => {
                    return Answer::No(String::new());
                }
            }
        }
    }

    fn typed(&self) -> Option<String> {
        // From a pipe everything is there at once, so nothing in it was typed "meanwhile".
        if !self.attended() {
            return None;
        }
        let commands = self.0.commands.get().map_or(&[][..], Vec::as_slice);
        self.0.editor_thread.typed(|line| matches!(Meaning::of(line, commands), Meaning::Prompt(_)))
    }

    fn attended(&self) -> bool {
        self.is_terminal() && !self.0.ended.load(Relaxed)
    }
}
