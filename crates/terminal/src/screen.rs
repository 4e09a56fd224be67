//! The coloured terminal: answers on standard output, progress and questions on standard error.
use crate::{
    line_editor::{LineEditor, Look, Typed, Wish},
    output::{Output, To},
    paint::{Colour, paint},
    stdin::Echo,
    tally::Tally,
    text::{MAX_LINE_CHARS, MAX_RESULT_LINES, call_line, clipped, escaped, result_lines},
};
use rungs_core::{Answer, CancellationToken, Context, Event, Question, Reply, Ui, client::Usage};
use std::{
    convert::Infallible,
    io::ErrorKind,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
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

/// How often it is looked whether nothing was written for a while.
const TICK: Duration = Duration::from_millis(100);

impl Screen {
    /// Standard input, output and error. Colours go where a terminal is, unless `NO_COLOR` is set.
    pub fn stdio() -> Self {
        Screen(Arc::new(Inner {
            editor_thread: LineEditor::new(),
            output: Output::stdio().into(),
            tally: Tally::default().into(),
            cost: OnceLock::new(),
            question: ().into(),
            ended: false.into(),
            closed: CancellationToken::new(),
            write_failed: false.into(),
        }))
    }

    /// What the tokens of a request cost, in dollars, where that is known.
    pub fn cost_by(&self, cost: impl Fn(&Usage) -> Option<f64> + Send + Sync + 'static) {
        let _ = self.0.cost.set(Box::new(cost));
    }

    /// Shows, while nothing else is, for how long the work has been going on; never ends.
    pub(crate) async fn show_elapsed(&self) -> Infallible {
        let start = Instant::now();
        let _erased = Status(self);
        if !self.0.editor_thread.has_editor() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(TICK).await;
            let mut output = self.0.output.lock().unwrap();
            let line = format!("{} s; Ctrl+C stops it", start.elapsed().as_secs());
            let line = paint(&line, output.err.colour, Colour::Result);
            // The next line that is written finds out that the terminal is gone.
            let _ = output.show_status(&line);
        }
    }

    /// What the requests since the last time took, in one line, to a person who can see it.
    pub(crate) fn show_tally(&self, time: Duration) {
        let tally = std::mem::take(&mut *self.0.tally.lock().unwrap());
        if self.is_terminal() && tally.requests > 0 {
            let line = tally.line(time);
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
        prompt: &str,
        suggestion: &str,
        history: Option<PathBuf>,
        other: impl Future<Output = T>,
    ) -> Result<Typed, T> {
        let colour = self.0.output.lock().unwrap().err.colour;
        let look = Look { prompt: prompt.into(), suggestion: suggestion.into(), colour, history };
        let mut other = std::pin::pin!(other);
        let typed = loop {
            let plain = self.is_terminal() && !self.0.editor_thread.has_editor();
            let _echo = plain.then(|| Echo::set(true));
            if plain {
                if let Some(line) = self.0.editor_thread.typed() {
                    return Ok(Typed::Ahead(line));
                }
                let enter = match suggestion {
                    "" => String::new(),
                    suggestion => format!("(Enter: {suggestion})\n"),
                };
                self.0.put(To::Err, |c| format!("{enter}{}", paint(prompt, c, Colour::Prompt)));
            }
            let hold = self.is_terminal().then(|| Hold::new(self));
            let typed = tokio::select! {
                biased;
                typed = self.0.editor_thread.wish(Wish::Prompt(look.clone())) => Ok(typed),
                other = &mut other => Err(other),
            };
            if typed.is_err() {
                self.0.editor_thread.take_back().await;
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
        if matches!(typed, Ok(Typed::End)) {
            self.0.ended.store(true, Relaxed);
        }
        typed
    }

    /// A line for the person, outside any turn.
    pub fn say(&self, line: &str) {
        self.0.put(To::Err, |colour| format!("{}\n", paint(&escaped(line), colour, Colour::Note)));
    }

    /// Text on standard output, as it is.
    pub fn print(&self, text: &str) {
        self.0.put(To::Out, |_| text.into());
    }

    /// What was asked, where it was not typed at the prompt itself.
    pub(crate) fn echo(&self, prompt: &str, line: &str) {
        let line = clipped(&escaped(line), MAX_LINE_CHARS);
        self.0.put(To::Err, |c| format!("{}{line}\n", paint(prompt, c, Colour::Prompt)));
    }

    /// What Enter has played, in place of the empty line above; a plain prompt has shown it.
    pub(crate) fn echo_suggestion(&self, prompt: &str, line: &str) {
        if self.0.editor_thread.has_editor() {
            self.0.put(To::Err, |_| "\x1b[A\x1b[2K".into());
            self.echo(prompt, line);
        }
    }

    /// While this lives, what is typed while nobody asks is not shown: it would stand in the middle
    /// of what is written. The terminal keeps it for the next prompt.
    pub(crate) fn echo_off(&self) -> Option<Echo> {
        self.is_terminal().then(|| Echo::set(false))
    }

    fn reply(&self, who: &str, front: bool, reply: &Reply) {
        let text = reply.text();
        let mut output = self.0.output.lock().unwrap();
        let pieces = std::mem::take(&mut output.pieces);
        if front
            && !pieces.is_empty()
            && let Some(rest) = text.strip_prefix(pieces.as_str())
        {
            let newline = if text.ends_with('\n') { "" } else { "\n" };
            self.0.write(&mut output, To::Out, &format!("{}{newline}", escaped(rest)));
        } else if !text.trim().is_empty() {
            if !pieces.is_empty() {
                self.0.write(&mut output, To::Out, "\n");
            }
            let to = if front { To::Out } else { To::Err };
            self.0.write(
                &mut output,
                to,
                &format!("{who}{}\n", escaped(text.trim_end_matches('\n'))),
            );
        } else if !pieces.is_empty() {
            self.0.write(&mut output, To::Out, "\n");
        }
    }
}

impl Inner {
    fn put(&self, to: To, text: impl FnOnce(bool) -> String) {
        let mut output = self.output.lock().unwrap();
        // Words that were on their way end here; the reply begins again below.
        if !output.pieces.is_empty() && !output.pieces.ends_with('\n') {
            self.write(&mut output, To::Out, "\n");
        }
        output.pieces.clear();
        let text = text(match to {
            To::Out => output.out.colour,
            To::Err => output.err.colour,
        });
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
        let who = if front { String::new() } else { format!("[{}] ", cx.name()) };
        let line = |colour: bool, kind: Colour, text: &str| {
            format!("{}\n", paint(&format!("{who}{text}"), colour, kind))
        };
        match event {
            Event::TextDelta(text) if front => {
                let mut output = self.0.output.lock().unwrap();
                output.pieces.push_str(text);
                self.0.write(&mut output, To::Out, &escaped(text));
            }
            // Two streams in one window can't be read: children are shown whole.
            Event::TextDelta(_) => {}
            Event::Reply(reply) => {
                let cost = self.0.cost.get().and_then(|cost| cost(&reply.usage));
                self.0.tally.lock().unwrap().add(&reply.usage, cost);
                self.reply(&who, front, reply);
            }
            Event::ReplyDiscarded if front => {
                let mut output = self.0.output.lock().unwrap();
                if !std::mem::take(&mut output.pieces).is_empty() {
                    self.0.write(&mut output, To::Out, " [discarded]\n");
                }
            }
            Event::ReplyDiscarded => {}
            Event::Call(call) => {
                self.0.put(To::Err, |c| line(c, Colour::Call, &format!("> {}", call_line(call))))
            }
            Event::Result(_, result) => {
                let kind = if result.is_error { Colour::Failed } else { Colour::Result };
                let lines = if front { MAX_RESULT_LINES } else { 1 };
                let text = result_lines(&result.output.text(), lines);
                self.0.put(To::Err, |c| line(c, kind, &text));
            }
            Event::Retry { seconds, attempts, max_attempts, why } => self.0.put(To::Err, |c| {
                line(
                    c,
                    Colour::Note,
                    &escaped(&format!(
                        "{why}; trying again in {seconds:.1} s ({attempts} of {max_attempts} \
                         attempts so far)"
                    )),
                )
            }),
            Event::Notice(text) => self.0.put(To::Err, |c| line(c, Colour::Note, &escaped(text))),
            Event::Failure(text) => self
                .0
                .put(To::Err, |c| line(c, Colour::Failed, &format!("error: {}", escaped(text)))),
            // Newer events than this screen knows.
            _ => {}
        }
    }

    async fn choose(&self, question: Question, cx: &Context) -> Answer {
        let _one = self.0.question.lock().await;
        let mut text = format!("[{}] {}", cx.name(), escaped(&question.text));
        for (i, choice) in question.choices.iter().enumerate() {
            text.push_str(&format!("\n  {}  {}", i + 1, escaped(choice)));
        }
        text.push_str("\n  n  no; a reason may follow\nanswer: ");
        let _echo = self.is_terminal().then(|| Echo::set(true));
        self.0.put(To::Err, |c| paint(&text, c, Colour::Prompt));
        let _hold = Hold::new(self);
        loop {
            match self.0.editor_thread.wish(Wish::Answer).await {
                Typed::Line(line) | Typed::Ahead(line) => {
                    match answer(&line, question.choices.len()) {
                        Some(answer) => return answer,
                        // Nobody sits there: the line was meant for the prompt.
                        None if !self.is_terminal() => {
                            self.0.editor_thread.keep(line).await;
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
        if self.attended() { self.0.editor_thread.typed() } else { None }
    }

    fn attended(&self) -> bool {
        self.is_terminal() && !self.0.ended.load(Relaxed)
    }
}

/// What a line means as an answer to a question with so many choices, if it is one.
fn answer(line: &str, choices: usize) -> Option<Answer> {
    let line = line.trim();
    if let Ok(number) = line.parse::<usize>() {
        let index = number.checked_sub(1)?;
        return (index < choices).then_some(Answer::Choice(index));
    }
    let (word, reason) = line.split_once([' ', ',']).unwrap_or((line, ""));
    match word.to_lowercase().as_str() {
        "y" | "yes" if reason.is_empty() && choices > 0 => Some(Answer::Choice(0)),
        "" | "n" | "no" => Some(Answer::No(reason.trim().into())),
        _ => None,
    }
}

/// While it lives, there can be a line for the time being.
struct Status<'a>(&'a Screen);

impl Drop for Status<'_> {
    fn drop(&mut self) {
        let _ = self.0.0.output.lock().unwrap().set_status("");
    }
}

/// While it lives, the prompt or the question alone has the screen; the rest is shown when it is
/// dropped.
struct Hold<'a>(&'a Screen);

impl<'a> Hold<'a> {
    fn new(terminal: &'a Screen) -> Self {
        terminal.0.output.lock().unwrap().held = Some(vec![]);
        Hold(terminal)
    }

    /// Shows what was held, after this.
    fn begin_with(self, text: &str) {
        if let Some(held) = &mut self.0.0.output.lock().unwrap().held {
            held.insert(0, (To::Err, text.into()));
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let inner = &self.0.0;
        let mut output = inner.output.lock().unwrap();
        for (to, text) in output.held.take().unwrap_or_default() {
            inner.write(&mut output, to, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_choice_by_number_or_a_no_with_a_reason() {
        let no = |why: &str| Some(Answer::No(why.into()));
        for (line, meaning) in [
            ("1", Some(Answer::Choice(0))),
            (" 2 ", Some(Answer::Choice(1))),
            ("yes", Some(Answer::Choice(0))),
            ("3", None),
            ("0", None),
            ("", no("")),
            ("N", no("")),
            ("no, use git mv", no("use git mv")),
            ("what is in this folder?", None),
        ] {
            assert_eq!(answer(line, 2), meaning, "{line:?}");
        }
        assert_eq!(answer("y", 0), None);
    }
}
