//! What s17 makes of a session's file: a conversation that every server takes, in which the model
//! reads what is known of its calls.
use rungs_core::{Block, Chat, Message, Role, SavedState, ToolCall};
use rungs_sessions::{Conversation, Step};

/// Two texts for a call without a result: for one that has begun, and for any other.
pub type Unknown = [&'static str; 2];

/// What the model reads of a call whose result was never saved, if it has begun, and if not.
pub const ENDED: Unknown = [
    "interrupted: the program ended while this call ran, so it may have run, wholly or in part. \
     Look before you do it again.",
    "not run: the program ended",
];
/// The same, of a call whose result is lost.
pub const LOST: Unknown = ["the result is lost, since the file of this session was damaged; the \
    call may have run. Look before you do it again."; 2];
/// The same, of a call of a session that was forked while it was in use.
pub const RUNNING: Unknown =
    ["still running in another process, and may have run. Look before you do it again."; 2];
/// What the model reads in place of the begin of a conversation.
pub const LOST_BEGIN: &str = "The begin of this conversation is lost, since its file was damaged.";

/// The conversation, to go on with. What a damaged file has lost is said where it stood, and open
/// calls are answered with what is known of them.
pub fn restored(log: &Conversation<Message, SavedState>, ended: Unknown) -> Chat {
    let mut chat = Chat::restore(log.id(), log.messages().take(0).cloned(), log.states().clone());
    let mut steps = log.steps::<Block>().into_iter().peekable();
    while let Some(step) = steps.next() {
        if chat.messages().is_empty() && step.message.role == Role::Assistant {
            // The API takes no conversation that the model begins.
            chat.push(Message::inserted("lost", LOST_BEGIN));
        }
        chat.push(step.message.clone());
        let unknown = if steps.peek().is_some() { LOST } else { ended };
        let open = chat.open_calls();
        let is_answer = |block: &Block| open.iter().any(|call| answers(block, call));
        if !steps.peek().is_some_and(|next| next.message.content.iter().any(is_answer)) {
            chat.push(known_results(open, step, unknown));
        }
    }
    if log.is_changed() {
        // Signed thinking after a text that has changed would be refused.
        chat.compact(chat.messages().to_vec());
    }
    chat
}

fn answers(block: &Block, call: &ToolCall) -> bool {
    matches!(block, Block::ToolResult { tool_use_id, .. } if *tool_use_id == call.id)
}

/// What is known of these calls, in a message.
fn known_results(
    open: Vec<ToolCall>,
    step: Step<'_, Message, Block>,
    [begun, other]: Unknown,
) -> Message {
    let mut results = step.results;
    let known = open.into_iter().map(|call| {
        if let Some(result) = results.extract_if(.., |block| answers(block, &call)).next() {
            return result;
        }
        let began = step.begun.contains(&call.id.as_str());
        call.refuse(if began { begun } else { other }).into_block()
    });
    Message { content: known.collect(), ..Message::empty() }
}
