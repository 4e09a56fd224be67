//! Turns: what holds for one, and how an agent runs it.
use crate::{
    Agent, AnyTool, Block, Chat, Event, Loop, Message, NextAsk, NextBatch, NextTurn, Reply, Result,
    ToolCall, ToolResult, chat::results_of, state::States,
};
use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, atomic::AtomicBool};
use tokio_util::sync::CancellationToken;

/// What holds for one turn. An agent outside of a turn has one too, so that tools can be tried on
/// it.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub cancel: CancellationToken,
    /// The tools of the sources, as they were when the loop began.
    pub listed: Arc<[AnyTool]>,
    /// Those of the conversation that the turn is about.
    pub states: Arc<Mutex<States>>,
    pub values: Arc<TypeMap>,
    /// Whether deltas of a reply were shown that is not whole yet.
    pub deltas_shown: Arc<AtomicBool>,
    pub progress: Arc<Mutex<Progress>>,
}

pub(crate) type TypeMap = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// How far a turn has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// The conversation that the server accepted last in this turn, and its reply to it.
    accepted: Option<(Chat, Arc<Message>)>,
    /// Whether the refusal that ends the turn was dealt with.
    pub withdrawn: bool,
}

impl Progress {
    /// Takes back what the server refused, once for each refusal: the chat returns to the last step
    /// that the server accepted, so that completed work is not forgotten, or to `before`. The
    /// results that followed that step are what was refused, so a note takes their place.
    pub(crate) fn withdraw(&mut self, chat: &mut Chat, before: &Chat) {
        if std::mem::replace(&mut self.withdrawn, true) {
            return;
        }
        *chat = before.clone();
        if let Some((accepted, reply)) = &self.accepted {
            *chat = accepted.clone();
            chat.push(reply.clone());
            chat.close_open_calls(
                "This result was withdrawn, since the server refused the request that carried it. \
                 What the call did to files and processes stays done.",
            );
        }
        chat.refused = true;
    }
}

impl Agent {
    /// A new conversation, whose first message will tell the model where it is.
    pub fn new_chat(&self) -> Chat {
        let mut chat = Chat::default();
        chat.open_with(|| self.environment());
        chat
    }

    /// Where the agent is. It stands in the first message, not in the system text, whose prefix
    /// would then change from folder to folder.
    pub(crate) fn environment(&self) -> Block {
        let now = httpdate::fmt_http_date(std::time::SystemTime::now());
        let today = now.get(..16).unwrap_or(&now);
        let git = self.cwd.ancestors().any(|dir| dir.join(".git").exists());
        let (cwd, git) = (self.cwd.display(), if git { "yes" } else { "no" });
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let withheld = match self.command_environment.withheld() {
            Some(names) => format!("\nvariables that commands do not get: {names}"),
            None => String::new(),
        };
        let text = format!(
            "<environment>\nworking directory: {cwd}\ngit repository: {git}\nsystem: {os} {arch}\n\
             today: {today}{withheld}\n</environment>"
        );
        Block::kept("environment", text)
    }

    /// One turn: puts the prompt into the chat (a new one also tells the model where it is) and
    /// lets the loop answer it, through every layer. The way in for everybody: the prompt,
    /// subagents, teammates. With [`Message::empty`] the model answers what a layer puts in.
    ///
    /// Afterwards every call is answered, whatever happened; after a drop, the next push does that.
    ///
    /// # Errors
    /// Whatever ends the turn. If that [withdraws](crate::Error::withdraws) the request, chat and
    /// states return to the last step that the server accepted, or to before the prompt.
    pub async fn run(
        &self,
        chat: &mut Chat,
        prompt: impl Into<Message>,
        agent_loop: impl for<'a> Loop<'a>,
    ) -> Result<Reply> {
        let before = chat.clone();
        let mut agent = self.clone();
        agent.scope = Scope {
            values: self.scope.values.clone(),
            cancel: self.scope.cancel.child_token(),
            ..Scope::default()
        };
        // What still works for this turn when it ends, or is dropped, ends too.
        let _ended = agent.scope.cancel.clone().drop_guard();
        let cx = agent.context();
        chat.open_with(|| self.environment());
        let prompt = prompt.into();
        chat.push(prompt.clone());
        let (layers, agent_loop) = (&agent.parts.layers, &agent_loop);
        let next = NextTurn { layers, agent_loop, prompt: &prompt, before: &before };
        let end = next.run(chat, &cx).await;
        if end.as_ref().is_err_and(|error| error.withdraws()) {
            cx.notice(if chat.messages().len() > before.messages().len() {
                "the conversation goes on from the last step that the server accepted"
            } else {
                "the conversation goes on without that prompt and what came of it"
            });
        }
        end
    }

    /// This agent with the tools of the sources, as they are now.
    pub(crate) fn listed(&self) -> Agent {
        let mut names: HashSet<String> =
            self.parts.tools.iter().map(|tool| tool.spec().name.clone()).collect();
        names.extend(self.without.iter().cloned());
        let tools = self.parts.sources.iter().flat_map(|source| source.tools());
        let listed = tools.filter(|tool| names.insert(tool.spec().name.clone())).collect();
        Agent { scope: Scope { listed, ..self.scope.clone() }, ..self.clone() }
    }

    /// Asks the model, through every layer. For the loop; everybody else calls [`run`](Agent::run).
    ///
    /// # Errors
    /// Whatever ends the turn; the chat is as valid as before.
    pub async fn ask(&self, chat: &mut Chat) -> Result<Reply> {
        let cx = self.context();
        let end = NextAsk(&self.parts.layers).run(chat, &cx).await;
        match &end {
            Ok(reply) => {
                cx.progress().accepted = Some((chat.clone(), reply.message.clone()));
                cx.emit(Event::Reply(reply.clone()));
            }
            Err(_) => cx.discard_deltas(),
        }
        end
    }

    /// Runs the calls, through every layer: one message with one result per call, in their order,
    /// whatever the layers and the tools do. For the loop.
    pub async fn act(&self, calls: Vec<ToolCall>) -> Message {
        let results = NextBatch(&self.parts.layers).run(calls.clone(), &self.context()).await;
        let results = results.into_iter().map(ToolResult::into_block).collect();
        results_of(&calls, results, "not run")
    }
}
