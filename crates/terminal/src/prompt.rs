//! The prompt that all lessons share: reads a line, runs a turn, and again; and every way out of
//! it.
use crate::{
    Interrupt, Screen, Signals,
    commands::{Meaning, command_list, names},
    interrupt::{INTERRUPTED, Interrupts},
    line_editor::{Look, Typed},
    tally::Meter,
};
use rungs_core::{Agent, Chat, Context, Error, Event, Loop, Message, Reply, Result};
use rungs_http::Backoff;
use std::{
    collections::VecDeque,
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How many turns that nobody typed may fail in a row before a program ends to which nobody can
/// type.
const MAX_UNATTENDED_FAILURES: u32 = 3;

/// How long to wait before the agent's wakes, which expected nothing, are asked again: what they
/// wait for may also begin elsewhere.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer of the wakes may take that is waited for before the prompt is shown.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What is said when Ctrl+C has stopped a turn.
const STOPPED: &str = "stopped; the conversation stays, and so does what was done to files";

/// How long a turn that was asked to stop may take before it is dropped.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The exit code for wrong use.
const USAGE_ERROR: u8 = 2;

/// What a person reads first.
const FIRST: &str = "Type what to do, or :help; :commands lists what there is, q leaves.";

/// How a conversation is held.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Stands before ` >> `.
    pub name: String,
    /// What `:help` prints.
    pub help: String,
    /// What to type: offered one after the other, played on Enter.
    pub suggestions: Vec<String>,
    /// Whether an empty pipe plays all suggestions; without this it is wrong use.
    pub plays_alone: bool,
    /// What is said once all suggestions were played.
    pub last_line: String,
    /// The only prompt of this run, from the command line.
    pub question: Option<String>,
    /// The file that keeps lines typed on a terminal.
    pub history: Option<PathBuf>,
    /// The conversation that it goes on with.
    pub chat: Chat,
}

/// What to do next.
enum Next {
    /// Run this line, which may be a command.
    Line(String),
    /// Run this text as a prompt, whatever it looks like.
    Prompt(String),
    /// Run a turn for which nobody typed anything.
    Woken,
    /// Nothing is expected any more, and all that was suggested is played.
    AllPlayed,
    Leave(u8),
}

impl Prompt {
    /// Holds a conversation until the input ends, the person leaves or a signal comes. Returns the
    /// exit code: 0, 1 when a turn failed that nobody watched, 128 + the signal's number.
    pub async fn run<L>(
        self,
        agent: Agent,
        screen: Screen,
        mut signals: Signals,
        agent_loop: L,
    ) -> u8
    where
        L: for<'a> Loop<'a> + Copy,
    {
        let agent = agent.ui(screen.clone()).wrap(Meter(screen.clone()));
        let _quiet = screen.echo_off();
        screen.set_commands(names(&agent));
        if self.question.is_none() && screen.is_terminal() {
            screen.say(FIRST);
        }
        let mut session = Session {
            chat: self.chat.clone(),
            question: self.question.clone(),
            queue: VecDeque::new(),
            suggestions_played: 0,
            end_said: false,
            typed: false,
            input_ended: self.question.is_some(),
            failed: false,
            backoff: Backoff::default(),
            interrupts: Interrupts::default(),
        };
        let code = self.hold(&mut session, &agent, &screen, &mut signals, agent_loop).await;
        if session.queue.is_empty() && code == 0 && self.all_played(&session) {
            self.say_last_line(&mut session, &screen);
        }
        for failure in agent.exit().await {
            agent.context().emit(Event::Failure(format!("on the way out, {failure}")));
        }
        match signals.came() {
            // It came when the program was ending anyway, such as together with the end of input.
            Some(asked) if code == 0 => asked,
            _ if code == 0 && screen.write_failed() => 1,
            _ => code,
        }
    }

