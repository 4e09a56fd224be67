use rungs_core::{Message, ToolCall, ToolError, ToolOutput};

/// Look-ups that one message may ask for.
const MAX_LOOKUPS: usize = 3;

/// The price of a fruit.
fn price(call: &ToolCall) -> Result<ToolOutput, ToolError> {
    match call.input["fruit"].as_str() {
        Some("apple") => Ok("40 cents".into()),
        Some("pear") => Ok("55 cents".into()),
        Some(other) => Err(ToolError(format!("there is no price for `{other}`"))),
        None => Err(ToolError("`fruit` must be a text".into())),
    }
}

/// Runs the calls of one reply: the message that answers them, one result for each, in their order.
fn results(calls: &[ToolCall]) -> Message {
    let results = calls.iter().enumerate().map(|(i, call)| {
        if i < MAX_LOOKUPS {
            // A failure is a result as well.
            call.finish(price(call))
        } else {
            call.refuse(format!("not run: at most {MAX_LOOKUPS} look-ups at a time; ask again"))
        }
    });
    Message::results(results)
}
