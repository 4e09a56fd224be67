//! The lasting conversation: messages in a chat, which owns its states.
use crate::{Block, SavedStates, State, ToolCall, ToolResult, block::content, state::States};
use serde::{Deserialize, Deserializer, Serialize};
use std::{borrow::Cow, sync::Arc};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person, the harness, and the results of tools.
    User,
    /// The model.
    Assistant,
}

/// A message. It is shared by the chat, the requests made of it and the session log, and edited by
/// copying.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(deserialize_with = "content")]
    pub content: Vec<Block>,
}

impl<S: Into<String>> From<S> for Message {
    fn from(text: S) -> Self {
        Message::user(text)
    }
}

impl Message {
    /// Text that the person typed.
    pub fn user(text: impl Into<String>) -> Self {
        Message { role: Role::User, content: vec![Block::text(text)] }
    }

    /// No content: a turn begins with it for which nobody typed a prompt.
    pub fn empty() -> Self {
        Message { role: Role::User, content: vec![] }
    }

    /// Text that the part `name` of the harness inserts.
    pub fn inserted(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Message { role: Role::User, content: vec![Block::inserted(name, text)] }
    }

    /// Inserted text that survives compaction word for word.
    pub fn kept(name: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Message { role: Role::User, content: vec![Block::kept(name, text)] }
    }

    /// Blocks of the model.
    pub fn assistant(content: Vec<Block>) -> Self {
        Message { role: Role::Assistant, content }
    }

    /// Results for the calls of the message before.
    pub fn results(results: impl IntoIterator<Item = ToolResult>) -> Self {
        let content = results.into_iter().map(ToolResult::into_block).collect();
        Message { role: Role::User, content }
    }

    /// All its text blocks, joined.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Block::as_text).collect()
    }

    /// What the person typed of it, block by block.
    pub fn typed(&self) -> impl Iterator<Item = &str> {
        let typed = |block: &&Block| self.role == Role::User && block.origin().is_none();
        self.content.iter().filter(typed).filter_map(Block::as_text)
    }

    /// Takes off the text that the person typed last, and what was inserted after it.
    pub fn split_off_prompt(&mut self) -> Option<Message> {
        let typed = |block: &Block| block.origin().is_none() && block.as_text().is_some();
        let place = self.content.iter().rposition(typed).filter(|_| self.role == Role::User)?;
        Some(Message { role: Role::User, content: self.content.split_off(place) })
    }

    /// All its tool calls, in order.
    pub fn calls(&self) -> Vec<ToolCall> {
        self.content.iter().filter_map(Block::as_call).collect()
    }

    /// Every block, those within results too.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.content.iter().flat_map(|block| match block {
            Block::ToolResult { content, .. } => content.as_slice(),
            other => std::slice::from_ref(other),
        })
    }

    pub(crate) fn has_call(&self, id: &str) -> bool {
        self.content.iter().any(|b| matches!(b, Block::ToolUse { id: own, .. } if own == id))
    }

    /// Whether it answers calls.
    pub fn has_results(&self) -> bool {
        self.content.iter().any(|block| block.answers().is_some())
    }

    /// Size in bytes of text, roughly what it takes of a model's window.
    pub fn size(&self) -> usize {
        self.content.iter().map(Block::size).sum()
    }
}

/// The lasting conversation, and the owner of its [`State`]s: append-only, and valid at every
/// moment. [`push`](Chat::push) is the only way in, and it keeps the one rule that the API never
/// forgives: every call is answered by the very next message, once. A clone is a snapshot with a
/// life of its own, states included.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chat {
    id: String,
    #[serde(deserialize_with = "pushed")]
    messages: Vec<Arc<Message>>,
    #[serde(rename = "state", default)]
    states: States,
    /// Stands before whatever is said first.
    #[serde(skip)]
    opening: Option<Block>,
    /// How many of the messages a server has taken; zero when that is not known.
    #[serde(skip)]
    accepted: usize,
    /// Whether the newest turn was refused; then the fault may lie before it.
    #[serde(skip)]
    pub(crate) refused: bool,
}

/// Through [`Chat::push`], so that a damaged file cannot bring unanswered calls back.
fn pushed<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Arc<Message>>, D::Error> {
    let messages = Vec::<Message>::deserialize(d)?;
    Ok(joined(messages))
}

fn joined<M: Into<Arc<Message>>>(messages: impl IntoIterator<Item = M>) -> Vec<Arc<Message>> {
    Chat::restore("", messages, SavedStates::new()).messages
}

