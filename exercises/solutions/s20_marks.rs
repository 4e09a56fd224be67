use rungs_core::{
    Block, Request, Role,
    client::{Lifetime, Mark, Place},
};

/// The places of a request after which the server shall keep what it has processed.
fn marks(request: &Request) -> Vec<Mark> {
    let mut places = vec![];
    if !request.tools.is_empty() {
        places.push(Place::Tools);
    }
    if let Some(last) = request.system.len().checked_sub(1) {
        places.push(Place::System(last));
    }
    // The newest message, which writes, and the user message before it, which reads what the last
    // request wrote.
    let newest = request.messages.len().saturating_sub(1);
    let mut ends = vec![];
    for (i, message) in request.messages.iter().enumerate() {
        let end = message.content.iter().rposition(|block| !matches!(block, Block::Other(_)));
        if let Some(block) = end.filter(|_| i == newest || message.role == Role::User) {
            ends.push(Place::Block { message: i, block });
        }
    }
    places.extend_from_slice(&ends[ends.len().saturating_sub(2)..]);
    places.into_iter().map(|place| Mark { place, lifetime: Lifetime::FiveMinutes }).collect()
}
