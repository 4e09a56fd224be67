//! What a session's file tells of a conversation, and how it follows that conversation.
use crate::{
    Error, REDACTED, Record, Result, Session, Sessions, Tree, Turn,
    patch::{diff, merge},
    record::{Entry, TURN},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    ptr,
    sync::Arc,
};

/// The kinds of records of a conversation, beside those of every session.
pub(crate) const MESSAGE: &str = "message";
/// States by name, whole; `null` for one that is gone.
pub(crate) const STATES: &str = "states";
/// States by name, as what changed in each (see [`diff`]): with every step some grow by a little.
pub(crate) const PATCH: &str = "states_patch";
pub(crate) const CALL: &str = "call";
pub(crate) const RESULT: &str = "result";

/// How many characters the label of a turn and the title of a session have at most.
const MAX_NAME_CHARS: usize = 60;

/// A record, as far as a conversation knows its kind.
#[derive(Debug)]
enum Node<M> {
    Message(Arc<M>),
    States(Map<String, Value>),
    Patch(Map<String, Value>),
    Turn(Turn),
    Call(String),
    Result(String),
    Other,
}

/// A session, and the path to where its conversation is: messages `M`, states `S`, turns and calls.
/// A state can be borrowed as JSON; copies of one should have that at the same address, since this
/// is how most of them are found to be unchanged.
///
/// It is a mirror: [`sync`](Conversation::sync) compares the path with the conversation as it is
/// now, and appends what is new. Where both differ, a new branch begins. So whatever is done to a
/// conversation (history rewritten, a prompt withdrawn, text joined to an unsent message) needs
/// nothing of its own. Every method that returns a [`Result`] blocks.
#[derive(Debug)]
pub struct Conversation<M, S> {
    session: Session,
    /// From the root to where the conversation is, with the numbers of the records.
    path: Vec<(u64, Node<M>)>,
    /// As they are at the end of the path.
    states: BTreeMap<String, S>,
    /// The names of all states that the path has ever had.
    state_names: BTreeSet<String>,
    /// A turn that has begun, and whose first message is not written yet.
    turn: Option<Turn>,
    /// Whether the messages are not those that were sent.
    is_changed: bool,
    /// Where the turn began: the record, and how many messages there were.
    begun: Option<(u64, usize)>,
}

/// A conversation as it is now.
#[derive(Debug)]
pub struct Now<M, S> {
    /// Its messages, in order.
    pub messages: Vec<Arc<M>>,
    /// Its states, by name.
    pub states: BTreeMap<String, S>,
}

/// A message, and what was recorded between it and the next one.
#[derive(Debug)]
pub struct Step<'a, M, R> {
    /// The message.
    pub message: &'a Arc<M>,
    /// The ids of those of its calls that have begun.
    pub begun: Vec<&'a str>,
    /// Those results of its calls that have a record of their own.
    pub results: Vec<R>,
}