impl Default for Chat {
    fn default() -> Self {
        let states = States::default();
        Chat {
            id: fresh_id(),
            messages: vec![],
            states,
            opening: None,
            accepted: 0,
            refused: false,
        }
    }
}

/// A message with one result for each call, in the order of the calls: the one that answers it, or
/// `why` there is none.
pub(crate) fn results_of(calls: &[ToolCall], mut results: Vec<Block>, why: &str) -> Message {
    let own = calls.iter().map(|call| {
        match results.iter().position(|block| block.answers() == Some(&call.id)) {
            Some(i) => results.remove(i),
            None => call.refuse(why).into_block(),
        }
    });
    Message { role: Role::User, content: own.collect() }
}

impl Chat {
    /// A conversation as it was saved.
    pub fn restore<M: Into<Arc<Message>>>(
        id: impl Into<String>,
        messages: impl IntoIterator<Item = M>,
        states: SavedStates,
    ) -> Self {
        let mut chat = Chat { id: id.into(), states: states.into(), ..Chat::default() };
        for message in messages {
            chat.push(message);
        }
        chat
    }

    /// The same conversation so far, under an id of its own from here on.
    pub fn fork(&self) -> Self {
        Chat { id: fresh_id(), ..self.clone() }
    }

    /// Names this conversation: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The messages so far; roles alternate.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// The answer to a call that nobody waited for: how far it came is not known.
    pub const INTERRUPTED: &str =
        "interrupted: it may have run, wholly or in part. Look before you do it again.";

