//! The screen, and the person before it.
use crate::{BoxFuture, Context, Event};
use std::{
    future::Future,
    sync::{Arc, Mutex},
};

/// A question to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked; answered by yes or no.
    pub text: String,
    /// What "always" would mean, where that is an answer, such as the rule that would be saved.
    pub always: Option<String>,
}

impl Question {
    /// Yes or no.
    pub fn new(text: impl Into<String>) -> Self {
        Question { text: text.into(), always: None }
    }
}

/// What the person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// This once.
    Yes,
    /// Now and from now on.
    Always,
    /// No; also when nobody is there to answer.
    #[default]
    No,
}

/// Shows events and asks the person.
pub trait Ui: Send + Sync + 'static {
    /// Called for every event, in order, from whichever task it happens on; must not block.
    fn show(&self, event: &Event, cx: &Context);

    /// Asks the person: one question at a time, however many calls ask. [`Answer::No`] when nobody can answer.
    fn confirm(&self, question: Question, cx: &Context) -> impl Future<Output = Answer> + Send;

    /// A line typed while a turn runs, if any.
    fn typed(&self) -> Option<String> {
        None
    }

    /// Whether a person is there.
    fn attended(&self) -> bool {
        false
    }
}

/// The twin of [`Ui`] that can stand behind a pointer.
pub(crate) trait DynUi: Send + Sync {
    fn show(&self, event: &Event, cx: &Context);
    fn confirm<'a>(&'a self, question: Question, cx: &'a Context) -> BoxFuture<'a, Answer>;
    fn typed(&self) -> Option<String>;
    fn attended(&self) -> bool;
}

impl<U: Ui> DynUi for U {
    fn show(&self, event: &Event, cx: &Context) {
        Ui::show(self, event, cx)
    }
    fn confirm<'a>(&'a self, question: Question, cx: &'a Context) -> BoxFuture<'a, Answer> {
        Box::pin(Ui::confirm(self, question, cx))
    }
    fn typed(&self) -> Option<String> {
        Ui::typed(self)
    }
    fn attended(&self) -> bool {
        Ui::attended(self)
    }
}

/// Shows nothing and agrees to nothing.
pub struct Quiet;

impl Ui for Quiet {
    fn show(&self, _event: &Event, _cx: &Context) {}

    async fn confirm(&self, _question: Question, _cx: &Context) -> Answer {
        Answer::No
    }
}

/// For tests: writes down what would be shown, one line an event, and gives the prepared answer.
#[derive(Default)]
pub struct Recorder {
    /// What it answers.
    pub answer: Answer,
    lines: Mutex<Vec<String>>,
}

impl Recorder {
    /// What was shown since the last call, such as `main: reply Hello`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    fn note(&self, cx: &Context, line: &str) {
        self.lines.lock().unwrap().push(format!("{}: {line}", cx.name()));
    }
}

impl Ui for Arc<Recorder> {
    fn show(&self, event: &Event, cx: &Context) {
        let line = match event {
            Event::Piece(text) => format!("piece {text}"),
            Event::Reply(reply) => format!("reply {}", reply.text()),
            Event::Lost => "lost".into(),
            Event::Call(call) => format!("call {}", call.name),
            Event::Outcome(_, outcome) => format!("outcome {}", outcome.output.text),
            Event::Wait { tried, of, why, .. } => format!("wait {tried}/{of} {why}"),
            Event::Notice(text) => format!("notice {text}"),
            Event::Failure(text) => format!("failure {text}"),
        };
        self.note(cx, &line);
    }

    async fn confirm(&self, question: Question, cx: &Context) -> Answer {
        self.note(cx, &format!("asks {}", question.text));
        self.answer
    }
}
