//! The prompt that all lessons share: reads a line, runs a turn, and again; and every way out of it.
use crate::{
    Agent, Block, Chat, Context, Error, Event, Message, Reply, Result, Role, terminal::Terminal,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use rungs_keyboard::Typed;
use std::{collections::VecDeque, path::PathBuf, pin::pin, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// After how many turns that nobody typed, and that failed, a program ends to which nobody can type.
const STUMBLES: u32 = 3;

/// After what time those are asked again who expected nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// How a conversation is held.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Stands before ` >> `.
    pub name: String,
    /// What `:help` prints.
    pub help: String,
    /// What to type: offered one after the other, played on Enter; all of them when standard input is an empty pipe.
    pub suggestions: Vec<String>,
    /// The only prompt of this run, from the command line.
    pub question: Option<String>,
    /// Where lines typed on a terminal are kept.
    pub history: Option<PathBuf>,
}

/// What the conversation was told to do next.
enum Next {
    Ask(String),
    /// As it is: what looks like a command is none.
    Play(String),
    Woken,
    Leave(u8),
}

impl Prompt {
    /// Holds a conversation until the input ends, the person leaves or a signal comes. `turn` is the agent's loop.
    /// Returns the exit code: 0, 1 when a turn failed that nobody watched, 128 + the signal's number.
    pub async fn run(
        self,
        agent: Agent,
        terminal: Terminal,
        mut signals: Signals,
        turn: impl AsyncFn(&Agent, &mut Chat) -> Result<Reply>,
    ) -> u8 {
        let agent = agent.ui(terminal.clone());
        let mut talk = Talk {
            chat: Chat::default(),
            question: self.question.clone(),
            queue: VecDeque::new(),
            asked: 0,
            ended: self.question.is_some(),
            failed: false,
            stumbles: 0,
        };
        let code = self.talk(&mut talk, &agent, &terminal, &mut signals, turn).await;
        agent.exit().await;
        if code == 0 && terminal.unwritten() { 1 } else { code }
    }

    async fn talk(
        &self,
        talk: &mut Talk,
        agent: &Agent,
        terminal: &Terminal,
        signals: &mut Signals,
        turn: impl AsyncFn(&Agent, &mut Chat) -> Result<Reply>,
    ) -> u8 {
        let cx = agent.context();
        loop {
            let prompt = match self.next(talk, &cx, terminal, signals).await {
                Next::Leave(code) => return code,
                Next::Woken => None,
                Next::Play(text) => Some(text),
                Next::Ask(line) => match line.trim() {
                    "" => continue,
                    "q" | "quit" | "exit" => return talk.code(),
                    command if command.starts_with(':') => {
                        let running = self.command(&command[1..], &mut talk.chat, &cx);
                        let done = tokio::select! {
                            done = running => done,
                            code = signals.next() => return code,
                        };
                        match done {
                            Ok(known) => talk.failed |= !known && !cx.attended(),
                            Err(error) => talk.fail(&cx, &error),
                        }
                        continue;
                    }
                    text => Some(text.to_string()),
                },
            };
            let (before, woken) = (talk.chat.clone(), prompt.is_none());
            if let Some(text) = prompt {
                let first = talk.chat.messages().is_empty();
                talk.chat.push(if first { first_message(&cx, text) } else { Message::user(text) });
            }
            let end = tokio::select! {
                end = turn(agent, &mut talk.chat) => end,
                code = signals.next() => return code,
                () = terminal.gone().cancelled() => return talk.code(),
            };
            talk.chat.close_open_calls("not run: the turn failed");
            talk.stumbles = if woken && end.is_err() { talk.stumbles + 1 } else { 0 };
            if let Err(error) = end {
                talk.fail(&cx, &error);
                // What was refused would be refused each time. Anything else is kept, and the next prompt follows it.
                if error.refuses_request() {
                    talk.chat = before;
                    cx.notice("the conversation goes on without that prompt and what came of it");
                }
            }
        }
    }

    async fn next(
        &self,
        talk: &mut Talk,
        cx: &Context,
        terminal: &Terminal,
        signals: &mut Signals,
    ) -> Next {
        let prompt = format!("{} >> ", self.name);
        if let Some(question) = talk.question.take() {
            terminal.echo(&prompt, &question, false);
            return Next::Play(question);
        }
        if let Some(line) = talk.queue.pop_front() {
            terminal.echo(&prompt, &line, false);
            return Next::Ask(line);
        }
        let suggestion = self.suggestions.get(talk.asked).map_or("", |s| s.as_str());
        let (ended, stumbles) = (talk.ended, talk.stumbles);
        if ended && stumbles >= STUMBLES {
            return Next::Leave(talk.code());
        }
        // What woke it and failed would wake it again at once, for ever.
        let woken = async {
            tokio::time::sleep(pause(stumbles)).await;
            woken(cx, ended).await
        };
        let mut other = pin!(async {
            tokio::select! {
                woken = woken => if woken { Next::Woken } else { Next::Leave(0) },
                code = signals.next() => Next::Leave(code),
                () = terminal.gone().cancelled() => Next::Leave(0),
            }
        });
        let next = if ended {
            other.await
        } else {
            match terminal.prompt(&prompt, suggestion, self.history.clone(), &mut other).await {
                Ok(Typed::Line(line)) if terminal.is_terminal() => {
                    let empty = line.trim().is_empty() && !suggestion.is_empty();
                    let line = if empty { suggestion.to_string() } else { line };
                    if empty {
                        terminal.echo(&prompt, &line, true);
                    }
                    talk.asked += usize::from(line == suggestion);
                    Next::Ask(line)
                }
                Ok(Typed::Line(line) | Typed::Ahead(line)) => {
                    terminal.echo(&prompt, &line, false);
                    Next::Ask(line)
                }
                Ok(Typed::Interrupt) => Next::Leave(130),
                Ok(_) => {
                    talk.ended = true;
                    // An empty pipe (or none at all) is nobody typing: play what there is to see.
                    if talk.chat.messages().is_empty() && !terminal.is_terminal() {
                        talk.queue = self.suggestions.iter().cloned().collect();
                    }
                    if terminal.is_terminal() { Next::Leave(0) } else { Next::Ask(String::new()) }
                }
                Err(next) => next,
            }
        };
        match next {
            Next::Leave(0) => Next::Leave(talk.code()),
            next => next,
        }
    }

    /// Runs a command; false when there is none of that name.
    async fn command(&self, line: &str, chat: &mut Chat, cx: &Context) -> Result<bool> {
        let (name, args) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if let Some(command) = cx.agent.parts.commands.iter().find(|c| c.name == name) {
            return command.run.run(chat, args.trim(), cx).await.map(|()| true);
        }
        match name {
            "help" => cx.notice(self.help.trim_end()),
            "commands" => cx.notice(commands(&cx.agent)),
            other => {
                cx.notice(format!("there is no `:{other}`\n{}", commands(&cx.agent)));
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The commands of this agent's prompt, a line each.
pub fn commands(agent: &Agent) -> String {
    let own = agent.parts.commands.iter().map(|c| (c.name.as_str(), c.help.as_str()));
    let shared = [("help", "what this lesson teaches, and what to try"), ("commands", "this list")];
    let mut lines: Vec<String> =
        own.chain(shared).map(|(name, help)| format!(":{name:<12} {help}")).collect();
    lines.push(
        "q, exit, quit or Ctrl+D leaves; Alt+Enter, or \\ at its end, begins a new line".into(),
    );
    lines.join("\n")
}

/// The state of a conversation at the prompt.
struct Talk {
    chat: Chat,
    /// From the command line.
    question: Option<String>,
    /// Lines that need not be typed.
    queue: VecDeque<String>,
    /// How many suggestions have been played.
    asked: usize,
    /// Whether no more input will come.
    ended: bool,
    failed: bool,
    /// How many turns in a row have failed that nobody typed.
    stumbles: u32,
}

impl Talk {
    fn fail(&mut self, cx: &Context, error: &Error) {
        // Before a person at the prompt, a failed turn is over once it has been seen.
        self.failed |= !cx.attended() || self.ended;
        cx.emit(Event::Failure(error.to_string()));
    }

    fn code(&self) -> u8 {
        u8::from(self.failed)
    }
}

/// The first message of a conversation, which also tells the model where it is. In the system text such facts would
/// change the prompt's prefix from day to day and folder to folder, and nothing of it would be cached.
pub fn first_message(cx: &Context, text: impl Into<String>) -> Message {
    let cwd = cx.cwd();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let environment = format!(
        "<environment>\nworking directory: {}\ngit repository: {}\nsystem: {} {}\ntoday: {}\n</environment>",
        cwd.display(),
        if cwd.ancestors().any(|dir| dir.join(".git").exists()) { "yes" } else { "no" },
        std::env::consts::OS,
        std::env::consts::ARCH,
        date.get(..16).unwrap_or(&date),
    );
    Message { role: Role::User, content: vec![Block::text(environment), Block::text(text)] }
}

/// Waits until something can be told to the model: true, or false once every [`Agent::wake`] expects nothing more. While
/// more may come from elsewhere (`ended` is false) it never says no, and asks again from time to time.
pub async fn woken(cx: &Context, ended: bool) -> bool {
    loop {
        let mut wakes: FuturesUnordered<_> =
            cx.agent.parts.wakes.iter().map(|wake| wake(cx.clone())).collect();
        while let Some(yes) = wakes.next().await {
            if yes {
                return true;
            }
        }
        if ended {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// How long to wait after so many failed turns in a row: nothing, then a second, then twice as long each time, about a
/// minute at most.
pub fn pause(failures: u32) -> Duration {
    failures.checked_sub(1).map_or(Duration::ZERO, |times| Duration::from_secs(1 << times.min(6)))
}

/// The signals that end the program. Commands live in sessions of their own, so a signal reaches only us: whoever gets
/// one returns, and what is dropped on the way ends its processes.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals no longer kill, so make it before there is anything to clean up.
    ///
    /// # Errors
    /// When the system refuses a handler; it must be called within a tokio runtime.
    pub fn new() -> std::io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The exit code that the next signal asks for, as shells count it: 128 and its number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hangup.recv() => 129,
        }
    }
}