    /// Every block of every message, those within results too.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.messages.iter().flat_map(|message| message.blocks())
    }

    /// The state of this type, as it is now.
    pub fn state<T: State>(&self) -> Arc<T> {
        self.states.get()
    }

    /// Changes that state. The closure must not ask for states itself: they are locked meanwhile.
    pub fn update<T: State, R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.states.update(change)
    }

    /// All states, as session files hold them.
    pub fn saved_states(&self) -> SavedStates {
        self.states.save()
    }

    pub(crate) fn states(&self) -> States {
        self.states.handle()
    }

    /// Puts this block before whatever is said first. It is made only if nothing was said yet.
    pub(crate) fn open_with(&mut self, block: impl FnOnce() -> Block) {
        if self.messages.is_empty() {
            self.opening = Some(block());
        }
    }

    /// Appends. An empty message is dropped, a repeated role is merged into the message before.
    /// Open calls get their results first, in the order of the calls: one that the message does not
    /// answer counts as interrupted, and a result that answers no open call is dropped.
    pub fn push(&mut self, message: impl Into<Arc<Message>>) {
        let message: Arc<Message> = message.into();
        let open = self.open_calls();
        if message.content.is_empty() || (open.is_empty() && !message.has_results()) {
            return self.append(message);
        }
        let Message { role, content } = Arc::unwrap_or_clone(message);
        let (results, rest): (Vec<Block>, Vec<Block>) =
            content.into_iter().partition(|block| block.answers().is_some());
        self.append(results_of(&open, results, Chat::INTERRUPTED).into());
        self.append(Message { role, content: rest }.into());
    }

    fn append(&mut self, message: Arc<Message>) {
        // A model may give an empty block of text, and then the API refuses it for ever.
        let mut message = without(message, Block::is_blank);
        if message.content.is_empty() {
            return;
        }
        if let Some(opening) = self.opening.take() {
            Arc::make_mut(&mut message).content.insert(0, opening);
        }
        match self.messages.last_mut() {
            Some(last) if last.role == message.role => {
                Arc::make_mut(last).content.extend(message.content.iter().cloned());
            }
            _ => self.messages.push(message),
        }
    }

    /// The calls of the newest message: those that nothing has answered yet.
    pub fn open_calls(&self) -> Vec<ToolCall> {
        self.messages.last().map_or(vec![], |last| last.calls())
    }

    /// Answers every open call with `why`, after a turn that was interrupted or failed.
    pub fn close_open_calls(&mut self, why: &str) {
        let open = self.open_calls();
        if !open.is_empty() {
            self.messages.push(Arc::new(results_of(&open, vec![], why)));
        }
    }

    /// Compaction: puts other messages in place of all there are. States [of the
    /// text](State::OF_TEXT) return to their defaults. Signed thinking is left out, since its
    /// signature is bound to all that stood before it; unsigned thinking comes from servers that
    /// want it back. Nothing else ever changes what was once sent.
    pub fn compact<M: Into<Arc<Message>>>(&mut self, messages: impl IntoIterator<Item = M>) {
        self.messages.clear();
        self.accepted = 0;
        for message in messages {
            self.push(without(message.into(), Block::is_signed_thinking));
        }
        self.states.forget_text();
    }

    /// A copy that was [compacted](Chat::compact) to these messages.
    pub fn compacted<M: Into<Arc<Message>>>(&self, messages: impl IntoIterator<Item = M>) -> Self {
        let mut compacted = self.clone();
        compacted.compact(messages);
        compacted
    }

    /// Where the newest steps begin: as many as fit into so many bytes, at least one, and never
    /// between a call and its result.
    pub fn newest_steps(&self, bytes: usize) -> usize {
        let (mut begin, mut size) = (self.messages.len(), 0);
        for step in self.messages.chunk_by(|_, next| next.has_results()).rev() {
            size += step.iter().map(|message| message.size()).sum::<usize>();
            if size > bytes && begin < self.messages.len() {
                break;
            }
            begin -= step.len();
        }
        begin
    }

    /// Puts this text in place of the pictures of the newest message that has some. Returns how
    /// many there were.
    pub(crate) fn replace_pictures(&mut self, text: &str) -> usize {
        let is_picture = |block: &Block| matches!(block, Block::Image { .. });
        let has_some = |message: &Arc<Message>| message.blocks().any(is_picture);
        let Some(place) = self.messages.iter().rposition(has_some) else { return 0 };
        let mut count = 0;
        let mut replace = |block: &mut Block| {
            if is_picture(block) {
                *block = Block::inserted("picture", text);
                count += 1;
            }
        };
        for block in &mut Arc::make_mut(&mut self.messages[place]).content {
            match block {
                Block::ToolResult { content, .. } => content.iter_mut().for_each(&mut replace),
                other => replace(other),
            }
        }
        if place + 1 < self.messages.len() {
            // What follows was bound to what is gone.
            *self = self.compacted(self.messages.clone());
        }
        count
    }

    /// A server has taken all there is.
    pub(crate) fn accept(&mut self) {
        self.accepted = self.messages.len();
        self.refused = false;
    }

    /// The messages without blocks of the model that only its server understands.
    pub(crate) fn without_opaque(&self) -> Vec<Arc<Message>> {
        let is_opaque = |block: &Block| matches!(block, Block::Other(_));
        joined(self.messages.iter().map(|message| without(message.clone(), is_opaque)))
    }

    /// The messages without those that no server has taken, but the newest, and `note` in place of
    /// them.
    pub(crate) fn without_unaccepted(&self, note: &str) -> Vec<Arc<Message>> {
        match self.messages.split_last() {
            Some((newest, older)) if (1..older.len()).contains(&self.accepted) => {
                let note = Arc::new(Message::inserted("refused", note));
                joined(older[..self.accepted].iter().cloned().chain([note, newest.clone()]))
            }
            _ => self.messages.clone(),
        }
    }

    /// Puts these in place, after a server has refused all there is and taken them.
    pub(crate) fn mend(&mut self, messages: Vec<Arc<Message>>) {
        self.messages = messages;
        self.states.forget_text();
    }

    /// Whether the model has something to answer.
    pub fn awaits_reply(&self) -> bool {
        self.messages.last().is_some_and(|m| m.role == Role::User)
    }

    /// Size in bytes of text, roughly what it takes of a model's window.
    pub fn size(&self) -> usize {
        self.messages.iter().map(|m| m.size()).sum()
    }
}

/// The message without such blocks; copied only if it has some.
fn without(mut message: Arc<Message>, unwanted: impl Fn(&Block) -> bool) -> Arc<Message> {
    if message.content.iter().any(&unwanted) {
        Arc::make_mut(&mut message).content.retain(|block| !unwanted(block));
    }
    message
}