    async fn hold<L>(
        &self,
        session: &mut Session,
        agent: &Agent,
        screen: &Screen,
        signals: &mut Signals,
        agent_loop: L,
    ) -> u8
    where
        L: for<'a> Loop<'a> + Copy,
    {
        let cx = agent.context();
        loop {
            let (prompt, woken) = match self.next(session, agent, screen, signals).await {
                Next::Leave(code) => return code,
                Next::Woken => (Message::empty(), true),
                Next::AllPlayed => {
                    self.say_last_line(session, screen);
                    continue;
                }
                Next::Prompt(text) => (Message::user(text), false),
                Next::Line(line) => match Meaning::of(&line, &names(agent)) {
                    Meaning::Nothing => continue,
                    Meaning::Leave => return session.code(),
                    Meaning::Command(command) => {
                        let start = Instant::now();
                        let _keys = screen.keys();
                        let running = self.command(command, &mut session.chat, agent);
                        let done = tokio::select! {
                            done = running => Ok(done),
                            code = signals.next() => Err(code),
                            never = screen.show_elapsed() => match never {},
                        };
                        match done {
                            Ok(Ok(known)) => session.failed |= !known && !cx.attended(),
                            Ok(Err(error)) => session.fail(&cx, &error),
                            Err(code) => {
                                let goes_on = session.goes_on(&cx);
                                if !goes_on || !session.interrupts.stops(code, signals) {
                                    return code;
                                }
                                cx.notice(STOPPED);
                            }
                        }
                        screen.show_tally(start.elapsed());
                        continue;
                    }
                    Meaning::Prompt(text) => (Message::user(text), false),
                },
            };
            let start = Instant::now();
            let end = match self.turn(session, agent, screen, signals, prompt, agent_loop).await {
                Ok(end) => end,
                Err(code) => return code,
            };
            if woken {
                session.backoff.count(end.as_ref().is_err_and(Error::is_failure));
            } else {
                session.backoff = Backoff::default();
            }
            match end {
                Ok(_) => {}
                // Somebody else was quicker with what woke it.
                Err(Error::NothingToAnswer) if woken => {}
                Err(Error::Cancelled) => {
                    screen.lines_to_draft().await;
                    cx.notice(STOPPED);
                }
                Err(error) => session.fail(&cx, &error),
            }
            screen.show_tally(start.elapsed());
        }
    }

    /// Runs one turn to its end, or until the person or a signal stops it. The error is the exit
    /// code of a program that ends with it.
    async fn turn<L>(
        &self,
        session: &mut Session,
        agent: &Agent,
        screen: &Screen,
        signals: &mut Signals,
        prompt: Message,
        agent_loop: L,
    ) -> Result<Result<Reply>, u8>
    where
        L: for<'a> Loop<'a> + Copy,
    {
        let interrupt = Interrupt::default();
        let agent = agent.clone().with(interrupt.clone());
        let (goes_on, code) = (session.goes_on(&agent.context()), session.code());
        let _keys = screen.keys();
        let mut turn = pin!(agent.run(&mut session.chat, prompt, agent_loop));
        let code = tokio::select! {
            end = &mut turn => return Ok(end),
            code = signals.next() => code,
            never = screen.show_elapsed() => match never {},
            () = screen.closed().cancelled() => code,
        };
        let stops = goes_on && session.interrupts.stops(code, signals);
        let end = match interrupt.request() {
            true => timeout(STOP_GRACE, turn).await.unwrap_or(Err(Error::Cancelled)),
            false => Err(Error::Cancelled),
        };
        if let Some(line) = interrupt.given_back() {
            screen.keep(line).await;
        }
        if stops { Ok(end) } else { Err(code) }
    }

