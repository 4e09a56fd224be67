use rungs_core::{Block, Error, Reply};

/// A stream that broke off.
#[allow(dead_code)]
struct Broken {
    /// What has arrived of the reply: perhaps half a text, or half the arguments of a call.
    partial: Reply,
    /// Whether a person has seen text of it.
    text_was_shown: bool,
    /// Why it broke off.
    error: Error,
}

/// What becomes of it.
#[allow(dead_code)]
enum Next {
    Again,
    Keep(Vec<Block>),
    Fail(Error),
}

fn after_break(broken: Broken) -> Next {
    if broken.error.withdraws() {
        return Next::Fail(broken.error);
    }
    if !broken.text_was_shown {
        // Nobody knows of it, so a whole reply can take its place.
        return Next::Again;
    }
    // Calls and thinking are worth nothing unless they are whole, which nobody knows here.
    let blocks = broken.partial.message.content.iter();
    Next::Keep(blocks.filter(|block| block.as_text().is_some()).cloned().collect())
}
