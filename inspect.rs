//! `:messages` and `:request`, in every lesson: what the model sees, and what goes over the wire.
use rungs_core::{Agent, Block, Chat, Client, Error, Message, Result, Role};
use serde_json::Value;

/// How many characters of a block `:messages` shows.
const MAX_SHOWN_CHARS: usize = 100;

/// How many bytes of text are about a token.
const BYTES_PER_TOKEN: usize = 4;

/// Adds both commands. `client` is the one that the agent asks.
pub(crate) fn install(agent: Agent, client: Client) -> Agent {
    agent
        .command(
            "messages",
            "the conversation as the model sees it; `:messages N` shows message N whole",
            async |chat, number, cx| {
                cx.notice(if number.is_empty() { list(chat) } else { whole(chat, number)? });
                Ok(())
            },
        )
        .command("request", "the last request, as it went over the wire", async move |_, _, cx| {
            cx.notice(match client.last_request() {
                Some(body) => match serde_json::from_slice::<Value>(&body) {
                    Ok(body) => format!("{body:#}"),
                    Err(_) => String::from_utf8_lossy(&body).into_owned(),
                },
                None => "nothing has been sent yet".into(),
            });
            Ok(())
        })
}

/// A line for each block: the message's number and role, what the block is, and about how many
/// tokens it takes.
fn list(chat: &Chat) -> String {
    if chat.messages().is_empty() {
        return "no message yet; the system text and the tools stand in :request".into();
    }
    let mut lines = vec![];
    for (number, message) in chat.messages().iter().enumerate() {
        let role = role(message);
        for (index, block) in message.content.iter().enumerate() {
            let place = if index == 0 { format!("{number:>3} {role}") } else { String::new() };
            let tokens = block.size() / BYTES_PER_TOKEN;
            lines.push(format!("{place:<13} {tokens:>6}  {}", one_line(block)));
        }
    }
    let tokens = chat.size() / BYTES_PER_TOKEN;
    lines.push(format!(
        "{} messages, about {tokens} tokens beside the system text and the tools",
        chat.messages().len()
    ));
    lines.join("\n")
}

fn role(message: &Message) -> &'static str {
    match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// What a block is, and how it begins.
fn one_line(block: &Block) -> String {
    let (kind, text) = match block {
        Block::Text { text, origin: None, .. } => ("text".into(), text.clone()),
        Block::Text { text, origin: Some(origin), .. } => {
            (format!("inserted text: {}", origin.name), text.clone())
        }
        Block::ToolUse { name, input, .. } => (format!("tool_use {name}"), input.to_string()),
        Block::ToolResult { content, is_error, .. } => {
            let texts: Vec<&str> = content.iter().filter_map(Block::as_text).collect();
            let kind = if *is_error { "tool_result, an error" } else { "tool_result" };
            (kind.into(), texts.join(" "))
        }
        Block::Image { .. } => ("image".into(), String::new()),
        Block::Document { .. } => ("document".into(), String::new()),
        Block::Other(raw) => match block.as_thinking() {
            Some(thinking) => ("thinking".into(), thinking),
            None => ("other".into(), raw.get().to_string()),
        },
    };
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(MAX_SHOWN_CHARS) {
        words.truncate(end);
        words.push_str(" ...");
    }
    format!("[{kind}] {words}")
}

/// A message in the form of session files, which is that of the Messages API with the origins of
/// inserted texts.
fn whole(chat: &Chat, number: &str) -> Result<String> {
    let message = number.parse().ok().and_then(|number: usize| chat.messages().get(number));
    let Some(message) = message else {
        let last = chat.messages().len().saturating_sub(1);
        return Err(Error::other(format!("there is no message {number}; the last is {last}")));
    };
    let message = serde_json::to_value(message).map_err(Error::other)?;
    Ok(format!("{message:#}"))
}
