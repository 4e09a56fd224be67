//! The screen, and the person before it.
use crate::{Context, Event};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::{collections::VecDeque, future::Future};

/// A question to the person, with its choices. The person can always refuse, and say why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// What each choice means, in full: a rule that would be stored is shown as it would be stored.
    pub choices: Vec<String>,
}

impl Question {
    /// A question without choices yet.
    pub fn new(text: impl Into<String>) -> Self {
        Question { text: text.into(), choices: vec![] }
    }

    /// Adds a choice.
    pub fn choice(mut self, choice: impl Into<String>) -> Self {
        self.choices.push(choice.into());
        self
    }
}

/// What the person answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The choice with this index.
    Choice(usize),
    /// No, with the person's reason, which may be empty; also when nobody is there to answer.
    No(String),
}

/// Shows events and asks the person.
pub trait Ui: Send + Sync + 'static {
    /// Called for every event, in order, from whichever task it happens on; must not block.
    fn show(&self, event: &Event, cx: &Context);

    /// Asks the person: one question at a time, however many calls ask. [`Answer::No`] when nobody
    /// can answer.
    fn choose(&self, question: Question, cx: &Context) -> impl Future<Output = Answer> + Send;

    /// A line typed while a turn runs, if any.
    fn typed(&self) -> Option<String> {
        None
    }

    /// Whether a person is there.
    fn attended(&self) -> bool {
        false
    }
}

/// The object-safe form of [`Ui`].
pub(crate) trait DynUi: Send + Sync {
    fn show(&self, event: &Event, cx: &Context);
    fn choose<'a>(&'a self, question: Question, cx: &'a Context) -> BoxFuture<'a, Answer>;
    fn typed(&self) -> Option<String>;
    fn attended(&self) -> bool;
}

impl<U: Ui> DynUi for U {
    fn show(&self, event: &Event, cx: &Context) {
        Ui::show(self, event, cx)
    }
    fn choose<'a>(&'a self, question: Question, cx: &'a Context) -> BoxFuture<'a, Answer> {
        Box::pin(Ui::choose(self, question, cx))
    }
    fn typed(&self) -> Option<String> {
        Ui::typed(self)
    }
    fn attended(&self) -> bool {
        Ui::attended(self)
    }
}

/// Shows nothing and refuses everything.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Ui for Quiet {
    fn show(&self, _event: &Event, _cx: &Context) {}

    async fn choose(&self, _question: Question, _cx: &Context) -> Answer {
        Answer::No("nobody is there to be asked".into())
    }
}

/// For tests: records what would be shown, one line an event, and gives prepared answers.
#[derive(Debug, Default)]
pub struct Recorder {
    answers: Mutex<VecDeque<Answer>>,
    lines: Mutex<Vec<String>>,
}

impl Recorder {
    /// A recorder that gives these answers, one a question, and then [`Answer::No`].
    pub fn answering(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Recorder { answers, ..Recorder::default() })
    }

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
            Event::TextDelta(text) => format!("delta {text}"),
            Event::ThinkingDelta(text) => format!("thinking {text}"),
            Event::Reply(reply) => format!("reply {}", reply.text()),
            Event::ReplyDiscarded => "reply discarded".into(),
            Event::Call(call, _) => format!("call {}", call.name),
            Event::Result(.., text) => format!("result {text}"),
            Event::Retry { attempts, max_attempts, why, .. } => {
                format!("retry {attempts}/{max_attempts} {why}")
            }
            Event::Notice(text) => format!("notice {text}"),
            Event::Failure(text) => format!("failure {text}"),
        };
        self.note(cx, &line);
    }

    async fn choose(&self, question: Question, cx: &Context) -> Answer {
        self.note(cx, &format!("asks {} [{}]", question.text, question.choices.join(" | ")));
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or(Answer::No(String::new()))
    }
}
