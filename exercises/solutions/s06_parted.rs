use rungs_core::{Context, Layer, Message, NextSend, Reply, Request, Result, Role};
use std::sync::Arc;

/// How many messages the model takes.
const MAX_MESSAGES: usize = 5;

/// The newest messages, `max` at most; more if the newest step and its prompt need them.
fn window(messages: &[Arc<Message>], max: usize) -> Vec<Arc<Message>> {
    // A conversation can begin at a prompt: a message of the user that answers no call.
    let prompts = messages.iter().enumerate();
    let prompts = prompts.filter(|(_, m)| m.role == Role::User && !m.has_results());
    let prompts: Vec<usize> = prompts.map(|(place, _)| place).collect();
    if let Some(begin) = prompts.iter().find(|begin| messages.len() - **begin <= max) {
        return messages[*begin..].to_vec();
    }
    // Not even the newest turn fits: its prompt, and then whole steps.
    let Some(prompt) = prompts.last() else { return messages.to_vec() };
    let steps = (prompt + 1..messages.len()).filter(|place| !messages[*place].has_results());
    let steps: Vec<usize> = steps.collect();
    let fits = |begin: &&usize| 1 + messages.len() - **begin <= max;
    let begin = steps.iter().find(fits).or(steps.last()).copied().unwrap_or(messages.len());
    let kept = std::iter::once(&messages[*prompt]).chain(&messages[begin..]);
    kept.cloned().collect()
}

/// Sends the newest messages only.
struct Window;

impl Layer for Window {
    async fn send(&self, mut request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        request.messages = window(&request.messages, MAX_MESSAGES);
        next.run(request, cx).await
    }
}
