//! Signatures of thinking blocks, which bind a block to all that precedes it.
//!
//! A signature has three parts: a hash of the prefix without any thinking, a hash of the thinking
//! block before it (or zeros), and a hash of both with the text. So a check needs no memory. It
//! distinguishes an edited block from a changed prefix, and it allows the oldest blocks to be left
//! out but no block between others.
use crate::{
    api_error::ApiError,
    conversation::{Conversation, Message, Role, is},
    fingerprint::Fingerprint,
};
use serde_json::Value;

/// What precedes one place of a conversation; it signs a block at that place.
pub(crate) struct Signer {
    prefix: Fingerprint,
    /// The signature of the newest thinking block before the place, if there is one.
    newest: Option<String>,
}

/// Verifies all thinking of a request and returns what signs the thinking of the reply.
pub(crate) fn verify(conversation: &Conversation) -> Result<Signer, ApiError> {
    let mut prefix = Fingerprint::new("rehearsal: thinking is bound to what stands before it");
    for block in conversation.system.iter().chain(&conversation.tools) {
        prefix.block(block);
    }
    let mut signer = Signer { prefix, newest: None };
    for message in &conversation.messages {
        signer.prefix.number(message.role as u64);
        for (place, block) in message.blocks.iter().enumerate() {
            if is(block, "thinking") {
                signer.check(message, place, block)?;
            } else if !is(block, "redacted_thinking") {
                // A rehearsal makes no redacted thinking, and like all thinking it is not part of
                // the prefix.
                signer.prefix.block(block);
            }
        }
    }
    // The reply is the assistant's, whether it is a new message or the rest of a paused one.
    if conversation.messages.last().is_none_or(|message| message.role != Role::Assistant) {
        signer.prefix.number(Role::Assistant as u64);
    }
    Ok(signer)
}

impl Signer {
    /// The signature of a thinking block at this place.
    pub(crate) fn sign(&self, text: &str) -> String {
        signature(self.prefix.finish(), self.block_before(), text)
    }

    /// The hash of the thinking block before this place; 0 if there is none.
    fn block_before(&self) -> u64 {
        match &self.newest {
            Some(signature) => hash_of_signature(signature),
            None => 0,
        }
    }

    fn check(&mut self, message: &Message, place: usize, block: &Value) -> Result<(), ApiError> {
        let path = message.path(place);
        let missing = |field: &str| {
            Err(ApiError::invalid(format!("{path}.thinking.{field}: Field required")))
        };
        let Some(given) = block["signature"].as_str() else { return missing("signature") };
        let Some(text) = block["thinking"].as_str() else { return missing("thinking") };
        let bound_to = bound_to(given).filter(|to| signature(to.prefix, to.before, text) == given);
        let Some(BoundTo { prefix, before }) = bound_to else {
            return Err(ApiError::invalid(format!(
                "{path}: `thinking` or `redacted_thinking` blocks in an `assistant` message cannot \
                 be modified. These blocks must remain as they were in the original response."
            )));
        };
        let gap = self.newest.is_some() && self.block_before() != before;
        if prefix != self.prefix.finish() || gap {
            return Err(ApiError::invalid(format!(
                "{path}: this `thinking` block is bound to a different conversation: the system \
                 prompt, the tools or the messages before it have changed since it was made."
            )));
        }
        self.newest = Some(given.to_string());
        Ok(())
    }
}

/// What a signature says that its block is bound to.
struct BoundTo {
    prefix: u64,
    before: u64,
}

fn bound_to(signature: &str) -> Option<BoundTo> {
    let number = |range| u64::from_str_radix(signature.get(range)?, 16).ok();
    Some(BoundTo { prefix: number(0..16)?, before: number(16..32)? })
}

fn hash_of_signature(signature: &str) -> u64 {
    let mut hash = Fingerprint::new("before");
    hash.text(signature);
    hash.finish()
}

fn signature(prefix: u64, before: u64, text: &str) -> String {
    let mut hash = Fingerprint::new("rehearsal: signature");
    hash.number(prefix);
    hash.number(before);
    hash.text(text);
    format!("{prefix:016x}{before:016x}{:016x}", hash.finish())
}
