//! Thinking blocks are bound to all that stands before them.
//!
//! A signature has three parts: a hash of the prefix without any thinking, a hash of the thinking block before (or
//! zeros), and a hash of both with the text. So the check needs no memory, it can tell an edited block from a changed
//! prefix, and an oldest run of blocks may be left out while a gap may not.
use crate::{
    conversation::{Conversation, Message, Role, is},
    hash::Print,
    refusal::Refusal,
};
use serde_json::Value;

/// The state at one place of a conversation, which can sign a block that stands there.
pub(crate) struct Seal {
    prefix: Print,
    /// The signature of the newest thinking block, if any stands before.
    newest: Option<String>,
}

/// Verifies all thinking of a request; the seal signs what follows.
pub(crate) fn verify(conversation: &Conversation) -> Result<Seal, Refusal> {
    let mut prefix = Print::new("rehearsal: thinking is bound to what stands before it");
    conversation.system.iter().chain(&conversation.tools).for_each(|block| prefix.block(block));
    let mut seal = Seal { prefix, newest: None };
    for message in &conversation.messages {
        seal.prefix.number(message.role as u64);
        for (place, block) in message.blocks.iter().enumerate() {
            match block {
                _ if is(block, "thinking") => seal.check(message, place, block)?,
                // Opaque and never made here; like all thinking it is no part of the prefix.
                _ if is(block, "redacted_thinking") => {}
                _ => seal.prefix.block(block),
            }
        }
    }
    // What comes next is the assistant's, whether a new message or the rest of a paused one.
    if conversation.messages.last().is_none_or(|message| message.role != Role::Assistant) {
        seal.prefix.number(Role::Assistant as u64);
    }
    Ok(seal)
}

impl Seal {
    /// The signature of a thinking block that stands here.
    pub(crate) fn sign(&self, text: &str) -> String {
        let before = self.newest.as_deref().map_or(0, |signature| print("before", signature));
        signature(self.prefix.finish(), before, text)
    }

    fn check(&mut self, message: &Message, place: usize, block: &Value) -> Result<(), Refusal> {
        let (given, text) = (block["signature"].as_str(), block["thinking"].as_str());
        let (Some(given), Some(text)) = (given, text) else {
            let missing = if given.is_none() { "signature" } else { "thinking" };
            return Err(Refusal::bad(format!(
                "{}.thinking.{missing}: Field required",
                message.place(place)
            )));
        };
        let Some((prefix, before)) =
            parts(given).filter(|(prefix, before)| signature(*prefix, *before, text) == given)
        else {
            return Err(Refusal::bad(format!(
                "{}: `thinking` or `redacted_thinking` blocks in an `assistant` message cannot be modified. These \
                 blocks must remain as they were in the original response.",
                message.place(place)
            )));
        };
        let gap = self.newest.as_deref().is_some_and(|newest| print("before", newest) != before);
        if prefix != self.prefix.finish() || gap {
            return Err(Refusal::bad(format!(
                "{}: this `thinking` block is bound to a different conversation: the system prompt, the tools or the \
                 messages before it have changed since it was made.",
                message.place(place)
            )));
        }
        self.newest = Some(given.to_string());
        Ok(())
    }
}

fn print(purpose: &str, text: &str) -> u64 {
    let mut print = Print::new(purpose);
    print.text(text);
    print.finish()
}

fn signature(prefix: u64, before: u64, text: &str) -> String {
    let mut print = Print::new("rehearsal: signature");
    print.number(prefix);
    print.number(before);
    print.text(text);
    format!("{prefix:016x}{before:016x}{:016x}", print.finish())
}

fn parts(signature: &str) -> Option<(u64, u64)> {
    let number = |range| u64::from_str_radix(signature.get(range)?, 16).ok();
    Some((number(0..16)?, number(16..32)?))
}