    async fn next(
        &self,
        session: &mut Session,
        agent: &Agent,
        screen: &Screen,
        signals: &mut Signals,
    ) -> Next {
        let prompt = format!("{} >> ", self.name);
        if let Some(question) = session.question.take() {
            screen.echo(&prompt, &question);
            return Next::Prompt(question);
        }
        if let Some(line) = session.queue.pop_front() {
            screen.echo(&prompt, &line);
            return Next::Line(line);
        }
        // Not while jobs and teammates go on. Where that is known at once, the prompt comes after.
        let all_played = screen.is_terminal() && self.all_played(session);
        if all_played && timeout(AT_ONCE, agent.woken(&session.chat)).await == Ok(false) {
            return Next::AllPlayed;
        }
        let suggestion =
            self.suggestions.get(session.suggestions_played).map_or("", |s| s.as_str());
        let (ended, backoff) = (session.input_ended, session.backoff);
        if ended && backoff.consecutive_failures() >= MAX_UNATTENDED_FAILURES {
            return Next::Leave(session.code());
        }
        let chat = &session.chat;
        let woken = async {
            // What woke it and failed would wake it again at once, for ever.
            tokio::time::sleep(backoff.delay()).await;
            while !agent.woken(chat).await {
                if ended {
                    return Next::Leave(0);
                }
                if all_played {
                    return Next::AllPlayed;
                }
                tokio::time::sleep(WAKE_INTERVAL).await;
            }
            Next::Woken
        };
        let mut other = pin!(async {
            tokio::select! {
                next = woken => next,
                code = signals.next() => Next::Leave(code),
                () = screen.closed().cancelled() => Next::Leave(0),
            }
        });
        let next = if ended {
            other.await
        } else {
            let look = Look {
                prompt: prompt.clone(),
                suggestion: suggestion.into(),
                history: self.history.clone(),
                commands: names(agent),
                leaves_until: session.interrupts.leaves_until(),
                colour: false,
            };
            match screen.prompt(look, &mut other).await {
                Ok(Typed::Line(line)) if screen.is_terminal() => {
                    let empty = line.trim().is_empty() && !suggestion.is_empty();
                    let line = if empty { suggestion.to_string() } else { line };
                    if empty {
                        screen.echo_suggestion(&prompt, &line);
                    }
                    session.suggestions_played += usize::from(line == suggestion);
                    Next::Line(line)
                }
                Ok(Typed::Line(line) | Typed::Ahead(line)) => {
                    session.typed |= !line.trim().is_empty();
                    screen.echo(&prompt, &line);
                    Next::Line(line)
                }
                Ok(Typed::Interrupt) => Next::Leave(INTERRUPTED),
                Ok(Typed::Unreadable(why)) => {
                    screen.say(&format!("error: standard input: {why}"));
                    Next::Leave(USAGE_ERROR)
                }
                Ok(Typed::End)
                    if !screen.is_terminal() && !self.plays_alone && session.is_unused() =>
                {
                    screen.say("error: standard input is empty; a prompt is a line of it");
                    Next::Leave(USAGE_ERROR)
                }
                Ok(Typed::End | Typed::TakenBack) => {
                    session.input_ended = true;
                    // An empty pipe, or none at all, means that nobody types: play what there is to
                    // see.
                    if session.is_unused() && self.plays_alone && !screen.is_terminal() {
                        session.queue = self.suggestions.iter().cloned().collect();
                        session.suggestions_played = session.queue.len();
                    }
                    if screen.is_terminal() { Next::Leave(0) } else { Next::Line(String::new()) }
                }
                Err(next) => next,
            }
        };
        match next {
            Next::Leave(0) => Next::Leave(session.code()),
            next => next,
        }
    }

    /// Whether all suggestions were played and that was not said yet.
    fn all_played(&self, session: &Session) -> bool {
        let all = self.suggestions.len();
        all > 0 && session.suggestions_played == all && !session.end_said
    }

    fn say_last_line(&self, session: &mut Session, screen: &Screen) {
        session.end_said = true;
        screen.say(&self.last_line);
    }

    /// Runs a command; false when there is none of that name.
    async fn command(&self, line: &str, chat: &mut Chat, agent: &Agent) -> Result<bool> {
        let (name, args) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if let Some(end) = agent.run_command(name, args.trim(), chat).await {
            return end.map(|()| true);
        }
        let cx = agent.context();
        match name {
            "help" => cx.notice(self.help.trim_end()),
            "commands" => cx.notice(command_list(agent)),
            other => {
                cx.notice(format!("there is no `:{other}`\n{}", command_list(agent)));
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A conversation at the prompt.
struct Session {
    chat: Chat,
    /// From the command line.
    question: Option<String>,
    /// Lines that need not be typed.
    queue: VecDeque<String>,
    suggestions_played: usize,
    /// Whether it was said that all suggestions were played.
    end_said: bool,
    /// Whether a line came that is not blank.
    typed: bool,
    /// Whether no more input will come.
    input_ended: bool,
    /// Whether a turn failed that nobody watched.
    failed: bool,
    /// Of the turns that nobody typed.
    backoff: Backoff,
    interrupts: Interrupts,
}

impl Session {
    fn fail(&mut self, cx: &Context, error: &Error) {
        // A person at the prompt has seen the failure; the exit code reports it to everybody else.
        self.failed |= !cx.attended() || self.input_ended;
        cx.emit(Event::Failure(error.to_string()));
    }

    /// Whether a person is there who can go on at the prompt.
    fn goes_on(&self, cx: &Context) -> bool {
        cx.attended() && !self.input_ended
    }

    /// Whether nothing was typed, and nothing else began a turn.
    fn is_unused(&self) -> bool {
        !self.typed && self.chat.messages().is_empty()
    }

    fn code(&self) -> u8 {
        u8::from(self.failed)
    }
}