fn fresh_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Plan(u32);
    impl State for Plan {
        const NAME: &'static str = "plan";
    }

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Read(Vec<String>);
    impl State for Read {
        const NAME: &'static str = "read";
        const OF_TEXT: bool = true;
    }

    #[test]
    fn a_call_that_nobody_waited_for_may_have_run() {
        let call = json!({"type": "tool_use", "id": "a", "name": "bash", "input": {}});
        let mut chat = Chat::default();
        chat.push(Message::user("go"));
        chat.push(Message::assistant(vec![Block::from_value(&call)]));
        chat.push(Message::user("next"));
        let texts: Vec<&str> = chat.messages()[2].blocks().filter_map(Block::as_text).collect();
        assert_eq!(texts, [Chat::INTERRUPTED, "next"]);
    }

    #[test]
    fn states_follow_the_conversation() {
        let mut chat = Chat::default();
        chat.push(Message::user("go"));
        chat.update(|plan: &mut Plan| plan.0 = 1);
        let fork = chat.fork();
        fork.update(|plan: &mut Plan| plan.0 = 2);
        let plans = [&chat, &fork, &Chat::default()].map(|chat| chat.state::<Plan>().0);
        assert_eq!((plans, chat.id() == fork.id()), ([1, 2, 0], false));

        let file = serde_json::to_string(&fork).unwrap();
        let read: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!((read.id(), read.state::<Plan>().0), (fork.id(), 2));
        // A state that nobody has asked for by its type is kept as well.
        let unread: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!(serde_json::to_string(&unread.clone()).unwrap(), file);
    }

    #[test]
    fn a_saved_state_of_another_shape_becomes_the_default() {
        let file = json!({"id": "1", "messages": [], "state": {"plan": {"value": "no number"}}});
        let chat: Chat = serde_json::from_value(file).unwrap();
        assert_eq!(chat.state::<Plan>().0, 0);
    }

    #[test]
    fn compaction_resets_states_of_the_text_and_no_other() {
        let mut chat = Chat::default();
        chat.push(Message::user("go"));
        chat.update(|plan: &mut Plan| plan.0 = 1);
        chat.update(|read: &mut Read| read.0.push("a".into()));
        // Also in a chat from a file, whose states nobody has asked for by type.
        let file = serde_json::to_string(&chat).unwrap();
        let mut loaded: Chat = serde_json::from_str(&file).unwrap();
        for chat in [&mut chat, &mut loaded] {
            chat.compact([Message::user("less")]);
            assert_eq!((chat.state::<Plan>().0, chat.state::<Read>().0.len()), (1, 0));
        }
    }

    #[test]
    fn a_change_that_panics_leaves_the_default_and_no_other_state_is_touched() {
        let chat = Chat::default();
        chat.update(|plan: &mut Plan| plan.0 = 1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            chat.update(|read: &mut Read| {
                read.0.push("half".into());
                panic!("half way")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!((chat.state::<Plan>().0, chat.state::<Read>().0.len()), (1, 0));
    }

    #[test]
    fn files_tell_typed_text_from_inserted_text() {
        let mut chat = Chat::default();
        chat.push(Message::kept("environment", "<environment/>"));
        chat.push(Message::user("<reminder> is what I typed"));
        chat.push(Message::inserted("reminder", "<reminder>update the plan</reminder>"));
        let file = serde_json::to_string(&chat).unwrap();
        let read: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!(read.messages(), chat.messages());
        let typed: Vec<&str> = read.messages()[0].typed().collect();
        assert_eq!(typed, ["<reminder> is what I typed"]);
    }

    #[test]
    fn a_prompt_is_split_off_with_what_was_inserted_after_it() {
        let mut message = Message::user("first");
        message.content.extend([Block::text("second"), Block::inserted("reminder", "r")]);
        let prompt = message.split_off_prompt().unwrap();
        assert_eq!((message.text(), prompt.text()), ("first".into(), "secondr".into()));
        assert_eq!(Message::inserted("reminder", "r").split_off_prompt(), None);
        assert_eq!(Message::assistant(vec![Block::text("said")]).split_off_prompt(), None);
    }

    #[test]
    fn compaction_leaves_out_signed_thinking_alone() {
        let redacted = Block::from_value(&json!({"type": "redacted_thinking", "data": "x"}));
        let unknown = Block::from_value(&json!({"type": "new", "signature": "x"}));
        let unsigned = json!({"type": "thinking", "thinking": "b", "signature": ""});
        let all = [
            Block::thinking("a", "signed"),
            redacted,
            Block::from_value(&unsigned),
            Block::thinking("c", ""),
            unknown,
        ];
        let mut chat = Chat::default();
        chat.compact([Message::user("go"), Message::assistant(all.to_vec())]);
        assert_eq!(chat.messages()[1].content, all[2..]);
    }
}
