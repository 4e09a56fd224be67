use rungs_core::{Block, Chat, Context, Layer, Message, NextAsk, Reply, Result};

/// Results smaller than this are not worth a stub.
const MIN_BYTES: usize = 100;

/// The chat with a stub in place of the oldest whole result, if there is one.
fn cleared(chat: &Chat) -> Option<Chat> {
    let mut messages: Vec<Message> = chat.messages().iter().map(|m| (**m).clone()).collect();
    let mut blocks = messages.iter_mut().flat_map(|message| &mut message.content);
    let content = blocks.find_map(|block| match block {
        Block::ToolResult { content, .. } => {
            let size: usize = content.iter().map(Block::size).sum();
            (size >= MIN_BYTES).then_some(content)
        }
        _ => None,
    })?;
    *content = vec![Block::inserted("cleared", "[cleared]")];
    Some(chat.compacted(messages))
}

/// The chat with a quarter less, or with all old results cleared; if there are none, with one new
/// result less. `None` if nothing is left to clear.
fn with_room(chat: &Chat) -> Option<Chat> {
    let newest = |chat: &Chat| chat.messages().last().map(|message| message.size());
    let mut smaller = None;
    let mut next = cleared(chat);
    while let Some(candidate) = next {
        // The results of the newest message come last, since `cleared` begins with the oldest.
        let is_old = newest(&candidate) == newest(chat);
        if !is_old && smaller.is_some() {
            break;
        }
        let enough = candidate.size() * 4 <= chat.size() * 3;
        next = if enough || !is_old { None } else { cleared(&candidate) };
        smaller = Some(candidate);
    }
    smaller
}

/// Makes room when the server says that the conversation is too large.
struct MakeRoom;

impl Layer for MakeRoom {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        loop {
            match next.run(chat, cx).await {
                Err(error) if error.is_too_large(false) => match with_room(chat) {
                    Some(smaller) => *chat = smaller,
                    None => return Err(error),
                },
                other => return other,
            }
        }
    }
}