impl<M, S> Conversation<M, S>
where
    M: Serialize + DeserializeOwned + PartialEq,
    S: Borrow<Value> + From<Value> + Clone,
{
    /// The conversation of this session, where it is now.
    pub fn new((session, tree): (Session, Tree)) -> Self {
        let mut new = Conversation {
            session,
            path: vec![],
            states: BTreeMap::new(),
            state_names: BTreeSet::new(),
            turn: None,
            is_changed: false,
            begun: None,
        };
        new.read(&tree, tree.head());
        new
    }

    fn read(&mut self, tree: &Tree, head: u64) {
        let (mut before, mut states) = (0, Value::Object(Map::new()));
        (self.is_changed, self.path) = (false, vec![]);
        for record in tree.path(head) {
            let is_lost = record.parent != before;
            self.is_changed |= is_lost || record.data.get().contains(REDACTED);
            before = record.id;
            let node = match Node::read(record) {
                Node::States(whole) => {
                    self.state_names.extend(whole.keys().cloned());
                    for (name, state) in whole {
                        states[name] = state;
                    }
                    Node::Other
                }
                Node::Patch(patch) => {
                    self.state_names.extend(patch.keys().cloned());
                    merge(&mut states, patch.into());
                    Node::Other
                }
                node => node,
            };
            self.path.push((record.id, node));
        }
        let Value::Object(states) = states else { unreachable!("it began as an object") };
        let is_there = |(_, state): &(String, Value)| !state.is_null();
        self.states = states.into_iter().filter(is_there).map(|(n, s)| (n, S::from(s))).collect();
    }

    /// The id of the session.
    pub fn id(&self) -> &str {
        self.session.id()
    }

    /// Whether the messages are not those that were sent: keys were replaced in what was read, or a
    /// record is lost.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The record at which the conversation is.
    pub fn head(&self) -> u64 {
        self.path.last().map_or(0, |(id, _)| *id)
    }

    /// The messages.
    pub fn messages(&self) -> impl Iterator<Item = &Arc<M>> {
        self.placed().map(|(_, message)| message)
    }

    /// The messages, with their places on the path.
    fn placed(&self) -> impl Iterator<Item = (usize, &Arc<M>)> {
        self.path.iter().enumerate().filter_map(|(place, (_, node))| match node {
            Node::Message(message) => Some((place, message)),
            _ => None,
        })
    }

    /// The states.
    pub fn states(&self) -> &BTreeMap<String, S> {
        &self.states
    }

    /// The messages, each with what is known of its calls.
    pub fn steps<R: DeserializeOwned>(&self) -> Vec<Step<'_, M, R>> {
        let mut steps: Vec<Step<'_, M, R>> = vec![];
        for (_, node) in &self.path {
            match (node, steps.last_mut()) {
                (Node::Message(message), _) => {
                    steps.push(Step { message, begun: vec![], results: vec![] });
                }
                (Node::Call(id), Some(step)) => step.begun.push(id),
                (Node::Result(json), Some(step)) => {
                    step.results.extend(serde_json::from_str(json).ok());
                }
                _ => {}
            }
        }
        steps
    }

    /// A turn begins, whose prompt is in the conversation already; the first line names the turn.
    /// Its record is written with its first message, since a turn in which nothing is said is none.
    /// It is not flushed: its first request does that, or its end.
    ///
    /// # Errors
    /// As for [`sync`](Conversation::sync).
    pub fn begin_turn(&mut self, prompt: &str, now: &Now<M, S>) -> Result<()> {
        // A part of a key is no longer known as one: keys are replaced first.
        let prompt = self.session.redactor.text(prompt);
        let line = prompt.lines().next().unwrap_or_default();
        let label = line.chars().take(MAX_NAME_CHARS).collect();
        let turn = Turn { before: self.head(), label };
        self.begun = Some((turn.before, self.messages().count()));
        self.turn = Some(turn);
        self.write(now)
    }

    /// The turn has ended. If its prompt was withdrawn, the conversation goes on from where it was.
    ///
    /// # Errors
    /// As for [`sync`](Conversation::sync).
    pub fn end_turn(
        &mut self,
        sessions: &Sessions,
        withdrawn: bool,
        now: &Now<M, S>,
    ) -> Result<()> {
        if let Some((before, count)) = self.begun.take()
            && withdrawn
            && now.messages.len() <= count
        {
            self.read(&sessions.read(self.id())?, before);
        }
        self.sync(now)?;
        self.turn = None;
        Ok(())
    }

    /// Writes what the file does not know of this conversation, and flushes it to the disk.
    ///
    /// # Errors
    /// Those of the session that it belongs to. What was written is not known then: open the
    /// session again.
    pub fn sync(&mut self, now: &Now<M, S>) -> Result<()> {
        self.write(now)?;
        self.flush()
    }

    /// Writes what the file does not know of this conversation, so that it survives the end of the
    /// program; a power cut only once it is [flushed](Conversation::flush).
    ///
    /// # Errors
    /// As for [`sync`](Conversation::sync).
    pub fn write(&mut self, now: &Now<M, S>) -> Result<()> {
        let Now { messages, states } = now;
        let (same, parted) = self.part_where_different(messages);
        let mut nodes = vec![];
        if same < messages.len() {
            nodes.extend(self.turn.take().map(Node::Turn));
        }
        nodes.extend(messages[same..].iter().cloned().map(Node::Message));
        let (mut whole, mut patch) = (Map::new(), Map::new());
        for (name, state) in states {
            let known = self.states.get(name).filter(|_| !parted);
            let (known, state) = (known.map(Borrow::borrow), state.borrow());
            if known.is_some_and(|known| ptr::eq(known, state) || known == state) {
                continue;
            }
            match known.and_then(|known| diff(known, state)) {
                Some(change) => patch.insert(name.clone(), change),
                None => whole.insert(name.clone(), state.clone()),
            };
        }
        for name in self.state_names.iter().filter(|name| !states.contains_key(*name)) {
            if parted || self.states.contains_key(name) {
                whole.insert(name.clone(), Value::Null);
            }
        }
        if !whole.is_empty() {
            self.state_names.extend(whole.keys().cloned());
            nodes.push(Node::States(whole));
        }
        if !patch.is_empty() {
            nodes.push(Node::Patch(patch));
        }
        self.states.clone_from(states);
        if nodes.is_empty() && self.head() != self.session.head() {
            nodes.push(Node::Other);
        }
        self.append_unflushed(nodes)
    }

    /// Brings to the disk what was written.
    ///
    /// # Errors
    /// As for [`sync`](Conversation::sync).
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.session.journal.flush()?)
    }

    /// Leaves the part of the path that these messages do not follow. Returns how many they share,
    /// and whether something was left: what the states were there, only the file knows.
    fn part_where_different(&mut self, messages: &[Arc<M>]) -> (usize, bool) {
        let (mut same, mut end) = (0, 0);
        let mut differs = false;
        for (place, known) in self.placed() {
            differs = !messages.get(same).is_some_and(|m| Arc::ptr_eq(m, known) || m == known);
            if differs {
                break;
            }
            (same, end) = (same + 1, place + 1);
        }
        if differs {
            let left = self.path.split_off(end);
            let mut left_turns = left.into_iter().rev().filter_map(|(_, node)| match node {
                Node::Turn(turn) => Some(turn),
                _ => None,
            });
            // That turn goes on, on another branch: a rewind of it leads to what was before it.
            self.turn = self.turn.take().or_else(|| left_turns.next());
        }
        (same, differs)
    }

    /// This call is about to run.
    ///
    /// # Errors
    /// As for [`sync`](Conversation::sync): the call must not run then.
    pub fn begin_call(&mut self, id: &str) -> Result<()> {
        self.append(vec![Node::Call(id.into())])
    }

    /// The result of one of several calls. That of a single call is in the next message anyway.
    ///
    /// # Errors
    /// As for [`sync`](Conversation::sync).
    pub fn end_call(&mut self, result: &impl Serialize) -> Result<()> {
        match serde_json::to_string(result) {
            Ok(json) => self.append(vec![Node::Result(json)]),
            // It has no form that could be saved, and the message that holds it will say so.
            Err(_) => Ok(()),
        }
    }

    /// Names the session. An empty title takes the name back.
    ///
    /// # Errors
    /// [`Error::NoName`] for one of over 60 characters, and as for [`sync`](Conversation::sync).
    pub fn title(&mut self, title: &str) -> Result<()> {
        if title.chars().count() > MAX_NAME_CHARS {
            let why = "a title has 60 characters at most";
            return Err(Error::NoName { name: title.into(), why });
        }
        self.append_entry(Entry::title(title))
    }

    /// Names the place at which the conversation is, for a rewind to it: every step is saved
    /// anyway.
    ///
    /// # Errors
    /// [`Error::NoName`] without a name and for a number, and as for [`sync`](Conversation::sync).
    pub fn save(&mut self, name: &str) -> Result<()> {
        let why = match name.parse::<u64>() {
            _ if name.is_empty() => "every step is saved by itself; a name is for `:rewind NAME`",
            Ok(_) => "a rewind to a number takes back so many turns",
            Err(_) => return self.append_entry(Entry::save(name)),
        };
        Err(Error::NoName { name: name.into(), why })
    }

    fn append_entry(&mut self, entry: Entry) -> Result<()> {
        let records = self.session.append(self.head(), vec![entry])?;
        self.path.extend(records.into_iter().map(|record| (record.id, Node::Other)));
        self.flush()
    }

    /// Takes back so many turns, or all since a saved place (see [`Tree::before`]), with their
    /// states. What is taken back stays in the file. Returns those turns.
    ///
    /// # Errors
    /// [`Error::NoPlace`](crate::Error::NoPlace), and as for [`sync`](Conversation::sync).
    pub fn rewind(&mut self, sessions: &Sessions, to: &str) -> Result<Vec<Turn>> {
        let tree = sessions.read(self.id())?;
        let (place, turns) = tree.before(self.head(), to)?;
        self.read(&tree, place);
        self.append(vec![Node::Other])?;
        Ok(turns)
    }

    fn append(&mut self, nodes: Vec<Node<M>>) -> Result<()> {
        self.append_unflushed(nodes)?;
        self.flush()
    }

    fn append_unflushed(&mut self, nodes: Vec<Node<M>>) -> Result<()> {
        if nodes.is_empty() {
            return Ok(());
        }
        let entries = nodes.iter().map(Node::entry).collect();
        let records = self.session.append(self.head(), entries)?;
        // What states were is kept in the file alone: with each step there is more of it.
        let kept = nodes.into_iter().map(|node| match node {
            Node::States(_) | Node::Patch(_) => Node::Other,
            other => other,
        });
        self.path.extend(records.into_iter().map(|record| record.id).zip(kept));
        Ok(())
    }
}

impl<M: Serialize + DeserializeOwned> Node<M> {
    fn read(record: &Record) -> Self {
        let node = match record.kind.as_str() {
            MESSAGE => record.read().map(Node::Message),
            STATES => record.read().map(Node::States),
            PATCH => record.read().map(Node::Patch),
            TURN => record.read().map(Node::Turn),
            CALL => record.read().map(Node::Call),
            RESULT => Some(Node::Result(record.data.get().into())),
            _ => None,
        };
        node.unwrap_or(Node::Other)
    }

    fn entry(&self) -> Entry {
        match self {
            Node::Message(message) => Entry::new(MESSAGE, message),
            Node::States(states) => Entry::new(STATES, states),
            Node::Patch(patch) => Entry::new(PATCH, patch),
            Node::Turn(turn) => Entry::turn(turn),
            Node::Call(id) => Entry::new(CALL, id),
            Node::Result(json) => Entry::raw(RESULT, json),
            Node::Other => Entry::head(),
        }
    }
}
