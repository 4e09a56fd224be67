#[allow(unused_imports)]
use rungs_core::{Block, Message, Role};
use std::sync::Arc;

/// What survives of these messages, word for word.
fn survivors(old: &[Arc<Message>]) -> Vec<Block> {
    let (mut kept, mut typed) = (vec![], vec![]);
    for message in old {
        // Who a text is from is said by its origin, never by how it begins.
        let is_kept = |block: &&Block| block.origin().is_some_and(|origin| origin.keep);
        kept.extend(message.blocks().filter(is_kept).cloned());
        typed.extend(message.typed().map(Block::text));
    }
    kept.append(&mut typed);
    kept
}
